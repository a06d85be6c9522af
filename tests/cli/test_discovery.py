"""The store that is meant is found, and only the ones that may be made are made."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from artstore.cli.discovery import chosen_project, project_of
from artstore.cli.options import Call
from artstore.discovery import FOLDER, Place, find_place

Run = Callable[..., CompletedProcess[str]]


def home_store() -> Path:
    return Path.home() / ".local" / "share" / "artstore" / "store"


def test_what_is_named_comes_before_everything(tmp_path: Path) -> None:
    (tmp_path / FOLDER).mkdir()
    environment = {"ARTSTORE_DIR": "/elsewhere"}

    assert Place(Path("named"), made_on_use=False) == find_place(Path("named"), environment, tmp_path)
    assert Place(Path("/elsewhere"), made_on_use=True) == find_place(None, environment, tmp_path)
    assert Place(tmp_path / FOLDER, made_on_use=False) == find_place(None, {}, tmp_path)


def test_the_nearest_store_upward_is_meant(tmp_path: Path) -> None:
    below = tmp_path / "a" / "b"
    (below / "c").mkdir(parents=True)
    (tmp_path / FOLDER).mkdir()
    (below / FOLDER).mkdir()

    assert below / FOLDER == find_place(None, {}, below / "c").root
    assert tmp_path / FOLDER == find_place(None, {}, below.parent).root


@pytest.mark.parametrize(("make", "what"), [("link", "a link to nothing"), ("file", "not a folder")])
def test_what_only_has_a_store_s_name_ends_the_search(
    artstore: Run, folder: Path, monkeypatch: pytest.MonkeyPatch, make: str, what: str
) -> None:
    """A disk that is not mounted must not make the next put go to another store, which nobody looks into."""
    if make == "link":
        (folder / FOLDER).symlink_to(folder / "disk" / "store")
    else:
        (folder / FOLDER).write_bytes(b"")
    (folder / "below").mkdir()
    monkeypatch.chdir(folder / "below")
    ended = artstore("ls", "--json")
    error = json.loads(ended.stderr)["error"]

    assert (3, "store-not-found") == (ended.returncode, error["code"])
    assert what in error["message"]
    assert not home_store().exists()
    assert 0 == artstore("init", folder / "other").returncode
    assert 0 == artstore("--store", folder / "other", "ls").returncode


@pytest.mark.parametrize("place", ["link", "link/below", "/dev/null", "file/below"])
def test_no_store_is_made_where_no_folder_can_be(artstore: Run, folder: Path, place: str) -> None:
    """It is no failure of the disk, and `artstore verify` has nothing to check."""
    (folder / "link").symlink_to("nowhere")
    (folder / "file").write_bytes(b"")
    ended = artstore("init", place, "--json")

    assert (4, "not-a-folder") == (ended.returncode, json.loads(ended.stderr)["error"]["code"])


def test_without_a_store_the_users_own_is_meant(tmp_path: Path) -> None:
    assert Place(home_store(), made_on_use=True) == find_place(None, {}, tmp_path)
    assert Place(home_store(), made_on_use=True) == find_place(None, {"ARTSTORE_DIR": ""}, None)


def test_a_tilde_in_the_variable_is_the_home_folder() -> None:
    """A shell expands it only at the beginning of an unquoted word."""
    assert Path.home() / "store" == find_place(None, {"ARTSTORE_DIR": "~/store"}, None).root


def test_reading_makes_the_users_own_store(artstore: Run) -> None:
    ended = artstore("ls")

    assert ended.returncode == 0
    assert str(home_store()) in ended.stderr
    assert home_store().is_dir()
    assert "made" not in artstore("ls").stderr


def test_the_store_of_the_variable_is_made_on_first_use(
    artstore: Run, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ARTSTORE_DIR", str(folder / "mine"))

    assert artstore("status", "--json").returncode == 0
    assert (folder / "mine").is_dir()
    assert not home_store().exists()


def test_a_folder_of_other_things_is_not_made_a_store(
    artstore: Run, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "mine").mkdir()
    (folder / "mine" / "thesis.tex").write_bytes(b"")
    monkeypatch.setenv("ARTSTORE_DIR", str(folder / "mine"))
    ended = artstore("ls", "--json")

    assert (4, "not-empty") == (ended.returncode, json.loads(ended.stderr)["error"]["code"])
    assert ["thesis.tex"] == [path.name for path in (folder / "mine").iterdir()]


def test_a_named_store_is_never_made(artstore: Run, folder: Path) -> None:
    """A typing error must not end as another, empty store."""
    ended = artstore("ls", "--store", "mispelt", "--json")

    assert ended.returncode == 3
    assert json.loads(ended.stderr)["error"]["code"] == "store-not-found"
    assert not (folder / "mispelt").exists()


def test_an_empty_folder_upward_is_not_filled(artstore: Run, folder: Path) -> None:
    (folder / FOLDER).mkdir()

    assert artstore("ls").returncode == 3
    assert [] == list((folder / FOLDER).iterdir())


def test_init_makes_the_store_that_commands_below_find(
    artstore: Run, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert artstore("init").returncode == 0
    (folder / "below").mkdir()
    monkeypatch.chdir(folder / "below")

    assert str(folder / FOLDER) == json.loads(artstore("status", "--json").stdout)["root"]


def test_init_says_that_the_variable_stands_before_it(
    artstore: Run, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ARTSTORE_DIR", str(folder / "mine"))

    assert "ARTSTORE_DIR" in artstore("init").stderr


def test_init_makes_the_folder_it_is_told(artstore: Run, folder: Path) -> None:
    assert artstore("init", "one").returncode == 0
    assert artstore("--store", "two", "init").returncode == 0

    assert artstore("ls", "--store", folder / "one").returncode == 0
    assert artstore("ls", "--store", folder / "two").returncode == 0


def test_init_twice_is_refused(artstore: Run) -> None:
    assert artstore("init").returncode == 0

    assert artstore("init").returncode == 4


def test_the_option_comes_before_the_variable_before_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    assert project_of(Call()) == "uncategorized"
    assert chosen_project(Call()) is None
    monkeypatch.setenv("ARTSTORE_PROJECT", "zoo")

    assert project_of(Call()) == "zoo"
    assert project_of(Call(project="farm")) == "farm"


@pytest.mark.usefixtures("store")
def test_the_project_is_that_of_bare_names_only(artstore: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ARTSTORE_PROJECT", "zoo")

    assert artstore("show", "cats").returncode == 3
    assert artstore("show", "uncategorized/cats").returncode == 0
    assert artstore("show", "cats", "--project", "uncategorized").returncode == 0
    assert [] == json.loads(artstore("ls", "--json").stdout)
