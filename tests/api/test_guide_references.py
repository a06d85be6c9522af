"""The guide's examples of references, on a real server that speaks S3."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

import artstore as wandb
from tests.references import seaweedfs
from tests.servers import Servers

OBJECTS = {
    "modelo.h5": b"modelo",
    "checkpoints/modelo.h5": b"checkpoint",
    "imágenes/gato.png": b"gato",
    "imágenes/perro.png": b"perro",
}


@pytest.fixture
def bucket(servers: Servers) -> Iterator[str]:
    """`s3://mi-bucket`, as far as it is this test's."""
    facts = servers.facts("seaweedfs", seaweedfs.start)
    with seaweedfs.reached(facts) as system:
        key = uuid4().hex
        for name, data in OBJECTS.items():
            system.call_s3("put_object", Bucket=facts["plain"], Key=f"{key}/{name}", Body=data)
        yield f"s3://{facts['plain']}/{key}"


@pytest.mark.parametrize(
    ("add", "held"),
    [
        (lambda a, b: a.add_reference(f"{b}/modelo.h5"), {"modelo.h5": b"modelo"}),
        (lambda a, b: a.add_reference(f"{b}/checkpoints/modelo.h5"), {"modelo.h5": b"checkpoint"}),
        (
            lambda a, b: a.add_reference(f"{b}/modelo.h5", name="modelos/mimodelo.h5"),
            {"modelos/mimodelo.h5": b"modelo"},
        ),
        (lambda a, b: a.add_reference(f"{b}/imágenes"), {"gato.png": b"gato", "perro.png": b"perro"}),
        (
            lambda a, b: a.add_reference(f"{b}/imágenes", name="imágenes"),
            {"imágenes/gato.png": b"gato", "imágenes/perro.png": b"perro"},
        ),
    ],
)
def test_a_reference_holds_what_the_guide_says(
    bucket: str, add: Callable[[wandb.Artifact, str], Any], held: dict[str, bytes]
) -> None:
    artifact = wandb.Artifact("ejemplo", type="dataset")
    add(artifact, bucket)
    artifact.save()
    found = wandb.Api().artifact("ejemplo:latest")
    top = Path(found.download("out"))

    assert sorted(held) == list(found.manifest.entries)
    assert all(found.get_entry(path).ref_target().startswith(bucket) for path in held)
    assert held == {path.relative_to(top).as_posix(): path.read_bytes() for path in top.rglob("*") if path.is_file()}


def test_a_reference_keeps_what_the_server_says_of_the_object(bucket: str) -> None:
    artifact = wandb.Artifact("ejemplo", type="dataset")
    (entry,) = artifact.add_reference(f"{bucket}/modelo.h5")
    (unchecked,) = artifact.add_reference(f"{bucket}/imágenes/gato.png", checksum=False)

    assert (6, entry.digest) == (entry.size, entry.extra["etag"].strip('"'))
    assert unchecked.digest == unchecked.ref == f"{bucket}/imágenes/gato.png"
