"""What is printed can be read, by people and by programs, and cannot play tricks on a terminal."""

from __future__ import annotations

import contextlib
import errno
import io
import json
import os
import pty
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from subprocess import CompletedProcess

import click
import msgspec
import pytest

from artstore.cli import commands, output
from artstore.cli.look import render_collections, render_diff, render_entries, render_version
from artstore.cli.options import Call
from artstore.cli.progress import progress
from artstore.cli.put import render as render_put
from artstore.cli.space import render_gc, render_status
from artstore.errors import Corrupt
from artstore.lifecycle.reports import (
    DiffEntry,
    DiffReport,
    EntryInfo,
    GcReport,
    Match,
    PutReport,
    Renamed,
    SessionInfo,
    Skipped,
    StatusReport,
    VersionInfo,
)
from artstore.plain import escape, plain
from artstore.store import Store
from artstore.units import count, duration, moment, size
from tests.stumbling import let_stumble

Run = Callable[..., CompletedProcess[str]]
CLI = [sys.executable, "-m", "artstore"]

VERSION = VersionInfo(
    project="zoo",
    collection="cats",
    type="dataset",
    number=3,
    id="blake3:" + "1" * 64,
    digest="blake3:" + "2" * 64,
    created_at=1.0e9,
    updated_at=1.0e9,
    metadata={"accuracy": 0.93},
    aliases=["best", "latest"],
    tags=[],
    files=2,
    bytes=3072,
)
SESSION = SessionInfo(id="s1", pid=77, host="node1", verb="put", since=1.0e9)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain name.txt", "plain name.txt"),
        ("café/猫", "café/猫"),
        ("\x1b[31mred", "\\x1b[31mred"),
        ("a\nb\rc\td\x00", "a\\nb\\rc\\td\\x00"),
        ("\x7f\x9b", "\\x7f\\x9b"),
        ("abc\u202ecba", "abc\\u202ecba"),
        ("\u2028\u200b", "\\u2028\\u200b"),
        (os.fsdecode(b"\xff.txt"), "\\udcff.txt"),
    ],
)
def test_what_is_not_printable_is_escaped(text: str, shown: str) -> None:
    assert shown == escape(text)


@pytest.mark.parametrize(
    ("count_bytes", "shown"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 KiB"),
        (1536, "1.5 KiB"),
        (1024**2 - 1, "1.0 MiB"),
        (5 * 1024**3, "5.0 GiB"),
        (1024**6, "1.0 EiB"),
        (1024**7, "1024.0 EiB"),
        (-2048, "-2.0 KiB"),
        (None, "-"),
    ],
)
def test_sizes(count_bytes: int | None, shown: str) -> None:
    assert shown == size(count_bytes)


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0.0, "0.00 s"),
        (1.239, "1.24 s"),
        (59.94, "59.9 s"),
        (125, "2 min 5 s"),
        (120, "2 min"),
        (12000, "3 h 20 min"),
        (86400 * 14, "14 d"),
        (86400 + 3700, "1 d 1 h"),
        (None, "-"),
    ],
)
def test_durations(seconds: float | None, shown: str) -> None:
    assert shown == duration(seconds)


def test_counts() -> None:
    assert ["0 files", "1 file", "1,204 files", "2 empties"] == [
        count(0, "file"),
        count(1, "file"),
        count(1204, "file"),
        count(2, "empty", "empties"),
    ]


def test_a_time_that_no_calendar_has_is_still_printed() -> None:
    assert moment(None) == "-"
    assert moment(1e300) == "1e+300"
    assert len(moment(1.0e9)) == len("2001-09-09 01:46:40")


def test_a_pipe_gets_aligned_plain_text(capsys: pytest.CaptureFixture[str]) -> None:
    """No colors, no lines drawn, nothing shortened, no blanks at the end; brackets are not markup."""
    output.table(("name", ">size"), [("a", "1 B"), ("[bold]long" + "x" * 200, "10 B"), ("\x1b[0m", "")])
    rows = capsys.readouterr().out.splitlines()

    width = len("[bold]long") + 200
    assert "NAME".ljust(width) + "  SIZE" == rows[0]
    assert "a".ljust(width) + "   1 B" == rows[1]
    assert rows[2].startswith("[bold]longxxx")
    assert rows[3] == "\\x1b[0m"


def test_an_empty_table_is_its_titles(capsys: pytest.CaptureFixture[str]) -> None:
    output.table(("name", ">size"), [])

    assert capsys.readouterr().out == "NAME  SIZE\n"


def test_a_version_says_its_name_wherever_it_stands_in_json() -> None:
    match = plain(Match(version=VERSION, path="a.txt", size=1))

    assert match["version"]["ref"] == "zoo/cats:v3"
    assert match["version"]["name"] == "cats:v3"
    assert match["path"] == "a.txt"
    assert "ref" not in match


def test_json_can_carry_a_name_that_is_not_unicode(capsys: pytest.CaptureFixture[str]) -> None:
    output.print_json({os.fsdecode(b"\xff"): [Skipped(path=os.fsdecode(b"a\xfe"), reason="é")]})

    assert {"\\udcff": [{"path": "a\\udcfe", "reason": "é", "unkeepable": False}]} == json.loads(
        capsys.readouterr().out
    )


@pytest.mark.parametrize("number", [0, 1, 3])
def test_a_streamed_array_is_an_array(number: int, capsys: pytest.CaptureFixture[str]) -> None:
    output.stream_json(EntryInfo(path=str(i), size=i) for i in range(number))

    assert [str(i) for i in range(number)] == [entry["path"] for entry in json.loads(capsys.readouterr().out)]


def test_a_listing_is_streamed(capsys: pytest.CaptureFixture[str]) -> None:
    def entries() -> Iterator[EntryInfo]:
        yield EntryInfo(path="a\nb", size=2048, digest="blake3:" + "1" * 64)
        yield EntryInfo(path="far", uri="s3://bucket/key")

    render_entries(entries(), is_long=False)
    short = capsys.readouterr().out.splitlines()
    render_entries(entries(), is_long=True)
    long = capsys.readouterr().out.splitlines()

    assert ["   2.0 KiB  a\\nb", "         -  far -> s3://bucket/key"] == short
    assert [["blake3:" + "1" * 64, "2048", "a\\nb"], ["-", "-", "far", "->", "s3://bucket/key"]] == [
        line.split() for line in long
    ]


def test_reports_in_text(capsys: pytest.CaptureFixture[str]) -> None:
    put = PutReport(
        version=VERSION,
        made=True,
        files=1204,
        bytes=3 * 1024**3,
        new_files=12,
        new_bytes=4096,
        skipped=[Skipped(path="x\x1b", reason="permission denied")],
        empty_directories=1,
        warnings=["the file system has no room to spare"],
        seconds=1.5,
        dry_run=False,
    )
    render_put(put)
    said = capsys.readouterr()

    assert said.out == ("zoo/cats:v3 (best, latest)\n  1,204 files, 3.0 GiB; new: 12 files, 4.0 KiB; 1.50 s\n")
    assert said.err == (
        "artstore: left out x\\x1b: permission denied\n"
        "artstore: 1 empty directory not kept: a version holds files only\n"
        "artstore: the file system has no room to spare\n"
    )

    render_put(msgspec.structs.replace(put, made=False, skipped=[], warnings=[], empty_directories=0))
    assert capsys.readouterr().out.startswith("zoo/cats:v3 (best, latest), already kept\n")
    for made, words in ((True, "a new version would be made"), (False, "no new version would be made")):
        render_put(msgspec.structs.replace(put, version=None, made=made, dry_run=True))
        assert capsys.readouterr().out.startswith(words)


def test_a_version_in_text(capsys: pytest.CaptureFixture[str]) -> None:
    render_version(msgspec.structs.replace(VERSION, description="one\ntwo\x07", ttl_s=86400.0, state="deleted"))
    text = capsys.readouterr().out

    assert "version      zoo/cats:v3 (deleted)\n" in text
    assert "size         3.0 KiB (3,072 bytes)\n" in text
    assert "description  one\n             two\\x07\n" in text
    assert 'metadata     {\n               "accuracy": 0.93\n             }\n' in text
    assert "ttl          1 d, until 2001-09-" in text


def test_a_difference_in_text(capsys: pytest.CaptureFixture[str]) -> None:
    render_diff(
        DiffReport(
            added=[DiffEntry(path="n", size_after=10)],
            removed=[DiffEntry(path="o", size_before=20)],
            changed=[DiffEntry(path="c", size_before=1, size_after=2)],
            renamed=[Renamed(before="r1", after="r2", size=5)],
            bytes_added=12,
            bytes_removed=21,
            unchanged=7,
        )
    )

    assert capsys.readouterr().out.splitlines() == [
        "+ n  10 B",
        "- o  20 B",
        "~ c  1 B -> 2 B",
        "> r1 -> r2  5 B",
        "1 added, 1 removed, 1 changed, 1 renamed, 7 unchanged; +12 B, -21 B",
    ]


def test_what_waits_for_others_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    render_gc(
        GcReport(
            dry_run=True,
            freed_bytes=0,
            freed_blobs=0,
            trashed_bytes=1024,
            trash_bytes=2048,
            repacked_packs=1,
            kept_by_sessions=3,
            sessions=[SESSION],
            compacted_ops=0,
            removed_leftovers=2,
            quarantine_bytes=3 << 10,
            deleted_versions=[f"zoo/cats:v{number}" for number in range(5)],
            deleted_bytes=4 << 10,
            deleted_go=False,
            seconds=0.1,
        )
    )
    text = capsys.readouterr().out

    assert "would be freed: 0 B" in text
    assert "others have deleted zoo/cats:v0, zoo/cats:v1, zoo/cats:v2 and 2 more: 4.0 KiB of it stay until" in text
    assert "damaged: 3.0 KiB in quarantine, yours to delete once artstore verify misses nothing" in text
    assert "1 pack repacked, 2 leftovers of killed processes removed" in text
    assert "3 blobs kept for commands still at work: put (process 77 on node1, since " in text


def test_the_figures_of_an_empty_store(capsys: pytest.CaptureFixture[str]) -> None:
    render_status(
        StatusReport(
            root="/s",
            store_id="x",
            projects=0,
            collections=0,
            versions=0,
            files=0,
            logical_bytes=0,
            stored_bytes=0,
            on_disk_bytes=4096,
            quarantine_bytes=0,
            dedup_ratio=1.0,
            pending_ops=0,
            unfinished_parts=0,
            sessions=[],
            trash_bytes=0,
        )
    )

    assert "last commit  -\n" in capsys.readouterr().out


def test_nothing_to_list_is_said_beside_the_data(capsys: pytest.CaptureFixture[str]) -> None:
    render_collections([])
    said = capsys.readouterr()

    assert said.out == ""
    assert "artstore put" in said.err


def test_nobody_watches_a_pipe() -> None:
    with progress(Call()) as watcher:
        assert watcher is None


# Whole commands ---------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("store")
def test_an_error_is_one_line_and_its_exit_code(artstore: Run) -> None:
    ended = artstore("show", "dogs")

    assert (ended.returncode, ended.stdout) == (3, "")
    assert ended.stderr.startswith("artstore: ")
    assert ended.stderr.count("\n") == 1


@pytest.mark.usefixtures("store")
def test_with_json_an_error_is_json(artstore: Run) -> None:
    for words in (("show", "dogs", "--json"), ("--json", "show", "dogs")):
        ended = artstore(*words)
        error = json.loads(ended.stderr)["error"]

        assert (ended.returncode, ended.stdout) == (3, "")
        assert {"code", "class", "message"} == set(error)
        assert error["class"] == "NotFound"


@pytest.mark.usefixtures("store")
def test_with_json_an_error_has_every_file_that_is_at_fault(artstore: Run, folder: Path) -> None:
    """Three thousand names are too many for a line, and whoever mends them needs each."""
    for number in range(12):
        (folder / "photos" / f"{number:02}").symlink_to("nowhere")
    (folder / "photos" / os.fsdecode(b"\xff")).write_bytes(b"")
    ended = artstore("put", "photos", "--name", "cats", "--type", "dataset", "--json")
    problems = json.loads(ended.stderr)["error"]["problems"]

    assert 13 == len(problems)
    assert {"path": "photos/00", "reason": "a link to nothing"} in problems
    assert all(problem["path"].encode() for problem in problems)


@pytest.mark.parametrize("words", [("alias", "cats:v0", "best"), ("--json", "delete", "cats:v0")])
def test_a_catalog_that_stayed_behind_is_said_on_standard_error(
    store: Path, artstore: Run, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    """The verb did what it should: its exit code is 0, and its data are those of the new state."""
    stumbling = let_stumble(store, monkeypatch)
    stumbling.begin()
    done = artstore(*words)
    stumbling.end()

    assert stumbling.failed
    assert done.returncode == 0
    assert "cats:v0" in done.stdout
    assert done.stderr.startswith("artstore: committed, and the catalog is behind until it is next read: no space")
    assert 1 == done.stderr.count("\n")


def test_wrong_usage_is_exit_code_2(artstore: Run) -> None:
    assert artstore("sohw", "cats").returncode == 2
    assert artstore("show").returncode == 2
    assert artstore("gc", "--grace", "5").returncode == 2
    assert "90s, 15m" in artstore("gc", "--grace", "5").stderr
    ended = artstore("gc", "--grace", "5", "--json")
    assert (ended.returncode, json.loads(ended.stderr)["error"]["code"]) == (2, "usage")
    ended = artstore("--nonsense", "--json")
    assert (ended.returncode, json.loads(ended.stderr)["error"]["class"]) == (2, "NoSuchOption")


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (KeyboardInterrupt(), 130),
        (BrokenPipeError(errno.EPIPE, "Broken pipe"), 141),
        (Corrupt("blob x is damaged", code="digest-mismatch"), 5),
        (FileNotFoundError(errno.ENOENT, "No such file or directory", "a\x1b"), 1),
    ],
)
def test_what_ends_a_command_is_its_exit_code(
    artstore: Run, error: BaseException, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr("artstore.cli.look.open_store", fail)
    # The descriptor would be this process's own standard output.
    monkeypatch.setattr(commands, "_hang_up", lambda: None)
    ended = artstore("ls")

    assert code == ended.returncode
    assert "Traceback" not in ended.stderr
    assert "\x1b" not in ended.stderr


@pytest.mark.parametrize("words", [("put", "x", "--name", "x", "--type", "t"), ("get", "cats", "out"), ("init", "new")])
def test_a_folder_that_is_gone_is_named_as_what_is_missing(
    store: Path, artstore: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    """`[Errno 2] No such file or directory` says neither which nor what now."""
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    ended = artstore("--store", store, *words)

    assert (True, True) == (ended.returncode != 0, "go to one that is there" in ended.stderr)


def test_a_bug_shows_its_traceback(artstore: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("artstore.cli.look.open_store", fail)
    with pytest.raises(ZeroDivisionError):
        artstore("ls")


def test_a_reader_that_has_seen_enough_is_no_error(store: Path, artstore: Run) -> None:
    big = store.parent / "big.bin"
    big.write_bytes(b"line\n" * 2_000_000)
    assert artstore("put", big, "--name", "big", "--type", "dataset").returncode == 0
    with subprocess.Popen([*CLI, "cat", "big", "big.bin"], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.read(5) == b"line\n"
        process.stdout.close()
        said = process.stderr.read()

    assert (141, b"") == (process.returncode, said)


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&- >&- 2>&-"])
def test_nobody_need_be_there_to_read(folder: Path, store: Path, closed: str) -> None:
    """What was committed is not told as failed, nor may a file of the store be taken for where messages go."""
    (folder / "new").write_bytes(b"new")
    words = [*CLI, "--store", str(store), "put", str(folder / "new"), "--name", "unread", "--type", "dataset"]
    ended = subprocess.run(["sh", "-c", f'exec "$@" {closed}', "sh", *words], capture_output=True, check=False)

    assert (0, b"") == (ended.returncode, ended.stderr)
    with Store.open(store) as opened:
        assert opened.version("unread:v0").files == 1
        assert opened.verify().ok


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no device that is full")
@pytest.mark.parametrize("more", [[], ["--json"]], ids=["text", "json"])
def test_a_full_standard_output_is_not_a_full_store(folder: Path, store: Path, more: list[str]) -> None:
    """Who reads of no space left frees some, and puts again, while the version is there."""
    (folder / "new").write_bytes(b"new")
    words = [*CLI, "--store", str(store), "put", str(folder / "new"), "--name", "unread", "--type", "dataset", *more]
    with open("/dev/full", "wb") as full:
        ended = subprocess.run(words, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    said = json.loads(ended.stderr)["error"]["message"] if more else ended.stderr

    assert 1 == ended.returncode
    assert "standard output cannot be written (No space left on device): " in said
    assert "uncategorized/unread:v0 is committed, and only what it printed is lost" in said
    assert 1 == ended.stderr.count("\n")
    with Store.open(store) as opened:
        assert opened.version("unread:v0").files == 1


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no device that is full")
@pytest.mark.parametrize(
    "words",
    [
        ["ls"],
        ["alias", "cats:v0", "best"],
        ["cat", "cats", "a.txt"],
        ["cat", "big", "big"],
        ["gc", "--json"],
        ["ls", "many"],
        ["ls", "many", "--json"],
        ["lineage", "cats"],
        ["lineage", "cats", "--json"],
        ["--help"],
        ["put", "--help"],
        ["artifact", "get", "--help"],
        ["--version"],
        ["completion", "bash"],
    ],
    ids=" ".join,
)
def test_what_is_lost_is_only_what_was_printed(store: Path, words: list[str]) -> None:
    """In one line, whatever was to be printed, and without a complaint of Python's at its exit."""
    (store.parent / "big").write_bytes(bytes(2 << 20))
    with Store.open(store) as opened, opened.draft() as draft:
        opened.put(store.parent / "big", name="big", type="dataset")
        for number in range(2_000):
            draft.add_stream(io.BytesIO(b"%d" % number), f"a-file-with-a-name-of-some-length/{number}")
        opened.commit(draft, name="many", type="dataset")
    with open("/dev/full", "wb") as full:
        ended = subprocess.run(
            [*CLI, "--store", str(store), *words], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )

    assert 1 == ended.returncode
    assert ended.stderr.startswith(("artstore: standard output cannot be written", '{"error": {"code": "output-lost"'))
    assert 1 == ended.stderr.count("\n")


def test_what_nobody_can_send_is_no_content(store: Path) -> None:
    """Where standard input is closed, `-` is a mistake in the script, and neither a file without bytes nor a bug."""
    words = [*CLI, "--store", str(store), "put", "-", "--name", "unsent", "--type", "dataset"]
    ended = subprocess.run(["sh", "-c", 'exec "$@" <&-', "sh", *words], capture_output=True, check=False)

    assert ended.returncode == 2
    assert ended.stderr.endswith(b"Error: standard input is closed, and - stands for it\n")


def on_a_terminal(*words: str, typed: bytes = b"", columns: int = 100) -> tuple[int, str]:
    """Run a command with a terminal for all three streams; what it printed there."""
    controller, terminal = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": str(columns)}
    process = subprocess.Popen([*CLI, *words], stdin=terminal, stdout=terminal, stderr=terminal, env=environment)
    os.close(terminal)
    os.write(controller, typed)
    seen = b""
    # EIO is how a terminal says that the other side has left.
    with contextlib.suppress(OSError):
        while piece := os.read(controller, 65536):
            seen += piece
    os.close(controller)
    return process.wait(), seen.decode()


@pytest.mark.usefixtures("store")
def test_a_terminal_gets_tables_with_styles() -> None:
    code, text = on_a_terminal("ls")

    assert code == 0
    assert "\x1b[1m" in text
    assert "uncategorized/cats" in text


@pytest.mark.parametrize("columns", [20, 80, 120])
def test_no_width_of_a_terminal_breaks_a_name_or_a_number(store: Path, artstore: Run, columns: int) -> None:
    """A name in pieces cannot be copied, and of 125.9 MiB only a part is another number."""
    long = "experiment-resnet50-imagenet-augmented-2026-november"
    assert artstore("put", store.parent / "photos", "--name", f"vision/{long}", "--type", "dataset").returncode == 0
    code, text = on_a_terminal("ls", columns=columns)
    titles, short, named = text.replace("\x1b[1m", "").replace("\x1b[0m", "").splitlines()

    assert code == 0
    assert titles.split() == ["name", "type", "versions", "latest", "size", "updated"]
    assert short.split()[:6] == ["uncategorized/cats", "dataset", "2", "v1", "17", "B"]
    assert named.split()[:6] == [f"vision/{long}", "dataset", "1", "v0", "17", "B"]
    # The long name does not push the short one out of the screen.
    assert len(short) <= columns or columns == 20


def test_wide_characters_do_not_put_columns_out_of_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(output, "is_terminal", lambda: True)
    monkeypatch.setenv("COLUMNS", "80")
    with contextlib.redirect_stdout(io.StringIO()) as said:
        output.table(("name", ">size"), [("猫", "1"), ("e\u0301", "2")])

    assert ["name  size", "猫       1", "e\u0301        2"] == click.unstyle(said.getvalue()).splitlines()


def test_progress_moves_on_a_terminal_only(store: Path, artstore: Run) -> None:
    photos = store.parent / "photos"
    assert artstore("put", photos, "--name", "one", "--type", "dataset").stderr == ""
    code, text = on_a_terminal("put", str(photos), "--name", "two", "--type", "dataset")

    assert code == 0
    assert "uncategorized/two:v0" in text
    assert "\x1b[?25l" in text  # the cursor is hidden while the line moves,
    assert "\x1b[?25h" in text  # and comes back
    # Nothing of the line that moved is left before what was done.
    (result,) = (line for line in text.splitlines() if "uncategorized/two:v0" in line)
    assert result.rpartition("\x1b[2K")[2].startswith("uncategorized/two:v0")
    assert "1 files" not in text


@pytest.mark.usefixtures("store")
def test_a_terminal_is_asked_before_versions_are_deleted(artstore: Run) -> None:
    words = ("prune", "cats", "--keep-last", "1")
    code, text = on_a_terminal(*words, typed=b"n\n")

    assert code == 1
    assert "Delete 1 version" in text
    assert "nothing was deleted" in text
    assert len(json.loads(artstore("log", "cats", "--json").stdout)) == 2

    code, text = on_a_terminal(*words, typed=b"y\n")
    assert code == 0
    assert "deleted 1 version" in text
