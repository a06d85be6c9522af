"""Notes: what the journal holds beside ops, and the order that they make."""

from __future__ import annotations

from typing import get_args

import msgspec
import pytest

from artstore.errors import Corrupt, UpgradeNeeded
from artstore.model.digest import Digest
from artstore.model.notes import (
    Accepted,
    AcceptedBefore,
    AcceptNumbers,
    AnyNote,
    Attached,
    Dismissed,
    Evicted,
    Forget,
    Order,
    TakenIn,
    decode_line,
    is_note,
)
from artstore.model.records import Create, Delete, encode_op, kind_of

FRAME = msgspec.Raw(b'{"n":1}')
OP = Delete(at_us=1, nonce="n", store="s", version="v")
ACCEPTED = (
    '{"at_us":1,"digest":"blake3:d","frame":{"n":1},"log":"l","nonce":"n","op":"note-accepted",'
    '"ops":[{"at_us":1,"nonce":"n","op":"delete","store":"s","version":"v"}],"slot":3}'
)
GOLDEN: list[tuple[AnyNote, str]] = [
    (Attached(at_us=1, nonce="n", log="l"), '{"at_us":1,"log":"l","nonce":"n","op":"note-attached"}'),
    (
        Accepted(at_us=1, nonce="n", log="l", slot=3, digest="blake3:d", ops=[msgspec.Raw(encode_op(OP))], frame=FRAME),
        ACCEPTED,
    ),
    (TakenIn(at_us=1, nonce="n", ops=["o"]), '{"at_us":1,"nonce":"n","op":"note-taken","ops":["o"]}'),
    (
        AcceptedBefore(at_us=1, nonce="n", ops=["o"]),
        '{"at_us":1,"nonce":"n","op":"note-accepted-before","ops":["o"]}',
    ),
    (Evicted(at_us=1, nonce="n", versions=["v"]), '{"at_us":1,"nonce":"n","op":"note-evicted","versions":["v"]}'),
    (Dismissed(at_us=1, nonce="n", ops=["o"]), '{"at_us":1,"nonce":"n","op":"note-dismissed","ops":["o"]}'),
    (
        Forget(at_us=1, nonce="n", version="v", forgotten=True),
        '{"at_us":1,"awaited":false,"forgotten":true,"nonce":"n","op":"note-forget","version":"v"}',
    ),
    (
        AcceptNumbers(at_us=1, nonce="n", collections=["c"]),
        '{"at_us":1,"collections":["c"],"nonce":"n","op":"note-numbers"}',
    ),
]
IDS = [kind_of(note) for note, _ in GOLDEN]


@pytest.mark.parametrize(("note", "expected"), GOLDEN, ids=IDS)
def test_the_bytes_of_a_note_never_change(note: AnyNote, expected: str) -> None:
    """The journal names its transactions by digest: a note that is written otherwise tomorrow breaks the chain."""
    assert expected.encode() == encode_op(note)
    assert encode_op(note) == encode_op(decode_line(expected.encode()))
    assert is_note(note)


def test_every_kind_of_note_has_a_golden_example() -> None:
    """A kind without one could change its bytes unseen."""
    assert {kind.__struct_config__.tag for kind in get_args(AnyNote)} == set(IDS)


def test_an_op_is_no_note() -> None:
    """What is taken for a note never reaches another machine."""
    line = decode_line(encode_op(OP))

    assert (OP, False) == (line, is_note(line))


def test_an_unknown_kind_is_not_skipped() -> None:
    """To skip what a newer artstore wrote would be to guess."""
    with pytest.raises(UpgradeNeeded):
        decode_line(b'{"op":"note-teleport"}')


@pytest.mark.parametrize("data", [b"", b"{}", b'{"op":"note-forget"}', b'{"op":3}', b"\xff"])
def test_what_is_no_line_is_damage(data: bytes) -> None:
    with pytest.raises(Corrupt) as caught:
        decode_line(data)

    assert caught.value.code == "op-damaged"


def body(name: str) -> bytes:
    return encode_op(Create(at_us=1, nonce=name, kind="sequence", name=name, type="t", description=None))


def order(*lines: bytes) -> str:
    """What counts after these lines: a name for each op, in upper case where it was accepted."""
    found = Order()
    for line in lines:
        found.take(str(Digest.of(line)), line, decode_line(line))
    names = {bytes(body(name)): name for name in "abcdef"}
    return "".join(names[op.body] if op.slot is None else names[op.body].upper() for op in found.ops())


def accepted(slot: int, names: str) -> bytes:
    ops = [msgspec.Raw(body(name)) for name in names]
    return encode_op(Accepted(at_us=1, nonce="n", log="l", slot=slot, digest=f"blake3:{slot}", ops=ops, frame=FRAME))


def given_up(name: str) -> bytes:
    return encode_op(Dismissed(at_us=1, nonce="n", ops=[str(Digest.of(body(name)))]))


ATTACH = encode_op(Attached(at_us=1, nonce="n", log="l"))


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ([body("a"), body("b"), body("a")], "ab"),
        ([ATTACH, body("a"), body("b"), accepted(1, "a")], "Ab"),
        ([ATTACH, body("a"), body("b"), accepted(1, "b")], "Ba"),
        ([ATTACH, body("a"), accepted(1, "cd"), body("b")], "CDab"),
        ([ATTACH, body("a"), accepted(1, "c"), accepted(2, "ca")], "CA"),
        ([ATTACH, accepted(1, "a"), body("a")], "A"),
        ([ATTACH, accepted(1, "ab"), body("c"), ATTACH], "abc"),
        ([body("a"), ATTACH, accepted(1, "b"), ATTACH, accepted(1, "a")], "Ab"),
        ([ATTACH, body("a"), body("b"), given_up("a")], "b"),
        ([ATTACH, body("a"), accepted(1, "a"), given_up("a")], "A"),
        ([ATTACH, body("a"), given_up("a"), accepted(1, "a")], "A"),
    ],
)
def test_what_was_accepted_counts_first_and_each_op_once(lines: list[bytes], expected: str) -> None:
    """I11. An op that counted twice, or on each machine at another place, would give each its own numbers."""
    assert order(*lines) == expected
