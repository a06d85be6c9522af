"""One store seen from several containers: process numbers repeat, paths differ, and nothing is decided by either."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from artstore import Store
from artstore.errors import Refused
from tests.damage.conftest import mounted
from tests.damage.disks import put, read
from tests.lacking import lacking

WRITER = """
import io, os, sys
from artstore import Store
with Store.open(sys.argv[1]) as store, store.draft() as draft:
    draft.add_stream(io.BytesIO(sys.argv[2].encode()), "f")
    draft.intake.settle()
    print(os.getpid(), flush=True)
    sys.stdin.readline()
    print(store.commit(draft, name=sys.argv[2], type="t", project="p").ref, flush=True)
"""


class Containers:
    """Processes that are each the first of a process namespace, and so all have the same number."""

    def __init__(self) -> None:
        self._started: list[subprocess.Popen[str]] = []

    def start(self, store: Path, name: str) -> subprocess.Popen[str]:
        """Begin a commit, up to where its bytes are stored; it goes on with the next line that it is given."""
        started = subprocess.Popen(
            # --kill-child: what unshare has forked ends with it.
            ["unshare", "--pid", "--fork", "--kill-child", sys.executable, "-c", WRITER, str(store), name],
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._started.append(started)
        assert started.stdout is not None
        number = started.stdout.readline().strip()
        if not number:
            lacking(f"there are no process namespaces here: {started.communicate()[1]}")
        assert number == "1"
        return started

    def end(self) -> None:
        """Kill what is still there."""
        for each in self._started:
            each.kill()
            each.communicate()


@pytest.fixture
def containers() -> Iterator[Containers]:
    if shutil.which("unshare") is None:
        lacking("needs unshare (util-linux)")
    started = Containers()
    yield started
    started.end()


def finish(writer: subprocess.Popen[str]) -> str:
    said, complaints = writer.communicate("go on\n", timeout=60)
    assert writer.returncode == 0, complaints
    return said.strip()


@pytest.mark.root
@pytest.mark.usefixtures("unmeasured")
def test_two_containers_with_one_process_number_are_two(store: Store, containers: Containers) -> None:
    """S11. By its number each would take the other for itself, and the one that is dead for the one that lives."""
    first, second = containers.start(store.path, "first"), containers.start(store.path, "second")
    assert 2 == len(store.status().sessions)
    first.kill()
    first.wait()
    store.gc(grace_s=0)
    store.gc(grace_s=0)
    reference = finish(second)

    assert b"second" == read(store, reference)
    assert ["second"] == [each.name for each in store.collections()]
    assert ([], True) == (store.status().sessions, store.verify().ok)


@pytest.mark.root
@pytest.mark.usefixtures("unmeasured")
def test_a_store_that_is_mounted_at_two_places_is_one(store: Store, tmp_path: Path, containers: Containers) -> None:
    """S11. A volume lies elsewhere in each container, and `gc` in one must know of the commits in the other."""
    elsewhere = tmp_path / "volume"
    elsewhere.mkdir()
    mounted(elsewhere, "--bind", str(store.path))
    try:
        writer = containers.start(elsewhere, "there")
        with Store.open(store.path) as here:
            here.gc(grace_s=0)
            here.gc(grace_s=0)
            reference = finish(writer)
            assert b"there" == read(here, reference)
            assert here.verify().ok
    finally:
        subprocess.run(["umount", "--lazy", str(elsewhere)], check=True)


def test_a_store_that_was_copied_while_it_was_used_is_whole_or_says_what_to_do(store: Store, tmp_path: Path) -> None:
    """S11. `cp -r` copies catalog and log at different moments, and takes no lock."""
    first = put(store, b"1")
    with store.draft():
        shutil.copytree(store.path, tmp_path / "copy")
    with Store.open(tmp_path / "copy") as copy:
        assert b"1" == read(copy, first)
        assert copy.verify().ok
        second = put(copy, b"2")
        assert [] == copy.status().sessions
    with Store.open(store.path) as again:
        assert [0] == [version.number for version in again.versions("p/cats")]
        assert "p/cats:v1" == second


def test_a_store_that_moves_while_it_is_open_is_found_again(store: Store, tmp_path: Path) -> None:
    """S11. Nothing in it says where it lies."""
    first = put(store, b"1")
    store.close()
    store.path.rename(tmp_path / "moved")
    with Store.open(tmp_path / "moved") as moved:
        assert b"1" == read(moved, first)
        assert "p/cats:v1" == put(moved, b"2")
        assert moved.verify().ok


def test_a_catalog_with_a_second_name_is_refused(store: Store, tmp_path: Path) -> None:
    """S11. After `cp -al` two stores write into one catalog, each with a journal of its own: both are lost."""
    first = put(store, b"1")
    store.close()
    shutil.copytree(store.path, tmp_path / "copy", copy_function=os.link)
    for path in (store.path, tmp_path / "copy"):
        with pytest.raises(Refused) as caught:
            Store.open(path)
        assert caught.value.code == "linked-catalog"
        assert "rebuild`" in caught.value.message
    Store.rebuild(tmp_path / "copy")

    for path in (store.path, tmp_path / "copy"):
        with Store.open(path) as opened:
            assert b"1" == read(opened, first)
            assert opened.verify().ok
