"""How a body comes in: collected, straight into a pooled buffer, or piece by piece to whoever reads it.

Knows no socket: connections bring the bytes.
"""

import asyncio
from collections import deque
from typing import Final, Protocol

from dragoman.config import LimitSettings
from dragoman.transport.buffers import BufferPool
from dragoman.transport.chunks import ChunkDecoder
from dragoman.transport.head import Head

#: A body up to this is bytes; a bigger one is received where it will be read.
SMALL: Final = 65_536
#: A client's word alone buys no more memory than this; the rest comes when this much has arrived.
_TRUSTED: Final = 1_048_576


class Body(Protocol):
    """A body on its way in."""

    def feed(self, data: bytearray) -> bool:
        """Takes what belongs to this body off the front of ``data``; says whether it is complete."""

    def content(self) -> bytes | memoryview:
        """The whole body, once it is complete."""


def open_body(head: Head, limits: LimitSettings, pool: BufferPool, inbox: "Inbox | None") -> Body:
    """The fitting way in for what ``head`` announces."""
    if head.length > SMALL and inbox is None:
        return DirectBody(head.length, pool)
    source = ChunkDecoder(limits) if head.chunked else _Counted(head.length)
    return CollectedBody(source) if inbox is None else StreamedBody(source, inbox)


def settled(whole: bytearray) -> bytes | memoryview:
    """What a handler gets: bytes if small, else a read-only view instead of a copy."""
    return bytes(whole) if len(whole) <= SMALL else memoryview(whole).toreadonly()


class CollectedBody:
    """Small or of unknown length."""

    __slots__ = ("_source", "_whole")

    def __init__(self, source: "_Counted | ChunkDecoder") -> None:
        self._source = source
        self._whole = bytearray()

    def feed(self, data: bytearray) -> bool:
        for piece in self._source.decode(data):
            self._whole += piece
        return self._source.done

    def content(self) -> bytes | memoryview:
        return settled(self._whole)


class DirectBody:
    """A big body of known length: the kernel writes it into its buffer, where nobody copies it again."""

    __slots__ = ("_buffer", "_length", "_pool", "received")

    def __init__(self, length: int, pool: BufferPool) -> None:
        self._pool = pool
        self._length = length
        self._buffer = pool.take(min(length, _TRUSTED))
        self.received = 0

    def room(self) -> memoryview:
        """Where the next bytes go: never more than belongs to this body."""
        if self.received == len(self._buffer):
            grown = self._pool.take(self._length)
            grown[: self.received] = self._buffer
            self._buffer = grown
        return self._buffer[self.received :]

    def feed(self, data: bytearray) -> bool:
        count = min(len(data), self._length - self.received)
        taken = 0
        while taken < count:
            room = self.room()
            size = min(len(room), count - taken)
            room[:size] = data[taken : taken + size]
            taken += size
            self.received += size
        del data[:count]
        return self.received == self._length

    def content(self) -> bytes | memoryview:
        return self._buffer.toreadonly()


class StreamedBody:
    """Goes to an inbox as it comes."""

    __slots__ = ("_inbox", "_source")

    def __init__(self, source: "_Counted | ChunkDecoder", inbox: "Inbox") -> None:
        self._source = source
        self._inbox = inbox

    def feed(self, data: bytearray) -> bool:
        for piece in self._source.decode(data):
            self._inbox.put(piece)
        if self._source.done:
            self._inbox.end()
        return self._source.done

    def content(self) -> bytes | memoryview:
        return b""


class Inbox:
    """The pieces of a body that a streaming handler has not read yet."""

    __slots__ = ("_ended", "_lost", "_pieces", "_waiter", "size", "total")

    def __init__(self) -> None:
        self._pieces: deque[bytes] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self._ended = False
        self._lost = False
        self.size = 0  #: bytes waiting here
        self.total = 0  #: bytes that ever came

    def put(self, piece: bytes) -> None:
        self._pieces.append(piece)
        self.size += len(piece)
        self.total += len(piece)
        self._wake()

    def end(self) -> None:
        """The body is complete."""
        self._ended = True
        self._wake()

    def lose(self) -> None:
        """The rest will never come."""
        self._lost = True
        self._wake()

    async def get(self) -> bytes | None:
        """The next piece, or ``None`` at the end, again and again. Raises ConnectionError."""
        while True:
            if self._lost:
                raise ConnectionResetError("the client is gone")
            if self._pieces:
                piece = self._pieces.popleft()
                self.size -= len(piece)
                return piece
            if self._ended:
                return None
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


class _Counted:
    """Takes the bytes of a body of known length."""

    __slots__ = ("_left",)

    def __init__(self, length: int) -> None:
        self._left = length

    @property
    def done(self) -> bool:
        return self._left == 0

    def decode(self, data: bytearray) -> list[bytes]:
        with memoryview(data) as view:
            piece = view[: self._left].tobytes()
        del data[: len(piece)]
        self._left -= len(piece)
        return [piece] if piece else []
