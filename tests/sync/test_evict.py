"""Bytes go from here only where a remote has shown that it has them, and come back when they are needed."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

import pytest

from artstore.errors import Conflict, Invalid, NotFound, Unreachable
from artstore.store import Store
from artstore.sync.adopt import add_upstream
from artstore.sync.connect import connect
from artstore.sync.evict import evict
from artstore.sync.hosting.tokens import create_token
from artstore.sync.leave import leave
from artstore.sync.recover import recover
from artstore.sync.remotes import add_remote
from artstore.sync.rounds import exchange
from tests.sync.conftest import Machine
from tests.sync.serving import served

Make = Callable[..., Machine]
Kind = Literal["large", "small"]

SMALL = {f"d/{number}": b"small %d" % number for number in range(20)}
LARGE = {"large": random.Random(3).randbytes(1_500_000)}


class Hub:
    """A remote, and the files in which it has what it has."""

    def __init__(self, url: str, folder: Path, ending: contextlib.ExitStack) -> None:
        self.url = url
        self.folder = folder
        self._ending = ending

    def file(self, kind: Kind) -> Path:
        """Where the first large blob lies, or the first pack of small ones."""
        paths = self.folder.joinpath("blobs" if kind == "large" else "packs").rglob("*" if kind == "large" else "*.tar")
        return next(path for path in sorted(paths) if path.is_file())

    def go_away(self) -> None:
        """Nobody can reach it from now on."""
        self._ending.close()


@pytest.fixture(params=["depot", "server"])
def hub(request: pytest.FixtureRequest, tmp_path: Path, depot: Path) -> Iterator[Hub]:
    """A remote of each kind of which there are two kinds of proof."""
    with contextlib.ExitStack() as ending:
        if request.param == "server":
            server = ending.enter_context(served(tmp_path / "server"))
            yield Hub(server.url, server.store.path, ending)
        else:
            ending.callback(depot.rename, depot.with_name("unmounted"))
            yield Hub(f"file://{depot}", depot, ending)


@pytest.fixture
def machine(hub: Hub, tmp_path: Path) -> Iterator[Make]:
    """Set up a machine with the remote as its upstream."""
    made: list[Machine] = []

    def make(name: str) -> Machine:
        made.append(Machine(tmp_path, hub.url, name))
        return made[-1]

    yield make
    for each in made:
        each.store.close()


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


def test_the_last_copy_never_goes(machine: Make, hub: Hub, tmp_path: Path) -> None:
    a = machine("a")
    with pytest.raises(Invalid):
        evict(a.store)
    a.put(SMALL | LARGE)
    with pytest.raises(Conflict, match="push"):
        evict(a.store, ["cats"])
    a.push()
    kinds: tuple[Kind, ...] = ("large", "small")
    for kind in kinds:
        there = hub.file(kind)
        there.rename(tmp_path / "aside")
        with pytest.raises(Conflict, match="last cop"):
            evict(a.store, ["cats"])
        (tmp_path / "aside").rename(there)
    assert SMALL | LARGE == a.read("cats")
    hub.go_away()
    with pytest.raises(Unreachable):
        evict(a.store, ["cats"])
    (a.store.path / "remotes.toml").unlink()
    with pytest.raises(NotFound, match="no remote"):
        evict(a.store, ["cats"])


@pytest.mark.parametrize("kind", ["large", "small"])
def test_other_bytes_there_are_no_proof(machine: Make, hub: Hub, kind: Kind) -> None:
    """A file of the right name and length that holds zeros, as a power cut leaves it, is the last thing to trust."""
    a = machine("a")
    a.put(SMALL | LARGE)
    a.push()
    there = hub.file(kind)
    there.chmod(0o644)
    there.write_bytes(bytes(there.stat().st_size))

    with pytest.raises(Conflict, match="last cop"):
        evict(a.store, ["cats"])
    assert SMALL | LARGE == a.read("cats")


def test_one_rotten_bit_is_found_where_all_is_read(machine: Make, hub: Hub) -> None:
    a = machine("a")
    a.put(LARGE)
    a.push()
    there = hub.file("large")
    data = bytearray(there.read_bytes())
    data[700_000] ^= 1
    there.chmod(0o644)
    there.write_bytes(data)

    with pytest.raises(Conflict, match="last cop"):
        evict(a.store, ["cats"], read_all=True)


def test_what_another_version_needs_stays(machine: Make) -> None:
    """And is said to, with whose it is: whoever wants the space evicts both."""
    a = machine("a")
    a.put(SMALL | LARGE)
    a.push()
    a.put({"large": LARGE["large"], "d/1": SMALL["d/1"]}, name="dogs")
    report = evict(a.store, ["cats"])

    assert (19, 2, ["uncategorized/dogs:v0"]) == (report.blobs, report.held_blobs, report.held_by)
    (a.store.path / "remotes.toml").unlink()
    assert {"large": LARGE["large"], "d/1": SMALL["d/1"]} == a.read("dogs")
    assert a.store.verify("dogs").ok


def test_what_waits_to_be_pushed_never_goes_whatever_the_remote_has_for_others(machine: Make) -> None:
    """The others may be deleted, and their bytes with them, before it is pushed."""
    a, b = machine("a"), machine("b")
    a.put(SMALL | LARGE)
    a.push()
    a.put(SMALL | LARGE, name="dogs")
    with pytest.raises(Conflict, match="push"):
        evict(a.store, ["cats", "dogs"])
    assert 0 == evict(a.store, to_fit=0).blobs
    assert 0 == evict(a.store, ["cats"]).blobs
    b.pull()
    b.store.delete("cats:v0", everywhere=True)
    b.push()
    a.push()

    assert SMALL | LARGE == a.read("dogs")
    a.store.gc(grace_s=0, deleted=True)
    assert 0 < evict(a.store, ["dogs"]).blobs


def test_what_was_put_again_and_waits_keeps_its_bytes(machine: Make) -> None:
    """Where somebody has deleted the version meanwhile, it becomes one of its own, which nobody else has."""
    a, b = machine("a"), machine("b")
    a.put(SMALL | LARGE)
    a.put({"x": b"x"})
    a.push()
    b.pull()
    a.put(SMALL | LARGE)
    evict(a.store, ["cats:v0"])
    b.store.delete("cats:v0", everywhere=True)
    b.push()
    a.push()
    (a.store.path / "remotes.toml").unlink()

    assert SMALL | LARGE == a.read("cats")
    assert a.store.verify().ok


def test_what_was_put_again_and_waits_outlives_the_version_that_it_was(machine: Make) -> None:
    """Whoever deleted both knew of one: what comes of the other is seen when it is pushed, and must be whole then."""
    a, b = machine("a"), machine("b")
    a.put(SMALL | LARGE)
    a.put({"x": b"x"})
    a.push()
    b.pull()
    a.put(SMALL | LARGE)
    b.store.delete("cats:v0", everywhere=True)
    b.push()
    a.store.delete("cats:v0", force=True)
    a.store.gc(grace_s=0)
    a.push()

    assert SMALL | LARGE == a.read("cats")
    assert a.store.verify().ok


def test_many_versions_are_asked_about_together(tmp_path: Path) -> None:
    """A question for each would take minutes over a network, whichever version is to go."""
    with served(tmp_path / "server") as server:
        a = Machine(tmp_path, server.url, "a")
        for number in range(12):
            a.put({"x": b"%d" % number})
        a.push()
        evict(a.store, to_fit=0)
        a.put(SMALL)
        a.push()
        server.requests.clear()
        evict(a.store, ["cats"])
        a.store.close()

    assert len(server.requests) < 12


@pytest.mark.parametrize("references", [["cats:v1"], []])
def test_what_a_log_that_was_set_back_no_longer_names_stays_here(
    tmp_path: Path, depot: Path, references: list[str]
) -> None:
    """The bytes were still there, and the next collector of the depot, rightly, swept them: there was no copy left."""
    a = Machine(tmp_path, depot, "a")
    a.put(SMALL)
    a.push()
    a.put(LARGE)
    a.push()
    (depot / "log" / "uncategorized" / "000000000002").unlink()
    with pytest.raises(Conflict, match=r"set back to an older state.*remote recover"):
        evict(a.store, references, to_fit=None if references else 0)
    recover(a.store)
    evict(a.store, ["cats:v1"])

    assert LARGE == a.read("cats:v1")
    a.store.close()


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

    for place in ("depots.proof", "http.stretches"):
        monkeypatch.setattr(f"artstore.sync.{place}._chance", Last())
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


def test_what_no_remote_can_mend_is_still_damaged(machine: Make, hub: Hub) -> None:
    a = machine("a")
    a.put(LARGE)
    a.push()
    (path,) = files(a)
    path.unlink()
    a.store.verify()
    hub.go_away()
    a.again()

    assert 1 == len(a.store.repair().still_damaged)


def test_what_is_longer_than_one_look_is_read_in_several(
    machine: Make, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file of many GB takes longer to read than anybody waits for an answer."""
    monkeypatch.setattr("artstore.sync.http.stretches._TOGETHER", 1 << 20)
    a = machine("a")
    data = random.Random(5).randbytes(2_500_000)
    a.put({"large": data, "empty": b""})
    a.push()
    there = hub.file("large")
    there.chmod(0o644)
    there.write_bytes(data[:2_200_000] + b"!" + data[2_200_001:])
    with pytest.raises(Conflict, match="last cop"):
        evict(a.store, ["cats"], read_all=True)
    there.write_bytes(data)

    assert 2 == evict(a.store, ["cats"], read_all=True).blobs


def test_who_may_read_only_may_evict(tmp_path: Path) -> None:
    """A machine that only follows has the most to free, and its token is the weakest."""
    with served(tmp_path / "server") as server, Store.init(tmp_path / "store") as store:
        one = Machine(tmp_path, server.url, "one")
        one.put(SMALL | LARGE)
        one.push()
        one.store.close()
        (tmp_path / "token").write_text(
            create_token(server.store.path, scope="read", project=None, expires_s=None).token
        )
        add_remote(store.path, "hub", server.url, upstream=True, join=True, token_file=tmp_path / "token")
        exchange(store, "pull", blobs=True)

        assert 21 == evict(store, ["cats"]).blobs
        connect(store)
        assert LARGE["large"] == b"".join(store.read("cats", "large"))


def test_the_only_remote_with_evicted_bytes_is_not_forgotten_unasked(machine: Make, tmp_path: Path) -> None:
    """The bytes were here once, and nobody would have known any more where they are."""
    a, b = machine("a"), machine("b")
    a.put(LARGE)
    a.push()
    b.pull()
    evict(a.store, ["cats"])
    with pytest.raises(
        Conflict, match=r"^uncategorized/cats:v0 were evicted here, .*`artstore pull --blobs`"
    ) as caught:
        leave(a.store, "hub")
    (tmp_path / "stick").mkdir()
    add_remote(a.store.path, "stick", f"file://{tmp_path}/stick", upstream=False, join=False)
    with pytest.raises(Conflict):
        leave(a.store, "hub")
    a.move("push", remote="stick")
    evict(a.store, ["cats"])

    assert "last-copy" == caught.value.code
    assert "hub" == leave(a.store, "hub").name
    with pytest.raises(Conflict):
        leave(a.store, "stick")
    assert "stick" == leave(a.store, "stick", force=True).name
    assert "hub" == leave(b.store, "hub").name, "it never had them"


def test_what_no_remote_has_any_more_is_said_to_be_missing(machine: Make, hub: Hub, tmp_path: Path) -> None:
    """`verify` called a store whole whose bytes were nowhere, since they had once been somewhere else."""
    a, b = machine("a"), machine("b")
    a.put(SMALL | LARGE)
    a.push()
    b.pull()
    evict(a.store, ["cats"])
    hub.go_away()
    elsewhere = a.store.verify().problems
    a.again()
    leave(a.store, "hub", force=True)
    problems = a.store.verify().problems
    (tmp_path / "new").mkdir()
    leave(b.store, "hub", force=True)
    never_here = b.store.verify().problems
    add_upstream(b.store, "new", f"file://{tmp_path}/new", join=False)
    waits = b.store.verify("cats").problems

    assert [] == elsewhere, "who cannot be asked may have it"
    assert [] == never_here, "it is whoever keeps that log who has to answer for it"
    assert {"blob-missing"} == {each.kind for each in [*problems, *waits]}
    assert [21, 21] == [len(problems), len(waits)]
    assert all("of uncategorized/cats:v0: " in each.message for each in [*problems, *waits])
    assert all("artstore remote add" in each.message for each in problems)
    (tmp_path / "copy").mkdir()
    for name, data in (SMALL | LARGE).items():
        (tmp_path / "copy" / name.replace("/", "-")).write_bytes(data)
    assert 21 == len(a.store.repair().still_damaged)
    assert [] == a.store.repair([tmp_path / "copy"]).still_damaged
    assert a.store.verify().ok
