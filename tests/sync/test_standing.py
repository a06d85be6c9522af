"""What `artstore status` says of each remote is how it is, and why."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from artstore.cli import main
from artstore.errors import Unreachable
from artstore.storage.sessions import Exclusive
from artstore.sync.follow import LOCK
from artstore.sync.remotes import add_remote
from artstore.sync.rounds import exchange
from artstore.sync.standing import standings
from tests.sync.conftest import Machine

Make = Callable[..., Machine]


def test_what_stopped_one_project_is_shown_although_the_remote_was_reached(machine: Make) -> None:
    """A project that does not travel must not stand under `last reached`, as if all were well."""
    a, b = machine("a"), machine("b", join=False)
    a.put({"a": b"a"})
    a.push()
    b.put({"a": b"b"})
    exchange(b.store, "push")
    (stopped,) = standings(b.store)
    add_remote(b.store.path, "hub", f"file://{b.depot}", upstream=True, join=True)
    b.push()
    (well,) = standings(b.store)

    assert "--join" in str(stopped.failure)
    assert stopped.failed_at == stopped.succeeded_at
    assert (1, None) == (stopped.waiting_versions, stopped.unreachable_since)
    assert (0, None) == (well.waiting_versions, well.failure)


def test_a_push_of_nothing_does_not_claim_that_a_remote_was_reached(machine: Make) -> None:
    """Whoever trusts in `last reached` would learn that the depot is gone when it is needed."""
    a, new = machine("a"), machine("new")
    a.put({"a": b"a"})
    a.push()
    a.depot.rename(a.depot.with_name("away"))

    for each in (a, new):
        with pytest.raises(Unreachable):
            exchange(each.store, "push")
        (hub,) = standings(each.store)
        assert hub.unreachable_since is not None


def test_bytes_come_from_a_mirror_while_the_upstream_is_away_and_both_are_shown(machine: Make, tmp_path: Path) -> None:
    """One remote that is down must not hide the other that has the bytes."""
    a, b = machine("a"), machine("b")
    a.put({"a": b"a"})
    a.push()
    b.pull()
    shutil.copytree(a.depot, tmp_path / "mirror")
    add_remote(b.store.path, "mirror", f"file://{tmp_path}/mirror", upstream=False, join=False)
    a.depot.rename(tmp_path / "away")
    read = b.read("cats")
    hub, mirror = standings(b.store)
    shutil.rmtree(tmp_path / "mirror")

    assert {"a": b"a"} == read
    assert hub.unreachable_since is not None
    assert "is not there" in str(hub.failure)
    assert (None, None) == (mirror.unreachable_since, mirror.failure)
    assert mirror.succeeded_at is not None
    with pytest.raises(Unreachable):
        exchange(b.store, "pull")
    (tmp_path / "away").rename(a.depot)
    b.pull()
    hub, _mirror = standings(b.store)
    assert (None, None) == (hub.unreachable_since, hub.failure)


def test_whether_a_process_keeps_it_up_is_shown(
    machine: Make, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    a = machine("a")
    monkeypatch.setenv("ARTSTORE_DIR", str(a.store.path))
    main(["remote", "add", "hub", f"file://{a.depot}", "--upstream", "--background"])
    main(["remote", "test", "hub"])
    a.put({"a": b"a"})
    main(["status"])
    said = capsys.readouterr().out
    with Exclusive(a.store.path, LOCK):
        main(["status", "--json"])
    (remote,) = json.loads(capsys.readouterr().out)["remotes"]

    assert "the upstream, in the background" in said
    assert "last reached" in said
    assert ["2", "ops"] == next(line for line in said.splitlines() if line.startswith("pending")).split()[1:]
    assert "; in the background; waiting" in said
    assert (True, True) == (remote["background"], remote["followed"])
