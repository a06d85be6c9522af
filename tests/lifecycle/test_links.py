"""Links: a version in a portfolio is the version itself, under another name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from artstore.errors import ArtstoreError, Conflict, Invalid, NotFound
from artstore.lifecycle.commit import commit
from artstore.lifecycle.reports import VersionInfo
from artstore.model.records import Link
from artstore.store import Store

Put = Callable[..., VersionInfo]


@pytest.fixture
def cats(store: Store, put: Put) -> Store:
    """Three versions of cats, and an alias on the first."""
    for text in (b"one", b"two", b"three"):
        put({"a": text})
    store.alias("cats:v0", ["old"])
    return store


def code_of(act: Callable[[], object]) -> str:
    with pytest.raises(ArtstoreError) as caught:
        act()
    return caught.value.code


def test_a_link_has_a_number_and_aliases_of_its_own(cats: Store) -> None:
    """Both halves are told apart: what the version is, and what it is called where it was found."""
    version = cats.version("cats:v1")
    info = cats.link("cats:v1", "zoo/best", aliases=["prod", "latest"])
    link = info.link

    assert link is not None
    assert ("zoo/best:v0", ["latest", "prod"]) == (link.ref, link.aliases)
    assert (True, version.ref, version.aliases, version.id) == (info.is_link, info.ref, info.aliases, info.id)
    assert not version.is_link
    for name in ("zoo/best", "zoo/best:v0", "zoo/best:prod", "zoo/best:latest", f"zoo/best@{version.id}"):
        assert info == cats.version(name)


def test_a_portfolio_is_a_collection_of_links(cats: Store) -> None:
    cats.link("cats:v2", "best", aliases=["prod"])
    cats.link("cats:v0", "best")
    info = cats.collection("best")

    assert ("portfolio", "dataset", 2, "v1", ["latest", "prod"], 3) == (
        info.kind, info.type, info.versions, info.latest, info.aliases, info.bytes,
    )  # fmt: skip
    assert info in cats.collections()
    shown = [(each.link.name, each.name) for each in cats.versions("best") if each.link]
    assert [("best:v1", "cats:v0"), ("best:v0", "cats:v2")] == shown
    assert ["cats"] == [usage.collection for usage in cats.du().collections]


def test_linking_again_is_the_same_link(cats: Store) -> None:
    """W&B's rule: the number stays, aliases and latest move to it."""
    cats.link("cats:v0", "best", aliases=["prod"])
    cats.link("cats:v1", "best", aliases=["prod"])
    again = cats.link("cats:v0", "best", aliases=["prod", "again"])

    assert again.link is not None
    assert (0, ["again", "latest", "prod"]) == (again.link.number, again.link.aliases)
    other = cats.version("best:v1").link
    assert other is not None
    assert [] == other.aliases
    assert 2 == len(cats.versions("best"))


def test_a_link_gives_the_bytes(cats: Store, tmp_path: Path) -> None:
    cats.link("cats:v1", "zoo/best")

    assert b"two" == b"".join(cats.read("best", "a", project="zoo"))
    cats.get("zoo/best", tmp_path / "out")
    assert b"two" == (tmp_path / "out" / "a").read_bytes()
    assert ["a"] == [entry.path for entry in cats.entries("zoo/best:v0")]
    assert [] == cats.diff("zoo/best", "cats:v1").changed
    assert cats.verify("zoo/best").ok


def test_a_link_can_be_linked(cats: Store) -> None:
    """The link is to the version, so nothing breaks when the first portfolio goes."""
    cats.link("cats:v1", "best")
    cats.link("best:v0", "zoo/top")
    cats.delete_collection("best")

    assert "uncategorized/cats:v1" == cats.version("zoo/top").ref


def test_an_alias_is_moved_where_the_reference_leads(cats: Store) -> None:
    cats.link("cats:v0", "best")
    cats.link("cats:v1", "best")
    info = cats.alias("best:v0", ["prod", "old"])
    assert info.link is not None
    assert (["old", "prod"], ["old"]) == (info.link.aliases, info.aliases)
    cats.alias("best:v1", ["prod"])
    cats.unalias("best:v0", ["old"])

    links = [each.link for each in cats.versions("best")]
    assert [["latest", "prod"], []] == [link.aliases for link in links if link]
    assert ["old"] == cats.version("cats:v0").aliases
    assert "alias-not-found" == code_of(lambda: cats.unalias("best:v0", ["prod"]))


def test_what_is_said_of_a_link_is_said_of_the_version(cats: Store) -> None:
    cats.link("cats:v1", "best")
    cats.tag("best:v0", ["good"])
    cats.describe("best:v0", "a cat")
    cats.set_metadata("best:v0", {"x": 1})
    version = cats.version("cats:v1")

    assert (["good"], "a cat", {"x": 1}) == (version.tags, version.description, version.metadata)
    cats.describe("best", "the best of them")
    assert "the best of them" == cats.collection("best").description


def test_a_use_of_a_link_is_a_use_of_the_version(cats: Store) -> None:
    cats.link("cats:v1", "best")
    cats.start_run(id="r")
    cats.use("r", "best")

    assert ["r"] == [run.id for run in cats.used_by("cats:v1")]
    assert ["cats:v1"] == [version.name for version in cats.inputs("r")]


def test_an_unlinked_version_stays(cats: Store) -> None:
    cats.link("cats:v0", "best", aliases=["prod"])
    cats.link("cats:v1", "best")
    was = cats.unlink("best:prod")

    assert was.link is not None
    assert ("best:v0", "cats:v0") == (was.link.name, was.name)
    assert "cats:v0" == cats.version("cats:v0").name
    assert "version-not-found" == code_of(lambda: cats.version("best:v0"))
    assert "alias-not-found" == code_of(lambda: cats.version("best:prod"))
    again = cats.link("cats:v0", "best")
    assert again.link is not None
    assert 2 == again.link.number
    for name in ("best:v1", "best:v2"):
        cats.unlink(name)
    assert "version-not-found" == code_of(lambda: cats.version("best"))
    assert 0 == cats.collection("best").versions


def test_all_links_of_a_version_are_known(cats: Store) -> None:
    cats.link("cats:v1", "best")
    cats.link("cats:v1", "zoo/top", aliases=["x"])
    cats.link("cats:v0", "zoo/top")
    found = cats.links_of("best:v0")

    assert ["uncategorized/best:v0", "zoo/top:v0"] == [each.link.ref for each in found if each.link]
    assert [] == cats.links_of("cats:v2")


def test_a_linked_version_is_not_deleted_by_mistake(cats: Store) -> None:
    """Somebody chose it: it may be what runs in production."""
    cats.link("cats:v1", "zoo/best")
    with pytest.raises(Conflict) as caught:
        cats.delete("cats:v1")
    assert caught.value.code == "linked"
    assert "zoo/best:v0" in caught.value.message
    cats.unalias("cats:v0", ["old"])
    assert "linked" == code_of(lambda: cats.delete_collection("cats"))

    cats.delete("cats:v1", force=True)
    assert [] == cats.versions("zoo/best")
    cats.link("cats:v2", "zoo/best")
    cats.delete_collection("cats", force=True)
    assert [] == cats.versions("zoo/best")


def test_prune_keeps_what_is_linked(cats: Store) -> None:
    cats.unalias("cats:v0", ["old"])
    cats.link("cats:v1", "zoo/best")
    report = cats.prune(["cats"], keep_last=1)

    assert ["uncategorized/cats:v0"] == [each.ref for each in report.deleted]
    assert "linked as zoo/best:v0" in [each.reason for each in report.kept]
    assert "is-a-portfolio" == code_of(lambda: cats.prune(["zoo/best"], keep_last=0))


def test_what_is_linked_is_not_collected(cats: Store) -> None:
    cats.link("cats:v1", "zoo/best")
    cats.prune(["cats"], keep_last=0)
    cats.gc(grace_s=0)
    cats.gc(grace_s=0)

    assert b"two" == b"".join(cats.read("zoo/best", "a"))


def test_a_link_is_not_deleted_for_its_version(cats: Store) -> None:
    """`delete best:v0` by somebody who tidies up a portfolio must not take the data."""
    cats.link("cats:v1", "best")

    assert "is-a-link" == code_of(lambda: cats.delete("best:v0", force=True))
    assert "cats:v1" == cats.version("cats:v1").name


@pytest.mark.parametrize(
    ("act", "code"),
    [
        (lambda s: s.link("cats:v0", "best:v0"), "bad-reference"),
        (lambda s: s.link("cats:v0", "cats"), "not-a-portfolio"),
        (lambda s: s.link("cats:v0", "models"), "type-clash"),
        (lambda s: s.link("cats:v9", "best"), "version-not-found"),
        (lambda s: s.link("cats:v0", "best", aliases=["v1"]), "bad-alias"),
        (lambda s: s.unlink("cats:v0"), "not-a-portfolio"),
        (lambda s: s.unlink("models"), "bad-reference"),
        (lambda s: s.unlink("models:v4"), "version-not-found"),
        (lambda s: s.version("models@abcdef"), "version-not-found"),
        (lambda s: s.copy("cats:v0", "links"), "is-a-portfolio"),
    ],
    ids=map(str, range(10)),
)
def test_what_makes_no_sense_is_refused_and_changes_nothing(
    cats: Store, tmp_path: Path, act: Callable[[Store], object], code: str
) -> None:
    (tmp_path / "m").write_bytes(b"m")
    cats.put([tmp_path / "m"], name="net", type="model")
    cats.link("net", "models")
    cats.link("cats:v0", "links")
    before = cats.collections()

    assert code == code_of(lambda: act(cats))
    assert before == cats.collections()


def test_a_link_to_what_is_not_here_is_named_and_blocks_nothing(cats: Store) -> None:
    """Another store linked a version of its own; the log came here before the version."""
    cats.link("cats:v0", "best")
    op = Link(
        at_us=1, nonce="n", portfolio=best_id(cats), project="far", version="blake3:v", name="stars:v7",
        digest="blake3:m",
    )  # fmt: skip
    with cats._root.session("link") as session:
        commit(cats._root, session, "uncategorized", lambda _view: [op])

    newest = cats.versions("best")[0]
    assert ("far/stars:v7", "absent", "blake3:m") == (newest.ref, newest.state, newest.digest)
    with pytest.raises(NotFound) as caught:
        cats.version("best")
    assert caught.value.code == "version-absent"
    assert 0 == cats.collection("best").bytes
    cats.alias("best:v0", ["prod"])
    assert "absent" == cats.unlink("best:v1").state
    assert "cats:v0" == cats.version("best").name


def best_id(store: Store) -> str:
    (row,) = store._root.catalog.rows("SELECT id FROM collection WHERE name = 'best'")
    return str(row[0])


def test_a_put_into_a_portfolio_is_refused(cats: Store, put: Put) -> None:
    cats.link("cats:v0", "best")
    with pytest.raises(Invalid) as caught:
        put({"a": b"x"}, name="best")
    assert caught.value.code == "is-a-portfolio"
    assert "portfolio" == cats.collection("best").kind


def test_a_rebuild_knows_every_link(cats: Store) -> None:
    cats.link("cats:v0", "zoo/best", aliases=["prod"])
    cats.link("cats:v1", "zoo/best")
    cats.unlink("zoo/best:v1")
    before = (cats.versions("zoo/best"), cats.collections())
    path = cats.path
    cats.close()
    assert [] == Store.rebuild(path).lost

    with Store.open(path) as again:
        assert before == (again.versions("zoo/best"), again.collections())
