"""Lineage: what came from what is what could have, and never leads in a circle."""

from __future__ import annotations

import io
import random
from collections.abc import Callable, Iterable
from graphlib import TopologicalSorter
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from artstore.errors import ArtstoreError
from artstore.lifecycle.commit import commit
from artstore.lifecycle.reports import LineageReport, VersionInfo
from artstore.model.records import Use
from artstore.store import Store


class History:
    """Runs of a store, that use and make versions of one small file each."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.made = 0

    def make(self, name: str, *, run: str | None = None, project: str = "p", content: str | None = None) -> str:
        self.made += 1
        stream = io.BytesIO(f"{self.made if content is None else content}".encode())
        report = self.store.put([stream], name=name, type="t", project=project, prefix="f", run=run)
        assert report.version is not None
        return report.version.ref

    def start(self, run: str, project: str = "p") -> None:
        self.store.start_run(id=run, project=project)

    def use(self, run: str, ref: str, project: str = "p") -> None:
        self.store.use(run, ref, project=project)


@pytest.fixture
def history(store: Store) -> History:
    return History(store)


def names(report: LineageReport) -> set[str]:
    return {node.label for node in report.nodes}


def edges(report: LineageReport) -> set[tuple[str, str]]:
    labels = {node.key: node.label for node in report.nodes}
    return {(labels[edge.source], labels[edge.target]) for edge in report.edges}


def test_a_result_leads_back_to_its_data_and_on_to_what_came_of_it(history: History) -> None:
    """Over runs and projects, and past what has nothing to do with it."""
    raw = history.make("raw")
    history.make("unrelated")
    history.start("clean")
    history.use("clean", raw)
    clean = history.make("clean", run="clean")
    history.start("train", project="q")
    history.use("train", clean, project="q")
    net = history.make("net", run="train", project="q")
    history.start("eval")
    history.use("eval", net)
    score = history.make("score", run="eval")
    report = history.store.lineage(clean)

    assert {raw, "clean", clean, "train", net, "eval", score} == names(report)
    assert {
        (raw, "clean"), ("clean", clean), (clean, "train"), ("train", net), (net, "eval"), ("eval", score),
    } == edges(report)  # fmt: skip
    assert [] == report.loops
    assert {-2, -1, 0, 1, 2, 3, 4} == {node.depth for node in report.nodes}
    assert {raw, "clean", clean} == names(history.store.lineage(clean, down=False))
    assert {clean, "train", net, "eval", score} == names(history.store.lineage(clean, up=False))
    assert {clean} == names(history.store.lineage(clean, up=False, down=False))


def test_a_depth_ends_the_walk(history: History) -> None:
    ref = history.make("v0")
    first = ref
    for number in range(4):
        history.start(f"r{number}")
        history.use(f"r{number}", ref)
        ref = history.make(f"v{number + 1}", run=f"r{number}")
    counts = [len(history.store.lineage(first, depth=depth).nodes) for depth in range(5)]

    assert [1, 2, 3, 4, 5] == counts
    assert [1, 2, 3, 4, 5] == [len(history.store.lineage(ref, depth=depth).nodes) for depth in range(5)]
    assert 9 == len(history.store.lineage(first).nodes) == len(history.store.lineage(ref).nodes)
    with pytest.raises(ArtstoreError) as caught:
        history.store.lineage(ref, depth=-1)
    assert "bad-depth" == caught.value.code


def test_a_version_does_not_come_from_what_its_run_used_later(history: History) -> None:
    """A notebook runs for a week: what it read on Friday is not in what it wrote on Monday."""
    early, late = history.make("early"), history.make("late")
    history.start("r")
    history.use("r", early)
    monday = history.make("monday", run="r")
    history.use("r", late)
    friday = history.make("friday", run="r")

    assert {early, "r", monday} == names(history.store.lineage(monday))
    assert {early, late, "r", friday} == names(history.store.lineage(friday, down=False))
    assert {early, "r", monday, friday} == names(history.store.lineage(early))
    assert {late, "r", friday} == names(history.store.lineage(late))


def test_the_first_use_counts(history: History) -> None:
    """Used again after the result was made, it was still used before."""
    data = history.make("data")
    history.start("r")
    history.use("r", data)
    result = history.make("result", run="r")
    history.use("r", data)

    assert {data, "r", result} == names(history.store.lineage(result))


def test_who_logged_known_content_has_not_made_it(history: History) -> None:
    """W&B's relog: the second run would be the source of what it had as its own source."""
    history.start("one")
    first = history.make("same", run="one", content="x")
    history.start("two")
    history.use("two", first)
    again = history.make("same", run="two", content="x")
    report = history.store.lineage(first)

    assert first == again
    assert {("one", first), (first, "two")} == edges(report)
    assert [] == report.loops


def test_a_run_that_uses_its_own_work_is_no_circle(history: History) -> None:
    history.start("r")
    first = history.make("first", run="r")
    history.use("r", first)
    second = history.make("second", run="r")
    report = history.store.lineage(first)

    assert {("r", first), ("r", second)} == edges(report)
    assert [("used", first)] == [
        (edge.kind, next(n.label for n in report.nodes if n.key == edge.source)) for edge in report.loops
    ]


def test_two_runs_that_feed_each_other_are_no_circle(history: History) -> None:
    """Each waits for the other's next checkpoint: at each moment one came from the other, and never from itself."""
    for run in ("one", "two"):
        history.start(run)
    ref = history.make("a", run="one")
    history.use("two", ref)
    other = history.make("b", run="two")
    history.use("one", other)
    last = history.make("c", run="one")
    report = history.store.lineage(last)

    assert {ref, other, last, "one", "two"} == names(report)
    assert 1 == len(report.loops)
    in_order(report)


def test_all_who_added_parts_are_makers(history: History) -> None:
    store = history.store
    sources = []
    for run in ("one", "two"):
        history.start(run)
        sources.append(history.make(f"source-{run}"))
        history.use(run, sources[-1])
        with store.draft() as draft:
            draft.add_stream(io.BytesIO(run.encode()), run)
            store.add_part(draft, name="whole", type="t", project="p", distributed_id="d", run=run)
    whole = store.finish_parts(name="whole", type="t", project="p", distributed_id="d")

    assert {*sources, "one", "two", whole.ref} == names(store.lineage(whole.ref))


def test_a_link_leads_to_where_its_version_came_from(history: History) -> None:
    history.start("r")
    ref = history.make("net", run="r")
    history.store.link(ref, "p/best")

    assert {ref, "r"} == names(history.store.lineage("p/best"))


def test_what_was_deleted_or_is_not_here_stays_in_the_picture(history: History) -> None:
    """A gap in the history would look like an origin."""
    data = history.make("data")
    history.start("r")
    history.use("r", data)
    far = Use(at_us=1, nonce="n", run="r", project="far", version="blake3:v", name="stars:v7", digest="blake3:m")
    with history.store._root.session("use") as session:
        commit(history.store._root, session, "p", lambda _view: [far])
    result = history.make("result", run="r")
    history.store.delete(data)
    report = history.store.lineage(result)

    assert {data, "far/stars:v7", "r", result} == names(report)
    states = {node.version.state for node in report.nodes if node.version is not None}
    assert {"deleted", "absent", "committed"} == states


def in_order(report: LineageReport) -> list[str]:
    """The nodes so that each stands behind what leads to it. Raises CycleError where that cannot be."""
    before: dict[str, set[str]] = {node.key: set() for node in report.nodes}
    for edge in report.edges:
        before[edge.target].add(edge.source)
    return list(TopologicalSorter(before).static_order())


class Event(NamedTuple):
    """Something that happened, in the order in which it did."""

    kind: str
    run: str
    version: str


def reached(events: Iterable[Event], start: str) -> set[str]:
    """What came from a version, told from its history alone."""
    tainted = {start}
    for event in events:
        if event.kind == "use" and event.version in tainted:
            tainted.add(event.run)
        elif event.kind == "make" and event.run in tainted:
            tainted.add(event.version)
    return tainted


def sources(events: list[Event], start: str) -> set[str]:
    """What a version came from: all from which it is reached."""
    versions = {event.version for event in events}
    return {version for version in versions if start in reached(events, version)}


@pytest.mark.slow
@settings(max_examples=40)
@given(seed=st.integers(0, 2**32), count=st.integers(1, 25))
def test_any_history_is_told_right_and_without_circles(shared: Callable[[], History], seed: int, count: int) -> None:
    """Random runs in two projects use, make, and make again whatever there is."""
    chance = random.Random(seed)
    history = shared()
    prefix = f"h{history.made}-{seed}"
    runs = {f"{prefix}-r{number}": "pq"[number % 2] for number in range(4)}
    for run, project in runs.items():
        history.start(run, project)
    events: list[Event] = []
    refs: list[str] = []
    makers: dict[str, str] = {}
    for number in range(count):
        run = chance.choice(list(runs))
        kind = chance.choice(["use", "make", "make", "again"])
        if kind == "use" and refs:
            ref = chance.choice(refs)
            history.use(run, ref, runs[run])
            events.append(Event("use", run, ref))
        elif kind == "again" and refs:
            # Content that is there already, logged by whoever: nobody made anything.
            ref = chance.choice(refs)
            name = ref.split("/")[1].split(":")[0]
            history.make(name, run=run, project=ref[0], content=makers[ref])
        else:
            content = f"{prefix} {number}"
            ref = history.make(f"{prefix}-{number}", run=run, project=runs[run], content=content)
            makers[ref] = content
            refs.append(ref)
            events.append(Event("make", run, ref))
    for ref in refs:
        up, down = history.store.lineage(ref, down=False), history.store.lineage(ref, up=False)
        both = history.store.lineage(ref)
        for report in (up, down, both):
            in_order(report)
        assert reached(events, ref) & set(refs) == {n.label for n in down.nodes if n.version is not None}
        assert sources(events, ref) == {n.label for n in up.nodes if n.version is not None}
        assert names(up) | names(down) == names(both)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterable[Callable[[], History]]:
    """One store for all examples, whose names never meet."""
    with Store.init(tmp_path_factory.mktemp("shared") / "store") as store:
        history = History(store)
        yield lambda: history


def test_a_rebuild_tells_the_same(history: History, tmp_path: Path) -> None:
    data = history.make("data")
    history.start("r")
    history.use("r", data)
    result = history.make("result", run="r")
    history.use("r", result)
    before: LineageReport = history.store.lineage(result)
    path = history.store.path
    history.store.close()
    Store.rebuild(path)

    with Store.open(path) as again:
        assert before == again.lineage(result)
    assert isinstance(before.nodes[0].version, VersionInfo)
    assert tmp_path in path.parents
