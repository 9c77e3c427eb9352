"""Where payloads go: a collector's URL, or a file. Each blocks, and is called on one thread."""

import os
import ssl
from collections.abc import Mapping, Sequence
from http.client import HTTPConnection, HTTPException, HTTPSConnection, RemoteDisconnected
from typing import Final, Protocol
from urllib.parse import urlsplit

from dragoman.errors import ConfigError
from dragoman.payloads.event import Payload, encode_headers, encode_line

#: Seconds that a collector has for each step of taking an event.
_TIMEOUT: Final = 10.0


class Writer(Protocol):
    """Takes payloads, one call at a time."""

    @property
    def most(self) -> int:
        """How many it takes in one call."""

    def write(self, payloads: Sequence[Payload]) -> None:
        """Write all of them, or raise."""

    def close(self) -> None:
        """Nothing more comes."""


class FileWriter:
    """Adds a line for each to a file, which several processes may do at once."""

    most = 64

    def __init__(self, path: str, common: Mapping[str, str]) -> None:
        """Raises ConfigError for a file that can't be written."""
        self._common = common
        try:
            self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise ConfigError(f"payloads.file can't be written: {path}: {error.strerror}") from error

    def write(self, payloads: Sequence[Payload]) -> None:
        lines = b"".join(encode_line(payload, self._common) for payload in payloads)
        written = os.write(self._file, lines)
        while written < len(lines):  # a full disk raises with the next try
            written += os.write(self._file, lines[written:])

    def close(self) -> None:
        os.close(self._file)


class HttpWriter:
    """Posts each to a collector, over one connection as long as that lasts."""

    most = 1

    def __init__(self, url: str, common: Mapping[str, str]) -> None:
        """Raises ConfigError for a URL that can't be asked."""
        parts = urlsplit(url)
        try:
            port = parts.port
        except ValueError:
            port = 0
        if parts.scheme not in ("http", "https") or not parts.hostname or port == 0 or parts.username:
            raise ConfigError(
                f"payloads.url is no URL of a collector: {url!r}", hint="write it as in http://host:port/path"
            )
        self._common = common
        self._path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        self._connection: HTTPConnection
        if parts.scheme == "https":
            context = ssl.create_default_context()
            self._connection = HTTPSConnection(parts.hostname, port, timeout=_TIMEOUT, context=context)
        else:
            self._connection = HTTPConnection(parts.hostname, port, timeout=_TIMEOUT)

    def write(self, payloads: Sequence[Payload]) -> None:
        for payload in payloads:
            self._post(payload)

    def close(self) -> None:
        self._connection.close()

    def _post(self, payload: Payload) -> None:
        idle = self._connection.sock is not None
        try:
            self._try(payload)
        except (RemoteDisconnected, BrokenPipeError, ConnectionResetError):
            if not idle:
                raise
            self._try(payload)  # it had closed a connection that nobody used

    def _try(self, payload: Payload) -> None:
        try:
            self._connection.request("POST", self._path, payload.body, encode_headers(payload, self._common))
            answer = self._connection.getresponse()
            answer.read()
        except BaseException:
            self._connection.close()
            raise
        if answer.status >= 300:
            raise HTTPException(f"the collector answered {answer.status}")
