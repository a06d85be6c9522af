"""Delete: versions end, here or for all who follow the upstream."""

from __future__ import annotations

from collections.abc import Sequence

from artstore.errors import Conflict, Invalid
from artstore.lifecycle.before import with_others
from artstore.lifecycle.commit import commit_and_answer
from artstore.lifecycle.links import names_of_links, unlink_everywhere
from artstore.lifecycle.reports import VersionInfo
from artstore.lifecycle.resolve import Resolved, check_seen, resolve, still_there
from artstore.lifecycle.upstream import ending, ends_of, keeps_log
from artstore.model.names import Reference
from artstore.model.records import Op
from artstore.storage.catalog import ProjectView
from artstore.storage.root import Root
from artstore.storage.sessions import Session


def delete(root: Root, references: Sequence[Reference], *, force: bool, everywhere: bool = False) -> list[VersionInfo]:
    """Delete versions; their numbers are never used again, and `gc` frees what only they held.

    All of them are looked at before the first goes, so that what is refused of one is refused of all. Those of one
    project go in one transaction. One that an upstream has accepted, be it that of before, or that came from another
    store, is forgotten on this machine only, unless `everywhere`: then it goes for all who follow the upstream, and it
    must not have been used by a run here either (used), unless forced. So can what was forgotten here be deleted. Where
    others have given it an alias, linked or used it meanwhile, it stays, and that is a conflict, unless forced.

    Raises Conflict while an alias other than latest stands on one (aliased) or a portfolio has it (linked), unless
    forced: it is taken out of the portfolios then where it goes for all, and stays in them as what is not here where
    it is forgotten. Raises Invalid (is-a-link) where a reference names a link.
    """
    with root.session("delete") as session:
        # Inside: a row number of before could mean something else after a `rebuild`. Each once, however it was named.
        found = {each.version.id: each for each in (resolve(root, reference, unseen=True) for reference in references)}
        by_project: dict[str, list[Resolved]] = {}
        for each in found.values():
            if each.member is not None:
                message = f"{each.member.name} is a link: unlink it, or delete {each.name}, which it stands for"
                raise Invalid(message, code="is-a-link")
            if not everywhere and each.view.is_forgotten(each.version.id) and not each.view.is_awaited(each.version.id):
                _check_ends(root, each)
            if not force:
                _check_deletable(root, each.view, each, everywhere=everywhere)
            by_project.setdefault(each.project.name, []).append(each)
        gone: list[VersionInfo] = []
        for name, some in by_project.items():
            if force:
                ids = [each.version.id for each in some]
                goes_everywhere = everywhere or keeps_log(root, name)
                ended = ending(root, name, some[0].view, ids, everywhere=goes_everywhere)
                unlink_everywhere(root, session, ended)
            gone += _delete_in(root, session, name, some, force=force, everywhere=everywhere)
    return gone


def _delete_in(
    root: Root, session: Session, project: str, some: Sequence[Resolved], *, force: bool, everywhere: bool
) -> list[VersionInfo]:
    """Delete versions of one project, all or none."""

    def plan(view: ProjectView) -> list[Op]:
        for each in some:
            still_there(view, each)
            if not force:
                _check_deletable(root, view, each, everywhere=everywhere)
        goes_everywhere = everywhere or keeps_log(root, project)
        ids = [each.version.id for each in some]
        # Where it was not asked for everywhere, uses do not keep it.
        return ends_of(root, project, view, ids, everywhere=goes_everywhere, forced=force or not everywhere)

    return commit_and_answer(root, session, project, plan, answer=lambda *_: [each.info_now() for each in some])


def _check_ends(root: Root, found: Resolved) -> None:
    """Raise NotFound (version-forgotten) where a version that was forgotten would be so again."""
    if with_others(root, found.project.name, found.view, [found.version.id]):
        check_seen(found.view, found.version, found.name)


def _check_deletable(root: Root, view: ProjectView, found: Resolved, *, everywhere: bool) -> None:
    version = found.version
    names = [alias.name for alias in view.aliases_of(version.collection, version.id)]
    if names:
        message = f"{found.name} carries {', '.join(map(repr, names))}: remove the alias first, or force it"
        raise Conflict(message, code="aliased")
    links = names_of_links(root, version.id)
    if links:
        message = f"{found.name} is linked as {', '.join(links)}: unlink it first, or force it"
        raise Conflict(message, code="linked")
    if everywhere and view.is_used(version.id):
        message = f"a run used {found.name}: what it came from would be gone for everybody. Force it if it may be"
        raise Conflict(message, code="used")
