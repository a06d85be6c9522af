"""What a project may take of a server: all of it counts, once, and whoever has too much is told what helps."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import random
import re
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from artstore.cli import main
from artstore.errors import StorageFull
from artstore.model.digest import Digest
from artstore.model.manifest import BlobEntry, digest_of_lines, encode_full
from artstore.storage.blobs import SMALL
from artstore.sync.hosting import quotas, usage
from artstore.sync.http.connection import Connection
from artstore.sync.http.wire import BYTES, MESSAGES, header
from artstore.sync.protocol import encode_manifests
from artstore.sync.room import Room
from artstore.sync.rounds import exchange
from tests.sync.conftest import Machine
from tests.sync.serving import Served, served

PROJECT = "uncategorized"


def _pack(*blobs: bytes) -> bytes:
    return b"".join(header(Digest.of(data), len(data)) + data for data in blobs)


def _takes(server: Served, project: str = PROJECT) -> int:
    return server.hosted.quotas.sizes()[project]


def test_a_project_takes_no_more_than_its_quota(tmp_path: Path) -> None:
    with served(tmp_path / "server", quotas={"": 1000, "large": 3 * SMALL}) as server:
        connection = Connection(server.url)
        connection.ask("POST", "projects/cats/packs", _pack(b"1" * 600), doing="sending")
        for path in ("projects/cats/packs", "projects/dogs/packs", "projects/large/packs"):
            if "cats" in path:
                with pytest.raises(StorageFull, match="1000 bytes"):
                    connection.ask("POST", path, _pack(b"2" * 600), doing="sending")
            else:
                connection.ask("POST", path, _pack(b"2" * 600), doing="sending")
        headers = {"Upload-Offset": "0", "Upload-Length": str(4 * SMALL)}
        with pytest.raises(StorageFull, match="do not fit"):
            connection.ask("PUT", f"projects/large/uploads/{'0' * 64}", b"", doing="sending", headers=headers)


def test_lists_of_files_count_and_end_where_nobody_names_them(tmp_path: Path) -> None:
    """Whoever may write could fill the disk with them, which no quota and no `gc` would know of."""
    with served(tmp_path / "server", quotas={"": 20_000}) as server:
        connection = Connection(server.url)
        chance = random.Random(1)
        lines = [BlobEntry(f"{number:03}", Digest(chance.randbytes(32)), 1).line() for number in range(200)]
        body = encode_manifests([encode_full(digest_of_lines(lines), lines)])
        names = [f"projects/cats/manifests/{number:032}" for number in range(3)]
        for name in names[:2]:
            connection.ask("PUT", name, body, doing="sending")
        with pytest.raises(StorageFull, match="20000 bytes"):
            connection.ask("PUT", names[2], body, doing="sending")
        tree = tmp_path / "tree"
        tree.mkdir()
        (tree / "x").write_bytes(b"x")
        server.store.put([tree], name="c", type="t", project="cats")
        server.hosted.heads()
        objects = sorted((server.store.path / "hosted" / "manifests" / "cats").iterdir())
        for path in objects:
            os.utime(path, (1, 1))
        server.hosted.rest()

        assert 3 == len(objects)
        assert objects[2:] == [path for path in objects if path.exists()]
        connection.ask("PUT", names[2], body, doing="sending")


def test_a_quota_is_given_back_when_versions_are_deleted_and_collected(tmp_path: Path) -> None:
    """Else a project that deletes what it does not need would be full for ever; and others lose nothing by it."""
    one, two, three, four = ({"a": bytes([number]) * 100_000} for number in range(1, 5))
    with served(tmp_path / "server", quotas={"": 250_000}) as server:
        a, b = (Machine(tmp_path, server.url, name) for name in "ab")
        for project, content in (("farm", one), ("farm", two), ("zoo", one), ("zoo", two)):
            a.put(content, project=project)
        a.push()
        for deleted in ("farm/cats:v0", "zoo/cats:v1"):
            a.store.delete(deleted, everywhere=True, force=True)
        a.put(three, project="zoo")
        code = exchange(a.store, "push", projects=["zoo"]).projects[0].code
        a.store.delete("zoo/cats:v2")
        a.push()
        server.hosted.rest(0)
        server.store.gc(grace_s=0)
        server.hosted.rest(0)
        a.put(four, project="zoo")
        a.push()
        sizes = server.hosted.quotas.sizes()
        b.move("pull", blobs=True)

        assert "quota-exceeded" == code
        assert {"farm": 1, "zoo": 2} == {project: size // 100_000 for project, size in sizes.items()}
        assert [two, one, four] == [b.read(each) for each in ("farm/cats", "zoo/cats:v0", "zoo/cats")]
    (tmp_path / "server" / "hosted" / "granted.db").unlink()
    with served(tmp_path / "server") as server:
        server.hosted.heads()
        assert sizes == server.hosted.quotas.sizes()
    for each in (a, b):
        each.store.close()


def test_what_gc_has_kept_for_the_server_still_counts(tmp_path: Path) -> None:
    """With a `gc` every ten minutes a project took twelve times its quota in the two hours that it is kept for."""
    with served(tmp_path / "server", quotas={"": 150_000}) as server:
        a = Machine(tmp_path, server.url, "a")
        taken: list[bool] = []
        for number in range(3):
            a.put({"a": bytes([number]) * 100_000})
            taken.append(exchange(a.store, "push").projects[0].code is None)
            a.store.delete(f"cats:v{number}", everywhere=True, force=True)
            a.push()
            server.store.gc(grace_s=0)
            if number:
                server.hosted.rest(0)
        server.store.gc(grace_s=0)
        a.put({"a": b"x" * 100_000})
        taken.append(exchange(a.store, "push").projects[0].code is None)
        a.store.close()

    assert [True, False, False, True] == taken


def test_what_nobody_named_counts_until_gc_has_freed_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It ended when the project's last slot came, long before it: a quota was given back, and nothing of it freed."""
    with served(tmp_path / "server", quotas={"": 150_000}) as server:
        a = Machine(tmp_path, server.url, "a")
        a.put({"a": b"1"})
        a.push()
        a.store.close()
        for _ in range(3):
            server.store.gc(grace_s=0)
            server.hosted.rest(0)
        Connection(server.url).ask("POST", f"projects/{PROJECT}/packs", _pack(b"2" * 100_000), doing="sending")
        # As hours later.
        monkeypatch.setattr(quotas, "TURN_S", -10.0)
        taken: list[bool] = []
        for _ in range(2):
            server.hosted.quotas._looked.clear()
            server.hosted.rest(0)
            taken.append(_takes(server) > 100_000)
            server.store.gc(grace_s=0)
        server.hosted.quotas._looked.clear()

        assert [True, False] == [taken[0], _takes(server) > 100_000]


def test_what_is_given_back_says_nothing_of_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who has a file, or guesses it, could ask whether another project has it: it went sooner then."""
    with served(tmp_path / "server", quotas={"mine": 10_000_000}) as server:
        connection = Connection(server.url)
        (theirs, nobodys) = (os.urandom(SMALL + 1) for _ in range(2))

        def send(project: str, data: bytes) -> None:
            headers = {"Upload-Offset": "0", "Upload-Length": str(len(data))}
            path = f"projects/{project}/uploads/{Digest.of(data).hex()}"
            connection.ask("PUT", path, data, doing="sending", headers=headers)

        def has(data: bytes) -> bool:
            return server.hosted.blobs.lacks("mine", [Digest.of(data)]) == []

        send("theirs", theirs)
        for data in (theirs, nobodys):
            send("mine", data)
        with pytest.raises(StorageFull):
            send("mine", os.urandom(10_000_000))

        assert [True, True] == [has(data) for data in (theirs, nobodys)]
        # As hours later.
        monkeypatch.setattr(quotas, "TURN_S", -10.0)
        server.hosted.quotas._looked.clear()
        before = _takes(server, "mine")
        server.hosted.rest()

        assert [False, False] == [has(data) for data in (theirs, nobodys)]
        assert before == _takes(server, "mine")


@pytest.mark.parametrize("is_ahead", [False, True], ids=["", "by a clock that was years ahead then"])
def test_what_came_for_a_project_that_never_began_does_not_count_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, is_ahead: bool
) -> None:
    """`gc` had freed it, and `artstore status` went on counting it, as long as nobody else sent anything."""
    with served(tmp_path / "server", quotas={"": 1000}) as server:
        with monkeypatch.context() as patch:
            if is_ahead:
                patch.setattr(time, "time", lambda: time.time_ns() / 1e9 + 1e8)
            Connection(server.url).ask("POST", "projects/cats/packs", _pack(b"1" * 600), doing="sending")
        before = usage.served(server.store)
        if not is_ahead:
            monkeypatch.setattr(quotas, "TURN_S", -10.0)
        server.hosted.rest(0)
        server.store.gc(grace_s=0)
        server.hosted.rest()

        assert [("cats", 600)] == [(each.project, each.bytes) for each in before]
        assert [] == usage.served(server.store)


def test_what_does_not_fit_into_a_quota_holds_up_nothing_else(tmp_path: Path) -> None:
    """Least of all the end of other versions, which is the way out."""
    with served(tmp_path / "server", quotas={"": 250_000}) as server:
        a, b = (Machine(tmp_path, server.url, name) for name in "ab")
        for content in (b"1", b"2"):
            a.put({"a": content * 50_000})
        a.push()
        a.put({str(part): bytes([part]) * 90_000 for part in range(3)}, name="large")
        a.put({"a": b"3" * 50_000})
        a.put({"a": b"small"}, name="small")
        a.store.delete("cats:v0", everywhere=True, force=True)
        taken = server.hosted.quotas.sizes()["uncategorized"]
        foretold, report = (exchange(a.store, "push", dry_run=dry).projects[0] for dry in (True, False))
        b.move("pull", blobs=True)

        assert (7, "quota-exceeded") == (report.exit_code, report.code)
        assert "large:v0 cannot be sent yet" in str(report.error)
        assert (report.pushed.ops, report.code) == (foretold.pushed.ops, foretold.code)
        assert ["cats:v2", "cats:v1"] == [name for name, _, _ in b.names()]
        assert {"a": b"small"} == b.read("small")
        assert 60_000 > server.hosted.quotas.sizes()["uncategorized"] - taken
        for each in (a, b):
            each.store.close()


def test_metadata_counts_and_what_has_too_much_of_it_holds_up_nothing_else(tmp_path: Path) -> None:
    """A slot may carry 64 MiB of it, so whoever may write could fill the disk, and no quota knew."""
    with served(tmp_path / "server", quotas={"": 300_000}) as server:
        a, b = (Machine(tmp_path, server.url, name) for name in "ab")
        a.put({"a": b"0"})
        a.put({"a": b"1"}, metadata={"words": "x" * 200_000})
        a.push()
        taken = _takes(server)
        a.put({"a": b"2"}, name="large", metadata={"words": "y" * 200_000})
        a.put({"a": b"3"}, name="small")
        a.store.set_metadata("small", {"words": "z" * 200_000})
        a.store.delete("cats:v0", everywhere=True, force=True)
        (report,) = exchange(a.store, "push").projects
        b.pull()

        assert 200_000 < taken
        assert (7, "quota-exceeded") == (report.exit_code, report.code)
        assert "large:v0 and 1 change cannot be sent yet" in str(report.error)
        assert "may take 300000 bytes" in str(report.error)
        assert ["cats:v1"] == [name for name, _, _ in b.names()]
        assert {"a": b"3"} == b.read("small")
        assert 300_000 > _takes(server)
        for each in (a, b):
            each.store.close()


def test_a_project_that_is_full_can_delete_and_is_told_what_that_cannot_give_back(tmp_path: Path) -> None:
    """It is the way out, and must not need the room that it makes; of a log nothing is ever removed."""
    with served(tmp_path / "server", quotas={"": 250_000}) as server:
        a = Machine(tmp_path, server.url, "a")
        for content in (b"1", b"2"):
            a.put({"a": content * 100_000})
        a.push()
        left = 250_000 - _takes(server)
        Connection(server.url).ask("POST", f"projects/{PROJECT}/packs", _pack(b"3" * (left - 100)), doing="sending")
        a.store.delete("cats:v0", everywhere=True, force=True)
        a.store.tag("cats:v1", ["kept"])
        (full,) = exchange(a.store, "push").projects
        deleted = [each.number for each in server.store.versions("cats")]
        server.hosted.rest(0)
        server.store.gc(grace_s=0)
        (freed,) = exchange(a.store, "push").projects
        a.store.set_metadata("cats:v1", {"words": "x" * 300_000})
        (never,) = exchange(a.store, "push").projects

        assert ("quota-exceeded", [1], None) == (full.code, deleted, freed.error)
        assert "Delete versions everywhere" in str(full.error)
        assert "`artstore serve --quota`" in str(never.error)
        assert "never get smaller" in str(never.error)
        assert "Delete" not in str(never.error)
        a.store.close()


def test_a_large_blob_counts_once_while_it_comes(tmp_path: Path) -> None:
    """What had come of it counted beside what was reserved for all of it, so half of a quota refused what fitted."""
    size = 4 * SMALL
    data = random.Random(1).randbytes(size)
    digest = Digest.of(data)
    path = f"projects/cats/uploads/{digest.hex()}"
    rooms: list[int] = []
    with served(tmp_path / "server", quotas={"": 2 * size}) as server:
        connection = Connection(server.url)

        def body() -> Iterator[bytes]:
            yield data[SMALL : 3 * SMALL]
            while 3 * SMALL > server.hosted.blobs.stand("cats", digest).offset:
                time.sleep(0.01)
            rooms.append(_room(server))
            yield data[3 * SMALL :]

        headers = {"Upload-Offset": "0", "Upload-Length": str(size)}
        connection.ask("PUT", path, data[:SMALL], doing="sending", headers=headers)
        rooms.append(_room(server))
        headers |= {"Upload-Offset": str(SMALL), "Content-Length": str(size - SMALL)}
        with connection.open("PUT", path, body(), doing="sending", kind=BYTES, headers=headers):
            rooms.append(_room(server))

        assert [2 * size - SMALL, size, size] == rooms
        assert size == _takes(server, "cats")


def test_the_numbers_for_prometheus_are_those_of_status(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Who sees that a disk fills asks both, and would not know which one to believe."""
    with served(tmp_path / "server", quotas={"cats": 5_000_000}) as server:
        a = Machine(tmp_path, server.url, "a")
        a.put({"a": b"1" * 1000}, project="cats", metadata={"words": "x" * 1000})
        a.push()
        connection = Connection(server.url)
        connection.ask("POST", "projects/dogs/packs", _pack(b"22"), doing="sending")
        headers = {"Upload-Offset": "0", "Upload-Length": str(4 * SMALL)}
        connection.ask("PUT", f"projects/cats/uploads/{'0' * 64}", b"333", doing="sending", headers=headers)
        (tmp_path / "b").write_bytes(b"4" * 500)
        server.store.put([tmp_path / "b"], name="own", type="dataset", project="cats")
        server.hosted.heads()
        text = _metrics(server)
        main(["--store", str(server.store.path), "status", "--json"])
        told = {each["project"]: each for each in json.loads(capsys.readouterr().out)["served"]}
        main(["--store", str(server.store.path), "status"])
        shown = capsys.readouterr().out
        a.store.close()

    assert {"cats": 1500, "dogs": 2} == {project: each["blob_bytes"] for project, each in told.items()}
    assert told["cats"]["bytes"] == sum(told["cats"][f"{part}_bytes"] for part in ("blob", "list", "log", "coming"))
    assert 3 == told["cats"]["coming_bytes"]
    assert {project: each["bytes"] for project, each in told.items()} == {
        project: float(size) for project, size in re.findall(r'artstore_project_bytes{project="(\w+)"} (\S+)', text)
    }
    assert 'artstore_project_quota_bytes{project="cats"} 5e+06' in text
    assert "dogs: 2 B" in shown


def test_the_numbers_fall_when_gc_has_freed_something(tmp_path: Path) -> None:
    """Who watches them would look for what is no more, until the next slot comes, be it in a month."""
    with served(tmp_path / "server") as server:
        a = Machine(tmp_path, server.url, "a")
        a.put({"a": b"1" * 9_000}, project="cats")
        a.push()
        before = _counted(server)
        a.store.delete("cats:v0", everywhere=True, project="cats")
        a.push()
        server.hosted.rest(0)
        server.store.gc(grace_s=0)
        after = _counted(server)
        a.store.close()

    assert before - 9_000 <= after < before - 8_000


def _counted(server: Served) -> float:
    (size,) = re.findall(r'artstore_project_bytes{project="cats"} (\S+)', _metrics(server))
    return float(size)


def _metrics(server: Served) -> str:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    with contextlib.closing(connection):
        connection.request("GET", "/metrics")
        return connection.getresponse().read().decode()


def _room(server: Served) -> int:
    body = msgspec.msgpack.encode(([], []))
    answer = Connection(server.url).ask("POST", "projects/cats/lacks", body, doing="asking", kind=MESSAGES)
    room = msgspec.convert(msgspec.msgpack.decode(answer.data)[2], Room)
    return room.left
