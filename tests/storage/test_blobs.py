"""Blobs: read like files, and never handed out damaged."""

from __future__ import annotations

import io
import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from xxhash import xxh3_64_digest, xxh3_128_digest

from artstore.errors import Corrupt
from artstore.model.digest import Digest
from artstore.storage.blob_reader import BlobReader
from artstore.storage.blobs import SMALL
from artstore.storage.intake import Intake
from artstore.storage.root import Root

MIB = 1 << 20
LARGE = random.Random(1).randbytes(3 * MIB + 77)
FITTING = random.Random(2).randbytes(SMALL)
CONTENTS = {"empty": b"", "byte": b"x", "fitting": FITTING, "larger": FITTING + b"x", "large": LARGE}


def keep(root: Root, *contents: bytes) -> list[Digest]:
    """Store some blobs, small or large."""
    with root.session("test") as session, Intake(root, session) as intake:
        digests = [intake.take_stream(io.BytesIO(data)).digest for data in contents]
        intake.settle()
    return digests


def damage(path: Path, at: int) -> None:
    """Flip one bit of a file."""
    path.chmod(0o644)
    with path.open("r+b") as file:
        file.seek(at)
        byte = file.read(1)
        file.seek(at)
        file.write(bytes([byte[0] ^ 1]))


def file_of(root: Root, digest: Digest) -> Path:
    return Path(root.blobs.places(digest)[0].path)


@pytest.fixture(scope="module")
def filled(shared_root: Root) -> Root:
    keep(shared_root, *CONTENTS.values())
    return shared_root


@pytest.mark.parametrize("name", CONTENTS)
def test_what_was_stored_is_read(filled: Root, name: str) -> None:
    data = CONTENTS[name]

    assert data == filled.blobs.read(Digest.of(data))
    assert len(data) <= MIB or all(len(block) <= MIB for block in filled.blobs.stream(Digest.of(data)))


@pytest.mark.parametrize("name", CONTENTS)
def test_small_blobs_lie_in_packs_and_large_ones_alone(filled: Root, name: str) -> None:
    """A file each would cost an inode and a sync each; a large one in a pack could not be shared by a checkout."""
    (place,) = filled.blobs.places(Digest.of(CONTENTS[name]))

    assert place.is_whole is (len(CONTENTS[name]) > SMALL)


def twins(size: int) -> tuple[bytes, bytes]:
    """Different bytes, more than 240 of them, with one XXH3.

    It adds up eight bytes of each 64 times others made of them and of a secret that everybody knows; where the lower
    four are those of the secret the product is 0, and it does not matter which of two such places has which upper ones.
    """
    one = bytearray(random.Random(size).randbytes(size))
    one[0:4], one[64:68] = bytes.fromhex("b8fe6c39"), bytes.fromhex("7c01812c")
    other = bytearray(one)
    other[4:8], other[68:72] = one[68:72], one[4:8]
    return bytes(one), bytes(other)


@pytest.mark.parametrize("size", [241, 9_000, SMALL, SMALL + 1, 3 * MIB])
def test_bytes_with_one_checksum_are_two_blobs(root: Root, size: int) -> None:
    """A6. A checksum finds what happened by chance; who wants to can have a second file for the same one in no time."""
    one, other = twins(size)
    assert one != other
    assert xxh3_64_digest(one) == xxh3_64_digest(other)
    assert xxh3_128_digest(one) == xxh3_128_digest(other)

    digests = keep(root, one, other)
    assert [one, other] == [root.blobs.read(digest) for digest in digests]
    assert [one] == [root.blobs.read(digest) for digest in keep(root, one)]


MOVES = st.lists(
    st.one_of(
        st.tuples(st.just("read"), st.integers(0, 2 * MIB)),
        st.tuples(st.just("rest"), st.just(0)),
        st.tuples(st.just("set"), st.integers(0, 4 * MIB)),
        st.tuples(st.just("forward"), st.integers(0, MIB)),
        st.tuples(st.just("end"), st.integers(-3 * MIB, MIB)),
    ),
    max_size=12,
)


@pytest.mark.parametrize("name", ["empty", "fitting", "large"])
@settings(max_examples=40)
@given(moves=MOVES)
def test_a_blob_reads_like_a_file(filled: Root, name: str, moves: list[tuple[str, int]]) -> None:
    """Parquet, zip and safetensors readers jump about; any other byte than a file's would be a wrong result."""
    data = CONTENTS[name]
    with io.BytesIO(data) as model, filled.blobs.open(Digest.of(data)) as reader:
        for move, number in moves:
            if move == "read":
                expected = model.read(number)
                assert expected == read(reader, number)
            elif move == "rest":
                assert model.read() == reader.readall()
            elif move == "set":
                assert model.seek(number) == reader.seek(number)
            elif move == "forward":
                assert model.seek(number, io.SEEK_CUR) == reader.seek(number, io.SEEK_CUR)
            elif len(data) + number >= 0:
                assert model.seek(number, io.SEEK_END) == reader.seek(number, io.SEEK_END)
            assert model.tell() == reader.tell()


def read(reader: BlobReader, size: int) -> bytes:
    """Read as a buffered reader does, which asks again after a short answer."""
    parts: list[bytes] = []
    while size > 0 and (part := reader.read(size)):
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def test_a_buffered_reader_and_a_line_reader_work_on_a_blob(filled: Root) -> None:
    with io.BufferedReader(filled.blobs.open(Digest.of(LARGE))) as reader:
        assert LARGE.split(b"\n")[0] == reader.readline().rstrip(b"\n")
        reader.seek(0)
        assert LARGE == reader.read()


@pytest.mark.parametrize("at_once", [MIB, 2 * MIB, 1 << 30])
@pytest.mark.parametrize("start", [0, 5, MIB, 2 * MIB + 1, len(LARGE)])
def test_the_rest_of_a_large_blob_comes_in_one_piece(
    filled: Root, monkeypatch: pytest.MonkeyPatch, at_once: int, start: int
) -> None:
    """However much one call to the system gives."""
    monkeypatch.setattr("artstore.storage.blob_reader._AT_ONCE", at_once)
    with filled.blobs.open(Digest.of(LARGE)) as reader:
        reader.seek(start)
        assert LARGE[start:] == reader.readall()
        assert len(LARGE) == reader.tell()
        assert reader.readall() == b""


def test_a_blob_that_is_damaged_anywhere_is_not_read_as_a_whole(root: Root) -> None:
    (digest,) = keep(root, LARGE)
    damage(file_of(root, digest), 2 * MIB + 9)
    with root.blobs.open(digest) as reader:
        with pytest.raises(Corrupt, match="damaged"):
            reader.readall()

        assert LARGE[:5] == reader.read(5)


def test_a_blob_is_not_written(filled: Root) -> None:
    with filled.blobs.open(Digest.of(LARGE)) as reader:
        assert (True, True, False) == (reader.readable(), reader.seekable(), reader.writable())
        assert reader.size == len(LARGE)
        with pytest.raises(ValueError, match="negative"):
            reader.seek(-1)


@pytest.mark.parametrize("at", [0, len(FITTING) // 2, len(FITTING) - 1])
def test_a_flipped_bit_in_a_pack_is_found_before_a_byte_is_handed_out(root: Root, at: int) -> None:
    """I1. A wrong number in a dataset is worse than an error."""
    _, digest = keep(root, b"neighbour", FITTING)
    place = root.blobs.places(digest)[0]
    damage(Path(place.path), place.offset + at)

    with root.blobs.open(digest) as reader, pytest.raises(Corrupt) as caught:
        reader.read(1)
    assert (caught.value.code, str(digest) in caught.value.message) == ("digest-mismatch", True)
    assert root.blobs.read(Digest.of(b"neighbour")) == b"neighbour"


@pytest.mark.parametrize("at", [0, MIB, 2 * MIB - 1, 3 * MIB, len(LARGE) - 1])
def test_a_flipped_bit_in_a_large_blob_is_found_in_its_block(root: Root, at: int) -> None:
    """What is read of other blocks is still right, so most of a damaged file can be rescued."""
    (digest,) = keep(root, LARGE)
    damage(file_of(root, digest), at)
    bad = at // MIB

    with root.blobs.open(digest) as reader:
        for number in range(4):
            reader.seek(number * MIB)
            if number == bad:
                with pytest.raises(Corrupt, match=f"near its byte {number * MIB} of {len(LARGE)}"):
                    reader.read(10)
            else:
                assert LARGE[number * MIB : number * MIB + 10] == reader.read(10)


def test_blocks_before_the_damage_are_right(root: Root) -> None:
    (digest,) = keep(root, LARGE)
    damage(file_of(root, digest), 2 * MIB + 5)
    blocks: Iterator[bytes] = root.blobs.stream(digest)

    assert LARGE[: 2 * MIB] == next(blocks) + next(blocks)
    with pytest.raises(Corrupt):
        next(blocks)


@pytest.mark.parametrize("size", [0, 1, MIB, len(LARGE) - 1])
def test_a_truncated_blob_is_not_a_shorter_one(root: Root, size: int) -> None:
    (digest,) = keep(root, LARGE)
    path = file_of(root, digest)
    path.chmod(0o644)
    os.truncate(path, size)

    with pytest.raises(Corrupt):
        root.blobs.read(digest)


def test_a_blob_of_zeros_is_not_the_blob(root: Root) -> None:
    """What a crash leaves of a file whose data never reached the disk."""
    (digest,) = keep(root, LARGE)
    path = file_of(root, digest)
    path.chmod(0o644)
    path.write_bytes(bytes(len(LARGE)))

    with pytest.raises(Corrupt):
        root.blobs.read(digest)


def test_a_large_blob_without_checksums_is_hashed_first(root: Root) -> None:
    """After a rebuild the checksums may be gone; nothing may go unverified for that."""
    (digest,) = keep(root, LARGE)
    with root.catalog.write() as connection:
        connection.execute("UPDATE blob SET sums = NULL")
    good = root.blobs.read(digest)
    damage(file_of(root, digest), 3 * MIB)

    assert good == LARGE
    with pytest.raises(Corrupt):
        root.blobs.open(digest)


def test_what_a_manifest_named_before_it_came_has_checksums_too(root: Root) -> None:
    """Whatever was pulled would else be looked up and hashed file by file, for as long as the store lives."""
    root.blobs.expect([(Digest.of(b"small"), 5), (Digest.of(LARGE), len(LARGE))])
    digests = keep(root, b"small", LARGE)

    sums = [
        xxh3_64_digest(b"small"),
        b"".join(xxh3_64_digest(LARGE[at : at + MIB]) for at in range(0, len(LARGE), MIB)),
    ]
    assert sums == [root.blobs.places(digest)[0].sums for digest in digests]


@pytest.mark.parametrize("what", ["link", "folder"])
def test_what_stands_in_place_of_a_blob_is_damage(root: Root, tmp_path: Path, what: str) -> None:
    """S8, I14. A link would let the store hand out a file that was never put into it."""
    (digest,) = keep(root, LARGE)
    path = file_of(root, digest)
    path.unlink()
    if what == "link":
        (tmp_path / "outside").write_bytes(LARGE)
        path.symlink_to(tmp_path / "outside")
    else:
        path.mkdir()

    with pytest.raises(Corrupt) as caught:
        root.blobs.read(digest)
    assert str(digest) in caught.value.message


def test_a_disk_that_fails_is_named_as_damage(root: Root, monkeypatch: pytest.MonkeyPatch) -> None:
    """P5. An OSError would fall through every handler that waits for Corrupt."""

    def fail(*_: object) -> bytes:
        raise OSError(5, "Input/output error")

    (digest,) = keep(root, b"small")
    monkeypatch.setattr(os, "pread", fail)
    with pytest.raises(Corrupt) as caught:
        root.blobs.read(digest)

    assert str(digest) in caught.value.message


def test_a_blob_that_is_gone_is_named(root: Root) -> None:
    (digest,) = keep(root, LARGE)
    file_of(root, digest).unlink()

    with pytest.raises(Corrupt) as caught:
        root.blobs.open(digest)
    assert (caught.value.code, str(digest) in caught.value.message) == ("blob-missing", True)


def test_a_blob_that_never_was_is_missing(root: Root) -> None:
    with pytest.raises(Corrupt) as caught:
        root.blobs.open(Digest.of(b"never"))

    assert caught.value.code == "blob-missing"


def test_a_second_copy_is_read_where_the_first_is_gone(root: Root) -> None:
    """Two sessions that took in the same bytes at once leave two copies; either will do."""
    with root.session("test") as session, Intake(root, session) as one, Intake(root, session) as other:
        for intake in (one, other):
            digest = intake.take(b"twice")
        for intake in (one, other):
            intake.settle()
    first, second = root.blobs.places(digest)
    Path(first.path).unlink()

    assert first.path != second.path
    assert root.blobs.read(digest) == b"twice"


def test_what_gc_has_condemned_is_not_relied_on(root: Root) -> None:
    """I8. A new version that counted on it would lose its bytes a moment later."""
    kept, condemned = keep(root, b"kept", b"condemned")
    with root.catalog.write() as connection:
        connection.execute("UPDATE blob SET condemned = 1 WHERE digest = ?", (condemned,))

    assert {kept} == root.blobs.known([kept, condemned, Digest.of(b"never")])


def test_what_is_expected_is_not_yet_known(root: Root) -> None:
    """A rebuild names blobs that may be lost: a put of the same bytes must store them."""
    digest = Digest.of(b"lost")
    root.blobs.expect([(digest, 4)])

    assert root.blobs.known([digest]) == set()
    assert root.blobs.locate([digest]) == {}
    assert keep(root, b"lost") == [digest]
    assert root.blobs.read(digest) == b"lost"
