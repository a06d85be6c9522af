"""Tree: names of objects where they lie as files in folders."""

from __future__ import annotations

from collections.abc import Callable, Iterator

List = Callable[[str], list[tuple[str, bool]]]
"""What stands in a folder, whose name ends with a slash or is empty: each by its own name, and whether it is a folder;
nothing where there is no such folder."""


def walk(listed: List, prefix: str = "", after: str = "") -> Iterator[str]:
    """The names of all files that begin so and come after another, sorted by their bytes.

    A folder is asked for when its first name is taken.
    """
    yield from _walk(listed, prefix[: prefix.rfind("/") + 1], prefix, after)


def _walk(listed: List, head: str, prefix: str, after: str) -> Iterator[str]:
    # With its slash, a folder stands where the names in it do.
    for end, is_folder in sorted((f"{end}/" if is_folder else end, is_folder) for end, is_folder in listed(head)):
        name = head + end
        is_near = name.startswith(prefix) or (is_folder and prefix.startswith(name))
        # What is in a folder begins with the folder's name, and so may still come after a longer one.
        is_left = name > after or (is_folder and after.startswith(name))
        if is_near and is_left:
            if is_folder:
                yield from _walk(listed, name, prefix, after)
            else:
                yield name
