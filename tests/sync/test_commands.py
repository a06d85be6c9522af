"""The commands, as a person on a cluster types them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from artstore.cli import main


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Path:
    """A folder with a depot and two stores, which know it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "depot").mkdir()
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a").write_bytes(b"a")
    for node in ("one", "two"):
        assert 0 == main(["--store", node, "init"])
        assert 0 == main(["--store", node, "remote", "add", "hub", f"file://{tmp_path}/depot", "--upstream"])
    capsys.readouterr()
    return tmp_path


def said(capsys: pytest.CaptureFixture[str], *words: str) -> Any:
    """What a command answers as JSON."""
    assert 0 == main([*words, "--json"]), capsys.readouterr().err
    return json.loads(capsys.readouterr().out)


def test_from_one_node_to_another(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["--store", "one", "put", "photos", "--name", "cats", "--type", "dataset"])
    capsys.readouterr()
    (waiting,) = said(capsys, "--store", "one", "status")["remotes"]
    pushed = said(capsys, "--store", "one", "push")
    (sent,) = said(capsys, "--store", "one", "status")["remotes"]
    pulled = said(capsys, "--store", "two", "pull", "hub", "--blobs")
    assert 0 == main(["--store", "two", "get", "cats", "out"])

    assert (1, 1, None) == (waiting["waiting_versions"], waiting["waiting_bytes"], waiting["succeeded_at"])
    assert (0, True) == (sent["waiting_versions"], sent["succeeded_at"] is not None)
    assert [1, 1] == [pushed["projects"][0]["pushed"][word] for word in ("versions", "blobs")]
    assert [1, 1] == [pulled["projects"][0]["pulled"][word] for word in ("versions", "blobs")]
    assert b"a" == (place / "out" / "a").read_bytes()


def test_what_is_said_can_be_read(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    del place
    main(["--store", "one", "put", "photos", "--name", "cats", "--type", "dataset"])
    main(["--store", "one", "explain", "cats", "--to", "hub"])
    main(["--store", "one", "push", "--limit-rate", "1GB"])
    main(["--store", "one", "push"])
    main(["--store", "one", "explain", "cats", "--to", "hub"])
    main(["--store", "one", "remote", "ls"])
    main(["--store", "one", "remote", "test", "hub"])
    main(["--store", "one", "status"])
    main(["--store", "one", "conflicts"])
    main(["--store", "one", "numbers", "ls"])
    out = capsys.readouterr().out

    for words in (
        "would send 1 B of 1 B",
        "pushed 1 version",
        "cats:v0 is there already",
        "nothing to push",
        "hub is fit",
        "last reached",
        "waiting: 0 versions",
        "CONFLICT",
    ):
        assert words in out


def test_as_much_as_came_can_go_and_is_not_nothing(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Whoever reads that there was nothing to push does not look what others see of it now."""
    for node in ("one", "two"):
        main(["--store", node, "put", "photos", "--name", f"cats-{node}", "--type", "dataset"])
    main(["--store", "one", "push"])
    main(["--store", "one", "push"])
    assert "nothing to push" in capsys.readouterr().out
    assert 0 == main(["--store", "two", "remote", "add", "hub", f"file://{place}/depot", "--upstream", "--join"])
    assert 0 == main(["--store", "two", "push"])
    out = capsys.readouterr().out

    assert "pulled 1 version, 2 ops" in out
    assert "pushed 1 version, 2 ops" in out
    assert "nothing to push" not in out


@pytest.mark.usefixtures("place")
def test_a_remote_that_is_gone_is_said_to_be_and_nothing_is_lost(capsys: pytest.CaptureFixture[str]) -> None:
    """Offline is a state: what was committed waits, and the next push sends it."""
    main(["--store", "one", "put", "photos", "--name", "cats", "--type", "dataset"])
    Path("depot").rename("unmounted")
    assert 6 == main(["--store", "one", "push"])
    (away,) = said_after_errors(capsys, "--store", "one", "status")["remotes"]
    Path("unmounted").rename("depot")
    assert 0 == main(["--store", "one", "push"])
    capsys.readouterr()
    (back,) = said(capsys, "--store", "one", "status")["remotes"]

    assert away["unreachable_since"] is not None
    assert "depot" in away["failure"]
    assert (1, 0) == (away["waiting_versions"], back["waiting_versions"])
    assert back["failure"] is back["unreachable_since"] is None


def said_after_errors(capsys: pytest.CaptureFixture[str], *words: str) -> Any:
    capsys.readouterr()
    return said(capsys, *words)


@pytest.mark.usefixtures("place")
def test_a_remote_can_be_forgotten_and_noted_again(capsys: pytest.CaptureFixture[str]) -> None:
    assert 4 == main(["--store", "one", "remote", "add", "other", f"file://{Path.cwd()}/depot", "--upstream"])
    assert 4 == main(["--store", "one", "remote", "add", "hub", f"file://{Path.cwd()}/elsewhere", "--upstream"])
    assert 0 == main(["--store", "one", "remote", "rm", "hub"])
    assert 3 == main(["--store", "one", "push"])
    assert 3 == main(["--store", "one", "remote", "rm", "hub"])
    capsys.readouterr()

    assert [] == said(capsys, "--store", "one", "remote", "ls")


def test_by_stick_both_ways(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for node in ("here", "there"):
        main(["--store", node, "init"])
    main(["--store", "here", "put", "photos", "--name", "cats", "--type", "dataset"])
    capsys.readouterr()
    made = said(capsys, "--store", "here", "bundle", "create", "out.bundle", "cats", "--split", "1MB")
    seen = said(capsys, "--store", "here", "bundle", "inspect", "out.bundle")
    taken = said(capsys, "--store", "there", "bundle", "apply", "out.bundle")
    (place / "photos" / "a").write_bytes(b"aa")
    main(["--store", "there", "put", "photos", "--name", "cats", "--type", "dataset"])
    capsys.readouterr()
    main(["--store", "here", "bundle", "receipt"])
    (place / "receipt").write_text(capsys.readouterr().out)
    back = said(capsys, "--store", "there", "bundle", "create", "back.bundle", "--since", "receipt")
    assert 0 == main(["--store", "here", "bundle", "apply", "back.bundle"])
    assert 0 == main(["--store", "here", "bundle", "apply", "back.bundle"])
    assert 0 == main(["--store", "here", "get", "cats:v1", "out"])
    out = capsys.readouterr().out

    assert made == seen
    assert ["out.bundle.001"] == made["files"]
    assert (1, 1) == (taken["blobs"], taken["projects"][0]["taken"]["versions"])
    assert (1, 2) == (back["projects"][0]["blobs"], back["projects"][0]["bytes"])
    assert "1 version, 1 op, 1 op of them offered" in out
    assert "nothing to take" in out
    assert b"aa" == (place / "out" / "a").read_bytes()


def test_a_bundle_that_cannot_be_taken_is_said_to_be(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    del place
    for node in ("here", "there"):
        main(["--store", node, "init"])
        main(["--store", node, "put", "photos", "--name", "cats", "--type", "dataset"])
    assert 0 == main(["--store", "here", "bundle", "create", "x.bundle"])
    assert 4 == main(["--store", "there", "bundle", "apply", "x.bundle"])
    assert 2 == main(["--store", "here", "bundle", "create", "y.bundle", "--split", "much"])

    assert "--join" in capsys.readouterr().out


@pytest.mark.usefixtures("place")
def test_a_place_that_is_none_is_refused_and_not_noted(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--store", "one", "remote", "add", "away", f"file://{Path.cwd()}/nowhere"])
    assert 2 == main(["--store", "one", "remote", "add", "web", "gopher://example.org/depot"])
    capsys.readouterr()

    assert ["hub"] == [each["name"] for each in said(capsys, "--store", "one", "remote", "ls")]


def test_a_depot_is_collected(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    del place
    main(["--store", "one", "put", "photos", "--name", "cats", "--type", "dataset"])
    main(["--store", "one", "push"])
    assert 0 == main(["--store", "one", "gc", "--remote", "hub"])
    nothing = capsys.readouterr().out
    assert 0 == main(["--store", "one", "delete", "cats:v0", "--everywhere", "--force"])
    main(["--store", "one", "push"])
    capsys.readouterr()
    assert 0 == main(["--store", "one", "gc", "--remote", "hub", "--dry-run"])
    foreseen = capsys.readouterr().out
    assert 0 == main(["--store", "one", "gc", "--remote", "hub"])
    condemned = capsys.readouterr().out
    (swept,) = said(capsys, "--store", "one", "gc", "--remote", "hub", "--grace", "0")["projects"]

    assert "nothing to free: versions need all that is in hub" in nothing
    assert "uncategorized: 2 objects would be condemned" in foreseen
    assert "uncategorized: 2 objects condemned" in condemned
    assert "uncategorized: 2 objects wait for the grace to end" in condemned
    assert 2 == swept["swept"]
