"""A folder of a version can be looked at a part at a time, however many files there are."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from artstore.errors import Invalid, NotFound
from artstore.lifecycle.reports import VersionInfo
from artstore.store import Store

Put = Callable[..., VersionInfo]

FILES = {
    **{f"a/{number:02}": b"1" for number in range(5)},
    **{f"a.b/{number:02}": b"2" for number in range(3)},
    "a.txt": b"3",
    "a0": b"4",
    "b/c/d/e": b"5",
    "b/c/f": b"6",
    "ü/x": b"7",
    "z": b"8",
}


def walked(store: Store, path: str, limit: int) -> list[str]:
    seen: list[str] = []
    after: str | None = ""
    while after is not None:
        page = store.folder("cats", path, after=after, limit=limit)
        assert 0 < len(page.folders) + len(page.files) <= limit
        seen += [*(f"{name}/" for name in page.folders), *(file.path for file in page.files)]
        assert len(seen) <= len(FILES)  # It comes to an end.
        after = page.next
    return seen


@pytest.mark.parametrize("limit", [1, 2, 3, 5, 100])
def test_its_parts_are_all_of_it_and_nothing_twice(store: Store, put: Put, limit: int) -> None:
    put({**FILES, "gone/x": b"9"})
    put(FILES)

    assert sorted(["a/", "a.b/", "a.txt", "a0", "b/", "ü/", "z"]) == sorted(walked(store, "", limit))
    assert [f"a/{number:02}" for number in range(5)] == walked(store, "a", limit)
    assert sorted(["d/", "b/c/f"]) == sorted(walked(store, "b/c", limit))


def test_a_folder_that_is_not_there_is_an_error(store: Store, put: Put) -> None:
    put(FILES)

    with pytest.raises(NotFound, match=r"no folder 'a\.txt' in uncategorized/cats:v0"):
        store.folder("cats", "a.txt")
    with pytest.raises(NotFound, match="no folder"):
        store.folder("cats", "c")
    with pytest.raises(Invalid, match=r"\.\."):
        store.folder("cats", "../c")
    with pytest.raises(Invalid, match="ask for 1 or more"):
        store.folder("cats", limit=0)


def test_behind_the_last_name_there_is_nothing(store: Store, put: Put) -> None:
    put(FILES)

    assert ([], [], None) == (
        store.folder("cats", after="ü/").folders,
        store.folder("cats", after="ü/").files,
        store.folder("cats", after="ü/").next,
    )


def test_a_file_is_told_by_its_path(store: Store, put: Put) -> None:
    put(FILES)

    assert ("b/c/f", 1) == (store.entry("cats", "./b//c/f").path, store.entry("cats", "b/c/f").size)
    with pytest.raises(NotFound, match="no file 'b/c'"):
        store.entry("cats", "b/c")
