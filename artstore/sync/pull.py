"""Pull: the slots of a log that are not counted here yet, with the manifests that they brought.

Bytes stay where they are until somebody needs them. Each batch of slots is one transaction of the journal, so a killed
pull has lost nothing and goes on behind it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from artstore.errors import Conflict, Corrupt, MissingObject
from artstore.lifecycle.progress import Tick
from artstore.lifecycle.upstream import Followed, TakenSlot, accept, waiting
from artstore.model.digest import Digest
from artstore.model.manifest import Encoding, encode_full
from artstore.model.records import Sweep, decode_op, kind_of, manifest_of
from artstore.storage.marking import Marking
from artstore.storage.oplog import Attachments
from artstore.sync.depots.depot import Depot
from artstore.sync.depots.known import collecting
from artstore.sync.protocol import GONE, ReadSlot, Remote, Shelf, Slot, corrupt, frame_of, read_slot
from artstore.sync.received import take_manifests
from artstore.sync.remotes import adding_again
from artstore.sync.reports import Moved
from artstore.sync.way import Way

_BATCH_BYTES: Final = 4 << 20
"""Ops that go into one transaction of the journal, at most but for the last slot."""
_IN_A_DEPOT: Final = "in a depot, "


def pull(way: Way) -> Moved:
    """Count the slots of a project that a remote has and that are not counted here.

    Where both have ops, and this one follows no log yet, it begins to only with `join`: its own then wait behind.

    Raises Conflict (needs-join, rolled-back, other-log), Corrupt (remote-corrupt, slot-lost), Unreachable, Denied,
    UpgradeNeeded.
    """
    moved = Moved()
    shelf: Shelf | None = None
    swept = _Swept(way)
    check_join(way)
    for batch in _batches(new_slots(way)):
        if shelf is None:
            shelf = way.shelf(batch[0].slot.log)
            shelf.follow(way.remote, batch[0].slot.number - 1)
        _take(way, shelf, batch, swept)
        moved = moved.plus(counted(each.slot for each in batch))
        way.tell(Tick("pull", moved.ops))
    return moved


def new_slots(way: Way) -> Iterator[ReadSlot]:
    """The slots behind the last one that is counted here, each checked to follow the one before.

    Raises Conflict (rolled-back, other-log) where that one is not there as it was taken.
    """
    start = last = way.followed or Followed("", 0, None)
    if start.head is not None and way.remote.stands(way.project, start.slot, start.head):
        return
    while (found := _read_next(way, last.slot + 1)) is not None:
        slot = found.slot
        if last.slot == 0 and not last.log:
            last = Followed(slot.log, 0, None)
        if (slot.log, slot.before) != (last.log, last.head):
            if start.slot == last.slot and start.log:
                raise _rolled_back(way, last)
            raise mendable(corrupt(f"slot {slot.number} of {way.place} does not follow the one before"))
        yield found
        last = Followed(slot.log, slot.number, found.digest)
    if start.slot and last is start:
        # Nothing new: is what was there still there?
        _check_there(way, start)


def check_head(way: Way) -> None:
    """Raise Conflict (rolled-back, other-log) where the last slot that is counted here is not there any more."""
    last = way.followed
    if last is not None and last.head is not None and not way.remote.stands(way.project, last.slot, last.head):
        _check_there(way, last)


def check_join(way: Way) -> None:
    """Raise Conflict (needs-join) where two logs began apart, so that numbers of this one's would change."""
    if not way.join and way.followed is None:
        again = adding_again(way.root.path, way.remote.url)
        refuse_apart(way.remote, way.project, {op.id for op in waiting(way.root, way.project)}, again)


def refuse_apart(remote: Remote, project: str, own: set[str], again: str) -> None:
    """Raise Conflict (needs-join) where a log has ops that are not among these, and lacks some of these.

    `again` is the command that notes the remote, in which --join can be added.
    """
    theirs: set[str] = set()
    number = 1
    while own and (found := _read(remote, project, number)) is not None:
        if not any(collecting(found.slot)):
            theirs.update(str(Digest.of(bytes(raw))) for raw in found.slot.ops)
        number += 1
    if own - theirs and theirs - own:
        message = (
            f"project {project!r} has a log at {remote.url}, and this store another one: `{again} --join` lets it "
            "follow that one, and what was made here comes behind it, under new numbers where need be"
        )
        raise Conflict(message, code="needs-join")


def other_log(way: Way) -> Conflict:
    """The error for a place that has another log of a project than the one that is followed."""
    again = adding_again(way.root.path, way.remote.url)
    message = (
        f"{way.place} has another log than this store has followed: somebody began a new one there, or that is another "
        f"place by now. Nothing was moved; `{again} --join` follows that one, and what this store has comes behind it, "
        "for all who follow it, under new numbers where need be"
    )
    return Conflict(message, code="other-log")


def counted(slots: Iterable[Slot]) -> Moved:
    """How much slots hold."""
    slots = list(slots)
    ops = [decode_op(bytes(raw)) for slot in slots for raw in slot.ops]
    return Moved(slots=len(slots), ops=len(ops), versions=sum(kind_of(op) == "commit" for op in ops))


def slots_to_take(slots: Sequence[ReadSlot]) -> list[TakenSlot]:
    """As the journal is told of them."""
    return [TakenSlot(slot.number, digest, slot.ops, frame_of(slot)) for slot, digest in slots]


def _take(way: Way, shelf: Shelf, batch: Sequence[ReadSlot], swept: _Swept) -> None:
    try:
        taken = _read_manifests_twice(way, shelf, batch, swept)
    except MissingObject as error:
        problem = Corrupt(f"{error.message}. Nothing of that project was taken", code=error.code)
        raise mendable(problem, _IN_A_DEPOT) from error
    except Corrupt as error:
        raise mendable(error, option=" --read-all") from error
    log = batch[0].slot.log
    accept(way.root, way.session, way.project, log, slots_to_take(batch), attachments=Attachments(manifests=taken))
    shelf.save()


def _read_manifests_twice(way: Way, shelf: Shelf, batch: Sequence[ReadSlot], swept: _Swept) -> list[Encoding]:
    """As once; where something is not as it should be, all that is not here anyway is read by itself."""
    try:
        return _read_manifests(way, shelf, batch, swept)
    except Corrupt:
        shelf.read_alone()
        return _read_manifests(way, shelf, batch, swept, is_doubted=True)


def _read_manifests(
    way: Way, shelf: Shelf, batch: Sequence[ReadSlot], swept: _Swept, *, is_doubted: bool = False
) -> list[Encoding]:
    came: dict[str, list[Encoding]] = {}
    gone: set[Digest] = set()
    swept.take(each.slot for each in batch)
    for slot, _digest in batch:
        for name, digests in slot.manifests.items():
            own = _own(way, digests) if is_doubted and not swept.has(f"manifests/{name}") else []
            encodings = own or _read_unless_swept(shelf, name, swept)
            if encodings is None:
                continue
            if encodings == []:
                gone.update(map(Digest.parse, digests))
                continue
            if [str(encoding.digest) for encoding in encodings] != digests:
                raise corrupt(f"the manifests {name} of {way.place} are not those that its log names")
            came[name] = encodings
        shelf.note(slot)
    try:
        return _take_manifests(way, shelf, batch, came, gone)
    except (MissingObject, Corrupt):
        # What is being swept just now may go before what builds on it, or that has come with slots; and nobody mends
        # what is swept and lies there still.
        names = [name for name in came if not swept.has(f"manifests/{name}", read_on=True)]
        return _take_manifests(way, shelf, batch, {name: came[name] for name in names}, gone)


def _take_manifests(
    way: Way, shelf: Shelf, batch: Sequence[ReadSlot], came: Mapping[str, Sequence[Encoding]], gone: set[Digest]
) -> list[Encoding]:
    """Take what came with slots, and what these name and is not here any more, or was in an object that is gone."""
    encodings = [encoding for each in came.values() for encoding in each]
    named = {Digest.parse(d) for slot, _ in batch for digests in slot.manifests.values() for d in digests}
    again = _needed_again(way, shelf, batch, named - gone)
    return take_manifests(way.root, way.place, [*encodings, *again], shelf.manifest, shelf.whole)


class _Swept:
    """The objects that slots say are gone, also slots that are not taken yet: no version needs them at the end."""

    def __init__(self, way: Way) -> None:
        self._way = way
        self._names: set[str] = set()
        self._until = 0

    def take(self, slots: Iterable[Slot]) -> None:
        """Be told of the next slots."""
        for slot in slots:
            self._names.update(name for op in collecting(slot) if isinstance(op, Sweep) for name in op.objects)
            self._until = max(self._until, slot.number)

    def has(self, name: str, *, read_on: bool = False) -> bool:
        """Whether it is known that an object is gone, or with `read_on` can be found out."""
        while read_on and (found := read_slot(self._way.remote, self._way.project, self._until + 1)) is not None:
            self.take([found.slot])
        return name in self._names


def _own(way: Way, digests: Sequence[str]) -> list[Encoding]:
    """These lists of files as they are here, if all of them are; none else."""
    manifests = way.root.manifests
    if any(manifests.find(Digest.parse(each)) is None for each in digests):
        return []
    found = map(Digest.parse, digests)
    return [encode_full(digest, (entry.line() for entry in manifests.entries(digest))) for digest in found]


def _read_unless_swept(shelf: Shelf, name: str, swept: _Swept) -> list[Encoding] | None:
    """What an object holds; nothing of one that is gone, None for one that a slot says is swept."""
    if swept.has(f"manifests/{name}"):
        return None
    try:
        return shelf.manifests(name)
    except MissingObject as error:
        if error.code == GONE:
            return []
        if not swept.has(f"manifests/{name}", read_on=True):
            raise
        return None
    except Corrupt:
        if not swept.has(f"manifests/{name}", read_on=True):
            raise
        return None


def _needed_again(way: Way, shelf: Shelf, batch: Sequence[ReadSlot], came: set[Digest]) -> list[Encoding]:
    """Manifests that an earlier slot brought, and that were let go of here since.

    Rows do not tell: a pull that was killed has made some that no log carries.
    """
    again: dict[Digest, Encoding] = {}
    project = way.root.catalog.project(way.project)
    live = set() if project is None else Marking(way.root.catalog).live_manifests(project.id)
    for slot, _digest in batch:
        for raw in slot.ops:
            named = manifest_of(decode_op(bytes(raw)))
            if named is None:
                continue
            digest = Digest.parse(named)
            if digest not in came and digest not in again and digest not in live:
                again.update({each.digest: each for each in shelf.manifest(digest) if each.digest == digest})
    return list(again.values())


def _batches(slots: Iterator[ReadSlot]) -> Iterator[list[ReadSlot]]:
    batch: list[ReadSlot] = []
    size = 0
    for found in slots:
        batch.append(found)
        size += sum(len(bytes(raw)) for raw in found.slot.ops)
        if size >= _BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _read_next(way: Way, number: int) -> ReadSlot | None:
    return _read(way.remote, way.project, number)


def _read(remote: Remote, project: str, number: int) -> ReadSlot | None:
    try:
        return read_slot(remote, project, number)
    except Corrupt as error:
        problem = mendable(error)
        if isinstance(remote, Depot) and error.code == "remote-corrupt":
            problem = _with_the_last_way_out(project, remote, number, problem)
        raise problem from error


def _with_the_last_way_out(project: str, depot: Depot, number: int, error: Corrupt) -> Corrupt:
    """The error for a slot that cannot be read, with what can be done where no store has ever counted it."""
    if depot.behind(project, number) is not None or depot.checkpointed(project) >= number:
        return error
    hint = "where none had, `artstore remote recover --drop-unreadable` takes it away, and all go on"
    return Corrupt(f"{error.message}; {hint}", code=error.code)


def mendable(error: Corrupt, where: str = "", option: str = "") -> Corrupt:
    """The error for what a remote has lost or damaged, with who can put it back; others as they are."""
    if error.code not in {"remote-corrupt", "object-missing"}:
        return error
    hint = f"{where}`artstore remote recover{option}` in a store that had followed the log until there puts it back"
    return Corrupt(f"{error.message}; {hint}", code=error.code)


def _check_there(way: Way, last: Followed) -> None:
    there = _read_next(way, last.slot)
    if there is None or (there.slot.log, there.digest) != (last.log, last.head):
        raise _rolled_back(way, last)


def _rolled_back(way: Way, last: Followed) -> Conflict:
    first = read_slot(way.remote, way.project, 1)
    if first is not None and first.slot.log != last.log:
        return other_log(way)
    message = (
        f"{way.place} no longer has slot {last.slot} as it was taken from there: it was set back to an older state. "
        "Nothing was moved; `artstore remote recover` offers it again what it has lost"
    )
    return Conflict(message, code="rolled-back")
