"""Warning: what a caller should know of a reference, said of the line that asked for it."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from typing import Final

_OURS: Final = str(Path(__file__).parents[1])


def warn(text: str) -> None:
    """Give a UserWarning that points to the nearest line outside of artstore."""
    level = 1
    frame = sys._getframe(0)  # noqa: SLF001 - as `warnings` itself does; skip_file_prefixes comes with Python 3.12
    while frame.f_code.co_filename.startswith(_OURS) and frame.f_back is not None:
        level, frame = level + 1, frame.f_back
    warnings.warn(text, stacklevel=level)
