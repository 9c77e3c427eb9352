"""gzip and deflate, both ways: which one a client wants, and inflation that a small body can't blow up.

Knows no connection; ``deflate`` is the zlib format, as RFC 9110 says.
"""

import zlib
from collections.abc import Iterable
from typing import Final

from dragoman.transport.head import Refusal
from dragoman.transport.request import Buffer

#: Content codings and the window bits that make zlib speak them.
_WINDOW: Final = {"gzip": 31, "x-gzip": 31, "deflate": 15}
CODINGS: Final = "gzip, deflate"
#: How hard answers are compressed, in zlib's levels. The middle one makes them about as small as zlib's default of 6,
#: in about half the time.
LEVELS: Final = {"none": 0, "low": 1, "medium": 4, "high": 9}
_PIECE: Final = 262_144


def known(coding: str) -> bool:
    """Whether a request body in this coding can be inflated."""
    return coding in _WINDOW


def choose(accept: str | None) -> str | None:
    """The coding that an Accept-Encoding header likes best; ``None`` is identity."""
    best, weight = None, 0.0
    refused: set[str] = set()
    wildcard = 0.0
    for item in (accept or "").lower().split(","):
        coding, _, parameters = item.partition(";")
        coding = coding.strip()
        quality = _quality(parameters)
        if coding == "*":
            wildcard = max(wildcard, quality)
        elif coding in _WINDOW:
            if quality == 0:
                refused.add(coding)
            elif quality > weight:
                best, weight = coding, quality
    if wildcard > weight:
        best = next((coding for coding in ("gzip", "deflate") if coding not in refused), best)
    return best


def deflate(buffers: Iterable[Buffer], coding: str, level: int) -> bytes:
    """All of ``buffers`` as one body in ``coding``."""
    compressor = zlib.compressobj(level, zlib.DEFLATED, _WINDOW[coding])
    pieces = [compressor.compress(buffer) for buffer in buffers]
    pieces.append(compressor.flush())
    return b"".join(pieces)


class Inflater:
    """One compressed body on its way to at most ``limit`` bytes, a step at a time."""

    __slots__ = ("_data", "_decompressor", "_limit", "body")

    def __init__(self, data: Buffer, coding: str, limit: int) -> None:
        self._decompressor = zlib.decompressobj(_WINDOW[coding])
        self._data = data
        self._limit = limit
        self.body = bytearray()

    def step(self, budget: int) -> bool:
        """Adds about ``budget`` bytes to ``body``; says whether that was all. Raises Refusal."""
        decompressor, body = self._decompressor, self.body
        end = len(body) + budget
        try:
            while not decompressor.eof and len(body) < end:
                piece = decompressor.decompress(self._data, _PIECE)
                self._data = decompressor.unconsumed_tail
                if not piece and not self._data and not decompressor.eof:
                    raise Refusal(400, "the compressed body ends too early")
                body += piece
                if len(body) > self._limit:
                    raise Refusal(413, f"the body inflates to more than {self._limit} bytes")
        except zlib.error:
            raise Refusal(400, "the compressed body is damaged") from None
        if decompressor.eof and decompressor.unused_data:
            raise Refusal(400, "something follows the compressed body")
        return decompressor.eof


def _quality(parameters: str) -> float:
    for parameter in parameters.split(";"):
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            try:
                return min(max(float(value), 0.0), 1.0)
            except ValueError:
                return 0.0
    return 1.0
