"""Manifests in the catalog: whatever chain of differences keeps them, they are a dictionary."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from artstore.errors import Corrupt, NotFound
from artstore.model.digest import Digest
from artstore.model.manifest import BlobEntry, Difference, Entry, difference_between, digest_of_lines, reference
from artstore.storage.manifests import BATCH, MAX_DEPTH, MAX_WEIGHT_SHARE, ManifestRow
from artstore.storage.root import Root

Model = dict[str, Entry]

PATHS = ["a", "a/b".replace("/", "-"), "d/a", "d/é", "d/😀", "d/e/f/g", "d-e/f", "d/e!", "z", "数/x"]


def blob(path: str, number: int) -> BlobEntry:
    return BlobEntry(path, Digest.of(b"%d" % number), number)


def external(path: str, number: int) -> Entry:
    return reference(path, f"s3://b/{number % 3}", checksum="c", size=number or None, extra={})


def listed(model: Model) -> list[Entry]:
    return [model[path] for path in sorted(model)]


def digest_of(model: Model) -> Digest:
    return digest_of_lines(entry.line() for entry in listed(model))


def expect_blobs(root: Root, model: Model) -> None:
    root.blobs.expect([(entry.digest, entry.size) for entry in model.values() if isinstance(entry, BlobEntry)])


def add_full(root: Root, model: Model) -> Digest:
    expect_blobs(root, model)
    root.manifests.add_full(digest_of(model), listed(model), stored_only=False)
    return digest_of(model)


def add_difference(root: Root, base: Digest, model: Model) -> Digest:
    expect_blobs(root, model)
    difference = difference_between(root.manifests.entries(base), listed(model))
    root.manifests.add_difference(digest_of(model), root.manifests.get(base), difference, len(model), stored_only=False)
    return digest_of(model)


CHANGES = st.dictionaries(
    st.sampled_from(PATHS),
    st.none() | st.tuples(st.sampled_from([blob, external]), st.integers(0, 5)),
    max_size=3,
)


@settings(max_examples=15)
@given(st.lists(CHANGES, min_size=MAX_DEPTH + 4, max_size=MAX_DEPTH + 8), st.uuids())
def test_a_chain_of_differences_is_a_dictionary(
    shared_root: Root, steps: list[dict[str, tuple[type, int] | None]], series: object
) -> None:
    """A version far from its full ancestor has exactly its own files: none that went, none of a sibling."""
    # Content of its own in each example, so that no digest is known from another.
    model: Model = {"own": external("own", 1), str(series): external(str(series), 1)}
    history = [(add_full(shared_root, model), dict(model))]
    for number, changes in enumerate(steps):
        for path, change in changes.items():
            if change is None:
                model.pop(path, None)
            else:
                make, value = change
                model[path] = make(path, value)
        model["own"] = external("own", number + 2)
        history.append((add_difference(shared_root, history[-1][0], model), dict(model)))

    for digest, expected in (history[0], history[-2], history[-1]):
        found = list(shared_root.manifests.entries(digest))
        assert listed(expected) == found
        assert digest == digest_of_lines(entry.line() for entry in found)
        for path in PATHS:
            assert expected.get(path) == one(shared_root, digest, path)
        for folder in ("", "d", "d/e", "d/e/f", "数", "a", "none"):
            below = {path: entry for path, entry in expected.items() if path.startswith(f"{folder}/" if folder else "")}
            assert listed(below) == list(shared_root.manifests.entries_below(digest, folder))
            assert bool(below) == shared_root.manifests.is_folder(digest, folder)
            assert in_folder(below, folder) == shared_root.manifests.folder(digest, folder)


def in_folder(below: Model, folder: str) -> tuple[list[str], list[Entry]]:
    """The folders and the entries directly in a folder, of the entries below it."""
    start = len(folder) + 1 if folder else 0
    folders = {path[start:].partition("/")[0] for path in below if "/" in path[start:]}
    return sorted(folders), [entry for entry in listed(below) if "/" not in entry.path[start:]]


def one(root: Root, digest: Digest, path: str) -> Entry | None:
    """One entry, asked for alone."""
    try:
        return root.manifests.entry(digest, path)
    except NotFound:
        return None


def test_a_removed_path_stays_away_and_may_come_back(root: Root) -> None:
    """A deleted file that shows up again two versions later would be read as data."""
    base = add_full(root, {"a": blob("a", 1), "b": blob("b", 1)})
    without = add_difference(root, base, {"b": blob("b", 1)})
    still = add_difference(root, without, {"b": blob("b", 2)})
    back = add_difference(root, still, {"a": blob("a", 3), "b": blob("b", 2)})

    assert [one(root, digest, "a") for digest in (base, without, still, back)] == [
        blob("a", 1),
        None,
        None,
        blob("a", 3),
    ]
    assert [len(list(root.manifests.entries(digest))) for digest in (base, without, still, back)] == [2, 1, 1, 2]


def test_an_empty_manifest_is_one(root: Root) -> None:
    """A version without files is a version."""
    assert list(root.manifests.entries(add_full(root, {}))) == []


def test_a_manifest_can_be_emptied_and_filled(root: Root) -> None:
    full = {"a": blob("a", 1), "b": external("b", 0)}
    empty = add_difference(root, add_full(root, full), {})

    assert list(root.manifests.entries(empty)) == []
    assert listed(full) == list(root.manifests.entries(add_difference(root, empty, {**full})))


def test_many_batches_are_one_manifest(root: Root) -> None:
    """Rows go in by the batch; an entry on the seam must not be lost or doubled."""
    model: Model = {f"{number:06d}": blob(f"{number:06d}", number % 7) for number in range(2 * BATCH + 1)}
    base = add_full(root, model)
    less = dict(list(model.items())[: BATCH - 1])

    assert listed(model) == list(root.manifests.entries(base))
    assert listed(less) == list(root.manifests.entries(add_difference(root, base, less)))


def test_an_unfinished_manifest_cannot_be_found(root: Root) -> None:
    """A killed put leaves rows behind; nobody must take them for a manifest."""
    model: Model = {"a": blob("a", 1), "b": blob("b", 2)}

    with pytest.raises(Corrupt) as caught:
        root.manifests.add_full(digest_of(model), listed(model))  # Its blobs are not in the catalog.

    assert caught.value.code == "blob-missing"
    assert root.manifests.find(digest_of(model)) is None
    with pytest.raises(Corrupt) as caught:
        root.manifests.get(digest_of(model))
    assert caught.value.code == "manifest-missing"


def test_a_condemned_manifest_is_not_built_on(root: Root) -> None:
    """I8. `gc` will free it; it can still be read by who is at it, and kept by a version that names it."""
    digest = add_full(root, {"a": blob("a", 1)})
    with root.catalog.write() as connection:
        connection.execute("UPDATE manifest SET condemned = 1")

    assert root.manifests.find(digest) is None
    assert [blob("a", 1)] == list(root.manifests.entries(digest))
    with root.catalog.write():
        root.manifests.keep(digest)
    assert root.manifests.find(digest) is not None


@pytest.mark.parametrize(
    ("depth", "weight", "expected"),
    [
        (0, 0, True),
        (MAX_DEPTH - 1, 0, True),
        (MAX_DEPTH, 0, False),
        (1, int(100 * MAX_WEIGHT_SHARE) - 1, True),
        (1, int(100 * MAX_WEIGHT_SHARE), False),
    ],
)
def test_chains_are_bounded(root: Root, depth: int, weight: int, expected: bool) -> None:
    """Each difference makes a read dearer; without a bound, version 10,000 would take minutes to list."""
    base = ManifestRow(id=1, base=None, depth=depth, weight=weight, entries=100)

    assert root.manifests.can_build_on(base, 1, 100) is expected


def test_equal_paths_blobs_and_references_take_one_row(root: Root) -> None:
    """A version costs what it changes, not what its paths are long."""
    base = add_full(root, {"a": blob("a", 1), "b": blob("b", 1), "c": external("c", 1), "d": external("d", 1)})
    add_difference(root, base, {"a": blob("a", 2), "b": blob("b", 1), "c": external("c", 1), "d": external("d", 1)})
    counts = {
        table: root.catalog.one(f"SELECT count(*) FROM {table}") for table in ("path", "blob", "reference", "entry")
    }

    assert counts == {"path": (4,), "blob": (2,), "reference": (1,), "entry": (5,)}


def test_a_difference_against_what_gc_condemned_still_reads(root: Root) -> None:
    base = add_full(root, {"a": blob("a", 1)})
    row = root.manifests.get(base)
    with root.catalog.write() as connection:
        connection.execute("UPDATE manifest SET condemned = 1")
    after: Model = {"a": blob("a", 1), "b": blob("b", 1)}
    root.manifests.add_difference(digest_of(after), row, Difference(gone=[], come=[blob("b", 1)]), 2, stored_only=False)

    assert listed(after) == list(root.manifests.entries(digest_of(after)))
