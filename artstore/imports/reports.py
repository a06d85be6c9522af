"""Reports: what an import did."""

from __future__ import annotations

import msgspec


class Left(msgspec.Struct, frozen=True, kw_only=True):
    """Something that was not carried over."""

    what: str
    """`artifact`, `base`, `files`, `label`, `log`, `metadata`, `metrics`, `output`, `reference`, `run` or `use`."""
    where: str
    """The run, and the artifact in it."""
    why: str


class ImportedRun(msgspec.Struct, frozen=True, kw_only=True):
    """A run."""

    id: str
    project: str
    made: bool
    """False: it was here already."""


class ImportedVersion(msgspec.Struct, frozen=True, kw_only=True):
    """A version that a run logged."""

    run: str
    ref: str
    """project/collection:vN."""
    type: str
    files: int
    bytes: int
    made: bool
    """False: a version with this content was here already."""


class ImportReport(msgspec.Struct, frozen=True, kw_only=True):
    """What came of an import."""

    source: str
    runs: list[ImportedRun]
    versions: list[ImportedVersion]
    left: list[Left]
    seconds: float
