"""Unseen changes: a file that can be written without a trace is known for one."""

from __future__ import annotations

import mmap
import os
from pathlib import Path

import pytest

from artstore.storage import unseen
from artstore.storage.unseen import can_change_unseen

OLD_S = 10**6


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_bytes(bytes(10_000))
    return path


def ask(path: Path) -> bool:
    fd = os.open(path, os.O_RDONLY)
    try:
        return can_change_unseen(fd, os.fstat(fd))
    finally:
        os.close(fd)


def test_a_file_that_nobody_has_open_for_writing_cannot(file: Path) -> None:
    """Once asked, it can be opened for writing as before."""
    with file.open("rb"):
        assert not ask(file)
    with file.open("r+b") as opened:
        opened.write(b"other")
    assert not ask(file)


def test_a_file_that_somebody_has_open_for_writing_can(file: Path) -> None:
    with file.open("ab"):
        assert ask(file)


def test_a_file_that_is_mapped_can_though_it_was_closed(file: Path) -> None:
    with file.open("r+b") as opened:
        mapped = mmap.mmap(opened.fileno(), 0)
    assert ask(file)
    mapped.close()
    assert not ask(file)


@pytest.mark.parametrize(("on_a_disk", "expected"), [(True, False), (False, True)])
def test_what_was_certainly_written_back_is_dated_when_it_changes(
    file: Path, monkeypatch: pytest.MonkeyPatch, on_a_disk: bool, expected: bool
) -> None:
    """A log that is open for a week is not hashed anew each time; but what lies in memory is never written back."""
    monkeypatch.setattr(unseen, "_goes_to_a_disk", lambda _device: on_a_disk)
    monkeypatch.setattr(unseen, "_written_back_ns", lambda: -1.0)
    with file.open("ab"):
        assert expected is ask(file)


def test_what_lies_in_memory_is_not_on_a_disk() -> None:
    assert not unseen._goes_to_a_disk(os.stat("/dev/shm").st_dev)  # noqa: S108 - only looked at
    assert not unseen._goes_to_a_disk(0)
