"""Output: data on standard output, for people or as JSON; words about it on standard error.

A terminal gets rich tables, a pipe gets aligned columns in plain text. Names come from other people's files: what could
move the cursor or turn the writing around is always printed escaped.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, TypeVar

import click

from artstore.cli.printing import printing
from artstore.plain import escape, plain

if TYPE_CHECKING:
    from artstore.cli.options import Call

T = TypeVar("T")


def emit(call: Call, value: T, render: Callable[[T], None], *, outcome: str = "the command has done its work") -> None:
    """Print a report: as JSON if that was asked for, else as its renderer writes it.

    The outcome is what is true even where nothing can be printed.
    """
    with printing(outcome):
        if call.json:
            print_json(value)
        else:
            render(value)


def say(text: str = "", *, style: str | None = None) -> None:
    """Write a line to standard output; `style` is a color, and shows on a terminal only."""
    line = escape(text)
    click.echo(click.style(line, fg=style) if style else line)


def say_all(lines: Iterable[str]) -> None:
    """Write many lines to standard output, as they come and without a system call for each."""
    sys.stdout.writelines(escape(line) + "\n" for line in lines)


def note(text: str) -> None:
    """Write a line about the work to standard error."""
    click.echo(f"artstore: {escape(text)}", err=True)


def is_terminal() -> bool:
    """Whether a person looks at standard output."""
    return sys.stdout.isatty()


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Write rows under titles; a title that begins with `>` stands over a column aligned to the right."""
    escaped = [[escape(cell) for cell in row] for row in rows]
    if is_terminal():
        _rich_table(columns, escaped)
        return
    titles = [title.lstrip(">").upper() for title in columns]
    widths = [max(map(len, cells)) for cells in zip(titles, *escaped, strict=True)]
    for row in [titles, *escaped]:
        cells = [
            cell.rjust(width) if title.startswith(">") else cell.ljust(width)
            for cell, width, title in zip(row, widths, columns, strict=True)
        ]
        click.echo("  ".join(cells).rstrip())


def pairs(rows: Iterable[tuple[str, str]]) -> None:
    """Write names and values in two columns; further lines of a value stand below its first."""
    known = list(rows)
    width = max((len(name) for name, _ in known), default=0)
    for name, value in known:
        for i, line in enumerate(value.split("\n")):
            say(f"{'' if i else name:<{width}}  {line}".rstrip())


def print_json(value: object) -> None:
    """Write one JSON document, indented."""
    # Here and below: rich and msgspec are third-party and are loaded only by what prints with them.
    import msgspec  # noqa: PLC0415

    click.echo(msgspec.json.format(msgspec.json.encode(plain(value)), indent=2))


def print_json_line(value: object) -> None:
    """Write one JSON document in one line, of which more may follow."""
    import msgspec  # noqa: PLC0415

    click.echo(msgspec.json.encode(plain(value)))


def stream_json(values: Iterable[object]) -> None:
    """Write a JSON array, one value a line, without holding them all."""
    import msgspec  # noqa: PLC0415

    separator = b"[\n"
    out = sys.stdout.buffer
    for value in values:
        out.write(separator + msgspec.json.encode(plain(value)))
        separator = b",\n"
    out.write(b"[]\n" if separator == b"[\n" else b"\n]\n")
    out.flush()


def _rich_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    drawn = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
    for title in columns:
        right = title.startswith(">")
        # Numbers stay on one line; names may fold, since a shortened name cannot be copied.
        drawn.add_column(title.lstrip(">"), justify="right" if right else "left", no_wrap=right, overflow="fold")
    for row in rows:
        # Text, not str: a name with square brackets is not markup.
        drawn.add_row(*(Text(cell) for cell in row))
    Console().print(drawn)
