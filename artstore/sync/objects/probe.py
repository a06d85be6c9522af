"""Probe: whether a place does what a depot needs of it, found out by doing it there.

The one thing that no place can be believed is that of many who claim a name just one gets it: services that speak as S3
does, and do not know `If-None-Match`, let everybody have it and say nothing. A log on such a place would lose commits.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Final

from artstore.errors import ArtstoreError
from artstore.storage.files import random_hex
from artstore.storage.root import FORMAT_FILE
from artstore.sync.objects.failures import in_a_store, unfit
from artstore.sync.objects.interface import Objects
from artstore.sync.objects.parallel import in_parallel

FOLDER: Final = "probe"
"""Where it leaves what it could not remove."""
_RACES: Final = 3
_RIVALS: Final = 8


def probe(objects: Objects) -> None:
    """Make sure that a place can hold a depot; what is written for that is removed again.

    Raises Invalid (unfit-remote), which says what it does not do, and what `objects` raises.
    """
    if objects.size(FORMAT_FILE) is not None:
        raise in_a_store(objects.url)
    folder = f"{FOLDER}/{random_hex(8)}"
    with _removed(objects, folder):
        _check_reading(objects, f"{folder}/read")
        _check_claims(objects, f"{folder}/claim")
        for number in range(_RACES):
            _check_race(objects, f"{folder}/race-{number}")
        _check_names(objects, folder)


def _check_reading(objects: Objects, name: str) -> None:
    data = random_hex(500).encode()
    for _ in range(2):
        objects.write(name, [data[:300], data[300:]], len(data))
    if objects.size(name) != len(data) or objects.read(name) != data or b"".join(objects.stream(name, 7)) != data[7:]:
        raise unfit(objects.url, "what is read there is not what was written")
    if objects.read(name, 100, 50) != data[100:150]:
        raise unfit(objects.url, "a part of an object cannot be read there")


def _check_claims(objects: Objects, name: str) -> None:
    if not objects.claim(name, b"first"):
        raise unfit(objects.url, "it says of a name that nobody has used that it is taken")
    if objects.claim(name, b"second") or objects.read(name) != b"first":
        raise unfit(
            objects.url,
            "it lets a second writer have a name that a first one has claimed (it ignores the condition to put only if "
            "absent), so one commit would replace another",
        )


def _check_race(objects: Objects, name: str) -> None:
    won = [rival for rival, has_won in in_parallel(lambda each: objects.claim(name, each), _rivals()) if has_won]
    if len(won) != 1 or objects.read(name) != won[0]:
        raise unfit(objects.url, f"of {_RIVALS} who claimed a name at once, {len(won)} were told that they got it")


def _rivals() -> list[bytes]:
    return [f"rival-{number}".encode() for number in range(_RIVALS)]


def _check_names(objects: Objects, folder: str) -> None:
    wanted = sorted([f"{folder}/read", f"{folder}/claim", *(f"{folder}/race-{number}" for number in range(_RACES))])
    if list(objects.names(f"{folder}/")) != wanted or list(objects.names(f"{folder}/", wanted[1])) != wanted[2:]:
        raise unfit(objects.url, "it does not list what was written there")
    objects.remove(f"{folder}/read")
    if objects.size(f"{folder}/read") is not None:
        raise unfit(objects.url, "an object stays there when it is removed")


@contextlib.contextmanager
def _removed(objects: Objects, folder: str) -> Iterator[None]:
    try:
        yield
    finally:
        # What stays is small, and no reason to refuse a place or to hide why it is refused.
        with contextlib.suppress(ArtstoreError):
            for name in list(objects.names(f"{folder}/")):
                objects.remove(name)
