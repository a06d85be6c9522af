"""Paths in an artifact: the one gate that text passes to become one.

Chose to refuse on every system what could escape or mislead on any (`..`, anchors, control and bidi characters), and to
warn about what only some cannot hold; because an artifact is made here and checked out there, and every checkout
without such a gate has been a hole; instead of mending names, which would change what was stored.
Look again when a system finds a new way to spell `..`.
"""

from __future__ import annotations

import re
import sys
import unicodedata
from collections.abc import Iterable
from typing import Final, NoReturn

from artstore.errors import Invalid, PathCollision

COMPONENT_BYTES: Final = 255
"""The longest name that ext4, XFS, btrfs, APFS and NTFS all hold, in UTF-8."""

PATH_BYTES: Final = 4096
COMPONENTS: Final = 256

_ON_WINDOWS: Final = sys.platform == "win32"
_SHOWN: Final = 80  # characters of a bad text that a message repeats

# The fast path: printable ASCII without what the careful code must look at (`:`, `\`, `~`, `.a…` for .artstore, and a
# dot before anything but a letter or digit). 0.3 µs instead of 3 µs; a put asks once for each file.
_PLAIN_CHARACTERS = r"[A-Za-z0-9_ .\-+=,@%()#&!'{}\[\];$^]+"
_PLAIN_COMPONENT = rf"(?!\.(?![B-Zb-z0-9_])){_PLAIN_CHARACTERS}"
_PLAIN = re.compile(rf"{_PLAIN_COMPONENT}(?:/{_PLAIN_COMPONENT})*\Z")

_FORBIDDEN = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
_DRIVE = re.compile(r".:")  # ntpath.join() takes any character before a colon for a drive, not letters only
_SHORT_NAME = re.compile(r"artsto~[0-9]+\Z")  # what NTFS calls .artstore for programs that want 8.3

# Unicode's Default_Ignorable_Code_Point: HFS+ and casefolded ext4 compare names as if these were not there.
_IGNORABLE = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164"
    "\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufff8\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)

_DEVICE = r"(?i:con|prn|aux|nul|(?:com|lpt)[1-9¹²³]|con(?:in|out)\$) *(?:[./:]|\Z)"
_DEVICE_NAME = re.compile(_DEVICE)
_NOT_ON_NTFS = r'<>:"|?*\\'
_ODD_CHARACTER = re.compile(rf"[{_NOT_ON_NTFS}]")
# The first letter is looked at before the list of devices: most names need one comparison.
_PORTABLE = re.compile(
    rf"(?:(?:[^{_NOT_ON_NTFS}/aAcClLnNpP]|(?!{_DEVICE})[aAcClLnNpP])[^{_NOT_ON_NTFS}/]*(?<![. ])(?:/|\Z))+\Z"
)


def entry_path(text: str) -> str:
    r"""The normal form of a path in an artifact: relative, `/` between components, no way out.

    `./a`, `a//b` and `a/` become `a`, `a/b` and `a`; a normal form is its own normal form. A backslash is an ordinary
    character on POSIX, and refused on Windows. Raises Invalid (bad-path) for what could leave the folder it is
    checked out to on any system, for what a terminal would show as something else, for what is too long to be a
    file, and for a folder or file named `.artstore`, however spelled.
    """
    if len(text) <= COMPONENT_BYTES and _PLAIN.match(text):
        return text
    return _entry_path_carefully(text)


def portable_key(path: str) -> str:
    """What two paths have in common that are one name on some file system: case, normal form, invisible characters.

    For comparing only; the path is kept as it was given.
    """
    if path.isascii():
        return path.lower()
    # Decomposed first, or a folded character could keep its accents in another order. No file system folds the
    # dotless i by default, but some do under a Turkish locale.
    folded = unicodedata.normalize("NFD", _IGNORABLE.sub("", path)).casefold().replace("\u0131", "i")
    return unicodedata.normalize("NFC", folded)


def portability_warnings(path: str) -> list[str]:
    """One sentence for each reason why Windows could not hold this entry path; mostly none."""
    if _PORTABLE.match(path):
        return []
    warnings = []
    for component in path.split("/"):
        if is_device_name(component):
            warnings.append(f"{quoted(path)}: Windows keeps the name {component!r} for a device")
        if component.endswith((".", " ")):
            warnings.append(f"{quoted(path)}: Windows drops the dot or space at the end of {quoted(component)}")
        odd = sorted(set(_ODD_CHARACTER.findall(component)))
        if odd:
            warnings.append(f"{quoted(path)}: Windows does not allow {' '.join(odd)} in {quoted(component)}")
    return warnings


def is_device_name(component: str) -> bool:
    """Whether Windows would open a device instead of a file: CON, NUL, COM1 and so on, with any extension."""
    return _DEVICE_NAME.match(component) is not None


def find_collisions(paths: Iterable[str]) -> list[list[str]]:
    """The groups of entry paths that could not all exist where case, normal form or invisible characters do not count.

    A group holds two or more paths, sorted; or files and, last and with a `/` at its end, the folder they clash with.
    Folders that differ in case only are no group: they become one folder, and nothing is lost.
    Raises PathCollision (path-collision) for what can exist nowhere: a path given twice, or a file that is also a
    folder. Takes linear time, in any order: 0.3 s to 1.2 s for a million ASCII paths.
    """
    given = list(paths)
    files = set(given)
    if len(files) != len(given):
        _refuse_duplicate(given)
    # Neighbours in sorted order say nothing about folders (`a-b` stands between `a` and `a/b`), so all are collected.
    folders = _folders(given)
    clashes = files & folders
    if clashes:
        _refuse_file_and_folder(clashes, given)
    # Twins of one key cannot all be their own key. Those that are not are few among ordinary names, so only theirs are
    # kept; and only when there are twins is it worth 2 s to say which.
    odd = _not_their_own_key(given)
    keys = {portable_key(path) for path in odd}
    odd_folders = folders if keys else _not_their_own_key(folders)
    folder_keys = {portable_key(folder) for folder in odd_folders}
    if len(keys) == len(odd) and keys.isdisjoint(files) and folder_keys.isdisjoint(keys | files):
        return []
    return _groups(odd, files, odd_folders)


def quoted(text: str) -> str:
    """The text as a message may show it: on one line, nothing invisible, not much of what is long."""
    if len(text) > _SHOWN:
        return f"{text[:_SHOWN]!r}…"
    return repr(text)


def _entry_path_carefully(text: str) -> str:
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        _refuse(_escaped(text), "is not valid UTF-8; rename the file")
    forbidden = _FORBIDDEN.search(text)
    if forbidden is not None:
        _refuse(quoted(text), f"contains the character U+{ord(forbidden[0]):04X}, which no path may; rename the file")
    if text.startswith("/"):
        _refuse(quoted(text), "is absolute; write it relative to the artifact")
    components = [component for component in text.split("/") if component not in ("", ".")]
    if not components:
        _refuse(quoted(text), "names no file; write a relative path such as 'data/train.csv'")
    for component in components:
        _check_component(component, text)
    if len(components) > COMPONENTS:
        _refuse(quoted(text), f"is {len(components)} components deep; at most {COMPONENTS} are possible")
    path = "/".join(components)
    if size > PATH_BYTES and len(path.encode()) > PATH_BYTES:
        _refuse(quoted(text), f"is {len(path.encode())} bytes long; at most {PATH_BYTES} are possible")
    return path


def _check_component(component: str, text: str) -> None:
    # Windows drops spaces at the end, so `.. ` is a way up there.
    if component.startswith("..") and component.rstrip(" ") == "..":
        _refuse(quoted(text), f"contains {component!r}; write where it leads, inside the artifact")
    # Inside the path too: joined component by component, `C:x` would still start anew on Windows.
    if _DRIVE.match(component) or component.startswith("\\"):
        _refuse(quoted(text), f"has a Windows drive or root in {quoted(component)}; write it relative to the artifact")
    if _ON_WINDOWS and "\\" in component:
        _refuse(quoted(text), "contains a backslash; write / between folders")
    if 4 * len(component) > COMPONENT_BYTES:
        size = len(component.encode())
        if size > COMPONENT_BYTES:
            message = f"has a component of {size} bytes, {quoted(component)}; at most {COMPONENT_BYTES} are possible"
            _refuse(quoted(text), message)
    # Only these can have a key like the store's: no other character decomposes to a dot or a tilde.
    if (component[0] == "." or "~" in component or _IGNORABLE.match(component)) and _is_store_folder(component):
        _refuse(quoted(text), f"contains {quoted(component)}, the name of a store's own folder; choose another name")


def _is_store_folder(component: str) -> bool:
    # Up to a colon, because `.artstore::$INDEX_ALLOCATION` and `.artstore:stream` are the same folder on NTFS.
    key = portable_key(component.partition(":")[0]).rstrip(". ")
    return key == ".artstore" or (key.startswith("artsto~") and _SHORT_NAME.match(key) is not None)


def _escaped(text: str) -> str:
    """The bytes behind a name that the system could not decode."""
    start = text[:_SHOWN]
    try:
        return repr(start.encode("utf-8", "surrogateescape"))
    except UnicodeEncodeError:  # a surrogate that stands for no byte: it came from Windows or from JSON
        return repr(start.encode("utf-8", "surrogatepass"))


def _folders(paths: Iterable[str]) -> set[str]:
    """All folders above the paths."""
    found: set[str] = set()
    above = {path.rpartition("/")[0] for path in paths}
    while above:
        found |= above
        above = {folder.rpartition("/")[0] for folder in above} - found
    found.discard("")
    return found


def _not_their_own_key(paths: Iterable[str]) -> list[str]:
    # Not portable_key() alone: the call would double the time for ASCII.
    return [path for path in paths if (path.lower() if path.isascii() else portable_key(path)) != path]


def _groups(odd: list[str], files: set[str], folders: Iterable[str]) -> list[list[str]]:
    by_key: dict[str, list[str]] = {}
    for path in odd:
        by_key.setdefault(portable_key(path), []).append(path)
    for key in by_key.keys() & files:
        by_key[key].append(key)
    groups = [sorted(group) for group in by_key.values() if len(group) > 1]
    for folder in folders:
        key = portable_key(folder)
        same = by_key.get(key, [key] if key in files else [])
        if same:
            groups.append([*sorted(same), folder + "/"])
    return sorted(groups)


def _refuse(shown: str, why: str) -> NoReturn:
    message = f"path {shown} {why}"
    raise Invalid(message, code="bad-path")


def _refuse_duplicate(paths: list[str]) -> NoReturn:
    seen: set[str] = set()
    twice = next(path for path in paths if path in seen or seen.add(path))  # type: ignore[func-returns-value]
    message = f"path {quoted(twice)} is given twice; keep one of them"
    raise PathCollision(message, code="path-collision")


def _refuse_file_and_folder(clashes: set[str], paths: list[str]) -> NoReturn:
    file = min(clashes)
    below = next(path for path in paths if path.startswith(file + "/"))
    others = f" ({len(clashes) - 1:,} more like this)" if len(clashes) > 1 else ""
    message = f"path {quoted(file)} is a file, and a folder in {quoted(below)}; rename one of them{others}"
    raise PathCollision(message, code="path-collision")
