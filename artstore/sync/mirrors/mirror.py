"""Mirror: a place that has a log as it stands elsewhere, and beside it what no upstream has accepted yet.

    mirror/log/<project>/<number of its first slot>   a page: slots, unchanged, and which objects have what they bring
    mirror/more/<project>/<count>                     what is said beside the pages: which objects have what they
                                                      lacked, or was lost since, and what goes or is to stay
    mirror/pending/<project>/<store>/<count>          ops that wait in a store, and which objects have what they bring
    mirror/manifests/  packs/  blobs/                 as in a depot

A page is claimed by put-if-absent, and goes on where the one before ends. One that is gone, or cannot be read, is put
there again by whoever pushes there and has its slots. Slots of a log are the same wherever they
stand, so it does not matter who has brought them here; their objects lie here under other names than upstream, since
each store has its bytes in other packs. A place may be a depot for some and a
mirror for others: neither sees the other.

Whoever pushes says at its end, beside the pages, that what it has named is to stay. Whoever frees objects (`free`) says
so there, too. Each is claimed by put-if-absent, behind all that was read of it. So a push comes before a sweep, which
then keeps what it needs, or finds out that objects on which it relied are gone, and sends their bytes again, whatever
clocks say and however old a listing is.

Chose pages over an object for each slot, because a log that is mirrored for the first time has thousands of them.
"""

from __future__ import annotations

import bisect
import contextlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec

from artstore.errors import Corrupt
from artstore.model.digest import Digest
from artstore.model.manifest import blob_of
from artstore.model.parts import part_of
from artstore.storage.root import Root
from artstore.sync.depots.depot import Depot
from artstore.sync.depots.known import Known
from artstore.sync.depots.lost import Damaged
from artstore.sync.depots.shelf import DepotShelf
from artstore.sync.mirrors.pages import FORMAT, Found, Lying, More, Page, Pages, Pending, decode, encode
from artstore.sync.mirrors.said import Said
from artstore.sync.objects.interface import Objects
from artstore.sync.objects.under import ObjectsUnder
from artstore.sync.protocol import Remote, Slot, corrupt

_FOLDER: Final = "mirror/"
_NUMBER: Final = re.compile(r"[0-9]{12}\Z")
_ANY_LOG: Final = "0" * 32
FAR: Final = 1 << 40
"""Behind all slots that there are."""
_PUSH_AGAIN: Final = "`artstore push` to this mirror puts it there again, from a store that has followed the log"


class Mirror(Depot):
    """A remote that stands in for another one. What is claimed under a number is a page. See Remote."""

    def __init__(self, objects: Objects) -> None:
        super().__init__(ObjectsUnder(objects, _FOLDER))
        self._read = Pages()
        self.said = Said(self._objects)
        """What is said there beside the pages."""
        self.damaged = Damaged({}, set())
        """What was found not to be there as it should be, though it lies there."""

    def projects(self) -> Iterator[str]:
        """See Remote."""
        yield from sorted({*self.projects_below("log/"), *self.projects_below("pending/")})

    def slot(self, project: str, number: int) -> bytes | None:
        """See Remote."""
        found = self.page(project, number)
        return None if found is None else bytes(found.page.slots[number - found.first])

    def shelf(self, root: Root, project: str, log: str = "") -> MirrorShelf:  # noqa: ARG002 - it has one of a project
        """See Remote."""
        return MirrorShelf(self, self._objects, root.path, project)

    def log(self, project: str) -> str | None:
        """The id of the log that is mirrored; None if none is."""
        data = self.slot(project, 1)
        return None if data is None else msgspec.json.decode(data, type=_Log).log

    def numbers(self, project: str) -> list[int]:
        """The numbers of the first slots of all pages, as they are listed."""
        head = f"log/{part_of(project)}/"
        ends = (name.removeprefix(head) for name in self._objects.names(head))
        return sorted(int(end) for end in ends if _NUMBER.match(end))

    def last(self, project: str, numbers: Sequence[int] | None = None) -> int:
        """How many slots there are; where they were listed just now, with what came of that."""
        numbers = self.numbers(project) if numbers is None else numbers
        found = self.page(project, numbers[-1]) if numbers else None
        return 0 if found is None else found.last

    def page(self, project: str, number: int) -> Found | None:
        """The page that has a slot, with the number of its first; None where there is no such slot.

        Raises Corrupt (slot-lost) where there are slots behind it, (remote-corrupt) where the page cannot be read.
        """
        found = self._read.before(project, number)
        if found is None or number > found.last:
            is_next = found is not None and number == found.last + 1
            first = number if is_next or number == 1 else self._first(project, number)
            found = self.page_at(project, first)
            if found is None or number > found.last:
                later = next((each for each in self.numbers(project) if each > number), None)
                if later is None:
                    return None
                message = f"slot {number} of project {project!r} at {self.url} is lost, while slot {later} is there"
                raise Corrupt(f"{message}. {_PUSH_AGAIN}", code="slot-lost")
        return found

    def page_at(self, project: str, first: int) -> Found | None:
        """The page that is called by a slot; None where there is none. Raises Corrupt where it cannot be read.

        Pages do not change, so none is read twice as long as there is room for what was read.
        """
        found = self._read.at(project, first)
        if found is None and (data := self.lone_slot(project, first)) is not None:
            found = self._taken_in(project, first, data)
        return found

    def claim(self, project: str, number: int, data: bytes) -> bool:
        """See Remote. A page may be put there before others, where one was lost."""
        is_claimed = self._objects.claim(_page_name(project, number), data)
        if is_claimed:
            self._taken_in(project, number, data)
        return is_claimed

    def gaps(
        self, project: str, noted: Mapping[int, int], numbers: Sequence[int]
    ) -> tuple[list[tuple[int, int]], list[int]]:
        """Slots before others that no page has, each first with its last; and the pages that cannot be read.

        Of pages that are noted, the last slot by the first, only the last one is read. `numbers` are those listed.
        """
        gaps: list[tuple[int, int]] = []
        damaged: list[int] = []
        following = 1
        for first in numbers:
            last = noted.get(first) if first != numbers[-1] else None
            if last is None:
                try:
                    found = self.page_at(project, first)
                except Corrupt:
                    damaged.append(first)
                    continue
                last = first - 1 if found is None else found.last
            if first > following:
                gaps.append((following, first - 1))
            following = max(following, last + 1)
        if damaged and damaged[-1] >= following:
            gaps.append((following, FAR))
        return gaps, damaged

    def read_anew(self, project: str) -> None:
        """Take none of the pages that were read for what is there now: one that was lost is put back as another."""
        self._read.drop(project)

    def drop_page(self, project: str, first: int) -> None:
        """Remove a page that cannot be read."""
        self._read.drop(project)
        self._objects.remove(_page_name(project, first))

    # Inside.

    def _first(self, project: str, number: int) -> int:
        numbers = self.numbers(project)
        at = bisect.bisect_right(numbers, number)
        return numbers[at - 1] if at else number

    def _taken_in(self, project: str, first: int, data: bytes) -> Found:
        where = f"page {first} of the mirror of project {project!r} at {self.url}"
        try:
            page = decode(data, Page, where)
            if not page.slots:
                raise corrupt(f"{where} has no slot")
        except Corrupt as error:
            raise Corrupt(f"{error.message}. {_PUSH_AGAIN}", code=error.code) from error
        found = Found(first, page, str(Digest.of(data)))
        self._read.keep(project, found, len(data))
        return found


class MirrorShelf(DepotShelf):
    """The objects of a project in a mirror. See Shelf."""

    kind = "mirror"
    _is_collected = False

    def __init__(self, mirror: Mirror, objects: Objects, root: Path, project: str) -> None:
        # It knows by itself whether it is the log that it was.
        super().__init__(objects, root, project, part_of(project), part_of(project))
        self._root = root
        self._mirror = mirror
        self._files: set[str] | None = None
        """What was listed when it was looked for what is gone; None once it knows of more."""

    def lacks_blobs(self, digests: Iterable[Digest]) -> list[Digest]:
        """See Shelf. What is damaged is lacking, until another object has it."""
        wanted, bad = list(dict.fromkeys(digests)), self._mirror.damaged.blobs
        lacking = set(super().lacks_blobs(wanted))
        lying = self.find(digest for digest in wanted if digest in bad)[0] if bad else ()
        lacking.update(each.digest for each in lying if bad[each.digest] == each.name)
        return [digest for digest in wanted if digest in lacking]

    def follow(self, remote: Remote, until: int) -> None:
        """See Shelf. A mirror that was set back, or begun anew, is not taken for what it was."""
        if not self._is_as_it_was():
            self.begin_again()
        came = list(self._mirror.said.more(self._project, self.known.more))
        # First: whoever names what was swept had not heard of that, and what has the same bytes counts.
        swept = {name for _number, _digest, more in came for name in more.swept}
        self.known.swept |= swept
        if swept:
            self.forget(swept)
        # What cannot be read is said by whoever counts slots; here it is as if it were not there.
        with contextlib.suppress(Corrupt):
            super().follow(remote, until)
        for number, digest, more in came:
            self.put(more)
            self.known.more, self.known.told = number, digest
            if more.swept:
                self.known.swept_at = number

    def catch_up(self) -> None:
        """Follow all that is there, and remember it."""
        self._files = None
        known, before = self.known, (self.known.slot, self.known.more)
        self.follow(self._mirror, FAR)
        if self.known is not known or before != (known.slot, known.more):
            self.save()

    def tell(self, more: More) -> bool:
        """Say something behind all that is known to be said there, and know it; False: others have said something."""
        more = msgspec.structs.replace(more, before=self.known.told)
        number = self.known.more + 1
        is_told = self._mirror.said.tell(self._project, number, more)
        if is_told:
            self.put(more)
            self.known.more, self.known.told = number, str(Digest.of(encode(more)))
        return is_told

    def beside(self) -> MirrorShelf:
        """The same, to be told also of what waits. It is not to be saved."""
        other = MirrorShelf(self._mirror, self._objects, self._root, self._project)
        other.known = msgspec.msgpack.decode(msgspec.msgpack.encode(self.known), type=Known)
        other._files, other._unnamed = self._files, self._unnamed
        return other

    def _is_as_it_was(self) -> bool:
        known = self.known
        if known.told is not None and not self._mirror.said.is_told(self._project, known.more, known.told):
            return False
        if not known.slot:
            return True
        with contextlib.suppress(Corrupt):
            first = max((first for first, last in known.pages.items() if first <= known.slot <= last), default=0)
            found = self._mirror.page_at(self._project, first)
            return found is not None and found.digest == known.page
        return False

    def note(self, slot: Slot) -> None:
        """See Shelf. Which objects have what a slot brings is said by its page, and by its first slot for all."""
        found = self._mirror.page(slot.project, slot.number)
        page = Page(slots=[], more=self.known.more) if found is None or found.first != slot.number else found.page
        self._files = None
        # Its ops may speak of objects upstream.
        super().note(
            msgspec.structs.replace(slot, transactions=[], manifests=page.manifests, bases=[], **self._not_swept(page))
        )
        self.known.dead.update(page.lacks)
        if page.more < self.known.swept_at:
            self.known.sure = min(self.known.sure, page.more)
        if found is not None:
            self.known.pages[found.first] = found.last
        self.known.head, self.known.page = None, None if found is None else found.digest

    def put(self, lying: More | Pending) -> None:
        """Know also what is said beside the pages, or of ops that wait. After the latter it is not to be saved."""
        named = self._not_swept(lying)
        self.known.note(
            Slot(
                format=FORMAT,
                project=self._project,
                log=_ANY_LOG,
                number=self.known.slot,
                before=None,
                store="",
                transactions=[],
                manifests=lying.manifests,
                **named,
            )
        )
        self._packed = self._holders = None
        if isinstance(lying, More):
            # What waits is named once more by the page that has it in the end.
            self._unnamed.drop({*named["packs"], *named["blobs"]})
            self._files = None
            self.known.dead.update(lying.lacks)
            for name, at_us in lying.condemned.items():
                self.known.condemned.setdefault(name, at_us)
            for name in (*lying.kept, *lying.swept):
                self.known.condemned.pop(name, None)
            self.known.marked = max(self.known.marked, lying.until)
            self.known.waits.update(lying.waits)

    def contents(self, packs: Iterable[str]) -> dict[str, set[bytes]]:
        """The digests of what is in packs, as far as that can be found out."""
        return {name: {bytes(each.digest) for each in some} for name, some in self._indexes.of(packs).items()}

    def _not_swept(self, lying: Lying) -> dict[str, list[str]]:
        swept = self.known.swept
        return {
            "packs": [name for name in lying.packs if f"packs/{name}" not in swept],
            "blobs": [name for name in lying.blobs if f"blobs/{name}" not in swept],
        }

    @property
    def is_doubtful(self) -> bool:
        """Whether something was swept on which a page may rely."""
        return self.known.swept_at > self.known.sure

    def look(self) -> set[str]:
        """Find out which of the objects that it knows are gone, and know of them no more; answers how ops call them.

        A damaged list of files is as good as gone.
        """
        damaged = {f"manifests/{name}" for name in self._mirror.damaged.lists if name in self.known.manifests}
        if self._files is None:
            self._files = set(self.listed())
        gone = self.gone(self._files) | damaged
        if gone:
            self.forget(gone)
        return gone

    def forget(self, gone: set[str]) -> None:
        """Take it that objects are not there any more. What is known to lack there lacks all the same."""
        lacking = set(self.known.dead)
        super().forget(gone)
        self.known.dead |= lacking

    def name_no_more(self, files: Iterable[str]) -> None:
        """Name none of these files again of what was put there for slots to come."""
        self._unnamed.drop({file.rpartition("/")[2].removesuffix(".tar") for file in files})

    def held(self) -> list[Digest]:
        """The manifests that it knows to lie there."""
        return [Digest.parse(digest) for digest in self._holding()]

    def doubt(self, root: Root, manifests: Iterable[Digest]) -> None:
        """Take those for lacking there whose blobs are not all there, or of which that is not known here."""
        for digest in manifests:
            if root.manifests.find(digest) is None:
                self.known.dead.add(str(digest))
                continue
            blobs = [blob.digest for entry in root.manifests.entries(digest) if (blob := blob_of(entry)) is not None]
            if self.lacks_blobs(blobs):
                self.known.dead.add(str(digest))


def mirrored(mirror: Mirror | None, root: Root, project: str) -> MirrorShelf | None:
    """What lies in a mirror for a project, as far as its pages say so; None where it has no log of that project."""
    log: str | None = None
    with contextlib.suppress(Corrupt):
        log = None if mirror is None else mirror.log(project)
    if mirror is None or log is None:
        return None
    shelf = mirror.shelf(root, project)
    shelf.catch_up()
    return shelf


def _page_name(project: str, first: int) -> str:
    return f"log/{part_of(project)}/{first:012d}"


class _Log(msgspec.Struct):
    log: str
