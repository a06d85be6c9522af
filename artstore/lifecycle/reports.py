"""Reports: what the verbs say they did.

Every value here is frozen and becomes plain lists and dictionaries with msgspec.to_builtins, which is what `--json`
prints. Times are UTC seconds since the epoch (`…_at`) or a length in seconds (`…_s`, `seconds`); sizes are bytes of the
logical content unless a field says otherwise; digests and ids are text, `blake3:<hex>`. Paths inside a version are
POSIX paths, relative to its root.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import msgspec


class LinkInfo(msgspec.Struct, frozen=True, kw_only=True):
    """What a version is in a portfolio."""

    project: str
    collection: str
    """The portfolio's name."""
    number: int
    aliases: list[str]
    linked_at: float
    provisional: bool = False
    """As a version's: whether the number is this store's alone."""

    @property
    def name(self) -> str:
        """`best-cats:v0`."""
        return f"{self.collection}:v{self.number}"

    @property
    def ref(self) -> str:
        """`project/best-cats:v0`."""
        return f"{self.project}/{self.name}"


class VersionInfo(msgspec.Struct, frozen=True, kw_only=True):
    """One version as it stands now: its record, and the labels that edits have given it since."""

    project: str
    collection: str
    type: str
    number: int
    id: str
    """Digest of the version's record, which holds no number."""
    digest: str
    """Digest of the manifest: equal content, equal digest."""
    created_at: float
    updated_at: float
    """When a label of it last changed: an alias, a tag, its description, metadata or time to live."""
    description: str | None = None
    metadata: dict[str, Any]
    aliases: list[str]
    tags: list[str]
    files: int
    bytes: int
    run: str | None = None
    """The id of the run that made it."""
    ttl_s: float | None = None
    """Seconds after `created_at` when `prune` may take it; None is never."""
    state: Literal["committed", "deleted", "forgotten", "absent"] = "committed"
    """Forgotten is what was deleted on this machine alone, and others still have.

    Absent is one whose list of files has not come yet, and what a run or a link names and this store has not: then
    only project, name, id and digest are known."""
    provisional: bool = False
    """Whether the number is this store's alone: the upstream has not accepted it yet."""
    link: LinkInfo | None = None
    """How it is in the portfolio through which it was found; all else is said of the version itself."""

    @property
    def is_link(self) -> bool:
        """Whether it was found through a portfolio."""
        return self.link is not None

    @property
    def name(self) -> str:
        """`cats:v3`."""
        return f"{self.collection}:v{self.number}"

    @property
    def ref(self) -> str:
        """`project/cats:v3`."""
        return f"{self.project}/{self.name}"

    @property
    def exact(self) -> str:
        """The reference that means this version and never another: by its id."""
        return f"{self.project}/{self.collection}@{self.id}"


class AliasedInfo(VersionInfo, frozen=True, kw_only=True):
    """A version to which aliases were moved, and where they stood before."""

    moved_from: dict[str, str]
    """For each that moved the version that it left, as `project/cats:v3`; what is new, or stood here, is not in it."""


class MovedNumber(msgspec.Struct, frozen=True, kw_only=True):
    """A version, or a link to one, that was shown here under a number which somebody else had first."""

    project: str
    collection: str
    """The collection, or the portfolio, where it had the number."""
    before: int
    now: int | None
    """None: it has no place in the upstream's order, and waits for a decision, or it was deleted or taken out since."""
    now_in: str | None
    """The collection in which it is now, or from which it has gone; None: it waits for a decision."""
    id: str

    @property
    def called(self) -> str:
        """What it is called now: `v2`, or `felines:v0` in another collection."""
        if self.now is None:
            return "a conflict" if self.now_in is None else "gone"
        return f"v{self.now}" if self.now_in == self.collection else f"{self.now_in}:v{self.now}"


class FollowInfo(msgspec.Struct, frozen=True, kw_only=True):
    """How far a project follows the log of an upstream."""

    project: str
    log: str
    """Its random id."""
    slot: int
    """The last that is counted here; 0: none yet."""
    pending_ops: int
    """Changes of this store that are still to be sent."""


class ConflictInfo(msgspec.Struct, frozen=True, kw_only=True):
    """A change of this store that changes nothing, since the upstream's order has another one before it."""

    id: str
    """Of the op."""
    project: str
    kind: Literal["alias", "type", "edit"]
    """An alias that somebody else moved; a name that stands for another type; an edit of what is no longer there."""
    what: str
    """In words."""
    reason: str
    made_at: float
    followers: int = 0
    """Further changes that hang on this one, such as the versions of a collection whose name is taken."""


class WatchReport(msgspec.Struct, frozen=True, kw_only=True):
    """What a watch has to tell: a version that it made, or a notice."""

    folder: str
    version: VersionInfo | None = None
    new_bytes: int = 0
    kept_back: list[Skipped] = []
    """Files that were being written or could not be read; in the version they are as they were before, if at all."""
    pruned: int = 0
    """Older versions that were deleted, since so many newer ones are kept."""
    notice: str | None = None


class CollectionInfo(msgspec.Struct, frozen=True, kw_only=True):
    """A named, typed series of versions, or, in a portfolio, of links to versions."""

    project: str
    name: str
    kind: Literal["sequence", "portfolio"]
    type: str
    description: str | None = None
    aliases: list[str]
    """Those that stand on one of its versions; `latest` too."""
    tags: list[str]
    versions: int
    """How many are committed and not deleted; in a portfolio, how many are linked."""
    latest: str | None = None
    """The number that `latest` stands on, as `v3`; None where every version is deleted."""
    bytes: int
    """Logical size of the latest version."""
    created_at: float
    updated_at: float
    state: Literal["committed", "deleted", "forgotten"] = "committed"
    """Forgotten is what was deleted on this machine alone: others still have it, and their next version brings the
    collection back."""


class PartInfo(msgspec.Struct, frozen=True, kw_only=True):
    """What a writer added to a distributed version that nobody has gathered yet."""

    id: str
    project: str
    name: str
    """Of the collection that the version is to be in."""
    type: str
    distributed_id: str
    run: str | None = None
    store: str
    """Id of the store that it was added to."""
    provisional: bool = False
    """Whether only this store has it yet, of a project that follows an upstream."""
    files: int
    bytes: int
    created_at: float


class EntryInfo(msgspec.Struct, frozen=True, kw_only=True):
    """A path in a version: a blob (digest and size), or a reference (uri, and what is known of its target).

    One that has both points to a file of another version, whose bytes are here.
    """

    path: str
    size: int | None = None
    digest: str | None = None
    uri: str | None = None
    checksum: str | None = None
    extra: dict[str, Any] | None = None
    """What is needed to fetch the same state of a reference's target again: the version of an object, the raw ETag."""


class FolderReport(msgspec.Struct, frozen=True, kw_only=True):
    """What is directly in a folder of a version, or a part of that."""

    path: str
    folders: list[str]
    """Names, sorted."""
    files: list[EntryInfo]
    """By path."""
    next: str | None = None
    """`after` for what follows; None where that is nothing."""


class HistoryLine(msgspec.Struct, frozen=True, kw_only=True):
    """A version, and the content that no earlier version of its collection has. A link brings none: None."""

    version: VersionInfo
    new_blobs: int | None
    """Different contents."""
    new_bytes: int | None


class HistoryReport(msgspec.Struct, frozen=True, kw_only=True):
    """A page of a collection's versions, the newest first."""

    lines: list[HistoryLine]
    next: int | None
    """`before` for the page that follows; None where that is nothing."""


class GrowthPoint(msgspec.Struct, frozen=True, kw_only=True):
    """What the versions up to a date hold, all together."""

    at: float
    versions: int
    logical_bytes: int
    """What checking out each of them would write."""
    stored_bytes: int
    """Content, each blob counted once."""


class GrowthReport(msgspec.Struct, frozen=True, kw_only=True):
    """The live versions in the order of their dates; many are drawn together."""

    usage: DuReport
    """What they hold now."""
    points: list[GrowthPoint]


class Skipped(msgspec.Struct, frozen=True, kw_only=True):
    """A source that was left out because the caller allowed it."""

    path: str
    reason: str
    unkeepable: bool = False
    """Whether the source itself is at fault, whoever reads it: a name or a kind of file that no version can hold."""


class PutReport(msgspec.Struct, frozen=True, kw_only=True):
    """What `put` made, or would make."""

    version: VersionInfo | None = None
    """The version that holds this content; on a dry run None, unless the content already is one."""
    made: bool
    """False if the content was already there under that name; on a dry run, whether a version would be made."""
    files: int
    bytes: int
    new_files: int
    """Files whose content the store did not hold before."""
    new_bytes: int
    """Bytes that had to be stored."""
    skipped: list[Skipped]
    empty_directories: int
    """Directories without files, which a version does not keep."""
    warnings: list[str]
    seconds: float
    dry_run: bool


class GetReport(msgspec.Struct, frozen=True, kw_only=True):
    """What a checkout wrote. `written` counts reflinked, hardlinked, copied and fetched files together."""

    version: VersionInfo
    target: str
    written: int
    unchanged: int
    deleted: int
    spared: list[str]
    """Folders of other stores, which are never deleted; in the target, relative to it."""
    bytes_written: int
    reflinked: int
    hardlinked: int
    copied: int
    fetched: int
    """Files whose bytes came from where a reference says."""
    missing: list[Skipped]
    """References whose bytes are gone, left out because the caller allowed it."""
    seconds: float


class DiffEntry(msgspec.Struct, frozen=True, kw_only=True):
    """A path that differs; a size is None on the side that lacks the path, or does not know its size."""

    path: str
    size_before: int | None = None
    size_after: int | None = None


class Renamed(msgspec.Struct, frozen=True, kw_only=True):
    """The same content under another path."""

    before: str
    after: str
    size: int | None = None


class DiffReport(msgspec.Struct, frozen=True, kw_only=True):
    """From the first to the second; each list is sorted by path and no path is in two of them."""

    added: list[DiffEntry]
    removed: list[DiffEntry]
    changed: list[DiffEntry]
    renamed: list[Renamed]
    bytes_added: int
    """Size of what is added, and of what changed as it is after."""
    bytes_removed: int
    """Size of what is removed, and of what changed as it was before."""
    unchanged: int
    """How many paths are equal on both sides."""


class Match(msgspec.Struct, frozen=True, kw_only=True):
    """One finding: a version, or one path in it."""

    version: VersionInfo
    path: str | None = None
    size: int | None = None
    digest: str | None = None


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """What one collection holds, over all its versions."""

    project: str
    collection: str
    versions: int
    files: int
    """Entries of all versions, counted as often as they occur."""
    logical_bytes: int
    """What checking out every version would write."""
    unique_bytes: int
    """Content that only this collection has: what deleting all of it would free."""
    shared_bytes: int
    """Content that other collections hold too."""


class DuReport(msgspec.Struct, frozen=True, kw_only=True):
    """What the collections hold, and what the store spends on all of it."""

    collections: list[Usage]
    logical_bytes: int
    stored_bytes: int
    """Content, each blob counted once."""
    absent_bytes: int = 0
    """What of it is not here: a remote has it, or it is lost."""
    on_disk_bytes: int
    """Everything in the store's directory, as the file system allocates it."""


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that is wrong. `kind` is a stable word; `subject` names the blob, pack, version or file."""

    kind: str
    subject: str
    message: str


class VerifyReport(msgspec.Struct, frozen=True, kw_only=True):
    """What was checked, and everything that was wrong with it."""

    ok: bool
    checked_blobs: int
    checked_bytes: int
    checked_versions: int
    problems: list[Problem]
    seconds: float


class RepairReport(msgspec.Struct, frozen=True, kw_only=True):
    """What is whole again, and what is not; both as digests or file names."""

    mended: list[str]
    still_damaged: list[str]
    reasons: dict[str, str] = {}
    """Why remotes did not give some of these, by digest."""

    def plus(self, mended: Sequence[str], still_damaged: Sequence[str]) -> RepairReport:
        """The same with more."""
        return RepairReport(
            mended=[*self.mended, *mended], still_damaged=[*self.still_damaged, *still_damaged], reasons=self.reasons
        )


class SessionInfo(msgspec.Struct, frozen=True, kw_only=True):
    """A process at work on the store: it holds its kernel lock, so it lives."""

    id: str
    pid: int
    host: str
    verb: str
    since: float


class GcReport(msgspec.Struct, frozen=True, kw_only=True):
    """What a collection did, or on a dry run would do."""

    dry_run: bool
    freed_bytes: int
    """Bytes given back to the file system."""
    freed_blobs: int
    """Blobs that the catalog has no more; where there is a grace their bytes are in the trash for now."""
    trashed_bytes: int
    """Bytes moved to the trash this time; a later run frees them."""
    trash_bytes: int
    """Bytes that stand in the trash afterwards."""
    repacked_packs: int
    kept_by_sessions: int
    """Blobs that nothing refers to, kept because live sessions may need them."""
    sessions: list[SessionInfo]
    compacted_ops: int
    removed_leftovers: int
    """Files that killed processes had left behind."""
    quarantine_bytes: int
    """What is kept of damaged files, which `gc` never touches."""
    deleted_versions: list[str]
    """Versions that were deleted elsewhere, for everybody, and have bytes here that no other needs."""
    deleted_bytes: int
    """How many; they are kept."""
    deleted_go: bool
    """Unless they were to go too."""
    seconds: float


class RebuildReport(msgspec.Struct, frozen=True, kw_only=True):
    """What the new catalog holds, folded from the journal; `lost` names what the journal refers to and is gone."""

    projects: int
    ops: int
    versions: int
    blobs: int
    lost: list[str]
    seconds: float


class PrunedVersion(msgspec.Struct, frozen=True, kw_only=True):
    """A version that the policy deletes; `bytes` is its logical size."""

    ref: str
    reason: str
    bytes: int


class KeptVersion(msgspec.Struct, frozen=True, kw_only=True):
    """A version that stays, and the rule that keeps it."""

    ref: str
    reason: str


class PruneReport(msgspec.Struct, frozen=True, kw_only=True):
    """What the policy deleted, or on a dry run would delete."""

    dry_run: bool
    deleted: list[PrunedVersion]
    kept: list[KeptVersion]
    freeable_bytes: int
    """What the next `gc` can free because of it: content that no other version holds."""


class StatusReport(msgspec.Struct, frozen=True, kw_only=True):
    """The store at a glance."""

    root: str
    store_id: str
    projects: int
    collections: int
    versions: int
    files: int
    logical_bytes: int
    stored_bytes: int
    on_disk_bytes: int
    absent_bytes: int = 0
    """Content that is known and not here: a remote has it, or it is lost."""
    dedup_ratio: float
    """logical_bytes over what is different of it, here or not; 1.0 for an empty store."""
    pending_ops: int
    """Ops that no upstream has accepted; 0 without an upstream."""
    unfinished_parts: int
    """Parts of distributed versions that nobody has gathered; they keep their bytes."""
    sessions: list[SessionInfo]
    trash_bytes: int
    quarantine_bytes: int
    """What was found damaged takes this much of the disk, until its owner deletes it."""
    last_commit_at: float | None = None


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """One thing `doctor` looked at; `advice` says what to do when it is not ok."""

    name: str
    value: str
    ok: bool
    advice: str = ""


class BackupReport(msgspec.Struct, frozen=True, kw_only=True):
    """A second store, complete in itself."""

    target: str
    copied_files: int
    copied_bytes: int
    reflinked_files: int
    """Files that share their bytes with the first store, as long as neither changes."""
    kept_files: int
    """Files that an earlier backup had brought already."""
    missing: list[str]
    """What the first store has lost itself, as names of packs and digests of blobs; `verify` says more."""
    seconds: float


End = Literal["finished", "crashed"]
"""How a run can end."""


class RunInfo(msgspec.Struct, frozen=True, kw_only=True):
    """Who made versions and what it used."""

    id: str
    project: str
    name: str
    job_type: str | None = None
    group: str | None = None
    notes: str | None = None
    tags: list[str]
    config: dict[str, Any]
    state: Literal["running", "finished", "crashed"]
    started_at: float
    ended_at: float | None = None
    apart: list[RunInfo] = []
    """What others said who began it under this id on another machine, and did not know of it. Versions and uses of all
    of them are those of the one id."""


class RunPage(msgspec.Struct, frozen=True, kw_only=True):
    """Some runs, the newest first."""

    runs: list[RunInfo]
    total: int
    """How many there are, on all pages."""


class SearchReport(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that some words could mean, of each kind only so many."""

    query: str
    collections: list[CollectionInfo]
    versions: list[VersionInfo]
    runs: list[RunInfo]
    files: list[Match]
    """Paths, each in the newest version of a collection that has it; of a digest, every place."""


EdgeKind = Literal["used", "logged"]


class LineageNode(msgspec.Struct, frozen=True, kw_only=True):
    """A version or a run: one of the two is there."""

    key: str
    """The version's id, or `run:project/id`."""
    depth: int
    """Steps from the version that was asked about: negative for what it came from."""
    version: VersionInfo | None = None
    run: RunInfo | None = None

    @property
    def label(self) -> str:
        """`project/cats:v3`, or the run's name."""
        if self.version is not None:
            return self.version.ref
        assert self.run is not None
        return self.run.name


class LineageEdge(msgspec.Struct, frozen=True, kw_only=True):
    """In the direction in which data went: from a version to the run that used it, or from a run to what it made."""

    source: str
    target: str
    kind: EdgeKind


class LineageReport(msgspec.Struct, frozen=True, kw_only=True):
    """What a version came from and what came from it; the edges never lead in a circle."""

    start: str
    """The key of the version that was asked about."""
    nodes: list[LineageNode]
    edges: list[LineageEdge]
    loops: list[LineageEdge]
    """Uses of what came from the same run's earlier work; with them the edges would lead in a circle."""
