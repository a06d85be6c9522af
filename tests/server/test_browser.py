"""In a real browser: pages open, links go where they say, the lineage is drawn, and a hostile store runs nothing."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Dialog, Page, expect, sync_playwright

from artstore.lifecycle.reports import VersionInfo
from artstore.store import Store
from tests.server.conftest import Door, opened
from tests.server.pictures import png
from tests.servers import needed
from tests.sync.conftest import Machine

Keep = Callable[..., VersionInfo]

ARGUMENTS: Final = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Debian's Chromium."""
    program = needed("chromium", to_install="apt-get install chromium")
    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=program, args=list(ARGUMENTS))
        yield found
        found.close()


class Watched:
    """A page, and what it did that it should not."""

    def __init__(self, page: Page, door: Door) -> None:
        self.page = page
        self._door = door
        self.complaints: list[str] = []
        self.foreign: list[str] = []
        page.on("console", self._hear)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("dialog", self._dismiss)
        page.on("request", lambda asked: None if asked.url.startswith(door.url) else self.foreign.append(asked.url))

    def _hear(self, said: ConsoleMessage) -> None:
        if said.type in {"error", "warning"}:
            self.complaints.append(said.text)

    def _dismiss(self, dialog: Dialog) -> None:
        self.complaints.append(f"a dialog: {dialog.message}")
        dialog.dismiss()

    def open(self, address: str) -> Page:
        """Go to an address and wait until everything is loaded."""
        self.page.goto(self._door.url + address, wait_until="networkidle")
        return self.page


@pytest.fixture
def seen(browser: Browser, door: Door) -> Iterator[Watched]:
    """A page of the store's, which must not complain nor ask anybody else for anything."""
    context = browser.new_context(viewport={"width": 1200, "height": 800})
    watched = Watched(context.new_page(), door)
    yield watched
    context.close()

    assert [] == watched.complaints
    assert [] == watched.foreign


@pytest.fixture
def trained(store: Store, keep: Keep) -> Store:
    """Photos, a model made of them, and its evaluation."""
    collect = store.start_run(project="pets", name="collect")
    photos = {"images/tom.png": png(40, 30), "labels.csv": b"name,cute\nTom,0.9\nMimi,1\n", "README.md": b"# Cats\n"}
    keep(photos, name="photos", project="pets", run=collect.id, aliases=["raw"], metadata={"cats": 2})
    train = store.start_run(project="pets", name="train-otter")
    store.use(train.id, "photos:v0", project="pets")
    loss = b'{"columns": ["epoch", "loss"], "data": [[0, 1.5], [1, 0.25]]}'
    keep({"loss.json": loss}, name="net", type="model", project="pets", run=train.id)
    evaluate = store.start_run(project="pets", name="evaluate")
    store.use(evaluate.id, "net:v0", project="pets")
    keep({"report.txt": b"fine\n"}, name="report", type="result", project="pets", run=evaluate.id)
    return store


def test_a_conflict_is_found_from_the_first_page_and_its_command_is_copied(tmp_path: Path, browser: Browser) -> None:
    depot = tmp_path / "depot"
    depot.mkdir()
    a, b = Machine(tmp_path, depot, "a"), Machine(tmp_path, depot, "b")
    for each, data in ((a, b"theirs"), (b, b"mine")):
        each.put({"x": data}, aliases=["best"])
    a.push()
    b.push()
    with opened(b.store) as door:
        context = browser.new_context(viewport={"width": 1200, "height": 800})
        context.grant_permissions(["clipboard-read", "clipboard-write"], origin=door.url)
        watched = Watched(context.new_page(), door)
        page = watched.open("/")
        page.get_by_role("link", name="decide what becomes of it").click()
        expect(page.get_by_text("alias cats:best to v1, which stands on v0")).to_be_visible()
        page.get_by_role("button", name=re.compile("--mine$")).click()
        expect(page.locator(".command.copied")).to_be_visible()

        assert re.fullmatch("artstore resolve [0-9a-f]{12} --mine", page.evaluate("navigator.clipboard.readText()"))
        page.get_by_role("link", name="v1", exact=True).click()
        expect(page.get_by_role("heading", level=1)).to_contain_text("cats:v1")
        assert ([], []) == (watched.complaints, watched.foreign)
        context.close()
    for each in (a, b):
        each.store.close()


def test_from_the_first_page_to_a_file_by_its_links(trained: Store, seen: Watched) -> None:
    page = seen.open("/")
    expect(page.get_by_text(str(trained.path))).to_be_visible()

    page.get_by_role("link", name="photos", exact=True).click()
    expect(page).to_have_url(re.compile("/projects/pets/photos$"))
    page.get_by_role("link", name="v0", exact=True).click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("photos:v0")
    expect(page.get_by_text("artstore get pets/photos:v0 photos")).to_be_visible()
    page.get_by_role("link", name="labels.csv").click()
    expect(page.get_by_role("cell", name="Mimi")).to_be_visible()
    page.get_by_role("link", name="photos:v0", exact=True).click()
    page.get_by_role("link", name="images/").click()
    page.get_by_role("link", name="tom.png").click()
    picture = page.get_by_role("img", name="images/tom.png")
    expect(picture).to_be_visible()
    assert [40, 30] == picture.evaluate("it => [it.naturalWidth, it.naturalHeight]")


def test_a_file_is_downloaded_and_not_opened(trained: Store, seen: Watched) -> None:
    page = seen.open("/projects/pets/photos/v0/files/README.md")
    expect(page.get_by_text("# Cats")).to_be_visible()

    with page.expect_download() as waiting:
        page.get_by_role("link", name="Download").click()

    assert "README.md" == waiting.value.suggested_filename
    assert b"".join(trained.read("pets/photos:v0", "README.md")) == waiting.value.path().read_bytes()


def test_the_lineage_is_drawn_and_every_node_is_a_link(trained: Store, seen: Watched) -> None:
    page = seen.open("/projects/pets/net/v0/lineage")
    nodes = page.locator("#lineage a.node")
    expect(nodes).to_have_count(6)

    places = {
        label: box["x"]
        for label in ("collect", "photos:v0", "train-otter", "net:v0", "evaluate", "report:v0")
        if (box := nodes.filter(has_text=label).first.bounding_box())
    }
    assert ["collect", "photos:v0", "train-otter", "net:v0", "evaluate", "report:v0"] == sorted(
        places, key=places.__getitem__
    )
    assert 5 == page.locator("#lineage path.edge").count()
    nodes.filter(has_text="report:v0").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("report:v0")
    assert trained.version("pets/report:v0").number == 0


def test_the_drawing_is_moved_by_dragging_the_keys_and_the_wheel(trained: Store, seen: Watched) -> None:
    page = seen.open("/projects/pets/net/v0/lineage")
    drawing = page.locator("#lineage svg")
    expect(drawing).to_be_visible()
    views = [drawing.get_attribute("viewBox")]

    box = drawing.bounding_box()
    assert box is not None
    # Dragged by a node: that is no click.
    node = page.locator("#lineage a.node.start").bounding_box()
    assert node is not None
    page.mouse.move(node["x"] + 10, node["y"] + 10)
    page.mouse.down()
    page.mouse.move(node["x"] + 60, node["y"] + 30, steps=4)
    page.mouse.up()
    views.append(drawing.get_attribute("viewBox"))
    drawing.focus()
    page.keyboard.press("ArrowRight")
    views.append(drawing.get_attribute("viewBox"))
    page.keyboard.press("+")
    views.append(drawing.get_attribute("viewBox"))

    assert len(set(views)) == 4
    assert page.url.endswith("/lineage")
    assert trained.projects() == ["pets"]


def test_without_scripts_everything_is_there(trained: Store, browser: Browser, door: Door) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(f"{door.url}/projects/pets/net/v0/lineage")

    page.get_by_role("link", name="pets/report:v0").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("report:v0")
    page.get_by_role("searchbox").fill("train")
    page.keyboard.press("Enter")
    expect(page.get_by_role("link", name="train-otter")).to_be_visible()
    context.close()
    assert trained.projects() == ["pets"]


def test_the_search_is_at_the_slash_key_and_finds(trained: Store, seen: Watched) -> None:
    page = seen.open("/runs")
    page.keyboard.press("/")
    page.keyboard.type("tom")
    page.keyboard.press("Enter")

    expect(page.get_by_role("link", name="images/tom.png")).to_be_visible()
    assert trained.search("tom").files


def test_a_snippet_is_copied(trained: Store, seen: Watched, door: Door) -> None:
    seen.page.context.grant_permissions(["clipboard-read", "clipboard-write"], origin=door.url)
    page = seen.open("/projects/pets/photos/v0")
    page.get_by_role("button", name="Copy").first.click()
    expect(page.locator(".snippet .copied")).to_be_visible()

    assert "artstore get pets/photos:v0 photos" == page.evaluate("navigator.clipboard.readText()")
    page.locator("button.digest").first.click()
    assert page.evaluate("navigator.clipboard.readText()").startswith("blake3:")
    assert trained.projects() == ["pets"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1200])
def test_a_page_is_as_wide_as_what_it_is_read_on(
    trained: Store, browser: Browser, door: Door, width: int, scheme: str
) -> None:
    """Nothing stands out at the side of a phone, and text is told from its ground in both colour schemes."""
    context = browser.new_context(viewport={"width": width, "height": 700})
    page = context.new_page()
    page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
    pages = (
        "/",
        "/projects/pets/photos",
        "/projects/pets/photos/v0",
        "/projects/pets/net/v0/lineage",
        "/runs",
        "/space",
        "/remotes",
        f"/projects/pets/{'x' * 90}",  # An error whose message has a long name.
    )
    for address in (*pages, "/projects/pets/net/v0/diff", "/projects/pets/photos/v0/files/labels.csv", "/search?q=t"):
        page.goto(door.url + address, wait_until="networkidle")
        assert width == page.evaluate("document.documentElement.scrollWidth"), address
        ink, paper = page.evaluate(
            "[getComputedStyle(document.body).color, getComputedStyle(document.body).backgroundColor]"
        )
        assert 150 < abs(_lightness(ink) - _lightness(paper))
    context.close()
    assert trained.projects() == ["pets"]


def _lightness(colour: str) -> float:
    red, green, blue = map(int, re.findall(r"\d+", colour)[:3])
    return 0.2 * red + 0.7 * green + 0.1 * blue


def test_a_hostile_store_runs_no_script(store: Store, keep: Keep, seen: Watched) -> None:
    """The page would say it with a dialog, an error, or a request to another host."""
    attack = "\"'><img src=//evil.example/x onerror=alert(1)><script>alert(2)</script><svg onload=alert(3)>{{7*7}}"
    path = attack.replace("/", "\N{DIVISION SLASH}")
    run = store.start_run(
        project="zoo", name=attack, job_type=attack, group=attack, notes=attack, config={attack: attack}
    )
    page_of_its_own = f"<html><body onload=alert(4)>{attack}</body></html>".encode()
    files = {
        f"{path}.html": page_of_its_own,
        "x.svg": b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(5)'/>",
        "t.json": b'{"columns": ["%s"], "data": [["%s"]]}' % ((b"<script>alert(6)</script>",) * 2),
        "t.csv": b"a,b\n<img src=x onerror=alert(7)>,javascript:alert(8)\n",
        "fake.png": page_of_its_own,
    }
    version = keep(
        files, type=attack, project="zoo", run=run.id, description=attack, metadata={attack: attack, "l": [attack]}
    )
    other = store.start_run(project="zoo", name=attack)
    store.use(other.id, version.ref, project="zoo")
    keep({"a": b"1"}, name="made", type="model", project="zoo", run=other.id)
    start = "/projects/zoo/cats/v0"
    for address in (
        "/",
        "/projects/zoo",
        "/projects/zoo/cats",
        start,
        f"{start}/lineage",
        f"{start}/diff",
        "/runs",
        "/space",
        "/remotes",
        "/search?q=alert",
        "/search?q=%22%3E%3Cscript%3Ealert(9)%3C/script%3E",
        f"{start}/%3Cscript%3Ealert(9)",
    ):
        page = seen.open(address)
        if address.endswith("%3Cscript%3Ealert(9)"):
            # That there is none is told by the browser as well.
            assert all("404" in complaint for complaint in seen.complaints)
            seen.complaints.clear()
    seen.open(f"{start}/files/")
    names = page.locator("td.name a").all_text_contents()
    assert len(names) == 5
    for name in names:
        seen.open(f"{start}/files/")
        page.locator("td.name a").filter(has_text=name).first.click()
        page.wait_for_load_state("networkidle")
        expect(page.get_by_role("link", name="Download")).to_be_visible()
    seen.open(f"{start}/lineage")
    expect(page.locator("#lineage a.node").filter(has_text="<img").first).to_be_visible()
    page.locator("#lineage a.node.run").first.click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("<script>alert(2)</script>")


def test_a_page_of_another_site_can_do_nothing_with_ours(trained: Store, browser: Browser, door: Door) -> None:
    """W3, W5: neither frame it, nor read it, nor show its pictures; a link is all that it has."""
    address = f"{door.url}/projects/pets/photos/v0"
    picture = f"{address}/raw/images/tom.png"
    context = browser.new_context()
    page = context.new_page()
    page.route("http://other.example/**", lambda route: route.fulfill(body="<p>here</p>", content_type="text/html"))
    page.goto("http://other.example/")
    found = page.evaluate(
        """async ([address, picture]) => {
            const loads = (name, src) => new Promise((done) => {
                const it = document.createElement(name);
                it.onload = () => done("loaded"); it.onerror = () => done("refused");
                it.src = src; document.body.append(it);
            });
            const read = (url, options) => fetch(url, options).then(() => "read", () => "refused");
            return [await loads("img", picture), await loads("script", address), await read(address),
                await read(address, {mode: "no-cors"}), await read(address, {method: "POST"})];
        }""",
        [address, picture],
    )
    page.evaluate(
        "address => { const it = document.createElement('iframe'); it.src = address; document.body.append(it); }",
        address,
    )
    page.wait_for_timeout(500)
    framed = [frame for frame in page.frames if frame != page.main_frame]

    assert ["refused"] * 5 == found
    assert all("photos" not in frame.content() for frame in framed)
    page.evaluate("address => { location = address }", address)
    expect(page.get_by_role("heading", level=1)).to_contain_text("photos:v0")
    context.close()
    assert trained.projects() == ["pets"]


def test_with_a_token_a_browser_asks_for_it_and_then_shows_everything(trained: Store, browser: Browser) -> None:
    with opened(trained, token="a-long-word-of-chance") as door:  # noqa: S106 - of this test
        context = browser.new_context(http_credentials={"username": "me", "password": "a-long-word-of-chance"})
        watched = Watched(context.new_page(), door)
        page = watched.open("/projects/pets/net/v0/lineage")

        expect(page.locator("#lineage a.node")).to_have_count(6)
        assert [] == watched.foreign
        context.close()
        stranger = browser.new_context()
        assert 401 == stranger.request.get(door.url).status
        stranger.close()
