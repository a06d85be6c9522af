"""A store that others may write says what they want it to say: it is not opened, and none is made so."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from artstore.errors import Refused
from artstore.storage import rights
from artstore.store import Store
from tests.conftest import Children


@pytest.fixture
def loose() -> Iterator[None]:
    """A umask that lets everybody write, as `002` lets the group."""
    before = os.umask(0)
    yield
    os.umask(before)


def open_folders(store: Path) -> list[Path]:
    return [path for path in (store, *store.rglob("*")) if path.is_dir() and rights.is_open(path)]


@pytest.mark.usefixtures("loose")
def test_a_store_is_closed_whatever_the_umask_is(tmp_path: Path) -> None:
    """With umask 002, which many systems have, each group member could have rewritten the log."""
    (tmp_path / "store").mkdir(mode=0o777)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "small").write_bytes(b"1")
    (tmp_path / "data" / "large").write_bytes(bytes(1_500_000))
    (tmp_path / "backup").mkdir(mode=0o777)
    with Store.init(tmp_path / "store") as store:
        store.put([tmp_path / "data"], name="cats", type="t", project="zoo")
        store.delete("zoo/cats:v0")
        store.gc(grace_s=9)
        store.backup(tmp_path / "backup")
    writable = [
        path
        for path in (tmp_path / "store").rglob("*")
        if path.is_file() and path.stat().st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    ]

    assert [] == open_folders(tmp_path / "store") == open_folders(tmp_path / "backup")
    assert writable == []


@pytest.mark.parametrize("mode", [0o775, 0o777, 0o1777])
@pytest.mark.parametrize("name", ["", "ops", "packs", "locks"])
def test_a_store_that_others_may_write_is_not_opened(tmp_path: Path, mode: int, name: str) -> None:
    """S12. As git does with a repository that is not the user's own; the message says how to get out."""
    path = tmp_path / "store"
    Store.init(path).close()
    (path / name).chmod(mode)
    with pytest.raises(Refused, match="chmod -R go-w") as caught:
        Store.open(path)

    assert "open-to-others" == caught.value.code
    with pytest.raises(Refused):
        Store.rebuild(path)
    os.system(f"chmod -R go-w '{path}'")  # noqa: S605 - a name that pytest made
    with Store.open(path) as store:
        assert store.verify().ok


def test_where_no_rights_are_known_a_store_can_be_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A USB stick with exFAT shows every folder as open to all, and nothing can be done about it."""
    monkeypatch.setattr(rights, "is_open", lambda _folder: True)
    monkeypatch.setattr(os, "chmod", lambda *_: None)
    (tmp_path / "a").write_bytes(b"1")
    with Store.init(tmp_path / "store") as store:
        store.put([tmp_path / "a"], name="cats", type="t")
        store.backup(tmp_path / "backup")
    with Store.open(tmp_path / "backup") as copy:
        assert copy.version("cats:v0").files == 1


@pytest.mark.parametrize(("umask", "expected"), [(0o022, 0o444), (0o027, 0o440), (0o077, 0o400)])
def test_who_may_not_read_by_the_umask_may_not_read_the_bytes(tmp_path: Path, umask: int, expected: int) -> None:
    """A hardlink of a blob in a folder that all may enter would show everybody what its owner keeps to himself."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "small").write_bytes(b"1")
    (tmp_path / "data" / "large").write_bytes(bytes(range(256)) * 6_000)
    before = os.umask(umask)
    try:
        with Store.init(tmp_path / "store") as store:
            store.put([tmp_path / "data"], name="cats", type="t")
            store.backup(tmp_path / "backup")
            store.get("cats", tmp_path / "out", mode="hardlink")
    finally:
        os.umask(before)
    kept = [
        path.stat().st_mode & 0o777
        for store_folder in ("store", "backup")
        for folder in ("blobs", "packs")
        for path in (tmp_path / store_folder / folder).rglob("*")
        if path.is_file()
    ]

    assert [expected] * 4 == kept
    assert expected == (tmp_path / "out" / "large").stat().st_mode & 0o777


AS_MEMBER = """
import sys, os
import sqlite_utils
import artstore.lifecycle.collect, artstore.storage.gather, artstore.references.fetch
from artstore.errors import ArtstoreError
from artstore.store import Store
folder, group = sys.argv[1], int(sys.argv[2])
drop_rights(group)
try:
    with Store.open(folder + "/store") as store:
        store.get("cats", folder + f"/out/{group}")
        print(store.read_only, store.verify().ok, store.version("cats:latest").ref)
        store.put(folder + "/data", name="dogs", type="t")
except ArtstoreError as error:
    print(error.code, error.exit_code)
"""


@pytest.mark.root
def test_a_group_reads_a_store_and_only_its_owner_writes(open_folder: Path, children: Children) -> None:
    """S12. Who may write could rewrite the log; who may not read has to hear so, and not that nothing is there."""
    group, stranger = 54_321, 54_322
    (open_folder / "data").mkdir()
    (open_folder / "data" / "small").write_bytes(b"1")
    (open_folder / "data" / "large").write_bytes(bytes(range(256)) * 6_000)
    (open_folder / "out").mkdir()
    (open_folder / "out").chmod(0o777)
    (open_folder / "store").mkdir()
    os.chown(open_folder / "store", 0, group)
    (open_folder / "store").chmod(0o2750)
    before = os.umask(0o027)
    try:
        with Store.init(open_folder / "store") as store:
            store.put(open_folder / "data", name="cats", type="t")
            # While the owner has it open, and after.
            while_open = children.run(AS_MEMBER, open_folder, group, as_nobody=True).splitlines()
        after = children.run(AS_MEMBER, open_folder, group, as_nobody=True).splitlines()
        outside = children.run(AS_MEMBER, open_folder, stranger, as_nobody=True).splitlines()
    finally:
        os.umask(before)

    assert ["True True uncategorized/cats:v0", "read-only-store 7"] == while_open == after
    assert ["no-permission 7"] == outside
    assert (open_folder / "out" / str(group) / "large").read_bytes() == bytes(range(256)) * 6_000


UPWARD = """
import sys, os
from pathlib import Path
import sqlite_utils
import artstore.lifecycle.collect, artstore.storage.gather, artstore.references.fetch
from artstore.discovery import find_place
from artstore.errors import ArtstoreError
from artstore.store import Store
import artstore.api
folder = Path(sys.argv[1])
list(Store.open(folder / ".artstore").read("cats", "a"))
drop_rights()
try:
    print(find_place(None, {}, folder / "below").root)
except ArtstoreError as error:
    print(error.code, error.exit_code)
with Store.open(find_place(folder / ".artstore", {}, folder).root) as store:
    print(store.read_only, b"".join(store.read("cats", "a")))
print(find_place(None, {"ARTSTORE_DIR": str(folder / ".artstore")}, folder).root == folder / ".artstore")
"""


@pytest.mark.root
def test_another_user_s_store_is_used_if_it_was_named(open_folder: Path, children: Children) -> None:
    """Anybody can make /tmp/.artstore, and would be given what others put below /tmp."""
    (open_folder / "a").write_bytes(b"1")
    (open_folder / "below").mkdir()
    with Store.init(open_folder / ".artstore") as store:
        store.put([open_folder / "a"], name="cats", type="t")

    said = children.run(UPWARD, open_folder, as_nobody=True).splitlines()

    assert said == ["other-owner 7", "True b'1'", "True"]


@pytest.mark.root
@pytest.mark.parametrize(("sudo", "is_another"), [(None, True), ("65534", False), ("1000", True)])
def test_root_is_whoever_asked_it(tmp_path: Path, sudo: str | None, is_another: bool) -> None:
    """`sudo artstore gc` in one's own folder means one's own store."""
    os.chown(tmp_path, 65534, 65534)

    assert is_another == rights.owner_is_another(tmp_path, on_behalf_of=sudo)
