"""Agreeing: what has to be decided where others were faster."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from artstore.cli.discovery import chosen_project, open_store, project_of
from artstore.cli.options import Call, Verb, verb
from artstore.cli.output import emit, say, table
from artstore.units import count, moment

if TYPE_CHECKING:
    from collections.abc import Sequence

    from artstore.lifecycle.reports import ConflictInfo, MovedNumber

_SHOWN = 12


class Words(Verb, click.Group):
    """A command that has commands of its own."""


numbers = Words(
    "numbers",
    help="Show and accept numbers that changed, since others pushed first.",
    examples=("artstore numbers ls", "artstore numbers accept cats"),
)


@verb("artstore numbers ls")
def ls(call: Call) -> None:
    """List the versions that had another number on this machine.

    A number in the first column is an error until it is accepted: it may mean either version.
    """
    with open_store(call) as store:
        emit(call, store.moved_numbers(chosen_project(call)), render_numbers)


@verb("artstore numbers accept cats")
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
def accept(call: Call, *, names: tuple[str, ...]) -> None:
    """Let the numbers of a collection mean what they mean for everybody else."""
    with open_store(call) as store:
        emit(call, store.accept_numbers(names, project=project_of(call)), render_accepted)


numbers.add_command(ls)
numbers.add_command(accept)


@verb("artstore conflicts")
def conflicts(call: Call) -> None:
    """List changes of this store that others made impossible.

    What they would have changed is as the upstream has it, until artstore resolve says otherwise.
    """
    with open_store(call) as store:
        emit(call, store.conflicts(chosen_project(call)), render_conflicts)


@verb("artstore resolve 3f2a91c07b44 --mine", "artstore resolve 3f2a91c07b44 --rename cats-of-mine")
@click.argument("conflict")
@click.option("--mine", is_flag=True, help="Do it again, after what others did: move the alias, make the version.")
@click.option("--theirs", is_flag=True, help="Give up the change, and with a refused collection its versions.")
@click.option("--rename", metavar="NAME", help="Keep a refused collection, or one that is gone, under this name.")
def resolve(call: Call, *, conflict: str, mine: bool, theirs: bool, rename: str | None) -> None:
    """Say what becomes of a change that others made impossible.

    CONFLICT is what artstore conflicts shows in its first column.
    """
    if [mine, theirs, rename is not None].count(True) != 1:
        message = "say one of --mine, --theirs and --rename NAME"
        raise click.UsageError(message)
    with open_store(call) as store:
        if rename is not None:
            done = store.rename_mine(conflict, rename)
        else:
            done = store.keep_mine(conflict) if mine else store.drop_mine(conflict)
    emit(call, done, lambda info: say(f"{info.what}: {'given up' if theirs else 'done'}"))


def render_numbers(moved: Sequence[MovedNumber]) -> None:
    """Write one line a version."""
    rows = [(f"{m.project}/{m.collection}:v{m.before}", m.called, _short(m.id)) for m in moved]
    table(("was", "is", "id"), rows)


def render_accepted(moved: Sequence[MovedNumber]) -> None:
    """Write what means something else from now on."""
    for each in moved:
        say(f"{each.project}/{each.collection}: what was v{each.before} here is {each.called}")


def render_conflicts(found: Sequence[ConflictInfo]) -> None:
    """Write one line a conflict."""
    rows = [
        (
            _short(each.id),
            each.project,
            each.what + (f", and {count(each.followers, 'change')} to it" if each.followers else ""),
            each.reason,
            moment(each.made_at),
        )
        for each in found
    ]
    table(("conflict", "project", "what", "why", "made"), rows)


def _short(id_: str) -> str:
    return id_.rpartition(":")[2][:_SHOWN]
