"""A fork waits for what goes on, in an order that does not depend on what was loaded first."""

from __future__ import annotations

import itertools
import subprocess
import sys

import pytest

CODE = """
import importlib, sys
for name in sys.argv[1:]:
    importlib.import_module(name)
from artstore import forks
heard = []
for number, each in enumerate(forks._guards):
    turn = each.turn.name
    forks._guards[number] = each._replace(
        before=lambda turn=turn: heard.append(turn), in_parent=lambda turn=turn: heard.append(turn + " goes on")
    )
import os
child = os.fork()
if child == 0:
    os._exit(0)
os.waitpid(child, 0)
print(*heard, sep=", ")
"""


@pytest.mark.parametrize(
    "modules", list(itertools.permutations(["artstore.api.background", "artstore.storage.driver"])), ids="-".join
)
def test_work_has_ended_before_the_storage_closes(modules: tuple[str, ...]) -> None:
    """Else the fork waits for a commit in the background, and the commit for the fork."""
    ended = subprocess.run([sys.executable, "-c", CODE, *modules], capture_output=True, text=True, check=True)

    assert "WORK, STORAGE, STORAGE goes on, WORK goes on" == ended.stdout.strip()
