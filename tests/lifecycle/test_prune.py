"""Prune: what no rule was meant for stays, and so does what changed since it was judged."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from artstore.errors import Invalid
from artstore.lifecycle import prune as verb
from artstore.lifecycle.reports import VersionInfo
from artstore.store import Store

Put = Callable[..., VersionInfo]


@pytest.mark.parametrize("what", ["relog", "ttl", "delete"])
def test_what_changed_since_it_was_judged_is_not_deleted(
    what: str, store: Store, put: Put, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Content that is committed again is the latest, not the oldest."""
    for number in range(3):
        put({"a": b"%d" % number})
    real = verb._delete

    def delete(*arguments: Any) -> Any:
        if what == "relog":
            put({"a": b"0"})
        elif what == "ttl":
            store.set_ttl("cats:v0", 1e9)
        else:
            store.delete("cats:v0")
        return real(*arguments)

    monkeypatch.setattr(verb, "_delete", delete)
    report = store.prune(["cats"], keep_last=1)

    assert [each.ref for each in report.deleted] == ["uncategorized/cats:v1"]
    there = {version.number for version in store.versions("cats") if version.state == "committed"}
    assert there == ({2} if what == "delete" else {0, 2})
    # Of what was deleted, not of what had been judged.
    assert report.freeable_bytes == 1


@pytest.mark.parametrize("dry_run", [False, True])
def test_the_best_by_what_no_version_has_is_refused(dry_run: bool, store: Store, put: Put) -> None:
    """A key with a typing error would keep nothing, and so take every version."""
    for number in range(3):
        put({"a": b"%d" % number})
    store.set_metadata("cats:v0", {"accuracy": 0.9, "note": "good"})
    put({"a": b"dog"}, "dogs")

    for names, key in ((["cats"], "acuracy"), (["cats"], "note"), (["cats", "dogs"], "accuracy")):
        with pytest.raises(Invalid, match=key) as refused:
            store.prune(names, keep_best=[(key, "max", 1)], keep_last=1, dry_run=dry_run)
        assert refused.value.code == "bad-policy"

    assert len(store.versions("cats")) == 3


@pytest.mark.parametrize(
    "rules",
    [
        {"keep_within_s": float("nan")},
        {"keep_within_s": -1.0},
        {"keep_last": -1},
        {"keep_best": [("accuracy", "max", -1)]},
        {"keep_best": [("accuracy", "least", 1)]},
    ],
)
def test_a_rule_that_means_nothing_is_refused(rules: Any, store: Store, put: Put) -> None:
    """No version is younger than a time that is not a number, so such a rule would keep none."""
    put({"a": b"a"})
    store.set_metadata("cats", {"accuracy": 0.9})

    with pytest.raises(Invalid) as refused:
        store.prune(["cats"], **rules)
    assert refused.value.code == "bad-policy"
    assert len(store.versions("cats")) == 1


def test_the_best_of_numbers_that_no_float_can_hold_is_found(store: Store, put: Put) -> None:
    """Metadata may hold any whole number: neither is one too large an error, nor are two neighbours taken for equal."""
    scores = {0: 10**400, 1: 2**53 + 1, 2: 2**53, 3: -(10**400), 4: 0.5}
    for number, score in scores.items():
        put({"a": b"%d" % number})
        store.set_metadata(f"cats:v{number}", {"score": score})

    def kept(order: verb.Order) -> list[str]:
        report = store.prune(["cats"], keep_best=[("score", order, 2)], dry_run=True)
        return sorted(each.ref.rpartition(":")[2] for each in report.kept)

    assert kept("max") == ["v0", "v1"]
    assert kept("min") == ["v3", "v4"]


@pytest.mark.parametrize("years", [-10, 10])
def test_a_wrong_clock_expires_nothing(years: int, store: Store, put: Put, monkeypatch: pytest.MonkeyPatch) -> None:
    """P10. A machine that woke up in another decade must not take what was made a minute ago for old."""
    for number in range(3):
        put({"a": b"%d" % number})
    store.set_ttl("cats:v0", 2 * verb.CLOCK_SLACK_S)
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + years * 365 * 86_400)

    assert store.prune(["cats"]).deleted == []
    assert store.prune(["cats"], keep_within_s=2 * verb.CLOCK_SLACK_S).deleted == []
    assert len(store.versions("cats")) == 3
