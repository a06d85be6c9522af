"""Arrange: a collection changes as a whole, and goes as a whole."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from artstore.errors import Conflict, Invalid, NotFound
from artstore.lifecycle.reports import VersionInfo
from artstore.store import Store

Put = Callable[..., VersionInfo]


def test_a_collection_is_shown_with_all_that_is_said_of_it(store: Store, put: Put) -> None:
    put({"a": b"a"})
    put({"a": b"b"})
    store.alias("cats:v0", ["best"])
    store.describe("cats", "all cats")
    store.tag_collection("cats", ["good", "seen", "good"])
    info = store.untag_collection("cats", ["seen"])

    assert info == store.collection("cats") == store.collections()[0]
    assert ("uncategorized", "cats", "dataset", "all cats", ["best", "latest"], ["good"], 2, "v1") == (
        info.project, info.name, info.type, info.description, info.aliases, info.tags, info.versions, info.latest,
    )  # fmt: skip
    assert [] == store.version("cats").tags


def test_projects_and_types_are_listed(store: Store, put: Put) -> None:
    put({"a": b"a"}, project="zoo")
    put({"a": b"a"}, name="dogs", project="zoo")
    put({"a": b"a"})
    store.retype("dogs", "model", project="zoo")

    assert ["uncategorized", "zoo"] == store.projects()
    assert (["dataset", "model"], ["dataset"], []) == (store.types("zoo"), store.types(), store.types("nowhere"))


def test_a_retyped_collection_takes_that_type_alone(store: Store, put: Put) -> None:
    version = put({"a": b"a"})
    assert "model" == store.retype("cats", "model").type
    assert ("model", version.id) == (store.version("cats:v0").type, store.version("cats:v0").id)
    with pytest.raises(Invalid) as caught:
        put({"b": b"b"})
    assert caught.value.code == "type-clash"


@pytest.mark.parametrize("type", ["", "job", "wandb-history"])
def test_a_type_that_cannot_be_is_refused(store: Store, put: Put, type: str) -> None:
    put({"a": b"a"})
    with pytest.raises(Invalid) as caught:
        store.retype("cats", type)
    assert ("bad-type", "dataset") == (caught.value.code, store.collection("cats").type)


def test_what_is_not_there_is_named(store: Store, put: Put) -> None:
    put({"a": b"a"})
    for name, code in (("dogs", "collection-not-found"), ("zoo/cats", "project-not-found")):
        for verb in (
            store.collection,
            store.delete_collection,
            lambda name: store.retype(name, "t"),
            lambda name: store.tag_collection(name, ["t"]),
        ):
            with pytest.raises(NotFound) as caught:
                verb(name)
            assert caught.value.code == code
    with pytest.raises(NotFound) as caught:
        store.untag_collection("cats", ["t"])
    assert caught.value.code == "tag-not-found"


def test_what_says_nothing_new_writes_nothing(store: Store, put: Put) -> None:
    put({"a": b"a"})
    store.tag_collection("cats", ["t"])
    before = store._root.log.last("uncategorized")
    store.tag_collection("cats", ["t"])
    store.retype("cats", "dataset")
    store.rename("cats", "cats")

    assert before == store._root.log.last("uncategorized")


def test_a_deleted_collection_is_gone_and_its_bytes_can_be_freed(store: Store, put: Put) -> None:
    put({"a": bytes(2 << 20)})
    put({"a": b"small"}, name="dogs")
    was = store.delete_collection("cats")

    assert ("cats", 1) == (was.name, was.versions)
    assert ["dogs"] == [collection.name for collection in store.collections()]
    with pytest.raises(NotFound) as caught:
        store.version("cats:v0")
    assert caught.value.code == "collection-not-found"
    assert (1, 1) == (store.status().collections, store.status().versions)
    assert 1 == store.gc(grace_s=0).freed_blobs
    assert store.verify().ok


@pytest.mark.parametrize("text", ["cats:v0", "cats:latest", "uncategorized/cats:v0", "cats@{digest}"])
def test_one_version_is_not_taken_for_its_collection(store: Store, put: Put, text: str) -> None:
    """Whoever names one version must not lose or change them all, nor get the copy under another number."""
    put({"a": b"a"})
    put({"a": b"b"})
    text = text.format(digest=store.version("cats").id[len("blake3:") :])
    verbs: list[Callable[[], object]] = [
        lambda: store.delete_collection(text, force=True),
        lambda: store.prune([text], keep_last=1),
        lambda: store.rename(text, "dogs"),
        lambda: store.retype(text, "model"),
        lambda: store.tag_collection(text, ["t"]),
        lambda: store.untag_collection(text, ["t"]),
        lambda: store.drop_parts(text, distributed_id="nightly"),
        lambda: store.copy("cats:v0", text),
        lambda: store.link("cats:v0", text),
    ]
    before = store.collections(), store.versions("cats")

    for verb in verbs:
        with pytest.raises(Invalid, match="names a version") as refused:
            verb()
        assert refused.value.code == "bad-reference"
    assert before == (store.collections(), store.versions("cats"))


def test_the_name_of_a_deleted_collection_begins_anew(store: Store, put: Put) -> None:
    """Of another type, too; and the same bytes are a new version, whatever the old one had."""
    old = put({"a": b"a"})
    store.delete_collection("cats")
    (store.path.parent / "f").write_bytes(b"a")
    new = store.put([store.path.parent / "f"], name="cats", type="model", prefix=None).version
    assert new is not None

    assert ("cats:v0", "model") == (new.name, new.type)
    assert new.id != old.id
    assert ["cats:v0"] == [version.name for version in store.versions("cats")]


def test_an_aliased_collection_is_not_deleted_by_mistake(store: Store, put: Put) -> None:
    put({"a": b"a"})
    store.alias("cats:v0", ["best"])
    with pytest.raises(Conflict) as caught:
        store.delete_collection("cats")
    assert ("aliased", 1) == (caught.value.code, store.collection("cats").versions)
    store.delete_collection("cats", force=True)
    assert [] == store.collections()


def test_a_rebuild_knows_what_was_deleted(store: Store, put: Put) -> None:
    put({"a": b"a"})
    store.delete_collection("cats")
    put({"b": b"b"})
    store.tag_collection("cats", ["t"])
    before = store.collections()
    path = store.path
    store.close()
    Store.rebuild(path)

    with Store.open(path) as again:
        assert before == again.collections()
