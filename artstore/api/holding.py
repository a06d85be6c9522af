"""Holding: what is in a version, and how it gets to where it is wanted."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, BinaryIO, cast

from artstore.api import reading
from artstore.api.entries import ArtifactManifest, ArtifactManifestEntry, of_info, path_of
from artstore.api.facts import owner
from artstore.api.files import ArtifactFiles
from artstore.api.labelled import Labelled
from artstore.api.late import Late
from artstore.api.stores import pointed_to, users_errors
from artstore.api.values import Holder, Value, file_name
from artstore.errors import MissingArtifact, MissingEntry

if TYPE_CHECKING:
    from artstore.api import data_types
    from artstore.lifecycle.reports import VersionInfo
else:
    data_types = Late("artstore.api.data_types")


class Holding(Labelled):
    """Its entries; those of a draft as far as they can be seen before it is committed."""

    @property
    def manifest(self) -> ArtifactManifest:
        """Its entries. That of a draft can be changed, and the draft with it."""
        if self._info is None:
            entries = {entry.path: entry for entry in self._contents.entries()}
            return ArtifactManifest(entries, drafted=None if self._is_final else self._contents)
        if self._manifest is None:
            self._manifest = ArtifactManifest.fixed({entry.path: entry for entry in self._entries(self._info)})
        return self._manifest

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
        holder = cast("Holder", self)  # An artifact is one.
        path = data_types.find(path_of(name), holder)
        if path is None:
            return None
        entry = self.manifest.entries[path]
        with contextlib.suppress(MissingArtifact):
            # What it keeps in files beside it is where it came from.
            source = pointed_to(self._store("get"), entry.ref or "")
            if source is not None:
                assert self._hall is not None
                return type(self).of_version(self._hall, source[0]).get(source[1])
        value = data_types.decode(path, holder)
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

    def _entries(self, info: VersionInfo) -> list[ArtifactManifestEntry]:
        with users_errors():
            return [of_info(entry, self) for entry in self._store("manifest").entries(info.exact)]
