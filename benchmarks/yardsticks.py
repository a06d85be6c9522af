"""Yardsticks: the tools that artstore is measured against, each found on PATH and otherwise left out."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from benchmarks.tool import Operation, Tool, remove


class Copy(Tool):
    """`cp -r` and `sync`: what the file system itself takes for the bytes."""

    name = "cp"
    program = "cp"
    stands_on = frozenset("STML")
    is_optional = False

    def prepare(self) -> None:
        """Nothing: a copy needs no store."""

    def words(self, operation: Operation) -> Sequence[str] | None:
        """A copy knows no second version, so only the first put and the get are compared with it."""
        if operation is Operation.PUT:
            return ["cp", "-r", str(self.tree), str(self.store)]
        if operation is Operation.GET:
            return ["cp", "-r", str(self.tree), str(self.target)]
        return None

    def reads(self, operation: Operation) -> Path:
        """The tree, for both."""
        del operation
        return self.tree


class Restic(Tool):
    """`restic backup` with its defaults: encrypted, compressed where that helps."""

    name = "restic"
    program = "restic"
    stands_on = frozenset("STM")
    syncs = True

    @classmethod
    def version(cls) -> str:
        """It has a command for it, older ones no option."""
        return "restic " + _said(cls.program, "version").split()[1]

    def prepare(self) -> None:
        """Make the repository."""
        self.environment |= {"RESTIC_PASSWORD": "benchmark", "RESTIC_CACHE_DIR": str(self.place / "home" / "cache")}
        self.do("restic", "init", "--repo", str(self.store))

    def words(self, operation: Operation) -> Sequence[str]:
        """Every backup of one path is compared with the one before."""
        restic = ["restic", "--quiet", "--repo", str(self.store)]
        if operation is Operation.GET:
            return [*restic, "restore", "latest", "--target", str(self.target)]
        return [*restic, "backup", str(self.tree)]


class Borg(Tool):
    """`borg create` with its defaults, without encryption."""

    name = "borg"
    program = "borg"
    stands_on = frozenset("L")
    syncs = True

    def prepare(self) -> None:
        """Make the repository, and the folder to extract into."""
        self.environment |= {
            "BORG_BASE_DIR": str(self.place / "home"),
            "BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK": "yes",
        }
        self.do("borg", "init", "--encryption", "none", str(self.store))

    def before(self, operation: Operation) -> None:
        """It extracts into the folder where it is started."""
        if operation is Operation.GET:
            self.target.mkdir()

    def words(self, operation: Operation) -> Sequence[str]:
        """One archive an operation."""
        if operation is Operation.GET:
            script = 'cd "$1" && borg extract "$2"'
            return ["sh", "-c", script, "sh", str(self.target), f"{self.store}::{Operation.PUT}"]
        return ["borg", "create", f"{self.store}::{operation}", str(self.tree)]


class _InTree(Tool):
    """A tool whose tree must lie inside its own working folder, and is put back there."""

    @property
    def tree(self) -> Path:
        return self.store / "data"

    def prepare(self) -> None:
        """Copy the common tree into the working folder."""
        self.store.mkdir()
        shutil.copytree(self.source, self.tree)

    def before(self, operation: Operation) -> None:
        """What it has to bring back must be gone."""
        if operation is Operation.GET:
            remove(self.tree)

    def gotten(self) -> Path:
        return self.tree

    def within(self, script: str) -> list[str]:
        """A shell line, run inside the working folder."""
        return ["sh", "-c", f'cd "$1" && {script}', "sh", str(self.store)]


class Dvc(_InTree):
    """`dvc add` and `dvc checkout`, copying between cache and tree."""

    name = "dvc"
    program = "dvc"

    @classmethod
    def version(cls) -> str:
        """It says the number alone."""
        return "dvc " + _said(cls.program, "--version")

    def prepare(self) -> None:
        """Make the project around the tree."""
        super().prepare()
        self.environment |= {"DVC_NO_ANALYTICS": "1", "DVC_SITE_CACHE_DIR": str(self.place / "home" / "site")}
        self.do("dvc", "init", "--quiet", "--no-scm", folder=self.store)
        self.do("dvc", "config", "core.check_update", "false", folder=self.store)

    def words(self, operation: Operation) -> Sequence[str]:
        """`add` compares with what it saw before."""
        return self.within("dvc checkout --quiet" if operation is Operation.GET else "dvc add --quiet data")


class GitLfs(_InTree):
    """`git add` and `git commit` with every file in LFS, and `git checkout` of the tree."""

    name = "git-lfs"
    program = "git-lfs"

    def prepare(self) -> None:
        """Make the repository around the tree."""
        super().prepare()
        self.environment |= {"GIT_CONFIG_NOSYSTEM": "1"}
        for person in ("AUTHOR", "COMMITTER"):
            self.environment |= {f"GIT_{person}_NAME": "benchmark", f"GIT_{person}_EMAIL": "benchmark@localhost"}
        self.do("git", "init", "--quiet", ".", folder=self.store)
        self.do("git", "config", "gc.auto", "0", folder=self.store)
        self.do("git", "lfs", "install", "--local", folder=self.store)
        (self.store / ".gitattributes").write_text("data/** filter=lfs diff=lfs merge=lfs -text\n", encoding="utf-8")

    def words(self, operation: Operation) -> Sequence[str]:
        """A commit for each put, empty if nothing changed."""
        if operation is Operation.GET:
            return self.within("git checkout --quiet -- data")
        return self.within("git add --all . && git commit --quiet --allow-empty --message put")


_WANDB_PUT: Final = """
import sys, wandb
quiet = wandb.Settings(disable_git=True, console="off", disable_code=True, silent=True)
run = wandb.init(project="benchmark", mode="offline", settings=quiet)
artifact = wandb.Artifact("tree", type="dataset")
artifact.add_dir(sys.argv[1])
run.log_artifact(artifact)
run.finish()
"""


class Wandb(Tool):
    """`Artifact.add_dir` and `log_artifact` of an offline run; without a server there is no getting back."""

    name = "wandb"
    program = "wandb"

    def prepare(self) -> None:
        """Point it at the store, for all of its folders."""
        self.store.mkdir()
        for variable in ("WANDB_DIR", "WANDB_CACHE_DIR", "WANDB_DATA_DIR", "WANDB_CONFIG_DIR"):
            self.environment[variable] = str(self.store)
        self.environment |= {"WANDB_ERROR_REPORTING": "false"}

    def words(self, operation: Operation) -> Sequence[str] | None:
        """By the interpreter that its own script runs on."""
        if operation is Operation.GET:
            return None
        script = Path(shutil.which(self.program) or self.program).resolve()
        return [str(script.with_name("python")), "-c", _WANDB_PUT, str(self.tree)]


PEERS: Final[dict[str, type[Tool]]] = {peer.name: peer for peer in (Restic, Borg, Dvc, GitLfs, Wandb)}
"""What may stand beside artstore and the copy, by name."""


def _said(*words: str) -> str:
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip()
