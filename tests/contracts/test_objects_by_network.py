"""Objects, when the network breaks: what is promised of every place that is reached through one."""

from __future__ import annotations

import contextlib
import itertools
import os
import random
from collections.abc import Callable, Iterator

import pytest

from artstore.errors import Unreachable
from artstore.sync.objects.interface import Objects
from tests.sync.objects.patience import impatient
from tests.sync.objects.places import Network

LARGE = os.urandom(20_000_003)


def pieces(data: bytes, size: int = 1_000_000) -> Iterator[bytes]:
    yield from (data[start : start + size] for start in range(0, len(data), size))


def went_on(objects: Objects, name: str) -> bytes:
    """All that comes, asked for again behind what had come wherever it broke."""
    got = bytearray()
    for _ in range(20):
        with contextlib.suppress(Unreachable):
            for block in objects.stream(name, len(got)):
                got += block
            return bytes(got)
    raise AssertionError


@pytest.mark.parametrize("seed", range(3))
def test_a_download_that_is_cut_goes_on_where_it_stopped(network: Network, seed: int) -> None:
    """And gives the very bytes: none twice, none left out, whatever byte it was cut at."""
    network.near.open().write("a", pieces(LARGE), len(LARGE))
    objects = network.far.open()
    objects.size("a")
    chance = random.Random(seed)

    for _ in range(3):
        network.wire.cut_after(chance.randrange(1000, len(LARGE)), way="down")
        assert LARGE == went_on(objects, "a")


def test_a_download_that_comes_to_more_than_half_goes_on_by_itself(network: Network) -> None:
    """A blob of many GB would otherwise never arrive where a network breaks every few minutes."""
    network.near.open().write("a", pieces(LARGE), len(LARGE))
    objects = network.far.open()
    objects.size("a")

    network.wire.cut_after(15_000_000, way="down")

    assert LARGE == b"".join(objects.stream("a"))


@pytest.mark.parametrize("seed", range(3))
def test_an_upload_that_is_cut_shows_nothing_or_the_whole_and_can_be_repeated(network: Network, seed: int) -> None:
    objects = network.far.open()
    objects.size("a")
    chance = random.Random(seed)

    network.wire.cut_after(chance.randrange(1000, len(LARGE)), way="up")
    with contextlib.suppress(Unreachable):
        objects.write("a/b", pieces(LARGE), len(LARGE))
    network.wire.heal()
    assert network.near.open().size("a/b") in {None, len(LARGE)}
    objects.write("a/b", pieces(LARGE), len(LARGE))

    assert LARGE == network.near.open().read("a/b")
    assert ["a/b"] == list(network.near.open().names(""))


@pytest.mark.parametrize("way", ["up", "down"])
@pytest.mark.parametrize("seed", range(4))
def test_a_claim_whose_answer_was_lost_is_found_by_reading(network: Network, way: str, seed: int) -> None:
    """Whatever the caller is told, the name is then free, or holds the bytes of one of those who claimed it."""
    objects = network.far.open()
    objects.size("a")
    network.wire.cut_after(random.Random(seed).randrange(1, 3000), way=way)

    told: bool | None = None
    with contextlib.suppress(Unreachable):
        told = objects.claim("log/0001", b"mine")
    network.wire.heal()

    near = network.near.open()
    if told:
        assert b"mine" == near.read("log/0001")
    if near.claim("log/0001", b"theirs"):
        assert told is None
    assert near.read("log/0001") in {b"mine", b"theirs"}
    assert objects.read("log/0001") == near.read("log/0001")
    assert not objects.claim("log/0001", b"mine")


def test_after_a_break_the_same_objects_go_on(network: Network) -> None:
    """A follower runs for weeks, and must not have to be started again."""
    objects = network.far.open()
    assert objects.claim("a", b"x")

    for _ in range(3):
        network.wire.hang_up()
        with contextlib.suppress(Unreachable):
            objects.read("a")
        assert b"x" == objects.read("a")


def test_a_slow_network_is_no_broken_one(network: Network) -> None:
    objects = network.far.open()
    data = LARGE[:300_000]
    network.wire.pause_s = 0.02

    objects.write("a", pieces(data, 100_000), len(data))

    assert data == objects.read("a")


def test_where_nobody_listens_it_is_unreachable_and_says_where(network: Network) -> None:
    network.wire.close()
    objects = network.far.open()

    for call in (
        lambda: objects.read("a"),
        lambda: objects.size("a"),
        lambda: objects.claim("a", b"x"),
        lambda: list(objects.names("")),
    ):
        with impatient(), pytest.raises(Unreachable) as caught:
            call()
        assert network.far.url in caught.value.message
        assert "Nothing is lost; try again later" in caught.value.message


def test_what_breaks_is_never_taken_for_an_answer(network: Network) -> None:
    """A cut connection must not look like an object that is not there, or is shorter than it was, or like an empty log.

    Python takes headers that were cut for headers that have ended, and a body without a length for a whole one.
    """
    data = LARGE[:600_000]
    network.near.open().write("a", [data], len(data))
    objects = network.far.open()
    objects.size("a")

    calls: list[tuple[Callable[[], object], object]] = [
        (lambda: objects.read("a"), data),
        (lambda: objects.read("a", 1000, 5000), data[1000:6000]),
        (lambda: list(objects.names("")), ["a"]),
    ]
    sizes = (*range(1, 1000, 37), 5_000, 100_000, 500_000)
    for size, (call, expected) in zip(sizes, itertools.cycle(calls), strict=False):
        network.wire.cut_after(size, way="down")
        with contextlib.suppress(Unreachable):
            assert expected == call()
