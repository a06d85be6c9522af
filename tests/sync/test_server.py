"""A store behind a server: what is pushed to it is whole there, and what is not is refused."""

from __future__ import annotations

import contextlib
import functools
import http.server
import os
import socket
import threading
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from artstore.errors import Conflict, Invalid, Unreachable
from artstore.lifecycle.upstream import followed, waiting
from artstore.model.digest import Digest
from artstore.model.manifest import BlobEntry, digest_of_lines, encode_full
from artstore.model.records import (
    LONGEST_CHANGE,
    Commit,
    Create,
    Delete,
    EditMetadata,
    FinishRun,
    Op,
    Retype,
    StartRun,
    Use,
    VersionRecord,
    decode_op,
    encode_op,
)
from artstore.storage.blobs import SMALL
from artstore.store import Store
from artstore.sync import cut, lengths, protocol, push
from artstore.sync.adopt import add_upstream
from artstore.sync.hosting.hosted import Hosted
from artstore.sync.http.connection import Connection, decode
from artstore.sync.http.remote import HttpRemote
from artstore.sync.http.wire import BODY, Claimed, header
from artstore.sync.protocol import FORMAT, Slot, encode_manifests, encode_slot
from artstore.sync.push import lacking, offers
from artstore.sync.remotes import Settings, add_remote, list_remotes, open_remote, read_remotes, remove_remote
from artstore.sync.rounds import Verb, exchange
from tests.sync.conftest import PROJECT, Machine
from tests.sync.serving import Served, served

Make = Callable[[str], Machine]
LARGE = os.urandom(3 * SMALL + 7)
NONCE = "0" * 16
NOTHING = str(digest_of_lines([]))
DEEP: dict[str, Any] = functools.reduce(lambda inner, _: {"a": inner}, range(64), {})


def _create(**fields: Any) -> Create:
    given = {"at_us": 1, "nonce": NONCE, "kind": "sequence", "name": "c", "type": "t", "description": None}
    return Create(**{**given, **fields})


def _commit(**fields: Any) -> Commit:
    given = {"collection": "", "manifest": NOTHING, "created_us": 1, "run": None, "description": None, "metadata": {}}
    record = VersionRecord(**{**given, "entries": 0, "bytes": 0, "nonce": NONCE, **fields})
    return Commit(at_us=1, nonce=NONCE, record=record)


def _run(**fields: Any) -> StartRun:
    given: dict[str, Any] = {
        "run": "r",
        "name": None,
        "job_type": None,
        "group": None,
        "notes": None,
        "tags": [],
        "config": {},
    }
    return StartRun(at_us=1, nonce=NONCE, **{**given, **fields})


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Served]:
    with served(tmp_path / "server") as found:
        yield found


@pytest.fixture
def machine(tmp_path: Path, server: Served) -> Iterator[Make]:
    """Set up a machine with the server as its upstream."""
    made: list[Machine] = []

    def make(name: str) -> Machine:
        made.append(Machine(tmp_path, server.url, name))
        return made[-1]

    yield make
    for each in made:
        each.store.close()


def test_the_server_is_a_store_that_has_what_was_pushed(server: Served, machine: Make) -> None:
    one = machine("one")
    one.put({"a": b"1", "large": LARGE}, aliases=["best"])
    one.push()

    assert LARGE == b"".join(server.store.read("cats:best", "large"))
    assert server.store.verify().ok
    assert one.names() == [(each.name, each.id, each.aliases) for each in server.store.versions("cats")]


def test_what_the_server_had_before_is_offered(tmp_path: Path) -> None:
    with Store.init(tmp_path / "server") as store:
        (tmp_path / "old").write_bytes(b"old")
        store.put([tmp_path / "old"], name="cats", type="dataset")
    with served(tmp_path / "server") as server:
        one = Machine(tmp_path, server.url, "one")
        one.pull()
        (tmp_path / "new").write_bytes(b"new")
        server.store.put([tmp_path / "new"], name="cats", type="dataset")
        one.pull()

    assert ["cats:v1", "cats:v0"] == [name for name, _, _ in one.names()]
    one.store.close()


@pytest.mark.parametrize("verb", ["push", "sync"])
def test_a_round_of_nothing_new_is_one_request_and_no_write(server: Served, machine: Make, verb: Verb) -> None:
    one = machine("one")
    for project in ("zoo", "farm"):
        one.put({"a": b"1"}, project=project)
    one.move("sync")
    server.requests.clear()
    before = server.written()

    one.move(verb)

    assert ["GET /sync/1/projects"] == server.requests
    assert before == server.written()


def test_what_its_makers_are_to_decide_is_not_asked_for_where_nothing_is_new(
    server: Served, machine: Make, tmp_path: Path
) -> None:
    """Each of fifty nodes that followed an upstream before asked at each round for bytes that only the maker has."""
    (tmp_path / "depot").mkdir()
    maker, node = (Machine(tmp_path, tmp_path / "depot", name) for name in ("maker", "node"))
    maker.put({"a": b"1"})
    maker.push()
    node.pull()
    other = machine("other")
    other.put({"a": b"2"}, name="dogs")
    other.store.put([other.folder / "tree"], name="cats", type="model")
    other.push()
    remove_remote(node.store.path, "hub")
    add_upstream(node.store, "hub", server.url, join=True)
    (report,) = node.move("sync").projects
    server.requests.clear()
    node.move("sync")

    assert (2, []) == (report.conflicts, report.lost)
    assert ["GET /sync/1/projects"] == server.requests
    for each in (maker, node):
        each.store.close()


def test_what_is_damaged_on_a_server_is_named_and_holds_up_nothing_else(server: Served, machine: Make) -> None:
    """And nobody takes a server that has lost a few bytes for one that cannot be reached."""
    one, other = machine("one"), machine("other")
    one.put({"small": b"small", "fine": b"fine", "large": LARGE, "last": LARGE[::-1]})
    one.push()
    for data in (b"small", LARGE):
        (place,) = server.store.root.blobs.places(Digest.of(data))
        Path(place.path).chmod(0o644)
        with Path(place.path).open("r+b") as file:
            file.seek(place.offset + place.size - 1)
            file.write(bytes([data[-1] ^ 1]))
    (report,) = exchange(other.store, "pull", blobs=True).projects

    assert ["cats:v0/large", "cats:v0/small"] == sorted(each.path for each in report.lost)
    assert (5, 2) == (report.exit_code, report.pulled.blobs)
    # A line, where two stacks were.
    assert any("is damaged" in line for line in server.log)


def test_many_small_blobs_travel_together(server: Served, machine: Make) -> None:
    one, other = machine("one"), machine("other")
    one.put({str(number): b"%d" % number for number in range(2_000)})
    server.requests.clear()

    one.push()
    other.move("pull", blobs=True)

    assert 25 >= len(server.requests)
    assert 2_000 == len(other.read("cats:v0"))


def test_a_pull_of_many_slots_is_few_requests(server: Served, machine: Make) -> None:
    one, other = machine("one"), machine("other")
    for number in range(8):
        one.put({"a": b"%d" % number})
        one.push()
    server.requests.clear()

    other.pull()

    assert 4 >= len(server.requests)
    assert one.names() == other.names()


def test_a_slot_with_a_hole_is_refused_and_says_which(server: Served, machine: Make) -> None:
    """Whoever sees a version may rely on all of it."""
    one = machine("one")
    one.put({"a": b"1", "large": LARGE})
    connection = Connection(server.url)
    (offer,) = offers(one.store.root, PROJECT)
    cargo = lacking(one.store.root, HttpRemote(connection).shelf(one.store.root, PROJECT, ""), offer.manifests)

    without = _claim(connection, one, {})
    data = encode_manifests(cargo.manifests)
    connection.ask("PUT", f"projects/{PROJECT}/manifests/{'0' * 32}", data, doing="sending")
    with_manifest = _claim(connection, one, {"0" * 32: [str(each.digest) for each in cargo.manifests]})

    assert not without.claimed
    assert [str(digest) for digest in offer.manifests] == without.lacks.manifests
    assert not with_manifest.claimed
    assert {Digest.of(b"1").hex(), Digest.of(LARGE).hex()} == set(with_manifest.lacks.blobs)
    assert [] == list(HttpRemote(connection).projects())


def test_a_slot_that_says_nothing_is_not_begun(server: Served, machine: Make) -> None:
    """It only ends things, as each of none does, and could go beyond a quota for ever."""
    one = machine("one")
    one.put({"a": b"1"})
    one.push()
    last = followed(one.store.root, PROJECT)
    assert last is not None
    slot = Slot(
        format=FORMAT,
        project=PROJECT,
        log=last.log,
        number=2,
        before=last.head,
        store=one.store.root.format.store_id,
        transactions=[],
    )
    with pytest.raises(Invalid, match="no ops"):
        Connection(server.url).ask("PUT", f"projects/{PROJECT}/slots/2", encode_slot(slot), doing="claiming")

    one.put({"a": b"2"})
    one.push()


def test_a_list_of_files_that_was_cut_is_named_and_not_its_slot(server: Served, machine: Make) -> None:
    """It was refused with all that came along, and the way out that was named put back a slot that was whole."""
    one = machine("one")
    one.put({"a": b"1"})
    one.push()
    (path,) = (each for each in server.store.path.rglob("hosted/manifests/*/*") if each.is_file())
    path.chmod(0o644)
    path.write_bytes(path.read_bytes()[:10])
    (pulled,) = exchange(machine("two").store, "pull").projects

    assert path.name in (pulled.error or "")
    assert "--read-all" in (pulled.error or "")


def test_what_was_put_twice_and_deleted_before_it_was_sent_holds_nothing_up(machine: Make) -> None:
    """The second one was equal to the first when it was put, and makes no version: nobody sends a list of its files."""
    one = machine("one")
    one.put({"a": b"1"})
    one.put({"a": b"1"})
    one.store.delete("cats:v0", force=True)
    one.put({"a": b"2"})
    one.push()
    two = machine("two")
    two.pull()

    assert [("cats:v1", {"a": b"2"})] == [(name, two.read(name)) for name, *_ in two.names()]


def test_an_end_before_the_beginning_excuses_no_hole(server: Served, machine: Make) -> None:
    """What is deleted before it is there stays, and everybody would see it without its bytes."""
    one = machine("one")
    one.put({"a": b"1"})
    one.store.delete("cats:v0", force=True)
    connection = Connection(server.url)

    assert _claim(connection, one, {}, backwards=True).lacks.manifests
    assert _claim(connection, one, {}).claimed


@pytest.mark.parametrize("how", ["the end of a collection", "a gathering of a version"])
def test_an_end_that_ends_nothing_excuses_no_hole(server: Served, machine: Make, how: str) -> None:
    """Who may write could name the files of another project, and be given them as their own later."""
    one = machine("one")
    one.put({"a": b"1"})
    ops = [decode_op(op.body) for op in waiting(one.store.root, PROJECT)]
    commit = next(op for op in ops if isinstance(op, Commit))
    if how == "the end of a collection":
        ends: Op = Delete(at_us=1, nonce="0" * 32, version=commit.record.collection, store="0" * 32)
    else:
        ends = Commit(at_us=1, nonce="0" * 32, record=commit.record, parts=[str(commit.record.id)])

    answer = _claim(Connection(server.url), one, {}, behind=[ends])

    assert not answer.claimed
    assert [commit.record.manifest] == answer.lacks.manifests


@pytest.mark.parametrize(
    ("op", "match"),
    [
        (_create(at_us=1 << 63), "larger than any time"),
        (_create(at_us=-(1 << 62)), "larger than any time"),
        (_create(type=""), "type is empty"),
        (_create(type="x" * 1_000_000), "1000000 characters"),
        (Retype(at_us=1, nonce=NONCE, collection="c", type="\n"), "cannot be seen"),
        (_commit(created_us=1 << 63), "larger than any time"),
        (_commit(bytes=1 << 64), "larger than any time"),
        (_commit(entries=-1), "counts -1"),
        (_commit(run="a/b"), "not a run id"),
        (_commit(entries=2), "says that it has 2 files"),
        (_commit(metadata=DEEP), "deeper than 64"),
        (EditMetadata(at_us=1, nonce=NONCE, version="v", set=DEEP, remove=[]), "deeper than 64"),
        (_run(config=DEEP), "deeper than 64"),
        (_run(tags=[""]), "not a tag of a run"),
        (_run(group="x" * 513), "has 513 characters"),
        (FinishRun(at_us=1, nonce=NONCE, run="", state="crashed"), "not a run id"),
        (
            Use(at_us=1, nonce=NONCE, run="r", project="p", version="v", name="\n", digest=NOTHING),
            "none can be called",
        ),
    ],
)
def test_what_could_not_be_done_here_is_not_taken_from_elsewhere(
    server: Served, machine: Make, op: Op, match: str
) -> None:
    """Once such an op is claimed nobody can follow the log any more, and it stays so."""
    one = machine("one")
    connection = Connection(server.url)
    data = encode_manifests([encode_full(digest_of_lines([]), [])])
    connection.ask("PUT", f"projects/{PROJECT}/manifests/{'0' * 32}", data, doing="sending")

    with pytest.raises(Invalid, match=match):
        _claim(connection, one, {"0" * 32: [NOTHING]}, behind=[op])

    assert [] == list(HttpRemote(connection).projects())


def test_a_log_that_could_not_be_counted_is_not_begun(server: Served, machine: Make) -> None:
    """Beside a project whose name differs only in case it would stand in `status` for ever, and nobody could use it."""
    one = machine("one")
    one.put({"a": b"1"})
    one.push()
    slot = encode_slot(
        Slot(
            format=1,
            project=PROJECT.upper(),
            log="0" * 32,
            number=1,
            before=None,
            store="0" * 32,
            transactions=[[msgspec.Raw(encode_op(_create()))]],
        )
    )
    connection = Connection(server.url)

    with pytest.raises(Conflict, match="only in case"):
        connection.ask("PUT", f"projects/{PROJECT.upper()}/slots/1", slot, doing="writing")
    assert [PROJECT] == list(server.hosted.quotas.sizes())


def test_what_a_slot_may_name_is_not_written_over(server: Served, machine: Make) -> None:
    """Who may write could else leave everybody who comes later with a log that nobody can follow."""
    one = machine("one")
    one.put({"a": b"1"})
    one.push()
    (path,) = (server.store.path / "hosted" / "manifests").rglob("?" * 32)
    right = path.read_bytes()
    line = BlobEntry("b", Digest.of(b"1"), 1).line()
    other = encode_manifests([encode_full(digest_of_lines([line]), [line])])
    connection = Connection(server.url)

    def send(data: bytes) -> None:
        connection.ask("PUT", f"projects/{PROJECT}/manifests/{path.name}", data, doing="sending")

    send(right)
    with pytest.raises(Conflict, match="another name"):
        send(other)
    assert right == path.read_bytes()
    path.write_bytes(right[:-1])
    send(right)
    assert right == path.read_bytes()


def test_what_is_freed_on_the_server_while_it_was_offered_is_sent_again(server: Served, machine: Make) -> None:
    """A claim asks anew for all that it needs, whatever was said to be there before."""
    one = machine("one")
    one.put({"a": b"1"})
    shelf = open_remote(Settings(url=server.url)).shelf(one.store.root, PROJECT, "")
    with one.store.root.session("test") as session:
        shelf.send(one.store.root, session, [], [Digest.of(b"1")])
    server.hosted.rest(0)
    server.store.gc(grace_s=0)

    one.push()

    assert {"a": b"1"} == {
        each.path: b"".join(server.store.read("cats", each.path)) for each in one.store.entries("cats")
    }


def test_what_was_being_written_when_a_server_was_killed_goes_after_a_day(server: Served, machine: Make) -> None:
    """Nobody else looks there, and after years of restarts it would fill the disk."""
    a = machine("a")
    a.put({"x": b"0"})
    a.push()
    log = server.store.path / "hosted" / "log" / "uncategorized"
    old, new = log / ".000000000002.0123.tmp", log / ".000000000002.4567.tmp"
    for path in (old, new):
        path.write_bytes(b"half a slot")
    os.utime(old, (0, 0))
    server.hosted.rest()

    assert {new.name, "000000000001"} == {path.name for path in log.iterdir()}


def test_bytes_that_are_not_what_was_announced_are_refused(server: Served) -> None:
    connection = Connection(server.url)
    wrong = header(Digest.of(b"other"), 1) + b"1"

    with pytest.raises(Invalid, match="something else") as small:
        connection.ask("POST", f"projects/{PROJECT}/packs", wrong, doing="sending")
    headers = {"Upload-Offset": "0", "Upload-Length": str(len(LARGE))}
    path = f"projects/{PROJECT}/uploads/{Digest.of(b'other').hex()}"
    with pytest.raises(Invalid, match="something else") as large:
        connection.ask("PUT", path, LARGE, doing="sending", headers=headers)

    assert ["digest-mismatch"] * 2 == [small.value.code, large.value.code]
    assert 0 == server.store.gc(dry_run=True).freed_blobs


@pytest.mark.parametrize("asked", ["POST {}/packs", "PUT {}/slots/1", f"PUT {{}}/manifests/{'0' * 32}"])
def test_bodies_that_come_slowly_take_no_memory_of_the_server(server: Served, asked: str) -> None:
    """A crowd of clients with a bad network, each with megabytes on their way, would else have the server killed."""
    head = (
        f"{asked.format(f'/sync/1/projects/{PROJECT}')} HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\n"
        f"Content-Length: {BODY}\r\n\r\n"
    ).encode()
    request = head + bytes(BODY - 1)
    tracemalloc.start()
    try:
        with contextlib.ExitStack() as ending:
            for _client in range(6):
                connection = ending.enter_context(socket.create_connection(("127.0.0.1", server.port)))
                connection.sendall(request)
            peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert peak < BODY


def test_threads_of_a_server_keep_little_of_the_catalog_in_memory(server: Served) -> None:
    """Eight of them have a connection each, and where a million blobs are kept each would fill its own cache."""
    sizes: list[object] = []
    thread = threading.Thread(target=lambda: sizes.append(server.store.root.catalog.one("PRAGMA cache_size")))
    thread.start()
    thread.join()

    assert [(-8_000,)] == sizes


def test_a_manifest_that_lies_about_a_size_is_refused(server: Served, machine: Make) -> None:
    """What the store knows of a blob is everybody's."""
    one = machine("one")
    one.put({"a": b"1"})
    one.push()
    line = BlobEntry("b", Digest.of(b"1"), 2).line()
    lie = encode_full(digest_of_lines([line]), [line])
    connection = Connection(server.url)
    connection.ask("PUT", f"projects/{PROJECT}/manifests/{'0' * 32}", encode_manifests([lie]), doing="sending")
    one.put({"a": b"2"})

    with pytest.raises(Invalid, match="2 bytes, which it has not"):
        _claim(connection, one, {"0" * 32: [str(lie.digest)]})


def test_a_list_of_too_many_files_is_refused_before_it_is_read(
    server: Served, machine: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """2 MB can say that four million files follow, which took 1.3 GB of the server's memory and half a minute."""
    monkeypatch.setattr(lengths, "MOST_ENTRIES", 2)
    one = machine("one")
    one.put({"a": b"1", "b": b"1", "c": b"1"})
    one.put({"a": b"2"})
    lines = [BlobEntry(str(number), Digest.of(b""), 0).line() for number in range(6)]
    honest = encode_full(digest_of_lines(lines), lines)
    connection = Connection(server.url)

    for long in (honest, msgspec.structs.replace(honest, entries=1)):
        data = encode_manifests([long])
        with pytest.raises(Invalid, match="too large"):
            connection.ask("PUT", f"projects/{PROJECT}/manifests/{'0' * 32}", data, doing="sending")
    (project,) = exchange(one.store, "push").projects

    assert project.error is not None
    assert "2 files" in project.error
    assert ["a"] == [each.path for each in server.store.entries("cats:v0")]


def test_a_store_that_follows_another_log_keeps_none(tmp_path: Path, machine: Make) -> None:
    one = machine("one")
    one.put({"a": b"1"})
    one.push()
    one.store.close()
    with served(one.store.path) as chained:
        other = Machine(tmp_path, chained.url, "other")
        other.put({"b": b"2"})
        report = exchange(other.store, "push")
        other.store.close()

    assert ["not-the-owner"] == [project.code for project in report.projects]


def test_a_server_follows_nobody(server: Served, machine: Make, tmp_path: Path) -> None:
    """A chain would have two orders: refused from both ends, before anything is noted or claimed."""
    server.store.put([__file__], name="own", type="code")
    server.hosted.heads()
    with pytest.raises(Conflict, match="serves the log") as caught:
        add_upstream(server.store, "hub", f"file://{tmp_path}", join=True)
    follower = machine("follower")
    follower.put({"a": b"2"})
    follower.store.close()
    with served(follower.store.path) as chained:
        heads = chained.hosted.heads()

    assert "not-the-owner" == caught.value.code
    assert {} == read_remotes(server.store.path)
    assert {} == heads
    assert not list((follower.store.path / "hosted").rglob("0*"))


def test_what_is_deleted_in_the_servers_own_store_goes_for_all(server: Served, machine: Make) -> None:
    """Forgotten there alone, its bytes would be freed there, and others would see a version with a hole."""
    one = machine("one")
    for number in range(4):
        one.put({"a": b"%d" % number})
    one.put({"a": b"0"}, name="dogs")
    one.push()

    server.store.delete("cats:v0")
    server.store.prune(["cats"], keep_last=2)
    server.store.delete_collection("dogs")
    server.hosted.rest(0)
    server.store.gc(grace_s=0)
    one.pull()

    assert ["cats:v3", "cats:v2"] == [name for name, _, _ in one.names()]
    assert ["cats"] == [each.name for each in one.store.collections()]
    assert server.store.verify().ok


def test_one_process_serves_a_store(server: Served) -> None:
    with pytest.raises(Conflict, match="hosting"):
        Hosted(server.store)


def test_what_is_no_server_is_not_taken_for_one(tmp_path: Path) -> None:
    """A portal that answers everything with a page would look like an empty remote."""

    class Portal(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *_: object) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Portal) as portal, Store.init(tmp_path / "store") as store:
        threading.Thread(target=portal.serve_forever).start()
        with pytest.raises(Unreachable, match="no artstore server"):
            add_remote(store.path, "hub", f"http://127.0.0.1:{portal.server_port}", upstream=True, join=False)
        portal.shutdown()

    assert [] == list_remotes(store.root)


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("http://hub.example", "insecure-url"),
        ("https://me:secret@hub.example", "password-in-url"),
        ("https://", "bad-url"),
        ("https://hub.example/?token=secret", "bad-url"),
        ("https://hub.example:port", "bad-url"),
    ],
)
def test_an_address_that_would_give_something_away_is_refused(url: str, code: str) -> None:
    with pytest.raises(Invalid) as refused:
        open_remote(Settings(url=url))

    assert code == refused.value.code
    assert "secret" not in refused.value.message


def _claim(
    connection: Connection,
    machine: Machine,
    manifests: dict[str, list[str]],
    *,
    backwards: bool = False,
    behind: Sequence[Op] = (),
) -> Claimed:
    """Offer what waits, as the next slot, perhaps the last of it first, and other ops behind it."""
    root = machine.store.root
    ops = [msgspec.Raw(each) for each in (*(op.body for op in waiting(root, PROJECT)), *map(encode_op, behind))]
    last = followed(root, PROJECT)
    slot = Slot(
        format=FORMAT,
        project=PROJECT,
        log="0" * 32 if last is None else last.log,
        number=1 if last is None else last.slot + 1,
        before=None if last is None else last.head,
        store=root.format.store_id,
        transactions=[[*ops[-1:], *ops[:-1]] if backwards else ops],
        manifests=manifests,
    )
    path = f"projects/{PROJECT}/slots/{slot.number}"
    answer = connection.ask("PUT", path, encode_slot(slot), doing="claiming")
    found: Claimed = decode(answer.data, Claimed, "")
    return found


def test_what_is_too_large_to_travel_is_refused_when_it_is_put(machine: Make) -> None:
    """It was acknowledged, and no server ever took it: nothing that came behind it in the project was sent any more."""
    one = machine("one")
    one.put({"a": b"1"})
    with pytest.raises(Invalid, match="into a file") as caught:
        one.put({"a": b"2"}, metadata={"x": "a" * LONGEST_CHANGE})
    with pytest.raises(Invalid, match="into a file"):
        one.store.describe("cats:v0", "a" * LONGEST_CHANGE)
    one.put({"b": b"3"}, name="dogs")

    assert ("too-large", 2) == (caught.value.code, one.push().projects[0].pushed.versions)


def test_a_long_backlog_with_deletions_in_it_goes_in_many_slots(
    server: Served, machine: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One deletion put all that waited behind it into one slot, which a server refuses above 64 MiB, for ever."""
    monkeypatch.setattr(cut, "_SLOT_BYTES", 1)
    monkeypatch.setattr(cut, "_LONG_BYTES", 3_000)
    one = machine("one")
    for number in range(12):
        # The second of each three stays: of the others the bytes are gone, and of some an alias once stood there.
        one.put({"a": b"%d" % number}, aliases=["best"])
        if number > 1 and number % 3 != 1:
            one.store.delete(f"cats:v{number - 2}", force=True)
    one.store.gc(grace_s=0)
    before = one.names()
    (pushed,) = one.push().projects
    other = machine("other")
    other.pull()

    assert pushed.pushed.slots > 3
    assert before == one.names() == other.names() == [(v.name, v.id, v.aliases) for v in server.store.versions("cats")]
    assert server.store.verify().ok
    assert [] == waiting(one.store.root, PROJECT)


def test_a_version_that_cannot_be_ended_in_its_slot_comes_whole_or_stays(
    server: Served, machine: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("_SLOT_BYTES", "_LONG_BYTES", "_LONGEST_BYTES"):
        monkeypatch.setattr(cut, name, 1)
    one = machine("one")
    for name in ("cats", "dogs"):
        one.put({name: b"1"}, name=name)
    one.put({"b": b"2"}, name="birds")
    for name in ("cats", "dogs"):
        one.store.tag(f"{name}:v0", ["old"])
        one.store.delete(f"{name}:v0", force=True)
        if name == "cats":
            one.store.gc(grace_s=0)
    (pushed,) = exchange(one.store, "push").projects
    (again,) = exchange(one.store, "push").projects

    assert ["birds"] == sorted(each.name for each in server.store.collections() if each.versions)
    assert server.store.verify().ok
    assert pushed.error is not None
    assert "cats:v0" in pushed.error
    assert "its bytes are gone" in pushed.error
    assert (pushed.error, 0) == (again.error, again.pushed.slots)


def test_many_long_lists_of_files_go_one_by_one(server: Served, machine: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """All lists of a slot were one body, which a server refuses above 256 MiB: 60 datasets of 100,000 files."""
    one = machine("one")
    for number in range(5):
        one.put({f"{number}{each}": b"1" for each in "abc"}, name=f"c{number}")
    monkeypatch.setattr(protocol, "_OBJECT_BYTES", 10)
    # Two of them are too long together, which their number of files does not show.
    monkeypatch.setattr(push, "_LISTS_BYTES", 150)
    (pushed,) = one.push().projects

    assert 5 == pushed.pushed.slots
    assert 5 == sum("/manifests/" in each for each in server.requests)
    assert server.store.verify().ok


def test_a_list_of_files_that_is_long_alone_goes_behind_a_short_one(
    machine: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A push offered both together again and again, and never came to its end."""
    one = machine("one")
    one.put({"a": b"1"})
    one.put({str(number): b"1" for number in range(100)}, name="many")
    for number in range(5):
        one.put({"a": b"1"}, name=f"c{number}")
    monkeypatch.setattr(push, "_LISTS_BYTES", 1000)
    (pushed,) = one.push().projects

    assert 7 == pushed.pushed.versions
    # What comes behind it goes together again.
    assert 7 > pushed.pushed.slots
