"""Checkout: the files of a version, verified, inside the target and nowhere else."""

from __future__ import annotations

import io
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import pytest

from artstore.errors import ArtstoreError, Corrupt, Invalid, NotFound, PathCollision, Refused, StorageFull
from artstore.lifecycle import checkout as checking_out
from artstore.lifecycle import tally
from artstore.lifecycle import write as writing
from artstore.lifecycle.target import Target
from artstore.model.digest import Digest
from artstore.model.manifest import reference
from artstore.store import Store
from tests.conftest import Children

MIB = 1 << 20
LARGE = os.urandom(2 * MIB + 5)
FILES = {
    "empty": b"",
    "a": b"alpha",
    "fitting": os.urandom(MIB),
    "large": LARGE,
    "d/b": b"beta",
    "d/e/c": b"gamma",
    "d/e/twin": b"alpha",
    "é 数": b"unicode",
    "n" * 255: b"long",
}


def write(folder: Path, files: Mapping[str, bytes]) -> Path:
    for path, data in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)
    return folder


def read(folder: Path) -> dict[str, bytes]:
    """All files below a folder; a link is what it leads to, if that is a file."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def commit(store: Store, files: Mapping[str, bytes], name: str = "cats") -> None:
    """A version of these files, without a folder to hold them."""
    with store.draft() as draft:
        for path, data in files.items():
            draft.add_stream(io.BytesIO(data), path)
        store.commit(draft, name=name, type="dataset")


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store that holds FILES as `cats`."""
    path = tmp_path_factory.mktemp("original") / "store"
    with Store.init(path) as store:
        commit(store, FILES)
    return path


@pytest.fixture
def cats(original: Path, tmp_path: Path) -> Iterator[Store]:
    """A copy of it, to try things with."""
    shutil.copytree(original, tmp_path / "store")
    with Store.open(tmp_path / "store") as store:
        yield store


def damage(path: Path, at: int) -> None:
    """Flip one bit of a file."""
    path.chmod(0o644)
    with path.open("r+b") as file:
        file.seek(at)
        byte = file.read(1)
        file.seek(at)
        file.write(bytes([byte[0] ^ 1]))


def test_every_byte_comes_back(cats: Store, tmp_path: Path) -> None:
    report = cats.get("cats", tmp_path / "new" / "out")

    assert FILES == read(tmp_path / "new" / "out")
    assert (len(FILES), 0, 0) == (report.written, report.unchanged, report.deleted)
    assert sum(map(len, FILES.values())) == report.bytes_written


def test_only_what_differs_is_written(cats: Store, tmp_path: Path) -> None:
    """A training run that maps the files in memory, or a build that looks at times, must not see them move."""
    out = write(tmp_path / "out", {**FILES, "a": b"other", "d/b": b"BETA", "large": LARGE[:-1] + b"x", "mine": b"m"})
    (out / "d/e/c").unlink()
    before = {path: (out / path).stat() for path in FILES if (out / path).exists()}
    report = cats.get("cats", out)

    written = {
        path for path in FILES
        if path not in before or (before[path].st_ino, before[path].st_mtime_ns)
        != ((out / path).stat().st_ino, (out / path).stat().st_mtime_ns)
    }  # fmt: skip
    assert written == {"a", "d/b", "large", "d/e/c"}
    assert (4, len(FILES) - 4) == (report.written, report.unchanged)
    assert {**FILES, "mine": b"m"} == read(out)


def test_a_checked_out_file_is_its_owner_s(cats: Store, tmp_path: Path) -> None:
    """S7. It can be edited at once, and the store does not feel it."""
    out = tmp_path / "out"
    cats.get("cats", out)
    for path in FILES:
        assert (out / path).stat().st_mode & 0o600 == 0o600
        (out / path).write_bytes(b"edited")
    cats.get("cats", tmp_path / "again")

    assert FILES == read(tmp_path / "again")


def test_the_store_s_own_files_cannot_be_reached_from_outside(cats: Store, tmp_path: Path) -> None:
    cats.get("cats", tmp_path / "out")

    assert {1} == {(tmp_path / "out" / path).stat().st_nlink for path in FILES}


def test_patterns_choose_files(cats: Store, tmp_path: Path) -> None:
    cases = {("d/",): {"d/b", "d/e/c", "d/e/twin"}, ("/a", "*c"): {"a", "d/e/c"}, ("d/", "!*win"): {"d/b", "d/e/c"}}
    for number, (patterns, expected) in enumerate(cases.items()):
        cats.get("cats", tmp_path / str(number), patterns=patterns)
        assert expected == set(read(tmp_path / str(number)))


@pytest.mark.parametrize("pattern", ["!", "[z-a]", "a\\"])
def test_a_pattern_that_is_none_is_refused(cats: Store, tmp_path: Path, pattern: str) -> None:
    with pytest.raises(Invalid) as caught:
        cats.get("cats", tmp_path / "out", patterns=["*.png", pattern])

    assert (caught.value.code, (tmp_path / "out").exists()) == ("bad-pattern", False)
    assert caught.value.message.startswith(f"{pattern!r} is not a pattern: ")


def test_brackets_in_brackets_are_no_warning(cats: Store, tmp_path: Path) -> None:
    """Python's regular expressions may give them a meaning one day; gitignore's syntax does not."""
    for number, pattern in enumerate(("[[]x]*", "[a||z]")):
        cats.get("cats", tmp_path / str(number), patterns=[pattern])

    assert ({}, {"a"}) == (read(tmp_path / "0"), set(read(tmp_path / "1")))


# What lies in the target already.


def test_a_link_to_a_folder_is_not_followed(cats: Store, tmp_path: Path) -> None:
    """I14. A link that a hostile artifact, or a careless hand, left there would let the checkout write anywhere."""
    out, outside = tmp_path / "out", write(tmp_path / "outside", {"b": b"precious", "e/c": b"precious"})
    out.mkdir()
    (out / "d").symlink_to(outside)
    with pytest.raises(PathCollision) as caught:
        cats.get("cats", out)

    assert (caught.value.code, "is a link where a folder has to be" in caught.value.message) == ("in-the-way", True)
    assert read(outside) == {"b": b"precious", "e/c": b"precious"}
    assert os.listdir(out) == ["d"]


def test_a_link_to_a_file_is_replaced_and_its_target_stays(cats: Store, tmp_path: Path) -> None:
    """I14. `model.bin -> /etc/passwd`."""
    out, outside = write(tmp_path / "out", {"d/x": b""}), write(tmp_path / "outside", {"a": b"alpha", "c": b"precious"})
    for path, target in {"a": outside / "a", "large": outside / "c", "d/b": outside / "new", "empty": out}.items():
        (out / path).symlink_to(target)
    cats.get("cats", out)

    assert {**FILES, "d/x": b""} == read(out)
    assert not any((out / path).is_symlink() for path in FILES)
    assert read(outside) == {"a": b"alpha", "c": b"precious"}


def test_a_hard_link_to_a_file_is_replaced_and_its_twin_stays(cats: Store, tmp_path: Path) -> None:
    """I14. Written in place, the bytes would change under the other name too."""
    out, outside = tmp_path / "out", write(tmp_path / "outside", {"a": b"precious", "large": b"precious"})
    out.mkdir()
    for path in ("a", "large"):
        os.link(outside / path, out / path)
    cats.get("cats", out)

    assert FILES == read(out)
    assert read(outside) == {"a": b"precious", "large": b"precious"}


def test_the_target_itself_may_be_a_link(cats: Store, tmp_path: Path) -> None:
    """It is what the user named: `latest -> run-7`."""
    (tmp_path / "real").mkdir()
    (tmp_path / "out").symlink_to("real")
    cats.get("cats", tmp_path / "out")

    assert FILES == read(tmp_path / "real")


def test_folders_in_the_way_are_all_named_and_nothing_is_written(cats: Store, tmp_path: Path) -> None:
    """A file never replaces a folder: what is in it may be all there is of it."""
    out = write(tmp_path / "out", {"a/mine": b"1", "d/b/mine": b"2", "empty/mine": b"3", "d/e/c": b"old"})
    before = read(out)
    with pytest.raises(PathCollision) as caught:
        cats.get("cats", out, delete=True)

    assert caught.value.code == "in-the-way"
    for path in ("a", "d/b", "empty"):
        assert f"{str(out / path)!r} is a folder, and a file in the version" in caught.value.message
    assert before == read(out)


def test_a_file_in_place_of_a_folder_is_named_and_stays(cats: Store, tmp_path: Path) -> None:
    out = write(tmp_path / "out", {"d": b"mine", "a": b"old"})
    with pytest.raises(PathCollision) as caught:
        cats.get("cats", out)

    assert "is a file where a folder has to be" in caught.value.message
    assert read(out) == {"d": b"mine", "a": b"old"}


def test_a_pipe_in_place_of_a_file_is_replaced_and_never_opened(cats: Store, tmp_path: Path) -> None:
    """Reading it to compare would wait for a writer."""
    (tmp_path / "out").mkdir()
    os.mkfifo(tmp_path / "out" / "a")
    cats.get("cats", tmp_path / "out")

    assert FILES == read(tmp_path / "out")


def test_a_file_as_target_is_refused(cats: Store, tmp_path: Path) -> None:
    write(tmp_path, {"file": b"mine"})
    for target in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(PathCollision) as caught:
            cats.get("cats", target)
        assert caught.value.code == "not-a-folder"

    assert (tmp_path / "file").read_bytes() == b"mine"


@pytest.mark.parametrize("below", ["", "blobs", "new/folder"])
@pytest.mark.parametrize("delete", [True, False])
def test_the_store_is_no_place_to_check_out_to(cats: Store, tmp_path: Path, below: str, delete: bool) -> None:
    """`artstore get cats .artstore --delete` would delete the log, the blobs, and every version."""
    (tmp_path / "link").symlink_to(cats.path)
    for top in (cats.path, tmp_path / "link"):
        with pytest.raises(Invalid) as caught:
            cats.get("cats", top / below, delete=delete)
        assert caught.value.code == "own-store"

    cats.get("cats", tmp_path / "out")
    assert FILES == read(tmp_path / "out")


# Deleting what the version has not.


def test_what_the_version_has_not_is_deleted_when_asked(cats: Store, tmp_path: Path) -> None:
    out = write(tmp_path / "out", {"old": b"", "d/old": b"", "gone/deep/old": b"", "A": b""})
    report = cats.get("cats", out, delete=True)

    assert (FILES, 4) == (read(out), report.deleted)
    assert not (out / "gone").exists()


def test_a_store_in_the_target_is_not_deleted(store: Store, tmp_path: Path) -> None:
    """`./.artstore` beside the data is where most stores are; others are called as their owner likes."""
    commit(store, FILES)
    out = write(tmp_path / "out", {"old": b"", "sub/old": b""})
    places = [".artstore", "mine", "sub/.artstore", "damaged", "elsewhere"]
    for place in places:
        Store.init(out / place).close()
    (out / "damaged" / "format.json").write_bytes(b"")
    commit(inside := Store.open(out / "elsewhere"), FILES)
    others = sorted(places[:-1])
    before = [read(out / place) for place in others]
    report = inside.get("cats", out, delete=True)
    is_whole = inside.verify().ok
    inside.close()

    assert (others, True) == (report.spared, is_whole)
    assert before == [read(out / place) for place in others]
    assert {*FILES} == {path for path in read(out) if not path.startswith(tuple(places))}


def test_another_store_is_no_place_to_delete_in(cats: Store, tmp_path: Path) -> None:
    """`cd barestore; artstore --store ../.artstore get cats . --delete` would delete every version of barestore."""
    Store.init(tmp_path / "other").close()
    before = read(tmp_path / "other")
    for place in ("", "blobs", "new"):
        with pytest.raises(Invalid) as caught:
            cats.get("cats", tmp_path / "other" / place, delete=True)
        assert caught.value.code == "own-store"

    assert before == read(tmp_path / "other")


def test_a_store_that_was_put_is_got_again_and_again(cats: Store, tmp_path: Path) -> None:
    """Put file by file, a store is data like any other; only what it has besides is never deleted."""
    other = tmp_path / "other"
    Store.init(other).close()
    with cats.draft() as draft:
        for path in other.rglob("*"):
            if path.is_file():
                draft.add_file(path, path.relative_to(other).as_posix())
        cats.commit(draft, name="archive", type="store")
    reports = [cats.get("archive", tmp_path / "out") for _ in range(2)]

    assert [0, reports[0].written] == [report.unchanged for report in reports]


def test_a_data_file_that_is_called_like_a_store_s_is_data(cats: Store, tmp_path: Path) -> None:
    """format.json is a name that many data sets use."""
    out = write(tmp_path / "out", {"old/format.json": b'{"format": 3}', "format.json": b"[]"})
    report = cats.get("cats", out, delete=True)

    assert (FILES, 2, []) == (read(out), report.deleted, report.spared)


def test_links_are_deleted_and_what_they_lead_to_stays(cats: Store, tmp_path: Path) -> None:
    """I14. `--delete` through a link to the home folder."""
    out, outside = write(tmp_path / "out", {"x": b""}), write(tmp_path / "outside", {"precious": b"p"})
    (out / "folder").symlink_to(outside)
    (out / "file").symlink_to(outside / "precious")
    (out / "dangling").symlink_to("missing")
    report = cats.get("cats", out, delete=True)

    assert (FILES, 4) == (read(out), report.deleted)
    assert read(outside) == {"precious": b"p"}


def test_only_what_the_patterns_mean_is_deleted(cats: Store, tmp_path: Path) -> None:
    out = write(tmp_path / "out", {"d/old": b"", "old": b"mine"})
    cats.get("cats", out, patterns=["d/"], delete=True)

    assert set(read(out)) == {"old", "d/b", "d/e/c", "d/e/twin"}


def test_a_name_that_is_not_utf8_can_be_deleted(cats: Store, tmp_path: Path) -> None:
    out = write(tmp_path / "out", {os.fsdecode(b"caf\xe9"): b""})
    cats.get("cats", out, delete=True)

    assert FILES == read(out)


# Modes.


def test_a_copy_is_a_copy(cats: Store, tmp_path: Path) -> None:
    report = cats.get("cats", tmp_path / "out", mode="copy")

    assert (FILES, len(FILES), 0, 0) == (*(read(tmp_path / "out"), report.copied, report.reflinked, report.hardlinked),)


def test_a_hardlink_is_read_only_and_small_files_are_copied(cats: Store, tmp_path: Path) -> None:
    """S7. The one mode that gives out a file of the store; what lies in a pack has no file to link."""
    out = tmp_path / "out"
    report = cats.get("cats", out, mode="hardlink")

    assert (FILES, 1, len(FILES) - 1) == (read(out), report.hardlinked, report.copied)
    assert (2, 0o444) == ((out / "large").stat().st_nlink, (out / "large").stat().st_mode & 0o777)
    assert 0 == cats.get("cats", out, mode="hardlink").written


@pytest.mark.parametrize("of", ["another store", "a writable blob"])
def test_who_asks_for_copies_gets_no_hardlink_of_before(cats: Store, tmp_path: Path, of: str) -> None:
    """Who takes the files out to edit them would edit that store."""
    out = tmp_path / "out"
    with Store.init(tmp_path / "other") as other:
        commit(other, FILES)
        (other if of == "another store" else cats).get("cats", out, mode="hardlink")
        if of == "a writable blob":
            (out / "large").chmod(0o644)
        report = cats.get("cats", out, mode="copy")

    assert (1, 1) == (report.written, (out / "large").stat().st_nlink)


def test_a_file_that_its_owner_linked_is_unchanged(cats: Store, tmp_path: Path) -> None:
    """As in snapshots by `cp -al`: there is no store behind it."""
    cats.get("cats", tmp_path / "out")
    os.link(tmp_path / "out" / "large", tmp_path / "twin")

    assert len(FILES) == cats.get("cats", tmp_path / "out").unchanged


def test_a_hardlink_is_replaced_and_never_written_through(store: Store, tmp_path: Path) -> None:
    """I14. The next version into the same folder would otherwise be written into the store's blob."""
    out = tmp_path / "out"
    commit(store, {"large": LARGE})
    store.get("cats:v0", out, mode="hardlink")
    commit(store, {"large": LARGE[::-1]})
    store.get("cats:v1", out, mode="copy")

    assert read(out) == {"large": LARGE[::-1]}
    assert b"".join(store.read("cats:v0", "large")) == LARGE


@pytest.mark.root
def test_a_reflink_shares_the_blocks_and_not_the_writes(xfs: Path) -> None:
    with Store.init(xfs / "store") as store:
        commit(store, FILES)
        report = store.get("cats", xfs / "out")
        forced = store.get("cats", xfs / "forced", mode="reflink")
        with (xfs / "out" / "large").open("r+b") as file:
            file.write(b"edited")

        assert (1, len(FILES) - 1, 1) == (report.reflinked, report.copied, forced.reflinked)
        assert b"".join(store.read("cats", "large")) == LARGE
        assert read(xfs / "forced") == FILES


@pytest.mark.root
def test_damaged_bytes_are_not_shared_by_a_reflink(xfs: Path) -> None:
    with Store.init(xfs / "store") as store:
        commit(store, {"large": LARGE})
        (blob,) = [path for path in (xfs / "store" / "blobs").rglob("*") if path.is_file()]
        blob.chmod(0o644)
        blob.write_bytes(LARGE[::-1])

        with pytest.raises(Corrupt):
            store.get("cats", xfs / "out")
    assert read(xfs / "out") == {}


@pytest.mark.root
def test_a_reflink_that_cannot_be_had_is_refused(cats: Store, volume: Path) -> None:
    with pytest.raises(Refused) as caught:
        cats.get("cats", volume / "out", mode="reflink")

    assert caught.value.code == "no-reflink"
    assert cats.get("cats", volume / "auto").copied == len(FILES)

    commit(cats, {"large": bytes(2 << 20)})
    with pytest.raises(Refused):
        cats.get("cats", volume / "none", mode="reflink")
    assert not (volume / "none").exists()


@pytest.mark.root
def test_a_hardlink_to_another_file_system_is_refused(cats: Store, volume: Path) -> None:
    with pytest.raises(Refused) as caught:
        cats.get("cats", volume / "out", mode="hardlink")

    assert caught.value.code == "no-hardlink"


# Damage.


def place_of(store: Store, data: bytes) -> Any:
    return store._root.blobs.places(Digest.of(data))[0]


@pytest.mark.parametrize("mode", ["auto", "copy", "hardlink"])
@pytest.mark.parametrize("path", ["d/b", "fitting", "large"])
def test_a_flipped_bit_is_found_and_never_written_out(cats: Store, tmp_path: Path, path: str, mode: Any) -> None:
    """I1. In a pack and in a file of its own; a checkout that is wrong is a model that is wrong."""
    place = place_of(cats, FILES[path])
    damage(Path(place.path), place.offset + len(FILES[path]) // 2)
    out = tmp_path / "out"
    with pytest.raises(Corrupt) as caught:
        cats.get("cats", out, mode=mode)

    assert (caught.value.code, str(Digest.of(FILES[path])) in caught.value.message) == ("digest-mismatch", True)
    assert {name: data for name, data in FILES.items() if name != path} == read(out)
    assert [path] == [problem.path for problem in caught.value.problems]


def test_all_that_is_damaged_is_named_and_all_else_is_written(cats: Store, tmp_path: Path) -> None:
    """Who has lost two files of a thousand needs the others now, and a list of the two."""
    for lost in ("large", "d/e/c"):
        place = place_of(cats, FILES[lost])
        damage(Path(place.path), place.offset)
    out = write(tmp_path / "out", {"large": b"old", "extra": b"mine"})
    with pytest.raises(Corrupt) as caught:
        cats.get("cats", out, delete=True)

    assert ["d/e/c", "large"] == [problem.path for problem in caught.value.problems]
    assert caught.value.message.startswith("2 files of uncategorized/cats:v0 are damaged: 'd/e/c': blob blake3:")
    assert {**FILES, "large": b"old", "extra": b"mine"} == {**read(out), "d/e/c": FILES["d/e/c"]}


def test_a_damaged_blob_does_not_replace_a_good_file(cats: Store, tmp_path: Path) -> None:
    """The old bytes in the target may be the last good ones."""
    damage(Path(place_of(cats, LARGE).path), 5)
    out = write(tmp_path / "out", {"large": b"old"})
    with pytest.raises(Corrupt):
        cats.get("cats", out)

    assert ((out / "large").read_bytes(), [p for p in os.listdir(out) if p.endswith(".tmp")]) == (b"old", [])


KILLED = """
import os, signal, sys
from pathlib import Path
from artstore.lifecycle.target import Target
with Target(Path(sys.argv[1])) as target:
    target.go_to("d", make=True)
    with target.replacing("b") as (fd, temporary):
        os.write(fd, b"half")
        os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_get_left_is_cleared_and_what_a_live_one_writes_is_not(
    cats: Store, tmp_path: Path, children: Children
) -> None:
    """Each kill left the bytes of a file for ever, in a folder that others list and copy."""
    out = write(tmp_path / "out", {"d/.artstore-notes.tmp": b"not ours", "large": b"old"})
    killed = children.start(KILLED, out)
    assert killed.wait(timeout=30) == -9
    (left,) = [name for name in os.listdir(out / "d") if name != ".artstore-notes.tmp"]
    with Target(out) as live:
        live.go_to("d", make=False)
        with live.replacing("live") as (_fd, temporary):
            cats.get("cats", out)
            there = set(os.listdir(out / "d"))

    assert left not in there
    assert {temporary, ".artstore-notes.tmp"} < there
    assert (out / "d" / "live").exists()


def test_a_hardlink_that_another_get_cleared_is_made_again(
    cats: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It cannot be locked while it is unfinished, since the lock would be on the store's own file."""
    out = write(tmp_path / "out", {"large": b"old"})
    real = os.link

    def link(source: Any, name: Any, **options: Any) -> None:
        real(source, name, **options)
        monkeypatch.undo()
        with Target(out) as other:
            other.clear()

    monkeypatch.setattr(os, "link", link)
    cats.get("cats", out, mode="hardlink")

    assert FILES.items() <= read(out).items()
    assert (out / "large").stat().st_nlink == 2


@pytest.mark.parametrize("how", ["truncated", "missing", "link", "folder"])
@pytest.mark.parametrize("path", ["d/b", "large"])
def test_what_is_left_of_a_blob_is_not_written_out(cats: Store, tmp_path: Path, path: str, how: str) -> None:
    """S8, S9."""
    blob = Path(place_of(cats, FILES[path]).path)
    blob.chmod(0o644)
    if how == "truncated":
        os.truncate(blob, blob.stat().st_size // 2 if path == "large" else 100)
    else:
        blob.rename(tmp_path / "elsewhere")
        if how == "link":
            blob.symlink_to(tmp_path / "elsewhere")
        elif how == "folder":
            blob.mkdir()
    with pytest.raises(Corrupt) as caught:
        cats.get("cats", tmp_path / "out")

    assert ("blob blake3:" in caught.value.message, (tmp_path / "out" / path).exists()) == (True, False)


def test_a_second_copy_saves_the_checkout(store: Store, tmp_path: Path) -> None:
    """Two puts at once may have stored the same bytes twice: the good one will do."""
    with store.draft() as one, store.draft() as other:
        for draft in (one, other):
            draft.add_stream(io.BytesIO(b"twice"), "a")
        for draft in (one, other):
            store.commit(draft, name="cats", type="t")
    first, second = store._root.blobs.places(Digest.of(b"twice"))
    damage(Path(first.path), first.offset)
    store.get("cats", tmp_path / "out")
    damage(Path(second.path), second.offset)

    assert read(tmp_path / "out") == {"a": b"twice"}
    with pytest.raises(Corrupt):
        store.get("cats", tmp_path / "other")


# What stands against it.


def test_a_checkout_that_was_killed_is_done_again(cats: Store, tmp_path: Path, children: Children) -> None:
    """P1. A half-written file has the wrong size or the wrong bytes: the next run finds and replaces it."""
    code = """
import os, signal, sys
from pathlib import Path
from artstore.lifecycle import target
from artstore.store import Store
real, seen = target.write_all, []

def write_some(fd, data):
    if len(data) > 1 << 19:
        real(fd, data[:1000])
        os.kill(os.getpid(), signal.SIGKILL)
    real(fd, data)

target.write_all = write_some
with Store.open(Path(sys.argv[1])) as store:
    store.get("cats", Path(sys.argv[2]))
"""
    out = tmp_path / "out"
    assert children.start(code, cats.path, out).wait() == -9
    left = read(out)
    cats.get("cats", out, delete=True)

    assert len(left["fitting"]) == 1000
    assert FILES == read(out)


@pytest.mark.root
def test_a_full_disk_is_said_to_be_full(store: Store, volume: Path, tmp_path: Path) -> None:
    """P3. The target's, not the store's: nothing here is damaged, and `gc` would not help."""
    commit(store, {"a": b"1", "huge": os.urandom(20 * MIB)})
    with pytest.raises(StorageFull) as caught:
        store.get("cats", volume / "out")

    assert str(volume / "out") in caught.value.message
    assert re.search(r"its files take 20,971,521 bytes, and 1[56],[\d,]+ were free", caught.value.message)
    assert not (volume / "out" / "huge").exists()
    store.get("cats", tmp_path / "out")


FORBIDDEN = """
import sys
from pathlib import Path
import sqlite_utils
import artstore.storage.gather
from artstore.errors import ArtstoreError
from artstore.store import Store
store, closed, readable = map(Path, sys.argv[1:])
drop_rights()
with Store.open(store) as opened:
    for target in (closed, closed / "new"):
        try:
            opened.get("cats", target)
        except ArtstoreError as error:
            print(type(error).__name__, error.code, str(closed) in error.message)
    print(opened.get("cats", readable).written)
"""


def test_a_target_without_permission_is_refused_and_a_read_only_store_is_read(
    open_folder: Path, children: Children
) -> None:
    """S6. A colleague's store is readable; what cannot be written is said by name, and is no damage."""
    with Store.init(open_folder / "store") as store:
        commit(store, FILES)
    closed, mine = open_folder / "closed", open_folder / "mine"
    for folder, mode in ((closed, 0o555), (mine, 0o777)):
        folder.mkdir()
        folder.chmod(mode)
    said = children.run(FORBIDDEN, store.path, closed, mine / "out", as_nobody=True)

    assert said.splitlines() == ["Refused no-permission True"] * 2 + [str(len(FILES))]
    assert FILES == read(mine / "out")


def test_a_reference_is_no_file(store: Store, tmp_path: Path) -> None:
    with store.draft() as draft:
        draft.add_entry(reference("far", "s3://b/k", checksum="c", size=None, extra={}))
        store.commit(draft, name="cats", type="t")
    with pytest.raises(Invalid) as caught:
        store.get("cats", tmp_path / "out")

    assert (caught.value.code, (tmp_path / "out").exists()) == ("is-a-reference", False)


def test_a_version_that_is_not_there_makes_no_folder(cats: Store, tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        cats.get("cats:v9", tmp_path / "out")

    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("was_there", [False, True])
def test_where_no_file_is_meant_no_folder_is_made(cats: Store, tmp_path: Path, *, was_there: bool) -> None:
    """An empty folder looks like an empty version; but one that its owner made is theirs."""
    if was_there:
        (tmp_path / "far" / "out").mkdir(parents=True)
    cats.get("cats", tmp_path / "far" / "out", patterns=["nothing"])

    assert [(tmp_path / "far").exists(), (tmp_path / "far" / "out").exists()] == [was_there, was_there]


# Names that differ here, and perhaps not there.

TWINS = {"Data/x": b"1", "data/y": b"2", "a": b"3", "A": b"4", "é": b"5", "e\u0301": b"6"}


def test_case_twins_live_side_by_side_where_they_can(store: Store, tmp_path: Path) -> None:
    commit(store, TWINS)
    store.get("cats", tmp_path / "out")

    assert read(tmp_path / "out") == TWINS


def test_twins_far_below_a_long_folder_are_told_apart(store: Store, tmp_path: Path) -> None:
    """The probe must look at the part of the names that differs, or a good version could not be checked out."""
    long = "l" * 200
    twins = {
        f"A/{long}/{long}": b"1",
        f"a/{long}/{long}": b"2",
        f"{long}B": b"3",
        f"{long}b": b"4",
        "d/x": b"",
        "D": b"",
    }
    commit(store, twins)
    store.get("cats", tmp_path / "out")

    assert read(tmp_path / "out") == twins


@pytest.mark.parametrize(
    "twins",
    [
        {"a": b"1", "A": b"2"},
        {"d/a": b"1", "D/A": b"2"},
        {"a": b"1", "A/b": b"2"},
        {"long/" + "x" * 200 + "/a": b"1", "Long/" + "x" * 200 + "/a": b"2"},
        {"x" * 254 + "a": b"1", "x" * 254 + "A": b"2"},
    ],
)
def test_twins_are_refused_where_case_does_not_count(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, twins: dict[str, bytes]
) -> None:
    """N6. One would be written over the other. The kernel here has no such file system: its answers are played."""
    real = Target.status

    def status(self: Target, name: str) -> os.stat_result | None:
        folded = {other.casefold(): other for other in os.listdir(self._fds[-1])}
        return real(self, folded.get(name.casefold(), name))

    commit(store, {**twins, "other": b"3"})
    monkeypatch.setattr(Target, "status", status)
    with pytest.raises(PathCollision) as caught:
        store.get("cats", tmp_path / "out")

    assert caught.value.code == "one-path-here"
    assert all(path.split("/")[0][:20] in caught.value.message for path in twins)
    assert not (tmp_path / "out").exists()


# Paths that should never have come so far.


@pytest.mark.parametrize("path", ["../escaped", "/escaped", "a/../../escaped", "d/./b", ".", "a//b"])
def test_a_hostile_manifest_does_not_lead_out_of_the_target(store: Store, tmp_path: Path, path: str) -> None:
    """A1. A second gate behind the first: a manifest that somebody else made is checked again where it is written."""
    commit(store, {"harmless": b"x"})
    catalog = store._root.catalog
    with catalog.write() as connection:
        connection.execute("UPDATE path SET path = ?", (path,))
    with pytest.raises(ArtstoreError):
        store.get("cats", tmp_path / "target" / "out")

    assert not list(tmp_path.rglob("escaped"))
    assert read(tmp_path / "target") == {}


def test_nothing_is_left_of_the_probe(store: Store, tmp_path: Path) -> None:
    commit(store, TWINS)
    store.get("cats", tmp_path / "out")

    assert {path.name for path in (tmp_path / "out").iterdir()} == {"Data", "data", "a", "A", "é", "e\u0301"}


def test_a_link_put_there_meanwhile_is_not_followed(
    cats: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """F8, I14. Between the look and the write a folder may become a link; the write must still stay inside."""
    out, outside = write(tmp_path / "out", {"d/old": b""}), write(tmp_path / "outside", {"b": b"precious"})
    real = checking_out._check_paths

    def swap(*arguments: Any) -> None:
        real(*arguments)
        (out / "d" / "old").unlink()
        (out / "d").rmdir()
        (out / "d").symlink_to(outside)

    monkeypatch.setattr(checking_out, "_check_paths", swap)
    with pytest.raises(PathCollision):
        cats.get("cats", out)

    assert read(outside) == {"b": b"precious"}


def test_many_bring_one_version_into_one_new_folder(
    cats: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each rank of a distributed training downloads to the same place: both found it empty, and one is faster."""
    real = writing.write_files

    def another_is_faster(*arguments: Any, **options: Any) -> Any:
        monkeypatch.setattr(checking_out, "write_files", real)
        cats.get("cats", tmp_path / "other")
        shutil.copytree(tmp_path / "other", tmp_path / "out", dirs_exist_ok=True)
        (tmp_path / "out" / "d" / "b").write_bytes(b"be")
        return real(*arguments, **options)

    monkeypatch.setattr(checking_out, "write_files", another_is_faster)
    cats.get("cats", tmp_path / "out")

    assert FILES == read(tmp_path / "out")


def test_a_failed_write_leaves_the_file_of_another_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It had replaced the unfinished one, and was told that all is there."""

    def fail(_fd: int, _data: bytes) -> None:
        os.replace(tmp_path / "theirs", tmp_path / "a")
        raise OSError

    write(tmp_path, {"theirs": b"whole"})
    monkeypatch.setattr("artstore.lifecycle.target.write_all", fail)
    with Target(tmp_path) as target, pytest.raises(OSError):  # noqa: PT011 - as it was raised
        target.write("a", b"mine", replaces=False)

    assert {"a": b"whole"} == read(tmp_path)


@pytest.mark.root
def test_a_store_on_a_read_only_mount_is_checked_out(volume: Path, tmp_path: Path) -> None:
    """S6."""
    with Store.init(volume / "store") as store:
        commit(store, {"a": b"1"})
    subprocess.run(["mount", "-o", "remount,ro", str(volume)], check=True)
    with Store.open(volume / "store") as store:
        store.get("cats", tmp_path / "out")

        assert (store.read_only, read(tmp_path / "out")) == (True, {"a": b"1"})


def test_few_packs_are_open_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Descriptors are few; each put brings a pack."""
    held: list[int] = []
    real = writing._Writer._pack

    def pack(self: writing._Writer, path: str) -> int:
        fd = real(self, path)
        held.append(len(self._packs))
        return fd

    files = {f"{number:03d}": b"%d" % number for number in range(40)}
    with Store.init(tmp_path / "store") as store:
        for path, data in files.items():
            commit(store, {path: data}, name="one")
        commit(store, files)
        monkeypatch.setattr(writing._Writer, "_pack", pack)
        store.get("cats", tmp_path / "out")

    assert read(tmp_path / "out") == files
    assert max(held) == writing.OPEN_PACKS


@pytest.mark.parametrize("where", ["in the target", "the target", "above the target"])
def test_a_store_is_never_deleted_by_a_checkout(store: Store, tmp_path: Path, where: str) -> None:
    """Only `gc` removes bytes: another store, by whatever name, is not what the version does not have."""
    commit(store, {"a": b"a"})
    target = tmp_path / "work"
    other = target / "mine" if where == "in the target" else target
    with Store.init(other) as there:
        there.put(Path(__file__), name="kept", type="t")
    (tmp_path / "work" / "extra").touch()
    if where == "in the target":
        store.get("cats", target, delete=True)
        assert not (target / "extra").exists()
    else:
        with pytest.raises(Invalid) as caught:
            store.get("cats", target / "below" if where == "above the target" else target, delete=True)
        assert caught.value.code == "own-store"

    with Store.open(other) as there:
        assert there.verify().problems == []
        assert [version.number for version in there.versions("kept")] == [0]


@pytest.mark.parametrize("mode", ["auto", "copy"])
def test_what_an_earlier_checkout_shares_with_the_store_becomes_a_file_of_its_own(
    store: Store, tmp_path: Path, mode: Literal["auto", "copy"]
) -> None:
    """Who asks for a copy may edit it, and must not edit the store."""
    commit(store, {"large": LARGE, "small": b"small"})
    target = tmp_path / "out"
    assert store.get("cats", target, mode="hardlink").hardlinked == 1
    assert store.get("cats", target, mode="hardlink").unchanged == 2
    report = store.get("cats", target, mode=mode)

    assert (report.written, report.unchanged) == (1, 1)
    assert (target / "large").stat().st_nlink == 1
    assert (target / "large").read_bytes() == LARGE


@pytest.mark.parametrize("mode", ["copy", "auto", "hardlink"])
def test_progress_moves_within_a_large_file(
    store: Store, tmp_path: Path, mode: Literal["copy", "auto", "hardlink"], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A checkpoint of 100 GB takes minutes, in which nothing was said: who waits takes it for stuck."""
    monkeypatch.setattr(tally, "_PAUSE_S", -1)
    commit(store, {"large": os.urandom(5 << 20), "small": b"x"})
    seen: list[tuple[int, int]] = []
    store.get("cats", tmp_path / "out", mode=mode, progress=lambda tick: seen.append((tick.files, tick.bytes)))

    assert seen == sorted(seen)
    assert sum(1 << 20 <= size < 5 << 20 for _, size in seen) >= 4
    assert seen[-1] == (2, (5 << 20) + 1)


@pytest.mark.parametrize(("is_changed", "steps"), [(False, 4), (True, 8)])
def test_progress_moves_where_a_large_file_is_compared(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, is_changed: bool, steps: int
) -> None:
    """The second get reads all of a checkpoint: it stood still meanwhile, and said that an hour is left of a second."""
    monkeypatch.setattr(tally, "_PAUSE_S", -1)
    data = os.urandom(5 << 20)
    commit(store, {"large": data, "small": b"x"})
    store.get("cats", tmp_path / "out")
    if is_changed:
        (tmp_path / "out" / "large").write_bytes(data[::-1])
    seen: list[tuple[int, int]] = []
    store.get("cats", tmp_path / "out", progress=lambda tick: seen.append((tick.files, tick.bytes)))

    assert seen == sorted(seen)
    assert len({size for _, size in seen if 0 < size < 5 << 20}) >= steps
    assert seen[-1] == (2, (5 << 20) + 1)
    assert (tmp_path / "out" / "large").read_bytes() == data


@pytest.mark.skipif(sys.platform != "linux", reason="children are forked on Linux only")
def test_what_a_killed_helper_had_begun_is_not_left_in_the_folder(
    store: Store, children: Children, tmp_path: Path
) -> None:
    """The system kills for memory: the get was whole, and beside its files lay one that nobody had asked for."""
    commit(store, {f"d/{name}": os.urandom(5 << 20) for name in "abcdefgh"})
    said = children.run(
        """
import os, pathlib, signal, sys
from artstore.lifecycle import write
from artstore.storage import whole
from artstore.store import Store
write.BATCH_BYTES = 1 << 20
store, target = map(pathlib.Path, sys.argv[1:])
parent, copy = os.getpid(), whole.copy_file
def copy_file(source, fd, **more):
    if os.getpid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)
    return copy(source, fd, **more)
whole.copy_file = copy_file
with Store.open(store) as opened:
    opened.get("cats", target, mode="copy")
print(sorted(path.name for path in (target / "d").iterdir()))
""",
        store.path,
        tmp_path / "out",
    )

    assert said == str(list("abcdefgh"))


@pytest.mark.parametrize("is_beside_threads", [False, True])
def test_progress_moves_while_others_write(
    store: Store, children: Children, tmp_path: Path, *, is_beside_threads: bool
) -> None:
    """What a child or a thread of this process writes is a part of it, and only whoever asked is told, in its turn."""
    commit(store, {name: os.urandom(10 << 20) for name in "abcdefgh"})
    said = children.run(
        """
import os, pathlib, sys, threading
from artstore.lifecycle import share, tally, write
from artstore.store import Store
tally._PAUSE_S, share._PAUSE_S, write.BATCH_BYTES = -1, 0.001, 1 << 20
store, target, is_beside_threads = sys.argv[1:]
if is_beside_threads == "True":
    threading.Thread(target=threading.Event().wait, daemon=True).start()
here = os.getpid(), threading.get_ident()
seen = []
def progress(tick):
    assert (os.getpid(), threading.get_ident()) == here
    seen.append(tick.bytes)
with Store.open(store) as opened:
    opened.get("cats", target, mode="copy", progress=progress)
print(seen == sorted(seen), seen[-1] == 80 << 20, len(set(seen)) > 8)
""",
        store.path,
        tmp_path / "out",
        is_beside_threads,
    )
    assert said == "True True True"
