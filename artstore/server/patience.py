"""Patience: how long a server waits for who has begun to say something, or to listen."""

from __future__ import annotations

import asyncio
import time
from typing import Any, Final

import anyio
import h11
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from artstore.server.bodies import BodyProtocol

HEADERS_S: Final = 15.0
"""How long the head of a request may take to come: uvicorn itself would wait for ever."""
HANDSHAKE_S: Final = 15.0
"""How long it may take until both sides of TLS know each other."""
SILENCE_S: Final = 30.0
"""How long nothing may come of a body, or nothing more be taken of an answer."""
SLOWEST: Final = 1024
"""Bytes in a second that a body has to bring, after the first SILENCE_S."""


class Paced:
    """An ASGI application that another one is asked through, and that cuts off who is slower than a bad network."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        # Waited for the client, that is: what the server itself takes its time for is nobody's fault.
        waited_s = 0.0
        came = 0
        is_whole = is_cut = False

        async def taking() -> Message:
            nonlocal came, is_whole, waited_s
            if is_whole:
                # All that can still come is that nobody listens any more, and for that there is time.
                return await receive()
            began = time.monotonic()
            with anyio.move_on_after(SILENCE_S):
                message = await receive()
                waited_s += time.monotonic() - began
                came += len(message.get("body", b""))
                is_whole = not message.get("more_body", False)
                if is_whole or came >= SLOWEST * (waited_s - SILENCE_S):
                    return message
            return {"type": "http.disconnect"}

        async def giving(message: Message) -> None:
            nonlocal is_cut
            with anyio.move_on_after(SILENCE_S):
                return await send(message)
            is_cut = True
            raise ConnectionError

        try:
            await self._app(scope, taking, giving)
        except Exception:
            if not is_cut:
                raise


class PatientLoop(asyncio.SelectorEventLoop):
    """asyncio's own, that hangs up on who does not come to an end with the beginning of TLS."""

    async def create_server(self, *arguments: Any, **options: Any) -> asyncio.Server:
        """See asyncio. uvicorn has no word for it, and asyncio would wait for a minute."""
        if options.get("ssl") is not None:
            options["ssl_handshake_timeout"] = HANDSHAKE_S
        return await super().create_server(*arguments, **options)


class PatientProtocol(BodyProtocol):
    """uvicorn's own, that hangs up on who sends the head of a request bit by bit."""

    _end: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait."""
        super().connection_made(transport)
        self._wait()

    def data_received(self, data: bytes) -> None:
        """Stop waiting when the head is there, and begin again with the next one."""
        super().data_received(data)
        if self.conn.their_state is h11.IDLE:
            self._wait()
        elif self._end is not None:
            self._end.cancel()
            self._end = None

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting."""
        if self._end is not None:
            self._end.cancel()
        super().connection_lost(exc)

    def _wait(self) -> None:
        if self._end is None:
            self._end = self.loop.call_later(HEADERS_S, self._hang_up)

    def _hang_up(self) -> None:
        self._end = None
        if self.conn.their_state is h11.IDLE and not self.transport.is_closing():
            self.transport.close()
