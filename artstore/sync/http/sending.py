"""Sending: blobs on their way to a server. Small ones go together, large ones each by itself."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Final

from artstore.model.digest import Digest
from artstore.storage.blobs import SMALL
from artstore.storage.places import Place
from artstore.storage.relatives import relatives
from artstore.storage.root import Root
from artstore.sync.delta.chunks import SMALLEST
from artstore.sync.http.connection import Connection
from artstore.sync.http.packing import pack
from artstore.sync.http.uploading import send_large
from artstore.sync.http.wire import BODY
from artstore.sync.protocol import Tell

_AT_ONCE: Final = 4
"""Requests on their way at a time."""
_MANY: Final = 4_000
"""Blobs in one body, at most: empty ones have no end."""


def send_blobs(connection: Connection, path: str, root: Root, digests: Sequence[Digest], tell: Tell | None) -> int:
    """Send blobs, which must be here; answers the bytes that had not to be sent, since they were there in others.

    Raises Corrupt (blob-missing, blob-damaged), Unreachable, Denied, StorageFull.
    """
    found = root.blobs.locate(digests)
    # Of what is nowhere, `places` says so.
    places = [found.get(digest) or root.blobs.places(digest)[0] for digest in digests]
    small = sorted((p for p in places if p.size <= SMALL), key=lambda place: (place.path, place.offset))
    near = relatives(root, [place.digest for place in places if place.size >= SMALLEST])
    stop = threading.Event()
    jobs: list[tuple[Callable[[], int], Sequence[Place]]] = [
        *((partial(_send_small, connection, path, root, some), some) for some in _bodies(small)),
        *(
            (partial(_send_series, connection, path, root, some, near, stop=stop), some)
            for some in _series([place for place in places if place.size > SMALL], near)
        ),
    ]
    done = size = saved = 0
    with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="artstore-send") as pool:
        on_way: list[tuple[Future[int], Sequence[Place]]] = [(pool.submit(job), some) for job, some in jobs]
        try:
            for future, some in on_way:
                saved += future.result()
                done, size = done + len(some), size + sum(place.size for place in some)
                if tell is not None:
                    tell(done, size)
        except BaseException:
            # What has come of a large one stays there, and the next push goes on with it.
            stop.set()
            pool.shutdown(wait=True, cancel_futures=True)
            raise
    return saved


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


def _series(places: Sequence[Place], near: Mapping[Digest, Sequence[Digest]]) -> Iterator[list[Place]]:
    """Large blobs, those of which one may be a changed form of another behind each other: they go in that order."""
    found: dict[Digest, list[Place]] = {}
    for place in places:
        others = near.get(place.digest, ())
        series = next((found[other] for other in others if other in found), [])
        series.append(place)
        found[place.digest] = series
    yield from {id(series): series for series in found.values()}.values()


def _send_small(connection: Connection, path: str, root: Root, places: Sequence[Place]) -> int:
    connection.ask("POST", f"{path}/packs", pack(root, places), doing="sending small blobs")
    return 0


def _send_series(
    connection: Connection,
    path: str,
    root: Root,
    places: Sequence[Place],
    near: Mapping[Digest, Sequence[Digest]],
    *,
    stop: threading.Event,
) -> int:
    sent = (send_large(connection, path, root, place, near.get(place.digest, ()), stop=stop) for place in places)
    return sum(max(0, place.size - size) for place, size in zip(places, sent, strict=True))
