"""The root: a store is made once, in its own folder, and opened for what it is."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from artstore.errors import ArtstoreError, Conflict, Corrupt, NotFound, ReadOnlyStore, Refused, UpgradeNeeded
from artstore.storage import mounts
from artstore.storage import root as roots
from artstore.storage.root import Root, is_store
from artstore.store import Store
from tests.conftest import Children


def change_format(root: Root, **fields: Any) -> None:
    path = root.path / "format.json"
    path.write_text(json.dumps({**json.loads(path.read_bytes()), **fields}))


def tree(path: Path) -> dict[str, bytes]:
    return {str(p.relative_to(path)): p.read_bytes() if p.is_file() else b"" for p in path.rglob("*")}


@pytest.mark.parametrize("where", ["new", "new/deep", "."])
def test_a_store_is_made_in_a_folder_of_its_own(tmp_path: Path, where: str) -> None:
    path = tmp_path / where
    root = Root.create(path)
    root.check_catalog()
    projects = root.catalog.projects()
    root.close()

    assert is_store(path)
    assert [] == projects


def test_two_stores_are_told_apart(tmp_path: Path) -> None:
    ids = {Root.create(tmp_path / name).format.store_id for name in "ab"}

    assert [32, 32] == [len(id_) for id_ in ids]


def test_a_folder_with_files_is_refused_and_left_alone(tmp_path: Path) -> None:
    """`artstore init` in a home folder would mix a store with somebody's files."""
    (tmp_path / "thesis.tex").write_bytes(b"text")

    with pytest.raises(Conflict) as caught:
        Root.create(tmp_path)
    assert (caught.value.code, "thesis.tex" in caught.value.message) == ("not-empty", True)
    assert tree(tmp_path) == {"thesis.tex": b"text"}


def test_names_that_are_not_read_as_utf8_are_refused(root: Root) -> None:
    """N5. A program would keep other names than it was given, and fail half-way where it writes those of others."""
    program = """if True:
        import sys
        from artstore import Refused, Store
        for begin in Store.open, Store.init, Store.rebuild:
            try:
                begin(sys.argv[1])
            except Refused as error:
                print(error.code, "PYTHONUTF8=1" in error.message)
    """
    environment = {**os.environ, "LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    ended = subprocess.run(
        [sys.executable, "-c", program, root.path], capture_output=True, text=True, check=True, env=environment
    )

    assert ["not-utf8 True"] * 3 == ended.stdout.splitlines()


def test_a_store_is_not_made_twice(root: Root) -> None:
    before = tree(root.path / "ops"), (root.path / "format.json").read_bytes()

    with pytest.raises(Conflict) as caught:
        Root.create(root.path)
    assert caught.value.code == "already-a-store"
    assert before == (tree(root.path / "ops"), (root.path / "format.json").read_bytes())


@pytest.mark.parametrize("where", ["file", "file/below"])
def test_a_file_in_place_of_the_folder_is_not_a_broken_disk(tmp_path: Path, where: str) -> None:
    """`the disk failed, run artstore verify` would send its owner to the wrong place."""
    (tmp_path / "file").write_bytes(b"x")

    with pytest.raises(Conflict) as caught:
        Root.create(tmp_path / where)
    assert (caught.value.code, tree(tmp_path)) == ("not-a-folder", {"file": b"x"})


def test_a_creation_that_was_killed_is_made_again(tmp_path: Path, children: Children) -> None:
    """What is there without its format file is not yet a store, and in nobody's way."""
    code = """
import os, signal, sys
from pathlib import Path
from artstore.storage import root
root.write_file = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
root.Root.create(Path(sys.argv[1]))
"""
    assert children.start(code, tmp_path / "store").wait() == -9
    was_store = is_store(tmp_path / "store")
    root = Root.create(tmp_path / "store")
    root.check_catalog()
    root.close()

    assert (False, True) == (was_store, is_store(tmp_path / "store"))


def test_who_comes_while_a_store_is_made_waits_for_it(tmp_path: Path, children: Children) -> None:
    """The first use of a store by several processes is one that all of them come through."""
    code = """
import sys, time
from pathlib import Path
from artstore.storage import root
write_file = root.write_file
def write_late(*arguments):
    print("half", flush=True)
    time.sleep(0.3)
    write_file(*arguments)
root.write_file = write_late
root.Root.create(Path(sys.argv[1])).close()
"""
    maker = children.start(code, tmp_path / "store")
    assert maker.stdout is not None
    assert maker.stdout.readline() == "half\n"
    with pytest.raises(Conflict) as caught:
        Root.create(tmp_path / "store")

    assert caught.value.code == "already-a-store"
    Root(tmp_path / "store").check_catalog()


@pytest.mark.parametrize("kind", ["nfs4", "lustre", "cifs", "9p", "fuse.sshfs"])
def test_a_network_file_system_is_refused_with_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """S1. With locks that other machines do not see, 2,076 of 3,720 acknowledged commits were lost in a trial."""
    monkeypatch.setattr(mounts, "file_system", lambda _: kind)
    monkeypatch.setattr(roots, "file_system", lambda _: kind)

    with pytest.raises(Refused) as caught:
        Root.create(tmp_path / "store")
    assert (caught.value.code, f"({kind})" in caught.value.message) == ("network-file-system", True)
    assert not is_store(tmp_path / "store")


def test_a_single_host_may_use_one_with_the_safe_journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """WAL needs memory that is shared between machines; the host is noted, and a second one refused."""
    monkeypatch.setattr(mounts, "file_system", lambda _: "nfs4")
    root = Root.create(tmp_path / "store", single_host=True)
    mode = root.catalog.one("PRAGMA journal_mode")
    root.close()

    assert (("delete",), socket.gethostname()) == (mode, root.format.host)
    change_format(root, host="another")
    with pytest.raises(Refused) as caught:
        Root(root.path)
    assert (caught.value.code, "'another'" in caught.value.message) == ("other-host", True)


def test_a_local_store_belongs_to_no_host(tmp_path: Path) -> None:
    """A laptop that gets another name must not lose its stores."""
    root = Root.create(tmp_path / "store", single_host=True)
    root.close()

    assert root.format.host is None


def test_what_is_no_store_is_not_found(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    for path in (tmp_path, tmp_path / "missing", tmp_path / "file"):
        with pytest.raises(NotFound) as caught:
            Root(path)
        assert caught.value.code == "store-not-found"


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b'{"artstore": "bundle"}', b"\xff", b'{"artstore":"\xff"}'])
def test_a_format_file_that_says_nothing_is_damaged(root: Root, data: bytes) -> None:
    (root.path / "format.json").write_bytes(data)

    with pytest.raises(Corrupt) as caught:
        Root(root.path)
    assert caught.value.code == "store-damaged"

    # As the message says.
    (root.path / "format.json").unlink()
    Root.create(root.path).check_catalog()


def test_a_format_file_that_is_lost_can_be_made_again(root: Root, tmp_path: Path) -> None:
    """Told that there is no store, its owner would make another one elsewhere, and take this one for lost."""
    root.close()
    (tmp_path / "a").write_bytes(b"a")
    with Store.open(root.path) as store:
        store.put([tmp_path / "a"], name="cats", type="t")
    # What `artstore remote add` notes, which is no part of a new store.
    (root.path / "remotes.toml").write_text("")
    (root.path / "format.json").unlink()

    with pytest.raises(Corrupt, match=f"artstore init {root.path}") as caught:
        Store.open(root.path)
    assert caught.value.code == "store-damaged"
    with Store.init(root.path) as again:
        assert 1 == again.version("cats").files
        assert [] == again.verify().problems


def test_a_newer_format_is_refused(root: Root) -> None:
    """D2, D9, I17. It may mean something else by every file."""
    change_format(root, format=2, min_reader=2)

    with pytest.raises(UpgradeNeeded) as caught:
        Root(root.path)
    assert caught.value.code == "newer-store"


def test_a_newer_format_that_can_be_read_is_only_read(root: Root, tmp_path: Path) -> None:
    """No other place and no right would help whoever wants to write, so the error says what does."""
    root.close()
    (tmp_path / "a").write_bytes(b"a")
    older = (root.path / "catalog.db").read_bytes()
    with Store.open(root.path) as store:
        store.put([tmp_path / "a"], name="cats", type="t")
    # What is to be folded is folded in memory.
    (root.path / "catalog.db").write_bytes(older)
    change_format(root, format=2, min_reader=1, colour="red")

    with Store.open(root.path) as opened:
        assert (True, 1) == (opened.read_only, opened.version("cats").files)
        for write in lambda: opened.put([tmp_path / "a"], name="dogs", type="t"), opened.gc:
            with pytest.raises(UpgradeNeeded, match="install a newer artstore") as caught:
                write()
            assert caught.value.code == "newer-store"
    assert older == (root.path / "catalog.db").read_bytes()


def test_fields_of_the_future_do_not_matter(root: Root) -> None:
    change_format(root, colour="red")

    assert not Root(root.path).read_only


@pytest.mark.parametrize("what", ["missing", "empty", "garbage"])
def test_a_catalog_that_is_lost_is_an_error_with_the_way_out(root: Root, what: str) -> None:
    """S10. The log has all of it: nobody may take an empty list for the state of the store."""
    root.close()
    file = root.path / "catalog.db"
    if what == "missing":
        file.unlink()
    else:
        file.write_bytes(b"" if what == "empty" else os.urandom(10_000))

    with pytest.raises(Corrupt) as caught:
        Root(root.path).check_catalog()
    expected = "catalog-damaged" if what == "garbage" else "catalog-missing"
    assert (caught.value.code, "artstore rebuild" in caught.value.message) == (expected, True)


READ = """
import sys
from pathlib import Path
from artstore.errors import ReadOnlyStore
from artstore.storage.root import Root
drop_rights()
root = Root(Path(sys.argv[1]))
root.check_catalog()
print(root.read_only, len(root.catalog.projects()))
try:
    root.catalog.check_writable()
except ReadOnlyStore as error:
    print(error.code)
"""


def test_a_store_of_another_user_can_be_read(open_folder: Path, children: Children) -> None:
    """S6. A colleague's datasets are read where they lie, and stay as they are."""
    root = Root.create(open_folder / "store")
    with root.catalog.write():
        root.catalog.add_project("p", "0" * 32)
    root.close()
    for path in (root.path, *root.path.rglob("*")):
        path.chmod(path.stat().st_mode & ~0o222)
    before = tree(root.path)
    try:
        said = children.run(READ, root.path, as_nobody=True)
    finally:
        for path in (root.path, *root.path.rglob("*")):
            path.chmod(path.stat().st_mode | 0o200)

    assert (["True", "1", "read-only-store"], before) == (said.split(), tree(root.path))


@pytest.mark.root
def test_a_store_on_a_read_only_mount_can_be_read(volume: Path) -> None:
    """S6. A snapshot or a DVD."""
    root = Root.create(volume / "store")
    with root.catalog.write():
        root.catalog.add_project("p", "0" * 32)
    root.close()
    subprocess.run(["mount", "-o", "remount,ro", str(volume)], check=True)
    opened = Root(root.path)
    opened.check_catalog()

    assert opened.read_only
    assert ["p"] == [project.name for project in opened.catalog.projects()]
    with pytest.raises(ArtstoreError) as caught:
        opened.session("put")
    assert isinstance(caught.value, ReadOnlyStore)
    opened.close()


@pytest.mark.parametrize("name", sorted(roots._FOLDERS))
def test_an_empty_folder_that_a_copy_left_out_is_made_again(tmp_path: Path, name: str) -> None:
    """git, zip and object stores keep no empty folders, and a store that came that way must not be half a store."""
    Store.init(tmp_path / "store").close()
    shutil.rmtree(tmp_path / "store" / name)
    with Store.open(tmp_path / "store") as store:
        store.put(Path(__file__), name="a", type="t")
        store.gc(grace_s=0)
        assert store.verify().problems == []
    assert Store.rebuild(tmp_path / "store").lost == []
