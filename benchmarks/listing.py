"""Listing: a prefix of many objects as references, beside the bare listing that it rests on."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import fsspec

from artstore.references.expand import expand
from benchmarks.measure import Failed, Series
from benchmarks.rows import Row, compared
from tests.references import seaweedfs
from tests.servers import Server

OBJECTS: Final = 10_000
_THREADS: Final = 8


def is_possible() -> bool:
    """Whether SeaweedFS is installed."""
    return shutil.which("weed") is not None


def measure(laps: int, objects: int) -> list[Row]:
    """The rows of the workload `references`, in this process; the first lap is thrown away, as everywhere."""
    facts = seaweedfs.start(Server(Path(tempfile.mkdtemp(prefix="artstore-listing-")), os.getpid()))
    seconds: dict[str, list[float]] = {}
    with seaweedfs.reached(facts) as system:
        for bucket in ("plain", "versioned"):
            _fill(system, facts[bucket], objects)
        sides: list[tuple[str, Callable[[], int]]] = [
            ("expand", lambda: len(expand(f"s3://{facts['plain']}/data", max_objects=objects))),
            ("find", lambda: len(_fresh().find(f"{facts['plain']}/data", detail=True))),
            ("pages", lambda: _pages(system, "list_objects_v2", facts["plain"])),
            ("expand versions", lambda: len(expand(f"s3://{facts['versioned']}/data", max_objects=objects))),
            ("pages of versions", lambda: _pages(system, "list_object_versions", facts["versioned"])),
        ]
        for lap in range(laps + 1):
            for name, side in sides if lap % 2 else reversed(sides):
                began = time.perf_counter()
                found = side()
                took = time.perf_counter() - began
                if found != objects:
                    message = f"{name} found {found:,} of {objects:,} objects"
                    raise Failed(message)
                if lap:
                    seconds.setdefault(name, []).append(took)
    series = {name: Series(tuple(values)) for name, values in seconds.items()}
    title = f"references to a prefix of {objects:,} objects"
    return [
        *compared(
            "references",
            "listing",
            title,
            series["expand"],
            [("s3fs find", series["find"]), ("bare pages", series["pages"])],
        ),
        *compared(
            "references",
            "listing versions",
            f"{title}, with their versions",
            series["expand versions"],
            [("bare pages", series["pages of versions"])],
        ),
    ]


def _fresh() -> Any:
    return fsspec.filesystem("s3", use_listings_cache=False, skip_instance_cache=True)


def _fill(system: Any, bucket: str, objects: int) -> None:
    def put(number: int) -> None:
        key = f"data/{number // 100:03}/{number:05}.bin"
        system.call_s3("put_object", Bucket=bucket, Key=key, Body=b"%d" % number)

    with ThreadPoolExecutor(_THREADS) as pool:
        list(pool.map(put, range(objects)))


def _pages(system: Any, method: str, bucket: str) -> int:
    """The listing alone, as botocore gives it: pages, one after the other."""
    found = 0
    marker: dict[str, str] = {}
    while True:
        page = system.call_s3(method, Bucket=bucket, Prefix="data/", **marker)
        found += len(page.get("Contents") or page.get("Versions") or ())
        if not page["IsTruncated"]:
            return found
        if method == "list_objects_v2":
            marker = {"ContinuationToken": page["NextContinuationToken"]}
        else:
            marker = {"KeyMarker": page["NextKeyMarker"], "VersionIdMarker": page["NextVersionIdMarker"]}
