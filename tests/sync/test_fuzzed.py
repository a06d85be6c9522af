"""Whatever comes from elsewhere, reading it ends, in one of artstore's own errors or in what was written."""

from __future__ import annotations

import contextlib
import functools
import http.server
import json
import tempfile
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest
import zstandard
from blake3 import blake3
from hypothesis import given, settings
from hypothesis import strategies as some

from artstore.errors import ArtstoreError, Corrupt
from artstore.model.digest import Digest
from artstore.model.manifest import Encoding, decode_difference, decode_full, satisfies
from artstore.model.records import decode_op
from artstore.storage import packs
from artstore.store import Store
from artstore.sync.bundle.archive import BundleReader, BundleWriter
from artstore.sync.bundle.head import Section, read_offers, read_slots
from artstore.sync.depots.checkpoints import Entry
from artstore.sync.depots.index import decode_index
from artstore.sync.depots.sealed import unseal
from artstore.sync.http.connection import decode
from artstore.sync.http.remote import open_server
from artstore.sync.http.wire import MARK, Claimed, Lacks, frames, header
from artstore.sync.mirrors import pages
from artstore.sync.protocol import corrupt, decode_manifests, decode_slot
from artstore.sync.remotes import add_remote
from artstore.sync.rounds import exchange

Change = tuple[int, bytes | str, int]
"""Where, what, and how many bytes go for it."""

DEEP = 100_000
BOMBS = {
    "lists": b"[" * DEEP,
    "objects": b'{"a":' * DEEP,
    "packed lists": b"\x91" * DEEP,
    "packed objects": b"\x81\xa1a" * DEEP,
    "a long packed list": b"\xdd\xff\xff\xff\xff",
    "long packed bytes": b"\xc6\xff\xff\xff\xff",
}
"""What is nested deeper than anybody reads, and what announces more than there is."""
CHANGES = some.lists(
    some.tuples(
        some.integers(0, 1 << 20),
        some.one_of(some.binary(max_size=40), some.sampled_from(list(BOMBS))),
        some.integers(0, 600),
    ),
    min_size=1,
    max_size=4,
)


@functools.cache
def written() -> dict[str, bytes]:
    """One of each kind as it should be."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        (place / "hub").mkdir()
        with Store.init(place / "store") as store:
            add_remote(store.path, "hub", f"file://{place / 'hub'}", upstream=True, join=True)
            for number in range(3):
                (place / "a").write_bytes(b"%d" % number)
                (place / "b").write_bytes(b"b")
                store.put([place / "a", place / "b"], name="cats", type="dataset", aliases=["best"])
            exchange(store, "push")
        hub = place / "hub"
        pack = next(hub.joinpath("packs").rglob("*.tar"))
        slot = min(path for path in hub.joinpath("log").rglob("*") if path.is_file()).read_bytes()
        manifests = next(path for path in hub.joinpath("manifests").rglob("*") if path.is_file()).read_bytes()
        return {
            "slot": slot,
            "op": bytes(decode_slot(slot, "uncategorized", 1, "hub").slot.ops[0]),
            "manifests": manifests,
            "pack": pack.read_bytes(),
            "index": pack.with_suffix(".idx").read_bytes(),
            "frames": b"".join(header(Digest.of(data), len(data)) + data for data in (b"", b"1", b"22" * 500)),
            "answer": msgspec.json.encode(Claimed(claimed=False, lacks=Lacks(blobs=["00" * 32]))),
            "manifest": decode_manifests(manifests, "")[0].data,
        }


def changed(data: bytes, changes: list[Change]) -> bytes:
    for where, what, gone in changes:
        at = where % (len(data) + 1)
        data = data[:at] + (BOMBS[what] if isinstance(what, str) else what) + data[at + gone :]
    return data


def _pack(data: bytes) -> Iterator[packs.Member]:
    with tempfile.NamedTemporaryFile() as file:
        file.write(data)
        file.flush()
        yield from packs.members(Path(file.name))


def _manifest(data: bytes) -> None:
    encoding = Encoding(digest=Digest.of(b"x"), base=None, entries=3, data=data)
    for read in (lambda: list(decode_full(encoding)), lambda: decode_difference(encoding), lambda: satisfies(encoding)):
        with contextlib.suppress(Corrupt):
            read()


READERS: dict[str, Callable[[bytes], object]] = {
    "slot": lambda data: decode_slot(data, "uncategorized", 1, "hub"),
    "op": decode_op,
    "manifests": lambda data: [list(decode_full(each)) for each in decode_manifests(data, "hub") if each.base is None],
    "pack": lambda data: list(_pack(data)),
    "index": lambda data: decode_index(data, "hub"),
    "frames": lambda data: list(frames(data)),
    "answer": lambda data: decode(data, Claimed, "hub"),
    "manifest": _manifest,
}


def _many(before: bytes, what: bytes, after: bytes) -> bytes:
    return before + b",".join([what] * 300_000) + after


def _slot_with(what: str, value: bytes) -> bytes:
    lists = json.dumps(msgspec.json.decode(written()["slot"])[what], sort_keys=True, separators=(",", ":")).encode()
    return written()["slot"].replace(b'"%s":%s' % (what.encode(), lists), b'"%s":%s' % (what.encode(), value))


def _pairs(pair: bytes) -> bytes:
    return b"\xdd" + (300_000).to_bytes(4, "big") + pair * 300_000


def _asked(data: bytes) -> None:
    class Answering(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header(MARK, "1")
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Answering) as found:
        threading.Thread(target=found.handle_request, daemon=True).start()
        open_server(f"http://127.0.0.1:{found.server_port}", None, None).slot("uncategorized", 1)


def _carried(folder: str, data: bytes) -> None:
    section = Section(
        project="uncategorized",
        log="0" * 32,
        is_own=True,
        awaits=False,
        first=1,
        before=None,
        last=1,
        head=None,
        ops=0,
        offers=0,
        versions=0,
        blobs=0,
        bytes=0,
        whole=[],
        absent=[],
    )
    with tempfile.TemporaryDirectory() as place:
        with BundleWriter(Path(place) / "b") as writer:
            writer.write(f"{folder}/0/000001.{Digest.of(data).hex()}.json", [data], len(data))
            writer.publish()
        with BundleReader(Path(place) / "b") as reader:
            list(read_slots(reader, 0, section) if folder == "log" else read_offers(reader, 0))


def _sealed(data: bytes) -> None:
    body = zstandard.compress(data)
    if unseal(blake3(body).digest() + body, list[Entry]) is None:
        raise corrupt("the checkpoint")


def _page() -> bytes:
    return _many(b'{"format":1,"slots":[', b"{}", b"]}")


SWELLING: dict[str, tuple[Callable[[bytes], object], Callable[[], bytes]]] = {
    "transactions": (READERS["slot"], lambda: _slot_with("transactions", _many(b"[", b"[]", b"]"))),
    "ops": (READERS["slot"], lambda: _slot_with("transactions", _many(b"[[", b"{}", b"]]"))),
    "bases": (READERS["slot"], lambda: _slot_with("bases", _many(b"[", b'"ab"', b"]"))),
    "slots": (_asked, lambda: _pairs(b"\x92\xc4\x02{}\x80")),
    "slots of a checkpoint": (_sealed, lambda: _pairs(b"\x92\xc4\x02{}\x80")),
    "slots of a bundle": (functools.partial(_carried, "log"), lambda: _many(b"[", b"{}", b"]")),
    "offers": (functools.partial(_carried, "offers"), lambda: _many(b"[", b"[]", b"]")),
    "slots of a mirror": (lambda data: pages.decode(data, pages.Page, "hub"), _page),
}


@pytest.mark.parametrize("kind", READERS)
def test_what_is_as_it_should_be_is_read(kind: str) -> None:
    """What could not be read at all would pass the next test as well."""
    READERS[kind](written()[kind])


@pytest.mark.parametrize("kind", READERS)
@settings(max_examples=80)
@given(changes=CHANGES)
def test_reading_what_was_changed_ends(kind: str, changes: list[Change]) -> None:
    with contextlib.suppress(ArtstoreError):
        READERS[kind](changed(written()[kind], changes))


@pytest.mark.parametrize("line", [b"", b"\n"], ids=["one line", "empty lines"])
def test_a_manifest_that_would_fill_the_memory_does_not(line: bytes) -> None:
    """A8, I19. A few KB of zstd can say a gigabyte."""
    compressor = zstandard.ZstdCompressor().compressobj()
    block = (b"x" * 1000 + line) * 1000
    data = b"".join([*(compressor.compress(block) for _ in range(200)), compressor.flush()])
    encoding = Encoding(digest=Digest.of(b"x"), base=None, entries=3, data=data)
    tracemalloc.start()
    try:
        for read in (lambda: list(decode_full(encoding)), lambda: satisfies(encoding)):
            with contextlib.suppress(Corrupt):
                read()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert len(data) < 100_000
    assert 64 << 20 > peak


@pytest.mark.parametrize("kind", SWELLING)
def test_a_few_bytes_that_say_that_very_many_things_follow_take_no_memory(kind: str) -> None:
    """15 MB of empty transactions were claimed, and took 800 MB of the server and of all who pulled."""
    read, make = SWELLING[kind]
    data = make()
    tracemalloc.start()
    try:
        with pytest.raises(Corrupt):
            read(data)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert peak < 4 * len(data)
