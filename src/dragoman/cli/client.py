"""Asks a running server over HTTP. Knows addresses and JSON; what is asked is the commands' affair."""

import json
import os
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from typing import Any, Final
from urllib.parse import quote, urlsplit

from dragoman.cli.failure import FAILED, USAGE, Failure
from dragoman.cli.flags import DEFAULT_URL

#: The environment variable with the key for the server that is asked.
VARIABLE: Final = "DRAGOMAN_KEY"


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer. Header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        try:
            return json.loads(self.body)
        except ValueError:
            raise Failure(f"the server answered {self.status} with something that is not JSON") from None


class Client:
    """One connection to one server, kept open between questions."""

    def __init__(self, url: str, timeout: float = 300.0) -> None:
        self.url = (url if "://" in url else f"http://{url}").rstrip("/")
        try:
            parts = urlsplit(self.url)
            host, port = parts.hostname, parts.port
        except ValueError:
            host = None
        if host is None or parts.scheme not in ("http", "https"):
            raise Failure(f"{url!r} is no address of a server", hint=f"write it as {DEFAULT_URL}", code=USAGE)
        made = HTTPSConnection if parts.scheme == "https" else HTTPConnection
        self._prefix = parts.path
        self._connection = made(host, port, timeout=timeout)

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *exception: object) -> None:
        self._connection.close()

    def ask(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """The answer, whatever its status. Raises Failure where there is none."""
        try:
            self._connection.request(method, self._prefix + path, body, {**_key(), **(headers or {})})
            response: HTTPResponse = self._connection.getresponse()
            names = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, names, response.read())
        except (OSError, HTTPException) as error:
            raise Failure(
                f"can't reach {self.url}: {_reason(error)}",
                hint="start a server with: dragoman serve models/   or name another with --url",
            ) from error

    def get(self, path: str) -> Any:
        """The JSON at a path. Raises Failure with the server's own words where it refuses."""
        return accept(self.ask("GET", path)).json()


def _key() -> dict[str, str]:
    """The header for servers that ask for a key."""
    key = os.environ.get(VARIABLE, "")
    return {"Authorization": f"Bearer {key}"} if key else {}


def accept(answer: Answer) -> Answer:
    """The answer, if it is a good one. Raises Failure with the server's own words where it refuses."""
    if answer.status < 400:
        return answer
    try:
        document = json.loads(answer.body)
        message = document.get("error") or document.get("message") or document
    except (ValueError, AttributeError):
        message = answer.body.decode(errors="replace").strip()[:500]
    raise Failure(f"the server answered {answer.status}: {message}", code=FAILED)


def model_path(name: str, version: str = "") -> str:
    """Where the Open Inference Protocol has a model."""
    path = f"/v2/models/{quote(name, safe='')}"
    return f"{path}/versions/{quote(version, safe='')}" if version else path


def _reason(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, ssl.SSLError):
        return getattr(error, "verify_message", "") or error.reason or str(error)
    if isinstance(error, socket.gaierror):
        return "the host's name is not known"
    if isinstance(error, OSError) and error.errno and error.errno > 0:
        return os.strerror(error.errno)
    return str(error) or type(error).__name__
