"""A network that breaks at any byte, says nothing, or is slow: whatever it does, all arrives in the end, once."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from artstore.errors import ArtstoreError, Unreachable
from artstore.server.listening import Certificate
from artstore.store import Store
from artstore.sync.hosting.tokens import create_token
from artstore.sync.http import connection
from artstore.sync.remotes import add_remote
from artstore.sync.rounds import exchange
from tests.chaos import chaos
from tests.sync.conftest import Machine
from tests.sync.network import kills, planted, rounds
from tests.sync.network.cables import Cable, laid
from tests.sync.serving import ServerProcess, served

LARGE = os.urandom(40 << 20)


@pytest.mark.usefixtures("unmeasured")
@pytest.mark.parametrize("seed", range(2))
def test_rounds_over_a_bad_network_bring_everything_once(seed: int) -> None:
    """X1, X13: a cut at any byte of any request or answer."""
    rounds.one(seed, 20)


@pytest.mark.slow
@pytest.mark.usefixtures("unmeasured")
def test_a_server_that_is_killed_fifty_times_loses_nothing_that_it_acknowledged() -> None:
    """And keeps nothing twice, whichever byte of an upload, or of its own answer, was the last one."""
    assert 50 == kills.one(20_261, 50)


@pytest.mark.usefixtures("unmeasured")
def test_kills_bring_to_light_what_is_acknowledged_too_early() -> None:
    """Kills that find nothing say something only if they would have found it."""
    with pytest.raises((AssertionError, ArtstoreError)):
        kills.one(20_262, 50, planted.a_claim_is_answered_before_it_is_kept.__name__)


def test_where_nobody_answers_it_ends_and_goes_on_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """X1: a machine that has lost its power keeps its connections, as far as others can see."""
    monkeypatch.setattr(connection, "_SILENCE_S", 0.3)
    with served(tmp_path / "server") as server, chaos(server.port) as wire:
        one = Machine(tmp_path, f"http://127.0.0.1:{wire.port}", "one")
        one.put({"large": LARGE[:3_000_000], "small": b"small"})
        wire.stall()
        began = time.monotonic()
        with pytest.raises(Unreachable, match="Nothing is lost; try again later"):
            exchange(one.store, "push")
        took_s = time.monotonic() - began
        wire.go_on()
        one.push()

        assert 20 > took_s
        assert one.names() == [(each.name, each.id, each.aliases) for each in server.store.versions("cats")]
        assert server.store.verify().ok
        one.store.close()


class Far:
    """A store, and the server on another machine that is its upstream."""

    def __init__(self, folder: Path, cable: Cable) -> None:
        self.cable = cable
        authority = trustme.CA()
        own = authority.issue_cert(cable.address)
        own.private_key_and_cert_chain_pem.write_to_path(folder / "server.pem")
        authority.cert_pem.write_to_path(folder / "authority.pem")
        self.process = ServerProcess(
            folder / "server",
            host=cable.address,
            certificate=Certificate(folder / "server.pem", folder / "server.pem"),
            through=cable.on_the_other_side,
        )
        token = create_token(self.process.folder, scope="write", project=None, expires_s=None).token
        (folder / "token").write_text(token)
        self.store = Store.init(folder / "store")
        (folder / "large").write_bytes(LARGE)
        self.store.put([folder / "large"], name="cats", type="dataset")
        self._token = folder / "token"

    def join(self) -> None:
        add_remote(self.store.path, "hub", self.process.url, upstream=True, join=True, token_file=self._token)

    def check(self) -> None:
        """All of it is there, once."""
        self.process.end()
        with Store.open(self.process.folder) as there:
            assert [each.id for each in self.store.versions("cats")] == [each.id for each in there.versions("cats")]
            assert LARGE == b"".join(there.read("cats", "large"))
            assert there.verify().ok
        assert self.store.verify().ok


@pytest.fixture
def far(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Far]:
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "authority.pem"))
    with laid() as cable:
        found = Far(tmp_path, cable)
        with found.process, found.store:
            found.join()
            yield found


@pytest.mark.root
@pytest.mark.usefixtures("unmeasured")
def test_a_push_outlives_a_cable_that_is_pulled_for_a_moment(far: Far) -> None:
    """Somebody trips over it: that is nothing to begin anew for."""
    before = far.cable.carried()
    puller = threading.Thread(target=_pull, args=(far.cable, before + (5 << 20), 0.3))
    puller.start()
    report = exchange(far.store, "push")
    puller.join()

    assert [None] == [project.error for project in report.projects]
    assert len(LARGE) + (4 << 20) > far.cable.carried() - before
    far.check()


@pytest.mark.root
@pytest.mark.usefixtures("unmeasured")
def test_a_partition_ends_a_push_and_the_next_one_goes_on(far: Far, monkeypatch: pytest.MonkeyPatch) -> None:
    """X1: neither side is told that the other one is gone, and both hold on to what has come."""
    monkeypatch.setattr(connection, "_SILENCE_S", 0.5)
    monkeypatch.setattr(connection, "_CONNECT_S", 0.5)
    puller = threading.Thread(target=_pull, args=(far.cable, far.cable.carried() + (20 << 20), None))
    puller.start()
    with pytest.raises(Unreachable):
        exchange(far.store, "push")
    puller.join()
    far.cable.put_in()
    before = far.cable.carried()
    report = exchange(far.store, "push")

    assert [None] == [project.error for project in report.projects]
    assert len(LARGE) - (8 << 20) > far.cable.carried() - before
    far.check()


def _pull(cable: Cable, after: int, for_s: float | None) -> None:
    cable.wait_until_carried(after)
    cable.pull()
    if for_s is not None:
        time.sleep(for_s)
        cable.put_in()
