"""Manifests: the form that the digest is over, and the encodings that stand for it."""

from __future__ import annotations

import pytest
import zstandard
from hypothesis import example, given
from hypothesis import strategies as st

from artstore.errors import Corrupt, Invalid, UpgradeNeeded
from artstore.model.digest import Digest
from artstore.model.manifest import (
    LINES_AT_ONCE,
    BlobEntry,
    Difference,
    Encoding,
    Entry,
    ReferenceEntry,
    apply,
    decode_difference,
    decode_full,
    difference_between,
    digest_of_lines,
    encode_difference,
    encode_full,
    parse_line,
    reference,
    satisfies,
)

EXAMPLE: list[Entry] = [
    BlobEntry("a/empty", Digest.of(b""), 0),
    BlobEntry("a/hello", Digest.of(b"hello\n"), 6),
    reference("b", "s3://bucket/b", checksum="etag-1", size=None, extra={"version": "1", "etag": '"1"'}),
    BlobEntry("ß 数", Digest.of(b"x"), 2**53 + 1),
]

PATHS = st.lists(
    st.sampled_from(["a", "b", "B", "-", "a b", "é", "数", "=", "😀", "z.txt"]), min_size=1, max_size=4
).map("/".join)
CONTENTS: st.SearchStrategy[tuple[Digest | str, int | None]] = st.one_of(
    st.tuples(st.binary(min_size=32, max_size=32).map(Digest), st.integers(0, 2**60)),
    st.tuples(st.sampled_from(["s3://b/k", "file:///x", "https://é/%20"]), st.sampled_from([None, 0, 7])),
)


def entry(path: str, content: tuple[Digest | str, int | None]) -> Entry:
    what, size = content
    if isinstance(what, Digest):
        return BlobEntry(path, what, size or 0)
    return reference(path, what, checksum="c", size=size, extra={"b": 1, "a": [None]})


def sorted_entries(contents: dict[str, tuple[Digest | str, int | None]]) -> list[Entry]:
    return [entry(path, contents[path]) for path in sorted(contents)]


MANIFESTS = st.dictionaries(PATHS, CONTENTS, max_size=12).map(sorted_entries)


def digest_of(entries: list[Entry]) -> Digest:
    return digest_of_lines(each.line() for each in entries)


def full(entries: list[Entry]) -> Encoding:
    return encode_full(digest_of(entries), (each.line() for each in entries))


def test_the_canonical_form_never_changes() -> None:
    """A digest made today has to be found by every later artstore: one other byte here, and no version is itself."""
    expected = (
        b"artstore-manifest 1\n"
        b"blake3:af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262\t0\ta/empty\n"
        b"blake3:8e4c7c1b99dbfd50e7a95185fead5ee1448fa904a2fdd778eaf5f2dbfd629a99\t6\ta/hello\n"
        b'=etag-1\t-\tb\ts3://bucket/b\t{"etag":"\\"1\\"","version":"1"}\n'
        b"blake3:3ae7d805f6789a6402acb70ad4096a85a56bf6804eaf25c0493ac697548d30b5\t9007199254740993\t"
        b"\xc3\x9f \xe6\x95\xb0\n"
    )

    assert expected == zstandard.ZstdDecompressor().stream_reader(full(EXAMPLE).data).read()
    assert str(digest_of(EXAMPLE)) == "blake3:587a30e9ae120e5a092e656f839ec2f05998d6142d11cde5cebae62005825702"


@given(MANIFESTS)
def test_a_full_encoding_gives_the_entries_back(entries: list[Entry]) -> None:
    assert entries == list(decode_full(full(entries)))


def test_a_manifest_of_many_batches_gives_the_entries_back() -> None:
    """Lines are compressed and cut in pieces; an entry on the seam must not be lost, nor half a character."""
    entries: list[Entry] = [
        BlobEntry(f"ü/{number:07d}/数", Digest.of(number.to_bytes(4, "big")), number)
        for number in range(2 * LINES_AT_ONCE + 1)
    ]
    encoding = full(entries)

    assert entries == list(decode_full(encoding))
    assert encoding.entries == len(entries)


@given(MANIFESTS, MANIFESTS)
@example([], EXAMPLE)
@example(EXAMPLE, [])
def test_a_difference_makes_one_manifest_of_the_other(before: list[Entry], after: list[Entry]) -> None:
    """Versions are kept as differences: what is lost in one is lost in each that builds on it."""
    difference = difference_between(before, after)
    encoding = encode_difference(digest_of(after), digest_of(before), difference, len(after))
    made = list(apply(before, decode_difference(encoding)))

    assert after == made
    assert encoding.digest == digest_of(made)


@given(MANIFESTS)
def test_a_manifest_does_not_differ_from_itself(entries: list[Entry]) -> None:
    """A version with nothing new costs no rows."""
    assert Difference(gone=[], come=[]) == difference_between(entries, entries)


@given(MANIFESTS, MANIFESTS)
def test_a_difference_holds_nothing_that_stayed(before: list[Entry], after: list[Entry]) -> None:
    """A version costs what it changes."""
    difference = difference_between(before, after)

    assert set(difference.gone) == {e.path for e in before} - {e.path for e in after}
    assert [e for e in after if e not in before] == difference.come


@pytest.mark.parametrize("bit", range(8))
def test_a_flipped_bit_in_an_encoding_is_never_another_manifest(bit: int) -> None:
    """A damaged log file or a bad transfer must not become a version with other files."""
    good = full(EXAMPLE)
    for at in range(len(good.data)):
        data = bytearray(good.data)
        data[at] ^= 1 << bit
        try:
            found = list(decode_full(Encoding(good.digest, None, good.entries, bytes(data))))
        except Corrupt:
            continue
        assert found == EXAMPLE  # Such as a flipped bit in a field of zstd that says nothing about the content.


@pytest.mark.parametrize("bit", range(8))
def test_a_flipped_bit_in_a_difference_is_found_without_its_base(bit: int) -> None:
    """A place that has freed the base could not tell that what it gives others is damaged."""
    before = [*EXAMPLE, *(BlobEntry(f"z/{number:03}", Digest.of(b"%d" % number), number) for number in range(40))]
    after = [*before[1:20], *before[30:]]
    expected = difference_between(before, after)
    good = encode_difference(digest_of(after), digest_of(before), expected, len(after))
    for at in range(len(good.data)):
        data = bytearray(good.data)
        data[at] ^= 1 << bit
        try:
            found = decode_difference(Encoding(good.digest, good.base, good.entries, bytes(data)))
        except Corrupt:
            continue
        assert expected == found


def test_a_truncated_encoding_is_never_a_shorter_manifest() -> None:
    """Half a transfer must not become a version with half the files."""
    good = full(EXAMPLE)
    for size in range(len(good.data)):
        try:
            found = list(decode_full(Encoding(good.digest, None, good.entries, good.data[:size])))
        except Corrupt:
            continue
        assert found == EXAMPLE


def test_an_encoding_of_something_else_is_refused() -> None:
    """Whoever answers with another valid manifest must not be believed (A2)."""
    other = Encoding(digest_of(EXAMPLE[1:]), None, len(EXAMPLE), full(EXAMPLE).data)

    with pytest.raises(Corrupt) as caught:
        list(decode_full(other))

    assert caught.value.code == "digest-mismatch"


@pytest.mark.parametrize(
    "line",
    [
        "",
        "a",
        "blake3:00\t1\ta",
        f"{Digest.of(b'')}\tone\ta",
        f"{Digest.of(b'')}\t1",
        f"{Digest.of(b'')}\t1\ta\tb",
        "=c\t-\ta\tb",
        "=c\tx\ta\tb\t{}",
    ],
)
def test_a_line_that_is_no_entry_is_damage(line: str) -> None:
    with pytest.raises(Corrupt) as caught:
        parse_line(line)

    assert caught.value.code == "manifest-damaged"


@pytest.mark.parametrize("field", ["uri", "checksum"])
@pytest.mark.parametrize("text", ["a\tb", "a\nb", "a\x00", "a\u202e", "\udcff"])
def test_a_reference_that_would_break_its_line_is_refused(field: str, text: str) -> None:
    """A tab in a URI would move the fields behind it, and a line break add an entry of the sender's choice."""
    fields = {"uri": "s3://b/k", "checksum": "c", field: text}

    with pytest.raises(Invalid) as caught:
        reference("a", fields["uri"], checksum=fields["checksum"], size=None, extra={})

    assert caught.value.code == "bad-reference"


def test_the_order_of_what_comes_with_a_reference_does_not_matter() -> None:
    """The same reference written by two programs is one entry."""
    first = reference("a", "s3://b/k", checksum="c", size=1, extra={"b": 1, "a": "é"})
    second = reference("a", "s3://b/k", checksum="c", size=1, extra={"a": "é", "b": 1})

    assert first == second == ReferenceEntry("a", "s3://b/k", "c", 1, '{"a":"\\u00e9","b":1}')


def encoded(text: bytes) -> Encoding:
    """The encoding of what is no manifest of ours."""
    return Encoding(Digest.of(text), None, text.count(b"\n"), zstandard.compress(text))


def test_a_manifest_of_a_newer_artstore_is_refused_and_not_called_damaged() -> None:
    """D3, I17. Who pulls from a newer artstore would be told to repair what is whole."""
    newer = encoded(b"artstore-manifest 2\nblake3:x\t1\ta\tmode=755\n")
    with pytest.raises(UpgradeNeeded) as caught:
        list(decode_full(newer))

    assert "newer-manifest" == caught.value.code
    assert satisfies(newer)


@pytest.mark.parametrize("header", [b"artstore-manifest 0", b"artstore-manifest x", b"other 2", b"artstore-manifest"])
def test_a_manifest_with_another_header_is_damaged(header: bytes) -> None:
    with pytest.raises(Corrupt):
        list(decode_full(encoded(header + b"\n")))


@pytest.mark.parametrize("entry", [BlobEntry("a", Digest.of(b"1"), 1), ReferenceEntry("a", "s3://b/k", "e", 1)])
def test_a_field_that_an_entry_has_too_many_is_never_dropped(entry: BlobEntry | ReferenceEntry) -> None:
    """D3. The manifest would be written on without it, under another digest."""
    with pytest.raises(Corrupt):
        parse_line(entry.line().rstrip("\n") + "\tmode=755")
