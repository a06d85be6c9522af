"""Bodies that do not pass h11 end where it says, however what comes is cut on its way."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import h11
import pytest
import uvicorn
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from artstore.model.digest import Digest
from artstore.server.bodies import BodyProtocol
from artstore.sync.http.connection import Connection
from tests.sync.serving import served

_HOST = b"Host: here\r\n"
_HIDDEN = b"GET /hidden HTTP/1.1\r\nHost: here\r\n\r\n"
_END = b"GET /end HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n"


def _put(path: bytes, body: bytes, *more: bytes) -> bytes:
    heads = b"".join(each + b"\r\n" for each in (b"Content-Length: %d" % len(body), *more))
    return b"PUT %s HTTP/1.1\r\n%s%s\r\n%s" % (path, _HOST, heads, body)


TALKS = {
    "one behind the other": _put(b"/1", _HIDDEN) + _put(b"/2", b"two") + _put(b"/3", b"") + _END,
    "answered before it came": _put(b"/early", _HIDDEN * 2) + _put(b"/2", b"two") + _END,
    "asked whether to go on": _put(b"/1", _HIDDEN, b"Expect: 100-continue") + _END,
    "in chunks": b"PUT /1 HTTP/1.1\r\n%sTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n0\r\n\r\n" % _HOST
    + _put(b"/2", _HIDDEN)
    + _END,
    "with two lengths": _put(b"/1", _HIDDEN, b"Content-Length: 3") + _END,
    "of a length and in chunks": _put(b"/1", b"0\r\n\r\n", b"Transfer-Encoding: chunked") + _END,
    "of no length": b"PUT /1 HTTP/1.1\r\n%sContent-Length: +36\r\n\r\n%s" % (_HOST, _HIDDEN) + _END,
    "of an endless length": b"PUT /1 HTTP/1.1\r\n%sContent-Length: %s\r\n\r\n" % (_HOST, b"9" * 40) + _END,
    "and something that is no request": _put(b"/1", _HIDDEN) + b"\0" + _END,
    "of an old client": _put(b"/1", _HIDDEN).replace(b"HTTP/1.1", b"HTTP/1.0", 1) + _END,
}


async def _echo(scope: Scope, receive: Receive, send: Send) -> None:
    body, more = b"", not scope["path"].startswith("/early")
    while more:
        message = await receive()
        assert isinstance(message.get("body", b""), bytes)
        body += message.get("body", b"")
        more = message.get("more_body", False)
    answer = f"{scope['method']} {scope['path']} {body!r}\n".encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(answer))]})
    await send({"type": "http.response.body", "body": answer})


async def _talk(kind: type[H11Protocol], segments: Sequence[bytes]) -> bytes:
    """All that comes back of some bytes that come one after the other."""
    config = uvicorn.Config(_echo, log_level="critical", lifespan="off", ws="none", access_log=False)
    loop = asyncio.get_running_loop()
    here, there = socket.socketpair()
    here.setblocking(False)
    with here:
        await loop.connect_accepted_socket(partial(kind, config, ServerState(), {}), there)
        for segment in segments:
            with contextlib.suppress(BrokenPipeError):
                await loop.sock_sendall(here, segment)
            for _turn in range(4):
                await asyncio.sleep(0)
        came = b""
        async with asyncio.timeout(20):
            while more := await loop.sock_recv(here, 1 << 16):
                came += more
    return came


@pytest.mark.parametrize("talk", TALKS.values(), ids=TALKS)
def test_what_is_said_means_the_same_wherever_it_is_cut(talk: bytes) -> None:
    """Who takes part of a body for a request answers what somebody hid there, with the rights of whoever is next."""

    async def cut() -> set[bytes]:
        pieces = [[talk[:at], talk[at:]] for at in range(1, len(talk), 3)]
        return {await _talk(BodyProtocol, each) for each in [[talk], [bytes([byte]) for byte in talk], *pieces]}

    expected = asyncio.run(_talk(H11Protocol, [talk]))

    assert {expected} == asyncio.run(cut())
    assert b"GET /hidden b" not in expected


def test_what_comes_after_its_answer_is_passed_over() -> None:
    """A client that is refused sends the rest nevertheless, and would wait for ever to be read."""
    talk = _put(b"/early", bytes(1 << 20)) + _END
    cut = [talk[at : at + (1 << 16)] for at in range(0, len(talk), 1 << 16)]

    expected = asyncio.run(_talk(H11Protocol, cut))

    assert expected == asyncio.run(_talk(BodyProtocol, cut))
    assert b"GET /end b" in expected


def test_no_more_is_read_than_the_application_takes() -> None:
    """Many clients with large bodies would else fill the memory."""
    taken = asyncio.Event()

    async def busy(_scope: Scope, receive: Receive, _send: Send) -> None:
        await receive()
        await taken.wait()

    async def flood() -> int:
        loop = asyncio.get_running_loop()
        config = uvicorn.Config(busy, log_level="critical", lifespan="off", ws="none", access_log=False)
        here, there = socket.socketpair()
        here.setblocking(False)
        sent = 0
        with here:
            await loop.connect_accepted_socket(partial(BodyProtocol, config, ServerState(), {}), there)
            await loop.sock_sendall(here, b"PUT / HTTP/1.1\r\n%sContent-Length: 99999999\r\n\r\n" % _HOST)
            for _turn in range(400):
                await asyncio.sleep(0)
                with contextlib.suppress(BlockingIOError):
                    sent += here.send(bytes(1 << 18))
        taken.set()
        await asyncio.sleep(0)
        return sent

    assert asyncio.run(flood()) < 4 << 20


def test_a_body_does_not_pass_the_reader_of_heads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A new h11 that counts otherwise would make uploads take twice as long, without a word."""
    data = bytes(8 << 20)
    passed = 0
    receive_data = h11.Connection.receive_data

    def counting(self: h11.Connection, some: bytes) -> None:
        nonlocal passed
        passed += len(some) if self.our_role is h11.SERVER else 0
        receive_data(self, some)

    monkeypatch.setattr(h11.Connection, "receive_data", counting)
    with served(tmp_path / "server") as server:
        headers = {"Upload-Offset": "0", "Upload-Length": str(len(data))}
        path = f"projects/cats/uploads/{Digest.of(data).hex()}"
        Connection(server.url).ask("PUT", path, data, doing="sending", headers=headers)

    assert 0 < passed < len(data) // 8
