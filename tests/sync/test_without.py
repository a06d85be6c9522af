"""The floor may be taken away: what is below it works on one machine as it did."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROGRAM = """
import sys
from pathlib import Path
import artstore
from artstore.cli import main

assert str(Path(artstore.__file__).parents[1]) == sys.argv[1], artstore.__file__
Path("photos").mkdir()
Path("photos/a").write_bytes(b"a")
assert main(["init"]) == 0
Path(".artstore/remotes.toml").write_text('[remotes.hub]\\nurl = "file:///nowhere"\\nupstream = true\\n')
assert main(["put", "photos", "--name", "cats", "--type", "dataset"]) == 0
assert main(["get", "cats", "out"]) == 0
assert main(["verify"]) == 0
assert Path("out/a").read_bytes() == b"a"
with artstore.init(project="zoo") as run:
    run.use_artifact("uncategorized/cats:latest").download()
    for verb in (run.upsert_artifact, run.finish_artifact):
        verb("photos", name="dogs", type="dataset", distributed_id="night").wait()
"""


@pytest.mark.usefixtures("unmeasured")
def test_a_working_artstore_remains_without_this_floor(tmp_path: Path) -> None:
    """Nothing that keeps data may come to depend on what moves it."""
    shutil.copytree(ROOT / "artstore", tmp_path / "artstore", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.rmtree(tmp_path / "artstore" / "sync")
    place = tmp_path / "place"
    place.mkdir()
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path)],
        cwd=place,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )

    assert 0 == ended.returncode, ended.stderr
