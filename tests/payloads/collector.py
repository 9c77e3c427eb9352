"""A collector of events: a real HTTP server that keeps what it gets, and can be made to wait or to refuse."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple

DEADLINE = 60


class Event(NamedTuple):
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def type(self):
        return self.headers["ce-type"].rpartition(".")[2]


class Collector:
    """Listens on a free port while the ``with`` block runs."""

    def __init__(self):
        self.events: list[Event] = []
        self.status = 200
        self.open = threading.Event()
        self.open.set()
        self.asked = threading.Event()
        self._news = threading.Condition()

    def __enter__(self):
        collector = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers["content-length"]))
                collector.asked.set()
                collector.open.wait(DEADLINE)
                headers = {name.lower(): value for name, value in self.headers.items()}
                with collector._news:
                    collector.events.append(Event(self.path, headers, body))
                    collector._news.notify_all()
                self.send_response(collector.status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()
        return self

    def __exit__(self, *_):
        self.open.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def url(self):
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def wait(self, count):
        """The events, when there are so many."""
        with self._news:
            assert self._news.wait_for(lambda: len(self.events) >= count, DEADLINE)
            return list(self.events)
