"""Hosts that a download may meet: honest ones, odd ones, and ones that nobody must ever call."""

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

Answer = bytes | Callable[[socket.socket], object]

PATIENCE = 30.0


class Host:
    """Answers each path with bytes, or lets a function do what it likes with the connection."""

    def __init__(self, address: str = "127.0.0.1", tls: ssl.SSLContext | None = None) -> None:
        self.answers: dict[str, Answer] = {}
        self.requests: list[bytes] = []
        self.closing = threading.Event()
        self._tls = tls
        self._listener = socket.create_server((address, 0))
        self._threads: list[threading.Thread] = []
        self.port = self._listener.getsockname()[1]
        self.base = f"{'https' if tls else 'http'}://{address}:{self.port}"
        self._serve(self._accept)

    def close(self) -> None:
        self.closing.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(PATIENCE)

    def _serve(self, function: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=function, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self._serve(self._answer, connection)

    def _answer(self, connection: socket.socket) -> None:
        connection.settimeout(PATIENCE)
        with contextlib.suppress(OSError), connection:
            if self._tls is not None:
                connection = self._tls.wrap_socket(connection, server_side=True, suppress_ragged_eofs=False)
            with connection:
                head = b""
                while b"\r\n\r\n" not in head and (piece := connection.recv(65_536)):
                    head += piece
                    if not head.startswith(b"GET "):
                        return
                self.requests.append(head)
                answer = self.answers.get(head[4:].partition(b" ")[0].decode(), text(404, b"no"))
                if callable(answer):
                    answer(connection)
                else:
                    connection.sendall(answer)
                if self._tls is not None:
                    connection.unwrap()


class Canary:
    """Listens and counts who came. Nobody should."""

    def __init__(self, address: str = "127.0.0.1") -> None:
        try:
            family = socket.AF_INET6 if ":" in address else socket.AF_INET
            self._listener = socket.create_server((address, 0), family=family)
        except OSError:  # a machine without IPv6
            self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.setblocking(False)
        self.port = self._listener.getsockname()[1]

    def visitors(self) -> int:
        """How many connections were made, also those that nobody has accepted yet."""
        count = 0
        with contextlib.suppress(BlockingIOError):
            while True:
                self._listener.accept()[0].close()
                count += 1
        return count

    def close(self) -> None:
        self._listener.close()


def text(status: int, body: bytes, *headers: str) -> bytes:
    """A whole answer that says how long it is."""
    lines = [f"HTTP/1.1 {status} Whatever", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def chunked(*chunks: bytes) -> bytes:
    pieces = b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in (*chunks, b""))
    return b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + pieces


def moved(to: str, status: int = 302, *headers: str) -> bytes:
    return text(status, b"", f"Location: {to}", *headers)


def listing(store: Path) -> dict[str, tuple[bytes, int]]:
    """Everything in the store, hidden things too: names, contents, and which files they are."""
    return {
        path.relative_to(store).as_posix(): (
            path.read_bytes() if path.is_file() else b"",
            path.lstat().st_ino,
        )
        for path in store.rglob("*")
    }


@contextlib.contextmanager
def unchanged(store: Path) -> Iterator[None]:
    """The store is the same afterwards as it was before."""
    before = listing(store)
    yield
    assert listing(store) == before
