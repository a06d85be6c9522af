"""References in a checkout: brought by somebody the store does not know, and seen whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from artstore.errors import Corrupt, Invalid, PathCollision, ReferenceChanged, ReferenceMissing
from artstore.lifecycle.checkout import checkout
from artstore.lifecycle.fetch import FetchedFile
from artstore.lifecycle.progress import Tick
from artstore.lifecycle.resolve import Resolved
from artstore.model.manifest import reference
from artstore.references.expand import expand
from artstore.references.fetch import fetch
from artstore.store import Store

FAR = os.urandom(2_000_000)


@pytest.fixture
def far(store: Store, tmp_path: Path) -> Path:
    """A folder outside of the store; `mixed` has its files as references, and one blob."""
    folder = tmp_path / "far"
    (folder / "deep").mkdir(parents=True)
    (folder / "a").write_bytes(FAR)
    (folder / "deep" / "b").write_bytes(b"far, too")
    (tmp_path / "near").write_bytes(b"near")
    store.put([tmp_path / "near"], name="mixed", type="dataset", references=expand(f"file://{folder}"))
    return folder


def files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_blobs_and_references_stand_side_by_side(store: Store, far: Path, tmp_path: Path) -> None:
    ticks: list[Tick] = []

    report = store.get("mixed", tmp_path / "out", fetch=fetch, progress=ticks.append)

    assert {"a": FAR, "deep/b": b"far, too", "near": b"near"} == files(tmp_path / "out")
    assert (3, 2, 0) == (report.written, report.fetched, report.unchanged)
    assert len(FAR) + 8 + 4 == report.bytes_written
    assert Tick("fetch", 2, len(FAR) + 8, 2) in ticks
    assert far.is_dir()


def test_what_is_there_already_is_not_fetched_again(store: Store, far: Path, tmp_path: Path) -> None:
    """Where the digest is known, the file itself tells; the far place need not even be there."""
    store.get("mixed", tmp_path / "out", fetch=fetch)
    for file in (far / "a", far / "deep" / "b"):
        file.unlink()

    report = store.get("mixed", tmp_path / "out", fetch=fetch)

    assert (0, 0, 3) == (report.written, report.fetched, report.unchanged)


def test_what_was_changed_in_the_target_is_fetched_again(store: Store, far: Path, tmp_path: Path) -> None:
    store.get("mixed", tmp_path / "out", fetch=fetch)
    (tmp_path / "out" / "a").write_bytes(FAR[::-1])

    report = store.get("mixed", tmp_path / "out", fetch=fetch)

    assert (1, 1, 2) == (report.written, report.fetched, report.unchanged)
    assert FAR == (tmp_path / "out" / "a").read_bytes()
    assert far.is_dir()


def test_missing_and_changed_ones_are_left_out_where_that_is_allowed(store: Store, far: Path, tmp_path: Path) -> None:
    """And named with their reason; what stands at their paths stays, also with `delete`."""
    out = tmp_path / "out"
    out.mkdir()
    (out / "a").write_bytes(b"an older one")
    (out / "stranger").write_bytes(b"not of this version")
    (far / "a").unlink()
    (far / "deep" / "b").write_bytes(b"other!!!")

    report = store.get("mixed", out, fetch=fetch, allow_missing=True, delete=True)

    assert {"a": b"an older one", "near": b"near"} == files(out)
    assert ["a", "deep/b"] == [skipped.path for skipped in report.missing]
    assert "is not there" in report.missing[0].reason
    assert "other content" in report.missing[1].reason
    assert not any("mixed:v0" in skipped.reason for skipped in report.missing), "its path stands beside the reason"
    assert (0, 1, 1) == (report.fetched, report.written, report.deleted)


@pytest.mark.parametrize("kind", [ReferenceMissing, ReferenceChanged])
def test_otherwise_they_stop_the_checkout_before_a_blob_is_written(
    store: Store, far: Path, tmp_path: Path, kind: type[Exception]
) -> None:
    (far / "a").unlink()
    if kind is ReferenceChanged:
        (far / "a").write_bytes(FAR[::-1])

    way = "Put back what was there" if kind is ReferenceChanged else "Bring it back"

    with pytest.raises(kind, match=rf"^'a' of uncategorized/mixed:v0: .*/far/a'.* {way}.*new version") as caught:
        store.get("mixed", tmp_path / "out", fetch=fetch)

    assert kind is type(caught.value)
    assert not (tmp_path / "out" / "near").exists()
    assert set(files(tmp_path / "out")) <= {"deep/b"}, "nothing unfinished is left"


def test_without_a_fetch_nothing_is_written(store: Store, far: Path, tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="is a reference") as caught:
        store.get("mixed", tmp_path / "out")

    assert "is-a-reference" == caught.value.code
    assert not (tmp_path / "out").exists()
    assert far.is_dir()


def test_only_the_references_that_match_are_fetched(store: Store, far: Path, tmp_path: Path) -> None:
    (far / "a").unlink()

    store.get("mixed", tmp_path / "out", patterns=["deep/"], fetch=fetch)

    assert {"deep/b": b"far, too"} == files(tmp_path / "out")


def test_a_link_in_the_target_leads_nowhere(store: Store, far: Path, tmp_path: Path) -> None:
    """Whoever can write into the target must not choose which other file is overwritten."""
    victim = tmp_path / "victim"
    victim.mkdir()
    out = tmp_path / "out"
    out.mkdir()
    (out / "deep").symlink_to(victim)

    with pytest.raises(PathCollision):
        store.get("mixed", out, fetch=fetch)
    assert {} == files(victim)
    (out / "deep").unlink()
    (out / "a").symlink_to(victim / "a")

    store.get("mixed", out, fetch=fetch)

    assert {} == files(victim)
    assert FAR == (out / "a").read_bytes()
    assert far.is_dir()


def test_a_path_of_a_foreign_manifest_does_not_lead_out(
    store: Store, far: Path, tmp_path: Path, version: Callable[[str], Resolved]
) -> None:
    """It passed the gate when it was added here; a manifest may come from elsewhere."""
    with store.draft() as draft:
        draft.add_entry(reference("../escaped", f"file://{far}/a", checksum="-", size=None, extra={}))
        store.commit(draft, name="evil", type="dataset")

    with pytest.raises(Corrupt, match="lead out"):
        checkout(store._root, version("evil"), tmp_path / "out", fetch=fetch)
    assert not (tmp_path / "escaped").exists()


def test_a_reference_can_be_read_and_sought_in(store: Store, far: Path) -> None:
    with store.open_file("mixed", "a", fetch=fetch) as file:
        assert isinstance(file, FetchedFile)
        assert len(FAR) == file.size
        assert FAR[:10] == file.read(10)
        file.seek(-10, os.SEEK_END)
        assert FAR[-10:] == file.read(10)
        assert not file.writable()
    assert FAR == b"".join(store.read("mixed", "a", fetch=fetch))
    assert b"near" == b"".join(store.read("mixed", "near", fetch=fetch))
    assert far.is_dir()


def test_no_byte_is_read_of_what_was_changed(store: Store, far: Path) -> None:
    """The digest is known at the end only: a pipe must not have had the first megabyte by then."""
    (far / "a").write_bytes(FAR[::-1])
    seen: list[bytes] = []

    with pytest.raises(ReferenceChanged, match=r"^'a' of uncategorized/mixed:v0: "):
        seen.extend(store.read("mixed", "a", fetch=fetch))

    assert [] == seen
    with pytest.raises(Invalid, match="is a reference"):
        store.open_file("mixed", "a")
