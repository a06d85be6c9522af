"""Failing calls: each call of a verb into the file system or the database fails once, and nothing is lost.

    python -m tests.faults.failing_calls --errors EIO,ENOSPC

A scenario is a store in some state and a verb on it. It runs once to count its calls, then once for each call and
error, in a fork on a fresh copy of the store. Afterwards, with the fault gone: the error was a typed one, or the verb
kept its promise; the store verifies, and holds all that was acknowledged and nothing by halves; and the same verb
succeeds.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import os
import random
import shutil
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, Final, NamedTuple

import artstore
from artstore.errors import ArtstoreError, Conflict
from artstore.lifecycle import collect
from artstore.storage.driver import sqlite3
from artstore.store import Store
from tests.faults.equipment import memory
from tests.faults.layer import CHANGES, MOVES, Call, Layer
from tests.faults.ledger import Ledger, Tree, content, digest_of, warm
from tests.faults.oracle import check
from tests.faults.planted import PLANTED, Plant
from tests.faults.processes import ask, spread
from tests.faults.worker import lower_thresholds

SHORT: Final = "short"
"""A read or a write that moves only a part, which is no error."""
ERRORS: Final = ("EIO", "ENOSPC", "EDQUOT", "EROFS", "EACCES", "EMFILE", SHORT)
LIMIT_S: Final = 300.0
JOBS_A_FORK: Final = 12
NAME: Final = "own"
LASTING: Final = CHANGES - {"statement"}
"""Calls that change the disk at once."""
OPENED: Final = "get"
"""The scenario in which the calls that open the store fail by turns, as they would in each."""
SMALL: Final = {"k": 3, "a/l": 5, "a/m": 9, "b/c/k": 11}
CHANGED: Final = {"k": 3, "a/l": 6, "a/m": 9, "b/c/k": 12}
LARGE: Final = {"k": 7, "l": 38, "m": 3}

_ARTSTORE: Final = Path(artstore.__file__).parent
_SQLITE_NAMES: Final = {
    "EIO": "SQLITE_IOERR_WRITE",
    "EROFS": "SQLITE_READONLY",
    "EACCES": "SQLITE_CANTOPEN",
    "EMFILE": "SQLITE_CANTOPEN",
}


class Place(NamedTuple):
    """What a scenario works on."""

    folder: Path
    ledger: Ledger

    @property
    def store(self) -> Path:
        """The store's folder."""
        return self.folder / "store"

    def tree(self, tree: Tree) -> Path:
        """A folder with such files."""
        source = self.folder / "source"
        shutil.rmtree(source, ignore_errors=True)
        for path, key in tree.items():
            target = source / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content(key))
        return source


class Scenario(NamedTuple):
    """A state, and a verb on it."""

    prepare: Callable[[Place], None]
    act: Callable[[Place], None]
    """The verb, noted in the ledger; may be repeated."""
    is_damaged: bool = False
    """Whether the store is whole only after the verb."""


class Seen(NamedTuple):
    """A call, as far as it matters whether it fails too."""

    name: str
    way: tuple[str, ...]
    """The statement, and the lines of artstore that led to the call."""
    is_opening: bool
    """Whether the store was being opened."""


class Outcome(NamedTuple):
    """What became of one scenario with one call failing."""

    scenario: str
    error: str
    nth: int
    call: str
    wrong: list[str]
    seen: list[Seen]
    """What calls there were."""

    def __repr__(self) -> str:
        return f"{self.scenario}, {self.error} at {self.nth}, {self.call}: {self.wrong}"


def put(place: Place, tree: Tree, aliases: Sequence[str] = ()) -> None:
    """Put a tree from a folder."""
    source = place.tree(tree)
    with Store.open(place.store) as store:
        key = place.ledger.attempt("put", collection=f"uncategorized/{NAME}", tree=tree, aliases=aliases)
        report = store.put([source], name=NAME, type="data", aliases=aliases)
        assert report.version is not None
        place.ledger.answer(key, ref=report.version.ref, id=report.version.id, digest=report.version.digest)


def _init(place: Place) -> None:
    try:
        Store.init(place.store).close()
    except Conflict as conflict:
        if conflict.code != "already-a-store":
            raise


def _alias(place: Place) -> None:
    with Store.open(place.store) as store:
        ref = store.version(f"{NAME}:v0").ref
        key = place.ledger.attempt("alias", collection=f"uncategorized/{NAME}", alias="best", ref=ref)
        store.alias(ref, ["best"])
        place.ledger.answer(key)


def _delete(place: Place) -> None:
    with Store.open(place.store) as store:
        versions = store.versions(NAME)
        if any(version.number == 0 for version in versions):
            key = place.ledger.attempt("delete", refs=[f"uncategorized/{NAME}:v0"])
            store.delete(f"{NAME}:v0")
            place.ledger.answer(key)


def _get(place: Place) -> None:
    target = place.folder / "got"
    shutil.rmtree(target, ignore_errors=True)
    with Store.open(place.store) as store:
        wanted = {entry.path: entry.digest for entry in store.entries(NAME)}
        store.get(NAME, target)
        for path, digest in wanted.items():
            data = (target / path).read_bytes()
            if not any(digest_of(key) == digest and content(key) == data for key in range(96)):
                place.ledger.complain(f"get wrote other bytes to {path}")


def _gc(place: Place) -> None:
    with Store.open(place.store) as store:
        store.gc(grace_s=0)


def _gc_to_trash(place: Place) -> None:
    with Store.open(place.store) as store:
        store.gc(grace_s=3600)


def _rebuild(place: Place) -> None:
    report = Store.rebuild(place.store)
    # A file of the log that could not be read is named, and folded as soon as it can.
    if any(not lost.startswith("ops/") for lost in report.lost):
        place.ledger.complain(f"rebuild lost {report.lost}")


def _verify(place: Place) -> None:
    with Store.open(place.store) as store:
        report = store.verify()
        # A read that failed is reported as damage, or as what the catalog or the log said.
        if not {problem.kind for problem in report.problems} <= HONEST:
            place.ledger.complain(f"verify: {report.problems}")


def _repair(place: Place) -> None:
    with Store.open(place.store) as store:
        store.repair([place.tree(LARGE)])


def _backup(place: Place) -> None:
    with Store.open(place.store) as store:
        target = place.folder / "backup"
        shutil.rmtree(target, ignore_errors=True)
        report = store.backup(target)
    with Store.open(target) as copy:
        problems = copy.verify().problems
        if problems and not report.missing:
            place.ledger.complain(f"a backup that was acknowledged does not verify: {problems}")


def _empty(_place: Place) -> None:
    return


def _one(place: Place) -> None:
    _init(place)
    put(place, SMALL)


def _two(place: Place) -> None:
    _one(place)
    put(place, CHANGED)


def _many(place: Place) -> None:
    """Versions on versions, large blobs, a deletion: something for `gc` to do in each of its parts."""
    _init(place)
    put(place, SMALL)
    put(place, CHANGED, ["good"])
    for number in range(3):
        put(place, {**LARGE, "n": 20 + number, "o": 30 + number})
    with Store.open(place.store) as store:
        for number in (2, 3):
            key = place.ledger.attempt("delete", refs=[f"uncategorized/{NAME}:v{number}"])
            store.delete(f"{NAME}:v{number}")
            place.ledger.answer(key)


def _damaged(place: Place) -> None:
    """A large blob that `verify` has put aside, so that `repair` has something to mend."""
    _init(place)
    put(place, LARGE)
    blob = next(path for path in (place.store / "blobs").rglob("*") if path.is_file())
    blob.chmod(0o644)
    blob.write_bytes(b"x" * blob.stat().st_size)
    with Store.open(place.store) as store:
        store.verify()


SCENARIOS: Final[dict[str, Scenario]] = {
    "init": Scenario(_empty, _init),
    "put small": Scenario(_init, lambda place: put(place, SMALL)),
    "put large": Scenario(_init, lambda place: put(place, LARGE)),
    "put changed": Scenario(_one, lambda place: put(place, CHANGED, ["best"])),
    "put equal": Scenario(_one, lambda place: put(place, SMALL)),
    "alias": Scenario(_one, _alias),
    "delete": Scenario(_two, _delete),
    "get": Scenario(_many, _get),
    "gc": Scenario(_many, _gc),
    "gc to trash": Scenario(_many, _gc_to_trash),
    "rebuild": Scenario(_many, _rebuild),
    "verify": Scenario(_many, _verify),
    "repair": Scenario(_damaged, _repair, is_damaged=True),
    "backup": Scenario(_many, _backup),
}


HONEST: Final = frozenset(
    {
        *("blob-damaged", "blob-missing", "pack-damaged", "pack-missing", "io-error", "catalog-damaged"),
        *("storage-full", "read-only-store", "no-permission", "out-of-resources", "unreadable"),
    },
)
"""What `verify` may say of a store in which one call fails."""
DURABLE: Final = frozenset({"put small", "put large", "put changed", "put equal", "alias", "delete", "repair"})
"""Scenarios in which every sync is needed for what is answered."""


class Failing:
    """Lets the nth call fail, once."""

    def __init__(self, nth: int, error: str) -> None:
        self.calls: list[Call] = []
        self.seen: list[Seen] = []
        """The calls again, if none is to fail."""
        self.failed: Call | None = None
        self._nth = nth
        self._error = error

    def __call__(self, call: Call) -> bool:
        """Count a call, and fail it if it is the one."""
        self.calls.append(call)
        if not self._nth:
            self.seen.append(_seen(call))
        if len(self.calls) != self._nth:
            return False
        self.failed = call
        if self._error == SHORT:
            return call.name in MOVES
        if call.name in {"query", "statement", "commit"}:
            name = _SQLITE_NAMES.get(self._error, "SQLITE_FULL")
            failure: Any = sqlite3.OperationalError(f"{name} (let fail)")
            failure.sqlite_errorname = name
            raise failure
        number = getattr(errno, self._error)
        raise OSError(number, os.strerror(number), call.path)

    def is_sync_missing(self) -> bool:
        """Whether a sync failed, and the verb went on as if it had not.

        A verb that begins anew with the reserve does not: it gives its name to another file, and syncs a folder again.
        """
        failed = self.failed
        if failed is None or failed.name not in {"fsync", "fdatasync"}:
            return False
        since = self.calls[self._nth :]
        if failed.path.startswith("tmp/"):
            return any(call.source == failed.path for call in since)
        return not any(call.name == failed.name and call.path == failed.path for call in since)


def run_one(name: str, state: Path, folder: Path, nth: int, error: str, *, plant: Plant | None = None) -> Outcome:
    """Run a scenario on a copy of its state, with one call failing. In this process, so call it in a fork."""
    shutil.copytree(state, folder, copy_function=_copied)
    place = Place(folder, Ledger(folder / "ledger"))
    failing = Failing(nth, error)
    lower_thresholds()
    collect.MANY_SMALL_PACKS = 3  # type: ignore[misc]
    layer = Layer(place.store, failing, lambda _call: None)
    if plant is not None:
        plant()
    wrong: list[str] = []
    layer.install()
    has_failed = True
    try:
        SCENARIOS[name].act(place)
        has_failed = False
    except ArtstoreError:
        pass
    except BaseException as raw:  # noqa: BLE001 - which errors come out is the question
        frames = [frame for frame in traceback.extract_tb(raw.__traceback__) if "/artstore/" in frame.filename]
        where = " < ".join(f"{Path(frame.filename).name}:{frame.lineno}" for frame in frames[:-5:-1])
        wrong.append(f"it raised {type(raw).__name__}: {raw}, at {where}")
    finally:
        layer.remove()
    failed = failing.failed
    if name in DURABLE and error != SHORT and not has_failed and failing.is_sync_missing():
        assert failed is not None
        wrong.append(f"the sync of {failed.path} failed, and the answer was that all is well")
    call = f"{len(failing.calls)} calls" if failed is None else f"{failed.name} {failed.path} {failed.sql[:60]}".strip()
    if name == "verify":
        # A read that failed was taken for damage, and what is damaged is put aside: no longer, if it can be read again.
        with _as_wrong("repair", wrong), Store.open(place.store) as store:
            store.repair()
    if (place.store / "format.json").exists() and not SCENARIOS[name].is_damaged:
        wrong += check(place.store, place.ledger.expected(), seed=nth)
    with _as_wrong("the same verb again", wrong):
        SCENARIOS[name].act(place)
    if not wrong:
        wrong += check(place.store, place.ledger.expected(), seed=nth)
    shutil.rmtree(folder)
    return Outcome(name, error, nth, call, wrong, failing.seen)


@contextlib.contextmanager
def _as_wrong(what: str, wrong: list[str]) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # noqa: BLE001 - any is wrong
        wrong.append(f"{what} raised {error!r}")


def prepare(name: str, folder: Path) -> Path:
    """Bring about the state of a scenario, in a fork."""
    state = folder / "state"
    state.mkdir(parents=True)

    def work() -> None:
        lower_thresholds()
        SCENARIOS[name].prepare(Place(state, Ledger(state / "ledger")))

    _nothing, wrong = ask(work, folder / "answer", LIMIT_S)
    assert not wrong, wrong
    return state


def run(
    names: Sequence[str],
    errors: Sequence[str],
    folder: Path,
    *,
    by_turns: bool = False,
    seed: int = 0,
    plant: Plant | None = None,
    workers: int = 2,
) -> list[Outcome]:
    """Fail every call of some scenarios, with each of the errors, or with one of them by turns.

    Which error a call gets by turns is for the seed to say. So is which one fails of reads, or statements before their
    commit, that are alike: the same lines lead to them. A plant that is caught ends it.
    """
    warm()
    outcomes: list[Outcome] = []
    for name in names:
        place = folder / name.replace(" ", "-")
        state = prepare(name, place)
        counted = _fail(place, name, state, [(0, "EIO")], plant)
        if counted[0].wrong:
            return [*outcomes, *counted]
        seen = counted[0].seen
        jobs = list(_by_turns(name, seen, errors, random.Random(seed)) if by_turns else _jobs(seen, errors))
        # What is planted stays in a process.
        at_once = 1 if plant is not None else JOBS_A_FORK
        found = spread(
            [jobs[start : start + at_once] for start in range(0, len(jobs), at_once)],
            lambda some: _fail(place, name, state, some, plant),  # noqa: B023 - called at once
            place,
            workers=workers,
            is_last=lambda some: plant is not None and bool(some[0].wrong),
        )
        outcomes += chain.from_iterable(found)
        shutil.rmtree(place)
    return outcomes


def _jobs(calls: Sequence[Seen], errors: Sequence[str]) -> Iterator[tuple[int, str]]:
    """Which calls fail, and how: each with each."""
    return ((nth, error) for nth, call in enumerate(calls, start=1) for error in _apt(call, errors))


def _by_turns(
    name: str, calls: Sequence[Seen], errors: Sequence[str], chance: random.Random
) -> Iterator[tuple[int, str]]:
    """Which calls fail, and how: each that changes the disk, and of the others one that stands for its like.

    All scenarios open the store in one way, each call of which fails in one of them.
    """
    alike: dict[object, list[int]] = {}
    for nth, call in enumerate(calls, start=1):
        if not call.is_opening or name == OPENED:
            alike.setdefault(nth if call.is_opening or call.name in LASTING else call, []).append(nth)
    for nth in sorted(map(chance.choice, alike.values())):
        yield nth, chance.choice(_apt(calls[nth - 1], errors))


def _apt(call: Seen, errors: Sequence[str]) -> list[str]:
    return [error for error in errors if error != SHORT or call.name in MOVES]


def _seen(call: Call) -> Seen:
    """What is known of a call that was made just now."""
    codes = [(frame.f_code, line) for frame, line in traceback.walk_stack(None)]
    own = [(code, line) for code, line in codes if Path(code.co_filename).is_relative_to(_ARTSTORE)]
    way = tuple(f"{code.co_filename}:{line}" for code, line in own)
    return Seen(call.name, (call.sql, *way), any(code.co_qualname == "Store.open" for code, _line in own))


def _fail(place: Path, name: str, state: Path, jobs: Sequence[tuple[int, str]], plant: Plant | None) -> list[Outcome]:
    """Run a scenario with one call after the other failing, in a process of its own."""

    def work() -> list[Outcome]:
        return [run_one(name, state, place / f"{nth}-{error}", nth, error, plant=plant) for nth, error in jobs]

    nth, error = jobs[0]
    found, wrong = ask(work, place / f"{nth}-{error}.answer", LIMIT_S)
    if wrong:
        return [Outcome(name, error, nth, f"or one of the {len(jobs) - 1} after it", wrong, [])]
    outcomes: list[Outcome] = found
    return outcomes


def _copied(source: str, target: str) -> None:
    """A copy; of what the store never writes to again a second name, which is quicker."""
    if "/packs/" in source or "/blobs/" in source or "/ops/" in source:
        os.link(source, target)
    else:
        shutil.copyfile(source, target)


def main(words: Sequence[str] | None = None) -> int:
    """The command line; 1 if anything is wrong."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.faults.failing_calls", description="Let every call fail once."
    )
    parser.add_argument("--scenarios", default=",".join(SCENARIOS))
    parser.add_argument("--errors", default=",".join(ERRORS))
    parser.add_argument("--by-turns", action="store_true", help="one error a call, as chance says")
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--plant", choices=sorted(PLANTED))
    options = parser.parse_args(words)
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="artstore-failing-", dir=memory(), ignore_cleanup_errors=True) as folder:
        outcomes = run(
            options.scenarios.split(","),
            options.errors.split(","),
            Path(folder),
            by_turns=options.by_turns,
            workers=options.workers,
            seed=options.seed,
            plant=options.plant and Plant.named(options.plant),
        )
    bad = [outcome for outcome in outcomes if outcome.wrong]
    for outcome in bad:
        sys.stdout.write(f"VIOLATION {outcome!r}\n")
    kinds = ", ".join(f"{count} {error}" for error, count in Counter(each.error for each in outcomes).most_common())
    sys.stdout.write(
        f"{len(outcomes)} failed calls ({kinds}), {time.monotonic() - began:.0f} s, {len(bad)} violations\n"
    )
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
