"""artstore: every dataset, checkpoint and result of this machine, kept once, versioned, with no server.

The house. Imports go down, or stay on their floor; `tests/test_architecture.py` holds this.

    errors       the whole error tree, grouped by what the caller can do next
    forks        what a fork of the process waits for, and in which order
    model/       what things are: frozen values; no disk, no clock, no network
    storage/     where they are kept: this machine's disk and nothing else; all SQL
    lifecycle/   what happens to them: one verb a module
    store        the hall: one object that joins storage and the verbs
    sync/        how they travel: may be deleted whole, and nothing below would notice
    references/  bytes that stay elsewhere: one module a family of schemes
    imports/     what other tools have left on this machine
    discovery    which store and which project are meant, for every door alike
    plain        reports and names in a form that any reader can take
    units        sizes, counts, durations and times as people read them
    api/         a door: the names and verbs that users of W&B Artifacts know
    cli/         a door: one command is parse, one verb, render
    server/      a door: pages for a browser, the same as JSON, and what other stores push to and pull from
    filesystem/  a door: `artstore://` for fsspec

`import artstore` loads this file alone; each name below brings its module along when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import artstore.api.data_types as data_types  # noqa: PLR0402 - as above
    import artstore.errors as errors  # noqa: PLR0402 - the root is not imported from
    from artstore.api.artifact import Artifact
    from artstore.api.checkpoint import checkpoint
    from artstore.api.config import Config
    from artstore.api.data_types import JoinedTable, PartitionedTable, Table
    from artstore.api.labels import ArtifactTTL
    from artstore.api.public import Api
    from artstore.api.run import Run
    from artstore.api.script import finish, init, log, log_artifact, login, use_artifact
    from artstore.errors import (
        AliasedArtifact,
        AmbiguousVersion,
        ArtifactFinalizedError,
        ArtifactNotLoggedError,
        ArtifactStatusError,
        ArtstoreError,
        BadTable,
        CommError,
        Conflict,
        Corrupt,
        Denied,
        Error,
        Invalid,
        MissingArtifact,
        MissingEntry,
        MissingFile,
        MissingObject,
        NotAModel,
        NotFound,
        PathCollision,
        Problem,
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

    # Whoever runs gets the one of `discovery`, which promises the same names.
    from artstore.store import Store

    run: Run | None
    config: Config

__version__ = "0.1.0"

__all__ = [
    "AliasedArtifact",
    "AmbiguousVersion",
    "Api",
    "Artifact",
    "ArtifactFinalizedError",
    "ArtifactNotLoggedError",
    "ArtifactStatusError",
    "ArtifactTTL",
    "ArtstoreError",
    "BadTable",
    "CommError",
    "Conflict",
    "Corrupt",
    "Denied",
    "Error",
    "Invalid",
    "JoinedTable",
    "MissingArtifact",
    "MissingEntry",
    "MissingFile",
    "MissingObject",
    "NotAModel",
    "NotFound",
    "PartitionedTable",
    "PathCollision",
    "Problem",
    "ReadOnlyStore",
    "ReferenceChanged",
    "ReferenceMissing",
    "Refused",
    "Run",
    "StorageFull",
    "Store",
    "Table",
    "Unreachable",
    "UpgradeNeeded",
    "UsageError",
    "WaitTimeoutError",
    "WrongType",
    "__version__",
    "checkpoint",
    "config",
    "data_types",
    "errors",
    "finish",
    "init",
    "log",
    "log_artifact",
    "login",
    "run",
    "use_artifact",
]


_HOMES = {
    "Api": "artstore.api.public",
    "Artifact": "artstore.api.artifact",
    "ArtifactTTL": "artstore.api.labels",
    "JoinedTable": "artstore.api.data_types",
    "PartitionedTable": "artstore.api.data_types",
    "Run": "artstore.api.run",
    "Store": "artstore.discovery",
    "Table": "artstore.api.data_types",
    "checkpoint": "artstore.api.checkpoint",
    "finish": "artstore.api.script",
    "init": "artstore.api.script",
    "log": "artstore.api.script",
    "log_artifact": "artstore.api.script",
    "login": "artstore.api.script",
    "use_artifact": "artstore.api.script",
}
"""Where the names live that are not errors."""
_MODULES = {"data_types": "artstore.api.data_types", "errors": "artstore.errors"}
_ACTIVE = {"run": "active_run", "config": "active_config"}
"""Names that mean something else at other times, and the functions of `artstore.api.script` that know what."""


def __getattr__(name: str) -> object:
    # A star import asks for __all__ name by name, so __all__ is what may be asked for and needs no second table.
    if name not in __all__:
        message = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(message, name=name, obj=None)
    if name in _ACTIVE:
        return getattr(import_module("artstore.api.script"), _ACTIVE[name])()
    value: object
    if name in _MODULES:
        value = import_module(_MODULES[name])
    else:
        value = getattr(import_module(_HOMES.get(name, "artstore.errors")), name)
    globals()[name] = value  # The next use finds it without coming here.
    return value


def __dir__() -> list[str]:
    return __all__
