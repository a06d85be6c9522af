"""Cold: a log of many slots is followed from its beginning, in a depot in a folder and in a bucket."""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from artstore.sync.objects.families import open_objects
from artstore.sync.objects.parallel import in_parallel
from benchmarks.measure import Command, Failed, Sample, Series, answer, run, settle
from benchmarks.rows import Row, plain
from benchmarks.senders import ToDepot
from benchmarks.subject import Artstore
from benchmarks.tool import remove
from benchmarks.volumes import Volume
from tests.references import seaweedfs
from tests.servers import Server

VERSIONS: Final = 10_000
_HELP: Final = "checkpoints"
"""The folder of a depot that only helps."""
_OPENED: Final = re.compile(r"openat\((?!.*O_DIRECTORY)")
_LISTED: Final = re.compile(r"getdents64\(.* = 0$")


@dataclass(frozen=True)
class _Place:
    """Where a depot is, as a process reaches it."""

    title: str
    url: str
    environment: Mapping[str, str]
    counted: Callable[[Command], tuple[str, int]]
    """Run a process; gives what it printed, and how often it asked the place for something."""

    forget: Callable[[], None]
    """Take the checkpoints away."""


def measure(volume: Volume, laps: int, *, is_quick: bool) -> tuple[list[Row], list[str]]:
    """The rows of the workload `cold`, and what could not be measured; each lap pulls into an empty store."""
    versions = VERSIONS // (50 if is_quick else 1)
    source = volume.root / "source"
    source.mkdir()
    maker = ToDepot(volume.root / "maker", source)
    maker.here.prepare()
    maker.follow(maker.here)
    maker.here.grow(versions)
    notes: list[str] = []
    places: list[_Place] = []
    with ExitStack() as stack:
        if shutil.which("strace"):
            places.append(_folder(maker.far))
        else:
            notes.append("strace is not installed")
        if shutil.which("weed"):
            # Filled before anything is taken away.
            places.append(stack.enter_context(_bucket(maker.far)))
        else:
            notes.append("weed is not installed")
        rows = [row for place in places for row in _rows(volume.root / "there", place, versions, laps)]
    return rows, [Artstore.version(), *notes]


def _rows(scratch: Path, place: _Place, versions: int, laps: int) -> Iterator[Row]:
    title = f"pull of {versions:,} versions that came one by one, from a depot in {place.title}"
    samples = [_pulled(scratch, place) for _ in range(laps + 1)][1:]
    yield plain("cold", "seconds", title, "s", Series(tuple(each.wall_s for each in samples)))
    requests = Series((_asked(scratch, place, versions),))
    yield plain("cold", "requests", f"{title}: requests", "", requests)
    memory = Series(tuple(each.peak_bytes / 1e6 for each in samples))
    yield plain("cold", "memory", f"{title}: memory", "MB", memory)
    place.forget()
    title += ", without checkpoints"
    yield plain("cold", "seconds without", title, "s", Series((_pulled(scratch, place).wall_s,)))
    requests = Series((_asked(scratch, place, versions),))
    yield plain("cold", "requests without", f"{title}: requests", "", requests)


def _pulled(scratch: Path, place: _Place) -> Sample:
    with _empty(scratch, place) as there:
        settle(there.store)
        return run(Command(there.call("pull"), there.place, there.environment))


def _asked(scratch: Path, place: _Place, versions: int) -> int:
    """How many requests that takes. Raises Failed where not all came."""
    with _empty(scratch, place) as there:
        said, asked = place.counted(Command(there.call("pull", "--json"), there.place, there.environment))
    came = sum(project["pulled"]["versions"] for project in json.loads(said)["projects"])
    if came != versions:
        message = f"{came:,} of {versions:,} versions came from {place.title}"
        raise Failed(message)
    return asked


@contextmanager
def _empty(scratch: Path, place: _Place) -> Iterator[Artstore]:
    """A store that follows the depot, and has nothing yet."""
    there = Artstore(scratch, scratch)
    there.environment |= place.environment
    there.prepare()
    there.do(*there.call("remote", "add", "hub", place.url, "--upstream"))
    yield there
    remove(scratch)


def _folder(far: Path) -> _Place:
    def counted(command: Command) -> tuple[str, int]:
        with tempfile.TemporaryDirectory() as folder:
            calls = Path(folder, "calls")
            words = ["strace", "-ff", "-qq", "-y", "-e", "trace=openat,getdents64", "-o", str(calls), *command.words]
            said = answer(replace(command, words=words))
            lines = [line for path in Path(folder).iterdir() for line in _lines(path) if str(far) in line]
        # An object that is opened, there or not, and a folder that is read to its end.
        return said, sum(bool(_OPENED.match(line) or _LISTED.match(line)) for line in lines)

    return _Place("a folder", far.as_uri(), {}, counted, lambda: remove(far / _HELP))


@contextmanager
def _bucket(far: Path) -> Iterator[_Place]:
    """The same objects in a bucket of a SeaweedFS that nobody else asks, and that counts what it is asked."""
    facts = seaweedfs.start(Server(Path(tempfile.mkdtemp(prefix="artstore-cold-")), os.getpid()))
    environment = seaweedfs.environment(facts)
    url = f"s3://{facts['plain']}/depot"

    def counted(command: Command) -> tuple[str, int]:
        before = seaweedfs.asked(facts, facts["plain"])
        said = answer(command)
        return said, seaweedfs.asked(facts, facts["plain"]) - before

    with seaweedfs.reached(facts):
        objects = open_objects(url)

        def send(path: Path) -> None:
            objects.write_file(str(path.relative_to(far)), path)

        for _sent in in_parallel(send, [path for path in far.rglob("*") if path.is_file()]):
            pass

        def forget() -> None:
            for name in list(objects.names(f"{_HELP}/")):
                objects.remove(name)

        yield _Place("a bucket of SeaweedFS", url, environment, counted, forget)


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8", errors="replace").splitlines()
