"""What a push would send is told before, file by file, and is what it sends."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path

import pytest

from artstore.errors import Invalid, NotFound
from artstore.sync.explain import explain
from artstore.sync.objects.folder import FolderObjects
from artstore.sync.objects.pacing import Pace, PacedObjects
from artstore.sync.remotes import add_remote
from artstore.sync.rounds import exchange
from tests.sync.conftest import Machine
from tests.sync.serving import served

Make = Callable[..., Machine]


def test_nothing_is_said_of_a_push_that_would_be_refused(tmp_path: Path, machine: Make) -> None:
    a = machine("a")
    a.put({"x": b"x"})
    with served(tmp_path / "other") as server:
        add_remote(a.store.path, "other", server.url, upstream=False, join=False)
        with pytest.raises(Invalid, match="nothing is pushed"):
            explain(a.store, "cats", "other")


def test_each_file_says_why_it_would_be_sent(machine: Make) -> None:
    a = machine("a")
    a.put({"x": b"x", "y": b"y"})
    first = explain(a.store, "cats", "hub")
    a.push()
    pushed = explain(a.store, "cats", "hub")
    a.put({"x": b"xx", "y": b"y", "z": b"z", "zz": b"z"})
    second = explain(a.store, "cats", "hub")
    (report,) = a.push().projects

    assert [(2, False), (0, True), (3, False)] == [(each.sent_bytes, each.is_there) for each in (first, pushed, second)]
    assert {"nothing of cats is there yet"} == {blob.why for blob in first.blobs}
    why = {blob.path: (blob.is_sent, blob.why) for blob in second.blobs}
    assert (True, "cats:v0 has other bytes in this file") == why["x"]
    assert (False, True, False) == tuple(why[path][0] for path in ("y", "z", "zz"))
    assert "no file of this name" in why["z"][1]
    assert second.sent_bytes == report.pushed.bytes


def test_bytes_that_nobody_has_are_not_promised(machine: Make, depot: Path) -> None:
    a, b = machine("a"), machine("b")
    a.put({"x": b"x"})
    a.push()
    b.pull()
    other = depot.with_name("other")
    other.mkdir()
    add_remote(b.store.path, "copy", f"file://{other}", upstream=False, join=False)
    (blob,) = explain(b.store, "cats", "copy").blobs

    assert (False, "it is neither here nor there: no push can send it") == (blob.is_sent, blob.why)
    with pytest.raises(NotFound, match="no remote"):
        explain(a.store, "cats", "elsewhere")


@pytest.mark.parametrize("kind", ["depot", "server"])
def test_bytes_go_no_faster_than_they_may(
    tmp_path: Path, depot: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """Else a push by night is a meeting without a picture by day."""
    slept: list[float] = []
    with contextlib.ExitStack() as ending:
        place = depot if kind == "depot" else ending.enter_context(served(tmp_path / "server")).url
        a, b = Machine(tmp_path, place, "a"), Machine(tmp_path, place, "b")
        ending.callback(a.store.close)
        ending.callback(b.store.close)
        monkeypatch.setattr("artstore.sync.objects.pacing.time.sleep", slept.append)
        _go_no_faster(a, b, slept)


def _go_no_faster(a: Machine, b: Machine, slept: list[float]) -> None:
    a.put({"large": b"l" * 1_500_000, "x": b"x" * 100_000})
    exchange(a.store, "push", pace=Pace(1_000_000))
    sent = max(slept)
    slept.clear()
    exchange(b.store, "pull", blobs=True, pace=Pace(1_000_000))

    assert 1.2 < sent < 2
    assert 1.2 < max(slept) < 2
    assert b"l" * 1_500_000 == b.read("cats")["large"]


def test_what_is_paced_is_not_changed(depot: Path) -> None:
    objects = PacedObjects(FolderObjects(depot), Pace(100_000_000))
    (depot / "source").write_bytes(b"s" * 3_000_000)
    objects.write("a/b", [b"12", b"345"], 5)
    objects.write_file("c", depot / "source")

    assert (b"12345", b"345", 5) == (b"".join(objects.stream("a/b")), objects.read("a/b", 2), objects.size("a/b"))
    assert b"s" * 3_000_000 == objects.read("c")
    assert (True, False) == (objects.claim("d", b"1"), objects.claim("d", b"2"))
    assert ["a/b", "c", "d", "source"] == list(objects.names(""))
    objects.remove("d")
    assert (None, 0) == (objects.size("d"), objects.tidy())
