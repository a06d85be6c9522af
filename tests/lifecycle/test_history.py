"""What a version brought is what its collection would lack without it and all that came later."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from artstore.errors import Invalid, NotFound
from artstore.lifecycle.reports import HistoryReport, VersionInfo
from artstore.storage import manifests, queries
from artstore.store import Store

Put = Callable[..., VersionInfo]


def brought(page: HistoryReport) -> list[tuple[int, int | None, int | None]]:
    return [(line.version.number, line.new_blobs, line.new_bytes) for line in page.lines]


def test_content_counts_where_it_came_first(store: Store, put: Put) -> None:
    put({"a": b"1" * 10, "b": b"2" * 20, "a-again": b"1" * 10})
    put({"a": b"3" * 5, "b": b"2" * 20})
    put({"a": b"1" * 10})

    assert [(2, 0, 0), (1, 1, 5), (0, 2, 30)] == brought(store.history("cats"))


def test_what_another_collection_has_is_still_news(store: Store, put: Put) -> None:
    """A collection is looked at by itself: what it shares with others stands under space."""
    put({"a": b"1" * 10}, name="dogs")
    put({"a": b"1" * 10, "b": b"2"})

    assert [(0, 2, 11)] == brought(store.history("cats"))


def test_what_a_deleted_version_had_first_is_brought_by_the_next(store: Store, put: Put) -> None:
    put({"a": b"1" * 10})
    put({"a": b"1" * 10, "b": b"2" * 20})
    assert [(1, 1, 20), (0, 1, 10)] == brought(store.history("cats"))

    store.delete("cats:v0", force=True)

    assert [(1, 2, 30)] == brought(store.history("cats"))


def test_content_that_has_two_numbers_counts_at_the_first(store: Store, put: Put) -> None:
    """After a sync, equal content may have two numbers, and what it is kept as a difference to may stand between."""
    files = {f"{number}": b"%d" % number for number in range(20)}
    put(files)
    put({**files, "0": b"more"})
    asked = queries.Queries(store.root.catalog)
    first, second = asked.manifests_of(1, store.root.catalog.rows("SELECT id FROM collection")[0][0]).values()

    assert [(20, 33), (1, 1), (0, 0)] == [tuple(each) for each in asked.brought([second, first, second])]


def test_pages_follow_each_other_without_gap_or_overlap(store: Store, put: Put) -> None:
    for number in range(7):
        put({"a": b"%d" % number})
    store.delete("cats:v3")
    seen: list[int] = []
    before: int | None = None
    while True:
        page = store.history("cats", before=before, limit=2)
        seen += [line.version.number for line in page.lines]
        before = page.next
        assert len(seen) <= 6
        if before is None:
            break

    assert [6, 5, 4, 2, 1, 0] == seen


@pytest.mark.parametrize("rows", [1, 70, 50_000])
def test_it_is_right_whatever_manifest_is_built_on_what(
    store: Store, put: Put, monkeypatch: pytest.MonkeyPatch, rows: int
) -> None:
    """Manifests are differences, to others of any collection, or full; and they are read one by one or together."""
    monkeypatch.setattr(manifests, "MAX_DEPTH", 3)
    monkeypatch.setattr(queries, "ROWS", rows)
    chance = random.Random(5)
    files = {f"{number:03}": b"%d" % number for number in range(60)}
    wanted: dict[str, list[int]] = {"cats": [], "dogs": []}
    seen: dict[str, set[bytes]] = {"cats": set(), "dogs": set()}
    for step in range(24):
        for _ in range(chance.randrange(1, 5)):
            files[f"{chance.randrange(80):03}"] = b"%d of %d" % (chance.randrange(9), step)
        name = chance.choice(["cats", "dogs"])
        put(files, name=name)
        news = set(files.values()) - seen[name]
        seen[name] |= news
        wanted[name].append(sum(map(len, news)))

    for name, sizes in wanted.items():
        assert sizes == [line.new_bytes for line in reversed(store.history(name).lines)]
        assert sizes[-1] == store.history_line(f"{name}:latest").new_bytes


def test_links_bring_nothing_and_have_numbers_of_their_own(store: Store, put: Put) -> None:
    for number in range(3):
        put({"a": b"%d" % number})
        store.link(f"cats:v{number}", "best")

    page = store.history("best", limit=2)

    assert [(2, None), (1, None)] == [
        (line.version.link.number, line.new_bytes) for line in page.lines if line.version.link
    ]
    assert [0] == [line.version.number for line in store.history("best", before=page.next).lines]


def test_a_page_of_nothing_is_refused(store: Store, put: Put) -> None:
    put({"a": b"1"})

    with pytest.raises(Invalid, match="ask for 1 or more"):
        store.history("cats", limit=0)
    with pytest.raises(NotFound, match="no collection"):
        store.history("dogs")


def test_growth_ends_with_what_the_store_holds(store: Store, put: Put) -> None:
    """The curve and `du` are two ways to the same figures."""
    put({"a": b"1" * 10, "b": b"2" * 20})
    put({"a": b"1" * 10, "b": b"3" * 5})
    put({"x": b"2" * 20}, name="dogs", project="zoo")
    points = store.growth().points

    assert [(30, 30), (45, 35), (65, 35)] == [(each.logical_bytes, each.stored_bytes) for each in points]
    assert (store.du().logical_bytes, store.du().stored_bytes) == (points[-1].logical_bytes, points[-1].stored_bytes)
    assert [(20, 20)] == [(each.logical_bytes, each.stored_bytes) for each in store.growth("zoo").points]
    with pytest.raises(NotFound, match="no project"):
        store.growth("nope")


def test_many_versions_are_few_points_and_the_last_is_one_of_them(store: Store, put: Put) -> None:
    for number in range(230):
        put({"a": b"%03d" % number})
    points = store.growth().points

    assert len(points) <= 200
    assert (230, 690) == (points[-1].versions, points[-1].logical_bytes)
    assert [each.versions for each in points] == sorted({each.versions for each in points})
