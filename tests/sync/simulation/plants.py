"""Plants: bugs of what is done on one machine, and of the fold, each put into production code by a patch."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec
import pytest

from artstore.lifecycle import commit, upstream
from artstore.model import fold
from artstore.model.records import MoveAlias, Relog, StartRun, decode_op
from artstore.storage import journal, marking
from artstore.storage.journal import Journal, Waiting
from artstore.storage.renumbered import Renumbered
from artstore.sync import pull, push, remotes

RULES: Final[dict[Any, Any]] = fold._RULES
_NO_MANIFEST: Final = "\nSELECT manifest FROM op WHERE 0 "


def what_waits_stays_before_what_was_accepted(patch: pytest.MonkeyPatch) -> None:
    def put_before(self: Journal, accepted: Sequence[Any], _laid: object) -> None:
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
    patch.setattr(Renumbered, "note", lambda *_arguments: None)


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


def what_is_forgotten_here_is_deleted_for_all(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(upstream, "with_others", lambda *_arguments: frozenset())


def parts_that_were_gathered_stay(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(fold, "_gather", lambda *_arguments, **_options: [])


def only_is_not_heeded(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(remotes.Settings, "chosen", lambda _self, _project: None)


def a_part_is_gathered_twice(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(fold, "_lacks_a_part", lambda *_arguments: False)


def what_was_refused_is_freed(patch: pytest.MonkeyPatch) -> None:
    for name in ("_LIVE", "_OF_REFUSED"):
        patch.setattr(marking, name, getattr(marking, name).replace(marking._OF_REFUSED, _NO_MANIFEST))


def what_is_said_of_a_run_is_written_over(patch: pytest.MonkeyPatch) -> None:
    right = fold._RULES[StartRun]

    def start(view: Any, op_id: str, op: Any, position: int) -> Any:
        return right(view, op_id, op if op.after else msgspec.structs.replace(op, after=op_id), position)

    patch.setitem(RULES, StartRun, start)
