"""Depots: what no version needs is freed in them, and what one needs can be read; against real services."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import pytest

from artstore.errors import Conflict
from artstore.model.digest import Digest
from artstore.sync.depots.collect import collect_remote
from artstore.sync.recover import recover
from artstore.sync.remotes import add_remote
from artstore.sync.rounds import exchange
from tests.sync.conftest import Machine
from tests.sync.objects.places import Place

SMALL = {f"d/{number}": b"small %d" % number for number in range(30)}
LARGE = {"large": random.Random(1).randbytes(1_200_000)}


@pytest.mark.slow
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


@pytest.mark.slow
def test_what_was_deleted_is_freed_in_a_mirror_and_what_waits_there_is_not(place: Place, tmp_path: Path) -> None:
    (tmp_path / "depot").mkdir()
    one, other, cold = (Machine(tmp_path, tmp_path / "depot", name) for name in ("one", "other", "cold"))
    for each in (one, other, cold):
        add_remote(each.store.path, "stick", place.url, upstream=False, join=True)
    one.put(SMALL | LARGE)
    one.push()
    one.move("push", remote="stick")
    other.pull()
    other.put(LARGE, name="dogs")
    one.store.delete("cats:v0", everywhere=True, force=True)
    one.push()
    other.move("push", remote="stick")
    reports = [collect_remote(one.store, "stick", grace_s=grace).projects[0] for grace in (3600.0, 0.0, 0.0)]
    shutil.rmtree(tmp_path / "depot")
    cold.move("pull", remote="stick")
    packs = {name for name in place.open().names("mirror/packs/") if name.endswith(".tar")}

    assert [(1, 0, 0), (0, 1, 0), (0, 0, 0)] == [(each.condemned, each.swept, each.missing) for each in reports]
    assert set() == packs
    assert LARGE == cold.read("dogs")


@pytest.mark.slow
def test_what_a_depot_has_lost_comes_again_from_a_store_that_has_it(place: Place, tmp_path: Path) -> None:
    """A push takes for there what the log names, so bytes that a depot had lost were lost to all others for good."""
    one, cold = (Machine(tmp_path, place.url, name) for name in ("one", "cold"))
    files = {"x": b"few", "y": b"more" * 400_000} | LARGE
    one.put(files)
    one.push()
    objects = place.open()
    stored = [name for name in objects.names("") if name.split("/")[0] in {"packs", "blobs", "manifests"}]
    (cut,) = [name for name in stored if f"/{Digest.of(LARGE['large']).hex()}." in name]
    for name in stored:
        objects.remove(name)
    objects.write(cut, [LARGE["large"][:-1]], len(LARGE["large"]) - 1)
    (lost,) = exchange(cold.store, "pull").projects
    (report,) = recover(one.store).projects
    cold.pull()

    assert "object-missing" == lost.code
    assert "`artstore remote recover` in a store" in str(lost.error)
    assert (None, [], 3, 1) == (report.error, report.lost, report.pushed.blobs, report.pushed.lists)
    assert files == cold.read("cats")
    with pytest.raises(Conflict, match="nothing to recover"):
        recover(one.store)
