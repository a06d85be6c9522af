"""File systems that are as bad as a test wants them: full, without inodes, read-only."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from artstore import Store
from tests.damage.disks import Disk
from tests.lacking import lacking


def mounted(folder: Path, *options: str) -> None:
    done = subprocess.run(["mount", *options, str(folder)], check=False, capture_output=True, text=True)
    if done.returncode:
        lacking(f"nothing can be mounted here: {done.stderr.strip()}")


@pytest.fixture(params=["tmpfs", "ext4", "ext4-4k"])
def disk(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Disk]:
    """A file system of 16 MiB of its own. For tests that are marked with `root`."""
    folder = tmp_path_factory.mktemp("disk")
    if request.param == "tmpfs":
        mounted(folder, "-t", "tmpfs", "-o", "size=16m,nr_inodes=400,mode=755", "none")
    else:
        if shutil.which("mkfs.ext4") is None:
            lacking("needs mkfs.ext4 (e2fsprogs)")
        image = folder.with_name(f"{folder.name}.img")
        # So small an ext4 has blocks of 1 KiB by itself, where SQLite's shared memory cannot be trusted.
        block = ["-b", "4096"] if request.param == "ext4-4k" else []
        with image.open("wb") as file:
            file.truncate(16 << 20)
        subprocess.run(["mkfs.ext4", "-q", "-m", "0", "-N", "400", *block, str(image)], check=True)
        mounted(folder, "-o", "loop", str(image))
    yield Disk(folder)
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """An empty store."""
    with Store.init(tmp_path / "store") as opened:
        yield opened
