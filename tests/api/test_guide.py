"""The examples of the guide: what a reader of it types, with one import changed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

import artstore as wandb

Files = Callable[[Mapping[str, bytes]], None]
TREE = {
    "imágenes/gato.png": b"gato",
    "imágenes/perro.png": b"perro",
    "checkpoints/modelo.h5": b"checkpoint",
    "modelo.h5": b"modelo",
    "ruta/archivo.txt": b"archivo",
}


def hola(artifact: wandb.Artifact) -> None:
    with artifact.new_file("hola.txt") as file:
        file.write("hola!")


@pytest.mark.parametrize(
    ("add", "held"),
    [
        (lambda a: a.add_file("modelo.h5"), ["modelo.h5"]),
        (lambda a: a.add_file("checkpoints/modelo.h5"), ["modelo.h5"]),
        (lambda a: a.add_file("modelo.h5", name="modelos/mimodelo.h5"), ["modelos/mimodelo.h5"]),
        (lambda a: a.add_file("ruta/archivo.txt"), ["archivo.txt"]),
        (
            lambda a: a.add_file(local_path="ruta/archivo.txt", name="nueva/ruta/archivo.txt"),
            ["nueva/ruta/archivo.txt"],
        ),
        (lambda a: a.add_dir("imágenes"), ["gato.png", "perro.png"]),
        (lambda a: a.add_dir("imágenes", name="imágenes"), ["imágenes/gato.png", "imágenes/perro.png"]),
        (hola, ["hola.txt"]),
    ],
)
def test_an_artifact_holds_what_the_guide_says(
    add: Callable[[wandb.Artifact], Any], held: list[str], files: Files
) -> None:
    files(TREE)
    artifact = wandb.Artifact("ejemplo", type="dataset")
    add(artifact)
    artifact.save()

    assert held == list(wandb.Api().artifact("ejemplo:latest").manifest.entries)


def test_an_artifact_is_made_filled_and_logged_in_a_run(files: Files) -> None:
    files(TREE)
    with wandb.init(project="artefactos", job_type="crear") as run:
        artifact = wandb.Artifact("animales", type="dataset", description="fotos", metadata={"raza": "gato"})
        artifact.add_dir("imágenes")
        run.log_artifact(artifact)
    with wandb.init(project="artefactos", job_type="entrenar") as run:
        used = run.use_artifact("animales:latest")
        folder = used.download()

    assert {"gato.png": b"gato", "perro.png": b"perro"} == {p.name: p.read_bytes() for p in Path(folder).iterdir()}
    assert ("fotos", {"raza": "gato"}) == (used.description, used.metadata)
    maker = used.logged_by()
    assert maker is not None
    assert "crear" == maker.job_type
    assert ["entrenar"] == [user.job_type for user in used.used_by()]
    assert ["animales:v0"] == [each.name for each in run.used_artifacts()]
    assert ["animales:v0"] == [each.name for each in maker.logged_artifacts()]


def test_outside_of_a_run_save_makes_one() -> None:
    artifact = wandb.Artifact("solo", type="dataset")
    hola(artifact)
    artifact.save()
    maker = artifact.logged_by()

    assert "solo:v0" == artifact.name
    assert maker is not None
    assert ("auto", "finished") == (maker.job_type, maker.state)


def test_two_artifacts_cannot_share_a_name_whatever_their_types() -> None:
    first = wandb.Artifact("nombre", type="dataset")
    first.save()
    with wandb.init() as run, pytest.raises(ValueError, match=r"nombre.*'dataset'.*'model'"):
        run.log_artifact(wandb.Artifact("nombre", type="model"))


def test_ten_logs_in_a_loop_are_ten_versions_in_that_order() -> None:
    """W&B leaves it open which of them is v0."""
    with wandb.init(project="serie") as run:
        for index in range(10):
            artifact = wandb.Artifact("serie", type="dataset", metadata={"index": index})
            with artifact.new_file("dato") as file:
                file.write(str(index))
            run.log_artifact(artifact)
    found = wandb.Api().artifacts("dataset", "serie/serie", order="version_index")

    assert [(f"v{index}", {"index": index}) for index in range(10)] == [(each.version, each.metadata) for each in found]


def test_a_version_is_updated_by_a_draft_of_it(files: Files) -> None:
    files(TREE)
    with wandb.init() as run:
        artifact = wandb.Artifact("datos", type="dataset")
        artifact.add_dir("imágenes")
        run.log_artifact(artifact).wait()
        draft = run.use_artifact("datos:latest").new_draft()
        draft.add_file("modelo.h5")
        draft.remove("gato.png")
        run.log_artifact(draft).wait()

    assert ("datos:v1", ["modelo.h5", "perro.png"]) == (draft.name, list(draft.manifest.entries))


def test_labels_change_in_place() -> None:
    artifact = wandb.Artifact("datos", type="dataset")
    hola(artifact)
    artifact.save()
    artifact.aliases.append("nuevo")
    artifact.tags = ["uno", "dos"]
    artifact.description = "otra"
    artifact.metadata["clave"] = "valor"
    artifact.save()
    found = wandb.Api().artifact("datos:nuevo")

    assert ["latest", "nuevo"] == sorted(found.aliases)
    assert ["dos", "uno"] == sorted(found.tags)
    assert ("otra", {"clave": "valor"}) == (found.description, found.metadata)


def test_a_table_is_read_back() -> None:
    artifact = wandb.Artifact("tablas", type="dataset")
    artifact.add(wandb.Table(columns=["a", "b", "c"], data=[[1, 2, 4]]), "tabla")
    artifact["otra"] = wandb.Table(columns=["x"], data=[["y"]])
    artifact.save()
    found = wandb.Api().artifact("tablas:latest")
    table = found.get("tabla")

    assert isinstance(table, wandb.Table)
    assert [[1, 2, 4]] == table.data
    assert ["otra.table.json", "tabla.table.json"] == list(found.manifest.entries)
    assert table == found["tabla.table.json"]
    assert found.get("nada") is None
    assert "tabla.table.json" == found.get_entry("tabla").path
