"""Libraries: those that artstore does without until somebody asks for what needs them."""

from __future__ import annotations

from importlib import import_module
from typing import Any, Final

from artstore.errors import NotFound

_EXTRAS: Final = {"numpy": "pandas", "pandas": "pandas", "pyarrow": "parquet"}
"""The extra that brings a library along."""


def library(name: str) -> Any:
    """A library that need not be there. Raises NotFound (library-not-found), which says what installs it."""
    try:
        return import_module(name)
    except ImportError as error:
        top = name.partition(".")[0]
        message = f"this needs {top}, which is not installed: pip install 'artstore[{_EXTRAS[top]}]'"
        raise NotFound(message, code="library-not-found") from error
