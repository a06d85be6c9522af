"""Compare: whether the log is whole, and the catalog says the same."""

from __future__ import annotations

from artstore.errors import ArtstoreError
from artstore.lifecycle.reports import Problem
from artstore.model.digest import Digest
from artstore.model.ledger import Ledger
from artstore.model.records import decode_transaction
from artstore.storage.catalog import Project
from artstore.storage.journal import Journal
from artstore.storage.root import Root


def check_catalog(root: Root) -> list[Problem]:
    """Whether the catalog is a database that can be read."""
    try:
        root.catalog.check()
    except ArtstoreError as error:
        return [Problem(kind=error.code, subject="catalog.db", message=error.message)]
    return []


def check_log(root: Root, name: str) -> list[Problem]:
    """Whether the log is a chain without gaps that the catalog has followed."""
    try:
        project = root.catalog.project(name)
        noted = {} if project is None else Journal(root.catalog, project).digests()
    except ArtstoreError as error:
        return [Problem(kind=error.code, subject=name, message=error.message)]
    before: str | None = None
    last = 0
    try:
        for seq, data, _attachments in root.log.transactions(name, 0):
            transaction = decode_transaction(data)
            digest = str(Digest.of(data))
            if (transaction.project, transaction.seq, transaction.before) != (name, seq, before):
                message = f"transaction {seq} of project {name!r} does not follow the one before it"
                return [Problem(kind="log-chain", subject=f"ops/{name}/{seq}", message=message)]
            if noted.get(seq, digest) != digest:
                message = f"transaction {seq} of project {name!r} is not the one that the catalog has seen"
                return [Problem(kind="log-changed", subject=f"ops/{name}/{seq}", message=message)]
            before, last = digest, seq
    except ArtstoreError as error:
        return [Problem(kind=error.code, subject=f"ops/{name}/{last + 1}", message=error.message)]
    if project is not None and project.seq > last:
        message = (
            f"the log of project {name!r} ends at {last}, the catalog has seen {project.seq}. Run `artstore repair`"
        )
        return [Problem(kind="log-lost", subject=f"ops/{name}/{last + 1}", message=message)]
    return []


def check_state(root: Root, project: Project) -> list[Problem]:
    """Whether the catalog says of a project what its log does: the state, and the journal that led there."""
    try:
        different = _differences(root, project)
    except ArtstoreError as error:
        return [Problem(kind=error.code, subject=project.name, message=error.message)]
    if not different:
        return []
    message = (
        f"the catalog does not say of project {project.name!r} what its log does (it differs in: "
        f"{', '.join(different)}). Run `artstore rebuild`"
    )
    return [Problem(kind="state-differs", subject=project.name, message=message)]


def _differences(root: Root, project: Project) -> list[str]:
    """What the catalog has otherwise: `state`, and tables of the journal."""
    with root.catalog.snapshot():
        # Others may commit meanwhile: both sides stop at the same transaction.
        now = root.catalog.project_by_id(project.id)
        journal = Journal(root.catalog, project)
        state, written = journal.hash_of_tables(), journal.digests_of_tables()
    ledger = Ledger()
    logs = {now.log}
    for seq, data, _attachments in root.log.transactions(project.name, 0):
        if seq > now.seq:
            break
        transaction = decode_transaction(data)
        logs.add(transaction.log)
        ledger.take(seq, str(Digest.of(data)), [bytes(raw) for raw in transaction.ops])
    different = ["state"] if ledger.state.hash() != state else []
    different += ["log"] if len(logs) > 1 else []
    return [*different, *(table for table, digest in ledger.digests().items() if digest != written[table])]
