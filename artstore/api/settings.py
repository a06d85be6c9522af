"""Settings: what the environment says to scripts that were written for W&B.

Each is read as `ARTSTORE_<NAME>`, and else as `WANDB_<NAME>`, so that job scripts may stay as they are.
"""

from __future__ import annotations

import os
from pathlib import Path

from artstore.errors import Invalid


def setting(name: str) -> str | None:
    """What the environment says, if anything."""
    return os.environ.get(f"ARTSTORE_{name}") or os.environ.get(f"WANDB_{name}") or None


def words(name: str) -> list[str] | None:
    """A setting that is a list, with commas between."""
    said = setting(name)
    return None if said is None else [word.strip() for word in said.split(",") if word.strip()]


def download_folder(name: str) -> str:
    """Where the files of an artifact go if nobody says: `$ARTSTORE_ARTIFACT_DIR` or `./artifacts`, and its name."""
    top = setting("ARTIFACT_DIR") or "artifacts"
    return str(Path(top).expanduser().absolute() / on_disk(name))


def on_disk(name: str) -> str:
    """The name of a version as that of a folder."""
    return name.replace(":", "-") if os.name == "nt" else name


def system_path(path: object, *, what: str) -> Path:
    """A path that a caller gave. Raises Invalid (bad-path) for what cannot be one."""
    if isinstance(path, Path):
        return path
    try:
        return Path(os.fspath(path))  # type: ignore[call-overload]
    except TypeError as error:
        message = f"{what} is {path!r}, which is not a path: give text or a Path"
        raise Invalid(message, code="bad-path") from error
