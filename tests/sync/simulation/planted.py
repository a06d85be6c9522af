"""Planted bugs: production code with one thing wrong. A simulation that lets one live is not worth its time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest

from artstore.errors import ArtstoreError
from artstore.lifecycle import commit, delete, upstream
from artstore.lifecycle.commit import nonce, now_us
from artstore.model import fold
from artstore.model.parts import part_of
from artstore.model.records import Delete, MoveAlias, Relog, decode_op
from artstore.server import serving
from artstore.storage import journal, marking
from artstore.storage.journal import Journal, Waiting
from artstore.sync import depot, evict, pull, push, shelf
from artstore.sync.hosting import tokens
from artstore.sync.upload import Upload
from tests.sync.simulation.run import live

RULES: Final[dict[Any, Any]] = fold._RULES
_NO_MANIFEST: Final = "\nSELECT manifest FROM op WHERE 0 "
Plant = Callable[[pytest.MonkeyPatch], None]


def no_bytes_are_sent(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Upload, "send_blobs", lambda _self, _digests: None)


def what_a_remote_has_is_guessed(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(shelf.DepotShelf, "lacks_blobs", lambda _self, _digests: [])


def a_slot_is_taken_from_others(patch: pytest.MonkeyPatch) -> None:
    def claim(self: depot.Depot, project: str, number: int, data: bytes) -> bool:
        name = f"log/{part_of(project)}/{number:012d}"
        if not self._objects.claim(name, data):
            self._objects.remove(name)
            return self._objects.claim(name, data)
        return True

    patch.setattr(depot.Depot, "claim", claim)


def a_slot_counts_before_it_is_claimed(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(depot.Depot, "claim", lambda _self, _project, _number, _data: True)


def what_waits_stays_before_what_was_accepted(patch: pytest.MonkeyPatch) -> None:
    def put_before(self: Journal, accepted: Sequence[Any]) -> None:
        for op in accepted:
            if not self._counts(op.id):
                self._count(op, decode_op(op.body))
            self._run("UPDATE op SET slot = ?2 WHERE project = ?1 AND id = ?3", op.slot, op.id)

    patch.setattr(Journal, "_put_before", put_before)


def clocks_decide(patch: pytest.MonkeyPatch) -> None:
    right = Journal._take

    def take(self: Journal, ops: Sequence[Any]) -> None:
        right(self, sorted(ops, key=lambda op: (-decode_op(op.body).at_us, op.id)))

    patch.setattr(Journal, "_take", take)


def an_alias_moves_from_anywhere(patch: pytest.MonkeyPatch) -> None:
    right = fold._RULES[MoveAlias]

    def move(view: Any, op_id: str, op: Any, position: int) -> Any:
        there = view.alias(op.collection, op.alias)
        before = None if there is None else there.version
        return right(view, op_id, msgspec.structs.replace(op, before=before), position)

    patch.setitem(RULES, MoveAlias, move)


def equal_content_is_another_version(patch: pytest.MonkeyPatch) -> None:
    patch.setitem(
        RULES,
        Relog,
        lambda view, _id, op, position: fold._new_version(view, op.record, op.parts, position),
    )


def what_changes_nothing_is_sent(patch: pytest.MonkeyPatch) -> None:
    def waiting(root: Any, project: str) -> list[Waiting]:
        return [op._replace(void=None) for op in upstream.waiting(root, project)]

    patch.setattr(push, "waiting", waiting)


def what_waits_is_sent_backwards(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(push, "waiting", lambda root, project: upstream.waiting(root, project)[::-1])


def what_was_given_up_counts_on(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Journal, "_dismiss", lambda _self, _ids: None)


def numbers_move_without_a_record(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Journal, "_note_moved", lambda _self, _before: None)


def manifests_are_left_out(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(pull, "take_manifests", lambda *_arguments: [])


def a_slot_is_passed_over(patch: pytest.MonkeyPatch) -> None:
    right = pull.slots_to_take
    patch.setattr(pull, "slots_to_take", lambda slots: right(slots)[: max(1, len(slots) - 1)])


def what_was_received_is_called_lost(patch: pytest.MonkeyPatch) -> None:
    def note(_self: Journal, _ops: Iterable[Any]) -> None:
        pass

    patch.setattr(journal.Journal, "_note_received", note)


def a_commit_is_acknowledged_before_it_is_in_the_log(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(commit, "_link", lambda *_arguments: None)


def a_token_that_has_ended_lets_in(patch: pytest.MonkeyPatch) -> None:
    def find(store: Path, word: str) -> tokens.TokenInfo | None:
        return next((each.info for each in tokens._read(store) if each.hash == tokens._hash(word)), None)

    patch.setattr(serving, "find_token", find)


def what_is_freed_is_not_looked_for_elsewhere(patch: pytest.MonkeyPatch) -> None:
    def proven(_self: object, _versions: object, digests: list[Any], *, read_all: bool) -> set[Any]:
        assert not read_all
        return set(digests)

    patch.setattr(evict._Shelves, "proven", proven)
    patch.setattr(evict._Shelves, "of", lambda _self, versions: {each: [None] for each in versions})


def what_is_forgotten_here_is_deleted_for_all(patch: pytest.MonkeyPatch) -> None:
    def end_of(root: Any, _view: object, version: str, *, everywhere: bool = False) -> Delete:
        assert everywhere in {True, False}
        return Delete(at_us=now_us(), nonce=nonce(), version=version, store=root.format.store_id)

    patch.setattr(delete, "end_of", end_of)


def parts_that_were_gathered_stay(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(fold, "_gather", lambda *_arguments, **_options: [])


def what_was_refused_is_freed(patch: pytest.MonkeyPatch) -> None:
    for name in ("_LIVE", "_OF_REFUSED"):
        patch.setattr(marking, name, getattr(marking, name).replace(marking._OF_REFUSED, _NO_MANIFEST))


PLANTED: Final[tuple[Plant, ...]] = (
    no_bytes_are_sent,
    what_a_remote_has_is_guessed,
    a_slot_is_taken_from_others,
    a_slot_counts_before_it_is_claimed,
    what_waits_stays_before_what_was_accepted,
    clocks_decide,
    an_alias_moves_from_anywhere,
    equal_content_is_another_version,
    what_changes_nothing_is_sent,
    what_waits_is_sent_backwards,
    what_was_given_up_counts_on,
    numbers_move_without_a_record,
    manifests_are_left_out,
    a_slot_is_passed_over,
    what_was_received_is_called_lost,
    a_commit_is_acknowledged_before_it_is_in_the_log,
    a_token_that_has_ended_lets_in,
    what_is_freed_is_not_looked_for_elsewhere,
    what_is_forgotten_here_is_deleted_for_all,
    parts_that_were_gathered_stay,
    what_was_refused_is_freed,
)
FIRST: Final[dict[Plant, int]] = {
    a_slot_is_taken_from_others: 111,
    equal_content_is_another_version: 111,
    what_was_given_up_counts_on: 104,
    a_token_that_has_ended_lets_in: 153,
    what_is_freed_is_not_looked_for_elsewhere: 117,
    parts_that_were_gathered_stay: 125,
    what_was_refused_is_freed: 132,
    what_is_forgotten_here_is_deleted_for_all: 104,
}
"""The first seed that finds one, of those that would take long from 100 on."""
_WORLDS: Final = 40
"""Worlds in which a planted bug has to be found."""


def is_found(plant: Plant, seed: int) -> bool:
    """Whether a world with a planted bug breaks."""
    with pytest.MonkeyPatch.context() as patch:
        plant(patch)
        try:
            live(seed, deeds=60)
        except (AssertionError, ArtstoreError):
            return True
    return False


if __name__ == "__main__":
    for each in PLANTED:
        first = FIRST.get(each, 100)
        if not any(is_found(each, seed) for seed in range(first, first + _WORLDS)):
            print(f"{each.__name__} lives")  # noqa: T201
