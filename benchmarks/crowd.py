"""A crowd of clients that bring no work: some ask once and stay silent, some send their head byte by byte.

Says ``ready`` when all are connected, runs until its standard input ends, then tells how long the slow ones
lived.

    python crowd.py PORT IDLE SLOW
"""

import asyncio
import json
import random
import statistics
import sys
import time
from typing import ClassVar, Final, cast

import uvloop

_ASKED: Final = b"GET /livez HTTP/1.1\r\nHost: crowd\r\n\r\n"
_SLOW: Final = b"POST /v2/models/add/infer HTTP/1.1\r\nHost: crowd\r\nX-Filler: " + b"x" * 3600
_PAUSE: Final = 1.0


class Idle(asyncio.Protocol):
    """Asks once, and keeps its connection."""

    closed = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        cast(asyncio.Transport, transport).write(_ASKED)

    def connection_lost(self, exc: Exception | None) -> None:
        Idle.closed += 1


class Slow(asyncio.Protocol):
    """Sends one byte a second of a head that never ends."""

    alive: ClassVar[set["Slow"]] = set()
    lives: ClassVar[list[float]] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.born = 0.0
        self.sent = 0
        self.alive.add(self)
        asyncio.get_running_loop().call_later(random.uniform(0, _PAUSE), self.send)

    def send(self) -> None:
        if not self.transport.is_closing():
            self.born = self.born or time.monotonic()  # a head begins with its first byte
            self.transport.write(_SLOW[self.sent : self.sent + 1])
            self.sent += 1
            asyncio.get_running_loop().call_later(_PAUSE, self.send)

    def eof_received(self) -> None:
        self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self.alive.discard(self)
        self.lives.append(time.monotonic() - self.born)


async def crowd(port: int, idle: int, slow: int) -> None:
    loop = asyncio.get_running_loop()
    for kind, count in ((Idle, idle), (Slow, slow)):
        for _ in range(count):
            await loop.create_connection(kind, "127.0.0.1", port)
    print("ready", flush=True)
    await loop.run_in_executor(None, sys.stdin.read)
    closed, lives = Idle.closed, sorted(Slow.lives)
    report = {
        "idle_closed": closed,
        "slow_alive": len(Slow.alive),
        "slow_seconds": [lives[0], statistics.median(lives), lives[-1]] if lives else [],
    }
    print(json.dumps(report), flush=True)


if __name__ == "__main__":
    uvloop.run(crowd(*map(int, sys.argv[1:4])))
