"""The log on disk: every transaction once, in order, and no damage unseen."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from artstore.errors import Corrupt, UpgradeNeeded
from artstore.model.digest import Digest
from artstore.model.manifest import Encoding
from artstore.model.records import Transaction, decode_transaction, encode_transaction
from artstore.storage.oplog import Attachments, OpLog, Prepared, Sums, read

ATTACHMENTS = Attachments(
    manifests=[Encoding(Digest.of(b"m"), Digest.of(b"b"), 3, b"zstd")],
    sums=[Sums(Digest.of(b"s"), 2**40, b"12345678")],
    packs=["name.tar"],
)


def chain(count: int) -> list[bytes]:
    """Transactions that follow each other."""
    found: list[bytes] = []
    for seq in range(1, count + 1):
        before = str(Digest.of(found[-1])) if found else None
        found.append(
            encode_transaction(Transaction(format=1, project="p", log="0" * 32, seq=seq, before=before, ops=[])),
        )
    return found


def publish(folder: Path, first: int, transactions: list[bytes], attachments: Attachments | None = None) -> bool:
    """Write one file of the log of project `p`."""
    prepared = Prepared(folder / f"prepared-{first}-{len(transactions)}", attachments or Attachments())
    try:
        prepared.seal(transactions)
        return OpLog(folder).publish("p", first, first + len(transactions) - 1, prepared)
    finally:
        prepared.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "ops").mkdir()
    return tmp_path


def found(folder: Path, after: int = 0) -> list[tuple[int, bytes]]:
    return [(seq, transaction) for seq, transaction, _ in OpLog(folder).transactions("p", after)]


def test_the_log_gives_back_what_was_published(folder: Path) -> None:
    transactions = chain(3)
    for seq, transaction in enumerate(transactions, start=1):
        assert publish(folder, seq, [transaction], ATTACHMENTS)

    assert list(enumerate(transactions, start=1)) == found(folder)
    assert [(3, transactions[2])] == found(folder, after=2)
    assert [ATTACHMENTS] * 3 == [attachments for _, _, attachments in OpLog(folder).transactions("p", 0)]
    assert (["p"], 3) == (OpLog(folder).projects(), OpLog(folder).last("p"))


def test_each_transaction_names_the_one_before(folder: Path) -> None:
    """A log whose past was changed is told from the one that was written."""
    for seq, transaction in enumerate(chain(3), start=1):
        publish(folder, seq, [transaction])
    digests = [str(Digest.of(transaction)) for _, transaction in found(folder)]

    assert [None, *digests[:-1]] == [decode_transaction(transaction).before for _, transaction in found(folder)]


def test_a_place_in_the_log_is_taken_once(folder: Path) -> None:
    """Two writers that believe to be next: one of them must be told, and the other's commit must stay."""
    first, other = chain(1)[0], b"other"

    assert [True, False] == [publish(folder, 1, [first]), publish(folder, 1, [other])]
    assert [(1, first)] == found(folder)


def test_a_project_without_a_log_has_no_transactions(folder: Path) -> None:
    assert ([], 0, False) == (found(folder), OpLog(folder).last("p"), OpLog(folder).has("p", 1))


def test_a_missing_transaction_is_not_passed_over(folder: Path) -> None:
    """What follows builds on it: numbers would shift, and deletions come undone."""
    transactions = chain(3)
    publish(folder, 1, [transactions[0]])
    publish(folder, 3, [transactions[2]])

    with pytest.raises(Corrupt) as caught:
        found(folder)
    assert (caught.value.code, "transaction 2 of" in caught.value.message) == ("log-gap", True)
    with pytest.raises(Corrupt):
        found(folder, after=1)


@settings(max_examples=40)
@given(
    segments=st.lists(st.tuples(st.integers(1, 9), st.integers(1, 9)), max_size=4),
    singles=st.sets(st.integers(1, 9)),
    after=st.integers(0, 9),
)
def test_segments_and_singles_together_are_one_log(
    tmp_path_factory: pytest.TempPathFactory, segments: list[tuple[int, int]], singles: set[int], after: int
) -> None:
    """A compaction that was killed leaves both; each transaction counts once all the same."""
    folder = tmp_path_factory.mktemp("log")
    (folder / "ops").mkdir()
    transactions = chain(9)
    held = set(singles)
    for seq in singles:
        publish(folder, seq, [transactions[seq - 1]])
    for first, last in {(min(ends), max(ends)) for ends in segments}:
        held.update(range(first, last + 1))
        publish(folder, first, transactions[first - 1 : last])

    rest = {seq for seq in held if seq > after}
    if rest == set(range(after + 1, after + 1 + len(rest))):
        assert [(seq, transactions[seq - 1]) for seq in sorted(rest)] == found(folder, after)
    else:
        with pytest.raises(Corrupt):
            found(folder, after)


def test_a_segment_brings_its_attachments_once(folder: Path) -> None:
    publish(folder, 1, chain(3), ATTACHMENTS)
    carried = [attachments for _, _, attachments in OpLog(folder).transactions("p", 0)]

    assert [ATTACHMENTS, Attachments(), Attachments()] == carried
    assert [ATTACHMENTS] == [attachments for _, _, attachments in OpLog(folder).transactions("p", 2)]


def test_a_file_that_is_compacted_while_it_is_read_is_found_in_the_segment(folder: Path) -> None:
    """The reader holds no lock: names that it listed may be gone, and the bytes are elsewhere."""
    transactions = chain(4)
    for seq, transaction in enumerate(transactions, start=1):
        publish(folder, seq, [transaction])
    walk = OpLog(folder).transactions("p", 0)
    seen = [next(walk)[1]]
    publish(folder, 1, transactions)
    for file in OpLog(folder).all_files("p"):
        if file.first == file.last:
            file.path.unlink()
    seen += [transaction for _, transaction, _ in walk]

    assert transactions == seen


def test_other_files_in_the_folder_are_no_part_of_the_log(folder: Path) -> None:
    publish(folder, 1, chain(1))
    for name in ("2", "000000000002.tmp", "000000000002-", ".nfs000000000002"):
        (folder / "ops" / "p" / name).write_bytes(b"")

    assert len(found(folder)) == 1


def test_a_prepared_file_may_be_sealed_again(folder: Path) -> None:
    """Who was overtaken seals the same attachments with other transactions; nothing of the first seal may stay."""
    transactions = chain(2)
    prepared = Prepared(folder / "prepared", ATTACHMENTS)
    prepared.seal([b"long" * 1000])
    prepared.seal([transactions[0]])
    OpLog(folder).publish("p", 1, 1, prepared)
    prepared.close()

    assert [(1, transactions[0])] == found(folder)


@pytest.fixture
def file(folder: Path) -> Path:
    publish(folder, 1, chain(2), ATTACHMENTS)
    return folder / "ops" / "p" / "000000000001-000000000002"


def test_the_layout_never_changes(file: Path) -> None:
    """The log is the truth: every later artstore has to read these bytes."""
    data = file.read_bytes()
    body = msgspec.msgpack.encode(chain(2))

    assert data.startswith(b"artstore-log 1\n\0")
    assert data.endswith(b"artend1\n")
    assert Digest.of(data[:-56]) == data[-40:-8]
    assert len(body) == int.from_bytes(data[-48:-40], "big")
    assert body == data[16 + int.from_bytes(data[-56:-48], "big") : -56]


def test_any_flipped_bit_is_found(file: Path) -> None:
    """I1. There is no second copy of an op: a damaged one must never be folded."""
    data = file.read_bytes()
    for at in range(len(data)):
        damaged = bytearray(data)
        damaged[at] ^= 1 << at % 8
        file.write_bytes(damaged)
        with pytest.raises((Corrupt, UpgradeNeeded)):
            read(file)


def test_a_truncated_file_is_damaged(file: Path) -> None:
    data = file.read_bytes()
    for size in range(len(data)):
        file.write_bytes(data[:size])
        with pytest.raises(Corrupt) as caught:
            read(file)
        assert caught.value.code == "log-damaged"


def test_bytes_behind_the_end_are_damage(file: Path) -> None:
    file.write_bytes(file.read_bytes() + b"\0")

    with pytest.raises(Corrupt):
        read(file)


def test_a_newer_form_asks_for_a_newer_artstore(file: Path) -> None:
    """I17. To call it damaged would send its owner to `repair`, which would put it aside."""
    file.write_bytes(file.read_bytes().replace(b"artstore-log 1", b"artstore-log 2"))

    with pytest.raises(UpgradeNeeded) as caught:
        read(file)
    assert caught.value.code == "newer-log"


def test_a_folder_in_place_of_a_file_is_damage(file: Path) -> None:
    file.unlink()
    file.mkdir()

    with pytest.raises(Corrupt):
        read(file)


def test_what_somebody_else_published_can_be_synced_even_if_it_was_compacted(folder: Path) -> None:
    publish(folder, 1, chain(1))

    OpLog(folder).sync("p", 1)
    OpLog(folder).sync("p", 7)
