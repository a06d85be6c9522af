"""Files and folders of this machine as references."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from artstore.errors import Invalid, ReferenceChanged, ReferenceMissing
from artstore.model.digest import Digest
from artstore.model.manifest import ReferenceEntry
from artstore.references.expand import expand
from artstore.references.fetch import fetch


def all_of(entry: ReferenceEntry) -> bytes:
    return b"".join(fetch(entry))


def test_the_checksum_is_the_digest_of_the_content(tmp_path: Path) -> None:
    data = os.urandom(2_500_000)
    (tmp_path / "a").write_bytes(data)

    (entry,) = expand(f"file://{tmp_path}/a")

    assert ReferenceEntry("a", f"file://{tmp_path}/a", str(Digest.of(data)), len(data)) == entry
    assert data == all_of(entry)


def test_a_file_of_the_same_size_and_date_with_other_content_is_noticed(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"cat")
    before = (tmp_path / "a").stat()
    (entry,) = expand(f"file://{tmp_path}/a")

    (tmp_path / "a").write_bytes(b"dog")
    os.utime(tmp_path / "a", ns=(before.st_atime_ns, before.st_mtime_ns))

    with pytest.raises(ReferenceChanged, match="other content"):
        all_of(entry)


def test_linked_files_are_followed_and_linked_folders_are_not(tmp_path: Path) -> None:
    """A link to a folder above would never end, and one to elsewhere would bring what nobody named."""
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "file").write_bytes(b"linked")
    top = tmp_path / "top"
    top.mkdir()
    (top / "file").symlink_to(tmp_path / "elsewhere" / "file")
    (top / "folder").symlink_to(tmp_path / "elsewhere")
    (top / "round").symlink_to(top)

    (entry,) = expand(f"file://{top}")

    assert ("file", b"linked") == (entry.path, all_of(entry))


def test_a_link_that_leads_nowhere_is_an_error(tmp_path: Path) -> None:
    """It would be a file of the folder that is silently lost."""
    (tmp_path / "a").write_bytes(b"cat")
    (tmp_path / "b").symlink_to("nowhere")

    with pytest.raises(ReferenceMissing, match="b"):
        expand(f"file://{tmp_path}")


@pytest.mark.parametrize("below", ["", "/pipe"])
def test_what_is_no_file_is_refused_and_not_waited_for(tmp_path: Path, below: str) -> None:
    """Opening a pipe would wait for a writer for ever."""
    os.mkfifo(tmp_path / "pipe")

    with pytest.raises(Invalid, match="not a file"):
        expand(f"file://{tmp_path}{below}")


def test_a_relative_path_is_kept_with_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever fetches it stands in another folder."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a").write_bytes(b"cat")
    monkeypatch.chdir(tmp_path)

    entries = expand("file://data/a") + expand("file://./data")

    monkeypatch.chdir("/")
    assert [f"file://{tmp_path}/data/a"] * 2 == [entry.uri for entry in entries]
    assert [b"cat"] * 2 == [all_of(entry) for entry in entries]


@pytest.mark.parametrize("name", ["a b", "a%20b", "ä?x#y"])
def test_names_are_found_as_they_are_and_percent_encoded(tmp_path: Path, name: str) -> None:
    """pathlib's as_uri encodes; people write paths behind `file://` as they are."""
    folder = tmp_path / "the folder"
    folder.mkdir()
    (folder / name).write_bytes(b"cat")

    for uri in (f"file://{folder}/{name}", (folder / name).as_uri(), folder.as_uri(), f"file://localhost{folder}"):
        (entry,) = expand(uri)

        assert (name, b"cat") == (entry.path, all_of(entry))


def test_a_file_that_has_the_encoded_name_itself_comes_first(tmp_path: Path) -> None:
    (tmp_path / "a b").write_bytes(b"decoded")
    (tmp_path / "a%20b").write_bytes(b"as it is")

    assert b"as it is" == all_of(expand(f"file://{tmp_path}/a%20b")[0])


def test_without_checksum_an_edit_is_no_change_and_a_removal_is(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"cat")
    (before,) = expand(f"file://{tmp_path}/a", checksum=False)
    (tmp_path / "a").write_bytes(b"another cat")
    (after,) = expand(f"file://{tmp_path}/a", checksum=False)

    assert before == after
    assert b"another cat" == all_of(before)
    (tmp_path / "a").unlink()
    with pytest.raises(ReferenceMissing):
        all_of(before)


def test_an_empty_folder_stands_for_nothing(tmp_path: Path) -> None:
    assert [] == expand(f"file://{tmp_path}")


@pytest.mark.parametrize("uri", ["file://", "file:///a\0b"])
def test_a_uri_that_names_no_file_is_refused(uri: str) -> None:
    with pytest.raises(Invalid, match="no file"):
        expand(uri)
