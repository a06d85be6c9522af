"""Many at once: processes and threads commit side by side, and each commit is there once.

The processes are forked from one that has the store's modules already, and all wait for the same start. What a user
could see of the crowd (`database is locked`, a Conflict) would be a failure here: none is caught.
"""

from __future__ import annotations

import contextlib
import io
import multiprocessing
import os
import signal
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from artstore import Store
from artstore.errors import Conflict, NotFound
from artstore.storage import packs
from artstore.storage.marking import Marking
from tests.conftest import Children
from tests.properties.model import nothing_is_left_over, stored_bytes

pytestmark = pytest.mark.slow

CROWD = 32
COMMITS = 10

if not hasattr(os, "fork"):
    pytest.skip("the processes are forked, which this system cannot", allow_module_level=True)


class Crowd:
    """Forked processes that begin together; what one of them raises is told at the end."""

    def __init__(self) -> None:
        self._context = multiprocessing.get_context("fork")
        self._gate = self._context.Event()
        self._said = self._context.SimpleQueue()
        self._pids: list[int] = []

    def add(self, work: Callable[[], object]) -> None:
        pid = os.fork()
        if pid:
            self._pids.append(pid)
            return
        try:
            self._gate.wait()
            work()
        except BaseException:  # noqa: BLE001  # told below, by the parent
            self._said.put(traceback.format_exc())
            os._exit(1)
        os._exit(0)

    def run(self, timeout_s: float = 100) -> None:
        self._gate.set()
        until = time.monotonic() + timeout_s
        ends = [self._wait(pid, until) for pid in self._pids]
        self._pids.clear()
        said = []
        while not self._said.empty():
            said.append(self._said.get())
        assert ([], [0]) == (said[:3], sorted(set(ends)))

    def end(self) -> None:
        for pid in self._pids:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)

    def _wait(self, pid: int, until: float) -> int:
        while True:
            done, status = os.waitpid(pid, os.WNOHANG)
            if done:
                return os.waitstatus_to_exitcode(status)
            if time.monotonic() > until:
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
                return -9
            time.sleep(0.02)


@pytest.fixture
def crowd() -> Iterator[Crowd]:
    """Processes that begin together; none outlives its test."""
    made = Crowd()
    yield made
    made.end()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """An empty store."""
    with Store.init(tmp_path / "store") as opened:
        yield opened


def put(store: Store, text: str, *, name: str = "cats", project: str = "p", aliases: tuple[str, ...] = ()) -> int:
    """Put one small file; answers the version's number."""
    stream = io.BytesIO(text.encode())
    report = store.put([stream], name=name, type="t", project=project, prefix="f", aliases=aliases)
    assert report.version is not None
    assert report.made
    return report.version.number


def committer(
    path: Path, who: int, acknowledged: Path, *, name: str = "cats", project: str = "p"
) -> Callable[[], None]:
    """A process that opens the store, commits, and notes outside of it what was acknowledged."""

    def work() -> None:
        with Store.open(path) as store, (acknowledged / str(who)).open("w") as notes:
            for turn in range(COMMITS):
                number = put(store, f"{who} {turn}", name=name, project=project)
                print(number, who, turn, file=notes, flush=True)

    return work


def check_acknowledged(store: Store, acknowledged: Path, name: str = "p/cats", *, others: int = 0) -> None:
    """Each commit that was acknowledged is there once, under its number, with its bytes."""
    notes = [tuple(map(int, line.split())) for path in acknowledged.iterdir() for line in path.read_text().splitlines()]
    numbers = [number for number, _who, _turn in notes]
    assert [] == [number for number, times in Counter(numbers).items() if times > 1]
    assert set(range(len(notes) + others)) == {version.number for version in store.versions(name)}
    for number, who, turn in notes:
        assert f"{who} {turn}".encode() == b"".join(store.read(f"{name}:v{number}", "f"))
    report = store.verify()
    assert (True, []) == (report.ok, report.problems)


def test_thirty_two_processes_make_one_version_together(store: Store, crowd: Crowd) -> None:
    """Each adds a part; whoever gathers them has all, and nothing is seen before."""

    def writer(who: int) -> Callable[[], None]:
        def work() -> None:
            with Store.open(store.path) as own, own.draft() as draft:
                draft.add_stream(io.BytesIO(b"%d" % who), f"parts/{who}")
                draft.add_stream(io.BytesIO(b"shared"), "shared")
                own.add_part(draft, name="cats", type="t", project="p", distributed_id="d", run=f"run-{who}")

        return work

    for who in range(CROWD):
        crowd.add(writer(who))
    crowd.run()
    assert [] == store.collections()
    version = store.finish_parts(name="cats", type="t", project="p", distributed_id="d", expect=CROWD)

    assert CROWD + 1 == version.files
    for who in range(CROWD):
        assert b"%d" % who == b"".join(store.read("p/cats", f"parts/{who}"))
    store.gc(grace_s=0)
    assert store.verify().ok


def test_thirty_two_processes_commit_to_one_collection(store: Store, crowd: Crowd, tmp_path: Path) -> None:
    """P12. A commit that returned and is lost is the one thing that a store must never do."""
    notes = tmp_path / "notes"
    notes.mkdir()
    for who in range(CROWD):
        crowd.add(committer(store.path, who, notes))
    crowd.run()

    check_acknowledged(store, notes)
    assert CROWD * COMMITS == len(store.versions("p/cats"))


def test_gc_beside_committing_processes_takes_nothing_they_need(store: Store, crowd: Crowd, tmp_path: Path) -> None:
    """I2, I8. A nightly gc meets the training jobs of a whole cluster node."""
    notes = tmp_path / "notes"
    notes.mkdir()
    for who in range(8):
        crowd.add(committer(store.path, who, notes))
    stop = tmp_path / "stop"

    def collector() -> None:
        with Store.open(store.path) as own:
            while not stop.exists():
                own.gc(grace_s=0)
                # Something for it to free.
                own.delete(f"p/rubbish:v{put(own, os.urandom(8).hex(), name='rubbish')}")

    def stopper() -> None:
        while sum(len(path.read_text().splitlines()) for path in notes.iterdir()) < 8 * COMMITS:
            time.sleep(0.05)
        stop.touch()

    crowd.add(collector)
    crowd.add(stopper)
    crowd.run()
    check_acknowledged(store, notes)
    store.gc(grace_s=0)
    store.gc(grace_s=0)

    texts = {f"{who} {turn}" for who in range(8) for turn in range(COMMITS)}
    assert sum(map(len, texts)) == stored_bytes(store)
    nothing_is_left_over(store)
    check_acknowledged(store, notes)


def test_gc_in_the_middle_of_noting_a_pack_leaves_it(store: Store) -> None:
    """A pack whose blobs were not yet in the catalog was taken for one that nobody needs, and deleted."""
    with store.draft() as draft:
        draft.add_stream(io.BytesIO(b"just stored"), "f")
        draft.intake.settle()
        root = store._root
        (name,) = draft.intake.packs
        found = list(packs.members(root.path / "packs" / name))
        # The instant between two short transactions, held for a while.
        Marking(root.catalog).forget_pack(Marking(root.catalog).packs()[0].id)
        root.blobs.add_pack(name, 2048, [])
        store.gc(grace_s=0)
        root.blobs.add_pack(name, 2048, found)
        store.commit(draft, name="cats", type="t", project="p")

    assert b"just stored" == b"".join(store.read("p/cats", "f"))
    assert store.verify().ok


def test_equal_content_from_many_processes_beside_deletes_and_gc(store: Store, crowd: Crowd) -> None:
    """A blob that one process frees is the one that another relies on at that moment."""
    texts = [f"text {number}" for number in range(4)]

    def work(who: int) -> None:
        with Store.open(store.path) as own:
            for turn in range(COMMITS):
                name = f"c{(who + turn) % 3}"
                stream = io.BytesIO(texts[(who * 7 + turn) % 4].encode())
                own.put([stream], name=name, type="t", prefix="f")
                with contextlib.suppress(NotFound):
                    data = b"".join(own.read(name, "f"))
                    assert data.decode() in texts
                if turn % 3 == 2:
                    with contextlib.suppress(NotFound):
                        own.delete(f"{name}:latest")
                if who == 0:
                    own.gc(grace_s=0)

    for who in range(10):
        crowd.add(lambda who=who: work(who))  # type: ignore[misc]
    crowd.run()

    report = store.verify()
    assert (True, []) == (report.ok, report.problems)
    for collection in store.collections():
        for version in store.versions(collection.name):
            assert b"".join(store.read(f"{collection.name}:v{version.number}", "f")).decode() in texts


def test_the_first_commits_of_a_project_race(store: Store, crowd: Crowd, tmp_path: Path) -> None:
    """Two jobs that begin together make one project and one collection, not two of a name."""
    notes = tmp_path / "notes"
    notes.mkdir()
    for who in range(12):
        crowd.add(committer(store.path, who, notes, name="new", project="fresh"))
    crowd.run()

    assert [("fresh", "new")] == [(each.project, each.name) for each in store.collections()]
    check_acknowledged(store, notes, "fresh/new")


def test_projects_do_not_stand_in_each_others_way(store: Store, crowd: Crowd, tmp_path: Path) -> None:
    """Each project has a log of its own, and both are whole."""
    for project in ("one", "two"):
        (tmp_path / project).mkdir()
        for who in range(6):
            crowd.add(committer(store.path, who, tmp_path / project, project=project))
    crowd.run()

    check_acknowledged(store, tmp_path / "one", "one/cats")
    check_acknowledged(store, tmp_path / "two", "two/cats")
    assert {"one": 60, "two": 60} == {project.name: project.seq for project in store._root.catalog.projects()}


def test_an_alias_that_many_move_stands_on_one_version(store: Store, crowd: Crowd) -> None:
    """`best` on two versions, or on none, would start the wrong model."""
    numbers = [put(store, str(number)) for number in range(8)]

    def work(number: int) -> None:
        with Store.open(store.path) as own:
            for _ in range(COMMITS):
                own.alias(f"p/cats:v{number}", ["best", "prod"])

    for number in numbers:
        crowd.add(lambda number=number: work(number))  # type: ignore[misc]
    crowd.run()

    carriers = [version.number for version in store.versions("p/cats") if "best" in version.aliases]
    assert 1 == len(carriers)
    assert store.version("p/cats:best").number == carriers[0]
    assert store.verify().ok


def test_what_a_killed_process_leaves_is_collected_and_hinders_nobody(
    store: Store, crowd: Crowd, tmp_path: Path
) -> None:
    """Jobs on a cluster are killed every day; a store that fills up with their leavings, or waits for them, is lost."""
    notes = tmp_path / "notes"
    notes.mkdir()
    for who in range(6):
        crowd.add(committer(store.path, who, notes))

    def victim() -> None:
        own = Store.open(store.path)
        with own.draft() as draft:
            draft.add_stream(io.BytesIO(os.urandom(3 << 20)), "large")
            draft.add_stream(io.BytesIO(os.urandom(1000)), "small")
            draft.intake.settle()
            os._exit(0)  # As SIGKILL: nothing is tidied up.

    for _ in range(6):
        crowd.add(victim)
    crowd.run()
    check_acknowledged(store, notes)
    store.gc(grace_s=0)
    store.gc(grace_s=0)

    assert sum(len(f"{who} {turn}") for who in range(6) for turn in range(COMMITS)) == stored_bytes(store)
    nothing_is_left_over(store)


def test_thirty_two_threads_share_one_store(store: Store) -> None:
    """A server, or a notebook with workers, has one Store for all of its threads."""
    began = threading.Barrier(CROWD)

    def work(who: int) -> list[tuple[int, str]]:
        began.wait()
        return [(put(store, f"{who} {turn}"), f"{who} {turn}") for turn in range(4)]

    with ThreadPoolExecutor(CROWD) as pool:
        done = [pair for pairs in pool.map(work, range(CROWD)) for pair in pairs]

    assert list(range(CROWD * 4)) == sorted(number for number, _text in done)
    for number, text in done:
        assert text.encode() == b"".join(store.read(f"p/cats:v{number}", "f"))
    assert store.verify().ok


def test_threads_read_while_others_commit_delete_and_collect(store: Store) -> None:
    """A reader sees each version entirely or not at all."""
    put(store, "0" * 5000)
    stop = threading.Event()

    def write() -> None:
        for turn in range(1, 13):
            put(store, str(turn % 10) * (5000 + turn))
            store.delete(f"p/cats:v{turn - 1}")
            with contextlib.suppress(Conflict):  # Another gc of this test is at it.
                store.gc(grace_s=0)
        stop.set()

    def read() -> int:
        times = 0
        while not stop.is_set():
            with contextlib.suppress(NotFound):
                data = b"".join(store.read("p/cats", "f"))
                assert (1, True) == (len(set(data)), len(data) >= 5000)
                times += 1
        return times

    with ThreadPoolExecutor(5) as pool:
        readers = [pool.submit(read) for _ in range(4)]
        pool.submit(write).result()
        assert all(reader.result() > 0 for reader in readers)
    assert store.verify().ok


def test_a_forked_child_goes_on_with_its_parents_store(store: Store, crowd: Crowd) -> None:
    """Data loaders fork with the Store open: neither side may break the other's connection or locks."""
    put(store, "parent before")

    def work(who: int) -> None:
        assert b"parent before" == b"".join(store.read("p/cats:v0", "f"))
        for turn in range(5):
            put(store, f"child {who} {turn}")
        store.close()

    for who in range(4):
        crowd.add(lambda who=who: work(who))  # type: ignore[misc]
    with ThreadPoolExecutor(2) as pool:
        beside = pool.submit(lambda: [put(store, f"parent {turn}") for turn in range(5)])
        crowd.run()
        beside.result()

    assert 26 == len(store.versions("p/cats"))
    assert b"parent before" == b"".join(store.read("p/cats:v0", "f"))
    assert store.verify().ok


def test_a_draft_begun_before_a_fork_is_the_parents_alone(store: Store, crowd: Crowd) -> None:
    """A child that ends must not take away the lock, or the unfinished files, of a draft that its parent has."""
    with store.draft() as draft:
        draft.add_stream(io.BytesIO(b"x" * (2 << 20)), "large")
        crowd.add(lambda: put(store, "child"))
        crowd.run()
        store.gc(grace_s=0)
        draft.add_stream(io.BytesIO(b"small"), "small")
        info = store.commit(draft, name="cats", type="t", project="p")

    assert 1 == info.number
    assert b"x" * (2 << 20) == b"".join(store.read("p/cats:v1", "large"))
    assert store.verify().ok


_SPAWNED = """
import io, sys
from pathlib import Path
from artstore import Store
sys.stdin.readline()
with Store.open(Path(sys.argv[1])) as store:
    for turn in range(3):
        stream = io.BytesIO(f"{sys.argv[2]} {turn}".encode())
        report = store.put([stream], name="cats", type="t", project="p", prefix="f")
        print(report.version.number, report.made)
"""


def test_processes_that_share_nothing_but_the_folder(store: Store, children: Children) -> None:
    """What was inherited by a fork must not be what keeps them apart."""
    started = [children.start(_SPAWNED, store.path, who) for who in range(4)]
    said = []
    for child in started:
        assert child.stdin is not None
        child.stdin.write("\n")
        child.stdin.flush()
    for child in started:
        out, complaints = child.communicate(timeout=60)
        assert (0, "") == (child.returncode, complaints)
        said += [line.split() for line in out.splitlines()]

    assert [[str(number), "True"] for number in range(12)] == sorted(said, key=lambda pair: int(pair[0]))
    assert store.verify().ok
