"""Previews: the beginning of a file, as text, as the first rows of a table, or as a picture.

What a file is, is told by its bytes; its name only says how text is to be read. Never more than the first part of a
file is looked at, and what cannot be shown is no error: it can be downloaded.
"""

from __future__ import annotations

import codecs
import csv
import io
import re
from typing import Any, Final, Literal

import msgspec

from artstore.lifecycle.tree import VersionTree
from artstore.model.manifest import Entry, blob_of

TEXT: Final = 64 << 10
"""Bytes of a text that are shown."""
WHOLE: Final = 8 << 20
"""Bytes of a JSON document that is read to its end: half of one means nothing."""
PICTURE: Final = 32 << 20
"""Bytes of a picture that a page shows by itself."""
ROWS: Final = 50
COLUMNS: Final = 50
CELL: Final = 300
"""Characters of a cell."""

_MAGIC: Final = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
    (b"BM", "image/bmp"),
)
_NUMBER: Final = re.compile(r"[-+]?[0-9.]+(?:[eE][-+]?[0-9]+)?\Z")
_NEEDED: Final = 16
"""Bytes that tell a picture."""


class Preview(msgspec.Struct, frozen=True, kw_only=True):
    """The beginning of a file."""

    kind: Literal["text", "json", "table", "picture", "binary", "elsewhere", "absent"]
    """Elsewhere is what a reference stands for, whose bytes are not here; absent is what only remotes have."""
    text: str = ""
    columns: list[str] = []
    rows: list[list[str]] = []
    numbers: list[int] = []
    """The places of the columns that hold numbers only, as far as they are shown."""
    total_rows: int | None = None
    """How many rows the table has, where that is known."""
    is_whole: bool = True
    """Whether there is no more than is shown."""


def preview(tree: VersionTree, entry: Entry) -> Preview:
    """The beginning of a file of a version. Raises Corrupt where its bytes are damaged."""
    blob = blob_of(entry)
    if blob is None or not tree.is_here(blob.digest):
        # To look at a page must not fetch what may be large from a place that may be far.
        return Preview(kind="elsewhere" if blob is None else "absent")
    with tree.open(entry.path) as reader:
        start = reader.read(TEXT)
        if picture_type(start) is not None:
            return Preview(kind="picture" if blob.size <= PICTURE else "binary")
        text = _decoded(start, is_whole=blob.size <= len(start))
        if text is None:
            return Preview(kind="binary", is_whole=False)
        name = entry.path.lower()
        if name.endswith(".json") and blob.size <= WHOLE:
            found = _json(start + reader.read())
            if found is not None:
                return found
    is_whole = blob.size <= len(start)
    if name.endswith((".csv", ".tsv")):
        found = _csv(text, "\t" if name.endswith(".tsv") else ",", is_whole=is_whole)
        if found is not None:
            return found
    return Preview(kind="text", text=text, is_whole=is_whole)


def picture_type(start: bytes) -> str | None:
    """The type of a picture that cannot hold a script, by its first bytes; SVG can, and so is text."""
    for magic, kind in _MAGIC:
        if start.startswith(magic):
            # Two letters alone are also how a word may begin.
            return kind if kind != "image/bmp" or b"\0" in start[:_NEEDED] else None
    if start[:4] == b"RIFF" and start[8:12] == b"WEBP":
        return "image/webp"
    if start[4:12] in {b"ftypavif", b"ftypavis"}:
        return "image/avif"
    return None


def _decoded(data: bytes, *, is_whole: bool) -> str | None:
    """Text in UTF-8, without what a cut has left of its last character; None where it is none."""
    if b"\0" in data:
        return None
    try:
        return codecs.getincrementaldecoder("utf-8-sig")().decode(data, final=is_whole)
    except UnicodeDecodeError:
        return None


def _json(data: bytes) -> Preview | None:
    """A document, in lines; the first rows where it is a table of W&B's. None where it is no JSON."""
    try:
        document = msgspec.json.decode(data)
        text = msgspec.json.format(data, indent=2).decode()
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    if isinstance(document, dict):
        columns, rows = document.get("columns"), document.get("data")
        if isinstance(columns, list) and isinstance(rows, list) and all(isinstance(row, list) for row in rows):
            return _table(columns, rows[:ROWS], total=len(rows), is_whole=len(rows) <= ROWS)
    return Preview(kind="json", text=text[:TEXT], is_whole=len(text) <= TEXT)


def _csv(text: str, delimiter: str, *, is_whole: bool) -> Preview | None:
    """The first rows; None where they do not read as such."""
    lines = csv.reader(io.StringIO(text), delimiter=delimiter, strict=True)
    rows: list[list[str]] = []
    has_more = not is_whole
    try:
        for row in lines:
            if len(rows) > ROWS:
                has_more = True
                break
            rows.append(row)
    except csv.Error:
        if is_whole or len(rows) <= 1:
            return None
    if has_more and len(rows) <= ROWS and len(rows) > 1:
        # The last one may have been cut.
        rows.pop()
    if not rows or not rows[0]:
        return None
    return _table(rows[0], rows[1:], total=None if has_more else len(rows) - 1, is_whole=not has_more)


def _table(columns: list[Any], rows: list[list[Any]], *, total: int | None, is_whole: bool) -> Preview:
    shown = [[_cell(cell) for cell in row[:COLUMNS]] for row in rows]
    width = min(len(columns), COLUMNS)
    return Preview(
        kind="table",
        columns=[_cell(column) for column in columns[:COLUMNS]],
        rows=shown,
        numbers=[place for place in range(width) if shown and all(_is_number(row[place : place + 1]) for row in shown)],
        total_rows=total,
        is_whole=is_whole and len(columns) <= COLUMNS,
    )


def _is_number(cells: list[str]) -> bool:
    return not cells or cells[0] in {"", "null"} or _NUMBER.match(cells[0]) is not None


def _cell(value: Any) -> str:
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    return text if len(text) <= CELL else f"{text[: CELL - 1]}…"
