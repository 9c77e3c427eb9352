"""A collector of traces: takes OTLP over HTTP, as any other does, and remembers the spans."""

import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

LIMIT = 60.0


class Collector:
    def __init__(self, url):
        self.url = url
        self.spans = []
        self.resources = []
        self.changed = threading.Condition()

    def take(self, body):
        said = ExportTraceServiceRequest.FromString(body)
        with self.changed:
            for group in said.resource_spans:
                self.resources.append(
                    {each.key: each.value.string_value for each in group.resource.attributes}
                )
                self.spans += [span for scope in group.scope_spans for span in scope.spans]
            self.changed.notify_all()

    def wait(self, name):
        """The first span whose name begins so, and those below it by name."""
        deadline = time.monotonic() + LIMIT
        with self.changed:
            while time.monotonic() < deadline:
                for span in self.spans:
                    if span.name.startswith(name):
                        below = [each for each in self.spans if each.parent_span_id == span.span_id]
                        return span, {each.name: each for each in below}
                self.changed.wait(1.0)
        raise AssertionError([span.name for span in self.spans])


def attributes(span):
    return {each.key: each.value.string_value or each.value.int_value for each in span.attributes}


@contextmanager
def collecting():
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            collector.take(self.rfile.read(int(self.headers["content-length"])))
            body = ExportTraceServiceResponse().SerializeToString()
            self.send_response(200)
            self.send_header("content-type", "application/x-protobuf")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            """Says nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    collector = Collector(f"http://127.0.0.1:{server.server_address[1]}/v1/traces")
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield collector
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
