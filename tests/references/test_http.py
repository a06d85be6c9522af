"""What a web server says of what it gives, compared with a real nginx by TLS."""

from __future__ import annotations

import base64
import json
import os
import re
import socket
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from fsspec.config import conf

from artstore.errors import ArtstoreError, Invalid, ReferenceChanged, ReferenceMissing, Refused, Unreachable
from artstore.model.manifest import ReferenceEntry
from artstore.references.expand import expand
from artstore.references.fetch import fetch
from tests.references.nginx import STATUSES, Nginx, trusting, upstream

BYTES = os.urandom(2_500_000)


def only(uri: str, **options: Any) -> ReferenceEntry:
    (entry,) = expand(uri, **options)
    return entry


def all_of(entry: ReferenceEntry) -> bytes:
    return b"".join(fetch(entry))


def test_the_etag_and_the_length_are_kept(nginx: Nginx) -> None:
    path = nginx.publish(BYTES)

    entry = only(f"{nginx.url}/{path}")

    assert ("model.h5", f"{nginx.url}/{path}", len(BYTES)) == (entry.path, entry.uri, entry.size)
    assert re.fullmatch(r"[0-9a-f]+-[0-9a-f]+", entry.checksum)
    assert {"etag": f'"{entry.checksum}"'} == json.loads(entry.extra)
    assert BYTES == all_of(entry)


def test_a_weak_etag_names_the_same_state_as_a_strong_one(nginx: Nginx) -> None:
    """A server marks the tag weak when it compresses, and ours must not become another version for that."""
    head = b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\nETag: %s\r\n\r\nhi"
    with upstream(head % b'"abc"') as strong, upstream(head % b'W/"abc"') as weak:
        assert ["abc", "abc"] == [only(f"{nginx.url}/{path}").checksum for path in (strong, weak)]


def test_the_body_is_asked_for_as_it_is_stored(nginx: Nginx) -> None:
    """A compressed answer has another length and another tag: what is fetched would never be what was recorded."""
    path = nginx.publish(b"compress me " * 10_000)

    entry = only(f"{nginx.url}/gzip/{path}")

    assert b"compress me " * 10_000 == all_of(entry)
    assert 120_000 == entry.size
    assert {"identity"} == {request["encoding"] for request in nginx.seen("seen", f"/gzip/{path}", 1)}


def test_without_an_etag_the_digest_is_of_the_uri_and_a_warning_says_so(nginx: Nginx) -> None:
    uri = f"{nginx.url}/no-etag/{nginx.publish(BYTES)}"

    with pytest.warns(UserWarning, match="has no ETag: .* the address and the size and the date alone") as caught:
        entry = only(uri)

    assert (uri, len(BYTES)) == (entry.checksum, entry.size)
    assert [__file__] == [warning.filename for warning in caught], "the warning points at whoever asked"
    assert BYTES == all_of(entry)


def test_without_etag_and_length_the_reference_is_kept_all_the_same(nginx: Nginx) -> None:
    uri = f"{nginx.url}/neither/{nginx.publish(BYTES)}"

    with pytest.warns(UserWarning, match="has no ETag: .* the address alone"):
        entry = only(uri)

    assert (uri, None) == (entry.checksum, entry.size)
    assert BYTES == all_of(entry)


@pytest.mark.parametrize("place", ["", "no-etag/"])
def test_another_file_of_the_same_length_is_noticed(nginx: Nginx, place: str) -> None:
    """By the ETag, or, where the server sends none, by the date."""
    path = nginx.publish(b"one cat")
    with warnings.catch_warnings(action="ignore"):
        entry = only(f"{nginx.url}/{place}{path}")

    (nginx.www / path).write_bytes(b"two cat")
    os.utime(nginx.www / path, (1, 1))

    with pytest.raises(ReferenceChanged, match="changed or moved") as caught:
        all_of(entry)
    assert "reference-changed" == caught.value.code
    assert isinstance(caught.value, ValueError)


def test_an_etag_that_is_not_sent_any_more_is_a_change(nginx: Nginx) -> None:
    with upstream(b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nhi") as path:
        entry = ReferenceEntry("a", f"{nginx.url}/{path}", "abc", 2, '{"etag":"\\"abc\\""}')

        with pytest.raises(ReferenceChanged, match="no ETag any more"):
            all_of(entry)


def test_another_length_under_the_same_etag_is_a_change(nginx: Nginx) -> None:
    """Some servers make a tag of the date alone."""
    with upstream(b'HTTP/1.0 200 OK\r\nContent-Length: 3\r\nETag: "abc"\r\n\r\nhi!') as path:
        entry = ReferenceEntry("a", f"{nginx.url}/{path}", "abc", 2, '{"etag":"\\"abc\\""}')

        with pytest.raises(ReferenceChanged, match="is 3 bytes long now, and was 2"):
            all_of(entry)


def test_more_bytes_than_were_recorded_are_not_taken(nginx: Nginx) -> None:
    """Without a length in the answer, only counting tells."""
    with upstream(b'HTTP/1.0 200 OK\r\nETag: "abc"\r\n\r\nhi!') as path:
        entry = ReferenceEntry("a", f"{nginx.url}/{path}", "abc", 2, '{"etag":"\\"abc\\""}')

        with pytest.raises(ReferenceChanged, match="longer than the 2 bytes"):
            all_of(entry)


@pytest.mark.parametrize("length", [b"Content-Length: 9\r\n", b""])
def test_a_body_that_breaks_off_is_an_error(nginx: Nginx, length: bytes) -> None:
    """With a length the connection ends too early; without one only the recorded size can tell."""
    with upstream(b'HTTP/1.0 200 OK\r\nETag: "abc"\r\n%s\r\nhi' % length) as path:
        entry = ReferenceEntry("a", f"{nginx.url}/{path}", "abc", 9, '{"etag":"\\"abc\\""}')

        with pytest.raises(Unreachable) as caught:
            all_of(entry)
    assert "reference-cut-short" == caught.value.code


def test_a_removed_file_is_missing(nginx: Nginx) -> None:
    path = nginx.publish(b"cat")
    entry = only(f"{nginx.url}/{path}")

    (nginx.www / path).unlink()

    with pytest.raises(ReferenceMissing, match="404") as caught:
        all_of(entry)
    assert "reference-missing" == caught.value.code
    assert isinstance(caught.value, FileNotFoundError)
    assert not isinstance(caught.value, ReferenceChanged)


@pytest.mark.parametrize("status", STATUSES)
def test_an_answer_that_is_not_the_file_is_an_error_when_it_is_recorded(nginx: Nginx, status: int) -> None:
    """An error page has a length and perhaps a tag, and is not what was meant."""
    kinds: dict[int, type[ArtstoreError]] = {
        401: Refused,
        403: Refused,
        404: ReferenceMissing,
        410: ReferenceMissing,
    }

    with pytest.raises(kinds.get(status, Unreachable), match=str(status)):
        expand(f"{nginx.url}/says/{status}")


def test_a_redirect_to_the_same_state_is_followed(nginx: Nginx) -> None:
    entry = only(f"{nginx.url}/moved/{nginx.publish(BYTES)}")

    assert BYTES == all_of(entry)


def test_an_address_that_leads_to_another_file_now_is_a_change(nginx: Nginx) -> None:
    """Without an ETag, two files of one size and date differ in nothing but where they are."""
    here, there = nginx.publish(b"cat"), nginx.publish(b"dog")
    for path in (here, there):
        os.utime(nginx.www / path, (1, 1))
    with warnings.catch_warnings(action="ignore"):
        entry = only(f"{nginx.url}/no-etag/{here}")
    moved = ReferenceEntry(
        entry.path, f"{nginx.url}/moved/no-etag/{there}", f"{nginx.url}/moved/no-etag/{there}", entry.size, entry.extra
    )

    with pytest.raises(ReferenceChanged, match="changed or moved"):
        all_of(moved)


@pytest.mark.parametrize(("place", "kind"), [("round/", Unreachable), ("plain/x", Refused), ("file/x", Unreachable)])
def test_a_redirect_that_leads_round_or_away_from_tls_is_not_followed(
    nginx: Nginx, place: str, kind: type[ArtstoreError]
) -> None:
    """`file:` would hand out this machine's own files; plain HTTP would let anybody on the way answer."""
    with pytest.raises(kind, match="redirected"):
        expand(f"{nginx.url}/{place}", name="x")
    assert [] == nginx.seen("seen-insecure", "/x", 0)


def test_what_identifies_the_user_is_shown_to_the_first_host_alone(nginx: Nginx) -> None:
    """A redirect is written by whoever runs the first host: it must not be able to send my token elsewhere."""
    path = nginx.publish(BYTES)
    headers = {"X-Token": "mine", "Authorization": "Bearer mine", "Cookie": "session=mine"}

    with trusting(nginx, headers=headers):
        assert BYTES == all_of(only(f"{nginx.url}/elsewhere/{path}"))
        assert BYTES == all_of(only(f"{nginx.url}/moved/{path}"))

    shown = {"authorization": "Bearer mine", "token": "mine", "cookie": "session=mine"}
    for log, place, expected in [
        ("seen", f"/elsewhere/{path}", shown),
        ("seen", f"/{path}", shown),
        ("seen-elsewhere", f"/{path}", dict.fromkeys(shown, "-")),
    ]:
        requests = nginx.seen(log, place, 2)
        assert 2 == len(requests)
        assert [expected] * 2 == [{name: request[name] for name in shown} for request in requests]


def test_a_password_of_netrc_is_used_and_not_shown_to_another_host(
    nginx: Nginx, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = nginx.publish(BYTES)
    with pytest.raises(Refused, match="401"):
        expand(f"{nginx.url}/private/{path}")
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login tom password secret\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))

    assert BYTES == all_of(only(f"{nginx.url}/private/{path}"))

    shown = nginx.seen("seen", f"/private/{path}", 2)[-1]["authorization"]
    assert "Basic " + base64.b64encode(b"tom:secret").decode() == shown


def test_a_password_in_the_uri_is_refused(nginx: Nginx) -> None:
    """It would stand in every copy of the log for ever."""
    uri = nginx.url.replace("https://", "https://tom:secret@") + "/a"

    with pytest.raises(Invalid, match="user or a password") as caught:
        expand(uri)
    assert "secret" not in str(caught.value)


def test_a_server_that_is_not_trusted_is_not_believed(nginx: Nginx, monkeypatch: pytest.MonkeyPatch) -> None:
    path = nginx.publish(BYTES)
    monkeypatch.setitem(conf, "https", {})

    with pytest.raises(Unreachable, match="certificate"):
        expand(f"{nginx.url}/{path}")


def test_nobody_who_listens_is_unreachable() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]

    with pytest.raises(Unreachable, match="cannot be reached") as caught:
        expand(f"https://127.0.0.1:{port}/a")
    assert "reference-unreachable" == caught.value.code


def test_without_checksum_nothing_is_asked_and_nothing_compared(nginx: Nginx) -> None:
    path = nginx.publish(b"one")

    entry = only(f"{nginx.url}/{path}", checksum=False)
    assert [] == nginx.seen("seen", f"/{path}", 0)
    (nginx.www / path).write_bytes(b"three")

    assert ReferenceEntry("model.h5", entry.uri, entry.uri, None, "{}") == entry
    assert b"three" == all_of(entry)


@pytest.mark.parametrize(
    ("uri", "path"),
    [
        ("https://example.org/a/model.h5?download=1", "model.h5?download=1"),
        ("https://example.org/a%20b/c%20d", "c%20d"),
        ("https://example.org/model.h5#part", "model.h5"),
        ("HTTPS://example.org/model.h5", "model.h5"),
    ],
)
def test_the_name_is_the_last_of_the_address(uri: str, path: str) -> None:
    assert path == only(uri, checksum=False).path


@pytest.mark.parametrize("uri", ["https://example.org", "https://example.org/", "https://example.org/folder/"])
def test_an_address_without_a_last_name_needs_one(uri: str) -> None:
    with pytest.raises(Invalid, match="name") as caught:
        expand(uri, checksum=False)

    assert "name-missing" == caught.value.code
    assert "a/b" == only(uri, name="a/b", checksum=False).path


@pytest.mark.parametrize(
    "uri", ["http://", "https:///a", "http://[", "http://[::1/a", "http://a:b/c", "http://a:99999/c"]
)
def test_what_is_no_address_is_refused(uri: str) -> None:
    for checksum in (True, False):
        with pytest.raises(Invalid) as caught:
            expand(uri, name="a", checksum=checksum)
        assert "bad-reference" == caught.value.code


@pytest.mark.parametrize("tag", [b'"a\x01b"', b'"a\tb"', '"a\u202eb"'.encode()])
def test_a_tag_that_cannot_be_written_is_refused(nginx: Nginx, tag: bytes) -> None:
    """It comes from a stranger, and goes into a manifest of lines and tabs."""
    answer = b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\nETag: %s\r\n\r\nhi" % tag

    with upstream(answer) as path, pytest.raises((Invalid, Unreachable)):
        expand(f"{nginx.url}/{path}")


def test_certificates_come_from_where_openssl_looks(nginx: Nginx) -> None:
    """Without any configuration, in a fresh process, as a user would have it."""
    path = nginx.publish(b"cat")
    code = f"""
from artstore.references.expand import expand
from artstore.references.fetch import fetch
print(b"".join(fetch(expand("{nginx.url}/{path}")[0])).decode())
"""
    environment = {**os.environ, "SSL_CERT_FILE": str(nginx.certificate)}

    ended = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], env=environment, capture_output=True, text=True, check=False
    )

    assert ("cat\n", "", 0) == (ended.stdout, ended.stderr, ended.returncode)


def test_a_session_of_the_user_is_respected(nginx: Nginx) -> None:
    """What somebody configured for fsspec wins over what is set here."""
    path = nginx.publish(b"cat")

    with trusting(nginx, timeout=aiohttp.ClientTimeout(total=1e-6)), pytest.raises(Unreachable):
        expand(f"{nginx.url}/{path}")
