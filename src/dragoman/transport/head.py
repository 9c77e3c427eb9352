"""The rules for a head: bytes in, a checked ``Head`` or a ``Refusal`` out. Knows no socket and no route.

httptools (llhttp) says what is well formed; what is well formed but ambiguous or unwanted is refused here.
"""

import re
from contextlib import suppress
from typing import Any, Final

import httptools

from dragoman.config import LimitSettings
from dragoman.transport.request import Header

_TRANSFER_ENCODING: Final = re.compile(rb"\r\ntransfer-encoding:[ \t]*([^\r\n]*)", re.IGNORECASE)
_HOST: Final = re.compile(rb"[A-Za-z0-9\-._~!$&'()*+,;=:%\[\]]*")
_ABSOLUTE: Final = re.compile(r"https?://[^/?#]+", re.IGNORECASE)
#: Two of these are two opinions, and a proxy in between may hold the other one.
_SINGLE: Final = (b"host", b"authorization", b"content-type", b"expect")


class Refusal(Exception):
    """A request that is answered and closed without a handler having seen it."""

    def __init__(self, status: int, message: str, headers: tuple[Header, ...] = ()) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.headers = headers


class Head:
    """A request line and headers that passed. Shared by requests that send the same bytes: never changed.

    ``length`` is the Content-Length, 0 without one; ``encoding`` the Content-Encoding in lower case, "" for
    identity; ``plain`` says that nothing about the answer's head depends on the request.
    """

    __slots__ = (
        "_as_sent", "_hidden", "_raw", "_values", "accepts_coding", "chunked", "encoding", "expects", "headers",
        "keep_alive", "length", "method", "modern", "notes", "path", "plain", "query",
    )  # fmt: skip

    def __init__(
        self, method: str, target: str, modern: bool, headers: list[tuple[bytes, bytes]], raw: bytes
    ) -> None:
        self._raw = raw
        self.notes: dict[str, Any] = {}
        self._hidden: frozenset[bytes] = frozenset()
        self._as_sent: list[tuple[bytes, bytes]] | None = None
        self.method = method
        self.path, _, self.query = target.partition("?")
        self.modern = modern
        self.headers = headers
        self._values = values = dict(reversed(headers))
        self.length = int(values.get(b"content-length", b"0"))
        self.chunked = b"transfer-encoding" in values
        self.encoding = self._coding() if b"content-encoding" in values else ""
        self.accepts_coding = b"accept-encoding" in values
        self.expects = modern and b"expect" in values
        self.keep_alive = self._stays_open() if b"connection" in values or b"upgrade" in values else modern
        self.plain = modern and self.keep_alive and method != "HEAD"

    def header(self, name: bytes) -> str | None:
        """The value of the first header with this (lower-case) name."""
        value = self._values.get(name)
        return None if value is None else value.decode("latin-1")

    def raw_headers(self) -> list[tuple[bytes, bytes]]:
        """Names as the client wrote them, in its order. Read from the bytes once, and only if somebody asks."""
        if self._as_sent is None:
            sent = _parse(self._raw, _Keeper()).headers
            self._as_sent = [pair for pair in sent if pair[0].lower() not in self._hidden]
        return self._as_sent

    def hide(self, name: bytes) -> None:
        """Leave a header out of all lists; who knows its name can read it still. For all requests with these bytes."""
        self._hidden |= {name}
        self.headers = [pair for pair in self.headers if pair[0] != name]
        self._as_sent = None

    def _coding(self) -> str:
        codings = (value.lower() for name, value in self.headers if name == b"content-encoding")
        return b", ".join(coding for coding in codings if coding != b"identity").decode("latin-1")

    def _stays_open(self) -> bool:
        options = {
            option.strip().lower()
            for name, value in self.headers
            if name == b"connection"
            for option in value.split(b",")
        }
        if b"close" in options or b"upgrade" in self._values:  # not taken: what follows isn't ours
            return False
        return self.modern or b"keep-alive" in options


def parse_head(raw: bytes, limits: LimitSettings) -> Head:
    """Reads ``raw``, which ends with the first empty line. Raises Refusal."""
    line = raw[: raw.index(b"\r\n")]
    parts = line.split(b" ")
    if len(parts) != 3:
        raise Refusal(400, "malformed request line")
    method, target, version = parts
    if version not in (b"HTTP/1.1", b"HTTP/1.0"):
        known = version[:5] == b"HTTP/" and version[5:6].isdigit()
        raise Refusal(505, "this is an HTTP/1.1 server") if known else Refusal(400, "malformed request line")
    if method == b"CONNECT":
        raise Refusal(501, "this is no proxy")
    try:
        collector = _parse(raw, _Collector())
    except httptools.HttpParserError as error:
        if any(value.strip().lower() != b"chunked" for value in _TRANSFER_ENCODING.findall(raw)):
            raise Refusal(501, "Transfer-Encoding can only be chunked") from None
        raise Refusal(400, f"malformed request: {error}") from None
    modern = version == b"HTTP/1.1"
    _check(collector.headers, modern, limits)
    return Head(method.decode(), _path_of(method, target.decode()), modern, collector.headers, raw)


def cut_head(data: bytearray, limits: LimitSettings) -> bytes | None:
    """The head at the front of ``data``, which keeps it; ``None`` while its end has not come.

    Raises Refusal for what is too long already, or can't become a head: nobody need wait for the rest of it.
    """
    most = limits.header_bytes
    end = data.find(b"\r\n\r\n", 0, most)
    if end >= 0:
        return bytes(data[: end + 4])
    line = data.find(b"\r\n", 0, most)
    if len(data) >= most:
        if line < 0:
            raise Refusal(414, f"the request line is longer than {most} bytes")
        raise Refusal(431, f"the request's head is longer than {most} bytes")
    if (data and not data[:1].isalpha()) or (line >= 0 and data.count(b" ", 0, line) != 2):
        raise Refusal(400, "malformed request line")
    if data.count(b"\n") != data.count(b"\r\n"):
        raise Refusal(400, "a line feed without a carriage return")
    return None


class _Collector:
    """What httptools calls."""

    def __init__(self) -> None:
        self.headers: list[tuple[bytes, bytes]] = []

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name.lower(), value.rstrip(b" \t")))


class _Keeper(_Collector):
    """Leaves names as they are."""

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name, value.rstrip(b" \t")))


def _parse(raw: bytes, collector: _Collector) -> _Collector:
    """Fills the collector. Raises httptools.HttpParserError."""
    with suppress(httptools.HttpParserUpgrade):  # offered, not accepted: the request is answered as it is
        httptools.HttpRequestParser(collector).feed_data(raw)
    return collector


def _check(headers: list[tuple[bytes, bytes]], modern: bool, limits: LimitSettings) -> None:
    if len(headers) > limits.header_count:
        raise Refusal(431, f"more than {limits.header_count} header lines")
    values = dict(headers)
    if len(values) != len(headers):
        names = [name for name, _ in headers]
        for name in _SINGLE:
            if names.count(name) > 1:
                raise Refusal(400, f"more than one {name.decode().title()} header")
    host = values.get(b"host")
    if host is None and modern:
        raise Refusal(400, "no Host header")
    if host is not None and not _HOST.fullmatch(host):
        raise Refusal(400, "malformed Host header")
    coding = values.get(b"transfer-encoding", b"chunked")
    if coding.lower() != b"chunked":
        raise Refusal(501, "Transfer-Encoding can only be chunked")
    if b"transfer-encoding" in values and not modern:
        raise Refusal(400, "HTTP/1.0 has no Transfer-Encoding")
    if modern and values.get(b"expect", b"100-continue").lower() != b"100-continue":
        raise Refusal(417, "only 100-continue can be expected")


def _path_of(method: bytes, target: str) -> str:
    """The path and query of a target in any of its forms."""
    if target.startswith("/") or (target == "*" and method == b"OPTIONS"):
        return target
    absolute = _ABSOLUTE.match(target)
    if absolute is None:
        raise Refusal(400, "malformed request target")
    rest = target[absolute.end() :]
    return rest if rest.startswith("/") else "/" + rest
