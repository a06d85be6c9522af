"""The soak `wandb`: `test_real_wandb.py` with an interpreter of its own that has the package, and with many tables.

    python -m tests.api.beside_wandb [--tables N] [--seed N]

Takes the interpreter that ARTSTORE_WANDB_PYTHON names, else makes one in a temporary folder (a minute, 250 MB).
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

NEEDED: Final = ("wandb==0.31.0", "numpy", "pandas")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.api.beside_wandb")
    parser.add_argument("--tables", type=int, default=5_000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        python = os.environ.get("ARTSTORE_WANDB_PYTHON") or made(Path(folder), NEEDED)
        environment = {
            **os.environ,
            "ARTSTORE_WANDB_PYTHON": python,
            "ARTSTORE_WANDB_TABLES": str(options.tables),
            "ARTSTORE_WANDB_SEED": str(options.seed),
        }
        words = [sys.executable, "-m", "pytest", "--no-cov", "-q", "-n", "0", "tests/api/test_real_wandb.py"]
        code = subprocess.run(words, env=environment, check=False).returncode
    if code == 0:
        sys.stdout.write(f"{options.tables} tables of chance from seed {options.seed}, 0 violations\n")
    return code


def made(folder: Path, needed: Sequence[str]) -> str:
    """An interpreter of its own that has these packages."""
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    python = str(folder / ("Scripts" if os.name == "nt" else "bin") / "python")
    subprocess.run([python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *needed], check=True)
    return python


if __name__ == "__main__":
    sys.exit(main())
