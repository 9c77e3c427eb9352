"""Forms, in both of their encodings: a body to named fields. Writes no file and knows no request.

Sizes of the whole are the transport's business; here is what one body may hold: how many fields, and how much
of it may be headers.
"""

import logging
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import unquote_to_bytes

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from dragoman.errors import InvalidInput, TooLarge

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

MULTIPART: Final = "multipart/form-data"
URLENCODED: Final = "application/x-www-form-urlencoded"

MAX_FIELDS: Final = 1000
#: RFC 2046, 5.1.1: a boundary has at most 70 characters.
MAX_BOUNDARY: Final = 70
MAX_HEADERS: Final = 16
MAX_HEADER: Final = 8192
#: Semicolons of a header that has parameters: taking them apart costs their square.
MAX_PARAMETERS: Final = 100

_silent = logging.Logger(
    "dragoman.multipart", logging.CRITICAL + 1
)  # a client's mistakes are told to the client


class Field(NamedTuple):
    """One part. ``content_type`` is a file's MIME type without its parameters; plain fields have none."""

    name: str
    value: bytes
    content_type: str = ""


def media_type(content_type: str) -> str:
    """The type alone, in lower case."""
    return content_type.partition(";")[0].strip().lower()


def parse_multipart(body: bytes, content_type: str) -> list[Field]:
    """The parts in their order, names perhaps more than once. Raises InvalidInput and TooLarge."""
    _, options = _parse_parameters(content_type.encode("latin-1", "replace"))
    boundary = options.get(b"boundary", b"")
    if not 0 < len(boundary) <= MAX_BOUNDARY:
        raise InvalidInput(f"multipart/form-data needs a boundary of 1 to {MAX_BOUNDARY} characters")
    collector = _Collector()
    try:
        parser = MultipartParser(
            boundary, collector.callbacks(), max_header_count=MAX_HEADERS, max_header_size=MAX_HEADER
        )
        parser.logger = _silent
        parser.write(body)
    except FormParserError as error:
        raise InvalidInput(f"malformed multipart/form-data: {error}") from None
    if not collector.ended:
        raise InvalidInput("malformed multipart/form-data: the last boundary is missing")
    return collector.fields


def parse_urlencoded(body: bytes) -> list[Field]:
    """The pairs in their order, names perhaps more than once. Raises InvalidInput and TooLarge."""
    if not body:
        return []
    if body.count(b"&") >= MAX_FIELDS:
        raise TooLarge(f"a form has at most {MAX_FIELDS} fields")
    pairs = (pair.partition(b"=") for pair in body.replace(b"+", b" ").split(b"&") if pair)
    return [Field(_text(unquote_to_bytes(name)), unquote_to_bytes(value)) for name, _, value in pairs]


def _parse_parameters(value: bytes) -> tuple[bytes, dict[bytes, bytes]]:
    if value.count(b";") > MAX_PARAMETERS:
        raise InvalidInput(f"a header has more than {MAX_PARAMETERS} parameters")
    return parse_options_header(value)


def _text(name: bytes) -> str:
    try:
        return name.decode()
    except UnicodeDecodeError:
        raise InvalidInput(
            "the form has a field name that is not UTF-8; a body that is no form needs another Content-Type,"
            " for example application/octet-stream"
        ) from None


class _Collector:
    """What the parser calls: slices of the body it was given."""

    def __init__(self) -> None:
        self.fields: list[Field] = []
        self.ended = False
        self._headers: dict[bytes, bytes] = {}
        self._name = b""
        self._value = b""
        self._pieces: list[bytes] = []

    def callbacks(self) -> "MultipartCallbacks":
        return {
            "on_part_begin": self._begin,
            "on_header_field": self._header_name,
            "on_header_value": self._header_value,
            "on_header_end": self._header_end,
            "on_part_data": self._data,
            "on_part_end": self._end,
            "on_end": self._finish,
        }

    def _begin(self) -> None:
        if len(self.fields) >= MAX_FIELDS:
            raise TooLarge(f"a form has at most {MAX_FIELDS} fields")
        self._headers = {}
        self._pieces = []

    def _header_name(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _header_end(self) -> None:
        self._headers.setdefault(self._name.lower(), self._value)
        self._name = self._value = b""

    def _data(self, data: bytes, start: int, end: int) -> None:
        self._pieces.append(data[start:end])

    def _end(self) -> None:
        kind, options = _parse_parameters(self._headers.get(b"content-disposition", b""))
        name = options.get(b"name")
        if kind != b"form-data" or not name:
            raise InvalidInput("malformed multipart/form-data: a part has no name")
        content_type = ""
        if b"filename" in options:  # without one it is a plain field, whatever type it claims
            given = self._headers.get(b"content-type", b"application/octet-stream")
            content_type = media_type(given.decode("latin-1"))
        self.fields.append(Field(_text(name), b"".join(self._pieces), content_type))

    def _finish(self) -> None:
        self.ended = True
