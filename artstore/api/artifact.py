"""Artifact: what is put together and logged, and what it is from then on; two lives in one class, as W&B has it.

In its first life it is a draft that can be added to; `log_artifact` or `save` ends that. In its second life, which
`wait` begins, it is a version: its files never change, its labels may, with `save`. What only a version has raises
ArtifactNotLoggedError before, and what only a draft can do raises ArtifactFinalizedError after.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import os
from collections.abc import Callable, Iterator, Sequence
from typing import IO, TYPE_CHECKING, Any, BinaryIO, Final, Self, TypedDict

from artstore.api import active, reading
from artstore.api.background import Task
from artstore.api.collections import ArtifactCollection
from artstore.api.contents import Contents
from artstore.api.entries import ArtifactManifest, ArtifactManifestEntry, of_info, path_of
from artstore.api.facts import Facts, owner, written_time
from artstore.api.files import ArtifactFiles
from artstore.api.labels import Labels
from artstore.api.late import Late
from artstore.api.naming import checked_aliases, checked_name, checked_tags
from artstore.api.past import PastRun
from artstore.api.stores import Hall, project_or_default, users_errors
from artstore.api.terminal import note
from artstore.api.values import Value, file_name
from artstore.errors import (
    ArtifactFinalizedError,
    ArtifactNotLoggedError,
    Conflict,
    Invalid,
    MissingEntry,
    NotFound,
    WrongType,
)

if TYPE_CHECKING:
    from artstore.api import data_types
    from artstore.lifecycle.draft import Draft
    from artstore.lifecycle.reports import LinkInfo, RunInfo, VersionInfo
    from artstore.references import expand
    from artstore.references import wanted as limits
else:
    data_types = Late("artstore.api.data_types")
    expand = Late("artstore.references.expand")
    limits = Late("artstore.references.wanted")

AUTOMATIC: Final = "auto"
"""The job type of a run that is made because there is none."""


class Artifact(Facts):
    """A named, typed set of files, with a description and metadata; logged, a version of its collection.

    Name: letters, digits, `_`, `-` and `.`, up to 128; type: what it is, `dataset` or `model` for example; a name has
    one type. Metadata: a dictionary, or the JSON text of one, copied as JSON can say it, with up to 100 keys on its top
    level. With `incremental` the version begins with the entries of the latest one, and what is added here comes on
    top. `use_as` is taken as W&B takes it, and means nothing.

    Raises Invalid (bad-name, bad-type, bad-metadata, too-many-keys), WrongType (bad-metadata).
    """

    def __init__(
        self,
        name: str,
        type: str,
        description: str | None = None,
        metadata: dict[str, Any] | str | None = None,
        incremental: bool = False,
        use_as: str | None = None,
    ) -> None:
        self._name, self._type = checked_name(name, type)
        self._begin(Labels(description, metadata), incremental=incremental, use_as=use_as)

    def _begin(self, labels: Labels, *, incremental: bool = False, use_as: str | None = None) -> None:
        self._labels = labels
        self._incremental = incremental
        self._use_as = use_as
        self._contents = Contents(self)
        self._is_final = False
        self._base: VersionInfo | None = None
        self._distributed_id: str | None = None
        self._hall: Hall | None = None
        self._task: Task[VersionInfo] | None = None
        self._part: Task[str] | None = None
        self._info: VersionInfo | None = None
        self._manifest: ArtifactManifest | None = None
        self._is_deleted = False

    @classmethod
    def of_version(cls, hall: Hall, info: VersionInfo) -> Self:
        """A version that is there already, in its second life at once; its name and type were checked long ago."""
        return cls.__new__(cls)._in_second_life(hall, info)  # noqa: SLF001 - its own

    def _in_second_life(self, hall: Hall, info: VersionInfo) -> Self:
        self._name, self._type = info.collection, info.type
        self._begin(Labels(None, None))
        self._is_final = True
        self._become(hall, info)
        return self

    def __repr__(self) -> str:
        return f"<Artifact {self.id or self.name}>"

    # What it always has.

    @property
    def id(self) -> str | None:
        """The digest of the version's record; None for a draft."""
        return None if self._info is None else self._info.id

    @property
    def name(self) -> str:
        """`cats`, and from `wait` on `cats:v3`; of a link, its name in the portfolio."""
        return self._name if self._info is None else (self._info.link or self._info).name

    @property
    def source_name(self) -> str:
        """The name in the collection where it was logged."""
        return self._name if self._info is None else self._info.name

    @property
    def type(self) -> str:
        """What it is."""
        return self._type

    @property
    def description(self) -> str | None:
        """What a reader should know; `save` keeps a new one."""
        return self._labels.description

    @description.setter
    def description(self, text: str | None) -> None:
        self._warn_of_link("description")
        self._labels.description = text

    @property
    def metadata(self) -> dict[str, Any]:
        """What is known about it. It may be changed in place; `save` keeps that."""
        return self._labels.metadata

    @metadata.setter
    def metadata(self, values: dict[str, Any] | str | None) -> None:
        self._warn_of_link("metadata")
        self._labels.set_metadata(values)

    @property
    def digest(self) -> str:
        """The digest of all entries, `blake3:<hex>`: equal content, equal digest. Takes time for a large draft."""
        return str(self._contents.digest) if self._info is None else self._info.digest

    @property
    def digest_algorithm(self) -> str:
        """How digests are made."""
        return "BLAKE3"

    @property
    def size(self) -> int:
        """Bytes of all entries, those of references included where they are known."""
        return self._contents.size if self._info is None else self._info.bytes

    @property
    def state(self) -> str:
        """`PENDING` for a draft, `COMMITTED`, or `DELETED`."""
        if self._is_deleted:
            return "DELETED"
        return "PENDING" if self._info is None else "COMMITTED"

    def is_draft(self) -> bool:
        """Whether it is no version yet, as far as this object has waited for it."""
        return self._info is None

    @property
    def is_new(self) -> bool:
        """Whether nobody has logged it yet."""
        return self._info is None and self._task is None and self._part is None

    def note_use(self, use_as: str | None) -> None:
        """Remember as what a run uses it, for `json_encode`."""
        self._use_as = use_as or self._use_as

    @property
    def incremental(self) -> bool:
        """Whether its version begins with the entries of the one before."""
        return self._incremental

    @property
    def use_as(self) -> str | None:
        """What was given."""
        return self._use_as

    @property
    def distributed_id(self) -> str | None:
        """What the parts of a version that several runs make have in common."""
        return self._distributed_id

    @distributed_id.setter
    def distributed_id(self, text: str | None) -> None:
        self._distributed_id = text

    @property
    def is_link(self) -> bool:
        """Whether it was reached through a portfolio."""
        return self._info is not None and self._info.is_link

    @property
    def linked_at(self) -> str | None:
        """When it was linked, in UTC; None where it is no link."""
        link = None if self._info is None else self._info.link
        return None if link is None else written_time(link.linked_at)

    @property
    def manifest(self) -> ArtifactManifest:
        """Its entries. That of a draft can be changed, and the draft with it."""
        if self._info is None:
            entries = {entry.path: entry for entry in self._contents.entries()}
            return ArtifactManifest(entries, drafted=None if self._is_final else self._contents)
        if self._manifest is None:
            self._manifest = ArtifactManifest.fixed({entry.path: entry for entry in self._entries(self._info)})
        return self._manifest

    # What only a version has; see Facts for the rest.

    @property
    def aliases(self) -> list[str]:
        """What stands on it. The list may be changed in place; `save` keeps that. `latest` moves by itself."""
        self._version("aliases")
        return self._labels.aliases

    @aliases.setter
    def aliases(self, names: Sequence[str]) -> None:
        self._version("aliases")
        self._labels.aliases[:] = checked_aliases(names)

    @property
    def tags(self) -> list[str]:
        """What it is marked with. The list may be changed in place; `save` keeps that."""
        self._version("tags")
        return self._labels.tags

    @tags.setter
    def tags(self, names: Sequence[str]) -> None:
        self._version("tags")
        self._warn_of_link("tags")
        self._labels.tags[:] = checked_tags(names)

    @property
    def ttl(self) -> dt.timedelta | None:
        """How long it is wanted, from its creation, in whole seconds; None: for ever. May be set on a draft."""
        if not self._labels.ttl_is_set:
            self._version("ttl")
        return self._labels.ttl

    @ttl.setter
    def ttl(self, ttl: dt.timedelta | str | None) -> None:
        if self.is_link:
            message = f"{self.name!r} is a link, and the time to live is the version's: set it on the source artifact"
            raise Invalid(message, code="is-a-link")
        self._labels.set_ttl(ttl)

    # Adding.

    def add_file(
        self,
        local_path: str | os.PathLike[str],
        name: str | os.PathLike[str] | None = None,
        is_tmp: bool | None = False,
        skip_cache: bool | None = False,
        policy: str | None = "mutable",
        overwrite: bool = False,
    ) -> ArtifactManifestEntry:
        """Add a file, by default under its last name. It is stored now: what becomes of it later does not matter.

        `is_tmp` names it by its digest up to the first dot. There is one copy under either policy, and no cache that
        could be skipped. Raises Invalid (not-a-file, bad-path, bad-policy), ArtifactFinalizedError, and PathCollision
        where the path has other bytes already, unless overwrite.
        """
        del skip_cache
        self._check_open("add_file")
        return self._contents.add_file(local_path, name, is_tmp=bool(is_tmp), policy=policy, overwrite=overwrite)

    def add_dir(
        self,
        local_path: str | os.PathLike[str],
        name: str | os.PathLike[str] | None = None,
        skip_cache: bool | None = False,
        policy: str | None = "mutable",
        merge: bool = False,
    ) -> None:
        """Add every file below a folder, under its path in the folder; all of them below `name`, if one is given.

        Links are followed, hidden files are taken, empty folders are not kept, and a file `.artstoreignore` says what
        to leave out. `merge` replaces what has other bytes already. It is all added or nothing is.

        Raises Invalid (not-a-folder, bad-path), PathCollision, MissingFile for a link to nothing, Refused (unreadable),
        ArtifactFinalizedError.
        """
        del skip_cache
        self._check_open("add_dir")
        self._contents.add_dir(local_path, name, policy=policy, merge=merge)

    @contextlib.contextmanager
    def new_file(
        self,
        name: str | os.PathLike[str],
        mode: str = "x",
        encoding: str | None = None,
        policy: str | None = "mutable",
    ) -> Iterator[IO[Any]]:
        """Open a new file to write; it is added when the `with` ends well, and dropped when it does not.

        Modes: `x` or `xb` for a name that is free, `w` or `wb` for any. Raises ArtifactFinalizedError, and Invalid
        (path-taken, bad-mode, bad-path).
        """
        self._check_open("new_file")
        try:
            with self._contents.new_file(name, mode, encoding, policy=policy) as file:
                yield file
        except UnicodeEncodeError as error:
            note(f"{error.object[error.start : error.end]!r} cannot be written as {error.encoding}: give an encoding")
            raise

    def add(self, obj: Value, name: str | os.PathLike[str], overwrite: bool = False) -> ArtifactManifestEntry:
        """Add an object, as JSON in the file `name.<kind>.json`: `scores` is `scores.table.json` for a Table.

        The same object again is what it was the first time, and a name that is taken keeps what it has, unless
        overwrite. `artifact[name] = obj` does the same. Below `media/tables` the name is made of the digest.

        Raises WrongType for what is no Table, PartitionedTable or JoinedTable, what the object has to say (BadTable),
        Invalid (bad-path), ArtifactFinalizedError.
        """
        self._check_open("add")
        given: object = obj
        if not isinstance(given, Value):
            expected = ", ".join(kind.__name__ for kind in data_types.KINDS.values())
            message = f"found object of type {type(given)}, expected one of: {expected}; add a file with add_file"
            raise WrongType(message, code="not-a-value")
        entry = self._contents.add_value(obj, name, self, overwrite=overwrite)
        if obj.home is None:
            obj.home = (self, entry.path)
        return entry

    def __setitem__(self, name: str, obj: Value) -> None:
        self.add(obj, name)

    def add_reference(
        self,
        uri: ArtifactManifestEntry | str,
        name: str | os.PathLike[str] | None = None,
        checksum: bool = True,
        max_objects: int | None = None,
    ) -> list[ArtifactManifestEntry]:
        """Record bytes that stay where a URI says, with what their owner says of them now; nothing is copied.

        A folder, or a prefix of a bucket, gives an entry for each of up to max_objects (10,000) objects, below `name`
        if one is given. Without checksum nothing is asked for, and nothing compared later; see `artstore.references`.

        Raises Invalid (bad-reference, too-many-objects, name-missing), ReferenceMissing, PathCollision, Refused,
        Unreachable, ArtifactFinalizedError.
        """
        self._check_open("add_reference")
        given: object = uri
        if not isinstance(given, str) or "://" not in given:
            message = f"references are URIs, and {given!r} is none: for a local file write file:// and its full path"
            raise Invalid(message, code="bad-reference")
        inside = None if name is None else path_of(name)
        most = limits.MAX_OBJECTS if max_objects is None else max_objects
        return self._contents.add_references(expand.expand(given, name=inside, checksum=checksum, max_objects=most))

    def add_bytes(self, data: bytes, path: str) -> None:
        """Add a file that is in memory; for the objects that are added."""
        self._contents.add_bytes(data, path)

    def remove(self, item: str | os.PathLike[str] | ArtifactManifestEntry) -> None:
        """Remove a file, or every file below a folder. Raises MissingFile, ArtifactFinalizedError."""
        self._check_open("remove")
        self._contents.remove(item)

    def get_added_local_path_name(self, local_path: str | os.PathLike[str]) -> str | None:
        """The path in the artifact under which a local file was added, if it was."""
        return self._contents.name_of_source(local_path)

    # From the first life to the second.

    def finalize(self) -> None:
        """Let nothing be added or removed any more. Logging does so too."""
        self._is_final = True

    def save(self, project: str | None = None, settings: object = None) -> None:
        """Keep it: a draft is logged, a version's changed labels are written.

        A draft is logged by the active run, in the background; without one by a run of its own, of the job type
        `auto`, and then it is there when this returns. `settings` is taken and means nothing.
        """
        del settings
        if self._task is not None or self._info is not None:
            self.wait()
            assert self._hall is not None
            with users_errors():
                self._become(self._hall, self._labels.save(self._hall.settled()))
            return
        run = active.run_of_process()
        if run is not None:
            run.log_artifact(self)
            return
        hall = self._contents.hall or active.hall()
        wanted = project_or_default(project or (self._base.project if self._base else None))
        automatic = hall.settled().start_run(project=wanted, job_type=AUTOMATIC)
        try:
            self.log_to(hall, wanted, automatic.id)
            self.wait()
        except BaseException:
            hall.settled().finish_run(automatic.id, state="crashed", project=wanted)
            raise
        hall.settled().finish_run(automatic.id, project=wanted)

    def log_to(
        self,
        hall: Hall,
        project: str,
        run: str,
        *,
        aliases: object = None,
        tags: object = None,
    ) -> Task[VersionInfo]:
        """Ask for the version to be made, after all that was asked for before; users call `Run.log_artifact`."""
        named, marked = checked_aliases(aliases), checked_tags(tags)
        if not self.is_new:
            return self._log_again(hall, project, run, named, marked)
        return self._become_later(hall, self._commit(self._hand_over(hall, project), project, run, named, marked))

    def add_part_to(self, hall: Hall, project: str, run: str, distributed_id: str, *, aliases: object) -> Task[str]:
        """Ask for a part of a version to be made, that several writers make; users call `Run.upsert_artifact`."""
        named = checked_aliases(aliases)
        self._check_new("upsert_artifact")
        self._distributed_id = distributed_id
        draft = self._hand_over(hall, project)
        label = self._label(project, run, named)

        def make() -> str:
            with draft:
                return hall.store.add_part(draft, distributed_id=distributed_id, **label)

        self._part = hall.queue.add(self._name, make)
        return self._part

    def finish_parts_in(
        self, hall: Hall, project: str, run: str, distributed_id: str, *, aliases: object, expect: int | None
    ) -> Task[VersionInfo]:
        """Ask for the version of all parts and this to be made; users call `Run.finish_artifact`."""
        named = checked_aliases(aliases)
        self._check_new("finish_artifact")
        self._distributed_id = distributed_id
        draft = self._hand_over(hall, project)
        label = self._label(project, run, named)
        ttl_s = self._labels.ttl_s

        def make() -> VersionInfo:
            with draft:
                info = hall.store.finish_parts(
                    draft, distributed_id=distributed_id, ttl_s=ttl_s, expect=expect, **label
                )
                _tell(draft)
                return info

        return self._become_later(hall, make)

    def wait(self, timeout: float | None = None) -> Self:
        """Return when it is a version, with all that only a version has; or, of a part, when that is safe.

        Raises what the logging came to, WaitTimeoutError after `timeout` seconds, ArtifactNotLoggedError for a draft.
        """
        if self._part is not None:
            self._part.result(timeout)
            return self
        if self._task is None:
            if self._info is None:
                raise self._not_logged("wait")
            return self
        info = self._task.result(timeout)
        self._task = None
        assert self._hall is not None
        self._become(self._hall, info)
        return self

    def new_draft(self) -> Artifact:
        """A draft with the entries, description and metadata of this version; logged, it is the next one.

        No file is read again. Aliases, tags and the time to live stay behind.
        """
        info = self._version("new_draft")
        assert self._hall is not None
        made = Artifact(info.collection, info.type, self.description, self.metadata)
        made._base = info
        with users_errors():
            self._hall.settled().build_on(made._contents.settle_in(self._hall), reading.exact(info))
        return made

    # What is in a version.

    def download(
        self,
        root: str | os.PathLike[str] | None = None,
        allow_missing_references: bool = False,
        skip_cache: bool | None = None,
        path_prefix: str | os.PathLike[str] | None = None,
        multipart: bool | None = None,
    ) -> str:
        """Write the files below a folder, verified, and answer that folder; other files there stay as they are.

        Default: a folder named after the version in `$ARTSTORE_ARTIFACT_DIR`, else in `./artifacts`. With `path_prefix`
        only paths that begin so. With `allow_missing_references` what is gone is left out with a warning. There is no
        cache to skip, and nothing to take in parts: the two are not used.

        Raises ReferenceMissing, ReferenceChanged, and what else keeps files from being written; see Store.get.
        """
        del skip_cache, multipart
        return reading.download(
            self._store("download"),
            self._version("download"),
            root,
            path_prefix=path_prefix,
            allow_missing=allow_missing_references,
        )

    def checkout(self, root: str | os.PathLike[str] | None = None) -> str:
        """Make a folder hold the files of the version and no others, and answer it.

        Default: as `download`, in a folder named after the collection.
        """
        return reading.checkout(self._store("checkout"), self._version("checkout"), root)

    def verify(self, root: str | os.PathLike[str] | None = None) -> None:
        """Raise where a folder does not hold the files of the version, byte for byte, and no others.

        Raises Invalid (not-a-member, digest-mismatch), MissingFile. What references stand for is not looked at.
        """
        reading.verify(self._store("verify"), self._version("verify"), root)

    def file(self, root: str | os.PathLike[str] | None = None) -> str:
        """Write the only file, by default below `./artifacts`, and answer where. Raises Invalid (several-files)."""
        return reading.the_file(self._store("file"), self._version("file"), root)

    def files(self, names: Sequence[str] | None = None, per_page: int = 50, start: str | None = None) -> ArtifactFiles:
        """The files, those of the names if some are given; see Paginator."""
        info = self._version("files")
        return ArtifactFiles(
            f"{owner()}/{info.ref}", lambda: self._entries(info), names, per_page=per_page, start=start
        )

    def write_entry(self, path: str, root: str | None) -> str:
        """Write one file; what users call is `ArtifactManifestEntry.download`."""
        return reading.write_entry(self._store("get_entry"), self._version("get_entry"), path, root)

    def get_entry(self, name: str | os.PathLike[str]) -> ArtifactManifestEntry:
        """The entry of a path, or of an object by the name it was added with. Raises MissingEntry."""
        wanted = path_of(name)
        entries = self.manifest.entries
        names = [wanted, *(file_name(kind, wanted) for kind in data_types.KINDS)]
        found = next((entries[name] for name in names if name in entries), None)
        if found is None:
            message = f"path not contained in artifact: {wanted!r} is not in {self.name}"
            raise MissingEntry(message, code="path-not-found")
        return found

    def get(self, name: str | os.PathLike[str]) -> Value | None:
        """The object that was added under a name; None if there is none. `artifact[name]` does the same.

        Raises Corrupt (bad-value), ArtifactNotLoggedError.
        """
        self._version("get")
        path = data_types.find(path_of(name), self)
        if path is None:
            return None
        value = data_types.decode(path, self)
        value.home = (self, path)
        return value

    def __getitem__(self, name: str) -> Value | None:
        return self.get(name)

    def paths(self, prefix: str = "") -> list[str]:
        """The paths that begin so, sorted."""
        if self._info is None:
            return self._contents.paths(prefix)
        return [path for path in self.manifest.entries if path.startswith(prefix)]

    def open(self, path: str) -> BinaryIO:
        """A file of the version, to read; every read is verified. Raises NotFound (path-not-found)."""
        return reading.open_file(self._store("open"), self._version("open"), path)

    def get_path(self, name: str | os.PathLike[str]) -> ArtifactManifestEntry:
        """An older word for `get_entry`."""
        return self.get_entry(name)

    # What happens to a version.

    @property
    def collection(self) -> ArtifactCollection[Artifact]:
        """The collection that it is a version of; of a link, the portfolio."""
        info = self._version("collection")
        return self._collection(info.link or info)

    @property
    def source_collection(self) -> ArtifactCollection[Artifact]:
        """The collection where it was logged."""
        return self._collection(self._version("source_collection"))

    @property
    def source_artifact(self) -> Artifact:
        """The version itself, where this is a link."""
        info = self._version("source_artifact")
        if info.link is None:
            return self
        assert self._hall is not None
        with users_errors():
            return Artifact.of_version(self._hall, self._hall.settled().version(reading.exact(info)))

    @property
    def linked_artifacts(self) -> list[Artifact]:
        """The version as it is in each portfolio."""
        info, hall = self._version("linked_artifacts"), self._hall
        assert hall is not None
        with users_errors():
            return [Artifact.of_version(hall, each) for each in hall.settled().links_of(reading.exact(info))]

    def link(self, target_path: str, aliases: Sequence[str] | str | None = None) -> Artifact:
        """Put the version into the portfolio `[[entity/]project/]name`, made if it is not there, and answer the link.

        A draft is logged first. In the portfolio it has a number and aliases of its own; the same version again keeps
        its number. Raises Invalid (not-a-portfolio, type-clash, bad-alias, bad-reference).
        """
        if self._info is None:
            if self._task is None:
                self.save()
            self.wait()
        info, hall = self._version("link"), self._hall
        assert hall is not None
        run = active.run_of_process()
        project = info.project if run is None else run.project
        with users_errors():
            linked = hall.settled().link(
                reading.exact(info), target_path, aliases=checked_aliases(aliases), project=project
            )
        return Artifact.of_version(hall, linked)

    def unlink(self) -> None:
        """Take the version out of the portfolio through which it was reached. Raises Invalid (not-a-link)."""
        link = self._version("unlink").link
        if link is None:
            message = f"{self.name!r} is no link, but the version itself: use `Artifact.delete` to delete it"
            raise Invalid(message, code="not-a-link")
        with users_errors():
            self._store("unlink").unlink(link.ref)
        self._is_deleted = True

    def logged_by(self) -> PastRun[Artifact] | None:
        """The run that made it; None where that is not known here."""
        with users_errors():
            info = self._store("logged_by").logged_by(reading.exact(self._version("logged_by")))
        return None if info is None else self._run(info)

    def used_by(self) -> list[PastRun[Artifact]]:
        """The runs that used it, in that order."""
        with users_errors():
            found = self._store("used_by").used_by(reading.exact(self._version("used_by")))
        return [self._run(info) for info in found]

    def delete(self, delete_aliases: bool = False) -> None:
        """Delete the version; `artstore gc` frees what only it held. A link is taken out of its portfolio, no more.

        Raises AliasedArtifact while an alias other than `latest` stands on it, or a portfolio has it, unless
        delete_aliases.
        """
        info = self._version("delete")
        if info.link is not None:
            self.unlink()
            return
        with users_errors():
            self._store("delete").delete(reading.exact(info), force=delete_aliases)
        self._is_deleted = True

    def json_encode(self) -> dict[str, Any]:
        """How the config of a run says which version is meant."""
        info = self._version("json_encode")
        return {
            "_type": "artifactVersion",
            "_version": "v0",
            "id": info.id,
            "version": f"v{info.number}",
            "sequenceName": info.collection,
            "usedAs": self._use_as,
        }

    # Inside.

    @property
    def info(self) -> VersionInfo:
        """What the store says of the version. Raises ArtifactNotLoggedError."""
        return self._version("info")

    @property
    def hall(self) -> Hall | None:
        """The store that it is in, or will be."""
        return self._hall or self._contents.hall

    def _become(self, hall: Hall, info: VersionInfo) -> None:
        self._hall = hall
        self._info = info
        self._labels.take(info)

    def _entries(self, info: VersionInfo) -> list[ArtifactManifestEntry]:
        with users_errors():
            return [of_info(entry, self) for entry in self._store("manifest").entries(reading.exact(info))]

    def _collection(self, where: VersionInfo | LinkInfo) -> ArtifactCollection[Artifact]:
        hall = self._hall
        assert hall is not None
        with users_errors():
            found = hall.settled().collection(where.collection, project=where.project)
        return ArtifactCollection(hall, found, lambda version: Artifact.of_version(hall, version), owner=owner())

    def _warn_of_link(self, what: str) -> None:
        if self.is_link:
            note(f"{self.name} is a link: its {what} are those of {self.source_name}, and change there")

    def _run(self, info: RunInfo) -> PastRun[Artifact]:
        hall = self._hall
        assert hall is not None
        return PastRun(hall, info, lambda version: Artifact.of_version(hall, version), owner=owner())

    def _store(self, member: str) -> Any:
        self._version(member)
        assert self._hall is not None
        return self._hall.settled()

    def _version(self, member: str) -> VersionInfo:
        if self._info is None:
            raise self._not_logged(member)
        return self._info

    def _not_logged(self, member: str) -> ArtifactNotLoggedError:
        way = "call wait() first" if self._task is not None else "log it first, with log_artifact() or save()"
        way = way if self._part is None else "it is a part, and finish_artifact() makes the version"
        message = f"'Artifact.{member}' is what only a logged artifact has, and {self._name!r} is none yet: {way}"
        return ArtifactNotLoggedError(message, code="not-logged", name=member, obj=self)

    def _check_open(self, method: str) -> None:
        if self._is_final:
            message = f"'Artifact.{method}' on {self.name!r}, which is finalized: change a new_draft() of it instead"
            raise ArtifactFinalizedError(message, code="finalized", name=method, obj=self)

    def _check_type(self, hall: Hall, project: str) -> None:
        """Raise at once what else would reach only who waits, where the name is known already."""
        with contextlib.suppress(NotFound):
            there = hall.store.version(f"{project}/{self._name}")
            if there.type != self._type:
                message = (
                    f"artifact {self._name!r} already exists with type {there.type!r}; cannot create another with type "
                    f"{self._type!r}"
                )
                raise Invalid(message, code="type-clash")

    def _hand_over(self, hall: Hall, project: str) -> Draft:
        """End the first life: the draft, checked as far as that can be done at once."""
        home = self._base
        if home is not None and home.project != project:
            message = f"{self._name!r} comes from project {home.project!r}, so it cannot be logged to {project!r}"
            raise Invalid(message, code="other-project")
        self._labels.set_metadata(self._labels.metadata)
        self._check_type(hall, project)
        draft = self._contents.hand_over(hall)
        self._is_final = True
        self._hall = hall
        self._labels.note_logged()
        return draft

    def _label(self, project: str, run: str, aliases: list[str]) -> _Label:
        """What is said about the version: a copy, which nobody can change meanwhile."""
        description, metadata = self._labels.logged()
        return {
            "name": self._name,
            "type": self._type,
            "project": project,
            "aliases": aliases,
            "description": description,
            "metadata": metadata,
            "run": run,
        }

    def _become_later(self, hall: Hall, make: Callable[[], VersionInfo]) -> Task[VersionInfo]:
        self._task = hall.queue.add(self._name, make)
        return self._task

    def _commit(
        self, draft: Draft, project: str, run: str, aliases: list[str], tags: list[str]
    ) -> Callable[[], VersionInfo]:
        """What makes the version; it holds no part of this object that could change meanwhile."""
        hall, label, incremental = self._hall, self._label(project, run, aliases), self._incremental
        ttl_s = self._labels.ttl_s
        assert hall is not None
        store = hall.store

        def make() -> VersionInfo:
            with draft:
                if incremental:
                    with contextlib.suppress(NotFound):
                        store.build_on(draft, f"{label['project']}/{label['name']}")
                info = store.commit(draft, ttl_s=ttl_s, tags=tags, **label)
                _tell(draft)
                return info

        return make

    def _check_new(self, verb: str) -> None:
        if not self.is_new:
            message = f"{self.name!r} was logged already: {verb} takes an artifact that is new, such as a new_draft()"
            raise ArtifactFinalizedError(message, code="finalized", name=verb, obj=self)

    def _log_again(self, hall: Hall, project: str, run: str, aliases: list[str], tags: list[str]) -> Task[VersionInfo]:
        """The same content once more: no new version, but the run counts as one that logged it."""
        if self._hall is not hall:
            message = f"{self.name!r} is in another store than the run's: download it, and log the files there"
            raise Conflict(message, code="other-store")
        before, task, name = self._info, self._task, self._name

        def make() -> VersionInfo:
            info = before if before is not None else task.result() if task is not None else None
            assert info is not None
            if info.project != project:
                message = f"{name!r} exists in project {info.project!r}, so it cannot be logged to {project!r}"
                raise Invalid(message, code="other-project")
            with hall.store.draft() as draft:
                hall.store.build_on(draft, reading.exact(info))
                return hall.store.commit(
                    draft, name=info.collection, type=info.type, project=project, aliases=aliases, run=run, tags=tags
                )

        self._task = hall.queue.add(self._name, make)
        return self._task


class _Label(TypedDict):
    """What the verbs of the store that make versions take alike."""

    name: str
    type: str
    project: str
    aliases: list[str]
    description: str | None
    metadata: dict[str, Any]
    run: str


def _tell(draft: Draft) -> None:
    for warning in draft.warnings:
        note(warning)
