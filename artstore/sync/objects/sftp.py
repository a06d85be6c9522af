"""SFTP: objects as files of a host that can be reached by SSH, `sftp://[USER@]HOST[:PORT]/PATH`; through asyncssh.

`/~/PATH` lies in the user's home. How to get there (keys, agents, host keys, other names and ports) is what
~/.ssh/config says. The host must be one of OpenSSH, or know three of its extensions: a file is synced
(`fsync@openssh.com`) under a temporary name and gets its own by `hardlink@openssh.com`, which fails where there is one,
or by `posix-rename@openssh.com`, which replaces; then its folder is opened and synced as well. The rename of the
protocol itself would not do: it is not said to be one step, and where OpenSSH has no hard links it is two.

One connection carries the requests of all threads. New folders have the rights of the one that they are in.

Sources: draft-ietf-secsh-filexfer-02; PROTOCOL in OpenSSH, section 4; sftp-server.c there, process_open (which opens a
folder too) and process_rename.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import stat
import weakref
from collections.abc import Awaitable, Callable, Iterable, Iterator
from pathlib import Path
from typing import Final, NoReturn, TypeVar, cast
from urllib.parse import unquote, urlsplit

import asyncssh
from asyncssh import SFTPAttrs, SFTPClient, SFTPClientFile
from fsspec.asyn import get_loop

from artstore.errors import ArtstoreError, Invalid, Unreachable
from artstore.storage.files import random_hex
from artstore.sync.objects.failures import denied, full, missing, other_size, short, unfit, unreachable
from artstore.sync.objects.interface import STALE_S, check_name, check_prefix, is_name
from artstore.sync.objects.pieces import in_pieces
from artstore.sync.objects.resuming import resumed
from artstore.sync.objects.tree import walk

T = TypeVar("T")

PIECE: Final = 4 << 20
"""Bytes that are asked for or sent before the next are, in many requests at once."""
_CONNECT_S: Final = 20
_KEEPALIVE_S: Final = 15
"""Seconds of silence after which the other side is asked whether it is there; three times, then it is not."""
_TEMPORARY: Final = ".tmp"
_MAY_READ: Final = 0o444
_NEW: Final = asyncssh.FXF_WRITE | asyncssh.FXF_CREAT | asyncssh.FXF_EXCL

_URL: Final = re.compile(r"sftp://[^/?#]+/[^?#]+\Z")
_NO_FILE: Final = (asyncssh.SFTPNoSuchFile, asyncssh.SFTPNoSuchPath, asyncssh.SFTPNotADirectory)
_CUT: Final = (asyncssh.SFTPConnectionLost, asyncssh.SFTPNoConnection)
_NO_SPACE: Final = (asyncssh.SFTPNoSpaceOnFilesystem, asyncssh.SFTPQuotaExceeded)
_REFUSED: Final = (asyncssh.SFTPPermissionDenied, asyncssh.SFTPWriteProtect)
_UNTRUSTED: Final = (asyncssh.HostKeyNotVerifiable, asyncssh.PermissionDenied, asyncssh.KeyImportError)


def at(url: str) -> SftpObjects:
    """Raises Invalid (bad-url) for what names no folder of a host."""
    with contextlib.suppress(ValueError):
        parts = urlsplit(url)
        path = unquote(parts.path).removeprefix("/~/").rstrip("/")
        if _URL.match(url) and parts.hostname and path and "\0" not in path:
            return SftpObjects(url, parts.hostname, parts.port, parts.username, path)
    message = f"{url!r} names no folder of a host: write sftp://USER@HOST/PATH, or /~/PATH for one in the user's home"
    raise Invalid(message, code="bad-url")


class SftpObjects:
    """The objects in a folder of a host, which must be there: one made by mistake below a mount point would be lost."""

    def __init__(self, url: str, host: str, port: int | None, user: str | None, path: str) -> None:
        self.url = url
        self._host, self._port, self._user, self._path = host, port, user, path
        self._connecting = asyncio.Lock()
        self._connection: asyncssh.SSHClientConnection | None = None
        self._client: SFTPClient | None = None
        self._rights: dict[str, int] = {}

    def read(self, name: str, start: int = 0, length: int | None = None) -> bytes:
        check_name(name)
        return self._do(f"reading {name!r}", lambda client: self._read(client, name, start, length))

    def stream(self, name: str, start: int = 0) -> Iterator[bytes]:
        check_name(name)
        return resumed(lambda place: self._stream(name, place), start)

    def _stream(self, name: str, start: int) -> Iterator[bytes]:
        doing = f"reading {name!r}"
        client, (file, size) = self._do(doing, lambda client: self._opened(client, name))
        try:
            if start > size:
                raise short(self.url, name, wanted=start, found=size)
            while start < size:
                wanted, place = min(PIECE, size - start), start
                data = self._do(doing, lambda _: _part(file, place, wanted))  # noqa: B023 - it is called at once
                if len(data) < wanted:
                    raise short(self.url, name, wanted=size, found=start + len(data))
                yield data
                start += wanted
        finally:
            self._end(doing, client, lambda _: file.close())

    def write(self, name: str, chunks: Iterable[bytes], size: int) -> None:
        with self._new(name) as new:
            place = 0
            for data in in_pieces(
                chunks, PIECE, size, lambda found: other_size(self.url, name, wanted=size, found=found)
            ):
                self._do(f"writing {name!r}", lambda _: new.file.write(data, place))  # noqa: B023 - it is called at once
                place += len(data)
            self._do(f"writing {name!r}", lambda client: self._publish(client, name, new, client.posix_rename))

    def write_file(self, name: str, source: Path) -> None:
        size = source.stat().st_size
        with source.open("rb", buffering=0) as file:
            self.write(name, iter(lambda: file.read(PIECE), b""), size)

    def claim(self, name: str, data: bytes) -> bool:
        with self._new(name) as new:
            if data:
                self._do(f"claiming {name!r}", lambda _: new.file.write(data, 0))
            return self._do(f"claiming {name!r}", lambda client: self._name_if_free(client, name, new))

    def size(self, name: str) -> int | None:
        check_name(name)
        return self._do(f"looking for {name!r}", lambda client: self._size(client, name))

    def names(self, prefix: str, after: str = "") -> Iterator[str]:
        check_prefix(prefix)
        yield from filter(is_name, walk(self._listed, prefix, after))

    def sizes(self, prefix: str) -> Iterator[tuple[str, int]]:
        found: dict[str, int] = {}

        def listed(head: str) -> list[tuple[str, bool]]:
            entries = self._do(f"listing {head!r}", lambda client: self._list(client, head))
            found.update({head + name: size for name, _is_folder, size in entries})
            return [(name, is_folder) for name, is_folder, _size in entries]

        check_prefix(prefix)
        yield from ((name, found.pop(name)) for name in walk(listed, prefix) if is_name(name))

    def remove(self, name: str) -> None:
        check_name(name)
        self._do(f"removing {name!r}", lambda client: self._remove(client, name))

    def tidy(self) -> int:
        with self._new("time") as new:
            self._do("asking for the time", lambda _: new.file.write(b"\0", 0))
            now = self._do("asking for the time", lambda _: new.file.stat()).mtime or 0
        freed = 0
        for name in walk(self._listed):
            if name.rpartition("/")[2].startswith(".") and name.endswith(_TEMPORARY):
                freed += self._do(f"removing {name!r}", lambda client, name=name: self._free(client, name, now))  # type: ignore[misc]
        return freed

    async def _opened(self, client: SFTPClient, name: str) -> tuple[SFTPClient, tuple[SFTPClientFile, int]]:
        return client, await self._open(client, name)

    async def _open(self, client: SFTPClient, name: str) -> tuple[SFTPClientFile, int]:
        try:
            file = await client.open(self._place(name), asyncssh.FXF_READ, encoding=None)
        except _NO_FILE:
            raise missing(self.url, name) from None
        attributes = await file.stat()
        if not stat.S_ISREG(attributes.permissions or 0):
            await file.close()
            raise missing(self.url, name)
        return file, attributes.size or 0

    async def _read(self, client: SFTPClient, name: str, start: int, length: int | None) -> bytes:
        file, size = await self._open(client, name)
        try:
            wanted = max(0, size - start) if length is None else length
            data = await _part(file, start, wanted) if wanted and start < size else b""
            if len(data) < wanted or start > size:
                raise short(self.url, name, wanted=start + wanted, found=min(size, start + len(data)))
        finally:
            await file.close()
        return data

    async def _size(self, client: SFTPClient, name: str) -> int | None:
        try:
            attributes = await client.lstat(self._place(name))
        except _NO_FILE:
            return None
        return attributes.size if stat.S_ISREG(attributes.permissions or 0) else None

    async def _remove(self, client: SFTPClient, name: str) -> None:
        with contextlib.suppress(*_NO_FILE):
            await client.remove(self._place(name))
            await _sync_folder(client, self._folder_of(name))

    async def _free(self, client: SFTPClient, name: str, now: float) -> int:
        with contextlib.suppress(*_NO_FILE):
            if now - ((await client.lstat(self._place(name))).mtime or now) > STALE_S:
                await client.remove(self._place(name))
                return 1
        return 0

    def _listed(self, head: str) -> list[tuple[str, bool]]:
        entries = self._do(f"listing {head!r}", lambda client: self._list(client, head))
        return [(name, is_folder) for name, is_folder, _size in entries]

    async def _list(self, client: SFTPClient, head: str) -> list[tuple[str, bool, int]]:
        """What stands in a folder: the name of each, whether it is a folder, and its bytes."""
        found = []
        with contextlib.suppress(*_NO_FILE):
            async for entry in client.scandir(f"{self._path}/{head}"):
                mode = entry.attrs.permissions or 0
                name = str(entry.filename)
                if name not in {".", ".."} and (stat.S_ISDIR(mode) or stat.S_ISREG(mode)):
                    found.append((name, stat.S_ISDIR(mode), entry.attrs.size or 0))
        return found

    @contextlib.contextmanager
    def _new(self, name: str) -> Iterator[_New]:
        """A file that is being written, and has no name of an object's yet."""
        check_name(name)
        new = self._do(f"writing {name!r}", lambda client: self._begin(client, name))
        try:
            yield new
        finally:
            self._end(f"writing {name!r}", new.client, new.end)

    async def _begin(self, client: SFTPClient, name: str) -> _New:
        folder = self._folder_of(name)
        temporary = f"{folder}/.{random_hex(8)}{_TEMPORARY}"
        rights = await self._ready(client, folder)
        try:
            file = await client.open(temporary, _NEW, SFTPAttrs(permissions=0o600), encoding=None)
        except _NO_FILE:
            # Somebody took the folder away since.
            self._rights.clear()
            rights = await self._ready(client, folder)
            file = await client.open(temporary, _NEW, SFTPAttrs(permissions=0o600), encoding=None)
        await file.setstat(SFTPAttrs(permissions=rights & _MAY_READ))
        return _New(client, file, temporary)

    async def _ready(self, client: SFTPClient, folder: str) -> int:
        """Have a folder, which survives a power cut; answers its rights."""
        if folder in self._rights:
            return self._rights[folder]
        if folder == self._path:
            self._rights[folder] = await _rights_of(client, folder)
            return self._rights[folder]
        above = folder.rpartition("/")[0]
        rights = await self._ready(client, above)
        with contextlib.suppress(asyncssh.SFTPFailure, asyncssh.SFTPFileAlreadyExists):
            await client.mkdir(folder, SFTPAttrs(permissions=rights))
        if await _rights_of(client, folder) != rights:
            # The umask of the host has taken some away. Of somebody else's folder that is for them to mend.
            with contextlib.suppress(*_REFUSED):
                await client.setstat(folder, SFTPAttrs(permissions=rights))
        await _sync_folder(client, above)
        self._rights[folder] = rights
        return rights

    async def _publish(
        self, client: SFTPClient, name: str, new: _New, give_name: Callable[[str, str], Awaitable[None]]
    ) -> None:
        await new.file.fsync()
        await give_name(new.temporary, self._place(name))
        await _sync_folder(client, self._folder_of(name))

    async def _name_if_free(self, client: SFTPClient, name: str, new: _New) -> bool:
        try:
            await self._publish(client, name, new, client.link)
        except (asyncssh.SFTPFailure, asyncssh.SFTPFileAlreadyExists):
            # The protocol has no word of its own for a name that is taken.
            if not await client.exists(self._place(name)) and not await client.islink(self._place(name)):
                raise
            # Who was first may have been killed before they synced it, and what is read must stay.
            await _sync_folder(client, self._folder_of(name))
            return False
        return True

    def _place(self, name: str) -> str:
        return f"{self._path}/{name}"

    def _folder_of(self, name: str) -> str:
        return self._place(name).rpartition("/")[0]

    def _do(self, doing: str, work: Callable[[SFTPClient], Awaitable[T]]) -> T:
        """Do some work where the connection lives, and wait for it here."""
        with self._told(doing):
            waiting = asyncio.run_coroutine_threadsafe(self._asked(work), get_loop())
            try:
                return waiting.result()
            except BaseException:
                waiting.cancel()
                raise

    def _end(self, doing: str, client: SFTPClient, work: Callable[[SFTPClient], Awaitable[None]]) -> None:
        """Let go of what was opened by a client. What stays there is taken for stale one day."""
        # By another connection it cannot be ended, and to wait for one is for whoever goes on.
        if client is self._client:
            with contextlib.suppress(ArtstoreError):
                self._do(doing, work)

    async def _asked(self, work: Callable[[SFTPClient], Awaitable[T]]) -> T:
        client = await self._connected()
        try:
            return await work(client)
        except _CUT:
            self._client = None
            raise
        except asyncssh.SFTPFailure as error:
            await self._explain(client, error)

    async def _explain(self, client: SFTPClient, error: asyncssh.SFTPFailure) -> NoReturn:
        """Say more than "failure", which is all that the protocol has for a disk that is full."""
        try:
            space = await client.statvfs(self._path)
        except asyncssh.SFTPError:
            raise error from None
        if space.bavail * space.frsize < PIECE or (space.files and not space.favail):
            raise asyncssh.SFTPNoSpaceOnFilesystem(error.reason) from error
        raise error

    async def _connected(self) -> SFTPClient:
        async with self._connecting:
            if self._client is None or self._connection is None or self._connection.is_closed():
                if self._connection is not None:
                    self._connection.abort()
                self._connection = await asyncssh.connect(
                    self._host,
                    self._port or (),
                    username=self._user or (),
                    connect_timeout=_CONNECT_S,
                    login_timeout=_CONNECT_S,
                    keepalive_interval=_KEEPALIVE_S,
                )
                weakref.finalize(self, _hang_up, asyncio.get_running_loop(), self._connection)
                self._client = await self._connection.start_sftp_client()
                if not await self._client.isdir(self._path):
                    self._client = None
                    message = f"{self.url} is not there: mount it on that host, or make the folder if it is a new one"
                    raise Unreachable(message, code="folder-missing")
            return self._client

    @contextlib.contextmanager
    def _told(self, doing: str) -> Iterator[None]:
        """Turn what asyncssh raises into an error that a caller can act on."""
        try:
            yield
        except ArtstoreError:
            raise
        except asyncssh.SFTPOpUnsupported as error:
            reason = (
                "its SFTP server lacks one of hardlink@openssh.com, posix-rename@openssh.com and fsync@openssh.com, "
                "without which a name can have two winners or a power cut takes what was written"
            )
            raise unfit(self.url, reason) from error
        except _NO_SPACE as error:
            raise full(self.url, doing, error.reason) from error
        except _REFUSED as error:
            now = "Ask its owner for the right to read and write there"
            raise denied(self.url, doing, error.reason, now=now) from error
        except _UNTRUSTED as error:
            now = f"Make `ssh {self._host}` work without a password first"
            raise denied(self.url, doing, error, now=now) from error
        except (asyncssh.Error, OSError, TimeoutError) as error:
            raise unreachable(self.url, doing, str(error) or type(error).__name__) from error


class _New:
    """A file that is being written under a temporary name."""

    def __init__(self, client: SFTPClient, file: SFTPClientFile, temporary: str) -> None:
        self.client, self.file, self.temporary = client, file, temporary

    async def end(self, client: SFTPClient) -> None:
        await self.file.close()
        with contextlib.suppress(*_NO_FILE):
            await client.remove(self.temporary)


async def _part(file: SFTPClientFile, start: int, length: int) -> bytes:
    # It was opened without an encoding.
    return cast("bytes", await file.read(length, start))


async def _rights_of(client: SFTPClient, folder: str) -> int:
    return stat.S_IMODE((await client.stat(folder)).permissions or 0)


async def _sync_folder(client: SFTPClient, folder: str) -> None:
    async with client.open(folder, asyncssh.FXF_READ, encoding=None) as opened:
        await opened.fsync()


def _hang_up(loop: asyncio.AbstractEventLoop, connection: asyncssh.SSHClientConnection) -> None:
    with contextlib.suppress(RuntimeError):
        # The loop has ended with the process.
        loop.call_soon_threadsafe(connection.abort)
