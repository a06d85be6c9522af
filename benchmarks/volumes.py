"""Volumes: a fresh file system for one measurement, gone after it.

A loop-mounted image where this process may mount one, otherwise a temporary folder. Either way nothing is left behind,
also after an error, Ctrl-C or SIGTERM.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Final

_MKFS: Final = {"ext4": ("mkfs.ext4", "-q", "-F"), "xfs": ("mkfs.xfs", "-q", "-f"), "btrfs": ("mkfs.btrfs", "-q", "-f")}
REFLINKING: Final = ("xfs", "btrfs")
"""File systems that can share blocks between files, the more common first."""


class NoVolume(Exception):
    """This machine cannot give the volume that was asked for; the message says why."""


@dataclass(frozen=True)
class Volume:
    """An empty folder to work in, and what to call its file system in a table."""

    root: Path
    label: str


@contextlib.contextmanager
def journaled(folder: Path, size_bytes: int, *, inode_bytes: int | None = None) -> Iterator[Volume]:
    """A new ext4 with a journal; where it cannot be mounted, a temporary folder, which its label admits."""
    with contextlib.ExitStack() as stack:
        try:
            volume = stack.enter_context(mounted(folder, "ext4", size_bytes, inode_bytes=inode_bytes))
        except NoVolume as reason:
            volume = stack.enter_context(_temporary(folder, str(reason)))
        yield volume


@contextlib.contextmanager
def reflinking(folder: Path, size_bytes: int) -> Iterator[Volume]:
    """A new file system that shares blocks between files. Raises NoVolume where none can be mounted."""
    kind = next((kind for kind in REFLINKING if shutil.which(_MKFS[kind][0])), REFLINKING[0])
    with mounted(folder, kind, size_bytes) as volume:
        yield volume


@contextlib.contextmanager
def mounted(folder: Path, kind: str, size_bytes: int, *, inode_bytes: int | None = None) -> Iterator[Volume]:
    """Mount a sparse image in `folder` for as long as the block runs. Raises NoVolume, with nothing left over."""
    if sys.platform != "linux" or os.geteuid() != 0:
        message = "only root on Linux mounts images"
        raise NoVolume(message)
    free_bytes = shutil.disk_usage(folder).free
    if free_bytes < size_bytes:
        # A sparse image that outgrows its disk fails as a broken disk would, in the middle of a run.
        message = f"{folder} has {free_bytes >> 30} GiB free of the {size_bytes >> 30} that the image may grow to"
        raise NoVolume(message)
    with contextlib.ExitStack() as stack:
        top = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="benchmark-", dir=folder)))
        image, root = top / "image", top / "root"
        root.mkdir()
        with image.open("wb") as file:
            file.truncate(size_bytes)
        options = () if inode_bytes is None else ("-i", str(inode_bytes))
        _run(*_MKFS[kind], *options, str(image))
        device = _run("losetup", "--find", "--show", "--direct-io=on", str(image)).strip()
        stack.callback(_run, "losetup", "--detach", device)
        _run("mount", "-t", kind, device, str(root))
        stack.callback(_unmount, root)
        work = root / "work"
        work.mkdir()
        yield Volume(work, f"{kind} on a loop device of its own")


@contextlib.contextmanager
def ends_on_signals() -> Iterator[None]:
    """Let SIGTERM and SIGHUP leave as Ctrl-C does, so that what was mounted is unmounted."""
    before = {number: signal.signal(number, _leave) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def _temporary(folder: Path, reason: str) -> Iterator[Volume]:
    with tempfile.TemporaryDirectory(prefix="benchmark-", dir=folder) as top:
        kind = _run("stat", "--file-system", "--format", "%T", top).strip() if sys.platform == "linux" else "unknown"
        yield Volume(Path(top), f"a temporary folder ({kind}), because {reason}")


def _unmount(root: Path) -> None:
    try:
        _run("umount", str(root))
    except NoVolume:
        # Somebody stands in it: it goes when they leave, and the loop device with it.
        _run("umount", "--lazy", str(root))


def _leave(number: int, frame: FrameType | None) -> None:
    del frame
    raise SystemExit(128 + number)


def _run(*command: str) -> str:
    try:
        done = subprocess.run(command, check=True, capture_output=True, text=True)
    except FileNotFoundError as error:
        message = f"{command[0]} is not installed"
        raise NoVolume(message) from error
    except subprocess.CalledProcessError as error:
        message = f"{command[0]} failed: {error.stderr.strip()}"
        raise NoVolume(message) from error
    return done.stdout
