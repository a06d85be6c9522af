"""The probe refuses what would lose commits, and says what is wrong with it."""

from __future__ import annotations

from pathlib import Path

import pytest

from artstore.errors import Invalid
from artstore.store import Store
from artstore.sync.objects.families import open_objects
from artstore.sync.objects.probe import probe
from artstore.sync.remotes import Settings, try_remote
from tests.servers import Servers
from tests.sync.objects import rclone


@pytest.fixture
def gateway(servers: Servers, monkeypatch: pytest.MonkeyPatch) -> str:
    """The URL of a bucket that lets everybody have the name they claim."""
    facts = servers.facts("rclone", rclone.start)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "KEY")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "SECRET123")
    return f"s3://{facts['bucket']}/depot?endpoint={facts['url']}&region=us-east-1"


def test_a_gateway_that_ignores_the_condition_is_refused(gateway: str) -> None:
    objects = open_objects(gateway)

    with pytest.raises(Invalid, match="lets a second writer have a name that a first one has claimed") as caught:
        probe(objects)

    assert "unfit-remote" == caught.value.code
    assert gateway in caught.value.message
    assert [] == list(objects.names("")), "and nothing of the probe is left there"


@pytest.mark.parametrize("inside", ["", "packs", "depot"])
def test_the_folder_of_a_store_is_refused(tmp_path: Path, inside: str) -> None:
    """Its `gc` takes a depot's packs for what a killed session left, and whoever evicted them has them nowhere."""
    store = Store.init(tmp_path / "team")
    place = store.path / inside
    place.mkdir(exist_ok=True)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(Invalid, match="folder of a store") as caught:
        try_remote(Settings(url=f"file://{place}", upstream=True))

    assert "unfit-remote" == caught.value.code
    assert before == sorted(tmp_path.rglob("*"))
