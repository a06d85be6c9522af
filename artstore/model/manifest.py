"""Manifests: the sorted entries of a version.

Full form (what the digest is over), UTF-8, one line for each entry in code point order of the paths, fields split by
tabs, which no path can hold:

    artstore-manifest 1
    blake3:<hex>    <size>    <path>
    =<checksum>     <size or ->    <path>    <uri>    <extra as sorted JSON>

A reference whose URI is `artstore://<project>/<version id>/<path>` points to a file of another version; its checksum is
the digest of that file's bytes, which are kept here like any blob's.

An *encoding* is zstd over the full form, or over a difference to a manifest that the reader holds: a line
`-<tab><path>` for each entry that went, and the full line of each that came or changed. Decoding hashes the result, so
that either encoding satisfies the name; zstd's own checksum says whether a difference is whole where its base is not at
hand.

Chose lines of text because they can be read, compared and rescued with ordinary tools; instead of canonical JSON, which
takes four times as long to write and to hash; look again when an entry needs more than these fields.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, NamedTuple

import msgspec
import zstandard
from blake3 import blake3

from artstore.errors import Corrupt, Invalid, UpgradeNeeded
from artstore.model.digest import ALGORITHM, Digest

HEADER: Final = b"artstore-manifest 1\n"
LEVEL: Final = 3
"""zstd level: digests do not compress, so a higher one costs time and gains nothing."""

LINES_AT_ONCE: Final = 20_000
_GONE: Final = "-"
_UNKNOWN_SIZE: Final = "-"
_LONGEST_LINE: Final = 16 << 20
"""Bytes: longer than any path, address and note together."""


class BlobEntry(msgspec.Struct, frozen=True, gc=False):
    """A path whose bytes are kept here."""

    path: str
    digest: Digest
    size: int
    """Bytes."""

    def line(self) -> str:
        """The line of the full form."""
        return f"blake3:{self.digest.hex()}\t{self.size}\t{self.path}\n"


class ReferenceEntry(msgspec.Struct, frozen=True, gc=False):
    """A path whose bytes stay where a URI says."""

    path: str
    uri: str
    checksum: str
    """What the owner of the bytes calls this state of them: an ETag, a generation, a digest. Compared, never parsed."""
    size: int | None
    """Bytes, where the owner says."""
    extra: str = "{}"
    """What is needed to fetch the same state again, as sorted JSON: the version of an object, the raw ETag."""

    def line(self) -> str:
        """The line of the full form."""
        size = _UNKNOWN_SIZE if self.size is None else self.size
        return f"={self.checksum}\t{size}\t{self.path}\t{self.uri}\t{self.extra}\n"


Entry = BlobEntry | ReferenceEntry

POINTER: Final = "artstore://"
"""How the URI begins of what points to a file of another version."""


class Pointed(NamedTuple):
    """What an entry points to that is a file of another version."""

    project: str
    version: str
    """The version's id."""
    path: str


class Difference(msgspec.Struct, frozen=True):
    """What turns one manifest into another."""

    gone: list[str]
    come: list[Entry]
    """New and changed entries, sorted by path."""

    @property
    def weight(self) -> int:
        """How many rows it takes."""
        return len(self.gone) + len(self.come)


class Encoding(msgspec.Struct, frozen=True):
    """The bytes of a manifest as they are kept or sent."""

    digest: Digest
    """Of the manifest's full form."""
    base: Digest | None
    """The manifest to which the data is a difference; None if the data is the full form."""
    entries: int
    """How many the manifest has."""
    data: bytes
    """zstd."""


def reference(path: str, uri: str, *, checksum: str, size: int | None, extra: Mapping[str, Any]) -> ReferenceEntry:
    """A reference whose fields fit a line. Raises Invalid (bad-reference) where a URI or a checksum cannot."""
    for what, text in (("URI", uri), ("checksum", checksum)):
        if not text.isprintable():
            message = f"the {what} {text!r} of {path!r} holds characters that cannot be written: percent-encode them"
            raise Invalid(message, code="bad-reference")
    written = json.dumps(extra, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return ReferenceEntry(path=path, uri=uri, checksum=checksum, size=size, extra=written)


def pointer(path: str, project: str, version: str, file: BlobEntry) -> ReferenceEntry:
    """An entry that points to a file of a version, which is given by its id."""
    uri = f"{POINTER}{project}/{version}/{file.path}"
    return ReferenceEntry(path=path, uri=uri, checksum=str(file.digest), size=file.size)


def pointed(entry: Entry) -> Pointed | None:
    """What an entry points to, if that is a file of a version of a store."""
    if not isinstance(entry, ReferenceEntry) or not entry.uri.startswith(POINTER):
        return None
    project, _, rest = entry.uri.removeprefix(POINTER).partition("/")
    version, _, path = rest.partition("/")
    return Pointed(project, version, path) if version.startswith(f"{ALGORITHM}:") and path else None


def blob_of(entry: Entry) -> BlobEntry | None:
    """The bytes at a path, if a store keeps them: its own, or those of the file that it points to."""
    if isinstance(entry, BlobEntry):
        return entry
    if pointed(entry) is None or entry.size is None:
        return None
    try:
        return BlobEntry(entry.path, Digest.parse(entry.checksum), entry.size)
    except ValueError:
        return None


def digest_of_lines(lines: Iterable[str]) -> Digest:
    """The digest of the manifest that has these lines, already in order."""
    hasher = blake3(HEADER)
    batch: list[str] = []
    for line in lines:
        batch.append(line)
        if len(batch) >= LINES_AT_ONCE:
            hasher.update("".join(batch).encode())
            batch.clear()
    hasher.update("".join(batch).encode())
    return Digest(hasher.digest())


def encode_full(digest: Digest, lines: Iterable[str]) -> Encoding:
    """The encoding that needs no base; digest is that of the same lines."""
    compressor = zstandard.ZstdCompressor(level=LEVEL, write_checksum=True).compressobj()
    parts = [compressor.compress(HEADER)]
    batch: list[str] = []
    count = 0
    for line in lines:
        batch.append(line)
        if len(batch) >= LINES_AT_ONCE:
            parts.append(compressor.compress("".join(batch).encode()))
            count += len(batch)
            batch.clear()
    parts.append(compressor.compress("".join(batch).encode()))
    parts.append(compressor.flush())
    return Encoding(digest=digest, base=None, entries=count + len(batch), data=b"".join(parts))


def encode_difference(digest: Digest, base: Digest, difference: Difference, entries: int) -> Encoding:
    """The encoding of `digest`, which has so many entries, for a reader that holds `base`."""
    text = "".join([f"{_GONE}\t{path}\n" for path in difference.gone] + [e.line() for e in difference.come])
    data = zstandard.ZstdCompressor(level=LEVEL, write_checksum=True).compress(text.encode())
    return Encoding(digest=digest, base=base, entries=entries, data=data)


def decode_difference(encoding: Encoding) -> Difference:
    """What an encoding against a base says; its digest can be checked only together with that base."""
    gone: list[str] = []
    come: list[Entry] = []
    for line in _lines(encoding):
        if line.startswith(_GONE + "\t"):
            gone.append(line[2:])
        else:
            come.append(parse_line(line))
    return Difference(gone=gone, come=come)


def decode_full(encoding: Encoding) -> Iterator[Entry]:
    """The entries of an encoding without a base, in order; raises Corrupt at the end where the digest differs.

    Raises UpgradeNeeded (newer-manifest) where a newer artstore wrote it: to read it as far as it goes would be to lose
    what it says besides.
    """
    hasher = blake3()
    lines = _lines(encoding, hasher)
    header = next(lines, "") + "\n"
    if _is_newer(header):
        # A flipped bit can look like it, and is none where the digest is right.
        for _line in lines:
            pass
        if hasher.digest() == encoding.digest:
            message = f"manifest {encoding.digest} has the form {header.strip()!r}: install a newer artstore"
            raise UpgradeNeeded(message, code="newer-manifest")
    if header.encode() != HEADER:
        message = f"manifest {encoding.digest} has the header {header!r}, which this version does not read"
        raise Corrupt(message, code="manifest-damaged")
    for line in lines:
        yield parse_line(line)
    if hasher.digest() != encoding.digest:
        message = f"manifest {encoding.digest} decodes to {Digest(hasher.digest())}. Run `artstore verify`"
        raise Corrupt(message, code="digest-mismatch")


def measure(encoding: Encoding) -> Iterator[int]:
    """The bytes of each line of what an encoding holds, without its end, in no more memory than a few MiB.

    Raises Corrupt (manifest-damaged).
    """
    for line in _lines(encoding):
        yield len(line)


def decode_encodings(data: bytes) -> list[Encoding]:
    """Several encodings, as MessagePack has them, not verified. Raises Corrupt (manifest-damaged)."""
    try:
        return msgspec.msgpack.decode(data, type=list[Encoding], dec_hook=lambda kind, value: kind(value))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        message = f"what should hold manifests cannot be read: {error}"
        raise Corrupt(message, code="manifest-damaged") from error


def satisfies(encoding: Encoding) -> bool:
    """Whether what an encoding without a base holds is what its digest says. Raises Corrupt where it holds no text."""
    hasher = blake3()
    for _line in _lines(encoding, hasher):
        pass
    return hasher.digest() == encoding.digest


def apply(base: Iterable[Entry], difference: Difference) -> Iterator[Entry]:
    """The entries of base with the difference made, in order."""
    gone = set(difference.gone)
    come = iter(difference.come)
    new = next(come, None)
    for old in base:
        while new is not None and new.path < old.path:
            yield new
            new = next(come, None)
        if new is not None and new.path == old.path:
            yield new
            new = next(come, None)
        elif old.path not in gone:
            yield old
    if new is not None:
        yield new
        yield from come


def difference_between(before: Iterable[Entry], after: Iterable[Entry]) -> Difference:
    """What turns `before` into `after`; both sorted by path, each read once."""
    gone: list[str] = []
    come: list[Entry] = []
    old_entries, new_entries = iter(before), iter(after)
    old, new = next(old_entries, None), next(new_entries, None)
    while old is not None or new is not None:
        if old == new:
            # Nearly all of them.
            old, new = next(old_entries, None), next(new_entries, None)
        elif new is None or (old is not None and old.path < new.path):
            assert old is not None
            gone.append(old.path)
            old = next(old_entries, None)
        elif old is None or new.path < old.path:
            come.append(new)
            new = next(new_entries, None)
        else:
            come.append(new)
            old, new = next(old_entries, None), next(new_entries, None)
    return Difference(gone=gone, come=come)


def parse_line(line: str) -> Entry:
    """Read a line of the full form, without its end. Raises Corrupt (manifest-damaged)."""
    fields = line.split("\t")
    try:
        if line.startswith("="):
            checksum, size, path, uri, extra = fields
            known = None if size == _UNKNOWN_SIZE else int(size)
            return ReferenceEntry(path=path, uri=uri, checksum=checksum[1:], size=known, extra=extra)
        digest, size, path = fields
        return BlobEntry(path=path, digest=Digest.parse(digest), size=int(size))
    except ValueError as error:
        message = f"a manifest holds the line {line!r}, which is not an entry. Run `artstore verify`"
        raise Corrupt(message, code="manifest-damaged") from error


def _is_newer(header: str) -> bool:
    name, _, form = header.strip().partition(" ")
    own_name, _, own_form = HEADER.decode().strip().partition(" ")
    return name == own_name and form.isdecimal() and int(form) > int(own_form)


def _lines(encoding: Encoding, hasher: blake3 | None = None) -> Iterator[str]:
    """The lines of an encoding; `hasher` is told all of them, some at a time."""
    rest, size = b"", 0
    try:
        for piece in zstandard.ZstdDecompressor().read_to_iter(encoding.data, read_size=1 << 20, write_size=1 << 20):
            size += len(piece)
            # Cut at the last end of line: a piece may end inside a character.
            cut = piece.rfind(b"\n") + 1
            if cut:
                lines = rest + piece[:cut]
                if hasher is not None:
                    hasher.update(lines)
                yield from lines.decode()[:-1].split("\n")
                rest = piece[cut:]
            else:
                rest += piece
                if len(rest) > _LONGEST_LINE:
                    # A few KB of zstd can say that many GB follow.
                    message = f"manifest {encoding.digest} has a line without an end. Run `artstore verify`"
                    raise Corrupt(message, code="manifest-damaged")
        # Of a full one its digest says that it is all.
        is_all = encoding.base is None or zstandard.frame_content_size(encoding.data) == size
    except (zstandard.ZstdError, UnicodeDecodeError) as error:
        message = f"manifest {encoding.digest} cannot be decoded: {error}. Run `artstore verify`"
        raise Corrupt(message, code="manifest-damaged") from error
    if rest or not is_all:
        message = f"manifest {encoding.digest} is cut short. Run `artstore verify`"
        raise Corrupt(message, code="manifest-damaged")
