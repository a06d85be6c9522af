"""Depots: what no version needs is freed in them, and what one needs can be read; against real services."""

from __future__ import annotations

import random
from pathlib import Path

from artstore.sync.collect import collect_remote
from tests.sync.conftest import Machine
from tests.sync.objects.places import Place

SMALL = {f"d/{number}": b"small %d" % number for number in range(30)}
LARGE = {"large": random.Random(1).randbytes(1_200_000)}


def test_what_no_version_needs_is_freed_and_what_one_needs_can_be_read(place: Place, tmp_path: Path) -> None:
    one, other = (Machine(tmp_path, place.url, name) for name in ("one", "other"))
    one.put(SMALL | LARGE)
    one.push()
    other.pull()
    one.put(SMALL)
    one.store.delete("cats:v0", everywhere=True, force=True)
    one.push()
    before = set(place.open().names(""))
    (condemned,) = collect_remote(one.store, "hub").projects
    there = set(place.open().names(""))
    (swept,) = collect_remote(other.store, "hub", grace_s=0).projects
    after = set(place.open().names(""))
    cold = Machine(tmp_path, place.url, "cold")
    cold.pull()

    assert (1, 0, 1) == (condemned.condemned, condemned.swept, swept.swept)
    assert swept.freed_bytes == len(LARGE["large"])
    assert before <= there
    assert ["blobs"] == [name.split("/")[0] for name in there - after]
    for each in (one, other, cold):
        assert SMALL == each.read("cats:latest")
        assert each.store.verify().ok
