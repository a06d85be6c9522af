"""The ledger: what was tried with a store, and what was acknowledged, kept outside of it.

One line for each try before it begins and one for each answer after it came, each appended by one write, so a killed
process leaves whole lines. What was tried and not answered may have happened or not; what was answered must stand.
"""

from __future__ import annotations

import importlib
import itertools
import json
import os
import random
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, Final, NamedTuple

from blake3 import blake3

KEYS: Final = 96
"""Different contents: few, so that versions, collections and processes share blobs."""
_LARGE_EVERY: Final = 31

Tree = dict[str, int]
"""A path, and the key of its content."""


@cache
def content(key: int) -> bytes:
    """The bytes that a key stands for, and no other; those of 0 are none, and one in some is too large for a pack."""
    chance = random.Random(key)
    size = chance.randrange(1_050_000, 1_200_000) if key % _LARGE_EVERY == 7 else chance.choice((0, 700, 9_000, 24_000))
    return key.to_bytes(1, "big") + chance.randbytes(size) if key else b""


@cache
def digest_of(key: int) -> str:
    """How the store names the bytes of a key."""
    return f"blake3:{blake3(content(key)).hexdigest()}"


def warm() -> None:
    """Make all contents and load all modules now, so that forks need not and die in artstore's own work."""
    # What artstore loads only to make a catalog; with pandas beside it that takes longer than a child lives.
    importlib.import_module("sqlite_utils")
    for key in range(KEYS):
        digest_of(key)


class Acknowledged(NamedTuple):
    """A version that a `put` has answered."""

    ref: str
    id: str
    digest: str
    tree: Tree


class Expected(NamedTuple):
    """What a ledger says about a store."""

    versions: dict[str, Acknowledged]
    """Acknowledged, by reference; deleted ones included."""
    trees: dict[str, list[Tree]]
    """By collection, every content that was tried, acknowledged or not."""
    deleted: set[str]
    """References whose deletion was acknowledged."""
    endangered: set[str]
    """References that an unanswered deletion or prune may have taken."""
    aliases: dict[tuple[str, str], set[str | None]]
    """By collection and alias, the references on which it may stand; None: nowhere."""
    complaints: list[str]
    """What the processes themselves found wrong."""


class Ledger:
    """The file of one store."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        self._keys = itertools.count()

    def note(self, kind: str, **fields: object) -> None:
        """Add a line."""
        os.write(self._fd, json.dumps({"kind": kind, **fields}).encode() + b"\n")

    def attempt(self, verb: str, **fields: object) -> str:
        """Note that a verb is about to begin; answers the key under which its answer is noted."""
        key = f"{os.getpid()}-{next(self._keys)}-{os.urandom(3).hex()}"
        self.note("try", key=key, verb=verb, **fields)
        return key

    def answer(self, key: str, **fields: object) -> None:
        """Note that a verb has returned."""
        self.note("ack", key=key, **fields)

    def complain(self, about: str) -> None:
        """Note that something is wrong."""
        self.note("wrong", about=about)

    def expected(self) -> Expected:
        """What must be so after all that was noted."""
        lines = list(_powered(_lines(self._path)))
        answers = {line["key"]: line for line in lines if line["kind"] == "ack"}
        found = Expected({}, {}, set(), set(), {}, [line["about"] for line in lines if line["kind"] == "wrong"])
        for line in lines:
            if line["kind"] == "try":
                _take(found, line, answers.get(line["key"]))
        return found

    def answers(self) -> int:
        """How many answers were noted."""
        return self._path.read_bytes().count(b'"kind": "ack"')

    def tail(self, count: int) -> list[str]:
        """The last lines, for a message."""
        return [json.dumps(line)[:300] for line in list(_lines(self._path))[-count:]]


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    for line in path.read_text().splitlines():
        yield json.loads(line)


def _powered(lines: Iterator[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """The lines without what was noted after the power was cut, up to the next look."""
    is_on = True
    for line in lines:
        if line["kind"] == "cut":
            is_on = False
        elif line["kind"] == "power":
            is_on = True
        elif is_on or line["kind"] == "try":
            yield line


def _take(found: Expected, tried: dict[str, Any], answer: dict[str, Any] | None) -> None:
    verb = tried["verb"]
    if verb == "put":
        found.trees.setdefault(tried["collection"], []).append(tried["tree"])
        if answer is not None:
            version = Acknowledged(answer["ref"], answer["id"], answer["digest"], tried["tree"])
            before = found.versions.setdefault(version.ref, version)
            if before != version:
                found.complaints.append(f"{version.ref} was acknowledged twice: as {before} and as {version}")
        for alias in tried["aliases"]:
            # Without an answer the number is not known: the alias may stand on any version with this content.
            where = {answer["ref"]} if answer is not None else {f"{tried['collection']}?{_canonical(tried['tree'])}"}
            _move(found, tried["collection"], alias, where, is_sure=answer is not None)
    elif verb in {"delete", "prune"}:
        (found.deleted if answer is not None else found.endangered).update(tried["refs"])
    elif verb in {"alias", "unalias"}:
        where = {tried["ref"] if verb == "alias" else None}
        _move(found, tried["collection"], tried["alias"], where, is_sure=answer is not None)


def _move(found: Expected, collection: str, alias: str, where: set[Any], *, is_sure: bool) -> None:
    key = (collection, alias)
    found.aliases[key] = where if is_sure else found.aliases.get(key, {None}) | where


def _canonical(tree: Tree) -> str:
    return json.dumps(sorted(tree.items()))


def has_tree(where: str, tree: Tree) -> bool:
    """Whether what `Expected.aliases` says of an unanswered put means a version with this content."""
    return where.partition("?")[2] == _canonical(tree)
