"""Records: bytes that mean the same for ever."""

from __future__ import annotations

from typing import get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from artstore.errors import Corrupt, UpgradeNeeded
from artstore.model.digest import Digest
from artstore.model.records import (
    AnyOp,
    Commit,
    Condemn,
    Create,
    Delete,
    DeleteCollection,
    Describe,
    DropPart,
    EditMetadata,
    EditRun,
    FinishRun,
    Link,
    MoveAlias,
    Op,
    Part,
    Relog,
    Rename,
    Retype,
    SetTag,
    SetTtl,
    StartRun,
    Sweep,
    Transaction,
    Unlink,
    Use,
    VersionRecord,
    decode_op,
    decode_transaction,
    encode_op,
    encode_transaction,
    kind_of,
)

RECORD = VersionRecord(
    collection="blake3:c",
    manifest="blake3:m",
    created_us=1_700_000_000_000_000,
    run="r1",
    description="ü",
    metadata={"z": [1, 2.5, None], "a": {"y": True, "x": "s"}},
    entries=2,
    bytes=2**53 + 1,
    nonce="n",
)
RECORD_JSON = (
    '{"bytes":9007199254740993,"collection":"blake3:c","created_us":1700000000000000,"description":"ü","entries":2,'
    '"manifest":"blake3:m","metadata":{"a":{"x":"s","y":true},"z":[1,2.5,null]},"nonce":"n","run":"r1"}'
)

GOLDEN: list[tuple[Op, str]] = [
    (
        Create(at_us=1, nonce="n", kind="sequence", name="cats", type="dataset", description=None),
        '{"at_us":1,"description":null,"kind":"sequence","name":"cats","nonce":"n","op":"create","type":"dataset"}',
    ),
    (
        Commit(at_us=1, nonce="n", record=RECORD, parts=["a", "b"]),
        f'{{"at_us":1,"nonce":"n","op":"commit","parts":["a","b"],"record":{RECORD_JSON}}}',
    ),
    (
        Relog(at_us=1, nonce="n", target="v", record=RECORD),
        f'{{"at_us":1,"nonce":"n","op":"relog","parts":[],"record":{RECORD_JSON},"target":"v"}}',
    ),
    (
        Part(
            at_us=1,
            nonce="n",
            name="cats",
            type="dataset",
            distributed_id="d",
            run="r",
            store="s",
            manifest="blake3:m",
            entries=1,
            bytes=2,
            aliases=["best"],
            description=None,
            metadata={"b": 1, "a": 2},
        ),
        (
            '{"aliases":["best"],"at_us":1,"bytes":2,"description":null,"distributed_id":"d","entries":1,'
            '"manifest":"blake3:m","metadata":{"a":2,"b":1},"name":"cats","nonce":"n","op":"part","run":"r",'
            '"store":"s","type":"dataset"}'
        ),
    ),
    (
        DropPart(at_us=1, nonce="n", part="a"),
        '{"at_us":1,"nonce":"n","op":"drop-part","part":"a"}',
    ),
    (
        MoveAlias(at_us=1, nonce="n", collection="c", alias="best", before=None, version="v"),
        '{"alias":"best","at_us":1,"before":null,"collection":"c","nonce":"n","op":"alias","version":"v"}',
    ),
    (
        SetTag(at_us=1, nonce="n", kind="version", target="v", tag="good", present=True),
        '{"at_us":1,"kind":"version","nonce":"n","op":"tag","present":true,"tag":"good","target":"v"}',
    ),
    (
        Describe(at_us=1, nonce="n", kind="version", target="v", text="é"),
        '{"at_us":1,"kind":"version","nonce":"n","op":"describe","target":"v","text":"é"}',
    ),
    (
        EditMetadata(at_us=1, nonce="n", version="v", set={"b": 1, "a": None}, remove=["c"]),
        '{"at_us":1,"nonce":"n","op":"metadata","remove":["c"],"set":{"a":null,"b":1},"version":"v"}',
    ),
    (
        SetTtl(at_us=1, nonce="n", version="v", ttl_s=1.5),
        '{"at_us":1,"nonce":"n","op":"ttl","ttl_s":1.5,"version":"v"}',
    ),
    (
        Rename(at_us=1, nonce="n", collection="c", name="dogs"),
        '{"at_us":1,"collection":"c","name":"dogs","nonce":"n","op":"rename"}',
    ),
    (
        Retype(at_us=1, nonce="n", collection="c", type="model"),
        '{"at_us":1,"collection":"c","nonce":"n","op":"retype","type":"model"}',
    ),
    (
        Delete(at_us=1, nonce="n", store="s", version="v"),
        '{"at_us":1,"nonce":"n","op":"delete","store":"s","version":"v"}',
    ),
    (
        DeleteCollection(at_us=1, nonce="n", store="s", collection="c", versions=["v"]),
        '{"at_us":1,"collection":"c","nonce":"n","op":"delete-collection","store":"s","versions":["v"]}',
    ),
    (
        Link(at_us=1, nonce="n", portfolio="c", project="p", version="v", name="cats:v3", digest="blake3:m"),
        (
            '{"at_us":1,"digest":"blake3:m","name":"cats:v3","nonce":"n","op":"link","portfolio":"c","project":"p",'
            '"version":"v"}'
        ),
    ),
    (
        Unlink(at_us=1, nonce="n", portfolio="c", version="v"),
        '{"at_us":1,"nonce":"n","op":"unlink","portfolio":"c","version":"v"}',
    ),
    (
        StartRun(
            at_us=1,
            nonce="n",
            run="r",
            name=None,
            job_type="train",
            group=None,
            notes="ü",
            tags=["b", "a"],
            config={"lr": 0.1},
        ),
        (
            '{"at_us":1,"config":{"lr":0.1},"group":null,"job_type":"train","name":null,"nonce":"n","notes":"ü",'
            '"op":"run","run":"r","tags":["b","a"]}'
        ),
    ),
    (
        EditRun(at_us=1, nonce="n", run="r", set={"b": 1, "a": None}, remove=["c"], name="x", notes=None, tags=None),
        (
            '{"at_us":1,"name":"x","nonce":"n","notes":null,"op":"edit-run","remove":["c"],"run":"r",'
            '"set":{"a":null,"b":1},"tags":null}'
        ),
    ),
    (
        FinishRun(at_us=1, nonce="n", run="r", state="crashed"),
        '{"at_us":1,"nonce":"n","op":"finish-run","run":"r","state":"crashed"}',
    ),
    (
        Use(at_us=1, nonce="n", run="r", project="p", version="v", name="cats:v3", digest="blake3:m"),
        '{"at_us":1,"digest":"blake3:m","name":"cats:v3","nonce":"n","op":"use","project":"p","run":"r","version":"v"}',
    ),
    (
        Condemn(at_us=1, nonce="n", objects=["packs/a", "manifests/b"]),
        '{"at_us":1,"nonce":"n","objects":["packs/a","manifests/b"],"op":"condemn"}',
    ),
    (
        Sweep(at_us=1, nonce="n", objects=["packs/a"], kept=["manifests/b"], manifests=["blake3:m"]),
        '{"at_us":1,"kept":["manifests/b"],"manifests":["blake3:m"],"nonce":"n","objects":["packs/a"],"op":"sweep"}',
    ),
]
IDS = [kind_of(op) for op, _ in GOLDEN]


@pytest.mark.parametrize(("op", "expected"), GOLDEN, ids=IDS)
def test_the_bytes_of_an_op_never_change(op: Op, expected: str) -> None:
    """Its id is their digest, and everything else names it by that id."""
    assert expected.encode() == encode_op(op)


@pytest.mark.parametrize(("op", "text"), GOLDEN, ids=IDS)
def test_an_op_reads_back(op: Op, text: str) -> None:
    assert op == decode_op(text.encode())


def test_the_bytes_of_a_create_in_place_of_another_never_change() -> None:
    again = Create(at_us=1, nonce="n", kind="sequence", name="cats", type="t", description=None, id="b")
    text = (
        '{"at_us":1,"description":null,"id":"b","kind":"sequence","name":"cats","nonce":"n","op":"create","type":"t"}'
    )

    assert (text.encode(), again) == (encode_op(again), decode_op(text.encode()))


def test_every_kind_of_op_has_a_golden_example() -> None:
    """A kind without one could change its bytes unseen."""
    assert {kind.__struct_config__.tag for kind in get_args(AnyOp)} == set(IDS)


def test_ids_never_change() -> None:
    """An id that is computed otherwise tomorrow loses every alias, tag and edit made today."""
    create = GOLDEN[0][0]

    assert str(RECORD.id) == "blake3:8e3368016a331c86461500ee1b3c0c75ee9b807ec0f69b78d32a06897b83fb4e"
    assert (
        str(Digest.of(encode_op(create))) == "blake3:87798b1ed3e9479dff955ca617a0f13c3478a9ff3e8de8005d2e8184bdee70c9"
    )


def test_the_id_of_a_version_is_the_digest_of_its_record() -> None:
    assert Digest.of(RECORD_JSON.encode()) == RECORD.id


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(), JSON, max_size=4))
def test_a_version_has_the_same_id_wherever_it_is_read(metadata: dict[str, object]) -> None:
    """The writer computes it from its own values, everybody else from the log: two ids would be two versions."""
    record = msgspec.structs.replace(RECORD, metadata=metadata)
    read = decode_op(encode_op(Commit(at_us=1, nonce="n", record=record)))

    assert isinstance(read, Commit)
    assert record.id == read.record.id


def test_an_unknown_kind_stops() -> None:
    """To skip it would be to guess: what follows could build on it."""
    with pytest.raises(UpgradeNeeded) as caught:
        decode_op(b'{"at_us":1,"nonce":"n","op":"teleport","version":"v"}')

    assert caught.value.code == "unknown-op"
    assert "'teleport'" in caught.value.message


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"{}",
        b'{"op":1}',
        b'{"op":"delete"}',
        b'{"at_us":1,"nonce":"n","op":"delete","store":"s","version":null}',
        b'{"at_us":1,"nonce":"n","op":"delete","store":"s","version":"\xff"}',
        b'{"at_us":1,"kind":"project","nonce":"n","op":"describe","target":"v","text":null}',
    ],
)
def test_what_is_no_op_is_damage(data: bytes) -> None:
    with pytest.raises(Corrupt) as caught:
        decode_op(data)

    assert caught.value.code == "op-damaged"


def test_an_op_with_a_field_of_the_future_is_read() -> None:
    """A field may be added to a kind without a new format; an older artstore acts on those it knows."""
    data = b'{"at_us":1,"colour":"red","nonce":"n","op":"delete","store":"s","version":"v"}'

    assert Delete(at_us=1, nonce="n", store="s", version="v") == decode_op(data)


def test_fields_of_the_future_survive_in_a_transaction() -> None:
    """I17. An older artstore that passes an op on passes on all of it, or its id would be another one."""
    op = b'{"at_us":1,"colour":"red","nonce":"n","op":"delete","store":"s","version":"v"}'
    data = encode_transaction(
        Transaction(format=1, project="p", log="0" * 32, seq=1, before=None, ops=[msgspec.Raw(op)]),
    )

    assert op == bytes(decode_transaction(data).ops[0])
    assert data == encode_transaction(decode_transaction(data))


@pytest.mark.parametrize(
    "op",
    [
        b'{"at_us":1,"nonce":"n","op":"delete","store":"s","version":"v"}',
        b'{"at_us":1,"nonce":"n","op":"finish-run","run":"r","state":"crashed"}',
        (
            b'{"at_us":1,"config":{},"group":null,"job_type":null,"name":null,"nonce":"n","notes":null,"op":"run",'
            b'"run":"r","tags":[]}'
        ),
    ],
)
def test_an_op_of_an_older_artstore_keeps_its_id(op: bytes) -> None:
    """What is taken from elsewhere is written anew: it would be another op than the one that its writer pushes."""
    assert op == encode_op(decode_op(op))


def test_the_bytes_of_a_transaction_never_change() -> None:
    """The next one names it by their digest: the chain would break."""
    op = encode_op(Delete(at_us=1, nonce="n", store="s", version="v"))
    transaction = Transaction(format=1, project="p", log="0f" * 16, seq=7, before="blake3:b", ops=[msgspec.Raw(op)] * 2)
    expected = (
        '{"before":"blake3:b","format":1,"log":"0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f","ops":'
        '[{"at_us":1,"nonce":"n","op":"delete","store":"s","version":"v"},{"at_us":1,"nonce":"n","op":"delete","store":"s","version":"v"}],'
        '"project":"p","seq":7}'
    )

    assert expected.encode() == encode_transaction(transaction)


def test_a_newer_log_asks_for_a_newer_artstore() -> None:
    """Whatever else has changed in it: only the number is looked at first."""
    with pytest.raises(UpgradeNeeded) as caught:
        decode_transaction(b'{"format":2,"ops":"elsewhere"}')

    assert caught.value.code == "newer-log"


@pytest.mark.parametrize(
    "data", [b"", b"{}", b'{"format":1}', b'{"format":"1"}', b"\xff", b'{"format":1,"project":"\xff"}']
)
def test_what_is_no_transaction_is_damage(data: bytes) -> None:
    with pytest.raises(Corrupt) as caught:
        decode_transaction(data)

    assert caught.value.code == "op-damaged"
