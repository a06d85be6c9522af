"""Plants of what is lost: bugs that nobody notices while no disk fails or fills, each put into production code."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest

from artstore.storage import gather, intake, oplog
from artstore.sync import recover, send_again
from artstore.sync.depots.lost import Damaged, find_lost
from artstore.sync.hosting import quotas
from artstore.sync.mirrors import free
from artstore.sync.objects import folder
from artstore.sync.reports import Moved


def names_of_the_log_are_not_synced(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(oplog, "sync_directory", lambda _folder: None)


def bytes_of_packs_are_not_synced(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(gather, "sync_file", lambda _fd: None)


def bytes_of_large_blobs_are_not_synced(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(intake, "sync_file", lambda _fd: None)


def names_in_a_depot_are_not_synced(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(folder, "_sync_folder", lambda _fd: None)


def bytes_in_a_depot_are_not_synced(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(folder, "sync_file", lambda _fd: None)


def lost_slots_are_not_put_back(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(recover, "put_back", lambda _way: Moved())


def damage_is_not_looked_for(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(send_again, "find_damaged", lambda *_arguments: Damaged({}, set()))


def what_is_lost_counts_as_there(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(send_again, "find_lost", lambda *arguments: find_lost(*arguments)._replace(blobs=[]))


def what_was_freed_counts_on(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(quotas.Quotas, "_take_back", lambda _self, _project: None)


def what_has_come_counts_as_still_coming(patch: pytest.MonkeyPatch) -> None:
    right = quotas.Quotas.reserved
    entered = []

    @contextlib.contextmanager
    def reserved(self: quotas.Quotas, *arguments: object, **options: object) -> Iterator[None]:
        # Left when it is forgotten, else.
        entered.append(right(self, *arguments, **options))  # type: ignore[arg-type]
        entered[-1].__enter__()
        yield

    patch.setattr(quotas.Quotas, "reserved", reserved)


def what_waits_in_a_mirror_counts_for_nothing(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(free._Work, "_waiting", lambda _self, _told: [])
