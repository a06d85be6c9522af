"""Record what the real wandb package writes: run by an interpreter that has it, from the top folder.

    python tests/api/record_tables.py > tests/api/recorded_tables.json

The answer says what it was made with, and for each case the files of an artifact: JSON as text, others in base64.
"""

from __future__ import annotations

import base64
import json
import os
import sys
from pathlib import Path
from typing import Any

os.environ |= {"WANDB_MODE": "offline", "WANDB_SILENT": "true"}
sys.path.insert(0, str(Path(__file__).parents[2]))

import numpy as np
import wandb

from tests.api.table_cases import ALIKE, ARRAYS, UNREADABLE


def record() -> dict[str, Any]:
    return {
        "made_with": {"wandb": wandb.__version__, "numpy": np.__version__, "python": sys.version.split()[0]},
        "cases": {name: files_of(t=make(wandb.Table)) for name, make in (ALIKE | ARRAYS | UNREADABLE).items()},
        "partitioned": partitioned(),
        "joined": joined(),
        "media": files_of(t=wandb.Table(columns=["h", "n"], data=[[wandb.Html("<b>x</b>", inject=False), 1]])),
        "increments": increments(),
    }


def partitioned() -> dict[str, str]:
    parts = {
        f"parts/t_{number}": wandb.Table(columns=["a", "b", "c"], data=[[number, number * 2, 2**number]])
        for number in range(5)
    }
    return files_of(**parts, whole=wandb.data_types.PartitionedTable("parts"))


def joined() -> dict[str, str]:
    left = wandb.Table(columns=["id", "x"], data=[["a", 1]])
    return files_of(
        left=left,
        right=wandb.Table(columns=["id", "y"], data=[["a", 2]]),
        by_path=wandb.JoinedTable("left.table.json", "right.table.json", ["id", "id"]),
        by_object=wandb.JoinedTable(left, "right.table.json", "id"),
    )


def increments() -> dict[str, str]:
    table = wandb.Table(columns=["a"], data=[[1]], log_mode="INCREMENTAL")
    return files_of(**{"0-1700000000000.key": table})


def files_of(**values: Any) -> dict[str, str]:
    artifact = wandb.Artifact("x", "dataset")
    for name, value in values.items():
        artifact.add(value, name)
    found = {path: Path(str(entry.local_path)).read_bytes() for path, entry in artifact.manifest.entries.items()}
    return {
        path: data.decode() if path.endswith((".json", ".html")) else base64.b64encode(data).decode()
        for path, data in sorted(found.items())
    }


json.dump(record(), sys.stdout, indent=1)
sys.stdout.write("\n")
