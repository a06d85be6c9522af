"""`artstore import wandb`, tried on what runs of the real package left (`record_runs.py`)."""

from __future__ import annotations

import shutil
import struct
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from artstore.errors import Corrupt, Invalid, NotFound
from artstore.imports.protobuf import Message
from artstore.imports.reports import ImportReport
from artstore.imports.wandb import import_wandb
from artstore.imports.wandb_log import records
from artstore.store import Store

RECORDED: Final = Path(__file__).with_name("recorded_runs.zip")
FIRST: Final = "first: photos (dataset)"


@pytest.fixture
def left_behind(tmp_path: Path) -> Path:
    """A folder with `wandb`, and W&B's `data` and `cache`."""
    folder = tmp_path / "recorded"
    with zipfile.ZipFile(RECORDED) as archive:
        archive.extractall(folder)
    return folder


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.init(tmp_path / "store") as opened:
        yield opened


def take(store: Store, folder: Path, project: str | None = None) -> ImportReport:
    return import_wandb(store, folder / "wandb", places=[folder / "data", folder / "cache"], project=project)


def log_of(folder: Path, run: str) -> Path:
    return next((folder / "wandb").glob(f"*-{run}/run-{run}.wandb"))


def made(report: ImportReport) -> list[str]:
    return [version.ref for version in report.versions if version.made]


def reasons(report: ImportReport, what: str) -> dict[str, str]:
    return {left.where: left.why for left in report.left if left.what == what}


# What comes over ---------------------------------------------------------------------------------------------------


def test_versions_come_in_the_order_in_which_they_were_logged(store: Store, left_behind: Path) -> None:
    take(store, left_behind)

    texts = [b"".join(store.read(f"photos:v{n}", "text.txt", project="cats")) for n in (0, 1)]
    assert [b"one", b"two"] == texts
    assert 2 == len(store.versions("photos", project="cats"))


def test_the_same_content_once_more_is_no_new_version_and_is_the_latest(store: Store, left_behind: Path) -> None:
    """The third log was of the first one's content: `latest` and `best` moved back to it."""
    take(store, left_behind)
    version = store.version("photos:latest", project="cats")

    assert (0, {"best", "i0", "i2", "latest"}) == (version.number, set(version.aliases))
    assert ["i1"] == store.version("photos:v1", project="cats").aliases


def test_metadata_description_tags_and_dates_are_kept(store: Store, left_behind: Path) -> None:
    take(store, left_behind)
    first, second = (store.version(f"photos:v{n}", project="cats") for n in (0, 1))
    run = store.run("first", project="cats")

    assert ({"index": 0, "sizes": [1, 2]}, "number 0", ["cute"]) == (first.metadata, first.description, first.tags)
    assert ({"index": 1, "sizes": [1, 2]}, "number 1") == (second.metadata, second.description)
    assert run.ended_at is not None
    assert run.started_at <= first.created_at <= second.created_at <= run.ended_at
    assert run.ended_at < (left_behind.stat().st_mtime), "the date is of the run, not of the import"


def test_a_run_comes_with_what_was_said_about_it(store: Store, left_behind: Path) -> None:
    take(store, left_behind)
    run = store.run("first", project="cats")

    assert ("the first run", "some notes", ["small"]) == (run.name, run.notes, run.tags)
    assert ("g1", "prepare", "finished") == (run.group, run.job_type, run.state)
    assert {"lr": 0.1, "model": {"layers": [1, 2]}, "added": "later"} == run.config


def test_a_run_has_its_outputs(store: Store, left_behind: Path) -> None:
    take(store, left_behind)

    assert {"photos", "tables", "borrowed", "references"} == {
        version.collection for version in store.outputs("first", project="cats")
    }
    logged_by = store.logged_by("parts", project="cats")
    assert logged_by is not None
    assert "second" == logged_by.id


def test_parts_are_gathered_and_unfinished_ones_are_named(store: Store, left_behind: Path) -> None:
    report = take(store, left_behind)

    assert ["x.txt", "y.txt"] == [entry.path for entry in store.entries("parts", project="cats")]
    assert "never finished" in reasons(report, "artifact")["second: unfinished (dataset)"]
    with pytest.raises(NotFound):
        store.version("unfinished", project="cats")


def test_an_increment_is_the_last_version_and_what_was_added(store: Store, left_behind: Path) -> None:
    report = take(store, left_behind)

    assert ["one.txt"] == [entry.path for entry in store.entries("grown:v0", project="cats")]
    assert ["one.txt", "two.txt"] == [entry.path for entry in store.entries("grown:v1", project="cats")]
    assert "server" in reasons(report, "base")["second: grown (dataset)"]


def test_what_lies_in_the_cache_alone_is_found_by_its_digest(store: Store, left_behind: Path) -> None:
    take(store, left_behind)

    assert b"in the cache alone" == b"".join(store.read("in_cache", "cached.txt", project="cats"))


def test_what_was_hashed_by_xxh3_is_checked_by_xxh3(store: Store, left_behind: Path) -> None:
    take(store, left_behind)

    assert b"hashed by XXH3" == b"".join(store.read("fast", "fast.txt", project="cats"))


def test_a_reference_into_another_artifact_is_its_bytes(store: Store, left_behind: Path) -> None:
    take(store, left_behind)

    both = [
        b"".join(store.read(name, path, project="cats"))
        for name, path in (("tables", "parts/t_1.table.json"), ("borrowed", "again.table.json"))
    ]
    assert both[0] == both[1]


def test_references_stay_references(store: Store, left_behind: Path) -> None:
    """A log of more than one block, too: 500 of them take 38 KiB."""
    report = take(store, left_behind)
    entries = {entry.path: entry for entry in store.entries("references", project="cats")}

    assert 503 == len(entries)
    assert "http://127.0.0.1:9/x.txt" == entries["x.txt"].uri
    assert "cannot be read" in reasons(report, "reference")["first: references (dataset)"]


def test_importing_twice_adds_nothing(store: Store, left_behind: Path) -> None:
    first = take(store, left_behind)
    before = (store.versions("photos", project="cats"), store.runs(), log_files(store))

    second = take(store, left_behind)

    assert [] == made(second)
    assert [] == [run for run in second.runs if run.made]
    assert before == (store.versions("photos", project="cats"), store.runs(), log_files(store))
    assert {version.ref for version in first.versions} >= {version.ref for version in second.versions}


def log_files(store: Store) -> list[Path]:
    return sorted((store.path / "ops").rglob("*"))


def test_importing_twice_adds_nothing_whatever_became_of_it_meanwhile(store: Store, left_behind: Path) -> None:
    """Who has renamed and deleted what was imported does not want it back."""
    take(store, left_behind)
    store.rename("photos", "felines", project="cats")
    store.delete("fast:v0", project="cats", force=True)

    assert [] == made(take(store, left_behind))


def test_an_import_that_was_broken_off_is_finished_by_the_next(store: Store, left_behind: Path) -> None:
    store.start_run(project="cats", id="first")
    with store.draft() as draft:
        (left_behind / "x").write_text("x")
        draft.add_file(left_behind / "x")
        store.commit(draft, name="photos", type="dataset", project="cats", run="first")

    assert {"cats/photos:v1", "cats/photos:v2"} <= set(made(take(store, left_behind)))
    assert "finished" == store.run("first", project="cats").state


def test_a_run_that_went_on_brings_what_is_new(store: Store, left_behind: Path) -> None:
    log = log_of(left_behind, "first")
    whole = log.read_bytes()
    cut = whole.index(b"number 1") - 20
    log.write_bytes(whole[:cut])
    assert ["cats/photos:v0"] == [ref for ref in made(take(store, left_behind)) if "photos" in ref]

    log.write_bytes(whole)
    again = made(take(store, left_behind))

    assert "cats/photos:v1" in again
    assert "cats/photos:v0" not in again


def test_a_project_that_cannot_be_one_here_can_be_named(store: Store, left_behind: Path) -> None:
    report = take(store, left_behind)
    assert "--project" in reasons(report, "run")["third"]

    again = take(store, left_behind, project="elsewhere")

    assert "elsewhere/photos:v2" in made(again)
    assert {"first", "second", "third"} == {run.id for run in again.runs}
    assert "third" in {run.id for run in store.runs(project="elsewhere")}


# What does not -----------------------------------------------------------------------------------------------------


def test_what_is_no_longer_there_is_named_and_nothing_of_it_comes(store: Store, left_behind: Path) -> None:
    report = take(store, left_behind)

    assert "vanished.txt" in reasons(report, "artifact")["second: vanished (dataset)"]
    with pytest.raises(NotFound):
        store.version("vanished", project="cats")


def test_bytes_that_are_not_those_that_were_logged_never_become_a_version(store: Store, left_behind: Path) -> None:
    """A staged file that somebody has written into would come back later under the name of the right one."""
    for staged in (left_behind / "data").rglob("tmp*"):
        if staged.read_bytes() == b"beta":
            staged.chmod(0o600)
            staged.write_bytes(b"BETA")

    report = take(store, left_behind)

    assert "sub/b.txt" in reasons(report, "artifact")[FIRST]
    assert "other bytes than were logged" in reasons(report, "artifact")[FIRST]
    with pytest.raises(NotFound):
        store.version("photos", project="cats")
    assert "cats/parts:v0" in made(report)


def test_metrics_output_and_files_are_listed_as_left(store: Store, left_behind: Path) -> None:
    kinds = Counter(left.what for left in take(store, left_behind).left)

    assert 2 == kinds["metrics"]
    assert 4 == kinds["files"]


def test_a_log_that_ends_within_a_record_is_read_up_to_there(store: Store, left_behind: Path) -> None:
    """So the log of a run ends whose machine was switched off."""
    log = log_of(left_behind, "second")
    log.write_bytes(log.read_bytes()[:-1000])

    report = take(store, left_behind)

    assert "damaged or ends at byte" in reasons(report, "log")[str(log)]
    assert "cats/parts:v0" in made(report)
    assert "crashed" == store.run("second", project="cats").state


def test_a_flipped_bit_in_a_log_is_seen(store: Store, left_behind: Path) -> None:
    log = log_of(left_behind, "first")
    data = bytearray(log.read_bytes())
    data[data.index(b"number 1")] ^= 1
    log.write_bytes(data)

    report = take(store, left_behind)

    assert str(log) in reasons(report, "log")
    assert ["cats/photos:v0"] == [ref for ref in made(report) if "photos" in ref]


def test_a_run_that_was_killed_before_it_said_anything_is_named(store: Store, left_behind: Path) -> None:
    report = take(store, left_behind)

    assert [str(log_of(left_behind, "killed"))] == [where for where in reasons(report, "run") if "killed" in where]


def test_a_name_that_has_another_type_here_is_named_and_the_rest_comes(store: Store, left_behind: Path) -> None:
    with store.draft() as draft:
        (left_behind / "x").write_text("x")
        draft.add_file(left_behind / "x")
        store.commit(draft, name="photos", type="model", project="cats")

    report = take(store, left_behind)

    assert "type" in reasons(report, "artifact")[FIRST]
    assert "cats/tables:v0" in made(report)


@pytest.mark.parametrize("name", ["nothing", "file"])
def test_where_there_is_nothing_to_import_that_is_said(store: Store, tmp_path: Path, name: str) -> None:
    (tmp_path / "nothing").mkdir()
    (tmp_path / "file").touch()

    with pytest.raises(NotFound):
        import_wandb(store, tmp_path / name)
    assert [] == store.runs()


def test_dates_are_dates(store: Store) -> None:
    with pytest.raises(Invalid, match="1970"):
        store.start_run(project="cats", started_at=-1.0)
    with pytest.raises(Invalid, match="1970"):
        store.start_run(project="cats", started_at=float("nan"))
    assert [] == store.runs()


# The log -----------------------------------------------------------------------------------------------------------

HEAD: Final = struct.pack("<4sHB", b":W&B", 0xBEE1, 0)


def fragment(kind: int, data: bytes) -> bytes:
    return struct.pack("<IHB", zlib.crc32(data, zlib.crc32(bytes([kind]))), len(data), kind) + data


def written(tmp_path: Path, data: bytes) -> Path:
    path = tmp_path / "run-x.wandb"
    path.write_bytes(data)
    return path


def test_every_record_of_the_real_package_is_read(left_behind: Path) -> None:
    for run, count in (("first", 20), ("second", 15)):
        assert count < len(list(records(log_of(left_behind, run))))


@pytest.mark.parametrize("size", [0, 1, 32_745, 32_746, 32_747, 32_754, 32_755, 32_768, 100_000])
def test_records_of_every_size_cross_blocks(tmp_path: Path, size: int) -> None:
    data = bytearray(HEAD)
    wanted = [bytes([n]) * (size + n) for n in range(3)]
    for record in wanted:
        rest, begun = record, False
        while True:
            room = 32_768 - len(data) % 32_768
            if room < 7:
                data += b"\0" * room
                continue
            part, rest = rest[: room - 7], rest[room - 7 :]
            kind = (3 if rest else 4) if begun else (2 if rest else 1)
            data += fragment(kind, part)
            begun = True
            if not rest:
                break

    assert wanted == list(records(written(tmp_path, bytes(data))))


@pytest.mark.parametrize(
    "data",
    [b"", b"SQLite format 3\0", b":W&B\xe1\xbe\x07", HEAD[:6]],
    ids=["empty", "another", "newer", "short"],
)
def test_what_is_no_log_is_refused(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(Corrupt, match="no transaction log"):
        list(records(written(tmp_path, data)))


@pytest.mark.parametrize(
    "rest",
    [
        fragment(1, b"x")[:-1],
        fragment(1, b"x")[:5] + b"\x01y" + b"z",
        fragment(4, b"last without a first"),
        fragment(2, b"first") + fragment(1, b"whole"),
        fragment(2, b"first"),
        fragment(9, b"unknown"),
    ],
    ids=["cut", "changed", "no-first", "no-last", "ends", "unknown"],
)
def test_what_is_whole_comes_before_what_is_damaged(tmp_path: Path, rest: bytes) -> None:
    found: list[bytes] = []
    with pytest.raises(Corrupt, match="damaged or ends"):
        found.extend(records(written(tmp_path, HEAD + fragment(1, b"whole") + rest)))

    assert [b"whole"] == found


@pytest.mark.parametrize("data", [b"\x0a", b"\x0a\x05abc", b"\xff" * 11, b"\x0b", b"\x08", b"\x0d\x00"])
def test_what_is_no_message_is_refused(data: bytes) -> None:
    with pytest.raises(Corrupt):
        Message(data)


def test_text_and_numbers_are_told_apart() -> None:
    message = Message(b"\x08\x01\x12\x02\xff\xfe")

    assert 1 == message.integer(1)
    for wrong in (lambda: message.text(1), lambda: message.integer(2), lambda: message.text(2)):
        with pytest.raises(Corrupt):
            wrong()
    assert ("", 0, [], False) == (message.text(3), message.integer(3), message.texts(3), message.has(3))


def test_a_copied_tree_need_not_say_where_it_is(store: Store, left_behind: Path, tmp_path: Path) -> None:
    """W&B's folders were archived and unpacked elsewhere, together: that folder alone is enough."""
    shutil.copytree(left_behind / "data" / "artifacts", left_behind / "wandb" / "artifacts")

    report = import_wandb(store, left_behind / "wandb")

    assert "cats/photos:v1" in made(report)
    assert tmp_path in left_behind.parents
