"""Files: what has a name is whole, and stays."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from artstore.errors import ArtstoreError, Corrupt, ReadOnlyStore, Refused, StorageFull
from artstore.storage.files import (
    make_directory,
    publish,
    read_exactly,
    reflink,
    size_on_disk,
    storage_error,
    storage_errors,
    write_all,
    write_file,
)


def write(path: Path, data: bytes) -> str:
    path.write_bytes(data)
    return str(path)


def test_a_published_file_has_its_name_and_no_other(tmp_path: Path) -> None:
    assert publish(write(tmp_path / "t", b"new"), str(tmp_path / "name"))
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"name": b"new"}


def test_a_name_that_was_taken_keeps_its_bytes(tmp_path: Path) -> None:
    """I5. Names in a store are given once; whoever comes second must not change what they mean."""
    write(tmp_path / "name", b"old")

    assert not publish(write(tmp_path / "t", b"new"), str(tmp_path / "name"))
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"name": b"old"}


@pytest.mark.parametrize("number", [errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK])
@pytest.mark.parametrize("is_taken", [True, False])
def test_a_file_system_without_hard_links_will_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, is_taken: bool
) -> None:
    """S3. exFAT and some FUSE mounts refuse link(); the promise is the same there."""

    def refuse(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "link", refuse)
    if is_taken:
        write(tmp_path / "name", b"old")

    assert publish(write(tmp_path / "t", b"new"), str(tmp_path / "name")) is not is_taken
    expected = {"name": b"old" if is_taken else b"new"}
    assert expected == {path.name: path.read_bytes() for path in tmp_path.iterdir()}


def test_bytes_are_synced_before_they_have_a_name_and_the_folder_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other order survives every crash but a power cut, which leaves the name of an empty file, or no name."""
    calls: list[str] = []

    def noting(name: str, call: Callable[..., object]) -> Callable[..., object]:
        def noted(*arguments: object) -> object:
            if name == "fsync":
                calls.append("sync " + Path(os.readlink(f"/proc/self/fd/{arguments[0]}")).name.split(".")[0])
            else:
                calls.append(name)
            return call(*arguments)

        return noted

    target = tmp_path / "folder" / "file"
    target.parent.mkdir()
    monkeypatch.setattr(os, "fsync", noting("fsync", os.fsync))
    monkeypatch.setattr(os, "replace", noting("replace", os.replace))
    write_file(tmp_path, target, b"data")

    assert calls == ["sync file", "replace", "sync folder"]


def test_a_small_file_that_could_not_be_written_leaves_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_fd: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    write(tmp_path / "name", b"old")
    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="Input/output"):
        write_file(tmp_path, tmp_path / "name", b"new")

    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"name": b"old"}


def test_a_new_folder_is_made_with_its_parents_and_named_as_new_once(tmp_path: Path) -> None:
    deep = tmp_path / "a" / "b"

    assert [make_directory(deep), make_directory(deep), deep.is_dir()] == [True, False, True]


def test_short_writes_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """P6. A write may take less than it was given, without an error; the rest must not be lost."""
    real = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: real(fd, bytes(data[:3])))
    fd = os.open(tmp_path / "file", os.O_WRONLY | os.O_CREAT)
    try:
        write_all(fd, b"0123456789")
    finally:
        os.close(fd)

    assert (tmp_path / "file").read_bytes() == b"0123456789"


def test_short_reads_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """P6. Half a blob must not pass for the whole one."""
    real = os.pread
    monkeypatch.setattr(os, "pread", lambda fd, size, offset: real(fd, min(size, 3), offset))
    fd = os.open(write(tmp_path / "file", b"0123456789"), os.O_RDONLY)
    try:
        found = [read_exactly(fd, 8, 1), read_exactly(fd, 100, 5), read_exactly(fd, 1, 10)]
    finally:
        os.close(fd)

    assert found == [b"12345678", b"56789", b""]


@pytest.mark.parametrize(
    ("number", "kind", "code"),
    [
        (errno.ENOSPC, StorageFull, "storage-full"),
        (errno.EDQUOT, StorageFull, "storage-full"),
        (errno.EFBIG, StorageFull, "storage-full"),
        (errno.EROFS, ReadOnlyStore, "read-only-store"),
        (errno.EACCES, Refused, "no-permission"),
        (errno.EPERM, Refused, "no-permission"),
        (errno.EMFILE, Refused, "out-of-resources"),
        (errno.ENFILE, Refused, "out-of-resources"),
        (errno.ENOMEM, Refused, "out-of-resources"),
        (errno.EIO, Corrupt, "io-error"),
    ],
)
def test_what_the_system_says_becomes_what_to_do(number: int, kind: type[ArtstoreError], code: str) -> None:
    """Whoever has a full disk must not be sent to look for damage, nor the other way round."""
    error = storage_error(OSError(number, os.strerror(number), "/x"), "trying")

    assert (kind, code) == (type(error), error.code)
    assert "while trying ('/x')" in error.message


def test_an_error_of_ours_stays_as_it_is() -> None:
    with pytest.raises(Corrupt) as caught, storage_errors("trying"):
        raise Corrupt("damaged", code="some-code")

    assert caught.value.code == "some-code"


@pytest.mark.root
def test_without_reflinks_nothing_is_written(volume: Path) -> None:
    """The caller copies instead, from the first byte. tmpfs cannot share bytes."""
    (volume / "source").write_bytes(b"data")
    with (volume / "source").open("rb") as source, (volume / "target").open("wb") as target:
        assert not reflink(source.fileno(), target.fileno())
    assert (volume / "target").read_bytes() == b""


@pytest.mark.root
def test_a_reflink_shares_bytes_and_not_later_writes(xfs: Path) -> None:
    """S7. What is written to a checked out file must not reach the store."""
    (xfs / "source").write_bytes(b"data" * 4096)
    with (xfs / "source").open("rb") as source, (xfs / "target").open("wb") as target:
        assert reflink(source.fileno(), target.fileno())
        os.pwrite(target.fileno(), b"DATA", 0)

    assert (xfs / "source").read_bytes() == b"data" * 4096
    assert (xfs / "target").read_bytes() == b"DATA" + b"data" * 4095


def test_a_sparse_file_takes_little(tmp_path: Path) -> None:
    with (tmp_path / "file").open("wb") as file:
        file.truncate(1 << 20)

    assert size_on_disk((tmp_path / "file").stat()) < 1 << 20
