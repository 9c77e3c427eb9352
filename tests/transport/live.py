"""A live server on its own thread and event loop, and clients that send exactly the bytes they are told to."""

import asyncio
import contextlib
import socket
import ssl
import threading
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, TypeVar

import uvloop

from dragoman.config import LimitSettings
from dragoman.transport.http import Access, HttpServer
from dragoman.transport.request import HttpRequest
from dragoman.transport.router import Router

T = TypeVar("T")
#: No test waits longer than this for something that must come.
PATIENCE = 60.0
LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {
    "asyncio": asyncio.new_event_loop,
    "uvloop": uvloop.new_event_loop,
}


@dataclass
class Answer:
    """One response as it came over the wire."""

    line: str
    headers: dict[str, str]
    body: bytes

    @property
    def status(self) -> int:
        return int(self.line.split(" ")[1])


@dataclass
class Client:
    """A connected socket with what has been read of it and not been used."""

    sock: socket.socket
    rest: bytes = field(default=b"")

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def try_send(self, data: bytes) -> None:
        """Sends as much as the server wants to hear."""
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.sock.sendall(data)

    def answer(self, *, head_only: bool = False) -> Answer:
        while b"\r\n\r\n" not in self.rest:
            self._more()
        head, _, self.rest = self.rest.partition(b"\r\n\r\n")
        line, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value for name, value in (item.split(": ", 1) for item in lines)}
        body = b""
        if head_only or line.split(" ")[1] in ("100", "204", "304"):
            pass
        elif headers.get("transfer-encoding") == "chunked":
            body = self._chunks()
        elif "content-length" in headers:
            body = self.take(int(headers["content-length"]))
        else:
            body = self.to_the_end()
        return Answer(line, headers, body)

    def take(self, count: int) -> bytes:
        while len(self.rest) < count:
            self._more()
        taken, self.rest = self.rest[:count], self.rest[count:]
        return taken

    def to_the_end(self) -> bytes:
        """Everything up to the end of the connection, which must be an orderly one."""
        with contextlib.suppress(EOFError):
            while True:
                self._more()
        taken, self.rest = self.rest, b""
        return taken

    def closed(self) -> bool:
        """The server has closed, and sent nothing more."""
        return self.to_the_end() == b""

    def close(self) -> None:
        self.sock.close()

    def _chunks(self) -> bytes:
        body = b""
        while True:
            while b"\r\n" not in self.rest:
                self._more()
            size, _, self.rest = self.rest.partition(b"\r\n")
            piece = self.take(int(size, 16) + 2)[:-2]
            if not piece:
                return body
            body += piece

    def _more(self) -> None:
        data = self.sock.recv(1 << 20)
        if not data:
            raise EOFError
        self.rest += data


class Live:
    """The server under test. Its routes are the ones a test adds to ``router`` before it asks."""

    def __init__(
        self, loop: str, limits: LimitSettings, access: Access | None, clock: Callable[[], float] | None
    ):
        self.router = Router()
        self.router.add(("GET", "POST"), "/echo", echo)
        self.router.add("GET", "/health", health, permit=False)
        self.server = HttpServer(self.router.find, limits, access, clock=clock)
        self.loop = LOOPS[loop]()
        self.port = 0
        self._clients: list[Client] = []
        self._thread = threading.Thread(target=self.loop.run_forever)
        self._context: ssl.SSLContext | None = None

    def start(self, context: ssl.SSLContext | None = None) -> None:
        self._thread.start()
        self.port = self.run(self.server.start("127.0.0.1", 0, ssl=context))

    def run(self, coroutine: Awaitable[T]) -> T:
        async def wait() -> T:
            return await coroutine

        return asyncio.run_coroutine_threadsafe(wait(), self.loop).result(PATIENCE)

    def submit(self, coroutine: Any) -> "Future[Any]":
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop)

    def call(self, function: Callable[..., T], *arguments: Any) -> T:
        """``function`` on the server's thread."""

        async def wait() -> T:
            return function(*arguments)

        return self.run(wait())

    def connect(self) -> Client:
        sock = socket.create_connection(("127.0.0.1", self.port), PATIENCE)
        client = Client(sock)
        self._clients.append(client)
        return client

    def ask(self, data: bytes) -> Answer:
        client = self.connect()
        client.try_send(data)
        return client.answer()

    def good(self) -> bool:
        """A good request on a fresh connection is answered, and nothing is left over from others."""
        answer = self.ask(b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\ngood")
        return answer.status == 200 and answer.body == b"good"

    def close(self) -> None:
        for client in self._clients:
            client.close()
        self.run(self.server.stop(0))
        assert self.server.in_flight == 0
        assert self.server.permits == self.server.limits.requests
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(PATIENCE)
        self.loop.run_until_complete(self.loop.shutdown_default_executor())
        self.loop.close()


@contextlib.contextmanager
def serve(
    loop: str = "uvloop",
    limits: LimitSettings | None = None,
    access: Access | None = None,
    clock: Callable[[], float] | None = None,
    context: ssl.SSLContext | None = None,
) -> Iterator[Live]:
    live = Live(loop, limits or LimitSettings(), access, clock)
    live.start(context)
    try:
        yield live
    finally:
        live.close()


def echo(request: HttpRequest) -> None:
    request.respond(200, request.body, "application/octet-stream")


def health(request: HttpRequest) -> None:
    request.respond(200, b"{}")


class Held:
    """A handler that answers nobody until it is told to."""

    def __init__(self) -> None:
        self.requests: list[HttpRequest] = []
        self.gone: list[HttpRequest] = []
        self.arrived = threading.Event()
        self.left = threading.Event()

    def __call__(self, request: HttpRequest) -> None:
        self.requests.append(request)
        request.on_disconnect = lambda: self._left(request)
        self.arrived.set()

    def wait(self) -> HttpRequest:
        assert self.arrived.wait(PATIENCE)
        self.arrived.clear()
        return self.requests[-1]

    def _left(self, request: HttpRequest) -> None:
        self.gone.append(request)
        self.left.set()
