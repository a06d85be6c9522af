"""Shared work: done once and whole, whoever did it and whoever died of it."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from artstore.lifecycle.share import share
from artstore.store import Store

if TYPE_CHECKING:
    from tests.conftest import Children

only_linux = pytest.mark.skipif(sys.platform != "linux", reason="children are forked on Linux only")
two_processors = pytest.mark.skipif(
    sys.platform == "linux" and len(os.sched_getaffinity(0)) < 2, reason="one processor has nobody to share with"
)

SHARED = """
import os, signal, sys, time
from artstore.lifecycle.share import can_fork, share

parent = os.getpid()
def is_child(): return os.getpid() != parent
"""


@only_linux
@two_processors
def test_every_part_is_done_once_and_by_more_than_one_process(children: Children) -> None:
    """A part that two did could be written by both at once, one that nobody did is a file that is not there."""
    said = children.run(
        SHARED
        + """
def work(number):
    time.sleep(0.002)
    return number * 3, os.getpid()
answers = list(share(work, 200, tuple[int, int]))
assert sorted((number, value) for number, (value, _) in answers) == [(n, 3 * n) for n in range(200)], answers
print(can_fork(), len({pid for _, (_, pid) in answers}) > 1)
"""
    )
    assert said == "True True"


@only_linux
@two_processors
def test_two_that_ask_at_the_same_moment_get_different_parts(children: Children) -> None:
    """A `get` failed with "File exists" when two processes were given the same files."""
    said = children.run(
        SHARED
        + """
for _ in range(5):
    done = sorted(number for number, _ in share(lambda number: number, 50_000, int))
    assert done == list(range(50_000)), len(done)
print("once")
"""
    )
    assert said == "once"


@only_linux
@two_processors
@pytest.mark.parametrize("end", ["os.kill(os.getpid(), signal.SIGKILL)", "1 / 0", "sys.exit(3)"])
def test_what_a_child_does_not_end_is_done_again(children: Children, end: str) -> None:
    """A child that the system kills for its memory must not cost files, nor be an error that nobody can act on."""
    said = children.run(
        SHARED
        + f"""
def work(number):
    if is_child() and number >= 3:
        {end}
    time.sleep(0.01)
    return number
redone = []
answers = [n for n, _ in share(work, 40, int, again=lambda number: redone.append(number) or number)]
print(sorted(answers) == list(range(40)), 0 < len(redone) < os.cpu_count())
"""
    )
    assert said == "True True"


@only_linux
@two_processors
def test_an_error_is_raised_here_and_ends_the_work(children: Children) -> None:
    """An error that stayed in a child would be a file that was silently not written."""
    said = children.run(
        SHARED
        + """
def work(number):
    time.sleep(0.002)
    if number == 17:
        raise LookupError(number)
    return number
try:
    list(share(work, 5000, int))
except LookupError as error:
    print(error)
try:
    os.waitpid(-1, os.WNOHANG)
except ChildProcessError:
    print("no child is left")
"""
    )
    assert said == "17\nno child is left"


@only_linux
@two_processors
def test_whoever_is_interrupted_does_not_wait_for_a_child(children: Children, tmp_path: Path) -> None:
    """A get that was told to end went on for as long as a child was at a large file; and it leaves nothing behind."""
    began = time.monotonic()
    said = children.run(
        SHARED
        + """
left = sys.argv[1]
def work(number):
    if is_child():
        open(left, "w").close()
        try:
            time.sleep(50)
        finally:
            os.unlink(left)
    while not os.path.exists(left):
        time.sleep(0.001)
    raise LookupError(number)
try:
    list(share(work, 2, int))
except LookupError as error:
    print("raised", os.path.exists(left))
""",
        tmp_path / "left",
    )

    assert said == "raised False"
    assert time.monotonic() - began < 30


@only_linux
@two_processors
def test_a_child_ends_with_its_parent(children: Children, tmp_path: Path) -> None:
    """Whoever kills a get must not find that its files go on appearing."""
    parent = children.start(
        SHARED
        + """
folder = sys.argv[1]
def work(number):
    time.sleep(0.01)
    open(os.path.join(folder, str(number)), "w").close()
    if number == 10:
        print("running", flush=True)
    return number
list(share(work, 100000, int))
""",
        tmp_path,
    )
    assert parent.stdout is not None
    assert parent.stdout.readline() == "running\n"
    parent.kill()
    parent.wait()
    time.sleep(0.1)
    before = len(list(tmp_path.iterdir()))
    time.sleep(0.2)
    assert before == len(list(tmp_path.iterdir()))


@only_linux
def test_beside_other_threads_no_process_is_forked(children: Children) -> None:
    """A lock that another thread holds at that moment would stay locked in the child for ever."""
    said = children.run(
        SHARED
        + """
import threading
done = threading.Event()
other = threading.Thread(target=done.wait)
other.start()
pids = {pid for _, pid in share(lambda number: os.getpid(), 50, int)}
done.set()
other.join()
print(pids == {parent})
"""
    )
    assert said == "True"


def test_threads_do_every_part_and_raise_what_one_raises() -> None:
    def fail(number: int) -> int:
        if number == 7:
            raise LookupError(number)
        return number

    assert sorted(share(lambda number: number * 2, 50, int)) == [(number, number * 2) for number in range(50)]
    with pytest.raises(LookupError):
        list(share(fail, 50, int))


@only_linux
@two_processors
@pytest.mark.parametrize("does_die", [False, True])
def test_a_get_by_several_processes_brings_every_byte(
    store: Store, tmp_path: Path, children: Children, *, does_die: bool
) -> None:
    """What a child wrote, or half wrote before it was killed, is the version all the same."""
    tree = tmp_path / "tree"
    files = {f"d{number // 100}/f{number}": f"{number}".encode() * number for number in range(1_500)}
    for path, data in files.items():
        (tree / path).parent.mkdir(parents=True, exist_ok=True)
        (tree / path).write_bytes(data)
    store.put([tree], name="many", type="dataset")
    said = children.run(
        SHARED
        + """
from pathlib import Path
from artstore import Store
from artstore.lifecycle.target import Target

write = Target.write
def deadly(self, name, data, *, replaces):
    if is_child() and len(data) > 3000 and sys.argv[3] == "True":
        write(self, name, data[:100], replaces=replaces)
        os.kill(os.getpid(), signal.SIGKILL)
    write(self, name, data, replaces=replaces)
Target.write = deadly
with Store.open(Path(sys.argv[2])) as store:
    report = store.get("many", Path(sys.argv[1]))
print(report.written + report.unchanged)
""",
        tmp_path / "out",
        store.path,
        does_die,
    )
    assert said == "1500"
    assert files == {
        str(path.relative_to(tmp_path / "out")): path.read_bytes()
        for path in (tmp_path / "out").rglob("*")
        if path.is_file()
    }


@only_linux
@two_processors
def test_what_a_child_finds_when_all_is_verified_is_told(store: Store, tmp_path: Path, children: Children) -> None:
    """Damage that only the child saw must not be lost with it."""
    (tmp_path / "file").write_bytes(b"bytes")
    store.put([tmp_path / "file"], name="cats", type="t")
    (pack,) = (store.path / "packs").iterdir()
    pack.chmod(0o644)
    with pack.open("r+b") as file:
        file.seek(130)
        file.write(b"7")
    said = children.run(
        SHARED
        + """
from pathlib import Path
from artstore import Store
with Store.open(Path(sys.argv[1])) as store:
    print(can_fork(), [problem.kind for problem in store.verify().problems])
""",
        store.path,
    )
    assert said == "True ['pack-damaged']"
