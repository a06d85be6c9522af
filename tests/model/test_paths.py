"""Paths in an artifact: what they become, what is refused, what is warned about."""

from __future__ import annotations

import ntpath
import os
import posixpath
import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from artstore.errors import Invalid, PathCollision
from artstore.model import paths
from artstore.model.paths import entry_path, find_collisions, portability_warnings, portable_key

# Hypothesis finds trouble sooner among the pieces that trouble is made of.
PIECES = st.sampled_from(
    [
        *(
            "a",
            "B",
            "b.txt",
            ".",
            "..",
            "...",
            " ",
            "/",
            "//",
            "\\",
            ":",
            "C:",
            "~",
            "~1",
            "artsto",
            ".artstore",
            ".ARTSTORE",
        ),
        *("::$DATA", ".git", "\u200c", "\u202e", "\x00", "\n", "é", "e\u0301", "\udcff", "\u017f", "数"),
        *("x" * 90, "é" * 90),
    ]
)
TEXTS = st.one_of(
    st.lists(PIECES, max_size=8).map("".join),
    st.text(max_size=40),
    st.text("ab./ ~:-AZ", max_size=20),
)


def refusal(text: str) -> str:
    """The message with which the path is refused."""
    with pytest.raises(Invalid) as caught:
        entry_path(text)

    assert caught.value.code == "bad-path"
    assert len(caught.value.message.splitlines()) == 1
    assert caught.value.message.isprintable()
    return caught.value.message


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("./a", "a"),
        ("././a", "a"),
        ("a//b", "a/b"),
        ("a/", "a"),
        ("a/./b//", "a/b"),
        ("data/train.csv", "data/train.csv"),
        (".hidden/.gitignore", ".hidden/.gitignore"),
        ("a..b/...", "a..b/..."),
        (" a b ", " a b "),
    ],
)
def test_a_path_has_one_normal_form(text: str, expected: str) -> None:
    """N12. Two spellings of one place must not become two entries."""
    assert expected == entry_path(text)


@pytest.mark.parametrize("text", ["", ".", "./", "./.", "././/"])
def test_a_path_names_a_file(text: str) -> None:
    """N12. The artifact itself is not a file in it."""
    assert "names no file" in refusal(text)


@pytest.mark.parametrize("text", ["..", "../a", "a/..", "a/../b", "a/b/../../..", "./..", "a//../b", ".. ", "a/..  /b"])
def test_no_path_goes_up(text: str) -> None:
    """N1. `..` is refused, not resolved: whoever wrote it meant something that is not in the artifact."""
    assert "'..  '" in refusal(text) or "'..'" in refusal(text) or "'.. '" in refusal(text)


@pytest.mark.parametrize("text", ["/", "/x", "//x", "//server/share", "///a", "/./a"])
def test_no_path_is_absolute(text: str) -> None:
    """N2. Joined to a folder, an absolute path would replace it."""
    assert "is absolute" in refusal(text)


@pytest.mark.parametrize(
    "text",
    [
        "C:\\x",
        "C:x",
        "c:",
        "D:foo",
        "\\foo",
        "\\\\host\\share",
        "\\\\?\\C:\\x",
        "C:/x",
        "./C:x",
        "1:x",
        "a/.:",
        ".//\\x",
        "a/C:x",
        "a/\\x",
    ],
)
def test_windows_anchors_are_refused_everywhere(text: str) -> None:
    """N2. What is made on Linux is checked out on Windows, where these leave the folder, inside a path too."""
    assert "Windows drive or root" in refusal(text)


def test_a_backslash_is_a_character_on_posix(monkeypatch: pytest.MonkeyPatch) -> None:
    """N3. The contract keeps it."""
    monkeypatch.setattr(paths, "_ON_WINDOWS", False)

    assert entry_path("a\\b/c\\") == "a\\b/c\\"


def test_a_backslash_is_refused_on_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    """N3. There `a\\..\\..\\b`, one name on Linux, would lead out of the folder."""
    monkeypatch.setattr(paths, "_ON_WINDOWS", True)

    assert "backslash" in refusal("a\\..\\..\\b")


@pytest.mark.parametrize(
    "character",
    [
        chr(code)
        for code in (*range(0x20), *range(0x7F, 0xA0), 0x2028, 0x2029, *range(0x202A, 0x202F), *range(0x2066, 0x206A))
    ],
)
def test_no_path_deceives_a_terminal(character: str) -> None:
    """N4. A line break forges a second line of a listing; a bidi override shows `exe.txt` for `txt.exe`."""
    assert f"U+{ord(character):04X}" in refusal(f"a/b{character}c")


@pytest.mark.parametrize("text", ["a\n", "a/\n", "\na"])
def test_a_line_break_does_not_slip_through_at_an_end(text: str) -> None:
    """N4. `$` in a regular expression would let the last one pass."""
    assert "U+000A" in refusal(text)


def test_invisible_joiners_are_kept() -> None:
    """N4 ends at what deceives: words in Persian and Hindi are spelled with joiners."""
    assert entry_path("\u0645\u06cc\u200c\u062e.txt") == "\u0645\u06cc\u200c\u062e.txt"


def test_a_component_has_255_bytes() -> None:
    """N9. Bytes, as file systems count: 255 characters may be 765 bytes."""
    assert entry_path("a/" + "x" * 255) == "a/" + "x" * 255
    assert entry_path("é" * 127 + "x") == "é" * 127 + "x"
    assert entry_path("/".join(["x" * 255] * 15)) == "/".join(["x" * 255] * 15)

    assert "256 bytes, 'xxxx" in refusal("a/" + "x" * 256 + "/b")
    assert "765 bytes, '数数" in refusal("a/" + "数" * 255)


def test_a_path_has_4096_bytes() -> None:
    """N10. Linux could not open it by name."""
    longest = "/".join(["x" * 240] * 17)[:4096]

    assert len(longest) == 4096
    assert entry_path(longest) == longest
    assert entry_path("./" + longest) == longest
    assert "4097 bytes long" in refusal(longest + "y")


def test_a_path_has_256_components() -> None:
    """N10. A thousand levels are refused here, and no walk below has to survive them."""
    assert entry_path("a/" * 255 + "a") == "a/" * 255 + "a"
    assert entry_path("a/" * 256) == "a/" * 255 + "a"
    assert "257 components deep" in refusal("a/" * 257)
    assert "1000 components deep" in refusal("a/" * 1000)


def test_a_name_that_is_not_utf8_is_refused_with_its_bytes() -> None:
    """N11. Found here, and not as a UnicodeEncodeError in the middle of a commit."""
    message = refusal(os.fsdecode(b"caf\xe9/menu.txt"))

    assert r"b'caf\xe9/menu.txt'" in message
    assert "not valid UTF-8" in message


def test_a_lone_surrogate_from_json_is_refused() -> None:
    """N11. It stands for no byte, and no encoder takes it."""
    assert "not valid UTF-8" in refusal("a\ud800b")


@pytest.mark.parametrize(
    "text",
    [
        ".artstore",
        ".artstore/catalog.db",
        "a/.artstore",
        ".ArtStore/x",
        ".art\u017ftore",
        ".artstore.",
        ".artstore ",
        ".artstore. .",
        ".artstore::$DATA",
        ".ARTSTORE::$INDEX_ALLOCATION/x",
        ".artstore:stream",
        ".art\u200cstore",
        "\ufeff.artstore",
        "\u3164.artstore",
        ".artstore\u200d/x",
        "artsto~1",
        "ARTSTO~12/x",
        "art\u200bsto~1",
    ],
)
def test_a_store_is_never_written_into_by_a_checkout(text: str) -> None:
    """N16. Every spelling that NTFS, HFS+ or a case-insensitive ext4 takes for the store's own folder."""
    assert "store's own folder" in refusal(text)


@pytest.mark.parametrize(
    "text",
    [
        *(
            ".artstoreignore",
            "sub/.artstoreignore",
            "artstore",
            "artstore/x",
            ".artstore2",
            ".artstor",
            "artsto~x",
            "a~1",
        ),
        *(".git", ".GIT/config", "git~1", ".git::$INDEX_ALLOCATION", "manifest.json"),
    ],
)
def test_users_files_that_look_special_are_kept(text: str) -> None:
    """N16. The ignore file belongs to the data; the store's own files lie outside of what is checked out."""
    assert entry_path(text) == text


@pytest.mark.parametrize(
    "text", ["-rf", "--help", "*.csv", "[a-z]?", "a;b", "$(x)", "%2e%2e", "..;", "%2e%2e/x", "..%2f"]
)
def test_nothing_is_expanded_or_decoded(text: str) -> None:
    """N15, N17. A path is literal: what decodes or globs does so before, once."""
    assert entry_path(text) == text


def test_a_message_does_not_repeat_a_megabyte() -> None:
    assert len(refusal("x" * 1_000_000)) < 400


@given(TEXTS)
@example("a\u017fb")
def test_the_fast_path_agrees_with_the_careful_one(text: str) -> None:
    """The fast path may only be faster."""

    def outcome(gate: object) -> str:
        assert callable(gate)
        try:
            return f"is {gate(text)}"
        except Invalid as error:
            return error.message

    assert outcome(paths._entry_path_carefully) == outcome(entry_path)


@given(TEXTS)
def test_an_accepted_path_stays_inside(text: str) -> None:
    """N1, N2. Whatever joins it, by the rules of either system, component by component or whole."""
    try:
        path = entry_path(text)
    except Invalid:
        return

    assert posixpath.normpath(posixpath.join("/root", path)) == f"/root/{path}"
    assert ntpath.join("R:\\root", *path.split("/")).startswith("R:\\root\\")
    if "\\" not in path:
        assert ntpath.normpath(ntpath.join("R:\\root", path)).startswith("R:\\root\\")
    assert len(path.encode()) <= 4096


@given(TEXTS)
def test_normalising_twice_is_normalising_once(text: str) -> None:
    """N12. An entry that is read back and added again is the same entry."""
    try:
        path = entry_path(text)
    except Invalid:
        return

    assert path == entry_path(path)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("a/É", "a/E\u0301"),
        ("A", "a"),
        ("straße", "STRASSE"),
        ("\u0131", "i"),
        ("\u212a", "k"),
        ("\u03a3\u03c2", "\u03c3\u03c3"),
        ("a\u200db", "ab"),
        ("\u1f80", "\u1f00\u03b9"),
        ("a\u0345\u0301", "a\u0301\u0345"),
    ],
)
def test_twins_have_one_key(one: str, other: str) -> None:
    """N5, N6. On APFS, NTFS or a casefolded ext4 the second would replace the first."""
    assert portable_key(one) == portable_key(other)


@given(st.text(max_size=30))
def test_a_key_is_its_own_key_and_ignores_the_normal_form(text: str) -> None:
    key = portable_key(text)

    assert key == portable_key(key)
    assert key == portable_key(unicodedata.normalize("NFD", text)) == portable_key(unicodedata.normalize("NFC", text))


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("CON", "device"),
        ("a/nul.txt", "device"),
        ("Aux/x", "device"),
        ("prn.tar.gz", "device"),
        ("COM1", "device"),
        ("lpt9.log", "device"),
        ("com²", "device"),
        ("conin$", "device"),
        ("CONOUT$.x", "device"),
        ("con .txt", "device"),
        ("a.", "dot or space"),
        ("a /b", "dot or space"),
        ("...", "dot or space"),
        ("log_10:30", "allow :"),
        ("a/what?", "allow ?"),
        ('"a"', 'allow "'),
        ("a\\b", "allow \\"),
        ("<a|b>*", "allow * < > |"),
    ],
)
def test_what_windows_cannot_hold_is_warned_about(path: str, reason: str) -> None:
    """N8. Kept here, since the data is real; said now, and not by the colleague whose checkout fails."""
    (warning,) = portability_warnings(path)

    assert repr(path) in warning
    assert reason in warning


@pytest.mark.parametrize(
    "path",
    [
        *(
            "a",
            "data/train.csv",
            "console.txt",
            "com",
            "COM10",
            "com0",
            "nullable",
            "lpt",
            "auxiliary/con1",
            ".gitignore",
        ),
        *("données/数据.txt", "a b/c", "a.b.c", "conin", "x/icon", "~1"),
    ],
)
def test_ordinary_names_are_not_warned_about(path: str) -> None:
    """A warning on what is fine teaches people to read none."""
    assert portability_warnings(path) == []


def test_each_reason_is_named() -> None:
    assert len(portability_warnings("nul/a:b /c.")) == 4


@given(
    st.lists(st.sampled_from(["con", "NUL", "com1", ".", " ", ":", "a", "\\", "é", "/", "?"]), max_size=6).map("".join)
)
def test_quick_and_slow_warnings_agree(text: str) -> None:
    """The expression that says all is well, and the code that says what is not, are two; they must know the same."""
    try:
        path = entry_path(text)
    except Invalid:
        return

    components = path.split("/")
    is_odd = any(paths.is_device_name(part) or part[-1] in ". " or set(part) & set('<>:"|?*\\') for part in components)
    assert bool(portability_warnings(path)) == is_odd


@pytest.mark.parametrize(
    "given_paths",
    [
        ["a", "a/b"],
        ["a", "a-b", "a.txt", "a/b"],
        ["a", "a!", "a-/x", "a/b/c/d"],
        ["x/a", "x/a b", "x/a b/c", "x/a/b"],
        ["a/b/c", "a/b-d", "a/b"],
    ],
)
def test_a_file_is_not_a_folder(given_paths: list[str]) -> None:
    """N7. Found while adding, even where other names sort between the two; a checkout could only make one of them."""
    with pytest.raises(PathCollision, match="is a file, and a folder in") as caught:
        find_collisions(sorted(given_paths))

    assert caught.value.code == "path-collision"


def test_a_clash_names_both_and_counts_the_rest() -> None:
    with pytest.raises(PathCollision) as caught:
        find_collisions(["a", "a/b", "c", "c/d"])

    assert caught.value.message == ("path 'a' is a file, and a folder in 'a/b'; rename one of them (1 more like this)")


def test_a_path_given_twice_is_refused() -> None:
    """Which of the two contents should it have?"""
    with pytest.raises(PathCollision, match="'b' is given twice"):
        find_collisions(["a", "b", "b"])


@pytest.mark.parametrize(
    "given_paths",
    [[], ["a"], ["a-b", "a/b"], ["a/b", "a/c", "b"], ["ab", "a/b"], ["A/x", "a/y"], ["README", "Data/X", "data/y"]],
)
def test_neighbours_are_no_collision(given_paths: list[str]) -> None:
    """Folders that differ in case only become one, and all their files are there."""
    assert find_collisions(sorted(given_paths)) == []


@pytest.mark.parametrize(
    ("given_paths", "expected"),
    [
        (["A", "a"], [["A", "a"]]),
        (["A", "B", "c"], []),
        (["AB", "Ab", "aB", "z"], [["AB", "Ab", "aB"]]),
        (["E\u0301", "É", "é"], [["E\u0301", "É", "é"]]),
        (["Data/x", "b", "data/X", "data/x"], [["Data/x", "data/X", "data/x"]]),
        (["Data/x", "data"], [["data", "Data/"]]),
        (["DATA", "data/x"], [["DATA", "data/"]]),
        (["DATA", "Data/x/y"], [["DATA", "Data/"]]),
    ],
)
def test_twins_are_reported_in_groups(given_paths: list[str], expected: list[list[str]]) -> None:
    """N5, N6. All of them, so that they can be renamed in one go."""
    assert find_collisions(sorted(given_paths)) == expected


@given(st.sets(st.text("aA-/é", min_size=1, max_size=7).filter(lambda text: "//" not in f"/{text}/"), max_size=12))
def test_collisions_are_those_of_the_definition(given_paths: set[str]) -> None:
    """Against the rule said slowly: every pair is looked at."""
    ordered = sorted(given_paths)
    if any(other.startswith(path + "/") for path in ordered for other in ordered):
        with pytest.raises(PathCollision):
            find_collisions(ordered)
        return

    named = {name for group in find_collisions(ordered) for name in group if not name.endswith("/")}

    keys = {path: portable_key(path) for path in ordered}
    expected = {
        path
        for path in ordered
        for other in ordered
        if path != other and (keys[path] == keys[other] or keys[other].startswith(keys[path] + "/"))
    }
    assert expected == named
