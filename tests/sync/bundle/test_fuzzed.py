"""Whatever lies on a stick, reading it ends, in one of artstore's own errors or in what was written."""

from __future__ import annotations

import functools
import tempfile
from pathlib import Path

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as some

from artstore.errors import ArtstoreError
from artstore.store import Store
from artstore.sync.bundle.archive import BundleReader
from artstore.sync.bundle.contents import blobs_in
from artstore.sync.bundle.create import create_bundle
from artstore.sync.bundle.head import decode_receipt, read_head, read_manifests, read_offers, read_slots
from artstore.sync.bundle.receipt import make_receipt

Change = tuple[int, bytes, int]
"""Where, what, and how many bytes go for it."""

CHANGES = some.lists(
    some.tuples(some.integers(0, 1 << 20), some.binary(max_size=40), some.integers(0, 600)), min_size=1, max_size=4
)


@functools.cache
def written() -> tuple[bytes, bytes]:
    """A bundle and a receipt as they should be."""
    with tempfile.TemporaryDirectory() as folder, Store.init(Path(folder, "store")) as store:
        Path(folder, "x").write_bytes(b"x")
        store.put([Path(folder, "x")], name="cats", type="dataset")
        create_bundle(store, Path(folder, "bundle"))
        return Path(folder, "bundle").read_bytes(), msgspec.json.encode(make_receipt(store))


def changed(data: bytes, changes: list[Change]) -> bytes:
    for where, what, gone in changes:
        at = where % (len(data) + 1)
        data = data[:at] + what + data[at + gone :]
    return data


@settings(max_examples=60, deadline=None)
@given(CHANGES)
def test_reading_a_changed_bundle_ends(changes: list[Change]) -> None:
    code = ""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "bundle")
        path.write_bytes(changed(written()[0], changes))
        try:
            with BundleReader(path) as reader:
                for number, section in enumerate(read_head(reader).projects):
                    list(read_slots(reader, number, section))
                    list(read_offers(reader, number))
                    read_manifests(reader, number)
                    for blob in blobs_in(reader, number).values():
                        reader.read(blob.name, blob.offset, blob.size)
        except ArtstoreError as error:
            code = error.code
        assert code in {"", "bundle-damaged", "remote-corrupt", "newer-bundle", "unknown-op", "object-missing"}


@settings(max_examples=80, deadline=None)
@given(CHANGES)
def test_reading_a_changed_receipt_ends(changes: list[Change]) -> None:
    code = ""
    try:
        decode_receipt(changed(written()[1], changes), "'receipt'")
    except ArtstoreError as error:
        code = error.code
    assert code in {"", "bad-receipt", "newer-bundle"}
