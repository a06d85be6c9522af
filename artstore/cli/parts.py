"""Parts: what several writers have added to a version that nobody has finished."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import click

from artstore.cli.completing import collections
from artstore.cli.discovery import chosen_project, open_store, project_of
from artstore.cli.options import Call, duration, verb
from artstore.cli.output import emit, note, say, table
from artstore.units import count, moment, size

if TYPE_CHECKING:
    from collections.abc import Sequence

    from artstore.lifecycle.reports import PartInfo

_SHOWN: Final = 8
"""Digits of a store's id, as `artstore status` has it whole."""


@verb("artstore parts")
def parts(call: Call) -> None:
    """List the parts of versions that nobody has finished.

    They keep their space until somebody finishes the version, or drops them. What is (local) was not sent yet: artstore
    push sends it.
    """
    with open_store(call) as store:
        emit(call, store.parts(chosen_project(call)), render_parts)


@verb("artstore drop cats nightly-17", "artstore drop cats nightly-17 --run worker-3", "artstore drop --older-than 30d")
@click.argument("name", required=False, shell_complete=collections)
@click.argument("distributed_id", metavar="ID", required=False)
@click.option("--run", metavar="RUN", help="Only what this run added.")
@click.option("--older-than", type=duration, metavar="DURATION", help="What was added that long ago: 12h, 30d.")
def drop(
    call: Call, *, name: str | None, distributed_id: str | None, run: str | None, older_than: float | None
) -> None:
    """Give up parts of versions that nobody will finish.

    Of the version NAME with an ID, as artstore parts shows it, or all that is old. With an upstream they go for
    everybody, once artstore push was run. Their space is freed by artstore gc.
    """
    if (name is None) == (older_than is None) or (name is None) != (distributed_id is None) or (run and not name):
        message = "say NAME and ID, as `artstore parts` shows them, or --older-than DURATION"
        raise click.UsageError(message)
    with open_store(call) as store:
        if older_than is not None:
            dropped = store.drop_old_parts(older_than, project=chosen_project(call))
        else:
            assert name is not None
            assert distributed_id is not None
            dropped = store.drop_parts(name, distributed_id=distributed_id, run=run, project=project_of(call))
        emit(call, dropped, render_dropped)


def render_parts(known: Sequence[PartInfo]) -> None:
    """Write one line a part."""
    if not known:
        note("no unfinished parts")
        return
    table(
        ("collection", "id", "run", "store", ">files", ">size", "added"),
        [
            (
                f"{part.project}/{part.name}",
                part.distributed_id,
                part.run or "-",
                part.store[:_SHOWN] + (" (local)" if part.provisional else ""),
                f"{part.files:,}",
                size(part.bytes),
                moment(part.created_at),
            )
            for part in known
        ],
    )


def render_dropped(dropped: int) -> None:
    """Say how many are gone."""
    say(f"dropped {count(dropped, 'part')}; artstore gc frees their space")
