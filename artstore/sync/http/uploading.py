"""Uploading: a large blob on its way to a server, as a patch of one that is there, or whole.

It goes on where it was cut, in either form: what came of it makes the beginning of the blob.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

import msgspec
from xxhash import xxh3_64

from artstore.errors import Conflict, Corrupt, Invalid, MissingObject, Unreachable
from artstore.model.digest import Digest
from artstore.storage import whole
from artstore.storage.files import read_exactly, storage_errors
from artstore.storage.places import Place
from artstore.storage.root import Root
from artstore.sync.delta.chunks import SMALLEST, LocalBlob
from artstore.sync.delta.patch import patch_size, write_patch
from artstore.sync.delta.plan import Piece, between, find_pieces
from artstore.sync.http.chunked import RemoteBlob
from artstore.sync.http.connection import TRIES, Connection, decode
from artstore.sync.http.wire import BYTES, Stand

_BLOCK: Final = 1 << 20
_PAUSE_S: Final = 0.5
_TURNS: Final = 6
"""Tries where another request is at the same blob: they take longer than a server needs to see that it hangs."""
_BASES: Final = 3
"""Blobs that the server is asked about, at most."""
_AT_ONCE: Final = 2 << 30
"""Bytes of a blob that one request has made anew, at most: nothing is heard meanwhile."""


class Patch(NamedTuple):
    """A blob as what a server has in another one, and what is new."""

    base: Digest
    pieces: list[Piece]

    @property
    def size(self) -> int:
        """The bytes that have to be sent."""
        return patch_size(self.pieces)


def find_patch(connection: Connection, path: str, root: Root, place: Place, bases: Sequence[Digest]) -> Patch | None:
    """A blob as a patch of the first of some others that the server has; None where it goes whole.

    Raises Unreachable, Denied.
    """
    for base in bases[:_BASES] if place.size >= SMALLEST else ():
        # What is not there cannot be patched; what is damaged here is found out when it is sent.
        with contextlib.suppress(MissingObject, Corrupt):
            pieces = find_pieces(
                RemoteBlob(connection, path, base, root.blobs.size_of(base)), LocalBlob(root, place.digest, place.size)
            )
            return None if pieces is None else Patch(base, pieces)
    return None


class Stopped(Exception):
    """It was to end before it had sent all."""


def send_large(
    connection: Connection, path: str, root: Root, place: Place, bases: Sequence[Digest], *, stop: threading.Event
) -> int:
    """Send one blob, going on where it was cut as long as that brings something; answers the bytes that were sent.

    Raises Corrupt (blob-damaged), Unreachable, Denied, StorageFull, Conflict; Stopped soon after `stop` was set.
    """
    address = f"{path}/uploads/{place.digest.hex()}"
    stand = _stand(connection, address, root, place)
    patch = None if stand.done else find_patch(connection, path, root, place, bases)
    last, tries, sent = -1, 0, 0
    while not stand.done:
        tries = 0 if stand.offset > last else tries + 1
        last = max(last, stand.offset)
        try:
            _check_free(connection, place, stand)
            going = _Going(root, place, stand.offset, patch)
            sent += going.size
            stand = going.send(connection, address, stop)
            if stand.done or stand.offset == going.end:
                continue
        except MissingObject:
            if patch is None:
                raise
            patch = None
        except Invalid as error:
            if patch is not None:
                # What the server has under that name is something else, or checksums were the same by chance.
                patch = None
            elif error.code == "digest-mismatch" and not _is_whole(place):
                message = (
                    f"blob {place.digest} is damaged, so it was not taken. Run `artstore verify`, then `artstore "
                    "repair`"
                )
                raise Corrupt(message, code="blob-damaged") from error
            else:
                raise
        except (Unreachable, Conflict) as error:
            if tries >= (_TURNS if isinstance(error, Conflict) else TRIES):
                raise
            time.sleep(_PAUSE_S * tries)
        stand = _stand(connection, address, root, place)
    return sent


class _Going:
    """One request of an upload."""

    def __init__(self, root: Root, place: Place, start: int, patch: Patch | None) -> None:
        self.end = place.size if patch is None else min(place.size, start + _AT_ONCE)
        self._headers = {"Upload-Offset": str(start), "Upload-Length": str(place.size)}
        if patch is None:
            self.size = place.size - start
            self._body = _blocks(root, place, start, self.end)
        else:
            pieces = list(between(patch.pieces, start, self.end))
            self.size = patch_size(pieces)
            self._headers["Upload-Base"] = patch.base.hex()
            self._body = write_patch(pieces, start, lambda first, last: _blocks(root, place, first, last))

    def send(self, connection: Connection, address: str, stop: threading.Event) -> Stand:
        """Send it; answers how much the server has then. Raises Stopped."""
        headers = {"Content-Length": str(self.size), **self._headers}
        doing = "sending a large blob"
        body = _until(stop, self._body)
        with connection.open("PUT", address, body, doing=doing, kind=BYTES, headers=headers) as answer:
            data = b"".join(connection.blocks(answer, _BLOCK, doing))
        found: Stand = decode(data, Stand, connection.url)
        return found


def _until(stop: threading.Event, blocks: Iterator[bytes]) -> Iterator[bytes]:
    for block in blocks:
        if stop.is_set():
            raise Stopped
        yield block


def _stand(connection: Connection, address: str, root: Root, place: Place) -> Stand:
    """How much the server has of this blob; what is not the same there does not count."""
    answer = connection.ask("GET", address, doing="asking how much of a blob it has")
    stand: Stand = decode(answer.data, Stand, connection.url)
    if stand.done or stand.busy or not stand.offset:
        return stand
    checksum = xxh3_64()
    if stand.offset <= place.size:
        for block in _blocks(root, place, 0, stand.offset):
            checksum.update(block)
    is_same = stand.offset <= place.size and checksum.hexdigest() == stand.checksum
    return stand if is_same else msgspec.structs.replace(stand, offset=0, checksum="")


def _check_free(connection: Connection, place: Place, stand: Stand) -> None:
    """Raise Conflict (busy) where another request is at it: all that was sent would be refused when it had come."""
    if stand.busy:
        message = f"another request sends blob {place.digest} to {connection.url} just now: try again later"
        raise Conflict(message, code="busy")


def _blocks(root: Root, place: Place, start: int, end: int) -> Iterator[bytes]:
    """The bytes of a blob's file; the server sees whether they are the blob's."""
    with storage_errors("reading a blob"):
        if not place.is_whole:
            yield root.blobs.read(place.digest)[start:end]
            return
        fd = os.open(place.path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
        try:
            while start < end and (block := read_exactly(fd, min(_BLOCK, end - start), start)):
                start += len(block)
                yield block
        finally:
            os.close(fd)


def _is_whole(place: Place) -> bool:
    return not place.is_whole or whole.digest_of_bytes(place.path) == place.digest
