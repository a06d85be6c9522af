"""Shelf: the objects of one log in a depot, and what of them is known here.

What is known lies in the store's folder, `sync/<log>/`: which objects the slots have named, and copies of the indexes
of packs. It may be deleted: the slots are read again then.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

import msgspec

from artstore.errors import MissingObject
from artstore.model.digest import Digest
from artstore.model.manifest import Encoding
from artstore.storage.files import make_directory, storage_errors, write_file
from artstore.storage.intake import Intake
from artstore.storage.root import Root
from artstore.storage.sessions import Session
from artstore.sync.download import Wanted, download
from artstore.sync.index import decode_index
from artstore.sync.known import Known
from artstore.sync.objects.interface import Objects
from artstore.sync.proof import prove
from artstore.sync.protocol import Remote, Sent, Slot, Tell, corrupt, decode_manifests, read_slot
from artstore.sync.upload import Packed, Upload

_OBJECT: Final = re.compile(r"[0-9a-f]{32}\Z")
_BLOB: Final = re.compile(r"([0-9a-f]{64})\.[0-9a-f]{16}\Z")
_KINDS: Final = ("packs", "blobs", "manifests")


class DepotShelf:
    """See Shelf."""

    def __init__(
        self,
        objects: Objects,
        root: Path,
        project: str,
        part: str,
        log: str,
        *,
        ahead: dict[str, bytes] | None = None,
    ) -> None:
        """`ahead` has objects of manifests that came with slots, by name."""
        self._objects = objects
        self._ahead = {} if ahead is None else ahead
        self._project = project
        self._part = part
        self._folder = root / "sync" / log
        self._temporary = root / "tmp"
        self.known = self._load()
        self._packed: dict[bytes, Packed] | None = None
        self._holders: dict[str, str] | None = None

    # What is there.

    def lacks_manifests(self, digests: Iterable[Digest]) -> list[Digest]:
        """See Shelf."""
        holders, dead = self._holding(), self.known.dead
        return [d for d in dict.fromkeys(digests) if str(d) not in holders or str(d) in dead]

    def lacks_blobs(self, digests: Iterable[Digest]) -> list[Digest]:
        """See Shelf."""
        packed, blobs = self.members(), self.known.blobs
        return [digest for digest in dict.fromkeys(digests) if digest not in packed and digest.hex() not in blobs]

    def follow(self, remote: Remote, until: int) -> None:
        """See Shelf."""
        while self.known.slot < until:
            found = read_slot(remote, self._project, self.known.slot + 1)
            if found is None:
                return
            self.note(found.slot)

    def note(self, slot: Slot) -> None:
        """See Shelf."""
        if slot.number <= self.known.slot:
            return
        for name in (*slot.manifests, *slot.packs):
            self._check(name, _OBJECT)
        for name in slot.blobs:
            self._check(name, _BLOB)
        for name in self.known.note(slot):
            if name.startswith("packs/"):
                with contextlib.suppress(OSError):
                    (self._folder / f"{name.removeprefix('packs/')}.idx").unlink()
        self._packed = self._holders = None

    def begin_again(self) -> None:
        """Slots are gone: what they named may be there still, and can be named by others once that is looked at."""
        known = self.known
        self.known = Known(unnamed=[*known.unnamed, *known.packs, *known.blobs.values()])
        self._packed = self._holders = None
        self.save()

    def forget(self, gone: set[str]) -> None:
        """Take it that objects are not there any more, whatever slots say."""
        self.known.forget(gone)
        self._packed = self._holders = None

    def save(self) -> None:
        """See Shelf."""
        with storage_errors("noting what a remote has"):
            make_directory(self._folder)
            write_file(self._temporary, self._folder / "known", msgspec.msgpack.encode(self.known))

    # To and fro.

    def send(
        self,
        root: Root,
        session: Session,
        manifests: Sequence[Encoding],
        blobs: Sequence[Digest],
        tell: Tell | None = None,
    ) -> Sent:
        """See Shelf."""
        unnamed = [name for name in self.known.unnamed if self._is_whole(name)]
        upload = Upload(self._objects, self._part, root, session, note=self._note_unnamed, tell=tell)
        packs = [name for name in unnamed if _OBJECT.match(name)]
        large = [name for name in unnamed if _BLOB.match(name)]
        there = {bytes(Digest(bytes.fromhex(name[:64]))) for name in large}
        there.update(member for name in packs for member in self._members(name))
        upload.send_blobs([digest for digest in blobs if digest not in there])
        # An object that nobody will need is left to whoever collects there.
        wanted = set(map(bytes, blobs))
        packs = [name for name in packs if not wanted.isdisjoint(self._members(name))]
        large = [name for name in large if bytes.fromhex(name[:64]) in wanted]
        return Sent(upload.send_manifests(manifests), [*packs, *upload.packs], [*large, *upload.blobs])

    def manifests(self, name: str) -> list[Encoding]:
        """See Shelf."""
        self._check(name, _OBJECT)
        data = self._ahead.pop(name, None)
        if data is None:
            data = self._objects.read(f"manifests/{self._part}/{name}")
        return decode_manifests(data, f"the object {name} of the manifests of {self._project!r} at {self._objects.url}")

    def manifest(self, digest: Digest) -> list[Encoding]:
        """See Shelf."""
        name = self.holder(digest)
        return [] if name is None else self.manifests(name)

    def holder(self, digest: Digest) -> str | None:
        """The name of the object that has a manifest, among those of the slots that it was told of."""
        return self._holding().get(str(digest))

    def fetch(self, intake: Intake, digests: Sequence[Digest], tell: Tell | None = None) -> list[Digest]:
        """See Shelf."""
        wanted, absent = self._find(digests)
        download(self._objects, intake, wanted, tell)
        return absent

    def prove(self, root: Root, digests: Sequence[Digest], *, read_all: bool) -> list[Digest]:
        """See Shelf."""
        return prove(self._objects, root, self._find(digests)[0], read_all=read_all)

    def _find(self, digests: Sequence[Digest]) -> tuple[list[Wanted], list[Digest]]:
        """Where blobs lie, and those of which that is not known."""
        packed = self.members()
        wanted: list[Wanted] = []
        absent: list[Digest] = []
        for digest in dict.fromkeys(digests):
            small, large = packed.get(digest), self.known.blobs.get(digest.hex())
            if small is not None:
                wanted.append(Wanted(f"packs/{self._part}/{small.pack}.tar", small.offset, small.size, digest))
            elif large is not None:
                wanted.append(Wanted(f"blobs/{self._part}/{large}", 0, None, digest))
            else:
                absent.append(digest)
        return wanted, absent

    def members(self) -> dict[bytes, Packed]:
        """Where each small blob lies."""
        if self._packed is None:
            self._packed = {}
            for name in self.known.packs:
                self._packed.update(self._members(name))
        return self._packed

    def _holding(self) -> dict[str, str]:
        """The object that has each manifest."""
        if self._holders is None:
            self._holders = {digest: name for name, digests in self.known.manifests.items() for digest in digests}
        return self._holders

    # What is there, whether slots say so or not. A file is called without the project's part: `packs/<name>.tar`.

    def listed(self) -> Iterator[str]:
        """Every file of an object that lies there."""
        for kind in _KINDS:
            prefix = f"{kind}/{self._part}/"
            yield from (f"{kind}/{name.removeprefix(prefix)}" for name in self._objects.names(prefix))

    @staticmethod
    def files_of(name: str) -> list[str]:
        """The files of an object, as it is called in ops."""
        return [f"{name}.idx", f"{name}.tar"] if name.startswith("packs/") else [name]

    def size(self, file: str) -> int | None:
        """Bytes of a file; None if it is not there."""
        return self._objects.size(self._called(file))

    def remove(self, name: str) -> int:
        """Remove an object; answers how many bytes it had."""
        size = 0
        # Of a pack the index first: without it, it is not there.
        for file in self.files_of(name):
            size += self.size(file) or 0
            self._objects.remove(self._called(file))
        return size

    def _called(self, file: str) -> str:
        kind, _, name = file.partition("/")
        return f"{kind}/{self._part}/{name}"

    def _members(self, pack: str) -> dict[bytes, Packed]:
        path = self._folder / f"{pack}.idx"
        data = b""
        with contextlib.suppress(FileNotFoundError):
            data = path.read_bytes()
        where = f"{pack}.idx of {self._project!r} at {self._objects.url}"
        if not data:
            data = self._objects.read(f"packs/{self._part}/{pack}.idx")
            members = decode_index(data, where)
            with storage_errors("noting what a remote has"):
                make_directory(self._folder)
                write_file(self._temporary, path, data)
        else:
            members = decode_index(data, where)
        return {bytes(member.digest): Packed(pack, member.offset, member.size) for member in members}

    def _is_whole(self, name: str) -> bool:
        """Whether an object that no slot names is still there."""
        try:
            if _OBJECT.match(name):
                return bool(self._members(name)) and self._objects.size(f"packs/{self._part}/{name}.tar") is not None
        except MissingObject:
            return False
        return self._objects.size(f"blobs/{self._part}/{name}") is not None

    def _note_unnamed(self, name: str) -> None:
        self.known.unnamed.append(name)
        self.save()

    def _check(self, name: str, pattern: re.Pattern[str]) -> re.Match[str]:
        """A name that came from elsewhere becomes part of a path."""
        found = pattern.match(name)
        if found is None:
            raise corrupt(f"the log of {self._project!r} at {self._objects.url} names the object {name!r}")
        return found

    def _load(self) -> Known:
        # What cannot be read is not known.
        with contextlib.suppress(OSError, msgspec.MsgspecError, UnicodeDecodeError):
            return msgspec.msgpack.decode((self._folder / "known").read_bytes(), type=Known)
        return Known()
