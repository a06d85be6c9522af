"""Workloads: trees of random bytes, the same at every run.

Random, so that nothing can be won by compression and nothing is a duplicate of anything.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

MIB: Final = 1 << 20
GIB: Final = 1 << 30

_PAGE_BYTES = 4096
_QUICK_FILES = 10
"""How many times fewer files, and sixteen times fewer bytes in a single one, a quick run has."""


@dataclass(frozen=True)
class Workload:
    """So many files of one size, spread evenly over so many folders."""

    name: str
    files: int
    file_bytes: int
    folders: int
    volume_bytes: int
    """The most that the tree, the stores and the copies of one lap can need at once."""

    is_bulk: bool = False
    """Whether the cost is in the bytes, so that processor seconds are worth a row of their own."""

    inode_bytes: int | None = None
    """One inode for so many bytes of the file system; None for what mkfs thinks right."""

    @property
    def total_bytes(self) -> int:
        """Bytes of all files together."""
        return self.files * self.file_bytes

    @property
    def page_bytes(self) -> int:
        """Memory that a copy of all files takes in the page cache."""
        return self.files * -(-self.file_bytes // _PAGE_BYTES) * _PAGE_BYTES

    def describe(self) -> str:
        """For a heading: `10,000 files of 10 KiB`."""
        noun = "file" if self.files == 1 else "files"
        return f"{self.files:,} {noun} of {_size(self.file_bytes)}"

    def path_of(self, index: int) -> str:
        """Where file number `index` lies below the tree's root."""
        if self.files == 1:
            return "big.bin"
        return f"d{index * self.folders // self.files:04d}/f{index:06d}.bin"

    def generate(self, tree: Path) -> None:
        """Write the tree's first version into a folder that does not exist yet."""
        source = random.Random(f"artstore-{self.name}")
        made: set[str] = set()
        for index in range(self.files):
            path = tree / self.path_of(index)
            if path.parent.name not in made:
                path.parent.mkdir(parents=True)
                made.add(path.parent.name)
            _write(path, source, self.file_bytes)

    def change(self, tree: Path, *, seed: str) -> None:
        """Change one in a hundred: of many files, each by a rename; of a single one, ten even runs in place."""
        source = random.Random(f"artstore-{self.name}-{seed}")
        if self.files == 1:
            self._overwrite_runs(tree / self.path_of(0), source)
            return
        for index in range(self.files // 200, self.files, 100):
            path = tree / self.path_of(index)
            replacement = path.with_name(path.name + ".new")
            _write(replacement, source, self.file_bytes)
            replacement.rename(path)

    def quick(self) -> Workload:
        """A tenth of the files, or a sixteenth of the one: to see that everything runs, not how fast."""
        if self.files == 1:
            return replace(self, file_bytes=self.file_bytes // 16)
        return replace(self, files=self.files // _QUICK_FILES, folders=max(1, self.folders // _QUICK_FILES))

    def _overwrite_runs(self, path: Path, source: random.Random) -> None:
        runs = 10
        run_bytes = self.file_bytes // 1024
        with path.open("r+b") as file:
            for run in range(runs):
                file.seek((2 * run + 1) * self.file_bytes // (2 * runs))
                file.write(source.randbytes(run_bytes))


WORKLOADS: Final = {
    workload.name: workload
    for workload in (
        Workload("S", 10_000, 10 * 1024, 100, volume_bytes=4 * GIB),
        Workload("T", 100_000, 1024, 1_000, volume_bytes=12 * GIB, inode_bytes=4096),
        Workload("M", 1_000, MIB, 10, volume_bytes=12 * GIB, is_bulk=True),
        Workload("L", 1, GIB, 1, volume_bytes=16 * GIB, is_bulk=True),
    )
}


def entries(files: int) -> Workload:
    """A tree in which the number of files is all that matters."""
    return Workload(f"{files} entries", files, 100, max(1, files // 1_000), volume_bytes=24 * GIB, inode_bytes=4096)


def read_through(tree: Path) -> None:
    """Read every file below a folder, or the one file, so that the page cache holds it."""
    block = bytearray(MIB)
    for path in _files(tree):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            while os.readv(descriptor, [block]):
                pass
        finally:
            os.close(descriptor)


@dataclass(frozen=True)
class Footprint:
    """What a folder takes, itself included; a file with several names counts once."""

    files: int
    folders: int
    apparent_bytes: int
    disk_bytes: int


def footprint(tree: Path) -> Footprint:
    """Measure a folder as `du` does."""
    files = folders = apparent = disk = 0
    seen: set[tuple[int, int]] = set()
    for folder, _, names in os.walk(tree):
        folders += 1
        for status in (os.lstat(folder), *(os.lstat(os.path.join(folder, name)) for name in names)):  # noqa: PTH118 - a Path for each of 100,000 files takes longer than the walk
            disk += 0 if (status.st_dev, status.st_ino) in seen else status.st_blocks * 512
            seen.add((status.st_dev, status.st_ino))
        for name in names:
            files += 1
            apparent += os.lstat(os.path.join(folder, name)).st_size  # noqa: PTH118 - as above
    return Footprint(files, folders, apparent, disk)


def _files(tree: Path) -> Iterator[str]:
    if tree.is_file():
        yield str(tree)
    for folder, _, names in os.walk(tree):
        for name in names:
            yield os.path.join(folder, name)  # noqa: PTH118 - as in footprint


def _write(path: Path, source: random.Random, size: int) -> None:
    with path.open("wb") as file:
        for start in range(0, size, MIB):
            file.write(source.randbytes(min(MIB, size - start)))


def _size(count: int) -> str:
    for unit, factor in (("GiB", GIB), ("MiB", MIB), ("KiB", 1024)):
        if count >= factor:
            return f"{count / factor:g} {unit}"
    return f"{count} bytes"
