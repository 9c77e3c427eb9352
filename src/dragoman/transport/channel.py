"""One client's socket: flow control both ways, and ends that lose nothing. Knows no request.

Connections build on it; it keeps what concerns the socket alone out of their way.
"""

import asyncio
from typing import Any, Final, Protocol, cast

from dragoman.config import LimitSettings

#: OPEN states come first, so that ``state >= LINGER`` says that nothing more is expected of the client.
IDLE, READING, WORK, LINGER, CLOSED = range(5)
#: Seconds that a client may take to leave after its last answer.
_LINGER: Final = 2.0


class Clocked(Protocol):
    """What a channel needs of its server. ``clock`` counts seconds."""

    limits: LimitSettings

    def clock(self) -> float: ...


class Channel(asyncio.BufferedProtocol):
    """A protocol with a state and two deadlines: one for the client's next bytes, one for its reading of ours."""

    __slots__ = (
        "_clocked", "_deadline", "_reading_paused", "_state", "_transport", "_waiter", "_write_deadline", "_write_mark",
        "write", "write_paused",
    )  # fmt: skip

    def __init__(self, clocked: Clocked) -> None:
        self._clocked = clocked
        self._state = IDLE
        self.write_paused = False  #: the client has not read what was written
        self._reading_paused = False
        self._deadline = self._write_deadline = 0.0
        self._write_mark = 0
        self._waiter: asyncio.Future[None] | None = None

    @property
    def reading(self) -> bool:
        """The current request's body is not complete."""
        return self._state == READING

    @property
    def closing(self) -> bool:
        """The socket takes nothing more, though the news that it is lost may be yet to come."""
        return self._transport.is_closing()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self.write = self._transport.write
        self._expect(self._clocked.limits.header_timeout)

    def connection_lost(self, exc: Exception | None) -> None:
        self._state = CLOSED
        self._wake()

    def pause_writing(self) -> None:
        self.write_paused = True
        self._watch_writing()

    def resume_writing(self) -> None:
        self.write_paused = False
        self._wake()

    async def writable(self) -> None:
        """Returns when the client has read, or has gone."""
        self._waiter = asyncio.get_running_loop().create_future()
        await self._waiter

    def extra(self, name: str) -> Any:
        """What the transport knows about itself."""
        return self._transport.get_extra_info(name)

    def close(self) -> None:
        """Lets what is written go out, then ends."""
        self._rest()
        self._transport.close()

    def abort(self) -> None:
        """Ends the connection now, and lets the client see that something is missing."""
        self._state = CLOSED
        self._transport.abort()

    def _expect(self, seconds: float) -> None:
        """The client has this long from now."""
        self._deadline = self._clocked.clock() + seconds

    def _pause_reading(self, pause: bool) -> None:
        if pause != self._reading_paused and not self._transport.is_closing():
            self._reading_paused = pause
            if pause:
                self._transport.pause_reading()
            else:
                self._transport.resume_reading()

    def _linger(self, *, unread: bool) -> None:
        """Closes our half. To close all of it at once could make the client's system discard the answer."""
        self._rest()
        if self._transport.can_write_eof():
            if not self._transport.is_closing():
                self._transport.write_eof()
        elif not unread:
            self._transport.close()  # TLS has no halves: what may still be on its way is waited for

    def _rest(self) -> None:
        """From now on nothing is expected of the client but that it reads and leaves."""
        self._state = max(self._state, LINGER)
        self._expect(_LINGER)
        self._watch_writing()
        self._pause_reading(False)

    def _stuck(self, now: float) -> bool | None:
        """Whether the client has stopped reading; ``None`` when it has nothing to read that we wait for."""
        unsent = self._transport.get_write_buffer_size()
        if not self.write_paused and (not unsent or self._state != LINGER):
            return None
        if unsent < self._write_mark:
            self._watch_writing()
            return False
        return now >= self._write_deadline

    def _watch_writing(self) -> None:
        self._write_mark = self._transport.get_write_buffer_size()
        self._write_deadline = self._clocked.clock() + self._clocked.limits.write_timeout

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
