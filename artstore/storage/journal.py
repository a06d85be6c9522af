"""The journal of a project in tables: what was written down, and which ops of it count in what order.

`artstore.model.ledger` has the same in memory; here it is over tables, so that a transaction costs what it changes.
Where the upstream puts ops before some that wait, these are taken out of the tables and folded again behind them. What
was void then while it waited, since somebody else had decided otherwise, stays void: it does not come alive because
that one changed his mind, but when it is said again here, or accepted.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple, TypeVar

from artstore.model.digest import Digest
from artstore.model.fold import PASSING, Void, fold, fold_into
from artstore.model.ledger import digest_of_rows
from artstore.model.notes import (
    Accepted,
    AcceptedBefore,
    AcceptNumbers,
    Attached,
    Counted,
    Dismissed,
    Evicted,
    Forget,
    TakenIn,
    decode_line,
)
from artstore.model.records import AnyOp, Create, Rename, brings, decode_op, kind_of, made_by, manifest_of
from artstore.model.state import ROW_KINDS, MemoryState, hash_of_rows
from artstore.storage.catalog import Catalog, FoldView, Project
from artstore.storage.renumbered import Renumbered
from artstore.storage.undo import encode_undo, touched_by, undo

N = TypeVar("N", Accepted, AcceptedBefore, Attached, TakenIn, Evicted)

_WAITS: Final = "slot IS NULL AND dismissed = 0"

_WRITTEN: Final = {
    "project": "head, upstream, slot, slot_head FROM project WHERE id = ?1",
    "log_entry": "seq, digest FROM log_entry WHERE project = ?1 ORDER BY seq",
    "line": "seq, place, op, note FROM line WHERE project = ?1 ORDER BY seq, place",
    "op": "position, id, body, slot, kind, void, version, manifest FROM op WHERE project = ?1 AND dismissed = 0 "
    "ORDER BY position",
    "dismissed": "id, body FROM op WHERE project = ?1 AND dismissed <> 0 ORDER BY id",
    "received": "version FROM received WHERE project = ?1 ORDER BY version",
    "forgotten": "version, awaited FROM forgotten WHERE project = ?1 ORDER BY version",
    "renumbered": "collection, number, version FROM renumbered WHERE project = ?1 ORDER BY collection, number, version",
}
"""The rows that a ledger has too, by its name for them."""


class Waiting(NamedTuple):
    """An op that no upstream has accepted yet."""

    id: str
    body: bytes
    void: str | None
    """Why it changes nothing where it stands, if it does not."""
    version: str | None
    """The version or the part that it brings."""
    seq: int | None
    """The own transaction that it is of; None for an op that came from an earlier upstream."""


class Naming(NamedTuple):
    """An op that gave a name to a collection."""

    id: str
    collection: str
    """Its id, or the second one that it has where it was made twice."""
    is_own: bool
    """Whether it is of a transaction of this store's, and did not come from an upstream."""


class _Laid(NamedTuple):
    """An op that waits, as it lies in the tables."""

    id: str
    body: bytes
    void: str | None
    undo: bytes | None
    """What takes it out of them, if that is known and anything is to be done."""

    @property
    def is_moving(self) -> bool:
        """Whether it can be taken out alone."""
        return self.void is not None or self.undo is not None


class Journal:
    """The journal of one project. What changes it is done inside a write transaction."""

    def __init__(self, catalog: Catalog, project: Project) -> None:
        self._catalog = catalog
        self._project = project.id
        self._view = FoldView(catalog, project.id)
        self._renumbered = Renumbered(catalog, project.id)

    def append(self, seq: int, digest: str, bodies: Iterable[bytes]) -> list[Void]:
        """Take one transaction; answers what was void in it when it came."""
        voids: list[Void] = []
        slots: list[Accepted] = []
        for place, body in enumerate(bodies):
            line = decode_line(body)
            if isinstance(line, Accepted):
                # Together: each that comes before what waits has everything folded again.
                slots.append(line)
                self._run("INSERT INTO line (project, seq, place, note) VALUES (?1, ?2, ?3, ?4)", seq, place, body)
                continue
            self._accept(slots)
            slots.clear()
            if isinstance(line, Attached | Dismissed | Forget | Evicted | TakenIn | AcceptedBefore | AcceptNumbers):
                self._note(line)
                self._run("INSERT INTO line (project, seq, place, note) VALUES (?1, ?2, ?3, ?4)", seq, place, body)
                continue
            op = Counted(str(Digest.of(body)), body, None)
            self._run("INSERT INTO line (project, seq, place, op) VALUES (?1, ?2, ?3, ?4)", seq, place, op.id)
            if not self._counts(op.id):
                # It may be said again after it was given up.
                self._run("DELETE FROM op WHERE project = ?1 AND id = ?2", op.id)
                voids += self._count(op, line)
        self._accept(slots)
        self._run("INSERT INTO log_entry (project, seq, digest) VALUES (?1, ?2, ?3)", seq, digest)
        self._run("UPDATE project SET seq = ?2, head = ?3 WHERE id = ?1", seq, digest)
        return voids

    def fold_again(self) -> None:
        """Make the state anew from the ops that count, whatever the tables say of it."""
        self._fold_anew(self.ops(), self._stuck())

    def transactions(self) -> Iterator[tuple[int, str, list[bytes]]]:
        """Every transaction that was taken: seq, digest, and the bytes of what it held."""
        for seq, digest in self._rows("SELECT seq, digest FROM log_entry WHERE project = ?1 ORDER BY seq"):
            lines = self._rows(
                "SELECT coalesce(note, body) FROM line LEFT JOIN op ON op.project = line.project AND op.id = line.op "
                "WHERE line.project = ?1 AND line.seq = ?2 ORDER BY place",
                seq,
            )
            yield seq, digest, [bytes(body) for (body,) in lines]

    def notes(self) -> list[bytes]:
        """What was written down that is no op, in order."""
        sql = "SELECT note FROM line WHERE project = ?1 AND note IS NOT NULL ORDER BY seq, place"
        return [bytes(note) for (note,) in self._rows(sql)]

    def notes_of(self, kind: type[N]) -> list[N]:
        """What was written down of one kind, in order."""
        tag = f'"op":"{kind.__struct_config__.tag}"'.encode()
        # Most of what is not meant is not even read: a log of many slots is long.
        sql = "SELECT note FROM line WHERE project = ?1 AND instr(note, ?2) ORDER BY seq, place"
        notes = (decode_line(bytes(note)) for (note,) in self._rows(sql, tag))
        return [note for note in notes if isinstance(note, kind)]

    def has(self, id_: str) -> bool:
        """Whether an op was ever taken, be it given up since or not."""
        return bool(self._rows("SELECT 1 FROM op WHERE project = ?1 AND id = ?2", id_))

    def digests(self) -> dict[int, str]:
        """The digest of every transaction that was taken, by seq."""
        return dict(self._rows("SELECT seq, digest FROM log_entry WHERE project = ?1"))

    def ops(self) -> list[Counted]:
        """Every op that counts, in order."""
        rows = self._rows("SELECT id, body, slot FROM op WHERE project = ?1 AND dismissed = 0 ORDER BY position")
        return [Counted(id_, bytes(body), slot) for id_, body, slot in rows]

    def waiting(self) -> list[Waiting]:
        """The ops that no upstream has accepted, in order."""
        rows = self._rows(
            "SELECT id, body, void, version FROM op "
            "WHERE project = ?1 AND slot IS NULL AND dismissed = 0 ORDER BY position"
        )
        if not rows:
            return []
        # One pass over the lines, which no index has by op: one for each op took half a second with 3,000 that wait.
        sql = (
            "SELECT op, min(seq) FROM line WHERE project = ?1 AND op IN "
            "(SELECT id FROM op WHERE project = ?1 AND slot IS NULL AND dismissed = 0) GROUP BY op"
        )
        seqs: dict[str, int] = dict(self._rows(sql))
        return [Waiting(id_, bytes(body), void, version, seqs.get(id_)) for id_, body, void, version in rows]

    def unplaced(self) -> list[tuple[str, bytes]]:
        """The ops that were to make a collection or a version, and wait without a place, with their bytes."""
        rows = self._rows(
            f"SELECT id, body FROM op WHERE project = ?1 AND {_WAITS} AND void IS NOT NULL "
            "AND kind IN ('create', 'commit', 'relog')"
        )
        return [(id_, bytes(body)) for id_, body in rows]

    def received_waiting(self) -> set[str]:
        """The versions and parts that came from a log, be it that of before, and wait for the one that is followed."""
        sql = (
            "SELECT version FROM op WHERE project = ?1 AND slot IS NULL AND dismissed = 0 AND void IS NULL "
            "AND version IN (SELECT version FROM received WHERE project = ?1)"
        )
        return {version for (version,) in self._rows(sql)}

    def naming(self, name: str) -> list[Naming]:
        """The ops that gave this name to a collection, in order, but for those that change nothing."""
        rows = self._rows(
            "SELECT id, body, EXISTS (SELECT 1 FROM line WHERE line.project = op.project AND line.op = op.id) FROM op "
            "WHERE project = ?1 AND kind IN ('create', 'rename') AND void IS NULL AND dismissed = 0 ORDER BY position",
        )
        found: list[Naming] = []
        for id_, body, is_own in rows:
            op = decode_op(bytes(body))
            if isinstance(op, Create | Rename) and op.name == name:
                of = made_by(id_, op) if isinstance(op, Create) else op.collection
                found.append(Naming(id_, of, bool(is_own)))
        return found

    def renumbered(self, collection: str) -> list[tuple[int, str]]:
        """The numbers that versions of a collection have shown here and lost, with the versions, by number."""
        return self._renumbered.of(collection)

    def hash_of_tables(self) -> Digest:
        """One digest for the tables as they stand, equal to that of the same ops folded in memory."""
        return hash_of_rows(row for kind in ROW_KINDS for row in self._view.every(kind))

    def digests_of_tables(self) -> dict[str, Digest]:
        """One digest for each table of what was written down, equal to that of a ledger that took the same."""
        return {table: digest_of_rows(self._rows(f"SELECT {what}")) for table, what in _WRITTEN.items()}

    def state_hash(self) -> Digest:
        """One digest for what the upstream's order makes: equal wherever the same slots were followed.

        Without an upstream everything counts as accepted.
        """
        ops = self.ops()
        if self._has_upstream() and any(op.slot is None for op in ops):
            state = MemoryState()
            accepted = [op for op in ops if op.slot is not None]
            for position, op in enumerate(accepted, start=1):
                fold_into(state, op.id, decode_op(op.body), position)
            return state.hash()
        return self.hash_of_tables()

    def _note(self, note: Attached | Dismissed | Forget | Evicted | TakenIn | AcceptedBefore | AcceptNumbers) -> None:
        if isinstance(note, Attached):
            self._run("UPDATE op SET slot = NULL WHERE project = ?1")
            self._follow_from(note.log, 0, None)
        elif isinstance(note, Dismissed):
            self._dismiss(note.ops)
        elif isinstance(note, Forget):
            if note.forgotten:
                sql = "INSERT OR REPLACE INTO forgotten (project, version, awaited) VALUES (?1, ?2, ?3)"
                self._run(sql, note.version, note.awaited)
            else:
                self._run("DELETE FROM forgotten WHERE project = ?1 AND version = ?2", note.version)
        elif isinstance(note, Evicted):
            for version in note.versions:
                self._run("INSERT OR IGNORE INTO received (project, version) VALUES (?1, ?2)", version)
        elif isinstance(note, AcceptNumbers):
            for collection in note.collections:
                self._renumbered.accept(collection)

    def _accept(self, slots: Sequence[Accepted]) -> None:
        """Let the ops of some slots count before all that waits."""
        if slots:
            self._take([Counted(str(Digest.of(bytes(raw))), bytes(raw), n.slot) for n in slots for raw in n.ops])
            self._follow_from(slots[-1].log, slots[-1].slot, slots[-1].digest)

    def _take(self, ops: Sequence[Counted]) -> None:
        rows = self._rows(f"SELECT id FROM op WHERE project = ?1 AND {_WAITS} ORDER BY position")
        waiting = [id_ for (id_,) in rows]
        # An op counts once, at its first place.
        own = set(waiting)
        new: dict[str, Counted] = {}
        for op in ops:
            if op.id not in new and (op.id in own or not self._counts(op.id)):
                new[op.id] = op
        if list(new) == waiting[: len(new)] and self._stuck().keys().isdisjoint(new):
            # What waited was accepted as it stood: nothing comes to stand elsewhere.
            for op in new.values():
                self._run("UPDATE op SET slot = ?2, undo = NULL WHERE project = ?1 AND id = ?3", op.slot, op.id)
            return
        lines = {id_: decode_op(op.body) for id_, op in new.items()}
        self._note_received({id_: line for id_, line in lines.items() if id_ not in own})
        meant = self._renumbered.meant(lines, may_all_move=bool(waiting))
        for id_ in new:
            # What was given up here, and has been accepted all the same, counts.
            self._run("DELETE FROM op WHERE project = ?1 AND id = ?2 AND dismissed = 1", id_)
        if waiting:
            self._put_before(list(new.values()), self._laid())
        else:
            for id_, op in new.items():
                self._count(op, lines[id_])
        self._renumbered.note_meant(meant)

    def _note_received(self, lines: Mapping[str, AnyOp]) -> None:
        for id_, line in lines.items():
            version = brings(id_, line)
            if version is not None:
                self._run("INSERT OR IGNORE INTO received (project, version) VALUES (?1, ?2)", version)

    def _dismiss(self, ids: Iterable[str]) -> None:
        """Let ops count no more. Their bytes stay, since the journal has them."""
        laid = self._laid()
        for id_ in ids:
            self._run(
                "UPDATE op SET dismissed = 1, undo = NULL, position = (SELECT min(position, 0) - 1 FROM op AS other "
                "WHERE other.project = op.project ORDER BY position LIMIT 1) "
                "WHERE project = ?1 AND id = ?2 AND slot IS NULL AND dismissed = 0",
                id_,
            )
        self._put_before([], laid)

    def _laid(self) -> list[_Laid]:
        sql = f"SELECT id, body, void, undo FROM op WHERE project = ?1 AND {_WAITS} ORDER BY position"
        return [_Laid(id_, bytes(body), *rest) for id_, body, *rest in self._rows(sql)]

    def _put_before(self, accepted: Sequence[Counted], laid: Sequence[_Laid]) -> None:
        """Give accepted ops their places before those that wait, some of which may have been given up.

        `laid` are those that waited until now.
        """
        stuck = self._stuck()
        ids = {op.id for op in accepted}
        still = {id_ for (id_,) in self._rows(f"SELECT id FROM op WHERE project = ?1 AND {_WAITS}")} - ids
        waiting = [Counted(op.id, op.body, None) for op in laid if op.id in still]
        if all(op.is_moving for op in laid):
            kept = [op.undo for op in laid if op.undo is not None]
            before = self._renumbered.shown_of(touched_by(kept))
            for each in reversed(kept):
                undo(self._view, each)
            self._run(f"DELETE FROM op WHERE project = ?1 AND {_WAITS}")
            self._fold([*accepted, *waiting], stuck)
        else:
            before = self._renumbered.shown()
            self._fold_anew([*(op for op in self.ops() if op.slot is not None), *accepted, *waiting], stuck)
        self._renumbered.note(before)

    def _fold_anew(self, order: Sequence[Counted], stuck: Mapping[str, Void]) -> None:
        self._run("DELETE FROM op WHERE project = ?1 AND dismissed = 0")
        self._view.clear()
        self._fold(order, stuck)

    def _fold(self, order: Sequence[Counted], stuck: Mapping[str, Void]) -> None:
        for op in order:
            self._count(op, decode_op(op.body), stuck.get(op.id) if op.slot is None else None)

    def _stuck(self) -> dict[str, Void]:
        """What waits and was void, since somebody else has decided otherwise, and why."""
        sql = f"SELECT id, void FROM op WHERE project = ?1 AND {_WAITS} AND void IS NOT NULL"
        return {id_: Void(reason) for id_, reason in self._rows(sql) if reason not in PASSING}

    def _count(self, op: Counted, line: AnyOp, stuck: Void | None = None) -> list[Void]:
        """Fold an op that comes after all others, if it is not void anyway; answers why it changed nothing, if so."""
        row = self._catalog.one(
            "SELECT coalesce(max(position), 0) FROM op WHERE project = ? AND position > 0", (self._project,)
        )
        assert row is not None
        position = int(row[0]) + 1
        outcome = stuck or fold(self._view, op.id, line, position)
        manifest = manifest_of(line)
        undoing: bytes | None = None
        if not isinstance(outcome, Void):
            if op.slot is None and self._has_upstream():
                undoing = encode_undo(self._view, outcome)
            self._view.apply(outcome)
        self._run(
            "INSERT INTO op (project, position, id, kind, body, void, slot, version, manifest, undo) "
            "VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
            position,
            op.id,
            kind_of(line),
            op.body,
            outcome.reason if isinstance(outcome, Void) else None,
            op.slot,
            brings(op.id, line),
            None if manifest is None else Digest.parse(manifest),
            undoing,
        )
        return [outcome] if isinstance(outcome, Void) else []

    def _counts(self, id_: str) -> bool:
        sql = "SELECT 1 FROM op WHERE project = ? AND id = ? AND dismissed = 0"
        return self._catalog.one(sql, (self._project, id_)) is not None

    def _follow_from(self, log: str | None, slot: int, digest: str | None) -> None:
        self._run("UPDATE project SET upstream = ?2, slot = ?3, slot_head = ?4 WHERE id = ?1", log, slot, digest)

    def _has_upstream(self) -> bool:
        return self._catalog.project_by_id(self._project).upstream is not None

    def _run(self, sql: str, *parameters: object) -> None:
        self._catalog.execute(sql, (self._project, *parameters))

    def _rows(self, sql: str, *parameters: object) -> list[tuple[Any, ...]]:
        return self._catalog.rows(sql, (self._project, *parameters))
