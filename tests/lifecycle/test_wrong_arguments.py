"""Every method of a store, given what none of its arguments can be: a clear error of ours, and nothing was written."""

from __future__ import annotations

import contextlib
import inspect
import io
import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import pytest

from artstore.errors import ArtstoreError, Conflict, Invalid, NotFound
from artstore.lifecycle.draft import Draft
from artstore.store import Store

Given = dict[str, Any]

ODD_TEXTS: Final = (7, b"cats", ["cats"], 1.5, True, "", "\udcff", "a\0b")
WORDS: Final = (7, b"words", ["words"], True, "\udcff")
PATHS: Final = (7, b"bytes", None, "", "a\0b", True)
FLAGS: Final[tuple[object, ...]] = ("no", "", 1, 0, None, [])
TIMES: Final[tuple[object, ...]] = ("7", b"7", math.nan, True, [1], {}, -math.inf)
COUNTS: Final = ("1", 1.5, math.nan, True, [1], -1)
NAMES: Final = (7, None, b"best", [7], [b"best"], {"a": None, 7: None}, ["\udcff"], [""])
MAPPINGS: Final[tuple[object, ...]] = (
    7,
    "text",
    [("a", 1)],
    [],
    "",
    0,
    {"a": math.nan},
    {"a": object()},
    {"a": b"1"},
    {"\udcff": 1},
)
CALLS: Final[tuple[object, ...]] = (7, "print", [])
KINDS: Final[dict[str, tuple[object, ...]]] = {
    "str": (*ODD_TEXTS, None),
    "str | None": ODD_TEXTS,
    "bool": FLAGS,
    "float": (*TIMES, None),
    "float | None": TIMES,
    "int": (*COUNTS, None),
    "int | None": COUNTS,
    "AnyPath": PATHS,
    "Sequence[str]": NAMES,
    "Sequence[str] | None": tuple(each for each in NAMES if each is not None),
    "Mapping[str, Any]": (*MAPPINGS, None),
    "Mapping[str, Any] | None": MAPPINGS,
    "Draft": (7, None, "draft"),
    "Draft | None": (7, "draft"),
    "Progress | None": CALLS,
    "Fetch | None": CALLS,
    "Callable[[WatchReport], None] | None": CALLS,
    "Mode": (7, None, "relfink", ["copy"]),
    "End": ("bogus", None, 7, "running", ["finished"]),
    "AnyPath | Sequence[AnyPath | BinaryIO]": (
        7,
        None,
        b"bytes",
        "",
        "a\0b",
        [7],
        [None],
        [b"bytes"],
        [io.StringIO("t")],
    ),
    "Sequence[AnyPath]": (7, None, b"bytes", "", "a\0b", [7], [b"bytes"]),
    "Sequence[ReferenceEntry]": (7, None, "s3://bucket/key", ["s3://bucket/key"], [None]),
    "Sequence[tuple[str, Order, int]]": (
        *(7, None, "key", ["key"], [("key", "max")], [("key", "best", 1)], [("key", None, 1)], [("", "max", 1)]),
        *([(7, "max", 1)], [("key", "max", 0)], [("key", "max", -1)], [("key", "max", math.nan)]),
        *([("key", "max", 1.5)], [("key", "max", True)], [("key", "max", "1")], [("key", ["max"], 1)]),
    ),
}
"""What an argument cannot be, by its hint."""

TAKEN: Final[dict[tuple[str, str], tuple[object, ...]]] = {
    # Text for people may be empty, and have any character that there is.
    **dict.fromkeys(
        (
            *(("describe", "text"), ("start_run", "notes"), ("edit_run", "notes"), ("edit_run", "name")),
            *(("start_run", each) for each in ("name", "job_type", "group")),
            *((each, "description") for each in ("put", "commit", "add_part", "finish_parts")),
            *(("find", "query"), ("search", "text")),
        ),
        ("", "a\0b"),
    ),
    # What nothing can be called finds nothing, and begins nowhere.
    **dict.fromkeys((("runs", "group"), ("folder", "after")), ("", "a\0b", "\udcff")),
    ("run_page", "group"): ("", "a\0b"),
    ("run_page", "start"): (0,),
    ("folder", "path"): ("",),
    ("put", "prefix"): ("",),
    ("history", "before"): (-1,),
    # In these lists such a text only means nothing.
    **dict.fromkeys((("watch", "ignore"), ("watch", "only"), ("get", "patterns")), ([""], ["\udcff"])),
}
"""What an argument can be all the same."""

GOOD: Final[dict[str, Callable[[Store, Path], Given]]] = {
    "init": lambda _store, tmp: {"path": tmp / "new"},
    "open": lambda store, _tmp: {"path": store.path},
    "rebuild": lambda store, _tmp: {"path": store.path},
    "put": lambda _store, tmp: {"sources": tmp / "tree", "name": "dogs", "type": "dataset"},
    "build_on": lambda _store, _tmp: {"draft": ..., "reference": "cats"},
    "commit": lambda _store, _tmp: {"draft": ..., "name": "dogs", "type": "dataset"},
    "add_part": lambda _store, _tmp: {"draft": ..., "name": "dogs", "type": "dataset", "distributed_id": "d"},
    "finish_parts": lambda _store, _tmp: {"draft": ..., "name": "parted", "type": "dataset", "distributed_id": "d"},
    "history": lambda _store, _tmp: {"name": "cats", "limit": 5},
    "folder": lambda _store, _tmp: {"reference": "cats"},
    "entry": lambda _store, _tmp: {"reference": "cats", "path": "a"},
    "search": lambda _store, _tmp: {"text": "cats"},
    "history_line": lambda _store, _tmp: {"reference": "cats"},
    "drop_parts": lambda _store, _tmp: {"name": "parted", "distributed_id": "d"},
    "drop_old_parts": lambda _store, _tmp: {"older_than_s": 3600.0},
    "watch": lambda _store, tmp: {"folder": tmp / "tree", "name": "dogs", "type": "dataset"},
    "get": lambda _store, tmp: {"reference": "cats", "target": tmp / "new"},
    "open_file": lambda _store, _tmp: {"reference": "cats", "path": "a"},
    "read": lambda _store, _tmp: {"reference": "cats", "path": "a"},
    "change": lambda _store, _tmp: {"reference": "cats", "type": "dataset"},
    "diff": lambda _store, tmp: {"reference": "cats", "other": tmp / "tree"},
    "find": lambda _store, _tmp: {"query": "a"},
    "alias": lambda _store, _tmp: {"reference": "cats", "names": ["good"]},
    "unalias": lambda _store, _tmp: {"reference": "cats", "names": ["best"]},
    "tag": lambda _store, _tmp: {"reference": "cats", "names": ["good"]},
    "untag": lambda _store, _tmp: {"reference": "cats", "names": ["tagged"]},
    "describe": lambda _store, _tmp: {"reference": "cats", "text": "of cats"},
    "set_metadata": lambda _store, _tmp: {"reference": "cats", "values": {"b": 1}},
    "set_ttl": lambda _store, _tmp: {"reference": "cats", "ttl_s": 3600.0},
    "rename": lambda _store, _tmp: {"name": "cats", "new_name": "dogs"},
    "retype": lambda _store, _tmp: {"name": "cats", "type": "model"},
    "tag_collection": lambda _store, _tmp: {"name": "cats", "tags": ["good"]},
    "untag_collection": lambda _store, _tmp: {"name": "cats", "tags": ["tagged"]},
    "delete_collection": lambda _store, _tmp: {"name": "plain"},
    "copy": lambda _store, _tmp: {"reference": "cats", "target": "dogs"},
    "link": lambda _store, _tmp: {"reference": "cats", "target": "shelf"},
    "unlink": lambda _store, _tmp: {"reference": "portfolio:v0"},
    "delete_versions": lambda _store, _tmp: {"references": ["plain:v0"]},
    "delete": lambda _store, _tmp: {"reference": "plain:v0"},
    "hold_run": lambda _store, _tmp: {"run": "r"},
    "edit_run": lambda _store, _tmp: {"run": "r"},
    "finish_run": lambda _store, _tmp: {"run": "r"},
    "use": lambda _store, _tmp: {"run": "r", "reference": "cats"},
    "run": lambda _store, _tmp: {"id": "r"},
    "inputs": lambda _store, _tmp: {"run": "r"},
    "outputs": lambda _store, _tmp: {"run": "r"},
    "backup": lambda _store, tmp: {"target": tmp / "new"},
    "prune": lambda _store, _tmp: {"names": ["plain"]},
    **dict.fromkeys(
        ("tree", "version", "entries", "links_of", "logged_by", "used_by", "lineage", "verify"),
        lambda _store, _tmp: {"reference": "cats"},
    ),
    **dict.fromkeys(("collection", "versions"), lambda _store, _tmp: {"name": "cats"}),
    **dict.fromkeys(("moved_numbers", "conflicts"), lambda _store, _tmp: {}),
    "accept_numbers": lambda _store, _tmp: {"names": ["cats"]},
    **dict.fromkeys(("keep_mine", "drop_mine"), lambda _store, _tmp: {"conflict": "0" * 64}),
    "rename_mine": lambda _store, _tmp: {"conflict": "0" * 64, "name": "dogs"},
    **dict.fromkeys(
        ("parts", "collections", "types", "du", "growth", "start_run", "runs", "run_page", "repair", "gc"),
        lambda _store, _tmp: {},
    ),
}
"""By method, arguments with which it does its work; `...` is a draft that has a file."""

AMONG_OTHERS: Final = frozenset({"accept_numbers", "keep_mine", "drop_mine", "rename_mine"})
"""They act on what only an upstream brings, and are tried where there is one."""

METHODS: Final = {
    name: member
    for name, member in inspect.getmembers_static(Store)
    if not name.startswith("_") and not isinstance(member, property)
}


@pytest.fixture
def full(store: Store, tmp_path: Path) -> Store:
    """A store with something of each kind."""
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "a").write_bytes(b"1")
    store.put(tmp_path / "tree", name="cats", type="dataset", aliases=["best"], metadata={"a": 1})
    store.put(tmp_path / "tree", name="plain", type="dataset")
    store.tag("cats", ["tagged"])
    store.tag_collection("cats", ["tagged"])
    store.link("cats", "portfolio")
    store.start_run(id="r")
    with store.draft() as draft:
        draft.add_stream(io.BytesIO(b"part"), "part")
        store.add_part(draft, name="parted", type="dataset", distributed_id="d")
    return store


def state(store: Store, tmp: Path) -> tuple[dict[str, bytes], list[Path]]:
    """What is kept, and what lies beside the store."""
    kept = [path for name in ("ops", "blobs", "packs", "trash") for path in (store.path / name).rglob("*")]
    return {str(path): path.read_bytes() for path in kept if path.is_file()}, sorted(tmp.iterdir())


def parameters(name: str) -> Mapping[str, inspect.Parameter]:
    found = inspect.signature(getattr(Store, name)).parameters
    return {key: each for key, each in found.items() if key != "self"}


def wrong_values(method: str, parameter: str) -> list[object]:
    taken = TAKEN.get((method, parameter), ())
    values = [each for each in KINDS[str(parameters(method)[parameter].annotation)] if not _is_in(each, taken)]
    if parameter == "keep_within_s" or (method, parameter) == ("gc", "grace_s"):
        values.append(-1)
    return values


def _is_in(value: object, some: tuple[object, ...]) -> bool:
    # By their looks: -1 is -1.0, and 0 is False.
    return repr(value) in map(repr, some)


def outcome(act: Callable[[], object]) -> Any:
    try:
        found = act()
        if isinstance(found, Iterator):
            list(found)
    except BaseException as error:  # noqa: BLE001 - which one it is is the question
        return error
    return found


def call(store: Store, method: str, given: Given) -> object:
    with store.draft() if ... in given.values() else contextlib.nullcontext() as draft:
        if draft is not None:
            draft.add_stream(io.BytesIO(b"new"), "new")
        here = {key: draft if value is ... else value for key, value in given.items()}
        found = outcome(lambda: getattr(store, method)(**here))
    for ended in ("close", "release"):
        if not isinstance(found, BaseException) and hasattr(found, ended):
            getattr(found, ended)()
    return found


def test_every_method_is_tried() -> None:
    """What is new is in the table too, and every hint means something here."""
    hints = {str(each.annotation) for name in METHODS for each in parameters(name).values()}

    assert {name for name in METHODS if parameters(name)} == set(GOOD)
    assert hints <= set(KINDS)


@pytest.mark.parametrize("method", GOOD)
def test_what_an_argument_cannot_be_is_refused(full: Store, tmp_path: Path, method: str) -> None:
    """A misspelt word, a number for a name, "no" for False: refused in words, and never by half."""
    good = GOOD[method](full, tmp_path)
    before = state(full, tmp_path)
    wrong = []
    for parameter in parameters(method):
        for value in wrong_values(method, parameter):
            found = call(full, method, {**good, parameter: value})
            if not (isinstance(found, Invalid | NotFound) and found.code and "\n" not in found.message):
                wrong.append(f"{parameter}={value!r}: {found!r}"[:300])
            if state(full, tmp_path) != before:
                wrong.append(f"{parameter}={value!r} has written something")
                before = state(full, tmp_path)

    assert [] == wrong


@pytest.mark.parametrize("method", sorted({*GOOD} - AMONG_OTHERS))
def test_what_it_can_be_is_taken(full: Store, tmp_path: Path, method: str) -> None:
    """Or the test above would be content with a method that refuses everything."""
    found = call(full, method, GOOD[method](full, tmp_path))

    assert not isinstance(found, BaseException), found


def test_a_store_that_was_closed_says_so(full: Store, tmp_path: Path) -> None:
    """It opened its files again without a word, and nobody closed them: a moved or deleted store was written on."""
    full.close()
    full.close()
    going_on = []
    with Store.open(full.path) as other, other.draft() as draft:
        draft.add_stream(io.BytesIO(b"new"), "new")
        for method, member in METHODS.items():
            if not isinstance(member, classmethod | staticmethod):
                good = GOOD[method](full, tmp_path) if method in GOOD else {}
                given = {key: draft if value is ... else value for key, value in good.items()}
                found = outcome(lambda: getattr(full, method)(**given))  # noqa: B023 - called at once
                if getattr(found, "code", None) != "store-closed" and method != "close":
                    going_on.append((method, found))
    with pytest.raises(Conflict) as caught, full:
        pass

    assert [] == going_on
    assert str(full.path) in caught.value.message


def test_a_draft_of_another_store_is_refused(full: Store, tmp_path: Path) -> None:
    """It would become a version over there, and who asked would look for it here."""
    with Store.init(tmp_path / "other") as other, other.draft() as draft:
        draft.add_stream(io.BytesIO(b"1"), "a")
        for method in ("commit", "add_part", "finish_parts"):
            found = outcome(lambda: getattr(full, method)(**{**GOOD[method](full, tmp_path), "draft": draft}))  # noqa: B023 - called at once
            assert isinstance(found, Invalid)
            assert found.code == "draft-of-another-store"
        assert isinstance(outcome(lambda: full.build_on(draft, "cats")), Invalid)
        assert ([], 1) == (other.collections(), len(draft.entries))


@pytest.mark.parametrize("method", ["commit", "add_part", "finish_parts", "build_on"])
def test_a_draft_that_has_ended_is_refused(full: Store, tmp_path: Path, method: str) -> None:
    """What it stored is let go of, and may be gone."""
    with full.draft() as draft:
        draft.add_stream(io.BytesIO(b"ended"), "a")
    before = state(full, tmp_path)
    found = outcome(lambda: getattr(full, method)(**{**GOOD[method](full, tmp_path), "draft": draft}))

    assert isinstance(found, ArtstoreError), found
    assert before == state(full, tmp_path)


def test_a_draft_is_of_the_store_however_it_was_opened(full: Store) -> None:
    """Two who opened one folder have one store."""
    with Store.open(full.path) as again, again.draft() as draft:
        draft.add_stream(io.BytesIO(b"1"), "a")
        assert isinstance(draft, Draft)
        assert "dogs" == full.commit(draft, name="dogs", type="dataset").collection


def test_a_store_is_not_made_of_a_path(tmp_path: Path) -> None:
    """What is typed first must lead to what opens it."""
    with pytest.raises(Invalid, match=r"Store\.open") as caught:
        Store(str(tmp_path))  # type: ignore[arg-type]

    assert caught.value.code == "wrong-type"
