"""A proxy between a client and a server, as companies have them: it carries what it cannot read."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from artstore.errors import Invalid, Unreachable
from artstore.server.listening import Certificate
from artstore.sync.http.connection import Connection
from artstore.sync.http.remote import HttpRemote
from tests.sync.serving import Served, served

HOST = "hub.example"


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    authority = trustme.CA()
    authority.issue_cert(HOST).private_key_and_cert_chain_pem.write_to_path(tmp_path / "server.pem")
    authority.cert_pem.write_to_path(tmp_path / "authority.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "authority.pem"))
    certificate = Certificate(tmp_path / "server.pem", tmp_path / "server.pem")
    with served(tmp_path / "server", certificate, names=[HOST]) as found:
        yield found


class Proxy:
    """Carries every connection to one server, whatever host is asked for."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        self.heard: list[bytes] = []
        """All that it could read of what was said to it."""
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listening.accept()
                self.heard.append(client.recv(65536))
                server = socket.create_connection(("127.0.0.1", self._target))
                client.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
                for source, sink in ((client, server), (server, client)):
                    threading.Thread(target=self._carry, args=(source, sink), daemon=True).start()

    def _carry(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError), source, sink:
            while data := source.recv(65536):
                self.heard.append(data)
                sink.sendall(data)


@pytest.fixture
def proxy(server: Served, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    found = Proxy(server.port)
    yield found
    found.close()


def _about() -> str:
    return HttpRemote(Connection(f"https://{HOST}", "token-of-mine")).about().store


@pytest.mark.parametrize("name", ["HTTPS_PROXY", "https_proxy", "ALL_PROXY"])
def test_a_proxy_that_is_named_is_used_and_reads_nothing(
    server: Served, proxy: Proxy, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, f"http://me:word@127.0.0.1:{proxy.port}")

    assert server.store.root.format.store_id == _about()
    assert proxy.heard[0].startswith(f"CONNECT {HOST}:443 HTTP/1.".encode())
    assert b"bWU6d29yZA==" in proxy.heard[0]
    assert b"token-of-mine" not in b"".join(proxy.heard)


def test_where_no_proxy_is_wanted_none_is_asked(proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy.port}")
    monkeypatch.setenv("NO_PROXY", "other.example,hub.example")

    with pytest.raises(Unreachable):
        _about()
    assert [] == proxy.heard


def test_what_stays_on_this_machine_needs_no_proxy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tunnel by SSH would otherwise end at another machine."""
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    with served(tmp_path / "here") as here:
        assert here.store.root.format.store_id == HttpRemote(Connection(here.url)).about().store


def test_a_proxy_that_is_none_is_refused_and_its_password_not_shown(
    proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", f"socks5://me:word@127.0.0.1:{proxy.port}")

    with pytest.raises(Invalid) as refused:
        _about()

    assert "bad-proxy" == refused.value.code
    assert "word@" not in refused.value.message
