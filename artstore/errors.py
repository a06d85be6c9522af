"""Errors: one class for each thing that a caller can do next.

    ArtstoreError
    ├── NotFound                 (LookupError)      ask for something else          exit 3
    │   ├── MissingArtifact      (CommError)        no such version, collection, project or run
    │   ├── MissingEntry         (KeyError)         no such path in an artifact
    │   ├── MissingObject                           a remote has nothing of that name
    │   └── MissingFile          (FileNotFoundError)
    │       └── ReferenceMissing (ValueError)       what a reference stood for is gone
    │           └── ReferenceChanged                other bytes stand there now
    ├── Invalid                  (ValueError)       change the input                exit 2
    │   ├── AmbiguousVersion                        name it by its id, or accept the new numbers
    │   ├── NotAModel            (AssertionError)   use it as an artifact
    │   ├── PathCollision                           two paths cannot live together
    │   ├── WrongType            (TypeError)        a value of a kind that has no place there
    │   └── BadTable             (AssertionError)   columns, lengths or keys that no table can have
    ├── Conflict                                    look again, then retry          exit 4
    │   ├── AliasedArtifact      (CommError)        take the alias off first
    │   ├── ArtifactStatusError  (AttributeError)
    │   │   ├── ArtifactNotLoggedError              log it, and `wait()`
    │   │   └── ArtifactFinalizedError              make a `new_draft()`
    │   └── WaitTimeoutError     (TimeoutError)     wait again; the work goes on
    ├── Corrupt                                     run `artstore verify`           exit 5
    ├── Unreachable              (ConnectionError)  wait; nothing is lost           exit 6
    ├── Refused                  (PermissionError)  change rights, space or quota   exit 7
    │   ├── Denied                                  a remote wants other credentials or rights
    │   ├── StorageFull                             free space, then repeat
    │   └── ReadOnlyStore                           open it where it can be written
    └── UpgradeNeeded                               install a newer artstore        exit 8

The class says what to do; `code` is a stable word for the exact case. A message is one line: what is wrong, which one,
what now. What a script written for W&B catches stands in the second column too: CommError is no error by itself, but a
name for what a server would have refused; Error and UsageError are other names of ArtstoreError and Invalid.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

NAMED: Final = 10
"""Problems that a message names; the error has all."""


class Problem(NamedTuple):
    """One of the files that an error is about."""

    path: str
    reason: str


def named(problems: Sequence[Problem]) -> str:
    """The first of some problems, as a message names them."""
    first = "; ".join(f"{problem.path!r}: {problem.reason}" for problem in problems[:NAMED])
    return first + (f"; and {len(problems) - NAMED} more (--json lists all)" if len(problems) > NAMED else "")


class ArtstoreError(Exception):
    """Everything that artstore raises on purpose."""

    exit_code = 1

    def __init__(self, message: str, *, code: str, problems: Sequence[Problem] = ()) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.problems = tuple(problems)
        """Each file that is at fault, where that may be many: the message names the first of them."""

    def __reduce__(self) -> tuple[object, ...]:
        # The default would call the class with the message alone, and `code` has no default to fall back to.
        return _restore, (type(self), self.message, self.code, self.problems)

    def __str__(self) -> str:
        return self.message


def _restore(kind: type[ArtstoreError], message: str, code: str, problems: tuple[Problem, ...]) -> ArtstoreError:
    error = kind(message, code=code)
    error.problems = problems
    return error


class NotFound(ArtstoreError, LookupError):
    """What was asked for is not here."""

    exit_code = 3


class CommError(Exception):
    """What W&B's server would have refused; always one of the classes of the tree as well."""


class MissingArtifact(NotFound, CommError):
    """No such version, collection, project or run is here."""


class MissingEntry(NotFound, KeyError):
    """An artifact has no such path."""


class MissingObject(NotFound):
    """A remote holds nothing under a name."""


class MissingFile(NotFound, FileNotFoundError):
    """A file or folder is not there, on the disk or in what is being put together."""


class ReferenceMissing(MissingFile, ValueError):
    """The bytes that a reference stands for are not where they were; nothing else was taken for them."""


class ReferenceChanged(ReferenceMissing):
    """Other bytes stand where those of a reference were; they were not taken."""


class Invalid(ArtstoreError, ValueError):
    """The input cannot mean anything; nothing was written."""

    exit_code = 2


class AmbiguousVersion(Invalid):
    """A number meant one version on this machine, and another one for everybody else."""


class NotAModel(Invalid, AssertionError):
    """An artifact that is used as a model does not say that it is one."""


class PathCollision(Invalid):
    """Two paths that cannot both exist: a file and a folder of one name, or one path with two contents."""


class WrongType(Invalid, TypeError):
    """A value of a kind that has no place there."""


class BadTable(Invalid, AssertionError):
    """Columns, lengths or keys that no table can have."""


class Conflict(ArtstoreError):
    """Somebody else was there first, or is there now."""

    exit_code = 4


class AliasedArtifact(Conflict, CommError):
    """An alias stands on the version."""


class ArtifactStatusError(Conflict, AttributeError):
    """An artifact has no such attribute in its present state; `name` and `obj` say which of what."""

    def __init__(self, message: str, *, code: str, name: str | None = None, obj: object = None) -> None:
        super().__init__(message, code=code)
        self.name, self.obj = name, obj


class ArtifactNotLoggedError(ArtifactStatusError):
    """Only a version has it, and this is none yet."""


class ArtifactFinalizedError(ArtifactStatusError):
    """Only a draft can be added to, and this is none any more."""


class WaitTimeoutError(Conflict, TimeoutError):
    """It takes longer than the caller wanted to wait; the work goes on."""


class Corrupt(ArtstoreError):
    """Bytes are not what their digest says, or are gone."""

    exit_code = 5


class Unreachable(ArtstoreError, ConnectionError):
    """The other side did not answer; what is committed here stays committed here."""

    exit_code = 6


class Refused(ArtstoreError, PermissionError):
    """The system or its owner does not allow it."""

    exit_code = 7


class Denied(Refused):
    """A remote does not allow it to whoever asks."""


class StorageFull(Refused):
    """No space, no inodes or no quota left; what was stored before is unharmed."""


class ReadOnlyStore(Refused):
    """The store can be read here, and not written."""


class UpgradeNeeded(ArtstoreError):
    """The store was written by a newer artstore than this one."""

    exit_code = 8


Error = ArtstoreError
UsageError = Invalid
