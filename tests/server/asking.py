"""Asking: `python -m tests.server.asking --requests 50000 --seed 7` asks a server for whatever its description allows.

And for what it does not allow. No answer may be a failure of the server's, have a status that is not described, or be
written otherwise than is described.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import tempfile
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any, Final

import msgspec
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.failures import FailureGroup
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from artstore.model.digest import SIZE, Digest
from artstore.server.openapi import describe
from artstore.storage.blobs import SMALL
from artstore.sync.http.wire import PREFIX
from tests.sync.conftest import PROJECT, Machine
from tests.sync.serving import Served, served

MODES: Final = (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)
CHECKS: Final = (not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance)
FILES: Final = {"small": b"small", "large": bytes(SMALL + 1), "empty": b""}
_FORMS: Final = 2 + len(FILES)
"""Requests that are made of each example: as it is, about a project that is there, and about each blob of that.

To think of an example takes longer than to ask for it.
"""


class _Known:
    """A digest that is put in the place of others, in the body of a request; none where it stays as it is."""

    digest: bytes | None = None


@schemathesis.serializer("application/vnd.msgpack")
def _packed(_context: object, value: object) -> bytes:
    try:
        return msgspec.msgpack.encode(_as_bytes(value), enc_hook=str)
    except OverflowError:
        return b"\xcf"


def _as_bytes(value: Any) -> Any:
    if isinstance(value, str):
        data = value.encode("latin-1", "replace")
        return data if _Known.digest is None or len(data) != SIZE else _Known.digest
    if isinstance(value, list):
        return [_as_bytes(each) for each in value]
    return value


def ask_for_anything(folder: Path, count: int, chance: int = 0) -> list[str]:
    """Make so many requests at least, to a server that has something; answers what is wrong."""
    with served(folder / "server") as server:
        one = Machine(folder, server.url, "one")
        one.put(FILES)
        one.push()
        one.store.close()
        wrong = list(itertools.islice(_wrong(server, count, chance), 5))
        assert server.store.verify().ok
    return wrong


def _wrong(server: Served, count: int, chance: int) -> Iterator[str]:
    schema = schemathesis.openapi.from_dict(describe(metadata.version("artstore")))
    operations = [each.ok() for each in schema.get_all_operations() if isinstance(each, Ok)]
    examples = -(-count // (len(operations) * len(MODES) * _FORMS))
    digests = [None, None, *(Digest.of(data) for data in FILES.values())]
    found: list[str] = []
    with requests.Session() as session:
        for operation, mode in itertools.product(operations, MODES):

            @given(case=operation.as_strategy(generation_mode=mode))
            @seed(chance)
            @settings(
                max_examples=examples,
                phases=[Phase.generate],
                suppress_health_check=list(HealthCheck),
                deadline=None,
                database=None,
            )
            def ask(case: schemathesis.Case[Any]) -> None:
                for form, _Known.digest in enumerate(digests):
                    if form and "project" in case.path_parameters:
                        case.path_parameters["project"] = PROJECT
                    if _Known.digest is not None and "hex" in case.path_parameters:
                        case.path_parameters["hex"] = _Known.digest.hex()
                    # Half the time of `call` goes into looking whether the example was changed, which it was.
                    words = case.as_transport_kwargs(base_url=server.url + PREFIX)
                    # One that is no number is no HTTP, and comes to no API.
                    words["headers"].pop("Content-Length", None)
                    answer = session.request(**words, timeout=60)
                    try:
                        case.validate_response(answer, checks=list(CHECKS))
                    except FailureGroup as failures:
                        why = "; ".join(str(each) for each in failures.exceptions)
                        found.append(f"{case.method} {case.formatted_path}: {answer.status_code}: {why}")

            ask()
            yield from found
            found.clear()


def main(words: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args(words)
    with tempfile.TemporaryDirectory(prefix="artstore-asking-") as folder:
        wrong = ask_for_anything(Path(folder), chosen.requests, chosen.seed)
    for each in wrong:
        print(each)  # noqa: T201 - it is a program
    print(f"{chosen.requests} requests and more, {len(wrong)} violations")  # noqa: T201 - as above
    return min(len(wrong), 1)


if __name__ == "__main__":
    sys.exit(main())
