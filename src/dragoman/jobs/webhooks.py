"""Tells that a job has ended: signed, to nobody that the operator hasn't allowed, and again if need be.

Connections are those that fetch models: a name is looked up once, its addresses are judged, and the socket is asked
who is there.
"""

import http.client
import logging
import time
from dataclasses import dataclass
from typing import Any, Final, cast

from dragoman import __version__
from dragoman.errors import ConfigError, DragomanError, SourceError, UrlNotAllowed
from dragoman.jobs.signing import read_secret, sign
from dragoman.repository.sources.connection import Egress, connect
from dragoman.repository.sources.effort import Effort
from dragoman.repository.sources.location import Url, parse_url
from dragoman.repository.sources.rules import Rules, parse_rules

log = logging.getLogger("dragoman.jobs")

#: Seconds that one try may take, and that it may go without getting on.
_SECONDS: Final = 30.0
_IDLE: Final = 10.0
#: Seconds until the second try; each wait is four times the one before, up to the longest.
_FIRST: Final = 1.0
_LONGEST: Final = 3600.0
_GONE: Final = 410


@dataclass(frozen=True, slots=True)
class Tried:
    """What came of one try: ``told``, or why not. One that is ``final`` is no use to be made again."""

    told: bool
    reason: str = ""
    final: bool = False


class Webhooks:
    """Where it may be told, and what with."""

    def __init__(
        self, urls: str, networks: tuple[str, ...], secret: str, egress: Egress | None = None
    ) -> None:
        """Raises ConfigError."""
        self._rules: Rules = parse_rules(urls, networks)
        if self._rules.urls and not secret:
            raise ConfigError("jobs.webhook_urls needs jobs.webhook_secret, which webhooks are signed with")
        self._key = read_secret(secret) if secret else b""
        self._egress = egress or Egress()

    def check(self, url: str) -> None:
        """Raises SourceError for a URL that can't be told anything."""
        parsed = parse_url(url)
        if parsed.scheme not in ("http", "https"):
            raise UrlNotAllowed("a webhook's URL must begin with https:// or http://", url)
        self._rules.check_url(url, url)

    def tell(self, url: str, id: str, body: bytes) -> Tried:  # noqa: A002
        """One try. Blocks, up to ``_SECONDS``."""
        try:
            self.check(url)
            parsed = parse_url(url)
            effort = Effort(_SECONDS, _IDLE)
            with connect(parsed, url, self._rules, self._egress, effort) as connection:
                headers = sign(self._key, id, int(time.time()), body)
                connection.send(_request(parsed, headers, body))
                response = http.client.HTTPResponse(cast(Any, connection), method="POST")
                response.begin()
        except UrlNotAllowed as error:
            return Tried(False, error.message, final=True)
        except (SourceError, DragomanError) as error:
            return Tried(False, error.message)
        except (OSError, http.client.HTTPException, ValueError) as error:
            return Tried(
                False, "it took too long" if isinstance(error, TimeoutError) else "the connection failed"
            )
        if 200 <= response.status < 300:
            return Tried(True)
        return Tried(False, f"it answered {response.status}", final=response.status == _GONE)


def delay_after(attempts: int) -> float:
    """Seconds to wait after so many tries."""
    return float(min(_FIRST * 4 ** (attempts - 1), _LONGEST))


def _request(url: Url, headers: dict[str, str], body: bytes) -> bytes:
    host = f"[{url.host}]" if ":" in url.host else url.host
    if url.port != (443 if url.scheme == "https" else 80):
        host = f"{host}:{url.port}"
    every = {
        "Host": host,
        "User-Agent": f"dragoman/{__version__}",
        "Content-Type": "application/json",
        "Content-Length": str(len(body)),
        "Connection": "close",
        **headers,
    }
    head = "".join(f"{name}: {value}\r\n" for name, value in every.items())
    return f"POST {url.target} HTTP/1.1\r\n{head}\r\n".encode("ascii") + body
