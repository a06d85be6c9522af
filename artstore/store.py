"""The hall: one object that joins the storage and the verbs.

A Store is opened on a folder and knows nothing of terminals, environment variables or home directories. References are
text, `[[entity/]project/]collection[:vN | :alias | @digest-prefix]`; `project` is for those that name none. Sizes are
bytes, times are seconds. What a verb did is in the report that it answers (`artstore.lifecycle.reports`).

One name stands for a list of one, wherever several are taken, as one path does.

Every verb may raise Corrupt where the store is damaged, StorageFull and ReadOnlyStore where it cannot be written, and
Invalid where a reference or a name cannot be one; what else it raises stands beside it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self, TypeVar, overload

from artstore.errors import Corrupt, Invalid, WrongType
from artstore.lifecycle import (
    arrange,
    backup,
    conflicts,
    diff,
    doctor,
    find,
    growth,
    increment,
    lineage,
    links,
    listing,
    numbers,
    parts,
    rebuild,
    relabel,
    repair,
    runs,
    search,
    status,
    usage,
    verify,
)
from artstore.lifecycle.change import Change
from artstore.lifecycle.checkout import checkout
from artstore.lifecycle.collect import GRACE_S, collect
from artstore.lifecycle.commit_draft import commit_draft
from artstore.lifecycle.delete import delete
from artstore.lifecycle.draft import Draft
from artstore.lifecycle.fetch import Fetch, FetchedFile, naming, not_here
from artstore.lifecycle.history import Histories
from artstore.lifecycle.label import Label
from artstore.lifecycle.progress import Progress
from artstore.lifecycle.prune import Order, policy, prune
from artstore.lifecycle.put import copy, put
from artstore.lifecycle.replay import catch_up
from artstore.lifecycle.reports import (
    AliasedInfo,
    BackupReport,
    Check,
    CollectionInfo,
    ConflictInfo,
    DiffReport,
    DuReport,
    End,
    EntryInfo,
    FolderReport,
    FollowInfo,
    GcReport,
    GetReport,
    GrowthReport,
    HistoryLine,
    HistoryReport,
    LineageReport,
    Match,
    MovedNumber,
    PartInfo,
    PruneReport,
    PutReport,
    RebuildReport,
    RepairReport,
    RunInfo,
    RunPage,
    SearchReport,
    StatusReport,
    VerifyReport,
    VersionInfo,
    WatchReport,
)
from artstore.lifecycle.resolve import Resolved, find_collection, resolve
from artstore.lifecycle.tree import Trees, VersionTree
from artstore.lifecycle.upstream import following
from artstore.lifecycle.watch import LONGEST_S, QUIET_S, Rules, Watch
from artstore.lifecycle.write import Mode
from artstore.model.arguments import checked
from artstore.model.manifest import ReferenceEntry, blob_of
from artstore.model.names import UNCATEGORIZED, Reference, listed
from artstore.model.paths import entry_path, quoted
from artstore.storage.blob_reader import BlobReader
from artstore.storage.files import AnyPath, as_path
from artstore.storage.reserve import FOR_GC
from artstore.storage.root import Root
from artstore.storage.run_locks import RunLock

T = TypeVar("T")


@checked
class Store:
    """An open store. One may be shared by threads; after a fork each process goes on with its own connections."""

    def __init__(self, root: Root) -> None:
        """Take a root that was opened; use `Store.open` or `Store.init`. Raises WrongType for a path."""
        given: object = root
        if not isinstance(given, Root):
            message = f"Store({given!r}) opens nothing: write Store.open({given!r}), or Store.init for a new store"
            raise WrongType(message, code="wrong-type")
        self._root = root
        self._trees = Trees(root)
        self._histories = Histories(root)
        root.check_catalog()
        catch_up(root, thorough=True)

    @classmethod
    def init(cls, path: AnyPath, *, single_host: bool = False) -> Store:
        """Make a store in a folder that is empty or not there yet, or that was one and lost its format file; open it.

        Raises Conflict (already-a-store, not-empty); Refused (network-file-system) where other machines could open it
        too, unless single_host promises that none does, and (not-utf8) as `open` does.
        """
        return cls(Root.create(as_path(path).absolute(), single_host=single_host))

    @classmethod
    def open(cls, path: AnyPath) -> Store:
        """Open the store in a folder; read-only where it cannot be written.

        Raises NotFound (store-not-found), Corrupt (catalog-missing, catalog-damaged), UpgradeNeeded; Refused (not-utf8)
        where Python takes the names of files for another encoding than UTF-8: start it with PYTHONUTF8=1.
        """
        return cls(Root(as_path(path).absolute()))

    @staticmethod
    def rebuild(path: AnyPath) -> RebuildReport:
        """Make the catalog of a store anew from its log and its blobs, whatever became of the old one."""
        root = Root(as_path(path).absolute())
        try:
            return root.with_reserve(lambda: rebuild.rebuild(root))
        finally:
            root.close()

    def __enter__(self) -> Self:
        self._root.check_open()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the files. Drafts must be ended before. Every verb raises Conflict (store-closed) from here on."""
        self._root.close()

    @property
    def path(self) -> Path:
        """The store's own folder."""
        return self._root.path

    @property
    def root(self) -> Root:
        """The storage below, for what moves more than a verb does: see `artstore.sync`."""
        return self._root

    @property
    def id(self) -> str:
        """The store's random id, 32 hex digits; a backup has the same."""
        return self._root.format.store_id

    @property
    def read_only(self) -> bool:
        """Whether nothing can be written here."""
        return self._root.read_only

    # In and out.

    def put(
        self,
        sources: AnyPath | Sequence[AnyPath | BinaryIO],
        *,
        name: str,
        type: str,
        project: str = UNCATEGORIZED,
        aliases: Sequence[str] = (),
        description: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        prefix: str | None = None,
        ttl_s: float | None = None,
        run: str | None = None,
        references: Sequence[ReferenceEntry] = (),
        skip_unreadable: bool = False,
        dry_run: bool = False,
        progress: Progress | None = None,
    ) -> PutReport:
        """Make a version of files, folders, streams and references; it is durable when this returns.

        One folder gives its contents, one file its own name, several sources each their own name, as `cp -r` does; all
        below `prefix`. A stream is the file `prefix`, or `stdin`. References have their paths already. Content equal to
        that of a live version of the collection makes no new version: that one is `latest` again and gets the aliases.

        Raises Invalid (bad-name, bad-type, type-clash, bad-alias, bad-path, bad-metadata, empty-draft, not-a-file),
        NotFound (source-not-found), PathCollision, Conflict (file-changed), and Refused (unreadable), which names all
        that could not be read, or Invalid (unkeepable) where all of that is of a kind or a name that no version can
        hold, unless skip_unreadable leaves it out.
        """
        return put(
            self._current(),
            [each if hasattr(each, "read") else as_path(each) for each in _several(sources)],
            Label.checked(
                project=project,
                name=name,
                type=type,
                aliases=aliases,
                description=description,
                metadata=metadata,
                ttl_s=ttl_s,
                run=run,
            ),
            prefix=prefix,
            references=references,
            skip_unreadable=skip_unreadable,
            dry_run=dry_run,
            progress=progress,
        )

    def draft(self) -> Draft:
        """Begin a version by hand: add to it, then `commit` it. Use it as a context manager."""
        return Draft(self._current())

    def build_on(self, draft: Draft, reference: str, *, project: str = UNCATEGORIZED) -> VersionInfo:
        """Give a draft the entries of a version where it has none of its own; no bytes move.

        Raises NotFound (…-not-found).
        """
        self._own(draft)
        resolved = self._resolve(reference, project)
        for entry in self._root.manifests.entries(resolved.manifest):
            if entry.path not in draft.entries:
                draft.add_entry(entry)
        return resolved.info()

    def commit(
        self,
        draft: Draft,
        *,
        name: str,
        type: str,
        project: str = UNCATEGORIZED,
        aliases: Sequence[str] = (),
        description: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        ttl_s: float | None = None,
        run: str | None = None,
        tags: Sequence[str] = (),
        created_at: float | None = None,
        incremental: bool = False,
    ) -> VersionInfo:
        """Make a version of a draft; durable when this returns. See put for what it raises; `draft.warnings` has more.

        created_at is for what was made before, elsewhere. With `incremental` the draft is given the entries of the
        latest version where it has none of its own: of that which is the latest at the moment of the commit, so that
        of several writers none loses what another one added. Raises Invalid (bad-tag, bad-time) as well.
        """
        label = Label.checked(
            project=project,
            name=name,
            type=type,
            aliases=aliases,
            description=description,
            metadata=metadata,
            ttl_s=ttl_s,
            run=run,
            tags=tags,
            created_at=created_at,
        )
        self._own(draft)
        return increment.commit_increment(draft, label) if incremental else commit_draft(draft, label).version

    def add_part(
        self,
        draft: Draft,
        *,
        name: str,
        type: str,
        distributed_id: str,
        project: str = UNCATEGORIZED,
        run: str | None = None,
        aliases: Sequence[str] = (),
        description: str | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> str:
        """Make a part of a draft: what one of several writers adds to a version; answers the part's id.

        It is durable when this returns, and nobody sees it before `finish_parts` gathers it. Writers may be threads,
        processes, or at different times, or in other stores, from which parts come with what else is pushed and pulled.
        What the same run adds again is there once. Raises Invalid (type-clash, bad-distributed-id, …) as put does.
        """
        label = Label.checked(
            project=project,
            name=name,
            type=type,
            aliases=aliases,
            description=description,
            metadata=metadata,
            run=run,
        )
        return parts.add_part(self._own(draft), label, distributed_id)

    def finish_parts(
        self,
        draft: Draft | None = None,
        *,
        name: str,
        type: str,
        distributed_id: str,
        project: str = UNCATEGORIZED,
        run: str | None = None,
        aliases: Sequence[str] = (),
        description: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        ttl_s: float | None = None,
        tags: Sequence[str] = (),
        expect: int | None = None,
    ) -> VersionInfo:
        """Gather all parts with this name and distributed id, and what the draft has, into one version.

        The result does not depend on the order of the parts. What is said here counts before what parts say. Each
        part's run has logged the version too. A part that comes later belongs to the next one. The bytes of parts that
        came from an upstream stay there until they are needed.

        Raises PathCollision (parts-clash) where two have different bytes for one path, Conflict (parts-missing) where
        there are fewer parts than `expect`, NotFound (no-parts), and Invalid as put does.
        """
        label = Label.checked(
            project=project,
            name=name,
            type=type,
            aliases=aliases,
            description=description,
            metadata=metadata,
            ttl_s=ttl_s,
            run=run,
            tags=tags,
        )
        root = self._current()
        if draft is not None:
            return parts.finish_parts(self._own(draft), label, distributed_id, expect=expect)
        with Draft(root) as empty:
            return parts.finish_parts(empty, label, distributed_id, expect=expect)

    def parts(self, project: str | None = None) -> list[PartInfo]:
        """The parts that nobody has gathered yet, of a project or of all, the first first."""
        return parts.all_parts(self._current(), project)

    def drop_parts(
        self, name: str, *, distributed_id: str, run: str | None = None, project: str = UNCATEGORIZED
    ) -> int:
        """Give up the parts of a version that nobody will finish, or those of one run; answers how many.

        Where the project follows an upstream, they are given up for all who follow it. Raises NotFound (no-parts).
        """
        parsed = _collection(name, project)
        return parts.drop_parts(self._current(), parsed.project, parsed.collection, distributed_id, run=run)

    def drop_old_parts(self, older_than_s: float, *, project: str | None = None) -> int:
        """Give up the parts of a project, or of all, that were added that long ago; answers how many.

        Raises Invalid (bad-age).
        """
        return parts.drop_old_parts(self._current(), project, older_than_s)

    def watch(
        self,
        folder: AnyPath,
        *,
        name: str,
        type: str,
        project: str = UNCATEGORIZED,
        quiet_s: float = QUIET_S,
        longest_s: float = LONGEST_S,
        ignore: Sequence[str] = (),
        only: Sequence[str] = (),
        keep_last: int | None = None,
        tell: Callable[[WatchReport], None] | None = None,
    ) -> Watch:
        """Make a version of a folder whenever it changed: `run` the answer, or use it as a context manager.

        That is after `quiet_s` without a change, and at the latest `longest_s` after the first. A file that somebody
        has open for writing stays as it was until it is closed. `ignore` and `only` have patterns in gitignore's
        syntax; of the versions the last `keep_last` are kept, and those with an alias or a use. `tell` is called with
        each version and notice, in the watching thread.

        Raises Invalid (not-a-folder, own-store, other-store, bad-path, bad-name, bad-type, type-clash, bad-wait,
        bad-policy, bad-pattern).
        """
        return Watch(
            self._current(),
            as_path(folder),
            Label.checked(project=project, name=name, type=type),
            Rules.checked(quiet_s=quiet_s, longest_s=longest_s, ignore=ignore, only=only, keep_last=keep_last),
            tell,
        )

    def get(
        self,
        reference: str,
        target: AnyPath,
        *,
        project: str = UNCATEGORIZED,
        patterns: Sequence[str] = (),
        mode: Mode = "auto",
        delete: bool = False,
        fetch: Fetch | None = None,
        allow_missing: bool = False,
        progress: Progress | None = None,
    ) -> GetReport:
        """Write a version into a folder: what differs, verified. Patterns have gitignore's syntax.

        What references stand for is brought by `fetch`, which is `artstore.references.fetch.fetch` for those that it
        knows. Raises NotFound (…-not-found), PathCollision (in-the-way, one-path-here), Refused (no-reflink,
        no-hardlink), Invalid (bad-mode, bad-pattern, and is-a-reference without `fetch`), and what that raises:
        ReferenceMissing and ReferenceChanged, which allow_missing makes a line in the report, among others.
        """
        return checkout(
            self._root,
            self._resolve(reference, project),
            as_path(target),
            patterns=listed(patterns, "pattern"),
            mode=mode,
            delete=delete,
            fetch=fetch,
            allow_missing=allow_missing,
            progress=progress,
        )

    @overload
    def open_file(self, reference: str, path: str, *, project: str = UNCATEGORIZED) -> BlobReader: ...
    @overload
    def open_file(
        self, reference: str, path: str, *, project: str = UNCATEGORIZED, fetch: Fetch | None
    ) -> BlobReader | FetchedFile: ...
    def open_file(
        self, reference: str, path: str, *, project: str = UNCATEGORIZED, fetch: Fetch | None = None
    ) -> BlobReader | FetchedFile:
        """A file of a version as a seekable, read-only file, whose reads are verified. Close it.

        What a reference stands for is brought by `fetch` into a temporary file, whole, before this returns. Raises
        NotFound (path-not-found), Invalid (is-a-reference) without `fetch`, and what that raises.
        """

        def open_in(resolved: Resolved) -> BlobReader | FetchedFile:
            entry = self._root.manifests.entry(resolved.manifest, entry_path(path), called=resolved.name)
            blob = blob_of(entry)
            if blob is not None:
                return self._root.blobs.open(blob.digest, called=f"{quoted(entry.path)} of {resolved.name}")
            assert isinstance(entry, ReferenceEntry)
            if fetch is None:
                raise not_here(entry)
            return FetchedFile(entry, naming(fetch, resolved.name))

        return self._look_in(reference, project, open_in)

    def read(
        self, reference: str, path: str, *, project: str = UNCATEGORIZED, fetch: Fetch | None = None
    ) -> Iterator[bytes]:
        """The bytes of a file of a version, in blocks of up to 1 MiB, each verified. Raises as open_file."""
        with self.open_file(reference, path, project=project, fetch=fetch) as reader:
            yield from reader.blocks()

    def tree(self, reference: str, *, project: str = UNCATEGORIZED) -> VersionTree:
        """A version as folders and files; it stays what it is, whatever becomes of the reference.

        Asked again for the same reference, this costs microseconds where nothing changed. Raises NotFound
        (…-not-found, version-deleted).
        """
        return self._trees.get(reference, project)

    def change(self, reference: str, *, type: str, project: str = UNCATEGORIZED) -> Change:
        """Begin the version that comes after the one that an alias names: write to it, then `commit` it.

        `type` is for a collection that is not there yet. Use it as a context manager. Raises Invalid
        (immutable-version).
        """
        return Change(self._current(), self._trees, Reference.parse(reference, project=project), type=type)

    # What is here.

    def collections(self, project: str | None = None) -> list[CollectionInfo]:
        """The collections of a project, or of all, by name."""
        return listing.collections(self._current(), project)

    def projects(self) -> list[str]:
        """The projects to which anything was ever committed, by name."""
        return [project.name for project in self._current().catalog.projects()]

    def types(self, project: str = UNCATEGORIZED) -> list[str]:
        """The types of the collections of a project, each once."""
        return sorted({collection.type for collection in self.collections(project)})

    def collection(self, name: str, *, project: str = UNCATEGORIZED) -> CollectionInfo:
        """A collection as it stands. Raises NotFound (project-not-found, collection-not-found)."""
        reference = Reference.parse(name, project=project)
        _, view, found = find_collection(self._current(), reference.project, reference.collection)
        return listing.describe_collection(self._root, reference.project, view, found)

    def versions(self, name: str, *, project: str = UNCATEGORIZED) -> list[VersionInfo]:
        """The versions of a collection, or what is linked in a portfolio, the newest first.

        Raises NotFound (collection-not-found).
        """
        reference = Reference.parse(name, project=project)
        return listing.versions(self._current(), reference.project, reference.collection)

    def history(
        self, name: str, *, before: int | None = None, limit: int = 100, project: str = UNCATEGORIZED
    ) -> HistoryReport:
        """A page of the versions of a collection, or of what is linked in a portfolio, each with what it brought.

        The newest first, `limit` of those whose numbers are lower than `before`; None: from the last on. Raises
        NotFound (collection-not-found), Invalid (bad-limit).
        """
        reference = Reference.parse(name, project=project)
        self._current()
        return self._histories.page(reference.project, reference.collection, before=before, limit=limit)

    def history_line(self, reference: str, *, project: str = UNCATEGORIZED) -> HistoryLine:
        """A version, with what it brought to its collection. Raises NotFound (…-not-found, version-deleted)."""
        return self._histories.line(self._resolve(reference, project))

    def version(self, reference: str, *, project: str = UNCATEGORIZED) -> VersionInfo:
        """A version as it stands. Raises NotFound (…-not-found, version-deleted)."""
        return self._resolve(reference, project).info()

    def entries(self, reference: str, *, project: str = UNCATEGORIZED) -> Iterator[EntryInfo]:
        """The files of a version, by path. Raises NotFound (…-not-found)."""
        return listing.entries(self._root, self._resolve(reference, project))

    def entry(self, reference: str, path: str, *, project: str = UNCATEGORIZED) -> EntryInfo:
        """A file of a version. Raises NotFound (…-not-found, path-not-found), Invalid (bad-path)."""
        return self._look_in(reference, project, lambda resolved: listing.entry(self._root, resolved, path))

    def folder(
        self, reference: str, path: str = "", *, after: str = "", limit: int = 1000, project: str = UNCATEGORIZED
    ) -> FolderReport:
        """What is directly in a folder of a version, `limit` folders and files at a time.

        `after` is the `next` of the report before. Costs what it answers, however large the version is. Raises NotFound
        (…-not-found, path-not-found), Invalid (bad-path, bad-limit).
        """

        def look(resolved: Resolved) -> FolderReport:
            return listing.folder(self._root, resolved, path, after=after, limit=limit)

        return self._look_in(reference, project, look)

    def diff(self, reference: str, other: AnyPath, *, project: str = UNCATEGORIZED) -> DiffReport:
        """What turns a version into another one, or into a folder as `put` would take it.

        Text is a reference if it can be one, and else a path, as `./photos` is. Raises NotFound (…-not-found), Invalid
        (not-a-folder, unkeepable), Refused (unreadable).
        """
        before = self._resolve(reference, project)
        if not isinstance(other, str) or _can_only_be_a_folder(other):
            return diff.diff_folder(self._root, before, as_path(other))
        return diff.diff_versions(self._root, before, self._resolve(other, project))

    def find(self, query: str, *, project: str | None = None) -> list[Match]:
        """What a digest, a `KEY=VALUE` or a path pattern means, in one project or all. Raises Invalid (bad-query)."""
        return find.find(self._current(), query, project)

    def search(self, text: str, *, project: str | None = None, limit: int = 50) -> SearchReport:
        """Everything that some words could mean: in names, labels, metadata keys, digests and paths.

        At most `limit` of each kind, in one project or all. Raises Invalid (bad-query, bad-limit), NotFound
        (project-not-found).
        """
        return search.search(self._current(), text, project, limit)

    def growth(self, project: str | None = None) -> GrowthReport:
        """What the versions hold together, now and from the first commit on. Raises NotFound (project-not-found)."""
        return growth.growth(self._current(), project)

    def du(self, project: str | None = None) -> DuReport:
        """What the collections of a project, or of all, hold. Raises NotFound (project-not-found)."""
        return usage.du(self._current(), project)

    def status(self) -> StatusReport:
        """The store at a glance."""
        return status.status(self._current())

    # Labels.

    def alias(self, reference: str, names: Sequence[str], *, project: str = UNCATEGORIZED) -> AliasedInfo:
        """Move aliases to a version. Raises Invalid (bad-alias)."""
        return relabel.add_aliases(self._current(), Reference.parse(reference, project=project), listed(names, "alias"))

    def unalias(self, reference: str, names: Sequence[str], *, project: str = UNCATEGORIZED) -> VersionInfo:
        """Take aliases off a version. Raises NotFound (alias-not-found)."""
        return relabel.remove_aliases(
            self._current(), Reference.parse(reference, project=project), listed(names, "alias")
        )

    def tag(self, reference: str, names: Sequence[str], *, project: str = UNCATEGORIZED) -> VersionInfo:
        """Put tags on a version. Raises Invalid (bad-tag)."""
        return relabel.set_tags(
            self._current(), Reference.parse(reference, project=project), listed(names, "tag"), present=True
        )

    def untag(self, reference: str, names: Sequence[str], *, project: str = UNCATEGORIZED) -> VersionInfo:
        """Take tags off a version. Raises NotFound (tag-not-found)."""
        return relabel.set_tags(
            self._current(), Reference.parse(reference, project=project), listed(names, "tag"), present=False
        )

    def describe(
        self,
        reference: str,
        text: str | None,
        *,
        project: str = UNCATEGORIZED,
    ) -> VersionInfo | CollectionInfo:
        """Give a version another description, or, where the reference is a name alone, the collection."""
        parsed = Reference.parse(reference, project=project)
        root = self._current()
        if _is_name_alone(reference):
            return arrange.describe(root, parsed.project, parsed.collection, text)
        return relabel.describe_version(root, parsed, text)

    def set_metadata(
        self,
        reference: str,
        values: Mapping[str, Any],
        *,
        remove: Sequence[str] = (),
        project: str = UNCATEGORIZED,
    ) -> VersionInfo:
        """Set some keys of a version's metadata, remove others.

        Raises Invalid (bad-metadata), NotFound (no-such-key).
        """
        return relabel.edit_metadata(
            self._current(), Reference.parse(reference, project=project), values, listed(remove, "key")
        )

    def set_ttl(self, reference: str, ttl_s: float | None, *, project: str = UNCATEGORIZED) -> VersionInfo:
        """Say how long a version is to live, from its creation; None: for ever. Raises Invalid (bad-ttl)."""
        return relabel.set_ttl(self._current(), Reference.parse(reference, project=project), ttl_s)

    def rename(self, name: str, new_name: str, *, project: str = UNCATEGORIZED) -> CollectionInfo:
        """Give a collection another name. Raises Conflict (name-taken)."""
        parsed = _collection(name, project)
        return arrange.rename(self._current(), parsed.project, parsed.collection, new_name)

    def retype(self, name: str, type: str, *, project: str = UNCATEGORIZED) -> CollectionInfo:
        """Give a collection, and so all its versions, another type. Raises Invalid (bad-type)."""
        parsed = _collection(name, project)
        return arrange.retype(self._current(), parsed.project, parsed.collection, type)

    def tag_collection(self, name: str, tags: Sequence[str], *, project: str = UNCATEGORIZED) -> CollectionInfo:
        """Put tags on a collection. Raises Invalid (bad-tag)."""
        parsed = _collection(name, project)
        return arrange.set_tags(self._current(), parsed.project, parsed.collection, listed(tags, "tag"), present=True)

    def untag_collection(self, name: str, tags: Sequence[str], *, project: str = UNCATEGORIZED) -> CollectionInfo:
        """Take tags off a collection. Raises NotFound (tag-not-found)."""
        parsed = _collection(name, project)
        return arrange.set_tags(self._current(), parsed.project, parsed.collection, listed(tags, "tag"), present=False)

    def delete_collection(
        self, name: str, *, force: bool = False, everywhere: bool = False, project: str = UNCATEGORIZED
    ) -> CollectionInfo:
        """Delete a collection with all its versions; answers what it was. Its name is free again.

        Of what others have this machine forgets the versions, and the name stays, unless `everywhere`: then it goes for
        all who follow the upstream. Raises Conflict while an alias other than latest stands on one of them (aliased), a
        portfolio has one (linked), or, with `everywhere`, a run has used one (used), unless forced. A portfolio that
        others have goes `everywhere` only (not-alone).
        """
        parsed = _collection(name, project)
        return self._root.with_reserve(
            lambda: arrange.delete(
                self._current(), parsed.project, parsed.collection, force=force, everywhere=everywhere
            ),
            keep=FOR_GC,
        )

    def copy(self, reference: str, target: str, *, project: str = UNCATEGORIZED) -> VersionInfo:
        """Make a version with the same content in the collection `[PROJECT/]NAME`. No bytes move."""
        goal = _collection(target, project)
        source = Reference.parse(reference, project=project)
        return copy(self._current(), source, goal.project, goal.collection).version

    def link(
        self,
        reference: str,
        target: str,
        *,
        aliases: Sequence[str] = (),
        project: str = UNCATEGORIZED,
    ) -> VersionInfo:
        """Put a version into the portfolio `[PROJECT/]NAME`, which is made if it is not there. No bytes move.

        Links have numbers and aliases of their own; a version that is in the portfolio keeps its number there, and is
        its `latest` again. Answers the version, with `link`. While it is linked, `prune` keeps it.

        Raises Invalid (not-a-portfolio, type-clash, bad-alias), NotFound (…-not-found).
        """
        goal = _collection(target, project)
        return links.link(self._current(), Reference.parse(reference, project=project), goal, listed(aliases, "alias"))

    def unlink(self, reference: str, *, project: str = UNCATEGORIZED) -> VersionInfo:
        """Take a version out of a portfolio, in which the reference names it by number, alias or digest.

        Answers what it was there. Raises Invalid (not-a-portfolio), NotFound (…-not-found).
        """
        parsed = Reference.parse(reference, project=project)
        if _is_name_alone(reference):
            message = f"{reference!r} does not say which link to take out: write {reference}:latest or {reference}:vN"
            raise Invalid(message, code="bad-reference")
        return links.unlink(self._current(), parsed)

    def links_of(self, reference: str, *, project: str = UNCATEGORIZED) -> list[VersionInfo]:
        """A version as it is in each portfolio of this store. Raises NotFound (…-not-found)."""
        resolved = self._resolve(reference, project)
        return listing.links_of(self._root, resolved)

    def delete(
        self, reference: str, *, force: bool = False, everywhere: bool = False, project: str = UNCATEGORIZED
    ) -> VersionInfo:
        """Delete a version, which the reference must name by number, alias or digest. See delete_versions."""
        return self.delete_versions([reference], force=force, everywhere=everywhere, project=project)[0]

    def delete_versions(
        self, references: Sequence[str], *, force: bool = False, everywhere: bool = False, project: str = UNCATEGORIZED
    ) -> list[VersionInfo]:
        """Delete versions, which the references must name by number, alias or digest; what is refused of one, of all.

        Where the project follows an upstream that has accepted a version, only this machine forgets it, unless
        `everywhere`; the same content put again brings it back.

        Raises Conflict while an alias other than latest stands on one (aliased), a portfolio has it (linked) or, with
        `everywhere`, a run of this store used it (used), unless forced; Invalid (is-a-link) where a reference names a
        link.
        """
        parsed = [self._of_one_version(reference, project) for reference in listed(references, "reference")]
        return self._root.with_reserve(
            lambda: delete(self._current(), parsed, force=force, everywhere=everywhere), keep=FOR_GC
        )

    def _of_one_version(self, reference: str, project: str) -> Reference:
        """What is deleted is named more closely than by its collection. Raises Invalid (bad-reference)."""
        parsed = Reference.parse(reference, project=project)
        if _is_name_alone(reference):
            message = (
                f"{reference!r} does not say which version to delete: write {reference}:latest or {reference}:vN; "
                f"`artstore delete {reference} --collection` deletes all of them"
            )
            raise Invalid(message, code="bad-reference")
        return parsed

    # What an upstream changed.

    def following(self) -> list[FollowInfo]:
        """How far the projects that follow an upstream do so."""
        return following(self._current())

    def moved_numbers(self, project: str | None = None) -> list[MovedNumber]:
        """The versions that were shown here under a number which somebody else had first."""
        return numbers.moved_numbers(self._current(), project)

    def accept_numbers(self, names: Sequence[str], *, project: str = UNCATEGORIZED) -> list[MovedNumber]:
        """Let the numbers of some collections mean what they mean now, as everybody else's do; answers which.

        Raises NotFound (…-not-found, no-moved-number).
        """
        references = [_collection(name, project) for name in listed(names, "name")]
        return numbers.accept_numbers(self._current(), [(each.project, each.collection) for each in references])

    def conflicts(self, project: str | None = None) -> list[ConflictInfo]:
        """Own changes that change nothing, since the upstream's order has others before them."""
        return conflicts.conflicts(self._current(), project)

    def drop_mine(self, conflict: str) -> ConflictInfo:
        """Give up what could not be done, and with a refused collection its versions. The id may be shortened.

        Raises NotFound (conflict-not-found), Invalid (ambiguous-digest).
        """
        return conflicts.drop_mine(self._current(), conflict)

    def keep_mine(self, conflict: str) -> ConflictInfo:
        """Do it again, behind what others did: an alias moves from where they put it, a version keeps its id.

        Raises as drop_mine; Invalid (cannot-be-done-again) where it would change nothing now either, Corrupt
        (blob-missing), Unreachable.
        """
        return conflicts.keep_mine(self._current(), conflict)

    def rename_mine(self, conflict: str, name: str) -> ConflictInfo:
        """Keep a collection whose name is taken there under another one; it and its versions keep their ids.

        Raises as drop_mine; Invalid (bad-name, cannot-be-renamed), Conflict (name-taken).
        """
        return conflicts.rename_mine(self._current(), conflict, name)

    # Runs.

    def start_run(
        self,
        *,
        project: str = UNCATEGORIZED,
        id: str | None = None,
        name: str | None = None,
        job_type: str | None = None,
        group: str | None = None,
        notes: str | None = None,
        tags: Sequence[str] = (),
        config: Mapping[str, Any] | None = None,
        started_at: float | None = None,
    ) -> RunInfo:
        """Begin a run, or go on with the one that has this id; what is not given then stays as it was.

        Where another machine has begun one with this id, and it is not known here, they are one run when the two meet;
        what was said of the later one is kept apart (`RunInfo.apart`), and edited and ended by its own store.
        started_at is for a run of the past. Raises Invalid (bad-run-id, bad-tag, bad-metadata, bad-time).
        """
        return runs.start_run(
            self._current(),
            project,
            id=id,
            name=name,
            job_type=job_type,
            group=group,
            notes=notes,
            tags=tags,
            config=config,
            started_at=started_at,
        )

    def hold_run(self, run: str, *, project: str = UNCATEGORIZED) -> RunLock:
        """Show that a run lives: a kernel lock, held until it is released or this process dies.

        A run that was held and is so no more, without having been finished, is marked crashed by the next process that
        starts a run or looks at runs. A run that was never held stays as it says of itself.

        Raises NotFound (run-not-found), Conflict (run-ended).
        """
        return runs.hold_run(self._current(), project, run)

    def edit_run(
        self,
        run: str,
        *,
        project: str = UNCATEGORIZED,
        config: Mapping[str, Any] | None = None,
        remove: Sequence[str] = (),
        name: str | None = None,
        notes: str | None = None,
        tags: Sequence[str] | None = None,
    ) -> RunInfo:
        """Set some keys of a run's config, remove others, and change its words; what is None stays.

        Raises NotFound (run-not-found, no-such-key), Invalid (bad-metadata, bad-tag).
        """
        return runs.edit_run(
            self._current(),
            project,
            run,
            config=config,
            remove=listed(remove, "key"),
            name=name,
            notes=notes,
            tags=tags,
        )

    def finish_run(
        self,
        run: str,
        *,
        state: End = "finished",
        project: str = UNCATEGORIZED,
        ended_at: float | None = None,
    ) -> RunInfo:
        """End a run. Raises NotFound (run-not-found), Invalid (bad-state, bad-time)."""
        return runs.finish_run(self._current(), project, run, state, ended_at)

    def use(self, run: str, reference: str, *, project: str = UNCATEGORIZED) -> VersionInfo:
        """Note that a run of `project` reads a version; `prune` keeps it then. Raises NotFound (run-not-found)."""
        return runs.use(self._current(), project, run, Reference.parse(reference, project=project))

    def run(self, id: str, *, project: str = UNCATEGORIZED) -> RunInfo:
        """A run as it stands. Raises NotFound (project-not-found, run-not-found)."""
        return runs.run_info(self._current(), project, id)

    def runs(self, *, project: str | None = None, group: str | None = None) -> list[RunInfo]:
        """The runs of a project, or of all, and of a group, or of any; the newest first."""
        return runs.all_runs(self._current(), project, group)

    def run_page(
        self, *, project: str | None = None, group: str | None = None, start: int = 0, limit: int = 100
    ) -> RunPage:
        """The same, a page at a time: `limit` of them behind the first `start`. Raises Invalid (bad-limit)."""
        return runs.page_of_runs(self._current(), project, group, start=start, limit=limit)

    def inputs(self, run: str, *, project: str = UNCATEGORIZED) -> list[VersionInfo]:
        """What a run used, in that order: deleted and absent versions too. Raises NotFound (run-not-found)."""
        return lineage.inputs(self._current(), project, run)

    def outputs(self, run: str, *, project: str = UNCATEGORIZED) -> list[VersionInfo]:
        """What a run logged, in that order: also where the content was known. Raises NotFound (run-not-found)."""
        return lineage.outputs(self._current(), project, run)

    def logged_by(self, reference: str, *, project: str = UNCATEGORIZED) -> RunInfo | None:
        """The run that made a version, if one did. Raises NotFound (…-not-found)."""
        runs.mark_crashed(self._current())
        return lineage.producer(self._resolve(reference, project))

    def used_by(self, reference: str, *, project: str = UNCATEGORIZED) -> list[RunInfo]:
        """The runs of this store that used a version, the first first. Raises NotFound (…-not-found)."""
        runs.mark_crashed(self._current())
        resolved = self._resolve(reference, project)
        return lineage.consumers(self._root, resolved)

    def lineage(
        self,
        reference: str,
        *,
        up: bool = True,
        down: bool = True,
        depth: int | None = None,
        project: str = UNCATEGORIZED,
    ) -> LineageReport:
        """What a version came from (up) and what came from it (down), over all projects of this store.

        Each run and each version is one step; `depth` is how many are walked, None: all. A version comes from what its
        run had used before. Raises NotFound (…-not-found), Invalid (bad-depth).
        """
        resolved = self._resolve(reference, project)
        return lineage.lineage(self._root, resolved, up=up, down=down, depth=depth)

    # Care.

    def verify(
        self,
        reference: str | None = None,
        *,
        fast: bool = False,
        project: str = UNCATEGORIZED,
        progress: Progress | None = None,
    ) -> VerifyReport:
        """Check a version, or everything. What is damaged goes into the quarantine; nothing is deleted."""
        self._root.reconsider()
        if reference is None:
            return verify.verify(self._root, fast=fast, progress=progress)
        return verify.verify_version(self._root, self._resolve(reference, project), fast=fast, progress=progress)

    def repair(self, sources: Sequence[AnyPath] = ()) -> RepairReport:
        """Mend what is missing from the trash, other copies here, and files and folders that are given."""
        self._root.reconsider()
        return repair.repair(self._root, [as_path(source) for source in _several(sources)])

    def doctor(self) -> list[Check]:
        """Look at what the store stands on: SQLite, the file system, the disk, locks, clocks."""
        self._root.reconsider()
        return doctor.doctor(self._root)

    def backup(self, target: AnyPath) -> BackupReport:
        """Copy the store, live as it is, into a folder; into that of an earlier backup only what is new.

        Raises Conflict (not-empty).
        """
        return backup.backup(self._current(), as_path(target).absolute())

    def gc(
        self,
        *,
        dry_run: bool = False,
        grace_s: float = GRACE_S,
        deleted: bool = False,
        progress: Progress | None = None,
    ) -> GcReport:
        """Free what nothing needs, by way of the trash, or at once where the grace is 0. Raises Conflict (locked).

        Of versions that were deleted elsewhere, for everybody, the bytes are kept here and named, unless `deleted`.

        A later `gc` empties the trash: of what was in it for the grace, the longest time from one `gc` to the next not
        counted, since it may be a jump of the clock.
        """
        self._root.reconsider()
        return self._root.with_reserve(
            lambda: collect(self._root, dry_run=dry_run, grace_s=grace_s, deleted=deleted, progress=progress),
        )

    def prune(
        self,
        names: Sequence[str],
        *,
        keep_last: int | None = None,
        keep_best: Sequence[tuple[str, Order, int]] = (),
        keep_within_s: float | None = None,
        dry_run: bool = False,
        project: str = UNCATEGORIZED,
    ) -> PruneReport:
        """Delete the versions of some collections that no rule keeps; `gc` frees their bytes.

        Kept are the `keep_last` logged last, for each (key, "max" or "min", count) of `keep_best` the best by that
        metadata key, what is younger than `keep_within_s`, and whatever carries an alias other than latest, is linked
        in a portfolio or was used by a run. Without a rule only versions go whose time to live is over.
        """
        rules = policy(keep_last=keep_last, keep_best=keep_best, keep_within_s=keep_within_s)
        references = [_collection(name, project) for name in listed(names, "name")]
        collections = [(each.project, each.collection) for each in references]
        return self._root.with_reserve(lambda: prune(self._current(), collections, rules, dry_run=dry_run), keep=FOR_GC)

    def _own(self, draft: Draft) -> Draft:
        """A draft of this store, still open. Raises Invalid (draft-of-another-store), Conflict (draft-ended)."""
        self._root.check_open()
        draft.check_open()
        if not draft.root.path.samefile(self._root.path):
            message = f"the draft is of the store in {draft.root.path}, and this one is in {self._root.path}"
            raise Invalid(message, code="draft-of-another-store")
        return draft

    def _current(self) -> Root:
        """The root, with a catalog that follows the log."""
        self._root.reconsider()
        catch_up(self._root)
        return self._root

    def _resolve(self, reference: str, project: str) -> Resolved:
        return resolve(self._current(), Reference.parse(reference, project=project))

    def _look_in(self, reference: str, project: str, look: Callable[[Resolved], T]) -> T:
        """What is found in a version. One that is deleted and collected while it is looked at is no damage."""
        resolved = self._resolve(reference, project)
        while True:
            try:
                return look(resolved)
            except Corrupt:
                before, resolved = resolved, self._resolve(reference, project)
                if resolved.version.id == before.version.id:
                    raise


def _several(sources: Any) -> list[Any]:
    """What a caller gave as a list of paths; one path is one source, and not as many as it has letters."""
    is_one = isinstance(sources, str | bytes | os.PathLike) or not isinstance(sources, Iterable)
    return [sources] if is_one else list(sources)


def _can_only_be_a_folder(text: str) -> bool:
    if text[:1] in {"/", "."}:
        # No name begins so.
        return True
    try:
        Reference.parse(text)
    except Invalid:
        return bool(text) and Path(text).is_dir()
    return False


def _collection(text: str, project: str) -> Reference:
    """What is changed as a whole, or added to, is named as a whole. Raises Invalid (bad-reference)."""
    parsed = Reference.parse(text, project=project)
    if not _is_name_alone(text):
        message = f"{text!r} names a version where a collection is meant: write [PROJECT/]NAME"
        raise Invalid(message, code="bad-reference")
    return parsed


def _is_name_alone(reference: str) -> bool:
    return ":" not in reference and "@" not in reference
