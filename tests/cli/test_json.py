"""`--json`: every command prints one JSON document and nothing else, also where there is nothing to say, and says what
went wrong on standard error; only `watch` prints a line for each report, as it comes.
"""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import Final

import pytest

from artstore.cli.commands import COMMANDS
from artstore.errors import ArtstoreError, Corrupt, Invalid, NotFound
from artstore.store import Store

Run = Callable[..., CompletedProcess[str]]

NAMES: Final = [line.name for lines in COMMANDS.values() for line in lines]
NO_DATA: Final = {"cat", "completion", "serve", "ui"}
"""What they print is what they were asked for, or where they answer, and no report about it."""
RECORDED: Final = Path(__file__).parents[1] / "imports" / "recorded_runs.zip"

FULL: Final[dict[str, tuple[str, ...]]] = {
    "put": ("put", "photos", "--name", "new", "--type", "dataset"),
    "get": ("get", "cats", "out"),
    "import": ("import", "wandb", "wandb"),
    "artifact": ("artifact", "put", "photos", "--name", "demo/new", "--type", "dataset"),
    "ls": ("ls", "cats"),
    "show": ("show", "cats:v0"),
    "log": ("log", "cats"),
    "diff": ("diff", "cats:v0", "cats:v1"),
    "find": ("find", "a.txt"),
    "lineage": ("lineage", "cats"),
    "runs": ("runs",),
    "run": ("run", "r"),
    "parts": ("parts",),
    "alias": ("alias", "cats", "best"),
    "tag": ("tag", "cats", "good"),
    "describe": ("describe", "cats", "of cats"),
    "metadata": ("metadata", "cats", "key=1"),
    "ttl": ("ttl", "cats:v0", "--never"),
    "rename": ("rename", "cats", "dogs"),
    "retype": ("retype", "cats", "photos"),
    "copy": ("copy", "cats", "dogs"),
    "link": ("link", "cats", "shelf"),
    "unlink": ("unlink", "portfolio:v0"),
    "delete": ("delete", "cats:v1"),
    "drop": ("drop", "parted", "d"),
    "prune": ("prune", "cats", "--keep-last", "1"),
    "du": ("du",),
    "status": ("status",),
    "gc": ("gc", "--grace", "0"),
    "verify": ("verify",),
    "repair": ("repair",),
    "rebuild": ("rebuild",),
    "doctor": ("doctor",),
    "backup": ("backup", "copy"),
    "bundle": ("bundle", "create", "cats.bundle"),
    "init": ("init", "other"),
    "demo": ("demo", "photos"),
    "token": ("token", "create", "--scope", "read"),
}
"""A command that has something to report, by name."""

BESIDE: Final[dict[str, tuple[str, ...]]] = {
    "remote": ("remote", "ls"),
    "push": ("push",),
    "pull": ("pull",),
    "sync": ("sync",),
    "explain": ("explain", "cats:latest", "--to", "hub"),
    "evict": ("evict", "--to-fit", "1MB"),
    "numbers": ("numbers", "ls"),
    "conflicts": ("conflicts",),
    "resolve": ("resolve", "CONFLICT", "--mine"),
}
"""As FULL, where another store has pushed first."""

MORE: Final = (
    *(("ls",), ("artifact", "ls"), ("artifact", "get", "cats"), ("verify", "cats", "--fast"), ("metadata", "cats")),
    *(("put", "photos", "--name", "new", "--type", "dataset", "--dry-run"), ("gc", "--dry-run"), ("log", "portfolio")),
    ("bundle", "receipt"),
    *(("prune", "cats", "--keep-last", "1", "--dry-run"), ("lineage", "cats", "--format", "dot")),
)

EMPTY: Final = (
    *(("ls",), ("ls", "--project", "unknown"), ("artifact", "ls"), ("runs",), ("runs", "--group", "none")),
    *(("parts",), ("du",), ("status",), ("gc",), ("verify",), ("repair",), ("rebuild",), ("find", "nothing")),
)
"""On a store in which nothing is."""

NOTHING: Final = (
    *(("find", "nothing"), ("diff", "cats", "cats"), ("prune", "cats"), ("get", "cats:v0", "here"), ("repair",)),
    *(("metadata", "cats"), ("put", "photos", "--name", "cats", "--type", "dataset"), ("log", "bare"), ("gc",)),
)
"""On a store that has something, with nothing to report."""

WRONG: Final[tuple[tuple[tuple[str, ...], type[ArtstoreError], str], ...]] = (
    *((words, NotFound, "collection-not-found") for words in (("show", "nope"), ("ls", "nope"), ("log", "nope"))),
    *((words, NotFound, "collection-not-found") for words in (("get", "nope", "out"), ("cat", "nope", "a"))),
    *((words, NotFound, "collection-not-found") for words in (("lineage", "nope"), ("verify", "nope"))),
    *((words, NotFound, "collection-not-found") for words in (("alias", "nope", "a"), ("tag", "nope", "a"))),
    *((words, NotFound, "collection-not-found") for words in (("rename", "nope", "a"), ("copy", "nope", "a"))),
    *((words, NotFound, "collection-not-found") for words in (("delete", "nope:v0"), ("prune", "nope"))),
    (("put", "nowhere", "--name", "n", "--type", "t"), NotFound, "source-not-found"),
    (("put", "photos", "--name", "a b", "--type", "t"), Invalid, "bad-name"),
    (("put", "photos", "--name", "/n", "--type", "t"), Invalid, "bad-name"),
    (("watch", "photos", "--name", "/n", "--type", "t"), Invalid, "bad-name"),
    (("run", "nope"), NotFound, "run-not-found"),
    (("ls", "--store", "nowhere"), NotFound, "store-not-found"),
    (("cat", "cats", "nope"), NotFound, "path-not-found"),
    (("drop", "nope", "d"), NotFound, "no-parts"),
    (("bundle", "create", "nowhere/x.bundle"), NotFound, "no-such-folder"),
    *((("bundle", word, "x.bundle"), NotFound, "no-such-bundle") for word in ("apply", "inspect")),
)


def one_document(text: str) -> object:
    """What the text says, if it is one JSON document in strict words and nothing else."""

    def refuse(word: str) -> object:
        message = f"{word} is no JSON"
        raise AssertionError(message)

    assert text.endswith("\n")
    assert text == text.lstrip()
    return json.loads(text, parse_constant=refuse)


@pytest.fixture
def filled(store: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A store with something for every command."""
    with Store.open(store) as opened:
        opened.link("cats:v0", "portfolio")
        opened.start_run(id="r")
        opened.use("r", "cats:v0")
        opened.finish_run("r")
        with opened.draft() as draft:
            draft.add_file(folder / "photos" / "a.txt")
            opened.add_part(draft, name="parted", type="dataset", distributed_id="d")
        opened.put(folder / "photos", name="bare", type="dataset")
        opened.delete("bare:v0")
        opened.get("cats:v0", folder / "here")
    with zipfile.ZipFile(RECORDED) as archive:
        archive.extractall(folder)
    monkeypatch.setenv("WANDB_DATA_DIR", str(folder / "data"))
    monkeypatch.setenv("WANDB_CACHE_DIR", str(folder / "cache"))
    return store


@pytest.fixture
def conflict(store: Path, folder: Path, artstore: Run) -> str:
    """What stands in the way of `best` here, since another store pushed its own first, and a version of `cats`."""
    assert store.is_dir()
    (folder / "depot").mkdir()
    depot = (folder / "depot").as_uri()
    for words in (
        ("--store", "other", "init"),
        ("--store", "other", "put", "photos/sub", "--name", "cats", "--type", "dataset", "--alias", "best"),
        ("--store", "other", "remote", "add", "hub", depot, "--upstream"),
        ("--store", "other", "push"),
        ("alias", "cats", "best"),
        ("remote", "add", "hub", depot, "--upstream", "--join"),
        ("pull",),
    ):
        ended = artstore(*words)
        assert ended.returncode == 0, ended.stderr
    (found,) = json.loads(artstore("conflicts", "--json").stdout)
    answer: str = found["id"]
    return answer


def test_every_command_is_tried() -> None:
    assert sorted([*FULL, *BESIDE, *NO_DATA, "watch"]) == sorted(NAMES)


@pytest.mark.parametrize("words", BESIDE.values(), ids=" ".join)
def test_it_is_one_document_where_others_pushed_first(artstore: Run, conflict: str, words: tuple[str, ...]) -> None:
    ended = artstore("--json", *(conflict if word == "CONFLICT" else word for word in words))

    assert ended.returncode == 0, ended.stderr
    assert one_document(ended.stdout) not in (None, "", [])


@pytest.mark.usefixtures("filled")
@pytest.mark.parametrize("words", [*FULL.values(), *MORE], ids=" ".join)
def test_it_is_one_document(artstore: Run, words: tuple[str, ...]) -> None:
    """`artstore … --json | jq` breaks on a word of greeting, and a script on the second document."""
    before, after = artstore("--json", *words), artstore(*words, "--json")

    assert before.returncode == 0, before.stderr
    assert one_document(before.stdout) not in (None, "", [])
    assert one_document(after.stdout) if after.returncode == 0 else after.stdout == ""


@pytest.mark.parametrize("words", EMPTY, ids=" ".join)
def test_nothing_is_a_document_too(artstore: Run, folder: Path, words: tuple[str, ...]) -> None:
    """An empty output is no JSON, and `none yet` neither."""
    assert artstore("init").returncode == 0
    ended = artstore(*words, "--json")

    assert (ended.returncode, ended.stderr) == (0, "")
    assert isinstance(one_document(ended.stdout), dict | list)
    assert (folder / ".artstore").is_dir()


@pytest.mark.usefixtures("filled")
@pytest.mark.parametrize("words", NOTHING, ids=" ".join)
def test_nothing_to_do_is_a_document_too(artstore: Run, words: tuple[str, ...]) -> None:
    ended = artstore(*words, "--json")

    assert (ended.returncode, ended.stderr) == (0, "")
    assert isinstance(one_document(ended.stdout), dict | list)


@pytest.mark.usefixtures("filled")
@pytest.mark.parametrize(("words", "kind", "code"), WRONG, ids=str)
def test_an_error_is_a_document_on_standard_error(
    artstore: Run, words: tuple[str, ...], kind: type[ArtstoreError], code: str
) -> None:
    """Whoever reads the output gets none, and the exit code is the same as for people."""
    ended, for_people = artstore(*words, "--json"), artstore(*words)
    error = one_document(ended.stderr)

    assert ("", ended.returncode) == (ended.stdout, kind.exit_code) == ("", for_people.returncode)
    assert isinstance(error, dict)
    assert (code, {"code", "class", "message"}) == (error["error"]["code"], set(error["error"]))
    assert error["error"]["message"] in for_people.stderr


@pytest.mark.usefixtures("filled")
@pytest.mark.parametrize(
    "words", [("show",), ("gc", "--grace", "soon"), ("nonsense",), ("ls", "--nonsense")], ids=" ".join
)
def test_what_cannot_be_read_is_a_document_on_standard_error(artstore: Run, words: tuple[str, ...]) -> None:
    for ended in (artstore("--json", *words), artstore(*words, "--json")):
        error = one_document(ended.stderr)

        assert (ended.stdout, ended.returncode) == ("", 2)
        assert isinstance(error, dict)
        assert error["error"]["code"] == "usage"


def test_a_finding_is_a_document_and_an_exit_code(artstore: Run, store: Path) -> None:
    """What is damaged is the result that was asked for, and no error of the command."""
    for name in ("packs", "blobs"):
        shutil.rmtree(store / name)
        (store / name).mkdir()
    ended = artstore("verify", "--json")
    report = one_document(ended.stdout)

    assert (ended.returncode, ended.stderr) == (Corrupt.exit_code, "")
    assert isinstance(report, dict)
    assert not report["ok"]
    mended = artstore("repair", "--json")
    assert (mended.returncode, mended.stderr) == (Corrupt.exit_code, "")
    assert one_document(mended.stdout)


def test_a_watch_prints_a_line_for_each_report(artstore: Run, store: Path, folder: Path) -> None:
    """What reads it line by line needs no end to know where a report ends."""
    for name in ("one", "two"):
        shutil.copytree(folder / "photos", folder / name)
    ended = artstore("watch", "one", "two", "--type", "dataset", "--once", "--quiet-s", "0", "--json")
    reports = [one_document(f"{line}\n") for line in ended.stdout.splitlines()]

    assert (ended.returncode, ended.stderr) == (0, "")
    assert ["one", "two"] == [each["version"]["collection"] for each in reports if isinstance(each, dict)]
    assert store.is_dir()
