"""A backup of a server is a server: with the logs as they were claimed, and those who may ask for them."""

from __future__ import annotations

import operator
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from artstore.errors import Conflict, Denied
from artstore.lifecycle import backup
from artstore.sync.hosting.tokens import create_token, list_tokens, revoke_token
from artstore.sync.recover import recover
from artstore.sync.remotes import add_remote, read_remotes, remove_remote
from artstore.sync.rounds import exchange
from tests.sync.conftest import Machine
from tests.sync.serving import Served, served

Make = Callable[..., Machine]
LARGE = os.urandom(1 << 20) * 3


def machine_at(folder: Path, server: Served, name: str, token: Path) -> Machine:
    return Machine(folder, server.url, name, token_file=token)


def move_to(machine: Machine, server: Served, token: Path) -> None:
    remove_remote(machine.store.path, "hub")
    add_remote(machine.store.path, "hub", server.url, upstream=True, join=False, token_file=token)


def test_a_backup_of_a_server_goes_on_in_its_place(tmp_path: Path) -> None:
    """Whoever followed the one that was lost goes on with the copy, and nothing is sent again."""
    token = tmp_path / "token"
    with served(tmp_path / "server") as server:
        token.write_text(create_token(server.store.path, scope="write", project=None, expires_s=None).token)
        a = machine_at(tmp_path, server, "a", token)
        a.put({"x": b"small", "large": LARGE}, aliases=["best"])
        a.push()
        add_remote(server.store.path, "mirror", f"file://{tmp_path}", upstream=False, join=False)
        report = server.store.backup(tmp_path / "copy")
    with served(tmp_path / "copy") as copy:
        b = machine_at(tmp_path, copy, "b", token)
        b.pull()
        move_to(a, copy, token)
        nothing = a.push()
        a.put({"x": b"more"})
        a.push()
        b.pull()

        assert [] == report.missing
        assert [] == [each for each in nothing.projects if each.pushed.ops or each.pulled.ops]
        assert {"x": b"small", "large": LARGE} == b.read("cats:best")
        assert {"x": b"more"} == b.read("cats:v1")
        assert a.names() == b.names()
        with pytest.raises(Denied):
            add_remote(b.store.path, "other", copy.url, upstream=False, join=False)
    assert 0o600 == stat.S_IMODE((tmp_path / "copy" / "tokens.json").stat().st_mode)
    assert ["mirror"] == list(read_remotes(tmp_path / "copy"))
    for each in (a, b):
        each.store.close()


def test_what_the_server_alone_had_is_given_up_by_who_is_told_how(tmp_path: Path) -> None:
    """Each push failed for good, since the message sent everybody to the server, which has nothing to recover."""
    with served(tmp_path / "server") as server:
        a = Machine(tmp_path, server.url, "a")
        a.put({"x": b"0"})
        a.push()
        server.store.backup(tmp_path / "copy")
        (tmp_path / "y").write_bytes(b"made there")
        server.store.put([tmp_path / "y"], name="cats", type="dataset")
        a.pull()
    with served(tmp_path / "copy") as copy:
        remove_remote(a.store.path, "hub")
        add_remote(a.store.path, "hub", copy.url, upstream=True, join=False)
        (report,) = recover(a.store).projects
        (again,) = exchange(a.store, "push").projects
        a.store.delete("cats:v1", everywhere=True)
        a.push()
        b = Machine(tmp_path, copy.url, "b")
        b.pull()

        assert "The server made it itself" in str(report.error)
        assert "let that one recover first" not in str(report.error)
        for told in (report, again):
            assert "`artstore delete uncategorized/cats:v1 --everywhere` gives that version up" in str(told.error)
        assert ["cats:v0"] == [name for name, *_ in b.names()] == [name for name, *_ in a.names()]
    for each in (a, b):
        each.store.close()


@pytest.mark.parametrize(
    "step", ["_copy_catalog", "_Copy._stage_log", "Served.list_slots", "_Copy._copy_bytes", "_Copy.publish"]
)
def test_what_is_claimed_meanwhile_is_in_the_copy_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """Whenever that is: the copy's journal is never ahead of its log, and no version there lacks its bytes."""
    owner, _, name = f"artstore.lifecycle.backup.{step}".rpartition(".")
    with served(tmp_path / "server") as server:
        a = Machine(tmp_path, server.url, "a")
        a.put({"x": b"0"})
        a.push()
        original = operator.attrgetter(step)(backup)

        def pushed_before(*arguments: Any) -> Any:
            a.put({"x": os.urandom(10), "large": os.urandom(1 << 21)})
            a.push()
            return original(*arguments)

        monkeypatch.setattr(f"{owner}.{name}", pushed_before)
        assert [] == server.store.backup(tmp_path / "copy").missing
        monkeypatch.undo()
        made = a.names()
        a.store.close()
    with served(tmp_path / "copy") as copy:
        b = Machine(tmp_path, copy.url, "b")
        b.move("pull", blobs=True)

        assert [] == copy.store.verify().problems
        found = [(number, id_) for number, id_, _aliases in b.names()]
        assert found == [(number, id_) for number, id_, _aliases in made][-len(found) :]
        assert len(found) > 1 or step in {"_Copy._copy_bytes", "_Copy.publish"}
        for number, _id in found[:-1]:
            assert {"large", "x"} == set(b.read(number))
        b.store.close()


def test_the_next_backup_writes_what_is_new_and_lets_in_whom_the_server_does(tmp_path: Path) -> None:
    with served(tmp_path / "server") as server:
        a = Machine(tmp_path, server.url, "a")
        a.put({"x": b"0"})
        a.push()
        store = server.store
        made = create_token(store.path, scope="read", project=None, expires_s=None)
        store.backup(tmp_path / "copy")
        again = store.backup(tmp_path / "copy")
        revoke_token(store.path, made.info.id)
        store.backup(tmp_path / "copy")
        a.store.close()

    assert 0 == again.copied_files + again.reflinked_files
    assert [] == list_tokens(tmp_path / "copy")
    assert (tmp_path / "copy" / "tokens.json").exists()


def test_a_copy_that_is_served_is_left_alone(tmp_path: Path) -> None:
    with served(tmp_path / "server") as server:
        a = Machine(tmp_path, server.url, "a")
        a.put({"x": b"0"})
        a.push()
        server.store.backup(tmp_path / "copy")
        with served(tmp_path / "copy"), pytest.raises(Conflict):
            server.store.backup(tmp_path / "copy")
        a.store.close()
