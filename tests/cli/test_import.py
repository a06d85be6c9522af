"""`artstore import wandb`, as a user types it, on what runs of the real package left."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import Final

import pytest

Run = Callable[..., CompletedProcess[str]]

RECORDED: Final = Path(__file__).parents[1] / "imports" / "recorded_runs.zip"


@pytest.fixture
def recorded(folder: Path, artstore: Run, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The run folders in ./wandb, W&B's own folders where its variables say."""
    with zipfile.ZipFile(RECORDED) as archive:
        archive.extractall(folder)
    monkeypatch.setenv("WANDB_DATA_DIR", str(folder / "data"))
    monkeypatch.setenv("WANDB_CACHE_DIR", str(folder / "cache"))
    assert artstore("init").returncode == 0
    return folder


@pytest.mark.usefixtures("recorded")
def test_versions_are_listed_and_what_was_left_is_said(artstore: Run) -> None:
    ended = artstore("import", "wandb", "wandb")

    assert ended.returncode == 0
    assert "cats/photos:v1  4 files, 12 B\n" in ended.stdout
    assert "imported 2 runs and 12 versions from wandb" not in ended.stderr
    assert "left artifact of second: vanished (dataset): 'vanished.txt'" in ended.stderr
    assert artstore("cat", "cats/photos:i1", "text.txt").stdout == "two"


@pytest.mark.usefixtures("recorded")
def test_the_report_is_there_as_json(artstore: Run) -> None:
    first = json.loads(artstore("import", "wandb", "wandb", "--json").stdout)
    second = json.loads(artstore("import", "wandb", "wandb", "--json").stdout)

    assert [True, True] == [run["made"] for run in first["runs"]]
    assert {"cats/photos:v0", "cats/in_cache:v0"} < {each["ref"] for each in first["versions"] if each["made"]}
    assert [] == [each for each in (*second["runs"], *second["versions"]) if each["made"]]
    assert {"what", "where", "why"} == set(first["left"][0])


def test_folders_that_lie_elsewhere_now_can_be_named(
    artstore: Run, recorded: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_DATA_DIR", str(recorded / "nowhere"))
    words = ("import", "wandb", "wandb", "--json", "--project", "mine")

    assert "mine/in_cache:v0" in artstore(*words).stdout
    assert "mine/photos" not in artstore(*words).stdout
    assert "mine/photos:v1" in artstore(*words, "--artifacts", "data").stdout


@pytest.mark.usefixtures("recorded")
@pytest.mark.parametrize(("words", "code"), [(("wandb", "gone"), 2), (("mlflow", "."), 2), (("wandb", "data"), 3)])
def test_what_cannot_be_imported_is_an_error(artstore: Run, words: tuple[str, ...], code: int) -> None:
    assert code == artstore("import", *words).returncode
