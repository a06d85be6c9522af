"""Put: files, folders, streams and references become a version."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Final

from artstore.errors import Invalid, WrongType
from artstore.lifecycle.commit_draft import Outcome, check_type, commit_draft
from artstore.lifecycle.draft import Draft
from artstore.lifecycle.label import Label
from artstore.lifecycle.progress import Progress
from artstore.lifecycle.reports import PutReport, VersionInfo
from artstore.lifecycle.resolve import describe, resolve
from artstore.model.digest import Digest
from artstore.model.manifest import ReferenceEntry
from artstore.model.names import Reference
from artstore.storage.catalog import ProjectView
from artstore.storage.root import Root

STREAM_NAME: Final = "stdin"
"""What a stream is called if no name is given."""


def checked_references(references: Any) -> list[ReferenceEntry]:
    """What a caller gave as a list of references. Raises WrongType (not-a-reference)."""
    found = list(references) if isinstance(references, Iterable) else [references]
    for each in found:
        if not isinstance(each, ReferenceEntry):
            message = f"{each!r} is not a reference: make one with `artstore.model.manifest.reference`"
            raise WrongType(message, code="not-a-reference")
    return found


def put(
    root: Root,
    sources: Sequence[Path | BinaryIO],
    label: Label,
    *,
    prefix: str | None = None,
    references: Sequence[ReferenceEntry] = (),
    skip_unreadable: bool = False,
    dry_run: bool = False,
    progress: Progress | None = None,
) -> PutReport:
    """Make a version of files, folders, streams and references; see Store.put."""
    began = time.monotonic()
    check_type(root, label)
    with Draft(root, keep=not dry_run, progress=progress) as draft:
        for reference in checked_references(references):
            draft.add_entry(reference)
        _add_sources(draft, sources, prefix, skip_unreadable=skip_unreadable)
        if not draft.entries:
            message = "there is nothing to put: the sources hold no file"
            raise Invalid(message, code="empty-draft")
        if dry_run:
            version, warnings = _foresee(draft, label)
            made = version is None
        else:
            version, made, warnings = commit_draft(draft, label)
        return PutReport(
            version=version,
            made=made,
            files=len(draft.entries),
            bytes=draft.bytes,
            new_files=draft.intake.new_blobs,
            new_bytes=draft.intake.new_bytes,
            skipped=draft.skipped + draft.stores,
            empty_directories=draft.empty_directories,
            warnings=warnings,
            seconds=time.monotonic() - began,
            dry_run=dry_run,
        )


def _add_sources(
    draft: Draft,
    sources: Sequence[Path | BinaryIO],
    prefix: str | None,
    *,
    skip_unreadable: bool,
) -> None:
    folder = "" if prefix is None else prefix.rstrip("/")
    for source in sources:
        if not isinstance(source, Path):
            draft.add_stream(source, prefix or STREAM_NAME)
            continue
        # One folder gives its contents, several sources keep their names.
        own = source.absolute().name
        inside = f"{folder}/{own}" if folder else own
        # os.path answers False for a name that is too long; Path.is_dir raises.
        if os.path.isdir(source):
            # Problems are settled below, so that those of all sources are named.
            draft.add_directory(source, folder if len(sources) == 1 else inside, skip_unreadable=True)
        else:
            draft.add_file(source, inside)
    problems, draft.skipped = draft.skipped, []
    draft.settle_problems(problems, skip=skip_unreadable)


def _foresee(draft: Draft, label: Label) -> tuple[VersionInfo | None, list[str]]:
    """The version that has this content already, and what a commit would warn of."""
    draft.intake.settle()
    content = draft.content()
    return _same_content(draft.root, label, content.digest), content.warnings


def _same_content(root: Root, label: Label, digest: Digest) -> VersionInfo | None:
    project = root.catalog.project(label.project)
    view = None if project is None else ProjectView(root.catalog, project.id)
    collection = None if view is None else view.collection_named(label.name)
    there = None if view is None or collection is None else view.version_with_manifest(collection.id, digest)
    if project is None or view is None or collection is None or there is None:
        return None
    return describe(project, view, collection, there)


def copy(root: Root, reference: Reference, project: str, name: str) -> Outcome:
    """Make a version of another collection, in this project or another, with the same content. No bytes move."""
    with Draft(root) as draft:
        source = resolve(root, reference)
        label = Label.checked(
            project=project,
            name=name,
            type=source.collection.type,
            description=source.version.description,
            metadata=source.version.metadata,
            ttl_s=source.version.ttl_s,
        )
        for entry in root.manifests.entries(source.manifest):
            draft.add_entry(entry)
        return commit_draft(draft, label)
