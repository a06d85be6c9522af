"""Door: `artstore://` for everything that reads through fsspec.

    artstore://[project/]name:alias/path      a file or folder of a version; also :vN and @digest-prefix
    artstore://project/name, artstore://project, artstore://
                                              folders above: versions, collections, projects

What is asked about files is answered by the catalog, and no blob is touched; what is read is verified. A version never
changes, so writing to `name:alias` makes the next version: what the alias stood on, with what was written and without
what was removed; then the alias (and `latest`, as always) stands on it. All that happens in a `fs.transaction` is one
version of each collection; outside of one, each file closed and each call of put, copy, mv, rm and pipe is. A file
whose `with` ends in an exception, and one that is never closed, leave nothing behind.

Folders are what paths imply, so `mkdir` has nothing to do, and a folder without files is not there.
"""

from __future__ import annotations

from artstore.filesystem.versions import ArtstoreFileSystem

__all__ = ["ArtstoreFileSystem"]
