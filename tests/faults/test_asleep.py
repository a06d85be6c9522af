"""A machine that sleeps in the middle of a commit: what the commit relies on is there when it wakes."""

from __future__ import annotations

import io
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from artstore.store import Store
from tests.faults.processes import fork

FILES = {"known": b"known already", "new": b"never seen before", "large": bytes(2 << 20)}


def put(store: Store, files: dict[str, bytes], name: str) -> str:
    with store.draft() as draft:
        for path, data in files.items():
            draft.add_stream(io.BytesIO(data), path)
        return store.commit(draft, name=name, type="t").ref


@pytest.fixture
def path(tmp_path: Path) -> Path:
    with Store.init(tmp_path / "store") as store:
        put(store, {"known": FILES["known"]}, "old")
    return tmp_path / "store"


@pytest.fixture
def sleeper(path: Path) -> Iterator[int]:
    """A process that has stored all of its files, has not committed them, and was stopped there."""
    ready = os.pipe()

    def work() -> None:
        with Store.open(path) as store, store.draft() as draft:
            for name, data in FILES.items():
                draft.add_stream(io.BytesIO(data), name)
            draft.intake.settle()
            os.write(ready[1], b"!")
            os.kill(os.getpid(), signal.SIGSTOP)
            store.commit(draft, name="slept", type="t")

    pid = fork(work)
    os.read(ready[0], 1)
    os.waitpid(pid, os.WUNTRACED)
    yield pid
    try:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    except (ProcessLookupError, ChildProcessError):
        return


def wake(pid: int) -> None:
    os.kill(pid, signal.SIGCONT)
    assert os.waitpid(pid, 0) == (pid, 0)


def test_what_a_sleeping_commit_relies_on_is_not_freed(path: Path, sleeper: int) -> None:
    """P11. Its lock is the kernel's: it does not run out, however long the lid was closed and whatever clocks say."""
    with Store.open(path) as store:
        store.delete("old:v0")
        with pytest.MonkeyPatch.context() as patch:
            # As it is on the machine that went on meanwhile.
            patch.setattr(time, "time", lambda real=time.time: real() + 30 * 86_400)
            for _ in range(3):
                store.gc(grace_s=0)
        assert 1 == len(store.status().sessions)
        wake(sleeper)
        assert FILES == {each.path: b"".join(store.read("slept", each.path)) for each in store.entries("slept")}
        assert store.verify().ok
        assert [] == store.status().sessions


def test_a_commit_wakes_to_a_log_that_went_on(path: Path, sleeper: int) -> None:
    """P11. It takes its place behind what was committed meanwhile, with the next number, and builds on nothing gone."""
    with Store.open(path) as store:
        for number in range(3):
            put(store, {"a": b"%d" % number}, "slept")
        store.delete("slept:v0")
        store.gc(grace_s=0)
        wake(sleeper)

        assert [3, 2, 1] == [version.number for version in store.versions("slept")]
        assert store.verify().ok


def test_a_rebuild_waits_for_the_sleeper(path: Path, sleeper: int) -> None:
    """P11. What it knows of the old catalog would mean something else in the new one."""
    rebuilt: list[float] = []

    def rebuild() -> None:
        Store.rebuild(path)
        rebuilt.append(time.monotonic())

    thread = threading.Thread(target=rebuild)
    thread.start()
    time.sleep(0.2)
    assert rebuilt == []
    wake(sleeper)
    thread.join()

    with Store.open(path) as store:
        assert FILES == {each.path: b"".join(store.read("slept", each.path)) for each in store.entries("slept")}
        assert store.verify().ok
