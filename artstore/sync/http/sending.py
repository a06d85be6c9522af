"""Sending: blobs on their way to a server. Small ones go together; a large one goes on where it was cut."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Final

from xxhash import xxh3_64

from artstore.errors import Conflict, Corrupt, Invalid, Unreachable
from artstore.model.digest import Digest
from artstore.storage import whole
from artstore.storage.blobs import SMALL
from artstore.storage.files import read_exactly, storage_errors
from artstore.storage.places import Place
from artstore.storage.root import Root
from artstore.sync.http.connection import TRIES, Connection, decode
from artstore.sync.http.packing import pack
from artstore.sync.http.wire import BODY, BYTES, Stand
from artstore.sync.protocol import Tell

_AT_ONCE: Final = 4
"""Requests on their way at a time."""
_BLOCK: Final = 1 << 20
_MANY: Final = 4_000
"""Blobs in one body, at most: empty ones have no end."""
_PAUSE_S: Final = 0.5


def send_blobs(connection: Connection, path: str, root: Root, digests: Sequence[Digest], tell: Tell | None) -> None:
    """Send blobs, which must be here. Raises Corrupt (blob-missing, blob-damaged), Unreachable, Denied, StorageFull."""
    found = root.blobs.locate(digests)
    # Of what is nowhere, `places` says so.
    places = [found.get(digest) or root.blobs.places(digest)[0] for digest in digests]
    small = sorted((p for p in places if p.size <= SMALL), key=lambda place: (place.path, place.offset))
    jobs: list[tuple[Callable[[], None], Sequence[Place]]] = [
        *((partial(_send_small, connection, path, root, some), some) for some in _bodies(small)),
        *((partial(_send_large, connection, path, root, p), [p]) for p in places if p.size > SMALL),
    ]
    done = size = 0
    with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="artstore-send") as pool:
        on_way: list[tuple[Future[None], Sequence[Place]]] = [(pool.submit(job), some) for job, some in jobs]
        try:
            for future, some in on_way:
                future.result()
                done, size = done + len(some), size + sum(place.size for place in some)
                if tell is not None:
                    tell(done, size)
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise


def _bodies(places: Sequence[Place]) -> Iterator[list[Place]]:
    some: list[Place] = []
    size = 0
    for place in places:
        some.append(place)
        size += place.size
        if size >= BODY or len(some) >= _MANY:
            yield some
            some, size = [], 0
    if some:
        yield some


def _send_small(connection: Connection, path: str, root: Root, places: Sequence[Place]) -> None:
    connection.ask("POST", f"{path}/packs", pack(root, places), doing="sending small blobs")


def _send_large(connection: Connection, path: str, root: Root, place: Place) -> None:
    """Send one blob, going on where it was cut as long as that brings something."""
    address = f"{path}/uploads/{place.digest.hex()}"
    last = -1
    tries = 0
    while True:
        stand = _stand(connection, address, root, place)
        if stand.done:
            return
        tries = 0 if stand.offset > last else tries + 1
        last = max(last, stand.offset)
        try:
            if _go_on(connection, address, root, place, stand.offset):
                return
        except Invalid as error:
            if error.code != "digest-mismatch" or _is_whole(place):
                raise
            message = (
                f"blob {place.digest} is damaged, so it was not taken. Run `artstore verify`, then `artstore repair`"
            )
            raise Corrupt(message, code="blob-damaged") from error
        except (Unreachable, Conflict):
            if tries >= TRIES:
                raise
            time.sleep(_PAUSE_S * tries)


def _stand(connection: Connection, address: str, root: Root, place: Place) -> Stand:
    """How much the server has of this blob; what is not the same there does not count."""
    answer = connection.ask("GET", address, doing="asking how much of a blob it has")
    stand: Stand = decode(answer.data, Stand, connection.url)
    if stand.done or not stand.offset:
        return stand
    checksum = xxh3_64()
    if stand.offset <= place.size:
        for block in _blocks(root, place, 0, stand.offset):
            checksum.update(block)
    is_same = stand.offset <= place.size and checksum.hexdigest() == stand.checksum
    return stand if is_same else Stand(offset=0, checksum="")


def _go_on(connection: Connection, address: str, root: Root, place: Place, start: int) -> bool:
    headers = {
        "Content-Length": str(place.size - start),
        "Upload-Offset": str(start),
        "Upload-Length": str(place.size),
    }
    body = _blocks(root, place, start, place.size)
    doing = "sending a large blob"
    with connection.open("PUT", address, body, doing=doing, kind=BYTES, headers=headers) as answer:
        data = b"".join(connection.blocks(answer, _BLOCK, doing))
    return bool(decode(data, Stand, connection.url).done)


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
