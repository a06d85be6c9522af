"""Send again: what a remote has lost of the bytes that its log names, as far as this store has them.

Nothing is taken away, and no object gets other bytes, so it does no harm where a listing was old, or others push and
collect meanwhile. Blobs come into new objects, which a slot of their own names: who looks for them takes the last one
that has them. A list of files goes where it was. Where this store cannot make that object again, since it has freed
lists of versions that are no more, a slot says that it is swept, and names another one with those that versions need.
So it says of packs and large blobs that are gone, whether or not a version needs them: a later one may have the same
bytes, which nobody would send.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from artstore.errors import ArtstoreError, Conflict, Corrupt, MissingObject, Problem, named
from artstore.lifecycle.commit import nonce, now_us
from artstore.lifecycle.progress import telling
from artstore.lifecycle.reports import Skipped
from artstore.model.digest import Digest
from artstore.model.manifest import Encoding, encode_full
from artstore.model.records import Sweep, decode_op, encode_op, manifest_of
from artstore.storage.quarantine import judge
from artstore.storage.root import Root
from artstore.sync.bring import called, lost_files
from artstore.sync.claim import NOTHING, claim_next
from artstore.sync.depots.absent import without_blobs
from artstore.sync.depots.depot import Depot
from artstore.sync.depots.known import Known
from artstore.sync.depots.lost import NOT_READ, Damaged, find_damaged, find_damaged_among, find_lost
from artstore.sync.depots.needs import blobs_of, new_blobs_of, read_lists, wanted
from artstore.sync.depots.shelf import DepotShelf
from artstore.sync.history import history, senders
from artstore.sync.protocol import Sent, Shelf
from artstore.sync.pull import counted, pull
from artstore.sync.reports import Moved
from artstore.sync.upload import UNREADABLE
from artstore.sync.way import Way

_TRIES: Final = 100
"""Slots that others may claim first before it is an error."""


class Again(NamedTuple):
    """What was sent again, and what nobody here has."""

    moved: Moved
    lost: list[Skipped]
    """Files whose bytes are not here either, as `cats:v3/a/b`, and why."""
    left: Corrupt | None
    """What to say of these."""


def send_again(way: Way, *, read_all: bool, doubted: Sequence[Digest] = ()) -> Again:
    """Send what the remote has lost of accepted versions.

    With `read_all` all is read there first, to find damage; or else only blobs and lists of files that are `doubted`.
    Raises as `pull`; Conflict (busy), StorageFull.
    """
    if not isinstance(way.remote, Depot):
        return _send_to_server(way)
    moved = Moved()
    damaged: Damaged | None = None if read_all or doubted else NOT_READ
    indexes: set[str] = set()
    for _ in range(_TRIES):
        pull(way)
        last = way.followed
        assert last is not None
        shelf = way.remote.shelf(way.root, way.project, last.log)
        shelf.follow(way.remote, last.slot)
        needs = _needs(way, shelf)
        if damaged is None and read_all:
            tell = telling(way.progress, "check")
            damaged = find_damaged(way.root, shelf, needs.blobs, shelf.known.manifests, tell)
            indexes = shelf.damaged_indexes()
        elif damaged is None:
            damaged = find_damaged_among(way.root, shelf, doubted)
        sizes = shelf.sizes()
        moved = moved.plus(Moved(lists=shelf.restore_indexes(sizes, indexes)))
        indexes = set()
        lost = find_lost(shelf, sizes, needs.blobs, damaged)
        lists = _plan_lists(way.root, shelf.known, lost.lists, needs.manifests)
        for name in lists.whole:
            shelf.put_manifests(name, [_full(way.root, digest) for digest in _digests(shelf.known, [name])])
        moved = moved.plus(Moved(lists=len(lists.whole)))
        # They are whole now, should the rest be done once more.
        damaged.lists.difference_update(lists.whole)
        sent, blobs = _send(way, shelf, [_full(way.root, digest) for digest in lists.apart], lost.blobs)
        gone = set(lost.blobs).difference(blobs)
        # Where some of that may be in them, whoever has it says so.
        absent = set() if gone else _absent(shelf, sizes)
        if sent != NOTHING or lists.swept or absent:
            ops = [_sweep(way, shelf, [*lists.swept, *sorted(absent)], blobs)] if lists.swept or absent else []
            slot = claim_next(way, last, [[encode_op(op)] for op in ops], sent)
            if slot is None:
                continue
            shelf.note(slot)
            shelf.save()
            size = sum(needs.blobs[digest] for digest in blobs)
            moved = moved.plus(counted([slot])).plus(Moved(blobs=len(blobs), bytes=size, lists=len(sent.manifests)))
        return Again(moved, *_what_is_gone(way, needs, gone))
    message = f"{_TRIES} times in a row others wrote to {way.place} first: repeat later"
    raise Conflict(message, code="busy")


def _absent(shelf: DepotShelf, sizes: Mapping[str, int]) -> set[str]:
    """The packs and large blobs that are not there any more, as ops call them, needed or not."""
    files = {f"packs/{name}": f"packs/{name}.tar" for name in shelf.known.packs}
    files |= {f"blobs/{name}": f"blobs/{name}" for name in shelf.known.blobs.values()}
    # A listing may be old.
    return {name for name, file in files.items() if shelf.called(file) not in sizes and shelf.size(file) is None}


def _sweep(way: Way, shelf: DepotShelf, objects: Sequence[str], sent: Sequence[Digest]) -> Sweep:
    """What says that objects are gone, so that nobody takes a blob for there since it was in one of them."""
    shelf.forget(set(objects))
    without = without_blobs(way, shelf, sent=sent)
    return Sweep(at_us=now_us(), nonce=nonce(), objects=list(objects), kept=[], manifests=without)


def _send_to_server(way: Way) -> Again:
    """A server says itself what it lacks, and takes it for the versions that it has."""
    with contextlib.suppress(Corrupt):
        # What others have ended since is not lost.
        pull(way)
    last = way.followed
    assert last is not None
    shelf = way.shelf(last.log)
    needs = _needs(way, None)
    # What is only awaited here is not lost there.
    needs = needs._replace(unread=set(shelf.lacks_manifests(needs.unread)) if needs.unread else set())
    lost = shelf.lacks_blobs(needs.blobs)
    _sent, blobs = _send(way, shelf, [], lost)
    moved = Moved(blobs=len(blobs), bytes=sum(needs.blobs[digest] for digest in blobs))
    return Again(moved, *_what_is_gone(way, needs, set(lost).difference(blobs)))


class _Needs(NamedTuple):
    """What accepted versions need."""

    manifests: set[Digest]
    unread: set[Digest]
    """Those of them that are neither here nor there."""
    blobs: dict[Digest, int]
    """With their sizes."""


def _needs(way: Way, shelf: DepotShelf | None) -> _Needs:
    root = way.root
    manifests = set(map(Digest.parse, wanted(root, way.project).manifests))
    for digest in manifests if shelf is not None else ():
        assert shelf is not None
        with contextlib.suppress(MissingObject, Corrupt):
            read_lists(root, way.place, shelf, digest)
    here = {digest for digest in manifests if root.manifests.find(digest) is not None}
    blobs = {Digest(blob): size for blob, size in blobs_of(root, here).items()}
    return _Needs(manifests, manifests - here, blobs)


class _Lists(NamedTuple):
    """What becomes of lost objects with lists of files."""

    whole: list[str]
    """Put again as they were."""
    apart: list[Digest]
    """Manifests that come into another object."""
    swept: list[str]
    """Objects, as ops call them, that are gone for good."""


def _plan_lists(root: Root, known: Known, lost: Sequence[str], needed: set[Digest]) -> _Lists:
    def is_here(digest: Digest) -> bool:
        return root.manifests.find(digest) is not None

    whole = [name for name in lost if all(map(is_here, _digests(known, [name])))]
    unreadable = set(lost).difference(whole)
    while True:
        held = set(_digests(known, known.manifests.keys() - unreadable))
        absent = {str(each) for each in _digests(known, unreadable) if each not in held and not is_here(each)}
        more = {name for name, bases in known.bases.items() if not absent.isdisjoint(bases)} - unreadable
        if not more:
            break
        # What is a difference to something that is nowhere cannot be read either.
        unreadable |= more
    # Also what no object has: one that had it was swept, as by whoever found it gone and was killed then.
    apart = {each for each in needed - held if is_here(each)}
    again = [
        name for name in sorted(unreadable) if apart.issuperset(needed.intersection(_digests(known, [name])) - held)
    ]
    return _Lists(whole, sorted(apart), [f"manifests/{name}" for name in again])


def _digests(known: Known, names: Iterable[str]) -> list[Digest]:
    return [Digest.parse(digest) for name in names for digest in known.manifests[name]]


def _full(root: Root, digest: Digest) -> Encoding:
    return encode_full(digest, (entry.line() for entry in root.manifests.entries(digest)))


def _send(way: Way, shelf: Shelf, lists: Sequence[Encoding], lost: Sequence[Digest]) -> tuple[Sent, list[Digest]]:
    """Send these, as far as they are whole here; answers what was sent, and which of the blobs."""
    stored = way.root.blobs
    # Another remote may have what was evicted here.
    with contextlib.suppress(ArtstoreError):
        stored.bring(lost)
    here = stored.locate(list(lost))
    blobs = [digest for digest in lost if digest in here]
    while lists or blobs:
        try:
            return shelf.send(way.root, way.session, lists, blobs, telling(way.progress, "push")), blobs
        except Corrupt as error:
            there = stored.locate(blobs)
            whole = [digest for digest in blobs if digest in there and judge(there[digest]) == "whole"]
            if error.code not in UNREADABLE or len(whole) == len(blobs):
                raise
            blobs = whole
    return NOTHING, []


def _what_is_gone(way: Way, needs: _Needs, gone: set[Digest]) -> tuple[list[Skipped], Corrupt | None]:
    if not gone and not needs.unread:
        return [], None
    root = way.root
    said = dict.fromkeys(gone, "its bytes are not here either")
    whose = set(needs.unread)
    lost = [
        Skipped(path=called(root, way.project, digest), reason="its list of files is not here either")
        for digest in sorted(needs.unread)
    ]
    here = needs.manifests - needs.unread
    for digest in sorted(here) if gone else ():
        # Those that have it from there too are not looked for: there may be thousands.
        if not gone.isdisjoint(map(Digest, new_blobs_of(root, digest, here))):
            whose.add(digest)
            lost += lost_files(root, way.project, digest, said)
    problems = [Problem(each.path, each.reason) for each in lost]
    others = _senders(way, whose)
    by = f" (it was sent by store {', '.join(others)}, as `artstore status` calls it there)" if others else ""
    message = (
        f"some of what {way.place} has lost cannot be sent again from here: {named(problems)}. Run `artstore remote "
        f"recover` in a store that has it{by}; or put the same bytes again here, or run `artstore repair PATH`, and "
        "repeat"
    )
    return lost, Corrupt(message, code="blob-missing", problems=problems)


def _senders(way: Way, manifests: set[Digest]) -> list[str]:
    """Ids of the other stores that sent versions with these."""
    project = way.root.catalog.project(way.project)
    assert project is not None
    texts = set(map(str, manifests))
    found = senders(history(way.root, project).slots, lambda body: manifest_of(decode_op(body)) in texts)
    return sorted(found - {way.root.format.store_id})
