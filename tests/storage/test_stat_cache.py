"""The stat cache: it may only skip hashing, and only where nothing can have changed."""

from __future__ import annotations

import os
import struct
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from artstore.model.digest import Digest
from artstore.storage import stat_cache
from artstore.storage.stat_cache import MARGIN_NS, Findings, Known, Stamp, era, forget, load, stamp_of
from artstore.store import Store

NOW = 10**18
OLD = NOW - MARGIN_NS - 1
ERA = b"12345678"
MANIFEST = Digest.of(b"manifest")


def stamp(*, mtime_ns: int = OLD, ctime_ns: int = OLD, inode: int = 2) -> Stamp:
    return struct.pack("=QQqqq", 1, inode, 3, mtime_ns, ctime_ns)


def save(place: Path, folder: str, stamps: dict[str, Stamp]) -> None:
    findings = Findings(folder, "", NOW, ERA)
    findings.add(list(known(stamps).values()))
    stat_cache.save(place, MANIFEST, findings, lambda _path, _digest: True)


def known(stamps: dict[str, Stamp]) -> dict[str, Known]:
    return {
        path: Known(path, each, Digest.of(path.encode()), struct.unpack("=QQqqq", each)[2])
        for path, each in stamps.items()
    }


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "stat_cache").mkdir()
    return tmp_path


def files(place: Path, folder: str) -> dict[str, Known]:
    cache = load(place, folder, ERA)
    assert all(cache.unchanged(path, cache.stamp(at)) == at for at, path in enumerate(cache.paths))
    return {path: Known(path, cache.stamp(at), cache.digest(at), cache.size(at)) for at, path in enumerate(cache.paths)}


def kept(place: Path, stamps: dict[str, Stamp]) -> dict[str, Known]:
    save(place, "/data", stamps)
    return files(place, "/data")


@given(
    st.dictionaries(
        st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1),
        st.tuples(*[st.integers(0, 2**63 - 1)] * 3, *[st.integers(-(2**62), OLD)] * 2),
    ),
)
def test_what_was_hashed_is_known_again(
    tmp_path_factory: pytest.TempPathFactory, stamps: dict[str, tuple[int, int, int, int, int]]
) -> None:
    """Dates before 1970 included: unpacked archives have them."""
    place = tmp_path_factory.mktemp("cache")
    (place / "stat_cache").mkdir()
    packed = {path: struct.pack("=QQqqq", *numbers) for path, numbers in stamps.items()}

    assert known(packed) == kept(place, packed)
    assert load(place, "/data", ERA).manifest == MANIFEST


@pytest.mark.parametrize("young", ["mtime_ns", "ctime_ns"])
@pytest.mark.parametrize("age_ns", [0, MARGIN_NS, -(10**18)])
def test_a_file_that_was_just_written_is_hashed_again(place: Path, young: str, age_ns: int) -> None:
    """It could change once more within the same tick of its time stamps, and no stat would show it."""
    assert kept(place, {"young": stamp(**{young: NOW - age_ns}), "old": stamp()}) == known({"old": stamp()})


def test_an_inode_number_beyond_63_bits_is_like_any_other(place: Path) -> None:
    """Overlay, CephFS and FUSE use the upper bits. The put is committed by then: it must not fail."""
    assert kept(place, {"large": stamp(inode=2**64 - 5)}) == known({"large": stamp(inode=2**64 - 5)})


def test_what_the_manifest_does_not_hold_is_not_kept(place: Path) -> None:
    """It was removed from the draft: nothing keeps its bytes, and the next put would take them for stored."""
    findings = Findings("/data", "", NOW, ERA)
    findings.add(list(known({"held": stamp(), "removed": stamp()}).values()))
    stat_cache.save(place, MANIFEST, findings, lambda path, _digest: path == "held")

    assert known({"held": stamp()}) == files(place, "/data")


@pytest.mark.parametrize("change", ["content", "time restored", "replaced", "longer"])
def test_every_way_to_change_a_file_changes_its_stamp(tmp_path: Path, change: str) -> None:
    """`touch -r` and `rsync -t` restore the mtime; the ctime cannot be set back."""
    file = tmp_path / "file"
    file.write_bytes(b"old")
    before = file.stat()
    first = stamp_of(before)
    if change == "replaced":
        (tmp_path / "new").write_bytes(b"new")
        os.utime(tmp_path / "new", ns=(before.st_atime_ns, before.st_mtime_ns))
        (tmp_path / "new").rename(file)
    else:
        file.write_bytes(b"longer" if change == "longer" else b"new")
        if change == "time restored":
            os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))

    assert first != stamp_of(file.stat())


@pytest.mark.parametrize("size", [0, 1, 50, -1, -9])
def test_a_damaged_cache_is_an_empty_one(place: Path, size: int) -> None:
    """It is never a reason to fail, nor to believe half of it."""
    kept(place, {"a": stamp(), "b": stamp()})
    (file,) = (place / "stat_cache").iterdir()
    file.write_bytes(file.read_bytes()[:size])

    assert ({}, None) == (files(place, "/data"), load(place, "/data", ERA).manifest)


def test_a_flipped_bit_makes_an_empty_cache(place: Path) -> None:
    """A wrong digest from here would be committed as a file's, and name bytes that are nowhere."""
    kept(place, {"a": stamp(), "b": stamp()})
    (file,) = (place / "stat_cache").iterdir()
    whole = file.read_bytes()
    for at in range(len(whole)):
        file.write_bytes(whole[:at] + bytes([whole[at] ^ 4]) + whole[at + 1 :])
        assert files(place, "/data") == {}


def test_folders_do_not_share_what_they_know(place: Path) -> None:
    kept(place, {"a": stamp()})

    assert files(place, "/data/") == {}
    assert files(place, "/other") == {}


def test_a_name_that_is_not_utf8_can_be_a_folder_s(place: Path) -> None:
    folder = os.fsdecode(b"/caf\xe9")
    save(place, folder, {"a": stamp()})

    assert files(place, folder) == known({"a": stamp()})


def test_a_cache_that_cannot_be_written_is_no_error(tmp_path: Path) -> None:
    save(tmp_path / "missing", "/data", {"a": stamp()})

    assert files(tmp_path / "missing", "/data") == {}


def test_all_of_it_can_be_forgotten(tmp_path: Path) -> None:
    """`repair` and `rebuild` find that bytes are gone: to skip hashing would skip storing them again."""
    with Store.init(tmp_path / "store") as store:
        catalog = store.root.catalog
        before = era(catalog)
        kept(store.path, {"a": stamp()})
        forget(store.path, catalog)

        assert (files(store.path, "/data"), list((store.path / "stat_cache").iterdir())) == ({}, [])
        assert before != era(catalog)


def test_a_cache_of_another_era_is_not_believed(place: Path) -> None:
    """A put saved what it had hashed before somebody found those bytes damaged: the next ones named them for ever."""
    kept(place, {"a": stamp()})

    assert list(load(place, "/data", b"87654321").paths) == []


def test_what_nobody_can_use_any_more_is_deleted(place: Path) -> None:
    """One file stayed for each temporary folder that a program ever put."""
    kept(place, {"a": stamp()})
    (kept_file,) = (place / "stat_cache").iterdir()
    findings = Findings("/gone", "", NOW, ERA)
    stat_cache.save(place, Digest.of(b"gone"), findings)
    old, new, damaged = (f"{digit * 32}" for digit in "abc")
    for name, age_s in ((f"{old}.tmp", 10_000), (f"{new}.tmp", 0), (damaged, 0), (".nfs01", 10_000)):
        (place / "stat_cache" / name).write_bytes(b"x")
        os.utime(place / "stat_cache" / name, (time.time() - age_s,) * 2)
    stat_cache.tidy(place, lambda manifest: manifest == MANIFEST)

    assert {kept_file.name, f"{new}.tmp", ".nfs01"} == {path.name for path in (place / "stat_cache").iterdir()}


@pytest.mark.parametrize(("prefix", "names"), [("", []), ("", ["a"]), ("d/", []), ("d/e/", ["a", "b"])])
def test_a_cache_says_whether_it_has_all_of_its_manifest(place: Path, prefix: str, names: list[str]) -> None:
    """Only then is what differs from the cache what differs from the manifest; half of it would be another's files."""
    for young in (0, 1):
        findings = Findings("/data", prefix, NOW, ERA)
        stamps = {name: stamp() for name in names} | {f"young {at}": stamp(mtime_ns=NOW) for at in range(young)}
        findings.add(list(known(stamps).values()))
        stat_cache.save(place, MANIFEST, findings, is_whole=True)
        cache = load(place, "/data", ERA)

        assert (cache.prefix, list(cache.paths), cache.is_whole) == (prefix, names, not young)


def test_what_is_no_longer_believed_is_as_if_never_hashed(place: Path) -> None:
    """Its bytes are gone from the store: to skip the file would make a version without them."""
    save(place, "/data", {"a": stamp(), "b": stamp()})
    cache = load(place, "/data", ERA)
    cache.disbelieve(0)

    assert (None, None, 1) == (cache.unchanged("a", stamp()), cache.digest_at("a"), cache.unchanged("b", stamp()))
