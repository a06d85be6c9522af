"""A page and its JSON are one thing twice: what a person can see, a program can have."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_type_hints
from urllib.parse import unquote, urlsplit

import msgspec
import pytest
from starlette.requests import Request
from starlette.routing import compile_path

from artstore.lifecycle.reports import VersionInfo
from artstore.server import pages
from artstore.server.app import VIEWS, View
from artstore.server.looks import SearchLook
from artstore.store import Store
from tests.server.conftest import Door, opened
from tests.server.pictures import png
from tests.sync.conftest import Machine

Keep = Callable[..., VersionInfo]

ADDRESSES = [(compile_path(view.address)[0], view) for view in VIEWS]


def view_of(path: str) -> View:
    return next(view for pattern, view in ADDRESSES if pattern.match(path))


def drawn(view: View, look: Any, address: str) -> str:
    """A page, as it is made of a value."""
    parts = urlsplit(address)
    scope = {"type": "http", "path": unquote(parts.path), "query_string": parts.query.encode(), "headers": []}
    return pages.render(view.template, look, Request({**scope, "server": ("127.0.0.1", 80), "scheme": "http"}))


def check_twins(door: Door, start: str) -> set[str]:
    """Follow every link from here, and compare each page with what is made of its JSON; answers the links.

    A link that leads nowhere is a promise that is broken when somebody needs it.
    """
    seen, waiting = {start}, [start]
    while waiting:
        address = waiting.pop()
        answer = door.get(address)
        assert (address, 200) == (address, answer.status)
        path = unquote(urlsplit(address).path)
        if "/raw/" in path or path.startswith("/static/"):
            continue
        links = {html.unescape(link) for link in re.findall(r'(?:href|src|action)="([^"#]*)"', answer.text)}
        # How far a lineage goes can be doubled without end; the twins are asked for below.
        new = {link for link in links if not re.search(r"^/api/|steps=(?!2\b)", link)} - seen
        seen |= new
        waiting += sorted(new)
        assert f"/api{address}" in links
        twin = door.get(f"/api{address}")
        assert "application/json" == twin.headers["content-type"]
        view = view_of(path)
        kind = get_type_hints(view.look)["return"]
        assert answer.text == drawn(view, msgspec.json.decode(twin.body, type=kind), address)
    assert all(link.startswith("/") and not link.startswith("//") for link in seen)
    return seen


def views_in(addresses: set[str]) -> set[str]:
    paths = (unquote(urlsplit(address).path) for address in addresses)
    return {view_of(path).template for path in paths if "/raw/" not in path and not path.startswith("/static/")}


def test_every_page_can_be_made_of_its_json_alone(store: Store, keep: Keep, door: Door) -> None:
    """Whoever sees a figure on a page, and wants it in a script, must not have to read HTML."""
    run = store.start_run(project="zoo", name="collect", job_type="collect", config={"from": "garden"}, tags=["night"])
    files = {
        "a.txt": b"alpha\n",
        "t.csv": b"a,b\n1,2\n",
        "t.json": json.dumps({"columns": ["x"], "data": [[1]]}).encode(),
        "deep/er/p.png": png(3, 2),
        "b.bin": b"\0\1",
        "100%25?#.txt": b"its own name, not a quoted one\n",
    }
    keep(
        files, project="zoo", run=run.id, metadata={"cute": True, "sizes": {"tom": 3}}, aliases=["best"], tags=["fine"]
    )
    store.finish_run(run.id, project="zoo")
    train = store.start_run(project="zoo", name="train", group="g", notes="a first try\nand a second")
    store.use(train.id, "cats:v0", project="zoo")
    keep({"w": b"1"}, name="net", type="model", project="zoo", run=train.id)
    store.link("zoo/net:v0", "zoo/chosen")
    keep({**files, "a.txt": b"beta\n", "c": b"3"}, project="zoo", description="one more\nline", ttl_s=5e6)

    seen = check_twins(door, "/")
    for asked in ("/search?q=a", "/search?q=cute"):
        twin = msgspec.json.decode(door.get(f"/api{asked}").body, type=SearchLook)
        assert door.get(asked).text == drawn(view_of("/search"), twin, asked)

    assert {view.template for view in VIEWS} == views_in(seen)
    assert {"/runs", "/space", "/remotes", "/projects/zoo/cats/v1/files/deep/er/p.png"} <= seen


def test_so_can_the_pages_of_a_store_that_follows_others(tmp_path: Path) -> None:
    depot = tmp_path / "depot"
    depot.mkdir()
    a, b = Machine(tmp_path, depot, "a"), Machine(tmp_path, depot, "b")
    a.put({"x": b"0"})
    a.push()
    b.pull()
    a.put({"x": b"a"}, aliases=["best"])
    b.put({"x": b"b"}, aliases=["best"])
    a.push()
    b.push()
    b.put({"x": b"c"})

    with opened(b.store) as door:
        assert {"/remotes", "/projects/uncategorized/cats/v1/diff"} <= check_twins(door, "/")
    for each in (a, b):
        each.store.close()


@pytest.mark.parametrize("view", VIEWS, ids=lambda view: view.template)
def test_every_page_is_one_of_a_value_and_a_template(view: View) -> None:
    hints = get_type_hints(view.look)

    assert ["store", "asked", "return"] == list(hints)
    assert issubclass(hints["return"], msgspec.Struct)
