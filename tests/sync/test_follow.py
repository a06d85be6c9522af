"""A store that keeps up by itself: at once, whoever commits; asleep in between; and gone when it is told to."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from artstore.cli import main
from artstore.errors import NotFound
from artstore.sync.follow import Follow
from artstore.sync.push import next_offer
from artstore.sync.remotes import add_remote, remove_remote
from artstore.sync.reports import FollowReport
from artstore.sync.rounds import exchange
from tests.conftest import Children
from tests.sync.conftest import PROJECT, Machine

Make = Callable[..., Machine]
PATIENCE_S = 20.0


def eventually(holds: Callable[[], object], within_s: float = PATIENCE_S) -> None:
    until = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < until
        time.sleep(0.01)


class Followed:
    """A machine that keeps up, in a thread of this process."""

    def __init__(self, machine: Machine, **options: Any) -> None:
        self.told: list[FollowReport] = []
        self.rounds = 0
        self._machine = machine
        self._remote = options.get("remote")
        self.follow = Follow(machine.store, self._move, **{"every_s": 3600.0, "tell": self.told.append, **options})
        self.error: BaseException | None = None
        self.thread = threading.Thread(target=self._run)

    def _move(self) -> Any:
        self.rounds += 1
        return exchange(self._machine.store, "sync", remote=self._remote)

    def _run(self) -> None:
        try:
            self.follow.run()
        except NotFound as error:
            self.error = error


@contextlib.contextmanager
def following(machine: Machine, **options: Any) -> Iterator[Followed]:
    found = Followed(machine, **options)
    found.thread.start()
    try:
        yield found
    finally:
        found.follow.stop()
        found.thread.join(PATIENCE_S)
        assert not found.thread.is_alive()


@contextlib.contextmanager
def command(machine: Machine, *words: str) -> Iterator[subprocess.Popen[str]]:
    """`artstore sync --follow`, in a process of its own."""
    argv = [sys.executable, "-m", "artstore", "--store", str(machine.store.path), "sync", "--follow", "--json", *words]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def next_line(process: subprocess.Popen[str]) -> Any:
    assert process.stdout is not None
    return json.loads(process.stdout.readline())


def effort(process: subprocess.Popen[str]) -> tuple[int, float]:
    """How often a process was woken so far, and the seconds of CPU that it took."""
    tasks = list(Path(f"/proc/{process.pid}/task").iterdir())
    lines = [line.split() for task in tasks for line in (task / "status").read_text().splitlines()]
    woken = sum(int(line[1]) for line in lines if line[0] == "voluntary_ctxt_switches:")
    ticks = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return woken, (int(ticks[11]) + int(ticks[12])) / os.sysconf("SC_CLK_TCK")


def slots(machine: Machine) -> list[str]:
    return sorted(path.name for path in (machine.depot / "log").rglob("0*"))


def test_a_commit_of_any_process_travels_at_once(machine: Make, children: Children) -> None:
    """Nobody has to remember to push, and nobody waits for a clock."""
    a, b = machine("a"), machine("b")
    program = """
import io, sys
from artstore.store import Store
with Store.open(sys.argv[1]) as store:
    store.put([io.BytesIO(b"a")], name="cats", type="dataset", prefix="a")
"""
    with following(a) as found:
        eventually(lambda: found.rounds)
        children.run(program, a.store.path)
        eventually(lambda: slots(a))
        eventually(lambda: found.told)

        b.pull()
        assert {"a": b"a"} == b.read("cats")
    moved = found.told[0].moved
    assert moved is not None
    assert 1 == moved.projects[0].pushed.versions
    # Once at the beginning, once for the commit; its own writing of what was accepted is none.
    assert 2 == found.rounds


def test_many_commits_travel_together(machine: Make) -> None:
    """A training that saves ten things in a row makes a few slots, not ten."""
    a = machine("a")
    with following(a) as found:
        eventually(lambda: found.rounds)
        for number in range(10):
            a.put({"a": b"%d" % number})
        eventually(lambda: next_offer(a.store.root, PROJECT) is None)

    assert len(slots(a)) <= 3


def test_what_others_push_is_looked_for_now_and_then(machine: Make) -> None:
    a, b = machine("a"), machine("b")
    with following(b, every_s=0.2):
        a.put({"a": b"a"})
        a.push()
        eventually(b.store.collections)

    assert a.names() == b.names()


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="counts what Linux counts")
def test_it_sleeps_whether_or_not_the_upstream_can_be_reached(machine: Make) -> None:
    """A cluster of a thousand nodes must not notice that they all follow, least of all when the hub is down."""
    a = machine("a")
    a.put({"a": b"a"})
    with command(a, "--every", "1h") as process:
        assert 1 == next_line(process)["moved"]["projects"][0]["pushed"]["versions"]
        before = effort(process)
        time.sleep(1)
        after = effort(process)
        a.depot.rename(a.depot.with_name("away"))
        a.put({"a": b"b"})
        assert "folder-missing" == next_line(process)["code"]
        a.put({"a": b"c"})
        away_before = effort(process)
        time.sleep(2)
        away_after = effort(process)
        a.depot.with_name("away").rename(a.depot)
        assert 2 == next_line(process)["moved"]["projects"][0]["pushed"]["versions"]
        process.send_signal(signal.SIGTERM)

        assert 0 == process.wait(PATIENCE_S)
    assert after[0] - before[0] <= 5
    assert after[1] - before[1] <= 0.05
    # A few attempts, after pauses that double: each opens the depot and notes that it is not there.
    assert away_after[0] - away_before[0] <= 100
    assert away_after[1] - away_before[1] <= 0.3


def test_what_cannot_be_sent_holds_up_no_later_commit(machine: Make) -> None:
    """One version whose bytes are damaged, and all that was put after it waited for minutes."""
    a = machine("a")
    a.put({"x": b"x" * 2_000_000})
    (path,) = [path for path in (a.store.path / "blobs").rglob("*") if path.is_file()]
    path.chmod(0o644)
    path.write_bytes(b"y" * 2_000_000)
    with following(a, every_s=0.05) as followed:
        eventually(lambda: any("damaged" in each for each in map(str, followed.told)))
        before = len(slots(a))

        # What others push is looked for as often as else, and an outage ends as one does else.
        eventually(lambda: followed.rounds > 14, within_s=10.0)
        a.depot.rename(a.depot.with_name("away"))
        eventually(lambda: any(each.code == "folder-missing" for each in followed.told))
        a.put({"y": b"y"}, name="dogs")
        a.depot.with_name("away").rename(a.depot)

        eventually(lambda: len(slots(a)) > before, within_s=10.0)


def test_ctrl_c_in_the_middle_of_a_push_ends_it_and_the_next_one_goes_on(machine: Make) -> None:
    """The end of a follower is nothing that could have gone wrong, so no exit code says so."""
    a = machine("a")
    a.put({"a": os.urandom(300_000), "b": os.urandom(300_000)})
    with command(a, "--limit-rate", "400kB") as process:
        eventually(lambda: any(path.is_file() for path in a.depot.rglob("*")))
        process.send_signal(signal.SIGINT)

        assert 0 == process.wait(PATIENCE_S)
        assert process.stderr is not None
        assert "" == process.stderr.read()
    assert [] == slots(a)
    assert 1 == a.push().projects[0].pushed.versions


def test_it_goes_no_faster_than_it_may_in_all_rounds_together(machine: Make) -> None:
    """What came at once in one round is paid for in the next, however many there are: others work on the same line."""
    a, b = machine("a"), machine("b")
    b.put({"b": os.urandom(900_000)})
    b.push()
    with command(a, "--limit-rate", "600kB", "--blobs") as process:
        came = next_line(process)
        a.put({"a": os.urandom(240_000)})
        went = next_line(process)

    assert (1, 1) == (came["moved"]["projects"][0]["pulled"]["blobs"], went["moved"]["projects"][0]["pushed"]["blobs"])
    # But for what may go at once.
    assert came["moved"]["seconds"] + went["at"] - came["at"] > (900_000 + 240_000) / 600_000 - 0.25


def test_one_process_follows_and_the_next_takes_over_when_it_dies(machine: Make) -> None:
    a = machine("a")
    with following(a) as first, following(a) as second:
        eventually(lambda: first.rounds + second.rounds)
        holder, other = (first, second) if first.rounds else (second, first)
        eventually(lambda: other.told)
        assert 0 == other.rounds
        holder.follow.stop()
        eventually(lambda: other.rounds)

        assert "another process" in str(other.told[0].notice)


def test_it_ends_when_it_was_idle_for_long_enough(machine: Make) -> None:
    a = machine("a")
    a.put({"a": b"a"})
    with following(a, idle_s=0.3) as found:
        found.thread.join(PATIENCE_S)

        assert not found.thread.is_alive()
    assert 1 == len(slots(a))


def test_a_mirror_is_kept_up_too(machine: Make, tmp_path: Path) -> None:
    a = machine("a")
    remove_remote(a.store.path, "hub")
    (tmp_path / "mirror").mkdir()
    add_remote(a.store.path, "mirror", f"file://{tmp_path}/mirror", upstream=False, join=False)
    with following(a, remote="mirror", idle_s=1.0) as found:
        eventually(lambda: found.rounds)
        a.put({"a": b"a"})
        eventually(lambda: list((tmp_path / "mirror" / "mirror" / "log").rglob("0*")))
        found.thread.join(PATIENCE_S)

        assert not found.thread.is_alive()
    assert 2 == found.rounds


def test_what_waits_for_an_upstream_out_of_reach_keeps_it_up(machine: Make) -> None:
    """Or what was committed last before the network came back would stay behind."""
    a = machine("a")
    a.depot.rename(a.depot.with_name("away"))
    a.put({"a": b"a"})
    with following(a, idle_s=0.05) as found:
        eventually(lambda: found.rounds > 1)
        a.depot.with_name("away").rename(a.depot)
        found.thread.join(PATIENCE_S)

        assert not found.thread.is_alive()
    assert 1 == len(slots(a))
    # However often it failed, it was said once.
    assert ["folder-missing"] == [report.code for report in found.told if report.code]


def test_without_an_upstream_any_more_it_ends(machine: Make) -> None:
    a = machine("a")
    with following(a, every_s=0.1) as found:
        eventually(lambda: found.rounds)
        remove_remote(a.store.path, "hub")
        found.thread.join(PATIENCE_S)

        assert not found.thread.is_alive()
    assert isinstance(found.error, NotFound)


def test_where_the_system_tells_of_nothing_the_folder_is_looked_at(
    machine: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("artstore.lifecycle.events.is_network", lambda _folder: True)
    monkeypatch.setattr("artstore.sync.follow._POLL_S", 0.05)
    a = machine("a")
    with following(a) as found:
        eventually(lambda: found.rounds)
        a.put({"a": b"a"})
        eventually(lambda: slots(a))

        assert 2 == found.rounds


@pytest.mark.parametrize(
    "words", [["--every", "5m"], ["--follow", "--dry-run"], ["--follow", "--every", "0"], ["--follow", "--lock", "0"]]
)
def test_what_cannot_be_meant_is_refused(machine: Make, words: Sequence[str]) -> None:
    assert 2 == main(["--store", str(machine("a").store.path), "sync", *words])
