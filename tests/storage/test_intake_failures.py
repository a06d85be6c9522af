"""A draft that could not be stored stays one: a disk says once that it lost something."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from artstore.errors import Conflict, StorageFull
from artstore.storage.intake import Intake
from artstore.storage.root import Root


@pytest.mark.parametrize("size", [10, 3 << 20], ids=["packed", "whole"])
def test_what_was_not_synced_is_never_settled(
    root: Root, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, size: int
) -> None:
    """After a failed fsync the kernel forgets the pages: a second try would succeed, and the bytes be gone."""
    source = tmp_path / "file"
    source.write_bytes(os.urandom(size))
    real = os.fsync

    def full(_fd: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with root.session("put") as session, Intake(root, session) as intake:
        fd = os.open(source, os.O_RDONLY)
        if size > 1 << 20:
            intake.take_file(fd, limit=size)
        else:
            intake.take(source.read_bytes())
        os.close(fd)
        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(StorageFull):
            intake.settle()
        monkeypatch.setattr(os, "fsync", real)
        with pytest.raises(Conflict) as caught:
            intake.settle()

    assert caught.value.code == "draft-failed"


def test_a_damaged_leftover_does_not_take_the_place_of_good_bytes(root: Root, tmp_path: Path) -> None:
    """Its name says what it should be; who trusted that would throw the good bytes away."""
    data = os.urandom(3 << 20)
    source = tmp_path / "file"
    source.write_bytes(data)
    with root.session("put") as session, Intake(root, session) as intake:
        fd = os.open(source, os.O_RDONLY)
        stored = intake.take_file(fd, limit=len(data))
        os.close(fd)
        target = root.path / "blobs" / "blake3" / stored.digest.hex()[:2] / stored.digest.hex()[2:]
        target.parent.mkdir(parents=True)
        target.write_bytes(b"rotten")
        intake.settle()

    assert data == root.blobs.read(stored.digest)
    assert [b"rotten"] == [path.read_bytes() for path in (root.path / "quarantine").iterdir()]
