"""The HTTP/1.1 server: listens, counts what is in work, ends what takes too long, stops without a loss.

What a connection does is in ``connection``; what a request means is the handlers' affair.
"""

import asyncio
import contextlib
import socket
import ssl as tls
from collections.abc import Callable
from typing import Final

from dragoman.config import LimitSettings
from dragoman.transport.buffers import BufferPool
from dragoman.transport.compression import LEVELS
from dragoman.transport.connection import Connection
from dragoman.transport.router import Match

Finder = Callable[[str, str], Match]
#: Told of every answer: method, path, status, seconds, bytes of the request's body, bytes of the answer's.
Access = Callable[[str, str, int, float, int, int], None]

_SCRATCH: Final = 65_536
_BACKLOG: Final = 2048
_HANDSHAKE: Final = 5.0
#: Seconds that closed connections have to send their last bytes when the server stops.
_LAST_BYTES: Final = 1.0


class HttpServer:
    """``start`` it, any number of times for several addresses; ``stop`` it once."""

    def __init__(
        self,
        find: Finder,
        limits: LimitSettings,
        access: Access | None = None,
        *,
        compression: str = "medium",
        clock: Callable[[], float] | None = None,
    ) -> None:
        self.find = find
        self.limits = limits
        self.access = access
        self.compression = LEVELS[
            compression
        ]  #: zlib's level for answers that may be compressed; 0 leaves them as they are
        self.clock: Callable[[], float] = clock or _no_clock
        self.in_flight = 0  #: requests accepted and not answered
        self.permits = limits.requests
        self.draining = False
        self.plain = access is None  #: an answer's head is decided by the request alone
        self.pool = BufferPool()
        #: Where every connection's bytes arrive first: they are taken out before another's can come.
        self.scratch = memoryview(bytearray(_SCRATCH))
        self.loop: asyncio.AbstractEventLoop
        self._connections: set[Connection] = set()
        self._servers: list[asyncio.Server] = []
        self._timer: asyncio.TimerHandle | None = None
        self._woken = asyncio.Event()

    async def start(
        self,
        host: str | None,
        port: int,
        *,
        ssl: tls.SSLContext | None = None,
        sock: socket.socket | None = None,
        reuse_port: bool = False,
    ) -> int:
        """Listens on an address, or on ``sock``; returns the port."""
        self.loop = asyncio.get_running_loop()
        if self.clock is _no_clock:
            self.clock = self.loop.time
        handshake = None if ssl is None else _HANDSHAKE
        if sock is None:
            server = await self.loop.create_server(
                self._connection, host, port, ssl=ssl, reuse_port=reuse_port or None, backlog=_BACKLOG,
                ssl_handshake_timeout=handshake,
            )  # fmt: skip
        else:
            server = await self.loop.create_server(
                self._connection, sock=sock, ssl=ssl, backlog=_BACKLOG, ssl_handshake_timeout=handshake
            )
        self._servers.append(server)
        if self._timer is None:
            self._sweep()
        name = server.sockets[0].getsockname()
        return int(name[1]) if isinstance(name, tuple) else 0

    def drain(self) -> None:
        """Accepts nothing new, closes what is idle, and lets each later answer be its connection's last."""
        if self.draining:
            return
        self.draining = True
        self.plain = False
        for server in self._servers:
            server.close()
        for connection in tuple(self._connections):
            connection.close_idle()

    async def stop(self, grace: float) -> None:
        """Drains, waits until every accepted request is answered or ``grace`` seconds are over, closes."""
        self.drain()
        await self._wait(grace, lambda: self.in_flight == 0)
        for connection in tuple(self._connections):
            connection.stop()
        await self._wait(_LAST_BYTES, lambda: not self._connections)
        for connection in tuple(self._connections):
            connection.abort()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    async def _wait(self, seconds: float, done: Callable[[], bool]) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while not done():
                    self._woken.clear()
                    await self._woken.wait()

    def sweep(self) -> None:
        """Ends whatever has taken too long: one look at every connection instead of a timer for each."""
        now = self.clock()
        for connection in tuple(self._connections):
            connection.check(now)

    # Connections call these.

    def joined(self, connection: Connection) -> bool:
        """Counts a new connection; says whether there is room for it."""
        if self.draining or len(self._connections) >= self.limits.connections:
            return False
        self._connections.add(connection)
        return True

    def left(self, connection: Connection) -> None:
        """A connection is closed."""
        self._connections.discard(connection)
        self.progress()

    def progress(self) -> None:
        """Something ``stop`` may wait for has happened."""
        self._woken.set()

    def _connection(self) -> Connection:
        return Connection(self)

    def _sweep(self) -> None:
        self.sweep()
        limits = self.limits
        shortest = min(limits.header_timeout, limits.idle_timeout, limits.write_timeout)
        self._timer = self.loop.call_later(min(1.0, shortest / 4), self._sweep)


def _no_clock() -> float:
    raise RuntimeError("the server has not been started")
