"""Names: what people call projects, collections, versions, aliases, tags and types, and how they refer to a version.

Chose names that are a folder name and a command line argument everywhere, as W&B's nearly are, because a project is a
folder of the journal; instead of escaping, which two programs would do in two ways. Refused is only what W&B accepts
and no one means: `..`, a first `-` or `.`, an alias that reads like a number. Look again when names need other scripts.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Final, NoReturn

import msgspec

from artstore.errors import Invalid, WrongType
from artstore.model.digest import ALGORITHM, SIZE
from artstore.model.paths import is_device_name, quoted

LATEST: Final = "latest"
"""The alias that follows the last version logged; what a reference without a tail means."""

UNCATEGORIZED: Final = "uncategorized"
"""The project of what was put without one."""

LONGEST: Final = 128
"""Characters in the longest name, alias, tag or type."""

LONGEST_LABEL: Final = 512
"""Characters in what a run is called: names that are made of its settings are long."""

SHORTEST_PREFIX: Final = 4
"""Hex digits in the shortest digest prefix that a reference may use."""

_PARTS: Final = 3  # entity, project, collection
_NUMBER_LIMIT: Final = 2**53  # beyond it, JSON readers elsewhere round

_NOT_IN_NAME = re.compile(r"[^A-Za-z0-9_.-]")
_LIKE_NUMBER = re.compile(r"v[-+]?\d+\Z")
_NUMBER = re.compile(r"v(0|[1-9][0-9]{0,15})\Z")
_TAG = re.compile(r"[-\w]+(?: +[-\w]+)*\Z")
_HEX = re.compile(r"[0-9a-f]+\Z")
_TAIL = re.compile(r"[:@]")


def collection_name(text: str) -> str:
    """The text, if it can name a collection. Raises Invalid (bad-name)."""
    return _name(text, "collection")


def project_name(text: str) -> str:
    """The text, if it can name a project, and so a folder on every system. Raises Invalid (bad-name)."""
    _name(text, "project")
    if text.endswith("."):
        _refuse(f"project name {text!r} ends with a dot, which Windows drops from folders; leave it out", "bad-name")
    if is_device_name(text):
        _refuse(f"project name {text!r} is a device on Windows; choose another name", "bad-name")
    return text


def alias_name(text: str) -> str:
    """The text, if it can be an alias; `latest` can. Raises Invalid (bad-alias), for numbers such as `v3` too."""
    _check_length(text, "alias", "bad-alias")
    for mark in "/:@":
        if mark in text:
            _refuse(f"alias {text!r} contains {mark!r}, which separates the parts of a reference", "bad-alias")
    if not text.isprintable():
        _refuse(f"alias {text!r} contains a character that cannot be seen; leave it out", "bad-alias")
    if text != text.strip():
        _refuse(f"alias {text!r} begins or ends with a space; leave it out", "bad-alias")
    if _LIKE_NUMBER.match(text):
        _refuse(f"alias {text!r} reads like a version number, and those are given by artstore", "bad-alias")
    return text


def tag_name(text: str) -> str:
    """The text, if it can be a tag: letters, digits, `_`, `-`, and spaces between them. Raises Invalid (bad-tag)."""
    _check_length(text, "tag", "bad-tag")
    if not _TAG.match(text):
        _refuse(f"tag {text!r} may only have letters, digits, '_', '-', and spaces between them", "bad-tag")
    return text


def type_name(text: str) -> str:
    """The text, if it can be the type of a collection made by a user. Raises Invalid (bad-type)."""
    _check_length(text, "type", "bad-type")
    if not text.isprintable():
        _refuse(f"type {text!r} contains a character that cannot be seen; leave it out", "bad-type")
    if text == "job" or text.startswith(("wandb-", "artstore-")):
        _refuse(f"type {text!r} is kept for what artstore and W&B make themselves; choose another", "bad-type")
    return text


def listed(names: Any, noun: str) -> list[str]:
    """What a caller gave as a list of names; one text is one name, and not as many as it has letters.

    Raises WrongType (not-text) for what is no text.
    """
    if isinstance(names, str):
        return [names]
    found = list(names) if isinstance(names, Iterable) and not isinstance(names, bytes) else [names]
    for name in found:
        if not isinstance(name, str):
            message = f"{name!r} is not text, and so no {noun}: write it as text, or several as a list of texts"
            raise WrongType(message, code="not-text")
    return found


def run_id(text: str) -> str:
    """The text, if it can be the id of a run. Raises Invalid (bad-run-id)."""
    if not text or not text.isprintable() or "/" in text or len(text) > LONGEST:
        message = f"{text!r} is not a run id: use 1 to {LONGEST} printable characters without a slash"
        raise Invalid(message, code="bad-run-id")
    return text


def run_label(text: str) -> str:
    """The text, if it can be the name, the job type or the group of a run. Raises Invalid (bad-run-label)."""
    if len(text) > LONGEST_LABEL:
        message = (
            f"{quoted(text)} has {len(text)} characters, and the name, job type and group of a run at most "
            f"{LONGEST_LABEL}: put more into its notes"
        )
        raise Invalid(message, code="bad-run-label")
    return text


def run_tag(text: str) -> str:
    """The text, if it can be a tag of a run: any words that can be seen, since nothing is ever looked up by them.

    Raises Invalid (bad-tag).
    """
    if not text or not text.isprintable() or len(text) > LONGEST:
        message = f"{quoted(text)} is not a tag of a run: use 1 to {LONGEST} characters that can be seen"
        raise Invalid(message, code="bad-tag")
    return text


class DigestPrefix(msgspec.Struct, frozen=True):
    """The first digits, or all 64, of a version id or a manifest digest."""

    hex: str

    @property
    def is_full(self) -> bool:
        """Whether it is a whole digest, which needs no search."""
        return len(self.hex) == 2 * SIZE

    def __str__(self) -> str:
        return f"{ALGORITHM}:{self.hex}" if self.is_full else self.hex


class Reference(msgspec.Struct, frozen=True, kw_only=True):
    """Which version is meant: a collection in a project, and a number, an alias or a digest prefix in it."""

    project: str
    collection: str
    selector: int | str | DigestPrefix = LATEST

    @classmethod
    def parse(cls, text: str, *, project: str = UNCATEGORIZED) -> Reference:
        """Read `[[entity/]project/]collection[:vN | :alias | @digest-prefix]`; `project` is for text that names none.

        No tail means `:latest`. The entity is dropped: there is none here. `str()` of the result reads back as equal.
        Raises Invalid: bad-reference for its form, bad-name or bad-alias for a part that cannot exist.
        """
        found = _TAIL.search(text)
        head, tail = (text, "") if found is None else (text[: found.start()], text[found.end() :])
        owner, collection = _parse_head(head, text, project)
        if found is None:
            return cls(project=owner, collection=collection)
        parse_tail = _parse_label if found[0] == ":" else _parse_prefix
        return cls(project=owner, collection=collection, selector=parse_tail(tail, text))

    @property
    def number(self) -> int | None:
        """N of `:vN`, if that is how the version is chosen."""
        return self.selector if isinstance(self.selector, int) else None

    @property
    def alias(self) -> str | None:
        """The alias, if that is how the version is chosen."""
        return self.selector if isinstance(self.selector, str) else None

    @property
    def prefix(self) -> DigestPrefix | None:
        """The digest prefix, if that is how the version is chosen."""
        return self.selector if isinstance(self.selector, DigestPrefix) else None

    @property
    def name(self) -> str:
        """Project and collection, without the version."""
        return f"{self.project}/{self.collection}"

    def __str__(self) -> str:
        if isinstance(self.selector, int):
            return f"{self.name}:v{self.selector}"
        return f"{self.name}{':' if isinstance(self.selector, str) else '@'}{self.selector}"


def _parse_head(head: str, text: str, project: str) -> tuple[str, str]:
    """The project and the collection. `text` is the whole reference, for messages."""
    parts = head.split("/")
    if len(parts) > _PARTS:
        _refuse_reference(text, "has too many parts; write [[entity/]project/]collection")
    if not parts[-1]:
        _refuse_reference(text, "names no collection; write [project/]collection[:alias]")
    if "" in parts:
        _refuse_reference(text, "has an empty part before a '/'; write [[entity/]project/]collection")
    owner = parts[-2] if len(parts) > 1 else project
    return project_name(owner), collection_name(parts[-1])


def _parse_label(tail: str, text: str) -> int | str:
    """What follows the colon: a number or an alias."""
    if not tail:
        _refuse_reference(text, "ends after ':'; write :v0, :alias, or nothing for the latest")
    if tail[0] in ":@":
        _refuse_reference(text, f"has ':{tail[0]}'; write :v0, :alias or @digest once")
    if ":" in tail or "@" in tail:
        _refuse_two_tails(text)
    found = _NUMBER.match(tail)
    if found is not None and int(found[1]) < _NUMBER_LIMIT:
        return int(found[1])
    if _LIKE_NUMBER.match(tail):
        _refuse_number(tail, text)
    return alias_name(tail)


def _parse_prefix(tail: str, text: str) -> DigestPrefix:
    """What follows the `@`: `blake3:` or nothing, then hex digits."""
    if not tail:
        _refuse_reference(text, "ends after '@'; write the first digits of a version id or digest")
    algorithm, colon, digits = tail.rpartition(":")
    if "@" in tail or ":" in algorithm or (colon and _HEX.match(algorithm)):
        _refuse_two_tails(text)
    if colon and algorithm != ALGORITHM:
        _refuse_reference(text, f"has a digest of {quoted(algorithm)}; artstore knows {ALGORITHM}")
    if not digits:
        _refuse_reference(text, f"has no digits after '{ALGORITHM}:'; write some of the digest")
    if not _HEX.match(digits):
        advice = "write them in lower case" if _HEX.match(digits.lower()) else "write 0-9 and a-f"
        _refuse_reference(text, f"has {quoted(digits)} where hex digits belong; {advice}")
    if len(digits) < SHORTEST_PREFIX:
        _refuse_reference(text, f"has {len(digits)} digits after '@'; write at least {SHORTEST_PREFIX}")
    if len(digits) > 2 * SIZE:
        _refuse_reference(text, f"has {len(digits)} digits after '@'; a whole digest has {2 * SIZE}")
    return DigestPrefix(digits)


def _refuse_number(tail: str, text: str) -> NoReturn:
    if tail[1] in "-+":
        _refuse_reference(text, f"has the signed number {quoted(tail)}; numbers start at v0")
    if not tail.isascii():
        _refuse_reference(text, f"has the number {quoted(tail)}; write it with the digits 0 to 9")
    if tail[1] == "0":
        _refuse_reference(text, f"has the number {quoted(tail)}; write {quoted('v' + (tail[1:].lstrip('0') or '0'))}")
    _refuse_reference(text, f"has the number {quoted(tail)}, larger than any version's")


def _name(text: str, noun: str) -> str:
    _check_length(text, f"{noun} name", "bad-name")
    odd = _NOT_IN_NAME.search(text)
    if odd is not None:
        _refuse(f"{noun} name {text!r} contains {odd[0]!r}; use A-Z, a-z, 0-9, '_', '-' and '.'", "bad-name")
    if text[0] in "-.":
        _refuse(f"{noun} name {text!r} begins with {text[0]!r}; begin with a letter, a digit or '_'", "bad-name")
    return text


def _check_length(text: str, noun: str, code: str) -> None:
    if not text:
        _refuse(f"{noun} is empty; write 1 to {LONGEST} characters", code)
    if len(text) > LONGEST:
        _refuse(f"{noun} {quoted(text)} has {len(text)} characters; at most {LONGEST} are possible", code)


def _refuse_two_tails(text: str) -> NoReturn:
    _refuse_reference(text, "chooses the version twice; write one of :v0, :alias and @digest")


def _refuse_reference(text: str, why: str) -> NoReturn:
    _refuse(f"reference {quoted(text)} {why}", "bad-reference")


def _refuse(message: str, code: str) -> NoReturn:
    raise Invalid(message, code=code)
