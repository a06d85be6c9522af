"""Protobuf: messages by field number, without their schema.

Format: the wire format at protobuf.dev, "Encoding". Groups, which nobody has written for fifteen years, are refused.
"""

from __future__ import annotations

from typing import Final, Never

from artstore.errors import Corrupt

_VARINT: Final = 0
_I64: Final = 1
_BYTES: Final = 2
_I32: Final = 5
_LONGEST_VARINT: Final = 10
_SIGN: Final = 1 << 63


class Message:
    """The fields of one message. What is absent is what protobuf says: an empty text, zero, no message."""

    def __init__(self, data: bytes) -> None:
        """Parse. Raises Corrupt (bad-protobuf)."""
        self._fields: dict[int, list[int | bytes]] = {}
        place = 0
        while place < len(data):
            tag, place = _varint(data, place)
            number, wire = tag >> 3, tag & 7
            value: int | bytes
            if wire == _VARINT:
                value, place = _varint(data, place)
            else:
                if wire == _BYTES:
                    size, place = _varint(data, place)
                elif wire in (_I64, _I32):
                    size = 8 if wire == _I64 else 4
                else:
                    _refuse(f"a field of wire type {wire}")
                value = data[place : place + size]
                place += size
            if place > len(data):
                _refuse("a field that goes beyond its end")
            self._fields.setdefault(number, []).append(value)

    def has(self, number: int) -> bool:
        """Whether the field is there."""
        return number in self._fields

    def text(self, number: int) -> str:
        """A field of text; the last one counts."""
        return _text(self._fields.get(number, [b""])[-1])

    def texts(self, number: int) -> list[str]:
        """A repeated field of texts."""
        return [_text(each) for each in self._fields.get(number, [])]

    def integer(self, number: int) -> int:
        """A field of a signed whole number."""
        value = self._fields.get(number, [0])[-1]
        if not isinstance(value, int):
            _refuse("something else where a number should be")
        return value - 2 * _SIGN if value >= _SIGN else value

    def messages(self, number: int) -> list[Message]:
        """A repeated field of messages."""
        return [Message(_bytes(each)) for each in self._fields.get(number, [])]

    def message(self, number: int) -> Message:
        """A field of a message; an empty one where it is absent."""
        return Message(_bytes(self._fields.get(number, [b""])[-1]))


def _varint(data: bytes, place: int) -> tuple[int, int]:
    value = 0
    for shift in range(_LONGEST_VARINT):
        if place >= len(data):
            break
        byte = data[place]
        place += 1
        value |= (byte & 0x7F) << (7 * shift)
        if byte < 0x80:  # noqa: PLR2004 - the bit that says that more follows
            return value, place
    return _refuse("a number that does not end")


def _bytes(value: int | bytes) -> bytes:
    return value if isinstance(value, bytes) else _refuse("a number where text should be")


def _text(value: int | bytes) -> str:
    try:
        return _bytes(value).decode()
    except UnicodeDecodeError:
        return _refuse("text that is not UTF-8")


def _refuse(what: str) -> Never:
    message = f"it holds {what}"
    raise Corrupt(message, code="bad-protobuf")
