"""Nobody gets in who must not, and what a store holds does nothing to who looks at it.

Each test is of one of the attacks that pages of artifact stores have known: scripts in names, metadata and files; other
sites that send requests, frame pages, or make their own name point here; files that are opened where they were
downloaded from.
"""

from __future__ import annotations

import base64
import html
import re
from collections.abc import Callable
from typing import Final

import pytest

from artstore.errors import ArtstoreError, Conflict, Invalid, Refused
from artstore.lifecycle.reports import VersionInfo
from artstore.server.listening import Address, read_token, serve
from artstore.store import Store
from tests.server.conftest import Door, opened

Keep = Callable[..., VersionInfo]

SCRIPT: Final = "\"><script>alert(1)</script><img src=x onerror=alert(1)>' onmouseover=alert(1) x="
TOKEN: Final = "a-long-word-of-chance"  # noqa: S105 - of this test
PAGES: Final = (
    "/",
    "/projects/zoo",
    "/projects/zoo/cats",
    "/projects/zoo/cats/v0",
    "/projects/zoo/cats/v0/lineage",
    "/projects/zoo/cats/v1/diff",
    "/runs",
    "/space",
    "/remotes",
    "/search?q=" + "%22%3E%3Cscript%3Ealert(1)%3C/script%3E",
    "/search?q=script",
    "/projects/zoo/%22%3E%3Cscript%3Ealert(1)%3C%2Fscript%3E",
    "/%22%3E%3Cscript%3Ealert(1)%3C%2Fscript%3E",
)


@pytest.fixture
def hostile(store: Store, keep: Keep) -> Store:
    """A store in which whatever takes text has a script."""
    path = SCRIPT.replace("/", "\N{DIVISION SLASH}")
    run = store.start_run(
        project="zoo", id=path, name=SCRIPT, job_type=SCRIPT, group=SCRIPT, notes=SCRIPT, config={SCRIPT: SCRIPT}
    )
    alias = SCRIPT.translate({ord(c): None for c in "/:@"})
    label = {"type": SCRIPT, "project": "zoo", "metadata": {SCRIPT: [SCRIPT], "text": SCRIPT}, "description": SCRIPT}
    files = {f"{path}.txt": b"1", f"{path}/{path}.html": SCRIPT.encode(), "a.json": b'["' + SCRIPT[2:].encode() + b'"]'}
    files["rows.csv"] = f"{SCRIPT[2:]},b\n{SCRIPT[2:]},2\n".encode()
    files["x.svg"] = b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'
    keep(files, **label, run=run.id, aliases=[alias])
    keep({**files, f"{path}.more": b"2"}, **label, run=run.id)
    return store


def test_no_text_of_a_store_becomes_markup(hostile: Store, door: Door) -> None:
    """W1: names, labels, metadata, paths, contents, and what was asked for are text, whatever they look like."""
    (run,) = hostile.runs()
    files = [f"/projects/zoo/cats/v0/files/{link}" for link in _links(door, "/projects/zoo/cats/v0")]
    for address in (*PAGES, *files, *_addresses(door, "/runs", "/run?")):
        page = door.get(address).text

        # The scripts of our own are the only ones, and there is no attribute that would run one.
        assert {"/static/page.js", "/static/lineage.js", "/static/dagre/dagre.min.js"} >= set(
            re.findall(r"<script[^>]* src=\"([^\"]*)\"", page)
        )
        assert len(re.findall(r"<script", page)) == len(re.findall(r"<script src=\"/static/", page)), address
        assert not re.findall(r"<(?!/)[^>\"]*(?:\"[^\"]*\"[^>\"]*)*\son\w+=", page), address
        assert "<img src=x" not in page
    assert run.name == SCRIPT


def _addresses(door: Door, page: str, start: str) -> list[str]:
    found = re.findall(r'href="([^"]*)"', door.get(page).text)
    return [html.unescape(link) for link in found if link.startswith(start)]


def _links(door: Door, version: str) -> list[str]:
    start = f"{version}/files/"
    return [link.removeprefix(start) for link in _addresses(door, f"{version}/files/", start)]


def test_text_that_turns_the_writing_around_is_shown_for_what_it_is(keep: Keep, door: Door) -> None:
    """What reads as `cute.png` must not end in `.exe`."""
    keep({"a": b"1"}, description="cute\u202egnp.exe\nand\x1b[2J more", metadata={"k\u2066ey": "v\u200b"})

    page = door.get("/projects/uncategorized/cats/v0").text

    assert "cute\\u202egnp.exe\nand\\x1b[2J more" in html.unescape(page)
    assert not re.search("[\u202a-\u202e\u2066-\u2069\u200b\x1b]", page)


@pytest.mark.parametrize("name", ["x.html", "x.svg", "x.pdf", "x.js", "sub/über\N{SNOWMAN} \"'%0d%0a;.html"])
def test_a_file_leaves_as_an_attachment_that_can_do_nothing(keep: Keep, door: Door, name: str) -> None:
    """W1, W8: opened from its address it would act as one of our own pages."""
    keep({name: b"<script>alert(1)</script>"})
    (address,) = [
        link.replace("/files/", "/raw/")
        for folder in ["", "sub/"]
        for link in _addresses(
            door, f"/projects/uncategorized/cats/v0/files/{folder}", "/projects/uncategorized/cats/v0/files/"
        )
        if "html" in link or link.endswith((".svg", ".pdf", ".js"))
    ][:1]

    found = door.get(address)

    assert (200, b"<script>alert(1)</script>") == (found.status, found.body)
    assert "application/octet-stream" == found.headers["content-type"]
    assert re.fullmatch(r"attachment; filename\*=UTF-8''[A-Za-z0-9._~%-]+", found.headers["content-disposition"])
    assert "sandbox; default-src 'none'; frame-ancestors 'none'" == found.headers["content-security-policy"]
    assert "nosniff" == found.headers["x-content-type-options"]


def test_only_pictures_that_hold_no_script_say_that_they_are_pictures(keep: Keep, door: Door) -> None:
    png = b"\x89PNG\r\n\x1a\n" + bytes(20)
    keep({"a.png": png, "b.png": b"<svg onload=alert(1)>", "c.txt": png})

    kinds = {
        name: door.get(f"/projects/uncategorized/cats/v0/raw/{name}").headers for name in ("a.png", "b.png", "c.txt")
    }

    assert {"a.png": "image/png", "b.png": "application/octet-stream", "c.txt": "image/png"} == {
        name: headers["content-type"] for name, headers in kinds.items()
    }
    assert all(headers["content-disposition"].startswith("attachment") for headers in kinds.values())


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 200),
        ("LOCALHOST:99", 200),
        ("127.0.0.1:8000", 200),
        ("[::1]:8000", 200),
        ("evil.example", 421),
        ("localhost.evil.example", 421),
        ("127.0.0.1.evil.example:80", 421),
        ("evil.example@localhost", 421),
        ("localhost/..", 421),
        ("10.0.0.7", 421),
        ("", 421),
    ],
)
@pytest.mark.parametrize("address", ["/", "/api/", "/static/style.css"])
def test_a_name_that_is_not_ours_is_not_answered(door: Door, address: str, host: str, status: int) -> None:
    """W2: a site whose name was made to point here would otherwise read everything through its visitors."""
    assert status == door.get(address, Host=host).status


def test_at_every_address_of_the_machine_names_are_still_not_ours(store: Store) -> None:
    with opened(store, any_address=True, token=TOKEN) as door:
        known = {"Authorization": f"Bearer {TOKEN}"}

        assert 200 == door.get("/", Host="10.0.0.7:80", **known).status
        assert 421 == door.get("/", Host="evil.example", **known).status


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_nothing_can_be_asked_for_but_to_be_shown(keep: Keep, door: Door, method: str) -> None:
    """W3: there is nothing here that another site could make a browser change."""
    keep({"a": b"1"})

    assert 405 == door.get("/projects/uncategorized/cats/v0", method=method).status


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "cors"}, 200),
        ({"Sec-Fetch-Site": "none", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}, 200),
        ({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}, 200),
        ({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "iframe"}, 403),
        ({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "image"}, 403),
        ({"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "cors", "Sec-Fetch-Dest": "empty"}, 403),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://localhost:8000"}, 403),
    ],
)
def test_a_page_of_another_site_can_link_here_and_no_more(door: Door, headers: dict[str, str], status: int) -> None:
    """W3, W4: it can neither send, nor embed, nor read."""
    answer = door.get("/", **headers)

    assert status == answer.status
    assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize(
    "address", ["/", "/api/", "/nothing", "/api/nothing", "/static/page.js", "/static/none", "/projects/zoo"]
)
def test_every_answer_says_that_it_is_not_to_be_framed_or_mixed(door: Door, address: str) -> None:
    """W5: errors and scripts too."""
    headers = door.get(address).headers

    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert "default-src 'none'" in headers["content-security-policy"]
    assert "unsafe" not in headers["content-security-policy"]
    assert ("DENY", "nosniff") == (headers["x-frame-options"], headers["x-content-type-options"])
    assert ("same-origin", "same-origin") == (
        headers["cross-origin-resource-policy"],
        headers["cross-origin-opener-policy"],
    )
    assert "set-cookie" not in headers


@pytest.mark.parametrize("address", ["0.0.0.0:0", "[::]:0"])
def test_other_machines_are_let_in_with_a_token_only(store: Store, address: str) -> None:
    """W6: who forgets that a machine has neighbours is told before they can look."""
    with pytest.raises(Refused, match="--token-file") as caught:
        serve(store, Address.parse(address), ready=pytest.fail)

    assert "needs-token" == caught.value.code


@pytest.mark.parametrize(
    ("address", "kind", "code"),
    [
        ("nowhere.invalid:80", Invalid, "bad-address"),
        ("192.0.2.1:80", Refused, "needs-token"),
        ("127.0.0.1:1", Conflict, "address-in-use"),
    ],
)
def test_an_address_that_cannot_be_had_is_an_error_in_words(
    store: Store, door: Door, address: str, kind: type[ArtstoreError], code: str
) -> None:
    wanted = address.replace("127.0.0.1:1", f"127.0.0.1:{door.port}")

    with pytest.raises(kind) as caught:
        serve(store, Address.parse(wanted), ready=pytest.fail)

    assert code == caught.value.code


@pytest.mark.parametrize(
    "text", ["", "80", ":80", "localhost", "localhost:x", "localhost:99999", "http://localhost:80", "a@b:80", "::1:80"]
)
def test_an_address_is_a_host_and_a_port(text: str) -> None:
    with pytest.raises(Invalid, match="HOST:PORT"):
        Address.parse(text)


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/static/../app.py", 404),
        ("/static/..%2fapp.py", 404),
        ("/static/%2e%2e/app.py", 404),
        ("/static//etc/passwd", 404),
        ("/projects/uncategorized/cats/v0/raw/../../../../../../etc/passwd", 400),
        ("/projects/uncategorized/cats/v0/raw/..%2f..%2fetc%2fpasswd", 400),
        ("/projects/uncategorized/cats/v0/files/%2e%2e/%2e%2e", 400),
        ("/projects/uncategorized/cats/v0/raw//etc/passwd", 400),
        ("/projects/..%2f..%2fetc/passwd", 404),
        ("/projects/uncategorized/cats/v0/files/a%00b", 400),
        ("//evil.example/%2e%2e", 404),
        ("/projects/", 404),
        ("/projects/uncategorized/cats/", 404),
        ("/runs/", 404),
    ],
)
def test_no_address_leads_to_a_file_of_the_machine_or_to_another_site(
    keep: Keep, door: Door, path: str, status: int
) -> None:
    """W7, W8: a path is a name in the catalog, and no answer sends anybody elsewhere."""
    keep({"a": b"1"})

    answer = door.get(path)

    assert status == answer.status
    assert "location" not in answer.headers
    assert b"root:" not in answer.body


@pytest.mark.parametrize("address", ["/", "/api/", "/static/page.js", "/projects/uncategorized/cats/v0/raw/a"])
def test_with_a_token_nobody_sees_anything_without_it(store: Store, keep: Keep, address: str) -> None:
    """W3, W9: not even that a name exists; and what was seen stays in no cache."""
    keep({"a": b"1"})
    basic = base64.b64encode(f"anybody:{TOKEN}".encode()).decode()
    with opened(store, token=TOKEN) as door:
        for given in (f"Bearer {TOKEN}", f"bearer {TOKEN}", f"Basic {basic}"):
            answer = door.get(address, Authorization=given)
            assert (200, "private, no-store") == (answer.status, answer.headers["cache-control"])
        for wrong in (
            "",
            "Bearer",
            f"Bearer {TOKEN}x",
            f"Bearer {TOKEN[:-1]}",
            f"Basic {TOKEN}",
            "Basic YTpi",
            f"Token {TOKEN}",
        ):
            assert 401 == door.get(address, Authorization=wrong).status
        refused = door.get(f"{address}?token={TOKEN}")
        assert (401, "private, no-store") == (refused.status, refused.headers["cache-control"])
        assert 'Basic realm="artstore"' in refused.headers["www-authenticate"]


@pytest.mark.parametrize("text", ["", "short", "two words of chance, long", "wörter-aus-lauter-zufall"])
def test_a_token_that_could_be_guessed_or_mangled_is_refused(store: Store, text: str) -> None:
    file = store.path.parent / "token"
    file.write_text(text)

    with pytest.raises(Invalid, match="16 or more"):
        read_token(file)


def test_a_token_is_what_stands_in_the_file(store: Store) -> None:
    file = store.path.parent / "token"
    file.write_text(f"{TOKEN}\n")

    assert TOKEN == read_token(file)
    with pytest.raises(ArtstoreError, match="no file with a token"):
        read_token(store.path)
