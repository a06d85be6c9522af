"""Injected errors: the command line under strace, which lets real system calls fail, SQLite's own among them.

    python -m tests.faults.injected --every 5

Each verb runs once to count its calls of each kind on the store, then once for a call and error. The command answers
with one of its exit codes and no traceback, what it acknowledged stays, and without the fault it succeeds. Commands run
in forks, and strace takes hold of them before they begin: half a second less for each than a Python that has to start.
"""

from __future__ import annotations

import argparse
import json
import os
import pickle
import re
import shutil
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Container, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from artstore.cli import main as cli
from tests.faults import equipment
from tests.faults.equipment import memory
from tests.faults.failing_calls import Place
from tests.faults.ledger import Ledger, Tree, warm
from tests.faults.oracle import check
from tests.faults.planted import Plant
from tests.faults.processes import ask, fork, spread, wait_for

CALLS: Final = (
    *("fsync", "fdatasync", "pwrite64", "pwritev2", "link", "rename", "unlink", "ftruncate", "fchmod", "mkdir"),
    *("flock", "pread64"),
)
READS: Final = frozenset({"pread64", "flock"})
"""Those of CALLS that need no space: one kind of error will do."""
ERRORS: Final = ("EIO", "ENOSPC")
INTERRUPTED: Final = (
    *("read", "pread64", "readv", "preadv", "write", "pwrite64", "pwritev2"),
    *("fdatasync", "ftruncate", "flock", "ioctl", "copy_file_range"),
)
"""Calls that a signal may interrupt, and that are ours alone or that SQLite makes again as well."""
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


Job = tuple[Verb, str, str, str]
"""A verb, the calls that fail, how, and which of each kind, in the words of strace."""


class Outcome(NamedTuple):
    """What became of one command."""

    verb: str
    call: str
    error: str
    nth: str
    wrong: list[str]


class Answer(NamedTuple):
    """What a command has said."""

    code: int
    out: str
    complaints: str


def run(folder: Path, *, every: int = 1, workers: int = 2, plant: Plant | None = None) -> list[Outcome]:
    """Let every so many calls of each kind on the store fail, the first and last among them.

    A plant that is caught ends it.
    """
    warm()
    _nothing, wrong = ask(lambda: _prepare(folder / "state"), folder / "answer", LIMIT_S)
    assert not wrong, wrong
    jobs: list[Job] = []
    for verb in VERBS:
        for call, nths in _numbered(verb, folder).items():
            chosen = sorted({*nths[::every], nths[-1]})
            errors = ERRORS[:1] if call in READS else ERRORS
            jobs += [(verb, call, error, str(nth)) for nth in chosen for error in errors]
    numbered = list(enumerate(jobs))
    return spread(
        numbered,
        lambda job: _one(job[1], folder / f"run{job[0]}", plant=plant),
        folder,
        workers=workers,
        is_last=lambda outcome: plant is not None and bool(outcome.wrong),
    )


def interrupt(folder: Path) -> list[Outcome]:
    """Let every call be interrupted once, which is the odd ones of each kind: the verbs make it again, and succeed."""
    warm()
    _nothing, wrong = ask(lambda: _prepare(folder / "state"), folder / "answer", LIMIT_S)
    assert not wrong, wrong
    call = ",".join(INTERRUPTED)
    return [_one((verb, call, "EINTR", "1+2"), folder / verb.name, codes={0}) for verb in VERBS]


def _prepare(folder: Path) -> None:
    """A store with two versions, of which the second was deleted."""
    folder.mkdir(parents=True)
    ledger = Ledger(folder / "ledger")
    assert _artstore(folder, "init", str(folder / "store")).code == 0
    for tree in (_SMALL, {**_SMALL, "m": 9}):
        assert _put(folder, ledger, tree).code == 0
    key = ledger.attempt("delete", refs=["uncategorized/own:v1"])
    assert _artstore(folder, "--store", str(folder / "store"), "delete", "own:v1").code == 0
    ledger.answer(key)


def _put(folder: Path, ledger: Ledger, tree: Tree) -> Answer:
    source = Place(folder, ledger).tree(tree)
    key = ledger.attempt("put", collection="uncategorized/own", tree=tree, aliases=())
    words = ("put", str(source), "--name", "own", "--type", "data", "--json")
    done = _artstore(folder, "--store", str(folder / "store"), *words)
    if done.code == 0:
        version = json.loads(done.out)["version"]
        ledger.answer(key, ref=version["ref"], id=version["id"], digest=version["digest"])
    return done


def _artstore(folder: Path, *words: str) -> Answer:
    """Run the command line in this process, which may be traced; `folder` is its home."""
    os.environ["HOME"] = str(folder)
    os.chdir(folder)
    code = 0
    before = sys.stdout, sys.stderr
    with (folder / "said").open("w+") as said, (folder / "complained").open("w+") as complained:
        sys.stdout, sys.stderr = said, complained
        try:
            code = cli(list(words))
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 1
        except BaseException:  # noqa: BLE001 - what an interpreter would do with it
            code = 1
            traceback.print_exc()
        finally:
            sys.stdout, sys.stderr = before
        for file in (said, complained):
            file.seek(0)
        return Answer(code, said.read(), complained.read())


def _act(verb: Verb, folder: Path, ledger: Ledger) -> Answer:
    if verb.tree is not None:
        return _put(folder, ledger, verb.tree)
    key = ledger.attempt(verb.name, collection="uncategorized/own", alias="best", ref="uncategorized/own:v0")
    done = _artstore(folder, "--store", str(folder / "store"), *verb.words)
    if done.code == 0:
        ledger.answer(key)
    return done


def _traced(
    verb: Verb, place: Path, tracing: Sequence[str], plant: Plant | None = None
) -> tuple[Answer | None, list[str]]:
    """Run a verb in a process of its own, under strace from its beginning."""
    answer = place / "answer"

    def work() -> None:
        while "TracerPid:\t0\n" in Path("/proc/self/status").read_text():
            time.sleep(0.001)
        if plant is not None:
            plant()
        answer.write_bytes(pickle.dumps(_act(verb, place, Ledger(place / "ledger"))))

    pid = fork(work)
    with subprocess.Popen(
        ["strace", "-f", "-qq", "-p", str(pid), *tracing], stderr=subprocess.PIPE, text=True
    ) as strace:
        wrong = wait_for({pid: time.monotonic() + LIMIT_S}, must_end=True)
        _nothing, said = strace.communicate()
    if not answer.exists():
        return None, [*wrong, f"it gave no answer; strace said {said!r}"]
    done: Answer = pickle.loads(answer.read_bytes())  # noqa: S301 - written by our own child
    return done, wrong


def _numbered(verb: Verb, folder: Path) -> dict[str, list[int]]:
    """Which calls of each kind, counted within their thread as strace counts them, are on the store."""
    place = folder / f"count-{verb.name}"
    shutil.copytree(folder / "state", place)
    log = place / "trace"
    tracing = ("-y", "-o", str(log), "-e", f"trace={','.join(CALLS)}")
    done, wrong = _traced(verb, place, tracing)
    assert done is not None, wrong
    assert done.code == 0, done.complaints
    counts: Counter[tuple[str, str]] = Counter()
    found: dict[str, set[int]] = {}
    for line in log.read_text().splitlines():
        if match := _LINE.match(line):
            counts[match[1], match[2]] += 1
            if str(place / "store") in match[3]:
                found.setdefault(match[2], set()).add(counts[match[1], match[2]])
    shutil.rmtree(place)
    return {name: sorted(numbers) for name, numbers in found.items()}


def _one(job: Job, place: Path, *, plant: Plant | None = None, codes: Container[int] = CODES) -> Outcome:
    """Run a verb on a copy of the state, with an error injected, and look at what became of it."""
    verb, call, error, nth = job
    shutil.copytree(place.parent / "state", place)
    ledger = Ledger(place / "ledger")
    inject = f"inject={call}:error={error}:when={nth}"
    done, wrong = _traced(verb, place, ("-o", os.devnull, "-e", f"trace={call}", "-e", inject), plant)
    if done is not None and (done.code not in codes or "Traceback" in done.complaints):
        wrong.append(f"exit code {done.code}: {done.complaints[-1500:]}")

    def look() -> list[str]:
        found = check(place / "store", ledger.expected(), seed=0)
        again = _act(verb, place, ledger)
        return [*found, *([f"without the fault: {again}"] if again.code else [])]

    found, failed = ask(look, place / "looked", LIMIT_S)
    shutil.rmtree(place)
    return Outcome(verb.name, call, error, nth, [*wrong, *failed, *(found or ())])


def main(words: Sequence[str] | None = None) -> int:
    """The command line; 1 if anything is wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.injected", description="Let real system calls fail.")
    parser.add_argument("--every", type=int, default=1, help="so many calls of a kind; default: each")
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    options = parser.parse_args(words)
    reason = equipment.missing("strace")
    if reason is not None:
        sys.stdout.write(f"not run: {reason}\n")
        return 1
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="artstore-injected-", dir=memory(), ignore_cleanup_errors=True) as folder:
        outcomes = run(Path(folder), every=options.every, workers=options.workers)
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
