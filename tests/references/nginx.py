"""nginx, by TLS: a web server whose answers can be had in every shape."""

from __future__ import annotations

import contextlib
import ssl
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import aiohttp
import pytest
import trustme
from fsspec.config import conf

from tests.servers import Facts, Server, answering, free_port, needed

STATUSES: Final = (204, 401, 403, 404, 410, 500, 503)
"""What `/says/<status>` answers."""

_CONFIG: Final = """
daemon off;
master_process off;
pid {folder}/pid;
error_log stderr warn;
events {{ worker_connections 64; }}
http {{
    client_body_temp_path {folder}/t1; proxy_temp_path {folder}/t2; fastcgi_temp_path {folder}/t3;
    uwsgi_temp_path {folder}/t4; scgi_temp_path {folder}/t5;
    log_format seen '$request_uri|$http_authorization|$http_x_token|$http_cookie|$http_accept_encoding';
    default_type application/octet-stream;
    ssl_certificate {folder}/server.pem;
    ssl_certificate_key {folder}/server.key;
    root {folder}/www;
    server {{
        listen 127.0.0.1:{port} ssl;
        access_log {folder}/seen seen;
        location / {{ }}
        location /no-etag/ {{ alias {folder}/www/; etag off; }}
        location /neither/ {{ alias {folder}/www/; etag off; ssi on; ssi_types *; }}
        location /gzip/ {{ alias {folder}/www/; gzip on; gzip_types *; gzip_min_length 1; }}
        location /moved/ {{ rewrite ^/moved/(.*)$ /$1 redirect; }}
        location /elsewhere/ {{ rewrite ^/elsewhere/(.*)$ https://127.0.0.1:{other}/$1 permanent; }}
        location /plain/ {{ rewrite ^/plain/(.*)$ http://127.0.0.1:{insecure}/$1 redirect; }}
        location /file/ {{ return 302 file:///etc/passwd; }}
        location /round/ {{ return 302 /round/; }}
{says}
        location /upstream/ {{ proxy_pass http://127.0.0.1:$arg_port; }}
        location /private/ {{
            alias {folder}/www/; auth_basic private; auth_basic_user_file {folder}/passwords;
        }}
        location /private-elsewhere/ {{
            auth_basic private; auth_basic_user_file {folder}/passwords; try_files /none @elsewhere;
        }}
        location @elsewhere {{ rewrite ^/private-elsewhere/(.*)$ https://127.0.0.1:{other}/$1 redirect; }}
    }}
    server {{ listen 127.0.0.1:{other} ssl; access_log {folder}/seen-elsewhere seen; }}
    server {{ listen 127.0.0.1:{insecure}; access_log {folder}/seen-insecure seen; }}
}}
"""


class Nginx:
    """A running nginx, and the folder that it shows."""

    def __init__(self, facts: Facts) -> None:
        self.url = facts["url"]
        self.elsewhere = facts["elsewhere"]
        self.certificate = Path(facts["certificate"])
        self.folder = Path(facts["folder"])
        self.www = self.folder / "www"

    def publish(self, data: bytes, name: str = "model.h5") -> str:
        """Show a new file, in a folder of its own; answers its path, without a slash in front."""
        path = f"{uuid4().hex}/{name}"
        (self.www / path).parent.mkdir()
        (self.www / path).write_bytes(data)
        return path

    def seen(self, log: str, path: str, count: int) -> list[dict[str, str]]:
        """What requests for a path brought along: `seen`, `seen-elsewhere` or `seen-insecure`.

        A request is noted after it was answered, so that so many are waited for.
        """
        until = time.monotonic() + 10
        while len(found := self._noted(log, path)) < count and time.monotonic() < until:
            time.sleep(0.02)
        return found

    def _noted(self, log: str, path: str) -> list[dict[str, str]]:
        names = ("path", "authorization", "token", "cookie", "encoding")
        lines = (self.folder / log).read_text().splitlines()
        found = [dict(zip(names, line.split("|"), strict=True)) for line in lines]
        return [line for line in found if line["path"] == path]


@contextlib.contextmanager
def upstream(answer: bytes) -> Iterator[str]:
    """A server behind nginx that gives these bytes to every request and hangs up; the path under which it is seen."""
    with answering(answer) as port:
        yield f"upstream/data.bin?port={port}"


@contextlib.contextmanager
def trusting(server: Nginx, **options: Any) -> Iterator[None]:
    """Let fsspec trust the server's certificate; options are those of its client's sessions."""
    context = ssl.create_default_context(cafile=server.certificate)

    async def get_client(**given: Any) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context), **given)

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(conf, "https", {"get_client": get_client, "client_kwargs": options})
        yield


def start(server: Server) -> Facts:
    """Start it with a certificate of its own."""
    program = needed("nginx", to_install="apt-get install nginx-light")
    folder = server.folder
    authority = trustme.CA()
    certificate = authority.issue_cert("localhost", "127.0.0.1")
    authority.cert_pem.write_to_path(folder / "ca.pem")
    certificate.cert_chain_pems[0].write_to_path(folder / "server.pem")
    certificate.private_key_pem.write_to_path(folder / "server.key")
    (folder / "passwords").write_text("tom:{PLAIN}secret\n")
    (folder / "www").mkdir()
    port, other, insecure = free_port(), free_port(), free_port()
    says = "\n".join(f"        location = /says/{status} {{ return {status}; }}" for status in STATUSES)
    config = _CONFIG.format(folder=folder, port=port, other=other, insecure=insecure, says=says)
    (folder / "nginx.conf").write_text(config)
    server.run([program, "-p", folder, "-c", folder / "nginx.conf", "-e", "stderr"])
    server.wait_for(port)
    return {
        "url": f"https://127.0.0.1:{port}",
        "elsewhere": f"https://127.0.0.1:{other}",
        "certificate": str(folder / "ca.pem"),
        "folder": str(folder),
    }
