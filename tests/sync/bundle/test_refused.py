"""What cannot be taken is refused before anything is changed, and says why and what now."""

from __future__ import annotations

import io
import os
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from artstore.errors import AmbiguousVersion, Conflict, Corrupt, Invalid, MissingFile, UpgradeNeeded
from artstore.model.digest import Digest
from artstore.model.manifest import encode_full
from artstore.storage.files import random_hex
from artstore.store import Store
from artstore.sync import lengths
from artstore.sync.bundle import archive
from artstore.sync.bundle.apply import apply_bundle
from artstore.sync.bundle.archive import BundleReader, BundleWriter
from artstore.sync.bundle.head import Receipt, decode_receipt, inspect_bundle, read_head, read_manifests
from artstore.sync.remotes import add_remote
from tests.sync.bundle.conftest import Site, Stick
from tests.sync.conftest import Machine
from tests.sync.serving import served

MakeSite = Callable[[str], Site]


def test_two_logs_are_not_put_together_unasked(site: MakeSite, stick: Stick) -> None:
    """Numbers that somebody has written down would mean something else."""
    a, b = site("a"), site("b")
    mine, theirs = a.put({"x": b"a"}), b.put({"x": b"b"})
    stick.write(a)

    assert "needs-join" == stick.refused(b)
    assert ["cats:v0"] == [name for name, *_ in b.names()]
    assert "" == stick.refused(b, join=True)
    assert [("cats:v1", theirs.id), ("cats:v0", mine.id)] == [(name, id_) for name, id_, _ in b.names()]


def test_another_log_is_followed_only_where_that_is_allowed(site: MakeSite, stick: Stick) -> None:
    a, b, c = site("a"), site("b"), site("c")
    a.put({"x": b"a"})
    stick.carry(a, b)
    c.put({"x": b"c"})
    stick.write(c)

    assert "other-upstream" == stick.refused(b)
    assert "" == stick.refused(b, join=True)
    b.store.accept_numbers(["cats"])
    assert [{"x": b"c"}, {"x": b"a"}] == [b.read(f"cats:v{number}") for number in (0, 1)]


def test_a_bundle_is_not_taken_before_those_that_it_goes_on_from(site: MakeSite, stick: Stick) -> None:
    a, b, c = site("a"), site("b"), site("c")
    a.put({"x": b"0"})
    stick.carry(a, b)
    a.put({"x": b"1"})
    stick.carry(a, b)

    assert "bundle-gap" == stick.refused(c)
    assert [] == c.store.projects()


def test_a_store_that_was_set_back_is_noticed_on_either_side(site: MakeSite, stick: Stick) -> None:
    """X11. It would give one number to two versions, and each side would swear by its own."""
    a, b = site("a"), site("b")
    a.put({"x": b"0"})
    a.store.close()
    shutil.copytree(a.store.path, a.folder / "copy")
    a.again()
    a.put({"x": b"1"})
    stick.carry(a, b)
    first = stick.path()
    b.put({"x": b"b"})
    a.store.close()
    a.store = Store.open(a.folder / "copy")
    a.put({"x": b"another"})

    with pytest.raises(Conflict, match="set back"):
        stick.write(a, since=b.receipt())
    stick.write(a)
    assert "rolled-back" == stick.refused(b)
    assert "rolled-back" == apply_bundle(a.store, first).projects[0].code


@pytest.mark.parametrize("is_owner_first", [True, False])
def test_two_ends_of_one_log_are_put_together_where_that_is_allowed(
    site: MakeSite, stick: Stick, *, is_owner_first: bool
) -> None:
    """Else neither side could ever take anything of the other again; and no number means another version unasked."""
    a, b = site("a"), site("b")
    a.put({"x": b"0"})
    a.store.close()
    shutil.copytree(a.store.path, a.folder / "copy")
    a.again()
    lost = a.put({"x": b"1", "large": bytes(1_100_000)})
    stick.carry(a, b)
    own = b.put({"x": b"b"})
    a.store.close()
    shutil.rmtree(a.store.path)
    (a.folder / "copy").rename(a.store.path)
    a.again()
    new = a.put({"x": b"another"}, aliases=["best"])

    for source, target in ((b, a), (a, b)) if is_owner_first else ((a, b), (b, a), (a, b)):
        stick.write(source)
        (report,) = apply_bundle(target.store, stick.path(), join=True).projects
        assert report.error is None
    a.put({"x": b"2"})
    b.put({"x": b"3"})
    stick.carry(b, a)
    stick.carry(a, b)

    assert a.names() == b.names()
    assert a.state_hash() == b.state_hash()
    assert new.id == b.store.version("cats:best").id
    assert [new.id, lost.id, own.id] == [a.store.version(f"cats:v{number}").id for number in (1, 2, 3)]
    with pytest.raises(AmbiguousVersion):
        b.store.version("cats:v1")
    for each in (a, b):
        assert each.store.verify().ok
        assert {"x": b"1", "large": bytes(1_100_000)} == each.read(f"cats@{lost.id}")


@pytest.mark.parametrize("by", ["bundle", "mirror"])
def test_whoever_owns_a_log_and_was_set_back_gets_again_what_others_have(site: MakeSite, stick: Stick, by: str) -> None:
    """Its disk died, the backup was of yesterday, and today's versions were out of its reach for ever."""
    a, b = site("a"), site("b")
    for each in (a, b):
        add_remote(each.store.path, "stick", f"file://{stick.folder}", upstream=False, join=False)

    def travel(source: Machine, target: Machine) -> None:
        if by == "bundle":
            stick.carry(source, target)
        else:
            source.move("push", remote="stick")
            target.move("pull", remote="stick")

    a.put({"x": b"0"})
    a.store.close()
    shutil.copytree(a.store.path, a.folder / "copy")
    a.again()
    a.put({"x": b"1"}, aliases=["today"])
    a.put({"x": b"0"}, name="dogs")
    travel(a, b)
    assert {"x": b"1"} == b.read("cats:today")
    a.store.close()
    shutil.rmtree(a.store.path)
    (a.folder / "copy").rename(a.store.path)
    a.again()
    travel(b, a)
    travel(b, a)

    assert {"x": b"1"} == a.read("cats:today")
    assert a.store.verify().ok
    a.put({"x": b"2"})
    travel(a, b)
    b.put({"x": b"3"})
    travel(b, a)
    travel(a, b)
    assert a.names() == b.names()
    assert {"x": b"3"} == a.read("cats:v3") == b.read("cats:v3")


def test_whoever_owns_a_log_and_was_set_back_gets_what_others_mean_to_end_with_its_end(
    site: MakeSite, stick: Stick
) -> None:
    """Its number would go to another version, and its end wait for ever for bytes that nobody has."""
    a, b = site("a"), site("b")
    a.put({"x": b"0"})
    a.store.close()
    shutil.copytree(a.store.path, a.folder / "copy")
    a.again()
    a.put({"x": b"1"})
    stick.carry(a, b)
    b.store.delete("cats:v1", everywhere=True, force=True)
    b.store.gc(grace_s=0)
    a.store.close()
    shutil.rmtree(a.store.path)
    (a.folder / "copy").rename(a.store.path)
    a.again()
    stick.carry(b, a)
    a.put({"x": b"2"})
    stick.carry(a, b)

    assert ["cats:v0", "cats:v2"] == sorted(name for name, *_ in a.names())
    assert a.names() == b.names()
    assert a.state_hash() == b.state_hash()


def test_bytes_that_went_since_the_receipt_are_named(site: MakeSite, stick: Stick) -> None:
    """X15. A version would be there that nobody can read, on the word of a receipt from last week."""
    a, b = site("a"), site("b")
    a.put({"x": b"common"})
    stick.carry(a, b)
    receipt = b.receipt()
    b.store.delete("cats:v0", force=True)
    b.store.gc(grace_s=0)
    for number, name in enumerate(("cats", "dogs")):
        # As a difference to a list of files that is gone, and as one of its own.
        a.put({"x": b"common", "y": b"%d" % number}, name=name)
        stick.write(a, since=receipt)
        assert "bundle-incomplete" == stick.refused(b)
    error = apply_bundle(b.store, stick.path()).projects[0].error

    assert "make the bundle again" in str(error).lower()
    assert [] == b.store.versions("cats")
    stick.carry(a, b)
    assert [b"0", b"1"] == [b.read(name)["y"] for name in ("cats:v1", "dogs")]


@pytest.mark.parametrize(
    ("harm", "code"), [("lost", "bundle-incomplete"), ("damaged", "base-damaged"), ("bundle", "bundle-damaged")]
)
def test_what_is_new_of_a_file_is_not_taken_for_the_file(site: MakeSite, stick: Stick, harm: str, code: str) -> None:
    """The other half of it is gone here since, or one of both is damaged. It holds up no other project."""
    a, b = site("a"), site("b")
    old = os.urandom(9 << 20)
    a.put({"large": old})
    stick.carry(a, b)
    a.put({"large": b"!" + old})
    a.put({"x": b"x"}, project="zoo")
    stick.write(a, since=b.receipt())
    if harm == "damaged":
        (blob,) = [path for path in (b.store.path / "blobs").rglob("*") if path.is_file()]
        blob.chmod(0o600)
        with blob.open("r+b") as file:
            file.seek(5 << 20)
            file.write(b"?")
    elif harm == "lost":
        b.store.delete("cats:v0", force=True)
        b.store.gc(grace_s=0)
    else:
        data = stick.path().read_bytes()
        at = data.index(b"patches/0/") + 512 + 40 + 16
        stick.path().write_bytes(data[:at] + b"?" + data[at + 1 :])

    refused, taken = apply_bundle(b.store, stick.path()).projects
    assert (code, None) == (refused.code, taken.code)
    assert {"x": b"x"} == b.read("zoo/cats")
    assert [] == [version for version in b.store.versions("cats") if version.number]


def test_one_damaged_blob_holds_up_its_project_alone(site: MakeSite, stick: Stick) -> None:
    """Whoever carries a stick for a week must not come home with nothing for one bad block."""
    a, b = site("a"), site("b")
    large = os.urandom(1_500_000)
    a.put({"x": large}, project="farm")
    a.put({"x": b"fine"}, project="zoo")
    stick.write(a)
    data = stick.path().read_bytes()
    stick.path().write_bytes(data.replace(large[:100], bytes(100)))
    farm, zoo = apply_bundle(b.store, stick.path()).projects

    assert ("bundle-damaged", None) == (farm.code, zoo.code)
    assert str(farm.error).endswith("Copy it again")
    assert ["zoo"] == b.store.projects()
    assert {"x": b"fine"} == b.read("zoo/cats")


def test_damage_anywhere_is_found_and_harms_nothing(site: MakeSite, stick: Stick) -> None:
    """X3. Sticks forget bits: no byte of another file may come in, and no version that is not whole."""
    a, b = site("a"), site("b")
    a.put({"x": b"x" * 900, "large": b"l" * 1_100_000})
    stick.write(a)
    whole = stick.path().read_bytes()
    found: set[str] = set()
    places = [*range(0, 9_000, 311), *range(len(whole) - 1_500, len(whole), 311)]
    for at in places:
        data = bytearray(whole)
        data[at] ^= 1
        stick.path().write_bytes(data)
        found.add(stick.refused(b))
        for project in b.store.projects():
            assert b.store.verify(f"{project}/cats").ok
        if b.store.projects():
            # A bit between the members, which means nothing.
            b = site(f"b{at}")

    assert found <= {"", "bundle-damaged", "remote-corrupt", "newer-bundle"}
    assert {"bundle-damaged", "remote-corrupt"} <= found


def test_what_was_cut_short_is_not_begun(site: MakeSite, stick: Stick) -> None:
    a, b = site("a"), site("b")
    a.put({"x": b"x"})
    stick.write(a)
    whole = stick.path().read_bytes()
    for end in (0, 100, 512, len(whole) // 2, len(whole) - 1):
        stick.path().write_bytes(whole[:end])
        assert "bundle-damaged" == stick.refused(b), end

    stick.path().write_bytes(whole + b"\0")
    assert "bundle-damaged" == stick.refused(b)


def test_a_tar_of_something_else_is_no_bundle(tmp_path: Path) -> None:
    """A7. Links, devices and ways out of a folder are no members of a bundle."""
    for kind, name in ((tarfile.SYMTYPE, "a"), (tarfile.CHRTYPE, "a"), (tarfile.REGTYPE, "../a"), (b"x", "a")):
        info = tarfile.TarInfo(name)
        info.type = kind
        (tmp_path / "x.tar").write_bytes(info.tobuf() + bytes(1024))
        with pytest.raises(Corrupt, match="no header"):
            inspect_bundle(tmp_path / "x.tar")
    with tarfile.open(tmp_path / "x.tar", "w") as tar:
        tar.addfile(tarfile.TarInfo("a"), io.BytesIO())
    with pytest.raises(Corrupt):
        inspect_bundle(tmp_path / "x.tar")
    with pytest.raises(MissingFile):
        inspect_bundle(tmp_path / "y.tar")


def test_what_is_no_bundle_is_named_as_what_it_is(site: MakeSite, stick: Stick) -> None:
    """A pipe was waited for for ever, and of a split bundle without its first file nothing was said to be there."""
    a = site("a")
    a.put({"x": os.urandom(9_000)})
    stick.write(a, split=4_000)
    first = stick.folder / "1.bundle.001"

    assert str(first) == inspect_bundle(stick.folder / "1.bundle.002").files[0]
    first.unlink()
    for name in ("1.bundle", "1.bundle.001", "1.bundle.002"):
        with pytest.raises(MissingFile, match=r"the first one, '1\.bundle\.001', is missing"):
            inspect_bundle(stick.folder / name)
    os.mkfifo(stick.folder / "pipe")
    for name in ("pipe", ""):
        with pytest.raises(MissingFile, match="no file"):
            inspect_bundle(stick.folder / name)


@pytest.mark.parametrize("name", [f"artstore-bundle/{'0' * 64}.json", f"manifests/0/{'0' * 32}"])
def test_a_member_is_not_read_that_is_longer_than_any(tmp_path: Path, name: str) -> None:
    """A sparse file of 8 KiB took 6 GB of memory, by `inspect` too."""
    size = 30 << 30
    path = tmp_path / "x.bundle"
    with path.open("wb") as file:
        file.write(archive._header(name, size))
        file.truncate(512 + size + 1024)
    with BundleReader(path) as reader, pytest.raises(Corrupt, match="none like it") as caught:
        _ = read_head(reader) if "bundle" in name else read_manifests(reader, 0)

    assert "bundle-damaged" == caught.value.code


@pytest.mark.parametrize("kind", ["twice", "strange", "two heads"])
def test_members_that_no_bundle_has_are_refused(site: MakeSite, stick: Stick, kind: str) -> None:
    """A7. Of two with one name the last one counted, whatever had been looked at before."""
    a, b = site("a"), site("b")
    a.put({"x": b"x"})
    stick.write(a)
    with tarfile.open(stick.path()) as tar, BundleWriter(stick.folder / "2.bundle") as writer:
        for member in tar.getmembers():
            data = tar.extractfile(member).read()  # type: ignore[union-attr]
            names = [member.name]
            if member.name.startswith("artstore-bundle/"):
                more = {"twice": member.name, "strange": "x", "two heads": f"artstore-bundle/{'0' * 64}.json"}
                names.append(more[kind])
            for name in names:
                writer.write(name, [data], len(data))
        writer.publish()
    stick.count += 1

    assert "bundle-damaged" == stick.refused(b)


def test_a_version_without_its_list_of_files_is_not_taken(site: MakeSite, stick: Stick) -> None:
    """It was taken without a word, and `verify` said for good that its list is missing."""
    a, b = site("a"), site("b")
    a.put({"x": b"x"})
    a.put({"y": b"y"})
    a.store.delete("cats:v0", force=True)
    stick.write(a)
    lists = Forger(stick.path(), stick.folder / "2.bundle")
    lists.forge("manifests/", lambda _data: msgspec.msgpack.encode([]))
    head = Forger(stick.folder / "2.bundle", stick.folder / "3.bundle")

    def unsaid(data: bytes) -> bytes:
        said = msgspec.json.decode(data)
        said["projects"][0]["whole"] = []
        return msgspec.json.encode(said)

    head.forge("artstore-bundle/", unsaid)
    stick.count = 3

    assert "bundle-damaged" == stick.refused(b)
    assert [] == b.store.projects()
    stick.count = 1
    assert "" == stick.refused(b)


class Forger:
    """Writes a bundle anew, with one member changed."""

    def __init__(self, source: Path, target: Path) -> None:
        self.source, self.target = source, target

    def forge(self, folder: str, change: Callable[[bytes], bytes]) -> Path:
        with tarfile.open(self.source) as tar, BundleWriter(self.target) as writer:
            for member in tar.getmembers():
                file = tar.extractfile(member)
                assert file is not None
                data, name = file.read(), member.name
                if name.startswith(folder):
                    data = change(data)
                    if name.endswith(".json"):
                        name = f"{name[: -len('.json') - 64]}{Digest.of(data).hex()}.json"
                writer.write(name, [data], len(data))
            writer.publish()
        return self.target


@pytest.mark.parametrize(
    ("folder", "before", "after", "code"),
    [
        ("log/", b'"name":"cats"', b'"name":"../../cats"', "bundle-damaged"),
        ("log/", b'"op":"create"', b'"op":"createx"', "unknown-op"),
        ("artstore-bundle/", b'"project":"uncategorized"', b'"project":"../x"', "bundle-damaged"),
        ("artstore-bundle/", b'"format":1', b'"format":2', "newer-bundle"),
        ("artstore-bundle/", b'"first":1', b'"first":9', "bundle-gap"),
    ],
)
def test_names_from_a_bundle_are_held_to_the_rules_for_names(
    site: MakeSite, stick: Stick, *, folder: str, before: bytes, after: bytes, code: str
) -> None:
    """A1. Whoever makes a bundle would write wherever its names lead."""
    a, b = site("a"), site("b")
    a.put({"x": b"x"})
    stick.write(a)

    def change(data: bytes) -> bytes:
        assert before in data
        return data.replace(before, after)

    forged = Forger(stick.path(), stick.folder / "forged").forge(folder, change)
    stick.count += 1
    forged.rename(stick.path())
    assert code == stick.refused(b)
    assert [] == b.store.projects()


def test_a_path_that_leads_out_is_refused(site: MakeSite, stick: Stick) -> None:
    a, b = site("a"), site("b")
    version = a.put({"x": b"x"})
    stick.write(a)
    evil = f"blake3:{Digest.of(b'x').hex()}\t1\t../../x\n"

    def change(_data: bytes) -> bytes:
        encoding = encode_full(Digest.parse(version.digest), [evil])
        return msgspec.msgpack.encode([encoding], enc_hook=bytes)

    forged = Forger(stick.path(), stick.folder / "forged").forge("manifests/", change)
    stick.count += 1
    forged.rename(stick.path())
    assert "remote-corrupt" == stick.refused(b)
    assert [] == b.store.projects()


def test_a_list_of_very_many_files_in_few_bytes_is_not_taken(
    site: MakeSite, stick: Stick, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bundle of 32 MB would end a machine of 12 GB; and nobody makes one that nobody can take."""
    a, b = site("a"), site("b")
    a.put({f"{number:04}": b"" for number in range(900)})
    stick.write(a)
    monkeypatch.setattr(lengths, "MOST_ENTRIES", 500)

    assert "remote-corrupt" == stick.refused(b)
    assert [] == b.store.collections()
    with pytest.raises(Invalid, match="has 900: put them"):
        stick.write(a)


def test_nothing_is_written_over(site: MakeSite, stick: Stick) -> None:
    a = site("a")
    a.put({"x": b"x"})
    stick.write(a)
    stick.count -= 1

    with pytest.raises(Conflict, match="already"):
        stick.write(a)
    with pytest.raises(MissingFile, match="no folder"):
        Stick(stick.folder / "not-mounted").write(a)
    assert ["1.bundle"] == [path.name for path in stick.folder.iterdir()]


def test_a_receipt_is_looked_at_before_it_is_believed(site: MakeSite, stick: Stick) -> None:
    a = site("a")
    a.put({"x": b"x"})
    good = msgspec.json.encode(a.receipt())
    for bad in (
        b"",
        b"{}",
        b"[" * 100_000,
        good.replace(b"uncategorized", b"../x"),
        b'{"format":1}',
        good.replace(b'"slot":1', b'"slot":-5'),
        random_hex(9).encode(),
    ):
        with pytest.raises(Invalid, match="no receipt"):
            decode_receipt(bad, "'r'")
    with pytest.raises(UpgradeNeeded):
        decode_receipt(good.replace(b'"format":1', b'"format":2'), "'r'")
    assert isinstance(decode_receipt(good, "'r'"), Receipt)
    with pytest.raises(Invalid, match="very store"):
        stick.write(a, since=a.receipt())


def test_a_receipt_that_is_ahead_of_the_log_is_not_taken_for_one_that_has_it_all(site: MakeSite, stick: Stick) -> None:
    a, b = site("a"), site("b")
    a.put({"x": b"x"})
    a.store.close()
    shutil.copytree(a.store.path, a.folder / "copy")
    a.again()
    a.put({"x": b"y"})
    stick.carry(a, b)
    a.store.close()
    a.store = Store.open(a.folder / "copy")

    with pytest.raises(Conflict, match="Apply a bundle of the other side here first"):
        stick.write(a, since=b.receipt())


def test_a_bundle_takes_no_project_away_from_those_who_follow_a_server(
    tmp_path: Path, site: MakeSite, stick: Stick
) -> None:
    """One `bundle apply` in the store of a server, and nobody could push or pull that project there any more."""
    x, away = site("x"), site("away")
    with served(tmp_path / "server") as server:
        one, other = Machine(tmp_path, server.url, "one"), Machine(tmp_path, server.url, "other")
        one.put({"a": b"1"})
        one.push()
        theirs = x.put({"x": b"x"})
        x.put({"z": b"z"}, project="zoo")
        stick.write(x)
        for project in apply_bundle(server.store, stick.path()).projects:
            assert project.error is None
        one.put({"a": b"2"})
        one.put({"b": b"2"}, project="zoo")
        one.move("sync")
        other.pull()
        stick.carry(x, away, join=True)
        away.put({"w": b"w"}, project="away")
        stick.write(away)
        report = apply_bundle(server.store, stick.path(), join=True)

        assert one.names() == other.names()
        assert {"x": b"x"} == other.read(f"cats@{theirs.id}")
        assert ["cats:v0", "cats:v1"] == sorted(each.name for each in other.store.versions("cats", project="zoo"))
        assert {"away": None, "uncategorized": "other-upstream", "zoo": "other-upstream"} == {
            each.project: each.code for each in report.projects
        }
        assert server.store.verify().ok
        one.store.close()
        other.store.close()
