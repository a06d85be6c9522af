"""Of a large blob that was changed only what is new is moved, either way, and what arrives is what was sent."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from artstore.errors import Corrupt, Invalid, MissingObject
from artstore.model.digest import Digest
from artstore.storage.blob_reader import BlobReader
from artstore.store import Store
from artstore.sync.delta.chunks import MEANS, RANGES, RECORD, SPAN, LocalBlob, Range, mean_for
from artstore.sync.delta.patch import FRAME, NEW, Patcher, patch_size, write_patch
from artstore.sync.delta.plan import Piece, between, find_pieces, new_bytes
from artstore.sync.explain import explain
from artstore.sync.hosting.blobs import HostedBlobs
from artstore.sync.http import patching
from artstore.sync.http.chunked import RemoteBlob
from artstore.sync.http.connection import Connection
from artstore.sync.http.wire import MANY, MESSAGES
from tests.chaos import Chaos, chaos
from tests.sync.conftest import PROJECT, Machine
from tests.sync.serving import Served, served

MIB = 1 << 20
RANDOM = random.Random("delta")
OLD = RANDOM.randbytes(10 * MIB)
TALK = 60_000
"""Bytes of requests around a blob."""
Make = Callable[[str], Machine]


def _in_place(old: bytes) -> bytes:
    """Two runs of 50 KiB, and so 1 % of it."""
    new = bytearray(old)
    for start in (len(old) // 4, 3 * len(old) // 4):
        new[start : start + 51200] = RANDOM.randbytes(51200)
    return bytes(new)


INSERTED = b"!" + OLD
CHANGES = {
    "in place": (_in_place(OLD), 0.08),
    "inserted at the start": (INSERTED, 0.02),
    "half of it new": (OLD[: len(OLD) // 2] + RANDOM.randbytes(len(OLD) // 2), 0.52),
    "all of it new": (RANDOM.randbytes(len(OLD)), 1.0),
}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Served]:
    with served(tmp_path / "server") as found:
        yield found


@pytest.fixture
def wire(server: Served) -> Iterator[Chaos]:
    with chaos(server.port) as found:
        yield found


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Make]:
    """Set up a machine with what is behind a URL as its upstream."""
    made: list[Machine] = []

    def make(url: str) -> Machine:
        made.append(Machine(tmp_path, url, f"machine-{len(made)}"))
        return made[-1]

    yield make
    for each in made:
        each.store.close()


def _url(wire: Chaos) -> str:
    return f"http://127.0.0.1:{wire.port}"


@pytest.fixture
def sender(wire: Chaos, machine: Make) -> Machine:
    """A machine whose first version is on the server."""
    one = machine(_url(wire))
    one.put({"large": OLD})
    one.push()
    return one


@pytest.fixture
def receiver(sender: Machine, wire: Chaos, machine: Make) -> Machine:  # noqa: ARG001 - it has to be there first
    """Another one that has its bytes as well."""
    other = machine(_url(wire))
    other.pull()
    other.read("cats:v0")
    return other


def _up(wire: Chaos, act: Callable[[], object]) -> int:
    return _carried(wire, act, "up")


def _carried(wire: Chaos, act: Callable[[], object], way: str) -> int:
    before = wire.carried[way]
    act()
    return wire.carried[way] - before


@pytest.mark.parametrize("change", CHANGES)
def test_what_is_new_is_all_that_is_sent_and_it_is_told_before(
    server: Served, wire: Chaos, sender: Machine, change: str
) -> None:
    new, share = CHANGES[change]
    sender.put({"large": new})
    told = explain(sender.store, "cats", "hub").sent_bytes

    sent = _up(wire, sender.push)

    assert share * len(OLD) + TALK > sent
    assert told <= sent < told + TALK
    assert new == b"".join(server.store.read("cats", "large"))
    assert server.store.verify().ok


@pytest.mark.parametrize("change", CHANGES)
def test_what_is_new_is_all_that_is_fetched(sender: Machine, receiver: Machine, wire: Chaos, change: str) -> None:
    new, share = CHANGES[change]
    sender.put({"large": new})
    sender.push()
    receiver.pull()

    fetched = _carried(wire, lambda: receiver.read("cats:v1"), "down")

    assert share * len(OLD) + TALK > fetched
    assert {"large": new} == receiver.read("cats:v1")
    assert receiver.store.verify().ok


def test_who_has_only_what_is_new_sends_no_more(wire: Chaos, sender: Machine, machine: Make) -> None:  # noqa: ARG001
    """The version before was pulled, and its bytes were never needed here."""
    other = machine(_url(wire))
    other.pull()
    other.put({"large": INSERTED})

    assert 0.02 * len(OLD) + TALK > _up(wire, other.push)


def test_what_was_changed_twice_while_offline_is_sent_in_its_order(wire: Chaos, sender: Machine) -> None:
    sender.put({"large": INSERTED})
    sender.put({"large": _in_place(INSERTED)})

    assert 0.08 * len(OLD) + TALK > _up(wire, sender.push)


def test_a_new_file_is_not_asked_about(server: Served, sender: Machine) -> None:
    """A first push costs no more than before."""
    sender.put({"another": OLD[:-MIB]}, name="dogs")
    server.requests.clear()
    sender.push()

    assert [] == [request for request in server.requests if request.endswith("/chunks")]


@pytest.mark.parametrize("cut", [30_000, 3 * MIB])
def test_a_patch_goes_on_where_it_was_cut(server: Served, wire: Chaos, sender: Machine, cut: int) -> None:
    new, share = CHANGES["half of it new"]
    sender.put({"large": new})
    wire.cut_after(cut, way="up")

    assert share * len(OLD) + TALK + MIB > _up(wire, sender.push)
    assert new == b"".join(server.store.read("cats", "large"))


@pytest.mark.parametrize("cut", [30_000, 3 * MIB])
def test_a_patch_that_is_fetched_goes_on_where_it_was_cut(
    sender: Machine, receiver: Machine, wire: Chaos, cut: int
) -> None:
    new, share = CHANGES["half of it new"]
    sender.put({"large": new})
    sender.push()
    receiver.pull()
    wire.cut_after(cut, way="down")

    fetched = _carried(wire, lambda: receiver.read("cats:v1"), "down")

    assert share * len(OLD) + TALK + MIB > fetched
    assert {"large": new} == receiver.read("cats:v1")


def test_a_patch_goes_on_after_a_restart_of_both(tmp_path: Path, machine: Make) -> None:
    new, _ = CHANGES["half of it new"]
    three_quarters = 3 * len(new) // 4
    with served(tmp_path / "server") as server:
        one = machine(server.url)
        one.put({"large": OLD})
        one.push()
        pieces = [Piece(len(new) // 2, 0), Piece(len(new) // 4, None)]
        body = b"".join(write_patch(pieces, 0, lambda start, end: iter([new[start:end]])))
        headers = {"Upload-Offset": "0", "Upload-Length": str(len(new)), "Upload-Base": Digest.of(OLD).hex()}
        path = f"projects/{PROJECT}/uploads/{Digest.of(new).hex()}"
        Connection(server.url).ask("PUT", path, body, doing="sending", headers=headers)
    with served(tmp_path / "server") as server:
        again = machine(server.url)
        again.pull()
        again.put({"large": new})
        again.push()

        assert len(new) - three_quarters + TALK > server.received
        assert server.store.verify().ok


def test_what_the_server_has_lost_is_not_built_upon(server: Served, wire: Chaos, sender: Machine) -> None:
    _damage(server.store)
    sender.put({"large": INSERTED})

    assert len(INSERTED) < _up(wire, sender.push)
    assert INSERTED == b"".join(server.store.read("cats", "large"))


def test_what_is_lost_here_is_not_built_upon(sender: Machine, receiver: Machine) -> None:
    sender.put({"large": INSERTED})
    sender.push()
    receiver.pull()
    _damage(receiver.store)

    assert {"large": INSERTED} == receiver.read("cats:v1")


@pytest.mark.parametrize("harm", ["damaged", "removed", "put aside"])
def test_what_is_lost_here_while_it_is_built_upon_costs_the_rest_of_the_blob(
    sender: Machine, receiver: Machine, monkeypatch: pytest.MonkeyPatch, harm: str
) -> None:
    """It was whole when it was planned which stretches come from it."""
    sender.put({"large": INSERTED})
    sender.push()
    receiver.pull()

    def planned(*arguments: Any) -> list[Piece] | None:
        found = find_pieces(*arguments)
        if harm == "removed":
            _large_file(receiver.store).unlink()
        else:
            _damage(receiver.store)
        if harm == "put aside":
            with Store.open(receiver.store.path) as beside:
                beside.verify()
        return found

    monkeypatch.setattr(patching, "find_pieces", planned)

    assert {"large": INSERTED} == receiver.read("cats:v1")


def _large_file(store: Store) -> Path:
    (path,) = (path for path in (store.path / "blobs").rglob("*") if path.is_file())
    return path


def _damage(store: Store) -> None:
    path = _large_file(store)
    path.chmod(0o600)
    with path.open("r+b") as file:
        file.seek(6 * MIB)
        file.write(b"damaged")


def test_chunks_that_are_said_to_be_the_same_and_are_not_cost_a_repetition_and_no_more(
    server: Served, sender: Machine, receiver: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """XXH3 can be forged: whoever does it must not decide what is in a file."""
    found = HostedBlobs.chunks

    def lying(self: HostedBlobs, project: str, digest: Digest, *rest: object) -> tuple[int, list[bytes]]:
        swapped = {Digest.of(OLD): Digest.of(new), Digest.of(new): Digest.of(OLD)}
        with contextlib.suppress(MissingObject):
            return found(self, project, swapped[digest], *rest)  # type: ignore[arg-type]
        return len(OLD), LocalBlob(sender.store.root, swapped[digest], len(OLD)).chunks(*rest)  # type: ignore[arg-type]

    new, _ = CHANGES["in place"]
    monkeypatch.setattr(HostedBlobs, "chunks", lying)
    sender.put({"large": new})
    sender.push()
    receiver.pull()

    assert new == b"".join(server.store.read("cats", "large"))
    assert {"large": new} == receiver.read("cats:v1")
    assert server.store.verify().ok
    assert receiver.store.verify().ok


@pytest.mark.parametrize("lie", ["a larger blob", "more chunks"])
def test_what_a_server_says_of_a_blob_cannot_fill_a_disk(
    server: Served, sender: Machine, receiver: Machine, monkeypatch: pytest.MonkeyPatch, lie: str
) -> None:
    """It said that all of it was the first chunk of another one: 5 GB were copied in ten seconds."""
    new = OLD + b"!"
    sender.put({"large": new})
    sender.push()
    receiver.pull()
    of_old = LocalBlob(receiver.store.root, Digest.of(OLD), len(OLD)).chunks(MEANS[0], [Range(0, len(OLD))])[0]
    first = of_old[: RECORD.size]
    length, _ = RECORD.unpack(first)

    def lying(_self: HostedBlobs, _project: str, _digest: Digest, _mean: int, ranges: Sequence[Range]) -> object:
        if lie == "a larger blob":
            return 1000 * length, [first * ((each.end - each.start) // length) for each in ranges]
        return len(new), [RECORD.pack(1000, bytes(16)) * ((each.end - each.start) // 1000) for each in ranges]

    made: list[object] = []
    monkeypatch.setattr(HostedBlobs, "chunks", lying)
    monkeypatch.setattr(patching, "Patching", lambda *found: made.append(found))
    there = RemoteBlob(Connection(server.url), f"projects/{PROJECT}", Digest.of(new), len(new))

    with pytest.raises(Corrupt, match=r"bytes, not|other stretches"):
        there.chunks(MEANS[0], [Range(0, len(new))])
    assert {"large": new} == receiver.read("cats:v1")
    assert [] == made


BAD_QUESTIONS: list[tuple[str, list[object]]] = [
    ("chunks", [MEANS[0] + 1, [(0, 1)]]),
    ("chunks", [MEANS[0], [(0, SPAN + 1)]]),
    ("chunks", [MEANS[0], [(0, 1)] * (RANGES + 1)]),
    ("chunks", [MEANS[0], [(-1, 1)]]),
    ("ranges", [[(2, 1)]]),
    ("ranges", [[(0, len(OLD) + 1)]]),
    ("ranges", [[(0, (1 << 64) - 1)]]),
    ("ranges", [[(0, 1)] * (MANY + 1)]),
]


@pytest.mark.parametrize(("what", "asked"), BAD_QUESTIONS)
def test_who_asks_for_too_much_is_refused(server: Served, sender: Machine, what: str, asked: list[object]) -> None:  # noqa: ARG001
    body = msgspec.msgpack.encode([bytes(Digest.of(OLD)), *asked])
    with pytest.raises(Invalid):
        Connection(server.url).ask("POST", f"projects/{PROJECT}/{what}", body, doing="asking", kind=MESSAGES)


BAD_PATCHES = [
    FRAME.pack(len(OLD), 1),
    FRAME.pack(0, len(OLD) + 1),
    FRAME.pack((1 << 64) - 2, 1),
    FRAME.pack(NEW, (1 << 64) - 1),
    FRAME.pack(NEW, 0),
    FRAME.pack(1, len(OLD) - 1) + FRAME.pack(0, 2),
]


@pytest.mark.parametrize("body", BAD_PATCHES)
def test_a_patch_that_cannot_be_is_refused(server: Served, sender: Machine, body: bytes) -> None:  # noqa: ARG001
    headers = {"Upload-Offset": "0", "Upload-Length": str(len(OLD)), "Upload-Base": Digest.of(OLD).hex()}
    path = f"projects/{PROJECT}/uploads/{'0' * 64}"
    with pytest.raises(Invalid, match="no patch"):
        Connection(server.url).ask("PUT", path, body, doing="sending", headers=headers)


def test_nobody_builds_on_what_another_project_has(server: Served, sender: Machine) -> None:  # noqa: ARG001
    """Whoever knows only the digest would get the bytes by committing them again."""
    headers = {"Upload-Offset": "0", "Upload-Length": str(len(OLD)), "Upload-Base": Digest.of(OLD).hex()}
    path = f"projects/mine/uploads/{Digest.of(OLD).hex()}"
    with pytest.raises(MissingObject):
        Connection(server.url).ask("PUT", path, FRAME.pack(0, len(OLD)), doing="sending", headers=headers)


# What the parts of it promise.


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BlobReader]:
    """Two MiB and a bit, as a blob."""
    folder = tmp_path_factory.mktemp("base")
    (folder / "file").write_bytes(OLD[:BASE])
    with Store.init(folder / "store") as store:
        store.put([folder / "file"], name="cats", type="dataset")
        with store.root.blobs.open(Digest.of(OLD[:BASE])) as reader:
            yield reader


BASE = 2 * MIB + 77
PIECES = st.lists(
    st.one_of(
        st.tuples(st.integers(1, 1 << 17), st.integers(0, BASE - (1 << 17))),
        st.tuples(st.integers(1, 5000), st.none()),
    ).map(lambda pair: Piece(*pair)),
    min_size=1,
    max_size=5,
)


@given(pieces=PIECES, data=st.data())
def test_a_patch_makes_what_it_was_made_of_wherever_it_is_cut(
    base: BlobReader, pieces: list[Piece], data: st.DataObject
) -> None:
    made = [OLD[source : source + size] if source is not None else bytes(size) for size, source in pieces]
    whole = b"".join(made)
    start = data.draw(st.integers(0, len(whole)))
    end = data.draw(st.integers(start, len(whole)))
    some = list(between(pieces, start, end))
    body = b"".join(write_patch(some, start, lambda first, last: iter([whole[first:last]])))
    cut = data.draw(st.integers(0, len(body)))
    came = bytearray()
    patcher = Patcher(base, end - start, came.extend)

    patcher.feed(body[:cut])
    assert whole[start : start + len(came)] == came
    patcher.feed(body[cut:])

    assert whole[start:end] == came
    assert len(body) == patch_size(some)
    assert end - start == sum(piece.size for piece in some)
    assert new_bytes(some) <= end - start


NUMBERS = st.one_of(st.integers(0, 3), st.integers(BASE - 3, BASE + 3), st.integers(NEW - 1, NEW))


@given(frames=st.lists(st.tuples(NUMBERS, NUMBERS), max_size=5), rest=st.binary(max_size=40))
def test_whatever_is_said_to_be_a_patch_makes_no_more_than_is_left(
    base: BlobReader, frames: list[tuple[int, int]], rest: bytes
) -> None:
    came = 0

    def write(data: memoryview) -> None:
        nonlocal came
        came += len(data)

    with contextlib.suppress(Invalid):
        Patcher(base, BASE, write).feed(b"".join(FRAME.pack(*frame) for frame in frames) + rest)

    assert BASE >= came


class _Imagined:
    """A blob of chunks that are only numbers, so that a large one needs no room. See Chunked."""

    def __init__(self, numbers: list[int]) -> None:
        self._numbers = numbers
        self.asked = 0
        """Bytes that were asked about."""

    @property
    def size(self) -> int:
        return len(self._numbers) * MEANS[0]

    def chunks(self, mean: int, ranges: Sequence[Range]) -> list[bytes]:
        assert mean == MEANS[0]
        self.asked += sum(each.end - each.start for each in ranges)
        return [
            b"".join(RECORD.pack(mean, number.to_bytes(16, "big")) for number in self._numbers[first:end])
            for first, end in ((-(-each.start // mean), each.end // mean) for each in ranges)
        ]


GIB_OF_CHUNKS = range(1 << 14)


@pytest.mark.parametrize(
    ("new", "share"),
    [
        ([number + (1 << 20) for number in GIB_OF_CHUNKS], None),
        ([*GIB_OF_CHUNKS[::-1]], 0.0),
        ([*range(1 << 20, (1 << 20) + 5000), *GIB_OF_CHUNKS], 0.25),
        ([*GIB_OF_CHUNKS[:8000], *range(1 << 20, (1 << 20) + 3), *GIB_OF_CHUNKS[8000:]], 0.001),
        ([*GIB_OF_CHUNKS[:3000], *GIB_OF_CHUNKS[9000:]], 0.001),
        ([number if number % 8 else number + (1 << 20) for number in GIB_OF_CHUNKS], 0.13),
    ],
    ids=["nothing the same", "backwards", "300 MB before it", "inserted", "300 MB taken out", "each eighth chunk"],
)
def test_what_is_hopeless_is_given_up_soon_and_nothing_else(new: list[int], share: float | None) -> None:
    """A first look costs a few MB of a file that may have a terabyte."""
    old, changed = _Imagined([*GIB_OF_CHUNKS]), _Imagined(new)
    pieces = find_pieces(old, changed)

    if share is None:
        assert pieces is None
        assert 40 * MIB > max(old.asked, changed.asked)
    else:
        assert pieces is not None
        assert share * changed.size >= new_bytes(pieces)
        assert changed.size == sum(piece.size for piece in pieces)


def test_however_large_a_blob_is_its_chunks_are_not_too_many() -> None:
    """What is known of each is in memory."""
    assert [64 << 10, 64 << 10, 128 << 10, 4 << 20] == [mean_for(size) for size in (1, 8 << 30, (8 << 30) + 1, 1 << 40)]
