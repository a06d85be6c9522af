"""Contents: what is put together for a version.

What is added is stored when it is added, so a draft stands behind it from the first file on, in the store of the run
that is active then.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import secrets
import threading
import weakref
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final

from artstore.api import active
from artstore.api.entries import ArtifactManifestEntry, Parent, of_model, path_of, to_model
from artstore.api.late import Late
from artstore.api.later import Later
from artstore.api.settings import system_path
from artstore.api.stores import users_errors
from artstore.api.terminal import moving
from artstore.api.values import Holder, Value, encode, file_name, placed_name
from artstore.errors import Conflict, Invalid, MissingFile, NotFound, Refused

if TYPE_CHECKING:
    from artstore.api.stores import Hall
    from artstore.lifecycle import standing
    from artstore.lifecycle.draft import Draft
    from artstore.lifecycle.reports import VersionInfo
    from artstore.model import digest, manifest
    from artstore.model.digest import Digest
    from artstore.model.manifest import BlobEntry, Entry, ReferenceEntry
    from artstore.storage import reserve
else:
    digest = Late("artstore.model.digest")
    manifest = Late("artstore.model.manifest")
    reserve = Late("artstore.storage.reserve")
    standing = Late("artstore.lifecycle.standing")

POLICIES: Final = ("mutable", "immutable")
"""Whether W&B copies a file that is added; artstore keeps it in either case, and once."""
AT_ONCE: Final = 32 << 20
"""Bytes of a path that is logged which are read before the call returns: a tenth of a second or so."""
_MODE = re.compile(r"[xw](\+?[bt]?|[bt]\+)")
_DIGITS: Final = 20
"""Hex digits of a digest in a name that is made of it."""


class Contents:
    """The entries of one artifact while it is a draft. Threads may add to it together."""

    def __init__(self, parent: Parent) -> None:
        # Not the artifact itself: in a circle, what is given up would keep its place in the store for longer.
        self._parent = weakref.ref(parent)
        self._lock = threading.RLock()
        self._draft: Draft | None = None
        self._ending: weakref.finalize[..., Any] | None = None
        self._there: Mapping[str, Entry] = {}
        """What the draft has, also when it was given away."""
        self._hall: Hall | None = None
        self._pid = os.getpid()
        self._sources: dict[str, str] = {}
        self._folders: list[tuple[str, str]] = []
        self._values: dict[str, Value] = {}
        self._later: Later | None = None

    @property
    def draft(self) -> Draft:
        """The draft behind it, begun when it is first asked for. Raises Conflict (other-process) after a fork."""
        with self._lock:
            if self._draft is None:
                self._pid = os.getpid()
                self._hall = self._hall or active.hall()
                self._draft = self._hall.store.draft()
                self._there = self._draft.entries
                # An artifact that nobody logs leaves nothing behind.
                self._ending = weakref.finalize(self, self._draft.discard)
            elif self._pid != os.getpid():
                message = f"this artifact was begun by the process {self._pid}: make one in each process"
                raise Conflict(message, code="other-process")
            return self._draft

    @property
    def hall(self) -> Hall | None:
        """The store that it goes to; None as long as nothing was added."""
        return self._hall

    def settle_in(self, hall: Hall) -> Draft:
        """The draft, for a version in this store. Raises Conflict (other-store) where it was begun in another one."""
        with self._lock:
            if self._hall is not None and self._hall is not hall:
                message = (
                    f"what was added is in the store {str(self._hall.store.path)!r}, and the run keeps in "
                    f"{str(hall.store.path)!r}: begin the run first, then make the artifact"
                )
                raise Conflict(message, code="other-store")
            self._hall = hall
            return self.draft

    def hand_over(self, hall: Hall) -> contextlib.AbstractContextManager[Draft]:
        """Give the draft to who commits it: it lives as long as that takes, whatever becomes of the artifact.

        What is still to be read is read when it is entered. What was added can still be looked at here. Raises as
        settle_in.
        """
        with self._lock:
            draft = self.settle_in(hall)
            assert self._ending is not None
            self._ending.detach()
            self._draft = None
            return _whole(draft, self._later)

    def entry(self, path: str) -> ArtifactManifestEntry | None:
        """What stands at a path."""
        self._wait_for_all()
        found = self._there.get(path)
        return None if found is None else of_model(found, self._parent())

    def entries(self) -> list[ArtifactManifestEntry]:
        """What was added, sorted by path."""
        self._wait_for_all()
        return [of_model(self._there[path], self._parent()) for path in sorted(self._there)]

    def paths(self, prefix: str = "") -> list[str]:
        """The paths that begin so, sorted."""
        self._wait_for_all()
        return sorted(path for path in self._there if path.startswith(prefix))

    @property
    def size(self) -> int:
        """Bytes of all that was added."""
        self._wait_for_all()
        return sum(entry.size or 0 for entry in self._there.values())

    @property
    def digest(self) -> Digest:
        """The digest of all that was added."""
        self._wait_for_all()
        return manifest.digest_of_lines(self._there[path].line() for path in sorted(self._there))

    def add_file(
        self,
        local_path: object,
        name: object = None,
        *,
        is_tmp: bool = False,
        policy: object = "mutable",
        overwrite: bool = False,
    ) -> ArtifactManifestEntry:
        """Add a file, by default under its own name; see Artifact.add_file."""
        _check_policy(policy)
        source = system_path(local_path, what="local_path")
        path = source.name if name is None else path_of(name)
        with self._lock:
            draft = self.draft
            try:
                if is_tmp:
                    added = _add_by_digest(draft, source, path, overwrite=overwrite)
                else:
                    added = draft.add_file(source, path, overwrite=overwrite)
            except NotFound as error:
                message = f"path is not a file: {str(source)!r} is not there"
                raise Invalid(message, code="not-a-file") from error
            self._sources[os.path.abspath(source)] = added.path
        made = of_model(added, self._parent())
        made.local_path = str(source)
        return made

    def add_dir(
        self, local_path: object, name: object = None, *, policy: object = "mutable", merge: bool = False
    ) -> None:
        """Add every file below a folder; see Artifact.add_dir."""
        _check_policy(policy)
        folder = system_path(local_path, what="local_path")
        prefix = "" if name is None or str(name) in {"", ".", "./"} else path_of(name)
        with self._lock, _systems_errors(), moving(f"adding {str(folder)!r}") as progress:
            self.draft.add_directory(folder, prefix, overwrite=merge, progress=progress)
            self._folders.append((os.path.abspath(folder), prefix))

    def add_later(self, local_path: object) -> None:
        """Add a file under its own name, or every file below a folder, to be read by who commits it.

        It comes as it stands now, or not at all; what is no larger than AT_ONCE is read at once. Raises as add_file and
        add_dir, but for what only reading tells.
        """
        source = system_path(local_path, what="local_path")
        is_file = source.is_file()
        with self._lock, _systems_errors():
            try:
                there = standing.Standing(self.draft, source)
            except Invalid as error:
                if error.code != "empty-draft":
                    raise
                return
            if there.bytes <= AT_ONCE:
                there.add()
            else:
                self._later = Later(there)
            if is_file:
                self._sources[os.path.abspath(source)] = source.name
            else:
                self._folders.append((os.path.abspath(source), ""))

    @contextlib.contextmanager
    def new_file(self, name: object, mode: str, encoding: str | None, *, policy: object) -> Iterator[IO[Any]]:
        """A file to write, added when it is closed; see Artifact.new_file."""
        _check_policy(policy)
        if not _MODE.fullmatch(mode):
            message = f"a new file is opened with the mode 'x', 'w', 'xb' or 'wb', not {mode!r}"
            raise Invalid(message, code="bad-mode")
        path = path_of(name)
        overwrite = "w" in mode
        if not overwrite and self.entry(path) is not None:
            message = f"a file with the name {path!r} is there already: choose another, or the mode 'w'"
            raise Invalid(message, code="path-taken")
        with self._lock:
            # Under its own name, since some libraries want a path, and look at its ending.
            place = self.draft.scratch() / f"new-{secrets.token_hex(4)}" / Path(path).name
        place.parent.mkdir()
        try:
            with (
                reserve.full_errors(place.parent, f"writing the new file {path!r}"),
                place.open(mode.replace("x", "w"), encoding=encoding) as file,
            ):
                yield file
            with self._lock:
                self.draft.add_file(place, path, overwrite=overwrite)
        finally:
            place.unlink(missing_ok=True)
            place.parent.rmdir()

    def add_bytes(self, data: bytes, path: str, *, overwrite: bool = False) -> ArtifactManifestEntry:
        """Add bytes in memory."""
        with self._lock:
            return of_model(self.draft.add_stream(io.BytesIO(data), path, overwrite=overwrite), self._parent())

    def add_value(self, value: Value, name: object, holder: Holder, *, overwrite: bool) -> ArtifactManifestEntry:
        """Add an object; see Artifact.add. What it keeps in files beside it goes to the holder."""
        path = file_name(value.kind, path_of(name))
        with self._lock:
            there = self.entry(path)
            if there is not None and not overwrite:
                return there
            data = encode(value, holder)
            for at in [at for at, each in self._values.items() if each is value and at != path]:
                # The same object as before, unless it was changed since.
                before = self.entry(at)
                if before is not None and before.digest == str(digest.Digest.of(data)):
                    return before
            path = placed_name(value.kind, path, data)
            self._values[path] = value
            return self.add_bytes(data, path, overwrite=overwrite)

    def value(self, path: str) -> Value | None:
        """The object that was added as this file, if one was."""
        return self._values.get(path)

    def add_link(self, source: VersionInfo, path: str, name: str | None, *, overwrite: bool) -> ArtifactManifestEntry:
        """Point to a file of another version. Raises MissingArtifact, NotFound (path-not-found), PathCollision."""
        with self._lock, users_errors():
            return of_model(self.draft.add_link(source, path, name, overwrite=overwrite), self._parent())

    def add_references(self, entries: Sequence[ReferenceEntry]) -> list[ArtifactManifestEntry]:
        """Add references, all or none. Raises PathCollision where a path has something else already."""
        with self._lock:
            self.draft.add_entries(entries)
        return [of_model(entry, self._parent()) for entry in entries]

    def add_entry(self, entry: ArtifactManifestEntry, *, overwrite: bool) -> None:
        """Add an entry that was made by hand: of a local file, a reference, or one that another artifact has.

        Raises Invalid (no-bytes) where there are no bytes behind it.
        """
        with self._lock:
            if entry.local_path is not None:
                self.add_file(entry.local_path, entry.path, overwrite=overwrite)
                return
            if entry.ref is None and entry._parent is None:  # noqa: SLF001 - of this door
                message = f"{entry.path!r} has a digest and no bytes: give a local_path, or an entry of an artifact"
                raise Invalid(message, code="no-bytes")
            self.draft.add_entry(to_model(entry), overwrite=overwrite)

    def remove(self, path: object) -> None:
        """Remove a file, or every file below a folder. Raises MissingFile."""
        wanted = path_of(path)
        with self._lock:
            try:
                self.draft.remove(wanted)
            except NotFound as error:
                raise MissingFile(error.message, code=error.code, problems=error.problems) from error

    def _wait_for_all(self) -> None:
        """Return when there is nothing left to be read."""
        if self._later is not None:
            self._later.wait()

    def name_of_source(self, local_path: object) -> str | None:
        """The path under which a local file was added, if it was."""
        source = os.path.abspath(system_path(local_path, what="local_path"))
        found = self._sources.get(source)
        for folder, prefix in self._folders:
            if found is None and source.startswith(folder + os.sep):
                inside = source[len(folder) + 1 :].replace(os.sep, "/")
                found = f"{prefix}/{inside}" if prefix else inside
        return found if found is not None and self.entry(found) is not None else None


@contextlib.contextmanager
def _whole(draft: Draft, later: Later | None) -> Iterator[Draft]:
    with draft:
        if later is not None:
            later.read()
        yield draft


@contextlib.contextmanager
def _systems_errors() -> Iterator[None]:
    """Raise what W&B's users catch of a folder that cannot be kept: to them what it holds is the system's error."""
    try:
        yield
    except (Refused, Invalid) as error:
        if error.code not in {"unreadable", "unkeepable"}:
            raise
        if "a link to nothing" in error.message:
            raise MissingFile(error.message, code=error.code, problems=error.problems) from error
        raise Refused(error.message, code=error.code, problems=error.problems) from error


def _check_policy(policy: object) -> None:
    if policy is not None and policy not in POLICIES:
        message = f"invalid policy {policy!r}: it may be 'mutable' or 'immutable'"
        raise Invalid(message, code="bad-policy")


def _add_by_digest(draft: Draft, source: Path, path: str, *, overwrite: bool) -> BlobEntry:
    """Add a file whose name, up to the first dot, becomes the beginning of its digest."""
    folder, _, name = path.rpartition("/")
    first, dot, rest = name.partition(".")
    del first
    waiting = f"{folder}/{secrets.token_hex(8)}" if folder else secrets.token_hex(8)
    added = draft.add_file(source, waiting)
    draft.remove(waiting)
    named = f"{added.digest.hex()[:_DIGITS]}{dot}{rest}"
    entry = manifest.BlobEntry(f"{folder}/{named}" if folder else named, added.digest, added.size)
    draft.add_entry(entry, overwrite=overwrite)
    return entry
