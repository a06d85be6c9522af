"""Failures: what can go wrong at a place, each said in one way: which place, what, and what now."""

from __future__ import annotations

from artstore.errors import Conflict, Corrupt, Denied, Invalid, MissingObject, StorageFull, Unreachable


def missing(url: str, name: str) -> MissingObject:
    return MissingObject(f"{url}: there is no {name!r}", code="object-missing")


def short(url: str, name: str, *, wanted: int, found: int) -> Corrupt:
    message = f"{url}: {name!r} is shorter than it was when it was written: {found} of {wanted} bytes came"
    return Corrupt(message, code="object-short")


def other_size(url: str, name: str, *, wanted: int, found: int) -> Conflict:
    message = f"{url}: nothing was written as {name!r}, which was to have {wanted} bytes and came to {found}: try again"
    return Conflict(message, code="source-changed")


def unreachable(url: str, doing: str, said: object) -> Unreachable:
    message = f"{url} does not answer while {doing}: {said}. Nothing is lost; try again later"
    return Unreachable(message, code="remote-unreachable")


def denied(url: str, doing: str, said: object, *, now: str) -> Denied:
    return Denied(f"{url} does not allow {doing}: {said}. {now}", code="remote-denied")


def full(url: str, doing: str, said: object) -> StorageFull:
    message = f"{url} has no space left while {doing}: {said}. Free some there, then repeat"
    return StorageFull(message, code="remote-full")


def unfit(url: str, reason: str) -> Invalid:
    return Invalid(f"{url} cannot hold a depot: {reason}. Name another place", code="unfit-remote")


def in_a_store(url: str) -> Invalid:
    """The error for a place in which a store keeps its own files: its `gc` would free those of a depot as left over."""
    message = (
        f"{url} is the folder of a store, or lies in one, so a depot cannot be there: name a folder beside it, or let "
        "others have that store with `artstore serve`"
    )
    return Invalid(message, code="unfit-remote")


def is_of_silence(error: BaseException | None) -> bool:
    """Whether nobody answered, or took what was sent, in time: libraries have several errors for that."""
    while error is not None and not isinstance(error, TimeoutError):
        error = error.__cause__ or error.__context__
    return error is not None
