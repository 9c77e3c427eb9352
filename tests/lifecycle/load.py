"""Requests that arrive when they arrive, whether or not the ones before them have been answered.

An open loop: a server that stalls gets no less to do, and whoever had to wait is counted.
"""

import asyncio
import itertools
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

Read = Callable[[bytes, dict[str, str]], str]


@dataclass(frozen=True)
class Kind:
    """A request as bytes, and how what it was answered says which model has answered."""

    name: str
    model: str
    request: bytes
    read: Read


@dataclass(frozen=True)
class Outcome:
    """What became of one request, between two moments of ``time.monotonic``. ``error`` is empty for a good answer."""

    kind: Kind
    start: float
    end: float
    answer: str = ""
    error: str = ""


@dataclass
class OpenLoop:
    """Sends ``rate`` requests a second from ``with`` to its end, each kind in turn, and waits for all answers."""

    port: int
    kinds: Sequence[Kind]
    rate: float
    outcomes: list[Outcome] = field(default_factory=list)

    def __enter__(self) -> "OpenLoop":
        self._end: float | None = None
        self._idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), name="open loop")
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end = time.monotonic()
        self._thread.join()

    async def _run(self) -> None:
        start, sent, tasks = time.monotonic(), 0, []
        kinds = itertools.cycle(self.kinds)
        ended = False
        while not ended:  # a loop that was late catches up, at the end, too
            ended = self._end is not None
            while sent < ((self._end or time.monotonic()) - start) * self.rate:
                tasks.append(asyncio.create_task(self._ask(next(kinds), start + sent / self.rate)))
                sent += 1
            await asyncio.sleep(0.5 / self.rate)
        await asyncio.gather(*tasks)
        for _, writer in self._idle:
            writer.close()

    async def _ask(self, kind: Kind, start: float) -> None:
        try:
            reader, writer = await self._connection()
            writer.write(kind.request)
            status, headers, body = await _answer(reader)
        except (OSError, asyncio.IncompleteReadError, ValueError) as error:
            self.outcomes.append(Outcome(kind, start, time.monotonic(), error=repr(error)))
            return
        self._idle.append((reader, writer))
        end = time.monotonic()
        if status == 200:
            self.outcomes.append(Outcome(kind, start, end, answer=kind.read(body, headers)))
        else:
            self.outcomes.append(Outcome(kind, start, end, error=f"{status} {body[:300]!r}"))

    async def _connection(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return self._idle.pop() if self._idle else await asyncio.open_connection("127.0.0.1", self.port)


async def _answer(reader: asyncio.StreamReader) -> tuple[int, dict[str, str], bytes]:
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    first, *lines = head.split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    return int(first.split(" ")[1]), headers, await reader.readexactly(int(headers["content-length"]))
