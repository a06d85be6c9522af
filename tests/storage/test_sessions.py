"""Sessions: alive is who holds a lock, and nothing else."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest

from artstore.errors import Conflict
from artstore.storage import sessions
from artstore.storage.sessions import Exclusive, Session, begin_epoch, current_epoch, live_sessions
from tests.conftest import Children

HOLD = """
import sys
from pathlib import Path
from artstore.storage.sessions import Session
session = Session(Path(sys.argv[1]), "hold")
(session.scratch() / "unfinished").write_bytes(b"data")
print(session.id)
sys.stdin.read()
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    for name in ("locks", "tmp"):
        (tmp_path / name).mkdir()
    return tmp_path


def ids(place: Path, *, but: Session | None = None) -> set[str]:
    return {str(about["id"]) for _, about in live_sessions(place, but=but)}


def left(place: Path) -> list[str]:
    """What lies in the folders of the sessions."""
    return sorted(path.name for folder in ("locks", "tmp") for path in (place / folder).iterdir())


def test_a_session_is_seen_while_it_lives(place: Path) -> None:
    before = time.time()
    with Session(place, "put") as session:
        ((epoch, about),) = live_sessions(place)

    assert (0, session.id, "put", os.getpid()) == (epoch, about["id"], about["verb"], about["pid"])
    assert before <= about["since"] <= time.time()
    assert (set(), []) == (ids(place), left(place))


def test_a_session_of_one_s_own_can_be_left_out(place: Path) -> None:
    """`gc` is a session too, and must not wait for itself."""
    with Session(place, "gc") as mine, Session(place, "put") as other:
        assert {other.id} == ids(place, but=mine)


def test_a_killed_process_is_dead_at_once(place: Path, children: Children) -> None:
    """S11. No clock, no process number: the kernel gives the lock back, and what was unfinished goes."""
    child = children.start(HOLD, place)
    assert child.stdout is not None
    id_ = child.stdout.readline().strip()
    alive = ids(place)
    was_left = left(place)
    child.kill()
    child.wait()

    assert ({id_}, [f"00000000-{id_}", id_]) == (alive, was_left)
    assert (set(), []) == (ids(place), left(place))


def test_a_live_one_s_unfinished_files_stay(place: Path, children: Children) -> None:
    """The put of another process would fail in the middle."""
    child = children.start(HOLD, place)
    assert child.stdout is not None
    id_ = child.stdout.readline().strip()
    live_sessions(place)

    assert (place / "tmp" / id_ / "unfinished").read_bytes() == b"data"


def test_a_fork_that_ends_a_session_does_not_end_its_parent_s(place: Path) -> None:
    """P9. A worker that was forked inside a put leaves by the same `with`, and would delete the put's files."""
    with Session(place, "put") as session:
        (session.scratch() / "unfinished").write_bytes(b"data")
        child = os.fork()
        if child == 0:
            session.end()
            os._exit(0)
        os.waitpid(child, 0)

        assert {session.id} == ids(place)
        assert (session.scratch() / "unfinished").read_bytes() == b"data"


def test_the_scratch_folder_goes_with_the_session(place: Path) -> None:
    session = Session(place, "put")
    (session.scratch() / "file").write_bytes(b"")
    session.scratch()
    session.end()
    session.end()

    assert left(place) == []


def test_a_folder_without_a_session_is_cleared(place: Path) -> None:
    (place / "tmp" / "0123456789abcdef").mkdir()
    with Session(place, "put") as session:
        session.scratch()
        live_sessions(place)

        assert [session.id] == [path.name for path in (place / "tmp").iterdir()]


def test_a_file_left_in_the_scratch_folder_is_cleared(place: Path) -> None:
    """A small file that was being replaced when the power went would lie there for ever."""
    (place / "tmp" / "format.json.0011.tmp").write_bytes(b"{")
    live_sessions(place)

    assert left(place) == []


def test_an_epoch_tells_the_old_from_the_new(place: Path) -> None:
    """What `gc` condemned, a session of a later epoch cannot rely on; one of an earlier can."""
    with Session(place, "old") as old:
        begin_epoch(place / "locks", 7)
        with Session(place, "new") as new:
            found = [(epoch, about["id"]) for epoch, about in live_sessions(place)]

    assert [(0, old.id), (7, new.id)] == found
    assert current_epoch(place / "locks") == 7


def test_epochs_do_not_pile_up(place: Path) -> None:
    for epoch in (1, 2, 30):
        begin_epoch(place / "locks", epoch)

    assert (30, ["epoch-30"]) == (current_epoch(place / "locks"), left(place))


def test_a_session_that_crosses_an_epoch_begins_in_the_new_one(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Begun with the old number and counted after the new one began, it could rely on what is being freed."""
    real = sessions.try_lock

    def lock_late(fd: int) -> bool:
        monkeypatch.setattr(sessions, "try_lock", real)
        begin_epoch(place / "locks", 1)
        return real(fd)

    monkeypatch.setattr(sessions, "try_lock", lock_late)
    with Session(place, "put") as session:
        assert [(1, session.id)] == [(epoch, about["id"]) for epoch, about in live_sessions(place)]
        assert ["00000001-" + session.id, "epoch-1"] == left(place)


def test_a_session_taken_for_dead_in_its_first_moment_begins_again(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between making its file and locking it, a collector may find the file and clear it away."""
    real = sessions.try_lock

    def lock_late(fd: int) -> bool:
        monkeypatch.setattr(sessions, "try_lock", real)
        live_sessions(place)
        return real(fd)

    monkeypatch.setattr(sessions, "try_lock", lock_late)
    with Session(place, "put") as session:
        assert {session.id} == ids(place)


def test_many_sessions_begin_beside_a_collector(place: Path) -> None:
    """None may lose its lock file to the collector, or be counted for an epoch that it is not of."""
    lost: list[str] = []
    done = threading.Event()

    def work() -> None:
        for _ in range(50):
            with Session(place, "put") as session:
                session.scratch()
                time.sleep(0.0005)
                if not session._path.exists() or not session.scratch().is_dir():
                    lost.append(session.id)

    def collect() -> None:
        epoch = 0
        while not done.is_set():
            live_sessions(place)
            epoch += 1
            begin_epoch(place / "locks", epoch)

    collector = threading.Thread(target=collect)
    workers = [threading.Thread(target=work) for _ in range(4)]
    for thread in (collector, *workers):
        thread.start()
    for thread in workers:
        thread.join()
    done.set()
    collector.join()

    assert lost == []


def test_an_exclusive_lock_is_one_process_s(place: Path, children: Children) -> None:
    """Two collectors at once would each take the other's condemned blobs for free."""
    code = """
import sys
from pathlib import Path
from artstore.storage.sessions import Exclusive
with Exclusive(Path(sys.argv[1]), "gc"):
    print("mine")
    sys.stdin.read()
"""
    child = children.start(code, place)
    assert child.stdout is not None
    child.stdout.readline()
    with pytest.raises(Conflict) as caught:
        Exclusive(place, "gc")
    child.kill()
    child.wait()

    assert caught.value.code == "locked"
    with Exclusive(place, "gc"), pytest.raises(Conflict):
        Exclusive(place, "gc")
    with Exclusive(place, "gc"):
        pass


def test_a_lock_file_that_says_nonsense_is_still_alive(place: Path) -> None:
    """What it says is for people; a full disk may have kept it from saying anything."""
    with Session(place, "put") as session:
        session._path.write_bytes(b"")

        assert [{"id": session.id}] == [about for _, about in live_sessions(place)]
