"""Openapi: what the API answers to, for tools. What it means is written in `artstore.sync.http.wire`."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from artstore.model.digest import SIZE
from artstore.server.app import Failure
from artstore.sync.http.wire import BYTES, JSON, MANY, MESSAGES, PREFIX, About, Claimed, Head, Stand
from artstore.sync.protocol import Slot

_TYPES: Final = (About, Head, Slot, Claimed, Stand, Failure)
_NAMED: Final[dict[str, dict[str, Any]]] = {
    "project": {"type": "string", "pattern": "^[A-Za-z0-9_.-]{1,128}$"},
    "number": {"type": "integer", "minimum": 1, "maximum": 10**15},
    "name": {"type": "string", "pattern": "^[0-9a-f]{32}$"},
    "hex": {"type": "string", "pattern": "^[0-9a-f]{64}$"},
}
_P: Final = "/projects/{project}"
_BYTES: Final = {"type": "string", "format": "binary"}
_UPLOAD: Final = ("Upload-Offset", "Upload-Length", "Upload-Base")

_ALWAYS: Final = {
    400: "What was asked for cannot be",
    401: "It wants a token",
    403: "The token does not allow it",
    421: "It has not this name",
    500: "What is kept here is damaged",
    503: "Too many ask at once",
}
_ABOUT_A_PROJECT: Final = {
    404: "It is not there",
    409: "It is otherwise by now",
    426: "It is of a newer artstore",
    507: "There is no space for it",
}
_WITH_A_BODY: Final = {408: "The rest of it did not come", 413: "It is too large"}
_OF_A_PART: Final = {416: "There is no such part"}


def describe(version: str) -> dict[str, Any]:
    """The API as an OpenAPI document."""
    schemas = msgspec.json.schema_components(_TYPES, ref_template="#/components/schemas/{name}")[1]
    heads = {"type": "object", "additionalProperties": _ref("Head")}
    paths = {
        "/": {"get": _asks("What the server is, and what who asks may do", JSON, _ref("About"))},
        "/projects": {"get": _asks("The last slot of each log", JSON, heads)},
        _P + "/slots/{number}": {
            "get": _asks("Slots from one on, with their manifests", MESSAGES),
            "put": _asks("Claim the next slot, or one that was lost", JSON, _ref("Claimed"), body=(JSON, _ref("Slot"))),
        },
        _P + "/lost": {
            "get": _asks("The slots that are lost or damaged", JSON, {"type": "array", "items": {"type": "integer"}})
        },
        _P + "/lacks": {
            "post": _asks(
                "Which manifests and blobs are not there, and what of the quota is taken",
                MESSAGES,
                body=(MESSAGES, _row(_DIGESTS, _DIGESTS)),
            )
        },
        _P + "/proofs": {
            "post": _asks(
                "What stretches of blobs hash to",
                MESSAGES,
                body=(MESSAGES, _many(_row(_DIGEST, _COUNT, _COUNT))),
            )
        },
        _P + "/manifests/{name}": {
            "get": _asks("An object of manifests", BYTES),
            "put": _asks("Keep an object of manifests", JSON, body=(BYTES, _BYTES)),
        },
        _P + "/holders/{hex}": {"get": _asks("The object that has a manifest", BYTES)},
        _P + "/packs": {"post": _asks("Store small blobs", JSON, body=(BYTES, _BYTES))},
        _P + "/fetch": {"post": _asks("Small blobs together", BYTES, body=(MESSAGES, _DIGESTS))},
        _P + "/chunks": {
            "post": _asks(
                "What stretches of a large blob consist of", MESSAGES, body=(MESSAGES, _row(_DIGEST, _COUNT, _RANGES))
            )
        },
        _P + "/ranges": {"post": _asks("Stretches of a blob", BYTES, body=(MESSAGES, _row(_DIGEST, _RANGES)))},
        _P + "/blobs/{hex}": {"get": _asks("A blob, or the rest of it", BYTES, headers=("Range",))},
        _P + "/uploads/{hex}": {
            "get": _asks("How much of a large blob has come", JSON, _ref("Stand")),
            "put": _asks(
                "Go on with a large blob",
                JSON,
                _ref("Stand"),
                body=(BYTES, _BYTES),
                headers=_UPLOAD,
            ),
        },
    }
    paths[_P + "/blobs/{hex}"]["get"]["responses"] |= {
        "206": {"description": "A part of it", "content": {BYTES: {"schema": _BYTES}}},
        **_failures(_OF_A_PART),
    }
    for path, operations in paths.items():
        named = [_parameter(name, "path", schema) for name, schema in _NAMED.items() if f"{{{name}}}" in path]
        for operation in operations.values():
            operation["parameters"] = [*named, *operation["parameters"]]
            operation["responses"] |= _failures(
                {
                    **_ALWAYS,
                    **(_ABOUT_A_PROJECT if named else {}),
                    **(_WITH_A_BODY if "requestBody" in operation else {}),
                }
            )
    return {
        "openapi": "3.1.0",
        "info": {"title": "artstore", "version": version},
        "servers": [{"url": PREFIX}],
        "security": [{"token": []}],
        "paths": paths,
        "components": {"schemas": schemas, "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}}},
    }


def _asks(
    summary: str,
    kind: str,
    schema: dict[str, Any] | None = None,
    *,
    body: tuple[str, dict[str, Any]] | None = None,
    headers: tuple[str, ...] = (),
) -> dict[str, Any]:
    found: dict[str, Any] = {
        "summary": summary,
        "parameters": [_parameter(name, "header", {"type": "string"}) for name in headers],
        "responses": {"200": {"description": "Done", "content": {kind: {"schema": schema or {}}}}},
    }
    if body is not None:
        found["requestBody"] = {"required": True, "content": {body[0]: {"schema": body[1]}}}
    return found


def _failures(words: dict[int, str]) -> dict[str, Any]:
    schema = {"type": "object", "properties": {"error": _ref("Failure")}, "required": ["error"]}
    return {str(status): {"description": why, "content": {JSON: {"schema": schema}}} for status, why in words.items()}


def _row(*kinds: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "prefixItems": list(kinds), "minItems": len(kinds), "maxItems": len(kinds)}


def _many(kind: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": kind, "maxItems": MANY}


_DIGEST: Final = {"type": "string", "format": "binary", "minLength": SIZE, "maxLength": SIZE}
_COUNT: Final = {"type": "integer", "minimum": 0, "maximum": 1 << 62}
_DIGESTS: Final = _many(_DIGEST)
_RANGES: Final = _many(_row(_COUNT, _COUNT))


def _parameter(name: str, place: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "in": place, "required": place == "path", "schema": schema}


def _ref(name: str) -> dict[str, Any]:
    return {"$ref": f"#/components/schemas/{name}"}
