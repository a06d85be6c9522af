"""Bytes go from here only where a remote has shown that it has them, and come back when they are needed."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from artstore.errors import Conflict, Invalid, NotFound, Unreachable
from artstore.store import Store
from artstore.sync.connect import connect
from artstore.sync.evict import evict
from tests.sync.conftest import Machine

Make = Callable[..., Machine]

SMALL = {f"d/{number}": b"small %d" % number for number in range(20)}
LARGE = {"large": random.Random(3).randbytes(1_500_000)}


def stored(machine: Machine) -> int:
    return machine.store.status().stored_bytes


def files(machine: Machine) -> list[Path]:
    return [path for name in ("blobs", "packs") for path in (machine.store.path / name).rglob("*") if path.is_file()]


@pytest.mark.parametrize("read_all", [False, True])
def test_what_is_evicted_is_gone_and_comes_back_when_it_is_needed(machine: Make, *, read_all: bool) -> None:
    a = machine("a")
    a.put(SMALL | LARGE)
    a.push()
    report = evict(a.store, ["cats"], read_all=read_all)

    assert (21, sum(map(len, [*SMALL.values(), *LARGE.values()]))) == (report.blobs, report.bytes)
    assert (0, []) == (stored(a), files(a))
    assert a.store.verify().ok
    assert a.store.verify("cats").ok
    assert [] == a.store.repair().still_damaged
    connect(a.store)
    assert SMALL | LARGE == a.read("cats")


def test_the_last_copy_never_goes(machine: Make, depot: Path) -> None:
    a = machine("a")
    with pytest.raises(Invalid):
        evict(a.store)
    a.put(SMALL | LARGE)
    with pytest.raises(Conflict, match="push"):
        evict(a.store, ["cats"])
    a.push()
    for folder, end in (("blobs", ""), ("packs", ".tar")):
        there = depot_file(depot, folder, end)
        there.rename(depot / "aside")
        with pytest.raises(Conflict, match="last cop"):
            evict(a.store, ["cats"])
        (depot / "aside").rename(there)
    assert SMALL | LARGE == a.read("cats")
    depot.rename(depot.with_name("unmounted"))
    with pytest.raises(Unreachable):
        evict(a.store, ["cats"])
    (a.store.path / "remotes.toml").unlink()
    with pytest.raises(NotFound, match="no remote"):
        evict(a.store, ["cats"])


def depot_file(depot: Path, folder: str, end: str = "") -> Path:
    return next(path for path in sorted((depot / folder).rglob("*")) if path.is_file() and path.name.endswith(end))


@pytest.mark.parametrize(("folder", "end"), [("blobs", ""), ("packs", ".tar")])
def test_other_bytes_there_are_no_proof(machine: Make, depot: Path, folder: str, end: str) -> None:
    """A file of the right name and length that holds zeros, as a power cut leaves it, is the last thing to trust."""
    a = machine("a")
    a.put(SMALL | LARGE)
    a.push()
    there = depot_file(depot, folder, end)
    there.chmod(0o644)
    there.write_bytes(bytes(there.stat().st_size))

    with pytest.raises(Conflict, match="last cop"):
        evict(a.store, ["cats"])
    assert SMALL | LARGE == a.read("cats")


def test_one_rotten_bit_is_found_where_all_is_read(machine: Make, depot: Path) -> None:
    a = machine("a")
    a.put(LARGE)
    a.push()
    there = depot_file(depot, "blobs")
    data = bytearray(there.read_bytes())
    data[700_000] ^= 1
    there.chmod(0o644)
    there.write_bytes(data)

    with pytest.raises(Conflict, match="last cop"):
        evict(a.store, ["cats"], read_all=True)


def test_what_another_version_needs_stays(machine: Make) -> None:
    a = machine("a")
    a.put(SMALL | LARGE)
    a.push()
    a.put({"large": LARGE["large"], "d/1": SMALL["d/1"]}, name="dogs")
    report = evict(a.store, ["cats"])

    assert 19 == report.blobs
    (a.store.path / "remotes.toml").unlink()
    assert {"large": LARGE["large"], "d/1": SMALL["d/1"]} == a.read("dogs")
    assert a.store.verify().ok


def test_the_oldest_go_until_the_rest_fits(machine: Make) -> None:
    a = machine("a")
    for number in range(4):
        a.put({"x": bytes([number]) * 100_000})
    a.push()
    a.put({"x": b"waits" * 20_000})
    said = evict(a.store, to_fit=350_000, dry_run=True)
    report = evict(a.store, to_fit=350_000)
    again = evict(a.store, to_fit=350_000)
    hopeless = evict(a.store, to_fit=0)

    assert ["uncategorized/cats:v0", "uncategorized/cats:v1"] == said.versions == report.versions
    assert [500_000, 300_000, 300_000, 100_000] == [each.stored_bytes for each in (said, report, again, hopeless)]
    assert (0, []) == (again.blobs, again.versions)
    assert {"x": b"waits" * 20_000} == a.read("cats:v4")


def test_a_rebuilt_catalog_knows_what_was_evicted(machine: Make) -> None:
    a = machine("a")
    a.put(SMALL | LARGE)
    a.push()
    evict(a.store, ["cats"])
    a.store.close()
    (a.store.path / "catalog.db").unlink()
    assert [] == Store.rebuild(a.store.path).lost
    a.again()

    assert a.store.verify().ok
    assert SMALL | LARGE == a.read("cats")


def test_a_stretch_over_two_blocks_is_a_proof_too(machine: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether bytes are the last copy must not be a matter of chance."""

    class Last(random.Random):
        def randrange(self, start: int, stop: int | None = None, step: int = 1) -> int:
            return start - 1 if stop is None else stop - step

    monkeypatch.setattr("artstore.sync.proof._chance", Last())
    a = machine("a")
    a.put({"large": random.Random(4).randbytes((1 << 20) + (32 << 10))})
    a.push()

    assert evict(a.store, ["cats"]).blobs == 1


def test_evicted_bytes_may_be_put_again(machine: Make) -> None:
    """What is taken for stored, and is not, would be a version without bytes."""
    a = machine("a")
    version = a.put(SMALL | LARGE)
    a.push()
    evict(a.store, ["cats"])
    again = a.put(SMALL | LARGE)
    a.put(SMALL | LARGE, name="dogs")
    (a.store.path / "remotes.toml").unlink()
    a.again()

    assert again.id == version.id
    assert SMALL | LARGE == a.read("dogs")


def test_a_damaged_blob_is_mended_from_a_remote(machine: Make) -> None:
    """S9. The only good copy is a network away, and nobody should have to look for it by hand."""
    a = machine("a")
    a.put(SMALL | LARGE)
    a.push()
    for path in files(a):
        data = bytearray(path.read_bytes())
        data[514] ^= 1
        path.chmod(0o644)
        path.write_bytes(data)
    assert not a.store.verify().ok
    a.again()
    report = a.store.repair()

    assert [] == report.still_damaged
    assert len(report.mended) >= 2
    (a.store.path / "remotes.toml").unlink()
    a.again()
    assert a.store.verify().ok
    assert SMALL | LARGE == a.read("cats")


def test_what_no_remote_can_mend_is_still_damaged(machine: Make, depot: Path) -> None:
    a = machine("a")
    a.put(LARGE)
    a.push()
    (path,) = files(a)
    path.unlink()
    a.store.verify()
    depot.rename(depot.with_name("unmounted"))
    a.again()

    assert 1 == len(a.store.repair().still_damaged)
