"""Places: the remotes of a world, a depot in a folder or a server, each behind a network that may do anything."""

from __future__ import annotations

import asyncio
import contextlib
import io
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from http import HTTPStatus
from http.client import IncompleteRead
from pathlib import Path
from typing import Any, Final, TypeVar
from urllib.parse import unquote, urlsplit

from starlette.applications import Starlette
from starlette.types import Message
from urllib3 import HTTPResponse
from urllib3.exceptions import NewConnectionError, ProtocolError

from artstore.errors import Unreachable
from artstore.server.guard import LOOPBACK_NAMES, Guard
from artstore.server.observing import Numbers
from artstore.server.serving import admitting, beside
from artstore.store import Store
from artstore.sync.hosting.hosted import Hosted
from artstore.sync.hosting.tokens import create_token, list_tokens, revoke_token
from artstore.sync.objects.interface import Objects
from tests.sync.simulation.fate import Death, Fate, Machine

T = TypeVar("T")

_TOKEN_S: Final = 30 * 86_400.0
_PORT: Final = 8_000
_RANGELESS: Final = 0.5
"""How often something on the way knows nothing of ranges, while anything is wrong."""
_LOGS: Final = ("log/", "mirror/log/", "mirror/more/", "mirror/pending/")
"""What is claimed there and is no trial."""
_LARGE: Final = 1 << 20
_LARGE_CUT: Final = 20
"""How much likelier than any trouble it is that a large answer is cut."""


class Depot:
    """A folder that all see, with nobody in it."""

    def __init__(self, fate: Fate, folder: Path, number: int, *, kind: str = "depot") -> None:
        self.name = f"{kind}{number}"
        self.folder = folder / self.name
        self.folder.mkdir(parents=True)
        self.url = f"file://{self.folder}"
        self.is_lost = False
        self.snapshot: Path | None = None
        """A copy of all that there is, from some time ago; None once something was freed that it does not have."""
        self._fate = fate

    @property
    def logs(self) -> Path:
        """Where the slots are."""
        return self.folder / "log"

    def between(self, objects: Objects, meddle: Callable[[], None]) -> Objects:
        """These objects, as they are seen through the network; `meddle` is called before a slot is claimed."""
        return Wire(objects, self._fate, self.name, meddle)

    def admit(self, _file: Path) -> None:
        """A folder asks for no token."""

    def keep(self) -> None:
        """Take a copy, as a backup does."""
        self.snapshot = _copied(self.folder, self.folder.with_suffix(".kept"))

    def set_back(self) -> None:
        """Be as it was when the copy was taken."""
        assert self.snapshot is not None
        with self._fate.power.unseen(self.folder):
            _copied(self.snapshot, self.folder)

    def lose(self) -> None:
        """Be gone, with all that is there."""
        self.is_lost = True
        with self._fate.power.unseen(self.folder):
            shutil.rmtree(self.folder)

    def empty(self) -> None:
        """Have nothing any more, as a disk that was made anew."""
        with self._fate.power.unseen(self.folder):
            shutil.rmtree(self.folder)
            self.folder.mkdir()
        self.snapshot = None

    def written(self) -> list[str]:
        """The names of all that is there."""
        return sorted(str(path) for path in self.folder.rglob("*"))

    def tend(self) -> None:
        """Nobody is there who would."""

    def close(self) -> None:
        """There is nothing to let go of."""


class Server(Machine):
    """A store that others reach over HTTP, with its real application; only the sockets are not there."""

    def __init__(self, fate: Fate, folder: Path, number: int) -> None:
        super().__init__(f"server{number}", folder / f"server{number}")
        self.url = f"http://127.0.0.1:{_PORT + number}"
        self.is_lost = False
        self.snapshot: Path | None = None
        self._quota = 0
        self._fate = fate
        self._loop = asyncio.new_event_loop()
        self._ends: dict[str, float] = {}
        """When tokens end, by what is sent."""
        with fate.acts(self):
            self.store = Store.init(self.folder)
            # From now on nobody is let in without one.
            create_token(self.folder, scope="admin", project=None, expires_s=None)
            self._begin()

    @property
    def logs(self) -> Path:
        """Where the slots are."""
        return self.folder / "hosted" / "log"

    def admit(self, file: Path) -> None:
        """Give somebody a token, in a file, which ends after a while."""
        made = None
        while made is None:
            try:
                with self._fate.acts(self):
                    for each in list_tokens(self.folder)[1:]:
                        if each.expires_at is not None and each.expires_at < self._fate.time_ns() / 1e9:
                            revoke_token(self.folder, each.id)
                    made = create_token(self.folder, scope="write", project=None, expires_s=_TOKEN_S)
            except Death:
                # Whoever keeps it begins it again, and repeats.
                self.restart()
        assert made.info.expires_at is not None
        self._ends[f"Bearer {made.token}"] = made.info.expires_at
        file.write_text(made.token)

    def restart(self) -> None:
        """Begin again with what is on the disk."""
        mortality, self._fate.mortality = self._fate.mortality, 0.0
        with self._fate.acts(self):
            with contextlib.suppress(Death):
                self._end()
            self.let_go()
            self._fate.begin_again(self)
            self.store = Store.open(self.folder)
            self._begin()
        self._fate.mortality = mortality

    def ask(self, method: str, path: str, headers: Mapping[str, str], body: bytes, *, is_cut: bool) -> Answer:
        """Answer a request; where it is cut, only some of the body comes, and no answer is heard."""
        got: list[Message] = []
        came: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]
        if is_cut:
            some = body[: self._fate.chance.randrange(len(body) + 1)]
            came = [{"type": "http.request", "body": some, "more_body": True}]

        async def receive() -> Message:
            if came:
                return came.pop(0)
            if not is_cut:
                # Whoever asked waits for the answer.
                await asyncio.Event().wait()
            return {"type": "http.disconnect"}

        async def send(message: Message) -> None:
            got.append(message)

        raw = [(name.lower().encode(), text.encode()) for name, text in headers.items()]
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": unquote(path),
            "raw_path": path.encode(),
            "query_string": b"",
            "root_path": "",
            "headers": [(b"host", self.url.partition("//")[2].encode()), *raw],
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", urlsplit(self.url).port),
        }
        try:
            with self._fate.acts(self):
                self._loop.run_until_complete(self._app(scope, receive, send))
        except BaseException:
            if not self.is_dead:
                raise
        if self.is_dead:
            self.restart()
            message = "the server has died"
            raise Unreachable(message, code="unreachable")
        if is_cut:
            message = "the way was cut"
            raise Unreachable(message, code="unreachable")
        with self._fate.acts(self):
            is_over = self._ends[headers["Authorization"]] <= self._fate.time_ns() / 1e9
        assert got[0]["status"] == HTTPStatus.UNAUTHORIZED or not is_over, "a token that has ended lets somebody in"
        head = {name.decode(): text.decode() for name, text in got[0]["headers"]}
        return Answer(got[0]["status"], head, b"".join(message.get("body", b"") for message in got[1:]))

    def allow(self, quota: int) -> None:
        """Begin again with so many bytes for each project; 0: as many as there are."""
        self._quota = quota
        self.restart()

    @property
    def has_quota(self) -> bool:
        """Whether a project may take only so much."""
        return bool(self._quota)

    def takes(self, project: str) -> int:
        """The bytes that a project takes, as it is counted against its quota."""
        with self._fate.acts(self):
            room = self._hosted.quotas.room(project)
        assert room is not None
        return room.takes

    def tend(self) -> None:
        """Free what nobody has named for long."""
        self._hosted.rest(after_s=0)
        with self._fate.acts(self):
            self.store.gc(grace_s=0)

    def keep(self) -> None:
        """Take a copy, as a backup does."""
        self.snapshot = _copied(self.folder, self.folder.with_suffix(".kept"))

    def set_back(self) -> None:
        """Be as it was when the copy was taken."""
        assert self.snapshot is not None
        self._end()
        with self._fate.power.unseen(self.folder):
            _copied(self.snapshot, self.folder)
        self.restart()

    def lose(self) -> None:
        """Be gone, with all that is there."""
        self.is_lost = True
        self._end()
        with self._fate.power.unseen(self.folder):
            shutil.rmtree(self.folder)

    def written(self) -> list[str]:
        """The names of all that a push adds to."""
        folders = ("hosted/log", "hosted/manifests", "ops", "packs", "blobs")
        return sorted(str(path) for folder in folders for path in (self.folder / folder).rglob("*"))

    def close(self) -> None:
        """Let go of the files."""
        if not self.is_lost:
            self._end()
        self._loop.close()

    def _begin(self) -> None:
        self._hosted = Hosted(self.store, {"": self._quota} if self._quota else None)
        routes = beside(self._hosted, Numbers(self._hosted.quotas))
        admit = admitting(self.store, without_tokens=False)
        self._app = Guard(Starlette(routes=routes), names=LOOPBACK_NAMES, admit=admit)

    def _end(self) -> None:
        try:
            self._hosted.close()
        finally:
            self.store.close()


Place = Depot | Server


class Answer:
    """What a server has said."""

    def __init__(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body = body


class _Body(io.BytesIO):
    """The bytes of an answer, as they come from a socket."""

    def __init__(self, data: bytes, *, is_cut: bool = False) -> None:
        super().__init__(data)
        self._is_cut = is_cut

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(size)
        if self._is_cut and (not data or size is None or size < 0):
            raise IncompleteRead(data)
        return data


class Pool:
    """What urllib3 has as a pool of connections to one host, over a network that is fate's."""

    def __init__(self, fate: Fate, server: Server, meddle: Callable[[], None]) -> None:
        self._meddle = meddle
        self._fate = fate
        self._server = server

    def urlopen(
        self, method: str, url: str, body: Any = None, headers: Mapping[str, str] | None = None, **_options: object
    ) -> HTTPResponse:
        """As urllib3 has it."""
        if method == "PUT" and "/slots/" in url:
            self._meddle()
        data = body if isinstance(body, bytes) else b"" if body is None else b"".join(body)
        sent = dict(headers or {})
        chance, fate = self._fate.chance, self._fate
        if fate.trouble and "Range" in sent and chance.random() < _RANGELESS:
            # Something on the way knows nothing of ranges.
            del sent["Range"]
        sent.setdefault("Content-Length", str(len(data)))
        is_cut = bool(fate.trouble and data and chance.random() < fate.trouble / 4)
        if self._server.is_lost:
            raise NewConnectionError(None, "refused")  # type: ignore[arg-type]
        try:
            answer = fate.call(
                self._server.name,
                lambda: self._server.ask(method, url, sent, data, is_cut=is_cut),
                changes=method != "GET",
            )
        except Unreachable as error:
            raise ProtocolError(error.message) from error
        body = _Body(answer.body)
        if answer.body and chance.random() < (_LARGE_CUT if len(answer.body) > _LARGE else 1 / 4) * fate.trouble:
            body = _Body(answer.body[: chance.randrange(len(answer.body))], is_cut=True)
        return HTTPResponse(
            body,
            headers=answer.headers,
            status=answer.status,
            preload_content=False,
            decode_content=False,
            request_method=method,
        )


class Wire:
    """Objects behind a network."""

    def __init__(self, objects: Objects, fate: Fate, place: str, meddle: Callable[[], None]) -> None:
        self._meddle = meddle
        self._objects = objects
        self._fate = fate
        self._place = place
        self.url = objects.url

    def read(self, name: str, start: int = 0, length: int | None = None) -> bytes:
        return self._ask(lambda: self._objects.read(name, start, length))

    def stream(self, name: str, start: int = 0) -> Iterator[bytes]:
        data = self._ask(lambda: b"".join(self._objects.stream(name, start)))
        chance = self._fate.chance
        if self._fate.trouble and data and chance.random() < self._fate.trouble:
            yield data[: chance.randrange(len(data))]
            message = "the way was cut"
            raise Unreachable(message, code="unreachable")
        yield data

    def write(self, name: str, chunks: Iterable[bytes], size: int) -> None:
        data = b"".join(chunks)
        self._tell(lambda: self._objects.write(name, [data], size))

    def write_file(self, name: str, source: Path) -> None:
        if self._fate.trouble:
            # It may arrive when the file is no longer there.
            data = source.read_bytes()
            self._tell(lambda: self._objects.write(name, [data], len(data)))
        else:
            self._tell(lambda: self._objects.write_file(name, source))

    def claim(self, name: str, data: bytes) -> bool:
        if name.startswith(_LOGS):
            self._meddle()
        return self._tell(lambda: self._objects.claim(name, data))

    def size(self, name: str) -> int | None:
        return self._ask(lambda: self._objects.size(name))

    def names(self, prefix: str, after: str = "") -> Iterator[str]:
        yield from self._ask(lambda: list(self._objects.names(prefix, after)))

    def sizes(self, prefix: str) -> Iterator[tuple[str, int]]:
        yield from self._ask(lambda: list(self._objects.sizes(prefix)))

    def remove(self, name: str) -> None:
        self._tell(lambda: self._objects.remove(name))

    def tidy(self) -> int:
        return self._tell(self._objects.tidy)

    def _ask(self, work: Callable[[], T]) -> T:
        return self._fate.call(self._place, work)

    def _tell(self, work: Callable[[], T]) -> T:
        return self._fate.call(self._place, work, changes=True)


def _copied(source: Path, target: Path) -> Path:
    shutil.rmtree(target, ignore_errors=True)
    return Path(shutil.copytree(source, target, symlinks=True))
