"""Apply: what a bundle carries is taken into a store.

First lists of files and all bytes, each verified, then slots and offers: a version that is seen is whole, as far as
the bundle said that it would be. A killed apply has lost nothing, and the next one takes what is left.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec

from artstore.errors import ArtstoreError, Conflict, Corrupt
from artstore.lifecycle.ordering import names_upstream
from artstore.lifecycle.progress import Progress
from artstore.lifecycle.replay import catch_up
from artstore.lifecycle.upstream import HOSTED, accept, attach, keeps_log, take, waiting
from artstore.model.digest import Digest
from artstore.model.manifest import Encoding
from artstore.model.records import brings, decode_op, manifest_of
from artstore.storage.catalog import Project
from artstore.storage.journal import Journal
from artstore.storage.oplog import Attachments
from artstore.storage.root import Root
from artstore.storage.sessions import PATIENCE_S, Exclusive, Session
from artstore.store import Store
from artstore.sync.awaited import take_awaited
from artstore.sync.bundle.archive import BundleReader
from artstore.sync.bundle.bring import bring
from artstore.sync.bundle.ended import blobs_of_ended, ended_lists
from artstore.sync.bundle.head import Section, read_head, read_manifests, read_offers, read_slots
from artstore.sync.held import Missing
from artstore.sync.history import History, history
from artstore.sync.offered import blobs_not_here, lists_not_here, lists_of_log, needed, new_in, parted
from artstore.sync.protocol import ReadSlot
from artstore.sync.pull import counted, slots_to_take
from artstore.sync.received import take_manifests
from artstore.sync.reports import ApplyReport, Moved, TakenProject

_SHOWN: Final = 3


def apply_bundle(store: Store, path: Path, *, join: bool = False, progress: Progress | None = None) -> ApplyReport:
    """Take what a bundle carries; what is here already is passed over.

    Offers come behind what is here: they count where the store owns its log, and wait for the upstream where it follows
    one. A log that its maker owns is all offers where an upstream is noted here, which has another log, and in the
    store of a server. A project that cannot be taken stops alone, before anything of it is written, and the report says
    why: where two logs began apart and `join` does not allow it (needs-join), where slots between are missing
    (bundle-gap), where bytes that the bundle relies on are gone from here (bundle-incomplete), where a side was set
    back and went on, and `join` does not allow to put both ends of the log together (rolled-back).

    Raises MissingFile (no-such-bundle), Corrupt (bundle-damaged, remote-corrupt), UpgradeNeeded, Conflict (locked).
    """
    began = time.monotonic()
    root = store.root
    root.catalog.check_writable()
    catch_up(root, thorough=True)
    with (
        BundleReader(path) as reader,
        Exclusive(root.path, "sync", patience_s=PATIENCE_S),
        root.session("apply") as session,
    ):
        head = read_head(reader)
        works = [_Work(root, session, reader, number, each, join=join) for number, each in enumerate(head.projects)]
        for work in works:
            work.check()
            work.take_lists()
        brought, bad = Moved(), dict[Digest, ArtstoreError]()
        if any(work.error is None for work in works):
            ended = [digest for work in works for digest in work.ended]
            left = blobs_of_ended(root, ended, [digest for work in works for digest in work.whole]) if ended else set()
            # Of all: what several projects need was put in for the first.
            brought, bad = bring(root, session, reader, range(len(works)), left=left, progress=progress)
        for work in works:
            work.take(bad)
    return ApplyReport(
        store=head.store,
        blobs=brought.blobs,
        bytes=brought.bytes,
        projects=[work.report() for work in works],
        seconds=time.monotonic() - began,
    )


class _Work:
    """One project of a bundle."""

    def __init__(
        self, root: Root, session: Session, reader: BundleReader, number: int, section: Section, *, join: bool
    ) -> None:
        self.number = number
        self.error: ArtstoreError | None = None
        self._root = root
        self._session = session
        self._reader = reader
        self._section = section
        self._join = join
        self._changes_log = False
        self._is_offered = False
        """Whether its slots are taken as offers."""
        self._taken = Moved()
        self._offered = Moved()
        self._void = 0
        self._where = f"project {section.project!r} in {reader.url!r}"
        self._encodings: dict[Digest, list[Encoding]] = {}
        self._attachments: Attachments | None = None
        """What the journal has to carry of the lists of files."""
        self.ended: set[Digest] = set()
        """Lists of files of what was deleted here, of which nothing is needed."""

    @property
    def whole(self) -> list[Digest]:
        """The lists of files all of whose bytes are here when it is taken, but for those of what was deleted here."""
        return [each for each in map(Digest.parse, self._section.whole) if each not in self.ended]

    def check(self) -> None:
        """Find out whether it can be taken."""
        try:
            self._check(self._root.catalog.project(self._section.project))
        except ArtstoreError as error:
            self.error = error

    def take_lists(self) -> None:
        """Take lists of files, and find out which of them nobody needs."""
        if self.error is None:
            try:
                self._take_lists()
            except ArtstoreError as error:
                self.error = error

    def take(self, bad: Mapping[Digest, ArtstoreError]) -> None:
        """Take slots and offers. Of blobs that are damaged it is known what was said."""
        if self.error is None:
            try:
                self._take(bad)
            except ArtstoreError as error:
                self.error = error

    def report(self) -> TakenProject:
        """What became of it."""
        error = self.error
        return TakenProject(
            project=self._section.project,
            taken=self._taken,
            offered=self._offered,
            void=self._void,
            error=None if error is None else error.message,
            code=None if error is None else error.code,
            exit_code=0 if error is None else error.exit_code,
        )

    def _check(self, project: Project | None) -> None:
        section, root = self._section, self._root
        known = None if project is None or not project.seq else history(root, project)
        follows = project is not None and project.upstream is not None and not keeps_log(root, project.name)
        if known is not None and known.log == section.log:
            is_owner, is_forked = not follows, self._is_forked(known)
            if is_forked:
                self._check_join(is_owner=is_owner)
            self._changes_log = is_forked and not is_owner
            # This store owns it and was set back, as from a backup: what the others have followed since comes again.
            self._is_offered = is_owner and (is_forked or section.last > len(known.slots))
            return
        if section.first > 1 or section.last < 1:
            raise self._gap(0)
        is_server = (root.path / HOSTED).exists()
        is_ordered = is_server or names_upstream(root.path)
        if section.is_own and is_ordered and (section.awaits or not follows):
            # The upstream that is noted here is the order, as soon as somebody reaches it, and it has another log. A
            # server's own logs are that of all who follow it. Who follows one does not leave it for what is no order.
            self._is_offered = True
            return
        if is_server and not follows:
            message = (
                f"this is the store of a server, and project {section.project!r} of the bundle follows a log that is "
                "kept elsewhere: nobody could push that project here any more. Apply the bundle in another store"
            )
            raise Conflict(message, code="other-upstream")
        if follows:
            if not self._join:
                message = (
                    f"project {section.project!r} follows another log here than the one in the bundle: with --join it "
                    "follows that one from now on, and what that one lacks comes behind it"
                )
                raise Conflict(message, code="other-upstream")
            self._changes_log = True
        elif known is not None and not self._join:
            self._check_apart()

    def _is_forked(self, known: History) -> bool:
        """Whether the bundle has another slot where both have one. Raises Conflict (bundle-gap) where some lack."""
        section, there = self._section, len(known.slots)
        if section.first > there + 1 and section.first <= section.last:
            raise self._gap(there)
        at = min(there, section.last)
        if at < section.first - 1:
            return False
        digest = section.before if at == section.first - 1 else dict(self._digests()).get(at)
        return digest != known.head(at)

    def _check_join(self, *, is_owner: bool) -> None:
        """Raise Conflict (rolled-back) where two ends of one log may not, or cannot, be put together."""
        section = self._section
        if names_upstream(self._root.path):
            then = "Let both follow the upstream as it is: `artstore pull`, and `artstore remote recover` if it says so"
        elif section.first > 1:
            then = "Make a bundle without --since, and apply it with --join"
        elif self._join:
            return
        elif is_owner:
            then = "With --join what the bundle has, and this store's log has lost, comes behind that"
        else:
            then = (
                "With --join this store follows the log as it is in the bundle, and what that has lost comes behind it"
            )
        message = (
            f"the bundle has another end of the log of project {section.project!r} than this store: one of the two was "
            f"set back to an older state, and went on from there. Nothing was taken. {then}"
        )
        raise Conflict(message, code="rolled-back")

    def _digests(self) -> Iterator[tuple[int, str]]:
        for slots in read_slots(self._reader, self.number, self._section):
            for slot, digest in slots:
                yield slot.number, digest

    def _before(self) -> Iterator[bytes]:
        """The ops of the slots before these, which are here."""
        project = self._root.catalog.project(self._section.project)
        if project is not None and self._section.first > 1:
            ops = Journal(self._root.catalog, project).ops()
            yield from (op.body for op in ops if op.slot is not None and op.slot < self._section.first)

    def _bodies(self) -> Iterator[bytes]:
        """The ops of the slots."""
        for slots in read_slots(self._reader, self.number, self._section):
            yield from (bytes(raw) for slot, _digest in slots for raw in slot.ops)

    def _offers(self) -> Iterator[list[msgspec.Raw]]:
        """Ops that are taken behind what is here, in whole transactions."""
        if self._is_offered:
            for slots in read_slots(self._reader, self.number, self._section):
                yield from (ops for slot, _digest in slots for ops in slot.transactions)
        yield from read_offers(self._reader, self.number)

    def _check_apart(self) -> None:
        """As pull does: numbers that somebody has written down do not change unasked."""
        section = self._section
        own = {op.id for op in waiting(self._root, section.project)}
        theirs = {str(Digest.of(body)) for body in self._bodies()}
        if own - theirs and theirs - own:
            message = (
                f"project {section.project!r} has a log of its own here: with --join it follows the one in the bundle, "
                "and what was made here comes behind it, under new numbers where need be. Or make a bundle here and "
                "let the other side join"
            )
            raise Conflict(message, code="needs-join")

    def _take_lists(self) -> None:
        root = self._root
        encodings = read_manifests(self._reader, self.number)
        self._encodings = {encoding.digest: [encoding] for encoding in encodings}
        self._refuse_missing(
            base
            for encoding in encodings
            if (base := encoding.base) is not None and base not in self._encodings and root.manifests.find(base) is None
        )
        self._attachments = Attachments(manifests=take_manifests(root, self._where, encodings, self._find))
        project = root.catalog.project(self._section.project)
        # In the order of another log they may be there again.
        if project is not None and not self._changes_log:
            offers = (bytes(raw) for ops in read_offers(self._reader, self.number) for raw in ops)
            self.ended = ended_lists(root, project, self.whole, itertools.chain(self._bodies(), offers))

    def _take(self, bad: Mapping[Digest, ArtstoreError]) -> None:
        root, section = self._root, self._section
        attachments = self._attachments
        self._check_whole(bad)
        offered = new_in(root, section.project, self._offers())
        if self._is_offered and section.absent:
            # What the maker could not give is waited for, with what builds on it, unless it ends with that.
            lists = {str(each) for each in needed(root, section.project, offered)}
            made = [op for ops in offered for op in ops if op.version in section.absent]
            given_up = {op.id for op in made if manifest_of(decode_op(op.body)) in lists}
            offered, _left, _what = parted(root, section.project, offered, Missing(ops=frozenset(given_up)))
        before = () if self._is_offered else self._bodies()
        self._check_slots()
        self._refuse_missing(lists_not_here(root, needed(root, section.project, offered, before)))
        project = root.catalog.project(section.project)
        if self._changes_log and project is not None:
            attach(root, self._session, section.project, section.log if project.upstream == section.log else None)
            project = root.catalog.project(section.project)
        is_theirs = project is None or project.upstream is not None or history(root, project).log != section.log
        last = 0 if project is None or project.upstream is None else project.slot
        for slots in read_slots(self._reader, self.number, section) if is_theirs and not self._is_offered else ():
            new = [each for each in slots if each.slot.number > last]
            if new:
                self._accept(new, attachments)
                attachments = None
        for ops in offered:
            raws = [msgspec.Raw(op.body) for op in ops]
            taken = take(root, self._session, section.project, raws, attachments=attachments, undecided=True)
            if taken.ops:
                attachments = None
            self._offered = self._offered.plus(Moved(ops=taken.ops, versions=taken.versions))
            self._void += taken.void
        seen, said = take_awaited(root, self._session, section.project, self._where, self._find)
        if said is not None:
            raise said
        self._taken = self._taken.plus(seen)

    def _find(self, digest: Digest) -> list[Encoding]:
        return self._encodings.get(digest, [])

    def _accept(self, slots: Sequence[ReadSlot], attachments: Attachments | None) -> None:
        section = self._section
        ops = [bytes(raw) for slot, _digest in slots for raw in slot.ops]
        brought = {brings(str(Digest.of(op)), decode_op(op)) for op in ops}
        accept(
            self._root,
            self._session,
            section.project,
            section.log,
            slots_to_take(slots),
            attachments=attachments,
            awaited=[version for version in section.absent if version in brought],
        )
        self._taken = self._taken.plus(counted(slot for slot, _digest in slots))

    def _check_slots(self) -> None:
        """Refuse slots that would leave a version without its list of files, which its maker had."""
        if self._is_offered:
            return
        root, section = self._root, self._section
        ops = [(body, decode_op(body)) for body in self._bodies()]
        awaited = {*section.absent}
        named = {manifest_of(op) for body, op in ops if brings(str(Digest.of(body)), op) not in awaited}
        absent = set(lists_not_here(root, map(Digest.parse, filter(None, named))))
        if absent:
            # What is deleted further on came without, and what was awaited by any name.
            absent &= lists_of_log(self._before(), (body for body, _op in ops), but=awaited)
        if absent and section.first == 1:
            names = ", ".join(sorted(map(str, absent))[:_SHOWN])
            raise self._reader.damaged(
                f"it has versions of project {section.project!r} without their lists of files {names}"
            )
        self._refuse_missing(absent)

    def _check_whole(self, bad: Mapping[Digest, ArtstoreError]) -> None:
        """Refuse where bytes are missing that the bundle's maker took to be here."""
        root = self._root
        whole = self.whole
        missing = lists_not_here(root, whole)
        missing += blobs_not_here(root, [each for each in whole if each not in missing])
        damaged = next((blob for blob in missing if blob in bad), None)
        if damaged is not None:
            why = f"blob {damaged} is damaged in the bundle {self._reader.url!r}. Copy it again"
            if bad[damaged].code == "digest-mismatch":
                why = (
                    f"of blob {damaged} the bundle has what is new, and what it is changed from is damaged here: "
                    f"{bad[damaged].message}; or make the bundle again, --since the receipt that there is then"
                )
                raise Corrupt(self._nothing(why), code="base-damaged") from bad[damaged]
            message = self._nothing(why)
            raise Corrupt(message, code="bundle-damaged") from bad[damaged]
        self._refuse_missing(missing)

    def _refuse_missing(self, digests: Iterable[Digest]) -> None:
        missing = list(dict.fromkeys(map(str, digests)))
        if missing:
            more = f" and {len(missing) - _SHOWN} more" if len(missing) > _SHOWN else ""
            message = (
                f"nothing of project {self._section.project!r} was taken: the bundle was made for a store that has "
                f"{', '.join(missing[:_SHOWN])}{more}, and this one has not, or not any more. Make the bundle again, "
                "--since what `artstore bundle receipt` says now"
            )
            raise Conflict(message, code="bundle-incomplete")

    def _nothing(self, why: str) -> str:
        return f"nothing of project {self._section.project!r} was taken: {why}"

    def _gap(self, there: int) -> Conflict:
        section = self._section
        message = (
            f"the bundle goes on behind slot {section.first - 1} of project {section.project!r}, and this store has "
            f"{there}: apply the bundles before it first, or make one --since `artstore bundle receipt` of this store"
        )
        return Conflict(message, code="bundle-gap")
