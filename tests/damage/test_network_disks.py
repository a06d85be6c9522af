"""What network file systems do otherwise: no locks, an answer that is lost, a handle that is stale, a file that cannot
go.

None can be mounted everywhere, so what they do is done to real calls on a real disk: by strace to those of a process,
and else to those of this one.
"""

from __future__ import annotations

import errno
import io
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from artstore import Store
from artstore.errors import Corrupt
from artstore.storage.files import publish
from tests.damage.disks import put, read
from tests.faults.equipment import require

CLI = [sys.executable, "-m", "artstore"]
LARGE = bytes(range(256)) * 8_000


@pytest.mark.usefixtures("unmeasured")
@pytest.mark.parametrize("error", ["ENOLCK", "ENOSYS", "EOPNOTSUPP"])
@pytest.mark.parametrize(
    "words", [["put", "file", "--name", "n", "--type", "t"], ["gc"], ["init", "other"]], ids=" ".join
)
def test_a_file_system_without_locks_is_refused(tmp_path: Path, error: str, words: list[str]) -> None:
    """S2. A session that cannot be locked counts as dead, and `gc` would free what it needs; waiting helps nobody."""
    require("strace")
    (tmp_path / "file").write_bytes(b"data")
    Store.init(tmp_path / "store").close()
    traced = ["strace", "-f", "-qq", "-o", os.devnull, "-e", "trace=flock", "-e", f"inject=flock:error={error}"]
    ended = subprocess.run(
        [*traced, *CLI, "--store", str(tmp_path / "store"), *words],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert ended.returncode == 7, ended.stderr
    assert "locks" in ended.stderr
    assert "this machine" in ended.stderr
    with Store.open(tmp_path / "store") as store:
        assert ([], True) == (store.collections(), store.verify().ok)


@pytest.fixture
def lost_answers(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Each link is made, and the answer says that the name was taken, as when the first answer is lost; see [S63]."""
    link = os.link
    lost: list[str] = []

    def linked(source: Any, target: Any, **options: Any) -> None:
        link(source, target, **options)
        lost.append(str(target))
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), target)

    monkeypatch.setattr(os, "link", linked)
    return lost


@pytest.mark.parametrize("data", [b"small", LARGE], ids=["packed", "whole"])
def test_a_link_whose_answer_was_lost_is_made(store: Store, lost_answers: list[str], data: bytes) -> None:
    """S5. The version was there, the answer was `repeat`, and who repeated it had its aliases moved twice."""
    first = put(store, data)
    store.alias(first, ["best"])
    second = put(store, data + b"2")
    store.delete(first, force=True)
    store.gc(grace_s=0)

    assert ("p/cats:v0", "p/cats:v1") == (first, second)
    assert data + b"2" == read(store, second)
    assert [1] == [version.number for version in store.versions("p/cats")]
    assert store.verify().ok
    assert any("/ops/" in each for each in lost_answers)
    with Store.open(store.path) as again:
        assert again.verify().ok


def test_a_name_that_another_has_is_still_taken(tmp_path: Path) -> None:
    """S5. Or two writers would both be told that theirs is the transaction of that place."""
    for name in ("mine", "theirs"):
        (tmp_path / name).write_bytes(b"same bytes")
    os.link(tmp_path / "theirs", tmp_path / "name")

    assert not publish(str(tmp_path / "mine"), str(tmp_path / "name"))


def once(patch: pytest.MonkeyPatch, name: str, number: int, is_meant: Callable[[Any], bool]) -> list[Any]:
    """Let a call fail, the first time that it is about what is meant."""
    real = getattr(os, name)
    failed: list[Any] = []

    def call(what: Any, *arguments: Any, **options: Any) -> Any:
        if not failed and is_meant(what):
            failed.append(what)
            raise OSError(number, os.strerror(number))
        return real(what, *arguments, **options)

    patch.setattr(os, name, call)
    return failed


def lies_in(*folders: str) -> Callable[[Any], bool]:
    def is_meant(what: Any) -> bool:
        path = os.readlink(f"/proc/self/fd/{what}") if isinstance(what, int) else os.fspath(what)
        return any(f"/store/{folder}/" in path for folder in folders)

    return is_meant


@pytest.mark.parametrize("data", [b"small", LARGE], ids=["packed", "whole"])
@pytest.mark.parametrize("way", ["read", "get"])
def test_a_stale_handle_is_opened_again(store: Store, tmp_path: Path, way: str, data: bytes) -> None:
    """S4. The server was started again, or the file was replaced by one of the same name: a new look finds it."""
    reference = put(store, data)
    failed = []
    for name in ("open", "pread", "preadv", "readv"):
        with pytest.MonkeyPatch.context() as patch:
            failed.append(once(patch, name, errno.ESTALE, lies_in("packs", "blobs")))
            found = read(store, reference) if way == "read" else got(store, reference, tmp_path / name)
            assert data == found, name

    assert 2 <= len(list(filter(None, failed)))


def got(store: Store, reference: str, target: Path) -> bytes:
    store.get(reference, target)
    return (target / "f").read_bytes()


def test_what_stays_stale_is_an_error(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """S4. It is looked for twice, and not for ever."""
    reference = put(store, LARGE)
    real = os.open

    def stale(path: Any, *arguments: Any, **options: Any) -> int:
        if "/store/blobs/" in os.fspath(path):
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))
        return real(path, *arguments, **options)

    monkeypatch.setattr(os, "open", stale)
    with pytest.raises(Corrupt) as caught:
        read(store, reference)

    assert caught.value.code == "io-error"


def test_files_that_others_have_open_are_nobody_s(store: Store) -> None:
    """S4. What is deleted while a process has it open stays as `.nfs…`: it is no pack, no session and no rubbish."""
    first = put(store, b"1")
    store.start_run(id="r")
    with store.draft() as draft:
        draft.add_stream(io.BytesIO(b"2"), "f")
        store.commit(draft, name="dogs", type="t", project="p")
    put(store, LARGE, "large")
    folders = [path for path in (store.path, *store.path.rglob("*")) if path.is_dir()]
    left = [folder / ".nfs000000000012f0a400000001" for folder in folders]
    for path in left:
        path.write_bytes(b"open")
    store.delete("p/dogs:v0")
    for _ in range(2):
        store.gc(grace_s=0)
    store.repair()

    assert store.verify().ok
    assert b"1" == read(store, first)
    assert [] == [path for path in left if path.parent.is_dir() and not path.exists()]
    assert [] == [check for check in store.doctor() if check.name == "leftover sessions" and not check.ok]
    Store.rebuild(store.path)
    with Store.open(store.path) as again:
        assert b"1" == read(again, first)
        assert again.verify().ok
