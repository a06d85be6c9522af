"""The words of `wandb artifact`: what they do here."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest

Artstore = Callable[..., CompletedProcess[str]]


@pytest.fixture
def put(artstore: Artstore, folder: Path) -> CompletedProcess[str]:
    (folder / "photos").mkdir()
    (folder / "photos" / "a.txt").write_bytes(b"alpha")
    assert artstore("init").returncode == 0
    return artstore("artifact", "put", "photos", "-n", "me/demo/cats", "-d", "all", "-a", "best", "-a", "new")


def test_put_says_how_a_script_gets_it(put: CompletedProcess[str], artstore: Artstore) -> None:
    said = json.loads(artstore("show", "demo/cats:best", "--json").stdout)

    assert (0, 'demo/cats:v0 (dataset)\nartifact = run.use_artifact("demo/cats:v0")\n') == (put.returncode, put.stdout)
    assert ("dataset", "all", ["best", "latest", "new"]) == (said["type"], said["description"], sorted(said["aliases"]))


def test_put_says_what_is_not_in_it(put: CompletedProcess[str], artstore: Artstore, folder: Path) -> None:
    """Who gets it back would miss the folder, and look for the mistake elsewhere."""
    assert "" == put.stderr
    (folder / "photos" / "later").mkdir()
    told = artstore("artifact", "put", "photos", "-n", "cats")

    assert "1 empty directory not kept" in told.stderr


def test_put_takes_the_name_of_the_path_and_what_scripts_say_besides(
    put: CompletedProcess[str], artstore: Artstore, folder: Path
) -> None:
    assert put.returncode == 0
    told = artstore("artifact", "put", "photos/a.txt", "-t", "text", "--skip_cache", "--policy", "immutable")
    uri = artstore("artifact", "put", f"file://{folder}/photos/a.txt", "--name", "ref")

    assert "uncategorized/a.txt:v0 (text)" in told.stdout
    assert "uncategorized/ref:v0 (dataset)" in uri.stdout
    assert 2 == artstore("artifact", "put", "nothing").returncode


def test_put_for_a_run_begins_and_ends_it(put: CompletedProcess[str], artstore: Artstore) -> None:
    assert put.returncode == 0
    assert 0 == artstore("artifact", "put", "photos", "-n", "demo/dogs", "--id", "x1").returncode
    assert 0 == artstore("artifact", "put", "photos", "-n", "demo/birds", "--id", "x1", "--resume").returncode

    said = [json.loads(artstore("show", name, "--json").stdout)["run"] for name in ("demo/dogs", "demo/birds")]
    assert ["x1", "x1"] == said
    assert 3 == artstore("artifact", "put", "photos", "-n", "demo/fish", "--id", "x2", "--resume").returncode
    assert 2 == artstore("artifact", "put", "photos", "-n", "demo/fish", "--resume").returncode


def test_get_writes_where_the_library_does(put: CompletedProcess[str], artstore: Artstore, folder: Path) -> None:
    assert put.returncode == 0
    assert f"Artifact downloaded to {Path('artifacts/cats:v0')}\n" == artstore("artifact", "get", "demo/cats").stdout
    assert b"alpha" == (folder / "artifacts" / "cats:v0" / "a.txt").read_bytes()
    assert 0 == artstore("artifact", "get", "me/demo/cats:best", "--root", "out", "--type", "dataset").returncode
    assert b"alpha" == (folder / "out" / "a.txt").read_bytes()
    assert 2 == artstore("artifact", "get", "demo/cats", "--type", "model").returncode
    assert 3 == artstore("artifact", "get", "demo/dogs").returncode


def test_ls_shows_the_latest_of_each(put: CompletedProcess[str], artstore: Artstore) -> None:
    assert put.returncode == 0
    artstore("artifact", "put", "photos/a.txt", "-n", "demo/net", "-t", "model")
    artstore("delete", "demo/net:v0")
    lines = artstore("artifact", "ls", "me/demo").stdout.splitlines()

    assert ["TYPE", "UPDATED", "SIZE", "NAME"] == lines[0].split()
    assert ["dataset", "cats:v0"] == [lines[1].split()[0], lines[1].split()[-1]]
    assert lines[2].endswith("N/A (no versions)")
    assert 2 == len(artstore("artifact", "ls", "demo", "-t", "dataset").stdout.splitlines())


def test_put_and_ls_refuse_what_names_nothing(put: CompletedProcess[str], artstore: Artstore) -> None:
    """A name that is taken apart wrongly puts things where nobody looks for them."""
    assert put.returncode == 0
    for name in ("a/b/c/d", "demo/cats:best", "/x"):
        assert 2 == artstore("artifact", "put", "photos", "-n", name).returncode
    nowhere = artstore("artifact", "ls", "nope")

    assert (3, True) == (nowhere.returncode, "no project 'nope'" in nowhere.stderr)


def test_cache_cleanup_frees_what_no_version_needs(put: CompletedProcess[str], artstore: Artstore) -> None:
    """The habit of a full disk: what it may never take is the only copy of something."""
    assert put.returncode == 0
    kept = artstore("artifact", "cache", "cleanup", "0GB", "--remove-temp")
    assert (0, "Reclaimed 0 B of space\n") == (kept.returncode, kept.stdout)
    artstore("delete", "demo/cats:v0", "--force")
    waits = artstore("artifact", "cache", "cleanup", "10GB")

    assert ("Reclaimed 0 B of space\n", True) == (waits.stdout, "gc --grace 0" in waits.stderr)
    assert 3 == artstore("show", "demo/cats:best").returncode
