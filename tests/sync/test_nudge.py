"""A background sync: whoever commits goes on at once, and the versions travel all the same."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import artstore
from artstore.cli import main
from artstore.errors import Invalid
from artstore.sync import nudge
from artstore.sync.remotes import add_remote, read_remotes
from artstore.sync.rounds import exchange
from artstore.sync.standing import standings
from tests.conftest import Children
from tests.sync.conftest import Machine
from tests.sync.test_follow import eventually, slots

pytestmark = pytest.mark.skipif(not Path("/proc/self").exists(), reason="looks for processes as Linux shows them")


def processes(machine: Machine) -> list[int]:
    """Those that keep a machine's store up."""
    found: list[int] = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().split(b"\0")
        except (FileNotFoundError, ProcessLookupError):
            continue
        # What begins one has its words too, for a moment.
        if b"--follow" in words and b"-I" not in words and os.fsencode(machine.store.path) in words:
            found.append(int(path.parent.name))
    return found


def parent_and_session(pid: int) -> tuple[int, int]:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[1]), int(fields[3])


@pytest.fixture
def a(machine: Callable[..., Machine]) -> Iterator[Machine]:
    """A machine whose upstream is noted for the background; nothing is left of what that begins."""
    found = machine("a")
    add_remote(found.store.path, "hub", f"file://{found.depot}", upstream=True, join=True, background=True)
    (found.folder / "tree").mkdir()
    (found.folder / "tree" / "a").write_bytes(b"a")
    yield found
    for pid in processes(found):
        os.kill(pid, signal.SIGKILL)


def put(a: Machine, *words: str) -> subprocess.CompletedProcess[str]:
    """`artstore put`, as a shell would run it: what holds its output is waited for."""
    argv = [sys.executable, "-m", "artstore", "--store", str(a.store.path), "put", str(a.folder / "tree")]
    return subprocess.run(
        [*argv, "--name", "cats", "--type", "dataset", *words], capture_output=True, text=True, timeout=30, check=False
    )


def test_put_goes_on_at_once_and_what_it_began_survives_it(a: Machine) -> None:
    """It holds no pipe and no terminal of its caller's, and is nobody's child, so nobody waits for it."""
    ended = put(a)
    (pid,) = processes(a)
    parent, session = parent_and_session(pid)
    eventually(lambda: slots(a))

    assert (0, "") == (ended.returncode, ended.stderr)
    assert parent != os.getpid()
    assert session not in {os.getsid(0), 0}
    assert {"/dev/null", str(a.store.path / nudge.LOG)} == {os.readlink(f"/proc/{pid}/fd/{n}") for n in range(3)}
    assert "/" == os.readlink(f"/proc/{pid}/cwd")
    eventually(lambda: '"versions":1' in (a.store.path / nudge.LOG).read_text())


def test_of_many_who_commit_at_once_one_begins_a_process(a: Machine) -> None:
    """A hundred workers that end together must not begin a hundred processes."""
    a.put({"a": b"b"})
    begun: list[int] = []
    done = threading.Event()

    def count() -> None:
        while not done.is_set():
            begun.append(len(processes(a)))

    threads = [threading.Thread(target=nudge._begin, args=(a.store.path,)) for _ in range(12)]
    for thread in [counting := threading.Thread(target=count), *threads]:
        thread.start()
    for thread in threads:
        thread.join()
    eventually(lambda: slots(a))
    nudge._begin(a.store.path)
    done.set()
    counting.join()

    assert 1 == max(begun) == len(processes(a))


def test_a_script_that_logs_and_ends_has_nothing_to_wait_for(a: Machine, children: Children) -> None:
    """P14. Whether it says finish or not; and the checkpoints of a long run do not wait for its end."""
    script = """
import sys, artstore, warnings
warnings.simplefilter("error")
with artstore.init(project="zoo", settings=None) as run:
    artifact = artstore.Artifact("cats", "dataset")
    with artifact.new_file("a") as file:
        file.write("a")
    run.log_artifact(artifact).wait()
    print("logged", flush=True)
    sys.stdin.readline()
artstore.init(project="zoo").log_artifact(sys.argv[1], name="last", type="dataset")
"""
    os.environ["ARTSTORE_DIR"] = str(a.store.path)
    try:
        child = children.start(script, a.folder / "tree" / "a")
        assert child.stdout is not None
        assert "logged\n" == child.stdout.readline()
        eventually(lambda: slots(a))
        before = slots(a)
        said, complaints = child.communicate("\n", timeout=30)
    finally:
        del os.environ["ARTSTORE_DIR"]
    eventually(lambda: len(slots(a)) > len(before))

    assert (0, "") == (child.returncode, said), complaints
    assert 1 == len(processes(a))


def end_all(a: Machine) -> None:
    """As if the last commit was long ago."""
    for pid in processes(a):
        os.kill(pid, signal.SIGKILL)
    eventually(lambda: not processes(a))
    nudge._looked_at.clear()


def test_a_program_that_commits_has_nothing_to_push(a: Machine, machine: Callable[..., Machine]) -> None:
    """By whatever verb, library or way a commit comes about: else the work of a night is on one disk in the morning."""

    def write(store: artstore.Store) -> None:
        with store.change("cats:latest", type="dataset") as change:
            change.write("b", b"b")
            change.commit()

    acts: list[Callable[[artstore.Store], object]] = [
        lambda store: store.put([a.folder / "tree"], name="cats", type="dataset"),
        lambda store: store.alias("cats:v0", ["best"]),
        lambda store: store.start_run(id="night"),
        write,
    ]
    with artstore.Store.open(a.store.path) as store:
        for act in acts:
            act(store)
            eventually(lambda: processes(a))
            end_all(a)
        a.push()
        b = machine("b")
        b.put({"b": b"b"})
        b.push()
        exchange(store, "pull")

        assert "night" == b.store.run("night").id
        assert {} == nudge._looked_at  # What was pulled comes from there.


def test_offline_is_a_state_and_no_error(a: Machine) -> None:
    """What was put meanwhile travels when the depot is back, unasked; until then, status says why not."""
    a.depot.rename(a.depot.with_name("away"))
    ended = put(a)
    eventually(lambda: standings(a.store)[0].failure)
    (standing,) = standings(a.store)
    a.depot.with_name("away").rename(a.depot)
    eventually(lambda: slots(a))

    assert (0, "") == (ended.returncode, ended.stderr)
    assert "is not there" in str(standing.failure)
    assert standing.unreachable_since is not None
    assert 1 == standing.waiting_versions


def test_it_ends_when_it_was_idle_and_the_next_commit_begins_another(
    a: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nudge, "IDLE_S", 0.2)
    # It ends so soon here that who commits would still take it to be at it.
    monkeypatch.setattr(nudge, "_ENOUGH_S", 0.0)
    a.put({"a": b"a"})
    nudge.nudge(a.store.path)
    eventually(lambda: slots(a) and not processes(a))
    a.put({"a": b"b"})
    nudge.nudge(a.store.path)
    eventually(lambda: len(slots(a)) == 2)


def test_a_store_that_has_no_such_remote_begins_nothing(a: Machine) -> None:
    add_remote(a.store.path, "hub", f"file://{a.depot}", upstream=True, join=True)
    nudge.nudge(a.store.path)

    assert [] == processes(a)
    assert not read_remotes(a.store.path)["hub"].background


def test_only_the_upstream_is_kept_up_with(a: Machine) -> None:
    with pytest.raises(Invalid) as caught:
        add_remote(a.store.path, "copy", f"file://{a.depot}", upstream=False, join=False, background=True)

    assert "not-the-upstream" == caught.value.code


def test_put_waits_where_it_is_asked_to(machine: Callable[..., Machine], capsys: pytest.CaptureFixture[str]) -> None:
    """Asked to push, it says by its exit code that it could not; the version is kept in any case."""
    a = machine("b")
    (a.folder / "file").write_bytes(b"a")
    words = ["--store", str(a.store.path), "put", str(a.folder / "file"), "--name", "cats", "--type", "dataset"]
    assert 0 == main([*words, "--push"])
    assert 1 == len(slots(a))
    a.depot.rename(a.depot.with_name("away"))
    (a.folder / "file").write_bytes(b"b")

    assert 6 == main([*words, "--push"])
    assert "cats:v1 is committed, and not pushed yet" in capsys.readouterr().err
    assert 2 == len(a.names())
