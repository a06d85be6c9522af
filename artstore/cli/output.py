"""Output: data on standard output, for people or as JSON; words about it on standard error.

Columns are aligned; a terminal gets their titles in bold. Names come from other people's files: what could move the
cursor or turn the writing around is always printed escaped.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Final, TypeVar

import click

from artstore.cli.printing import printing
from artstore.plain import escape, plain

if TYPE_CHECKING:
    from artstore.cli.options import Call

T = TypeVar("T")

_GAP: Final = 2
"""Spaces between columns."""


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
    """Write rows under titles; a title that begins with `>` stands over a column aligned to the right.

    A row is one line, however narrow the terminal, which wraps what is too long: so a name can be copied whole. What
    is longer than others puts only its own row out of line.
    """
    people_look = is_terminal()
    width_of = _cells if people_look else len
    words = [title.lstrip(">") for title in columns]
    titles = words if people_look else [title.upper() for title in words]
    escaped = [[escape(cell) for cell in row] for row in rows]
    widths = [max(map(width_of, cells)) for cells in zip(titles, *escaped, strict=True)]
    if people_look:
        _narrow(widths, [title.startswith(">") for title in columns], [width_of(title) for title in titles])
    for row in [titles, *escaped]:
        cells = []
        for cell, width, title in zip(row, widths, columns, strict=True):
            space = " " * (width - width_of(cell))
            cells.append(space + cell if title.startswith(">") else cell + space)
        line = (" " * _GAP).join(cells).rstrip()
        click.echo(click.style(line, bold=True) if people_look and row is titles else line)


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


def _narrow(widths: list[int], are_numbers: Sequence[bool], least: Sequence[int]) -> None:
    """Take from the widest columns of text what the rows are wider than the terminal."""
    too_wide = sum(widths) + _GAP * (len(widths) - 1) - shutil.get_terminal_size().columns
    for column in sorted(range(len(widths)), key=lambda column: -widths[column]):
        if too_wide > 0 and not are_numbers[column]:
            taken = min(too_wide, widths[column] - least[column])
            widths[column] -= taken
            too_wide -= taken


def _cells(text: str) -> int:
    """How many columns of a terminal a text takes: two for each character of Chinese, none for an accent."""
    # Loaded with the first table: a command that prints none does not wait for it.
    from rich.cells import cell_len  # noqa: PLC0415

    return cell_len(text)
