"""Damaged bytes: found before they are handed out, put aside and never deleted, and mended from whoever has them."""

from __future__ import annotations

import errno
import io
import os
import shutil
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from artstore import Store
from artstore.errors import ArtstoreError, Corrupt
from artstore.model.digest import Digest
from artstore.storage import stat_cache, whole
from tests.conftest import Children
from tests.damage.disks import check, noise, put, read

SMALL = 60_000
LARGE = (3 << 20) + 17


def _flip(path: Path, at: int) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ 1]))


def _replace(path: Path, make: Callable[[Path], object]) -> None:
    path.unlink()
    make(path)


HOW: dict[str, Callable[[Path], object]] = {
    "first bit flipped": lambda path: _flip(path, 600 if path.suffix == ".tar" else 0),
    "middle bit flipped": lambda path: _flip(path, path.stat().st_size // 2),
    "last bit flipped": lambda path: _flip(path, 512 + SMALL - 1 if path.suffix == ".tar" else LARGE - 1),
    "truncated by a byte": lambda path: os.truncate(path, (512 + SMALL if path.suffix == ".tar" else LARGE) - 1),
    "truncated to nothing": lambda path: os.truncate(path, 0),
    "filled with zeros": lambda path: path.write_bytes(bytes(path.stat().st_size)),
    "a block of zeros": lambda path: _overwrite(path, 8192, bytes(4096)),
    "other bytes": lambda path: path.write_bytes(noise(path.stat().st_size)),
    "gone": lambda path: path.unlink(),
    "a link to nothing": lambda path: _replace(path, lambda there: there.symlink_to("nowhere")),
    "a link to a file": lambda path: _replace(path, lambda there: there.symlink_to("/etc/passwd")),
    "a folder": lambda path: _replace(path, Path.mkdir),
}


def _overwrite(path: Path, at: int, data: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        file.write(data)


def only_file(store: Store, size: int) -> Path:
    """The file that holds the only blob of a store."""
    (path,) = [path for path in (store.path / ("packs" if size == SMALL else "blobs")).rglob("*") if not path.is_dir()]
    path.chmod(0o644)
    return path


def ways_out(store: Store, reference: str, target: Path) -> dict[str, Callable[[], bytes]]:
    """Every way in which bytes leave a store."""

    def opened() -> bytes:
        with store.open_file(reference, "f") as file:
            return file.readall() or b""

    def backwards() -> bytes:
        with store.open_file(reference, "f") as file:
            parts = []
            for start in range((file.size - 1) // 50_000 * 50_000, -1, -50_000):
                file.seek(start)
                data = b""
                while len(data) < 50_000 and (more := file.read(50_000 - len(data))):
                    data += more
                parts.append(data)
            return b"".join(reversed(parts))

    def got(mode: str) -> bytes:
        folder = target / mode
        store.get(reference, folder, mode=mode)  # type: ignore[arg-type]
        return (folder / "f").read_bytes()

    return {
        "read": lambda: read(store, reference),
        "open_file": opened,
        "open_file, backwards": backwards,
        "get": lambda: got("auto"),
        "get, copy": lambda: got("copy"),
        "get, hardlink": lambda: got("hardlink"),
    }


@pytest.fixture
def old_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every file is old enough for the stat cache."""
    monkeypatch.setattr(stat_cache, "MARGIN_NS", -(1 << 62))


@pytest.mark.parametrize("size", [SMALL, LARGE])
@pytest.mark.parametrize("how", HOW)
def test_damaged_bytes_are_never_handed_out(store: Store, tmp_path: Path, how: str, size: int) -> None:
    """A model trained on flipped bits is worse than one that did not start."""
    data = noise(size)
    reference = put(store, data)
    for way, hand_out in ways_out(store, reference, tmp_path / "good").items():
        assert (way, True) == (way, hand_out() == data)
    HOW[how](only_file(store, size))

    for way, hand_out in ways_out(store, reference, tmp_path / "bad").items():
        with pytest.raises(Corrupt) as caught:
            hand_out()
        assert (way, True) == (way, "artstore repair" in caught.value.message)
    assert [] == [path for path in (tmp_path / "bad").rglob("*") if path.is_file()]


@pytest.mark.parametrize("size", [SMALL, LARGE])
@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("fast", [False, True])
def test_damage_is_found_put_aside_and_mended_by_the_same_bytes(
    store: Store, tmp_path: Path, how: str, size: int, fast: bool
) -> None:
    """Verify names the blob and deletes nothing; the next put of the same bytes, or a copy, makes it whole."""
    data = noise(size)
    reference = put(store, data)
    digest = next(store.entries(reference)).digest
    path = only_file(store, size)
    HOW[how](path)
    left = path.read_bytes() if path.is_file() and not path.is_symlink() else None

    problems = store.verify(fast=fast).problems
    assert digest in [problem.subject for problem in problems if problem.kind == "blob-damaged"]
    with pytest.raises(Corrupt):
        read(store, reference)
    if left is not None:
        kept = [each.read_bytes() for each in (store.path / "quarantine").iterdir()]
        kept += [each.read_bytes() for each in (store.path / "packs").iterdir() if each.is_file()]
        assert [each for each in kept if each in left]

    assert digest in [problem.subject for problem in store.verify(fast=fast).problems]
    source = tmp_path / "copy"
    source.write_bytes(data)
    if fast:
        again = store.put([source], name="other", type="t", project="p")
        assert (1, size) == (again.new_files, again.new_bytes)
        assert data == read(store, reference)
        store.repair()
    else:
        report = store.repair([source])
        assert [] == report.still_damaged
        assert digest in report.mended
    check(store, {reference: data})
    store.close()
    assert [] == Store.rebuild(store.path).lost
    with Store.open(store.path) as reopened:
        check(reopened, {reference: data})


@pytest.mark.parametrize("size", [SMALL, LARGE])
@pytest.mark.parametrize("how", ["middle bit flipped", "truncated by a byte", "gone"])
@pytest.mark.parametrize("way", ["read", "get", "get, hardlink"])
@pytest.mark.usefixtures("old_files")
def test_what_a_reader_finds_damaged_the_next_put_stores_again(
    store: Store, tmp_path: Path, way: str, how: str, size: int
) -> None:
    """A put that was acknowledged and cannot be read, though its bytes were at hand, is a put that lied."""
    data = noise(size)
    source = tmp_path / "source"
    source.mkdir()
    (source / "f").write_bytes(data)
    store.put(source, name="cats", type="t", project="p")
    reference = "p/cats:v0"
    damaged = only_file(store, size)
    HOW[how](damaged)
    left = damaged.read_bytes() if damaged.exists() else b""
    with pytest.raises(Corrupt):
        ways_out(store, reference, tmp_path / "bad")[way]()

    again = store.put(source, name="cats", type="t", project="p")
    assert (False, 1, size) == (again.made, again.new_files, again.new_bytes)
    assert data == ways_out(store, reference, tmp_path / "good")[way]()
    assert data == read(store, put(store, data, "dogs"))
    kept = [each.read_bytes() for each in (store.path / "quarantine").iterdir()]
    assert len(kept) == (how != "gone")
    assert all(each in left for each in kept)


@pytest.mark.parametrize("size", [SMALL, LARGE])
@pytest.mark.parametrize("how", ["gone", "truncated by a byte", "truncated to nothing"])
@pytest.mark.parametrize("again", ["the same folder", "another"])
@pytest.mark.usefixtures("old_files")
def test_bytes_whose_file_is_gone_are_stored_again(
    store: Store, tmp_path: Path, again: str, how: str, size: int
) -> None:
    """Whoever deletes the source after a put that was acknowledged must not have deleted the only copy."""
    data = noise(size)
    source = tmp_path / "source"
    source.mkdir()
    (source / "f").write_bytes(data)
    store.put(source, name="cats", type="t", project="p")
    HOW[how](only_file(store, size))
    if again == "another":
        source = shutil.copytree(source, tmp_path / "another")
    report = store.put(source, name="cats", type="t", project="p")

    assert (False, 1) == (report.made, report.new_files)
    assert data == read(store, "p/cats:v0")


@pytest.mark.parametrize("size", [SMALL, LARGE])
def test_a_file_that_comes_back_is_not_rubbish(store: Store, tmp_path: Path, size: int) -> None:
    """I8. A disk that was away while `verify` looked must not be emptied by the `gc` after it."""
    data = noise(size)
    reference = put(store, data)
    path = only_file(store, size)
    path.rename(tmp_path / "away")
    assert not store.verify().ok
    (tmp_path / "away").rename(path)
    store.gc(grace_s=0)
    store.gc(grace_s=0)

    assert path.exists()
    assert [] == store.repair().still_damaged
    check(store, {reference: data})


def test_what_cannot_be_read_now_is_not_put_aside(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that fails for a moment, or a limit of the shell, says nothing about the bytes."""
    known = {put(store, data): data for data in (noise(SMALL), noise(LARGE))}
    really = os.open

    def failing(path: Any, *arguments: Any, **options: Any) -> int:
        if "/blobs/" in str(path) or "/packs/" in str(path):
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        return really(path, *arguments, **options)

    monkeypatch.setattr(os, "open", failing)
    for reference in known:
        for hand_out in ways_out(store, reference, tmp_path / "out").values():
            with pytest.raises(ArtstoreError):
                hand_out()
    monkeypatch.undo()
    assert [] == list((store.path / "quarantine").iterdir())
    check(store, known)


@pytest.mark.parametrize("size", [SMALL, LARGE])
def test_what_gc_took_by_yesterday_mends_what_breaks_today(store: Store, size: int) -> None:
    """The trash is the nearest copy."""
    data = noise(size)
    store.delete(put(store, data))
    store.gc()
    assert [path for path in (store.path / "trash").rglob("*") if path.is_file()]
    reference = put(store, data)
    only_file(store, size).unlink()
    assert not store.verify().ok

    assert [] == store.repair().still_damaged
    check(store, {reference: data})


def test_a_copy_in_another_pack_is_used_at_once(store: Store) -> None:
    """Two processes stored the same bytes at one time; one of the two packs is damaged, and nobody has to notice."""
    data = noise(SMALL)
    with store.draft() as one, store.draft() as two:
        for draft in (one, two):
            draft.add_stream(io.BytesIO(data), "f")
        for draft in (one, two):
            draft.intake.settle()
        assert 2 == len(list((store.path / "packs").iterdir()))
        reference = put(store, data)
    place = store._root.blobs.places(Digest.of(data))[0]
    os.chmod(place.path, 0o644)
    _flip(Path(place.path), place.offset + 100)

    assert data == read(store, reference)
    assert not store.verify().ok
    assert data == read(store, reference)
    store.repair()
    check(store, {reference: data})


def test_an_edit_through_a_hardlink_is_found(store: Store, tmp_path: Path) -> None:
    """Root ignores the read-only bit of a checkout that shares the store's file; the next reader must not."""
    data = noise(LARGE)
    reference = put(store, data)
    report = store.get(reference, tmp_path / "out", mode="hardlink")
    assert 1 == report.hardlinked
    checked_out = tmp_path / "out" / "f"
    assert 0 == checked_out.stat().st_mode & (stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH)
    checked_out.chmod(0o644)
    _overwrite(checked_out, 1_000_000, b"edited in place")

    with pytest.raises(Corrupt):
        read(store, reference)
    with pytest.raises(Corrupt):
        store.get(reference, tmp_path / "again")
    assert not store.verify(fast=True).ok
    assert b"edited in place" in checked_out.read_bytes()
    source = tmp_path / "copy"
    source.write_bytes(data)
    assert [] == store.repair([source]).still_damaged
    check(store, {reference: data})


@pytest.mark.parametrize("size", [SMALL, LARGE])
@pytest.mark.parametrize("who", ["a reader", "a fast verify"])
def test_checksums_that_are_wrong_are_noted_anew(store: Store, who: str, size: int) -> None:
    """SQLite's pages have no checksums of their own: a bit that flips there must not make good bytes unreadable."""
    data = noise(size)
    reference = put(store, data)
    (before,) = store._root.catalog.rows("SELECT sums FROM blob")
    with store._root.catalog.write():
        store._root.catalog.execute("UPDATE blob SET sums = randomblob(length(sums))")
    if who == "a reader":
        with store.open_file(reference, "f") as file:
            file.seek(size // 2)
            assert data[size // 2 : size // 2 + 1000] == file.read(1000)
    else:
        assert [] == store.verify(fast=True).problems
    if who != "a reader" or size == LARGE:
        assert [before] == store._root.catalog.rows("SELECT sums FROM blob")
    check(store, {reference: data})


def test_a_lie_about_checksums_is_found_by_a_full_verify(store: Store) -> None:
    """XXH3 finds damage and not forgery: who can write the catalog can make bytes and checksums agree."""
    reference = put(store, noise(LARGE))
    path = only_file(store, LARGE)
    forged = noise(LARGE)
    path.write_bytes(forged)
    with path.open("rb") as file:
        sums = whole.measure(file.fileno()).sums
    with store._root.catalog.write():
        store._root.catalog.execute("UPDATE blob SET sums = ?", (sums,))

    assert store.verify(fast=True).ok
    assert not store.verify().ok
    with pytest.raises(Corrupt):
        read(store, reference)


_FEW_FILES = """
import resource, sys
from pathlib import Path
from artstore import Store
from artstore.errors import ArtstoreError
store = Store.open(Path(sys.argv[1]))
import os
held = []
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
try:
    while True:
        held.append(os.open("/dev/null", os.O_RDONLY))
except OSError:
    pass
for spare in range(int(sys.argv[2])):
    os.close(held.pop())
try:
    print({problem.kind for problem in store.verify().problems} <= {"unreadable"})
except ArtstoreError as error:
    print(error.code)
"""


@pytest.mark.slow
def test_a_verify_that_lacks_file_handles_takes_nothing_for_damaged(store: Store, children: Children) -> None:
    """It would put healthy bytes aside, and the store would be emptied by a limit of the shell."""
    known = {put(store, data): data for data in (noise(LARGE), noise(SMALL), noise(LARGE))}
    for spare in range(12):
        said = children.run(_FEW_FILES, store.path, spare)
        assert said in {"True", "out-of-resources"}
        assert [] == list((store.path / "quarantine").iterdir())
    check(store, known)


_SHORT_CATALOG = """
import resource, sys
from artstore import Store
from artstore.errors import ArtstoreError
limit = int(sys.argv[2])
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
try:
    with Store.open(sys.argv[1]) as store:
        store.alias("p/cats:v0", ["limited"])
except ArtstoreError as error:
    print(error.code)
"""


@pytest.mark.parametrize("limit", [100, 10_000])
def test_a_limit_on_the_length_of_files_is_not_called_damage(limit: int, store: Store, children: Children) -> None:
    """Whoever was told of damage would rebuild a catalog that is whole."""
    put(store, noise(SMALL))
    store.close()

    assert children.run(_SHORT_CATALOG, store.path, limit) == "storage-full"


_SHORT_FILES = """
import resource, sys
from pathlib import Path
from artstore import Store
from artstore.errors import ArtstoreError
store = Store.open(Path(sys.argv[1]))
limit = int(sys.argv[3])
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
try:
    print(store.put(Path(sys.argv[2]), name="limited", type="dataset").version.files)
except ArtstoreError as error:
    print(error.code)
"""


@pytest.mark.slow
def test_a_put_that_may_not_write_long_files_leaves_no_trace(store: Store, tmp_path: Path, children: Children) -> None:
    """P8. A batch system sets `ulimit -f`: the put is refused in a line, whichever file of the store it meets first."""
    known = {put(store, data): data for data in (noise(SMALL), noise(LARGE))}
    folder = tmp_path / "tree"
    folder.mkdir()
    (folder / "large").write_bytes(noise(LARGE))
    for number in range(20):
        (folder / str(number)).write_bytes(noise(SMALL))
    for limit in (0, 1, 4 << 10, 64 << 10, 256 << 10, 1 << 20, 3 << 20):
        assert "storage-full" == children.run(_SHORT_FILES, store.path, folder, limit)
        assert ["cats"] == [each.name for each in store.collections()]
        check(store, known)
    assert "21" == children.run(_SHORT_FILES, store.path, folder, 64 << 20)
    check(store, known)


_LITTLE_MEMORY = """
import io, os, resource, sys
from pathlib import Path
from artstore import Store
from artstore.errors import ArtstoreError
verb, folder, spare = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
store = Store.open(folder / "store")
with open("/proc/self/statm") as pages:
    used = int(pages.read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + spare,) * 2)
try:
    if verb == "put":
        store.put(folder / "tree", name="limited", type="dataset")
    elif verb == "get":
        store.get(sys.argv[4], folder / "out", mode="copy")
    elif verb == "verify":
        problems = store.verify().problems
        assert {problem.kind for problem in problems} <= {"unreadable", "out-of-resources"}, problems
        if problems:
            raise MemoryError
    else:
        store.gc(grace_s=0)
    print("done")
except MemoryError:
    print("MemoryError")
except ArtstoreError as error:
    print(error.code)
except RuntimeError as error:
    # What Python says of a thread that finds no memory.
    print("MemoryError" if "thread" in str(error) else error)
os._exit(0)
"""


@pytest.mark.parametrize("verb", ["put", "get", "verify", "gc"])
def test_a_verb_that_runs_out_of_memory_harms_nothing(
    store: Store, tmp_path: Path, children: Children, verb: str
) -> None:
    """P8. Where a job's memory is limited, what was kept must not be taken for damaged, and nothing kept by half."""
    known = {put(store, data): data for data in (noise(SMALL), noise(LARGE))}
    (tmp_path / "tree").mkdir()
    for number in range(20):
        (tmp_path / "tree" / str(number)).write_bytes(noise(SMALL))
    (tmp_path / "tree" / "large").write_bytes(noise(LARGE))
    said = [children.run(_LITTLE_MEMORY, verb, tmp_path, spare << 20, list(known)[-1]) for spare in (0, 8, 1024)]

    assert "done" == said[-1]
    # What little `gc` has to do here needs nothing.
    assert "done" != said[0] or verb == "gc"
    assert {"done", "MemoryError", "out-of-resources", "unreadable", "storage-full"} >= set(said)
    assert [] == list((store.path / "quarantine").iterdir())
    check(store, known)


def test_a_moved_or_copied_store_is_the_same_store(store: Store, tmp_path: Path) -> None:
    """Nothing in it may depend on where it lies: a disk is mounted elsewhere, a project is handed on with cp -a."""
    known = {put(store, data): data for data in (noise(SMALL), noise(LARGE))}
    store.close()
    subprocess.run(["cp", "-a", str(store.path), str(tmp_path / "copied")], check=True)
    shutil.move(store.path, tmp_path / "deep moved ü")
    for name in ("copied", "deep moved ü"):
        with Store.open(tmp_path / name) as other:
            assert store.id == other.id
            reference = put(other, name.encode())
            check(other, {**known, reference: name.encode()})
            other.gc(grace_s=0)
            check(other, {**known, reference: name.encode()})


def test_a_store_opened_by_two_paths_at_once_is_one_store(store: Store, tmp_path: Path) -> None:
    """SQLite's locks and ours hang on the file, not on the name by which it was reached."""
    link = tmp_path / "link"
    link.symlink_to(store.path)
    known: dict[str, bytes] = {}
    with Store.open(link) as other:
        for number in range(10):
            data = noise(500)
            known[put(store if number % 2 else other, data)] = data
        other.gc(grace_s=0)
        assert {f"p/cats:v{number}" for number in range(10)} == set(known)
        check(other, known)
        check(store, known)
        with store.draft() as draft:
            draft.add_file(Path(__file__), "f")
            other.gc(grace_s=0)
            store.commit(draft, name="cats", type="t", project="p")
    assert Path(__file__).read_bytes() == read(store, "p/cats:v10")


def test_a_log_file_that_was_replaced_is_found(store: Store) -> None:
    """The chain names each file by its digest: an older or other one in its place does not fit."""
    known = {put(store, data): data for data in (noise(100), noise(100), noise(100))}
    files = sorted((store.path / "ops" / "p").iterdir())
    shutil.copy(files[0], files[1])

    assert not store.verify().ok
    assert [] == store.repair().still_damaged
    check(store, known)


@pytest.mark.parametrize("name", ["packs", "blobs", "ops", "quarantine", "trash"])
def test_a_folder_of_the_store_may_lie_on_another_disk(store: Store, tmp_path: Path, name: str) -> None:
    """Who owns the store may put a link in place of a folder; it is followed, and nothing else changes."""
    known = {put(store, data): data for data in (noise(SMALL), noise(LARGE))}
    shutil.move(store.path / name, tmp_path / name)
    (store.path / name).symlink_to(tmp_path / name)

    check(store, known)
    data = noise(100)
    known[put(store, data)] = data
    check(store, known)
    store.delete(put(store, noise(200)))
    store.gc(grace_s=0)
    check(store, known)


@pytest.mark.parametrize("how", ["other bytes", "gone", "a link to nothing", "a link to a file", "a folder"])
@pytest.mark.parametrize("is_needed", [True, False])
def test_gc_goes_on_past_a_damaged_pack(store: Store, tmp_path: Path, how: str, is_needed: bool) -> None:
    """One bad file must not be what keeps a disk from being tidied up; nor is it thrown away while it is needed."""
    data = noise(SMALL)
    (tmp_path / "f").write_bytes(data)
    (tmp_path / "g").write_bytes(noise(5 * SMALL))
    first = store.put([tmp_path / "f", tmp_path / "g"], name="cats", type="t", project="p")
    assert first.made
    reference = put(store, data) if is_needed else ""
    known = {put(store, other, "dogs"): other for other in (noise(500), noise(LARGE))}
    store.delete("p/cats:v0")
    pack = max((store.path / "packs").iterdir(), key=lambda path: path.stat().st_size)
    pack.chmod(0o644)
    HOW[how](pack)
    store.gc(grace_s=0)
    store.gc(grace_s=0)

    assert known == {each: read(store, each) for each in known}
    assert is_needed == (not store.verify().ok)
    if is_needed:
        store.repair([tmp_path / "f"])
        known[reference] = data
    store.gc(grace_s=0)
    check(store, known)
