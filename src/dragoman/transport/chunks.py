"""Takes the framing off a chunked body, strictly and within limits. Knows no socket and no clock."""

import re
from typing import Final

from dragoman.config import LimitSettings
from dragoman.transport.head import Refusal

_SIZE: Final = re.compile(rb"([0-9A-Fa-f]{1,16})((?:;[\t\x20-\x7e\x80-\xff]*)?)")
_TRAILER: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+:[\t\x20-\x7e\x80-\xff]*")
_LONGEST_LINE: Final = 8192


class ChunkDecoder:
    """One body's state.

    ::

        SIZE ──► DATA ──► BREAK ──► SIZE      a line with the size, the bytes, CRLF
        SIZE 0 ──► TRAILER ──► done           lines until an empty one; they are checked and dropped
    """

    __slots__ = ("_count", "_left", "_limits", "_overhead", "_read", "_total", "_trailers", "done")

    def __init__(self, limits: LimitSettings) -> None:
        self._limits = limits
        self._read = self._read_size
        self._left = 0
        self._total = 0
        self._count = 0
        self._trailers = 0
        self._overhead = 0  # bytes of chunk extensions and trailers: nobody reads them, so they are few
        self.done = False

    def decode(self, data: bytearray) -> list[bytes]:
        """Takes what it can off the front of ``data``. Raises Refusal; sets ``done`` at the body's end."""
        pieces: list[bytes] = []
        at = 0
        while not self.done:
            after = self._read(data, at, pieces)
            if after < 0:
                break
            at = after
        del data[:at]
        return pieces

    # Each reader returns where it got to, or -1 when it needs more bytes.

    def _read_size(self, data: bytearray, at: int, pieces: list[bytes]) -> int:
        end = _line_end(data, at)
        if end < 0:
            return end
        match = _SIZE.fullmatch(data, at, end)
        if match is None:
            raise Refusal(400, "malformed chunk size")
        self._spend(len(match[2]))
        size = int(match[1], 16)
        if size == 0:
            self._read = self._read_trailer
            return end + 2
        self._count += 1
        self._total += size
        if self._count > self._limits.chunks:
            raise Refusal(413, f"more than {self._limits.chunks} chunks")
        if self._total > self._limits.body_bytes:
            raise Refusal(413, f"the body is longer than {self._limits.body_bytes} bytes")
        self._left = size
        self._read = self._read_data
        return end + 2

    def _read_data(self, data: bytearray, at: int, pieces: list[bytes]) -> int:
        if at >= len(data):
            return -1
        with memoryview(data) as view:
            piece = view[at : at + self._left].tobytes()
        pieces.append(piece)
        self._left -= len(piece)
        if self._left == 0:
            self._read = self._read_break
        return at + len(piece)

    def _read_break(self, data: bytearray, at: int, pieces: list[bytes]) -> int:
        found = data[at : at + 2]
        if not b"\r\n".startswith(found):
            raise Refusal(400, "malformed chunk end")
        if len(found) < 2:
            return -1
        self._read = self._read_size
        return at + 2

    def _read_trailer(self, data: bytearray, at: int, pieces: list[bytes]) -> int:
        end = _line_end(data, at)
        if end < 0:
            return end
        if end == at:
            self.done = True
            return end + 2
        self._spend(end - at)
        self._trailers += 1
        if self._trailers > self._limits.header_count:
            raise Refusal(431, f"more than {self._limits.header_count} trailers")
        if _TRAILER.fullmatch(data, at, end) is None:
            raise Refusal(400, "malformed trailer")
        return end + 2

    def _spend(self, count: int) -> None:
        self._overhead += count
        if self._overhead > self._limits.header_bytes:
            most = self._limits.header_bytes
            raise Refusal(413, f"more than {most} bytes of chunk extensions and trailers")


def _line_end(data: bytearray, at: int) -> int:
    """Where the CRLF of the line at ``at`` is; -1 while it has not come. Raises Refusal."""
    end = data.find(b"\n", at, at + _LONGEST_LINE)
    if end < 0:
        if len(data) - at >= _LONGEST_LINE:
            raise Refusal(413, f"a chunk's size or a trailer is longer than {_LONGEST_LINE} bytes")
        return -1
    if end == at or data[end - 1] != 13:
        raise Refusal(400, "a line feed without a carriage return")
    return end - 1
