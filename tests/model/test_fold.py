"""The fold: every rule, and every reason why an op can be void."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Literal

import msgspec
import pytest

from artstore.model.digest import Digest
from artstore.model.fold import GATHERED, MOVED, NOT_SEEN, OF_A_DEPOT, Void, fold_into
from artstore.model.records import (
    AnyOp,
    Commit,
    Condemn,
    Create,
    Delete,
    DeleteCollection,
    Describe,
    DropPart,
    EditMetadata,
    EditRun,
    FinishRun,
    Kind,
    Link,
    MoveAlias,
    Part,
    Relog,
    Rename,
    Retype,
    SetTag,
    SetTtl,
    StartRun,
    Sweep,
    Unlink,
    Use,
    VersionRecord,
    encode_op,
)
from artstore.model.state import (
    Alias,
    Collection,
    Logged,
    Membership,
    MemoryState,
    Run,
    Synonym,
    Tag,
    UnfinishedPart,
    Used,
    Version,
)


class Log:
    """A log that is folded as it is written."""

    def __init__(self) -> None:
        self.state = MemoryState()
        self.position = 0
        self.voids: list[str] = []
        self.nonces = 0

    def add(self, op: AnyOp) -> str:
        """Append an op; answers its id."""
        self.position += 1
        op_id = str(Digest.of(encode_op(op)))
        outcome = fold_into(self.state, op_id, op, self.position)
        if isinstance(outcome, Void):
            self.voids.append(outcome.reason)
        return op_id

    def nonce(self) -> str:
        self.nonces += 1
        return str(self.nonces)

    def create(self, name: str = "cats", type: str = "dataset", kind: Kind = "sequence") -> str:
        op = Create(at_us=self.position, nonce=self.nonce(), kind=kind, name=name, type=type, description=None)
        return self.add(op)

    def part(self, run: str | None = None, name: str = "cats") -> str:
        op = Part(
            at_us=self.position, nonce=self.nonce(), name=name, type="dataset", distributed_id="d", run=run,
            store="s", manifest="blake3:p", entries=1, bytes=2, aliases=["best"], description=None, metadata={"x": 1},
        )  # fmt: skip
        return self.add(op)

    def gather(self, collection: str, parts: list[str], *, run: str | None = None) -> str:
        record = self.record(collection, run=run)
        self.add(Commit(at_us=1, nonce=self.nonce(), record=record, parts=parts))
        return str(record.id)

    def link(self, portfolio: str, version: str, name: str = "cats:v0", at_us: int = 1) -> None:
        op = Link(
            at_us=at_us, nonce=self.nonce(), portfolio=portfolio, project="p", version=version, name=name,
            digest="blake3:m",
        )  # fmt: skip
        self.add(op)

    def unlink(self, portfolio: str, version: str) -> None:
        self.add(Unlink(at_us=1, nonce=self.nonce(), portfolio=portfolio, version=version))

    def record(self, collection: str, *, manifest: str = "blake3:m", run: str | None = None) -> VersionRecord:
        return VersionRecord(
            collection=collection,
            manifest=manifest,
            created_us=1,
            run=run,
            description=None,
            metadata={"a": 1, "b": 2},
            entries=1,
            bytes=2,
            nonce=self.nonce(),
        )

    def commit(self, collection: str, *, run: str | None = None) -> str:
        record = self.record(collection, run=run)
        self.add(Commit(at_us=1, nonce=self.nonce(), record=record))
        return str(record.id)

    def relog(self, target: str, record: VersionRecord) -> None:
        self.add(Relog(at_us=1, nonce=self.nonce(), target=target, record=record))

    def alias(self, collection: str, name: str, version: str | None) -> None:
        """Move an alias from where it stands, as `artstore alias` does."""
        found = self.state.collection(collection)
        there = None if found is None else self.state.alias(found.id, name)
        self.alias_from(None if there is None else there.version, collection, name, version)

    def alias_from(self, before: str | None, collection: str, name: str, version: str | None) -> None:
        self.add(
            MoveAlias(at_us=1, nonce=self.nonce(), collection=collection, alias=name, before=before, version=version)
        )

    def tag(
        self, target: str, tag: str, *, present: bool = True, kind: Literal["version", "collection"] = "version"
    ) -> None:
        self.add(SetTag(at_us=1, nonce=self.nonce(), kind=kind, target=target, tag=tag, present=present))

    def delete(self, version: str) -> None:
        self.add(Delete(at_us=1, nonce=self.nonce(), store="s", version=version))

    def start(self, run: str, at_us: int = 1, **given: Any) -> str:
        words: dict[str, Any] = {"name": None, "job_type": None, "group": None, "notes": None, "tags": []}
        before = self.state.run(run)
        words["after"] = None if before is None else before.begun
        op = StartRun(at_us=at_us, nonce=self.nonce(), run=run, **{**words, "config": {"x": 1}, **given})
        return self.add(op)

    def edit(self, run: str, **given: Any) -> None:
        words: dict[str, Any] = {"set": {}, "remove": [], "name": None, "notes": None, "tags": None}
        self.add(EditRun(at_us=1, nonce=self.nonce(), run=run, **{**words, **given}))

    def version(self, id_: str) -> Version:
        found = self.state.version(id_)
        assert found is not None
        return found

    def number(self, id_: str) -> int:
        return self.version(id_).number


@pytest.fixture
def log() -> Log:
    return Log()


def test_a_collection_has_the_id_of_the_op_that_created_it(log: Log) -> None:
    """Names move; what refers to a collection must not."""
    id_ = log.create("cats", "dataset")
    expected = Collection(
        id=id_,
        kind="sequence",
        name="cats",
        type="dataset",
        description=None,
        next_number=0,
        created_us=0,
        deleted=False,
    )

    assert [expected] == log.state.all(Collection)


def test_a_collection_created_twice_is_one(log: Log) -> None:
    """Two machines that made it apart must not end with two, nor may what refers to the second be lost."""
    first, second = log.create(), log.create()
    one, other = log.commit(first), log.commit(second)

    assert [Synonym(id=second, collection=first)] == log.state.all(Synonym)
    assert [0, 1] == [log.number(one), log.number(other)]


def test_a_name_keeps_its_type(log: Log) -> None:
    """A type clash refuses that op and what refers to it, and nothing else waits behind it."""
    first, clash = log.create("cats", "dataset"), log.create("cats", "model")
    log.commit(clash)
    log.commit(first)

    assert log.voids == ["'cats' has the type 'dataset'", "the collection was refused or is not known"]
    assert [0] == [version.number for version in log.state.all(Version)]


def test_the_op_that_created_a_collection_creates_it_once(log: Log) -> None:
    """Read a second time after a rename, it would begin again at v0, over the versions that are there."""
    create = Create(at_us=1, nonce="n", kind="sequence", name="cats", type="dataset", description=None)
    collection = log.add(create)
    log.commit(collection)
    log.add(Rename(at_us=1, nonce="r", collection=collection, name="dogs"))
    log.add(create)

    assert log.voids == ["it was created before"]
    assert [("dogs", 1)] == [(row.name, row.next_number) for row in log.state.all(Collection)]


def test_a_synonym_is_created_once(log: Log) -> None:
    """As above, for an id that stands for another's collection."""
    first = log.create()
    again = Create(at_us=1, nonce="again", kind="sequence", name="cats", type="dataset", description=None)
    synonym = log.add(again)
    log.add(Rename(at_us=1, nonce="r", collection=first, name="dogs"))
    log.add(again)
    log.commit(synonym)

    assert log.voids == ["it was created before"]
    assert [first] == [version.collection for version in log.state.all(Version)]


def test_numbers_count_commits(log: Log) -> None:
    cats, dogs = log.create("cats"), log.create("dogs")

    assert [0, 1, 0, 2] == [log.number(log.commit(each)) for each in (cats, cats, dogs, cats)]


def test_a_deleted_number_is_never_used_again(log: Log) -> None:
    """Somewhere a paper says `cats:v1`. It may be gone; it must not be something else."""
    cats = log.create()
    versions = [log.commit(cats) for _ in range(3)]
    for version in reversed(versions):
        log.delete(version)

    assert log.number(log.commit(cats)) == 3
    assert [True] * 3 == [log.version(version).deleted for version in versions]


def test_a_record_is_committed_once(log: Log) -> None:
    """P13. A commit that was tried again after a lost answer is one version, with one number."""
    cats = log.create()
    record = log.record(cats)
    for _ in range(2):
        log.add(Commit(at_us=1, nonce=log.nonce(), record=record))

    assert log.voids == ["it was committed before"]
    assert [0] == [version.number for version in log.state.all(Version)]


def test_a_deleted_record_does_not_come_back(log: Log) -> None:
    cats = log.create()
    record = log.record(cats)
    log.add(Commit(at_us=1, nonce=log.nonce(), record=record))
    log.delete(str(record.id))
    log.add(Commit(at_us=1, nonce=log.nonce(), record=record))

    assert log.voids == ["it was committed before"]
    assert log.version(str(record.id)).deleted


def test_a_commit_keeps_what_its_record_says(log: Log) -> None:
    cats = log.create()
    record = log.record(cats, run="r")
    log.add(Commit(at_us=5, nonce="n", record=record))
    expected = Version(
        id=str(record.id),
        collection=cats,
        number=0,
        manifest="blake3:m",
        entries=1,
        bytes=2,
        created_us=1,
        updated_us=1,
        run="r",
        description=None,
        metadata={"a": 1, "b": 2},
        ttl_s=None,
        logged=2,
        deleted=False,
    )

    assert [expected] == log.state.all(Version)
    assert [Logged(run="r", version=str(record.id), relogged=False, position=2)] == log.state.all(Logged)


def test_equal_content_is_no_new_version(log: Log) -> None:
    """It is the latest again, and the run that logged it later is no second producer: lineage would go in circles."""
    cats = log.create()
    first = log.commit(cats, run="one")
    log.commit(cats)
    log.relog(first, log.record(cats, run="two"))
    log.relog(first, log.record(cats, run="one"))

    assert len(log.state.all(Version)) == 2
    assert log.version(first).logged == 5
    assert [("one", False), ("two", True)] == [(row.run, row.relogged) for row in log.state.all(Logged)]


@pytest.mark.parametrize("is_known", [True, False])
def test_equal_content_of_a_deleted_version_is_a_new_one(log: Log, is_known: bool) -> None:
    """Somebody deleted it a moment before: what was logged must not go with it."""
    cats = log.create()
    first = log.commit(cats)
    log.delete(first)
    record = log.record(cats)
    log.relog(first if is_known else "blake3:unknown", record)

    assert log.number(str(record.id)) == 1
    assert not log.version(str(record.id)).deleted


def test_equal_content_in_another_collection_is_a_new_version(log: Log) -> None:
    """Two had made one collection, and then it was two: what was put into the one is in that, or it is not found."""
    lions, cats = log.create("lions"), log.create("cats")
    first = log.commit(lions)
    record = log.record(cats)
    log.relog(first, record)

    assert (log.version(str(record.id)).collection, log.number(str(record.id))) == (cats, 0)
    assert log.version(first).logged == 3


def test_a_relog_into_a_refused_collection_is_void(log: Log) -> None:
    log.relog("blake3:unknown", log.record("blake3:refused"))

    assert log.voids == ["the collection was refused or is not known"]


EDITS: Final[dict[str, Callable[[str, str], AnyOp]]] = {
    "alias": lambda c, v: MoveAlias(at_us=9, nonce="x", collection=c, alias="best", before=None, version=v),
    "tag": lambda _, v: SetTag(at_us=9, nonce="x", kind="version", target=v, tag="raw", present=True),
    "description": lambda _, v: Describe(at_us=9, nonce="x", kind="version", target=v, text="mine"),
    "metadata": lambda _, v: EditMetadata(at_us=9, nonce="x", version=v, set={"a": 2}, remove=[]),
    "time to live": lambda _, v: SetTtl(at_us=9, nonce="x", version=v, ttl_s=1.0),
}


@pytest.mark.parametrize("edit", EDITS)
def test_an_edit_says_when_the_version_was_updated(log: Log, edit: str) -> None:
    """By this people find what somebody has been at; what was only logged next to it stays as old as it is."""
    cats = log.create()
    first, second = log.commit(cats), log.commit(cats)
    log.add(EDITS[edit](cats, first))

    assert [(1, 9), (1, 1)] == [(log.version(v).created_us, log.version(v).updated_us) for v in (first, second)]


def test_a_version_that_loses_a_label_is_updated_too(log: Log) -> None:
    cats = log.create()
    first, second = log.commit(cats), log.commit(cats)
    log.alias(cats, "best", first)
    log.add(MoveAlias(at_us=7, nonce="a", collection=cats, alias="best", before=first, version=second))
    assert [7, 7] == [log.version(v).updated_us for v in (first, second)]
    log.add(MoveAlias(at_us=8, nonce="b", collection=cats, alias="best", before=second, version=None))
    log.add(SetTag(at_us=9, nonce="c", kind="version", target=first, tag="raw", present=True))
    log.add(SetTag(at_us=10, nonce="d", kind="version", target=first, tag="raw", present=False))

    assert [10, 8] == [log.version(v).updated_us for v in (first, second)]


def test_a_clock_that_was_put_back_makes_no_version_older(log: Log) -> None:
    cats = log.create()
    version = log.commit(cats)
    log.add(Describe(at_us=9, nonce="a", kind="version", target=version, text="now"))
    log.add(Describe(at_us=0, nonce="b", kind="version", target=version, text="then"))

    assert 9 == log.version(version).updated_us


def test_an_alias_in_a_portfolio_updates_the_link_and_not_the_version(log: Log) -> None:
    cats = log.create()
    version = log.commit(cats)
    best = log.create("best", kind="portfolio")
    log.link(best, version)
    log.add(MoveAlias(at_us=9, nonce="a", collection=best, alias="prod", before=None, version=version))

    assert ([], 1) == (log.voids, log.version(version).updated_us)


def test_an_alias_stands_on_one_version(log: Log) -> None:
    cats = log.create()
    first, second = log.commit(cats), log.commit(cats)
    log.alias(cats, "best", first)
    log.alias(cats, "best", second)

    assert [Alias(collection=cats, name="best", version=second)] == log.state.all(Alias)


def test_a_refused_collection_comes_to_be_with_another_creation_and_what_names_it_stands(log: Log) -> None:
    """Its versions have been used and linked by their ids, also by those who never saw that it was refused."""
    log.create("cats", "model")
    refused = log.create("cats", "dataset")
    record = log.record(refused)
    again = Create(at_us=9, nonce="a", kind="sequence", name="felines", type="dataset", description=None, id=refused)
    log.add(again)
    log.add(Commit(at_us=9, nonce="c", record=record))
    log.add(msgspec.structs.replace(again, name="tigers"))

    assert ["'cats' has the type 'model'", "it was created before"] == log.voids
    assert (refused, 0) == (log.version(str(record.id)).collection, log.number(str(record.id)))
    assert {"cats", "felines"} == {each.name for each in log.state.all(Collection)}


def test_an_alias_goes(log: Log) -> None:
    cats = log.create()
    log.alias(cats, "best", log.commit(cats))
    log.alias(cats, "best", None)
    log.alias(cats, "best", None)

    assert log.state.all(Alias) == []
    assert log.voids == ["the alias was gone"]


def test_an_alias_can_be_moved_through_a_synonym(log: Log) -> None:
    """Whoever created the collection second must move the same alias, not one of its own."""
    first, second = log.create(), log.create()
    version = log.commit(first)
    log.alias(first, "best", version)
    log.alias(second, "best", None)

    assert log.state.all(Alias) == []


@pytest.mark.parametrize("goal", ["elsewhere", "nowhere"])
def test_who_moves_an_alias_second_does_not_take_it(log: Log, goal: str) -> None:
    """Two machines chose apart: to let the later win would undo somebody's choice without a word."""
    cats = log.create()
    first, second, third = log.commit(cats), log.commit(cats), log.commit(cats)
    log.alias_from(None, cats, "best", first)
    log.alias_from(first, cats, "best", second)
    log.alias_from(first, cats, "best", third if goal == "elsewhere" else None)

    assert [Alias(collection=cats, name="best", version=second)] == log.state.all(Alias)
    assert log.voids == [MOVED]


def test_an_alias_that_somebody_else_took_away_does_not_come_back(log: Log) -> None:
    """A model that was called back goes into production again, since somebody offline had moved the word on."""
    cats, best = log.create(), log.create("best", kind="portfolio")
    first, second = log.commit(cats), log.commit(cats)
    log.link(best, first)
    log.link(best, second)
    for collection in (cats, best):
        log.alias_from(None, collection, "prod", first)
        log.alias_from(first, collection, "prod", None)
        log.alias_from(first, collection, "prod", second)

    assert log.state.all(Alias) == []
    assert log.voids == [MOVED, MOVED]


def test_two_who_move_an_alias_to_the_same_place_agree(log: Log) -> None:
    """A conflict that nobody has would still want to be settled."""
    cats = log.create()
    first, second = log.commit(cats), log.commit(cats)
    log.alias_from(None, cats, "best", first)
    log.alias_from(None, cats, "best", first)
    log.alias_from(first, cats, "best", second)

    assert [Alias(collection=cats, name="best", version=second)] == log.state.all(Alias)
    assert log.voids == []


def test_an_alias_that_went_with_its_version_is_free(log: Log) -> None:
    """Nobody else claims it, so there is nothing to settle."""
    cats = log.create()
    first, second = log.commit(cats), log.commit(cats)
    log.alias(cats, "best", first)
    log.delete(first)
    log.alias_from(first, cats, "best", second)

    assert [Alias(collection=cats, name="best", version=second)] == log.state.all(Alias)


@pytest.mark.parametrize(
    ("which", "reason"),
    [
        ("unknown", "the version is not known"),
        ("deleted", "the version was deleted"),
        ("dog", "the version is of another collection"),
    ],
)
def test_an_alias_stands_only_on_a_live_version_of_its_collection(log: Log, which: str, reason: str) -> None:
    """`cats:best` that gives a dog, or nothing, is worse than none."""
    cats = log.create("cats")
    targets = {"unknown": "blake3:u", "deleted": log.commit(cats), "dog": log.commit(log.create("dogs"))}
    log.delete(targets["deleted"])
    log.alias(cats, "best", targets[which])

    assert log.voids == [reason]
    assert log.state.all(Alias) == []


def test_an_alias_in_a_refused_collection_is_void(log: Log) -> None:
    log.alias("blake3:refused", "best", None)

    assert log.voids == ["the collection was refused or is not known"]


def test_a_tag_comes_and_goes(log: Log) -> None:
    version = log.commit(log.create())
    log.tag(version, "good")
    log.tag(version, "good")
    log.tag(version, "seen")
    log.tag(version, "good", present=False)
    log.tag(version, "good", present=False)

    assert [Tag(target=version, name="seen")] == log.state.all(Tag)
    assert log.voids == ["the tag was gone"]


def test_metadata_change_by_the_key(log: Log) -> None:
    """Two people who edit two keys must both be heard; the last in the order wins for one key."""
    version = log.commit(log.create())
    log.add(EditMetadata(at_us=1, nonce="1", version=version, set={"c": 3}, remove=["a", "missing"]))
    log.add(EditMetadata(at_us=1, nonce="2", version=version, set={"b": None, "a": 9}, remove=["a"]))

    assert log.version(version).metadata == {"a": 9, "b": None, "c": 3}


def test_descriptions_are_of_versions_and_of_collections(log: Log) -> None:
    cats = log.create()
    version = log.commit(cats)
    log.add(Describe(at_us=1, nonce="1", kind="collection", target=cats, text="all cats"))
    log.add(Describe(at_us=1, nonce="2", kind="version", target=version, text="some cats"))

    assert ("all cats", "some cats") == (log.state.all(Collection)[0].description, log.version(version).description)


def test_a_collection_that_is_not_known_cannot_be_described_or_renamed(log: Log) -> None:
    log.add(Describe(at_us=1, nonce="1", kind="collection", target="blake3:u", text=""))
    log.add(Rename(at_us=1, nonce="2", collection="blake3:u", name="dogs"))

    assert log.voids == ["the collection was refused or is not known"] * 2


def test_a_time_to_live_is_set_and_lifted(log: Log) -> None:
    version = log.commit(log.create())
    log.add(SetTtl(at_us=1, nonce="1", version=version, ttl_s=60.0))
    before = log.version(version).ttl_s
    log.add(SetTtl(at_us=1, nonce="2", version=version, ttl_s=None))

    assert (60.0, None) == (before, log.version(version).ttl_s)


def test_a_renamed_collection_is_the_same_one(log: Log) -> None:
    """Its versions, numbers and aliases stay; the old name is free for another."""
    cats = log.create("cats")
    version = log.commit(cats)
    log.add(Rename(at_us=1, nonce="1", collection=cats, name="lions"))
    log.add(Rename(at_us=1, nonce="2", collection=cats, name="lions"))
    new = log.create("cats", "model")

    assert {"lions": 1, "cats": 0} == {row.name: row.next_number for row in log.state.all(Collection)}
    assert (cats, new) == (log.version(version).collection, log.state.all(Collection)[1].id)
    assert log.voids == []


def test_a_rename_does_not_take_anothers_name(log: Log) -> None:
    """Two collections of one name: a reference would mean either."""
    cats, _dogs = log.create("cats"), log.create("dogs")
    log.add(Rename(at_us=1, nonce="1", collection=cats, name="dogs"))

    assert log.voids == ["'dogs' is another collection"]
    assert {"cats", "dogs"} == {row.name for row in log.state.all(Collection)}


def test_a_deleted_version_loses_its_labels_and_keeps_its_number(log: Log) -> None:
    cats = log.create()
    kept, gone = log.commit(cats), log.commit(cats)
    for version in (kept, gone):
        log.alias(cats, f"alias-{version}", version)
        log.tag(version, "tag")
    log.delete(gone)

    assert [kept] == [alias.version for alias in log.state.all(Alias)]
    assert [kept] == [tag.target for tag in log.state.all(Tag)]
    assert (1, True) == (log.number(gone), log.version(gone).deleted)


def test_a_collection_has_tags_and_another_type(log: Log) -> None:
    """Its versions stay what they were: the type is the collection's alone."""
    cats = log.create("cats", "dataset")
    version = log.commit(cats)
    log.tag(cats, "good", kind="collection")
    log.tag(cats, "seen", kind="collection")
    log.tag(cats, "seen", kind="collection", present=False)
    log.tag(cats, "seen", kind="collection", present=False)
    log.add(Retype(at_us=1, nonce="t", collection=cats, type="model"))

    assert [Tag(target=cats, name="good")] == log.state.all(Tag)
    assert log.voids == ["the tag was gone"]
    assert [("model", 0)] == [(row.type, log.number(version)) for row in log.state.all(Collection)]


def test_a_deleted_collection_takes_its_versions_and_labels_along(log: Log) -> None:
    cats, dogs = log.create("cats"), log.create("dogs")
    versions = [log.commit(cats), log.commit(dogs)]
    for collection, version in zip((cats, dogs), versions, strict=True):
        log.alias(collection, "best", version)
        log.tag(version, "v")
        log.tag(collection, "c", kind="collection")
    log.add(DeleteCollection(at_us=1, nonce="d", store="s", collection=cats, versions=versions))

    assert {"cats": True, "dogs": False} == {row.name: row.deleted for row in log.state.all(Collection)}
    assert {cats: True, dogs: False} == {row.collection: row.deleted for row in log.state.all(Version)}
    assert [dogs] == [alias.collection for alias in log.state.all(Alias)]
    assert {dogs, version} == {tag.target for tag in log.state.all(Tag)}


def test_the_name_of_a_deleted_collection_is_free_and_its_id_is_not(log: Log) -> None:
    """Somewhere a paper says `cats:v0` of the old one. What comes late for it must not end in the new one."""
    create = Create(at_us=1, nonce="n", kind="sequence", name="cats", type="dataset", description=None)
    old = log.add(create)
    record = log.record(old)
    log.add(Commit(at_us=1, nonce="c", record=record))
    log.add(DeleteCollection(at_us=1, nonce="d", store="s", collection=old, versions=[str(record.id)]))
    new = log.create("cats", "model")
    version = log.commit(new)
    log.add(create)
    log.commit(old)
    log.relog(str(record.id), log.record(old))

    assert log.voids == ["it was created before", *["the collection was deleted"] * 2]
    assert (new, 0) == (log.version(version).collection, log.number(version))
    assert 2 == len(log.state.all(Version))


def test_a_collection_stays_in_which_there_is_more_than_its_end_knew_of(log: Log) -> None:
    """Somebody has put a version into it meanwhile, and was told that it is kept."""
    cats, best = log.create("cats"), log.create("best", kind="portfolio")
    old, new = log.commit(cats), log.commit(cats)
    log.link(best, old)
    log.link(best, new)
    for collection in (cats, best):
        log.add(DeleteCollection(at_us=1, nonce="d", store="s", collection=collection, versions=[old]))

    assert {old: True, new: False} == {row.id: row.deleted for row in log.state.all(Version)}
    assert [new] == [row.version for row in log.state.all(Membership)]
    assert not any(row.deleted for row in log.state.all(Collection))


@pytest.mark.parametrize("kind", ["sequence", "portfolio"])
def test_the_end_of_what_was_made_apart_takes_nothing_of_what_others_made(log: Log, kind: Kind) -> None:
    """Who takes back a slip that nobody has seen must not take others' work along, which had that name first."""
    cats = log.create("cats")
    theirs, mine, both = (log.commit(cats) for _ in range(3))
    first = log.create("x", kind=kind)
    again = log.create("x", kind=kind)
    if kind == "portfolio":
        for portfolio, version in ((first, theirs), (again, mine), (first, both), (again, both)):
            log.link(portfolio, version)
    else:
        theirs, mine = log.commit(first), log.commit(again)
    log.add(DeleteCollection(at_us=1, nonce="d", store="s", collection=again, versions=[mine, both]))
    log.unlink(again, both)
    left = [row.version for row in log.state.all(Membership)]
    standing = log.state.collection(first)

    assert standing is not None
    assert not standing.deleted
    if kind == "portfolio":
        assert [theirs, both] == left
        assert [NOT_SEEN] == log.voids
    else:
        assert [theirs] == [row.id for row in log.state.versions_of(first)]


@pytest.mark.parametrize(
    "change",
    [
        lambda c: DeleteCollection(at_us=1, nonce="x", store="s", collection=c, versions=[]),
        lambda c: Retype(at_us=1, nonce="x", collection=c, type="t"),
        lambda c: Rename(at_us=1, nonce="x", collection=c, name="n"),
        lambda c: Describe(at_us=1, nonce="x", kind="collection", target=c, text="t"),
        lambda c: SetTag(at_us=1, nonce="x", kind="collection", target=c, tag="t", present=True),
    ],
    ids=["delete", "retype", "rename", "describe", "tag"],
)
def test_what_was_said_of_a_collection_made_apart_is_not_said_of_that_of_others(log: Log, change: Any) -> None:
    """Others' trainings would stop at a name or a type that is not there any more, and nobody has decided so."""
    log.commit(log.create())
    mine = log.create()
    before = log.state.hash()
    log.add(change(mine))

    assert 1 == len(log.voids)
    assert before == log.state.hash()


@pytest.mark.parametrize(
    "change",
    [
        lambda c: DeleteCollection(at_us=1, nonce="x", store="s", collection=c, versions=[]),
        lambda c: Retype(at_us=1, nonce="x", collection=c, type="t"),
        lambda c: Rename(at_us=1, nonce="x", collection=c, name="n"),
        lambda c: Describe(at_us=1, nonce="x", kind="collection", target=c, text="t"),
        lambda c: SetTag(at_us=1, nonce="x", kind="collection", target=c, tag="t", present=True),
        lambda c: MoveAlias(at_us=1, nonce="x", collection=c, alias="a", before=None, version=None),
    ],
    ids=["delete", "retype", "rename", "describe", "tag", "alias"],
)
@pytest.mark.parametrize("which", ["unknown", "deleted"])
def test_only_standing_collections_change(log: Log, which: Literal["unknown", "deleted"], change: Any) -> None:
    cats = log.create()
    log.add(DeleteCollection(at_us=1, nonce="d", store="s", collection=cats, versions=[]))
    before = log.state.hash()
    log.add(change(cats if which == "deleted" else "blake3:u"))
    reasons = {"unknown": "the collection was refused or is not known", "deleted": "the collection was deleted"}

    assert [reasons[which]] == log.voids
    assert before == log.state.hash()


def test_a_part_waits_until_it_is_gathered(log: Log) -> None:
    """Until then nobody sees it, and it is not lost either."""
    cats = log.create()
    one, two, late = log.part("a"), log.part("b"), log.part("a")
    version = log.gather(cats, [one, two, one], run="f")

    assert [late] == [part.id for part in log.state.all(UnfinishedPart)]
    assert {("a", False), ("b", False), ("f", False)} == {
        (row.run, row.relogged) for row in log.state.all(Logged) if row.version == version
    }
    assert log.voids == []


@pytest.mark.parametrize("kind", ["commit", "relog"])
def test_parts_that_are_in_a_version_make_no_second_one(log: Log, kind: str) -> None:
    """Of two who finish at once one is first; what both gathered would be there twice."""
    cats = log.create()
    first = log.commit(cats)
    one, two = log.part("a"), log.part("b")
    log.gather(cats, [one])
    before = log.state.hash()
    if kind == "commit":
        log.gather(cats, [one, two])
    else:
        log.add(Relog(at_us=1, nonce="r", target=first, record=log.record(cats), parts=[two, one]))

    assert [GATHERED] == log.voids
    assert before == log.state.hash()


def test_a_refused_commit_gathers_nothing(log: Log) -> None:
    """The parts are all that there is of the work: they must not go with a name that clashed."""
    part = log.part("a")
    log.gather("blake3:refused", [part])

    assert [part] == [row.id for row in log.state.all(UnfinishedPart)]
    assert [] == log.state.all(Logged)


def test_equal_content_gathers_its_parts_too(log: Log) -> None:
    """Nothing new came of them, and they must not be taken into the next version."""
    cats = log.create()
    first = log.commit(cats, run="one")
    part = log.part("two")
    log.add(Relog(at_us=1, nonce="r", target=first, record=log.record(cats, run="one"), parts=[part]))

    assert [] == log.state.all(UnfinishedPart)
    assert {("one", False), ("two", True)} == {(row.run, row.relogged) for row in log.state.all(Logged)}


def test_a_dropped_part_is_gone(log: Log) -> None:
    part = log.part()
    for nonce in "ab":
        log.add(DropPart(at_us=1, nonce=nonce, part=part))

    assert [] == log.state.all(UnfinishedPart)
    assert log.voids == ["the part was gone"]


def test_the_same_part_counts_once(log: Log) -> None:
    op = Part(
        at_us=1, nonce="n", name="cats", type="t", distributed_id="d", run=None, store="s", manifest="blake3:p",
        entries=1, bytes=2, aliases=[], description=None, metadata={},
    )  # fmt: skip
    for _ in range(2):
        log.add(op)

    assert log.voids == ["it was added before"]


def test_a_portfolio_counts_its_links(log: Log) -> None:
    """A version has one number where it was made and another in each portfolio; the first link keeps its own."""
    best, cats = log.create("best", kind="portfolio"), log.create("cats")
    one, two = log.commit(cats), log.commit(cats)
    log.link(best, two, "cats:v1", at_us=7)
    log.link(best, one)
    log.link(best, two, "felines:v1", at_us=9)

    expected = Membership(
        portfolio=best, version=two, source_project="p", name="felines:v1", digest="blake3:m", number=0, linked_us=7,
        logged=7, made_in=best,
    )  # fmt: skip
    assert expected == log.state.membership(best, two)
    assert {one: 1, two: 0} == {row.version: row.number for row in log.state.memberships_of(best)}


def test_a_link_to_what_is_not_here_stands(log: Log) -> None:
    """It may be of another project, or of a store that has not yet told: nothing may wait for it."""
    best = log.create("best", kind="portfolio")
    log.link(best, "blake3:elsewhere")

    assert ([], 1) == (log.voids, len(log.state.all(Membership)))


def test_a_number_of_a_portfolio_is_never_used_again(log: Log) -> None:
    best = log.create("best", kind="portfolio")
    log.link(best, "blake3:one")
    log.alias(best, "prod", "blake3:one")
    log.unlink(best, "blake3:one")
    log.unlink(best, "blake3:one")
    log.link(best, "blake3:one")

    assert [1] == [row.number for row in log.state.all(Membership)]
    assert log.voids == ["the version is not in the portfolio"]
    assert [] == log.state.all(Alias)


def test_an_alias_of_a_portfolio_stands_on_what_is_in_it(log: Log) -> None:
    """The same word in the collection itself is another alias, and lives its own life."""
    best, cats = log.create("best", kind="portfolio"), log.create("cats")
    one, two = log.commit(cats), log.commit(cats)
    log.link(best, one)
    log.alias(best, "prod", one)
    log.alias(best, "prod", two)
    log.alias(cats, "prod", two)
    log.delete(two)

    assert log.voids == ["the version is not in the portfolio"]
    assert [Alias(collection=best, name="prod", version=one)] == log.state.all(Alias)


def test_a_deleted_version_stays_linked(log: Log) -> None:
    """What the fold of this project cannot know of another must not differ from what it knows of its own."""
    best, cats = log.create("best", kind="portfolio"), log.create("cats")
    version = log.commit(cats)
    log.link(best, version)
    log.alias(best, "prod", version)
    log.delete(version)

    assert [version] == [row.version for row in log.state.all(Membership)]
    assert ["prod"] == [alias.name for alias in log.state.all(Alias)]


def test_a_portfolio_and_a_sequence_do_not_share_a_name(log: Log) -> None:
    log.create("cats", "dataset")
    clash = log.create("cats", "dataset", kind="portfolio")
    log.link(clash, "blake3:v")
    log.create("best", kind="portfolio")
    log.create("best")
    again = log.create("best", kind="portfolio")
    log.link(again, "blake3:v")

    assert log.voids == [
        "'cats' is a sequence", "the collection was refused or is not known", "'best' is a portfolio"
    ]  # fmt: skip
    assert 1 == len(log.state.all(Membership))


def test_versions_go_into_sequences_and_links_into_portfolios(log: Log) -> None:
    best, cats = log.create("best", kind="portfolio"), log.create("cats")
    log.commit(best)
    log.relog("blake3:unknown", log.record(best))
    log.link(cats, "blake3:v")
    log.unlink("blake3:unknown", "blake3:v")

    assert log.voids == [
        *["a portfolio has no versions of its own"] * 2,
        "the collection is no portfolio",
        "the collection was refused or is not known",
    ]
    assert ([], []) == (log.state.all(Version), log.state.all(Membership))


def test_a_deleted_portfolio_takes_its_links_along_and_nothing_else(log: Log) -> None:
    best, cats = log.create("best", kind="portfolio"), log.create("cats")
    version = log.commit(cats)
    log.link(best, version)
    log.alias(best, "prod", version)
    log.add(DeleteCollection(at_us=1, nonce="d", store="s", collection=best, versions=[version]))
    log.link(best, version)

    assert log.voids == ["the collection was deleted"]
    assert ([], [], False) == (log.state.all(Membership), log.state.all(Alias), log.version(version).deleted)


@pytest.mark.parametrize("which", ["unknown", "deleted"])
@pytest.mark.parametrize(
    "change",
    [
        lambda v: Delete(at_us=1, nonce="x", store="s", version=v),
        lambda v: SetTag(at_us=1, nonce="x", kind="version", target=v, tag="t", present=True),
        lambda v: SetTag(at_us=1, nonce="x", kind="version", target=v, tag="t", present=False),
        lambda v: Describe(at_us=1, nonce="x", kind="version", target=v, text="t"),
        lambda v: EditMetadata(at_us=1, nonce="x", version=v, set={}, remove=[]),
        lambda v: SetTtl(at_us=1, nonce="x", version=v, ttl_s=1.0),
    ],
    ids=["delete", "tag", "untag", "describe", "metadata", "ttl"],
)
def test_only_live_versions_change(log: Log, which: Literal["unknown", "deleted"], change: Any) -> None:
    """An edit that crossed a deletion is void alike everywhere; nothing comes back to life by it."""
    version = log.commit(log.create())
    log.delete(version)
    before = log.state.hash()
    log.add(change(version if which == "deleted" else "blake3:u"))

    assert [{"unknown": "the version is not known", "deleted": "the version was deleted"}[which]] == log.voids
    assert before == log.state.hash()


def test_a_run_starts_ends_and_may_be_resumed(log: Log) -> None:
    """A resumed run keeps when it began, and runs again."""
    begun = log.start("r", at_us=10)
    log.add(FinishRun(at_us=20, nonce="f", run="r", state="crashed"))
    crashed = log.state.run("r")
    again = log.start("r", at_us=30)

    expected = Run(
        id="r",
        name=None,
        job_type=None,
        group=None,
        notes=None,
        tags=[],
        config={"x": 1},
        state="crashed",
        begun=begun,
        apart={},
        started_us=10,
        ended_us=20,
    )
    assert expected == crashed
    assert msgspec.structs.replace(expected, state="running", begun=again, ended_us=None) == log.state.run("r")


def test_a_resumed_run_keeps_what_it_does_not_say_again(log: Log) -> None:
    """Whoever goes on after a crash knows the id, and need not know what the first start said."""
    words: dict[str, Any] = {"name": "n", "job_type": "j", "group": "g", "notes": "w", "tags": ["t"]}
    log.start("r", **words, config={"a": 1, "b": 1})
    log.start("r", config={"b": 2})
    run = log.state.run("r")
    assert run is not None
    assert ("n", "j", "g", "w", ["t"], {"a": 1, "b": 2}) == (
        run.name,
        run.job_type,
        run.group,
        run.notes,
        run.tags,
        run.config,
    )
    log.start("r", name="", job_type="k", group="h", notes="x", tags=["u"])
    run = log.state.run("r")
    assert run is not None

    assert ("", "k", "h", "x", ["u"]) == (run.name, run.job_type, run.group, run.notes, run.tags)


def test_a_run_that_an_older_artstore_went_on_with_is_not_one_that_was_begun_apart(log: Log) -> None:
    """It did not say with which op the run had begun: what was one run for years would be two, one without an end."""
    log.start("r", config={"lr": 1, "seed": 7})
    again = log.start("r", config={"lr": 2}, after=msgspec.UNSET)
    log.add(FinishRun(at_us=30, nonce=log.nonce(), run="r", state="finished"))
    run = log.state.run("r")

    assert run is not None
    assert ({"lr": 2, "seed": 7}, "finished", {}, again) == (run.config, run.state, run.apart, run.begun)


def test_a_run_that_two_began_apart_keeps_what_each_said(log: Log) -> None:
    """Else the model that was made with one rate is said to be made with another, and nobody is told."""
    first = log.start("r", config={"lr": 1}, at_us=10)
    second = log.start("r", config={"lr": 2, "seed": 7}, at_us=20, after=None)
    log.edit("r", set={"lr": 3}, begun=second)
    log.edit("r", set={"epochs": 4}, begun=first)
    log.add(FinishRun(at_us=30, nonce="f", run="r", state="crashed", begun=second))
    run = log.state.run("r")
    assert run is not None

    assert ({"lr": 1, "epochs": 4}, "running", first) == (run.config, run.state, run.begun)
    assert [({"lr": 3, "seed": 7}, "crashed")] == [(each.config, each.state) for each in run.apart.values()]

    again = log.start("r", config={"seed": 8}, after=second)
    run = log.state.run("r")
    assert run is not None
    assert {"lr": 1, "epochs": 4} == run.config
    assert [({"lr": 3, "seed": 8}, "running", 20)] == [
        (run.apart[again].config, run.apart[again].state, run.apart[again].started_us)
    ]


@pytest.mark.parametrize("given", [{"name": "m"}, {"job_type": "m"}, {"group": "m"}, {"notes": "m"}, {"tags": ["m"]}])
def test_no_word_of_a_run_that_two_began_is_written_over(log: Log, given: dict[str, Any]) -> None:
    before: dict[str, Any] = {key: ["n"] if key == "tags" else "n" for key in given}
    log.start("r", **before)
    log.start("r", after=None, **given)
    run = log.state.run("r")
    assert run is not None

    assert [next(iter(given.values()))] == [getattr(each, next(iter(given))) for each in run.apart.values()]
    assert getattr(run, next(iter(given))) in ("n", ["n"])


def test_a_run_is_edited_by_the_key(log: Log) -> None:
    """Two processes that note two things in one config must both be heard; what is not said stays."""
    log.start("r", name="n", notes="w", tags=["t"], config={"a": 1, "b": 1, "c": 1})
    log.edit("r", set={"b": 2}, remove=["a", "missing"])
    log.edit("r", set={"d": 4}, remove=["d"], name="m")
    log.edit("r", notes="", tags=[])
    log.edit("q", name="m")
    run = log.state.run("r")
    assert run is not None

    assert ("m", "", [], {"b": 2, "c": 1, "d": 4}) == (run.name, run.notes, run.tags, run.config)
    assert log.voids == ["the run is not known"]


def test_what_a_run_used_is_kept(log: Log) -> None:
    """The version may live in another project, or not be here yet: the edge must not wait for it."""
    log.start("r")
    for name in ("cats:v3", "felines:v3"):
        use = Use(at_us=1, nonce="n", run="r", project="elsewhere", version="blake3:u", name=name, digest="blake3:m")
        log.add(use)

    expected = Used(
        run="r", used_project="elsewhere", version="blake3:u", name="felines:v3", digest="blake3:m", position=2
    )
    assert [expected] == log.state.all(Used)


def test_a_run_that_never_started_uses_and_ends_nothing(log: Log) -> None:
    log.add(Use(at_us=1, nonce="u", run="r", project="p", version="v", name="cats:v0", digest="blake3:m"))
    log.add(FinishRun(at_us=1, nonce="f", run="r", state="finished"))

    assert log.voids == ["the run is not known"] * 2
    assert MemoryState().hash() == log.state.hash()


def test_the_order_of_rows_does_not_change_the_hash() -> None:
    """Two stores that folded the same ops compare by it, however their tables are laid out."""
    rows = [Tag(target="v", name=name) for name in "abc"]
    one, other = MemoryState(), MemoryState()
    for row in rows:
        one.put(row)
    for row in reversed(rows):
        other.put(row)

    assert one.hash() == other.hash()


def test_any_other_state_has_another_hash() -> None:
    one, other = MemoryState(), MemoryState()
    one.put(Tag(target="v", name="a"))
    other.put(Alias(collection="c", version="v", name="a"))

    assert len({one.hash(), other.hash(), MemoryState().hash()}) == 3


@pytest.mark.parametrize(
    "op",
    [
        Condemn(at_us=9, nonce="x", objects=["packs/a"]),
        Sweep(at_us=9, nonce="x", objects=["packs/a"], kept=[], manifests=["blake3:m"]),
    ],
)
def test_what_becomes_of_the_objects_of_a_depot_changes_no_state(log: Log, op: AnyOp) -> None:
    log.commit(log.create())
    before = log.state.hash()
    log.add(op)

    assert before == log.state.hash()
    assert [OF_A_DEPOT] == log.voids
