"""Checked: ops that came from elsewhere are held to the rules for what is given here, before anything relies on them.

A log is the same for all who follow it: with one op in it that cannot be done, nobody could go on with it, ever.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final

from artstore.errors import Corrupt
from artstore.lifecycle.label import check_depth
from artstore.model import names, records
from artstore.model.digest import Digest
from artstore.model.paths import quoted
from artstore.model.records import AnyOp

_TOO_LARGE: Final = 1 << 62
"""No time in microseconds, count or size comes near it, and a catalog holds it with room to count on."""
_LONGEST_SHOWN: Final = 2 * names.LONGEST
_OBJECT: Final = re.compile(r"(?:packs|manifests)/[0-9a-f]{32}|blobs/[0-9a-f]{64}\.[0-9a-f]{16}")


def check_op(op: AnyOp) -> None:
    """Raise Invalid or Corrupt where an op holds what none that is made here could hold."""
    _check_numbers(op.at_us)
    check = _CHECKS.get(type(op))
    if check is not None:
        check(op)


def is_object(name: str) -> bool:
    """Whether an object of a depot can be called so in an op."""
    return _OBJECT.fullmatch(name) is not None


def _create(op: records.Create) -> None:
    names.collection_name(op.name)
    names.type_name(op.type)
    if op.id is not None:
        Digest.parse(op.id)


def _version(op: records.Commit | records.Relog) -> None:
    record = op.record
    _check_numbers(record.created_us)
    check_depth(record.metadata)
    _check_made(record.manifest, record.run, record.entries, record.bytes)


def _part(op: records.Part) -> None:
    """Whoever gathers it will say the same."""
    names.collection_name(op.name)
    names.type_name(op.type)
    for alias in op.aliases:
        names.alias_name(alias)
    check_depth(op.metadata)
    _check_made(op.manifest, op.run, op.entries, op.bytes)


def _start_run(op: records.StartRun) -> None:
    names.run_id(op.run)
    for label in filter(None, (op.name, op.job_type, op.group)):
        names.run_label(label)
    check_depth(op.config)
    for tag in op.tags:
        names.run_tag(tag)


def _edit_run(op: records.EditRun) -> None:
    names.run_id(op.run)
    if op.name is not None:
        names.run_label(op.name)
    check_depth(op.set)
    for tag in op.tags or ():
        names.run_tag(tag)


def _link(op: records.Link) -> None:
    _check_other(op.project, op.digest, op.name)


def _use(op: records.Use) -> None:
    names.run_id(op.run)
    _check_other(op.project, op.digest, op.name)


def _objects(op: records.Condemn | records.Sweep) -> None:
    for name in (*op.objects, *(op.kept if isinstance(op, records.Sweep) else ())):
        if not is_object(name):
            message = f"it names the object {name!r}, which no depot has"
            raise Corrupt(message, code="remote-corrupt")


def _check_made(manifest: str, run: str | None, *counts: int) -> None:
    Digest.parse(manifest)
    if run is not None:
        names.run_id(run)
    _check_numbers(*counts)
    if min(counts) < 0:
        message = f"it counts {min(counts)} files or bytes"
        raise Corrupt(message, code="remote-corrupt")


def _check_other(project: str, digest: str, name: str) -> None:
    """What is said of a version that may not be here."""
    names.project_name(project)
    Digest.parse(digest)
    if not name.isprintable() or len(name) > _LONGEST_SHOWN:
        message = f"it calls a version {quoted(name)}, as none can be called"
        raise Corrupt(message, code="remote-corrupt")


def _check_numbers(*numbers: int) -> None:
    if any(abs(number) >= _TOO_LARGE for number in numbers):
        message = f"it holds the number {max(numbers, key=abs)}, which is larger than any time, count or size"
        raise Corrupt(message, code="remote-corrupt")


# Any: each check takes the kinds of op that it stands beside.
_CHECKS: Final[dict[type[records.Op], Callable[[Any], object]]] = {
    records.Create: _create,
    records.Rename: lambda op: names.collection_name(op.name),
    records.Retype: lambda op: names.type_name(op.type),
    records.MoveAlias: lambda op: names.alias_name(op.alias),
    records.SetTag: lambda op: names.tag_name(op.tag),
    records.Commit: _version,
    records.Relog: _version,
    records.Part: _part,
    records.EditMetadata: lambda op: check_depth(op.set),
    records.StartRun: _start_run,
    records.EditRun: _edit_run,
    records.FinishRun: lambda op: names.run_id(op.run),
    records.Link: _link,
    records.Use: _use,
    records.Condemn: _objects,
    records.Sweep: _objects,
}
