"""Between a call and its handler: notes when it passes, for a trace or for the client that asks."""

import time
from collections.abc import Callable, Sequence
from functools import wraps
from typing import TYPE_CHECKING, Any, cast

from dragoman.tracing.passage import Passage, current
from dragoman.transport.grpc.call import Call, Handler, Message, Status
from dragoman.transport.timing import ASKS, TOLD

if TYPE_CHECKING:
    from dragoman.tracing.tracer import Tracer

#: What OpenTelemetry calls a server's failure among the statuses.
_FAILED = frozenset(
    {
        Status.UNKNOWN,
        Status.DEADLINE_EXCEEDED,
        Status.UNIMPLEMENTED,
        Status.INTERNAL,
        Status.UNAVAILABLE,
        Status.DATA_LOSS,
    }
)


def timed(handler: Handler, tracer: "Tracer | None", *, told: bool) -> Handler:
    """``handler``, whose calls are noted: those that are traced, and if ``told`` those whose clients ask."""

    @wraps(handler)
    def handle(call: Call) -> None:
        asks = told and (call.header(ASKS) or "").lower() not in ("", "0", "false")
        if not asks and tracer is None:
            handler(call)
            return
        now = time.monotonic()
        passage = Passage(min(call.arrived, now), now, asks)
        traced = tracer is not None and tracer.begin(
            passage, call.method.removeprefix("/"), call.header(b"traceparent"), call.header(b"tracestate")
        )
        if not asks and not traced:
            handler(call)
            return
        token = current.set(passage)
        timed_call = Timed(call, passage, tracer if traced else None)
        try:
            handler(cast(Call, timed_call))
        except BaseException:
            timed_call.finish(Status.INTERNAL)
            raise
        finally:
            current.reset(token)

    return handle


class Timed:
    """A ``Call`` that notes when it is answered."""

    __slots__ = ("_call", "_callback", "_tracer", "passage")

    def __init__(self, call: Call, passage: Passage, tracer: "Tracer | None") -> None:
        self.passage = passage
        self._call = call
        self._tracer = tracer
        self._callback: Callable[[], None] | None = None
        call.on_cancel = self._gone

    def __getattr__(self, name: str) -> Any:
        return getattr(self._call, name)

    @property
    def on_cancel(self) -> Callable[[], None] | None:
        return self._callback

    @on_cancel.setter
    def on_cancel(self, callback: Callable[[], None] | None) -> None:
        self._callback = callback

    @property
    def on_sent(self) -> Callable[[], None] | None:
        return self._call.on_sent

    @on_sent.setter
    def on_sent(self, callback: Callable[[], None] | None) -> None:
        self._call.on_sent = callback

    @property
    def on_end(self) -> Callable[[Status], None] | None:
        return self._call.on_end

    @on_end.setter
    def on_end(self, callback: Callable[[Status], None] | None) -> None:
        self._call.on_end = callback

    @property
    def trailing(self) -> Sequence[tuple[str, str]]:
        return self._call.trailing

    @trailing.setter
    def trailing(self, metadata: Sequence[tuple[str, str]]) -> None:
        self._call.trailing = metadata

    def respond(self, message: Message, metadata: Sequence[tuple[str, str]] = ()) -> None:
        if self.passage.told:
            metadata = (*metadata, (TOLD.lower(), self.passage.timing(time.monotonic())))
        self._call.respond(message, metadata)
        self.finish(Status.OK)

    def fail(self, status: Status, text: str) -> None:
        self._call.fail(status, text)
        self.finish(status)

    def end(self) -> None:
        self._call.end()
        self.finish(Status.OK)

    def _gone(self) -> None:
        if self._callback is not None:
            self._callback()
        self.finish(Status.CANCELLED)

    def finish(self, status: Status) -> None:
        """It has ended so; what comes later is not told."""
        tracer, self._tracer = self._tracer, None
        if tracer is not None:
            service, _, method = self._call.method.removeprefix("/").partition("/")
            attributes: dict[str, str | int] = {
                "rpc.system": "grpc",
                "rpc.service": service,
                "rpc.method": method,
                "rpc.grpc.status_code": int(status),
            }
            tracer.end(self.passage, attributes, failed=status in _FAILED)
