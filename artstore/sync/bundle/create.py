"""Create: a bundle is put together, of what the other side lacks.

What it lacks is known from its receipt. Ops and lists of files always travel for a whole project; bytes may be chosen
by version.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from artstore.errors import Conflict, Corrupt, Invalid, NotFound, Unreachable
from artstore.lifecycle.ordering import Ordering, ordering
from artstore.lifecycle.progress import Progress, telling
from artstore.lifecycle.replay import catch_up
from artstore.lifecycle.reports import Skipped
from artstore.lifecycle.resolve import find_project, resolve
from artstore.lifecycle.upstream import TakenSlot
from artstore.model.digest import Digest
from artstore.model.manifest import Encoding, Entry, blob_of, encode_difference, encode_full
from artstore.model.names import UNCATEGORIZED, Reference
from artstore.model.records import decode_op, kind_of
from artstore.storage.catalog import Project, ProjectView
from artstore.storage.places import MISSING_NOW
from artstore.storage.quarantine import judge
from artstore.storage.root import Root
from artstore.store import Store
from artstore.sync.bring import called
from artstore.sync.bundle.archive import BundleWriter
from artstore.sync.bundle.head import (
    FORMAT,
    Head,
    Receipt,
    Section,
    Stand,
    write_head,
    write_offers,
    write_slots,
)
from artstore.sync.bundle.patches import write_patches
from artstore.sync.connect import connect
from artstore.sync.cut import Offer
from artstore.sync.held import Missing
from artstore.sync.held import called as called_here
from artstore.sync.history import Brought, History, brought, ending_here, history
from artstore.sync.lengths import why_swelling
from artstore.sync.push import offers
from artstore.sync.reports import BundleReport
from artstore.sync.upload import UNREADABLE, Upload, damaged


def create_bundle(
    store: Store,
    path: Path,
    references: Sequence[str] = (),
    *,
    project: str | None = None,
    since: Receipt | None = None,
    split: int | None = None,
    progress: Progress | None = None,
) -> BundleReport:
    """Write what a store has, and the other side lacks, into a file, or into several of at most `split` bytes each.

    Of all projects, of one, or of those of the references; with references, only the bytes of their versions go, also
    where those are older than the receipt. Where there is nothing to carry, nothing is written, and the report names no
    file. Of versions that were not asked for the bytes are left out that are damaged or cannot be had, and what waits
    here goes without versions whose lists of files are lost: the report names them.

    Raises NotFound (…-not-found), Conflict (file-exists, other-history), Corrupt (blob-missing, blob-damaged) of what
    was asked for, StorageFull (bundle-full), Refused (cannot-write), Unreachable where bytes that were asked for would
    have to come from a remote; Invalid (too-many-files) where a list of files is one that nobody takes.
    """
    root = store.root
    connect(store)
    catch_up(root, thorough=True)
    if since is not None and since.store == store.id:
        message = "the receipt is of this very store: `artstore bundle receipt` on the other side writes the one needed"
        raise Invalid(message, code="own-receipt")
    wanted = _wanted(root, references, project or UNCATEGORIZED)
    names = list(wanted) or ([project] if project is not None else [each.name for each in root.catalog.projects()])
    bad: dict[Digest, Corrupt] = {}
    while True:
        loads = _Loads(root, since, wanted, bad)
        for name in names:
            loads.add(find_project(root, name)[0])
        try:
            return _write(root, path, loads, split, progress)
        except Corrupt as error:
            found = {} if error.code not in UNREADABLE else _damaged(root, loads)
            if not found:
                raise
            bad |= found


def _write(root: Root, path: Path, loads: _Loads, split: int | None, progress: Progress | None) -> BundleReport:
    sections = [load.section for load in loads.loads]
    head = Head(format=FORMAT, store=root.format.store_id, made_at=time.time(), projects=sections)
    if not any(load.section.ops or load.section.offers or load.blobs or load.manifests for load in loads.loads):
        return head.told([], 0, loads.left)
    with root.session("bundle") as session, BundleWriter(path, split=split) as writer:
        write_head(writer, head)
        for number, load in enumerate(loads.loads):
            write_slots(writer, number, load.slots)
            write_offers(writer, number, load.offers)
            tell = telling(progress, "bundle")
            upload = Upload(writer, str(number), root, session, note=lambda _name: None, tell=tell)
            upload.send_manifests(load.manifests)
            upload.send_blobs(write_patches(writer, number, root, load.blobs, load.held))
        return head.told(writer.publish(), writer.size, loads.left)


def _damaged(root: Root, loads: _Loads) -> dict[Digest, Corrupt]:
    """What of all that was to be carried is not here as it should be, looked at once more, and the errors for that."""
    wanted = [digest for load in loads.loads for digest in load.blobs]
    here = root.blobs.locate(wanted)
    return {digest: damaged(digest) for digest in wanted if digest not in here or judge(here[digest]) == "damaged"}


_LIST_LOST: Final = "its list of files is lost, or it builds on one whose list is. Run `artstore repair`"


class _Load(NamedTuple):
    """What goes of one project."""

    section: Section
    slots: list[TakenSlot]
    offers: list[list[msgspec.Raw]]
    manifests: list[Encoding]
    blobs: list[Digest]
    held: set[bytes]
    """Blobs that the other side has of it."""


class _Loads:
    """What goes of all of them; bytes that several need go once."""

    def __init__(
        self,
        root: Root,
        since: Receipt | None,
        wanted: dict[str, list[Digest]],
        damaged: Mapping[Digest, Corrupt],
    ) -> None:
        """`damaged` are blobs that are known not to be here as they should be."""
        self.loads: list[_Load] = []
        self.left: list[Skipped] = []
        """What is left out, and why."""
        self._root = root
        self._since = {} if since is None else since.projects
        self._wanted = wanted
        self._damaged = damaged
        self._carried: set[bytes] = set()

    def add(self, project: Project) -> None:
        root = self._root
        with root.catalog.snapshot():
            known = history(root, project)
            stand = self._stand(project, known)
            new = known.slots[stand.slot :]
            offered = [] if project.upstream is None else self._offers(project)
            transactions = [[msgspec.Raw(op.body) for op in ops] for offer in offered for ops in offer.transactions]
            bodies = [bytes(raw) for ops in (*(slot.ops for slot in new), *transactions) for raw in ops]
            # What ends with the offers lives in the log, and somebody may need it before they are accepted.
            ending = ending_here(root, project)
            before = known.slots[: stand.slot]
            there = brought(root, project, (bytes(raw) for slot in before for raw in slot.ops), ending)
            coming = brought(root, project, (bytes(raw) for slot in new for raw in slot.ops), ending)
            held = _Held(root, stand, there)
            waiting = [digest for offer in offered for digest in offer.manifests]
            awaited = [each for each in map(Digest.parse, stand.absent) if each in there.manifests]
            sending = dict.fromkeys([*coming.manifests, *awaited, *waiting])
            manifests = [each for each in sending if each not in held.manifests]
            encodings = list(_encoded(root, manifests, held))
        _check_lists(root, project.name, encodings)
        self._tell_lost(project, coming.forgotten)
        wanted = self._wanted.get(project.name)
        # Of what waits here the other side needs the bytes also where it has only the list of files.
        lacked = [each for each in dict.fromkeys([*manifests, *waiting]) if each not in held.whole]
        chosen = lacked if wanted is None else [each for each in wanted if each not in held.whole]
        blobs, whole = self._blobs(project, held, chosen, is_asked=wanted is not None)
        # Nobody can give it but this store, should it be gone there since.
        whole += [each for each in dict.fromkeys(waiting) if each in held.whole]
        section = Section(
            project=project.name,
            log=known.log,
            is_own=project.upstream is None,
            awaits=ordering(root.path, project) is Ordering.AWAITED,
            first=stand.slot + 1,
            before=known.head(min(stand.slot, len(known.slots))),
            last=len(known.slots),
            head=known.head(len(known.slots)),
            ops=sum(len(slot.ops) for slot in new),
            offers=sum(map(len, transactions)),
            versions=sum(kind_of(decode_op(body)) == "commit" for body in bodies),
            blobs=len(blobs),
            bytes=sum(blobs.values()),
            whole=[str(each) for each in whole],
            absent=list(coming.forgotten),
        )
        self.loads.append(_Load(section, new, transactions, encodings, list(blobs), held.blobs))

    def _stand(self, project: Project, known: History) -> Stand:
        stand = self._since.get(project.name)
        if stand is None or stand.log != known.log:
            return Stand(log=known.log)
        if stand.slot > len(known.slots) and project.upstream is None:
            message = (
                f"the receipt has slot {stand.slot} of project {project.name!r}, and this store, whose log it is, has "
                f"{len(known.slots)}: it was set back to an older state. Apply a bundle of the other side here first"
            )
            raise Conflict(message, code="other-history")
        if 0 < stand.slot <= len(known.slots) and stand.head != known.head(stand.slot):
            message = (
                f"the receipt says that slot {stand.slot} of project {project.name!r} is another one than here, so one "
                "of the two stores was set back to an older state: make a bundle without --since, and apply it with "
                "--join"
            )
            raise Conflict(message, code="other-history")
        return stand

    def _offers(self, project: Project) -> list[Offer]:
        """All that waits, but for what nobody could take: versions whose lists are lost, and what builds on them."""
        root = self._root
        offered = offers(root, project.name, apart=True)
        lost = {digest for offer in offered for digest in offer.manifests if not root.manifests.has(digest)}
        if not lost:
            return offered
        kept = offers(root, project.name, None, Missing(frozenset(lost)), apart=True)
        ids = {op.id for offer in kept for ops in offer.transactions for op in ops}
        view = ProjectView(root.catalog, project.id)
        for op in (op for offer in offered for ops in offer.transactions for op in ops):
            if op.id not in ids and (name := called_here(view, [op.version])):
                self.left.append(Skipped(path=f"{project.name}/{name}", reason=_LIST_LOST))
        return kept

    def _tell_lost(self, project: Project, absent: Iterable[str]) -> None:
        """Tell of those versions without a list of files that nobody has deleted here on purpose."""
        view = ProjectView(self._root.catalog, project.id)
        for version in filter(None, map(view.version, absent)):
            collection = view.collection(version.collection)
            is_let_go = version.deleted or view.is_forgotten(version.id)
            if collection is not None and not is_let_go:
                name = f"{project.name}/{collection.name}:v{version.number}"
                self.left.append(Skipped(path=name, reason=_LIST_LOST))

    def _blobs(
        self, project: Project, held: _Held, chosen: list[Digest], *, is_asked: bool
    ) -> tuple[dict[Digest, int], list[Digest]]:
        """The blobs that these manifests need and that the other side lacks, with those manifests that get all."""
        root = self._root
        sizes: dict[Digest, int] = {}
        whole: list[Digest] = []
        for manifest in chosen:
            entries = _entries(root, manifest, {*held.whole, *whole})
            needed = {blob.digest: blob.size for entry in entries if (blob := blob_of(entry)) is not None}
            lacking = {each: size for each, size in needed.items() if each not in held.blobs}
            why = self._why_not([each for each in lacking if each not in sizes], is_asked=is_asked)
            if why is None:
                sizes.update(lacking)
                whole.append(manifest)
            else:
                name = f"{project.name}/{called(root, project.name, manifest)}"
                self.left.append(Skipped(path=name, reason=f"its bytes were left out: {why}"))
        new = {digest: size for digest, size in sizes.items() if digest not in self._carried}
        self._carried.update(new)
        return new, whole

    def _why_not(self, digests: list[Digest], *, is_asked: bool) -> str | None:
        """Why not all bytes can be had; None where they are here by now. An error if they were asked for."""
        stored = self._root.blobs
        try:
            bad = next((digest for digest in digests if digest in self._damaged), None)
            if bad is not None:
                raise self._damaged[bad]
            stored.bring(digests)
            if is_asked:
                stored.check_stored(digests)
        except (Unreachable, NotFound, Corrupt) as error:
            if is_asked:
                raise
            return error.message
        here = stored.placed(digests)
        absent = next((digest for digest in digests if digest not in here), None)
        return None if absent is None else f"blob {absent} is not here. {MISSING_NOW}"


class _Held:
    """What the other side has."""

    def __init__(self, root: Root, stand: Stand, there: Brought) -> None:
        self._root = root
        self.manifests = {*there.manifests, *map(Digest.parse, stand.has)} - {*map(Digest.parse, stand.ended)}
        self.whole = self.manifests - {*map(Digest.parse, stand.lacks)}
        """Those with all their bytes."""
        self._blobs: set[bytes] | None = None

    @property
    def blobs(self) -> set[bytes]:
        if self._blobs is None:
            self._blobs = set(self._root.manifests.blobs_in(self.whole))
        return self._blobs


def _wanted(root: Root, references: Sequence[str], project: str) -> dict[str, list[Digest]]:
    """Manifests that were asked for, by project."""
    found: dict[str, list[Digest]] = {}
    for reference in references:
        resolved = resolve(root, Reference.parse(reference, project=project))
        found.setdefault(resolved.project.name, []).append(resolved.manifest)
    return found


def _encoded(root: Root, manifests: Sequence[Digest], held: _Held) -> Iterable[Encoding]:
    """Each as a difference to one that the other side has or gets, where the store keeps it so."""
    coming = set(manifests)
    for digest in manifests:
        built = root.manifests.difference(digest)
        if built is not None and (built[0] in coming or built[0] in held.whole):
            base, difference = built
            yield encode_difference(digest, base, difference, root.manifests.get(digest).entries)
        else:
            yield encode_full(digest, (entry.line() for entry in root.manifests.entries(digest)))


def _check_lists(root: Root, project: str, encodings: Iterable[Encoding]) -> None:
    """Raise Invalid (too-many-files) for a list of files that nobody takes from a bundle."""
    for encoding in encodings:
        if (why := why_swelling(encoding)) is not None:
            name = f"{project}/{called(root, project, encoding.digest)}"
            message = (
                f"stores take {why}, and {name} has {encoding.entries}: put them as several artifacts and delete it"
            )
            raise Invalid(message, code="too-many-files")


def _entries(root: Root, manifest: Digest, whole: set[Digest]) -> Iterable[Entry]:
    """The entries of a manifest, less those that it has from one whose bytes the other side has."""
    built = root.manifests.difference(manifest)
    if built is not None and built[0] in whole:
        return built[1].come
    return root.manifests.entries(manifest)
