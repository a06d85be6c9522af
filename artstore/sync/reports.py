"""Reports: what was moved between a store and a remote, or would be."""

from __future__ import annotations

from typing import Literal

import msgspec

from artstore.lifecycle.reports import Skipped


class Moved(msgspec.Struct, frozen=True, kw_only=True):
    """What went one way."""

    slots: int = 0
    ops: int = 0
    versions: int = 0
    blobs: int = 0
    bytes: int = 0
    """Of the blobs."""
    saved_bytes: int = 0
    """Those of them that had not to be sent, since the other side had them in blobs that these are changed from."""
    lists: int = 0
    """Objects with lists of files, and indexes, that a depot had lost and has again."""
    dropped_slots: int = 0
    """Slots that nobody could read, and that were taken away there."""

    def plus(self, other: Moved) -> Moved:
        """The sum of two."""
        return Moved(
            slots=self.slots + other.slots,
            ops=self.ops + other.ops,
            versions=self.versions + other.versions,
            blobs=self.blobs + other.blobs,
            bytes=self.bytes + other.bytes,
            saved_bytes=self.saved_bytes + other.saved_bytes,
            lists=self.lists + other.lists,
            dropped_slots=self.dropped_slots + other.dropped_slots,
        )


class Stays(msgspec.Struct, frozen=True, kw_only=True):
    """What is not pushed to a remote, since that was noted for other collections."""

    collections: list[str]
    """As `project/collection`; those of which something waits."""
    versions: int
    parts: int


class ProjectReport(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one project."""

    project: str
    pulled: Moved
    pushed: Moved
    conflicts: int = 0
    """Own changes that change nothing, since somebody else was faster; they are not sent."""
    error: str | None = None
    """Why it stopped; what was moved before stays moved."""
    code: str | None = None
    exit_code: int = 0
    lost: list[Skipped] = []
    """Files whose bytes were to be brought and cannot be had, as `cats:v3/a/b`, and why.

    Those of what waits for a decision, as `conflict 3f2a91c07b44/a/b`, are no error.
    """


class SyncReport(msgspec.Struct, frozen=True, kw_only=True):
    """What was moved, project by project."""

    remote: str
    verb: Literal["push", "pull", "sync"]
    dry_run: bool
    projects: list[ProjectReport]
    seconds: float
    stays: Stays | None = None
    """What waits here and is of no collection that the remote was noted for; None where it was noted for all."""


class FollowReport(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a round of a store that keeps up with its upstream, where that is any news."""

    at: float
    """UTC seconds."""
    moved: SyncReport | None = None
    """What was moved; or a round in which a project stopped."""
    notice: str | None = None
    """Why nothing can be moved for now, or that it can be again."""
    code: str | None = None
    """Of the error that this is, if it is one."""


class CollectedProject(msgspec.Struct, frozen=True, kw_only=True):
    """What became of the objects of one project in a depot, or would."""

    project: str
    condemned: int = 0
    """Objects that nothing needs, which go when the grace is over."""
    condemned_bytes: int = 0
    waiting: int = 0
    """Objects that are condemned, and whose grace is not over."""
    due_at: float | None = None
    """When it is over for all of them, in UTC seconds."""
    swept: int = 0
    """Objects that were removed."""
    freed_bytes: int = 0
    kept: int = 0
    """Objects that were condemned, and are needed again."""
    joined: int = 0
    """Small packs that were condemned since larger ones have their bytes now."""
    missing: int = 0
    """Objects and blobs that versions need, and that are not there: `artstore remote recover` puts them back."""
    error: str | None = None
    """Why it stopped; what was freed before stays freed."""
    code: str | None = None
    exit_code: int = 0


class RemoteGcReport(msgspec.Struct, frozen=True, kw_only=True):
    """What was freed in a depot, project by project."""

    remote: str
    dry_run: bool
    projects: list[CollectedProject]
    leftovers: int
    """Pieces of objects that killed writers left half written, which were removed."""
    seconds: float


class RemoteStanding(msgspec.Struct, frozen=True, kw_only=True):
    """How it is with a remote, as the last attempts found it."""

    name: str
    url: str
    upstream: bool
    background: bool
    """Whether what is committed is pushed to it without being asked."""
    followed: bool
    """Whether a process keeps up with it just now."""
    pending_ops: int
    """Ops of all projects that it has not accepted; 0 for any other than the upstream."""
    waiting_versions: int
    """Versions that are still to be sent; 0 for any other than the upstream."""
    waiting_parts: int
    """Parts of versions that nobody has finished, in the same way."""
    waiting_bytes: int
    """Their logical size."""
    stays: Stays | None = None
    """What waits here and is of no collection that it was noted for; None where it was noted for all."""
    succeeded_at: float | None = None
    failed_at: float | None = None
    """When the last attempt failed, if it did."""
    failure: str | None = None
    """Why the last attempt failed, or what of it; None where all went well."""
    unreachable_since: float | None = None
    """When it was missed first; None where it was reached at the last attempt, or never tried."""


class RemoteInfo(msgspec.Struct, frozen=True, kw_only=True):
    """A remote as it is noted."""

    name: str
    url: str
    upstream: bool
    background: bool = False
    """Whether what is committed is pushed to it without being asked."""
    only: list[str] = []
    """The collections that are pushed to it, as `project/collection`; all, if none is named."""
    unknown: list[str] = []
    """Those of them that are not there yet: the first of such a name is one of them."""
    stays: Stays | None = None
    """What waits here and is of none of them; None where all go."""
    read_only: bool = False
    """Whether its token may only read there, as was found out when it was noted."""
    moved_from: str | None = None
    """The address of the upstream whose place it took, since what that had is here."""


class CarriedProject(msgspec.Struct, frozen=True, kw_only=True):
    """What a bundle carries of one project."""

    project: str
    log: str
    """Id of the log."""
    first_slot: int
    """The slots that are carried; behind `last_slot`, if none is."""
    last_slot: int
    ops: int
    versions: int
    """In the slots, and offered."""
    offers: int
    """Ops that no upstream has accepted yet."""
    blobs: int
    bytes: int
    """Of the blobs."""


class BundleReport(msgspec.Struct, frozen=True, kw_only=True):
    """A bundle that was made, or looked at."""

    files: list[str]
    """Their paths, in order; none where there was nothing to carry."""
    bytes: int
    """Of all files."""
    store: str
    """Id of the store that made it."""
    made_at: float
    """UTC seconds, by that machine's clock."""
    projects: list[CarriedProject]
    left: list[Skipped] = []
    """When it was made: versions whose bytes, or which themselves, were left out, as `project/cats:v3`, and why."""


class TakenProject(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one project of a bundle."""

    project: str
    taken: Moved
    """From slots of the log."""
    offered: Moved
    """From what no upstream has accepted."""
    void: int = 0
    """Offered ops that would have changed nothing here, since others were faster; their store keeps them."""
    error: str | None = None
    """Why it was not taken."""
    code: str | None = None
    exit_code: int = 0


class ApplyReport(msgspec.Struct, frozen=True, kw_only=True):
    """What was taken from a bundle."""

    store: str
    """Id of the store that made it."""
    blobs: int
    bytes: int
    """Of the blobs."""
    projects: list[TakenProject]
    seconds: float


class ExplainedBlob(msgspec.Struct, frozen=True, kw_only=True):
    """A file of a version, and what a push would do with its bytes."""

    path: str
    digest: str
    size: int
    is_sent: bool
    sent_bytes: int
    """As many as are sent of it: less than all where it is changed from a file that is there."""
    why: str


class ExplainReport(msgspec.Struct, frozen=True, kw_only=True):
    """What a push of a version would send."""

    ref: str
    """`project/cats:v3`."""
    remote: str
    url: str
    is_there: bool
    """Whether the version is there already."""
    blobs: list[ExplainedBlob]
    bytes: int
    """Of all files."""
    sent_bytes: int


class EvictReport(msgspec.Struct, frozen=True, kw_only=True):
    """What was freed here, since a remote has it."""

    dry_run: bool
    versions: list[str]
    """`project/cats:v3`, whose bytes may be missing here from now on."""
    blobs: int
    bytes: int
    """Of the blobs that were freed."""
    kept_blobs: int
    """Blobs that no remote has shown to have."""
    held_blobs: int
    """Blobs of the versions that were named which something else needs, whose bytes have to be here."""
    held_by: list[str]
    """The first of the other versions that need them, as `project/dogs:v0`."""
    held_deleted: list[str]
    """The first of those that were deleted elsewhere and are kept here, and need them; with `held_by` empty where it is
    what waits."""
    stored_bytes: int
    """What the store has now."""
    seconds: float
