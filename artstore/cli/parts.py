"""Parts: what several writers have added to a version that nobody has finished."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from artstore.cli.completing import collections
from artstore.cli.discovery import changing_store, chosen_project, open_store, project_of
from artstore.cli.options import Call, verb
from artstore.cli.output import emit, note, say, table
from artstore.units import count, moment, size

if TYPE_CHECKING:
    from collections.abc import Sequence

    from artstore.lifecycle.reports import PartInfo


@verb("artstore parts")
def parts(call: Call) -> None:
    """List the parts of versions that nobody has finished.

    They keep their space until somebody finishes the version, or drops them.
    """
    with open_store(call) as store:
        emit(call, store.parts(chosen_project(call)), render_parts)


@verb("artstore drop cats nightly-17")
@click.argument("name", shell_complete=collections)
@click.argument("distributed_id", metavar="ID")
def drop(call: Call, *, name: str, distributed_id: str) -> None:
    """Give up the unfinished parts of a version.

    artstore parts shows their ID. Their space is freed by artstore gc.
    """
    with changing_store(call) as store:
        emit(call, store.drop_parts(name, distributed_id=distributed_id, project=project_of(call)), render_dropped)


def render_parts(known: Sequence[PartInfo]) -> None:
    """Write one line a part."""
    if not known:
        note("no unfinished parts")
        return
    table(
        ("collection", "id", "run", ">files", ">size", "added"),
        [
            (
                f"{part.project}/{part.name}",
                part.distributed_id,
                part.run or "-",
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
