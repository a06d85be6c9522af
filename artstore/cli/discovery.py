"""Discovery for commands: the store and the project that a call means, by the rules of every door."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

from artstore.cli.output import note
from artstore.discovery import here, open_place, project_here
from artstore.errors import Invalid
from artstore.model.names import UNCATEGORIZED, project_name
from artstore.store import Store

if TYPE_CHECKING:
    from artstore.cli.options import Call


def find_store(call: Call) -> Path:
    """Name the folder of the store that is meant, without opening it."""
    return here(call.store).root


def open_store(call: Call) -> Store:
    """Open the store that is meant, and say so where it had to be made. Raises as `artstore.discovery.open_place`."""
    logger = logging.getLogger("artstore")
    if not any(isinstance(handler, _Notes) for handler in logger.handlers):
        logger.addHandler(_Notes(logging.WARNING))
    place = here(call.store)
    store, made = open_place(place)
    if made and not call.json:
        note(f"made a store in {place.root}")
    return store


def project_of(call: Call) -> str:
    """Name the project of references that do not say theirs."""
    return chosen_project(call) or UNCATEGORIZED


def named_collection(call: Call, name: str) -> tuple[str, str]:
    """Name the project and the collection of `[PROJECT/]NAME`. Raises Invalid (bad-name) for an empty PROJECT."""
    project, slash, collection = name.rpartition("/")
    if slash and not project:
        message = f"{name!r} has no project before the '/': write NAME or PROJECT/NAME"
        raise Invalid(message, code="bad-name")
    return project or project_of(call), collection


def chosen_project(call: Call) -> str | None:
    """Name the project that was asked for; None means that nobody narrowed it down. Raises Invalid (bad-name)."""
    project = call.project or project_here()
    return None if project is None else project_name(project)


class _Notes(logging.Handler):
    """What the store has to say beside its answers goes to standard error, as all that is said about the work."""

    def emit(self, record: logging.LogRecord) -> None:
        note(record.getMessage())
