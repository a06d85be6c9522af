"""What is S3's own: versions, folders that are objects, prefixes of many pages; against a real SeaweedFS."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from uuid import uuid4

import fsspec
import pytest
from fsspec.config import conf

from artstore.errors import ArtstoreError, Invalid, ReferenceChanged, ReferenceMissing, Refused, Unreachable
from artstore.model.manifest import ReferenceEntry
from artstore.references.expand import expand
from artstore.references.fetch import fetch
from tests.references import seaweedfs
from tests.servers import Facts, Servers, answering, free_port

CLI = [sys.executable, "-m", "artstore"]


def all_of(entry: ReferenceEntry) -> bytes:
    return b"".join(fetch(entry))


def extra_of(entry: ReferenceEntry) -> dict[str, str]:
    extra: dict[str, str] = json.loads(entry.extra)
    return extra


class Prefix:
    """A part of a bucket for one test."""

    def __init__(self, system: Any, bucket: str) -> None:
        self.system, self.bucket, self.key = system, bucket, uuid4().hex

    @property
    def uri(self) -> str:
        return f"s3://{self.bucket}/{self.key}"

    def put(self, name: str, data: bytes, **options: Any) -> str:
        """Write an object; answers its version."""
        told = self.system.call_s3("put_object", Bucket=self.bucket, Key=f"{self.key}/{name}", Body=data, **options)
        return str(told.get("VersionId"))


@pytest.fixture
def facts(servers: Servers) -> Facts:
    return servers.facts("seaweedfs", seaweedfs.start)


@pytest.fixture
def system(facts: Facts) -> Iterator[Any]:
    with seaweedfs.reached(facts) as reached:
        yield reached


@pytest.fixture
def plain(facts: Facts, system: Any) -> Prefix:
    """In a bucket that keeps one state of each object."""
    return Prefix(system, facts["plain"])


@pytest.fixture
def versioned(facts: Facts, system: Any) -> Prefix:
    """In a bucket that keeps every state."""
    return Prefix(system, facts["versioned"])


def test_the_etag_is_kept_and_where_there_are_versions_the_version(plain: Prefix, versioned: Prefix) -> None:
    plain.put("a", b"cat")
    version = versioned.put("a", b"cat")

    (one,), (other,) = expand(f"{plain.uri}/a"), expand(f"{versioned.uri}/a")

    assert "d077f244def8a70e5ea758bd8352fcd8" == one.checksum == other.checksum
    assert {"etag": one.checksum} == extra_of(one)
    assert {"etag": one.checksum, "versionID": version} == extra_of(other)


def test_a_prefix_gives_the_version_of_each_object(versioned: Prefix) -> None:
    for data in (b"old", b"new"):
        versions = {name: versioned.put(name, data) for name in ("a", "b")}
    versioned.put("gone", b"x")
    versioned.system.call_s3("delete_object", Bucket=versioned.bucket, Key=f"{versioned.key}/gone")

    entries = expand(versioned.uri)

    assert versions == {entry.path: extra_of(entry)["versionID"] for entry in entries}
    for name in ("a", "b"):
        versioned.put(name, b"newest")
    assert [b"new", b"new"] == [all_of(entry) for entry in entries]


def test_a_version_can_be_chosen_and_does_not_stand_in_the_uri(versioned: Prefix) -> None:
    """The entry is the same whether the version was named or was the present one."""
    first = versioned.put("a", b"first")
    (present,) = expand(f"{versioned.uri}/a")
    versioned.put("a", b"second")

    (chosen,) = expand(f"{versioned.uri}/a?versionId={first}")

    assert present == chosen
    assert (f"{versioned.uri}/a", "a") == (chosen.uri, chosen.path)
    assert b"first" == all_of(chosen)
    (unchecked,) = expand(f"{versioned.uri}/a?versionId={first}", name="x", checksum=False)
    assert b"first" == all_of(unchecked)


@pytest.mark.parametrize("version", ["00000000000000000000000000000000", "nonsense"])
def test_a_version_that_is_not_there_cannot_be_chosen(versioned: Prefix, version: str) -> None:
    versioned.put("a", b"first")

    with pytest.raises(ArtstoreError):
        expand(f"{versioned.uri}/a?versionId={version}")


def test_a_version_that_was_deleted_is_missing_and_no_other_is_given(versioned: Prefix) -> None:
    first = versioned.put("a", b"first")
    (entry,) = expand(f"{versioned.uri}/a")
    versioned.put("a", b"second")

    versioned.system.call_s3("delete_object", Bucket=versioned.bucket, Key=f"{versioned.key}/a", VersionId=first)

    with pytest.raises(ReferenceChanged):
        all_of(entry)


def test_an_object_recorded_before_the_bucket_kept_versions_is_found_by_its_etag(system: Any) -> None:
    """Somebody turns versioning on, and the next upload hides the state that was recorded without one."""
    bucket = Prefix(system, seaweedfs.make_bucket(system))
    bucket.put("a", b"first")
    bucket.put("a.backup", b"first")
    (entry,) = expand(f"{bucket.uri}/a")
    assert "versionID" not in extra_of(entry)

    seaweedfs.keep_versions(system, bucket.bucket)
    bucket.put("a", b"second")

    assert b"first" == all_of(entry)
    system.call_s3("delete_object", Bucket=bucket.bucket, Key=f"{bucket.key}/a")
    assert b"first" == all_of(entry)


def test_another_object_with_the_recorded_content_is_not_taken_for_a_version(plain: Prefix) -> None:
    """Keys that begin alike stand in the same listing, and all have the version `null` there."""
    plain.put("a", b"first")
    plain.put("a.backup", b"first")
    (entry,) = expand(f"{plain.uri}/a")

    plain.put("a", b"other")

    with pytest.raises(ReferenceChanged):
        all_of(entry)


@pytest.mark.parametrize(
    ("uri", "name", "paths"),
    [
        ("modelo.h5", None, ["modelo.h5"]),
        ("checkpoints/modelo.h5", None, ["modelo.h5"]),
        ("modelo.h5", "modelos/mimodelo.h5", ["modelos/mimodelo.h5"]),
        ("imágenes", None, ["gato.png", "perro.png"]),
        ("imágenes", "imágenes", ["imágenes/gato.png", "imágenes/perro.png"]),
    ],
)
def test_objects_and_prefixes_are_named_as_users_expect(
    plain: Prefix, uri: str, name: str | None, paths: list[str]
) -> None:
    for key in ("modelo.h5", "checkpoints/modelo.h5", "imágenes/gato.png", "imágenes/perro.png"):
        plain.put(key, key.encode())

    assert paths == [entry.path for entry in expand(f"{plain.uri}/{uri}", name=name)]


def test_an_object_of_several_parts_comes_back(plain: Prefix) -> None:
    """Its ETag is no digest of the content, and has a dash in it."""
    data = os.urandom(12 << 20)
    system = fsspec.filesystem("s3", use_listings_cache=False)
    with system.open(f"{plain.uri}/large", "wb", block_size=5 << 20) as file:
        file.write(data)

    (entry,) = expand(f"{plain.uri}/large")

    assert "-" in entry.checksum
    assert data == all_of(entry)


def test_folders_that_are_objects_are_folders(plain: Prefix) -> None:
    """Consoles make them: with a slash at the end, or with a type of their own."""
    plain.put("marked", b"", ContentType="application/x-directory; charset=UTF-8")
    plain.put("marked/a", b"cat")
    plain.put("slashed/", b"")
    plain.put("slashed/deep/", b"")
    plain.put("slashed/deep/b", b"dog")

    with warnings.catch_warnings(action="error"):
        assert ["a"] == [entry.path for entry in expand(f"{plain.uri}/marked")]
        assert ["deep/b"] == [entry.path for entry in expand(f"{plain.uri}/slashed")]
        assert ["marked/a", "slashed/deep/b"] == [entry.path for entry in expand(plain.uri)]


def test_empty_objects_of_a_prefix_are_left_out_and_named(plain: Prefix) -> None:
    plain.put("a", b"cat")
    plain.put("b/__init__.py", b"")

    with pytest.warns(UserWarning, match=r"1 empty object, such as '.*/b/__init__.py'") as caught:
        entries = expand(plain.uri)

    assert ["a"] == [entry.path for entry in entries]
    assert [__file__] == [warning.filename for warning in caught]
    (empty,) = expand(f"{plain.uri}/b/__init__.py")
    assert ("__init__.py", b"") == (empty.path, all_of(empty))


def test_an_object_wins_over_a_prefix_of_its_name_and_a_slash_means_the_prefix(plain: Prefix) -> None:
    plain.put("data", b"the object")
    plain.put("data/a", b"below it")

    assert [b"the object"] == [all_of(entry) for entry in expand(f"{plain.uri}/data")]
    assert [b"below it"] == [all_of(entry) for entry in expand(f"{plain.uri}/data/")]


@pytest.mark.parametrize("name", ["a b", "a%20b", "a?b", "a#b", "a+b", "ä", "a[1]*", "a?versionId=b"])
def test_keys_are_taken_as_they_are(plain: Prefix, name: str) -> None:
    """Nothing is decoded, and no pattern is looked for; but `?versionId=` at the end of a URI means a version."""
    plain.put(f"folder/{name}", b"cat")
    plain.put("folder/decoy b", b"dog")

    entries = {entry.path: entry for entry in expand(f"{plain.uri}/folder")}

    assert {name, "decoy b"} == set(entries)
    assert b"cat" == all_of(entries[name])
    if "versionId" not in name:
        assert b"cat" == all_of(expand(f"{plain.uri}/folder/{name}")[0])


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["plain", "versioned"])
def test_a_prefix_of_several_pages_is_whole_and_the_bound_is_exact(kind: str, plain: Prefix, versioned: Prefix) -> None:
    """A page has 1,000 objects; what comes after the first is lost by whoever forgets to turn it."""
    prefix = {"plain": plain, "versioned": versioned}[kind]
    names = [f"{number:05}" for number in range(1_003)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda name: prefix.put(name, name.encode()), names))

    assert names == [entry.path for entry in expand(prefix.uri, max_objects=1_003)]
    with pytest.raises(Invalid) as caught:
        expand(prefix.uri, max_objects=1_002)
    assert "too-many-objects" == caught.value.code


def test_without_checksum_the_path_is_the_whole_key_and_a_prefix_is_one_entry(plain: Prefix) -> None:
    """Nothing is asked: not even whether it is there."""
    for below in ("a", "folder/", "nowhere"):
        (entry,) = expand(f"{plain.uri}/{below}", checksum=False)

        assert f"{plain.key}/{below}".rstrip("/") == entry.path
        assert f"{plain.uri}/{below}" == entry.uri == entry.checksum
    with pytest.raises(ReferenceMissing):
        all_of(expand(f"{plain.uri}/nowhere", checksum=False)[0])
    with pytest.raises(Invalid, match="whole bucket"):
        expand(f"s3://{plain.bucket}", checksum=False)


@pytest.mark.parametrize("uri", ["s3://", "s3:///key", "s3://key:secret@bucket/a", "s3://user@bucket"])
def test_a_uri_that_names_no_bucket_is_refused(uri: str) -> None:
    with pytest.raises(Invalid, match="names no bucket"):
        expand(uri)


def test_a_bucket_that_is_not_there_is_missing(system: Any) -> None:
    assert system

    for uri in ("s3://no-such-bucket-here", "s3://no-such-bucket-here/a"):
        with pytest.raises(ReferenceMissing):
            expand(uri)


def test_a_wrong_secret_is_refused(facts: Facts, plain: Prefix, monkeypatch: pytest.MonkeyPatch) -> None:
    plain.put("a", b"cat")
    (entry,) = expand(f"{plain.uri}/a")
    wrong = {"key": "AKTEST", "secret": "wrong", "endpoint_url": facts["url"]}
    monkeypatch.setitem(conf, "s3", wrong)

    for attempt in (lambda: expand(f"{plain.uri}/a"), lambda: expand(plain.uri), lambda: all_of(entry)):
        with pytest.raises(Refused) as caught:
            attempt()
        assert "reference-refused" == caught.value.code
        assert "wrong" not in caught.value.message


def test_nobody_who_listens_is_unreachable(monkeypatch: pytest.MonkeyPatch) -> None:
    options = {"key": "a", "secret": "b", "endpoint_url": f"http://127.0.0.1:{free_port()}"}
    monkeypatch.setitem(conf, "s3", {**options, "config_kwargs": {"retries": {"max_attempts": 0}}})

    with pytest.raises(Unreachable) as caught:
        expand("s3://bucket/a")
    assert "reference-unreachable" == caught.value.code


def test_a_service_that_does_not_know_the_condition_is_seen_through(monkeypatch: pytest.MonkeyPatch) -> None:
    """It answers 200 with other bytes where it should have refused, and keeps no versions."""

    def answer(request: bytes) -> bytes:
        if b"versions" in request.split(b"\r\n")[0]:
            return b"HTTP/1.1 501 Not Implemented\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        head = b'HTTP/1.1 200 OK\r\nContent-Length: 3\r\nETag: "other"\r\nConnection: close\r\n\r\n'
        return head if request.startswith(b"HEAD") else head + b"dog"

    with answering(answer) as port:
        options = {"key": "a", "secret": "b", "endpoint_url": f"http://127.0.0.1:{port}"}
        monkeypatch.setitem(conf, "s3", options)
        entry = ReferenceEntry("a", "s3://bucket/a", "recorded", 3, '{"etag":"recorded"}')

        with pytest.raises(ReferenceChanged):
            all_of(entry)


@pytest.mark.parametrize("length", [9, 3])
def test_a_body_that_breaks_off_is_an_error(monkeypatch: pytest.MonkeyPatch, length: int) -> None:
    head = b'HTTP/1.1 200 OK\r\nContent-Length: %d\r\nETag: "recorded"\r\nConnection: close\r\n\r\n' % length
    with answering(head + b"cat") as port:
        options = {"key": "a", "secret": "b", "endpoint_url": f"http://127.0.0.1:{port}"}
        monkeypatch.setitem(conf, "s3", options)
        entry = ReferenceEntry("a", "s3://bucket/a", "recorded", 9, '{"etag":"recorded"}')

        with pytest.raises(Unreachable):
            all_of(entry)


OTHER_ENDPOINT = """
import sys
import artstore
artifact = artstore.Artifact("far", "dataset")
artifact.add_reference(sys.argv[1])
artifact.save()
print(open(artstore.Api().artifact("far").file(sys.argv[2])).read())
"""


@pytest.mark.parametrize(
    ("word", "verb"), [("AWS_S3_ENDPOINT_URL", ["artifact", "put"]), ("AWS_ENDPOINT_URL", ["put"])]
)
def test_another_service_may_be_named_in_the_words_of_wandb(
    plain: Prefix, facts: Facts, tmp_path: Path, word: str, verb: list[str]
) -> None:
    """Scripts that run beside a service of their own say so by the environment alone."""
    plain.put("a.txt", b"meow")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(word, facts["url"])
        patch.setenv("AWS_ACCESS_KEY_ID", facts["key"])
        patch.setenv("AWS_SECRET_ACCESS_KEY", facts["secret"])
        patch.setenv("AWS_REGION", "eu-west-1")
        patch.setenv("ARTSTORE_DIR", str(tmp_path / "store"))

        script = [sys.executable, "-c", OTHER_ENDPOINT, f"{plain.uri}/a.txt", str(tmp_path / "out")]
        assert "meow" == subprocess.run(script, capture_output=True, text=True, check=True).stdout.strip()
        words = [*CLI, *verb, f"{plain.uri}/a.txt", "--name", "far", "--type", "dataset"]
        assert 0 == subprocess.run(words, check=False).returncode
