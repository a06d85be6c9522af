"""The subject: artstore itself, as the interpreter that runs this has it."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.measure import Command, answer
from benchmarks.tool import Operation, Tool
from benchmarks.workloads import footprint

ARTSTORE = (sys.executable, "-m", "artstore")
NAME = "tree"
"""The collection that everything is put into."""


class Artstore(Tool):
    """`artstore put` and `artstore get`, and what a process that holds the store open can say of it."""

    name = "artstore"
    program = sys.executable
    syncs = True
    is_optional = False

    def __init__(self, place: Path, source: Path) -> None:
        super().__init__(place, source)
        # `python -m` looks for the package where it is started, which is the repository if it is not installed.
        paths = [str(Path.cwd()), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
        self.environment["PYTHONPATH"] = os.pathsep.join(path for path in paths if path)

    @classmethod
    def version(cls) -> str:
        """What `artstore --version` says."""
        return answer(Command([*ARTSTORE, "--version"])).strip()

    def prepare(self) -> None:
        """Make the store."""
        self.do(*ARTSTORE, "init", str(self.store))

    def words(self, operation: Operation) -> Sequence[str]:
        """The same `put` three times: what it does differs by what it finds."""
        if operation is Operation.GET:
            return self.call("get", f"{NAME}:v0", str(self.target))
        return self.call("put", str(self.tree), "--name", NAME, "--type", "dataset")

    def call(self, *words: str) -> list[str]:
        """Any artstore command on this store."""
        return [*ARTSTORE, *words, "--store", str(self.store)]

    def verify(self, *options: str) -> float:
        """Seconds that checking everything takes inside a process. Raises Failed, also if anything is damaged."""
        return self._inside("verify", str(self.store), *options)

    def fill(self, files: int, first: int, last: int) -> None:
        """Put the tree, of so many entries, once for each number, changed a little before each. Raises Failed."""
        numbers = ("--files", str(files), "--first", str(first), "--last", str(last))
        self._inside("fill", str(self.store), str(self.tree), "--name", NAME, *numbers)

    def grow(self, versions: int) -> None:
        """Put so many versions, and push each into a slot of its own. Raises Failed."""
        self._inside("grow", str(self.store), str(self.tree), "--name", NAME, "--versions", str(versions))

    def bookkeeping_bytes(self) -> int:
        """What catalog and ops take, in the length of their files."""
        catalog = sum(path.stat().st_size for path in self.store.glob("catalog.db*"))
        return catalog + sum(path.stat().st_size for path in (self.store / "ops").rglob("*") if path.is_file())

    def per_byte_and_file(self, total_bytes: int, files: int) -> dict[str, float]:
        """What the store takes, for each byte and each file that was put into it."""
        taken = footprint(self.store)
        return {
            "disk": taken.disk_bytes / total_bytes,
            "apparent": taken.apparent_bytes / total_bytes,
            "inodes": (taken.files + taken.folders) / files,
        }

    def _inside(self, *words: str) -> float:
        command = Command([sys.executable, "-m", "benchmarks.inside", *words], self.place, self.environment)
        return float(json.loads(answer(command))["seconds"])
