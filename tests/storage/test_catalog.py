"""The catalog: tables that are the fold, and nothing else."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from artstore.errors import UpgradeNeeded
from artstore.model.digest import Digest
from artstore.model.fold import Void, fold_into
from artstore.model.records import (
    AnyOp,
    Commit,
    Create,
    Delete,
    Relog,
    StartRun,
    Use,
    VersionRecord,
    decode_op,
    encode_op,
)
from artstore.model.state import MemoryState
from artstore.storage.catalog import FILE_NAME, ProjectView
from artstore.storage.journal import Journal
from artstore.storage.root import Root
from tests.storage.guess import Guess

PROJECTS = itertools.count()


def folded(ops: list[bytes]) -> tuple[MemoryState, list[str]]:
    """The same ops in memory, and why some were void."""
    state = MemoryState()
    voids: list[str] = []
    once = dict.fromkeys(ops)
    for position, body in enumerate(once, start=1):
        outcome = fold_into(state, str(Digest.of(body)), decode_op(body), position)
        if isinstance(outcome, Void):
            voids.append(outcome.reason)
    return state, voids


def append(root: Root, name: str, ops: list[bytes], size: int) -> list[str]:
    """Fold ops into the catalog, so many in a transaction."""
    voids: list[Void] = []
    with root.catalog.write():
        root.catalog.add_project(name, "0" * 32)
    for seq, start in enumerate(range(0, len(ops), size), start=1):
        with root.catalog.write():
            project = root.catalog.project(name)
            assert project is not None
            voids += Journal(root.catalog, project).append(seq, f"blake3:{seq}", ops[start : start + size])
    return [void.reason for void in voids]


@settings(max_examples=150)
@given(seed=st.integers(0, 2**32), count=st.integers(0, 60), size=st.integers(1, 25))
def test_the_tables_are_what_the_log_folds_to_in_memory(shared_root: Root, seed: int, count: int, size: int) -> None:
    """I11, I20. A rebuilt catalog and another machine's say the same, about ops that do not apply too."""
    name = f"p{next(PROJECTS)}"
    ops = Guess(seed).write(count)
    voids = append(shared_root, name, ops, size)
    state, expected_voids = folded(ops)

    project = shared_root.catalog.project(name)
    assert project is not None
    assert expected_voids == voids
    journal = Journal(shared_root.catalog, project)
    assert state.hash() == journal.hash_of_tables()
    assert ops == [op for _, _, some in journal.transactions() for op in some]


def test_the_random_ops_meet_every_reason_to_be_void() -> None:
    """The comparison above proves nothing about a rule that it never meets."""
    reasons = {reason.split("'")[-1].strip() for seed in range(60) for reason in folded(Guess(seed).write(60))[1]}

    assert len(reasons) >= 12, sorted(reasons)


def test_projects_do_not_see_each_other(root: Root) -> None:
    """`cats` of one project is not `cats` of another, even where both logs hold the very same ops."""
    ops = Guess(5).write(60)
    append(root, "one", ops, 7)
    append(root, "two", ops[:30], 7)
    one, two = root.catalog.projects()

    assert folded(ops)[0].hash() == Journal(root.catalog, one).hash_of_tables()
    assert folded(ops[:30])[0].hash() == Journal(root.catalog, two).hash_of_tables()


def test_an_unknown_op_leaves_the_catalog_as_it_was(root: Root) -> None:
    """A half-folded transaction would be a state that no log has."""
    append(root, "p", Guess(3).write(20), 20)
    project = root.catalog.project("p")
    assert project is not None
    before = Journal(root.catalog, project).hash_of_tables()

    with pytest.raises(UpgradeNeeded), root.catalog.write():
        Journal(root.catalog, project).append(2, "blake3:2", [*Guess(4).write(5), b'{"op":"teleport"}'])

    assert (project, before) == (root.catalog.project("p"), Journal(root.catalog, project).hash_of_tables())


@pytest.fixture
def cats(root: Root) -> tuple[ProjectView, str, list[str]]:
    """A collection of four versions, the second deleted, the first logged again last."""
    create = Create(at_us=1, nonce="c", kind="sequence", name="cats", type="t", description=None)
    collection = str(Digest.of(encode_op(create)))
    records = [
        VersionRecord(
            collection=collection, manifest=str(Digest.of(b"%d" % number)), created_us=1, run=None, description=None,
            metadata={}, entries=0, bytes=0, nonce=f"{number}",
        )
        for number in range(4)
    ]  # fmt: skip
    ids = [str(record.id) for record in records]
    ops: list[AnyOp] = [create, *(Commit(at_us=1, nonce="n", record=record) for record in records)]
    ops += [
        Delete(at_us=1, nonce="d", store="s", version=ids[1]),
        Relog(at_us=1, nonce="r", target=ids[0], record=records[0]),
    ]
    ops += [StartRun(at_us=1, nonce="s", run="r", name=None, job_type=None, group=None, notes=None, tags=[], config={})]
    ops += [Use(at_us=1, nonce="u", run="r", project="p", version=ids[2], name="cats:v2", digest="blake3:m")]
    append(root, "p", [encode_op(op) for op in ops], 3)
    project = root.catalog.project("p")
    assert project is not None
    return ProjectView(root.catalog, project.id), collection, ids


def test_latest_is_what_was_logged_last(cats: tuple[ProjectView, str, list[str]]) -> None:
    view, collection, ids = cats
    latest = view.latest(collection)

    assert latest is not None
    assert latest.id == ids[0]


def test_deleted_versions_are_not_listed_and_not_found_by_content(cats: tuple[ProjectView, str, list[str]]) -> None:
    """A put of a deleted version's content must be a new version, not one that nobody can get."""
    view, collection, ids = cats

    assert [ids[3], ids[2], ids[0]] == [version.id for version in view.versions_of(collection)]
    assert view.version_with_manifest(collection, Digest.of(b"1")) is None
    assert [number for number in range(5) if view.version_numbered(collection, number)] == [0, 1, 2, 3]


def test_an_edit_costs_what_it_changes(root: Root) -> None:
    """A deletion wrote all metadata of the version anew: who deleted on a full disk to make room filled up the rest."""
    create = Create(at_us=1, nonce="c", kind="sequence", name="cats", type="t", description=None)
    record = VersionRecord(
        collection=str(Digest.of(encode_op(create))), manifest=str(Digest.of(b"m")), created_us=1, run=None,
        description=None, metadata={"curve": "0" * 500_000}, entries=0, bytes=0, nonce="r",
    )  # fmt: skip
    append(root, "p", [encode_op(op) for op in (create, Commit(at_us=1, nonce="n", record=record))], 2)
    root.catalog.settle()
    log = root.path / f"{FILE_NAME}-wal"
    before = log.stat().st_size
    project = root.catalog.project("p")
    assert project is not None
    with root.catalog.write():
        delete = encode_op(Delete(at_us=1, nonce="d", store="s", version=str(record.id)))
        Journal(root.catalog, project).append(2, "blake3:2", [delete])

    assert log.stat().st_size - before < 100_000


def test_what_a_run_used_is_known(cats: tuple[ProjectView, str, list[str]]) -> None:
    """`prune` must not take what a result was made from."""
    view, _, ids = cats

    assert [False, False, True, False] == [view.is_used(id_) for id_ in ids]
