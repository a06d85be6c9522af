"""The command line, run as a user would: in an empty folder, with nothing that watches the terminal."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from artstore.cli import main


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory."""
    place = tmp_path / "work"
    place.mkdir()
    monkeypatch.chdir(place)
    # Processes that a test starts from here find the package in a checkout that nobody installed, too.
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    return place


@pytest.fixture
def artstore(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., CompletedProcess[str]]:
    """Run one command in this process; words may be paths, and `stdin` is what a pipe would bring."""
    assert folder.is_dir()

    def run(*words: object, stdin: bytes = b"") -> CompletedProcess[str]:
        arguments = [str(word) for word in words]
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        capsys.readouterr()
        code = main(arguments)
        said = capsys.readouterr()
        return CompletedProcess(arguments, code, said.out, said.err)

    return run


@pytest.fixture
def store(artstore: Callable[..., CompletedProcess[str]], folder: Path) -> Path:
    """A store in ./.artstore that holds two versions of ./photos as uncategorized/cats."""
    photos = folder / "photos"
    (photos / "sub").mkdir(parents=True)
    (photos / "a.txt").write_bytes(b"alpha\n")
    (photos / "sub" / "b.txt").write_bytes(b"beta\n")
    assert artstore("init").returncode == 0
    assert artstore("put", photos, "--name", "cats", "--type", "dataset", "--ttl", "7d").returncode == 0
    (photos / "c.txt").write_bytes(b"gamma\n")
    assert artstore("put", photos, "--name", "cats", "--type", "dataset").returncode == 0
    return folder / ".artstore"
