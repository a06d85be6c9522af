"""A small disk that can be filled to the last byte."""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
from pathlib import Path

from artstore import Store

GRAIN = 4096


class Disk:
    """A mounted file system, and what fills it up beside the store."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.store = path / "store"
        self._junk = path / "junk"
        self._junk.mkdir()

    def leave(self, size: int) -> None:
        """Fill the disk up to about so many bytes; exactly for 0."""
        self.relax()
        spare = self._junk / "spare"
        spare.write_bytes(bytes(size))
        with (self._junk / "fill").open("wb", buffering=0) as file:
            for step in (1 << 18, 1 << 14, GRAIN, 1):
                with contextlib.suppress(OSError):
                    while True:
                        file.write(bytes(step))
        spare.unlink()

    def leave_inodes(self, count: int) -> None:
        """Take all inodes but a few."""
        self.relax()
        made = 0
        with contextlib.suppress(OSError):
            while True:
                (self._junk / str(made)).touch()
                made += 1
        for number in range(min(count, made)):
            (self._junk / str(number)).unlink()

    def relax(self) -> None:
        """Free all that was filled."""
        for path in self._junk.iterdir():
            path.unlink()

    def remount(self, how: str) -> None:
        """Make it read-only (`ro`) or not (`rw`)."""
        subprocess.run(["mount", "-o", f"remount,{how}", str(self.path)], check=True)


def noise(size: int) -> bytes:
    """Bytes that nobody has stored yet."""
    return os.urandom(size)


def put(store: Store, data: bytes, name: str = "cats") -> str:
    """Put one file; answers the reference of the version."""
    report = store.put([io.BytesIO(data)], name=name, type="t", project="p", prefix="f")
    assert report.version is not None
    return f"p/{name}:v{report.version.number}"


def read(store: Store, reference: str) -> bytes:
    return b"".join(store.read(reference, "f"))


def check(store: Store, expected: dict[str, bytes]) -> None:
    """Each version that was acknowledged is there, and nothing is damaged."""
    assert expected == {reference: read(store, reference) for reference in expected}
    assert [] == store.verify().problems
