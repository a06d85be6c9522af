"""artstore: every dataset, checkpoint and result of this machine, kept once, versioned, with no server.

The house. Imports go down, or stay on their floor; `tests/test_architecture.py` holds this.

    errors       the whole error tree, grouped by what the caller can do next
    model/       what things are: frozen values; no disk, no clock, no network
    storage/     where they are kept: this machine's disk and nothing else; all SQL
    lifecycle/   what happens to them: one verb a module
    store        the hall: one object that joins storage and the verbs
    references/  bytes that stay elsewhere: one module a family of schemes
    discovery    which store and which project are meant, for every door alike
    cli/         a door: one command is parse, one verb, render

`import artstore` loads this file alone; each name below brings its module along when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from artstore.errors import (
        AliasedArtifact,
        ArtifactFinalizedError,
        ArtifactNotLoggedError,
        ArtifactStatusError,
        ArtstoreError,
        BadTable,
        CommError,
        Conflict,
        Corrupt,
        Error,
        Invalid,
        MissingArtifact,
        MissingEntry,
        MissingFile,
        NotFound,
        PathCollision,
        ReadOnlyStore,
        ReferenceChanged,
        ReferenceMissing,
        Refused,
        StorageFull,
        Unreachable,
        UpgradeNeeded,
        UsageError,
        WaitTimeoutError,
        WrongType,
    )
    from artstore.store import Store

__version__ = "0.1.0"

__all__ = [
    "AliasedArtifact",
    "ArtifactFinalizedError",
    "ArtifactNotLoggedError",
    "ArtifactStatusError",
    "ArtstoreError",
    "BadTable",
    "CommError",
    "Conflict",
    "Corrupt",
    "Error",
    "Invalid",
    "MissingArtifact",
    "MissingEntry",
    "MissingFile",
    "NotFound",
    "PathCollision",
    "ReadOnlyStore",
    "ReferenceChanged",
    "ReferenceMissing",
    "Refused",
    "StorageFull",
    "Store",
    "Unreachable",
    "UpgradeNeeded",
    "UsageError",
    "WaitTimeoutError",
    "WrongType",
    "__version__",
]


def __getattr__(name: str) -> object:
    # A star import asks for __all__ name by name, so __all__ is what may be asked for and needs no second table.
    if name not in __all__:
        message = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(message, name=name, obj=None)
    home = "artstore.store" if name == "Store" else "artstore.errors"
    value: object = getattr(import_module(home), name)
    globals()[name] = value  # The next use finds it without coming here.
    return value


def __dir__() -> list[str]:
    return __all__
