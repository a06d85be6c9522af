"""Equipment: what some of these tests need of the machine, found out once.

What is missing is printed as the reason of a skip, `not run: …`, and never left out in silence; where the variable CI
is `true` it is a failure, since there everything has to be there.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Final

from tests.lacking import lacking

SIZES: Final = {"ext4": 256 << 20, "xfs": 320 << 20, "btrfs": 256 << 20}
"""Bytes of an image; mkfs.xfs makes none under 300 MiB."""
_MAKE: Final = {"ext4": ("mkfs.ext4", "-q", "-F"), "xfs": ("mkfs.xfs", "-q", "-f"), "btrfs": ("mkfs.btrfs", "-q", "-f")}

_BUSY_S: Final = 10.0
"""What a killed process had begun comes to its end within that. Mounting a copy of what is still there may fail."""


@cache
def missing(need: str) -> str | None:
    """Why a need cannot be met, if it cannot: `strace`, or a file system that is to be mounted."""
    if need == "strace":
        if shutil.which("strace") is None:
            return "strace is not installed"
        tried = subprocess.run(["strace", "-qq", "-o", os.devnull, "true"], capture_output=True, text=True, check=False)
        return None if tried.returncode == 0 else f"strace may not trace: {tried.stderr.strip()}"
    if os.geteuid() != 0:
        return f"mounting {need} needs root"
    if shutil.which(_MAKE[need][0]) is None:
        return f"{_MAKE[need][0]} is not installed"
    with tempfile.TemporaryDirectory(prefix="artstore-try-") as folder:
        try:
            with mounted(make_image(Path(folder, "image"), need), Path(folder, "mount")):
                return None
        except subprocess.CalledProcessError as error:
            return f"{need} cannot be mounted from a file: {error.stderr.strip()}"


def require(*needs: str) -> None:
    """Skip the test that asks, and say why, where something is missing; fail it where CI says that all is there."""
    reasons = [reason for need in needs if (reason := missing(need)) is not None]
    if not reasons:
        return
    lacking(f"not run: {'; '.join(reasons)}")


def memory(*, room: int = 0) -> Path | None:
    """A folder in memory, if there is one with so many bytes free: files there are synced in no time.

    A kill takes nothing out of the page cache, so to whoever is killed a disk is only slower.
    """
    shared = Path("/dev/shm")  # noqa: S108 - only folders of random names
    if not shared.is_dir() or not os.access(shared, os.W_OK) or shutil.disk_usage(shared).free < room:
        return None
    return shared


def make_image(image: Path, kind: str) -> Path:
    """A file with an empty file system in it; it takes only what is written."""
    with image.open("wb") as file:
        file.truncate(SIZES[kind])
    _run([*_MAKE[kind], str(image)])
    return image


def mount(image: Path, place: Path) -> None:
    """Mount the file system in an image."""
    place.mkdir(exist_ok=True)
    _run(["mount", "-o", "loop,noatime", str(image), str(place)])


def unmount(place: Path) -> None:
    """Take it away again. Who was killed may look at it for a little; who still does then is not waited for."""
    until = time.monotonic() + _BUSY_S
    while subprocess.run(["umount", str(place)], capture_output=True, check=False).returncode:
        if time.monotonic() >= until:
            _run(["umount", "--lazy", str(place)])
            return
        time.sleep(0.02)


@contextlib.contextmanager
def mounted(image: Path, place: Path) -> Iterator[Path]:
    """As mount, for a while."""
    mount(image, place)
    try:
        yield place
    finally:
        unmount(place)


def _run(words: list[str]) -> None:
    try:
        subprocess.run(words, capture_output=True, text=True, check=True)
    except subprocess.CalledProcessError as error:
        error.add_note(error.stderr)
        raise
