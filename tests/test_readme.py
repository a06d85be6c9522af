"""Every example in the README runs.

The blocks run in their order, in one empty folder, as a reader would type them; what one leaves there, the next finds.
In a `console` block the lines after `$ ` are commands and the others show what to expect; expected output is for
readers and is not compared. A `python` block is a program. Each must end well. A `text` block is not run, and a `sh`
block holds a command that changes the machine, which `.ci/run` runs as it is printed.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Final, NamedTuple

import pytest

ROOT: Final = Path(__file__).parents[1]
README: Final = ROOT / "README.md"

_FENCE = re.compile(r"^```(?P<language>\w*)\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL)
_COMMAND = re.compile(r"^<!-- command: (\w+) -->\n```sh\n(.+)\n```$", re.MULTILINE)


class Block(NamedTuple):
    """One fenced block."""

    line: int
    language: str
    body: str


def blocks(text: str) -> list[Block]:
    return [Block(text.count("\n", 0, m.start()) + 1, m["language"], m["body"]) for m in _FENCE.finditer(text)]


def commands(block: Block) -> str:
    """The lines after `$ `, and those after `> ` that continue them."""
    return "\n".join(line[2:] for line in block.body.splitlines() if line.startswith(("$ ", "> ")))


def run(block: Block, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a block as its reader would, with the artstore of this interpreter's environment."""
    if block.language == "console":
        argv = ["bash", "-euo", "pipefail", "-c", commands(block)]
    else:
        argv = [sys.executable, "-W", "error", "-c", block.body]
    # Not resolved: the link in the environment's folder is what has the scripts beside it.
    scripts = Path(sys.executable).parent
    path = f"{scripts}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        argv,
        cwd=folder,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        stdin=subprocess.DEVNULL,
    )


@pytest.mark.slow
@pytest.mark.usefixtures("unmeasured")
def test_every_example_runs(tmp_path: Path) -> None:
    for block in blocks(README.read_text(encoding="utf-8")):
        if block.language in {"console", "python"}:
            ended = run(block, tmp_path)

            assert ended.returncode == 0, f"README.md:{block.line}\n{block.body}\n{ended.stdout}{ended.stderr}"


def test_there_are_examples_and_each_block_says_what_it_is() -> None:
    found = blocks(README.read_text(encoding="utf-8"))

    assert {"console", "python", "sh", "text"} >= {block.language for block in found}
    assert {"console", "python"} <= {block.language for block in found}
    assert [] == [block.line for block in found if block.language == "console" and not commands(block)]


def test_the_commands_for_a_new_machine_are_marked() -> None:
    """`.ci/run` takes them from the README, so what a reader is told is what is tried."""
    text = README.read_text(encoding="utf-8")

    assert ["first", "test"] == [name for name, _ in _COMMAND.findall(text)]
    assert len(_COMMAND.findall(text)) == len([block for block in blocks(text) if block.language == "sh"])


def test_its_pictures_are_there() -> None:
    """They are shown wherever a checkout is: by a path in it, and from no other host."""
    named = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", README.read_text(encoding="utf-8"))

    assert 2 == len(named)
    assert all((ROOT / name).read_bytes().startswith(b"\x89PNG") for name in named)


@pytest.mark.parametrize(
    ("text", "ends_well"),
    [
        ("```console\n$ true\nfalse\n```", True),
        ("```console\n$ false\n$ true\n```", False),
        ("```console\n$ false | true\n```", False),
        ("```console\n$ cat <<END >said\n> hello\n> END\n$ grep hello said\n```", True),
        ("```python\nassert 1 + 1 == 2\n```", True),
        ("```python\nassert 1 + 1 == 3\n```", False),
    ],
)
def test_an_example_that_fails_is_noticed(text: str, tmp_path: Path, *, ends_well: bool) -> None:
    (block,) = blocks(text)

    assert ends_well == (run(block, tmp_path).returncode == 0)


def test_a_block_is_found_with_its_line() -> None:
    assert [Block(3, "console", "$ true\n")] == blocks("# Title\n\n```console\n$ true\n```\n")
