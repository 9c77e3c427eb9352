"""The head of an answer, as bytes. Knows no connection and no request."""

from collections.abc import Iterable
from functools import lru_cache
from typing import Final, NamedTuple

from dragoman.transport.request import Buffer, Header, Lines
from dragoman.transport.status import REASONS

CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
#: For answers that may be compressed: what a cache has to know.
VARY: Final = "Vary: Accept-Encoding\r\n"
#: Statuses whose answers have no body, whatever the handler says.
BODILESS: Final = frozenset({204, 304})
_FRAMING: Final = frozenset({"connection", "content-length", "transfer-encoding", "keep-alive"})


class Extra(NamedTuple):
    """A handler's headers: what is sent of them, and what they say about framing."""

    text: str = ""
    length: int | None = None
    close: bool = False


@lru_cache(maxsize=512)
def opening(status: int, reason: str | None, content_type: str) -> str:
    """The answer's first lines, up to a handler's own headers. Raises ValueError."""
    return status_line(status, reason) + content_type_line(content_type)


def status_line(status: int, reason: str | None = None) -> str:
    """The first line, with a reason for people: the status' usual one unless another is given. Raises ValueError."""
    return f"HTTP/1.1 {status} {REASONS.get(status, 'Unknown') if reason is None else _checked(reason)}\r\n"


def content_type_line(content_type: str) -> str:
    """The Content-Type header, nothing without a type. Raises ValueError."""
    return f"Content-Type: {_checked(content_type)}\r\n" if content_type else ""


def read_headers(headers: Iterable[Header]) -> Extra:
    """Separates a handler's headers from the ones that are ours to write. Raises ValueError."""
    lines = []
    length: int | None = None
    close = False
    for name, value in headers:
        lower = name.lower()
        if lower not in _FRAMING:
            if not name or ":" in name or " " in name:
                raise ValueError(f"a header can't be called {name!r}")
            lines.append(_checked(f"{name}: {value}") + "\r\n")
        elif lower == "content-length":
            length = int(value)
        elif lower == "connection":
            close = "close" in value.lower()
    return Extra("".join(lines), length, close)


def lines_of(headers: Iterable[Header]) -> Lines:
    """Headers that many answers have in common, checked and put into words once. Raises ValueError."""
    extra = read_headers(headers)
    if extra != Extra(extra.text):
        raise ValueError("an answer's framing is not its handler's business")
    return Lines(extra.text)


def size_of(buffer: Buffer) -> int:
    """How many bytes a buffer has; ``len`` counts elements."""
    return buffer.nbytes if isinstance(buffer, memoryview) else len(buffer)


def flat(buffer: Buffer) -> Buffer:
    """The same memory as plain bytes, whatever its shape and type: sockets count elements. Raises TypeError."""
    if isinstance(buffer, memoryview):
        return buffer if buffer.itemsize == 1 and buffer.ndim == 1 else buffer.cast("B")
    if not isinstance(buffer, bytes | bytearray):
        raise TypeError(f"an answer is made of bytes, got {type(buffer).__name__}")
    return buffer


def _checked(text: str) -> str:
    if "\r" in text or "\n" in text or "\0" in text:
        raise ValueError(f"a header can't hold a line break, got {text!r}")
    return text
