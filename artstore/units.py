"""Units: how sizes, counts, durations and times are written for people. JSON has the exact numbers instead."""

from __future__ import annotations

import time
from typing import Final

_PREFIXES: Final = ("KiB", "MiB", "GiB", "TiB", "PiB", "EiB")
_MINUTE_S: Final = 60
_HOUR_S: Final = 3600
_DAY_S: Final = 86400


def size(count_bytes: int | None) -> str:
    """`0 B`, `999 B`, `1.5 KiB`, `3.2 GiB`; `-` where it is not known."""
    if count_bytes is None:
        return "-"
    if abs(count_bytes) < 1000:  # noqa: PLR2004 - three digits are read at a glance
        return f"{count_bytes} B"
    value = float(count_bytes)
    power = 0
    # 1023.97 would be written 1024.0: rounded up it belongs to the next prefix.
    while power == 0 or (abs(value) >= 1023.95 and power < len(_PREFIXES)):  # noqa: PLR2004
        value /= 1024
        power += 1
    return f"{value:.1f} {_PREFIXES[power - 1]}"


def count(number: int, noun: str, plural: str | None = None) -> str:
    """`1 file`, `1,204 files`."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def duration(length_s: float | None) -> str:
    """`0.12 s`, `12.3 s`, `2 min 5 s`, `3 h 20 min`, `14 d`; `-` where there is none."""
    if length_s is None:
        return "-"
    if length_s < 10:  # noqa: PLR2004
        return f"{length_s:.2f} s"
    if length_s < _MINUTE_S:
        return f"{length_s:.1f} s"
    for unit_s, unit, rest_s, rest in (
        (_DAY_S, "d", _HOUR_S, "h"),
        (_HOUR_S, "h", _MINUTE_S, "min"),
        (_MINUTE_S, "min", 1, "s"),
    ):
        if length_s >= unit_s:
            whole, left = divmod(int(length_s), unit_s)
            return f"{whole} {unit} {left // rest_s} {rest}" if left >= rest_s else f"{whole} {unit}"
    raise AssertionError(length_s)


def moment(at: float | None, *, zone: bool = False) -> str:
    """`2026-03-01 14:05:09` in local time, with the zone if asked; `-` where there is none."""
    if at is None:
        return "-"
    try:
        return time.strftime("%Y-%m-%d %H:%M:%S %z" if zone else "%Y-%m-%d %H:%M:%S", time.localtime(at))
    except (OverflowError, ValueError, OSError):
        # A record from elsewhere may carry a time that no calendar has; it is still worth printing.
        return repr(at)
