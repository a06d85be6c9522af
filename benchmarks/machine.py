"""The machine: what a figure means nothing without."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.tool import Tool


def describe() -> str:
    """Processor, cores, memory, kernel and Python, in one line."""
    memory_bytes = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return ", ".join(
        (
            f"{os.cpu_count()} x {_processor()}",
            f"{memory_bytes / 2**30:.0f} GiB",
            f"{platform.system()} {platform.release().partition('-')[0]}",
            f"Python {platform.python_version()}",
        )
    )


def today() -> str:
    """The date, in UTC."""
    return datetime.now(tz=UTC).date().isoformat()


def versions(tools: Iterable[type[Tool]]) -> str:
    """What each tool calls itself, in one line."""
    return ", ".join(tool.version() for tool in tools)


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        lines = []
    models = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(models, platform.processor() or platform.machine())
