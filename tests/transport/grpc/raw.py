"""A client that sends what it is told to, frame by frame: for what no good client would send."""

import contextlib
import socket
import struct
from typing import Any

import h2.config
import h2.connection
import h2.events
import h2.exceptions

from dragoman.transport.grpc.call import Status
from tests.transport.live import PATIENCE

Header = tuple[bytes, bytes]


def head(path: bytes, **others: bytes) -> list[Header]:
    """The header block of a good call; pseudo headers go by their names without the colon."""
    pseudo = {"method": b"POST", "scheme": b"http", "path": path, "authority": b"localhost"}
    pseudo |= {name: value for name, value in others.items() if name in pseudo}
    rest = {"content-type": b"application/grpc", "te": b"trailers"}
    rest |= {name.replace("_", "-"): value for name, value in others.items() if name not in pseudo}
    named = {f":{name}": value for name, value in pseudo.items()} | rest
    return [(name.encode(), value) for name, value in named.items()]


def frame(message: bytes, compressed: int = 0) -> bytes:
    """A message as gRPC puts it into HTTP/2's data."""
    return struct.pack(">BI", compressed, len(message)) + message


class Connection:
    """One HTTP/2 connection without any good manners."""

    def __init__(self, port: int) -> None:
        config = h2.config.H2Configuration(
            header_encoding=None,
            validate_outbound_headers=False,
            normalize_outbound_headers=False,
            validate_inbound_headers=False,
        )
        self.h2 = h2.connection.H2Connection(config)
        self.sock = socket.create_connection(("127.0.0.1", port), PATIENCE)
        self.h2.initiate_connection()
        self.flush()

    def __enter__(self) -> "Connection":
        return self

    def __exit__(self, *exception: object) -> None:
        self.sock.close()

    def flush(self) -> None:
        self.sock.sendall(self.h2.data_to_send())

    def call(self, headers: list[Header], body: bytes = b"") -> tuple[Status | None, str]:
        """Status and text of a call; ``None`` where the stream or connection was reset instead."""
        stream = self.h2.get_next_available_stream_id()
        self.h2.send_headers(stream, headers)
        self.flush()
        waiting = memoryview(body)
        end = not waiting
        if end:
            self.h2.end_stream(stream)
            self.flush()
        while True:
            while waiting:
                size = min(len(waiting), self.h2.local_flow_control_window(stream), 16_384)
                if size <= 0:
                    break
                self.h2.send_data(stream, waiting[:size].tobytes(), end_stream=size == len(waiting))
                waiting = waiting[size:]
                self.flush()
            for event in self.receive():
                if getattr(event, "stream_id", stream) not in (stream, 0, None):
                    continue
                found = _outcome(event)
                if found is not None:
                    return found

    def receive(self) -> list[Any]:
        """The next events. Raises EOFError at the end of the connection."""
        data = self.sock.recv(65_536)
        if not data:
            raise EOFError
        events = self.h2.receive_data(data)
        with contextlib.suppress(OSError):  # that it has closed is told by what it sent before
            self.flush()
        return list(events)

    def end(self) -> Any:
        """How the server ends the connection: its GOAWAY, or ``None``."""
        goodbye = None
        try:
            while True:
                for event in self.receive():
                    if isinstance(event, h2.events.ConnectionTerminated):
                        goodbye = event
        except (EOFError, OSError, h2.exceptions.ProtocolError):
            return goodbye


def _outcome(event: Any) -> tuple[Status | None, str] | None:
    if isinstance(event, h2.events.ResponseReceived | h2.events.TrailersReceived):
        headers = dict(event.headers)
        if b"grpc-status" in headers:
            text = headers.get(b"grpc-message", b"").decode()
            return Status(int(headers[b"grpc-status"])), text
    if isinstance(event, h2.events.StreamReset | h2.events.ConnectionTerminated):
        return None, str(event.error_code)
    return None
