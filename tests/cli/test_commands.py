"""Every command once, on a real store, with what it prints read back."""

from __future__ import annotations

import io
import json
import os
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest

from artstore.store import Store

Run = Callable[..., CompletedProcess[str]]

pytestmark = pytest.mark.usefixtures("store")


def data(artstore: Run, *words: object, code: int = 0, stdin: bytes = b"") -> Any:
    """What a command prints with --json."""
    ended = artstore(*words, "--json", stdin=stdin)
    assert code == ended.returncode, ended.stderr
    return json.loads(ended.stdout)


def text(artstore: Run, *words: object, code: int = 0) -> str:
    ended = artstore(*words)
    assert code == ended.returncode, ended.stderr
    return ended.stdout


# Keep and take ----------------------------------------------------------------------------------------------------


def test_put_says_what_it_made(artstore: Run, folder: Path) -> None:
    (folder / "photos" / "d.txt").write_bytes(b"delta\n")
    words = ("put", "photos", "--name", "cats", "--type", "dataset")
    report = data(
        artstore,
        *(*words, "--alias", "best", "--alias", "blue", "--description", "more", "--ttl", "1h"),
        *("--metadata", '{"accuracy": 0.5}', "--as", "train"),
    )
    version = report["version"]

    assert report["made"]
    assert "uncategorized/cats:v2" == version["ref"]
    assert {"best", "blue", "latest"} == set(version["aliases"])
    assert ("more", {"accuracy": 0.5}, 3600.0) == (version["description"], version["metadata"], version["ttl_s"])
    assert (4, 23) == (report["files"], report["bytes"])
    assert (1, 6) == (report["new_files"], report["new_bytes"])
    assert "train/sub/b.txt" in {entry["path"] for entry in data(artstore, "ls", "cats")}


def test_put_of_equal_content_makes_nothing(artstore: Run) -> None:
    words = ("put", "photos", "--name", "cats", "--type", "dataset")

    assert not data(artstore, *words)["made"]
    assert "uncategorized/cats:v1 (latest), already kept\n" in text(artstore, *words)


def test_put_reads_standard_input(artstore: Run) -> None:
    words = ("put", "-", "--name", "shop", "--type", "backup")
    data(artstore, *words, "--as", "shop.sql", stdin=b"select\n")

    assert [("shop.sql", 7)] == [(entry["path"], entry["size"]) for entry in data(artstore, "ls", "shop")]
    assert text(artstore, "cat", "shop", "shop.sql") == "select\n"
    assert artstore("put", "-", *words[1:]).returncode == 2


def test_put_takes_metadata_from_a_file_and_a_project_from_the_name(artstore: Run, folder: Path) -> None:
    (folder / "m.json").write_text('{"a": 1}', encoding="utf-8")
    words = ("put", "photos", "--name", "zoo/cats", "--type", "dataset", "--metadata")
    version = data(artstore, *words, "m.json", "--project", "farm")["version"]

    assert ("zoo", {"a": 1}) == (version["project"], version["metadata"])
    assert artstore(*words, "missing.json").returncode == 2


def test_put_dry_keeps_nothing(artstore: Run) -> None:
    words = ("put", "photos", "--name", "dogs", "--type", "dataset", "--dry-run")

    assert "a new version would be made\n  3 files" in text(artstore, *words)
    assert data(artstore, *words)["version"] is None
    assert artstore("show", "dogs").returncode == 3


def test_put_names_what_it_left_out(artstore: Run, folder: Path) -> None:
    words = ("put", "photos", "--name", "cats", "--type", "dataset")
    (folder / "photos" / "empty").mkdir()
    assert "1 empty directory not kept" in artstore(*words).stderr

    os.mkfifo(folder / "photos" / "pipe")
    refused = artstore(*words)
    assert refused.returncode != 0
    assert "pipe" in refused.stderr
    assert len(data(artstore, "log", "cats")) == 2


def test_get_writes_the_files(artstore: Run, folder: Path) -> None:
    report = data(artstore, "get", "cats:v0", "out")

    assert (2, 0, 0) == (report["written"], report["unchanged"], report["deleted"])
    assert (folder / "out" / "sub" / "b.txt").read_bytes() == b"beta\n"
    assert not (folder / "out" / "c.txt").exists()


def test_get_removes_only_when_told(artstore: Run, folder: Path) -> None:
    text(artstore, "get", "cats:v1", "out")
    text(artstore, "get", "cats:v0", "out")
    assert (folder / "out" / "c.txt").exists()

    assert "deleted: 1" in text(artstore, "get", "cats:v0", "out", "--delete")
    assert not (folder / "out" / "c.txt").exists()


def test_get_takes_what_matches(artstore: Run, folder: Path) -> None:
    text(artstore, "get", "cats", "out", "--path", "sub/*", "--path", "a.*", "--mode", "copy")

    assert ["a.txt", "sub"] == sorted(path.name for path in (folder / "out").iterdir())


def test_get_without_a_folder_makes_one_named_after_the_version(artstore: Run, folder: Path) -> None:
    text(artstore, "get", "cats")

    assert (folder / "cats-v1" / "c.txt").exists()


def test_cat_writes_the_bytes(artstore: Run, folder: Path) -> None:
    raw = bytes(range(256)) * 8192  # two blocks of a mebibyte
    (folder / "raw.bin").write_bytes(raw)
    text(artstore, "put", "raw.bin", "--name", "raw", "--type", "dataset")
    ended = subprocess.run([sys.executable, "-m", "artstore", "cat", "raw", "raw.bin"], capture_output=True, check=True)

    assert raw == ended.stdout
    assert artstore("cat", "raw", "other.bin").returncode == 3


# Look -------------------------------------------------------------------------------------------------------------


def test_ls_lists_collections_then_files(artstore: Run) -> None:
    (collection,) = data(artstore, "ls")

    assert ("uncategorized", "cats", 2, "v1") == tuple(
        collection[key] for key in ("project", "name", "versions", "latest")
    )
    assert text(artstore, "ls").splitlines()[1].startswith("uncategorized/cats  dataset         2  v1")
    assert ["a.txt", "c.txt", "sub/b.txt"] == [entry["path"] for entry in data(artstore, "ls", "cats")]
    assert "       6 B  a.txt\n" in text(artstore, "ls", "cats")
    assert "blake3:" in text(artstore, "ls", "cats", "--long")


def test_show_shows_a_version(artstore: Run) -> None:
    version = data(artstore, "show", "cats:v0")

    assert ("cats:v0", 2, 11, 604800.0) == tuple(version[key] for key in ("name", "files", "bytes", "ttl_s"))
    assert version["id"] in text(artstore, "show", f"cats@{version['id']}")


def test_log_begins_with_the_newest(artstore: Run) -> None:
    assert ["cats:v1", "cats:v0"] == [version["name"] for version in data(artstore, "log", "cats")]
    assert ["VERSION", "cats:v1", "cats:v0"] == [line.split()[0] for line in text(artstore, "log", "cats").splitlines()]


def test_diff_with_a_version_and_with_a_folder(artstore: Run, folder: Path) -> None:
    report = data(artstore, "diff", "cats:v0", "cats:v1")

    assert ["c.txt"] == [entry["path"] for entry in report["added"]]
    assert ([], [], [], 2) == (report["removed"], report["changed"], report["renamed"], report["unchanged"])

    (folder / "photos" / "a.txt").write_bytes(b"ALPHA!\n")
    (folder / "photos" / "c.txt").rename(folder / "photos" / "moved.txt")
    assert ["~ a.txt  6 B -> 7 B", "> c.txt -> moved.txt  6 B"] == text(
        artstore, "diff", "cats", "photos"
    ).splitlines()[:2]


def test_find_by_path_metadata_and_digest(artstore: Run) -> None:
    text(artstore, "metadata", "cats:v0", "accuracy=0.93")
    digest = next(entry["digest"] for entry in data(artstore, "ls", "cats") if entry["path"] == "c.txt")

    assert {("cats:v0", "sub/b.txt"), ("cats:v1", "sub/b.txt")} == {
        (match["version"]["name"], match["path"]) for match in data(artstore, "find", "*/b.txt")
    }
    assert ["cats:v0"] == [match["version"]["name"] for match in data(artstore, "find", "accuracy=0.93")]
    assert ["c.txt"] == [match["path"] for match in data(artstore, "find", digest)]
    assert "uncategorized/cats:v1" in text(artstore, "find", digest)
    assert text(artstore, "find", "*/nothing.txt") == ""


# Label ------------------------------------------------------------------------------------------------------------


def test_alias_moves(artstore: Run) -> None:
    assert {"best", "blue"} == set(data(artstore, "alias", "cats:v0", "best", "blue")["aliases"])
    moved = data(artstore, "alias", "cats:v1", "best")
    assert {"best", "latest"} == set(moved["aliases"])
    assert {"best": "uncategorized/cats:v0"} == moved["moved_from"]
    assert "  blue stood on uncategorized/cats:v0\n" in text(artstore, "alias", "cats:v1", "blue")
    assert "stood" not in text(artstore, "alias", "cats:v1", "blue")
    text(artstore, "alias", "cats:v0", "blue")
    assert ["blue"] == data(artstore, "show", "cats:v0")["aliases"]
    assert "aliases: latest\n" in text(artstore, "alias", "cats:v1", "best", "--remove")


def test_tag_stays_where_it_was(artstore: Run) -> None:
    assert "tags: seen\n" in text(artstore, "tag", "cats:v0", "seen")
    assert ["seen"] == data(artstore, "tag", "cats:v1", "seen")["tags"]
    assert ["seen"] == data(artstore, "show", "cats:v0")["tags"]
    assert [] == data(artstore, "tag", "cats:v0", "seen", "--remove")["tags"]


def test_describe_a_version_and_a_collection(artstore: Run) -> None:
    assert "one version" in text(artstore, "describe", "cats:v0", "one version")
    assert "all of them" in text(artstore, "describe", "cats", "all of them")

    assert data(artstore, "show", "cats:v0")["description"] == "one version"
    assert data(artstore, "ls")[0]["description"] == "all of them"


def test_metadata_is_shown_and_changed(artstore: Run) -> None:
    changed = data(artstore, "metadata", "cats:v0", "accuracy=0.93", "note=fine", "n=null")["metadata"]

    assert {"accuracy": 0.93, "note": "fine", "n": None} == changed
    assert 'note = "fine"\n' in text(artstore, "metadata", "cats:v0")
    assert {"accuracy": 1} == data(artstore, "metadata", "cats:v0", "accuracy=1", "--remove", "note", "--remove", "n")[
        "metadata"
    ]


def test_ttl_is_set_and_ended(artstore: Run) -> None:
    assert data(artstore, "ttl", "cats:v1", "2w")["ttl_s"] == 1209600.0
    assert "never ends" in text(artstore, "ttl", "cats:v1", "--never")
    assert artstore("ttl", "cats:v1").returncode == 2
    assert artstore("ttl", "cats:v1", "2w", "--never").returncode == 2


# Arrange ----------------------------------------------------------------------------------------------------------


def test_rename_keeps_the_versions(artstore: Run) -> None:
    assert "uncategorized/felines" in text(artstore, "rename", "cats", "felines")
    assert len(data(artstore, "log", "felines")) == 2


def test_retype_is_of_the_collection(artstore: Run) -> None:
    assert "uncategorized/cats (photos)\n" == text(artstore, "retype", "cats", "photos")
    assert ["photos", "photos"] == [version["type"] for version in data(artstore, "log", "cats")]


def test_a_collection_is_tagged_and_not_its_latest_version(artstore: Run) -> None:
    assert "uncategorized/cats  tags: public\n" == text(artstore, "tag", "cats", "public", "--collection")
    assert ([], ["public"]) == (data(artstore, "show", "cats")["tags"], data(artstore, "ls")[0]["tags"])
    assert "uncategorized/cats  tags: -\n" == text(artstore, "tag", "cats", "public", "--collection", "--remove")


def test_copy_moves_no_bytes(artstore: Run) -> None:
    stored = data(artstore, "du")["stored_bytes"]
    version = data(artstore, "copy", "cats:v1", "zoo/lions")

    assert "zoo/lions:v0" == version["ref"]
    assert data(artstore, "show", "cats:v1")["digest"] == version["digest"]
    assert stored == data(artstore, "du")["stored_bytes"]


def test_a_version_is_linked_and_unlinked(artstore: Run) -> None:
    linked = data(artstore, "link", "cats:v0", "zoo/best", "--alias", "prod")
    assert ("uncategorized/cats:v0", 0, ["latest", "prod"]) == (
        linked["ref"], linked["link"]["number"], linked["link"]["aliases"],
    )  # fmt: skip
    assert "zoo/best:v1 (latest) -> uncategorized/cats:v1\n" == text(artstore, "link", "cats:v1", "zoo/best")

    assert "zoo/best" in text(artstore, "ls", "--project", "zoo")
    assert "dataset (portfolio)" in text(artstore, "ls", "--project", "zoo")
    rows = text(artstore, "log", "zoo/best").splitlines()
    assert "best:v1 -> uncategorized/cats:v1  latest" in rows[1]
    assert "zoo/best:v0 (prod)" in text(artstore, "show", "zoo/best:prod")
    assert "zoo/best:v0  aliases: new, prod" in text(artstore, "alias", "zoo/best:v0", "new")
    assert "alpha\n" == text(artstore, "cat", "zoo/best:new", "a.txt")
    assert artstore("delete", "cats:v0").returncode == 4
    said = text(artstore, "unlink", "zoo/best:prod")
    assert "unlinked zoo/best:v0; uncategorized/cats:v0 stays\n" == said
    assert artstore("unlink", "zoo/best:prod").returncode == 3


def test_a_collection_goes_with_all_its_versions(artstore: Run, store: Path) -> None:
    """One whose versions are all deleted would stand in every list for ever."""
    assert store.exists()
    assert "--collection" in artstore("delete", "cats").stderr
    text(artstore, "alias", "cats:v0", "best")
    assert artstore("delete", "cats", "--collection").returncode == 4
    said = text(artstore, "delete", "cats", "--collection", "--force")

    assert "deleted uncategorized/cats, 2 versions; artstore gc frees their space\n" == said
    assert [] == data(artstore, "ls")


@pytest.fixture
def history(store: Path) -> None:
    """A run that used cats:v0 and made net:v0, and one that used that."""
    with Store.open(store) as opened:
        opened.start_run(id="train", name='fit "all"', job_type="fit", group="g", tags=["t"], config={"lr": 0.1})
        opened.use("train", "cats:v0")
        opened.put([io.BytesIO(b"w")], name="net", type="model", prefix="w", run="train")
        opened.finish_run("train")
        opened.start_run(id="eval", project="zoo")
        opened.use("eval", "uncategorized/net:v0", project="zoo")


@pytest.mark.usefixtures("history")
def test_lineage_is_told_as_a_tree(artstore: Run) -> None:
    said = text(artstore, "lineage", "net:v0")

    assert said == (
        "uncategorized/net:v0\n"
        '  made by run fit "all" (finished)\n'
        "    used uncategorized/cats:v0\n"
        "  used by run eval (running)\n"
    )
    assert "used by" not in text(artstore, "lineage", "net:v0", "--up")
    assert "made by" not in text(artstore, "lineage", "net:v0", "--down")
    assert 2 == len(text(artstore, "lineage", "net:v0", "--up", "--depth", "1").splitlines())
    assert artstore("lineage", "net:v0", "--depth", "-1").returncode == 2
    assert artstore("lineage", "mice").returncode == 3


@pytest.mark.usefixtures("history")
def test_lineage_is_drawn_for_other_programs(artstore: Run) -> None:
    report = data(artstore, "lineage", "net:v0")
    assert (4, 3, []) == (len(report["nodes"]), len(report["edges"]), report["loops"])
    assert report == json.loads(text(artstore, "lineage", "net:v0", "--format", "json"))
    mermaid = text(artstore, "lineage", "net:v0", "--format", "mermaid").splitlines()
    run = '  n1(["run fit #quot;all#quot; (finished)"])'
    assert ["flowchart LR", '  n0["uncategorized/net:v0"]', run] == mermaid[:3]
    assert "  n1 --> n0" in mermaid
    dot = text(artstore, "lineage", "net:v0", "--format", "dot")
    assert '  n1 [shape=ellipse, label="run fit \\"all\\" (finished)"];\n' in dot
    assert dot.startswith("digraph lineage {\n")
    assert dot.endswith("}\n")


@pytest.mark.usefixtures("history")
def test_what_was_shown_is_not_shown_again(artstore: Run, store: Path) -> None:
    """A history where all comes from all would fill the screen for ever."""
    with Store.open(store) as opened:
        for number in range(3):
            opened.put([io.BytesIO(b"%d" % number)], name=f"n{number}", type="model", prefix="w", run="train")
            opened.use("train", f"n{number}")
    said = text(artstore, "lineage", "cats:v0")

    assert 1 == said.count("used by run eval")
    left_out = "left out, since it would lead in a circle: fit"
    assert left_out in said
    assert f"\n  %% {left_out}" in text(artstore, "lineage", "cats:v0", "--format", "mermaid")
    assert f"\n  // {left_out}" in text(artstore, "lineage", "cats:v0", "--format", "dot")


@pytest.mark.usefixtures("history")
def test_runs_are_listed_and_shown(artstore: Run) -> None:
    listed = text(artstore, "runs").splitlines()
    assert ["zoo", "uncategorized"] == [line.split()[0] for line in listed[1:]]
    assert ["train"] == [run["id"] for run in data(artstore, "runs", "--group", "g")]
    assert "no runs yet" in artstore("runs", "--project", "nowhere").stderr
    shown = text(artstore, "run", "train")
    for line in ("state    finished", "tags     t", "used     uncategorized/cats:v0", "made     uncategorized/net:v0"):
        assert line in shown
    assert '"lr": 0.1' in shown
    found = data(artstore, "run", "train")
    assert ("train", ["cats:v0"], ["net:v0"]) == (
        found["run"]["id"], [v["name"] for v in found["inputs"]], [v["name"] for v in found["outputs"]],
    )  # fmt: skip
    assert artstore("run", "missing").returncode == 3


def test_parts_are_listed_and_dropped(artstore: Run, store: Path) -> None:
    assert "no unfinished parts" in artstore("parts").stderr
    with Store.open(store) as opened, opened.draft() as draft:
        draft.add_stream(io.BytesIO(b"x"), "x")
        opened.add_part(draft, name="cats", type="dataset", distributed_id="nightly", run="r1")

    store_id = data(artstore, "status")["store_id"][:8]
    assert f"uncategorized/cats  nightly  r1   {store_id}      1" in text(artstore, "parts")
    assert 1 == data(artstore, "status")["unfinished_parts"]
    assert [2, 2, 3] == [
        artstore("drop", *said).returncode
        for said in (("cats",), ("cats", "nightly", "--older-than", "0"), ("cats", "nightly", "--run", "r2"))
    ]
    assert "dropped 0 parts; artstore gc frees their space\n" == text(artstore, "drop", "--older-than", "1d")
    assert 1 == len(data(artstore, "parts"))
    assert "dropped 1 part; artstore gc frees their space\n" == text(artstore, "drop", "cats", "nightly", "--run", "r1")
    assert artstore("drop", "cats", "nightly").returncode == 3


def test_delete_respects_aliases(artstore: Run) -> None:
    text(artstore, "alias", "cats:v0", "best")
    assert artstore("delete", "cats:v0").returncode in {4, 7}

    assert "deleted uncategorized/cats:v0" in text(artstore, "delete", "cats:v0", "--force")
    assert artstore("show", "cats:v0").returncode == 3


def test_of_several_versions_all_are_deleted_or_none(artstore: Run) -> None:
    """What is left after a refusal half way would have to be found out, version by version."""
    text(artstore, "alias", "cats:v0", "best")
    for words in (("cats:v1", "cats:v0"), ("cats:v1", "cats:v9"), ("cats:v1", "cats")):
        assert artstore("delete", *words).returncode in {2, 3, 4}
        assert artstore("show", "cats:v1").returncode == 0
    gone = data(artstore, "delete", "cats:v1", "cats:latest", "cats:v0", "--force")

    assert ["uncategorized/cats:v1", "uncategorized/cats:v0"] == [
        f"{each['project']}/{each['collection']}:v{each['number']}" for each in gone
    ]
    assert [artstore("show", f"cats:v{number}").returncode for number in (0, 1)] == [3, 3]


def test_of_several_collections_none_goes_where_one_is_unknown(artstore: Run) -> None:
    assert artstore("delete", "cats", "cast", "--collection").returncode == 3
    assert artstore("show", "cats").returncode == 0


def test_prune_shows_then_deletes(artstore: Run) -> None:
    words = ("prune", "cats", "--keep-last", "1")
    plan = data(artstore, *words, "--dry-run")

    assert plan["dry_run"]
    assert ["uncategorized/cats:v0"] == [gone["ref"] for gone in plan["deleted"]]
    assert len(data(artstore, "log", "cats")) == 2
    said = text(artstore, *words)
    assert "uncategorized/cats:v0" in said
    assert "deleted 1 version" in said
    assert "nothing to delete\n" in text(artstore, *words)


def test_prune_keeps_the_best(artstore: Run) -> None:
    text(artstore, "metadata", "cats:v0", "accuracy=0.9")
    text(artstore, "metadata", "cats:v1", "accuracy=0.1")
    report = data(artstore, "prune", "cats", "--keep-best", "accuracy:max=1", "--keep-within", "0", "--yes")

    assert "uncategorized/cats:v0" in {kept["ref"] for kept in report["kept"]}


def test_prune_without_a_rule_deletes_only_what_has_expired(artstore: Run) -> None:
    assert [] == data(artstore, "prune", "cats")["deleted"]
    text(artstore, "ttl", "cats:v0", "0.01s")

    assert ["uncategorized/cats:v0"] == [gone["ref"] for gone in data(artstore, "prune", "cats")["deleted"]]


# Space ------------------------------------------------------------------------------------------------------------


def test_du_counts_each_byte_once(artstore: Run) -> None:
    report = data(artstore, "du")
    (usage,) = report["collections"]

    assert (2, 5, 28) == tuple(usage[key] for key in ("versions", "files", "logical_bytes"))
    assert (17, 0, 17) == (usage["unique_bytes"], usage["shared_bytes"], report["stored_bytes"])
    assert "in all 28 B logical, kept in 17 B" in text(artstore, "du")


def test_status_adds_up(artstore: Run, store: Path) -> None:
    report = data(artstore, "status")

    assert str(store) == report["root"]
    assert (1, 1, 2, 5) == tuple(report[key] for key in ("projects", "collections", "versions", "files"))
    assert "versions     2\n" in text(artstore, "status")


def test_gc_frees_what_was_deleted(artstore: Run) -> None:
    text(artstore, "delete", "cats:v1")
    assert "would be freed" in text(artstore, "gc", "--dry-run")
    text(artstore, "gc", "--grace", "0")

    assert data(artstore, "du")["stored_bytes"] == 11
    assert data(artstore, "verify")["ok"]


# Health -----------------------------------------------------------------------------------------------------------


def damage(store: Path, content: bytes) -> None:
    """Flip one bit of some content, wherever the store keeps it."""
    for path in store.rglob("*"):
        if path.is_file() and path.suffix != ".db" and content in (raw := path.read_bytes()):
            path.chmod(0o600)
            path.write_bytes(raw.replace(content, bytes([content[0] ^ 1]) + content[1:]))
            return
    pytest.fail("the content is nowhere")


def test_verify_of_a_whole_store(artstore: Run) -> None:
    assert text(artstore, "verify").startswith("whole: 2 versions, ")
    assert data(artstore, "verify", "cats:v0", "--fast")["ok"]


def test_verify_finds_damage_and_repair_mends_it(artstore: Run, store: Path, folder: Path) -> None:
    damage(store, b"gamma\n")
    assert "quarantine" not in text(artstore, "status")
    report = data(artstore, "verify", code=5)
    # It takes space that nothing else names.
    assert "damaged" in text(artstore, "status")
    assert data(artstore, "status")["quarantine_bytes"] > 0
    assert not report["ok"]
    assert report["problems"]
    assert "problem" in text(artstore, "verify", code=5)
    assert len(data(artstore, "repair", code=5)["still_damaged"]) == 1

    assert "1 mended, 0 still damaged" in text(artstore, "repair", folder / "photos")
    assert data(artstore, "verify")["ok"]
    assert text(artstore, "cat", "cats", "c.txt") == "gamma\n"


def test_rebuild_gives_everything_back(artstore: Run) -> None:
    before = data(artstore, "log", "cats")
    report = data(artstore, "rebuild")

    assert (1, 2, []) == (report["projects"], report["versions"], report["lost"])
    assert before == data(artstore, "log", "cats")


def test_doctor_looks_at_the_ground(artstore: Run) -> None:
    checks = data(artstore, "doctor")

    assert any("sqlite" in check["name"].lower() for check in checks)
    assert all(line.startswith(("ok  ", "!!  ", "    ")) for line in text(artstore, "doctor").splitlines())


def test_backup_is_a_store(artstore: Run, folder: Path) -> None:
    assert str(folder / "copy") in text(artstore, "backup", folder / "copy")

    assert data(artstore, "verify", "--store", folder / "copy")["ok"]
    assert data(artstore, "log", "cats") == data(artstore, "log", "cats", "--store", folder / "copy")


# Begin ------------------------------------------------------------------------------------------------------------


def test_demo_works_on_a_sample_and_leaves_no_trace(artstore: Run, folder: Path) -> None:
    before = sorted(folder.iterdir())
    said = text(artstore, "demo")

    assert "all equal" in said
    assert "saved" in said
    assert before == sorted(folder.iterdir())
    assert len(data(artstore, "ls")) == 1


def test_demo_on_a_folder_only_reads_it(artstore: Run, folder: Path) -> None:
    before = {path: path.read_bytes() for path in (folder / "photos").rglob("*") if path.is_file()}
    outcome = data(artstore, "demo", "photos")

    assert before == {path: path.read_bytes() for path in (folder / "photos").rglob("*") if path.is_file()}
    assert ["added-by-the-demo.txt"] == [entry["path"] for entry in outcome["diff"]["added"]]
    assert ["a.txt"] == [entry["path"] for entry in outcome["diff"]["changed"]]
    assert (3, 4, 10) == (outcome["first"]["files"], outcome["second"]["files"], outcome["compared_files"])
    assert outcome["logical_bytes"] - outcome["stored_bytes"] == outcome["saved_bytes"]


def test_demo_twice_in_a_store_that_stays(artstore: Run, folder: Path) -> None:
    first = data(artstore, "demo", "--store", folder / ".artstore")
    again = data(artstore, "demo", "--store", folder / ".artstore")

    assert first["second"]["made"]
    assert not again["first"]["made"]
    assert not again["second"]["made"]
    assert [1, 1, 1] == [len(first["diff"][word]) for word in ("added", "removed", "renamed")]
    assert len(data(artstore, "log", "demo/tree")) == 2


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_a_script(artstore: Run, shell: str) -> None:
    assert "_ARTSTORE_COMPLETE" in text(artstore, "completion", shell)


def complete(folder: Path, line: str) -> list[str]:
    """What bash offers, and what it would write in place of its last word."""
    script = f"""
        {sys.executable} -m artstore completion bash > script.bash
        artstore() {{ :; }}
        source script.bash
        COMP_LINE={shlex.quote(line)}
        COMP_POINT=${{#COMP_LINE}}
        function=$(complete -p artstore | sed 's/.* -F \\([^ ]*\\) .*/\\1/')
        $function "$PWD/artstore" "" ""
        printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    starter = folder / "artstore"
    starter.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m artstore "$@"\n')
    starter.chmod(0o755)
    done = subprocess.run(["bash", "-c", script], cwd=folder, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return done.stdout.split()


@pytest.mark.usefixtures("store")
@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("artstore get ca", ["cats"]),
        ("artstore get cats:", ["latest", "v1", "v0"]),
        ("artstore get cats:v", ["v1", "v0"]),
        ("artstore show cats:l", ["latest"]),
        ("artstore show uncategorized/cats:v1", ["v1"]),
        ("artstore diff cats:v0 cats:v1", ["v1"]),
        ("artstore --json ls cats:lat", ["latest"]),
        ("artstore log cats:", []),
        ("artstore get dogs:", []),
        ("artstore get cats:v0:", []),
        ("artstore sta", ["status"]),
    ],
)
def test_bash_completes_versions_and_aliases(folder: Path, line: str, offered: list[str]) -> None:
    """bash takes `cats:v1` for three words, so the whole of it would be written behind the colon once more."""
    assert offered == complete(folder, line)


@pytest.mark.usefixtures("store")
@pytest.mark.parametrize(
    "words",
    [
        ("get", "cats", ""),
        ("put", "", "--name", "x", "--type", "t"),
        ("diff", "cats", ""),
        ("init", ""),
        ("backup", ""),
        ("repair", ""),
        ("demo", ""),
        ("--store", "", "ls"),
        ("get", "", "out"),
        ("ls", ""),
        ("cat", "cats", ""),
        ("find", ""),
        ("rename", "cats", ""),
        ("copy", "cats:v0", ""),
        ("alias", "cats:v0", ""),
        ("tag", "cats:v0", ""),
        ("prune", ""),
        ("log", ""),
        ("verify", ""),
        ("metadata", "cats:v0", ""),
        ("ttl", "cats:v0", ""),
        ("delete", ""),
    ],
)
def test_an_empty_word_means_nothing(artstore: Run, folder: Path, words: tuple[str, ...]) -> None:
    """An unset variable in a script must not become the working folder, or the latest version."""
    before = sorted(str(path) for path in folder.rglob("*"))
    done = artstore(*words)

    assert (done.returncode, done.stdout) == (2, "")
    assert "Traceback" not in done.stderr
    assert before == sorted(str(path) for path in folder.rglob("*"))


@pytest.mark.usefixtures("store")
def test_what_means_no_file_is_said(artstore: Run, folder: Path) -> None:
    """A typing error in a pattern wrote nothing, and a script went on."""
    for pattern in ("*.png", "", "[", "sub/none", "photos/"):
        done = artstore("get", "cats", "out", "--path", pattern)
        assert (done.returncode, "nothing was written" in done.stderr) == (3, True)
    assert artstore("get", "cats", "out", "--path", "*.txt").returncode == 0
    assert artstore("get", "cats", "out", "--path", "*.txt").returncode == 0
    done = artstore("cat", "cats:v0", "none")

    assert (done.returncode, done.stderr) == (3, "artstore: there is no file 'none' in uncategorized/cats:v0\n")
    assert (folder / "out" / "a.txt").read_bytes() == b"alpha\n"


@pytest.mark.usefixtures("store")
@pytest.mark.parametrize(
    "metadata",
    [
        '{"a": 1, "a": 2}',
        '{"a": {"b": 1, "b": 1}}',
        '{"a": [' + "[" * 50_000,
        '{"a": 1e999}',
        '{"a": NaN}',
        '{"\\ud800": 1}',
    ],
)
def test_metadata_that_would_be_changed_are_refused(artstore: Run, metadata: str) -> None:
    """D4. What two programs read in two ways is not recorded at all."""
    done = artstore("put", "photos", "--name", "dogs", "--type", "t", "--metadata", metadata)

    assert (done.returncode, done.stdout, "Traceback" in done.stderr) == (2, "", False)


@pytest.mark.usefixtures("store")
def test_a_project_that_cannot_be_is_no_empty_one(artstore: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A typing error looked like an empty store."""
    assert artstore("--project", "a b", "ls").returncode == 2
    assert "none in project 'nope'" in artstore("--project", "nope", "ls").stderr
    monkeypatch.setenv("ARTSTORE_PROJECT", "a/b")
    assert artstore("ls").returncode == 2


@pytest.mark.usefixtures("store")
def test_a_folder_that_is_not_there_is_not_taken_for_a_version(artstore: Run) -> None:
    for other in ("/nope", "./nope", "../nope"):
        done = artstore("diff", "cats", other)
        assert (done.returncode, done.stderr) == (2, f"artstore: {other.removeprefix('./')!r} is not a folder\n")


def test_a_process_ends_with_its_code_and_all_that_was_to_be_said(folder: Path) -> None:
    """It ends without taking itself apart, and yet nothing that waits in a buffer or for the exit is lost."""
    program = "import atexit, sys; atexit.register(print, 'last words'); from artstore.cli import run; run()"
    for words, code in ((["ls"], 0), (["show", "nobody"], 3), (["nonsense"], 2)):
        ended = subprocess.run(
            [sys.executable, "-c", program, *words], capture_output=True, text=True, check=False, cwd=folder
        )
        assert code == ended.returncode
        assert ended.stdout.endswith("last words\n")
        assert (code == 0) == (ended.stderr == "")


def test_names_are_kept_where_the_locale_is_not_utf8(artstore: Run, folder: Path) -> None:
    """N5. Read in the machine's own encoding they would be other names, and could not be written elsewhere."""
    (folder / "menu").mkdir()
    (folder / "menu" / "café.txt").write_bytes(b"noir")
    environment = {**os.environ, "LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    for words in (["put", "menu", "--name", "cafe", "--type", "t"], ["get", "cafe", "out-é"]):
        ended = subprocess.run(
            [sys.executable, "-m", "artstore", *words], capture_output=True, check=False, env=environment, cwd=folder
        )
        assert (0, b"") == (ended.returncode, ended.stderr)

    assert ["café.txt"] == [entry["path"] for entry in data(artstore, "ls", "cafe")]
    assert b"noir" == (folder / "out-é" / "café.txt").read_bytes()


def test_the_shell_completes_commands_and_names(folder: Path) -> None:
    def offered(*words: str) -> list[str]:
        environment = {
            **os.environ,
            "_ARTSTORE_COMPLETE": "bash_complete",
            "COMP_LINE": (line := " ".join(["artstore", *words])),
            "COMP_POINT": str(len(line)),
        }
        program = "import sys; from artstore.cli import main; sys.exit(main([]))"
        ended = subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, check=True, env=environment, cwd=folder
        )
        assert ended.stderr == ""
        return [line.partition(",")[2] for line in ended.stdout.splitlines() if line]

    assert ["rename", "retype", "remote", "resolve", "repair", "rebuild"] == offered("re")
    assert ["cats"] == offered("show", "c")
    assert ["uncategorized/cats"] == offered("--project", "zoo", "show", "")
    assert [] == offered("--store", "missing", "show", "c")
