"""Label: what may change about a version that itself never does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click
import msgspec

from artstore.cli.completing import references
from artstore.cli.discovery import open_store, project_of
from artstore.cli.json_values import assignment
from artstore.cli.options import Call, duration, verb
from artstore.cli.output import emit, say
from artstore.plain import plain
from artstore.units import duration as written_duration

if TYPE_CHECKING:
    from artstore.lifecycle.reports import AliasedInfo, CollectionInfo, VersionInfo


@verb("artstore alias cats:v3 best production", "artstore alias cats:v3 best --remove")
@click.argument("ref", shell_complete=references)
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
@click.option("--remove", is_flag=True, help="Take these aliases away from the version.")
def alias(call: Call, *, ref: str, names: tuple[str, ...], remove: bool) -> None:
    """Move aliases to a version, or take them away.

    An alias stands on one version of its collection at a time: where it stood before, it stands no more.
    """
    with open_store(call) as store:
        if remove:
            emit(call, store.unalias(ref, names, project=project_of(call)), render_aliases)
        else:
            emit(call, store.alias(ref, names, project=project_of(call)), render_moved)


@verb(
    "artstore tag cats:v3 reviewed", "artstore tag cats:v3 reviewed --remove", "artstore tag cats public --collection"
)
@click.argument("ref", metavar="REF|NAME", shell_complete=references)
@click.argument("names", metavar="TAG...", nargs=-1, required=True)
@click.option("--collection", "is_collection", is_flag=True, help="The collection NAME, and not its latest version.")
@click.option("--remove", is_flag=True, help="Take these tags away.")
def tag(call: Call, *, ref: str, names: tuple[str, ...], is_collection: bool, remove: bool) -> None:
    """Put tags on a version or a collection, or take them away.

    Many may carry one tag.
    """
    project = project_of(call)
    with open_store(call) as store:
        if is_collection:
            change_collection = store.untag_collection if remove else store.tag_collection
            emit(call, change_collection(ref, names, project=project), render_tags)
        else:
            change = store.untag if remove else store.tag
            emit(call, change(ref, names, project=project), render_tags)


@verb("artstore describe cats:v3 'cleaned, without duplicates'", "artstore describe cats 'photos of cats'")
@click.argument("name", metavar="REF|NAME", shell_complete=references)
@click.argument("text")
def describe(call: Call, *, name: str, text: str) -> None:
    """Set the description of a version or a collection.

    cats:v3 is a version, cats alone the collection. An empty TEXT takes the description away.
    """
    with open_store(call) as store:
        emit(call, store.describe(name, text, project=project_of(call)), render_description)


@verb(
    "artstore metadata resnet:v3",
    "artstore metadata resnet:v3 accuracy=0.93 note=final --remove draft",
)
@click.argument("ref", shell_complete=references)
@click.argument("values", metavar="[KEY=VALUE]...", nargs=-1, type=assignment)
@click.option("--remove", metavar="KEY", multiple=True, help="Take this key away; repeatable.")
def metadata(call: Call, *, ref: str, values: tuple[tuple[str, Any], ...], remove: tuple[str, ...]) -> None:
    """Show or change a version's metadata.

    A VALUE that is JSON is kept as such (0.93, true, null, [1, 2], "0.93"), everything else as text.
    """
    project = project_of(call)
    with open_store(call) as store:
        if values or remove:
            version = store.set_metadata(ref, dict(values), remove=remove, project=project)
        else:
            version = store.version(ref, project=project)
    emit(call, version, render_metadata)


@verb("artstore ttl cats:v3 30d", "artstore ttl cats:v3 --never")
@click.argument("ref", shell_complete=references)
@click.argument("length", metavar="DURATION", required=False, type=duration)
@click.option("--never", is_flag=True, help="Keep it for good.")
def ttl(call: Call, *, ref: str, length: float | None, never: bool) -> None:
    """Say how long a version is wanted.

    Counted from when the version was made; afterwards artstore prune deletes it.
    """
    if never == (length is not None):
        message = "say either a DURATION or --never"
        raise click.UsageError(message)
    with open_store(call) as store:
        emit(call, store.set_ttl(ref, length, project=project_of(call)), render_ttl)


def render_aliases(version: VersionInfo) -> None:
    """Say which aliases stand on the version now."""
    named = version.link or version
    say(f"{named.ref}  aliases: {', '.join(named.aliases) or '-'}")


def render_moved(version: AliasedInfo) -> None:
    """Say that, and from where those came that stood elsewhere."""
    render_aliases(version)
    for name, before in version.moved_from.items():
        say(f"  {name} stood on {before}")


def render_tags(tagged: VersionInfo | CollectionInfo) -> None:
    """Say which tags it carries now."""
    say(f"{_called(tagged)}  tags: {', '.join(tagged.tags) or '-'}")


def render_description(described: VersionInfo | CollectionInfo) -> None:
    """Say what is described, and how."""
    say(f"{_called(described)}  {described.description or '-'}")


def render_metadata(version: VersionInfo) -> None:
    """Write one line a key, its value as JSON, so that text and numbers can be told apart."""
    for key, value in version.metadata.items():
        say(f"{key} = {msgspec.json.encode(plain(value)).decode()}")


def render_ttl(version: VersionInfo) -> None:
    """Say how long the version is wanted now."""
    say(f"{version.ref}  ttl: {'never ends' if version.ttl_s is None else written_duration(version.ttl_s)}")


def _called(labelled: VersionInfo | CollectionInfo) -> str:
    return getattr(labelled, "ref", None) or f"{labelled.project}/{labelled.name}"
