"""What is refused, or warned of, before anybody is asked."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from artstore.errors import Invalid, NotFound
from artstore.model.manifest import ReferenceEntry
from artstore.references.expand import expand
from artstore.references.fetch import fetch


@pytest.mark.parametrize("text", ["model.h5", "/data/model.h5", "", "C:\\model.h5", "s3:/bucket", "://a", "1a://b"])
def test_what_has_no_scheme_is_no_reference(text: str) -> None:
    """A path would mean something else on every machine."""
    with pytest.raises(Invalid, match="file://") as caught:
        expand(text)

    assert "bad-reference" == caught.value.code
    assert isinstance(caught.value, ValueError)


def test_a_scheme_that_nobody_knows_needs_a_name() -> None:
    with pytest.raises(Invalid, match="needs a name") as caught:
        expand("gopher://example.org/a")

    assert "name-missing" == caught.value.code


def test_a_scheme_that_nobody_knows_is_recorded_with_a_warning_and_cannot_be_fetched() -> None:
    uri = "gopher://example.org/a"

    with pytest.warns(UserWarning, match="gopher://: .* cannot be fetched") as caught:
        (entry,) = expand(uri, name="a")

    assert ReferenceEntry("a", uri, uri, None) == entry
    assert [__file__] == [warning.filename for warning in caught]
    with pytest.raises(Invalid, match="gopher://") as refused:
        next(fetch(entry))
    assert "unknown-scheme" == refused.value.code


@pytest.mark.parametrize("scheme", ["simplecache::file", "zip", "memory", "github"])
def test_what_fsspec_knows_besides_is_not_opened(scheme: str, tmp_path: Path) -> None:
    """fsspec chains protocols and knows dozens: a URI in somebody's manifest must not choose among them."""
    with pytest.raises(Invalid) as caught:
        expand(f"{scheme}://{tmp_path}/a")

    assert caught.value.code in {"bad-reference", "name-missing"}


@pytest.mark.parametrize("name", ["../a", "/a", "a/../../b", "a\0b", ".artstore/x"])
def test_a_name_that_leads_out_is_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"cat")

    for checksum in (True, False):
        with pytest.raises(Invalid) as caught:
            expand(f"file://{tmp_path}/a", name=name, checksum=checksum)
        assert "bad-path" == caught.value.code


def test_a_name_is_brought_to_its_normal_form(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"cat")

    assert ["b/c"] == [entry.path for entry in expand(f"file://{tmp_path}/a", name="./b//c")]
    assert ["b/a"] == [entry.path for entry in expand(f"file://{tmp_path}", name="b/")]


@pytest.mark.parametrize("most", [0, -1])
def test_a_bound_below_one_means_nothing(most: int, tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="max_objects"):
        expand(f"file://{tmp_path}", max_objects=most)


def test_a_library_that_is_not_installed_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "aiohttp", None)
    monkeypatch.delitem(sys.modules, "artstore.references.http", raising=False)

    with pytest.raises(NotFound, match="need aiohttp") as caught:
        expand("https://example.org/a", checksum=False)
    assert "extra-missing" == caught.value.code
