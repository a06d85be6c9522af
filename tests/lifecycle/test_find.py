"""Find: everything that matches is found, and nothing that a version no longer holds."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from typing import Any

import pytest

from artstore.errors import Invalid, NotFound
from artstore.lifecycle.find import find
from artstore.lifecycle.reports import Match, VersionInfo
from artstore.model.digest import Digest
from artstore.model.manifest import reference
from artstore.store import Store

Put = Callable[..., VersionInfo]

MANY = {f"f/{i}": bytes([i]) for i in range(20)}


def found(matches: list[Match]) -> list[tuple[str, str | None]]:
    return [(match.version.name, match.path) for match in matches]


def test_content_is_found_wherever_it_stands(store: Store, put: Put) -> None:
    put({"a.txt": b"needle", "b/copy.txt": b"needle", "c": b"hay"})
    put({"other": b"needle"}, name="dogs", project="zoo")
    digest = str(Digest.of(b"needle"))

    matches = find(store._root, digest)
    assert found(matches) == [("cats:v0", "a.txt"), ("cats:v0", "b/copy.txt"), ("dogs:v0", "other")]
    assert {(match.digest, match.size) for match in matches} == {(digest, 6)}
    assert find(store._root, digest[:15]) == matches  # blake3: and 8 digits
    assert find(store._root, digest[7:16]) == matches  # an odd number of bare digits
    assert find(store._root, str(Digest.of(b"nowhere"))) == []


def test_a_version_is_found_by_its_id_and_by_its_content(store: Store, put: Put) -> None:
    version = put({"a": b"a"})
    put({"a": b"b"})

    assert found(find(store._root, version.id)) == [("cats:v0", None)]
    assert found(find(store._root, version.digest[:20])) == [("cats:v0", None)]


def test_what_a_later_version_replaced_or_dropped_is_not_found_there(store: Store, put: Put) -> None:
    """A manifest is kept as a difference: what its base has and it has not must not be told of it."""
    put({**MANY, "weights": b"first", "dropped": b"dropped"})
    put({**MANY, "weights": b"second", "dropped": b"dropped"})
    put({**MANY, "weights": b"second"})
    put({**MANY, "weights": b"second", "dropped": b"dropped", "new": b"new"})
    root = store._root

    assert root.manifests.get(Digest.parse(store.version("cats:v3").digest)).depth == 3
    assert found(find(root, str(Digest.of(b"first")))) == [("cats:v0", "weights")]
    assert [name for name, _ in found(find(root, str(Digest.of(b"second"))))] == ["cats:v3", "cats:v2", "cats:v1"]
    assert [name for name, _ in found(find(root, "dropped"))] == ["cats:v3", "cats:v1", "cats:v0"]


def test_a_deleted_version_is_not_found_and_what_builds_on_it_is(store: Store, put: Put) -> None:
    for state in (b"0", b"1", b"2"):
        put({**MANY, "state": state})
    store.delete("cats:v0")
    store.delete("cats:v1")
    root = store._root

    assert found(find(root, "f/3")) == [("cats:v2", "f/3")]
    assert find(root, str(Digest.of(b"1"))) == []
    assert found(find(root, str(Digest.of(b"2")))) == [("cats:v2", "state")]


def test_a_path_is_meant_as_in_gitignore_and_plain_text_as_it_stands(store: Store, put: Put) -> None:
    paths = ["a.png", "img/a.png", "img/b[1].png", "img/deep/c.png", "!x.png", "a.png.txt", "xa.png"]
    put({path: path.encode() for path in paths})

    def at(query: str) -> set[str | None]:
        return {match.path for match in find(store._root, query)}

    assert at("a.png") == {"a.png", "img/a.png"}
    assert at("img/a.png") == {"img/a.png"}
    assert at("deep/c.png") == set()
    assert at("/a.png") == {"a.png"}
    assert at("img/*.png") == {"img/a.png", "img/b[1].png"}
    assert at("img/") == {"img/a.png", "img/b[1].png", "img/deep/c.png"}
    assert at("!x.png") == {"!x.png"}
    assert at("!*.png") == {"!x.png"}
    assert at("*.PNG") == set()


def test_metadata_is_compared_as_json_and_as_text(store: Store, put: Put) -> None:
    facts: list[dict[str, Any]] = [
        {"lr": 0.1, "name": "base", "model": {"layers": 12, "tied": True}, "release": "1.10"},
        {"lr": 0.2, "name": "0.1", "model.layers": 24, "flag": 1, "nothing": None},
    ]
    for number, metadata in enumerate(facts):
        put({"a": bytes([number])})
        store.set_metadata(f"cats:v{number}", metadata)

    def having(query: str) -> list[str]:
        return [match.version.name for match in find(store._root, query)]

    assert having("lr=0.1") == ["cats:v0"]
    assert having("lr=1e-1") == ["cats:v0"]
    assert having("name=base") == ["cats:v0"]
    assert having('name="base"') == ["cats:v0"]
    assert having("name=0.1") == ["cats:v1"]
    assert having("release=1.10") == ["cats:v0"]
    assert having("model.layers=12") == ["cats:v0"]
    assert having("model.layers=24") == ["cats:v1"]
    assert having("model.tied=true") == ["cats:v0"]
    assert having("model.tied=1") == []
    assert having("flag=true") == []
    assert having("nothing=null") == ["cats:v1"]
    assert having("absent=null") == []


def test_type_tag_and_run_are_known_where_the_metadata_is_silent(store: Store, put: Put) -> None:
    put({"a": b"0"})
    put({"a": b"1"})
    store.tag("cats:v0", ["good"])
    store.set_metadata("cats:v1", {"type": "odd"})
    run = store.start_run()
    with store.draft() as draft:
        draft.add_entry(reference("far", "s3://b/far", checksum="e", size=3, extra={}))
        store.commit(draft, name="cats", type="dataset", run=run.id)

    def having(query: str) -> list[str]:
        return [match.version.name for match in find(store._root, query)]

    assert having("type=dataset") == ["cats:v2", "cats:v0"]
    assert having("type=odd") == ["cats:v1"]
    assert having("tag=good") == ["cats:v0"]
    assert having(f"run={run.id}") == ["cats:v2"]


def test_what_no_fact_or_digest_matches_may_be_a_path(store: Store, put: Put) -> None:
    """Partitions are called `date=…`, and a day is eight hex digits."""
    put({"date=2026-01-01/part": b"0", "20260101": b"1"})
    root = store._root

    assert found(find(root, "date=2026-01-01/*")) == [("cats:v0", "date=2026-01-01/part")]
    assert found(find(root, "20260101")) == [("cats:v0", "20260101")]


def test_a_reference_is_found_by_its_path(store: Store) -> None:
    with store.draft() as draft:
        draft.add_entry(reference("far.bin", "s3://b/far.bin", checksum="e", size=3, extra={}))
        store.commit(draft, name="cats", type="dataset")
    (match,) = find(store._root, "*.bin")

    assert (match.path, match.size, match.digest) == ("far.bin", 3, None)


def test_one_project_is_searched_where_one_is_named(store: Store, put: Put) -> None:
    put({"a": b"a"})
    put({"a": b"a"}, project="zoo")
    root = store._root

    assert [match.version.project for match in find(root, "a")] == ["uncategorized", "zoo"]
    assert [match.version.project for match in find(root, "a", "zoo")] == ["zoo"]
    with pytest.raises(NotFound, match="zo"):
        find(root, "a", "zo")


@pytest.mark.parametrize("query", ["\udcff", "a/\udcff*", "key=\udcff", "\udcff=1"])
def test_what_is_no_text_is_refused(store: Store, put: Put, query: str) -> None:
    """N11. What a shell hands over need not be UTF-8; no version holds such a name, and SQLite takes no such text."""
    put({"a": b"a"})
    with pytest.raises(Invalid, match="UTF-8") as caught:
        find(store._root, query)

    assert caught.value.code == "bad-query"


@pytest.mark.parametrize("query", ["", "/", "blake3:", "blake3:1234567", "blake3:XYZ", f"blake3:{'0' * 65}"])
def test_what_means_nothing_is_refused(store: Store, query: str) -> None:
    """No match would be read as: it is not here."""
    with pytest.raises(Invalid) as caught:
        find(store._root, query)

    assert caught.value.code == "bad-query"


def test_random_histories_agree_with_dictionaries(store: Store, put: Put) -> None:
    rng = random.Random(11)
    states: dict[str, dict[str, bytes]] = {}
    files = {f"{i % 3}/{i}": bytes([i % 7]) for i in range(50)}
    for _ in range(25):
        for _ in range(rng.randrange(1, 4)):
            files[f"{rng.randrange(3)}/{rng.randrange(60)}"] = bytes([rng.randrange(9)])
            if rng.random() < 0.5:
                files.pop(rng.choice(sorted(files)))
        states[put(files, name=rng.choice(["cats", "dogs"])).name] = dict(files)
    for name in rng.sample(sorted(states), 8):
        store.delete(name)
        del states[name]
    store.gc(grace_s=0)
    files["late"] = b"late"
    states[put(files).name] = files
    root = store._root

    for value in range(9):
        expected = {(name, p) for name, has in states.items() for p, data in has.items() if data == bytes([value])}
        assert set(found(find(root, str(Digest.of(bytes([value])))))) == expected
    for query, form in {"1/*": r"1/.*", "*5": r".*5", "7": r".*/7", "2/17": r"2/17"}.items():
        expected = {(name, path) for name, has in states.items() for path in has if re.fullmatch(form, path)}
        assert set(found(find(root, query))) == expected
