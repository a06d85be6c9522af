"""Adopt: a store comes to follow another log than it did, or one that was set back.

What the new log lacks waits then, in the order so far, others' ops included. So a log that is new and empty keeps all
numbers; where others have written to it before, their ops come first.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from pathlib import Path

from artstore.errors import Conflict, Corrupt, Denied, Invalid, Unreachable
from artstore.lifecycle.set_aside import check_can_be_set_aside, ids_under, set_aside
from artstore.lifecycle.upstream import attach, keeps_log
from artstore.model.digest import Digest
from artstore.storage.catalog import Project
from artstore.storage.root import Root
from artstore.storage.sessions import PATIENCE_S, Exclusive
from artstore.store import Store
from artstore.sync.apart import apart, twin_of
from artstore.sync.choice import picks
from artstore.sync.history import history
from artstore.sync.protocol import Remote, read_slot
from artstore.sync.pull import mendable
from artstore.sync.remotes import Settings, add_remote, open_mirror, open_remote, read_remotes
from artstore.sync.reports import RemoteInfo


def add_upstream(
    store: Store,
    name: str,
    url: str,
    *,
    join: bool,
    background: bool = False,
    only: Sequence[str] = (),
    aside: Mapping[str, str] | None = None,
    token_file: Path | None = None,
) -> RemoteInfo:
    """Note a remote as the upstream; projects that followed another log follow the one there from now on.

    Where that is the log of each which follows one, it takes the place of the upstream that was noted before: this one
    is found there now. Nothing is moved yet, and projects that its token is not for are passed over. Raises Conflict
    (has-upstream) where that one still has its logs at its old place, so that the other is a copy, and Conflict
    (needs-join), before anything is changed, where a project has ops that the log there lacks, and the other way round,
    unless `join`: then its own wait behind those there.

    `aside` has new names for such projects: what is here has that name from now on, others' ops of a log that was
    followed before included, and the old one is that of the log there. "" stands for the only such project.

    Raises Conflict (not-the-owner) in a store that keeps logs for others, Conflict (project-exists, not-its-own,
    undecided) and Invalid (nothing-to-rename) for what `aside` names, and as add_remote.
    """
    _refuse_chain(store)
    file = None if token_file is None else str(token_file.absolute())
    root, remote = store.root, open_remote(Settings(url=url, token_file=file))
    with Exclusive(root.path, "sync", patience_s=PATIENCE_S), root.session("adopt") as session:
        try:
            reachable = _reachable(remote, root.catalog.projects())
            others = [project for project in reachable if _is_another(remote, project)]
            renamed = _renamed(root, remote, reachable, others, aside or {}, join=join)
        except Corrupt as error:
            raise mendable(error) from error
        moved_from = _moved_from(root, reachable, others)
        if moved_from is not None:
            _refuse_copy(root, moved_from, url)
        info = add_remote(
            store.path,
            name,
            url,
            upstream=True,
            join=join,
            background=background,
            only=picks(root, only, aside=renamed),
            token_file=token_file,
            instead_of=moved_from,
        )
        for project in others:
            if project.name not in renamed:
                attach(root, session, project.name, None)
        for before, after in renamed.items():
            set_aside(root, session, before, after)
    return info


def _reachable(remote: Remote, projects: Sequence[Project]) -> list[Project]:
    """Those projects that may be asked about there: a token may be for one, and the others are then none of its."""
    found: list[Project] = []
    for project in projects:
        with contextlib.suppress(Denied):
            read_slot(remote, project.name, 1)
            found.append(project)
    return found


def _moved_from(root: Root, reachable: Sequence[Project], others: Sequence[Project]) -> str | None:
    """The upstream that was noted before, where all logs that are followed are at the new place; None: not so."""
    name = next((name for name, each in read_remotes(root.path).items() if each.upstream), None)
    followed = {project.name for project in root.catalog.projects() if project.upstream is not None}
    return name if followed and not others and followed <= {project.name for project in reachable} else None


def _refuse_copy(root: Root, name: str, url: str) -> None:
    """Raise Conflict (has-upstream) where a log that is found elsewhere now is at its old place too."""
    settings = read_remotes(root.path)[name]
    if settings.url == url:
        return
    with contextlib.suppress(Unreachable, Denied, Invalid, Corrupt):
        remote = open_remote(settings)
        for project in root.catalog.projects():
            first = None if project.upstream is None else read_slot(remote, project.name, 1)
            if first is not None and first.slot.log == project.upstream:
                message = (
                    f"{name!r} still has the log of project {project.name!r} at {settings.url}, so what is at {url} is "
                    "a copy of it, and the two would go apart. If that is to be the upstream from now on, `artstore "
                    f"remote rm {name}` first"
                )
                raise Conflict(message, code="has-upstream")


def _renamed(
    root: Root,
    remote: Remote,
    projects: Sequence[Project],
    others: Sequence[Project],
    aside: Mapping[str, str],
    *,
    join: bool,
) -> dict[str, str]:
    """New names of projects that began apart from the log there, `others` with another one. Raises as add_upstream."""
    moving = [project for project in projects if project.upstream is None or project in others]
    found = [each for project in moving if (each := apart(root, remote, project)) is not None]
    names = {each.project for each in found}
    if aside:
        # Nobody could have both.
        names |= {project.name for project in moving if twin_of(project.name, remote) is not None}
    chosen = {(found[0].project if len(found) == 1 and not old else old): new for old, new in aside.items()}
    for old, new in chosen.items():
        if old not in names:
            which = "several projects differ" if not old and found else f"there is nothing that {new!r} could stand for"
            message = (
                f"{which}: those that have versions both here and at {remote.url}, made apart, are "
                f"{', '.join(sorted(names)) or 'none'}; write --as PROJECT={new} for one"
            )
            raise Invalid(message, code="nothing-to-rename")
        check_can_be_set_aside(root, old, new)
        _refuse_followed(root, old)
        if _is_of_others(remote, new, ids_under(root, old, new)):
            message = f"there is a project {new!r} at {remote.url} already: choose another name for what {old!r} has"
            raise Conflict(message, code="project-exists")
    left = next((each for each in found if each.project not in chosen), None)
    if left is not None and not join:
        message = (
            f"project {left.project!r} has a log at {remote.url}, and this store another one: {left.words}. With "
            "--join this store follows that one, and what was made here comes behind it; with --as NAME what was made "
            "here becomes the project NAME, here and there"
        )
        raise Conflict(message, code="needs-join")
    return chosen


def _is_of_others(remote: Remote, project: str, known: set[str]) -> bool:
    """Whether a log there has nothing of what is known here: who came before may have set the same aside."""
    number = 1
    while (found := read_slot(remote, project, number)) is not None:
        if any(str(Digest.of(bytes(raw))) in known for raw in found.slot.ops):
            return False
        number += 1
    return number > 1


def _refuse_followed(root: Root, project: str) -> None:
    """Raise Conflict (not-its-own) where others may follow the log of this store by a mirror that can be asked."""
    found = root.catalog.project(project)
    assert found is not None
    if found.upstream is not None:
        # Who is the judge of that one is elsewhere.
        return
    log = history(root, found).log
    for name, settings in read_remotes(root.path).items():
        with contextlib.suppress(Unreachable, Denied, Corrupt):
            mirror = open_mirror(settings)
            if mirror is not None and mirror.log(project) == log:
                message = (
                    f"the mirror {name!r} has the log of {project!r} from this store, and whoever follows it there "
                    "sends here what comes behind it, so it keeps its name: --join follows the other log, with what "
                    "was made here behind it"
                )
                raise Conflict(message, code="not-its-own")


def _refuse_chain(store: Store) -> None:
    """Raise Conflict (not-the-owner) where others follow this store: its log would have two orders."""
    kept = next((each.name for each in store.root.catalog.projects() if keeps_log(store.root, each.name)), None)
    if kept is not None:
        message = (
            f"this store serves the log of {kept!r}, which others follow, so it cannot follow another one itself: let "
            "them follow that one as well, or serve from a store that has no upstream"
        )
        raise Conflict(message, code="not-the-owner")


def _is_another(remote: Remote, project: Project) -> bool:
    """Whether a project follows a log, and not the one at a place."""
    if project.upstream is None:
        return False
    first = read_slot(remote, project.name, 1)
    return first is None or first.slot.log != project.upstream
