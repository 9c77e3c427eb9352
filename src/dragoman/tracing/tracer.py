"""Passages as spans of OpenTelemetry's, sent to a collector over OTLP. Imported only where a collector is named.

The server's span is begun when a request is called, so that its id can go on; the rooms' are made of the passage when
it has its answer.
"""

import time
from collections.abc import Mapping
from math import ceil

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Span, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.trace import NonRecordingSpan, SpanContext, SpanKind, TraceFlags, TraceState
from opentelemetry.trace.status import Status, StatusCode

from dragoman.config import TracingSettings
from dragoman.tracing.context import Parent, parse, write
from dragoman.tracing.passage import Passage

Attributes = Mapping[str, str | int]


class Tracer:
    """For the event loop's thread, but ``close``. Which requests are traced is said here, not by OpenTelemetry: what is
    not costs nothing more."""

    def __init__(
        self, settings: TracingSettings, version: str, processor: SpanProcessor | None = None
    ) -> None:
        """``processor`` takes the spans; else they are sent, many at once, to ``settings.endpoint``."""
        said = {"service.name": settings.service, "service.version": version}
        self._provider = TracerProvider(
            sampler=ALWAYS_ON, resource=Resource.create(said), shutdown_on_exit=False
        )
        self._provider.add_span_processor(
            processor or BatchSpanProcessor(OTLPSpanExporter(endpoint=settings.endpoint))
        )
        self._tracer = self._provider.get_tracer("dragoman", version)
        self._share = settings.sample
        self._seen = 0

    def wants(self, parent: Parent | None) -> bool:
        """Whether a request is traced: as its client has decided, else exactly the share."""
        if parent is not None:
            return parent.sampled
        before = ceil(self._seen * self._share)
        self._seen += 1
        return ceil(self._seen * self._share) > before

    def begin(self, passage: Passage, name: str, traceparent: str | None, tracestate: str | None) -> bool:
        """Begin the server's span of a passage, if it is to be traced."""
        parent = parse(traceparent)
        if not self.wants(parent):
            return False
        context = _context(parent, tracestate) if parent is not None else Context()
        start = _wall(passage.arrived)
        span = self._tracer.start_span(name, context, SpanKind.SERVER, start_time=start)
        passage.span = span
        told = span.get_span_context()
        passage.traceparent = write(told.trace_id, told.span_id)
        return True

    def end(self, passage: Passage, attributes: Attributes, *, failed: bool) -> None:
        """It has its answer: tell of all its rooms."""
        span: Span = passage.span
        now = time.monotonic()
        context = trace.set_span_in_context(span, Context())
        for room in passage.rooms(now):
            whose = {"dragoman.model": room.model, "dragoman.version": room.version} if room.model else None
            child = self._tracer.start_span(
                room.name, context, SpanKind.INTERNAL, whose, (), _wall(room.begin)
            )
            child.end(_wall(max(room.begin, room.end)))
        span.set_attributes(attributes)
        if passage.asked:
            first = passage.asked[0]
            span.set_attributes({"dragoman.model": first.model, "dragoman.version": first.version})
        if failed:
            span.set_status(Status(StatusCode.ERROR))
        span.end(_wall(now))

    def close(self) -> None:
        """Send what waits. Blocks."""
        self._provider.shutdown()


def _wall(moment: float) -> int:
    """Nanoseconds since 1970 of a moment of the monotonic clock."""
    return time.time_ns() - round((time.monotonic() - moment) * 1e9)


def _context(parent: Parent, tracestate: str | None) -> Context:
    state = TraceState.from_header([tracestate]) if tracestate else None
    told = SpanContext(parent.trace, parent.span, True, TraceFlags(TraceFlags.SAMPLED), state)
    return trace.set_span_in_context(NonRecordingSpan(told), Context())
