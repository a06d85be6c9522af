"""Rebuilt: a catalog that is lost after all that sync can bring about is made anew, offline, as it was."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

import pytest

from artstore.cli import main
from artstore.store import Store
from artstore.sync.adopt import add_upstream
from artstore.sync.remotes import add_remote
from artstore.sync.rounds import exchange
from tests.sync.conftest import Machine
from tests.sync.serving import ServerProcess

LOOKS: Final = (
    "ls",
    "log cats",
    "log fish",
    "log own",
    *(f"show cats:{tail}" for tail in ("v0", "v1", "v2", "v3", "best", "prod")),
    "show fish:v1",
    "show models",
    "numbers ls",
    "conflicts",
    "run train",
    "lineage models",
    "parts",
    "status",
)
"""What is asked of a store, as a user would; some of it is refused, and that has to be said again just so."""


class Far(NamedTuple):
    """A place with a log, which can be out of reach."""

    url: str
    away: Callable[[], contextlib.AbstractContextManager[object]]
    files: Path


@contextlib.contextmanager
def depot(folder: Path) -> Iterator[Far]:
    there = folder / "depot"
    there.mkdir()

    @contextlib.contextmanager
    def away() -> Iterator[None]:
        there.rename(folder / "away")
        yield
        (folder / "away").rename(there)

    yield Far(f"file://{there}", away, there)


@contextlib.contextmanager
def server(folder: Path) -> Iterator[Far]:
    with ServerProcess(folder / "server") as process:

        @contextlib.contextmanager
        def away() -> Iterator[None]:
            process.kill()
            yield
            process.start()

        yield Far(process.url, away, folder / "server")


@pytest.fixture(params=[depot, server], ids=["depot", "server"])
def far(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Far]:
    with request.param(tmp_path) as found:
        yield found


def written(*places: Path) -> dict[str, tuple[int, int]]:
    """What lies in some places, and since when; not what a server notes of who asks."""
    folders = ("log", "manifests", "packs", "blobs", "checkpoints", "mirror", "hosted/log", "hosted/manifests", "ops")
    files = (path for place in places for each in folders for path in (place / each).rglob("*") if path.is_file())
    return {str(path): (path.stat().st_size, path.stat().st_mtime_ns) for path in files}


class Said(NamedTuple):
    """What a command said."""

    exit_code: int
    report: Any
    complaint: str

    @property
    def code(self) -> str:
        """What is wrong."""
        return str(json.loads(self.complaint)["error"]["code"])


def seen(machine: Machine, capsys: pytest.CaptureFixture[str]) -> dict[str, Said]:
    """What a store answers."""
    found: dict[str, Said] = {}
    capsys.readouterr()
    for words in LOOKS:
        code = main(["--store", str(machine.store.path), "--json", *words.split()])
        said = capsys.readouterr()
        found[words] = Said(code, _lasting(json.loads(said.out)) if said.out else None, said.err)
    return found


def _lasting(value: Any) -> Any:
    """Without how long it took, and how large the catalog is."""
    if isinstance(value, dict):
        return {name: _lasting(each) for name, each in value.items() if name not in {"seconds", "on_disk_bytes"}}
    return list(map(_lasting, value)) if isinstance(value, list) else value


def of_different_minds(folder: Path, far: Far, stick: Path) -> Machine:
    """A store after all that can happen between two, which a mirror and a choice of collections are noted in."""
    one, other = Machine(folder, far.url, "one"), Machine(folder, far.url, "other")
    with one.store as first:
        for number in range(3):
            one.put({"x": b"%d" % number})
        one.put({"x": b"0"}, name="fish", aliases=["prod"])
        first.alias("cats:v2", ["best"])
        one.push()
        other.pull()
        mine = other.store

        # Both are offline, and the first will be faster.
        for each in (one, other):
            says = each.folder.name.encode()
            each.put({"x": says})
            each.put({"x": says}, name="fish")
        one.put({"x": b"bird"}, name="birds")
        mine.put([other.folder / "tree"], name="birds", type="model", aliases=["best"])
        first.alias("cats:v1", ["best"])
        mine.alias("cats:v0", ["best"])
        mine.describe("cats:v0", "not any more")
        first.delete("cats:v0", everywhere=True)
        mine.start_run(id="train", name="training", config={"lr": 0.1})
        mine.use("train", "cats:v2")
        mine.use("train", "fish:v1")
        other.put({"x": b"model"}, name="models", run="train", metadata={"loss": 1, "epoch": 2}, ttl_s=9e9)
        mine.finish_run("train")
        mine.tag("models:v0", ["red", "blue"])
        mine.describe("models", "what was trained")
        with mine.draft() as draft:
            draft.add_stream(io.BytesIO(b"part"), "a")
            mine.add_part(draft, name="cats", type="dataset", distributed_id="night", run="train")
        one.push()
        other.push()

        # The numbers of `fish` are accepted, those of `cats` are not.
        mine.accept_numbers(["fish"])
        mine.delete("fish:v0", everywhere=True, force=True)
        mine.delete("cats:v1", force=True)
        mine.untag("models:v0", ["blue"])
        other.push()

    # What is chosen goes on; `own` stays here, and what is on the stick waits.
    add_upstream(mine, "hub", far.url, join=True, only=["cats", "fish", "birds", "models"])
    add_remote(mine.path, "stick", f"file://{stick}", upstream=False, join=False)
    for number in range(2):
        other.put({"x": b"own %d" % number}, name="own")
    mine.alias("own:v0", ["prod"])
    mine.start_run(id="later", name="going on")
    mine.use("later", "own:v1")
    other.put({"x": b"later"}, aliases=["prod"], run="later", metadata={"loss": 0})
    mine.set_metadata("models:v0", {"loss": 0.5}, remove=["epoch"])
    other.move("push", remote="stick")
    return other


def lose_the_catalog(machine: Machine) -> None:
    machine.store.close()
    (machine.store.path / "catalog.db").unlink()
    assert [] == Store.rebuild(machine.store.path).lost
    machine.again()


def test_a_store_that_others_were_faster_than_is_rebuilt_as_it_was(
    far: Far, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """I4. Else somebody who mends a broken catalog trains on another's v3, or sends all of it once more."""
    stick = tmp_path / "stick"
    stick.mkdir()
    machine = of_different_minds(tmp_path, far, stick)
    state = machine.state_hash()
    would = exchange(machine.store, "push", dry_run=True).projects
    with far.away():
        before = seen(machine, capsys)
        lose_the_catalog(machine)
        after = seen(machine, capsys)

    assert state == machine.state_hash()
    for words, said in before.items():
        assert said == after[words], words
    assert would == exchange(machine.store, "push", dry_run=True).projects
    refused = [said.code for said in before.values() if said.exit_code]
    assert ["version-deleted", "version-forgotten", "ambiguous-number", "version-forgotten"] == refused
    assert ["type", "alias", "edit"] == [each["kind"] for each in before["conflicts"].report]
    assert [True, False, False, False] == [each["provisional"] for each in before["log cats"].report]

    machine.push()
    machine.move("push", remote="stick")
    sent = written(far.files, stick)
    with far.away():
        lose_the_catalog(machine)
    for name in ("hub", "stick"):
        (report,) = machine.move("push", remote=name).projects
        assert (0, 0, 0) == (report.pushed.slots, report.pushed.ops, report.pushed.blobs)
    assert sent == written(far.files, stick)
    machine.store.close()
