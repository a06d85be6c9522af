"""Under: the objects of a place whose names begin with some words, by the rest of their names."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from artstore.sync.objects.interface import Objects


class ObjectsUnder:
    """Objects of another place that lie below `folder`, which ends with a slash. See Objects."""

    def __init__(self, objects: Objects, folder: str) -> None:
        self.url = objects.url
        self._objects = objects
        self._folder = folder

    def read(self, name: str, start: int = 0, length: int | None = None) -> bytes:
        return self._objects.read(self._folder + name, start, length)

    def stream(self, name: str, start: int = 0) -> Iterator[bytes]:
        return self._objects.stream(self._folder + name, start)

    def write(self, name: str, chunks: Iterable[bytes], size: int) -> None:
        self._objects.write(self._folder + name, chunks, size)

    def write_file(self, name: str, source: Path) -> None:
        self._objects.write_file(self._folder + name, source)

    def claim(self, name: str, data: bytes) -> bool:
        return self._objects.claim(self._folder + name, data)

    def size(self, name: str) -> int | None:
        return self._objects.size(self._folder + name)

    def names(self, prefix: str, after: str = "") -> Iterator[str]:
        for name in self._objects.names(self._folder + prefix, self._folder + after if after else ""):
            yield name.removeprefix(self._folder)

    def sizes(self, prefix: str) -> Iterator[tuple[str, int]]:
        for name, size in self._objects.sizes(self._folder + prefix):
            yield name.removeprefix(self._folder), size

    def remove(self, name: str) -> None:
        self._objects.remove(self._folder + name)

    def tidy(self) -> int:
        return self._objects.tidy()
