"""Guess: ops of every kind, as several writers could have made them, some of whom know little."""

from __future__ import annotations

import random
from typing import Any, Final, Literal

from artstore.model.digest import Digest
from artstore.model.records import (
    AnyOp,
    Commit,
    Create,
    Delete,
    DeleteCollection,
    Describe,
    DropPart,
    EditMetadata,
    EditRun,
    FinishRun,
    Kind,
    Link,
    MoveAlias,
    Part,
    Relog,
    Rename,
    Retype,
    SetTag,
    SetTtl,
    StartRun,
    Unlink,
    Use,
    VersionRecord,
    encode_op,
)

KINDS: Final[list[Kind]] = ["sequence", "sequence", "portfolio"]
UNKNOWN: Final = "blake3:unknown"


class Guess:
    """Writes ops that mostly refer to what the log may have, and sometimes to what it has not."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.collections: list[str] = []
        self.versions: list[str] = []
        self.parts: list[str] = []
        self.records: list[VersionRecord] = []
        self.ops: list[bytes] = []

    def write(self, count: int) -> list[bytes]:
        """So many ops, some of them twice."""
        kinds = [
            self.create, self.commit, self.commit, self.commit, self.relog, self.alias, self.alias, self.alias,
            self.tag, self.describe, self.metadata, self.ttl, self.rename, self.delete, self.start, self.finish,
            self.use, self.edit_run, self.retype, self.delete_collection, self.link, self.link, self.unlink,
            self.part, self.part, self.drop_part,
        ]  # fmt: skip
        for _ in range(count):
            if self.ops and self.random.random() < 0.1:
                self.ops.append(self.random.choice(self.ops))
                continue
            op = self.random.choice(kinds)()
            self.ops.append(encode_op(op))
            if isinstance(op, Create):
                self.collections.append(str(Digest.of(self.ops[-1])))
            if isinstance(op, Part):
                self.parts.append(str(Digest.of(self.ops[-1])))
            if isinstance(op, Commit | Relog):
                self.versions.append(str(op.record.id))
        return self.ops

    def pick(self, *options: str) -> str:
        return self.random.choice(options)

    def time(self) -> int:
        return self.random.randrange(2**40)

    def nonce(self) -> str:
        return f"{self.random.randrange(2**32):x}"

    def collection(self) -> str:
        return self.pick(*self.collections, UNKNOWN)

    def version(self) -> str:
        return self.pick(*self.versions, UNKNOWN)

    def record(self) -> VersionRecord:
        if self.records and self.random.random() < 0.1:
            return self.random.choice(self.records)
        self.records.append(self.new_record())
        return self.records[-1]

    def new_record(self) -> VersionRecord:
        values: list[Any] = [None, 1, 2.5, 2**70, "ü\x00", [1], {"a": {"b": []}}, True]
        return VersionRecord(
            collection=self.collection(),
            manifest=str(Digest.of(self.pick("1", "2", "3").encode())),
            created_us=self.time(),
            run=self.random.choice([None, "r", "s"]),
            description=self.random.choice([None, "text"]),
            metadata={key: self.random.choice(values) for key in ("a", "b") if self.random.random() < 0.5},
            entries=self.random.randrange(9),
            bytes=self.random.randrange(2**50),
            nonce=self.nonce(),
        )

    def create(self) -> AnyOp:
        return Create(
            at_us=self.time(),
            nonce=self.nonce(),
            kind=self.random.choice(KINDS),
            name=self.pick("x", "y", "z"),
            type=self.pick("t", "u"),
            description=None,
            id=self.collection() if self.random.random() < 0.1 else None,
        )

    def commit(self) -> AnyOp:
        return Commit(at_us=self.time(), nonce=self.nonce(), record=self.record(), parts=self.some_parts())

    def relog(self) -> AnyOp:
        return Relog(
            at_us=self.time(),
            nonce=self.nonce(),
            target=self.version(),
            record=self.record(),
            parts=self.some_parts(),
        )

    def some_parts(self) -> list[str]:
        return self.random.sample([*self.parts, UNKNOWN], k=self.random.randrange(min(3, len(self.parts) + 2)))

    def part(self) -> AnyOp:
        return Part(
            at_us=self.time(),
            nonce=self.nonce(),
            name=self.pick("x", "y"),
            type="t",
            distributed_id=self.pick("d", "e"),
            run=self.random.choice([None, "r", "s"]),
            store="s",
            manifest=str(Digest.of(b"part")),
            entries=1,
            bytes=2,
            aliases=["best"],
            description=None,
            metadata={"a": [1]},
        )

    def drop_part(self) -> AnyOp:
        return DropPart(at_us=self.time(), nonce=self.nonce(), part=self.pick(*self.parts, UNKNOWN))

    def alias(self) -> AnyOp:
        version = self.random.choice([None, self.version(), self.version()])
        name = self.pick("best", "é")
        return MoveAlias(
            at_us=self.time(),
            nonce=self.nonce(),
            collection=self.collection(),
            alias=name,
            before=self.random.choice([None, self.version()]),
            version=version,
        )

    def tag(self) -> AnyOp:
        kind: Literal["version", "collection"] = self.random.choice(["version", "collection"])
        return SetTag(
            at_us=self.time(),
            nonce=self.nonce(),
            kind=kind,
            target=self.version() if kind == "version" else self.collection(),
            tag=self.pick("a", "b"),
            present=self.random.random() < 0.6,
        )

    def describe(self) -> AnyOp:
        if self.random.random() < 0.5:
            return Describe(at_us=self.time(), nonce=self.nonce(), kind="version", target=self.version(), text="v")
        return Describe(at_us=self.time(), nonce=self.nonce(), kind="collection", target=self.collection(), text=None)

    def metadata(self) -> AnyOp:
        return EditMetadata(
            at_us=self.time(),
            nonce=self.nonce(),
            version=self.version(),
            set={self.pick("a", "c"): [0.1]},
            remove=[self.pick("a", "b")],
        )

    def ttl(self) -> AnyOp:
        return SetTtl(
            at_us=self.time(), nonce=self.nonce(), version=self.version(), ttl_s=self.random.choice([None, 1, 2.5])
        )

    def rename(self) -> AnyOp:
        return Rename(
            at_us=self.time(), nonce=self.nonce(), collection=self.collection(), name=self.pick("x", "y", "z", "w")
        )

    def delete(self) -> AnyOp:
        return Delete(
            at_us=self.time(),
            nonce=self.nonce(),
            store="s",
            version=self.version(),
            forced=self.random.random() < 0.5,
        )

    def retype(self) -> AnyOp:
        return Retype(
            at_us=self.time(), nonce=self.nonce(), collection=self.collection(), type=self.pick("t", "u", "w")
        )

    def delete_collection(self) -> AnyOp:
        # Rarely, since everything that comes later is void then.
        collection = self.collection() if self.random.random() < 0.3 else UNKNOWN
        seen = self.random.choice([[], [*self.versions]])
        return DeleteCollection(at_us=self.time(), nonce=self.nonce(), store="s", collection=collection, versions=seen)

    def link(self) -> AnyOp:
        return Link(
            at_us=self.time(),
            nonce=self.nonce(),
            portfolio=self.collection(),
            project=self.pick("p", "o"),
            version=self.version(),
            name=self.pick("x:v0", "y:v1"),
            digest="blake3:m",
        )

    def unlink(self) -> AnyOp:
        return Unlink(at_us=self.time(), nonce=self.nonce(), portfolio=self.collection(), version=self.version())

    def start(self) -> AnyOp:
        return StartRun(
            at_us=self.time(),
            nonce=self.nonce(),
            run=self.pick("r", "s"),
            name=self.random.choice([None, "n"]),
            job_type="j",
            group="g",
            notes=self.random.choice([None, "", "ü"]),
            tags=self.random.choice([[], ["b", "a"]]),
            config={"x": [1, None]},
        )

    def edit_run(self) -> AnyOp:
        return EditRun(
            at_us=self.time(),
            nonce=self.nonce(),
            run=self.pick("r", "q"),
            set={self.pick("x", "y"): {"z": 1}},
            remove=[self.pick("x", "y")],
            name=self.random.choice([None, "m"]),
            notes=None,
            tags=self.random.choice([None, [], ["c"]]),
        )

    def finish(self) -> AnyOp:
        return FinishRun(at_us=self.time(), nonce=self.nonce(), run=self.pick("r", "s", "q"), state="crashed")

    def use(self) -> AnyOp:
        return Use(
            at_us=self.time(),
            nonce=self.nonce(),
            run=self.pick("r", "q"),
            project=self.pick("p", "o"),
            version=self.version(),
            name=self.pick("x:v0", "y:v1"),
            digest="blake3:m",
        )
