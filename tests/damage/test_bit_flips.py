"""A bit that flips in memory between hash and disk: never handed out, found by a look, and mended from the source.

What was stored is not read again before it gets its name: that would cost every put the time of a read, and would only
compare two copies in the same memory. Both checksums are made of the bytes that go to the disk, before they go, so any
later change to them is seen by whoever reads: `get`, `verify`, and `verify --fast` for who wants to know at once.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from artstore import Store
from artstore.errors import Corrupt

SMALL = bytes(range(256)) * 40
LARGE = bytes(range(256)) * 8_000


@pytest.fixture
def flipped(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Let one bit of what is written to a pack or a large blob be another one, once."""
    done: list[str] = []
    write, write_at = os.write, os.pwritev

    def is_meant(fd: int, size: int) -> bool:
        path = os.readlink(f"/proc/self/fd/{fd}")
        # What is short is a header of a pack.
        return not done and size > 4_096 and "/store/" in path and "catalog" not in path

    def wrong(data: Any) -> bytes:
        flipped = bytearray(data)
        flipped[len(flipped) // 2] ^= 4
        return bytes(flipped)

    def one(fd: int, data: Any) -> int:
        if is_meant(fd, len(data)):
            done.append("write")
            return write(fd, wrong(data))
        return write(fd, data)

    def several(fd: int, parts: Sequence[Any], offset: int) -> int:
        largest = max(range(len(parts)), key=lambda number: len(parts[number]))
        if is_meant(fd, len(parts[largest])):
            done.append("pwritev")
            parts = [*parts[:largest], wrong(parts[largest]), *parts[largest + 1 :]]
        return write_at(fd, parts, offset)

    monkeypatch.setattr(os, "write", one)
    monkeypatch.setattr(os, "pwritev", several)
    return done


def looked(store: Store, tmp: Path) -> object:
    return store.get("cats", tmp / "out")


def read(store: Store, _tmp: Path) -> object:
    return b"".join(store.read("cats", "file"))


@pytest.mark.parametrize("data", [SMALL, LARGE], ids=["packed", "whole"])
@pytest.mark.parametrize("look", [looked, read])
def test_flipped_bytes_are_never_handed_out(
    store: Store, tmp_path: Path, flipped: list[str], data: bytes, look: Callable[[Store, Path], object]
) -> None:
    """P15. A model with one weight of another sign trains on, and nobody ever knows."""
    (tmp_path / "file").write_bytes(data)
    store.put(tmp_path / "file", name="cats", type="t")
    assert 1 == len(flipped)
    with pytest.raises(Corrupt) as caught:
        look(store, tmp_path)

    assert caught.value.code == "digest-mismatch"
    assert not (tmp_path / "out" / "file").exists()


@pytest.mark.parametrize("data", [SMALL, LARGE], ids=["packed", "whole"])
@pytest.mark.parametrize("fast", [True, False])
def test_a_look_finds_flipped_bytes_and_the_source_mends_them(
    store: Store, tmp_path: Path, flipped: list[str], data: bytes, *, fast: bool
) -> None:
    """P15. While the source is there, which is why somebody who wants certainty looks at once."""
    (tmp_path / "file").write_bytes(data)
    store.put(tmp_path / "file", name="cats", type="t")
    assert 1 == len(flipped)
    found = [problem.kind for problem in store.verify("cats", fast=fast).problems]
    store.repair([tmp_path / "file"])

    assert ["blob-damaged"] == found
    assert data == read(store, tmp_path)
    assert store.verify().ok
