"""As many files as there are: a folder is read as it comes, and what is kept in memory for each is little."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.conftest import Children
from tests.faults.equipment import memory

FEW, MANY = 2_000, 42_000
LIMIT = 1_536
"""Bytes that a file may take in memory, that of its name included. A dictionary that has just grown is half empty."""

PUT_AND_GET = """
import resource, sys
from pathlib import Path
from artstore.store import Store
folder, count = Path(sys.argv[1]), int(sys.argv[2])
(folder / "source").mkdir()
for number in range(count):
    (folder / "source" / f"file-{number:07d}").write_bytes(b"%d" % number)
with Store.init(folder / "store") as store:
    store.put(folder / "source", name="many", type="t")
    store.get("many", folder / "out")
    assert sum(1 for _ in store.entries("many")) == count
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
"""


@pytest.mark.slow
@pytest.mark.usefixtures("unmeasured")
def test_a_folder_of_many_files_takes_little_memory(tmp_path: Path, children: Children) -> None:
    """F11. A million files in one folder are to be put on a machine that trains at the same time."""
    folder = (memory() or tmp_path) / tmp_path.name
    taken = []
    try:
        for count in (FEW, MANY):
            place = folder / str(count)
            place.mkdir(parents=True)
            taken.append(int(children.run(PUT_AND_GET, place, count)))
    finally:
        shutil.rmtree(folder, ignore_errors=True)

    assert (taken[1] - taken[0]) / (MANY - FEW) < LIMIT


SIZE = 200 << 20
LARGE = """
import resource, sys
from pathlib import Path
from artstore import Store
folder = Path(sys.argv[1])
with Store.init(folder / "store") as store:
    (folder / "small").write_bytes(bytes(2 << 20))
    store.put(folder / "small", name="small", type="t")
    store.get("small", folder / "first")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    store.put(folder / "large", name="large", type="t")
    store.get("large", folder / "second", mode="copy")
    assert (folder / "second" / "large").stat().st_size == int(sys.argv[2])
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024)
"""


@pytest.mark.slow
@pytest.mark.usefixtures("unmeasured")
def test_a_large_file_streams(tmp_path: Path, children: Children) -> None:
    """A checkpoint larger than the memory beside the training that wrote it has to go in and come out."""
    with (tmp_path / "large").open("wb") as file:
        file.write(b"head")
        file.truncate(SIZE)

    assert int(children.run(LARGE, tmp_path, SIZE)) < SIZE // 4
