"""References on the command line: recorded by `put`, fetched by `get` and `cat`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from tests.references.nginx import Nginx, start, trusting
from tests.servers import Servers

Run = Callable[..., CompletedProcess[str]]

pytestmark = pytest.mark.usefixtures("store")


@pytest.fixture
def far(tmp_path: Path) -> Path:
    """A folder outside of the store."""
    folder = tmp_path / "far"
    (folder / "deep").mkdir(parents=True)
    (folder / "a.bin").write_bytes(b"alpha")
    (folder / "deep" / "b.bin").write_bytes(b"beta")
    return folder


def put(artstore: Run, *words: object, code: int = 0) -> CompletedProcess[str]:
    ended = artstore("put", *words, "--name", "far", "--type", "dataset")
    assert code == ended.returncode, ended.stderr
    return ended


def paths(artstore: Run) -> list[str]:
    return [entry["path"] for entry in json.loads(artstore("ls", "far", "--json").stdout)]


def test_a_uri_is_recorded_and_fetched(artstore: Run, far: Path, folder: Path) -> None:
    put(artstore, f"file://{far}")

    listed = artstore("ls", "far").stdout
    got = artstore("get", "far", "out")
    shown = artstore("cat", "far", "deep/b.bin")

    assert f"deep/b.bin -> file://{far}/deep/b.bin" in listed
    assert (0, b"alpha", b"beta") == (
        got.returncode,
        (folder / "out" / "a.bin").read_bytes(),
        (folder / "out" / "deep" / "b.bin").read_bytes(),
    )
    assert "2 fetched" in got.stdout
    assert "beta" == shown.stdout


def test_uris_are_named_as_files_and_folders_are(artstore: Run, far: Path, folder: Path) -> None:
    (folder / "near.txt").write_bytes(b"near")
    uri = f"file://{far}"

    put(artstore, uri, "--as", "top")
    assert ["top/a.bin", "top/deep/b.bin"] == paths(artstore)
    put(artstore, f"{uri}/a.bin", "--as", "top")
    assert ["top/a.bin"] == paths(artstore)
    put(artstore, f"{uri}/deep/", f"{uri}/a.bin", "near.txt", "--as", "top")
    assert ["top/a.bin", "top/deep/b.bin", "top/near.txt"] == paths(artstore)
    put(artstore, f"{uri}/deep", "near.txt")
    assert ["deep/b.bin", "near.txt"] == paths(artstore)


def test_what_has_no_name_of_its_own_gets_the_one_of_as(artstore: Run) -> None:
    failed = put(artstore, "gopher://example.org/", code=2)
    assert "needs a name" in failed.stderr

    said = put(artstore, "gopher://example.org/", "--as", "index")

    assert ["index"] == paths(artstore)
    assert "cannot be fetched" in said.stderr


def test_a_change_is_an_error_and_can_be_left_out(artstore: Run, far: Path, folder: Path) -> None:
    put(artstore, f"file://{far}")
    (far / "a.bin").write_bytes(b"ALPHA")
    (far / "deep" / "b.bin").unlink()

    assert 3 == artstore("get", "far", "out").returncode
    failed = artstore("cat", "far", "a.bin")
    assert (3, "") == (failed.returncode, failed.stdout)
    left_out = artstore("get", "far", "out", "--allow-missing-references")

    assert 0 == left_out.returncode
    assert "left out a.bin: " in left_out.stderr
    assert "left out deep/b.bin: " in left_out.stderr
    assert [] == [path for path in (folder / "out").rglob("*") if path.is_file()]


def test_without_checksum_whatever_is_there_comes(artstore: Run, far: Path, folder: Path) -> None:
    put(artstore, f"file://{far}/a.bin", "--no-checksum")
    (far / "a.bin").write_bytes(b"another one")

    artstore("get", "far", "out")

    assert b"another one" == (folder / "out" / "a.bin").read_bytes()


def test_more_objects_than_wanted_are_an_error_and_nothing_is_kept(artstore: Run, far: Path) -> None:
    failed = put(artstore, f"file://{far}", "--max-objects", 1, code=2)

    assert "max_objects" in failed.stderr
    assert 3 == artstore("show", "far").returncode


def test_dry_run_records_nothing(artstore: Run, far: Path) -> None:
    assert "would be made" in put(artstore, f"file://{far}", "--dry-run").stdout
    assert 3 == artstore("show", "far").returncode


def test_the_command_fetches_by_tls_and_says_what_it_cannot_compare(
    artstore: Run, folder: Path, servers: Servers
) -> None:
    """In a process of its own, with what OpenSSL is told, as a user has it."""
    nginx = Nginx(servers.facts("nginx", start))
    uri = f"{nginx.url}/no-etag/{nginx.publish(b'cat')}"
    with trusting(nginx):
        said = put(artstore, uri)
    assert "has no ETag" in said.stderr

    ended = subprocess.run(
        [sys.executable, "-m", "artstore", "get", "far", "out"],
        env={**os.environ, "SSL_CERT_FILE": str(nginx.certificate)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert (0, "") == (ended.returncode, ended.stderr)
    assert b"cat" == (folder / "out" / "model.h5").read_bytes()
