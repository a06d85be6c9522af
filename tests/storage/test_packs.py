"""Packs: tar files that need no artstore, and that hide no damage."""

from __future__ import annotations

import os
import subprocess
import tarfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from xxhash import xxh3_64_intdigest

from artstore.errors import Corrupt, Invalid
from artstore.model.digest import Digest
from artstore.storage.packs import BLOCK, Member, PackWriter, header, members

CONTENTS = [b"", b"a", b"x" * 511, b"y" * 512, b"z" * 513, bytes(range(256)) * 4096]


def pack(path: Path, contents: list[bytes]) -> list[Member]:
    writer = PackWriter(path)
    for data in contents:
        writer.add(Digest.of(data), data, xxh3_64_intdigest(data))
    writer.finish()
    writer.close()
    assert writer.size == path.stat().st_size
    return writer.members


def test_the_system_s_tar_gets_the_bytes_out(tmp_path: Path) -> None:
    """A store must be rescued even where artstore is long gone."""
    pack(tmp_path / "pack.tar", CONTENTS)
    out = tmp_path / "out"
    out.mkdir()
    subprocess.run(["tar", "-xf", str(tmp_path / "pack.tar"), "-C", str(out)], check=True)

    expected = {Digest.of(data).path: data for data in CONTENTS}
    assert expected == {str(p.relative_to(out)): p.read_bytes() for p in out.rglob("*") if p.is_file()}


def test_python_s_tarfile_agrees_on_every_member(tmp_path: Path) -> None:
    found = pack(tmp_path / "pack.tar", CONTENTS)

    with tarfile.open(tmp_path / "pack.tar", "r:") as tar:
        infos = tar.getmembers()
        for info, data in zip(infos, CONTENTS, strict=True):
            file = tar.extractfile(info)
            assert file is not None
            assert data == file.read()
    assert [(m.digest.path, m.size, m.offset) for m in found] == [(i.name, i.size, i.offset_data) for i in infos]
    assert {(0o444, 0, 0, 0, "artstore")} == {(i.mode, i.uid, i.gid, i.mtime, i.uname) for i in infos}
    assert [f"xxh3-{m.checksum:016x}" for m in found] == [i.gname for i in infos]


def test_the_header_never_changes() -> None:
    """Packs written today are walked by every later artstore, which takes nothing for a header that is not one."""
    found = header(Digest.of(b"hello\n"), 6, xxh3_64_intdigest(b"hello\n"))

    assert str(Digest.of(found)) == "blake3:97101244a5a2c721f77c8026d33b648aec7ff1aaf08e488a9a9c3fea168ac9e3"


@given(st.lists(st.binary(max_size=2000), max_size=8))
def test_a_walk_finds_what_was_added(tmp_path_factory: pytest.TempPathFactory, contents: list[bytes]) -> None:
    """A lost catalog is made again from the headers alone."""
    path = tmp_path_factory.mktemp("pack") / "pack.tar"
    written = pack(path, contents)

    assert written == list(members(path))
    data = path.read_bytes()
    assert contents == [data[m.offset : m.offset + m.size] for m in written]


def test_a_pack_larger_than_what_is_gathered_is_whole(tmp_path: Path) -> None:
    contents = [os.urandom(1 << 20) for _ in range(6)]
    written = pack(tmp_path / "pack.tar", contents)

    assert written == list(members(tmp_path / "pack.tar"))


def test_a_finished_pack_is_read_only(tmp_path: Path) -> None:
    pack(tmp_path / "pack.tar", [b"a"])

    assert (tmp_path / "pack.tar").stat().st_mode & 0o777 == 0o444


def test_a_truncated_pack_is_never_a_shorter_one(tmp_path: Path) -> None:
    """Half a pack after a failed copy must be told from a pack with fewer blobs."""
    pack(tmp_path / "pack.tar", [b"a", b"", b"c" * 600])
    data = (tmp_path / "pack.tar").read_bytes()
    for size in (*range(0, len(data), 61), *range(BLOCK, len(data), BLOCK), len(data) - 1):
        (tmp_path / "cut.tar").write_bytes(data[:size])
        with pytest.raises(Corrupt) as caught:
            list(members(tmp_path / "cut.tar"))

        assert caught.value.code == "pack-damaged"


def test_a_flipped_bit_in_a_header_is_found(tmp_path: Path) -> None:
    """A wrong offset or digest would hand out other bytes, or lose all that follow."""
    pack(tmp_path / "pack.tar", [b"first", b"second"])
    data = (tmp_path / "pack.tar").read_bytes()
    for at in range(2 * BLOCK, 3 * BLOCK):
        damaged = bytearray(data)
        damaged[at] ^= 1 << at % 8
        (tmp_path / "bad.tar").write_bytes(damaged)
        with pytest.raises(Corrupt) as caught:
            list(members(tmp_path / "bad.tar"))

        assert caught.value.code == "pack-damaged"


@pytest.mark.parametrize("size", [-1, -512, -1024])
def test_a_forged_size_does_not_lead_the_walk_in_circles(tmp_path: Path, size: int) -> None:
    """A11. A header that points at itself would keep `rebuild` busy for ever."""
    (tmp_path / "bad.tar").write_bytes(header(Digest.of(b""), size, 0) + bytes(2 * BLOCK))

    with pytest.raises(Corrupt) as caught:
        next(members(tmp_path / "bad.tar"))

    assert caught.value.code == "pack-damaged"


def test_somebody_else_s_tar_is_no_pack(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "other.tar", "w") as tar:
        tar.addfile(tarfile.TarInfo("blake3/" + "0" * 64))

    with pytest.raises(Corrupt) as caught:
        list(members(tmp_path / "other.tar"))

    assert caught.value.code == "pack-damaged"


def test_what_ustar_cannot_say_is_refused() -> None:
    """Its octal field would be cut, and the walk would go on inside the data."""
    with pytest.raises(Invalid) as caught:
        header(Digest.of(b""), 8 << 30, 0)

    assert caught.value.code == "too-large-for-pack"
