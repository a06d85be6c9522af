"""Shelf: the objects of one log in a depot, and what of them is known here.

What is known lies in the store's folder, `sync/<log>/`: which objects the slots have named, and copies of the indexes
of packs. It may be deleted: the slots are read again then.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Sequence
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
from artstore.sync.objects.interface import Objects
from artstore.sync.proof import prove
from artstore.sync.protocol import Remote, Sent, Slot, Tell, corrupt, decode_manifests, read_slot
from artstore.sync.upload import Packed, Upload

_OBJECT: Final = re.compile(r"[0-9a-f]{32}\Z")
_BLOB: Final = re.compile(r"([0-9a-f]{64})\.[0-9a-f]{16}\Z")


class _Known(msgspec.Struct):
    """What the slots up to one of them have brought, and what was put there for one that is still to be claimed."""

    slot: int = 0
    packs: list[str] = []
    blobs: dict[str, str] = {}
    """Names of large blobs, by the hex of the digest."""
    manifests: dict[str, str] = {}
    """Names of objects, by the digest of a manifest."""
    unnamed: list[str] = []
    """Packs and large blobs that no slot names yet."""


class DepotShelf:
    """See Shelf."""

    def __init__(self, objects: Objects, root: Path, project: str, part: str, log: str) -> None:
        self._objects = objects
        self._project = project
        self._part = part
        self._folder = root / "sync" / log
        self._temporary = root / "tmp"
        self._known = self._load()
        self._packed: dict[bytes, Packed] | None = None

    # What is there.

    def lacks_manifests(self, digests: Iterable[Digest]) -> list[Digest]:
        """See Shelf."""
        return [digest for digest in dict.fromkeys(digests) if str(digest) not in self._known.manifests]

    def lacks_blobs(self, digests: Iterable[Digest]) -> list[Digest]:
        """See Shelf."""
        packed, blobs = self._index(), self._known.blobs
        return [digest for digest in dict.fromkeys(digests) if digest not in packed and digest.hex() not in blobs]

    def follow(self, remote: Remote, until: int) -> None:
        """See Shelf."""
        while self._known.slot < until:
            found = read_slot(remote, self._project, self._known.slot + 1)
            if found is None:
                return
            self.note(found.slot)

    def note(self, slot: Slot) -> None:
        """See Shelf."""
        known = self._known
        if slot.number <= known.slot:
            return
        for name, digests in slot.manifests.items():
            self._check(name, _OBJECT)
            known.manifests.update({str(Digest.parse(digest)): name for digest in digests})
        for name in slot.packs:
            self._check(name, _OBJECT)
            known.packs.append(name)
        for name in slot.blobs:
            known.blobs[self._check(name, _BLOB)[1]] = name
        known.unnamed = [name for name in known.unnamed if name not in {*slot.packs, *slot.blobs}]
        known.slot = slot.number
        self._packed = None

    def begin_again(self) -> None:
        """See Shelf."""
        known = self._known
        self._known = _Known(unnamed=[*known.unnamed, *known.packs, *known.blobs.values()])
        self._packed = None
        self.save()

    def save(self) -> None:
        """See Shelf."""
        with storage_errors("noting what a remote has"):
            make_directory(self._folder)
            write_file(self._temporary, self._folder / "known", msgspec.msgpack.encode(self._known))

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
        unnamed = [name for name in self._known.unnamed if self._is_whole(name)]
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
        data = self._objects.read(f"manifests/{self._part}/{name}")
        return decode_manifests(data, f"the object {name} of the manifests of {self._project!r} at {self._objects.url}")

    def manifest(self, digest: Digest) -> list[Encoding]:
        """See Shelf."""
        name = self.holder(digest)
        return [] if name is None else self.manifests(name)

    def holder(self, digest: Digest) -> str | None:
        """The name of the object that has a manifest, among those of the slots that it was told of."""
        return self._known.manifests.get(str(digest))

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
        packed = self._index()
        wanted: list[Wanted] = []
        absent: list[Digest] = []
        for digest in dict.fromkeys(digests):
            small, large = packed.get(digest), self._known.blobs.get(digest.hex())
            if small is not None:
                wanted.append(Wanted(f"packs/{self._part}/{small.pack}.tar", small.offset, small.size, digest))
            elif large is not None:
                wanted.append(Wanted(f"blobs/{self._part}/{large}", 0, None, digest))
            else:
                absent.append(digest)
        return wanted, absent

    def _index(self) -> dict[bytes, Packed]:
        """Where each small blob lies."""
        if self._packed is None:
            self._packed = {}
            for name in self._known.packs:
                self._packed.update(self._members(name))
        return self._packed

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
        self._known.unnamed.append(name)
        self.save()

    def _check(self, name: str, pattern: re.Pattern[str]) -> re.Match[str]:
        """A name that came from elsewhere becomes part of a path."""
        found = pattern.match(name)
        if found is None:
            raise corrupt(f"the log of {self._project!r} at {self._objects.url} names the object {name!r}")
        return found

    def _load(self) -> _Known:
        # What cannot be read is not known.
        with contextlib.suppress(OSError, msgspec.MsgspecError, UnicodeDecodeError):
            return msgspec.msgpack.decode((self._folder / "known").read_bytes(), type=_Known)
        return _Known()
