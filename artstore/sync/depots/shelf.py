"""Shelf: the objects of one log in a depot, and what of them is known here.

What is known lies in the store's folder, `sync/<log>.<place>/`, and for a mirror, which has one log of a project,
`sync/<project>.<place>/`: which objects the slots have named, and copies of the indexes of packs (`indexes`). It may be
deleted: the slots are read again then.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec

from artstore.errors import ArtstoreError
from artstore.model.digest import Digest
from artstore.model.manifest import Encoding
from artstore.storage.files import make_directory, storage_errors, write_file
from artstore.storage.intake import Intake
from artstore.storage.packs import Member
from artstore.storage.root import Root
from artstore.storage.sessions import Session
from artstore.sync import lengths
from artstore.sync.depots.index import size_of_index
from artstore.sync.depots.indexes import Indexes
from artstore.sync.depots.known import Known
from artstore.sync.depots.proof import prove
from artstore.sync.depots.unnamed import Unnamed
from artstore.sync.download import Sieve, Sink, Wanted, download
from artstore.sync.objects.failures import missing
from artstore.sync.objects.interface import Objects
from artstore.sync.objects.parallel import in_parallel
from artstore.sync.protocol import (
    Fetched,
    Remote,
    Sent,
    Slot,
    Tell,
    corrupt,
    decode_manifests,
    encode_manifests,
    encode_slot,
    read_slot,
)
from artstore.sync.upload import Packed, Upload

_OBJECT: Final = re.compile(r"[0-9a-f]{32}\Z")
_BLOB: Final = re.compile(r"([0-9a-f]{64})\.[0-9a-f]{16}\Z")
KINDS: Final = ("packs", "blobs", "manifests")
"""Folders of the objects that slots name."""
Noted = tuple[int, int]


def when_noted(root: Path, url: str, log: str) -> Noted | None:
    """What is another one whenever it was written anew what is known of a log in a depot; None: nothing is."""
    with contextlib.suppress(OSError):
        found = (_folder_of(root, DepotShelf.kind, url, log) / "known").stat()
        return found.st_ino, found.st_mtime_ns
    return None


def _folder_of(root: Path, kind: str, url: str, log: str) -> Path:
    """Where lies what is known of a log in one place: the same log may lie in others too, in other objects."""
    return root / "sync" / f"{log}.{Digest.of(f'{kind} {url}'.encode()).hex()[:16]}"


class DepotShelf:
    """See Shelf."""

    kind = "depot"
    """What tells its objects from others of one place."""
    _is_collected = True
    """Whether objects may be gone since, as slots say that it was not told of."""

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
        self._reads_alone = False
        self._project = project
        self._part = part
        self._folder = _folder_of(root, self.kind, objects.url, log)
        self._temporary = root / "tmp"
        self.known = self._load()
        self._unnamed = Unnamed(root, objects.url, self.kind, part)
        self._indexes = Indexes(objects, part, self._folder)
        self._packed: dict[bytes, Packed] | None = None
        self._holders: dict[str, str] | None = None

    # What is there.

    def why_too_long(self, encoding: Encoding) -> str | None:
        """See Shelf. An object may be of any length, but nobody would take a list from there that swells."""
        return lengths.why_swelling(encoding)

    def room(self) -> None:
        """See Shelf. Nobody counts what a depot has."""

    def lacks_manifests(self, digests: Iterable[Digest]) -> list[Digest]:
        """See Shelf."""
        holders, dead = self._holding(), self.known.dead
        return [d for d in dict.fromkeys(digests) if str(d) not in holders or str(d) in dead]

    def lacks_blobs(self, digests: Iterable[Digest]) -> list[Digest]:
        """See Shelf."""
        packed, blobs = self.members(), self.known.blobs
        return [digest for digest in dict.fromkeys(digests) if digest not in packed and digest.hex() not in blobs]

    def follow(self, remote: Remote, until: int) -> None:
        """See Shelf. A log that was set back, and goes on in another way, is not taken for what it was."""
        is_sure = self.known.head is None
        if not is_sure and self.known.slot > until and not self._stands(remote):
            self.begin_again()
        while self.known.slot < until:
            found = read_slot(remote, self._project, self.known.slot + 1)
            if is_sure or (self._stands(remote) if found is None else found.slot.before == self.known.head):
                if found is None:
                    return
                self.note(found.slot)
            else:
                self.begin_again()
            is_sure = True

    def note(self, slot: Slot) -> None:
        """See Shelf."""
        if slot.number <= self.known.slot:
            return
        for name in (*slot.manifests, *slot.packs):
            self._check(name, _OBJECT)
        for name in slot.blobs:
            self._check(name, _BLOB)
        gone = self.known.note(slot)
        self.known.head = str(Digest.of(encode_slot(slot)))
        self._unnamed.drop({*slot.packs, *slot.blobs, *(name.partition("/")[2] for name in gone)})
        self._indexes.drop(name.removeprefix("packs/") for name in sorted(gone) if name.startswith("packs/"))
        self._packed = self._holders = None

    def _stands(self, remote: Remote) -> bool:
        """Whether the last slot that is known is there still."""
        found = read_slot(remote, self._project, self.known.slot)
        return found is not None and found.digest == self.known.head

    def begin_again(self) -> None:
        """Slots are gone: what they named may be there still, and can be named by others once that is looked at."""
        self._unnamed.add([*self.known.packs, *self.known.blobs.values()])
        self.known = Known()
        self._packed = self._holders = None
        self.save()

    def forget(self, gone: set[str]) -> None:
        """Take it that objects are not there any more, whatever slots say."""
        self.known.forget(gone)
        self._unnamed.drop({name.partition("/")[2] for name in gone})
        self._packed = self._holders = None

    def save(self) -> None:
        """See Shelf."""
        # First: what is gone must not be taken for there by whoever has followed the slots that say so.
        self._unnamed.save()
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
        packs, large = self._whole_unnamed()
        upload = Upload(
            self._objects, self._part, root, session, note=self._note_unnamed, tell=tell, keep=self._indexes.keep
        )
        there = {bytes.fromhex(name[:64]) for name in large}
        there.update(bytes(member.digest) for members in packs.values() for member in members)
        upload.send_blobs([digest for digest in blobs if digest not in there])
        # An object that nobody will need is left to whoever collects there.
        wanted = set(map(bytes, blobs))
        named = [name for name, members in packs.items() if any(member.digest in wanted for member in members)]
        named += upload.packs
        # What fails is only a help.
        with contextlib.suppress(ArtstoreError):
            self._indexes.gather([*self.known.packs, *named])
        blobs_named = [name for name in large if bytes.fromhex(name[:64]) in wanted] + upload.blobs
        return Sent(upload.send_manifests(manifests), named, blobs_named)

    def manifests(self, name: str) -> list[Encoding]:
        """See Shelf."""
        self._check(name, _OBJECT)
        data = None if self._reads_alone else self._ahead.pop(name, None)
        return self.stored_manifests(name) if data is None else decode_manifests(data, self._so_called(name))

    def read_alone(self) -> None:
        """See Shelf."""
        self._reads_alone = True

    def stored_manifests(self, name: str) -> list[Encoding]:
        """As `manifests`, from the object itself."""
        return decode_manifests(self._objects.read(self.called(f"manifests/{name}")), self._so_called(name))

    def manifest(self, digest: Digest) -> list[Encoding]:
        """See Shelf."""
        name = self.holder(digest)
        return [] if name is None else self.manifests(name)

    def holder(self, digest: Digest) -> str | None:
        """The name of the object that has a manifest, among those of the slots that it was told of."""
        return self._holding().get(str(digest))

    def whole(self, digest: Digest) -> Encoding | None:
        """See Shelf."""
        raise corrupt(f"{self._objects.url} has manifest {digest} as a difference to one that is nowhere")

    def fetch(self, intake: Intake, digests: Sequence[Digest], tell: Tell | None = None) -> Fetched:
        """See Shelf."""
        wanted, absent = self.find(digests)
        bad = download(self._objects, intake, wanted, tell)
        gone = self._indexes.gone
        if absent and gone and self._is_collected:
            # They may have been in there.
            bad.update(dict.fromkeys(absent, missing(self._objects.url, f"packs/{self._part}/{min(gone)}.idx")))
            absent = []
        return Fetched(absent, bad)

    def take(self, sink: Sink, digests: Sequence[Digest], tell: Tell | None) -> Fetched:
        """Give the bytes of blobs to somebody, each verified; answers what does not come, as `fetch` does."""
        wanted, absent = self.find(digests)
        return Fetched(absent, download(self._objects, sink, wanted, tell))

    def send_pack(self, root: Root, session: Session, path: Path, members: list[Member]) -> list[str]:
        """Put a pack there that was put together in the session's own folder; answers what it is called."""
        if not members:
            path.unlink()
            return []
        upload = Upload(
            self._objects, self._part, root, session, note=self._note_unnamed, tell=None, keep=self._indexes.keep
        )
        upload.send_pack(path, members)
        return upload.packs

    def prove(self, root: Root, digests: Sequence[Digest], *, read_all: bool) -> list[Digest]:
        """See Shelf."""
        return prove(self._objects, root, self.find(digests)[0], read_all=read_all)

    def find(self, digests: Iterable[Digest]) -> tuple[list[Wanted], list[Digest]]:
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
        """Where each small blob lies, as far as that can be found out."""
        if self._packed is None:
            found = self._indexes.of(self.known.packs)
            # In the order in which they came: of two that have the same, it is the later one.
            self._packed = {
                bytes(member.digest): Packed(name, member.offset, member.size)
                for name in self.known.packs
                for member in found.get(name, ())
            }
        return self._packed

    @property
    def unread(self) -> set[str]:
        """Packs whose contents nobody can say, as they are called in ops: their indexes are gone, and they damaged."""
        return {f"packs/{name}" for name in self._indexes.gone if name in self.known.packs}

    def restore_index(self, name: str) -> None:
        """Put the index of a pack there again, whose name is as in ops, where it is known what it says."""
        self._indexes.restore(name.removeprefix("packs/"))

    def damaged_indexes(self) -> set[str]:
        """The packs whose indexes cannot be read, found out by reading all of them."""
        return self._indexes.damaged(self.known.packs)

    def restore_indexes(self, sizes: Mapping[str, int], damaged: Collection[str]) -> int:
        """Put the indexes there again that are damaged, or gone or cut as a listing said, of packs that are not gone.

        Answers how many.
        """
        packs = self._indexes.of(self.known.packs)
        lost = [
            name
            for name, members in packs.items()
            if self.called(f"packs/{name}.tar") in sizes
            and (name in damaged or sizes.get(self.called(f"packs/{name}.idx")) != size_of_index(len(members)))
        ]
        for name in lost:
            self._indexes.restore(name)
        return len(lost)

    def tidy_indexes(self) -> None:
        """Remove segments of indexes that are of no use."""
        self._indexes.tidy(self.known.packs)

    def _holding(self) -> dict[str, str]:
        """The object that has each manifest."""
        if self._holders is None:
            self._holders = {digest: name for name, digests in self.known.manifests.items() for digest in digests}
        return self._holders

    # What is there, whether slots say so or not. A file is called without the project's part: `packs/<name>.tar`.

    def listed(self) -> Iterator[str]:
        """Every file of an object that lies there."""
        for kind in KINDS:
            prefix = f"{kind}/{self._part}/"
            yield from (f"{kind}/{name.removeprefix(prefix)}" for name in self._objects.names(prefix))

    def gone(self, files: set[str] | None = None) -> set[str]:
        """The objects that slots name and that are not there. What a listing lacks is looked for by its name.

        The listing of a shared folder may be older than what others, or this machine, have put there. `files` is one
        that was made just now.
        """
        files = set(self.listed()) if files is None else files
        unlisted = [name for name in self.known.named() if not files.issuperset(self.files_of(name))]
        return {name for name, is_whole in in_parallel(self._is_whole, unlisted) if not is_whole}

    def sizes(self) -> dict[str, int]:
        """The bytes of every file of an object that lies there, by the name that `called` gives it."""
        return {name: size for kind in KINDS for name, size in self._objects.sizes(f"{kind}/{self._part}/")}

    def damaged(self, digests: Iterable[Digest], tell: Tell | None) -> dict[Digest, ArtstoreError]:
        """Those blobs that cannot be read as they should be, found out by reading all of them, and what was said."""
        return download(self._objects, Sieve(), self.find(digests)[0], tell)

    def put_manifests(self, name: str, encodings: Sequence[Encoding]) -> None:
        """Put an object there again that slots name, with the same manifests."""
        self._check(name, _OBJECT)
        data = encode_manifests(encodings)
        self._objects.write(self.called(f"manifests/{name}"), [data], len(data))

    @staticmethod
    def files_of(name: str) -> list[str]:
        """The files of an object, as it is called in ops."""
        return [f"{name}.idx", f"{name}.tar"] if name.startswith("packs/") else [name]

    def size(self, file: str) -> int | None:
        """Bytes of a file; None if it is not there."""
        return self._objects.size(self.called(file))

    def remove(self, name: str) -> int:
        """Remove an object; answers how many bytes it had."""
        size = 0
        # Of a pack the index first: without it, it is not there.
        for file in self.files_of(name):
            size += self.size(file) or 0
            self._objects.remove(self.called(file))
        return size

    def called(self, file: str) -> str:
        """The whole name of a file."""
        kind, _, name = file.partition("/")
        return f"{kind}/{self._part}/{name}"

    def _so_called(self, name: str) -> str:
        return f"the object {name} of the manifests of {self._project!r} at {self._objects.url}"

    def _whole_unnamed(self) -> tuple[dict[str, list[Member]], list[str]]:
        """Packs with what is in them, and large blobs, that no slot names and that are still there."""
        kinds = {f"{'packs' if _OBJECT.match(name) else 'blobs'}/{name}": name for name in self._unnamed.names}
        # What was noted meanwhile by another one of this store may have been swept since, and lie there still.
        kinds = {name: each for name, each in kinds.items() if name not in self.known.swept}
        whole = {name for name, is_whole in in_parallel(self._is_whole, kinds) if is_whole}
        packs = self._indexes.of(each for name, each in kinds.items() if name in whole and name.startswith("packs/"))
        return packs, [each for name, each in kinds.items() if name in whole and name.startswith("blobs/")]

    def _is_whole(self, name: str) -> bool:
        return all(self.size(file) is not None for file in self.files_of(name))

    def _note_unnamed(self, name: str) -> None:
        self._unnamed.add([name])
        self._unnamed.save()

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
