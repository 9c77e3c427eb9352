"""A file over HTTP or HTTPS, from the host that is meant and no other. Knows nothing of where it is written to.

Answers are read by the standard library's parser; connections, redirects and time are our own, because these are what
a download can be misled by. Nothing of a client's request is sent along: no header, no cookie, no password.
"""

import http.client
import re
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final, cast
from urllib.parse import urljoin

from dragoman import __version__
from dragoman.errors import DownloadFailed, SourceError, UrlNotAllowed
from dragoman.repository.sources.connection import Connection, Egress, connect
from dragoman.repository.sources.effort import Effort
from dragoman.repository.sources.location import Url, parse_url
from dragoman.repository.sources.rules import Rules
from dragoman.repository.sources.staging import CHUNK, Staging

REDIRECTS: Final = 5
_MOVED: Final = (301, 302, 303, 307, 308)


def download(
    url: Url, staging: Staging, rules: Rules, egress: Egress, effort: Effort, *, sized: bool = True
) -> None:
    """Bring the file. ``sized`` asks for an answer that tells its length, so that a part isn't taken for the whole.

    Raises UrlNotAllowed (also for where it is redirected to), DownloadFailed, and what ``staging`` raises.
    """
    location = url.text
    for _ in range(REDIRECTS + 1):
        with _as_failure(location, effort), connect(url, location, rules, egress, effort) as connection:
            response = _ask(connection, url)
            if response.status not in _MOVED:
                total = _check(response, location, sized)
                staging.expect(total)
                staging.write(_chunks(response, total, location))
                return
        url = _follow(url, response, location)
        rules.check_url(url.text, location)
    raise DownloadFailed(f"it is redirected more than {REDIRECTS} times", location)


def _ask(connection: Connection, url: Url) -> http.client.HTTPResponse:
    host = f"[{url.host}]" if ":" in url.host else url.host
    if url.port != (443 if url.scheme == "https" else 80):
        host = f"{host}:{url.port}"
    connection.send(
        f"GET {url.target} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: dragoman/{__version__}\r\nAccept: */*\r\n"
        "Accept-Encoding: identity\r\nConnection: close\r\n\r\n".encode("ascii")
    )
    response = http.client.HTTPResponse(cast(Any, connection), method="GET")
    response.begin()
    return response


def _check(response: http.client.HTTPResponse, location: str, sized: bool) -> int | None:
    """The length of the file, where it is told."""
    if response.status != 200:
        raise DownloadFailed(f"its host answers {response.status}", location)
    codings = response.msg.get_all("Transfer-Encoding", [])
    lengths = set(response.msg.get_all("Content-Length", []))
    if codings:
        if [coding.strip().lower() for coding in codings] != ["chunked"] or lengths:
            raise DownloadFailed("its host answers in a way that is not understood", location)
        return None
    if len(lengths) > 1 or not all(re.fullmatch("[0-9]{1,18}", text) for text in lengths):
        raise DownloadFailed("its host answers in a way that is not understood", location)
    if not lengths and sized:
        hint = "give its SHA-256 digest to take it anyway"
        raise DownloadFailed(f"its host doesn't say how long it is; {hint}", location)
    return response.length


def _chunks(response: http.client.HTTPResponse, total: int | None, location: str) -> Iterator[bytes]:
    size = 0
    while chunk := response.read1(CHUNK):
        size += len(chunk)
        yield chunk
    if total is not None and size != total:
        raise DownloadFailed(f"it broke off after {size} of {total} bytes", location)


def _follow(url: Url, response: http.client.HTTPResponse, location: str) -> Url:
    """Where the answer points. Every rule for URLs holds again, and it must not leave TLS."""
    refused = UrlNotAllowed("it is redirected to a place that is not allowed", location)
    target = response.msg.get_all("Location", [])
    if len(target) != 1:
        raise DownloadFailed(f"its host answers {response.status} without a place to go", location)
    try:
        after = parse_url(urljoin(url.text, target[0]))
    except (SourceError, ValueError):
        raise refused from None
    if after.scheme not in ("http", "https") or (url.scheme, after.scheme) == ("https", "http"):
        raise refused
    return after


@contextmanager
def _as_failure(location: str, effort: Effort) -> Iterator[None]:
    try:
        yield
    except (OSError, http.client.HTTPException, ValueError) as error:
        effort.check()
        raise DownloadFailed(_reason(error), location) from error


def _reason(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "it takes too long"
    if isinstance(error, ssl.SSLCertVerificationError):
        return "the certificate of its host is not trusted"
    if isinstance(error, http.client.IncompleteRead | EOFError | ssl.SSLEOFError):
        return "it broke off"
    return "the connection to its host failed"
