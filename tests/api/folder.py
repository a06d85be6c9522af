"""A holder that is a folder: what a value needs of an artifact, and nothing else."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from artstore.api.data_types import decode, find
from artstore.api.values import HASHED_FOLDER, Value, encode, file_name
from artstore.errors import NotFound


class At(NamedTuple):
    path: str


class Folder:
    def __init__(self, root: Path) -> None:
        self.root = root

    @classmethod
    def of(cls, root: Path, recorded: Mapping[str, str]) -> Folder:
        """A folder with the files of a recorded artifact."""
        folder = cls(root)
        for path, text in recorded.items():
            is_text = path.endswith((".json", ".html"))
            folder.add_bytes(text.encode() if is_text else base64.b64decode(text), path)
        return folder

    def add(self, obj: Value, name: str) -> At:
        data = encode(obj, self)
        path = file_name(obj.kind, name)
        if path.startswith(HASHED_FOLDER):
            path = file_name(obj.kind, f"{HASHED_FOLDER}/{hashlib.md5(data).hexdigest()[:20]}")  # noqa: S324
        self.add_bytes(data, path)
        return At(path)

    def add_reference(self, uri: Any, name: str) -> list[At]:
        raise NotImplementedError

    def add_bytes(self, data: bytes, path: str) -> None:
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)

    def get(self, name: str) -> Value | None:
        path = find(name, self)
        return None if path is None else decode(path, self)

    def paths(self, prefix: str = "") -> list[str]:
        found = (path.relative_to(self.root).as_posix() for path in self.root.rglob("*") if path.is_file())
        return sorted(path for path in found if path.startswith(prefix))

    def open(self, path: str) -> BinaryIO:
        try:
            return (self.root / path).open("rb")
        except FileNotFoundError as error:
            message = f"there is no {path!r}"
            raise NotFound(message, code="path-not-found") from error

    def text(self, path: str) -> str:
        return (self.root / path).read_text(encoding="utf-8")
