"""Serves calls with grpcio's core: HTTP/2 is the library's, everything from a call's head to its status is ours.

grpcio's own servers are not used. ``grpc.aio`` ends altogether when a client sends a path that is not UTF-8, and
spends four times as much on each call; ``grpc.server`` keeps a thread for every open call. This drives the
completion queue underneath both, as ``grpc.server`` does: one thread waits for events, and the event loop, woken
once for all that are there, does the rest.

::

    head ──► unknown, not allowed, no permit ───► status
      └────► request ──► handler ──► answers ──► status ──► closed
"""

import asyncio
import contextlib
import logging
import os
import socket
import threading
import time
from collections.abc import Callable
from typing import Any, Final

os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # what strangers send is no reason to write to standard error
from grpc._cython import cygrpc

from dragoman.config import GrpcSettings, LimitSettings
from dragoman.errors import DragomanError
from dragoman.transport.grpc.call import Call, Shape, Status
from dragoman.transport.grpc.credentials import make_credentials
from dragoman.transport.grpc.exchange import Exchange
from dragoman.transport.grpc.routes import Route, Routes
from dragoman.transport.grpc.status import STATUS
from dragoman.transport.tls import Certificates

log = logging.getLogger("dragoman.transport")

#: Told of every call: "gRPC", path, status, seconds, bytes of its requests, bytes of its answers.
Access = Callable[[str, str, int, float, int, int], None]
#: Asked before anything of a call is read. Raises DragomanError where it may not be made.
Guard = Callable[[Route, Call], None]

#: Calls that the core may hand over in one go.
_ARMED: Final = 64
_OPERATION: Final = cygrpc.CompletionType.operation_complete
#: A deadline that has passed: take what is there, wait for nothing.
_NOW: Final = 0.0
#: Events that are dealt with before others have their turn on the event loop.
_TURN: Final = 128
#: Seconds that clients have to take their last status when the server's patience is over.
_LAST_BYTES: Final = 1.0
_SWEEP: Final = 1.0


class GrpcServer:
    """``start`` it on a running event loop, ``stop`` it there."""

    def __init__(
        self,
        routes: Routes,
        limits: LimitSettings,
        options: GrpcSettings,
        access: Access | None = None,
        guard: Guard | None = None,
    ) -> None:
        self.routes = routes
        self.in_flight = 0  #: calls that have begun and not ended
        self._limits = limits
        self._options = options
        self._access = access
        self._guard = guard
        self.permits = limits.requests
        self._calls: set[Exchange] = set()
        self._draining = False
        self._loop: asyncio.AbstractEventLoop
        self._queue: Any = None
        self._core: Any = None
        self._event: Any = None  # what the thread has found
        self._asleep = threading.Lock()  # held until the thread may look for the next
        self._asleep.acquire()
        self._over = False
        self._down = asyncio.Event()  # the core has no calls any more
        self._ended = asyncio.Event()  # the thread has ended
        self._idle = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None

    async def start(
        self, host: str, port: int, *, certificates: Certificates | None = None, reuse_port: bool = False
    ) -> int:
        """Listen; returns the port. Raises OSError where the address can't be had."""
        # The library tells strangers' mistakes in metadata with a traceback each.
        logging.getLogger("grpc._cython.cygrpc").setLevel(logging.CRITICAL)
        self._loop = asyncio.get_running_loop()
        self._queue = cygrpc.CompletionQueue()
        core = cygrpc.Server(self._arguments(reuse_port), False)
        core.register_completion_queue(self._queue)
        try:
            port = _bind(core, host, port, certificates)
        except OSError:
            core.destroy()
            raise
        core.start()
        self._core = core
        for _ in range(_ARMED):
            self._arm()
        threading.Thread(target=self._poll, name="gRPC", daemon=True).start()
        self._sweep()
        return port

    def drain(self) -> None:
        """Tell clients to go elsewhere; take no new calls, and no more requests of those that are open."""
        if self._draining or self._core is None:
            return
        self._draining = True
        self._core.shutdown(self._queue, self._on_down)
        for call in tuple(self._calls):
            if call.permit:
                call.stop()
            else:
                call.fail(Status.UNAVAILABLE, "the server is stopping")

    async def stop(self, grace: float) -> None:
        """Drain, wait until every call has its answer or ``grace`` seconds are over, close."""
        if self._core is None:
            return
        self.drain()
        await self._wait(grace)
        for call in tuple(self._calls):
            call.fail(Status.UNAVAILABLE, "the server is stopping")
        await self._wait(_LAST_BYTES)
        self._core.cancel_all_calls()
        await self._down.wait()
        self._core.destroy()
        self._queue.shutdown()
        await self._ended.wait()
        self._core = self._queue = None
        if self._timer is not None:
            self._timer.cancel()

    async def _wait(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while self._calls:
                    self._idle.clear()
                    await self._idle.wait()

    def closed(self, call: Exchange) -> None:
        """A call is over."""
        self._calls.discard(call)
        self.in_flight -= 1
        self.permits += call.permitted
        if not self._calls:
            self._idle.set()
        if self._access is not None:
            seconds = time.monotonic() - call.arrived
            self._access("gRPC", call.method, call.status, seconds, call.received, call.sent)

    # The thread.

    def _poll(self) -> None:
        """Wait for an event and hand it to the event loop; stand aside while the loop takes those that follow.

        Most do at once, and each would cost two switches between threads if both waited for them.
        """
        while not self._over:
            self._event = self._queue.poll()
            if not self._wake(self._turn):
                return
            self._asleep.acquire()
        self._wake(self._ended.set)

    def _wake(self, callback: Callable[[], object]) -> bool:
        try:
            self._loop.call_soon_threadsafe(callback)
        except RuntimeError:  # the event loop is closed: nobody is left to be told
            return False
        return True

    # The event loop.

    def _turn(self) -> None:
        """Deal with the thread's event, and with all that are there by then; others have a turn in between."""
        event, self._event = self._event, None
        for _ in range(_TURN):
            kind = event.completion_type
            if kind == _OPERATION:
                self._deal_with(event)
            else:
                self._over = kind == cygrpc.CompletionType.queue_shutdown
                self._asleep.release()
                return
            del event  # the core wants to be rid of an event before it is asked for the next
            event = self._queue.poll(deadline=_NOW)
        self._event = event
        self._loop.call_soon(self._turn)

    def _deal_with(self, event: Any) -> None:
        try:
            event.tag(event)
        except Exception:
            log.exception("an event of a gRPC call could not be dealt with")

    def _arm(self) -> None:
        self._core.request_call(self._queue, self._queue, self._on_call)

    def _on_call(self, event: Any) -> None:
        if not event.success or self._draining:
            return  # the core is stopping
        self._arm()
        route = self.routes.find(event.call_details.method)
        call = Exchange(self, event, route or _NOWHERE)
        self._calls.add(call)
        self.in_flight += 1
        if route is None:
            call.refuse(Status.UNIMPLEMENTED, "no such method")
            return
        if len(event.invocation_metadata) > self._limits.header_count:
            text = f"the call has more than {self._limits.header_count} metadata entries"
            call.refuse(Status.RESOURCE_EXHAUSTED, text)
            return
        try:
            if self._guard is not None:
                self._guard(route, call)
        except DragomanError as error:
            call.refuse(STATUS[error.code], error.message)
            return
        if route.permit:
            if not self.permits:
                call.refuse(Status.UNAVAILABLE, "the server is overloaded")
                return
            self.permits -= 1
            call.permitted = True
        call.begin()

    def _on_down(self, event: Any) -> None:
        self._down.set()

    def _sweep(self) -> None:
        now = time.monotonic()
        limits = self._limits
        for call in tuple(self._calls):
            call.check(now, limits.idle_timeout, limits.write_timeout)
        self._timer = self._loop.call_later(_SWEEP, self._sweep)

    def _arguments(self, reuse_port: bool) -> tuple[tuple[str, int], ...]:
        limits, said = self._limits, self._options
        return (
            ("grpc.so_reuseport", int(reuse_port)),
            ("grpc.max_receive_message_length", limits.body_bytes),
            ("grpc.max_send_message_length", -1),
            ("grpc.max_metadata_size", limits.header_bytes),
            ("grpc.absolute_max_metadata_size", limits.header_bytes),
            ("grpc.max_allowed_incoming_connections", limits.connections),
            ("grpc.server_handshake_timeout_ms", _milliseconds(limits.header_timeout)),
            ("grpc.max_concurrent_streams", said.streams),
            ("grpc.default_compression_level", _LEVELS[said.compression]),
            ("grpc.keepalive_time_ms", _milliseconds(said.keepalive_time)),
            ("grpc.keepalive_timeout_ms", _milliseconds(said.keepalive_timeout)),
            # Pings in general, of which keepalive's are some, have a minute by default.
            ("grpc.http2.ping_timeout_ms", _milliseconds(said.keepalive_timeout)),
            ("grpc.keepalive_permit_without_calls", int(said.keepalive_without_calls)),
            ("grpc.http2.max_pings_without_data", said.max_pings_without_data),
            ("grpc.http2.min_ping_interval_without_data_ms", _milliseconds(said.min_ping_interval)),
            ("grpc.http2.max_ping_strikes", said.max_ping_strikes),
            ("grpc.max_connection_age_ms", _milliseconds(said.connection_age) or _FOREVER),
            ("grpc.max_connection_age_grace_ms", _milliseconds(said.connection_age_grace) or _FOREVER),
        )


_NOWHERE: Final = Route("", "", Shape.UNARY, lambda call: None, "", permit=False)
_FOREVER: Final = 2**31 - 1
_LEVELS: Final = {"none": 0, "low": 1, "medium": 2, "high": 3}


def _bind(core: Any, host: str, port: int, certificates: Certificates | None) -> int:
    name = f"[{host or '::'}]" if ":" in host or not host else host
    secrets = () if certificates is None else (make_credentials(certificates)._credentials,)
    try:
        bound = int(core.add_http2_port(f"{name}:{port}".encode(), *secrets))
    except RuntimeError:
        bound = 0
    if not bound:
        raise _reason(host, port)
    return bound


def _milliseconds(seconds: float) -> int:
    return min(round(seconds * 1000), _FOREVER)


def _reason(host: str, port: int) -> OSError:
    """Why an address can't be listened on, found out by trying it: the core doesn't tell."""
    try:
        for family, kind, protocol, _, address in socket.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        ):
            with socket.socket(family, kind, protocol) as sock:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                sock.bind(address)
    except OSError as error:
        return error
    return OSError(0, "the address is taken, or none of this machine's")
