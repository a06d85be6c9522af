"""Entries: what an artifact holds, path by path, as W&B's users look at it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from concurrent.futures import Executor
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

from artstore.api.late import Late
from artstore.api.settings import system_path
from artstore.errors import ArtifactFinalizedError, Invalid, MissingFile, WrongType
from artstore.model.paths import entry_path

if TYPE_CHECKING:
    from artstore.lifecycle.reports import EntryInfo
    from artstore.model import digest, manifest
    from artstore.model.manifest import Entry, ReferenceEntry
else:
    digest = Late("artstore.model.digest")
    manifest = Late("artstore.model.manifest")

VERSION: Final = 1
_POLICY: Final = {"storagePolicy": "wandb-storage-policy-v1", "storagePolicyConfig": {"storageLayout": "V2"}}
"""What W&B's own reader of manifests asks for."""


class Parent(Protocol):
    """What an entry asks of the artifact that holds it."""

    @property
    def id(self) -> str | None:
        """Id of the version; None while it is a draft."""

    @property
    def project(self) -> str:
        """Where it lives. Raises ArtifactNotLoggedError."""

    def write_entry(self, path: str, root: str | None) -> str:
        """Write one file below a folder; answers where it is."""


class ArtifactManifestEntry:
    """A path in an artifact: bytes that the store has, or a reference to bytes elsewhere."""

    __slots__ = ("_parent", "birth_artifact_id", "digest", "extra", "local_path", "path", "ref", "size", "skip_cache")

    def __init__(
        self,
        path: str,
        digest: str,
        ref: str | None = None,
        birth_artifact_id: str | None = None,
        size: int | None = None,
        extra: dict[str, Any] | None = None,
        local_path: str | None = None,
        skip_cache: bool = False,
    ) -> None:
        """Make one by hand; the size of a local file is asked for. Raises MissingFile where that file is gone."""
        self.path = path
        self.digest = digest
        self.ref = ref
        self.birth_artifact_id = birth_artifact_id
        self.size = size
        self.extra = extra or {}
        self.local_path = local_path
        self.skip_cache = skip_cache
        self._parent: Parent | None = None
        if local_path is not None and size is None:
            try:
                self.size = system_path(local_path, what="local_path").stat().st_size
            except FileNotFoundError as error:
                message = f"there is no file {local_path!r}"
                raise MissingFile(message, code="source-not-found") from error

    @property
    def name(self) -> str:
        """An older word for `path`."""
        return self.path

    def parent_artifact(self) -> Any:
        """The artifact that holds it. Raises NotImplementedError, as W&B does, for one that was made by hand."""
        if self._parent is None:
            raise NotImplementedError
        return self._parent

    def download(
        self,
        root: str | Path | None = None,
        skip_cache: bool | None = None,
        executor: Executor | None = None,
    ) -> str:
        """Write the file below a folder, by default that of its artifact, verified; answers where it is.

        There is no cache to be skipped, and one file needs no threads: the other two are taken and not used.
        """
        del skip_cache, executor
        parent: Parent = self.parent_artifact()
        return parent.write_entry(self.path, None if root is None else str(root))

    def ref_target(self) -> str:
        """The URI of the bytes that a reference stands for. Raises Invalid (not-a-reference)."""
        if self.ref is None:
            message = f"{self.path!r} is no reference: the store has its bytes, and only references have a target"
            raise Invalid(message, code="not-a-reference")
        return self.ref

    def ref_url(self) -> str:
        """A URI for this very entry, which `add_reference` of another artifact takes.

        Raises Invalid (no-parent), ArtifactNotLoggedError.
        """
        if self._parent is None:
            message = f"{self.path!r} belongs to no artifact: only an entry of a logged one can be referred to"
            raise Invalid(message, code="no-parent")
        return f"artstore://{self._parent.project}/{self._parent.id}/{self.path}"

    def to_json(self) -> dict[str, Any]:
        """What a manifest says of it; what is not known is left out."""
        said: dict[str, Any] = {"digest": self.digest}
        if self.ref is not None:
            said["ref"] = self.ref
        if self.birth_artifact_id is not None:
            said["birthArtifactID"] = self.birth_artifact_id
        if self.size is not None:
            said["size"] = self.size
        if self.extra:
            said["extra"] = self.extra
        return said

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ArtifactManifestEntry):
            return NotImplemented
        return (self.path, self.to_json()) == (other.path, other.to_json())

    def __hash__(self) -> int:
        return hash((self.path, self.digest, self.ref))

    def __repr__(self) -> str:
        said = {"path": self.path, **self.to_json(), "local_path": self.local_path, "skip_cache": self.skip_cache}
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in said.items() if value)})"


class ArtifactManifest:
    """The entries of an artifact; that of a draft can be changed, and the draft with it."""

    def __init__(
        self, entries: dict[str, ArtifactManifestEntry] | None = None, *, drafted: Drafted | None = None
    ) -> None:
        self.entries: dict[str, ArtifactManifestEntry] = {} if entries is None else entries
        self._drafted = drafted
        self._is_fixed = False

    @classmethod
    def fixed(cls, entries: dict[str, ArtifactManifestEntry]) -> ArtifactManifest:
        """That of a version."""
        made = cls(entries)
        made._is_fixed = True
        return made

    @classmethod
    def from_manifest_json(cls, data: Mapping[str, Any]) -> ArtifactManifest:
        """Read what `to_manifest_json` wrote, here or in W&B. Raises Invalid (manifest-version, manifest-damaged)."""
        if data.get("version") != VERSION:
            message = f"a manifest of version {data.get('version')!r} cannot be read: this one knows version {VERSION}"
            raise Invalid(message, code="manifest-version")
        try:
            return cls({path: _from_json(path, said) for path, said in data["contents"].items()})
        except (KeyError, TypeError, AttributeError) as error:
            message = f"that is no manifest: {error!r} is missing or wrong in it"
            raise Invalid(message, code="manifest-damaged") from error

    def to_manifest_json(self) -> dict[str, Any]:
        """As W&B writes it, with artstore's digests."""
        contents = {path: self.entries[path].to_json() for path in sorted(self.entries)}
        return {"version": VERSION, **_POLICY, "contents": contents}

    def digest(self) -> str:
        """The digest of all of it, `blake3:<hex>`: equal content, equal digest."""
        return str(manifest.digest_of_lines(to_model(self.entries[path]).line() for path in sorted(self.entries)))

    def size(self) -> int:
        """Bytes of all entries, references included where their size is known."""
        return sum(entry.size or 0 for entry in self.entries.values())

    def add_entry(self, entry: ArtifactManifestEntry, overwrite: bool = False) -> None:
        """Add an entry. Raises PathCollision where the path has other bytes already, unless overwrite.

        Raises ArtifactFinalizedError on the manifest of a version.
        """
        self._check_open("add_entry")
        if self._drafted is not None:
            self._drafted.add_entry(entry, overwrite=overwrite)
        elif not overwrite and self.entries.get(entry.path, entry) != entry:
            message = f"cannot add the same path twice: {entry.path!r}"
            raise Invalid(message, code="path-taken")
        self.entries[entry.path] = entry

    def remove_entry(self, entry: ArtifactManifestEntry) -> None:
        """Remove an entry. Raises MissingFile, and ArtifactFinalizedError on the manifest of a version."""
        self._check_open("remove_entry")
        if entry.path not in self.entries:
            message = f"no such file or directory: {entry.path!r}"
            raise MissingFile(message, code="path-not-found")
        if self._drafted is not None:
            self._drafted.remove(entry.path)
        del self.entries[entry.path]

    def get_entry_by_path(self, path: str) -> ArtifactManifestEntry | None:
        """The entry of a path, if there is one."""
        return self.entries.get(path)

    def get_entries_in_directory(self, directory: str) -> list[ArtifactManifestEntry]:
        """The entries below a folder, of all depths."""
        start = f"{directory.rstrip('/')}/"
        return [entry for path, entry in sorted(self.entries.items()) if path.startswith(start)]

    def __len__(self) -> int:
        return len(self.entries)

    def _check_open(self, method: str) -> None:
        if self._is_fixed:
            message = f"{method!r} of the manifest of a version: a version never changes, make a new_draft() of it"
            raise ArtifactFinalizedError(message, code="finalized", name=method, obj=self)


class Drafted(Protocol):
    """The draft whose manifest is looked at."""

    def add_entry(self, entry: ArtifactManifestEntry, *, overwrite: bool) -> None:
        """Take an entry that was made by hand."""

    def remove(self, path: str) -> None:
        """Take a path out."""


def of_model(entry: Entry, parent: Parent | None) -> ArtifactManifestEntry:
    """An entry of a draft as its users see it."""
    if isinstance(entry, manifest.BlobEntry):
        made = ArtifactManifestEntry(entry.path, str(entry.digest), size=entry.size)
    else:
        extra = json.loads(entry.extra)
        made = ArtifactManifestEntry(entry.path, entry.checksum, entry.uri, size=entry.size, extra=extra)
    made._parent = parent  # noqa: SLF001 - of this module
    return made


def of_info(info: EntryInfo, parent: Parent) -> ArtifactManifestEntry:
    """An entry of a version as its users see it."""
    made = ArtifactManifestEntry(info.path, info.digest or info.checksum or "", info.uri, size=info.size)
    made.extra = dict(info.extra or {})
    made._parent = parent  # noqa: SLF001 - of this module
    return made


def to_model(entry: ArtifactManifestEntry) -> Entry:
    """The entry as a draft takes it. Raises Invalid (bad-path, bad-digest, bad-reference)."""
    path = entry_path(entry.path)
    if entry.ref is not None:
        found: ReferenceEntry = manifest.reference(
            path, entry.ref, checksum=entry.digest, size=entry.size, extra=entry.extra
        )
        return found
    if entry.size is None:
        message = f"{entry.path!r} is given with a digest and no size: add the file itself"
        raise Invalid(message, code="bad-digest")
    return manifest.BlobEntry(path, digest.Digest.parse(entry.digest), entry.size)


def _from_json(path: str, said: Mapping[str, Any]) -> ArtifactManifestEntry:
    return ArtifactManifestEntry(
        path,
        said["digest"],
        said.get("ref"),
        said.get("birthArtifactID"),
        said.get("size"),
        said.get("extra"),
    )


def path_of(path: object) -> str:
    """The path in an artifact that a caller means: text, a Path, or an entry. Raises Invalid (bad-path)."""
    if isinstance(path, ArtifactManifestEntry):
        return path.path
    if isinstance(path, Path):
        return entry_path(path.as_posix())
    if isinstance(path, str):
        return entry_path(path)
    message = f"a path in an artifact is text or a Path, not {path!r}"
    raise WrongType(message, code="bad-path")
