"""What a model prints: read as it comes, cut into lines, tagged, limited, its last lines kept. Never blocks a model.

[model add#0] loading weights
"""

import asyncio
import logging
import os
from collections import deque
from typing import Final

log = logging.getLogger("dragoman.output")

#: Lines a second that reach the log from one stream; the rest is counted.
RATE: Final = 100
#: Bytes of a line that reach the log.
WIDTH: Final = 4_096
#: Lines kept for a crash report.
KEPT: Final = 40
_PIECE: Final = 65_536
#: Pieces read after the end: more than a pipe holds, but not all that a process left behind may go on to write.
_LAST_PIECES: Final = 64


class Output:
    """One stream of one worker. ``fd`` is read until its end, then closed."""

    def __init__(self, fd: int, model: str, stream: str, loop: asyncio.AbstractEventLoop) -> None:
        self.tail: deque[str] = deque(maxlen=KEPT)
        self._fd = fd
        self._fields = {"model": model, "stream": stream}
        self._loop = loop
        self._rest = b""
        self._cut = False  # inside a line whose beginning has been told
        self._second = 0.0
        self._lines = 0
        self._dropped = 0
        self._timer: asyncio.TimerHandle | None = None  # tells of what was dropped, should nothing more come
        os.set_blocking(fd, False)
        loop.add_reader(fd, self._read)

    def drain(self) -> None:
        """Read what is there, and stop listening: the process has ended."""
        for _ in range(_LAST_PIECES):
            if self._fd < 0 or not self._read():
                break
        self._close()

    def _read(self) -> bool:
        try:
            data = os.read(self._fd, _PIECE)
        except BlockingIOError:
            return False
        except OSError:
            data = b""
        if not data:
            self._close()
            return False
        now = self._loop.time()
        if now - self._second >= 1.0:
            self._tell_dropped()
            self._second, self._lines = now, 0
        if self._lines >= RATE:
            self._skip(data)
        else:
            self._take(data)
        return True

    def _take(self, data: bytes) -> None:
        *lines, rest = (self._rest + data).split(b"\n")
        if lines and self._cut:
            del lines[0]
            self._cut = False
        for line in lines:
            self._line(line)
        if self._cut:
            rest = b""
        elif len(rest) > WIDTH:  # a line without an end: its beginning has to do
            self._line(rest)
            self._cut, rest = True, b""
        self._rest = rest

    def _skip(self, data: bytes) -> None:
        """Only count, and look at the last lines: they may be the ones that tell why it died."""
        self._drop(data.count(b"\n"))
        for line in data[-WIDTH:].split(b"\n")[-5:]:
            if line:
                self.tail.append(_text(line))
        self._rest, self._cut = b"", not data.endswith(b"\n")

    def _line(self, line: bytes) -> None:
        text = _text(line)
        self.tail.append(text)
        if self._lines < RATE:
            self._lines += 1
            log.info(text, extra=self._fields)
        else:
            self._drop(1)

    def _drop(self, lines: int) -> None:
        self._dropped += lines
        if self._timer is None:
            self._timer = self._loop.call_later(1.0, self._tell_dropped)

    def _tell_dropped(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._dropped:
            log.warning("lines of output left out", extra={**self._fields, "lines": self._dropped})
            self._dropped = 0

    def _close(self) -> None:
        if self._fd < 0:
            return
        if self._rest:
            self._line(self._rest)
            self._rest = b""
        self._tell_dropped()
        self._loop.remove_reader(self._fd)
        os.close(self._fd)
        self._fd = -1


def _text(line: bytes) -> str:
    return line[:WIDTH].decode("utf-8", "replace").rstrip("\r")
