"""Patience: how long is waited for an answer of a place, made short for tests."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Final

import pytest

from artstore.sync.objects import gs, s3, sftp

PATIENCE_S: Final = 1.0


@contextlib.contextmanager
def impatient() -> Iterator[None]:
    """Who waits for an answer gives up after about a second, and not after a minute."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (s3, sftp):
            patch.setattr(module, "_CONNECT_S", PATIENCE_S)
        patch.setattr(s3, "_ANSWER_S", PATIENCE_S)
        patch.setattr(sftp, "_KEEPALIVE_S", PATIENCE_S / 4)
        retry = gs._PATIENCE["retry"].with_timeout(gs._AGAIN_S * PATIENCE_S / gs._ANSWER_S)
        patch.setattr(gs, "_PATIENCE", {"timeout": PATIENCE_S, "retry": retry})
        yield
