"""Tools: whatever can be told to put a tree in and to get it back."""

from __future__ import annotations

import os
import shutil
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import ClassVar

from benchmarks.measure import Command, Failed


class Operation(StrEnum):
    """What every tool is asked for in one lap, in this order."""

    PUT = "put"
    REPUT = "reput"
    GET = "get"
    PUT1 = "put1"

    @property
    def heading(self) -> str:
        """For the table."""
        return _TITLES[self]


_TITLES = {
    Operation.PUT: "put, first",
    Operation.REPUT: "put, unchanged",
    Operation.GET: "get into an empty folder",
    Operation.PUT1: "put, 1 % changed",
}


class Tool(ABC):
    """One tool with a fresh store of its own below `place`, which is deleted with it."""

    name: ClassVar[str]
    program: ClassVar[str]
    """What must be on PATH."""

    stands_on: ClassVar[frozenset[str]] = frozenset()
    """Workloads where it is measured unless somebody asks for other tools: those that have a target against it."""

    syncs: ClassVar[bool] = False
    """Whether what it put survives a power cut by its own doing."""

    is_optional: ClassVar[bool] = True
    """Whether the benchmark goes on without it."""

    def __init__(self, place: Path, source: Path) -> None:
        self.place = place
        self.source = source
        self.store = place / "store"
        self.target = place / "out"
        self.environment = own_environment(place / "home")

    @classmethod
    def is_installed(cls) -> bool:
        """Whether it can be measured here."""
        return shutil.which(cls.program) is not None

    @classmethod
    def version(cls) -> str:
        """The first line of what it says about itself."""
        return first_line(cls.program, "--version")

    @property
    def tree(self) -> Path:
        """The tree that it puts: the common one, unless it insists on its own copy."""
        return self.source

    @abstractmethod
    def prepare(self) -> None:
        """Make the empty store. Raises Failed."""

    @abstractmethod
    def words(self, operation: Operation) -> Sequence[str] | None:
        """The command line for it; None for what this tool cannot do, or does no differently than before."""

    def before(self, operation: Operation) -> None:
        """What has to happen before this operation, outside its time."""
        del operation  # Nothing, for most tools.

    def gotten(self) -> Path:
        """Where the tree is after `get`."""
        return self.target

    def reads(self, operation: Operation) -> Path:
        """What the operation reads, to be in the page cache."""
        return self.store if operation is Operation.GET else self.tree

    def command(self, operation: Operation) -> Command | None:
        """The process to measure, followed by `sync` where the tool does not see to that itself."""
        words = self.words(operation)
        if words is None:
            return None
        command = Command(words, self.place, self.environment)
        return command if self.syncs and operation is not Operation.GET else command.synced()

    def do(self, *words: str, folder: Path | None = None) -> None:
        """Run something that is not measured. Raises Failed."""
        done = subprocess.run(
            words, cwd=folder or self.place, env=self.environment, capture_output=True, text=True, check=False
        )
        if done.returncode:
            message = f"{' '.join(words)} exited with {done.returncode}: {done.stderr.strip()}"
            raise Failed(message)


def first_line(*words: str) -> str:
    """What a program says first."""
    asked = subprocess.run(words, capture_output=True, text=True, check=False)
    return (asked.stdout or asked.stderr).strip().partition("\n")[0]


def own_environment(home: Path) -> dict[str, str]:
    """Nobody's settings, caches or credentials: the same tool on every machine. The home is made."""
    home.mkdir(parents=True)
    kept = {name: value for name, value in os.environ.items() if name in {"PATH", "LD_LIBRARY_PATH", "TMPDIR"}}
    return {**kept, "HOME": str(home), "LC_ALL": "C.UTF-8"}


def remove(tree: Path) -> None:
    """Delete a folder, read-only files and folders in it as well; nothing happens if it is not there."""
    if tree.exists():
        subprocess.run(["chmod", "-R", "u+rwX", str(tree)], check=True)
        shutil.rmtree(tree)
