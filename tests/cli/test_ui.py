"""`artstore ui`, as somebody starts and ends it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from subprocess import CompletedProcess

import pytest

Run = Callable[..., CompletedProcess[str]]
Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def start(folder: Path, store: Path) -> Iterator[Start]:
    """Begin to answer, at any port that is free."""
    started: list[subprocess.Popen[str]] = []
    assert folder.is_dir()
    assert store.is_dir()

    def begin(*words: str) -> subprocess.Popen[str]:
        argv = [sys.executable, "-m", "artstore", "ui", "--listen", "127.0.0.1:0", *words]
        environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
        started.append(subprocess.Popen(argv, env=environment, stdout=-1, stderr=-1, text=True))
        return started[-1]

    yield begin
    for process in started:
        process.kill()
        process.communicate()


def _said(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_says_where_it_is_answers_and_ends_well(start: Start, number: signal.Signals) -> None:
    process = start()
    url = _said(process)

    with urllib.request.urlopen(f"{url}api/projects/uncategorized/cats") as answer:  # noqa: S310 - of ours
        found = json.load(answer)
    process.send_signal(number)
    said, complaints = process.communicate(timeout=30)

    assert url.startswith("http://127.0.0.1:")
    assert [1, 0] == [line["version"]["number"] for line in found["lines"]]
    assert (0, "", "") == (process.returncode, said, complaints)


def test_a_script_is_told_where_it_is(start: Start) -> None:
    process = start("--json")
    assert process.stdout is not None
    text = "".join(process.stdout.readline() for _ in range(3))

    with urllib.request.urlopen(json.loads(text)["url"]) as answer:  # noqa: S310 - of ours
        assert b"<h1" in answer.read()


def test_with_a_token_file_it_asks_for_the_token(start: Start, folder: Path) -> None:
    (folder / "token").write_text("a-long-word-of-chance\n")
    url = _said(start("--token-file", "token", "--allow-host", "pages.example"))

    refused = urllib.request.Request(url)  # noqa: S310 - of ours
    with pytest.raises(urllib.error.HTTPError, match="401"):
        urllib.request.urlopen(refused)  # noqa: S310 - of ours
    headers = {"Authorization": "Bearer a-long-word-of-chance", "Host": "pages.example"}
    with urllib.request.urlopen(urllib.request.Request(url, headers=headers)) as answer:  # noqa: S310 - of ours
        assert 200 == answer.status


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("--listen", "0.0.0.0:0"), 7, "--token-file"),
        (("--listen", "here"), 2, "HOST:PORT"),
        (("--token-file", "none"), 3, "no file with a token"),
    ],
)
def test_what_cannot_be_is_said_before_anything_listens(
    artstore: Run, store: Path, words: tuple[str, ...], code: int, said: str
) -> None:
    ended = artstore("ui", *words)

    assert (code, "") == (ended.returncode, ended.stdout)
    assert said in ended.stderr
    assert store.is_dir()


def test_a_port_that_is_taken_is_named(artstore: Run, store: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        ended = artstore("ui", "--listen", f"127.0.0.1:{taken.getsockname()[1]}")

    assert 4 == ended.returncode
    assert "somebody listens at port" in ended.stderr
    assert store.is_dir()


def test_without_its_libraries_it_says_what_to_install(store: Path) -> None:
    """An extra that is missing must not look like a bug."""
    program = "import sys; sys.modules['uvicorn'] = None; from artstore.cli import main; sys.exit(main(['ui']))"
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)

    assert 3 == ended.returncode
    assert "pip install 'artstore[server]'" in ended.stderr
    assert store.is_dir()
