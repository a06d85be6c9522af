"""Files of versions, as Python's own files: read and verified, or written and kept when they are closed."""

from __future__ import annotations

import errno
import io
import os
import sys
import warnings
from enum import Enum, auto
from pathlib import Path
from typing import Any, BinaryIO, Final

from artstore.errors import Conflict
from artstore.lifecycle.change import Change
from artstore.lifecycle.fetch import FetchedFile, naming
from artstore.lifecycle.tree import Tree, VersionTree
from artstore.model.manifest import ReferenceEntry, blob_of
from artstore.references.fetch import fetch
from artstore.storage.blob_reader import BlobReader

IN_MEMORY: Final = 1 << 20
"""Bytes of a file being written that are kept in memory; more go to the store's disk."""
BUFFER: Final = 1 << 20
"""Bytes that are read at a time: as many as are verified together."""


class Verified:
    """What is read of a version: from the disk here, checked where it is read."""

    @property
    def blocksize(self) -> int:
        """What a cache of blocks asks for first. Raises AttributeError: nothing here can be read through one."""
        message = "files of versions have no blocks to be cached (blockcache::): chain filecache:: or simplecache::"
        raise AttributeError(message)


class SmallFile(Verified, io.BytesIO):
    """A file of a version that was read and verified as a whole."""

    mode = "rb"

    def __init__(self, data: bytes, path: str) -> None:
        super().__init__(data)
        self.path = path
        self.size = len(data)

    def writable(self) -> bool:
        """Never."""
        return False

    def write(self, data: Any, /) -> int:
        """Never possible."""
        raise io.UnsupportedOperation(errno.EBADF, f"not writable: {len(data)} bytes")

    def truncate(self, size: int | None = None, /) -> int:
        """Never possible."""
        raise io.UnsupportedOperation(errno.EBADF, f"not writable: {size}")


class LargeFile(Verified, io.BufferedReader):
    """A file of a version, of which each block is verified when it is read."""

    mode = "rb"

    def __init__(self, fs: Any, path: str, raw: Any) -> None:
        super().__init__(raw, BUFFER)
        self.fs = fs
        self.path = path
        self.size = int(raw.size)

    def readinto(self, buffer: Any, /) -> int:
        """Read to where it is wanted; the inherited one copies where that is as much as its own buffer holds."""
        view = memoryview(buffer).cast("B")
        at = self.tell()
        if len(view) < BUFFER or at % BUFFER or at >= self.size:
            return super().readinto(view)
        raw: Any = self.raw
        raw.seek(at)
        got = 0
        while got < len(view) and (some := raw.readinto(view[got:])):
            got += some
        self.seek(at + got)
        return got

    def __reduce__(self) -> tuple[Any, ...]:
        return _reopen, (self.fs, self.path, self.tell())


class Ending(Enum):
    """What becomes of what was written to a file."""

    AT_CLOSE = auto()
    """It is committed when the file is closed."""
    WHEN_ASKED = auto()
    """It is committed by `commit`, or forgotten by `discard`, after the file was closed."""
    TOGETHER = auto()
    """Others commit it together with theirs."""


class Writing(io.BufferedIOBase):
    """A file that is being written. What it holds when it is closed becomes part of a version, or nothing does."""

    mode = "wb"

    def __init__(self, change: Change, inner: str, path: str, ending: Ending, *, is_new: bool) -> None:
        super().__init__()
        self.path = path
        self._change = change
        self._inner = inner
        self._ending = ending
        self._is_new = is_new
        self._bytes: BinaryIO = io.BytesIO()
        self._scratch: Path | None = None
        self._is_over = False
        # Opened while another error is dealt with, a file is not to be taken for failed because of that one.
        self._outer = sys.exc_info()[1]

    def writable(self) -> bool:
        """Always."""
        return True

    def seekable(self) -> bool:
        """Always."""
        return True

    def tell(self) -> int:
        """Where the next write begins."""
        return self._bytes.tell()

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        """Move."""
        return self._bytes.seek(offset, whence)

    def truncate(self, size: int | None = None, /) -> int:
        """Cut off what is behind `size`."""
        return self._bytes.truncate(size)

    def write(self, data: Any, /) -> int:
        """Write all of it."""
        if self.closed:
            message = "I/O operation on closed file."
            raise ValueError(message)
        written = self._bytes.write(data)
        if self._scratch is None and self._bytes.tell() > IN_MEMORY:
            self._move_to_disk()
        return written

    def close(self) -> None:
        """End the file: it is committed, or in a transaction will be. After an exception it is discarded."""
        if self.closed:
            return
        error = sys.exc_info()[1]
        if error is not None and error is not self._outer:
            self.discard()
            return
        is_kept = False
        try:
            self._keep()
            if self._ending is Ending.AT_CLOSE:
                _commit(self._change, self.path)
            is_kept = self._ending is Ending.WHEN_ASKED
        finally:
            self._release() if is_kept else self.discard()

    def commit(self) -> None:
        """Take what was written: of a file in a transaction as it is now, else what it was when it was closed."""
        if not self.closed:
            self._keep()
        if self._ending is Ending.WHEN_ASKED and not self._is_over:
            try:
                _commit(self._change, self.path)
            finally:
                self.discard()

    def discard(self) -> None:
        """Forget what was written and not committed. May be called again."""
        self._is_over = True
        self._release()
        if self._ending is not Ending.TOGETHER:
            self._change.discard()

    def _release(self) -> None:
        if self.closed:
            return
        super().close()
        self._bytes.close()
        if self._scratch is not None:
            self._scratch.unlink(missing_ok=True)

    def __del__(self) -> None:
        # The inherited one would close it, and so commit half of what was to be written.
        if hasattr(self, "_outer") and not self.closed:
            # Not a ResourceWarning, which nobody sees: of other files what was written would be there.
            message = f"{self.path!r} was never closed, so nothing of it was kept: open it in a `with`"
            warnings.warn(message, RuntimeWarning, stacklevel=2)
            self.discard()

    def _keep(self) -> None:
        if self._scratch is None:
            assert isinstance(self._bytes, io.BytesIO)
            self._change.write(self._inner, self._bytes.getvalue(), is_new=self._is_new)
        else:
            self._bytes.close()
            scratch, self._scratch = self._scratch, None
            self._change.write_scratch(self._inner, scratch, is_new=self._is_new)

    def _move_to_disk(self) -> None:
        assert isinstance(self._bytes, io.BytesIO)
        self._scratch = self._change.scratch()
        at = self._bytes.tell()
        file = self._scratch.open("w+b", buffering=BUFFER)
        file.write(self._bytes.getbuffer())
        file.seek(at)
        self._bytes = file


class Compressing(io.BufferedIOBase):
    """A file that is written through a compressor, and ends with it: those of Python leave the file below open."""

    mode = "wb"

    def __init__(self, compressor: Any, file: Writing) -> None:
        super().__init__()
        self._compressor = compressor
        self._file = file

    def writable(self) -> bool:
        """Always."""
        return True

    def write(self, data: Any, /) -> int:
        """Write all of it."""
        return int(self._compressor.write(data))

    def close(self) -> None:
        """End the file; see Writing."""
        if self.closed:
            return
        try:
            self._compressor.close()
        finally:
            self._file.close()
            super().close()

    def __del__(self) -> None:
        # The inherited one would close it; the file below says that nobody did.
        pass


class Text(io.TextIOWrapper):
    """A file that is written as text."""

    def __del__(self) -> None:
        # As in Compressing.
        pass


def opened(tree: Tree, inner: str) -> BlobReader | FetchedFile:
    """A file of a tree, whose reads are verified; what a reference stands for is fetched first. Raises as `fetch`."""
    entry = tree.entry(inner)
    if isinstance(entry, ReferenceEntry) and blob_of(entry) is None:
        # What is being written has no number yet.
        return FetchedFile(entry, naming(fetch, tree.name) if isinstance(tree, VersionTree) else fetch)
    return tree.open(inner)


def _reopen(fs: Any, path: str, at: int) -> Any:
    file = fs.open(path, "rb")
    file.seek(at)
    return file


def _commit(change: Change, path: str) -> None:
    try:
        change.commit()
    except Conflict as error:
        if error.code != "path-exists":
            raise
        raise FileExistsError(errno.EEXIST, error.message, path) from error
