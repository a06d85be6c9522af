"""A mirror beside which others are at work, or of which a listing is old: what was said to be there is there."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from artstore.errors import Unreachable
from artstore.sync.depots.collect import collect_remote
from artstore.sync.evict import evict
from artstore.sync.mirrors.mirror import Mirror, MirrorShelf
from artstore.sync.mirrors.pages import More, Pending
from artstore.sync.mirrors.said import Said
from artstore.sync.rounds import exchange
from tests.sync.conftest import PROJECT, Machine
from tests.sync.simulation.fate import Death
from tests.sync.test_mirror import Lone, Make, files, mirror_at

DOGS = {"large": b"again" * 300_000, "x": b"x"}


def die(*_: object) -> bool:
    raise Death


@pytest.fixture
def fresh(tmp_path: Path, stick: Path) -> Iterator[Machine]:
    """A store that sees the mirror alone."""
    made = Lone(tmp_path, "fresh")
    mirror_at(made, stick)
    yield made
    made.store.close()


def two(machine: Make, stick: Path) -> tuple[Machine, Machine]:
    """Two stores of one log, which is on the mirror."""
    a, b = machine("a"), machine("b")
    for each in (a, b):
        mirror_at(each, stick)
    a.put({"n": b"n"})
    a.push()
    a.move("push", remote="stick")
    b.pull()
    return a, b


def test_what_was_swept_and_lies_there_still_is_sent_again(
    machine: Make, fresh: Machine, stick: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The collector was killed, or is slow: who had put it there took it for there, and nobody else would read it."""
    a, b = two(machine, stick)
    b.put(DOGS, name="dogs")
    claim = Said.offer

    def offer(said: Said, project: str, store: str, count: int, pending: Pending) -> bool:
        monkeypatch.undo()
        with monkeypatch.context() as patch:
            patch.setattr(MirrorShelf, "remove", die)
            with pytest.raises(Death):
                collect_remote(a.store, "stick", grace_s=0)
        return claim(said, project, store, count, pending)

    monkeypatch.setattr(Said, "offer", offer)
    b.move("push", remote="stick")
    before = files(stick / "mirror" / "blobs")
    (report,) = collect_remote(a.store, "stick", grace_s=0).projects
    fresh.move("pull", remote="stick")

    assert DOGS == fresh.read("dogs")
    # Twice the large one, until what was swept has gone at last.
    assert (2, 2) == (len(before), report.swept)


def test_lost_bytes_of_what_was_deleted_come_again_with_the_same_content(
    machine: Make, fresh: Machine, stick: Path
) -> None:
    """No version needed them when they were lost, and the next one was there for ever without."""
    a = machine("a")
    mirror_at(a, stick)
    a.put({"x": b"x"})
    a.push()
    a.move("push", remote="stick")
    a.store.delete("cats:v0", everywhere=True, force=True)
    a.push()
    for pack in files(stick / "mirror" / "packs"):
        pack.unlink()
    a.put({"x": b"x"})
    a.push()
    a.move("push", remote="stick")
    fresh.move("pull", remote="stick", blobs=True)

    assert {"x": b"x"} == fresh.read("cats")


def test_what_nobody_has_said_to_stay_is_not_evicted(
    machine: Make, stick: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A push was killed behind its page, and a collector that had looked before frees what that names."""
    a, b = two(machine, stick)
    b.put(DOGS, name="dogs")
    b.push()
    claim, tell = Mirror.claim, Said.tell

    def behind(mirror: Mirror, project: str, number: int, data: bytes) -> bool:
        assert claim(mirror, project, number, data)
        raise Death

    def push(claimed: object) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(Mirror, "claim", claimed)
            with pytest.raises(Death):
                b.move("push", remote="stick")

    def say(said: Said, project: str, number: int, more: More) -> bool:
        if more.swept:
            monkeypatch.undo()
            push(behind)
            with pytest.raises(Unreachable):
                evict(b.store, ["dogs"])
        return tell(said, project, number, more)

    push(die)
    shutil.rmtree(b.depot)
    monkeypatch.setattr(Said, "tell", say)
    (report,) = collect_remote(a.store, "stick", grace_s=0).projects
    b.move("push", remote="stick")
    evict(b.store, ["dogs"])

    assert 2 == report.swept
    assert DOGS == b.read("dogs")


def test_what_a_listing_does_not_have_yet_is_not_said_over(
    machine: Make, fresh: Machine, stick: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A push with an old listing took the name that was there for free for ever; and what a store from a backup had
    said since was dropped."""
    a = machine("a")
    mirror_at(a, stick)
    a.put({"n": b"n"})
    a.move("push", remote="stick")
    listed = {a.store.root.format.store_id: [1]}
    a.store.close()
    shutil.copytree(a.folder, tmp_path / "backup")
    a.again()
    a.put({"today": b"today"})
    with monkeypatch.context() as patch:
        patch.setattr(Said, "tell", die)
        with pytest.raises(Death):
            a.move("push", remote="stick")
    a.store.close()
    shutil.rmtree(a.folder)
    shutil.copytree(tmp_path / "backup", a.folder)
    a.again()
    a.put({"after": b"after"})
    with monkeypatch.context() as patch:
        patch.setattr(Said, "waits", lambda _said, _project: listed)
        a.move("push", remote="stick")
    a.move("push", remote="stick")
    fresh.move("pull", remote="stick")

    assert {"n": b"n"} == fresh.read("cats:v0")
    assert {"today", "after"} == {next(iter(fresh.read(f"cats:v{number}"))) for number in (1, 2)}


def test_pages_of_others_that_came_since_it_was_looked_are_known(
    machine: Make, stick: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What they name was never read again, so that bytes that only the mirror has were said to be nowhere."""
    a, b = two(machine, stick)
    b.put(DOGS, name="dogs")
    b.push()
    a.pull()
    a.put({"more": b"more"})
    a.push()
    numbers = Mirror.numbers

    def listed(mirror: Mirror, project: str) -> list[int]:
        monkeypatch.undo()
        b.move("push", remote="stick")
        return numbers(mirror, project)

    monkeypatch.setattr(Mirror, "numbers", listed)
    a.move("push", remote="stick")
    shutil.rmtree(a.depot)
    shutil.rmtree(b.folder)
    a.again()

    assert 3 == len(files(stick / "mirror" / "log"))
    assert DOGS == a.read("dogs")


def test_what_a_page_names_that_was_put_back_is_told_to_who_knew_the_lost_one(machine: Make, stick: Path) -> None:
    """They would look for ever for what the lost one had named, which nobody needed any more, and was freed."""
    a, b = two(machine, stick)
    c = machine("c")
    mirror_at(c, stick)
    a.put({"behind": b"behind"}, name="dogs")
    a.push()
    a.move("push", remote="stick")
    b.pull()
    b.move("push", remote="stick")
    c.move("pull", blobs=True)
    page, _behind = files(stick / "mirror" / "log")
    page.unlink()
    c.move("push", remote="stick")
    (report,) = collect_remote(c.store, "stick", grace_s=0).projects
    shutil.rmtree(a.depot)
    b.again()

    assert (None, 1) == (report.error, report.swept)
    assert {"n": b"n"} == b.read("cats")


def test_what_counts_far_on_is_an_error_at_once(machine: Make, stick: Path) -> None:
    """Each number before was asked for: a name that somebody put there held everybody up for days."""
    a = machine("a")
    mirror_at(a, stick)
    a.put({"n": b"n"})
    a.move("push", remote="stick")
    (first,) = files(stick / "mirror" / "more")
    (first.parent / "999999999999").write_bytes(b"")
    (report,) = exchange(a.store, "sync", remote="stick").projects

    assert "remote-corrupt" == report.code
    assert f"remove `mirror/more/{PROJECT}/999999999999`" in str(report.error)


def test_what_waited_there_is_not_sent_again_when_it_was_accepted(machine: Make, stick: Path) -> None:
    a = machine("a")
    mirror_at(a, stick)
    for number in range(2):
        a.put({"x": b"%d" % number})
        a.move("push", remote="stick")
    there = files(stick / "mirror" / "packs")
    a.push()
    a.move("push", remote="stick")

    assert there == files(stick / "mirror" / "packs")
