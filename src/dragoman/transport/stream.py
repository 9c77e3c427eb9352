"""An answer in pieces that come from a callback: written as fast as the client reads. Knows no protocol."""

import asyncio
from collections.abc import Callable
from typing import Final

from dragoman.transport.request import HttpRequest

#: Bytes that may wait for a client that reads more slowly than its answer is made; then it is given up.
MAX_WAITING: Final = 67_108_864


class PieceWriter:
    """Sends what it is given after ``HttpRequest.start``. Everything is called on the loop's thread.

    ``gone`` is called if the client is given up for reading too slowly; of one that leaves, the request's own
    ``on_disconnect`` tells, which must then call ``stop``.
    """

    def __init__(self, http: HttpRequest, gone: Callable[[], None]) -> None:
        self._http = http
        self._gone = gone
        self._pieces: list[bytes] = []
        self._waiting = 0
        self._ended = False
        self._stopped = False
        self._wake = asyncio.Event()
        self._task = asyncio.get_running_loop().create_task(self._run())

    def write(self, piece: bytes) -> None:
        """Send this after all the others."""
        if self._stopped or not piece:
            return
        self._pieces.append(piece)
        self._waiting += len(piece)
        if self._waiting > MAX_WAITING:
            self.abort()
            self._gone()
            return
        self._wake.set()

    def end(self) -> None:
        """The answer is complete when all of it is sent."""
        self._ended = True
        self._wake.set()

    def abort(self) -> None:
        """Close the connection: the answer can't be completed, and the client must see that."""
        self.stop()
        self._http.abort()

    def stop(self) -> None:
        """Send nothing more: nobody is there to read it."""
        self._stopped = True
        self._pieces.clear()
        self._wake.set()

    async def _run(self) -> None:
        while not self._stopped:
            if self._pieces:
                pieces, self._pieces = self._pieces, []
                for piece in pieces:
                    if not await self._send(piece):
                        return
            elif self._ended:
                self._http.end()
                return
            else:
                self._wake.clear()
                await self._wake.wait()

    async def _send(self, piece: bytes) -> bool:
        try:
            await self._http.send(piece)
        except ConnectionError:  # on_disconnect has told who made the answer
            self.stop()
        self._waiting -= len(piece)
        return not self._stopped
