"""Links: versions of one collection that a portfolio holds too; no bytes move."""

from __future__ import annotations

from collections.abc import Sequence

from artstore.errors import Invalid, NotFound
from artstore.lifecycle.commit import commit, commit_and_answer, nonce, now_us
from artstore.lifecycle.reports import VersionInfo
from artstore.lifecycle.resolve import Member, Resolved, describe_member, find_member, resolve
from artstore.model.digest import Digest
from artstore.model.names import LATEST, Reference, alias_name
from artstore.model.records import Create, Link, MoveAlias, Op, Unlink, encode_op
from artstore.model.state import Collection
from artstore.storage.catalog import Project, ProjectView
from artstore.storage.root import Root
from artstore.storage.sessions import Session


def link(root: Root, reference: Reference, portfolio: Reference, aliases: Sequence[str]) -> VersionInfo:
    """Put a version into a portfolio, which is made if it is not there; see Store.link."""
    wanted = [alias for alias in dict.fromkeys(map(alias_name, aliases)) if alias != LATEST]
    with root.session("link") as session:
        source = resolve(root, reference)

        def plan(view: ProjectView) -> list[Op]:
            now = source.view.version(source.version.id)
            if now is None or now.deleted:
                message = f"{source.name} was deleted just now"
                raise NotFound(message, code="version-deleted")
            ops, id_ = _portfolio(view, portfolio, source.collection.type)
            return [*ops, _link(source, id_), *_aliases(view, id_, source.version.id, wanted)]

        def after(project: Project, view: ProjectView) -> VersionInfo:
            there = view.collection_named(portfolio.collection)
            row = None if there is None else view.membership(there.id, source.version.id)
            assert there is not None
            assert row is not None
            return describe_member(root, Member(project, view, there, row))

        return commit_and_answer(root, session, portfolio.project, plan, answer=after)


def unlink(root: Root, reference: Reference) -> VersionInfo:
    """Take a version out of a portfolio; answers what it was in it. See Store.unlink."""
    with root.session("unlink") as session:
        member = find_member(root, reference)
        before = describe_member(root, member)

        def plan(view: ProjectView) -> list[Op]:
            row = view.membership(member.portfolio.id, member.row.version)
            if row is None:
                message = f"{member.name} was unlinked just now"
                raise NotFound(message, code="version-not-found")
            return [_unlink(view.id_as_linked(row), row.version)]

        commit(root, session, member.project.name, plan)
    return before


def unlink_everywhere(root: Root, session: Session, versions: Sequence[str]) -> None:
    """Take versions out of every portfolio of this store."""
    by_project: dict[str, list[tuple[str, str]]] = {}
    for version in versions:
        for project, portfolio in root.catalog.portfolios_of(version):
            by_project.setdefault(project, []).append((portfolio, version))
    for project, pairs in by_project.items():

        def plan(view: ProjectView, pairs: Sequence[tuple[str, str]] = pairs) -> list[Op]:
            rows = [view.membership(*pair) for pair in pairs]
            return [_unlink(view.id_as_linked(row), row.version) for row in rows if row is not None]

        commit(root, session, project, plan)


def names_of_links(root: Root, version: str) -> list[str]:
    """What a version is called in portfolios: `zoo/best-cats:v0`."""
    names: list[str] = []
    for name, id_ in root.catalog.portfolios_of(version):
        project = root.catalog.project(name)
        assert project is not None
        view = ProjectView(root.catalog, project.id)
        portfolio, row = view.collection(id_), view.membership(id_, version)
        assert portfolio is not None
        assert row is not None
        names.append(f"{name}/{portfolio.name}:v{row.number}")
    return names


def _portfolio(view: ProjectView, reference: Reference, type: str) -> tuple[list[Op], str]:
    """The id to call a portfolio by, and what has to be done for it to be there."""
    there: Collection | None = view.collection_named(reference.collection)
    if there is None:
        create = Create(
            at_us=now_us(), nonce=nonce(), kind="portfolio", name=reference.collection, type=type, description=None
        )
        return [create], str(Digest.of(encode_op(create)))
    if there.kind != "portfolio":
        message = f"{reference.name} has versions of its own, so nothing can be linked to it: choose another name"
        raise Invalid(message, code="not-a-portfolio")
    if there.type != type:
        message = f"portfolio {reference.name} is of type {there.type!r}, so no {type!r} can be linked to it"
        raise Invalid(message, code="type-clash")
    return [], view.id_made_here(there)


def _link(source: Resolved, portfolio: str) -> Link:
    return Link(
        at_us=now_us(),
        nonce=nonce(),
        portfolio=portfolio,
        project=source.project.name,
        version=source.version.id,
        name=f"{source.collection.name}:v{source.version.number}",
        digest=source.version.manifest,
    )


def _unlink(portfolio: str, version: str) -> Unlink:
    return Unlink(at_us=now_us(), nonce=nonce(), portfolio=portfolio, version=version)


def _aliases(view: ProjectView, portfolio: str, version: str, names: Sequence[str]) -> list[Op]:
    there = view.collection(portfolio)
    ops: list[Op] = []
    for name in names:
        before = None if there is None else view.alias(there.id, name)
        if before is None or before.version != version:
            ops.append(
                MoveAlias(
                    at_us=now_us(),
                    nonce=nonce(),
                    collection=portfolio,
                    alias=name,
                    before=None if before is None else before.version,
                    version=version,
                ),
            )
    return ops
