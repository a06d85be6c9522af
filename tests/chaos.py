"""Chaos: a proxy for TCP that cuts, stalls or slows what goes through it, as a bad network does."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Final

_BLOCK: Final = 16384
_WINDOW: Final = 65536


class Chaos:
    """Between a client and a server of this machine; harmless until it is told to be otherwise.

    What is asked of it holds for connections that are there already, too.
    """

    def __init__(self, target: int) -> None:
        self._target = target
        self._listening = socket.create_server(("127.0.0.1", 0))
        # What cannot be sent on waits in whoever sends it, as in a network, and not here.
        self._listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _WINDOW)
        self.port: int = self._listening.getsockname()[1]
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._left: dict[str, int | None] = {"up": None, "down": None}
        self._then: Callable[[], None] = _nothing
        self._until_stall: dict[str, int | None] = {"up": None, "down": None}
        self._is_stalled = threading.Event()
        self._is_refusing = threading.Event()
        self.carried = {"up": 0, "down": 0}
        """Bytes that went through so far."""
        self.pause_s = 0.0
        """How long each block is kept back."""
        threading.Thread(target=self._accept, daemon=True).start()

    def cut_after(self, size: int, *, way: str, then: Callable[[], None] | None = None) -> None:
        """Cut whatever connection carries so many more bytes, `up` to the server or `down` from it; once.

        `then` is called before anybody can notice.
        """
        with self._lock:
            self._left[way] = size
            self._then = _nothing if then is None else then

    def stall_after(self, size: int, *, way: str) -> None:
        """Let nothing arrive any more once so many more bytes have gone that way, in the middle of what is sent."""
        with self._lock:
            self._until_stall[way] = size

    def refuse(self) -> None:
        """Cut whoever connects from now on at once."""
        self._is_refusing.set()

    def heal(self) -> None:
        """Cut nothing more."""
        self._is_refusing.clear()
        with self._lock:
            self._left = {"up": None, "down": None}
            self._until_stall = {"up": None, "down": None}

    def stall(self) -> None:
        """From now on nothing arrives, and nobody is told: the other side has lost its power."""
        self._is_stalled.set()

    def go_on(self) -> None:
        """Let through what comes from now on; connections that were stalled are gone."""
        self._is_stalled.clear()
        self.hang_up()

    def hang_up(self) -> None:
        """Cut every connection now, without a farewell."""
        with self._lock:
            for each in self._open:
                _reset(each)
            self._open.clear()

    def close(self) -> None:
        """End it."""
        with contextlib.suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self._is_stalled.clear()
        self.hang_up()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listening.accept()
                if self._is_refusing.is_set():
                    _reset(client)
                    continue
                try:
                    server = socket.create_connection(("127.0.0.1", self._target))
                except OSError:
                    _reset(client)
                    continue
                with self._lock:
                    self._open |= {client, server}
                for source, sink, way in ((client, server, "up"), (server, client, "down")):
                    threading.Thread(target=self._carry, args=(source, sink, way), daemon=True).start()

    def _carry(self, source: socket.socket, sink: socket.socket, way: str) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(_BLOCK):
                while self._is_stalled.is_set():
                    time.sleep(0.05)
                time.sleep(self.pause_s)
                data = self._before_stall(data, way, sink)
                let, is_cut = self._let(len(data), way)
                sink.sendall(data[:let])
                if is_cut:
                    self._then()
                    break
            else:
                # The end of one way is no end of the other.
                sink.shutdown(socket.SHUT_WR)
                return
        _reset(source)
        _reset(sink)

    def _before_stall(self, data: bytes, way: str, sink: socket.socket) -> bytes:
        """Send what goes before all stalls, and come back with the rest when it goes on."""
        with self._lock:
            left = self._until_stall[way]
            if left is None or len(data) < left:
                self._until_stall[way] = None if left is None else left - len(data)
                return data
            self._until_stall[way] = None
            self._is_stalled.set()
        sink.sendall(data[:left])
        while self._is_stalled.is_set():
            time.sleep(0.05)
        return data[left:]

    def _let(self, size: int, way: str) -> tuple[int, bool]:
        """How many of so many bytes go through, and whether that is the end."""
        with self._lock:
            self.carried[way] += size
            left = self._left[way]
            if left is None:
                return size, False
            if size < left:
                self._left[way] = left - size
                return size, False
            self._left[way] = None
            return left, True


def _nothing() -> None:
    pass


def _reset(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        # With nothing to linger for, closing it is a reset, which is what a network that breaks looks like.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
    connection.close()


@contextlib.contextmanager
def chaos(target: int) -> Iterator[Chaos]:
    """A proxy to a port of this machine."""
    proxy = Chaos(target)
    try:
        yield proxy
    finally:
        proxy.close()
