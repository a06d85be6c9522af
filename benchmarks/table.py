"""Tables: rows as Markdown, on the terminal and in the README."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from benchmarks.measure import Series
from benchmarks.rows import Row, misses
from benchmarks.targets import Kind, Target

README: Final = Path(__file__).with_name("README.md")


def render(heading: str, facts: Sequence[str], rows: Sequence[Row]) -> str:
    """One block: a heading, how it was measured, the table, and what was missed."""
    header = ("operation", "artstore", "beside", "its figure", "pair by pair", "target", "")
    lines = [f"### {heading}", "", *(f"- {fact}" for fact in facts), ""]
    lines += grid(header, [_cells(row) for row in rows])
    missed = list(misses(rows))
    if missed:
        lines += ["", f"**Missed: {len(missed)}.**", *(f"- {_sentence(row)}" for row in missed)]
    return "\n".join(lines) + "\n"


def grid(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """A Markdown table, a line each."""
    return [_line(header), _line(["---"] * len(header)), *(_line(row) for row in rows)]


def renew(name: str, block: str) -> None:
    """Put a block between its markers in the README, in place of what stood there; new ones go to the end."""
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    text = README.read_text(encoding="utf-8")
    if begin not in text:
        text = f"{text.rstrip()}\n\n{begin}\n{end}\n"
    before, _, rest = text.partition(begin)
    _, _, after = rest.partition(end)
    README.write_text(f"{before}{begin}\n\n{block}\n{end}{after}", encoding="utf-8")


def spread(series: Series, unit: str) -> str:
    """`0.52 s (0.49-0.61)`: the median, and from the least to the most."""
    scale = 100 if unit == "%" else 1
    low, middle, high = (scale * value for value in (min(series.values), series.median, max(series.values)))
    return f"{_number(middle)} {unit}".rstrip() + f" ({_number(low)}-{_number(high)})"


def _cells(row: Row) -> Sequence[str]:
    if row.is_measured and row.theirs is not None:
        pairs = f"{row.figure.median:+.2f} s" if row.kind is Kind.DIFFERENCE else spread(row.figure, "x")
        theirs = spread(row.theirs, row.unit)
    else:
        pairs = theirs = ""
    limit = "" if row.target is None else _limit(row.target, row.unit)
    return (row.title, spread(row.ours, row.unit), row.rival or "", theirs, pairs, limit, _verdict(row))


def _verdict(row: Row) -> str:
    if row.target is None:
        return ""
    return {True: "pass", False: "**miss**", None: "not measured"}[row.is_reached]


def _limit(target: Target, unit: str) -> str:
    sign = "≥" if target.is_floor else "≤"
    if target.kind is Kind.RATIO:
        return f"{sign} {target.limit:g} x {target.rival}"
    if target.kind is Kind.DIFFERENCE:
        return f"{sign} {target.rival} + {target.limit:g} {unit}"
    return f"{sign} {100 * target.limit if unit == '%' else target.limit:g} {unit}".rstrip()


def _sentence(row: Row) -> str:
    target = row.target
    assert target is not None  # Only rows with a target are missed.
    figure = {Kind.VALUE: row.unit, Kind.RATIO: f"x {row.rival}", Kind.DIFFERENCE: f"{row.unit} above {row.rival}"}
    scale = 100 if row.unit == "%" else 1
    return (
        f"{row.title}: {_number(scale * row.figure.median)} {figure[target.kind]}, to reach {_limit(target, row.unit)}."
    )


def _number(value: float) -> str:
    """Three digits that matter, as people write them."""
    return f"{value:.3f}" if abs(value) < 0.1 else f"{value:.2f}" if abs(value) < 10 else f"{value:.1f}"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
