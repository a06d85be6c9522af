"""Downloads: the bytes of a file, verified, as something to keep and nothing to run."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final
from urllib.parse import quote

from starlette.datastructures import Headers
from starlette.responses import Response, StreamingResponse

from artstore.discovery import connect_remotes
from artstore.server.asked import Asked
from artstore.server.guard import BLOB_POLICY
from artstore.server.looks import reference_of
from artstore.server.previews import picture_type
from artstore.storage.blob_reader import BlobReader
from artstore.store import Store

_BLOCK: Final = 1 << 20
_START: Final = 16
_RANGE: Final = re.compile(r"bytes=(\d{1,18})-(\d{0,18})\Z", re.ASCII)


def download(store: Store, asked: Asked, method: str, headers: Headers) -> Response:
    """A file of a version, whole, or from where an interrupted download is to go on. Raises as Store.open_file.

    Only pictures say what they are, so that a page can show them; all else is bytes to every browser.
    """
    reference, path = reference_of(store, asked), asked.path["path"]
    entry = store.entry(reference, path)
    # They may have been named since the store was opened, which may be weeks ago.
    connect_remotes(store)
    reader = store.open_file(reference, path)
    tag = f'"{entry.digest}"'
    name = path.rpartition("/")[2]
    described = {
        "Accept-Ranges": "bytes",
        "Content-Disposition": f"attachment; filename*=UTF-8''{quote(name, safe='')}",
        "Content-Security-Policy": BLOB_POLICY,
        "ETag": tag,
    }
    if headers.get("if-none-match") == tag:
        reader.close()
        return Response(status_code=304, headers=described)
    size = entry.size or 0
    kind = picture_type(reader.read(_START)) or "application/octet-stream"
    start, end = 0, size
    asked_for = _RANGE.match(headers.get("range", ""))
    is_part = asked_for is not None and headers.get("if-range", tag) == tag
    if asked_for is not None and is_part:
        start = int(asked_for[1])
        end = min(size, int(asked_for[2]) + 1) if asked_for[2] else size
        if start >= end:
            reader.close()
            return Response(status_code=416, headers={**described, "Content-Range": f"bytes */{size}"})
        described["Content-Range"] = f"bytes {start}-{end - 1}/{size}"
    described["Content-Length"] = str(end - start)
    status = 206 if is_part else 200
    if method == "HEAD":
        # Nobody reads it.
        reader.close()
        return Response(status_code=status, headers=described, media_type=kind)
    return StreamingResponse(blocks(reader, [(start, end)]), status_code=status, headers=described, media_type=kind)


def blocks(reader: BlobReader, ranges: Iterable[tuple[int, int]]) -> Iterator[bytes]:
    """What a blob holds from some bytes up to others, and then the reader is closed. Raises Corrupt."""
    with reader:
        for start, end in ranges:
            reader.seek(start)
            at = start
            while at < end:
                block = reader.read(min(_BLOCK, end - at))
                at += len(block)
                yield block
