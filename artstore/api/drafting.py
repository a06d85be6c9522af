"""Drafting: what may be done to an artifact before it is logged."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import IO, TYPE_CHECKING, Any

from artstore.api import active
from artstore.api.entries import ArtifactManifestEntry, path_of
from artstore.api.holding import Holding
from artstore.api.late import Late
from artstore.api.stores import POINTERS, named_by_uri, pointed_to
from artstore.api.terminal import note
from artstore.api.values import Value, file_name, is_file_of, named_after
from artstore.errors import ArtifactNotLoggedError, Invalid, WrongType

if TYPE_CHECKING:
    import artstore.discovery as discovery  # noqa: PLR0402 - the root is not imported from
    from artstore.api import data_types
    from artstore.lifecycle.reports import VersionInfo
    from artstore.references import expand
    from artstore.references import wanted as limits
else:
    data_types = Late("artstore.api.data_types")
    discovery = Late("artstore.discovery")
    expand = Late("artstore.references.expand")
    limits = Late("artstore.references.wanted")


class Drafting(Holding):
    """Files, objects and references come and go; each verb raises ArtifactFinalizedError once it is logged."""

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
        to leave out. `merge` replaces what has other bytes already. It is all added or nothing is. On a terminal a line
        shows how far it has come.

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
        (path-taken, bad-mode, bad-path), StorageFull where the store's disk is.
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

        An object that was read from another artifact, or is in one that was logged, becomes a pointer to there, unless
        it was changed since.

        Raises WrongType for what is no Table, PartitionedTable or JoinedTable, what the object has to say (BadTable),
        Invalid (bad-path), ArtifactFinalizedError.
        """
        self._check_open("add")
        given: object = obj
        if not isinstance(given, Value):
            expected = ", ".join(kind.__name__ for kind in data_types.KINDS.values())
            message = f"found object of type {type(given)}, expected one of: {expected}; add a file with add_file"
            raise WrongType(message, code="not-a-value")
        elsewhere = self._elsewhere(obj)
        if elsewhere is None:
            entry = self._contents.add_value(obj, name, self, overwrite=overwrite)
        else:
            version, inside = elsewhere
            assert obj.home is not None
            digest_there = obj.home[0].manifest.entries[inside].digest
            # Two of one join must not get one name.
            path = named_after(obj.kind, file_name(obj.kind, path_of(name)), digest_there)
            there = None if overwrite else self._contents.entry(path)
            entry = there or self._contents.add_link(version, inside, path, overwrite=overwrite)
        if obj.home is None or (elsewhere is None and not obj.home[0].is_draft()):
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

        An entry of a logged artifact, its `ref_url()`, or `artstore://[project/]name:alias/path` makes an entry that
        points to it: it has its bytes, and says where they come from.

        Raises Invalid (bad-reference, too-many-objects, name-missing), ReferenceMissing, PathCollision, Refused,
        Unreachable, ArtifactNotLoggedError, ArtifactFinalizedError.
        """
        self._check_open("add_reference")
        given: object = uri
        inside = None if name is None else path_of(name)
        if isinstance(given, ArtifactManifestEntry):
            inside = inside or given.path
            if given._parent is self and self._contents.entry(given.path) is not None:  # noqa: SLF001 - of this door
                # It is in here already, under its own name.
                return [given]
            if given.ref is None:
                source = _source_of(given)
                return [self._contents.add_link(source, given.path, inside, overwrite=False)]
            given = given.ref
        if isinstance(given, str) and given.startswith(tuple(f"{scheme}://" for scheme in POINTERS)):
            store = (self._contents.hall or active.hall()).settled()
            pointed = pointed_to(store, given) or named_by_uri(store, given, active.project())
            if pointed is not None:
                return [self._contents.add_link(*pointed, inside, overwrite=False)]
        if not isinstance(given, str) or "://" not in given:
            message = f"references are URIs, and {given!r} is none: for a local file write file:// and its full path"
            raise Invalid(message, code="bad-reference")
        discovery.heed_s3_endpoint()
        most = limits.MAX_OBJECTS if max_objects is None else max_objects
        return self._contents.add_references(expand.expand(given, name=inside, checksum=checksum, max_objects=most))

    def add_later(self, local_path: str | os.PathLike[str]) -> None:
        """Add what stands at a path now, to be read in the background; for `Run.log_artifact` of a path."""
        self._check_open("add_later")
        self._contents.add_later(local_path)

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

    def _elsewhere(self, obj: Value) -> tuple[VersionInfo, str] | None:
        """The version that has an object already, and its path there; None where this artifact has to keep it."""
        if obj.home is None:
            return None
        artifact, path = obj.home
        hall = self._contents.hall or active.hall()
        is_elsewhere = artifact is not self and not artifact.is_draft() and artifact.hall is hall
        # What was changed since is not what is there, and has to be kept here.
        if not is_elsewhere or not is_file_of(obj, artifact.manifest.entries[path].digest, artifact):
            return None
        return artifact.info, path

    def finalize(self) -> None:
        """Let nothing be added or removed any more. Logging does so too."""
        self._is_final = True


def _source_of(entry: ArtifactManifestEntry) -> VersionInfo:
    """The version that an entry is of. Raises ArtifactNotLoggedError where that is none yet."""
    artifact = entry.parent_artifact()
    if artifact.is_draft():
        message = (
            f"{entry.path!r} is an entry of {artifact.name!r}, which is no version yet: log it and wait() for it, "
            "then refer to the entry"
        )
        raise ArtifactNotLoggedError(message, code="not-logged", name="add_reference", obj=artifact)
    info: VersionInfo = artifact.info
    return info
