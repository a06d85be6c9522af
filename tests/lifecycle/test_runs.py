"""Runs: what is said of them stays, what they made and used is known, and a dead one does not run for ever."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from artstore.errors import Conflict, Invalid, NotFound
from artstore.lifecycle import runs
from artstore.lifecycle.commit import commit
from artstore.lifecycle.reports import VersionInfo
from artstore.model.records import StartRun, Use
from artstore.storage.run_locks import FOLDER, RunLock
from artstore.store import Store
from tests.conftest import Children

Put = Callable[..., VersionInfo]

HELD = """
import sys
from pathlib import Path
from artstore.store import Store
store = Store.open(Path(sys.argv[1]))
run = store.start_run(id=sys.argv[2])
lock = store.hold_run(run.id)
print("held")
sys.stdin.readline()
"""


def hold_elsewhere(store: Store, run: str, children: Children) -> Any:
    """A process that starts a run, holds it, and goes on for ever."""
    child = children.start(HELD, store.path, run)
    assert child.stdout is not None
    assert child.stdout.readline() == "held\n"
    return child


def kill(child: Any) -> None:
    child.kill()
    child.wait()


def test_what_is_said_of_a_run_is_kept(store: Store) -> None:
    run = store.start_run(
        id="r1", name="first", job_type="train", group="g", notes="words", tags=["a", "b", "a"], config={"lr": 0.1}
    )

    assert ("r1", "first", "train", "g", "words", ["a", "b"], {"lr": 0.1}, "running", None) == (
        run.id, run.name, run.job_type, run.group, run.notes, run.tags, run.config, run.state, run.ended_at,
    )  # fmt: skip
    assert run == store.run("r1")
    finished = store.finish_run("r1")
    assert ("finished", True) == (finished.state, finished.ended_at is not None)
    assert [finished] == store.runs()


def test_runs_are_listed_by_project_and_group_newest_first(store: Store) -> None:
    for project, group in (("p", "g"), ("q", "g"), ("p", "h")):
        store.start_run(project=project, id=f"{project}{group}", group=group)

    assert ["ph", "qg", "pg"] == [run.id for run in store.runs()]
    assert ["ph", "pg"] == [run.id for run in store.runs(project="p")]
    assert ["qg", "pg"] == [run.id for run in store.runs(group="g")]
    assert [] == store.runs(project="nowhere")


def test_many_runs_are_listed_a_page_at_a_time_and_each_once(store: Store) -> None:
    for number in range(7):
        store.start_run(project="pq"[number % 2], id=str(number), group="odd" if number % 2 else None)
    for asked in ({}, {"project": "p"}, {"group": "odd"}, {"project": "q", "group": "none"}):
        expected = store.runs(**asked)
        pages = [store.run_page(**asked, start=start, limit=3) for start in range(0, 9, 3)]

        assert expected == [run for page in pages for run in page.runs]
        assert {len(expected)} == {page.total for page in pages}
    assert (0, []) == (store.run_page(project="nowhere").total, store.run_page(project="nowhere").runs)
    with pytest.raises(Invalid, match="ask for 1 or more"):
        store.run_page(limit=0)


def test_a_run_is_edited_key_by_key(store: Store) -> None:
    store.start_run(id="r", name="n", config={"a": 1, "b": 2})
    store.edit_run("r", config={"a": 3}, remove=["b"], notes="w", tags=["t"])
    run = store.edit_run("r", name="m")

    assert ("m", "w", ["t"], {"a": 3}) == (run.name, run.notes, run.tags, run.config)


def test_an_edit_that_says_nothing_writes_nothing(store: Store) -> None:
    """A loop that saves its config each step would otherwise fill the log."""
    store.start_run(id="r")
    before = store._root.log.last("uncategorized")
    store.edit_run("r")

    assert before == store._root.log.last("uncategorized")


@pytest.mark.parametrize("tag", ["", "a\nb", "x" * 129])
def test_a_tag_that_cannot_be_seen_is_refused(store: Store, tag: str) -> None:
    with pytest.raises(Invalid) as caught:
        store.start_run(tags=[tag])
    assert caught.value.code == "bad-tag"
    assert [] == store.runs()


@pytest.mark.parametrize("what", ["name", "job_type", "group"])
def test_a_run_is_called_something_that_a_line_holds(store: Store, what: str) -> None:
    """What others are not to send is not made here either: nobody could push it."""
    with pytest.raises(Invalid) as caught:
        store.start_run(**{what: "x" * 513})  # type: ignore[arg-type]
    assert caught.value.code == "bad-run-label"
    assert [] == store.runs()


def test_what_is_not_there_is_named(store: Store) -> None:
    store.start_run(id="r")
    for verb in (store.run, store.edit_run, store.finish_run, store.hold_run, store.inputs, store.outputs):
        with pytest.raises(NotFound) as caught:
            verb("missing")
        assert caught.value.code == "run-not-found"
    with pytest.raises(NotFound) as caught:
        store.edit_run("r", remove=["lr"])
    assert caught.value.code == "no-such-key"


def test_a_run_knows_what_it_made_and_used(store: Store, put: Put, tmp_path: Path) -> None:
    """The two ends of every edge: from a result back to its data, and from data on to what was made of it."""
    data = put({"a": b"a"})
    store.start_run(id="train", project="zoo")
    assert data == store.use("train", "uncategorized/cats", project="zoo")
    (tmp_path / "model").write_bytes(b"m")
    made = store.put([tmp_path / "model"], name="net", type="model", project="zoo", run="train").version
    assert made is not None

    assert [data] == store.inputs("train", project="zoo")
    assert [made] == store.outputs("train", project="zoo")
    assert [store.run("train", project="zoo")] == store.used_by("cats:v0")
    assert store.run("train", project="zoo") == store.logged_by("zoo/net:v0")
    assert store.logged_by("cats:v0") is None
    assert [] == store.used_by("zoo/net:v0")


def test_known_content_counts_for_the_run_that_logged_it_and_not_as_its_maker(
    store: Store, put: Put, tmp_path: Path
) -> None:
    """Two runs that make the same would each be the other's source, and lineage a circle."""
    for run in ("one", "two"):
        store.start_run(id=run)
        (tmp_path / "f").write_bytes(b"same")
        store.put([tmp_path / "f"], name="net", type="model", run=run)
    put({"other": b"o"}, name="dogs")

    assert [["net:v0"], ["net:v0"]] == [[v.name for v in store.outputs(run)] for run in ("one", "two")]
    maker = store.logged_by("net:v0")
    assert maker is not None
    assert maker.id == "one"


def test_inputs_and_outputs_stand_in_the_order_in_which_they_came(store: Store, put: Put, tmp_path: Path) -> None:
    store.start_run(id="r")
    for name in ("c", "a", "b"):
        put({name: name.encode()}, name=name)
        store.use("r", name)
        (tmp_path / "out").write_bytes(name.encode())
        store.put([tmp_path / "out"], name=f"out-{name}", type="t", run="r")

    assert ["c:v0", "a:v0", "b:v0"] == [version.name for version in store.inputs("r")]
    assert ["out-c:v0", "out-a:v0", "out-b:v0"] == [version.name for version in store.outputs("r")]


def test_a_deleted_version_stays_in_the_history(store: Store, put: Put) -> None:
    put({"a": b"a"})
    store.start_run(id="r")
    store.use("r", "cats")
    store.delete("cats:v0")

    assert [("cats:v0", "deleted")] == [(version.name, version.state) for version in store.inputs("r")]


def test_a_version_that_is_not_here_is_named_and_blocks_nothing(store: Store) -> None:
    """What was used in another store came along as a name and a digest: the history must show it."""
    store.start_run(id="r")
    use = Use(at_us=1, nonce="n", run="r", project="far", version="blake3:v", name="stars:v7", digest="blake3:m")
    with store._root.session("use") as session:
        commit(store._root, session, "uncategorized", lambda _view: [use])
    (version,) = store.inputs("r")

    assert ("far/stars:v7", "blake3:v", "blake3:m", "absent") == (
        version.ref, version.id, version.digest, version.state,
    )  # fmt: skip


# Life and death.


def test_a_run_whose_process_was_killed_is_marked_crashed_once(store: Store, children: Children) -> None:
    """It would otherwise run for ever, and nobody would look for what went wrong."""
    child = hold_elsewhere(store, "r", children)
    assert "running" == store.run("r").state
    kill(child)
    before = store._root.log.last("uncategorized")

    assert ["crashed"] == [run.state for run in store.runs()]
    assert "crashed" == store.run("r").state
    assert before + 1 == store._root.log.last("uncategorized")
    assert [] == list((store.path / FOLDER).iterdir())


def test_starting_another_run_marks_the_dead_ones(store: Store, children: Children) -> None:
    kill(hold_elsewhere(store, "r", children))
    store.start_run(id="next")

    assert ["next"] == [run for _project, run in store._root.catalog.running().values()]


def test_a_run_that_was_never_held_is_left_alone(store: Store) -> None:
    """It may run on another machine, whose log came here."""
    store.start_run(id="far")

    assert ["running"] == [run.state for run in store.runs()]


def test_a_run_goes_on_where_it_crashed(store: Store, children: Children) -> None:
    """The file that the dead process left speaks of its own start, not of the new one."""
    kill(hold_elsewhere(store, "r", children))
    child = hold_elsewhere(store, "r", children)

    assert "running" == store.run("r").state
    kill(child)
    assert "crashed" == store.run("r").state


def test_a_resumed_run_that_nobody_holds_yet_is_not_marked(store: Store, children: Children) -> None:
    """Between starting and holding lies a moment, in which somebody else may list the runs."""
    kill(hold_elsewhere(store, "r", children))
    store.start_run(id="r")

    assert "running" == store.run("r").state
    with store.hold_run("r"):
        assert "running" == store.run("r").state


def test_who_takes_hold_while_a_run_is_judged_saves_it(
    store: Store, children: Children, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between looking at the locks and writing the verdict another process of the run may come."""
    kill(hold_elsewhere(store, "r", children))
    held: list[RunLock] = []

    def late(*arguments: Any) -> None:
        monkeypatch.undo()
        held.append(store.hold_run("r"))
        commit(*arguments)

    monkeypatch.setattr(runs, "commit", late)

    assert "running" == store.run("r").state
    held[0].release()


def test_who_resumes_a_run_while_it_is_judged_saves_it(
    store: Store, children: Children, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The verdict is about the start that died, not about the one that came meanwhile."""
    kill(hold_elsewhere(store, "r", children))

    def late(*arguments: Any) -> None:
        monkeypatch.undo()
        op = StartRun(
            at_us=1, nonce="n", run="r", name=None, job_type=None, group=None, notes=None, tags=[], config={}
        )  # fmt: skip
        with store._root.session("run") as session:
            commit(store._root, session, "uncategorized", lambda _view: [op])
        commit(*arguments)

    monkeypatch.setattr(runs, "commit", late)

    assert "running" == store.run("r").state


def test_a_finished_run_stays_finished_when_its_process_dies(store: Store, children: Children) -> None:
    child = hold_elsewhere(store, "r", children)
    store.finish_run("r")
    kill(child)

    assert "finished" == store.run("r").state
    assert [] == list((store.path / FOLDER).iterdir())


def test_an_ended_run_cannot_be_held(store: Store) -> None:
    """Whoever holds it would believe that it counts as alive."""
    store.start_run(id="r")
    store.finish_run("r")
    with pytest.raises(Conflict) as caught:
        store.hold_run("r")
    assert caught.value.code == "run-ended"
    assert [] == list((store.path / FOLDER).iterdir())


def test_a_held_run_does_not_hold_back_gc(store: Store, put: Put, children: Children) -> None:
    """A run of a week must not keep a full disk full."""
    hold_elsewhere(store, "r", children)
    put({"large": bytes(2 << 20)})
    store.delete("cats:v0")

    report = store.gc(grace_s=0)
    assert (1, 0) == (report.freed_blobs, report.kept_by_sessions)
    assert "running" == store.run("r").state


def test_the_hold_says_who_has_it(store: Store) -> None:
    """For a person who wonders why a run still counts as alive."""
    store.start_run(id="r")
    with store.hold_run("r"):
        (path,) = (store.path / FOLDER).iterdir()
        about = json.loads(path.read_bytes()[1:])
    assert {"pid", "host", "since"} == set(about)
    assert about["since"] <= time.time()
