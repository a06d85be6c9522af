"""Lacking: what a test needs and does not find is a reason to skip it; in CI, which installs everything, to fail it.

A promise that nobody tests any more looks like one that is kept.
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import Any, NoReturn

import pytest


def lacking(reason: str) -> NoReturn:
    """End the test, and say why."""
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


def package(name: str) -> Any:
    """A package that is not artstore's own, imported."""
    try:
        return import_module(name)
    except ImportError as error:
        lacking(f"there is no {name}: {error}")
