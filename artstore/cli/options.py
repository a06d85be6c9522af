"""Options: what every command takes, and how words on the command line become values.

Imports nothing that is slow to load, because `artstore --help` needs this module.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import click

from artstore.cli.printing import UNCHANGED, printing

SECONDS_IN = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}

_DURATION = re.compile(r"(\d+(?:\.\d+)?)([smhdw])\Z", re.ASCII)

_SIZE = re.compile(r"(\d{1,12}(?:\.\d+)?) ?([KMGT]?i?B?)\Z", re.ASCII | re.IGNORECASE)
_BYTES_IN = {"": 1, "I": 1} | {
    f"{letter}{i}": base**power for power, letter in enumerate("KMGT", 1) for i, base in (("", 1000), ("I", 1024))
}


@dataclass(slots=True)
class Call:
    """What was asked of every command alike; options before and after the command name end up in the same one."""

    store: Path | None = None
    project: str | None = None
    json: bool = False


def duration(text: str) -> float:
    """`90s`, `15m`, `24h`, `7d`, `2w` or `0`, as seconds. A bare number is refused: nobody knows its unit."""
    if text == "0":
        return 0.0
    found = _DURATION.match(text)
    length_s = float(found[1]) * SECONDS_IN[found[2]] if found else math.inf
    if not math.isfinite(length_s):
        message = f"{text!r} is not a duration: write for example 90s, 15m, 24h, 7d, 2w or 0"
        raise click.BadParameter(message)
    return length_s


def file_size(text: str) -> int:
    """`700MB`, `4GB`, `4GiB` or a number of bytes; with an i the steps are of 1,024, without of 1,000."""
    found = _SIZE.match(text)
    if found is None or not (value := int(float(found[1]) * _BYTES_IN[found[2].upper().removesuffix("B")])):
        message = f"{text!r} is not a size: write for example 700MB, 4GB or 4GiB"
        raise click.BadParameter(message)
    return value


class Best(NamedTuple):
    """Keep the `keep` versions whose metadata value at `key` is the largest (`max`) or smallest (`min`)."""

    key: str
    order: Literal["max", "min"]
    keep: int


def best(text: str) -> Best:
    """`KEY=K`, `KEY:max=K` or `KEY:min=K`; read from the right, since a metadata key may hold `:` and `=` itself."""
    head, _, count = text.rpartition("=")
    key = head[:-4] if head.endswith((":max", ":min")) else head
    if not (key and count.isascii() and count.isdigit() and int(count) > 0):
        message = f"{text!r} does not say how many to keep: write for example accuracy:max=3"
        raise click.BadParameter(message)
    return Best(key, "min" if head.endswith(":min") else "max", int(count))


class Place(click.Path):
    """A path on the command line. An empty one, as an unset variable makes it, names nothing."""

    def convert(self, value: str | os.PathLike[str], param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Read it."""
        if not os.fspath(value):
            self.fail("an empty path names nothing: write . for the folder that you are in", param, ctx)
        return super().convert(value, param, ctx)


class Verb(click.Command):
    """A command with the options of all commands, and examples at the end of its help."""

    def __init__(self, *args: Any, examples: Sequence[str], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.examples = tuple(examples)
        self.params.extend(shared_options())

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read the command line, and print the help or the version that it asks for."""
        with printing(UNCHANGED):
            return super().parse_args(ctx, args)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the examples as they are: a wrapped line could not be copied into a shell."""
        write_examples(formatter, self.examples)
        super().format_epilog(ctx, formatter)


def verb(*examples: str, name: str | None = None) -> Callable[[Callable[..., int | None]], Verb]:
    """Make a command of a function: it gets the Call first, then what its own options and arguments say.

    The command is called as the function, if no name is given.
    """

    def make(function: Callable[..., int | None]) -> Verb:
        return click.command(name, cls=Verb, examples=examples)(click.pass_obj(function))

    return make


def write_examples(formatter: click.HelpFormatter, examples: Sequence[str]) -> None:
    """Write lines under `Example:` at the end of a help text."""
    with formatter.section("Example"):
        for line in examples:
            formatter.write(f"{'':>{formatter.current_indent}}{line}\n")


def shared_options() -> list[click.Parameter]:
    """`--store`, `--project`, `--json` and `--version`, for the group and for each command.

    Eager, so that an error in any other option is already printed the way `--json` asks for.
    """
    return [
        click.Option(
            ["--store"],
            type=Place(path_type=Path),
            metavar="DIR",
            expose_value=False,
            is_eager=True,
            callback=_remember,
            help="The store's directory. Default: ARTSTORE_DIR, the nearest .artstore upward, the user's own.",
        ),
        click.Option(
            ["--project"],
            metavar="NAME",
            expose_value=False,
            is_eager=True,
            callback=_remember,
            help="The project of names that do not say theirs. Default: ARTSTORE_PROJECT, else uncategorized.",
        ),
        click.Option(
            ["--json"],
            is_flag=True,
            expose_value=False,
            is_eager=True,
            callback=_remember,
            help="Print data, and errors, as JSON: sizes in bytes, times in UTC seconds.",
        ),
        click.Option(
            ["--version"],
            is_flag=True,
            expose_value=False,
            is_eager=True,
            callback=_print_version,
            help="Print the version of artstore and leave.",
        ),
    ]


def _remember(ctx: click.Context, param: click.Parameter, value: object) -> None:
    # None and False are the absence of the option, and must not undo what stood before the command's name.
    if value and param.name:
        setattr(ctx.ensure_object(Call), param.name, value)


def _print_version(ctx: click.Context, _: click.Parameter, value: object) -> None:
    if not value or ctx.resilient_parsing:
        return
    # Standard library, and a third of the time that `--help` takes.
    from importlib import metadata  # noqa: PLC0415

    try:
        version = metadata.version("artstore")
    except metadata.PackageNotFoundError:
        version = "(not installed)"
    click.echo(f"artstore {version}")
    ctx.exit()
