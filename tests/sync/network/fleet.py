"""Fleets: stores that have the same by way of one remote, and what must be true of them whatever the network did."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from artstore.errors import NotFound, Unreachable
from artstore.lifecycle.reports import VersionInfo
from artstore.storage.blobs import SMALL
from artstore.sync.http import connection, receiving, uploading
from artstore.sync.rounds import Verb, exchange
from tests.sync.conftest import Machine

LARGE = SMALL + (SMALL >> 2)
"""Bytes of the large file of each version."""


class Fleet:
    """Some stores, and every version that was ever made in one of them."""

    def __init__(self, folder: Path, far: str, near: str, seed: int, *, stores: int = 2) -> None:
        """The stores reach the remote at `far`; who looks what is there, at `near`."""
        self._folder = folder
        self._near = near
        self._seed = seed
        self.machines = [Machine(folder, far, f"store-{number}") for number in range(stores)]
        self._made: dict[str, int] = {}
        self._acknowledged: set[str] = set()
        self._looks = 0

    def make(self, machine: Machine) -> None:
        """Commit a version that nobody else has."""
        number = len(self._made)
        self._made[machine.put(self._files(number)).id] = number

    def move(self, machine: Machine, verb: Verb, *, blobs: bool = False) -> bool:
        """Push or pull; False where the network did not let it. Anything else that goes wrong is a fault."""
        try:
            report = exchange(machine.store, verb, blobs=blobs)
        except Unreachable:
            return False
        finally:
            self._acknowledged |= {each.id for each in _versions(machine) if not each.provisional}
        errors = [project.error for project in report.projects if project.error]
        assert not errors, errors
        return True

    def settle(self) -> None:
        """Let all have everything, and look at it: nothing is lost, nothing is there twice, all is whole.

        The network must be well.
        """
        for machine in self.machines * 2:
            assert self.move(machine, "sync", blobs=True)
        self._looks += 1
        witness = Machine(self._folder, self._near, f"witness-{self._looks}")
        assert self.move(witness, "pull", blobs=True)
        for machine in [*self.machines, witness]:
            versions = _versions(machine)
            assert set(self._made) == {each.id for each in versions}
            assert list(range(len(self._made))) == sorted(each.number for each in versions)
            assert self._acknowledged <= set(self._made)
            assert machine.store.verify().ok
        assert 1 == len({(each.state_hash(), str(each.names())) for each in [*self.machines, witness]})
        for id_, number in self._made.items():
            assert self._files(number) == witness.read(f"cats@{id_}")
        witness.store.close()

    def close(self) -> None:
        """Let go of the stores."""
        for machine in self.machines:
            machine.store.close()

    def _files(self, number: int) -> dict[str, bytes]:
        chance = random.Random(self._seed * 1_000_003 + number)
        small = {f"d/{name}": chance.randbytes(200) for name in range(3)}
        return {**small, "large": chance.randbytes(LARGE)}


@contextlib.contextmanager
def in_haste() -> Iterator[None]:
    """Who is cut off asks again at once, as often as ever."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(connection, "_LONGEST_PAUSE_S", 0.05)
        patch.setattr(uploading, "_PAUSE_S", 0.02)
        patch.setattr(receiving, "_PAUSE_S", 0.02)
        yield


def _versions(machine: Machine) -> list[VersionInfo]:
    with contextlib.suppress(NotFound):
        return machine.store.versions("cats")
    return []
