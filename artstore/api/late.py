"""Late: modules that are loaded when something is first asked of them.

A script that has only parsed its arguments does not wait for SQLite, msgspec and zstd. Written so that a type checker
sees an ordinary import:

    if TYPE_CHECKING:
        from artstore.model import names
    else:
        names = Late("artstore.model.names")
"""

from __future__ import annotations

from importlib import import_module
from typing import Any


class Late:
    """A module that stands for itself."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, attribute: str) -> Any:
        found = getattr(import_module(self._name), attribute)
        setattr(self, attribute, found)
        return found
