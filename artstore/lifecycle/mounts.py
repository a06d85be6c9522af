"""Mounts: a folder and the disks below it, which stay while it is watched.

With a disk its files go, and a bare folder is left in its place, or none. That is no folder whose files were deleted.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from artstore.errors import Refused

_UNDONE: Final = "nothing was committed, and the watch ends"


class Mounts:
    """What stood where, to be compared with what stands there now."""

    def __init__(self, folder: Path) -> None:
        """Take the folder as it is. Raises OSError where it cannot be looked at."""
        status = folder.stat()
        self._folder = folder
        self._inside = os.path.join(os.path.realpath(folder), "")
        self._identity = status.st_dev, status.st_ino
        self._devices: dict[str, int] = {}
        """The number of each disk below, by where it is mounted."""

    def add(self, devices: Mapping[str, int]) -> None:
        """Know of disks that were met below the folder; one that is known already stays what it was."""
        self._devices = {**devices, **self._devices}

    def check(self) -> None:
        """Raise Refused (folder-gone, folder-replaced) where the folder, or a disk below it, is no longer there."""
        try:
            status = self._folder.stat()
        except OSError as error:
            message = f"{str(self._folder)!r} is gone ({error.strerror}): {_UNDONE}"
            raise Refused(message, code="folder-gone") from error
        if (status.st_dev, status.st_ino) != self._identity:
            message = (
                f"another folder stands at {str(self._folder)!r}, which may be the place of a disk that is not there: "
                f"{_UNDONE}"
            )
            raise Refused(message, code="folder-replaced")
        for place, device in self._devices.items():
            self._check_disk(place, device)

    def _check_disk(self, place: str, device: int) -> None:
        message = (
            f"the disk at {place!r} is no longer there: {_UNDONE}; start it anew if the files are not to come back"
        )
        try:
            # What is mounted on demand is, once its folder is opened.
            with os.scandir(place):
                now = os.stat(place).st_dev
        except (FileNotFoundError, NotADirectoryError) as error:
            # Outside it was reached through a link, which now leads to nothing, or is meant to be no more.
            if place.startswith(self._inside):
                raise Refused(message, code="folder-gone") from error
        except OSError:
            # Whoever scans says why it cannot be read, and what it held stays as it was.
            return
        else:
            if now != device:
                raise Refused(message, code="folder-replaced")
