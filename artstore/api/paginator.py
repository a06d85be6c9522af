"""Paginators: lists that are asked for when they are first looked at."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Generic, TypeVar, overload

from artstore.errors import Invalid

T = TypeVar("T")


class Paginator(Generic[T]):
    """A lazy list: nothing is asked of the store before its length, an element or a cursor is.

    `per_page` says how far `cursor` moves at a time, and `start` is such a cursor, of an earlier list of the same.
    """

    def __init__(self, load: Callable[[], Sequence[T]], *, per_page: int = 50, start: str | None = None) -> None:
        if per_page < 1:
            message = f"a page of {per_page} elements is none: give 1 or more"
            raise Invalid(message, code="bad-page")
        if start is not None and not (start.isascii() and start.isdigit()):
            message = f"{start!r} is no cursor of a list: give what `cursor` said"
            raise Invalid(message, code="bad-cursor")
        self.per_page = per_page
        self._load = load
        self._start = int(start or 0)
        self._all: Sequence[T] | None = None
        self._seen = 0
        self._next = 0

    @property
    def _elements(self) -> Sequence[T]:
        if self._all is None:
            self._all = self._load()[self._start :]
        return self._all

    @property
    def cursor(self) -> str | None:
        """Where the page after the one that was looked at last begins; None before the first look."""
        if not self._seen:
            return None
        pages = -(-self._seen // self.per_page)
        return str(self._start + min(pages * self.per_page, len(self._elements)))

    @property
    def more(self) -> bool:
        """Whether there are elements that nobody looked at."""
        return self._seen < len(self._elements)

    def __len__(self) -> int:
        return len(self._elements)

    def __iter__(self) -> Iterator[T]:
        for place, element in enumerate(self._elements, start=1):
            self._seen = max(self._seen, place)
            yield element

    def __next__(self) -> T:
        """The element after the one that was answered last, as W&B's lists do."""
        if self._next >= len(self):
            raise StopIteration
        self._next += 1
        return self[self._next - 1]

    @overload
    def __getitem__(self, index: int) -> T: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[T]: ...
    def __getitem__(self, index: int | slice) -> T | Sequence[T]:
        found = self._elements[index]
        last = len(self) if isinstance(index, slice) else index % len(self) + 1
        self._seen = max(self._seen, last)
        return found
