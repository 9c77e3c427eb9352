"""A live gRPC server on its own thread, with methods that a test knows, and a plain grpcio channel to it."""

import asyncio
import contextlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import grpc

from dragoman.config import GrpcSettings, LimitSettings
from dragoman.errors import NotFound
from dragoman.transport.grpc.call import Call, Shape, Status
from dragoman.transport.grpc.routes import Routes
from dragoman.transport.grpc.server import Access, GrpcServer, Guard
from dragoman.transport.tls import Certificates
from tests.transport.live import LOOPS, PATIENCE

SERVICE = "test.Service"


class Held:
    """A handler that answers nobody until it is told to."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.left: list[Call] = []
        self._arrived = threading.Semaphore(0)
        self._gone = threading.Semaphore(0)

    def __call__(self, call: Call) -> None:
        self.calls.append(call)
        call.on_cancel = lambda: self._leave(call)
        self._arrived.release()

    def wait(self) -> Call:
        """The newest call, when one more has come."""
        assert self._arrived.acquire(timeout=PATIENCE)
        return self.calls[-1]

    def wait_for_leaving(self) -> None:
        assert self._gone.acquire(timeout=PATIENCE)

    def _leave(self, call: Call) -> None:
        self.left.append(call)
        self._gone.release()


class Live:
    """The server under test."""

    def __init__(
        self,
        loop: str,
        limits: LimitSettings,
        options: GrpcSettings,
        access: Access | None,
        guard: Guard | None,
        certificates: Certificates | None,
    ) -> None:
        self.held = Held()
        self.routes = Routes()
        for name, shape, handler in (
            ("Echo", Shape.UNARY, echo),
            ("Held", Shape.UNARY, self.held),
            ("HeldStream", Shape.BIDI, self.held),
            ("Missing", Shape.UNARY, missing),
            ("Bug", Shape.UNARY, bug),
            ("Count", Shape.SERVER_STREAM, count),
            ("EchoStream", Shape.BIDI, echo_stream),
        ):
            self.routes.add(SERVICE, name, shape, handler, "inference")
        self.routes.add(SERVICE, "Health", Shape.UNARY, echo, "health", permit=False)
        self.routes.add(SERVICE, "Watch", Shape.SERVER_STREAM, self.held, "health", permit=False)
        self.limits = limits
        self.loop = LOOPS[loop]()
        self._thread = threading.Thread(target=self.loop.run_forever)
        self._thread.start()
        self.server = self.call(GrpcServer, self.routes, limits, options, access, guard)
        self.port = self.run(self.server.start("127.0.0.1", 0, certificates=certificates))
        self._channels: list[grpc.Channel] = []

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def run(self, coroutine: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(PATIENCE)

    def submit(self, coroutine: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop)

    def call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """``function`` on the server's thread."""

        async def wait() -> Any:
            return function(*arguments)

        return self.run(wait())

    def channel(self, **options: int) -> grpc.Channel:
        """A connection of its own."""
        given = [(name.replace("__", "."), value) for name, value in options.items()]
        unlimited = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]
        channel = grpc.insecure_channel(
            self.address, options=[("grpc.use_local_subchannel_pool", 1), *unlimited, *given]
        )
        self._channels.append(channel)
        return channel

    def unary(self, method: str, message: bytes = b"", **more: Any) -> bytes:
        answer: bytes = unary(self.channel(), method)(message, timeout=PATIENCE, **more)
        return answer

    def good(self) -> bool:
        """A good call on a fresh connection is answered."""
        return self.unary("Echo", b"good") == b"good"

    def close(self) -> None:
        for channel in self._channels:
            channel.close()
        self.run(self.server.stop(0))
        assert self.server.in_flight == 0
        assert self.server.permits == self.limits.requests
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(PATIENCE)
        self.loop.close()


@contextlib.contextmanager
def serve(
    loop: str = "uvloop",
    access: Access | None = None,
    guard: Guard | None = None,
    options: GrpcSettings | None = None,
    certificates: Certificates | None = None,
    **limits: Any,
) -> Iterator[Live]:
    live = Live(
        loop, replace(LimitSettings(), **limits), options or GrpcSettings(), access, guard, certificates
    )
    try:
        yield live
    finally:
        live.close()


def unary(channel: grpc.Channel, method: str) -> Any:
    return channel.unary_unary(f"/{SERVICE}/{method}")


def refused(call: Callable[[], Any]) -> tuple[Status, str]:
    """The status and text that a call ends with."""
    try:
        call()
    except grpc.RpcError as error:
        return Status(error.code().value[0]), error.details()
    raise AssertionError("the call was answered")


def echo(call: Call) -> None:
    call.respond(call.message)


def missing(call: Call) -> None:
    raise NotFound("nothing is called that")


def bug(call: Call) -> None:
    raise RuntimeError("a secret of the server")


def count(call: Call) -> None:
    """As many messages as the request says."""
    for number in range(int(call.message)):
        call.send(b"%d" % number)
    call.end()


def echo_stream(call: Call) -> None:
    def take(message: bytes | None) -> None:
        if message is None:
            call.end()
        else:
            call.send([message[:1], memoryview(message)[1:]])
            call.receive(take)

    call.receive(take)
