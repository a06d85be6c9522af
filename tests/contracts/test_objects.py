"""Objects: what is promised of every place alike, against real servers."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from artstore.errors import Conflict, Corrupt, Invalid, MissingObject
from artstore.sync.objects.interface import Objects
from artstore.sync.objects.parallel import in_parallel
from artstore.sync.objects.probe import probe
from tests.conftest import Children
from tests.sync.objects.places import Place

LARGE = os.urandom(20_000_003)
"""More than any place takes in one piece."""


@pytest.fixture
def objects(place: Place) -> Objects:
    return place.open()


def pieces(data: bytes, size: int = 1_000_000) -> Iterator[bytes]:
    yield from (data[start : start + size] for start in range(0, len(data), size))


@pytest.mark.parametrize("data", [b"", b"x", b"cat" * 1000, LARGE], ids=["empty", "one", "small", "large"])
def test_the_bytes_come_back_to_every_host(place: Place, objects: Objects, data: bytes) -> None:
    objects.write("blobs/ab/cat", pieces(data), len(data))

    elsewhere = place.open()
    assert data == elsewhere.read("blobs/ab/cat")
    assert data == b"".join(elsewhere.stream("blobs/ab/cat"))
    assert len(data) == elsewhere.size("blobs/ab/cat")


def test_a_part_is_read_without_the_rest(objects: Objects) -> None:
    objects.write("packs/p", pieces(LARGE), len(LARGE))

    assert LARGE[17_000_000:17_000_100] == objects.read("packs/p", 17_000_000, 100)
    assert LARGE[17_000_000:] == objects.read("packs/p", 17_000_000)
    assert LARGE[12_345:] == b"".join(objects.stream("packs/p", 12_345))
    assert b"" == objects.read("packs/p", len(LARGE))
    assert b"" == objects.read("packs/p", 5, 0)
    assert b"" == b"".join(objects.stream("packs/p", len(LARGE)))


def test_an_object_that_is_too_short_is_never_taken_for_whole(objects: Objects) -> None:
    """A blob of which the end is missing would be noticed much later, or where nothing is compared, never."""
    objects.claim("a", b"cat")

    for start, length in ((0, 4), (1, 3), (3, 1), (4, 1), (4, None), (9, None)):
        with pytest.raises(Corrupt) as caught:
            objects.read("a", start, length)
        assert "object-short" == caught.value.code
    with pytest.raises(Corrupt):
        list(objects.stream("a", 4))


def test_what_is_not_there_is_said_to_be_missing(objects: Objects) -> None:
    objects.claim("there/is/one", b"x")

    for name in ("missing", "there/missing", "there/is/missing", "there/is"):
        with pytest.raises(MissingObject, match=name):
            objects.read(name)
        with pytest.raises(MissingObject):
            list(objects.stream(name))
        assert objects.size(name) is None
    assert [] == list(objects.names("missing/"))


def test_writing_again_changes_nothing(objects: Objects) -> None:
    """After a lost answer an object is simply sent again."""
    for _ in range(2):
        objects.write("a/b", [b"cat"], 3)

    assert (b"cat", ["a/b"]) == (objects.read("a/b"), list(objects.names("")))


def test_a_file_is_written_as_its_bytes_would_be(objects: Objects, tmp_path: Path) -> None:
    for name, data in (("large", LARGE), ("small", b"cat"), ("empty", b"")):
        (tmp_path / name).write_bytes(data)
        objects.write_file(f"files/{name}", tmp_path / name)

        assert data == objects.read(f"files/{name}")


@pytest.mark.parametrize("data", [b"cat", LARGE], ids=["small", "large"])
@pytest.mark.parametrize("difference", [-1, 1])
def test_bytes_that_are_not_as_many_as_was_said_get_no_name(objects: Objects, data: bytes, difference: int) -> None:
    with pytest.raises(Conflict) as caught:
        objects.write("a", pieces(data), len(data) + difference)

    assert "source-changed" == caught.value.code
    assert (None, []) == (objects.size("a"), list(objects.names("")))


@pytest.mark.parametrize("before", [b"", b"cat", LARGE], ids=["at once", "soon", "late"])
def test_where_the_source_fails_nothing_gets_a_name_and_its_error_is_told(objects: Objects, before: bytes) -> None:
    """A damaged blob here is no fault of the remote, and must not be tried again as one."""

    def chunks() -> Iterator[bytes]:
        yield from pieces(before)
        raise OSError(5, "the disk here is broken")

    with pytest.raises(OSError, match="the disk here is broken") as caught:
        objects.write("a", chunks(), len(before) + 10)

    assert OSError is type(caught.value)
    assert (None, []) == (objects.size("a"), list(objects.names("")))


def test_what_is_being_written_is_not_there_yet(place: Place, objects: Objects) -> None:
    """A pull in the middle of somebody's push must find whole objects or none."""
    seen: list[int | None] = []

    def chunks() -> Iterator[bytes]:
        elsewhere = place.open()
        for piece in pieces(LARGE, 4_000_000):
            yield piece
            seen.extend([elsewhere.size("a/b"), *map(len, elsewhere.names(""))])

    objects.write("a/b", chunks(), len(LARGE))

    assert {None} == set(seen)
    assert LARGE == objects.read("a/b")


def test_a_claimed_name_keeps_its_bytes(place: Place, objects: Objects) -> None:
    """A slot of the log that changed hands would lose what was acknowledged."""
    assert objects.claim("log/0001", b"mine")

    assert not place.open().claim("log/0001", b"theirs")
    assert not objects.claim("log/0001", b"mine")
    assert b"mine" == objects.read("log/0001")


def test_of_many_threads_that_claim_a_name_one_gets_it(place: Place) -> None:
    hosts = [place.open() for _ in range(3)]
    rivals = [(hosts[number % 3], f"rival {number}".encode()) for number in range(9)]

    for race in range(place.races // 3):
        name = f"log/{race:04}"
        claimed = in_parallel(lambda rival, name=name: rival[0].claim(name, rival[1]), rivals)  # type: ignore[misc]
        won = [mine for (_, mine), is_mine in claimed if is_mine]

        assert [hosts[0].read(name)] == won


CLAIM_ALL = """
import sys, threading
from artstore.sync.objects.families import open_objects
objects, me, races = open_objects(sys.argv[1]), sys.argv[2].encode(), int(sys.argv[3])
objects.names("")
print("ready", flush=True)
sys.stdin.readline()
won, numbers, lock = [], iter(range(races)), threading.Lock()
def claim():
    while True:
        with lock:
            number = next(numbers, None)
        if number is None:
            return
        if objects.claim(f"log/{number:04}", me):
            won.append(number)
threads = [threading.Thread(target=claim) for _ in range(3)]
for each in threads:
    each.start()
for each in threads:
    each.join()
print(*won)
"""


def test_of_many_processes_that_claim_a_name_one_gets_it(place: Place, children: Children) -> None:
    """Each process is told of other names that it got them, every name is somebody's, and says whose."""
    running = [children.start(CLAIM_ALL, place.url, f"process {number}", place.races) for number in range(4)]
    for process in running:
        assert process.stdout is not None
        assert "ready\n" == process.stdout.readline()
    told = [process.communicate("go\n", timeout=300) for process in running]

    assert [""] * 4 == [complaint for _, complaint in told]
    winners = {int(slot): f"process {number}" for number, (won, _) in enumerate(told) for slot in won.split()}
    assert place.races == sum(len(won.split()) for won, _ in told) == len(winners)
    objects = place.open()
    assert winners == {slot: objects.read(f"log/{slot:04}").decode() for slot in range(place.races)}


def test_going_on_behind_any_name_gives_the_rest(objects: Objects) -> None:
    """Whatever the order of folders: a listing that was cut must not leave some out, or begin again."""
    names = ["a-b", "a.b/c", "a/b", "a/b-c/d", "a/b.d", "a0", "b/a/z", "b/b", "ba"]
    for name in reversed(names):
        objects.claim(name, b"x")

    listed = list(objects.names(""))

    assert names == sorted(listed)
    for start, name in enumerate(listed):
        assert listed[start + 1 :] == list(objects.names("", name)), name


def test_what_is_left_of_a_folder_is_skipped(objects: Objects) -> None:
    """To find the projects of a depot without reading all of their logs' names."""
    names = [f"log/{project}/{slot}" for project in ("a", "a-b", "a.b", "ab", "b") for slot in ("0001", "0002")]
    for name in names:
        objects.claim(name, b"x")

    firsts = []
    after = ""
    while (first := next(objects.names("log/", after), None)) is not None:
        firsts.append(first)
        after = f"{first.rpartition('/')[0]}/~"

    assert sorted(names[::2]) == sorted(firsts)


def test_names_of_a_folder_come_sorted_as_their_bytes_are(objects: Objects) -> None:
    """A log is read slot by slot."""
    names = [f"log/{name}" for name in ("0", "0-1", "0.a", "00", "01", "0_", "10", "9", "a", "a-", "b")]
    for name in reversed(names):
        objects.claim(name, b"x")

    assert names == list(objects.names("log/"))
    for name in (*names, "log/005", "log/7"):
        assert [other for other in names if other > name] == list(objects.names("log/", name)), name


@pytest.mark.parametrize(
    ("prefix", "after", "expected"),
    [
        ("log/a/", "", ["log/a/01", "log/a/02", "log/a/10"]),
        ("log/a/0", "", ["log/a/01", "log/a/02"]),
        ("log/a", "", ["log/a/01", "log/a/02", "log/a/10", "log/ab/01"]),
        ("log/a/", "log/a/02", ["log/a/10"]),
        ("log/a/", "log/a/03", ["log/a/10"]),
        ("log/a/", "log/b", []),
        ("log/ab/", "log/a/10", ["log/ab/01"]),
        ("log/c", "", []),
        ("zoo/", "", []),
    ],
)
def test_names_are_those_that_begin_so_and_come_after(
    objects: Objects, prefix: str, after: str, expected: list[str]
) -> None:
    for name in ("log/a/01", "log/a/02", "log/a/10", "log/ab/01", "logs/a/01"):
        objects.claim(name, b"x")

    assert expected == list(objects.names(prefix, after))


def test_names_of_many_pages_are_all_there(objects: Objects) -> None:
    names = [f"many/{number:04}" for number in range(1100)]
    for _ in in_parallel(lambda name: objects.write(name, [b"x"], 1), names):
        pass

    assert names == list(objects.names("many/"))
    assert [(name, 1) for name in names] == list(objects.sizes("many/"))
    assert names[1050:] == list(objects.names("many/", names[1049]))
    first = objects.names("many/")
    assert names[:3] == [next(first) for _ in range(3)]


def test_what_was_removed_is_gone_and_its_name_free(objects: Objects) -> None:
    objects.claim("a/b", b"cat")

    objects.remove("a/b")
    objects.remove("a/b")
    objects.remove("never/was")

    assert (None, []) == (objects.size("a/b"), list(objects.names("")))
    assert objects.claim("a/b", b"dog")
    assert b"dog" == objects.read("a/b")


@pytest.mark.parametrize(
    "name",
    ["", "/", "/a", "a/", "a//b", "../a", "a/../b", ".a", "a/.b", "a.", "A", "ä", "a b", "a\\b", "a\0", "x" * 300],
)
def test_what_is_no_name_is_refused_before_anything_is_asked(objects: Objects, name: str) -> None:
    for call in (
        lambda: objects.read(name),
        lambda: list(objects.stream(name)),
        lambda: objects.write(name, [b"x"], 1),
        lambda: objects.write_file(name, Path(__file__)),
        lambda: objects.claim(name, b"x"),
        lambda: objects.size(name),
        lambda: objects.remove(name),
    ):
        with pytest.raises(Invalid) as caught:
            call()
        assert "bad-name" == caught.value.code
    assert [] == list(objects.names(""))


@pytest.mark.parametrize("prefix", ["/", "../", "a/../", "A", "a//", ".tmp"])
def test_what_no_name_begins_with_is_refused(objects: Objects, prefix: str) -> None:
    with pytest.raises(Invalid) as caught:
        list(objects.names(prefix))

    assert "bad-name" == caught.value.code


def test_a_place_that_does_all_this_passes_the_probe_and_is_as_it_was(objects: Objects) -> None:
    objects.claim("a", b"x")

    probe(objects)

    assert ["a"] == list(objects.names(""))


def test_what_is_being_written_now_is_no_litter(objects: Objects) -> None:
    """Tidying up must never hurt a push that is under way, however slow it is."""

    def chunks() -> Iterator[bytes]:
        for piece in pieces(LARGE, 7_000_000):
            yield piece
            assert 0 == objects.tidy()

    objects.write("a/b", chunks(), len(LARGE))

    assert LARGE == objects.read("a/b")
