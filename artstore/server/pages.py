"""Pages: what was asked of the store, as HTML.

Everything that a template writes is escaped, once so that no text is markup, and once so that no character can turn the
writing around or hide in it; there is no way to write it unescaped.
"""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cache
from typing import Any, Final
from urllib.parse import quote

import msgspec
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from starlette.requests import Request

from artstore.plain import escape, plain
from artstore.server import charts, links, snippets
from artstore.units import count, duration, moment, size

_SHORT: Final = 12


@cache
def _templates() -> Environment:
    found = Environment(
        loader=PackageLoader("artstore.server"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_shown,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.globals.update(to=links, charts=charts, snippets=snippets, count=count, size=size, duration=duration)
    found.filters.update(
        digits=_digits, exactly=_exactly, json=_json, lines=_lines, short=_short, size=size, when=_when
    )
    return found


def prepare() -> None:
    """Read all templates now, so that the first to ask does not wait for it."""
    for name in _templates().list_templates():
        _templates().get_template(name)


def render(template: str, look: msgspec.Struct, request: Request) -> str:
    """One page."""
    # As it was decoded, and quoted anew: what looks like a quoted letter in a name is none.
    here = quote(request.scope["path"]) + (f"?{request.url.query}" if request.url.query else "")
    return _templates().get_template(template).render(look=look, here=here, query=request.query_params)


def _shown(value: Any) -> Any:
    return value if isinstance(value, Markup) or not isinstance(value, str) else escape(value)


def _lines(text: str) -> Markup:
    """Text of several lines, which stay such; within them everything is shown as it is."""
    tabbed = (line.replace("\t", "    ") for line in text.replace("\r\n", "\n").split("\n"))
    return Markup("\n").join(escape(line) for line in tabbed)


def _digits(number: int) -> str:
    return f"{number:,}"


def _exactly(count_bytes: int) -> str:
    return f"{count_bytes:,} bytes"


def _json(value: Any) -> str:
    return msgspec.json.format(msgspec.json.encode(plain(value)), indent=2).decode()


def _short(digest: str) -> str:
    """The first digits of a digest."""
    return digest.partition(":")[2][:_SHORT]


def _when(at: float | None) -> Markup:
    """A time, to the minute; the second and the zone when it is pointed at."""
    if at is None:
        return Markup("–")  # noqa: RUF001 - as a typesetter writes "none"
    try:
        exact = datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds")
    except (OverflowError, ValueError, OSError):
        return Markup("<span>{}</span>").format(moment(at))
    day, _, minute = moment(at).rpartition(":")[0].partition(" ")
    written = Markup('<time datetime="{}" title="{}">{} <span class="wide">{}</span></time>')
    return written.format(exact, moment(at, zone=True), day, minute)
