"""Intake: found by others when it is safe, and never before."""

from __future__ import annotations

import io
import os
import random
import threading
import time
from pathlib import Path

import pytest

from artstore.errors import Refused
from artstore.model.digest import Digest
from artstore.model.manifest import BlobEntry
from artstore.storage import gather
from artstore.storage import intake as intakes
from artstore.storage.blobs import SMALL
from artstore.storage.intake import Intake
from artstore.storage.packs import members
from artstore.storage.root import Root
from tests.conftest import Children

LARGE = random.Random(3).randbytes(SMALL + 1)
SMALLS = [random.Random(4).randbytes(size) for size in (0, 1, 511, 512, 513, 70_000, SMALL - 1, SMALL)]


def published(root: Root) -> list[Path]:
    """Every file that has its place in the store."""
    return sorted(p for folder in ("packs", "blobs") for p in (root.path / folder).rglob("*") if p.is_file())


def take_all(intake: Intake, *contents: bytes) -> list[Digest]:
    return [intake.take_stream(io.BytesIO(data)).digest for data in contents]


def test_what_was_taken_in_is_found_after_settle_and_not_before(root: Root) -> None:
    """Another put that counted on bytes which are not yet synced would lose them with the power."""
    with root.session("put") as session, Intake(root, session) as intake:
        digests = take_all(intake, LARGE, *SMALLS)
        before = root.blobs.known(digests)
        intake.settle()

        assert (set(), set(digests)) == (before, root.blobs.known(digests))
        assert [LARGE, *SMALLS] == [root.blobs.read(digest) for digest in digests]


def test_what_has_a_row_number_is_not_yet_taken_for_stored(root: Root, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows are made while the bytes are on their way; whoever counted on them would lose them with the power."""
    with root.session("put") as session, Intake(root, session) as intake:
        take_all(intake, b"old")
        intake.settle()
    is_synced = threading.Event()
    monkeypatch.setattr(gather, "sync_file", lambda _fd: is_synced.wait(60))
    manifest = Digest.of(b"a manifest of both")
    found: list[tuple[set[bytes], bool]] = []

    with root.session("put") as session, Intake(root, session) as intake:
        old, new = take_all(intake, b"old", b"new")

        def look() -> None:
            found.append((root.blobs.known([old, new]), root.manifests.find(manifest) is not None))

        def settle() -> None:
            look()
            is_synced.set()
            intake.settle()

        root.manifests.add_full(manifest, [BlobEntry("a", new, 3), BlobEntry("b", old, 3)], intake.ids(), settle=settle)
        look()

    assert [({old}, False), ({old, new}, True)] == found


def test_equal_bytes_are_stored_once(root: Root) -> None:
    """Within one put, and across puts."""
    for expected in (2, 0):
        with root.session("put") as session, Intake(root, session) as intake:
            take_all(intake, b"small", LARGE, b"small", LARGE)
            intake.settle()

            assert expected == intake.new_blobs
            assert expected // 2 * (len(LARGE) + len(b"small")) == intake.new_bytes

    assert len(published(root)) == 2


def test_what_was_not_settled_is_gone_with_the_session(root: Root) -> None:
    """P7. An interrupted put leaves no half pack, no half blob, and no row."""
    with root.session("put") as session, Intake(root, session) as intake:
        digests = take_all(intake, LARGE, *SMALLS)

    assert (set(), []) == (root.blobs.known(digests), list((root.path / "tmp").iterdir()))
    assert root.blobs.is_empty()


def test_a_dry_intake_counts_and_stores_nothing(root: Root) -> None:
    with root.session("put") as session, Intake(root, session) as intake:
        take_all(intake, b"old", LARGE)
        intake.settle()
    before = published(root)
    with root.session("put") as session, Intake(root, session, keep=False) as intake:
        digests = take_all(intake, b"old", b"new", b"new", LARGE, LARGE + b"x")
        intake.settle()

        assert [Digest.of(data) for data in (b"old", b"new", b"new", LARGE, LARGE + b"x")] == digests
        assert (2, 3 + len(LARGE) + 1) == (intake.new_blobs, intake.new_bytes)
    assert before == published(root)


def test_packs_end_when_they_are_large(root: Root, monkeypatch: pytest.MonkeyPatch) -> None:
    """One pack of a terabyte could be neither copied nor repacked."""
    monkeypatch.setattr(gather, "PACK_SIZE", 2 << 20)
    contents = [random.Random(seed).randbytes(700_000) for seed in range(20)]
    with root.session("put") as session, Intake(root, session) as intake:
        digests = take_all(intake, *contents)
        intake.settle()
        packs = intake.packs

    assert len(packs) >= 3
    assert sorted(packs) == [path.name for path in published(root)]
    assert sorted(digests) == sorted(member.digest for path in published(root) for member in members(path))
    assert contents == [root.blobs.read(digest) for digest in digests]


def test_packs_and_large_blobs_cannot_be_written(root: Root) -> None:
    with root.session("put") as session, Intake(root, session) as intake:
        take_all(intake, LARGE, *SMALLS)
        intake.settle()

    assert [0o444] * 2 == [path.stat().st_mode & 0o777 for path in published(root)]


def test_a_leftover_of_the_same_blob_is_taken_over(root: Root) -> None:
    """A put that was killed before its rows left the file; the next one must not fail on its name."""
    with root.session("put") as session, Intake(root, session) as intake:
        (digest,) = take_all(intake, LARGE)
        intake.settle()
    with root.catalog.write() as connection:
        connection.execute("DELETE FROM stored")
        connection.execute("DELETE FROM blob")
    with root.session("put") as session, Intake(root, session) as intake:
        take_all(intake, LARGE)
        intake.settle()

    assert root.blobs.read(digest) == LARGE


def test_a_large_file_that_shrank_is_a_small_blob(root: Root, tmp_path: Path) -> None:
    """The caller sees that it changed; the store must not have a large blob that is not one."""
    (tmp_path / "file").write_bytes(b"short")
    with root.session("put") as session, Intake(root, session) as intake, (tmp_path / "file").open("rb") as file:
        stored = intake.take_file(file.fileno(), limit=10 * SMALL)
        intake.settle()

    assert Digest.of(b"short") == stored.digest
    assert not root.blobs.places(stored.digest)[0].is_whole


def test_a_source_that_fails_leaves_nothing(root: Root, tmp_path: Path) -> None:
    """F5. The other files of the put go on."""
    (tmp_path / "file").write_bytes(LARGE)
    real = os.readv

    def fail(fd: int, buffers: list[memoryview]) -> int:
        if os.lseek(fd, 0, os.SEEK_CUR) > 0:
            raise OSError(5, "Input/output error")
        return real(fd, buffers)

    with root.session("put") as session, Intake(root, session) as intake:
        with (tmp_path / "file").open("rb") as file, pytest.MonkeyPatch.context() as patch:
            patch.setattr(os, "readv", fail)
            with pytest.raises(Refused) as caught:
                intake.take_file(file.fileno(), limit=len(LARGE))
        left = [path.name for path in session.scratch().iterdir()]
        digests = take_all(intake, b"other")
        intake.settle()

    assert ("unreadable", []) == (caught.value.code, left)
    assert root.blobs.known(digests) == set(digests)


@pytest.mark.parametrize("settles", [True, False])
def test_no_descriptor_is_left_open(root: Root, settles: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A training job that logs a checkpoint a minute would run out of them within the day."""
    # As on a busy disk: much still waits to be synced when the put is given up.
    monkeypatch.setattr(intakes, "sync_file", lambda _: time.sleep(0.01))
    large = [random.Random(seed).randbytes(SMALL + 1) for seed in range(30)]
    before = 0
    for turn in range(4):
        with root.session("put") as session, Intake(root, session) as intake:
            take_all(intake, *(data + bytes([turn]) for data in large), b"%d" % turn)
            if settles:
                intake.settle()
        if turn == 1:
            before = len(os.listdir("/proc/self/fd"))

    assert len(os.listdir("/proc/self/fd")) <= before + 4


def test_two_sessions_that_take_in_the_same_bytes_both_succeed(root: Root) -> None:
    """P12. Neither sees the other's before it is safe; afterwards there may be two copies, and no error."""
    with (
        root.session("put") as first,
        root.session("put") as second,
        Intake(root, first) as one,
        Intake(root, second) as other,
    ):
        for intake in (one, other):
            digests = take_all(intake, LARGE, b"small")
        one.settle()
        other.settle()

    assert [LARGE, b"small"] == [root.blobs.read(digest) for digest in digests]


def test_a_slow_disk_does_not_use_up_the_descriptors(root: Root, children: Children) -> None:
    """P8. A thousand checkpoints of 2 MiB are read faster than they are synced; each waits with an open file."""
    code = """
import io, resource, sys, time
from pathlib import Path
from artstore.storage import intake as intakes
from artstore.storage.root import Root
from tests.conftest import Children
intakes.sync_file = lambda _: time.sleep(0.002)
root = Root(Path(sys.argv[1]))
resource.setrlimit(resource.RLIMIT_NOFILE, (100, 100))
with root.session("put") as session, intakes.Intake(root, session) as intake:
    for number in range(200):
        intake.take_stream(io.BytesIO(number.to_bytes(4, "big") + bytes(1 << 20)))
    intake.settle()
    print(intake.new_blobs)
"""

    assert children.run(code, root.path) == "200"
