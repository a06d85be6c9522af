"""Set aside: what a project has is another project from now on, so that its name is free for a log from elsewhere.

Ids, numbers, labels and lineage stay as they are, what other projects have used and linked is found by its ids, and
what was deleted on this machine alone stays so. A log that was followed is left first. Then all comes to be under the
new name, one transaction after the other, and at last it ends under the old one, all at once; whoever was killed in
between does it again, and nothing is there twice.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping, Sequence
from functools import partial
from itertools import groupby

import msgspec

from artstore.errors import Conflict
from artstore.lifecycle.before import accepted_by_any, taken_in
from artstore.lifecycle.commit import commit, nonce, now_us
from artstore.lifecycle.conflicts import undecided
from artstore.lifecycle.upstream import attach, followed, take, waiting
from artstore.model.digest import Digest
from artstore.model.manifest import Encoding, encode_difference, encode_full
from artstore.model.names import project_name
from artstore.model.notes import AcceptedBefore, Dismissed, Evicted, Forget, TakenIn
from artstore.model.records import (
    AnyOp,
    Commit,
    Create,
    Link,
    Op,
    Part,
    Relog,
    StartRun,
    Use,
    decode_op,
    encode_op,
    manifest_of,
)
from artstore.storage.catalog import ProjectView
from artstore.storage.journal import Journal
from artstore.storage.oplog import Attachments
from artstore.storage.root import Root
from artstore.storage.sessions import Session


def check_can_be_set_aside(root: Root, project: str, name: str) -> None:
    """Raise Conflict (undecided, project-exists), Invalid (bad-name) where a project cannot get this name."""
    project_name(name)
    there = root.catalog.project(name)
    if undecided(root, project):
        message = (
            f"of what was made here in {project!r}, something has no place in the log that it follows: decide first, "
            "with `artstore conflicts` and `artstore resolve`, then repeat"
        )
        raise Conflict(message, code="undecided")
    if there is not None:
        known = ids_under(root, project, name)
        if any(op.id not in known for op in Journal(root.catalog, there).ops()):
            message = f"there is a project {name!r} already: choose another name for what {project!r} has"
            raise Conflict(message, code="project-exists")


def ids_under(root: Root, project: str, name: str) -> set[str]:
    """The ids that the ops of a project would have under another name."""
    found = root.catalog.project(project)
    ops = [] if found is None else Journal(root.catalog, found).ops()
    return {str(Digest.of(_renamed(op.body, project, name))) for op in ops}


def set_aside(root: Root, session: Session, project: str, name: str) -> None:
    """Let all that a project has be under another name, and nothing under its own; it follows no log from then on.

    Raises as check_can_be_set_aside, and Conflict (busy) where somebody commits to it meanwhile: then repeat.
    """
    check_can_be_set_aside(root, project, name)
    if followed(root, project) is not None:
        attach(root, session, project, None)
    ops = waiting(root, project)
    before = root.catalog.project(project)
    assert before is not None
    accepted, taken = accepted_by_any(root.catalog, before), taken_in(root.catalog, before)
    # Under the new name all comes by a transaction, what others began too.
    taken |= {op.id for op in ops if op.seq is None and isinstance(decode_op(op.body), StartRun)}
    done: set[Digest] = set()
    # What came from others has no transaction here.
    for _seq, some in groupby(ops, key=lambda op: op.id if op.seq is None else op.seq):
        was = {_renamed(op.body, project, name): op.id for op in some}
        manifests = list(_encoded(root, list(was), done))
        raws = [msgspec.Raw(body) for body in was]
        told = partial(_told, was, accepted, taken)
        take(root, session, name, raws, attachments=Attachments(manifests=manifests), told=told)
    _keep_notes(root, session, project, name)
    ids = [op.id for op in ops]

    def plan(_view: ProjectView) -> Sequence[Op]:
        found = root.catalog.project(project)
        if found is None or [op.id for op in Journal(root.catalog, found).waiting()] != ids:
            message = f"somebody commits to {project!r} just now: repeat"
            raise Conflict(message, code="busy")
        return [Dismissed(at_us=now_us(), nonce=nonce(), ops=ids)]

    commit(root, session, project, plan)


def _told(was: Mapping[bytes, str], accepted: Container[str], taken: Container[str], ops: Sequence[AnyOp]) -> list[Op]:
    """What is noted of ops under the new name: which of them others may have, and which have numbers for good."""
    making = [encode_op(op) for op in ops if isinstance(op, Create | Commit | Relog | Part | Link | StartRun)]
    known = [str(Digest.of(body)) for body in making if was[body] in accepted]
    theirs = [str(Digest.of(body)) for body in making if was[body] in taken]
    notes: list[Op] = [AcceptedBefore(at_us=now_us(), nonce=nonce(), ops=known)] if known else []
    return notes + ([TakenIn(at_us=now_us(), nonce=nonce(), ops=theirs)] if theirs else [])


def _keep_notes(root: Root, session: Session, project: str, name: str) -> None:
    """Say under the new name too what is not seen here, and of what the bytes may be elsewhere."""
    found = root.catalog.project(project)
    assert found is not None
    view = ProjectView(root.catalog, found.id)
    versions = [op.version for op in waiting(root, project) if op.version is not None]
    unseen = [version for version in versions if view.is_forgotten(version)]
    away = [version for version in versions if view.is_received(version)]
    if not unseen and not away:
        return
    at_us = now_us()
    notes: list[Op] = [
        Forget(at_us=at_us, nonce=nonce(), version=version, forgotten=True, awaited=view.is_awaited(version))
        for version in unseen
    ]
    notes += [Evicted(at_us=at_us, nonce=nonce(), versions=away)] if away else []
    commit(root, session, name, lambda _view: notes)


def _renamed(body: bytes, project: str, name: str) -> bytes:
    """The same op, which finds in the new place what it names in the old one."""
    op = decode_op(body)
    if isinstance(op, Use | Link) and op.project == project:
        return encode_op(msgspec.structs.replace(op, project=name))
    return body


def _encoded(root: Root, bodies: Sequence[bytes], done: set[Digest]) -> Iterator[Encoding]:
    """The manifests that some ops bring, as the journal has to carry them; those of deleted versions may be gone."""
    for named in filter(None, (manifest_of(decode_op(body)) for body in bodies)):
        digest = Digest.parse(named)
        if digest in done or root.manifests.find(digest) is None:
            continue
        built = root.manifests.difference(digest)
        if built is not None and built[0] in done:
            base, difference = built
            yield encode_difference(digest, base, difference, root.manifests.get(digest).entries)
        else:
            yield encode_full(digest, (entry.line() for entry in root.manifests.entries(digest)))
        done.add(digest)
