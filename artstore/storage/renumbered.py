"""Renumbered: which numbers versions and links have shown here and lost, until somebody says that it is known."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from artstore.model.records import AnyOp, Create, DeleteCollection, Rename, decode_op, made_by
from artstore.model.state import Membership, Synonym
from artstore.storage.catalog import Catalog, FoldView
from artstore.storage.undo import Touched


class Shown(NamedTuple):
    """What some numbers of a project mean at a moment."""

    places: dict[tuple[str, str], tuple[str, int]]
    """By the ids of a version and, for a link, of its portfolio: the id of the collection or portfolio, and the number
    in it."""
    names: dict[str, str]
    """Of the collections, by their ids."""
    second: dict[str, str]
    """Of the collections that were made twice, by their second ids the first ones."""


class Meant(NamedTuple):
    """What the numbers by some name mean at a moment, or meant when a collection had it last."""

    collection: str
    """The one that has the name, or had it last."""
    numbers: list[tuple[int, str]]
    """Of the versions, or the links to them, that have or had one in it, with their ids."""


class Renumbered:
    """These numbers of one project, in tables. What changes them is done inside a write transaction."""

    def __init__(self, catalog: Catalog, project: int) -> None:
        self._catalog = catalog
        self._project = project
        self._view = FoldView(catalog, project)

    def of(self, collection: str) -> list[tuple[int, str]]:
        """The numbers of a collection, with the versions, by number."""
        sql = "SELECT number, version FROM renumbered WHERE project = ?1 AND collection = ?2 ORDER BY number, version"
        return [(number, version) for number, version in self._rows(sql, collection)]

    def accept(self, collection: str) -> None:
        """Somebody knows of those of a collection."""
        self._run("DELETE FROM renumbered WHERE project = ?1 AND collection = ?2", collection)

    def shown(self) -> Shown:
        """What all numbers mean as the tables stand."""
        places = self._places("1", "1")
        return self._with_names(places, {row.id: row.collection for row in self._view.all(Synonym)})

    def shown_of(self, touched: Touched) -> Shown:
        """The same of those numbers that may mean something else when what waits is folded again.

        `touched` is what that has made or changed. What it calls a collection, or has made it by, may come to be
        another one, with whatever is in this one.
        """
        second = {row.id: row.collection for id_ in touched.synonyms for row in self._view.all(Synonym, "id = ?", id_)}
        named = [self._view.collection_named(rename.name) for rename in self._renames("1")]
        places = self._places("version.id IN (SELECT value FROM json_each(?2))", "0", _listed(touched.versions))
        for id_ in {*second.values(), *(each.id for each in named if each is not None)}:
            places |= self._places("version.collection = ?2", "portfolio = ?2", id_)
        for portfolio, version in touched.links:
            link = self._view.membership(portfolio, version)
            if link is not None:
                places[version, portfolio] = (portfolio, link.number)
        return self._with_names(places, second)

    def note(self, before: Shown) -> None:
        """Remember which of these numbers mean something else now.

        What has no place any more, or not the name that was given here, had it in the collection of that name now. So
        had all that was called by a name which that of a collection is now that was made here too.
        """
        # What was made twice apart may have come to be the other one's.
        self._run(
            "UPDATE OR REPLACE renumbered SET collection = (SELECT synonym.collection FROM synonym "
            "WHERE synonym.project = ?1 AND synonym.id = renumbered.collection) "
            "WHERE project = ?1 AND collection IN (SELECT id FROM synonym WHERE synonym.project = ?1)"
        )
        standing = {name: self._standing(name) for name in before.names.values()}
        for id_, first in before.second.items():
            if id_ == standing.get(before.names.get(first, "")):
                # Or one of its own again, since that one has another name.
                sql = "UPDATE OR REPLACE renumbered SET collection = ?2 WHERE project = ?1 AND collection = ?3"
                self._run(sql, id_, first)
        versions = _listed(id_ for id_, portfolio in before.places if not portfolio)
        after = self._places("version.id IN (SELECT value FROM json_each(?2))", "0", versions)
        taken = self._names_taken()
        refused = {op.version for op in self._view.waiting_links()}
        for (id_, portfolio), (collection, number) in before.places.items():
            name = before.names.get(collection, "")
            named = standing.get(name)
            now = self._place_of_link(id_, portfolio, named) if portfolio else after.get((id_, ""))
            if portfolio and now is None and id_ not in refused:
                # Somebody has taken it out, and its number is not used again.
                continue
            is_lost = now is None or (now[0], name) in taken or before.second.get(named or "") == collection
            self._lose(id_, number, [named if is_lost else None, None if now is None else now[0]], now)
        # One that has its number back means what it meant.
        self._run(
            "DELETE FROM renumbered WHERE project = ?1 AND (EXISTS (SELECT 1 FROM version "
            "WHERE version.project = ?1 AND version.id = renumbered.version "
            "AND version.collection = renumbered.collection AND version.number = renumbered.number) "
            "OR EXISTS (SELECT 1 FROM membership WHERE membership.project = ?1 "
            "AND membership.portfolio = renumbered.collection AND membership.version = renumbered.version "
            "AND membership.number = renumbered.number))"
        )

    def meant(self, ops: Mapping[str, AnyOp], *, may_all_move: bool) -> dict[str, Meant]:
        """What numbers mean by the names that these ops, which come next, give to collections.

        A name that stands is passed over where nothing takes it from its collection, which is nobody but the ops where
        not all may move.
        """
        names = {op.name for op in ops.values() if isinstance(op, Create | Rename)}
        if not names:
            return {}
        may_lose = may_all_move or any(isinstance(op, Rename | DeleteCollection) for op in ops.values())
        standing = {name: there for name in sorted(names) if (there := self._standing(name)) is not None}
        bearers = self._last_bearers(names - standing.keys())
        if may_lose:
            bearers |= standing
        return {name: Meant(of, self._numbers_in(of)) for name, of in bearers.items()}

    def note_meant(self, before: Mapping[str, Meant]) -> None:
        """Remember which of these numbers mean something else, since another collection has the name now."""
        for name, meant in before.items():
            now, of = self._standing(name), self._view.collection(meant.collection)
            if now is None or now == (meant.collection if of is None else of.id):
                continue
            for number, version in meant.numbers:
                own, link = self._view.version(version), self._view.membership(now, version)
                if number not in {
                    None if link is None else link.number,
                    own.number if own is not None and own.collection == now else None,
                }:
                    self._lose(version, number, [now], None)

    def _last_bearers(self, names: Collection[str]) -> dict[str, str]:
        """The collections that had some names last, of those that are there, by name."""
        sql = (
            "SELECT id, body FROM op WHERE project = ?1 AND kind IN ('create', 'rename') AND void IS NULL "
            "AND dismissed = 0 AND json_extract(CAST(body AS TEXT), '$.name') IN (SELECT value FROM json_each(?2)) "
            "ORDER BY position"
        )
        found: dict[str, str] = {}
        for id_, body in self._rows(sql, _listed(names)) if names else ():
            op = decode_op(bytes(body))
            assert isinstance(op, Create | Rename)
            collection = self._view.collection(made_by(id_, op) if isinstance(op, Create) else op.collection)
            if collection is not None:
                found[op.name] = collection.id
        return found

    def _numbers_in(self, collection: str) -> list[tuple[int, str]]:
        places = self._places("collection = ?2", "portfolio = ?2", collection)
        return [*((number, id_) for (id_, _), (_, number) in places.items()), *self.of(collection)]

    def _lose(self, version: str, number: int, collections: Sequence[str | None], now: tuple[str, int] | None) -> None:
        for of in collections:
            if of is not None and now != (of, number):
                sql = "INSERT OR IGNORE INTO renumbered (project, collection, number, version) VALUES (?1, ?2, ?3, ?4)"
                self._run(sql, of, number, version)

    def _standing(self, name: str) -> str | None:
        there = self._view.collection_named(name)
        return None if there is None else there.id

    def _place_of_link(self, version: str, portfolio: str, named: str | None) -> tuple[str, int] | None:
        """Where a link is by now that was in a portfolio; it may have been made twice, or have another name."""
        own = self._view.collection(portfolio)
        among = [portfolio, None if own is None else own.id, named]
        links = (self._view.membership(of, version) for of in among if of is not None)
        found: Membership | None = next((link for link in links if link is not None), None)
        return None if found is None else (found.portfolio, found.number)

    def _places(self, version: str, link: str, *parameters: object) -> dict[tuple[str, str], tuple[str, int]]:
        """The places of the versions and links that fulfil these conditions of SQL."""
        sql = f"SELECT id, collection, number FROM version WHERE project = ?1 AND {version}"
        places = {(id_, ""): (of, number) for id_, of, number in self._rows(sql, *parameters)}
        if link != "0":
            sql = f"SELECT version, portfolio, number FROM membership WHERE project = ?1 AND {link}"
            places |= {(id_, of): (of, number) for id_, of, number in self._rows(sql, *parameters)}
        return places

    def _with_names(self, places: dict[tuple[str, str], tuple[str, int]], second: dict[str, str]) -> Shown:
        ids = {*second.values(), *(collection for collection, _number in places.values())}
        found = [self._view.collection(id_) for id_ in sorted(ids)]
        return Shown(places, {each.id: each.name for each in found if each is not None and not each.deleted}, second)

    def _names_taken(self) -> set[tuple[str, str]]:
        """Collections with the names that were given to them here, and that others had given first."""
        renames = [(self._view.collection(op.collection), op.name) for op in self._renames("void IS NOT NULL")]
        return {(collection.id, name) for collection, name in renames if collection is not None}

    def _renames(self, where: str) -> list[Rename]:
        sql = (
            f"SELECT body FROM op WHERE project = ?1 AND slot IS NULL AND dismissed = 0 AND kind = 'rename' AND {where}"
        )
        ops = [decode_op(bytes(body)) for (body,) in self._rows(sql)]
        return [op for op in ops if isinstance(op, Rename)]

    def _run(self, sql: str, *parameters: object) -> None:
        self._catalog.execute(sql, (self._project, *parameters))

    def _rows(self, sql: str, *parameters: object) -> list[tuple[Any, ...]]:
        return self._catalog.rows(sql, (self._project, *parameters))


def _listed(ids: Iterable[str]) -> str:
    return msgspec.json.encode(list(ids)).decode()
