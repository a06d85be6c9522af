"""Pages: when a browser shows the first of what it was asked for, in a store with much in it."""

from __future__ import annotations

import io
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from artstore.store import Store
from benchmarks.measure import Failed, Series
from benchmarks.rows import Row, plain
from benchmarks.volumes import Volume

VERSIONS: Final = 10_000
FILES: Final = 100_000
RUNS: Final = 5_000
_ARGUMENTS: Final = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking")
_PAGES: Final = {
    "home": ("the first page", "/"),
    "versions": ("the last of {versions:,} versions, each with what it brought", "/projects/bench/versions"),
    "version": ("a version of {files:,} files", "/projects/bench/files/v0"),
    "folder": ("a folder of {half:,} files", "/projects/bench/files/v0/files/flat"),
    "changes": ("what changed in a version of {files:,} files", "/projects/bench/files/v1/diff"),
    "runs": ("the last of {runs:,} runs", "/runs"),
    "remotes": ("remotes, in a store that has none", "/remotes"),
    "search": ("a search by a part of a path", "/search?q=00042"),
    "space": ("where the space goes", "/space"),
}


def is_possible() -> bool:
    """Whether there is a browser, and what drives it."""
    return shutil.which("chromium") is not None and find_spec("playwright") is not None


def measure(volume: Volume, laps: int, *, is_quick: bool) -> list[Row]:
    """The rows of the workload `pages`; in every lap `artstore ui` is started anew, and knows nothing of the last."""
    scale = 100 if is_quick else 1
    versions, files, runs = VERSIONS // scale, FILES // scale, RUNS // scale
    store = volume.root / "store"
    _fill(store, versions, files, runs)
    seconds: dict[str, list[float]] = {name: [] for name in _PAGES}
    with _browser() as browser:
        for lap in range(laps + 1):
            context = browser.new_context()
            page = context.new_page()
            with _answering(store) as url:
                for name, (_, address) in _PAGES.items():
                    painted_s = _painted_s(page, url + address)
                    if lap:
                        seconds[name].append(painted_s)
            context.close()
    return [
        plain(
            "pages",
            f"page {name}",
            f"first paint of {title.format(versions=versions, files=files, half=files // 2, runs=runs)}",
            "s",
            Series(tuple(seconds[name])),
        )
        for name, (title, _) in _PAGES.items()
    ]


def _fill(place: Path, versions: int, files: int, runs: int) -> None:
    with Store.init(place) as store:
        for number in range(runs):
            store.start_run(project="bench", name=f"run-{number}", job_type="train", config={"seed": number})
        for number in range(versions):
            with store.draft() as draft:
                draft.add_stream(io.BytesIO(b"same"), "same.bin")
                draft.add_stream(io.BytesIO(b"%d" % number), "own.bin")
                metadata = {"step": number, "loss": 1 / (number + 1)}
                store.commit(draft, name="versions", type="model", project="bench", metadata=metadata)
        for change in range(2):
            with store.draft() as draft:
                for number in range(files):
                    folder = "flat" if number < files // 2 else f"deep/{number // 1000:03}"
                    data = b"%d" % (number + (files if change and number % 100 == 0 else 0))
                    draft.add_stream(io.BytesIO(data), f"{folder}/{number:06}.bin")
                store.commit(draft, name="files", type="dataset", project="bench")


@contextmanager
def _browser() -> Iterator[Any]:
    # Not everybody who measures something else has it.
    from playwright.sync_api import sync_playwright  # noqa: PLC0415

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=list(_ARGUMENTS))
        yield browser
        browser.close()


@contextmanager
def _answering(store: Path) -> Iterator[str]:
    words = [sys.executable, "-m", "artstore", "ui", "--listen", "127.0.0.1:0", "--store", str(store)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip().rstrip("/")
        finally:
            process.terminate()


def _painted_s(page: Any, address: str) -> float:
    """Seconds from asking for a page to the first that is seen of it, by the browser's own clock."""
    answer = page.goto(address, wait_until="load")
    if answer is None or not answer.ok:
        message = f"{address} was not shown"
        raise Failed(message)
    painted_ms = page.evaluate(
        "() => new Promise(done => new PerformanceObserver(seen => done(seen.getEntries()[0].startTime))"
        ".observe({type: 'paint', buffered: true}))"
    )
    return float(painted_ms) / 1000
