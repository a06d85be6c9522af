"""Names and references: what they may be, and which version a reference means."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from artstore.errors import Invalid
from artstore.model.names import (
    LATEST,
    DigestPrefix,
    Reference,
    alias_name,
    collection_name,
    project_name,
    tag_name,
    type_name,
)

FULL = "0123456789abcdef" * 4
NAMES = st.from_regex(r"\A[A-Za-z0-9_][A-Za-z0-9_.-]{0,20}\Z")


def refusal(gate: Callable[[str], object], text: str, code: str) -> str:
    """The message with which the text is refused."""
    with pytest.raises(Invalid) as caught:
        gate(text)

    assert caught.value.code == code
    assert caught.value.message.isprintable()
    return caught.value.message


def is_accepted(gate: Callable[[str], str], text: str) -> bool:
    try:
        return gate(text) == text
    except Invalid:
        return False


@pytest.mark.parametrize(
    "text", ["cats", "Cats-v2.1", "_private", "0", "a" * 128, "run-abc-file.txt", "a..b", "con", "a."]
)
def test_collections_have_the_names_of_the_contract(text: str) -> None:
    assert collection_name(text) == text


@pytest.mark.parametrize("gate", [collection_name, project_name])
@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "is empty"),
        ("a" * 129, "129 characters"),
        ("-rf", "begins with '-'"),
        (".", "begins with '.'"),
        ("..", "begins with '.'"),
        (".hidden", "begins with '.'"),
        ("a/b", "contains '/'"),
        ("a:b", "contains ':'"),
        ("a@b", "contains '@'"),
        ("a#b", "contains '#'"),
        ("a?b", "contains '?'"),
        ("a%2e", "contains '%'"),
        ("a\\b", "contains '\\\\'"),
        ("a b", "contains ' '"),
        (" a", "contains ' '"),
        ("a\n", "contains '\\n'"),
        ("a\x00", "contains '\\x00'"),
        ("é", "contains 'é'"),
        ("٣", "contains '٣'"),
        ("a\udcff", "contains '\\udcff'"),
    ],
)
def test_a_name_is_a_folder_and_an_argument_everywhere(gate: Callable[[str], str], text: str, why: str) -> None:
    """N13, N17. `..` would be a way up, `-rf` an option, and W&B's own check lets a line break pass at the end."""
    assert why in refusal(gate, text, "bad-name")


@pytest.mark.parametrize("text", ["con", "NUL", "com1", "Aux.data", "lpt9.x.y", "demo.", "a.."])
def test_a_project_is_a_folder_on_windows_too(text: str) -> None:
    """N8. A backup of the store could not be read there otherwise."""
    assert "Windows" in refusal(project_name, text, "bad-name")


@pytest.mark.parametrize("text", ["uncategorized", "demo", "console", "_x", "a.b", "com0"])
def test_ordinary_projects_are_accepted(text: str) -> None:
    assert project_name(text) == text


@pytest.mark.parametrize(
    "text", [LATEST, "best", "v1.0", "v", "vx", "V1", "v1a", "1", "prod-é", "two words", "#1", "a" * 128]
)
def test_an_alias_is_nearly_any_text(text: str) -> None:
    assert alias_name(text) == text


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "is empty"),
        ("a" * 129, "129 characters"),
        ("a/b", "contains '/'"),
        ("a:b", "contains ':'"),
        ("a@b", "contains '@'"),
        (" a", "begins or ends with a space"),
        ("a ", "begins or ends with a space"),
        ("a\n", "cannot be seen"),
        ("a\u202eb", "cannot be seen"),
        ("a\u00a0", "cannot be seen"),
        ("a\udcff", "cannot be seen"),
        ("v0", "version number"),
        ("v12", "version number"),
        ("v01", "version number"),
        ("v-1", "version number"),
        ("v٣", "version number"),
    ],
)
def test_an_alias_can_be_told_from_the_rest_of_a_reference(text: str, why: str) -> None:
    """N13. An alias `v12` would one day mean two versions."""
    assert why in refusal(alias_name, text, "bad-alias")


@pytest.mark.parametrize("text", ["a", "two words", "a-b_c", "größe", "a  b", "-", "x" * 128])
def test_tags_are_words(text: str) -> None:
    assert tag_name(text) == text


@pytest.mark.parametrize("text", ["", " a", "a ", "a\n", "a,b", "a/b", "a:b", "a\tb", "x" * 129, "\udcff"])
def test_other_tags_are_refused(text: str) -> None:
    assert refusal(tag_name, text, "bad-tag")


@pytest.mark.parametrize("text", ["dataset", "a b", "a/b", "jobs", "my-job", "wandb", "artstore", "größe", "x" * 128])
def test_a_type_is_nearly_any_text(text: str) -> None:
    assert type_name(text) == text


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "is empty"),
        ("x" * 129, "129 characters"),
        ("a\nb", "cannot be seen"),
        ("job", "kept for"),
        ("wandb-history", "kept for"),
        ("artstore-x", "kept for"),
    ],
)
def test_reserved_types_are_refused(text: str, why: str) -> None:
    assert why in refusal(type_name, text, "bad-type")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("cats", Reference(project="uncategorized", collection="cats", selector="latest")),
        ("cats:latest", Reference(project="uncategorized", collection="cats", selector="latest")),
        ("cats:v0", Reference(project="uncategorized", collection="cats", selector=0)),
        ("demo/cats:v12", Reference(project="demo", collection="cats", selector=12)),
        ("team/demo/cats:best", Reference(project="demo", collection="cats", selector="best")),
        ("a team!/demo/cats", Reference(project="demo", collection="cats")),
        ("cats:two words", Reference(project="uncategorized", collection="cats", selector="two words")),
        ("cats:v1.0", Reference(project="uncategorized", collection="cats", selector="v1.0")),
        ("cats@3f2a", Reference(project="uncategorized", collection="cats", selector=DigestPrefix("3f2a"))),
        ("cats@blake3:3f2a", Reference(project="uncategorized", collection="cats", selector=DigestPrefix("3f2a"))),
        (f"d/cats@{FULL}", Reference(project="d", collection="cats", selector=DigestPrefix(FULL))),
        (f"d/cats@blake3:{FULL}", Reference(project="d", collection="cats", selector=DigestPrefix(FULL))),
        ("cats:v9007199254740991", Reference(project="uncategorized", collection="cats", selector=2**53 - 1)),
    ],
)
def test_a_reference_chooses_one_version(text: str, expected: Reference) -> None:
    assert expected == Reference.parse(text)


def test_one_of_three_ways_to_choose_is_set() -> None:
    """A caller asks for each, and never has to guess what a text is."""
    chosen = [(r.number, r.alias, r.prefix) for r in map(Reference.parse, ["n:v3", "n:best", "n@abcd"])]

    assert chosen == [(3, None, None), (None, "best", None), (None, None, DigestPrefix("abcd"))]


def test_the_default_project_is_for_text_that_names_none() -> None:
    assert Reference.parse("cats", project="demo").project == "demo"
    assert Reference.parse("other/cats", project="demo").project == "other"
    assert refusal(lambda text: Reference.parse(text, project=".."), "cats", "bad-name")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "names no collection"),
        (":v1", "names no collection"),
        ("demo/", "names no collection"),
        ("/cats", "empty part"),
        ("demo//cats", "empty part"),
        ("//cats", "empty part"),
        ("a/b/c/d", "too many parts"),
        ("n:", "ends after ':'"),
        ("n::a", "has '::'"),
        ("n:@abcd", "has ':@'"),
        ("n@", "ends after '@'"),
        ("n:a@d", "chooses the version twice"),
        ("n:v1@abcdef", "chooses the version twice"),
        ("n:a:b", "chooses the version twice"),
        ("n@d:a", "chooses the version twice"),
        ("n@abcd:best", "chooses the version twice"),
        ("n@abcd@abcd", "chooses the version twice"),
        ("n@blake3:abcd:best", "chooses the version twice"),
        ("n@sha256:abcd", "digest of 'sha256'"),
        ("n@BLAKE3:abcd", "digest of 'BLAKE3'"),
        ("n@:abcd", "digest of ''"),
        ("n@blake3:", "no digits"),
        ("n@ABCD", "lower case"),
        ("n@blake3:" + FULL.upper(), "lower case"),
        ("n@xyzw", "0-9 and a-f"),
        ("n@abcd\n", "0-9 and a-f"),
        ("n@abc", "at least 4"),
        ("n@" + FULL + "0", "a whole digest has 64"),
        ("n:v01", "write 'v1'"),
        ("n:v00", "write 'v0'"),
        ("n:v-1", "signed number"),
        ("n:v+1", "signed number"),
        ("n:v٣", "digits 0 to 9"),
        ("n:v9007199254740992", "larger than any"),
        ("n:v" + "9" * 5000, "larger than any"),
    ],
)
def test_a_reference_that_could_mean_two_things_means_none(text: str, why: str) -> None:
    """N14. Never picks one; says which part is wrong and what to write."""
    message = refusal(Reference.parse, text, "bad-reference")

    assert why in message
    assert len(message) < 300


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("../cats", "bad-name"),
        ("demo/..", "bad-name"),
        ("C:\\x/y", "bad-alias"),
        ("a b:v1", "bad-name"),
        ("nul/cats", "bad-name"),
        ("cats\n", "bad-name"),
        ("n:a/b", "bad-alias"),
        ("n:best\n", "bad-alias"),
        ("s3://bucket/key", "bad-alias"),
    ],
)
def test_the_parts_of_a_reference_are_names(text: str, code: str) -> None:
    """N13. A reference is no way around the rules for names."""
    assert refusal(Reference.parse, text, code)


@given(
    NAMES.filter(lambda name: is_accepted(project_name, name)),
    NAMES,
    st.one_of(
        st.integers(0, 2**53 - 1),
        st.text(min_size=1, max_size=20).filter(lambda text: is_accepted(alias_name, text)),
        st.from_regex(r"\A[0-9a-f]{4,64}\Z").map(DigestPrefix),
    ),
)
def test_a_reference_reads_back(project: str, collection: str, selector: int | str | DigestPrefix) -> None:
    """What a message or a report shows can be pasted into the next command."""
    reference = Reference(project=project, collection=collection, selector=selector)

    assert reference == Reference.parse(str(reference))
    assert reference == Reference.parse(f"entity/{reference}", project="other")


@given(st.one_of(st.text(max_size=20), st.text("av01:@/-.bc3 ", max_size=15)))
def test_any_text_is_a_reference_or_says_why_not(text: str) -> None:
    """Nothing but Invalid comes out of the parser, and what it accepts it writes as something it accepts."""
    try:
        reference = Reference.parse(text)
    except Invalid:
        return

    assert reference == Reference.parse(str(reference))
