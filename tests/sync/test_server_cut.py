"""What is cut on its way to a server or from it goes on where it was, and whoever dies in between has lost nothing."""

from __future__ import annotations

import http.server
import json
import os
import socket
import socketserver
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from artstore.errors import Conflict, Corrupt, Invalid, StorageFull, Unreachable
from artstore.lifecycle.upstream import followed
from artstore.model.digest import Digest
from artstore.storage.blobs import SMALL
from artstore.storage.intake import Intake
from artstore.store import Store
from artstore.sync.delta.patch import FRAME
from artstore.sync.hosting import incoming
from artstore.sync.http import connection, uploading
from artstore.sync.http.connection import Connection
from artstore.sync.http.receiving import Receiver
from artstore.sync.http.uploading import Stopped, send_large
from artstore.sync.http.wire import LARGE, MARK, PREFIX, header
from artstore.sync.objects.pacing import Pace
from artstore.sync.rounds import exchange
from tests.chaos import Chaos, chaos
from tests.sync.conftest import PROJECT, Machine
from tests.sync.serving import Served, ServerProcess, served

BYTES = os.urandom(6 * SMALL + 7)
HALF = len(BYTES) // 2
HEX = Digest.of(BYTES).hex()
Make = Callable[[str], Machine]

_SAID = '{"all": "that is here"}'


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


@pytest.mark.parametrize("cut", [20_000, HALF, len(BYTES) - 1])
def test_an_upload_goes_on_where_it_was_cut(server: Served, wire: Chaos, machine: Make, cut: int) -> None:
    one = machine(_url(wire))
    one.put({"large": BYTES})
    wire.cut_after(cut, way="up")

    one.push()

    assert len(BYTES) + (4 << 20) > server.received
    assert BYTES == b"".join(server.store.read("cats", "large"))


@pytest.mark.parametrize("cut", [20_000, HALF, len(BYTES) - 1])
def test_a_download_goes_on_where_it_was_cut(server: Served, wire: Chaos, machine: Make, cut: int) -> None:
    one, other = machine(server.url), machine(_url(wire))
    one.put({"large": BYTES})
    one.push()
    other.pull()
    wire.cut_after(cut, way="down")

    assert {"large": BYTES} == other.read("cats")
    assert [] == list((other.store.path / "sync" / "partial").iterdir())


def test_an_upload_goes_on_after_a_restart_of_both(tmp_path: Path, machine: Make) -> None:
    with served(tmp_path / "server") as server:
        _send_half(server)
    with served(tmp_path / "server") as server:
        one = machine(server.url)
        one.put({"large": BYTES})
        one.push()

        assert len(BYTES) - HALF + 10_000 > server.received
        assert server.store.verify().ok


def test_what_came_of_an_upload_is_not_gone_on_with_where_it_is_not_the_same(
    tmp_path: Path, server: Served, machine: Make
) -> None:
    """A power cut leaves files whose last bytes are others than were written."""
    _send_half(server)
    (part,) = (tmp_path / "server" / "hosted" / "uploads").rglob(HEX)
    part.write_bytes(part.read_bytes()[:-1] + b"!")
    one = machine(server.url)
    one.put({"large": BYTES})

    one.push()

    assert BYTES == b"".join(server.store.read("cats", "large"))
    assert not part.exists()


def test_an_upload_is_taken_over_from_one_that_hangs(
    server: Served, machine: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who comes back by another network is not told for ever that somebody, who was he himself, is at it just now."""
    # Both a tenth of what they are.
    monkeypatch.setattr(incoming, "HANGS_S", incoming.HANGS_S / 10)
    monkeypatch.setattr(uploading, "_PAUSE_S", uploading._PAUSE_S / 10)
    one = machine(server.url)
    one.put({"large": BYTES})
    with socket.create_connection(("127.0.0.1", server.port)) as hanging:
        head = f"PUT {PREFIX}/projects/{PROJECT}/uploads/{HEX} HTTP/1.1\r\nHost: 127.0.0.1\r\nUpload-Offset: 0\r\n"
        sizes = f"Upload-Length: {len(BYTES)}\r\nContent-Length: {len(BYTES)}\r\n\r\n"
        hanging.sendall(f"{head}{sizes}".encode() + BYTES[:HALF])
        while not server.hosted.blobs.stand(PROJECT, Digest.of(BYTES)).offset:
            time.sleep(0.01)
        before = server.received
        one.push()

    assert len(BYTES) > server.received - before
    assert BYTES == b"".join(server.store.read("cats", "large"))


def _send_half(server: Served) -> None:
    headers = {"Upload-Offset": "0", "Upload-Length": str(len(BYTES))}
    path = f"projects/{PROJECT}/uploads/{HEX}"
    Connection(server.url).ask("PUT", path, BYTES[:HALF], doing="sending", headers=headers)


@pytest.mark.parametrize("there", [BYTES[:HALF], BYTES[: HALF - 1] + b"!", BYTES], ids=["half", "damaged", "all"])
def test_a_download_goes_on_after_a_restart(server: Served, machine: Make, there: bytes) -> None:
    one, other = machine(server.url), machine(server.url)
    one.put({"large": BYTES})
    one.push()
    other.pull()
    _keep_part(other.store, there)

    assert {"large": BYTES} == other.read("cats")
    assert other.store.verify().ok


def test_what_nobody_goes_on_with_is_removed_after_a_week(server: Served, machine: Make) -> None:
    """A18: the halves of uploads that were given up would fill the disk of either side in the end."""
    _send_half(server)
    (part,) = (server.store.path / "hosted" / "uploads").rglob(HEX)
    one = machine(server.url)
    one.put({"large": BYTES[:-1]})
    one.push()
    other = machine(server.url)
    other.pull()
    _keep_part(other.store, b"left")
    (left,) = (other.store.path / "sync" / "partial").iterdir()

    for days, is_there in ((6, True), (8, False)):
        for path in (part, left):
            os.utime(path, (time.time() - days * 86_400,) * 2)
        server.hosted.rest()
        if not is_there:
            other.read("cats")
        assert (is_there, is_there) == (part.exists(), left.exists())


def _keep_part(store: Store, data: bytes) -> None:
    (store.path / "sync" / "partial").mkdir(parents=True, exist_ok=True)
    (store.path / "sync" / "partial" / HEX).write_bytes(data)


@contextmanager
def _deaf(status: int) -> Iterator[tuple[str, list[str | None]]]:
    """A server that does not hear which part of a blob is asked for, and which parts were."""
    asked: list[str | None] = []

    class Deaf(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            self._answer(200, header(Digest.of(BYTES), LARGE))

        def do_GET(self) -> None:
            asked.append(self.headers["range"])
            self._answer(status if "range" in self.headers else 200, BYTES)

        def _answer(self, code: int, body: bytes) -> None:
            self.send_response(code)
            self.send_header(MARK, "1")
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Content-Range", f"bytes 0-{len(body) - 1}/{len(body)}")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Deaf) as listening:
        threading.Thread(target=listening.serve_forever).start()
        try:
            yield f"http://127.0.0.1:{listening.server_port}", asked
        finally:
            listening.shutdown()


def test_a_whole_answer_is_never_put_behind_what_is_there(tmp_path: Path) -> None:
    """200 instead of 206: proxies and simple servers do that, and a file that is twice too long comes of it."""
    with Store.init(tmp_path / "store") as store, _deaf(200) as (url, asked):
        _keep_part(store, BYTES[:HALF])
        with store.root.session("test") as session, Intake(store.root, session) as intake:
            receiver = Receiver(Connection(url), f"projects/{PROJECT}", store.root, intake, None)
            receiver.receive([Digest.of(BYTES)])

        assert BYTES == store.root.blobs.read(Digest.of(BYTES))
        # Put behind it, it would have been found out by its digest, and come a second time.
        assert [f"bytes={HALF}-"] == asked


def test_a_blob_without_an_end_fills_no_disk(tmp_path: Path) -> None:
    """What says how long it is was signed by its digest; who answers may be anybody."""
    digest = Digest.of(BYTES)
    with Store.init(tmp_path / "store") as store, _deaf(200) as (url, _asked):
        store.root.blobs.expect([(digest, HALF)])
        with store.root.session("test") as session, Intake(store.root, session) as intake:
            receiver = Receiver(Connection(url), f"projects/{PROJECT}", store.root, intake, None)
            receiver.receive([digest])

        assert [digest] == list(receiver.bad)
        assert [0] == [path.stat().st_size for path in (store.path / "sync" / "partial").iterdir()]


def test_an_answer_without_an_end_takes_no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "LONGEST_ANSWER", 4_000_000)
    with _deaf(200) as (url, _asked), pytest.raises(Corrupt, match="without an end"):
        Connection(url).ask("GET", "projects", doing="asking")


def test_a_push_that_is_to_end_sends_no_more(server: Served, machine: Make) -> None:
    """Ctrl-C with a large file on a thin line: hours at a prompt that looks hung."""
    one = machine(server.url)
    one.put({"large": BYTES})
    root = one.store.root
    place = root.blobs.places(Digest.of(BYTES))[0]
    slow = Connection(server.url, pace=Pace(len(BYTES) // 30))
    stop = threading.Event()
    timer = threading.Timer(0.3, stop.set)
    timer.start()
    began = time.monotonic()

    with pytest.raises(Stopped):
        send_large(slow, f"projects/{PROJECT}", root, place, [], stop=stop)

    assert 15 > time.monotonic() - began
    one.push()
    assert BYTES == b"".join(server.store.read("cats", "large"))


@pytest.mark.parametrize("how", ["together", "one by one", "of another size each"])
def test_patches_make_no_more_than_they_could_honestly(server: Served, machine: Make, how: str) -> None:
    """6,400 bytes of frames could have 3 GB written, again and again, in a project without a quota."""
    one = machine(server.url)
    one.put({"large": BYTES})
    one.push()
    size, frame, path = len(BYTES), FRAME.pack(0, len(BYTES)), f"projects/{PROJECT}/uploads/{'0' * 64}"

    def send() -> None:
        for number, body in enumerate([frame * 5] if how == "together" else [frame] * 5):
            said = (number + 2) * size if how == "of another size each" else 5 * size
            headers = {"Upload-Offset": str(number * size), "Upload-Length": str(said), "Upload-Base": HEX}
            Connection(server.url).ask("PUT", path, body, doing="sending", headers=headers)

    with pytest.raises((Invalid, Conflict), match=r"to make|begin again"):
        send()

    uploads = (server.store.path / "hosted" / "uploads").rglob("*")
    assert 2 * size >= sum(path.stat().st_size for path in uploads if path.is_file())


@pytest.mark.parametrize(("status", "code"), [(409, "not-the-next"), (507, "quota-exceeded")])
def test_an_error_that_is_cut_is_asked_for_again(status: int, code: str) -> None:
    """Without its words a claim that came too late, or is too large, looks like one that is refused for good."""
    said = b'{"error": {"code": "%s", "message": "what to do"}}' % code.encode()

    class Cutting(http.server.BaseHTTPRequestHandler):
        left = 1

        def do_PUT(self) -> None:
            self.send_response(status)
            self.send_header(MARK, "1")
            self.send_header("Content-Length", str(len(said)))
            self.end_headers()
            self.wfile.write(said[: len(said) // 2] if Cutting.left else said)
            Cutting.left = 0

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Cutting) as listening:
        threading.Thread(target=listening.serve_forever).start()
        try:
            with pytest.raises((Conflict, StorageFull)) as refused:
                Connection(f"http://127.0.0.1:{listening.server_port}").ask("PUT", "slots/1", doing="claiming")
        finally:
            listening.shutdown()

    assert code == refused.value.code


@pytest.mark.parametrize(
    ("status", "code", "message", "told"),
    [
        (409, "busy", "later\nartstore: all is well", "later artstore: all is well"),
        (507, "storage-full", "free some space (`artstore gc --grace 0`)", "Whoever keeps it can make room there"),
    ],
)
def test_what_a_server_says_is_not_taken_for_what_artstore_says_here(
    status: int, code: str, message: str, told: str
) -> None:
    """A second line of it passed for artstore's own; and a full disk there had the laptop's files freed."""
    said = json.dumps({"error": {"code": code, "message": message}}).encode()

    class Speaking(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            while self.rfile.readline().strip():
                pass
            head = f"HTTP/1.1 {status} No\r\n{MARK}: 1\r\nContent-Length: {len(said)}\r\n\r\n"
            self.wfile.write(head.encode() + said)

    with socketserver.TCPServer(("127.0.0.1", 0), Speaking) as listening:
        threading.Thread(target=listening.handle_request).start()
        with pytest.raises((Conflict, StorageFull)) as refused:
            Connection(f"http://127.0.0.1:{listening.server_address[1]}").ask("GET", "projects", doing="asking")

    assert told in refused.value.message
    assert (code, 1) == (refused.value.code, len(refused.value.message.splitlines()))


@pytest.mark.parametrize(
    ("length", "last", "body"),
    [
        ("Content-Length: 23", "HTTP/1.1 200 OK", _SAID),
        ("Content-Length: 23", f"{MARK}: 1", _SAID),
        ("Content-Length: 23", "Content-Le", _SAID),
        ("Content-Length: 23", "Content-Length:", _SAID),
        ("Content-Length: 23", "Content-Length: 2", _SAID),
        ("Transfer-Encoding: chunked", "Transfer-Encoding: chu", f"17\r\n{_SAID}\r\n0\r\n\r\n"),
    ],
)
def test_an_answer_that_is_cut_among_its_headers_is_asked_for_again(length: str, last: str, body: str) -> None:
    """It was taken for one of no bytes, and the server for one of another artstore."""
    head = f"HTTP/1.1 200 OK\r\n{MARK}: 1\r\n{length}\r\n\r\n"
    answers = [head[: head.index(last) + len(last)], head + body]

    class Cutting(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            while self.rfile.readline().strip():
                pass
            self.wfile.write(answers.pop(0).encode())

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Cutting) as listening:
        threading.Thread(target=listening.serve_forever).start()
        try:
            answer = Connection(f"http://127.0.0.1:{listening.server_address[1]}").ask(
                "GET", "projects", doing="asking"
            )
        finally:
            listening.shutdown()

    assert _SAID.encode() == answer.data


def test_many_who_send_the_same_at_once_make_it_once(server: Served, machine: Make) -> None:
    machines = [machine(server.url) for _ in range(4)]
    for each in machines:
        each.put({"large": BYTES, **{str(number): b"%d" % number for number in range(50)}})
    threads = [threading.Thread(target=each.push) for each in machines]

    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert [0, 1, 2, 3] == sorted(version.number for version in server.store.versions("cats"))
    assert server.store.verify().ok
    assert [] == [path for path in (server.store.path / "hosted" / "uploads").rglob("*") if path.is_file()]


def test_a_server_that_is_killed_again_and_again_loses_nothing(tmp_path: Path) -> None:
    """Nothing that a client was told is there, and nothing is there twice."""
    with Store.init(tmp_path / "server"):
        pass
    acknowledged: set[str] = set()
    with ServerProcess(tmp_path / "server") as process:
        one = Machine(tmp_path, process.url, "one")
        for number in range(3):
            one.put({"large": os.urandom(4 * SMALL) + b"%d" % number, "small": b"%d" % number})
        for kill_after_s in (0.02, 0.1, 0.25):
            killer = threading.Timer(kill_after_s, process.kill)
            killer.start()
            with suppress(Unreachable):
                _push_all(one)
            if followed(one.store.root, PROJECT) is not None:
                acknowledged |= {each.id for each in one.store.versions("cats") if not each.provisional}
            killer.join()
            process.start()
        _push_all(one)
        process.end()

    with Store.open(tmp_path / "server") as store:
        assert store.verify().ok
        there = [each.id for each in store.versions("cats")]
    assert {each.id for each in one.store.versions("cats")} == set(there)
    assert len(there) == 3
    assert acknowledged <= set(there)
    one.store.close()


def _push_all(machine: Machine) -> None:
    while any(each.pushed.ops for each in exchange(machine.store, "push").projects):
        pass
