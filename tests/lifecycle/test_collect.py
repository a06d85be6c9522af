"""Collect: what is freed can be had back for as long as was promised, whatever a clock says."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from artstore.lifecycle.reports import VersionInfo
from artstore.store import Store

Put = Callable[[Mapping[str, bytes]], VersionInfo]

DAY_S = 86_400
GRACE_S = 7 * DAY_S
DECADE_S = 3650 * DAY_S


class Clock:
    """What time.time says: the truth and how far it is off."""

    def __init__(self) -> None:
        self._real = time.time
        self.off_s = 0.0

    def time(self) -> float:
        return self._real() + self.off_s

    def time_ns(self) -> int:
        return int(self.time() * 1e9)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(time, "time", clock.time)
    monkeypatch.setattr(time, "time_ns", clock.time_ns)
    return clock


@pytest.fixture
def trashed(store: Store, put: Put, clock: Clock) -> Callable[[], bool]:
    """A version whose bytes are in the trash, and whether they still are."""
    del clock
    put({"a": b"unwanted" * 1000})
    store.delete("cats:v0")
    assert store.gc(grace_s=GRACE_S).trashed_bytes > 0

    def is_there() -> bool:
        return any(path.is_file() and path.parent.name == "packs" for path in (store.path / "trash").rglob("*"))

    assert is_there()
    return is_there


@pytest.mark.parametrize(
    "jumps",
    [
        [DECADE_S] * 3,
        [-DECADE_S] * 3,
        [-DECADE_S, 0, 0],
        [DECADE_S, 0, 0],
        [DECADE_S, 0] * 3 + [DECADE_S],
        [0, 0, DECADE_S, DECADE_S],
    ],
    ids=["ahead", "behind", "behind-and-right", "ahead-and-right", "to-and-fro", "ahead-later"],
)
def test_a_wrong_clock_does_not_empty_the_trash(
    store: Store, clock: Clock, trashed: Callable[[], bool], jumps: list[float]
) -> None:
    """P10. Who deleted by mistake, and was promised a week, must not lose the bytes to a battery that ran out."""
    for off_s in jumps:
        clock.off_s = off_s
        store.gc(grace_s=GRACE_S)

    assert trashed()


@pytest.mark.parametrize("jump_s", [0, DECADE_S, -DECADE_S])
def test_a_wrong_clock_only_delays(store: Store, clock: Clock, trashed: Callable[[], bool], jump_s: float) -> None:
    """I9, I18, P10. The trash is emptied all the same, when the grace is over, and a few collections later at most."""
    days = 0
    while trashed():
        days += 1
        # It jumped on the third day, and the next day it was set right.
        clock.off_s = days * DAY_S + (jump_s if days == 3 else 0)
        store.gc(grace_s=GRACE_S)

    assert GRACE_S / DAY_S < days <= GRACE_S / DAY_S + 4


def test_the_trash_goes_with_the_second_collection_after_the_grace(
    store: Store, clock: Clock, trashed: Callable[[], bool]
) -> None:
    """I9. Who collects once a month does not keep everything for ever."""
    clock.off_s = 30 * DAY_S
    store.gc(grace_s=GRACE_S)
    assert trashed()
    clock.off_s = 60 * DAY_S
    store.gc(grace_s=GRACE_S)

    assert not trashed()
    assert [] == list((store.path / "trash").iterdir())


@pytest.mark.parametrize("off_s", [DECADE_S, -DECADE_S, -100 * DECADE_S])
def test_a_grace_of_0_asks_no_clock(store: Store, clock: Clock, trashed: Callable[[], bool], off_s: float) -> None:
    """Who needs the room now gets it."""
    clock.off_s = off_s
    assert store.gc(grace_s=0).freed_bytes > 0

    assert not trashed()


@pytest.mark.parametrize("off_s", [DECADE_S, -DECADE_S])
def test_a_wrong_clock_frees_nothing_that_a_session_needs(
    store: Store, clock: Clock, tmp_path: Path, off_s: float
) -> None:
    """I8, I18, P10. A session lives while its kernel lock is held, however long ago it seems to have begun."""
    file = tmp_path / "file"
    file.write_bytes(b"draft" * 1000)
    with store.draft() as draft:
        draft.add_file(file, "a")
        clock.off_s = off_s
        store.gc(grace_s=0)
        version = store.commit(draft, name="cats", type="dataset")
    store.gc(grace_s=0)

    assert b"draft" * 1000 == b"".join(store.read(version.ref, "a"))
    assert store.verify().ok


@pytest.mark.parametrize("grace_s", [0, DAY_S])
def test_a_dry_run_foretells_what_the_same_call_does(store: Store, put: Put, clock: Clock, grace_s: float) -> None:
    """Who needs the space now, and reads that 2 MiB would be freed, deletes nothing more, and gets none."""
    for data in (b"1", b"2", b"3"):
        put({"a": data * (2 << 20)})
    store.delete("cats:v0")
    store.gc(grace_s=DAY_S)
    for _ in range(3):
        # Twice seen in the trash, so that its age is believed; see _age_s.
        clock.off_s += DAY_S
        store.gc(grace_s=10 * DAY_S)
    store.delete("cats:v1")
    foreseen, done = store.gc(grace_s=grace_s, dry_run=True), store.gc(grace_s=grace_s)

    assert (4 << 20 if grace_s == 0 else 2 << 20) <= done.freed_bytes
    for field in ("freed_bytes", "freed_blobs", "trashed_bytes", "trash_bytes", "kept_by_sessions"):
        # The disk counts in blocks, and what the trash notes of itself has one.
        assert (field, getattr(done, field)) == (field, pytest.approx(getattr(foreseen, field), abs=8192))


def test_a_dry_run_counts_what_sessions_keep(store: Store, put: Put) -> None:
    put({"a": b"1" * (2 << 20)})
    with store.draft():
        store.delete("cats:v0")
        foreseen, done = store.gc(grace_s=0, dry_run=True), store.gc(grace_s=0)

    assert (0, 0, 1) == (done.freed_bytes, done.freed_blobs, done.kept_by_sessions)
    assert (0, 0, 1) == (foreseen.freed_bytes, foreseen.freed_blobs, foreseen.kept_by_sessions)
