"""What the pages show is what the store has, and a program can have the same."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Callable

import pytest

from artstore.lifecycle.reports import VersionInfo
from artstore.model.manifest import reference
from artstore.server import looks
from artstore.store import Store
from tests.server.conftest import Door

Keep = Callable[..., VersionInfo]

CATS = {"a.txt": b"alpha\n", "images/tom.raw": b"\0" * 3000, "images/old/mimi.raw": b"\1" * 10}


def links_of(text: str) -> list[str]:
    found = re.findall(r'(?:href|src|action)="([^"#]*)"', text)
    return [html.unescape(link) for link in found]


@pytest.fixture
def full(store: Store, keep: Keep) -> Store:
    """A store with something of everything."""
    run = store.start_run(project="zoo", name="collect", job_type="collect", config={"from": "garden"})
    keep(CATS, project="zoo", run=run.id, metadata={"cute": True, "sizes": {"tom": 3}}, aliases=["best"], tags=["fine"])
    store.finish_run(run.id, project="zoo")
    train = store.start_run(project="zoo", name="train", group="night", notes="a first try\nand a second")
    store.use(train.id, "cats:v0", project="zoo")
    model = {"loss.json": json.dumps({"columns": ["epoch"], "data": [[1]]}).encode()}
    keep(model, name="net", type="model", project="zoo", run=train.id)
    store.link("zoo/net:v0", "zoo/chosen")
    keep({**CATS, "b.txt": b"beta\n"}, project="zoo", description="one more")
    keep({"x": b"1"}, name="words")
    return store


def test_the_json_of_a_version_is_what_the_command_line_prints(full: Store, door: Door) -> None:
    """One form for all programs: who can read one can read the other."""
    line = door.get("/api/projects/zoo/cats/v0").json["line"]

    assert full.version("zoo/cats:v0").ref == line["version"]["ref"]
    assert {"cute": True, "sizes": {"tom": 3}} == line["version"]["metadata"]
    assert (3, 3016) == (line["new_blobs"], line["new_bytes"])


def test_a_collection_is_shown_a_page_at_a_time_with_what_each_version_brought(
    store: Store, keep: Keep, door: Door
) -> None:
    for number in range(5):
        keep({"same": b"s" * 100, "own": b"%d" % number * 10})

    first = door.get("/api/projects/uncategorized/cats?limit=2").json
    second = door.get(f"/api/projects/uncategorized/cats?limit=2&before={first['next']}").json
    third = door.get(f"/api/projects/uncategorized/cats?limit=2&before={second['next']}").json

    assert store.collection("cats").versions == 5
    assert [[4, 3], [2, 1], [0]] == [
        [line["version"]["number"] for line in page["lines"]] for page in (first, second, third)
    ]
    assert [10, 110] == [first["lines"][0]["new_bytes"], third["lines"][0]["new_bytes"]]
    assert None is third["next"]
    assert "Older versions" in door.get("/projects/uncategorized/cats?limit=2").text


def test_a_large_folder_is_shown_a_page_at_a_time_and_nothing_twice(keep: Keep, door: Door) -> None:
    keep({f"{'sub/' if number % 7 == 0 else ''}{number:03}.txt": b"%d" % number for number in range(50)})
    seen: list[str] = []
    after: str | None = ""
    while after is not None:
        page = door.get(f"/api/projects/uncategorized/cats/v0/files/?limit=9&after={after}").json["folder"]
        assert len(page["folders"]) + len(page["files"]) <= 9
        seen += [*page["folders"], *(file["path"] for file in page["files"])]
        assert len(seen) <= 50
        after = page["next"]

    assert sorted(["sub", *(f"{n:03}.txt" for n in range(50) if n % 7)]) == sorted(seen)


@pytest.mark.parametrize(
    ("address", "status", "words"),
    [
        ("/nothing", 404, "no such page"),
        ("/projects/nope", 404, "no project"),
        ("/projects/uncategorized/cat", 404, "did you mean"),
        ("/projects/uncategorized/cats/v7", 404, "no version v7"),
        ("/projects/uncategorized/cats/v0/files/none", 404, "no folder"),
        ("/projects/uncategorized/cats?limit=-1", 400, "no number"),
        ("/projects/uncategorized/cats?before=v1", 400, "no number"),
        ("/run", 400, "which run"),
        ("/search?q=blake3:zz", 400, "no digest"),
    ],
)
def test_what_is_not_there_is_said_in_words(keep: Keep, door: Door, address: str, status: int, words: str) -> None:
    keep({"a": b"1"})

    page, data = door.get(address), door.get(f"/api{address}")

    assert (status, status) == (page.status, data.status)
    assert words in html.unescape(page.text)
    assert words in data.json["error"]["message"]


def test_damaged_bytes_are_an_error_and_never_shown(store: Store, keep: Keep, door: Door) -> None:
    keep({"a.txt": b"alpha beta gamma\n"})
    (pack,) = (store.path / "packs").rglob("*.tar")
    data = pack.read_bytes()
    pack.chmod(0o644)
    pack.write_bytes(data.replace(b"alpha beta", b"alpha xeta"))

    found = door.get("/projects/uncategorized/cats/v0/files/a.txt")

    assert 500 == found.status
    assert "damaged" in found.text
    assert "xeta" not in found.text


def test_a_file_is_downloaded_as_it_is_and_can_be_gone_on_with(keep: Keep, door: Door) -> None:
    data = bytes(range(256)) * 20_000
    version = keep({"sub/tom's cat.bin": data})
    address = "/projects/uncategorized/cats/v0/raw/sub/tom%27s%20cat.bin"

    whole = door.get(address)
    rest = door.get(address, Range="bytes=5000000-", If_Range=whole.headers["etag"])
    part = door.get(address, Range="bytes=1-3")
    other = door.get(address, Range="bytes=1-3", If_Range='"other"')

    assert version.files == 1
    assert (200, data) == (whole.status, whole.body)
    assert (206, data[5_000_000:], "bytes 5000000-5119999/5120000") == (
        rest.status,
        rest.body,
        rest.headers["content-range"],
    )
    assert (206, data[1:4]) == (part.status, part.body)
    assert (200, data) == (other.status, other.body)
    assert 416 == door.get(address, Range="bytes=9000000-").status
    assert (304, b"") == door.get(address, If_None_Match=whole.headers["etag"])[::2]
    known = door.get(address, method="HEAD")
    assert (200, b"", "5120000") == (known.status, known.body, known.headers["content-length"])


def test_what_a_reference_stands_for_is_named_and_not_fetched(store: Store, door: Door) -> None:
    store.put(
        [],
        name="far",
        type="dataset",
        references=[reference("a.txt", "file:///etc/passwd", checksum="5d41", size=5, extra={})],
    )

    page = door.get("/projects/uncategorized/far/v0/files/a.txt")

    assert 200 == page.status
    assert "file:///etc/passwd" in page.text
    assert not [link for link in links_of(page.text) if "passwd" in link]
    assert 400 == door.get("/projects/uncategorized/far/v0/raw/a.txt").status


def test_a_lineage_says_where_each_of_its_nodes_is(full: Store, door: Door) -> None:
    look = door.get("/api/projects/zoo/net/v0/lineage").json

    labels = [(node["run"] or node["version"])["name"] for node in look["report"]["nodes"]]
    assert {"net:v0", "cats:v0", "train", "collect"} == set(labels)
    assert len(look["report"]["edges"]) == 3
    assert all(200 == door.get(address).status for address in look["addresses"].values())
    assert full.lineage("zoo/net:v0").start == look["report"]["start"]


def test_a_lineage_too_large_to_be_looked_at_is_shown_around_the_version(
    full: Store, door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(looks, "NODES", 3)

    look = door.get("/api/projects/zoo/net/v0/lineage").json

    assert (3, 1, 2) == (len(look["report"]["nodes"]), look["left_out"], len(look["report"]["edges"]))
    assert "1 more thing" in door.get("/projects/zoo/net/v0/lineage").text
    assert [look["report"]["start"]] == [
        node["key"] for node in door.get("/api/projects/zoo/net/v0/lineage?steps=0").json["report"]["nodes"]
    ]
    assert full.lineage("zoo/net:v0").loops == []


def test_changes_are_those_since_the_version_before_or_any_other(full: Store, door: Door) -> None:
    look = door.get("/api/projects/zoo/cats/v1/diff").json
    itself = door.get("/api/projects/zoo/cats/v1/diff?before=1").json

    assert (0, 1) == (look["before"]["number"], look["counts"]["added"])
    assert "b.txt" == look["report"]["added"][0]["path"]
    assert 4 == itself["report"]["unchanged"]
    assert None is door.get("/api/projects/zoo/cats/v0/diff").json["before"]
    assert full.version("zoo/cats:v1").description == "one more"


def test_the_space_page_draws_what_was_kept_once(full: Store, door: Door) -> None:
    look = door.get("/api/space").json
    page = door.get("/space").text

    assert full.du().stored_bytes == look["usage"]["stored_bytes"] == look["growth"][-1]["stored_bytes"]
    assert full.du().logical_bytes == look["growth"][-1]["logical_bytes"]
    assert 'class="stored" d="M0 1000' in page
