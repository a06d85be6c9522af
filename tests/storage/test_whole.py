"""Whole blobs: files of their own, copied hole for hole."""

from __future__ import annotations

import io
import os
from pathlib import Path

import pytest
from blake3 import blake3
from hypothesis import given
from hypothesis import strategies as st
from xxhash import xxh3_64_digest

from artstore.errors import Refused
from artstore.model.digest import Digest
from artstore.storage import whole
from artstore.storage.whole import BLOCK, Stored, chained, copy, copy_file, digest_of, measure, path_of
from tests.conftest import Children


def stored(data: bytes) -> Stored:
    """What must be said of some bytes."""
    blocks = [data[start : start + BLOCK] for start in range(0, len(data), BLOCK)]
    return Stored(Digest.of(data), len(data), b"".join(map(xxh3_64_digest, blocks)))


SIZES = [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK, 9 * BLOCK + 5]


def test_a_blob_s_place_can_be_read_back(tmp_path: Path) -> None:
    digest = Digest.of(b"hello\n")
    path = path_of(tmp_path, digest)

    assert str(path.relative_to(tmp_path)) == f"blobs/blake3/{digest.hex()[:2]}/{digest.hex()[2:]}"
    assert digest == digest_of(path)


@pytest.mark.parametrize("name", ["blobs/blake3/00/11", "blobs/sha256/00/" + "1" * 62, "blobs/blake3/00/" + "x" * 62])
def test_another_file_is_no_blob(name: str) -> None:
    assert digest_of(Path(name)) is None


@pytest.mark.parametrize("size", SIZES)
def test_a_copy_is_told_by_what_was_written(tmp_path: Path, size: int) -> None:
    data = os.urandom(size)
    (tmp_path / "source").write_bytes(data)
    with (tmp_path / "source").open("rb") as source, (tmp_path / "target").open("w+b") as target:
        found = copy_file(source.fileno(), target.fileno(), limit=size)
        again = measure(target.fileno())

    assert stored(data) == found == again
    assert data == (tmp_path / "target").read_bytes()


def test_holes_stay_holes(tmp_path: Path) -> None:
    """F9. A sparse image of 1 TiB must not fill the disk, and is the same bytes."""
    with (tmp_path / "source").open("w+b") as source:
        source.truncate(64 * BLOCK + 10)
        source.seek(20 * BLOCK)
        source.write(b"middle")
        source.seek(0)
        with (tmp_path / "target").open("w+b") as target:
            found = copy_file(source.fileno(), target.fileno(), limit=1 << 40)

    assert stored((tmp_path / "source").read_bytes()) == found
    assert (tmp_path / "source").read_bytes() == (tmp_path / "target").read_bytes()
    assert (tmp_path / "target").stat().st_blocks * 512 <= 2 * BLOCK


@pytest.mark.parametrize("tail", [0, 1, BLOCK])
def test_a_file_of_zeros_keeps_its_length(tmp_path: Path, tail: int) -> None:
    """A hole at the end has no bytes behind it that would set the length."""
    with (tmp_path / "source").open("w+b") as source, (tmp_path / "target").open("w+b") as target:
        source.truncate(2 * BLOCK + tail)
        found = copy_file(source.fileno(), target.fileno(), limit=1 << 40)

    assert stored(bytes(2 * BLOCK + tail)) == found
    assert (tmp_path / "target").stat().st_size == 2 * BLOCK + tail


def test_a_file_that_grows_for_ever_is_not_followed(tmp_path: Path) -> None:
    """F3. A log that is written faster than it is read would fill the store."""
    (tmp_path / "source").write_bytes(bytes(10 * BLOCK))
    with (tmp_path / "source").open("rb") as source, (tmp_path / "target").open("w+b") as target:
        found = copy_file(source.fileno(), target.fileno(), limit=2 * BLOCK)

    assert 2 * BLOCK < found.size <= 3 * BLOCK


@given(st.lists(st.integers(1, 3 * BLOCK), max_size=6), st.integers(0, BLOCK))
def test_a_stream_is_cut_in_blocks_however_it_comes(pieces: list[int], head: int) -> None:
    """The checksums are of blocks: those of a pipe's odd reads would fit no later read."""
    data = bytes(head) + b"".join(bytes([number]) * size for number, size in enumerate(pieces, start=1))

    class Dribble(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            return super().read(min(size or 0, pieces[self.tell() % len(pieces)]) if pieces else size)

    assert stored(data) == copy(chained(data[:head], Dribble(data[head:])), None)


def test_short_reads_do_not_cut_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """P6. Network and FUSE file systems may answer less than was asked for."""
    data = os.urandom(2 * BLOCK + 7)
    (tmp_path / "source").write_bytes(data)
    real = os.readv
    monkeypatch.setattr(os, "readv", lambda fd, buffers: real(fd, [buffers[0][:100_000]]))
    with (tmp_path / "source").open("rb") as source:
        assert stored(data) == measure(source.fileno())


def test_a_source_that_fails_is_not_the_store_s_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """F5. `run artstore verify` would be wrong advice for a broken USB disk."""

    def fail(*_: object) -> int:
        raise OSError(5, "Input/output error")

    (tmp_path / "source").write_bytes(b"x")
    monkeypatch.setattr(os, "readv", fail)
    with (
        (tmp_path / "source").open("rb") as source,
        (tmp_path / "target").open("w+b") as target,
        pytest.raises(Refused) as caught,
    ):
        copy_file(source.fileno(), target.fileno(), limit=1)

    assert caught.value.code == "unreadable"


def test_the_disk_may_begin_early_without_a_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was advised to be written behind is read again for nothing else; the copy stays what it is."""
    monkeypatch.setattr(whole, "_WRITE_BEHIND", BLOCK)
    data = os.urandom(5 * BLOCK + 1)
    (tmp_path / "source").write_bytes(data)
    with (tmp_path / "source").open("rb") as source, (tmp_path / "target").open("w+b") as target:
        found = copy_file(source.fileno(), target.fileno(), limit=len(data))

    assert (blake3(data).digest(), data) == (found.digest, (tmp_path / "target").read_bytes())


_FORK = """
import os, signal, sys
from artstore.storage.whole import digest_of_bytes
before = digest_of_bytes(sys.argv[1])
pid = os.fork()
if pid == 0:
    os._exit(0 if digest_of_bytes(sys.argv[1]) == before else 1)
signal.alarm(30)
print(os.waitpid(pid, 0)[1])
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_child_of_a_fork_hashes_by_itself(tmp_path: Path, children: Children) -> None:
    """P9. A data loader's worker that verified a large file waited for ever for threads that only its parent had."""
    (tmp_path / "large").write_bytes(bytes(64 << 20))

    assert "0" == children.run(_FORK, tmp_path / "large")
