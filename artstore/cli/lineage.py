"""Lineage: what came from what, as a tree or as a drawing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

import click

from artstore.cli.completing import collections
from artstore.cli.discovery import open_store, project_of
from artstore.cli.options import Call, verb
from artstore.cli.output import print_json, say, say_all
from artstore.cli.printing import UNCHANGED, printing

if TYPE_CHECKING:
    from collections.abc import Callable

    from artstore.lifecycle.reports import LineageNode, LineageReport

_WORDS: Final = {
    ("up", "logged"): "made by",
    ("up", "used"): "used",
    ("down", "used"): "used by",
    ("down", "logged"): "made",
}


@verb("artstore lineage net:v3", "artstore lineage cats:v1 --down --format mermaid")
@click.argument("ref", shell_complete=collections)
@click.option("--up", is_flag=True, help="Only what it came from.")
@click.option("--down", is_flag=True, help="Only what came from it.")
@click.option("--depth", type=click.IntRange(min=0), metavar="N", help="At most so many steps; a run is one as well.")
@click.option(
    "--format", "form", type=click.Choice(["tree", "mermaid", "dot", "json"]), default="tree", help="How it is written."
)
def lineage(call: Call, *, ref: str, up: bool, down: bool, depth: int | None, form: str) -> None:
    """Show what a version came from, and what came from it.

    Through the runs that used and made versions, in all projects of the store.
    """
    with open_store(call) as store:
        report = store.lineage(ref, up=up or not down, down=down or not up, depth=depth, project=project_of(call))
    with printing(UNCHANGED):
        if call.json or form == "json":
            print_json(report)
        else:
            RENDERERS[form](report)


def render_tree(report: LineageReport) -> None:
    """Write the version, and below it what it came from and what came from it, each once."""
    nodes = {node.key: node for node in report.nodes}
    say(_described(nodes[report.start]))
    for direction in ("up", "down"):
        say_all(_branches(report, nodes, direction))
    if left_out := _left_out(report):
        say(left_out)


def render_mermaid(report: LineageReport) -> None:
    """Write a Mermaid flow chart, as Markdown viewers draw it."""
    names = {node.key: f"n{number}" for number, node in enumerate(report.nodes)}
    say("flowchart LR")
    for node in report.nodes:
        opening, closing = ("[", "]") if node.run is None else ("([", "])")
        text = _described(node).replace("&", "#amp;").replace('"', "#quot;").replace("<", "#lt;").replace(">", "#gt;")
        say(f'  {names[node.key]}{opening}"{text}"{closing}')
    for edge in report.edges:
        say(f"  {names[edge.source]} --> {names[edge.target]}")
    if left_out := _left_out(report):
        say(f"  %% {left_out}")


def render_dot(report: LineageReport) -> None:
    """Write a graph in the language of Graphviz."""
    names = {node.key: f"n{number}" for number, node in enumerate(report.nodes)}
    say("digraph lineage {")
    say("  rankdir=LR;")
    for node in report.nodes:
        shape = "box" if node.run is None else "ellipse"
        text = _described(node).replace("\\", "\\\\").replace('"', '\\"')
        say(f'  {names[node.key]} [shape={shape}, label="{text}"];')
    for edge in report.edges:
        say(f"  {names[edge.source]} -> {names[edge.target]};")
    if left_out := _left_out(report):
        say(f"  // {left_out}")
    say("}")


RENDERERS: Final[dict[str, Callable[[LineageReport], None]]] = {
    "tree": render_tree,
    "mermaid": render_mermaid,
    "dot": render_dot,
}


def _left_out(report: LineageReport) -> str:
    """What a drawing says of the edges that it has not, in one line; nothing where it has all."""
    if not report.loops:
        return ""
    nodes = {node.key: node for node in report.nodes}
    used = ", ".join(f"{nodes[edge.target].label} used {nodes[edge.source].label}" for edge in report.loops)
    return " ".join(f"left out, since it would lead in a circle: {used}".split())


def _branches(report: LineageReport, nodes: dict[str, LineageNode], direction: str) -> Iterator[str]:
    """The lines below the version in one direction, without recursion: a chain may be long."""
    following: dict[str, list[tuple[str, str]]] = {}
    for edge in report.edges:
        here, there = (edge.target, edge.source) if direction == "up" else (edge.source, edge.target)
        following.setdefault(here, []).append((there, _WORDS[direction, edge.kind]))
    seen = {report.start}
    stack = [(1, key, word) for key, word in reversed(following.get(report.start, []))]
    while stack:
        level, key, word = stack.pop()
        is_known = key in seen and key in following
        yield f"{'  ' * level}{word} {_described(nodes[key])}{' (as above)' if is_known else ''}"
        if key not in seen:
            seen.add(key)
            stack += [(level + 1, after, verb) for after, verb in reversed(following.get(key, []))]


def _described(node: LineageNode) -> str:
    if node.version is not None:
        state = "" if node.version.state == "committed" else f" ({node.version.state})"
        return f"{node.version.ref}{state}"
    assert node.run is not None
    return f"run {node.label} ({node.run.state})"
