"""Processes: work in forks of a parent that has loaded everything, killed at their time or waited for."""

from __future__ import annotations

import os
import pickle
import re
import signal
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

Job = TypeVar("Job")
Result = TypeVar("Result")

LOOK_S: Final = 0.0005
A_DAY_S: Final = 86_400.0

_CRASH: Final = re.compile(r"a process (failed|did not come)|it gave no answer|\b(Type|Attribute|Name)Error\b")


def fork(work: Callable[[], None]) -> int:
    """Begin some work in a process of its own, which ends with it; answers its id."""
    pid = os.fork()
    if pid:
        return pid
    code = 0
    try:
        work()
    except BaseException:  # noqa: BLE001 - whatever it is, a forked child must not go on as its parent
        traceback.print_exc()
        code = 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def wait_for(children: dict[int, float], *, must_end: bool = False) -> list[str]:
    """Kill each child at its time, and wait for all; one that failed by itself is a violation."""
    wrong: list[str] = []
    while children:
        for pid, until in list(children.items()):
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                del children[pid]
                if os.WIFEXITED(status) and os.WEXITSTATUS(status):
                    wrong.append(f"a process failed with {os.WEXITSTATUS(status)}: see what it printed")
            elif time.monotonic() >= until:
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
                del children[pid]
                if must_end:
                    wrong.append("a process did not come to its end")
        time.sleep(LOOK_S)
    return wrong


def ask(work: Callable[[], Any], answer: Path, limit_s: float) -> tuple[Any, list[str]]:
    """What some work answers in a process of its own, None if nothing, and what became wrong with the process."""
    wrong = wait_for({fork(lambda: _write(answer, work())): time.monotonic() + limit_s}, must_end=True)
    if not answer.exists():
        return None, [*wrong, "it gave no answer"]
    found = pickle.loads(answer.read_bytes())  # noqa: S301 - written by our own child
    answer.unlink()
    return found, wrong


def is_crash(wrong: str) -> bool:
    """Whether what is wrong is that code fell over, which says nothing of what it did to a store."""
    return _CRASH.search(wrong) is not None


def spread(
    jobs: Sequence[Job],
    work: Callable[[Job], Result],
    folder: Path,
    *,
    workers: int,
    is_last: Callable[[Result], bool] = lambda _result: False,
) -> list[Result]:
    """Do jobs side by side, and answer in their order. Where an answer is the last one wanted, no job begins anew."""
    stop = folder / "stop"

    def share(worker: int) -> list[tuple[int, Result]]:
        done: list[tuple[int, Result]] = []
        for number in range(worker, len(jobs), count):
            if stop.exists():
                break
            done.append((number, work(jobs[number])))
            if is_last(done[-1][1]):
                stop.touch()
        return done

    count = max(1, min(workers, len(jobs)))
    answers = [folder / f"answers{worker}" for worker in range(count)]
    pids = [fork(lambda: _write(answers[worker], share(worker))) for worker in range(count)]  # noqa: B023 - called at once
    failed = wait_for(dict.fromkeys(pids, time.monotonic() + A_DAY_S))
    assert not failed, failed
    found = [each for answer in answers for each in pickle.loads(answer.read_bytes())]  # noqa: S301 - as above
    for path in (*answers, stop):
        path.unlink(missing_ok=True)
    return [result for _number, result in sorted(found, key=lambda each: each[0])]


def _write(answer: Path, found: object) -> None:
    unfinished = answer.with_name(f"{answer.name}.part")
    unfinished.write_bytes(pickle.dumps(found))
    unfinished.rename(answer)
