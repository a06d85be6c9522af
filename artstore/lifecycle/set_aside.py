"""Set aside: what a project has is another project from now on, so that its name is free for a log from elsewhere.

Only a log that is this store's alone can be moved: what others have seen is theirs as well. Ids, numbers, labels and
lineage stay as they are, and what other projects have used and linked is found by its ids. First all comes to be under
the new name, one transaction after the other, then it ends under the old one, all at once; whoever was killed in
between does it again, and nothing is there twice.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby

import msgspec

from artstore.errors import Conflict
from artstore.lifecycle.commit import commit, nonce, now_us
from artstore.lifecycle.upstream import take, waiting
from artstore.model.digest import Digest
from artstore.model.manifest import Encoding, encode_difference, encode_full
from artstore.model.names import project_name
from artstore.model.notes import Dismissed
from artstore.model.records import Link, Op, Use, decode_op, encode_op, manifest_of
from artstore.storage.catalog import ProjectView
from artstore.storage.journal import Journal
from artstore.storage.oplog import Attachments
from artstore.storage.root import Root
from artstore.storage.sessions import Session


def check_can_be_set_aside(root: Root, project: str, name: str) -> None:
    """Raise Conflict (not-its-own, project-exists), Invalid (bad-name) where a project cannot get this name."""
    project_name(name)
    found, there = root.catalog.project(project), root.catalog.project(name)
    if found is None or found.upstream is not None:
        message = f"project {project!r} follows a log that others know too, so it keeps its name: --join follows theirs"
        raise Conflict(message, code="not-its-own")
    if there is not None:
        known = {str(Digest.of(_renamed(op.body, project, name))) for op in waiting(root, project)}
        if any(op.id not in known for op in Journal(root.catalog, there).ops()):
            message = f"there is a project {name!r} already: choose another name for what {project!r} has"
            raise Conflict(message, code="project-exists")


def set_aside(root: Root, session: Session, project: str, name: str) -> None:
    """Let all that a project has be under another name, and nothing under its own.

    Raises as check_can_be_set_aside, and Conflict (busy) where somebody commits to it meanwhile: then repeat.
    """
    check_can_be_set_aside(root, project, name)
    ops = waiting(root, project)
    done: set[Digest] = set()
    for _seq, some in groupby(ops, key=lambda op: op.seq):
        bodies = [_renamed(op.body, project, name) for op in some]
        manifests = list(_encoded(root, bodies, done))
        raws = [msgspec.Raw(body) for body in bodies]
        take(root, session, name, raws, attachments=Attachments(manifests=manifests))
    ids = [op.id for op in ops]

    def plan(_view: ProjectView) -> Sequence[Op]:
        found = root.catalog.project(project)
        if found is None or [op.id for op in Journal(root.catalog, found).waiting()] != ids:
            message = f"somebody commits to {project!r} just now: repeat"
            raise Conflict(message, code="busy")
        return [Dismissed(at_us=now_us(), nonce=nonce(), ops=ids)]

    commit(root, session, project, plan)


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
