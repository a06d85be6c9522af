"""Families: which module knows a scheme."""

from __future__ import annotations

from collections.abc import Generator
from importlib import import_module
from typing import Final, Protocol, cast

from artstore.errors import NotFound
from artstore.model.manifest import ReferenceEntry
from artstore.references.wanted import HOST_OF_AZURE, Wanted, scheme_of

FAMILIES: Final = {
    "file": "local",
    "http": "http",
    "https": "http",
    "s3": "s3",
    "s3a": "s3",
    "gs": "gs",
    "gcs": "gs",
    "az": "azure",
    "abfs": "azure",
    "abfss": "azure",
}
"""Scheme to module; the extra of the same name brings what the module needs, if that is more than artstore needs."""


class Family(Protocol):
    """What a module of this folder offers."""

    def expand(self, wanted: Wanted) -> list[ReferenceEntry]:
        """The entries that a URI stands for."""

    def fetch(self, entry: ReferenceEntry) -> Generator[bytes, None, None]:
        """The bytes that were recorded, or an error, which may come after the last block."""


def family_of(uri: str) -> Family | None:
    """Who knows a URI's scheme; None if nobody does. Raises NotFound (extra-missing)."""
    scheme = scheme_of(uri)
    name = FAMILIES.get(scheme)
    if name is None:
        return None
    if scheme == "https" and uri.partition("://")[2].partition("/")[0].lower().endswith(HOST_OF_AZURE):
        name = "azure"
    try:
        return cast("Family", import_module(f"artstore.references.{name}"))
    except ModuleNotFoundError as error:
        message = f"{scheme}:// references need {error.name}, which is not installed: pip install 'artstore[{name}]'"
        raise NotFound(message, code="extra-missing") from error
