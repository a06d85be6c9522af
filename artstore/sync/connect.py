"""Connect: what only remotes have is fetched when somebody needs it."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Sequence

from artstore.errors import ArtstoreError, Corrupt, MissingObject, Problem
from artstore.model.digest import Digest
from artstore.storage.intake import Intake
from artstore.storage.places import MISSING_NOW
from artstore.storage.root import Root
from artstore.store import Store
from artstore.sync.depots.depot import Depot
from artstore.sync.depots.shelf import Noted, when_noted
from artstore.sync.mirrors.mirror import Mirror, mirrored
from artstore.sync.objects.pacing import Pace
from artstore.sync.protocol import Fetched, Remote, Shelf, Tell, read_slot
from artstore.sync.remotes import Settings, open_mirror, open_remote, read_remotes, token_of
from artstore.sync.standing import note_failure, note_success


def connect(store: Store, pace: Pace | None = None) -> None:
    """From now on, let the store ask its remotes for bytes that are not here, at a pace, if one is given."""
    if not store.read_only and (pace is not None or store.root.blobs.elsewhere is None):
        store.root.blobs.elsewhere = _Elsewhere(store.root, pace)


def held_elsewhere(root: Root, digests: Sequence[Digest], *, but: str | None = None) -> set[Digest]:
    """Those of some blobs that a remote has, or one that is not called so, as far as they can be asked; no fetch."""
    rest = list(digests)
    elsewhere = _Elsewhere(root, None)
    for name, settings in read_remotes(root.path).items():
        with contextlib.suppress(ArtstoreError):
            for _remote, shelf in elsewhere.of(settings) if rest and name != but else ():
                rest = shelf.lacks_blobs(rest)
    return set(digests) - set(rest)


class _Elsewhere:
    """Fetches blobs from whichever remote has them, the upstream first. Several threads may ask."""

    def __init__(self, root: Root, pace: Pace | None) -> None:
        self._root = root
        self._pace = pace
        self._shelves: dict[tuple[str, str | None, str, str], tuple[Shelf, Noted | None]] = {}
        """By address, token, project and log: a token that has ended is renewed while a store is open."""
        self._mirrored: dict[tuple[str, str], Shelf] = {}
        """What was last seen to lie in a mirror, by its address and the project."""
        self._lock = threading.RLock()
        self._is_bringing = False

    def __call__(self, digests: Sequence[Digest], tell: Tell | None) -> None:
        with self._lock:
            # Asked by itself it has nothing: what a blob was to be built upon is not brought for that.
            if not self._is_bringing:
                self._is_bringing = True
                try:
                    self._bring(digests, tell)
                finally:
                    self._is_bringing = False

    def lacks(self, digests: Sequence[Digest]) -> list[Digest]:
        """See storage.blobs.Elsewhere."""
        rest, is_known = list(digests), True
        with self._lock:
            for settings in read_remotes(self._root.path).values():
                try:
                    for _remote, shelf in self.of(settings) if rest else ():
                        rest = shelf.lacks_blobs(rest)
                except ArtstoreError:
                    is_known = False
        return rest if is_known else []

    def _bring(self, digests: Sequence[Digest], tell: Tell | None) -> None:
        root = self._root
        with root.session("bring") as session, Intake(root, session) as intake:
            # Another thread may have brought some of it while this one waited.
            here = root.blobs.locate(digests)
            rest = [digest for digest in digests if digest not in here]
            failed: ArtstoreError | None = None
            bad: dict[Digest, ArtstoreError] = {}
            reasons: dict[Digest, str] = {}
            for name, settings in read_remotes(root.path).items() if rest else ():
                try:
                    rest = self._from_mirrored(settings, intake, rest, tell)
                    for remote, shelf in self.of(settings) if rest else ():
                        fetched = _fetch(remote, shelf, intake, rest, tell)
                        bad.update(fetched.bad)
                        reasons.update((digest, _reason(remote, digest, said)) for digest, said in fetched.bad.items())
                        rest = fetched.all
                        if not rest:
                            break
                except ArtstoreError as error:
                    # Another one may have it all the same.
                    note_failure(root, name, error)
                    failed = failed or error
                else:
                    note_success(root, name)
                if not rest:
                    break
            intake.settle()
        if failed is not None and any(digest not in bad for digest in rest):
            raise failed
        if rest and bad:
            problems = [Problem(str(digest), reasons[digest]) for digest in rest if digest in bad]
            more = f". {len(problems) - 1} more cannot be had either" if len(problems) > 1 else ""
            code = next(bad[digest].code for digest in rest if digest in bad)
            raise Corrupt(problems[0].reason + more, code=code, problems=problems)

    def _from_mirrored(
        self, settings: Settings, intake: Intake, digests: Sequence[Digest], tell: Tell | None
    ) -> list[Digest]:
        """Fetch what a mirror had when it was last looked; answers what is still lacking, for which it is looked anew.

        A mirror has no slots that are counted here, and to look at it again is four questions, for each file.
        """
        rest = list(digests)
        for (url, _project), shelf in self._mirrored.items():
            if rest and url == settings.url:
                rest = shelf.fetch(intake, rest, tell).all
        return rest

    def of(self, settings: Settings) -> Iterator[tuple[Remote, Shelf]]:
        """What a remote has for each project."""
        remote = open_remote(settings, self._pace)
        mirror = open_mirror(settings, self._pace)
        for project in self._root.catalog.projects():
            if mirror is not None and (kept := mirrored(mirror, self._root, project.name)) is not None:
                self._mirrored[settings.url, project.name] = kept
                yield mirror, kept
            log, until = project.upstream, project.slot
            if not settings.upstream or log is None:
                first = read_slot(remote, project.name, 1)
                if first is None:
                    continue
                log, until = first.slot.log, _FAR
            shelf = self._shelf(remote, token_of(settings), project.name, log)
            shelf.follow(remote, until)
            yield remote, shelf

    def _shelf(self, remote: Remote, token: str | None, project: str, log: str) -> Shelf:
        key = remote.url, token, project, log
        noted = when_noted(self._root.path, remote.url, log)
        shelf, before = self._shelves.get(key, (None, None))
        if shelf is None or noted != before:
            # What a slot named may be no more: after a place was set back others have the same numbers.
            shelf = remote.shelf(self._root, project, log)
            self._shelves[key] = shelf, noted
        return shelf


def _fetch(remote: Remote, shelf: Shelf, intake: Intake, digests: Sequence[Digest], tell: Tell | None) -> Fetched:
    fetched = shelf.fetch(intake, digests, tell)
    if fetched.bad:
        # It was swept there, or lost and sent again: slots that are not counted here say where its bytes are by now.
        shelf.follow(remote, _FAR)
        fetched = shelf.fetch(intake, fetched.all, tell)
    return fetched


def _reason(remote: Remote, digest: Digest, error: ArtstoreError) -> str:
    """Why a blob cannot be had, and what now."""
    if isinstance(remote, Depot):
        # What a listing tells is found by whoever has it, unasked.
        is_mirror = isinstance(remote, Mirror)
        is_seen = isinstance(error, MissingObject) or (error.code == "object-short" and not is_mirror)
        which = "" if is_seen else f" --damaged {digest}"
        name = " NAME" if is_mirror else ""
        called = f", NAME being what {remote.url} is called there," if is_mirror else ""
        now = (
            f"In a store that has it, `artstore remote recover{name}{which}`{called} puts it there again; if none has, "
            "put the same bytes again, or run `artstore repair PATH`"
        )
    else:
        now = MISSING_NOW
    if isinstance(error, MissingObject):
        return f"blob {digest} is gone from where it was pushed to ({error.message}). {now}"
    return f"blob {digest} is damaged where it was pushed to ({error.message}). {now}"


_FAR = 1 << 40
