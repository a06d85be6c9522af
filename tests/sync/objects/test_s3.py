"""What is S3's own: how a service is told from others, credentials, answers that only some services give."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import itertools
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from fsspec.config import conf

from artstore.errors import Conflict, Denied, Invalid, Unreachable
from artstore.sync.objects import s3 as module
from artstore.sync.objects.families import open_objects
from artstore.sync.objects.probe import probe
from tests.chaos import Chaos, chaos
from tests.references import seaweedfs
from tests.servers import Facts, Servers, answering, free_port
from tests.sync.conftest import Machine
from tests.sync.objects.patience import PATIENCE_S, impatient

LARGE = os.urandom(20_000_003)
SECRET = "SKTESTSECRET"  # noqa: S105 - of nobody


@pytest.fixture
def facts(servers: Servers, monkeypatch: pytest.MonkeyPatch) -> Facts:
    found = servers.facts("seaweedfs", seaweedfs.start)
    for name, value in seaweedfs.environment(found).items():
        monkeypatch.setenv(name, value)
    return found


@pytest.fixture
def somebody(monkeypatch: pytest.MonkeyPatch) -> None:
    """Credentials for a service that does not look at them."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKTEST")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)


def answer(status: str, body: bytes = b"", *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Connection: close", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


def error(status: str, code: str) -> bytes:
    return answer(status, f"<Error><Code>{code}</Code><Message>as planned</Message></Error>".encode())


def url_of(port: int) -> str:
    return f"s3://bucket/depot?endpoint=http://127.0.0.1:{port}&region=eu-west-1"


@pytest.mark.parametrize(
    "url",
    [
        "s3://",
        "s3:///key",
        "s3://me@bucket/a",
        f"s3://bucket/a?secret={SECRET}",
        f"s3://bucket/a?endpoint=http://me:{SECRET}@host",
        "s3://bucket/a#b",
        f"s3://me:{SECRET}@bucket/a",
    ],
)
def test_what_names_no_bucket_is_refused_and_no_secret_is_repeated(url: str) -> None:
    """The message ends up in a log, and a URL in the settings."""
    with pytest.raises(Invalid) as caught:
        open_objects(url)

    assert SECRET not in caught.value.message


def test_a_wrong_secret_is_denied_and_says_what_to_do(facts: Facts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    objects = open_objects(f"s3://{facts['plain']}/denied")

    for call in (lambda: objects.claim("a", b"x"), lambda: objects.read("a"), lambda: list(objects.names(""))):
        with pytest.raises(Denied, match="Give credentials") as caught:
            call()
        assert "remote-denied" == caught.value.code
        assert SECRET not in caught.value.message


def test_without_credentials_it_is_denied_before_anything_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")

    with pytest.raises(Denied, match="Give credentials"):
        open_objects(url_of(free_port())).size("a")


def test_a_profile_that_is_not_there_is_denied() -> None:
    with pytest.raises(Denied, match="nobody"):
        open_objects("s3://bucket/depot?profile=nobody").size("a")


def test_a_bucket_that_is_not_there_is_said(facts: Facts) -> None:
    """And not taken for one in which nothing is."""
    del facts
    objects = open_objects("s3://no-such-bucket-at-all/depot")

    for call in (lambda: objects.read("a"), lambda: list(objects.names(""))):
        with pytest.raises(Unreachable, match="no bucket 'no-such-bucket-at-all'") as caught:
            call()
        assert "bucket-missing" == caught.value.code


def test_it_is_found_as_s3fs_is_configured(facts: Facts, monkeypatch: pytest.MonkeyPatch) -> None:
    environment = seaweedfs.environment(facts)
    for name in environment:
        monkeypatch.delenv(name)
    configured = {
        "key": environment["AWS_ACCESS_KEY_ID"],
        "secret": environment["AWS_SECRET_ACCESS_KEY"],
        "endpoint_url": environment["AWS_ENDPOINT_URL"],
        "client_kwargs": {"region_name": "eu-west-1"},
    }
    monkeypatch.setitem(conf, "s3", configured)

    assert open_objects(f"s3://{facts['plain']}/configured").claim("a", b"x")


def test_a_prefix_is_no_beginning_of_another(facts: Facts) -> None:
    open_objects(f"s3://{facts['plain']}/depot-22").claim("a", b"x")

    assert [] == list(open_objects(f"s3://{facts['plain']}/depot-2/").names(""))


@pytest.mark.usefixtures("somebody")
def test_when_two_came_at_once_and_none_was_decided_for_it_is_asked_again() -> None:
    answers = iter([error("409 Conflict", "ConditionalRequestConflict"), answer("200 OK", b"", 'ETag: "x"')])

    with answering(lambda _: next(answers)) as port:
        assert open_objects(url_of(port)).claim("a", b"x")


@pytest.mark.usefixtures("somebody")
def test_a_service_that_says_that_it_knows_no_conditions_is_refused() -> None:
    with answering(error("501 Not Implemented", "NotImplemented")) as port, pytest.raises(Invalid) as caught:
        open_objects(url_of(port)).claim("a", b"x")

    assert "unfit-remote" == caught.value.code


@pytest.mark.usefixtures("somebody")
def test_a_service_without_ranges_gives_the_same_bytes() -> None:
    """A whole object in answer to a question for a part must never be put behind what one has."""
    with answering(answer("200 OK", b"0123456789")) as port:
        objects = open_objects(url_of(port))

        assert b"4567" == objects.read("a", 4, 4)
        assert b"456789" == objects.read("a", 4)
        assert b"456789" == b"".join(objects.stream("a", 4))


@pytest.mark.usefixtures("somebody")
def test_other_bytes_than_were_asked_for_are_not_taken() -> None:
    told = answer("206 Partial Content", b"0123", "Content-Range: bytes 0-3/10")

    with answering(told) as port, pytest.raises(Unreachable, match="asked for the bytes from 4 on"):
        open_objects(url_of(port)).read("a", 4, 4)


@pytest.mark.usefixtures("somebody")
@pytest.mark.parametrize("told", [b"<html>Log in to the hotel</html>", b""])
def test_a_page_of_somebody_else_is_no_empty_log(told: bytes) -> None:
    """Where a network asks for a login, every question is answered with its page."""
    with answering(answer("200 OK", told, "Content-Type: text/html")) as port, pytest.raises(Unreachable):
        list(open_objects(url_of(port)).names(""))


@pytest.mark.usefixtures("somebody")
def test_each_piece_comes_with_its_md5() -> None:
    """So that the service does not keep what was damaged on the way."""
    asked: list[bytes] = []

    def note(request: bytes) -> bytes:
        asked.append(request)
        return answer("200 OK", b"", 'ETag: "x"')

    with answering(note) as port:
        open_objects(url_of(port)).claim("a", b"cat")

    digest = base64.b64encode(hashlib.md5(b"cat", usedforsecurity=False).digest())
    assert b"content-md5: " + digest.lower() in asked[0].lower()


def uploads(facts: Facts, prefix: str) -> list[Any]:
    with seaweedfs.reached(facts) as system:
        told = system.call_s3("list_multipart_uploads", Bucket=facts["plain"], Prefix=prefix)
    return list(told.get("Uploads", []))


def test_an_upload_that_failed_leaves_nothing_to_be_paid_for(facts: Facts) -> None:
    objects = open_objects(f"s3://{facts['plain']}/failed")

    def chunks() -> Iterator[bytes]:
        yield LARGE
        assert 1 == len(uploads(facts, "failed/"))
        raise RuntimeError

    with pytest.raises(RuntimeError):
        objects.write("a", chunks(), len(LARGE) + 1)
    with pytest.raises(Conflict):
        objects.write("a", [LARGE], len(LARGE) + 1)

    assert [] == uploads(facts, "failed/")


@contextlib.contextmanager
def asked_over(wire_to: Facts, prefix: str) -> Iterator[tuple[Chaos, module.S3Objects, list[str]]]:
    """A bucket behind a wire, and the names of the operations that were asked for by way of it, each try for itself."""
    asked: list[str] = []
    port = urlsplit(os.environ["AWS_ENDPOINT_URL"]).port
    assert port is not None
    with chaos(port) as wire:
        objects = module.at(f"s3://{wire_to['plain']}/{prefix}?endpoint=http://127.0.0.1:{wire.port}")
        objects._client.meta.events.register("before-send.s3", lambda request, **_: asked.append(request.method))
        yield wire, objects, asked


def test_who_falls_silent_is_not_waited_for_once_more(facts: Facts, tmp_path: Path) -> None:
    """Who does not take what is sent will not take it back either, and that would be some minutes more."""
    (tmp_path / "large").write_bytes(LARGE)
    with impatient(), asked_over(facts, "silent") as (wire, objects, asked):
        wire.stall_after(2_000_000, way="up")
        with pytest.raises(Unreachable):
            objects.write_file("a", tmp_path / "large")

    assert {"POST", "PUT"} == set(asked)
    assert 1 + -(-len(LARGE) // module.PART) == len(asked), "each part was sent once"


@pytest.mark.parametrize("size", [0, 3_000_000])
def test_an_answer_that_does_not_go_on_is_waited_for_once(facts: Facts, size: int) -> None:
    """A pull from a bucket that had fallen silent ended after 308 s: each of four tries had its own minute."""
    with impatient(), asked_over(facts, "mute") as (wire, objects, asked):
        objects.write("a", [LARGE], len(LARGE))
        asked.clear()
        wire.stall_after(size, way="down")
        with pytest.raises(Unreachable):
            list(objects.stream("a") if size else objects.names(""))

    assert ["GET"] == asked


def test_a_slow_link_that_moves_is_waited_for(facts: Facts, monkeypatch: pytest.MonkeyPatch) -> None:
    """A part took longer than the patience for an answer, and the next try was no faster."""
    # One of 8 MiB would lie in the system's memory for the most part.
    monkeypatch.setattr(module, "PART", 2 * len(LARGE))
    with impatient(), asked_over(facts, "slow") as (wire, objects, asked):
        wire.pause_s = 0.002
        began = time.monotonic()
        objects.write("a", [LARGE], len(LARGE))
        took_s = time.monotonic() - began
        wire.pause_s = 0
        there = objects.read("a")

    assert took_s > 2 * PATIENCE_S
    assert ["PUT", "GET"] == asked
    assert LARGE == there


@pytest.mark.usefixtures("somebody")
def test_what_was_refused_for_now_is_asked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Buckets that are asked too often say so, and take it a moment later."""
    monkeypatch.setattr(module, "_AGAIN_S", 0.01)
    answers = iter([error("503 Slow Down", "SlowDown"), error("500 Oops", "InternalError"), answer("200 OK", b"cat")])
    with answering(lambda _request: next(answers)) as port:
        assert b"cat" == module.at(url_of(port)).read("a")


def test_what_a_killed_writer_sent_is_freed_in_time(facts: Facts, monkeypatch: pytest.MonkeyPatch) -> None:
    objects = open_objects(f"s3://{facts['plain']}/killed")
    with seaweedfs.reached(facts) as system:
        for name in ("killed/a", "other/a"):
            system.call_s3("create_multipart_upload", Bucket=facts["plain"], Key=name)

    assert 0 == objects.tidy(), "it might still be at work"
    monkeypatch.setattr(module, "STALE_S", -5)
    assert 1 == objects.tidy()

    assert ([], 1) == (uploads(facts, "killed/"), len(uploads(facts, "other/")))


def test_it_passes_the_probe_by_its_own_address(facts: Facts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    monkeypatch.delenv("AWS_DEFAULT_REGION")

    probe(open_objects(f"s3://{facts['plain']}/by-address?endpoint={facts['url']}&region=eu-west-1"))


def test_a_round_of_nothing_new_is_few_requests(facts: Facts, tmp_path: Path) -> None:
    """Each is paid for, and a store that keeps up asks every minute."""
    with seaweedfs.reached(facts) as system:
        bucket = seaweedfs.make_bucket(system)
    machine = Machine(tmp_path, f"s3://{bucket}/depot", "one")
    machine.put({"x": b"1"})
    machine.push()
    asked = [seaweedfs.asked(facts, bucket)]
    for verb in ("push", "pull", "sync"):
        machine.move(verb)
        asked.append(seaweedfs.asked(facts, bucket))
    machine.store.close()

    # The last slot; the one behind it, and the projects.
    assert [1, 3, 3] == [after - before for before, after in itertools.pairwise(asked)]
