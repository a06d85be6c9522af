"""Remote: the places that this store replicates to."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click
import msgspec

from artstore.cli.completing import collections
from artstore.cli.discovery import open_store, project_of
from artstore.cli.moving import render
from artstore.cli.options import Call, Place, Verb, verb
from artstore.cli.output import emit, say, table
from artstore.cli.progress import progress
from artstore.cli.staying import words_of
from artstore.discovery import heed_tokens
from artstore.sync.adopt import add_upstream
from artstore.sync.choice import picks
from artstore.sync.leave import leave
from artstore.sync.recover import recover as recover_remote
from artstore.sync.remotes import add_remote, find_remote, list_remotes, read_remotes, try_remote
from artstore.sync.standing import noting
from artstore.sync.staying import staying

if TYPE_CHECKING:
    from collections.abc import Sequence

    from artstore.sync.reports import RemoteInfo


class Words(Verb, click.Group):
    """A command that has commands of its own."""


remote = Words(
    "remote",
    help="Name the places that this store replicates to.",
    examples=("artstore remote add hub file:///shared/depot --upstream", "artstore remote ls"),
)


@verb(
    "artstore remote add hub file:///shared/depot --upstream --join",
    "artstore remote add hub https://hub.example --upstream --token-file ~/token",
    "artstore remote add hub file:///shared/depot --upstream --as zoo=my-zoo",
)
@click.argument("name")
@click.argument("url")
@click.option("--upstream", is_flag=True, help="Push to it and pull from it: its order numbers the versions.")
@click.option(
    "--join",
    is_flag=True,
    help="Follow its log also where a project has one of its own already: what was made here comes behind it.",
)
@click.option(
    "--as",
    "aside",
    metavar="[PROJECT=]NAME",
    multiple=True,
    help="Where the upstream has another log of PROJECT, call what this store has in it NAME from now on; repeatable.",
)
@click.option(
    "--background",
    is_flag=True,
    help="Push what is committed without being asked: a process of its own does, and nobody waits for it.",
)
@click.option(
    "--only",
    metavar="COLLECTION",
    multiple=True,
    shell_complete=collections,
    help="Push this collection and no other, as NAME or PROJECT/NAME; repeatable.",
)
@click.option("--token-file", type=Place(path_type=Path), metavar="FILE", help="Where the token for a server is.")
def add(
    call: Call,
    *,
    name: str,
    url: str,
    upstream: bool,
    join: bool,
    aside: tuple[str, ...],
    background: bool,
    only: tuple[str, ...],
    token_file: Path | None,
) -> None:
    """Note a remote, having tried whether it does what it must.

    URL is a server, https://HOST (see `artstore serve`), a folder that all machines see, file:///shared/depot, a
    bucket, s3://BUCKET/PREFIX or gs://BUCKET/PREFIX, or a folder of a host that SSH reaches, sftp://USER@HOST/PATH. The
    bytes of versions are fetched from any remote that has them; versions are pushed to the upstream and pulled from it,
    and a store has one at most. A folder or a bucket beside it is a mirror, for those who cannot reach the upstream:
    `artstore push NAME` copies there what this store knows, and `artstore pull NAME` takes what others have copied.
    A project that has versions both here and there, made apart, is not put together unasked: with --join what was made
    here comes behind theirs, under new numbers where need be; with --as it becomes a project of another name, here and
    there, with its own numbers. An upstream that is found at another URL now, with the same logs, takes the place of
    the one that was noted. With --background, whoever commits begins a process that pushes and pulls, and goes on
    at once; that process ends by itself, and `artstore status` shows how it went. With --only the other collections
    stay on this machine, with the runs that made nothing of these; what others push is pulled whole, with `artstore
    pull --blobs` also the bytes of all. A collection stays chosen when it is renamed, and `artstore remote ls` shows
    what is, and what waits of the others. The token that a server wants is read from --token-file whenever it is
    needed, or else taken from ARTSTORE_TOKEN, which is for the server in ARTSTORE_SERVER alone, or from tokens.toml in
    the user's folder for configuration.
    """
    heed_tokens()
    if aside and not upstream:
        message = "--as is about the log of an upstream: add --upstream"
        raise click.UsageError(message)
    renamed = {old: new for old, _, new in (each.rpartition("=") for each in aside)}
    chosen = [each if "/" in each else f"{project_of(call)}/{each}" for each in only]
    with open_store(call) as store:
        if upstream:
            info = add_upstream(
                store,
                name,
                url,
                join=join,
                background=background,
                only=chosen,
                aside=renamed,
                token_file=token_file,
            )
        else:
            info = add_remote(
                store.path,
                name,
                url,
                upstream=False,
                join=join,
                background=background,
                only=picks(store.root, chosen),
                token_file=token_file,
            )
    emit(call, info, render_remote)


@verb("artstore remote ls")
def ls(call: Call) -> None:
    """List the remotes."""
    with open_store(call) as store:
        stays = {name: staying(store.root, settings) for name, settings in read_remotes(store.path).items()}
        infos = [msgspec.structs.replace(each, stays=stays.get(each.name)) for each in list_remotes(store.root)]
        emit(call, infos, render_remotes)


@verb("artstore remote rm hub", "artstore remote rm hub --force")
@click.argument("name")
@click.option("--force", is_flag=True, help="Forget it although it may have the only bytes of what was evicted here.")
def rm(call: Call, *, name: str, force: bool) -> None:
    """Forget a remote; nothing that is there, or came from there, is touched.

    It is refused where versions were evicted here whose bytes no other remote is known to have.
    """
    with open_store(call) as store:
        emit(call, leave(store, name, force=force), render_removed)


@verb("artstore remote test hub")
@click.argument("name")
def test(call: Call, *, name: str) -> None:
    """Try whether a remote can be reached, and does what it must."""
    with open_store(call) as store:
        settings = find_remote(read_remotes(store.path), name)
        with nullcontext() if store.read_only else noting(store.root, name):
            read_only = try_remote(settings)
    found = {"name": name, "url": settings.url, "ok": True, "read_only": read_only}
    emit(call, found, lambda _found: say(f"{name} is fit{_READS if read_only else ''}: {settings.url}"))


@verb("artstore remote recover", "artstore remote recover stick --read-all")
@click.argument("name", required=False)
@click.option("--read-all", is_flag=True, help="Read all bytes there, to find also those that were changed in place.")
@click.option(
    "--damaged",
    metavar="DIGEST",
    multiple=True,
    help="Read this blob or list of files there, and no other; repeatable.",
)
@click.option(
    "--drop-unreadable",
    is_flag=True,
    help="Take away the last slot of a log in a depot, where it cannot be read and no store has counted it.",
)
def recover(call: Call, *, name: str | None, read_all: bool, damaged: tuple[str, ...], drop_unreadable: bool) -> int:
    """Give a remote, or else the upstream, again what it has lost: bytes, lists of files, or a part of its log.

    Blobs and lists of files of a depot that are gone or have another length are sent again by a store that has them, as
    one listing of each folder shows; with --read-all those too whose bytes were changed. Who met damage was told its
    digest: with --damaged only that is looked at. A mirror is mended in the same way, and brought up to date as by a
    push. A server is asked what it lacks. What is not here either is named, with the store that sent it: run this there
    too.

    A store remembers how far it has followed the upstream's log. Where that was restored from an older copy, nothing is
    moved until this offers it what is missing, in the same order and with all that this store knows of others' changes.
    Slots that a server has lost, or a depot between others, are put back as they were. Nothing is done where the place
    has another log by now.

    Where the last slot of a depot's log cannot be read, as one of no bytes after a crash there, nobody can push or pull
    that project. Run this in the stores that use it: one that had counted that slot puts it back. Where none had,
    --drop-unreadable takes it away.
    """
    with open_store(call) as store, progress(call) as watcher:
        report = recover_remote(
            store, name, read_all=read_all, damaged=damaged, drop_unreadable=drop_unreadable, progress=watcher
        )
    emit(call, report, render)
    return max((project.exit_code for project in report.projects), default=0)


for command in (add, ls, rm, test, recover):
    remote.add_command(command)


_READS: Final = " to pull from, and its token may not push"


def render_remote(info: RemoteInfo) -> None:
    """Say what was noted."""
    kind = f", the upstream{', in the background' if info.background else ''}" if info.upstream else ""
    only = f", for {', '.join(info.only)}" if info.only else ""
    before = f", in the place of {info.moved_from}: the same log" if info.moved_from else ""
    say(f"noted {info.name}{_READS if info.read_only else ''}: {info.url}{kind}{only}{before}")
    _say_unknown(info)


def render_removed(info: RemoteInfo) -> None:
    """Say what was forgotten."""
    say(f"forgot {info.name}: {info.url}")


def render_remotes(infos: Sequence[RemoteInfo]) -> None:
    """Write one line a remote."""
    rows = [
        (
            each.name,
            each.url,
            ("in the background" if each.background else "yes") if each.upstream else "",
            ", ".join(each.only),
        )
        for each in infos
    ]
    table(("name", "url", "upstream", "only"), rows)
    for each in infos:
        _say_unknown(each)
        if stays := words_of(each.stays):
            say(f"{each.name}: {stays}", style="yellow")


def _say_unknown(info: RemoteInfo) -> None:
    for name in info.unknown:
        say(f"no collection is called {name} yet: the first one that will be is pushed", style="yellow")
