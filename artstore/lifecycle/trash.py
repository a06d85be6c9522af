"""Trash: where what is freed waits until the grace is over, in case it was wanted after all."""

from __future__ import annotations

import contextlib
import itertools
import os
import stat
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import msgspec

from artstore.storage import rights
from artstore.storage.files import is_open_elsewhere, make_directory, size_on_disk, storage_errors
from artstore.storage.root import Root

_LOOKS: Final = "looks"
"""In a folder of the trash: what the clock said at each collection that left it there, in seconds, one a line."""


class Tally(msgspec.Struct):
    """What one collection has freed until now."""

    freed_bytes: int = 0
    trashed_bytes: int = 0
    repacked: int = 0
    leftovers: int = 0


class Bin:
    """Where what is freed goes: to the trash, or nowhere."""

    def __init__(self, root: Root, session: str, grace_s: float, tally: Tally) -> None:
        """For the session of this id."""
        self._trash = root.path / "trash"
        self._run = self._trash / f"{_seconds_now():012d}-{session}"
        self._grace_s = grace_s
        self._tally = tally
        self.has_taken = False

    def take(self, path: Path, name: str) -> None:
        """Free a file, which is found in the trash under this name while it is there."""
        with storage_errors("freeing space"):
            try:
                status = os.lstat(path)
            except FileNotFoundError:
                return
            self.has_taken = True
            size = size_on_disk(status)
            # A folder in a file's place goes by way of the trash, which is emptied of whatever is in it.
            if self._grace_s == 0 and not stat.S_ISDIR(status.st_mode):
                os.unlink(path)
                self._tally.freed_bytes += size
                return
            target = self._run / name
            make_directory(target.parent)
            os.replace(path, target)
            self._tally.trashed_bytes += size

    def take_leftover(self, path: Path, name: str) -> None:
        """Free a file that a killed process left."""
        self._tally.leftovers += 1
        self.take(path, name)

    def count_repacked(self) -> None:
        """One more pack was written anew."""
        self._tally.repacked += 1

    def old_bytes(self) -> int:
        """What `empty_old` would delete."""
        return sum(
            size_on_disk(os.lstat(path))
            for run, looks in self._runs()
            if self._is_over(run, looks)
            for path in files_below(run)
        )

    def _runs(self) -> Iterator[tuple[Path, list[int]]]:
        """What earlier collections left in the trash, each with what the clock said at each look at it, now too."""
        now = _seconds_now()
        for run in sorted(self._trash.iterdir()):
            if run.name.partition("-")[0].isdigit():
                yield run, [*_looks(run), now]

    def _is_over(self, run: Path, looks: Sequence[int]) -> bool:
        began = int(run.name.partition("-")[0])
        return self._grace_s == 0 or _age_s([began, *looks]) >= self._grace_s

    def empty_old(self) -> None:
        """Delete what has been in the trash for longer than the grace, as far as clocks can be believed; see _age_s."""
        for run, looks in self._runs():
            if not self._is_over(run, looks):
                _note(run, looks)
                continue
            for path in files_below(run):
                size = size_on_disk(os.lstat(path))
                os.unlink(path)
                self._tally.freed_bytes += size
            for folder, _below, names in os.walk(run, topdown=False):
                if not any(map(is_open_elsewhere, names)):
                    os.rmdir(folder)


def _age_s(looks: Sequence[int]) -> int:
    """How long something has been there at least, of which it is known what the clock said each time it was looked at.

    The longest step from one look to the next is not believed, as it may be a jump of the clock, and one more for each
    time that the clock went back. So neither a clock that jumped ahead and stayed there makes anything older, nor one
    that goes to and fro; nobody can tell one that jumps ahead several times, and is never set right, from time.
    """
    steps = [max(later - earlier, 0) for earlier, later in itertools.pairwise(looks)]
    doubted = 1 + sum(later < earlier for earlier, later in itertools.pairwise(looks))
    return sum(sorted(steps, reverse=True)[doubted:])


def _looks(run: Path) -> list[int]:
    # What is lost of them makes fewer and longer steps, and so only delays.
    with contextlib.suppress(OSError):
        return [int(look) for look in (run / _LOOKS).read_bytes().split() if look.isdigit()]
    return []


def _note(run: Path, looks: Sequence[int]) -> None:
    with contextlib.suppress(OSError), rights.create(run / _LOOKS) as file:
        file.write(b"".join(b"%d\n" % look for look in looks))


def _seconds_now() -> int:
    return max(int(time.time()), 0)


def files_below(folder: Path) -> Iterator[Path]:
    """The files of a folder and those below it, but those that were deleted and are open elsewhere."""
    for where, _below, names in os.walk(folder):
        for name in sorted(names):
            if not is_open_elsewhere(name):
                yield Path(where, name)


def trash_bytes(root: Root) -> int:
    """What the trash takes on the disk."""
    total = 0
    for path in files_below(root.path / "trash"):
        with contextlib.suppress(FileNotFoundError):
            total += size_on_disk(os.lstat(path))
    return total
