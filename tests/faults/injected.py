"""Injected errors: the command line under strace, which lets real system calls fail, SQLite's own among them.

    python -m tests.faults.injected --every 5

Each verb runs once to count its calls of each kind on the store, then once for a call and error. The command answers
with one of its exit codes and no traceback, what it acknowledged stays, and without the fault it succeeds.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, NamedTuple

from tests.faults import equipment
from tests.faults.equipment import memory
from tests.faults.failing_calls import Place
from tests.faults.ledger import Ledger, Tree
from tests.faults.oracle import check

CALLS: Final = (
    *("fsync", "fdatasync", "pwrite64", "pwritev2", "link", "rename", "unlink", "ftruncate", "fchmod", "mkdir"),
    *("flock", "pread64"),
)
ERRORS: Final = ("EIO", "ENOSPC")
CODES: Final = frozenset({0, 2, 3, 4, 5, 6, 7, 8})
LIMIT_S: Final = 120.0

_LINE: Final = re.compile(r"^(\d+) +(\w+)\((.*)")
_SMALL: Final[Tree] = {"k": 3, "a/l": 5}
_LARGE: Final[Tree] = {"k": 3, "a/l": 7}


class Verb(NamedTuple):
    """A command on a store that has had others before."""

    name: str
    words: tuple[str, ...]
    tree: Tree | None
    """What it puts."""


VERBS: Final = (
    Verb("put", ("put", "{source}", "--name", "own", "--type", "data"), _LARGE),
    Verb("gc", ("gc", "--grace", "0"), None),
    Verb("alias", ("alias", "own:v0", "best"), None),
    Verb("rebuild", ("rebuild",), None),
)


class Outcome(NamedTuple):
    """What became of one command."""

    verb: str
    call: str
    error: str
    nth: int
    wrong: list[str]


def run(folder: Path, *, every: int = 1, workers: int = 2) -> list[Outcome]:
    """Let every so many calls of each kind on the store fail, the first and last among them."""
    _prepare(folder / "state")
    jobs: list[tuple[Verb, str, str, int]] = []
    for verb in VERBS:
        for call, nths in _numbered(verb, folder).items():
            chosen = sorted({*nths[::every], nths[-1]})
            jobs += [(verb, call, error, nth) for nth in chosen for error in ERRORS]
    with ThreadPoolExecutor(workers) as pool:
        return list(pool.map(lambda job: _one(job[1], folder / f"run{job[0]}"), enumerate(jobs)))


def _prepare(folder: Path) -> None:
    """A store with two versions, of which the second was deleted."""
    folder.mkdir(parents=True)
    ledger = Ledger(folder / "ledger")
    _artstore(folder, "init", str(folder / "store"))
    for tree in (_SMALL, {**_SMALL, "m": 9}):
        _put(folder, ledger, tree, ())
    key = ledger.attempt("delete", refs=["uncategorized/own:v1"])
    _artstore(folder, "--store", str(folder / "store"), "delete", "own:v1")
    ledger.answer(key)


def _put(folder: Path, ledger: Ledger, tree: Tree, tracer: Sequence[str]) -> subprocess.CompletedProcess[str]:
    source = Place(folder, ledger).tree(tree)
    key = ledger.attempt("put", collection="uncategorized/own", tree=tree, aliases=())
    words = ("put", str(source), "--name", "own", "--type", "data", "--json")
    done = _artstore(folder, "--store", str(folder / "store"), *words, tracer=tracer)
    if done.returncode == 0:
        version = json.loads(done.stdout)["version"]
        ledger.answer(key, ref=version["ref"], id=version["id"], digest=version["digest"])
    return done


def _artstore(folder: Path, *words: str, tracer: Sequence[str] = ()) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "HOME": str(folder)}
    return subprocess.run(
        [*tracer, sys.executable, "-m", "artstore.cli", *words],
        env={name: value for name, value in environment.items() if not name.startswith("COVERAGE_")},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )


def _act(verb: Verb, folder: Path, ledger: Ledger, tracer: Sequence[str]) -> subprocess.CompletedProcess[str]:
    if verb.tree is not None:
        return _put(folder, ledger, verb.tree, tracer)
    key = ledger.attempt(verb.name, collection="uncategorized/own", alias="best", ref="uncategorized/own:v0")
    done = _artstore(folder, "--store", str(folder / "store"), *verb.words, tracer=tracer)
    if done.returncode == 0:
        ledger.answer(key)
    return done


def _numbered(verb: Verb, folder: Path) -> dict[str, list[int]]:
    """Which calls of each kind, counted within their thread as strace counts them, are on the store."""
    place = folder / f"count-{verb.name}"
    shutil.copytree(folder / "state", place)
    log = place / "trace"
    tracer = ("strace", "-f", "-qq", "-y", "-o", str(log), "-e", f"trace={','.join(CALLS)}")
    done = _act(verb, place, Ledger(place / "ledger"), tracer)
    assert done.returncode == 0, done.stderr
    counts: Counter[tuple[str, str]] = Counter()
    found: dict[str, set[int]] = {}
    for line in log.read_text().splitlines():
        if match := _LINE.match(line):
            counts[match[1], match[2]] += 1
            if str(place / "store") in match[3]:
                found.setdefault(match[2], set()).add(counts[match[1], match[2]])
    shutil.rmtree(place)
    return {name: sorted(numbers) for name, numbers in found.items()}


def _one(job: tuple[Verb, str, str, int], place: Path) -> Outcome:
    verb, call, error, nth = job
    shutil.copytree(place.parent / "state", place)
    ledger = Ledger(place / "ledger")
    inject = f"inject={call}:error={error}:when={nth}"
    wrong: list[str] = []
    done = _act(verb, place, ledger, ("strace", "-f", "-qq", "-o", os.devnull, "-e", f"trace={call}", "-e", inject))
    if done.returncode not in CODES or "Traceback" in done.stderr:
        wrong.append(f"exit code {done.returncode}: {done.stderr[-1500:]}")
    wrong += _checked(place)
    again = _act(verb, place, ledger, ())
    if again.returncode:
        wrong.append(f"without the fault: exit code {again.returncode}: {again.stderr[-600:]}")
    shutil.rmtree(place)
    return Outcome(verb.name, call, error, nth, wrong)


def _checked(place: Path) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-m", "tests.faults.injected", "--check", str(place / "store"), str(place / "ledger")],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    return [] if done.returncode == 0 else [done.stdout + done.stderr]


def main(words: Sequence[str] | None = None) -> int:
    """The command line; 1 if anything is wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.injected", description="Let real system calls fail.")
    parser.add_argument("--every", type=int, default=1, help="so many calls of a kind; default: each")
    parser.add_argument("--check", nargs=2, type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args(words)
    if options.check:
        store, ledger = options.check
        found = check(store, Ledger(ledger).expected(), seed=0)
        sys.stdout.write("\n".join(found))
        return 1 if found else 0
    reason = equipment.missing("strace")
    if reason is not None:
        sys.stdout.write(f"not run: {reason}\n")
        return 1
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="artstore-injected-", dir=memory(), ignore_cleanup_errors=True) as folder:
        outcomes = run(Path(folder), every=options.every)
    bad = [outcome for outcome in outcomes if outcome.wrong]
    for outcome in bad:
        sys.stdout.write(f"VIOLATION {outcome}\n")
    kinds = Counter(outcome.call for outcome in outcomes)
    took = f"{time.monotonic() - began:.0f} s"
    counts = ", ".join(f"{count} {name}" for name, count in kinds.items())
    sys.stdout.write(f"{len(outcomes)} injected errors ({counts}), {took}, {len(bad)} violations\n")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
