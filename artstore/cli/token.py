"""Token: who may push to this store, and pull from it, when it is served."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import click

from artstore.cli.discovery import open_store
from artstore.cli.options import Call, Verb, duration, verb
from artstore.cli.output import emit, note, say, table
from artstore.sync.hosting.tokens import NewToken, TokenInfo, create_token, list_tokens, revoke_token
from artstore.units import moment

if TYPE_CHECKING:
    from collections.abc import Sequence


class Words(Verb, click.Group):
    """A command that has commands of its own."""


token = Words(
    "token",
    help="Say who may push to this store and pull from it, when it is served.",
    examples=("artstore token create --scope write --project cats > token", "artstore token ls"),
)


@verb("artstore token create --scope write --project cats > token", "artstore token create --scope read --expires 30d")
@click.option(
    "--scope",
    type=click.Choice(["read", "write", "admin"]),
    required=True,
    help="read: pull. write: push, too. admin: see how the server is, too.",
)
@click.option("--expires", type=duration, metavar="DURATION", help="End it after, for example, 12h or 30d.")
def create(call: Call, *, scope: Literal["read", "write", "admin"], expires: float | None) -> None:
    """Make a token, and print it: this once, since nothing keeps it.

    With --project it is for that project alone; without, for all, and for the pages that show them. Who has it gives it
    to `artstore remote add --token-file`, or in ARTSTORE_TOKEN.
    """
    with open_store(call) as store:
        made = create_token(store.path, scope=scope, project=call.project, expires_s=expires)
    emit(call, made, render_new)


@verb("artstore token ls")
def ls(call: Call) -> None:
    """List the tokens, without what makes them good."""
    with open_store(call) as store:
        emit(call, list_tokens(store.path), render_tokens)


@verb("artstore token revoke 3f9a01c2")
@click.argument("id")
def revoke(call: Call, *, id: str) -> None:
    """End a token now, also for a server that is running."""
    with open_store(call) as store:
        emit(call, revoke_token(store.path, id), render_revoked)


for command in (create, ls, revoke):
    token.add_command(command)


def render_new(made: NewToken) -> None:
    """Write the token, and nothing else, to standard output."""
    say(made.token)
    note(f"token {made.info.id}: {_about(made.info)}; it is shown this once")


def render_revoked(info: TokenInfo) -> None:
    """Say what ended."""
    say(f"revoked {info.id}: {_about(info)}")


def render_tokens(infos: Sequence[TokenInfo]) -> None:
    """Write one line a token."""
    rows = [
        (
            each.id,
            each.scope,
            each.project or "all",
            moment(each.created_at),
            "never" if each.expires_at is None else moment(each.expires_at),
        )
        for each in infos
    ]
    table(("id", "scope", "project", "created", "expires"), rows)


def _about(info: TokenInfo) -> str:
    where = "all projects" if info.project is None else f"project {info.project!r}"
    return f"{info.scope}, {where}"
