"""A server that is run for long: how it is, what it takes, whom it waits for, and what its log says."""

from __future__ import annotations

import asyncio
import http.client
import json
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import anyio
import click
import pytest
import trustme
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)
from starlette.types import Message, Receive, Scope, Send

from artstore.cli.serve import quota
from artstore.errors import Invalid
from artstore.model.digest import Digest
from artstore.server import patience
from artstore.server.app import THREADS
from artstore.server.listening import Address, Certificate, listen, serve
from artstore.server.observing import Numbers, Observed
from artstore.store import Store
from artstore.sync.hosting.tokens import create_token
from artstore.sync.http.connection import Connection
from artstore.sync.http.wire import LONGEST_BODY, PREFIX, header
from tests.server.asking import ask_for_anything
from tests.sync.serving import Served, ServerProcess, served


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Served]:
    with served(tmp_path / "server") as found:
        yield found


def _get(server: Served, path: str, token: str | None = None) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    try:
        connection.request("GET", path, headers={} if token is None else {"Authorization": f"Bearer {token}"})
        answer = connection.getresponse()
        return answer.status, answer.read().decode(errors="replace")
    finally:
        connection.close()


def _pack(*blobs: bytes) -> bytes:
    return b"".join(header(Digest.of(data), len(data)) + data for data in blobs)


def test_everybody_may_ask_whether_it_lives_and_learns_nothing_else(server: Served) -> None:
    create_token(server.store.path, scope="admin", project=None, expires_s=None)

    assert (200, "ok\n") == _get(server, "/healthz")


def test_the_numbers_are_for_who_may_see_how_the_server_is(server: Served) -> None:
    """They tell of all projects."""
    Connection(server.url).ask("POST", "projects/cats/packs", _pack(b"1", b"22"), doing="sending")
    words = {
        scope: create_token(server.store.path, scope=scope, project=None, expires_s=None).token
        for scope in ("write", "admin")
    }

    assert 401 == _get(server, "/metrics")[0]
    assert 403 == _get(server, "/metrics", words["write"])[0]
    status, text = _get(server, "/metrics", words["admin"])

    assert 200 == status
    assert 'artstore_requests_total{asked="packs",method="POST",status="200"} 1.0' in text


def test_there_is_no_slot_before_the_first(server: Served, tmp_path: Path) -> None:
    """It was said to be lost, as a failure of the server, with a way to mend it."""
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "x").write_bytes(b"x")
    server.store.put([tree], name="c", type="t")

    asked = [_get(server, f"/sync/1/projects/uncategorized/slots/{number}")[0] for number in ("0", "00", "1", "2")]
    assert [404, 404, 200, 200] == asked


def test_a_body_that_is_too_large_is_refused_before_it_is_taken_in(server: Served) -> None:
    """I19. Twenty clients that announce a terabyte each must not take the memory for it."""
    with socket.create_connection(("127.0.0.1", server.port)) as client:
        head = f"POST {PREFIX}/projects/cats/packs HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        client.sendall(f"{head}Content-Length: {LONGEST_BODY + 1}\r\n\r\n".encode())
        client.settimeout(30)

        assert b"413" in client.recv(100)


@pytest.mark.parametrize(
    "sent", ["GET / HT", "POST {}/projects/cats/packs HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 9\r\n\r\n1"]
)
def test_who_stops_in_the_middle_is_cut_off(server: Served, monkeypatch: pytest.MonkeyPatch, sent: str) -> None:
    """Each would keep a connection, and some memory, for ever."""
    monkeypatch.setattr(patience, "HEADERS_S", 0.2)
    monkeypatch.setattr(patience, "SILENCE_S", 0.2)
    began = time.monotonic()
    with socket.create_connection(("127.0.0.1", server.port)) as client:
        client.sendall(sent.format(PREFIX).encode())
        client.settimeout(20)
        while client.recv(1000):
            pass

    assert 15 > time.monotonic() - began


def test_who_never_begins_with_tls_is_cut_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Anybody could take all connections that there are, without a token, and keep each for a minute."""
    monkeypatch.setattr(patience, "HANDSHAKE_S", 0.2)
    trustme.CA().issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(tmp_path / "server.pem")
    certificate = Certificate(tmp_path / "server.pem", tmp_path / "server.pem")
    with served(tmp_path / "store", certificate) as server:
        began = time.monotonic()
        with socket.create_connection(("127.0.0.1", server.port)) as client:
            client.settimeout(20)

            assert b"" == client.recv(1000)
    assert 15 > time.monotonic() - began


def test_who_is_still_asking_when_it_ends_is_told(server: Served) -> None:
    """The log had two stacks for each, and an answer with the status 0."""
    sent: list[Message] = []
    log: list[str] = []

    async def hanging(_scope: Scope, _receive: Receive, _send: Send) -> None:
        await anyio.sleep_forever()

    async def nothing() -> Message:
        return {"type": "http.disconnect"}

    async def keeping(message: Message) -> None:
        sent.append(message)

    async def ending() -> None:
        observed = Observed(hanging, Numbers(server.hosted.quotas), log.append)
        scope = {"type": "http", "method": "PUT", "path": "/sync/1/projects/p/uploads/0"}
        asked = asyncio.ensure_future(observed(scope, nothing, keeping))
        await asyncio.sleep(0)
        asked.cancel()
        await asked

    asyncio.run(ending())

    assert 503 == sent[0]["status"]
    assert [" 503 " in line for line in log] == [True]


def test_a_key_with_a_pass_phrase_is_refused_and_not_asked_about(tmp_path: Path) -> None:
    own = trustme.CA().issue_cert("127.0.0.1")
    key = load_pem_private_key(own.private_key_pem.bytes(), None)
    form = PrivateFormat.TraditionalOpenSSL
    (tmp_path / "key.pem").write_bytes(key.private_bytes(Encoding.PEM, form, BestAvailableEncryption(b"secret")))
    own.cert_chain_pems[0].write_to_path(tmp_path / "chain.pem")
    certificate = Certificate(tmp_path / "chain.pem", tmp_path / "key.pem")

    with Store.init(tmp_path / "store") as store, pytest.raises(Invalid, match="no pass phrase"):
        serve(store, Address("127.0.0.1", 0), certificate=certificate, ready=print)


@pytest.mark.parametrize("text", ["=5G", "5X", ""])
def test_what_is_no_quota_is_refused(text: str) -> None:
    with pytest.raises(click.BadParameter):
        quota(text)


def test_nobody_is_cut_off_for_what_the_server_takes_its_time_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """A few bytes can say that a terabyte is to be copied, and more bytes come behind them."""
    monkeypatch.setattr(patience, "SILENCE_S", 0.1)
    taken: list[Message] = []

    async def working(_scope: Scope, receive: Receive, _send: Send) -> None:
        taken.append(await receive())
        await anyio.sleep(0.3)
        taken.append(await receive())

    async def coming() -> Message:
        return {"type": "http.request", "body": b"16 bytes of frame", "more_body": True}

    async def nowhere(_message: Message) -> None:
        pass

    anyio.run(patience.Paced(working), {"type": "http"}, coming, nowhere)

    assert ["http.request"] * 2 == [message["type"] for message in taken]


def test_connections_leave_a_store_its_files() -> None:
    """Whoever opens a thousand and says nothing had the store fail, and the log filled the disk."""
    with listen(Address("127.0.0.1", 0), has_token=True) as listening:
        place = listening.getsockname()
        with socket.create_connection(place, 10), listening.accept()[0]:
            listening.last = 0
            with socket.create_connection(place, 10) as refused:
                with pytest.raises(BlockingIOError):
                    listening.accept()
                assert b"" == refused.recv(1)


def test_a_small_answer_is_not_kept_back() -> None:
    """Each would wait 40 ms for the head before it to be acknowledged."""
    with listen(Address("127.0.0.1", 0), has_token=False) as listening:
        address = listening.getsockname()
        with socket.create_connection(address), listening.accept()[0] as accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_the_log_has_who_and_what_and_no_secret(tmp_path: Path) -> None:
    with Store.init(tmp_path / "server") as store:
        made = create_token(store.path, scope="read", project=None, expires_s=None)
    with ServerProcess(tmp_path / "server") as process:
        connection = http.client.HTTPConnection("127.0.0.1", process.port, timeout=30)
        connection.request("GET", "/search?q=secret-word", headers={"Authorization": f"Bearer {made.token}"})
        assert 200 == connection.getresponse().status
        connection.close()
        (line,) = process.end().splitlines()

    assert f" 127.0.0.1 {made.info.id} GET /search 200 in=0 out=" in line
    assert "secret-word" not in line
    assert made.token not in line


def test_the_description_names_every_address(server: Served) -> None:
    """What is answered and not described is not tried by the test below."""
    status, text = _get(server, "/openapi.json")
    described = {
        (method.upper(), path) for path, operations in json.loads(text)["paths"].items() for method in operations
    }

    assert 200 == status
    assert described == set(server.routes)


@pytest.mark.slow
def test_nothing_that_is_asked_makes_it_fail_or_answer_otherwise_than_is_described(tmp_path: Path) -> None:
    """Whatever comes, the answer says what was wrong with it, in a form that a program can rely on."""
    assert [] == ask_for_anything(tmp_path, 2_000)


def test_work_of_one_project_leaves_threads_for_that_of_others(server: Served) -> None:
    """Claims of a project wait for each other, and with them all others waited who asked for anything."""
    with ThreadPoolExecutor(3 * THREADS) as pool:
        with server.hosted._alone("busy"):
            waiting = [pool.submit(_get, server, "/sync/1/projects/busy/slots/1") for _ in range(2 * THREADS)]
            time.sleep(0.5)
            answer = pool.submit(_get, server, "/sync/1/projects/other/slots/1").result(timeout=10)
        ended = {each.result()[0] for each in waiting}

    assert (200, {200}) == (answer[0], ended)
