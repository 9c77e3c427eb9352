"""JSON text: parsed with a limit on whatever a stranger could pile up, written with arrays of numpy in it.

Knows the text, not what it means.
"""

import json
from collections.abc import Iterator
from typing import Any, Final

import numpy as np
import orjson

from dragoman.errors import InvalidInput, InvalidOutput, TooLarge
from dragoman.tensors.raw import Buffer

#: The most values one JSON body may hold. A value takes two bytes on the wire and up to 32 in memory.
MAX_JSON_VALUES: Final = 2**23
#: The most arrays and objects. An object of eight bytes on the wire takes two hundred in memory.
MAX_JSON_CONTAINERS: Final = 2**20

_CHUNK: Final = 1 << 16
_ALL: Final = bytes(range(256))
_STEPS: Final = np.zeros(256, np.int8)
_STEPS[[*b"[{"]] = 1
_STEPS[[*b"]}"]] = -1


def parse_json(body: Buffer, max_depth: int = 100) -> Any:
    """The document in ``body``. NaN, Infinity and -Infinity are numbers, as some clients write them.

    Raises InvalidInput for what is not JSON or is nested too deeply, TooLarge for too many values.
    """
    text = bytes(body)
    check_json_depth(text, max_depth)
    if len(text) > MAX_JSON_VALUES and text.count(b",") > MAX_JSON_VALUES:
        raise TooLarge(f"the request JSON holds more than {MAX_JSON_VALUES} values")
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        if b"NaN" not in text and b"Infinity" not in text:
            raise _unparsable(error) from None
    return _parse_with_constants(text)


def _parse_with_constants(text: bytes) -> Any:
    """Both parsers must agree: orjson, the strict one, is shown zeros; the standard one gives the values."""
    plain = text.replace(b"-Infinity", b"0").replace(b"Infinity", b"0").replace(b"NaN", b"0")
    try:
        orjson.loads(plain)
        return json.loads(text.decode())
    except json.JSONDecodeError as error:
        raise _unparsable(error) from None
    except (ValueError, RecursionError):
        raise InvalidInput("failed to parse the request JSON buffer: Invalid value. at 0") from None


def _unparsable(error: json.JSONDecodeError) -> InvalidInput:
    return InvalidInput(f"failed to parse the request JSON buffer: {error.msg} at {error.pos}")


def check_json_depth(body: bytes, limit: int) -> None:
    """Refuse a body nested more than ``limit`` deep before a parser sees it, in linear time."""
    if body.count(b"[") + body.count(b"{") <= limit:
        return
    depth = opened = 0
    for chunk in _outside_strings(body, b"[]{}"):
        steps = _STEPS[chunk]
        running = np.cumsum(steps, dtype=np.int64)
        if running.size and depth + running.max() > limit:
            raise InvalidInput(f"JSON nesting depth exceeds maximum allowed limit ({limit})")
        depth += int(running[-1]) if running.size else 0
        opened += int(np.count_nonzero(steps == 1))
        if opened > MAX_JSON_CONTAINERS:
            raise TooLarge(f"the request JSON holds more than {MAX_JSON_CONTAINERS} arrays and objects")


def check_json_keys(body: Buffer, document: Any, met: int) -> None:
    """Refuse an object that says a key twice; a parser would keep the last and not tell.

    ``met`` is how many keys the codec counted on its way. Nearly always that is how many colons there
    are: then all is well and nothing is walked.
    """
    text = bytes(body)  # for free, if they are bytes
    if text.count(b":") == met:
        return
    colons = sum(int(np.count_nonzero(chunk == ord(":"))) for chunk in _outside_strings(text, b":"))
    if colons != met and colons != _count_keys(document):
        raise InvalidInput("failed to parse the request JSON buffer: an object has the same key twice")


def _count_keys(document: Any) -> int:
    count, stack = 0, [document]
    while stack:
        value = stack.pop()
        if type(value) is dict:
            count += len(value)
            stack.extend(value.values())
        elif type(value) is list:
            stack.extend(item for item in value if type(item) is dict or type(item) is list)
    return count


def _outside_strings(body: bytes, keep: bytes) -> Iterator[np.ndarray[Any, np.dtype[np.uint8]]]:
    """The bytes of ``keep`` that are not in a string of the JSON text ``body``, in chunks."""
    if b"\\" in body:
        body = body.replace(b"\\\\", b"").replace(b'\\"', b"")
    reduced = np.frombuffer(body.translate(None, _ALL.translate(None, keep + b'"')), np.uint8)
    quotes = 0
    for start in range(0, reduced.size, _CHUNK):
        chunk = reduced[start : start + _CHUNK]
        quote = chunk == ord('"')
        inside = (np.cumsum(quote) + quotes) & 1
        yield chunk[(inside == 0) & ~quote]
        quotes += int(np.count_nonzero(quote))


def dump_json(document: Any) -> bytes:
    """The document as compact JSON; arrays of numpy are fine. Raises InvalidOutput for anything odd."""
    try:
        return orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY)
    except orjson.JSONEncodeError as error:
        raise InvalidOutput(f"the answer can't be written as JSON: {error}") from None
