"""Backup of what a store keeps for others: its logs as they were claimed, with their objects, tokens and remotes.

A slot is counted in the store's own journal after it was claimed, and names what was there before it. So the slots are
listed after the journal was read and before bytes are: the copy counts what is claimed beyond its journal, as a server
does that was killed in between. They are written before the journal: a server whose journal is ahead of its log would
take that for one that was set back.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from artstore.lifecycle.served import SLOTS
from artstore.lifecycle.upstream import HOSTED, OWN_LOGS
from artstore.storage.files import make_directory, random_hex, sync_directory, write_file

_MANIFESTS: Final = f"{HOSTED}/manifests"
_ALONE: Final = {"remotes.toml": 0o644, "tokens.json": 0o600}
"""Files that are written anew where they change, with their rights."""


class Served:
    """What a store keeps for others, on its way into a copy."""

    def __init__(self, store: Path, target: Path, scratch: Path) -> None:
        self._store = store
        self._target = target
        self._scratch = scratch
        self._slots: list[str] = []

    def list_slots(self) -> None:
        """See which slots are claimed by now; to be called when the journal was read and bytes were not."""
        self._slots = list(_names(self._store, SLOTS))

    def publish(self, copy_file: Callable[[Path, Path, str], bool]) -> list[str]:
        """Copy it all, each part on the disk before what relies on it; answers what could not be copied.

        `copy_file` makes a synced copy of a file, which has a name in the store, and says whether it could.
        """
        lost: list[str] = []
        for names in (_names(self._store, _MANIFESTS), self._slots, _names(self._store, OWN_LOGS)):
            folders: set[Path] = set()
            for name in names:
                if self._is_there(name):
                    continue
                temporary, place = self._scratch / f"served-{random_hex(8)}", self._target / name
                if not copy_file(self._store / name, temporary, name):
                    lost.append(name)
                    continue
                make_directory(place.parent)
                os.replace(temporary, place)
                folders.add(place.parent)
            for folder in folders:
                sync_directory(folder)
        for name, mode in _ALONE.items():
            if (self._store / name).exists():
                write_file(self._target / "tmp", self._target / name, (self._store / name).read_bytes(), mode=mode)
            else:
                # A token that was revoked with all others must not let anybody in again.
                (self._target / name).unlink(missing_ok=True)
        return lost

    def _is_there(self, name: str) -> bool:
        """Whether an earlier backup brought it: what has a name never changes, but for a log that was begun anew."""
        source, place = self._store / name, self._target / name
        if not place.exists() or place.stat().st_size != source.stat().st_size:
            return False
        return not name.startswith(SLOTS) or place.read_bytes() == source.read_bytes()


def _names(store: Path, folder: str) -> Iterator[str]:
    """Files with their final names, as paths in the store."""
    for place, _below, names in os.walk(store / folder):
        inside = Path(place).relative_to(store).as_posix()
        yield from (f"{inside}/{name}" for name in sorted(names) if not name.startswith("."))
