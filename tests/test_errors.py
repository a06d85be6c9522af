"""The error tree is a promise: handlers are written against it, and scripts against the exit codes."""

from __future__ import annotations

import copy
import inspect
import pickle

import pytest

from artstore import errors
from artstore.errors import ArtifactFinalizedError, ArtstoreError, CommError, Corrupt, Invalid, NotFound, Problem

# class: (what it is a kind of here, what other handlers catch it as, exit code)
TREE: dict[str, tuple[str, type[Exception], int]] = {
    "ArtstoreError": ("Exception", Exception, 1),
    "NotFound": ("ArtstoreError", LookupError, 3),
    "MissingArtifact": ("NotFound", CommError, 3),
    "MissingEntry": ("NotFound", KeyError, 3),
    "MissingObject": ("NotFound", LookupError, 3),
    "MissingFile": ("NotFound", FileNotFoundError, 3),
    "ReferenceMissing": ("MissingFile", ValueError, 3),
    "ReferenceChanged": ("ReferenceMissing", ValueError, 3),
    "Invalid": ("ArtstoreError", ValueError, 2),
    "AmbiguousVersion": ("Invalid", ValueError, 2),
    "NotAModel": ("Invalid", AssertionError, 2),
    "PathCollision": ("Invalid", ValueError, 2),
    "WrongType": ("Invalid", TypeError, 2),
    "BadTable": ("Invalid", AssertionError, 2),
    "Conflict": ("ArtstoreError", Exception, 4),
    "AliasedArtifact": ("Conflict", CommError, 4),
    "ArtifactStatusError": ("Conflict", AttributeError, 4),
    "ArtifactNotLoggedError": ("ArtifactStatusError", AttributeError, 4),
    "ArtifactFinalizedError": ("ArtifactStatusError", AttributeError, 4),
    "WaitTimeoutError": ("Conflict", TimeoutError, 4),
    "Corrupt": ("ArtstoreError", Exception, 5),
    "Unreachable": ("ArtstoreError", ConnectionError, 6),
    "Refused": ("ArtstoreError", PermissionError, 7),
    "Denied": ("Refused", PermissionError, 7),
    "StorageFull": ("Refused", PermissionError, 7),
    "ReadOnlyStore": ("Refused", PermissionError, 7),
    "UpgradeNeeded": ("ArtstoreError", Exception, 8),
}
OTHER_NAMES = {"Error": ArtstoreError, "UsageError": Invalid}
"""What a script written for W&B calls them."""
CLASSES: dict[str, type[ArtstoreError]] = {
    name: kind
    for name, kind in vars(errors).items()
    if name not in OTHER_NAMES
    if inspect.isclass(kind) and issubclass(kind, ArtstoreError) and kind.__module__ == errors.__name__
}


def test_the_tree_is_as_written_down() -> None:
    found = {name: (kind.__bases__[0].__name__, kind.exit_code) for name, kind in CLASSES.items()}

    assert {name: (parent, code) for name, (parent, _, code) in TREE.items()} == found


@pytest.mark.parametrize("name", TREE)
def test_handlers_for_the_builtin_errors_catch_ours(name: str) -> None:
    _, builtin, _ = TREE[name]

    with pytest.raises(builtin, match="demo"):
        raise CLASSES[name]("demo is wrong", code="some-case")


@pytest.mark.parametrize("name", TREE)
def test_the_class_alone_decides_the_builtin_parents(name: str) -> None:
    """Nothing is a LookupError, say, that is not listed as one: a broad handler must not swallow it by accident."""
    watched = (LookupError, ValueError, OSError, AttributeError, TypeError, AssertionError, RuntimeError, CommError)
    builtins = []
    above = name
    while above != "Exception":
        above, builtin, _ = TREE[above]
        builtins.append(builtin)

    expected = [kind for kind in watched if any(issubclass(builtin, kind) for builtin in builtins)]

    assert expected == [kind for kind in watched if issubclass(CLASSES[name], kind)]


@pytest.mark.parametrize("name", TREE)
def test_an_error_from_another_process_says_the_same(name: str) -> None:
    """A pool of workers pickles what they raise; code and message must not be lost on the way."""
    error = CLASSES[name]("blob is 1 of 2 bytes", code="digest-mismatch")
    error.problems = (Problem("a/b", "it is no file"),)

    for arrived in (copy.copy(error), pickle.loads(pickle.dumps(error))):  # noqa: S301 - dumped on the same line
        assert type(error) is type(arrived)
        assert (error.code, error.message, str(error)) == (arrived.code, arrived.message, str(arrived))
        assert error.problems == arrived.problems


@pytest.mark.parametrize("name", TREE)
def test_the_text_of_an_error_is_its_message(name: str) -> None:
    """PermissionError and ConnectionError would otherwise print as OSError does, with an errno."""
    assert str(CLASSES[name]("demo has no alias 'bset'", code="alias-not-found")) == "demo has no alias 'bset'"


def test_a_code_must_be_given() -> None:
    with pytest.raises(TypeError, match="code"):
        NotFound("no such version")  # type: ignore[call-arg]


def test_the_drawing_of_the_tree_names_every_class() -> None:
    drawing = errors.__doc__ or ""

    assert [name for name in TREE if name not in drawing] == []


def test_exit_codes_tell_the_kinds_apart() -> None:
    """Kinds that ask for different things exit differently; 0 is success, and nothing collides with a shell's codes."""
    direct = [kind for kind in CLASSES.values() if kind.__bases__[0] is ArtstoreError]
    codes = [kind.exit_code for kind in direct]

    assert len(set(codes)) == len(codes)
    assert all(1 < code < 64 for code in codes)
    assert Invalid.exit_code == 2, "click's own usage errors exit 2, and mean the same"
    assert Corrupt.exit_code == 5


@pytest.mark.parametrize("name", OTHER_NAMES)
def test_a_script_written_for_another_library_finds_the_names_it_catches(name: str) -> None:
    assert getattr(errors, name) is OTHER_NAMES[name]


def test_a_status_error_says_what_was_asked_of_whom() -> None:
    """As every AttributeError does: an interpreter and an editor make suggestions from it."""
    error = ArtifactFinalizedError("cats is a version: make a new_draft()", code="finalized", name="add_file", obj=TREE)

    assert ("add_file", TREE) == (error.name, error.obj)
