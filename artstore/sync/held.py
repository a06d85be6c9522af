"""Held: what of the waiting ops cannot be sent yet, since bytes or room are missing, and what builds on that.

A slot must not show a version without its bytes, and an op has to come to mean there what it means here. So what stays
is a transaction that needs what is missing or has no room; one that reads or changes what such a one changes, or
changes what it reads; and a version that was deleted since, if its end stays. All else goes, whatever it stands behind;
so does the creation of a collection without the version that it came with, where later ones need it.

A version that some log has accepted has a number that people may have written down. Where it stays, what comes behind
it in its collection stays too, so that a new log comes to the same numbers, once somebody has brought the bytes; unless
somebody says that numbers may change. Numbers of what no log has ever accepted are provisional, and hold nobody up.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import takewhile
from typing import Final, NamedTuple

from artstore.errors import NAMED, ArtstoreError, Corrupt, Invalid, StorageFull
from artstore.lifecycle.before import accepted_by_any, with_others
from artstore.model import records
from artstore.model.digest import Digest
from artstore.model.manifest import blob_of
from artstore.model.records import AnyOp, Commit, DeleteCollection, Part, Relog, decode_op
from artstore.model.state import Version
from artstore.storage.catalog import Project, ProjectView
from artstore.storage.journal import Waiting
from artstore.storage.root import Root

_NAMES: Final = "names"
"""Stands for all names of collections: who frees one, or gives it another meaning, changes what each may mean."""


class Missing(NamedTuple):
    """What is neither here nor there, or has no place there."""

    manifests: frozenset[Digest] = frozenset()
    blobs: frozenset[Digest] = frozenset()
    ops: frozenset[str] = frozenset()
    """Ids of ops that have no place there, themselves or with what they bring."""
    why: ArtstoreError | None = None
    """What was said of the first of them."""

    def __bool__(self) -> bool:
        return bool(self.manifests or self.blobs or self.ops)

    def plus(self, other: Missing) -> Missing:
        """The sum of two."""
        manifests, blobs = self.manifests | other.manifests, self.blobs | other.blobs
        return Missing(manifests, blobs, self.ops | other.ops, self.why or other.why)


class Need(NamedTuple):
    """What has to be there with an op."""

    manifest: Digest | None
    ends: frozenset[str] = frozenset()
    """What the end of the version changes that it brings, which has to come along instead; empty: nothing has to."""
    is_equal: bool = False
    """Whether a version has that manifest, so that none is brought: unless that one was deleted where the op goes."""
    files: int = 0
    """How many the manifest names."""


def need_of(view: ProjectView, op: Waiting) -> Need:
    """What has to be there with an op that waits."""
    if op.version is None:
        return Need(None)
    decoded = decode_op(op.body)
    assert isinstance(decoded, Commit | Relog | Part)
    made = decoded if isinstance(decoded, Part) else decoded.record
    need = Need(Digest.parse(made.manifest), files=made.entries)
    version = view.version(op.version)
    is_gone = (version is None or version.deleted) and view.part(op.version) is None
    if not is_gone:
        return need
    if isinstance(decoded, Relog) and version is None:
        return need._replace(is_equal=True)
    if isinstance(decoded, Commit) and version is None:
        # It has no place, and somebody is to decide what becomes of it.
        return need
    # Its bytes are not needed any more, and it must not be seen without them.
    ends = {f"version {op.version}", f"part {op.version}"}
    return Need(None, frozenset(ends if version is None else {*ends, f"collection {version.collection}"}))


def ends_in_doubt(ops: Iterable[AnyOp], made: Collection[str]) -> set[str]:
    """What of some versions that are made apart goes with the rest of its collection, where nobody needs that.

    It stays where others have come to need one of those that they have, which may have come there from here before it
    was accepted, and nobody else has its bytes then. Of one alone others need nothing but what they have.
    """
    ends = (op for op in ops if isinstance(op, DeleteCollection) and not op.forced)
    return {id_ for op in ends if len(op.versions) > 1 for id_ in op.versions if id_ in made}


def lists_in_doubt(transactions: Iterable[Sequence[Waiting]]) -> list[list[Digest]]:
    """The lists of files of what each of these makes, and what ends with them unless others are faster.

    That is of parts, which others may gather with less, and of what goes with the rest of its collection.
    """
    read = [[(op.version, decode_op(op.body)) for op in ops] for ops in transactions]
    every = [op for ops in read for _made, op in ops]
    doubtful = ends_in_doubt(every, {made for ops in read for made, _op in ops if made is not None})
    doubtful.update(part for op in every if isinstance(op, Commit | Relog) for part in op.parts)
    lists = [[records.manifest_of(op) for made, op in ops if made in doubtful] for ops in read]
    return [[Digest.parse(each) for each in some if each is not None] for some in lists]


class Parted(NamedTuple):
    """What goes and what stays, each in its order."""

    going: list[list[Waiting]]
    staying: list[list[Waiting]]


def parted(
    root: Root, project: Project, transactions: Sequence[list[Waiting]], missing: Missing, *, renumber: bool
) -> Parted:
    """Part transactions in those that go and those that stay.

    What begins with the creation of a collection and stays itself is two: others may need no more of it than that.
    """
    if not missing:
        return Parted(list(transactions), [])
    view = ProjectView(root.catalog, project.id)
    split, creations = _split(root, view, transactions, missing)
    numbered = frozenset[str]() if renumber else accepted_by_any(root.catalog, project)
    touched = [_Touched(view, ops, numbered, renumber=renumber) for ops in split]
    needs = [[need_of(view, op) for op in ops] for ops in split]
    stay = {place for place, ops in enumerate(split) if _is_stuck(root, needs[place], ops, missing)}
    while True:
        stay = _with_what_follows(touched, stay)
        endless = {
            place
            for place, some in enumerate(needs)
            if place not in stay
            and any(not need.ends.isdisjoint(touched[end].writes) for need in some for end in stay if end > place)
        }
        if not endless:
            break
        stay |= endless
    for place in sorted(creations - stay, reverse=True):
        # A collection without any version is made for nobody's sake.
        behind = (touched[later] for later in range(place + 1, len(split)) if later not in stay)
        if not any(each.hangs_on(touched[place]) for each in behind):
            stay.add(place)
    going = [ops for place, ops in enumerate(split) if place not in stay]
    return Parted(going, [split[place] for place in sorted(stay)])


def left_behind(
    root: Root, project: Project, transactions: Sequence[list[Waiting]], missing: Missing, *, renumber: bool
) -> ArtstoreError | None:
    """The error that says what stays here and why; None where nothing does."""
    view = ProjectView(root.catalog, project.id)
    stay = parted(root, project, transactions, missing, renumber=renumber).staying
    stay = [ops for ops in stay if not all(_is_for_its_maker(view, op) for op in ops)]
    if not stay:
        return None
    others = [ops for ops in stay if all(op.version is None for op in ops)]
    changes = sum(any(op.id in missing.ops for op in ops) for ops in others)
    what = called(view, _brought(stay), changes=changes)
    renumbered = _brought(parted(root, project, transactions, missing, renumber=True).staying)
    assert missing.why is not None
    what = what or "what waits for `artstore resolve`"
    message = f"{what} cannot be sent yet: {missing.why.message}"
    if not isinstance(missing.why, StorageFull | Invalid):
        message += _way_out(root, project, stay, missing)
    message += ". What does not build on that is sent"
    if len(renumbered) < len(_brought(stay)):
        message += (
            "; what comes behind it in its collection waits, to keep its numbers: `artstore push --renumber` sends it "
            "under new ones"
        )
    if isinstance(missing.why, StorageFull | Invalid):
        return type(missing.why)(message, code=missing.why.code)
    known = (version for id_ in _brought(stay) if (version := view.version(id_)) is not None)
    first = next((version for version in known if not version.deleted), None)
    if first is not None:
        message += (
            f". Where nobody has these bytes any more, `artstore delete {_reference(project, view, first)}"
            f"{_for_all(root, project, [first.id])}` gives that version up"
        )
    return Corrupt(message, code=missing.why.code if isinstance(missing.why, Corrupt) else "blob-missing")


def _is_for_its_maker(view: ProjectView, op: Waiting) -> bool:
    """Whether an op has no place and brings none but what others made, so that whoever has its bytes can send it."""
    return op.void is not None and (op.version is None or view.is_received(op.version))


def _way_out(root: Root, project: Project, transactions: Iterable[Sequence[Waiting]], missing: Missing) -> str:
    """What can be done about versions whose bytes are missing, among some that stay."""
    view = ProjectView(root.catalog, project.id)
    lacking = [op for ops in transactions for op in ops if _is_stuck(root, [need_of(view, op)], [op], missing)]
    brought = [op.version for op in lacking if op.version is not None]
    versions = [version for id_ in brought if (version := view.version(id_)) is not None]
    ids, names = [each.id for each in versions], [_reference(project, view, each) for each in versions]
    if not names:
        return ", or let a store that has them push first"
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return (
        f", or let a store that has the bytes of {', '.join(names[:NAMED])}{more} push first. If none has, `artstore "
        f"delete {' '.join(names[:NAMED])}{_for_all(root, project, ids[:NAMED])}` lets go of them"
    )


def _for_all(root: Root, project: Project, versions: Sequence[str]) -> str:
    """What has to be said so that versions end which this store's user may only forget."""
    view = ProjectView(root.catalog, project.id)
    return " --everywhere" if with_others(root, project.name, view, versions) else ""


def called(view: ProjectView, ids: Iterable[str | None], *, changes: int = 0) -> str:
    """How to name versions and parts, where there are such, and changes: `cats:v3 and 2 more versions and 1 part`."""
    there = [id_ for id_ in ids if id_ is not None]
    versions = [version for id_ in there if (version := view.version(id_)) is not None]
    parts = sum(view.part(id_) is not None for id_ in there)
    what = [_counted(number, noun) for number, noun in ((parts, "part"), (changes, "change")) if number]
    if versions:
        more = [_counted(len(versions) - 1, "more version")] if len(versions) > 1 else []
        what = [_name(view, versions[0]), *more, *what]
    return " and ".join(what)


def _name(view: ProjectView, version: Version) -> str:
    collection = view.collection(version.collection)
    assert collection is not None
    return f"{collection.name}:v{version.number}"


def _reference(project: Project, view: ProjectView, version: Version) -> str:
    """What a command can call a version, wherever it is run."""
    name = f"{project.name}/{_name(view, version)}"
    if view.moved_from(version.collection, version.number):
        # The number has meant another one here.
        name = f"{name.rpartition(':')[0]}@{version.id}"
    return name


def _brought(transactions: Iterable[Sequence[Waiting]]) -> list[str]:
    """The versions and parts that they bring."""
    return [op.version for ops in transactions for op in ops if op.version is not None]


def _split(
    root: Root, view: ProjectView, transactions: Iterable[list[Waiting]], missing: Missing
) -> tuple[list[list[Waiting]], set[int]]:
    """The transactions, with the creations in front of what stays for itself apart, and the places of these."""
    split: list[list[Waiting]] = []
    creations: set[int] = set()
    for ops in transactions:
        made = list(takewhile(lambda op: isinstance(decode_op(op.body), records.Create), ops))
        rest = ops[len(made) :]
        if made and rest and _is_stuck(root, [need_of(view, op) for op in rest], rest, missing):
            creations.add(len(split))
            split += [made, rest]
        else:
            split.append(ops)
    return split, creations


class _Touched:
    """What a transaction reads and what it changes, each called by a word."""

    def __init__(self, view: ProjectView, ops: Iterable[Waiting], numbered: frozenset[str], *, renumber: bool) -> None:
        self.reads: set[str] = set()
        self.writes: set[str] = set()
        self._view = view
        for op in ops:
            decoded = decode_op(op.body)
            self._take(op.id, decoded)
            counter = None if renumber else self._counter(decoded)
            if counter is not None:
                (self.writes if op.id in numbered else self.reads).add(counter)

    def hangs_on(self, other: _Touched) -> bool:
        """Whether it means something else before another one than behind it."""
        return self.collides(other.reads, other.writes)

    def collides(self, reads: set[str], writes: set[str]) -> bool:
        """Whether it could not change places with what reads and writes this."""
        is_free = self.writes.isdisjoint(reads) and self.writes.isdisjoint(writes) and self.reads.isdisjoint(writes)
        return not is_free

    def _counter(self, op: AnyOp) -> str | None:
        """What an op takes a number from."""
        if isinstance(op, records.Commit | records.Relog):
            return f"numbers {self._canonical(op.record.collection)}"
        return f"numbers {self._canonical(op.portfolio)}" if isinstance(op, records.Link) else None

    def _take(self, id_: str, op: AnyOp) -> None:
        reads, writes = self.reads, self.writes
        if isinstance(op, records.Create):
            made = records.made_by(id_, op)
            is_first = self._canonical(made) == made
            writes.add(f"collection {made}")
            reads.update((_NAMES, *(() if is_first else self._collection(made))))
            (writes if is_first else reads).add(f"name {op.name}")
        elif isinstance(op, records.Rename):
            reads.update(self._collection(op.collection))
            writes.update((_NAMES, f"name {op.name}"))
        elif isinstance(op, records.Retype | records.DeleteCollection):
            writes.update((_NAMES, *self._collection(op.collection)))
        elif isinstance(op, records.Commit | records.Relog):
            reads.update(self._collection(op.record.collection))
            reads.update(f"run {run}" for run in filter(None, [op.record.run]))
            reads.update({f"version {op.target}"} if isinstance(op, records.Relog) else ())
            writes.update((f"version {op.record.id}", *(f"part {part}" for part in op.parts)))
        elif isinstance(op, records.Part | records.DropPart):
            writes.add(f"part {id_ if isinstance(op, records.Part) else op.part}")
        elif isinstance(op, records.Link | records.Unlink):
            # The version may be one that is not there.
            reads.update(self._collection(op.portfolio))
            portfolio = self._canonical(op.portfolio)
            writes.add(f"link {portfolio} {op.version}")
            writes.update({f"aliases {portfolio}"} if isinstance(op, records.Unlink) else ())
        elif isinstance(op, records.StartRun | records.EditRun | records.FinishRun):
            writes.add(f"run {op.run}")
        elif isinstance(op, records.Use):
            reads.add(f"run {op.run}")
        else:
            self._take_label(op)

    def _take_label(self, op: AnyOp) -> None:
        """What is said of a collection or a version, or that it is no more."""
        reads, writes = self.reads, self.writes
        if isinstance(op, records.MoveAlias):
            aliases = f"aliases {self._canonical(op.collection)}"
            reads.update((aliases, *self._collection(op.collection), *self._version(op.version)))
            writes.add(f"alias {self._canonical(op.collection)} {op.alias}")
        elif isinstance(op, records.SetTag | records.Describe):
            reads.update((self._collection if op.kind == "collection" else self._version)(op.target))
            writes.add(f"{op.tag if isinstance(op, records.SetTag) else 'words'} of {op.target}")
        elif isinstance(op, records.EditMetadata | records.SetTtl):
            reads.update(self._version(op.version))
            writes.add(f"{'metadata' if isinstance(op, records.EditMetadata) else 'ttl'} of {op.version}")
        elif isinstance(op, records.Delete):
            writes.add(f"version {op.version}")
            reads.update(self._version(op.version))
            version = self._view.version(op.version)
            writes.update(() if version is None else {f"aliases {version.collection}"})

    def _canonical(self, id_: str) -> str:
        collection = self._view.collection(id_)
        return id_ if collection is None else collection.id

    def _collection(self, id_: str) -> Iterator[str]:
        """A collection, by the op that it is called after and by the one that made it."""
        yield from (f"collection {id_}", f"collection {self._canonical(id_)}")

    def _version(self, id_: str | None) -> Iterator[str]:
        """A version, and the collection that it goes with."""
        if id_ is not None:
            yield f"version {id_}"
            version = self._view.version(id_)
            yield from () if version is None else self._collection(version.collection)


def _with_what_follows(touched: Sequence[_Touched], stay: set[int]) -> set[int]:
    """Those that stay, and those behind one that could not change places with it."""
    reads: set[str] = set()
    writes: set[str] = set()
    found: set[int] = set()
    for place, each in enumerate(touched):
        if place in stay or each.collides(reads, writes):
            found.add(place)
            reads |= each.reads
            writes |= each.writes
    return found


def _is_stuck(root: Root, needs: Iterable[Need], ops: Iterable[Waiting], missing: Missing) -> bool:
    if any(op.id in missing.ops for op in ops):
        return True
    for need in needs:
        if need.manifest is None:
            continue
        if need.manifest in missing.manifests:
            return True
        if missing.blobs and root.manifests.find(need.manifest) is not None:
            entries = root.manifests.entries(need.manifest)
            if any((blob := blob_of(entry)) is not None and blob.digest in missing.blobs for entry in entries):
                return True
    return False


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
