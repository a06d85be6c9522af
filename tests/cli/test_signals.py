"""Signals: a command that is told to end leaves nothing behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from artstore import Store


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
@pytest.mark.usefixtures("unmeasured")
def test_a_put_that_is_told_to_end_clears_up(folder: Path, number: signal.Signals) -> None:
    """P7. A scheduler's time limit must not leave a terabyte of scratch in the store."""
    Store.init(folder / ".artstore").close()
    store = folder / ".artstore"
    words = [sys.executable, "-m", "artstore", "put", "-", "--name", "st", "--type", "t", "--as", "x"]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdin is not None
        process.stdin.write(bytes(3 << 20))
        process.stdin.flush()
        until = time.monotonic() + 30
        while not any(path.is_file() for path in (store / "tmp").rglob("*")) and time.monotonic() < until:
            time.sleep(0.01)
        process.send_signal(number)
        # It waits for more, and has to hear the signal all the same.
        assert process.wait(timeout=30) == 128 + number
        assert process.stderr is not None
        assert b"Traceback" not in process.stderr.read()

    assert [] == os.listdir(store / "tmp")
    assert [] == [name for name in os.listdir(store / "locks") if name[0].isdigit()]
