"""One where several are taken, bytes where text is, a word that there is not: understood or refused, never guessed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

import pytest

from artstore.errors import Invalid, WrongType
from artstore.lifecycle.reports import VersionInfo
from artstore.store import Store

Put = Callable[[Mapping[str, bytes]], VersionInfo]
Act = Callable[[Store, Path, Any], object]


@pytest.fixture
def cats(store: Store, put: Put) -> Store:
    """A store with cats."""
    put({"a": b"1", "b": b"2"})
    return store


def test_one_name_is_not_as_many_as_it_has_letters(cats: Store, tmp_path: Path) -> None:
    """Aliases b, e, s and t would have moved, from other versions perhaps, and nobody told of it."""
    source = tmp_path / "tree"
    assert ["best", "latest"] == cats.alias("cats", "best").aliases
    assert ["latest"] == cats.unalias("cats", "best").aliases
    assert ["good"] == cats.tag("cats", "good").tags
    assert [] == cats.untag("cats", "good").tags
    assert ["good"] == cats.tag_collection("cats", "good").tags
    assert [] == cats.untag_collection("cats", "good").tags
    cats.set_metadata("cats", {"key": 1, "k": 2})
    assert {"k": 2} == cats.set_metadata("cats", {}, remove="key").metadata
    link = cats.link("cats", "portfolio", aliases="prod").link
    assert link is not None
    assert ["latest", "prod"] == link.aliases
    made = cats.put(source, name="dogs", type="dataset", aliases="best").version
    assert made is not None
    assert ["best", "latest"] == made.aliases
    with cats.draft() as draft:
        draft.add_file(source / "a", "a")
        version = cats.commit(draft, name="birds", type="dataset", aliases="best", tags="good")
    assert (["best", "latest"], ["good"]) == (version.aliases, version.tags)
    assert ["cats:v0"] == [each.ref.partition("/")[2] for each in cats.prune("cats", dry_run=True).kept]
    run = cats.start_run(tags="night", config={"rate": 1, "r": 2})
    assert ["night"] == run.tags
    run = cats.edit_run(run.id, tags="day", remove="rate")
    assert (["day"], {"r": 2}) == (run.tags, run.config)
    assert cats.get("cats", tmp_path / "out", patterns="a*").written == 1
    assert cats.repair(str(source)) == cats.repair([source])
    with cats.watch(source, name="watched", type="dataset", ignore="b*", quiet_s=0) as watch:
        assert watch.folder == source


LISTS: dict[str, Act] = {
    "alias": lambda store, _, names: store.alias("cats", names),
    "unalias": lambda store, _, names: store.unalias("cats", names),
    "tag": lambda store, _, names: store.tag("cats", names),
    "untag": lambda store, _, names: store.untag("cats", names),
    "tag-collection": lambda store, _, names: store.tag_collection("cats", names),
    "untag-collection": lambda store, _, names: store.untag_collection("cats", names),
    "remove": lambda store, _, names: store.set_metadata("cats", {}, remove=names),
    "link": lambda store, _, names: store.link("cats", "portfolio", aliases=names),
    "put": lambda store, tmp, names: store.put(tmp / "tree", name="dogs", type="dataset", aliases=names),
    "prune": lambda store, _, names: store.prune(names),
    "run": lambda store, _, names: store.start_run(tags=names),
    "patterns": lambda store, tmp, names: store.get("cats", tmp / "out", patterns=names),
    "ignore": lambda store, tmp, names: store.watch(tmp, name="dogs", type="dataset", ignore=names),
}


@pytest.mark.parametrize("names", [b"best", [b"best"], 7, None, ["best", None]], ids=repr)
@pytest.mark.parametrize("act", LISTS.values(), ids=LISTS)
def test_what_is_no_text_is_no_name(cats: Store, tmp_path: Path, act: Act, names: object) -> None:
    """A handler for our errors catches it, and nothing was written."""
    before = cats.version("cats")
    with pytest.raises(WrongType, match="is not text") as caught:
        act(cats, tmp_path, names)

    assert "not-text" == caught.value.code
    assert before == cats.version("cats")
    assert ["cats"] == [each.name for each in cats.collections()]
    assert not (tmp_path / "out").exists()


PATHS: dict[str, Act] = {
    "put": lambda store, _, path: store.put(path, name="dogs", type="dataset"),
    "put-several": lambda store, _, path: store.put([path], name="dogs", type="dataset"),
    "get": lambda store, _, path: store.get("cats", path),
    "repair": lambda store, _, path: store.repair(path),
    "backup": lambda store, _, path: store.backup(path),
    "diff": lambda store, _, path: store.diff("cats", Path("a\0b") if isinstance(path, str) else path),
    "open": lambda _store, _, path: Store.open(path),
    "init": lambda _store, _, path: Store.init(path),
    "watch": lambda store, _, path: store.watch(path, name="dogs", type="dataset"),
}


@pytest.mark.parametrize("path", ["a\0b", b"bytes", "", 7], ids=repr)
@pytest.mark.parametrize("act", PATHS.values(), ids=PATHS)
def test_what_no_file_can_be_called_is_refused(
    cats: Store, tmp_path: Path, act: Act, path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    there = sorted(tmp_path.iterdir())
    with pytest.raises(Invalid) as caught:
        act(cats, tmp_path, path)

    assert "bad-path" == caught.value.code
    assert there == sorted(tmp_path.iterdir())


def test_an_unknown_mode_is_refused(cats: Store, tmp_path: Path) -> None:
    """Who misspelled `reflink` got copies, and a full disk."""
    with pytest.raises(Invalid, match="auto, reflink, hardlink, copy") as caught:
        cats.get("cats", tmp_path / "out", mode=cast("Any", "relfink"))

    assert "bad-mode" == caught.value.code
    assert not (tmp_path / "out").exists()
