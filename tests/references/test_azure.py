"""What is Azure's own: addresses that are URIs, and accounts; against Azurite, which keeps no versions."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from azure.core.exceptions import ClientAuthenticationError
from fsspec.asyn import get_loop, sync
from fsspec.config import conf

from artstore.errors import ArtstoreError, Invalid, Refused, Unreachable
from artstore.model.manifest import ReferenceEntry
from artstore.references.expand import expand
from artstore.references.fetch import fetch
from tests.references import emulators
from tests.servers import Servers, answering

HOST = f"https://{emulators.ACCOUNT}.blob.core.windows.net"


def all_of(entry: ReferenceEntry) -> bytes:
    return b"".join(fetch(entry))


def put(container: Any, key: str, data: bytes) -> None:
    sync(get_loop(), container.upload_blob, key, data, overwrite=True)


@pytest.fixture
def container(servers: Servers) -> Iterator[Any]:
    with emulators.azure_reached(servers.facts("azurite", emulators.start_azurite)) as client:
        yield client


def test_etag_and_md5_are_kept(container: Any) -> None:
    put(container, "a", b"cat")

    (entry,) = expand(f"az://{container.container_name}/a")

    assert entry.checksum.startswith("0x")
    assert {"etag": entry.checksum, "md5": "d077f244def8a70e5ea758bd8352fcd8"} == json.loads(entry.extra)
    assert ("a", 3) == (entry.path, entry.size)


@pytest.mark.parametrize("name", ["a b", "a%20b", "a?b", "a#b", "a+b", "ä"])
def test_names_are_encoded_in_addresses_and_as_they_are_elsewhere(container: Any, name: str) -> None:
    put(container, f"folder/{name}", b"cat")

    for base in ("az:/", HOST):
        (entry,) = expand(f"{base}/{container.container_name}/folder")
        (again,) = expand(entry.uri) if base == HOST else (entry,)

        assert (name, b"cat") == (entry.path, all_of(entry))
        assert entry == again


@pytest.mark.parametrize("key", ["a\u202eb", ".artstore/x", "C:x", f"{'n' * 256}"])
def test_a_key_that_is_no_path_is_an_error_before_anything_is_recorded(container: Any, key: str) -> None:
    put(container, "prefix/a", b"harmless")
    put(container, f"prefix/{key}", b"hostile")

    with pytest.raises(Invalid):
        expand(f"az://{container.container_name}/prefix")


def test_a_signature_in_the_address_is_refused(container: Any) -> None:
    """It opens the container to whoever reads it, and would stand in every copy of the log."""
    uri = f"{HOST}/{container.container_name}/a?sv=2025&sig=secret"

    with pytest.raises(Invalid, match="credentials") as caught:
        expand(uri)
    assert "secret" not in caught.value.message
    assert "credentials-in-uri" == caught.value.code


def test_another_account_than_the_one_that_is_configured_is_refused(container: Any) -> None:
    """A connection string wins over the account in the address: it would give another account's bytes."""
    uri = f"https://somebody.blob.core.windows.net/{container.container_name}/a"

    with pytest.raises(Refused, match=emulators.ACCOUNT):
        expand(uri)


def test_without_an_account_it_is_said_that_one_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CONNECTION_STRING", "ACCOUNT_NAME", "ACCOUNT_KEY", "SAS_TOKEN"):
        monkeypatch.delenv(f"AZURE_STORAGE_{name}", raising=False)
    monkeypatch.setitem(conf, "abfs", {"anon": True})

    with pytest.raises(Refused, match="account"):
        expand("az://container/a")


@pytest.mark.parametrize(
    ("status", "kind"), [(b"403 Forbidden", Refused), (b"401 Unauthorized", Refused), (b"400 Bad Request", Unreachable)]
)
def test_answers_that_are_no_blob_are_told_apart(
    status: bytes, kind: type[ArtstoreError], monkeypatch: pytest.MonkeyPatch
) -> None:
    with answering(b"HTTP/1.1 %s\r\nContent-Length: 0\r\nConnection: close\r\n\r\n" % status) as port:
        facts = {"connection": emulators.connection(f"http://127.0.0.1:{port}/{emulators.ACCOUNT}")}
        monkeypatch.setitem(conf, "abfs", {"connection_string": facts["connection"]})

        with pytest.raises(kind):
            expand("az://container/a")


def test_without_a_network_it_is_said_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its library would try for more than a minute."""
    facts = {"connection_string": emulators.connection(f"http://nowhere.invalid/{emulators.ACCOUNT}")}
    monkeypatch.setitem(conf, "abfs", facts)
    monkeypatch.setattr("artstore.references.reachable.getproxies", dict)

    with pytest.raises(Unreachable, match=r"'az://container/a' cannot be reached: nowhere\.invalid has no address"):
        expand("az://container/a")


class NoSession:
    """Whom Azure's command line has not signed in."""

    def __init__(self) -> None:
        self.asked = 0

    async def get_token(self, *scopes: str, **options: Any) -> None:
        del scopes, options
        self.asked += 1
        raise ClientAuthenticationError("no account was found.\nHere is what to try:")

    async def close(self) -> None:
        """As its users do at the end."""


def test_who_is_not_signed_in_is_refused_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The request would be tried again, for more than a minute, and each time all of the advice is told."""
    nobody = NoSession()
    about = {"account_name": "demo", "account_host": "localhost", "credential": nobody}
    monkeypatch.setitem(conf, "abfs", about)

    with pytest.raises(Refused, match=r"is refused: no account was found\. Give credentials"):
        expand("az://container/a")
    assert 1 == nobody.asked


@pytest.mark.parametrize("uri", ["az://", "az:///a", "abfs://container@account/a", f"{HOST}", f"{HOST}/"])
def test_a_uri_that_names_no_container_is_refused(uri: str) -> None:
    with pytest.raises(Invalid, match="container"):
        expand(uri)


def test_an_address_of_azure_is_not_taken_for_any_web_page() -> None:
    """Its ETag alone would come back with whatever stands there; and the other way round."""
    (entry,) = expand("https://example.org/x.blob.core.windows.net/a", checksum=False)

    assert "a" == entry.path
