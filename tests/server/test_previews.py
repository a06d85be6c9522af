"""The beginning of a file is shown for what its bytes are, and what cannot be shown is no error."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from artstore.lifecycle.reports import VersionInfo
from artstore.server import previews
from artstore.server.previews import Preview, picture_type, preview
from artstore.store import Store
from tests.server.pictures import png

Keep = Callable[..., VersionInfo]
See = Callable[..., Preview]


@pytest.fixture
def see(store: Store, keep: Keep) -> See:
    """The preview of a file with this content."""

    def look(data: bytes, name: str = "file") -> Preview:
        tree = store.tree(keep({name: data}, name="seen").ref)
        entry = tree.entry(name)
        assert entry is not None
        return preview(tree, entry)

    return look


def test_text_is_text_whatever_it_is_called(see: See) -> None:
    assert Preview(kind="text", text="größe\n") == see("größe\n".encode(), "a.bin")
    assert Preview(kind="text", text="with a mark") == see(b"\xef\xbb\xbfwith a mark", "a.txt")
    assert Preview(kind="text", text="") == see(b"", "nothing")


def test_of_a_long_text_the_beginning_is_shown_and_no_half_character(see: See, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(previews, "TEXT", 5)

    assert Preview(kind="text", text="aaaa", is_whole=False) == see("aaaaü and more".encode())


@pytest.mark.parametrize("data", [b"\0\1\2", b"abc\xff\xfe", b"text and \0 more", b"cut at the end \xc3"])
def test_what_is_no_text_is_not_shown_as_such(see: See, data: bytes) -> None:
    assert "binary" == see(data, "a.txt").kind


def test_a_document_is_set_in_lines(see: See) -> None:
    assert Preview(kind="json", text='{\n  "a": [\n    1,\n    2.50\n  ]\n}') == see(b'{"a":[1,2.50]}', "a.json")


@pytest.mark.parametrize("data", [b"{", b"[" * 100_000, b'{"a": NaN}', b"\xed\xa0\x80"])
def test_a_document_that_is_none_is_shown_as_it_is(see: See, data: bytes) -> None:
    """Python alone would give up at a deep one."""
    assert see(data, "a.json").kind in {"text", "binary"}


def test_a_table_of_wandbs_shows_its_first_rows_and_how_many_there_are(see: See) -> None:
    rows = [
        [number, f"cat {number}", None if number == 1 else number / 2, {"_type": "image-file"}] for number in range(70)
    ]
    data = json.dumps({"columns": ["id", "name", 3, "picture"], "data": rows, "_type": "table"}).encode()

    found = see(data, "cats.table.json")

    assert ("table", ["id", "name", "3", "picture"], 70, False) == (
        found.kind,
        found.columns,
        found.total_rows,
        found.is_whole,
    )
    assert ["1", "cat 1", "null", '{"_type":"image-file"}'] == found.rows[1]
    assert (previews.ROWS, [0, 2]) == (len(found.rows), found.numbers)


@pytest.mark.parametrize(
    "data", [b'{"columns": 3, "data": []}', b'{"columns": ["a"], "data": [1]}', b'{"columns": ["a"]}']
)
def test_what_only_looks_like_a_table_is_a_document(see: See, data: bytes) -> None:
    assert "json" == see(data, "a.json").kind


def test_rows_with_commas_and_lines_in_their_cells_are_read(see: See) -> None:
    found = see(b'name,note\nTom,"a, b"\nMimi,"two\nlines"\n', "cats.CSV")

    assert (["name", "note"], [["Tom", "a, b"], ["Mimi", "two\nlines"]]) == (found.columns, found.rows)
    assert (2, True) == (found.total_rows, found.is_whole)
    assert [["1", "2"]] == see(b"a\tb\n1\t2\n", "x.tsv").rows


def test_of_many_rows_the_first_are_shown(see: See, monkeypatch: pytest.MonkeyPatch) -> None:
    data = b"a,b\n" + b"".join(b"%d,x\n" % number for number in range(300))
    found = see(data, "x.csv")
    assert (previews.ROWS, None, False, [0]) == (len(found.rows), found.total_rows, found.is_whole, found.numbers)

    # A row that was cut is not shown as if it were one.
    monkeypatch.setattr(previews, "TEXT", 11)
    found = see(data, "x.csv")
    assert ([["0", "x"]], None) == (found.rows, found.total_rows)


@pytest.mark.parametrize("data", [b'a,b\n"never closed', b"", b"\n\n"])
def test_rows_that_are_none_are_text(see: See, data: bytes) -> None:
    assert "text" == see(data, "x.csv").kind


def test_a_long_cell_and_many_columns_are_cut(see: See) -> None:
    found = see(",".join(["c" * 1000] * 200).encode() + b"\n", "x.csv")

    assert (previews.COLUMNS, previews.CELL, False) == (len(found.columns), len(found.columns[0]), found.is_whole)


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (png(1, 1), "image/png"),
        (b"\xff\xd8\xff\xe0", "image/jpeg"),
        (b"GIF89a", "image/gif"),
        (b"RIFF\0\0\0\0WEBPVP8 ", "image/webp"),
        (b"\0\0\0\x20ftypavif", "image/avif"),
        (b"BM\x36\0\0\0", "image/bmp"),
        (b"BMW is a car", None),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", None),
        (b"<?xml version='1.0'?><svg/>", None),
        (b"%PDF-1.7", None),
        (b"", None),
    ],
)
def test_a_picture_is_told_by_its_bytes_and_holds_no_script(data: bytes, kind: str | None) -> None:
    assert kind == picture_type(data)


def test_a_picture_is_shown_unless_it_is_huge(see: See, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "picture" == see(png(3, 3), "a.txt").kind
    monkeypatch.setattr(previews, "PICTURE", 10)
    assert "binary" == see(png(4, 4), "b.png").kind
