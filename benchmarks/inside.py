"""Inside: what is measured, or made ready, by a process that imports artstore.

    python -m benchmarks.inside verify STORE [--fast]
    python -m benchmarks.inside fill STORE TREE --name NAME --files N --first A --last B
    python -m benchmarks.inside grow STORE TREE --name NAME --versions N
    python -m benchmarks.inside add STORE TREE --how add_file|add_dir

Prints one line of JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path

from artstore import Artifact, Store, init
from artstore.sync.rounds import exchange
from benchmarks.workloads import entries


def main() -> None:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.inside")
    verbs = parser.add_subparsers(dest="verb", required=True)
    check = verbs.add_parser("verify", help="time Store.verify")
    check.add_argument("store", type=Path)
    check.add_argument("--fast", action="store_true")
    filler = verbs.add_parser("fill", help="put a tree many times, a hundredth of it changed before each")
    filler.add_argument("store", type=Path)
    filler.add_argument("tree", type=Path)
    filler.add_argument("--name", required=True)
    filler.add_argument("--files", type=int, required=True)
    filler.add_argument("--first", type=int, required=True)
    filler.add_argument("--last", type=int, required=True)
    grower = verbs.add_parser("grow", help="put versions of the same few bytes, and push each by itself")
    grower.add_argument("store", type=Path)
    grower.add_argument("tree", type=Path)
    grower.add_argument("--name", required=True)
    grower.add_argument("--versions", type=int, required=True)
    adder = verbs.add_parser("add", help="make a store, and time the adding of a tree to an artifact")
    adder.add_argument("store", type=Path)
    adder.add_argument("tree", type=Path)
    adder.add_argument("--how", choices=["add_file", "add_dir"], required=True)
    options = parser.parse_args()
    if options.verb == "verify":
        seconds = verify(options.store, fast=options.fast)
    elif options.verb == "grow":
        seconds = grow(options.store, options.tree, options.name, options.versions)
    elif options.verb == "add":
        seconds = add(options.store, options.tree, options.how)
    else:
        seconds = fill(options.store, options.tree, options.name, options.files, range(options.first, options.last + 1))
    print(json.dumps({"seconds": seconds}))


def verify(root: Path, *, fast: bool) -> float:
    """Seconds that checking everything takes. Ends the process if anything is damaged: no figure stands on that."""
    with Store.open(root) as store:
        start = time.perf_counter()
        report = store.verify(fast=fast)
        seconds = time.perf_counter() - start
    if not report.ok:
        message = f"the store is damaged: {report.problems}"
        raise SystemExit(message)
    return seconds


def fill(root: Path, tree: Path, name: str, files: int, numbers: range) -> float:
    """Commit a version for each number; seconds of them all, the changing of the tree included."""
    workload = entries(files)
    start = time.perf_counter()
    with Store.open(root) as store:
        for number in numbers:
            workload.change(tree, seed=str(number))
            store.put([tree], name=name, type="dataset")
    return time.perf_counter() - start


def grow(root: Path, tree: Path, name: str, versions: int) -> float:
    """Commit versions and push each into a slot of its own; seconds of them all. No two are alike, and two blobs do."""
    start = time.perf_counter()
    with Store.open(root) as store:
        for number in range(versions):
            for bit in range(versions.bit_length()):
                (tree / f"bit{bit:02}").write_bytes(b"%d" % (number >> bit & 1))
            store.put([tree], name=name, type="dataset")
            (report,) = exchange(store, "push").projects
            assert (report.error, report.pushed.slots) == (None, 1), report
    return time.perf_counter() - start


def add(root: Path, tree: Path, how: str) -> float:
    """Seconds that adding all files of a tree to one artifact takes; that it is logged then is not counted."""
    Store.init(root).close()
    # Else it would be the user's own store, which may know the files from the lap before.
    os.environ["ARTSTORE_DIR"] = str(root)
    paths = {path: path.relative_to(tree) for path in sorted(tree.rglob("*")) if path.is_file()}
    with init() as run:
        artifact = Artifact("tree", "dataset")
        start = time.perf_counter()
        if how == "add_dir":
            artifact.add_dir(tree)
        else:
            for path, name in paths.items():
                artifact.add_file(path, name)
        seconds = time.perf_counter() - start
        run.log_artifact(artifact).wait()
        assert len(paths) == artifact.file_count
    with Store.open(root) as store:
        assert len(paths) == store.version("tree").files
    return seconds


if __name__ == "__main__":
    main()
