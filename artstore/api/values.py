"""Values: objects that an artifact holds as a JSON file, and what they need of an artifact.

A value of kind `table` that is added as `scores` is the file `scores.table.json`. Its JSON is W&B's, byte for byte:
sorted keys, W&B's spaces, ASCII.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, BinaryIO, ClassVar, Final, NamedTuple, Protocol, Self

from artstore.api.late import Late
from artstore.errors import WrongType

if TYPE_CHECKING:
    from artstore.model import digest
else:
    digest = Late("artstore.model.digest")

HASHED_FOLDER: Final = "media/tables"
"""Values that are added below it are given a name by the holder: 20 hex digits of their file's digest."""
_DIGITS: Final = 20


class Placed(Protocol):
    """Where something went: an entry of an artifact."""

    @property
    def path(self) -> str:
        """Its path in the artifact."""


class Holder(Protocol):
    """What a value needs of the artifact that it is put into, or read from."""

    def add(self, obj: Value, name: str) -> Placed:
        """Put another value in, as the file `file_name(obj.kind, name)`; below HASHED_FOLDER, under a name of its own.

        A value that came from another artifact becomes a reference to it.
        """

    def add_reference(self, uri: Any, name: str) -> Sequence[Placed]:
        """Put an entry of another artifact in, which stays there."""

    def add_bytes(self, data: bytes, path: str) -> None:
        """Put a file in; the same bytes twice are once."""

    def get(self, name: str) -> Value | None:
        """The value of this name, or path; None if it has none."""

    def paths(self, prefix: str = "") -> list[str]:
        """The paths that begin so, sorted."""

    def open(self, path: str) -> BinaryIO:
        """A file of the artifact, to read. Raises NotFound (path-not-found)."""


class Value(ABC):
    """An object that is kept as JSON in an artifact."""

    kind: ClassVar[str]
    """What W&B calls it: `_type` in the JSON, and in the name of the file."""
    home: tuple[Any, str] | None = None
    """The artifact that it was read from, or put into first, and its path there; for artifacts alone."""

    @abstractmethod
    def to_json(self, holder: Holder) -> dict[str, Any]:
        """Its JSON; what lies in files beside it is put into the holder. Raises before anything is put there."""

    @classmethod
    @abstractmethod
    def from_json(cls, data: dict[str, Any], holder: Holder) -> Self:
        """Read it back. Raises Corrupt (bad-value) on what is none."""


def file_name(kind: str, name: str) -> str:
    """The path of a value that is added as `name`; a suffix that is there already is not doubled."""
    suffix = f"{kind}.json"
    return name if name.endswith(suffix) else f"{name}.{suffix}"


def encode(value: Value, holder: Holder) -> bytes:
    """The bytes of the value's file. Raises as its `to_json`, and WrongType (not-json)."""
    data = value.to_json(holder)
    try:
        return json.dumps(data, sort_keys=True).encode()
    except (TypeError, ValueError, RecursionError) as error:
        message = f"the {value.kind} cannot be written as JSON: {error}"
        raise WrongType(message, code="not-json") from error


def placed_name(kind: str, path: str, data: bytes) -> str:
    """The path of a value whose file has these bytes: below HASHED_FOLDER it is made of them."""
    return named_after(kind, path, str(digest.Digest.of(data)))


def named_after(kind: str, path: str, digest_of_file: str) -> str:
    """As `placed_name`, for a file of which only the digest is known."""
    if not path.startswith(f"{HASHED_FOLDER}/"):
        return path
    return file_name(kind, f"{HASHED_FOLDER}/{digest_of_file.rpartition(':')[2][:_DIGITS]}")


class _Place(NamedTuple):
    path: str


class _Nowhere:
    """A holder that keeps nothing; what is read comes from another one."""

    def __init__(self, source: Holder) -> None:
        self.get = source.get
        self.paths = source.paths
        self.open = source.open

    def add(self, obj: Value, name: str) -> Placed:
        path = file_name(obj.kind, name)
        return _Place(placed_name(obj.kind, path, encode(obj, self)))

    def add_reference(self, uri: Any, name: str) -> Sequence[Placed]:
        del uri
        return [_Place(name)]

    def add_bytes(self, data: bytes, path: str) -> None:
        """Forget a file."""


def is_file_of(value: Value, digest_of_file: str, holder: Holder) -> bool:
    """Whether a value would be written into its holder as the file that it has there already; nothing is put there."""
    return str(digest.Digest.of(encode(value, _Nowhere(holder)))) == digest_of_file
