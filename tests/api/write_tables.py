"""Write tables with the real wandb package: run by an interpreter that has it.

    python tests/api/write_tables.py < RECIPES

A line of RECIPES is a Python expression: (columns, rows, options). Prints for each, as a line of JSON, the file that
wandb writes, or null where it refuses.
"""

from __future__ import annotations

import datetime as dt
import json
import os
import sys
from pathlib import Path

os.environ |= {"WANDB_MODE": "offline", "WANDB_SILENT": "true"}

import wandb

NAMES = {"datetime": dt, "nan": float("nan"), "inf": float("inf")}

for line in sys.stdin:
    columns, rows, options = eval(line, NAMES)  # noqa: S307 - the test that asks has written it
    text: str | None = None
    try:
        artifact = wandb.Artifact("x", "dataset")
        entry = artifact.add(wandb.Table(columns=columns, data=rows, **options), "t")
        text = Path(str(entry.local_path)).read_text(encoding="utf-8")
    except (TypeError, ValueError):
        pass
    sys.stdout.write(json.dumps(text) + "\n")
