"""The bytes of a message, one level deep: to take big fields out of it without a copy, and to put them in.

Knows tags and lengths; what a field means is the codecs' business.
"""

from typing import Final

_LENGTH_DELIMITED: Final = 2
#: Bytes behind the tag of a field of fixed size, by its wire type.
_FIXED: Final = {1: 8, 5: 4}
_LONGEST_VARINT: Final = 10


class Malformed(ValueError):
    """The bytes are no message."""


class TooMany(Malformed):
    """The message has more fields than is good."""


def varint(number: int) -> bytes:
    """A number that is not negative."""
    if number < 0x80:
        return bytes((number,))
    pieces = bytearray()
    while number > 0x7F:
        pieces.append(number & 0x7F | 0x80)
        number >>= 7
    pieces.append(number)
    return bytes(pieces)


def tag(field: int) -> bytes:
    """What precedes the length of a text, bytes or message in this field."""
    return varint(field << 3 | _LENGTH_DELIMITED)


def cut(message: bytes, field: int, most: int) -> tuple[bytes, list[memoryview]]:
    """A message without a field of bytes, and that field's values in their order, as views.

    What is left is a message again: the rest of its fields, as they were. Raises Malformed, and TooMany where it has
    more than ``most`` fields: two bytes of a message are enough for a field, and a field takes a hundred in memory.
    """
    view = memoryview(message)
    wanted = field << 3 | _LENGTH_DELIMITED
    kept: list[memoryview] = []
    values: list[memoryview] = []
    at, end, kept_from, count = 0, len(message), 0, 0
    while at < end:
        count += 1
        if count > most:
            raise TooMany(f"more than {most} fields")
        start = at
        key, at = _read_varint(message, at, end)
        kind = key & 7
        if kind == _LENGTH_DELIMITED:
            length, at = _read_varint(message, at, end)
            at += length
        elif kind == 0:
            _, at = _read_varint(message, at, end)
        elif kind in _FIXED:
            at += _FIXED[kind]
        else:
            raise Malformed(f"a field of wire type {kind}")
        if at > end:
            raise Malformed("a field that goes on beyond the end")
        if key == wanted:
            kept.append(view[kept_from:start])
            values.append(view[at - length : at])
            kept_from = at
    kept.append(view[kept_from:])
    return b"".join(kept), values


def _read_varint(message: bytes, at: int, end: int) -> tuple[int, int]:
    number = shift = 0
    while at < end and shift < 7 * _LONGEST_VARINT:
        byte = message[at]
        at += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number, at
        shift += 7
    raise Malformed("a number without an end")
