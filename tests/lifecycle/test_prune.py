"""Prune: what changed since it was judged stays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

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
