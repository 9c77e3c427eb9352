"""Servers that a model asks: real ones, and some that do what servers shouldn't."""

import json
import socket
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np

from dragoman.errors import InvalidInput, NotReady


class Adder:
    """A predictor: adds one, and refuses what is negative in one of two ways."""

    inputs = {"x": ("FP32", [-1])}
    outputs = {"y": ("FP32", [-1])}

    def predict(self, x):
        if x.size and x[0] == -1:
            raise InvalidInput("nothing below zero")
        if x.size and x[0] == -2:
            raise NotReady("warming up")
        if x.size and x[0] == -3:
            raise ValueError("broken inside")
        return {"y": x + np.float32(1)}


class _Recorder(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        self.server.asked.append((self.path, dict(self.headers), body))
        status, content_type, answer = self.server.answer
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(answer)))
        self.send_header("X-Answered", "yes")
        self.end_headers()
        self.wfile.write(answer)

    do_GET = do_POST  # noqa: N815

    def log_message(self, *_):
        pass


@contextmanager
def recording(status=200, answer=b"{}", content_type="application/json"):
    """A server with one answer that notes what it was asked."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Recorder)
    server.daemon_threads = True
    server.asked = []
    server.answer = (
        status,
        content_type,
        answer if isinstance(answer, bytes) else json.dumps(answer).encode(),
    )
    server.host = f"127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def silence():
    """An address where connections are taken and nothing is ever answered."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield f"127.0.0.1:{listening.getsockname()[1]}"


def nobody():
    """An address where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return f"127.0.0.1:{listening.getsockname()[1]}"
