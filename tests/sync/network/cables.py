"""Cables: a machine of its own, by the kernel's namespaces, behind a cable that can be pulled and put in again."""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import pytest

from tests.servers import needed

_WAIT_S: Final = 30.0


class Cable:
    """Between this machine and another one, which has nothing else."""

    def __init__(self, program: str, nsenter: str) -> None:
        self._program = program
        self._nsenter = nsenter
        number = os.getpid() % 60_000
        self._name, self._near = f"artstore-{number}", f"veth{number}"
        net = f"10.{200 + number // 16_384}.{number // 64 % 256}"
        self.address = f"{net}.{number % 64 * 4 + 2}"
        """Of the other machine."""
        self._own = f"{net}.{number % 64 * 4 + 1}"

    def lay(self) -> None:
        """Make the machine and the cable. Raises CalledProcessError where the kernel does not let."""
        self._ip("netns", "add", self._name)
        self._ip("link", "add", self._near, "type", "veth", "peer", "name", "eth0", "netns", self._name)
        self._ip("address", "add", f"{self._own}/30", "dev", self._near)
        self._ip("link", "set", self._near, "up")
        for words in (f"address add {self.address}/30 dev eth0", "link set lo up", "link set eth0 up"):
            self._ip("-n", self._name, *words.split())

    def take_away(self) -> None:
        """Both, with all that runs there."""
        subprocess.run([self._program, "netns", "delete", self._name], check=False, capture_output=True)

    def on_the_other_side(self, command: Sequence[str]) -> list[str]:
        """A command that runs there; it has this machine's mounts, and keeps none of them that is taken away."""
        return [self._nsenter, f"--net=/run/netns/{self._name}", *command]

    def pull(self) -> None:
        """Nothing goes through any more, and nobody is told."""
        self._ip("-n", self._name, "link", "set", "eth0", "down")

    def put_in(self) -> None:
        """All goes through again."""
        self._ip("-n", self._name, "link", "set", "eth0", "up")
        # That nobody answered is remembered for a second.
        self._ip("neighbour", "flush", "dev", self._near)

    def carried(self) -> int:
        """Bytes that went to the other side so far."""
        return int(Path("/sys/class/net", self._near, "statistics/tx_bytes").read_text())

    def wait_until_carried(self, size: int) -> None:
        """Come back when so many bytes have gone."""
        deadline = time.monotonic() + _WAIT_S
        while self.carried() < size:
            assert time.monotonic() < deadline
            time.sleep(0.0005)

    def _ip(self, *words: str) -> None:
        subprocess.run([self._program, *words], check=True, capture_output=True, text=True)


@contextlib.contextmanager
def laid() -> Iterator[Cable]:
    """A cable, for tests that are marked with `root`; skipped where the kernel makes no network."""
    cable = Cable(
        needed("ip", Path("/usr/sbin"), Path("/sbin"), to_install="apt-get install iproute2"),
        needed("nsenter", Path("/usr/bin"), to_install="apt-get install util-linux"),
    )
    try:
        cable.lay()
        yield cable
    except subprocess.CalledProcessError as error:
        pytest.skip(f"no network can be made here: {error.stderr}")
    finally:
        cable.take_away()
