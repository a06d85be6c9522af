"""Files: the entries of a version as a list of things to download."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from artstore.api.entries import ArtifactManifestEntry
from artstore.api.paginator import Paginator


class File:
    """One file of a version."""

    def __init__(self, entry: ArtifactManifestEntry) -> None:
        self._entry = entry

    @property
    def name(self) -> str:
        """Its path in the artifact."""
        return self._entry.path

    @property
    def size(self) -> int:
        """Bytes; 0 for a reference whose size is not known."""
        return self._entry.size or 0

    @property
    def digest(self) -> str:
        """`blake3:<hex>`, or what the owner of a reference's bytes calls them."""
        return self._entry.digest

    @property
    def direct_url(self) -> str:
        """Where its bytes are: the target of a reference, or a URI for fsspec."""
        return self._entry.ref or self._entry.ref_url()

    def download(self, root: str = ".", replace: bool = False, exist_ok: bool = False) -> str:
        """Write it below a folder, verified, and answer where.

        A file that is there and has the right bytes is left alone, any other is replaced: the two flags change nothing.
        """
        del replace, exist_ok
        return self._entry.download(root)

    def __repr__(self) -> str:
        return f"<File {self.name} ({self.size} B)>"


class ArtifactFiles(Paginator[File]):
    """The files of a version."""

    def __init__(
        self,
        title: str,
        load: Callable[[], Sequence[ArtifactManifestEntry]],
        names: Collection[str] | None,
        *,
        per_page: int,
        start: str | None,
    ) -> None:
        def files() -> list[File]:
            return [File(entry) for entry in load() if names is None or entry.path in names]

        super().__init__(files, per_page=per_page, start=start)
        self._title = title

    def __repr__(self) -> str:
        return f"<ArtifactFiles {self._title} ({len(self)})>"
