"""Mounts: what a file system is decides which journal can be trusted there."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from artstore.storage.mounts import file_system, is_network


def test_the_file_system_of_this_folder_is_known(tmp_path: Path) -> None:
    assert re.fullmatch(r"[a-z][a-z0-9.]*", file_system(tmp_path))
    assert not is_network(tmp_path)


@pytest.mark.root
def test_a_mount_with_an_odd_name_hides_no_file_system(volume: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A USB stick with a name in Latin-1 must not keep every store on the machine from opening."""
    odd = volume / os.fsdecode(b"caf\xe9 \xc3\xa9")
    odd.mkdir()
    subprocess.run(["mount", "-t", "ramfs", "none", os.fsencode(odd)], check=True)
    try:
        # As on btrfs, whose subvolumes have devices that no mount shows.
        monkeypatch.setattr(os, "major", lambda _: 4095)
        found = [file_system(volume), file_system(odd), file_system(Path("/proc/self"))]
    finally:
        subprocess.run(["umount", os.fsencode(odd)], check=True)

    assert found == ["tmpfs", "ramfs", "proc"]
