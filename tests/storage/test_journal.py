"""The journal in tables: which ops count in what order, by the same rules as in memory."""

from __future__ import annotations

import itertools
import random
from collections.abc import Container

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from artstore.model.digest import Digest
from artstore.model.fold import UNKNOWN_COLLECTION, fold_into
from artstore.model.ledger import Ledger
from artstore.model.notes import (
    Accepted,
    AcceptedBefore,
    AcceptNumbers,
    AnyNote,
    Attached,
    Dismissed,
    Evicted,
    Forget,
    Order,
    TakenIn,
    decode_line,
)
from artstore.model.records import Commit, Create, Rename, SetTag, VersionRecord, decode_op, encode_op
from artstore.model.state import MemoryState, Version
from artstore.storage.catalog import ProjectView
from artstore.storage.journal import Journal
from artstore.storage.root import Root
from tests.storage.guess import Guess

PROJECTS = itertools.count()


class Story:
    """Two writers and one upstream: what a journal may come to hold, in an order that could have happened."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.guess = Guess(self.random.randrange(2**32))
        self.slot = 0
        self.log = "a" * 32
        self.waiting: list[bytes] = []
        self.bodies: list[bytes] = []
        self.order = Order()

    def transactions(self, count: int) -> list[list[bytes]]:
        """So many transactions of the journal."""
        tell = [self.own, self.own, self.own, self.accepted, self.accepted, self.attached, self.other]
        return [self.random.choice(tell)() for _ in range(count)]

    def nonce(self) -> str:
        return f"{self.random.randrange(2**60):x}"

    def ops(self) -> list[bytes]:
        """Ops as a writer makes them: of collections that it, or the other one, made or did not."""
        count = self.random.randrange(1, 4)
        made = self.guess.write(count)[-count:]
        self.bodies += made
        return made

    def own(self) -> list[bytes]:
        """New ones, and now and then one again, which may have been given up."""
        made = self.ops()
        if self.random.random() < 0.3:
            made.insert(0, self.random.choice(self.bodies))
        self.waiting += [body for body in made if body not in self.waiting]
        return made

    def accepted(self) -> list[bytes]:
        """A slot of others' ops, of ours, of both, and now and then of some that were accepted before."""
        ours = self.waiting[: self.random.randrange(4)]
        theirs = self.ops() if self.random.random() < 0.6 else []
        again = [self.random.choice(self.bodies)] if self.bodies and self.random.random() < 0.2 else []
        some = [ours, theirs, again]
        self.random.shuffle(some)
        bodies = [body for each in some for body in each]
        self.waiting = [body for body in self.waiting if body not in bodies]
        self.slot += 1
        note = Accepted(
            at_us=1,
            nonce=self.nonce(),
            log=self.log,
            slot=self.slot,
            digest=f"blake3:{self.slot}",
            ops=[msgspec.Raw(body) for body in bodies],
            frame=msgspec.Raw(b"{}"),
        )
        return [encode_op(note)]

    def attached(self) -> list[bytes]:
        """Another upstream: all that was accepted waits again."""
        self.log, self.slot, self.waiting = self.nonce(), 0, list(dict.fromkeys(self.bodies))
        return [encode_op(Attached(at_us=1, nonce=self.nonce(), log=self.log))]

    def other(self) -> list[bytes]:
        """Notes that leave the order alone."""
        body = self.random.choice(self.bodies) if self.bodies else b""
        notes: list[AnyNote] = [
            Dismissed(at_us=1, nonce=self.nonce(), ops=[str(Digest.of(body))]),
            Forget(
                at_us=1,
                nonce=self.nonce(),
                version=str(Digest.of(body)),
                forgotten=self.random.random() < 0.5,
                awaited=self.random.random() < 0.5,
            ),
            Evicted(at_us=1, nonce=self.nonce(), versions=[str(Digest.of(body))]),
            TakenIn(at_us=1, nonce=self.nonce(), ops=[str(Digest.of(body))]),
            AcceptedBefore(at_us=1, nonce=self.nonce(), ops=[str(Digest.of(body))]),
            AcceptNumbers(at_us=1, nonce=self.nonce(), collections=[str(Digest.of(body))]),
        ]
        return [encode_op(self.random.choice(notes))]


def append(root: Root, transactions: list[list[bytes]]) -> Journal:
    """A journal that has taken these."""
    with root.catalog.write():
        project = root.catalog.add_project(f"p{next(PROJECTS)}", "0" * 32)
    journal = Journal(root.catalog, project)
    for seq, bodies in enumerate(transactions, start=1):
        with root.catalog.write():
            journal.append(seq, f"blake3:{seq}", bodies)
    return journal


def ordered(transactions: list[list[bytes]]) -> Order:
    """The same in memory."""
    order = Order()
    for body in itertools.chain.from_iterable(transactions):
        order.take(str(Digest.of(body)), body, decode_line(body))
    return order


def folded(bodies: list[bytes], refused: Container[str] = ()) -> Digest:
    """What these come to, but for those that were refused."""
    state = MemoryState()
    for position, body in enumerate(bodies, start=1):
        if str(Digest.of(body)) not in refused:
            fold_into(state, str(Digest.of(body)), decode_op(body), position)
    return state.hash()


@pytest.fixture(scope="module")
def shared_root(tmp_path_factory: pytest.TempPathFactory) -> Root:
    return Root.create(tmp_path_factory.mktemp("journal") / "store")


@pytest.mark.slow
@settings(max_examples=200)
@given(seed=st.integers(0, 2**32), count=st.integers(0, 25))
def test_the_tables_hold_what_the_order_in_memory_says(shared_root: Root, seed: int, count: int) -> None:
    """I11, I20. Two stores that followed the same slots would differ, and a rebuild would change what numbers mean."""
    transactions = Story(seed).transactions(count)
    journal = append(shared_root, transactions)
    order = ordered(transactions)

    refused = {op.id for op in journal.waiting() if op.void is not None}

    assert order.ops() == journal.ops()
    assert folded([op.body for op in order.ops()], refused) == journal.hash_of_tables()
    assert transactions == [lines for _, _, lines in journal.transactions()]


@pytest.mark.slow
@settings(max_examples=200)
@given(seed=st.integers(0, 2**32), count=st.integers(0, 25))
def test_the_tables_say_what_a_ledger_says(shared_root: Root, seed: int, count: int) -> None:
    """A store in which nothing is wrong would be called damaged, or a damaged one sound."""
    transactions = Story(seed).transactions(count)
    journal = append(shared_root, transactions)
    ledger = Ledger()
    for seq, bodies in enumerate(transactions, start=1):
        ledger.take(seq, f"blake3:{seq}", bodies)

    assert ledger.digests() == journal.digests_of_tables()
    assert ledger.state.hash() == journal.hash_of_tables()


@settings(max_examples=100)
@given(seed=st.integers(0, 2**32), count=st.integers(1, 25))
def test_the_state_hash_is_of_what_was_accepted_alone(shared_root: Root, seed: int, count: int) -> None:
    """I11. A store with work of its own would never agree with one that has none."""
    transactions = [Story(seed).attached(), *Story(seed).transactions(count)]
    journal = append(shared_root, transactions)
    accepted = [op.body for op in ordered(transactions).ops() if op.slot is not None]

    assert folded(accepted) == journal.state_hash()


class Laptop:
    """One writer of a collection `cats`, as transactions of its journal."""

    def __init__(self, name: str, type: str = "t") -> None:
        self.create = encode_op(Create(at_us=1, nonce=name, kind="sequence", name="cats", type=type, description=None))
        self.collection = str(Digest.of(self.create))
        records = [self.record(f"{name}{number}") for number in (0, 1)]
        self.commits = [encode_op(Commit(at_us=1, nonce=name, record=record)) for record in records]
        self.versions = [str(record.id) for record in records]

    def record(self, nonce: str) -> VersionRecord:
        return VersionRecord(
            collection=self.collection, manifest=str(Digest.of(nonce.encode())), created_us=1, run=None,
            description=None, metadata={}, entries=0, bytes=0, nonce=nonce,
        )  # fmt: skip


def accepted(slot: int, *bodies: bytes) -> bytes:
    ops = [msgspec.Raw(body) for body in bodies]
    return encode_op(
        Accepted(
            at_us=1,
            nonce=f"{slot}",
            log="a" * 32,
            slot=slot,
            digest=f"blake3:{slot}",
            ops=ops,
            frame=msgspec.Raw(b"{}"),
        )
    )


def tag(version: str, name: str) -> bytes:
    return encode_op(SetTag(at_us=1, nonce=name, kind="version", target=version, tag=name, present=True))


ATTACH = encode_op(Attached(at_us=1, nonce="a", log="a" * 32))


def test_somebody_elses_commit_of_the_same_number_takes_it(root: Root) -> None:
    """I5. `cats:v0` would mean other bytes on each machine for ever."""
    mine, theirs = Laptop("mine"), Laptop("theirs")
    journal = append(root, [[ATTACH], [mine.create, *mine.commits], [accepted(1, theirs.create, *theirs.commits)]])
    view = ProjectView(root.catalog, root.catalog.projects()[0].id)
    numbers = {each.id: (each.collection, each.number) for each in view.all(Version)}

    assert [0, 1, 2, 3] == [numbers[id_][1] for id_ in (*theirs.versions, *mine.versions)]
    assert {theirs.collection} == {collection for collection, _ in numbers.values()}
    assert [(0, mine.versions[0]), (1, mine.versions[1])] == journal.renumbered(theirs.collection)


def test_a_slot_of_what_waited_changes_no_number(root: Root) -> None:
    """Every push would make the numbers of its own machine doubtful."""
    mine = Laptop("mine")
    journal = append(root, [[ATTACH], [mine.create, *mine.commits], [accepted(1, mine.create, mine.commits[0])]])

    assert [1, 1, None] == [op.slot for op in journal.ops()]
    assert [] == journal.renumbered(mine.collection)


@pytest.mark.parametrize("waits", ["a conflict", "a version"])
def test_what_comes_costs_no_more_behind_a_long_log(root: Root, waits: str) -> None:
    """One conflict that nobody has settled would have each pull write the rows of the whole project anew."""
    mine, theirs = Laptop("mine", type="u" if waits == "a conflict" else "t"), Laptop("theirs")
    lines = [[ATTACH], [mine.create, *mine.commits], [accepted(1, theirs.create, *theirs.commits)]]
    costs: list[int] = []
    for length in (10, 200):
        tags = [tag(theirs.versions[0], f"{number}") for number in range(length)]
        journal = append(root, [*lines, [accepted(2, *tags)]])
        connection = root.catalog.connection
        before = connection.total_changes
        with root.catalog.write():
            journal.append(5, "blake3:5", [accepted(3, tag(theirs.versions[0], "new"))])
        costs.append(connection.total_changes - before)

    assert costs[0] == costs[1] < 40


def test_what_was_refused_does_not_come_alive_by_itself(root: Root) -> None:
    """Who freed a name again did so for others: what had waited there for weeks would take it without a word."""
    mine, theirs = Laptop("mine"), Laptop("theirs", type="u")
    theirs_again = encode_op(Rename(at_us=1, nonce="r", collection=theirs.collection, name="dogs"))
    lines = [[ATTACH], [mine.create, *mine.commits], [accepted(1, theirs.create)], [accepted(2, theirs_again)]]
    journal = append(root, lines)

    assert ["'cats' has the type 'u'", *[UNKNOWN_COLLECTION] * 2] == [op.void for op in journal.waiting()]
    # Where the upstream has it all the same, it counts, as the upstream counts it.
    journal = append(root, [*lines, [accepted(3, mine.create)]])
    assert [None, None] == [op.void for op in journal.waiting()]


def test_numbers_that_were_accepted_are_not_doubted_again(root: Root) -> None:
    """The same question would come back at every pull."""
    mine, theirs = Laptop("mine"), Laptop("theirs")
    know = encode_op(AcceptNumbers(at_us=1, nonce="k", collections=[theirs.collection]))
    journal = append(
        root,
        [
            [ATTACH],
            [mine.create, *mine.commits],
            [accepted(1, theirs.create, *theirs.commits)],
            [know],
            [accepted(2, mine.create, *mine.commits)],
        ],
    )

    assert [] == journal.renumbered(theirs.collection)
