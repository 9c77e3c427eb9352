"""A request that no client sends now: handlers are called with it as with any other, and what they answer is kept.

Implements ``HttpRequest``; knows no socket. Everything happens on the event loop's thread.
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from dragoman.transport.answer import flat
from dragoman.transport.auth import ANYBODY, Caller
from dragoman.transport.request import NO_LINES, Buffer, Header, Lines
from dragoman.transport.router import Router
from dragoman.transport.status import respond_failure

RawHeader = tuple[bytes, bytes]


@dataclass(frozen=True, slots=True)
class Answer:
    """What a client would have been sent. ``whole`` is false where it broke off."""

    status: int
    content_type: str
    headers: tuple[Header, ...]
    body: bytes
    whole: bool = True


class Replay:
    """One request. ``answer`` comes once; who needs it no more calls ``give_up``."""

    def __init__(
        self, path: str, query: str, headers: Sequence[RawHeader], body: bytes, arrived: float
    ) -> None:
        self.method = "POST"
        self.path = path
        self.root_path = ""
        self.query = query
        self.body: bytes | memoryview = body
        self.params: tuple[str, ...] = ()
        self.arrived = arrived
        self.on_disconnect: Callable[[], None] | None = None
        self.on_answer: Callable[[int], None] | None = None
        self.caller: Caller = ANYBODY  # whoever has asked for it was let in then
        self.lines = NO_LINES
        self.http_version = "1.1"
        self.scheme = "http"
        self.client: tuple[str, int] | None = None
        self.server: tuple[str, int | None] | None = None
        self.notes: dict[str, Any] = {}
        self._headers = list(headers)
        self._begun: Answer | None = None
        self._pieces: list[bytes] = []
        self.answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()

    async def run(self, router: Router) -> Answer:
        """Have it answered by the route of its path. Whoever is cancelled meanwhile has gone."""
        try:
            route, self.params = router.find(self.method, self.path)
            route.handler(self)
        except Exception as error:
            respond_failure(self, error)
        try:
            return await self.answer
        except asyncio.CancelledError:
            self.give_up()
            raise

    def give_up(self) -> None:
        """Nobody waits for it any more."""
        self.answer.cancel()
        if self.on_disconnect is not None:
            self.on_disconnect()

    # What a handler sees.

    @property
    def headers(self) -> list[RawHeader]:
        return list(self._headers)

    def header(self, name: bytes) -> str | None:
        return next((value.decode("latin-1") for key, value in self._headers if key == name), None)

    def raw_headers(self) -> list[RawHeader]:
        return self._headers

    def hide(self, name: bytes) -> None:
        self._headers = [pair for pair in self._headers if pair[0] != name]

    def respond(
        self,
        status: int,
        body: Buffer | Sequence[Buffer] = b"",
        content_type: str = "application/json",
        headers: Iterable[Header] = (),
        *,
        common: Lines = NO_LINES,
        compress: bool = False,
        reason: str | None = None,
    ) -> None:
        buffers = [body] if isinstance(body, bytes | bytearray | memoryview) else body
        whole = b"".join(flat(buffer) for buffer in buffers)
        self._answer(Answer(status, content_type, tuple(headers), whole))

    async def receive(self) -> bytes | None:
        return None  # the body is whole and in ``body``

    def start(
        self,
        status: int,
        headers: Iterable[Header] = (),
        *,
        common: Lines = NO_LINES,
        reason: str | None = None,
    ) -> None:
        kinds = [value for name, value in headers if name.lower() == "content-type"]
        others = tuple((name, value) for name, value in headers if name.lower() != "content-type")
        self._begun = Answer(status, kinds[0] if kinds else "", others, b"")

    async def send(self, piece: Buffer) -> None:
        if self.answer.done():
            raise ConnectionResetError("nobody waits for it any more")
        self._pieces.append(bytes(piece))

    def end(self) -> None:
        self._end(whole=True)

    def abort(self) -> None:
        self._end(whole=False)

    def _end(self, *, whole: bool) -> None:
        begun = self._begun
        if begun is not None:
            body = b"".join(self._pieces)
            self._answer(Answer(begun.status, begun.content_type, begun.headers, body, whole))

    def _answer(self, answer: Answer) -> None:
        if not self.answer.done():
            self.answer.set_result(answer)
