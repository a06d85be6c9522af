"""Reading beside a child: what two processes read is kept as if one had, whatever becomes of the child."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from artstore.store import Store

if TYPE_CHECKING:
    from tests.conftest import Children

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or len(os.sched_getaffinity(0)) < 2, reason="a child reads on Linux with two processors"
)

PUT = """
import os, signal, sys
from pathlib import Path
from artstore import Store
from artstore.errors import ArtstoreError
from artstore.lifecycle import reading

parent = os.getpid()
asked = []
ask = reading._Child.ask
def noted(self, number, batch):
    asked.append(len(batch))
    return ask(self, number, batch)
reading._Child.ask = noted
{change}
with Store.open(Path(sys.argv[1])) as store:
    try:
        report = store.put([Path(sys.argv[2])], name="cats", type="t")
        print(report.files, report.new_files, sum(asked) > 0)
    except ArtstoreError as error:
        print(error.code, error.message, [str(c) for c in store.collections()])
"""


@pytest.fixture(scope="module")
def files() -> dict[str, bytes]:
    """Small, empty and not quite small files; each fifth has the bytes of another in another folder."""
    sizes = [0, 1, 511, 512, 513, 10_000, 300_000]
    return {
        f"d{number // 200}/f{number}": f"{number % 800 if number % 5 == 0 else number}".encode() * sizes[number % 7]
        for number in range(1_600)
    }


@pytest.fixture
def folder(tmp_path: Path, files: Mapping[str, bytes]) -> Path:
    for path, data in files.items():
        (tmp_path / "tree" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "tree" / path).write_bytes(data)
    return tmp_path / "tree"


def contents(store: Store) -> dict[str, bytes]:
    return {entry.path: b"".join(store.read("cats", entry.path)) for entry in store.entries("cats")}


DIES = """
read = reading._read_one
def deadly(fd, data, at):
    if os.getpid() != parent and os.fstat(fd).st_size > 250_000:
        os.kill(os.getpid(), signal.SIGKILL)
    return read(fd, data, at)
reading._read_one = deadly
"""
FAILS = """
read = reading._read_one
def failing(fd, data, at):
    if os.getpid() != parent:
        raise ZeroDivisionError
    return read(fd, data, at)
reading._read_one = failing
"""


@pytest.mark.slow
@pytest.mark.parametrize("change", ["", DIES, FAILS], ids=["lives", "is killed", "fails"])
def test_every_byte_is_kept_once(
    store: Store, folder: Path, files: Mapping[str, bytes], children: Children, change: str
) -> None:
    """What the child had, it may have had to itself: neither lost when it dies, nor stored by both."""
    said = children.run(PUT.format(change=change), store.path, folder)

    assert said == f"{len(files)} {len(set(files.values()))} True"
    assert contents(store) == files
    assert store.verify().ok


def test_what_vanishes_before_the_child_reads_it_is_named(store: Store, folder: Path, children: Children) -> None:
    """F4. The child cannot raise; its silence must not become a version that lacks a file."""
    said = children.run(
        PUT.format(
            change="""
def removing(self, number, batch):
    os.unlink(batch[7].source) if not asked else None
    return noted(self, number, batch)
reading._Child.ask = removing
"""
        ),
        store.path,
        folder,
    )

    assert said.startswith("unreadable 1 of the sources cannot be kept")
    assert said.endswith("[]")


def test_the_child_ends_with_its_parent(store: Store, folder: Path, children: Children) -> None:
    """A killed put holds its session, and what `gc` may not free, only as long as anything of it lives."""
    parent = children.start(
        PUT.format(
            change="""
def telling(self, number, batch):
    print(self._pid, flush=True)
    signal.pause()
reading._Child.ask = telling
"""
        ),
        store.path,
        folder,
    )
    assert parent.stdout is not None
    assert int(parent.stdout.readline()) != parent.pid
    parent.kill()
    # It has the same standard output, which ends when the last who could write to it does.
    assert parent.communicate(timeout=30)[0] == ""
