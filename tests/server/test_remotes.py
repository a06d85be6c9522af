"""What the pages say of other places: how far they were followed, and what a person has to decide."""

from __future__ import annotations

import html
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from artstore.errors import Unreachable
from artstore.store import Store
from artstore.sync.rounds import exchange
from tests.server.conftest import Door, opened
from tests.sync.conftest import Machine


@pytest.fixture
def depot(tmp_path: Path) -> Path:
    """An empty folder that all machines see."""
    folder = tmp_path / "depot"
    folder.mkdir()
    return folder


@pytest.fixture
def pair(tmp_path: Path, depot: Path) -> Iterator[tuple[Machine, Machine]]:
    """Two machines that have `cats:v0`, which was made on the first."""
    a, b = Machine(tmp_path, depot, "a"), Machine(tmp_path, depot, "b")
    a.put({"x": b"0"})
    a.push()
    b.pull()
    yield a, b
    for each in (a, b):
        each.store.close()


def both_make_v1(pair: tuple[Machine, Machine]) -> None:
    """Both make a version and put `best` on it; the first machine is faster."""
    a, b = pair
    a.put({"x": b"theirs"}, aliases=["best"])
    b.put({"x": b"mine"}, aliases=["best"])
    a.push()
    b.push()


def commands_on(page: str) -> list[str]:
    return [html.unescape(each) for each in re.findall(r'class="command" data-copy="([^"]*)"', page)]


def test_a_store_that_stands_alone_is_told_how_it_need_not(store: Store, door: Door) -> None:
    assert store.following() == []

    page = door.get("/remotes")

    assert 200 == page.status
    assert "This store stands alone" in page.text
    assert "artstore remote add hub" in page.text
    assert {"remotes": [], "projects": [], "conflicts": [], "moved": []} == door.get("/api/remotes").json


def test_what_waits_to_be_sent_is_counted(pair: tuple[Machine, Machine]) -> None:
    _a, b = pair
    b.put({"x": b"more"})

    with opened(b.store) as door:
        look = door.get("/api/remotes").json
        page = door.get("/remotes").text
        versions = door.get("/projects/uncategorized/cats").text

    (remote,), (project,) = look["remotes"], look["projects"]
    assert ("hub", True, 1, 4) == tuple(remote[k] for k in ("name", "upstream", "waiting_versions", "waiting_bytes"))
    assert ("uncategorized", 1, 1) == tuple(project[key] for key in ("project", "slot", "pending_ops"))
    assert b.store.following()[0].log == project["log"]
    assert "1 version of 4 B" in page
    assert 1 == versions.count(">local</span>"), "v1 is nobody else's yet"


def test_a_remote_that_is_not_reached_says_so_and_since_when(pair: tuple[Machine, Machine], depot: Path) -> None:
    """The page of a laptop on a train opens as at home."""
    _a, b = pair
    shutil.rmtree(depot)
    with pytest.raises(Unreachable):
        exchange(b.store, "pull")

    with opened(b.store) as door:
        page = door.get("/remotes").text

    assert "not reached</span> since <time" in page
    assert f"file://{depot}" in page
    assert "Why</dt>" in page


def test_what_a_remote_said_is_text(pair: tuple[Machine, Machine]) -> None:
    """W1: the words of a failure may be those of somebody else's server."""
    _a, b = pair
    script = "<script>alert(1)</script>"
    (b.store.path / "sync" / "hub.standing").write_text(json.dumps({"failed_at": 1.0, "failure": script}))

    with opened(b.store) as door:
        assert script == door.get("/api/remotes").json["remotes"][0]["failure"]
        page = door.get("/remotes").text

    assert script not in page
    assert script in html.unescape(page)


def test_a_conflict_is_shown_with_the_commands_that_settle_it(pair: tuple[Machine, Machine]) -> None:
    both_make_v1(pair)
    _a, b = pair
    (conflict,) = b.store.conflicts()

    with opened(b.store) as door:
        page, home = door.get("/remotes").text, door.get("/").text
        assert "alias cats:best to v2, which stands on v1" in page
        id_ = conflict.id.removeprefix("blake3:")[:12]
        assert [f"artstore resolve {id_} --mine", f"artstore resolve {id_} --theirs"] == commands_on(page)[:2]
        assert "1 change of this store could not be made" in html.unescape(home)
        b.store.keep_mine(id_)
        assert "artstore resolve" not in door.get("/remotes").text
        assert "could not be made" not in door.get("/").text


def test_a_number_that_moved_leads_to_what_others_see_and_says_so(pair: tuple[Machine, Machine]) -> None:
    """A page that shows other bytes under an old address without a word misleads; so does a link that opens nothing."""
    both_make_v1(pair)
    _a, b = pair
    start = "/projects/uncategorized/cats/v1"

    with opened(b.store) as door:
        for address in (start, f"{start}/files/x", f"{start}/files/", f"{start}/lineage", f"{start}/diff"):
            page = door.get(address)
            assert (200, address) == (page.status, address)
            assert "On this machine v1 was another version" in page.text
            assert ["artstore numbers accept uncategorized/cats"] == commands_on(page.text)
        assert b"theirs" == door.get(f"{start}/raw/x").body
        assert b"mine" == door.get(f"{start.replace('v1', 'v2')}/raw/x").body
        assert "On this machine" not in door.get(start.replace("v1", "v2")).text
        assert 1 == door.get(f"/api{start.replace('v1', 'v2')}/diff").json["before"]["number"]
        b.store.accept_numbers(["cats"])
        assert "On this machine" not in door.get(start).text


def test_what_is_only_elsewhere_is_not_called_saved_and_not_fetched_to_be_looked_at(
    pair: tuple[Machine, Machine],
) -> None:
    """Who reads "99 % saved" of an empty laptop believes it; and a page that is opened must not fetch terabytes."""
    _a, b = pair
    start = "/projects/uncategorized/cats/v0"

    with opened(b.store) as door:
        home, space = door.get("/api/").json["status"], door.get("/api/space").json["usage"]
        assert (0, 1, 1.0) == (home["stored_bytes"], home["absent_bytes"], home["dedup_ratio"])
        assert (1, 1) == (space["stored_bytes"], space["absent_bytes"])
        assert "0 %" in door.get("/").text
        assert "absent" == door.get(f"/api{start}/files/x").json["preview"]["kind"]
        assert "fetches them from a remote" in door.get(f"{start}/files/x").text
        assert 1 == door.get("/api/").json["status"]["absent_bytes"]
    with Store.open(b.store.path) as other, opened(other) as door:
        assert b"0" == door.get(f"{start}/raw/x").body
        assert "text" == door.get(f"/api{start}/files/x").json["preview"]["kind"]
        assert 0 == door.get("/api/").json["status"]["absent_bytes"]
