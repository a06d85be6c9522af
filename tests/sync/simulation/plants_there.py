"""Plants there: bugs of what is done to depots, servers and mirrors, each put into production code by a patch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from artstore.model.digest import Digest
from artstore.model.parts import part_of
from artstore.server import serving
from artstore.storage import packs, whole
from artstore.storage.blobs import Blobs
from artstore.sync import evict
from artstore.sync.depots import collect, depot, join, shelf
from artstore.sync.hosting import closure, hosted, tokens
from artstore.sync.http import receiving
from artstore.sync.protocol import Sent
from artstore.sync.upload import Upload


def no_bytes_are_sent(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Upload, "send_blobs", lambda _self, _digests: None)


def what_a_remote_has_is_guessed(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(shelf.DepotShelf, "lacks_blobs", lambda _self, _digests: [])


def a_slot_is_taken_from_others(patch: pytest.MonkeyPatch) -> None:
    def claim(self: depot.Depot, project: str, number: int, data: bytes) -> bool:
        name = f"log/{part_of(project)}/{number:012d}"
        if not self._objects.claim(name, data):
            self._objects.remove(name)
            return self._objects.claim(name, data)
        return True

    patch.setattr(depot.Depot, "claim", claim)


def a_slot_counts_before_it_is_claimed(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(depot.Depot, "claim", lambda _self, _project, _number, _data: True)


def a_token_that_has_ended_lets_in(patch: pytest.MonkeyPatch) -> None:
    def find(store: Path, word: str) -> tokens.TokenInfo | None:
        return next((each.info for each in tokens._read(store) if each.hash == tokens._hash(word)), None)

    patch.setattr(serving, "find_token", find)


def what_was_sent_before_is_not_named(patch: pytest.MonkeyPatch) -> None:
    right = shelf.DepotShelf.send

    def send(self: Any, *arguments: Any, **options: Any) -> Sent:
        before = set(self._unnamed.names)
        sent = right(self, *arguments, **options)
        packs, blobs = ([name for name in some if name not in before] for some in (sent.packs, sent.blobs))
        return sent._replace(packs=packs, blobs=blobs)

    patch.setattr(shelf.DepotShelf, "send", send)


def what_comes_from_the_beginning_is_put_behind_what_is_there(patch: pytest.MonkeyPatch) -> None:
    def measured(part: Any) -> whole.Stored | None:
        came = right(part)
        return None if came is None else came._replace(digest=Digest(bytes.fromhex(part.path.name.partition(".")[0])))

    right = receiving._Part.measured
    patch.setattr(receiving, "_goes_on_at", lambda *_arguments: True)
    # Its size would tell, and its digest: neither is looked at.
    patch.setattr(Blobs, "size_of", lambda *_arguments: None)
    patch.setattr(receiving._Part, "measured", measured)


def a_hole_is_taken(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(hosted, "holes", lambda *_arguments: closure.Holes([], [], []))


def nothing_is_condemned_before_it_is_swept(patch: pytest.MonkeyPatch) -> None:
    right = collect._next_op
    patch.setattr(collect, "_next_op", lambda plan: right(plan._replace(due=[*plan.due, *plan.new], new=[])))


def no_grace_is_given(patch: pytest.MonkeyPatch) -> None:
    right = collect._next_op
    patch.setattr(collect, "_next_op", lambda plan: right(plan._replace(due=[*plan.due, *plan.waiting])))


def what_is_joined_is_nothing_but_zeros(patch: pytest.MonkeyPatch) -> None:
    def add(self: packs.PackWriter, digest: Digest, data: bytes, checksum: int) -> None:
        packs.PackWriter.add(self, digest, bytes(len(data)), checksum)

    patch.setattr(join, "PackWriter", type("PackWriter", (packs.PackWriter,), {"add": add}))


def what_is_freed_is_not_looked_for_elsewhere(patch: pytest.MonkeyPatch) -> None:
    def proven(_self: object, _versions: object, digests: list[Any], *, read_all: bool) -> set[Any]:
        assert not read_all
        return set(digests)

    patch.setattr(evict._Shelves, "proven", proven)
    patch.setattr(evict._Shelves, "of", lambda _self, versions: {each: [None] for each in versions})
