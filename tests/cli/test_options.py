"""Words become values, or an error that shows how to write them."""

from __future__ import annotations

import json
from pathlib import Path

import click
import pytest

from artstore.cli.json_values import assignment, metadata_object
from artstore.cli.options import Best, best, duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("15m", 900), ("24h", 86400), ("7d", 604800), ("2w", 1209600), ("1.5h", 5400), ("0", 0), ("0s", 0)],
)
def test_a_duration_has_a_unit(text: str, seconds: float) -> None:
    assert seconds == duration(text)


@pytest.mark.parametrize(
    "text", ["", "5", "-1h", "1h30m", "h", "1 h", "1H", "inf", "nan", "1e3s", "٣s", "9" * 400 + "w"]
)
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(click.BadParameter, match="90s, 15m"):
        duration(text)


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("accuracy=3", Best("accuracy", "max", 3)),
        ("accuracy:max=3", Best("accuracy", "max", 3)),
        ("loss:min=1", Best("loss", "min", 1)),
        ("val:loss=2", Best("val:loss", "max", 2)),
        ("a=b:min=2", Best("a=b", "min", 2)),
    ],
)
def test_what_is_best_is_read_from_the_right(text: str, rule: Best) -> None:
    assert rule == best(text)


@pytest.mark.parametrize("text", ["accuracy", "=3", ":max=3", "accuracy=", "accuracy=0", "accuracy=-1", "accuracy=²"])
def test_what_says_not_how_many_is_refused(text: str) -> None:
    with pytest.raises(click.BadParameter, match="how many"):
        best(text)


@pytest.mark.parametrize(
    ("text", "pair"),
    [
        ("a=1", ("a", 1)),
        ("a=0.5", ("a", 0.5)),
        ("a=true", ("a", True)),
        ("a=null", ("a", None)),
        ('a="1"', ("a", "1")),
        ("a=[1, 2]", ("a", [1, 2])),
        ("a=b=c", ("a", "b=c")),
        ("a=", ("a", "")),
        ("a=nan", ("a", "nan")),
        ("a=[1", ("a", "[1")),
        ("a=é", ("a", "é")),
    ],
)
def test_a_value_is_json_or_else_text(text: str, pair: tuple[str, object]) -> None:
    assert pair == assignment(text)


@pytest.mark.parametrize("text", ["a", "=1", ""])
def test_what_sets_nothing_is_refused(text: str) -> None:
    with pytest.raises(click.BadParameter, match="KEY=VALUE"):
        assignment(text)


def test_a_key_that_stands_twice_is_refused() -> None:
    """D4. One of its values would be lost without a word."""
    for parse, text in ((assignment, 'k={"a": 1, "b": {"c": 1, "c": 2}}'), (metadata_object, '{"a": 1, "a": 2}')):
        with pytest.raises(click.BadParameter, match="stands there twice"):
            parse(text)


def test_metadata_is_an_object_or_a_file_that_holds_one(tmp_path: Path) -> None:
    file = tmp_path / "m.json"
    file.write_text(json.dumps({"a": [1, None]}), encoding="utf-8")

    assert {"a": [1, None]} == metadata_object(str(file))
    assert {"a": 1} == metadata_object(' {"a": 1}')


@pytest.mark.parametrize("text", ["[1]", "{", '{"a": nan}', "missing.json", "", "{\udcff}"])
def test_other_metadata_is_refused(text: str, folder: Path) -> None:
    assert folder.is_dir()
    with pytest.raises(click.BadParameter, match="JSON object"):
        metadata_object(text)
