"""A folder that is put again: what is taken from the stat cache is what reading it all would give."""

from __future__ import annotations

import io
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from artstore.errors import Corrupt
from artstore.lifecycle import content, reading
from artstore.lifecycle import draft as drafting
from artstore.storage import stat_cache
from artstore.storage.blobs import SMALL
from artstore.storage.manifests import Manifests
from artstore.store import Store
from tests.lifecycle.conftest import flip

PATHS = st.sampled_from(["a", "b", "c d", "d/a", "d/e/f", "ä", "large"])
CHANGES = st.dictionaries(PATHS, st.one_of(st.integers(0, 9), st.none(), st.just("touch")), max_size=3)
PREFIXES = st.sampled_from([None, None, None, "p", "p/q"])


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files are put as soon as they are written here; the cache is to be relied on all the same."""
    monkeypatch.setattr(stat_cache, "MARGIN_NS", 0)


def change(folder: Path, changes: Mapping[str, Any]) -> None:
    for path, what in changes.items():
        file = folder / path
        if what == "touch" and file.exists():
            os.utime(file)
        elif isinstance(what, int):
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(bytes([what]) * (SMALL + 1 if path == "large" else what))
        elif what is None:
            file.unlink(missing_ok=True)


def files(store: Store, ref: str) -> dict[str, bytes]:
    return {entry.path: b"".join(store.read(ref, entry.path)) for entry in store.entries(ref)}


def there(folder: Path, prefix: str | None) -> dict[str, bytes]:
    before = f"{prefix}/" if prefix else ""
    return {
        before + path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


@pytest.mark.slow
@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(CHANGES, PREFIXES, st.booleans()), min_size=2, max_size=6))
def test_each_version_has_what_the_folder_had(rounds: list[tuple[dict[str, Any], str | None, bool]]) -> None:
    """Whatever changed, came, went or was put in between; the rows, the log and the digest say the same."""
    place = Path(tempfile.mkdtemp(prefix="artstore-again-"))
    expected: dict[str, dict[str, bytes]] = {}
    folder = place / "folder"
    folder.mkdir()
    try:
        with Store.init(place / "store") as store:
            for changes, prefix, is_together in rounds:
                change(folder, changes)
                found = there(folder, prefix)
                sources: list[Path | io.BytesIO] = [folder]
                if not found:
                    continue
                if is_together:
                    # What is named with something else keeps its own name.
                    own = f"{prefix}/folder" if prefix else "folder"
                    found = {**there(folder, own)}
                    (place / "other").write_bytes(b"other")
                    sources.append(place / "other")
                    found[f"{prefix}/other" if prefix else "other"] = b"other"
                report = store.put(sources, name="cats", type="dataset", prefix=prefix)
                assert report.version is not None
                expected[report.version.ref] = found
            assert not store.verify().problems
            assert {ref: files(store, ref) for ref in expected} == expected
        # The log says the same as the rows.
        for file in (place / "store").glob("catalog.db*"):
            file.unlink()
        Store.rebuild(place / "store")
        with Store.open(place / "store") as store:
            assert {ref: files(store, ref) for ref in expected} == expected
            assert not store.verify().problems
    finally:
        shutil.rmtree(place)


@pytest.mark.parametrize("what", ["nothing", "changed", "added", "removed"])
def test_the_last_version_is_not_read_again(
    store: Store, tree: Callable[[Mapping[str, bytes]], Path], monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """What one file of a hundred thousand costs is then that file, and not the comparison with all the others."""
    folder = tree({"a": b"1", "b": b"2", "d/c": b"3"})
    before = store.put([folder], name="cats", type="dataset").version
    changes: dict[str, dict[str, Any]] = {"changed": {"a": 5}, "added": {"e": 5}, "removed": {"b": None}}
    change(folder, changes.get(what, {}))
    with monkeypatch.context() as patch:
        patch.setattr(Manifests, "entries", _nobody)
        after = store.put([folder], name="cats", type="dataset").version

    assert (what == "nothing") == (before == after)
    assert after is not None
    assert files(store, after.ref) == there(folder, None)


def _nobody(*_: object) -> Iterator[Any]:
    raise AssertionError


def test_a_warning_is_given_each_time(store: Store, tree: Callable[[Mapping[str, bytes]], Path]) -> None:
    """Whoever did not see it the first time has the same trouble on the other system."""
    folder = tree({"con": b"1", "b": b"2"})
    reports = [store.put([folder], name="cats", type="dataset") for _ in range(2)]

    assert [1, 1] == [len(report.warnings) for report in reports]


def test_what_was_found_damaged_meanwhile_is_not_committed(
    store: Store, tree: Callable[[Mapping[str, bytes]], Path]
) -> None:
    """The version was acknowledged, and its bytes were nowhere; nor did it help to put them again."""
    content = {"a": b"1" * 3_000, "b": b"2" * 3_000}
    folder = tree(content)
    store.put([folder], name="cats", type="dataset")
    with store.draft() as draft:
        draft.add_directory(folder)
        draft.add_stream(io.BytesIO(b"3"), "c")
        (pack,) = (store.path / "packs").glob("*.tar")
        flip(pack)
        with Store.open(store.path) as other:
            assert other.verify().problems
        with pytest.raises(Corrupt, match="is nowhere in this store"):
            store.commit(draft, name="cats", type="dataset")
    store.put([folder], name="cats", type="dataset")

    assert [content] == [files(store, each.ref) for each in store.versions("cats")]
    assert store.verify().ok


def test_a_gone_pack_is_no_reason_to_read_all_for_ever(
    store: Store, tree: Callable[[Mapping[str, bytes]], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its bytes are in another by then; what is nowhere is read, and stored again."""
    folder = tree({"a": b"1", "b": b"2"})
    store.put([folder], name="cats", type="dataset")
    (pack,) = (store.path / "packs").glob("*.tar")
    pack.unlink()
    again = store.put([folder], name="cats", type="dataset")
    monkeypatch.setattr(drafting, "can_change_unseen", _nobody)
    monkeypatch.setattr(reading, "can_change_unseen", _nobody)
    last = store.put([folder], name="cats", type="dataset")

    assert again.version == last.version
    assert files(store, "cats") == {"a": b"1", "b": b"2"}


@pytest.mark.parametrize("prefix", [None, "p"])
def test_a_cache_that_is_another_s_becomes_its_own(
    store: Store,
    tree: Callable[[Mapping[str, bytes]], Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    prefix: str | None,
) -> None:
    """Until a file changed each put worked out all anew; and read it all once the other version was deleted."""
    folder = tree({"a": b"1", "b": b"2"})
    (tmp_path / "other").write_bytes(b"3")
    store.put([folder] if prefix else [folder, tmp_path / "other"], name="first", type="dataset")

    def put() -> str:
        version = store.put([folder], name="cats", type="dataset", prefix=prefix).version
        assert version is not None
        return version.id

    made = put()
    (cache,) = (store.path / "stat_cache").iterdir()
    written = cache.stat()
    store.delete("first:v0")
    store.gc(grace_s=0)
    monkeypatch.setattr(drafting, "can_change_unseen", _nobody)
    monkeypatch.setattr(reading, "can_change_unseen", _nobody)
    monkeypatch.setattr(Manifests, "entries", _nobody)
    monkeypatch.setattr(content, "digest_of_lines", _nobody)

    assert made == put()
    # And is not written each time.
    assert (written.st_ino, written.st_mtime_ns) == (cache.stat().st_ino, cache.stat().st_mtime_ns)


@pytest.mark.parametrize("is_known", [False, True])
def test_what_is_done_by_hand_counts_and_is_in_no_cache_of_a_folder(
    store: Store, tree: Callable[[Mapping[str, bytes]], Path], *, is_known: bool
) -> None:
    """It would be lost from this version, or come with the next put of the folder alone."""
    folder = tree({"a": b"1", "b": b"2"})
    if is_known:
        store.put([folder], name="cats", type="dataset")
    with store.draft() as draft:
        draft.add_directory(folder)
        draft.add_stream(io.BytesIO(b"3"), "c")
        draft.remove("b")
        made = store.commit(draft, name="cats", type="dataset")
    after = store.put([folder], name="cats", type="dataset").version

    assert files(store, made.ref) == {"a": b"1", "c": b"3"}
    assert after is not None
    assert files(store, after.ref) == {"a": b"1", "b": b"2"}
