"""Plain: reports and names in a form that any reader can take, be it JSON, a terminal or a page.

Names come from other people's files: what could move a cursor or turn the writing around is shown escaped.
"""

from __future__ import annotations

from typing import Any


def plain(value: Any) -> Any:
    """Turn a report into dictionaries, lists and text that JSON can hold; versions also say their name and ref.

    Undecodable bytes in a path come as lone surrogates, which UTF-8 cannot carry: they are written escaped.
    """
    if isinstance(value, str):
        return value if value.isascii() else value.encode("utf-8", "backslashreplace").decode("utf-8")
    if isinstance(value, dict):
        return {plain(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    fields: tuple[str, ...] | None = getattr(value, "__struct_fields__", None)
    if fields is None:
        return value
    names = [name for name in ("ref", "name") if name not in fields and hasattr(value, name)]
    written: tuple[str, ...] = value.__struct_encode_fields__
    return {
        **{name: plain(getattr(value, name)) for name in names},
        **{called: plain(getattr(value, name)) for called, name in zip(written, fields, strict=True)},
    }


def escape(text: str) -> str:
    """Write what is not printable as Python does: controls, bidi overrides, line separators, undecodable bytes."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)
