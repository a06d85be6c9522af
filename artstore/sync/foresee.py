"""Foresee: what a push would come to if nobody else wrote meanwhile. Nothing is moved and nothing is noted.

What would be sent is read, since bytes that a disk has lost or changed are not sent, nor what builds on them.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import cast

import msgspec

from artstore.errors import ArtstoreError, Corrupt, Denied
from artstore.lifecycle.progress import Tick
from artstore.lifecycle.upstream import Followed
from artstore.model.digest import Digest
from artstore.storage.files import random_hex
from artstore.storage.places import MISSING_NOW, gone
from artstore.storage.quarantine import judge
from artstore.sync.connect import held_elsewhere
from artstore.sync.cut import endless
from artstore.sync.held import Missing
from artstore.sync.http.opening import Server, is_server
from artstore.sync.http.wire import READS
from artstore.sync.push import lacking, offers, what_does_not_fit, what_is_left, what_is_missing, what_is_too_long
from artstore.sync.reports import Moved
from artstore.sync.upload import damaged
from artstore.sync.way import Way


def foresee(way: Way) -> tuple[Moved, ArtstoreError | None]:
    """What would be sent, and why some of it would stay here. Raises as `push` for what stops all."""
    missing = Missing()
    read = set[Digest]()
    while isinstance(found := _tried(way, missing, read), Missing):
        missing = missing.plus(found)
    if found.ops and is_server(way.remote.url) and cast("Server", way.remote).about().scope == READS:
        message = (
            f"{way.place} takes nothing: its token is for reading. Give one that may write (`artstore remote add`)"
        )
        raise Denied(message, code="remote-denied")
    return found, what_is_left(way, missing)


def _tried(way: Way, missing: Missing, read: set[Digest]) -> Moved | Missing:
    """What would be sent where this is missing; or what is missing beside. `read` has the blobs that are whole."""
    pushed = Moved()
    takes = 0
    last = way.followed or Followed(random_hex(16), 0, None)
    shelf = way.shelf(last.log)
    shelf.follow(way.remote, last.slot)
    sent = set[Digest]()
    for offer in offers(way.root, way.project, way.only, missing, renumber=way.renumber):
        if never := endless(offer):
            return never
        try:
            cargo = lacking(way.root, shelf, offer.manifests)
        except ArtstoreError as error:
            lost = what_is_missing(way.root, shelf, offer.manifests, [], error)
            if not lost:
                raise
            return lost
        if too_long := what_is_too_long(way, shelf, cargo):
            return too_long
        # What goes with one offer is there when the next one comes.
        cargo = cargo._replace(blobs={digest: size for digest, size in cargo.blobs.items() if digest not in sent})
        room = shelf.room() if offer.manifests else None
        if room is not None:
            room = msgspec.structs.replace(room, takes=room.takes + takes)
            if too_large := what_does_not_fit(way, room, offer, cargo):
                return too_large
        if bad := unsound(way, [digest for digest in cargo.blobs if digest not in read]):
            return bad
        read |= cargo.blobs.keys()
        sent |= cargo.blobs.keys()
        lists = sum(len(each.data) for each in cargo.manifests)
        takes += cargo.bytes + lists + sum(len(op.body) for ops in offer.transactions for op in ops)
        pushed = pushed.plus(offer.counted()).plus(Moved(blobs=len(cargo.blobs), bytes=cargo.bytes))
    return pushed


def unsound(way: Way, digests: list[Digest]) -> Missing:
    """Those of some blobs that could not be sent."""
    here = way.root.blobs.locate(digests)
    elsewhere = held_elsewhere(way.root, [digest for digest in digests if digest not in here])
    absent = [digest for digest in digests if digest not in here and digest not in elsewhere]
    if absent:
        message = f"blob {absent[0]} is missing from this store. {MISSING_NOW}"
        return Missing(blobs=frozenset(absent), why=Corrupt(message, code="blob-missing"))
    bad = [
        digest for digest in _told(way, [each for each in digests if each in here]) if judge(here[digest]) != "whole"
    ]
    if not bad:
        return Missing()
    place = here[bad[0]]
    why = damaged(bad[0]) if Path(place.path).exists() else gone(place)
    return Missing(blobs=frozenset(bad), why=why)


def _told(way: Way, digests: Iterable[Digest]) -> Iterable[Digest]:
    for number, digest in enumerate(digests, start=1):
        way.tell(Tick("check", number))
        yield digest
