"""Records: the ops that change state, and the transactions that hold them.

An op is an immutable record with an id, the digest of its canonical bytes: JSON with sorted keys and no spaces. Bytes
that were read are kept as they are, so fields that a newer artstore added survive. An op of an unknown kind stops with
UpgradeNeeded: to skip it would be to guess. Every op holds a random nonce, so that doing, undoing and doing again are
three ops. Ops name collections and versions by id, never by name or number.
"""

from __future__ import annotations

from typing import Any, Final, Literal

import msgspec

from artstore.errors import Corrupt, UpgradeNeeded
from artstore.model.digest import Digest

FORMAT: Final = 1
LONGEST_CHANGE: Final = 32 << 20
"""Bytes of the ops that hold together: they travel at once, and are in memory wherever they are read."""

_encoder = msgspec.json.Encoder(order="sorted")


Kind = Literal["sequence", "portfolio"]
"""A sequence has versions of its own, a portfolio has links to versions of sequences."""


class VersionRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What a version is for ever. Its digest is the version's id; it holds no number, since numbers are labels."""

    collection: str
    """Id of the collection: the id of the op that created it."""
    manifest: str
    """Digest of the manifest's full form."""
    created_us: int
    """Microseconds since 1970, UTC, by the clock of the machine that made it."""
    run: str | None
    """Id of the run that made it."""
    description: str | None
    metadata: dict[str, Any]
    """As it was at commit; later edits are ops of their own."""
    entries: int
    bytes: int
    """Sum of the entries' sizes, references included."""
    nonce: str

    @property
    def id(self) -> Digest:
        """The version's id."""
        return Digest.of(_encoder.encode(self))


class Op(msgspec.Struct, frozen=True, kw_only=True, tag_field="op"):
    """One change of state."""

    at_us: int
    """Microseconds since 1970, UTC. For people; nothing is ever decided by it."""
    nonce: str


class Create(Op, frozen=True, kw_only=True, tag="create", omit_defaults=True):
    """A collection comes to be; its id is this op's id. Where it exists already, it is that collection."""

    kind: Kind
    name: str
    type: str
    description: str | None
    id: str | None = None
    """Of a collection whose first creation was refused for its name, or that was deleted, and that comes to be with
    this one: what was made in it, and whatever names that, stays as it is."""


class Commit(Op, frozen=True, kw_only=True, tag="commit"):
    """A version comes to be, with the collection's next number."""

    record: VersionRecord
    parts: list[str] = []
    """Ids of the parts that it gathers. It is void where one of them is gone: nothing is in two versions."""


class Relog(Op, frozen=True, kw_only=True, tag="relog"):
    """Content equal to an earlier version's was committed again: no new version, but `latest` is that one now.

    Where the target is deleted by then, or of another collection than the record, the record is a new version.
    """

    target: str
    record: VersionRecord
    parts: list[str] = []
    """Ids of the parts that it gathers."""


class Part(Op, frozen=True, kw_only=True, tag="part"):
    """What one of several writers adds to a version that another gathers. Its id is this op's id.

    It keeps its manifest and its blobs, and nobody sees it before it is gathered.
    """

    name: str
    """Of the collection."""
    type: str
    distributed_id: str
    """What those parts have in common that make one version."""
    run: str | None
    store: str
    """Id of the store that it was added to."""
    manifest: str
    """Digest of the manifest's full form."""
    entries: int
    bytes: int
    aliases: list[str]
    description: str | None
    metadata: dict[str, Any]


class DropPart(Op, frozen=True, kw_only=True, tag="drop-part"):
    """A part goes without having been gathered."""

    part: str


class MoveAlias(Op, frozen=True, kw_only=True, tag="alias"):
    """An alias moves to a version of its collection, or goes."""

    collection: str
    alias: str
    before: str | None
    """Id of the version that the writer saw it stand on."""
    version: str | None
    """Id of the version where it stands from now on; None: nowhere."""


class SetTag(Op, frozen=True, kw_only=True, tag="tag"):
    """A tag is put on a version or a collection, or taken off."""

    kind: Literal["version", "collection"]
    target: str
    tag: str
    present: bool


class Describe(Op, frozen=True, kw_only=True, tag="describe"):
    """The description of a version or a collection is another one."""

    kind: Literal["version", "collection"]
    target: str
    text: str | None


class EditMetadata(Op, frozen=True, kw_only=True, tag="metadata"):
    """Some keys of a version's metadata are set, some go. Per key the last in the order wins."""

    version: str
    set: dict[str, Any]
    remove: list[str]


class SetTtl(Op, frozen=True, kw_only=True, tag="ttl"):
    """How long a version is to live."""

    version: str
    ttl_s: float | None
    """Seconds from its creation; None: for ever."""


class Rename(Op, frozen=True, kw_only=True, tag="rename"):
    """A collection has another name."""

    collection: str
    name: str


class Retype(Op, frozen=True, kw_only=True, tag="retype"):
    """A collection has another type, and so have its versions."""

    collection: str
    type: str


class Delete(Op, frozen=True, kw_only=True, tag="delete", omit_defaults=True):
    """A version goes. Its number is never used again."""

    version: str
    store: str
    """Id of the store that it was deleted in, whose `gc` frees the bytes."""
    forced: bool = True
    """Else it is void where an alias, a link or a use of the version stands: whoever wrote this has seen none."""


class DeleteCollection(Op, frozen=True, kw_only=True, tag="delete-collection", omit_defaults=True):
    """A collection goes with its versions, or its links. Its name is free for another one, its id is not.

    Where others have put more into it, that stays, and the collection with it.
    """

    collection: str
    versions: list[str]
    """Ids of what is in it, as far as whoever deletes it has seen."""
    store: str
    """See Delete."""
    forced: bool = True
    """Else it is void where an alias, a link or a use of one of these stands: whoever wrote this has seen none."""


class Link(Op, frozen=True, kw_only=True, tag="link"):
    """A version comes into a portfolio, with its next number; one that is in it is its `latest` again."""

    portfolio: str
    project: str
    """Where the version lives."""
    version: str
    name: str
    """`cats:v3`, as it was then: what the version is called where it is not here."""
    digest: str
    """Of its manifest."""


class Unlink(Op, frozen=True, kw_only=True, tag="unlink"):
    """A version goes out of a portfolio. Its number there is never used again."""

    portfolio: str
    version: str


class StartRun(Op, frozen=True, kw_only=True, tag="run", omit_defaults=True):
    """A run begins, or one that ended goes on; what is not given then stays as it was.

    Where somebody else has begun one with this id, and it is not known here, what is said here is kept apart.
    """

    run: str
    """Id, unique in its project."""
    name: str | None
    job_type: str | None
    group: str | None
    notes: str | None
    tags: list[str]
    config: dict[str, Any]
    after: str | msgspec.UnsetType | None = msgspec.UNSET
    """Id of the op with which that began which goes on; None: the writer knew of none. Not set: an older artstore wrote
    it, which did not say."""


class EditRun(Op, frozen=True, kw_only=True, tag="edit-run", omit_defaults=True):
    """What is said about a run changes. Per key of the config the last in the order wins."""

    run: str
    set: dict[str, Any]
    remove: list[str]
    name: str | None
    """None, here and below: as it was."""
    notes: str | None
    tags: list[str] | None
    begun: str | None = None
    """Id of the op with which it began, or last went on, as its writer knows it."""


class FinishRun(Op, frozen=True, kw_only=True, tag="finish-run", omit_defaults=True):
    """A run ends."""

    run: str
    state: Literal["finished", "crashed"]
    begun: str | None = None
    """See EditRun."""


class Use(Op, frozen=True, kw_only=True, tag="use"):
    """A run read a version."""

    run: str
    project: str
    """Where the version lives."""
    version: str
    name: str
    """`cats:v3`, as it was then: what the version is called where it is not here."""
    digest: str
    """Of its manifest."""


class Condemn(Op, frozen=True, kw_only=True, tag="condemn"):
    """Objects of a depot are to go, but for those that are named or needed again before their `sweep`.

    It is about one log's objects, and changes no state.
    """

    objects: list[str]
    """`packs/<name>`, `blobs/<name>` or `manifests/<name>`."""


class Sweep(Op, frozen=True, kw_only=True, tag="sweep"):
    """Condemned objects of a depot are gone from here on: whoever needs their bytes sends them again, by a new name.

    It is about one log's objects, and changes no state.
    """

    objects: list[str]
    kept: list[str]
    """Condemned ones that stay, since they are needed again; to go, they have to be condemned anew."""
    manifests: list[str]
    """Digests of manifests that no version has any more, so that blobs which they name may be gone."""


AnyOp = (
    Create
    | Commit
    | Relog
    | Part
    | DropPart
    | MoveAlias
    | SetTag
    | Describe
    | EditMetadata
    | SetTtl
    | Rename
    | Retype
    | Delete
    | DeleteCollection
    | Link
    | Unlink
    | StartRun
    | EditRun
    | FinishRun
    | Use
    | Condemn
    | Sweep
)


class Transaction(msgspec.Struct, frozen=True, kw_only=True):
    """Ops of one project that hold together or not at all, chained to what was before them."""

    format: int
    project: str
    log: str
    """Random id of the log, 32 hex digits."""
    seq: int
    """Place in the log, from 1, without gaps."""
    before: str | None
    """Digest of the transaction before; None for the first."""
    ops: list[msgspec.Raw]


_op_decoder = msgspec.json.Decoder(AnyOp)
_transaction_decoder = msgspec.json.Decoder(Transaction)
_KINDS: Final = frozenset(
    kind.__struct_config__.tag
    for kind in (
        Create,
        Commit,
        Relog,
        Part,
        DropPart,
        MoveAlias,
        SetTag,
        Describe,
        EditMetadata,
        SetTtl,
        Rename,
        Retype,
        Delete,
        DeleteCollection,
        Link,
        Unlink,
        StartRun,
        EditRun,
        FinishRun,
        Use,
        Condemn,
        Sweep,
    )
)


class _Kind(msgspec.Struct):
    op: str


class _Format(msgspec.Struct):
    format: int


_kind_decoder = msgspec.json.Decoder(_Kind)
_format_decoder = msgspec.json.Decoder(_Format)


def encode_op(op: Op) -> bytes:
    """The canonical bytes of an op, which its id is the digest of."""
    return _encoder.encode(op)


def decode_op(data: bytes) -> AnyOp:
    """Read an op. Raises UpgradeNeeded on a kind that this version does not know, Corrupt on what is none."""
    try:
        kind = _kind_decoder.decode(data).op
        if kind not in _KINDS:
            message = (
                f"the log holds an op of the kind {kind!r}, which this artstore does not know: install a newer one"
            )
            raise UpgradeNeeded(message, code="unknown-op")
        op: AnyOp = _op_decoder.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        message = f"the log holds an op that cannot be read: {error}. Run `artstore verify`"
        raise Corrupt(message, code="op-damaged") from error
    return op


def brings(op_id: str, op: Op) -> str | None:
    """The id of the version that an op may bring, or of the part; None for all that bring neither."""
    if isinstance(op, Commit | Relog):
        return str(op.record.id)
    return op_id if isinstance(op, Part) else None


def made_by(op_id: str, op: Create) -> str:
    """The id of the collection that an op creates."""
    return op.id or op_id


def manifest_of(op: Op) -> str | None:
    """The digest of the manifest that an op names, if it names one that has to be there."""
    if isinstance(op, Commit | Relog):
        return op.record.manifest
    return op.manifest if isinstance(op, Part) else None


def kind_of(op: Op) -> str:
    """The word that stands for its kind in the log."""
    return str(op.__struct_config__.tag)


def encode_transaction(transaction: Transaction) -> bytes:
    """The canonical bytes of a transaction, which the next one names by digest."""
    return _encoder.encode(transaction)


def decode_transaction(data: bytes) -> Transaction:
    """Read a transaction. Raises UpgradeNeeded on a newer format, Corrupt on what is none."""
    try:
        found = _format_decoder.decode(data).format
        if found > FORMAT:
            message = f"the log has the format {found}, this artstore reads {FORMAT}: install a newer one"
            raise UpgradeNeeded(message, code="newer-log")
        return _transaction_decoder.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        message = f"a transaction of the log cannot be read: {error}. Run `artstore verify`"
        raise Corrupt(message, code="op-damaged") from error
