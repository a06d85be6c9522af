"""Digests: one spelling, and no second one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from artstore.errors import Invalid
from artstore.model.digest import Digest

EMPTY = "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262"
"""BLAKE3 of nothing, from the official test vectors."""


def test_a_digest_is_the_official_blake3() -> None:
    """Whatever else reads a store computes the same names with any BLAKE3 tool."""
    assert Digest.of(b"").hex() == EMPTY


def test_text_has_a_colon_and_file_names_have_none() -> None:
    """NTFS and exFAT forbid the colon, so a store could not be copied there."""
    digest = Digest.of(b"")

    assert (str(digest), digest.path) == (f"blake3:{EMPTY}", f"blake3/{EMPTY}")


@given(st.binary(min_size=32, max_size=32))
def test_text_reads_back(raw: bytes) -> None:
    assert Digest.parse(str(Digest(raw))) == raw


@pytest.mark.parametrize(
    "text",
    [
        "",
        EMPTY,
        f"blake3/{EMPTY}",
        f"sha256:{EMPTY}",
        f"BLAKE3:{EMPTY}",
        f"blake3:{EMPTY.upper()}",
        f"blake3:{EMPTY[:-1]}",
        f"blake3:{EMPTY}0",
        f"blake3:{EMPTY}\n",
        f" blake3:{EMPTY}",
        "blake3:" + "٣" * 64,
    ],
)
def test_what_only_resembles_a_digest_is_refused(text: str) -> None:
    """N14. Two spellings of one digest would be two names for one blob, and a line break at the end a third."""
    with pytest.raises(Invalid) as caught:
        Digest.parse(text)

    assert caught.value.code == "bad-digest"
