"""Whoever asks for help gets it, with an example that works, and soon."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path
from typing import Final

import click
import pytest

from artstore.cli.commands import COMMANDS, EXAMPLES, Line, door
from artstore.cli.options import Call, Verb

LINES: Final = [line for lines in COMMANDS.values() for line in lines]
WANTED: Final = {
    *("serve", "token", "remote", "push", "pull", "sync", "explain", "evict", "bundle"),
    *("numbers", "conflicts", "resolve"),
    *("init", "put", "get", "cat", "ls", "show", "log", "diff", "find", "alias", "tag", "describe", "metadata", "ttl"),
    *("link", "unlink", "parts", "drop", "artifact", "lineage", "runs", "run", "watch", "retype"),
    *("rename", "copy", "delete", "du", "verify", "repair", "gc", "rebuild", "status", "doctor", "backup", "prune"),
    *("demo", "completion", "import", "ui"),
}
SHARED: Final = ["--store", "--project", "--json", "--version"]
SLOW: Final = ("sqlite3", "pysqlite3", "sqlite_utils", "msgspec", "rich", "platformdirs", "blake3", "artstore.store")


def command(name: str) -> Verb:
    found = door.get_command(click.Context(door), name)
    assert isinstance(found, Verb)
    return found


def arguments(example: str, name: str) -> list[str]:
    """The words after `artstore <name>`, up to a pipe or a redirection."""
    words = shlex.split(example.replace('"$(', "").replace(')"', ""), comments=False)
    rest = words[words.index("artstore") + 1 :]
    assert rest[0] == name
    ends = [rest.index(mark) for mark in ("|", ">") if mark in rest]
    return rest[1 : min(ends, default=len(rest))]


def test_the_list_holds_every_command() -> None:
    assert sorted(WANTED) == sorted(line.name for line in LINES)


@pytest.mark.parametrize("line", LINES, ids=lambda line: line.name)
def test_the_list_says_what_the_command_says(line: Line) -> None:
    """The list is a table of its own, so that it can be printed without importing the commands."""
    assert line.help.rstrip(".") == command(line.name).get_short_help_str(limit=1000).rstrip(".")
    assert line.name == command(line.name).name


@pytest.mark.parametrize("line", LINES, ids=lambda line: line.name)
def test_every_option_has_help_and_every_command_takes_the_shared_ones(line: Line) -> None:
    options = [parameter for parameter in command(line.name).params if isinstance(parameter, click.Option)]

    assert [] == [option.name for option in options if not (option.help and option.help.endswith("."))]
    assert SHARED == [option.opts[0] for option in options[-len(SHARED) :]]


@pytest.mark.parametrize("line", LINES, ids=lambda line: line.name)
def test_every_example_can_be_parsed(line: Line, folder: Path) -> None:
    for name in ("photos", "wandb"):
        (folder / name).mkdir()  # what examples name has to be there
    examples = command(line.name).examples

    assert examples
    for example in examples:
        with command(line.name).make_context(line.name, arguments(example, line.name), obj=Call()):
            pass
    shown = "".join(f"  {example}\n" for example in examples)
    assert f"Example:\n{shown}" in f"{_help(line.name)}\n"


def test_the_examples_of_the_group_can_be_parsed() -> None:
    for example in EXAMPLES:
        name = shlex.split(example)[1]
        with command(name).make_context(name, arguments(example, name), obj=Call()):
            pass
        assert f"  {example}\n" in f"{_help()}\n"


def test_help_fits_a_terminal() -> None:
    """Examples are not wrapped, so they have to be short enough."""
    texts = [_help(), *(_help(line.name) for line in LINES)]

    assert [] == [row for text in texts for row in text.splitlines() if len(row) > 80 or not row.isascii()]


@pytest.mark.usefixtures("folder")
@pytest.mark.usefixtures("unmeasured")
def test_help_loads_neither_the_store_nor_what_draws_tables() -> None:
    program = (
        "import sys; from artstore.cli import main; code = main(['--help']); "
        f"print(code, [name for name in {SLOW!r} if name in sys.modules], file=sys.stderr)"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert ended.stderr == "0 []\n"
    assert ended.stdout.startswith("Usage: artstore")


@pytest.mark.parametrize("words", [["--store", "here", "--json", "ls"], ["ls", "--json", "--store", "here"]])
def test_shared_options_stand_before_or_after_the_command(words: list[str]) -> None:
    call = Call()
    with (
        door.make_context("artstore", words, obj=call) as outer,
        command("ls").make_context("ls", outer.args, parent=outer),
    ):
        assert Call(store=Path("here"), json=True) == call


def test_the_later_option_wins_and_silence_changes_nothing() -> None:
    call = Call()
    with (
        door.make_context("artstore", ["--project", "a", "--json", "ls", "--project", "b"], obj=call) as outer,
        command("ls").make_context("ls", outer.args, parent=outer),
    ):
        assert Call(project="b", json=True) == call


def _help(*names: str) -> str:
    with click.Context(door, info_name="artstore") as outer:
        if not names:
            return door.get_help(outer)
        return command(names[0]).get_help(click.Context(command(names[0]), info_name=names[0], parent=outer))
