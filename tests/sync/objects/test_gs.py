"""What is Google's own: buckets, credentials, what half an answer looks like."""

from __future__ import annotations

import gc
from typing import Any

import pytest
from fsspec.config import conf

from artstore.errors import Denied, Invalid, Unreachable
from artstore.sync.objects.families import open_objects
from artstore.sync.objects.interface import Objects
from tests.references import emulators
from tests.servers import Servers, answering


@pytest.fixture
def system(servers: Servers) -> Any:
    with emulators.gcs_reached(servers.facts("gcs", emulators.start_gcs)) as reached:
        yield reached


def calls(objects: Objects) -> list[Any]:
    return [
        lambda: objects.read("a"),
        lambda: objects.size("a"),
        lambda: objects.claim("a", b"x"),
        lambda: objects.write("a", [b"x"], 1),
        lambda: objects.remove("a"),
        lambda: list(objects.names("")),
    ]


@pytest.mark.parametrize("url", ["gs://", "gs:///a", "gs://user@bucket/a", "gs://bucket/a?b", "gs://bucket/a#1"])
def test_what_names_no_bucket_is_refused(url: str) -> None:
    with pytest.raises(Invalid):
        open_objects(url)


def test_a_prefix_is_no_beginning_of_another(system: Any) -> None:
    bucket = emulators.make_gcs_bucket(system, keeps_versions=False)
    open_objects(f"gs://{bucket}/depot-22").claim("a", b"x")

    assert [] == list(open_objects(f"gs://{bucket}/depot-2/").names(""))


# The library leaves it to the collector to close what was refused.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("status", ["401 Unauthorized", "403 Forbidden"])
def test_whom_it_does_not_let_in_it_denies_and_says_what_to_do(status: str, monkeypatch: pytest.MonkeyPatch) -> None:
    told = f"HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode()

    with answering(told) as port:
        monkeypatch.setitem(conf, "gs", {"endpoint_url": f"http://127.0.0.1:{port}", "token": "anon"})
        for call in calls(open_objects("gs://bucket/depot")):
            with pytest.raises(Denied, match="Give credentials") as caught:
                call()
            assert "remote-denied" == caught.value.code
    del caught
    gc.collect()


@pytest.mark.parametrize("body", ["<html>Log in to the hotel</html>", ""])
def test_a_page_of_somebody_else_is_no_answer(body: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a network asks for a login, every question is answered with its page: that is no empty log."""
    head = f"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"

    with answering((head + body).encode()) as port:
        monkeypatch.setitem(conf, "gs", {"endpoint_url": f"http://127.0.0.1:{port}", "token": "anon"})
        objects = open_objects("gs://bucket/depot")
        for call in (lambda: objects.read("a"), lambda: objects.size("a"), lambda: list(objects.names(""))):
            with pytest.raises(Unreachable):
                call()


def test_a_bucket_that_is_not_there_is_said(system: Any) -> None:
    """And not taken for one in which nothing is."""
    del system
    objects = open_objects("gs://no-such-bucket-at-all/depot")

    for call in (lambda: list(objects.names("")), lambda: objects.claim("a", b"x")):
        with pytest.raises(Unreachable, match="no bucket 'no-such-bucket-at-all'") as caught:
            call()
        assert "bucket-missing" == caught.value.code
