"""Record what runs of the real wandb package leave behind: run by an interpreter that has it.

    python tests/imports/record_runs.py tests/imports/recorded_runs.zip

The archive holds `wandb` (the run folders, without their debug logs), `data` and `cache` (W&B's folders of these
names) and `made_with.json`.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

HERE = Path(tempfile.mkdtemp())
os.environ |= {
    "WANDB_MODE": "offline",
    "WANDB_SILENT": "true",
    "WANDB_CACHE_DIR": str(HERE / "cache"),
    "WANDB_DATA_DIR": str(HERE / "data"),
    "WANDB_DIR": str(HERE),
}

import wandb  # noqa: E402 - it reads the environment when it is imported
from wandb.sdk.artifacts.artifact_file_cache import get_artifact_file_cache  # noqa: E402

KILLED = """
import os
import time

import wandb

run = wandb.init(project="cats", id="killed", config={"seed": 7})
artifact = wandb.Artifact("checkpoint", type="model")
with artifact.new_file("model.bin") as file:
    file.write("half a run")
run.log_artifact(artifact)
time.sleep(3)
os._exit(9)
"""


def prepare() -> None:
    (HERE / "photos" / "sub").mkdir(parents=True)
    (HERE / "photos" / "a.txt").write_text("alpha")
    (HERE / "photos" / "empty").touch()
    (HERE / "photos" / "sub" / "b.txt").write_text("beta")
    with wandb.init(
        project="cats",
        id="first",
        name="the first run",
        notes="some notes",
        tags=["small"],
        group="g1",
        job_type="prepare",
        config={"lr": 0.1, "model": {"layers": [1, 2]}},
        settings=wandb.Settings(allow_offline_artifacts=True),
    ) as run:
        run.config["added"] = "later"
        for number, text in enumerate(["one", "two", "one"]):
            artifact = wandb.Artifact("photos", "dataset", f"number {number}", {"index": number, "sizes": [1, 2]})
            artifact.add_dir(str(HERE / "photos"))
            with artifact.new_file("text.txt") as file:
                file.write(text)
            run.log_artifact(artifact, aliases=["best", f"i{number}"], tags=["cute"])
        table = wandb.Table(columns=["a", "b", "c"], data=[[1, 2, 2]])
        artifact = wandb.Artifact("tables", "dataset")
        artifact.add(table, "parts/t_1")
        artifact.add(wandb.data_types.PartitionedTable("parts"), "whole")
        run.log_artifact(artifact)
        artifact = wandb.Artifact("borrowed", "dataset")
        artifact.add(table, "again")
        run.log_artifact(artifact)
        artifact = wandb.Artifact("references", "dataset")
        artifact.add_reference("http://127.0.0.1:9/x.txt", checksum=False)
        artifact.add_reference(f"file://{HERE}/photos/a.txt", name="a.txt")
        artifact.add_reference(f"file://{HERE}/photos/a.txt", name="unchecked.txt", checksum=False)
        for number in range(500):
            artifact.add_reference(f"http://127.0.0.1:9/{number:04}.jpg", name=f"many/{number:04}.jpg", checksum=False)
        run.log_artifact(artifact)
        run.log({"loss": 0.5})


def distribute() -> None:
    with wandb.init(project="cats", id="second", job_type="train") as run:
        for name in ("x", "y"):
            part = wandb.Artifact("parts", "dataset")
            with part.new_file(f"{name}.txt") as file:
                file.write(name)
            if name == "x":
                run.upsert_artifact(part, distributed_id="D")
            else:
                run.finish_artifact(part, distributed_id="D")
        unfinished = wandb.Artifact("unfinished", "dataset")
        with unfinished.new_file("z.txt") as file:
            file.write("z")
        run.upsert_artifact(unfinished, distributed_id="E")
        for name in ("one", "two"):
            grown = wandb.Artifact("grown", "dataset", incremental=True)
            with grown.new_file(f"{name}.txt") as file:
                file.write(name)
            run.log_artifact(grown)
        fast = wandb.Artifact("fast", "dataset", digest_algorithm="XXH128")
        with fast.new_file("fast.txt") as file:
            file.write("hashed by XXH3")
        run.log_artifact(fast)
        in_cache = wandb.Artifact("in_cache", "dataset")
        with in_cache.new_file("cached.txt") as file:
            file.write("in the cache alone")
        entry = in_cache.manifest.entries["cached.txt"]
        run.log_artifact(in_cache)
        vanished = wandb.Artifact("vanished", "dataset")
        with vanished.new_file("vanished.txt") as file:
            file.write("soon gone")
        gone = Path(str(vanished.manifest.entries["vanished.txt"].local_path))
        run.log_artifact(vanished)
        run.log({"table": wandb.Table(columns=["x"], data=[[1]])})
    move_to_cache(entry)
    gone.unlink()


def move_to_cache(entry: Any) -> None:
    """As an upload leaves it."""
    staged = Path(str(entry.local_path))
    _, _, open_new = get_artifact_file_cache().check_digest_obj_path(entry.digest, entry.size)
    with open_new("wb") as file:
        file.write(staged.read_bytes())
    staged.unlink()


def elsewhere() -> None:
    with wandb.init(project="other project", id="third") as run:
        artifact = wandb.Artifact("photos", "dataset")
        with artifact.new_file("text.txt") as file:
            file.write("one")
        run.log_artifact(artifact)


def pack(target: Path) -> None:
    made_with = {"wandb": wandb.__version__, "python": sys.version.split()[0]}
    (HERE / "made_with.json").write_text(json.dumps(made_with) + "\n")
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(HERE.rglob("*")):
            kept = "logs" not in path.parts and "photos" not in path.parts and "latest-run" not in path.parts
            if path.is_file() and kept and not path.is_symlink():
                archive.write(path, path.relative_to(HERE))


prepare()
distribute()
elsewhere()
subprocess.run([sys.executable, "-c", KILLED], check=False)
pack(Path(sys.argv[1]))
shutil.rmtree(HERE)  # The tests must not find the bytes where they were.
