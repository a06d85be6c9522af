"""The soak `training`: the tests of the callbacks, with an interpreter that has Lightning and transformers.

    python -m tests.api.beside_training

Takes the interpreter that ARTSTORE_TRAINING_PYTHON names, else makes one in a temporary folder (minutes, gigabytes).
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

from tests.api.beside_wandb import made

NEEDED: Final = ("-e", ".[lightning,transformers]", "hypothesis", "pytest", "pytest-cov", "pytest-xdist")
TESTS: Final = ("tests/api/test_lightning.py", "tests/api/test_transformers.py", "tests/api/test_training.py")


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        python = os.environ.get("ARTSTORE_TRAINING_PYTHON") or made(Path(folder), NEEDED)
        words = [python, "-m", "pytest", "--no-cov", "-q", "-n", "0", "-p", "no:cacheprovider", *TESTS]
        code = subprocess.run(words, check=False).returncode
    if code == 0:
        sys.stdout.write("real trainings, killed and gone on with, 0 violations\n")
    return code


if __name__ == "__main__":
    sys.exit(main())
