"""The front door: which names it offers, and that opening it costs nothing."""

from __future__ import annotations

import inspect
import json
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import artstore
from artstore import errors

pytestmark = pytest.mark.usefixtures("unmeasured")

ROOT = Path(__file__).parents[1]


def fresh(code: str) -> object:
    """What the last line of code prints as JSON, in an interpreter where nothing has been loaded yet."""
    found = subprocess.run(
        [sys.executable, "-c", f"import json, sys; sys.path.insert(0, {str(ROOT)!r}); {code}"],
        check=True,
        capture_output=True,
        text=True,
    )
    return json.loads(found.stdout)


def loaded_by(statement: str) -> set[str]:
    """The modules that a statement brings into a fresh interpreter."""
    found = fresh(f"before = set(sys.modules); {statement}; print(json.dumps(sorted(set(sys.modules) - before)))")
    assert isinstance(found, list)
    return set(found)


def test_importing_artstore_loads_artstore_and_nothing_more() -> None:
    """Whoever only asks for the version, or completes a word in a shell, does not wait for SQLite."""
    loaded = loaded_by("import artstore")

    assert {"artstore"} == {name for name in loaded if name.partition(".")[0] not in sys.stdlib_module_names}
    assert set() == loaded & {"sqlite3", "urllib.request", "http.client", "ssl", "socket", "asyncio"}


def test_the_look_into_a_fresh_interpreter_sees_what_is_loaded() -> None:
    """The test above would pass for ever if it looked at nothing."""
    loaded = loaded_by("import artstore, sqlite3, click")

    assert {"artstore", "sqlite3", "click"} <= loaded


def test_what_moves_versions_loads_http_for_a_server_only() -> None:
    """To have it ready took a tenth of a push of nothing to a depot in a folder."""
    loaded = loaded_by("import artstore.cli.moving")

    assert {"artstore.sync.remotes"} == loaded & {"artstore.sync.remotes", "urllib3", "http.client", "urllib.request"}


def test_an_error_class_does_not_bring_the_store_along() -> None:
    loaded = loaded_by("import artstore; artstore.NotFound")

    assert {"artstore", "artstore.errors"} == {name for name in loaded if name.partition(".")[0] == "artstore"}


def test_every_public_name_can_be_reached() -> None:
    reached = fresh("import artstore; print(json.dumps({name: hasattr(artstore, name) for name in artstore.__all__}))")

    assert dict.fromkeys(artstore.__all__, True) == reached


def test_nothing_else_can_be_reached() -> None:
    """A name that works by accident today is a promise tomorrow."""
    offered = fresh("import artstore; print(json.dumps(dir(artstore)))")

    assert artstore.__all__ == offered
    with pytest.raises(AttributeError, match=r"artstore.*no attribute 'Stroe'"):
        _ = artstore.Stroe


def test_every_error_is_at_the_front_door() -> None:
    ours = {name for name, kind in inspect.getmembers(errors, inspect.isclass) if kind.__module__ == errors.__name__}

    assert ours == {name for name in artstore.__all__ if inspect.isclass(getattr(errors, name, None))}
    assert all(getattr(artstore, name) is getattr(errors, name) for name in ours)


def test_the_store_at_the_front_door_is_what_every_door_opens() -> None:
    assert issubclass(artstore.Store, import_module("artstore.store").Store)
    assert import_module("artstore.discovery").Store is artstore.Store


def test_names_are_in_order() -> None:
    assert sorted(artstore.__all__) == artstore.__all__


def test_the_package_says_that_it_is_typed() -> None:
    assert (ROOT / "artstore" / "py.typed").is_file()
