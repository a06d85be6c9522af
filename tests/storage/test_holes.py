"""Holes: what lies nowhere on the disk is neither read nor written, and is zeros all the same."""

from __future__ import annotations

import io
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from artstore.model.digest import Digest
from artstore.storage import holes, whole
from artstore.storage.holes import Holes
from artstore.storage.whole import BLOCK
from artstore.store import Store

KIB = 1 << 10
GIB = 1 << 30


def sparse(path: Path, size: int, stretches: dict[int, bytes]) -> Path:
    """A file of this size with bytes at these places, and no others."""
    with path.open("wb") as file:
        file.truncate(size)
        for at, data in stretches.items():
            file.seek(at)
            file.write(data)
    return path


def bytes_read() -> int:
    """How many this process has read of files so far."""
    with open("/proc/self/io", encoding="ascii") as lines:
        return int(next(lines).split()[1])


@pytest.mark.parametrize("trusted", [True, False], ids=["known holes", "holes nobody tells of"])
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    size=st.integers(0, 5 * BLOCK),
    places=st.dictionaries(st.integers(0, 5 * BLOCK - 1), st.integers(1, 200 * KIB), max_size=4),
    zeros=st.booleans(),
)
def test_a_file_with_holes_is_the_bytes_that_it_reads_as(
    tmp_path: Path, trusted: bool, size: int, places: dict[int, int], zeros: bool
) -> None:
    """F9, I1. A stretch of data that was taken for a hole would be lost, and its digest would say that it is whole."""
    data = bytes if zeros else os.urandom
    source = sparse(tmp_path / "source", size, {at: data(min(n, size - at)) for at, n in places.items() if at < size})
    with pytest.MonkeyPatch.context() as patch, source.open("rb") as given, (tmp_path / "target").open("w+b") as target:
        if not trusted:
            patch.setattr(holes, "_is_trusted", lambda _fd: False)
        copied = whole.copy_file(given.fileno(), target.fileno(), limit=1 << 40)
        measured = whole.measure(target.fileno()), whole.measure(given.fileno())
    with source.open("rb") as given:
        expected = whole.copy(given.readinto, None)

    assert (copied, *measured) == (expected,) * 3
    assert (tmp_path / "target").read_bytes() == source.read_bytes()


def test_what_is_taken_from_the_middle_of_a_sparse_file_is_what_lies_there(tmp_path: Path) -> None:
    """`repair` takes blobs out of packs, which a file system may compress."""
    source = sparse(tmp_path / "source", 8 * BLOCK, {3 * BLOCK: b"middle", 0: b"first"})
    with source.open("rb", buffering=0) as given, (tmp_path / "target").open("w+b") as target:
        given.seek(3 * BLOCK)
        found = whole.copy_file(given.fileno(), target.fileno(), limit=1 << 40)

    assert found.digest == Digest.of(source.read_bytes()[3 * BLOCK :])


def test_holes_are_not_read(tmp_path: Path) -> None:
    """A disk image of 1 GiB with a MiB of data took the processor ten times as long as a full file of 100 MiB."""
    image = sparse(tmp_path / "image", GIB // 4, {GIB // 8: os.urandom(BLOCK)})
    with Store.init(tmp_path / "store") as store:
        before = bytes_read()
        store.put(image, name="cats", type="t")
        store.get("cats", tmp_path / "out", mode="copy")
        assert store.verify("cats", fast=True).ok
        assert sum(map(len, store.read("cats", "image"))) == GIB // 4
        after = bytes_read()

    assert after - before < 20 * BLOCK
    assert (tmp_path / "out" / "image").stat().st_blocks * 512 <= 2 * BLOCK


def test_a_file_without_holes_is_not_asked_for_them(tmp_path: Path) -> None:
    full = tmp_path / "full"
    full.write_bytes(os.urandom(2 * BLOCK))
    with full.open("rb") as file:
        found = Holes(file.fileno())

    assert (False, False) == (found.may_exist, found.cover(0, BLOCK))


@pytest.mark.slow
def test_files_over_4_gib_are_what_they_were(tmp_path: Path) -> None:
    """F10. A size or an offset kept in 32 bits loses what is behind them."""
    stretches = {0: b"first", 4 * GIB - 3: b"across", 4 * GIB + BLOCK // 2: b"behind", 4 * GIB + 3 * BLOCK: b"last"}
    size = 4 * GIB + 3 * BLOCK + 4
    image = sparse(tmp_path / "image", size, stretches)
    with Store.init(tmp_path / "store") as store:
        store.put(image, name="cats", type="t")
        store.get("cats", tmp_path / "out", mode="copy")
        problems = store.verify().problems
        entry = store.entry("cats", "image")
        # Buffered, since the reader alone stops where a block ends.
        with io.BufferedReader(store.open_file("cats", "image")) as reader:
            read = {at: (reader.seek(at), reader.read(len(data)))[1] for at, data in stretches.items()}

    assert ([], size, size) == (problems, entry.size, (tmp_path / "out" / "image").stat().st_size)
    assert stretches == read
