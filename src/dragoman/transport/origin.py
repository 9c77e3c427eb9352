"""Keeps browsers from being used against the server: a page of another site must not change what runs here.

Whoever can reach the server may use it; a browser can reach it for any page that its user visits. Such requests
tell where they come from. A name that leads to this machine only since a moment ago (DNS rebinding) is told by the
Host they ask for.
"""

import ipaddress
import re
from collections.abc import Callable
from typing import Final

from dragoman.errors import Forbidden, Unauthorized
from dragoman.transport.auth import authorize, make_key
from dragoman.transport.request import Guard, HttpRequest

_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
_AUTHORITY: Final = re.compile(r"(?P<name>[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::(?P<port>[0-9]{1,5}))?")
#: What a browser says of requests that no page of another site has made.
_OWN: Final = ("same-origin", "none")


def guard_from_browsers(listens_on: str) -> Guard:
    """A guard for routes that change something, of a server that listens on this address.

    It refuses (403) requests of pages that are not the server's own and, where only this machine can reach the
    server, requests for any host that isn't this machine. Requests that don't come from browsers have no Origin.
    """
    local = is_loopback(listens_on)

    def guard(http: HttpRequest) -> None:
        if not is_own(http.header, local=local):
            raise Forbidden("the request comes from a page of another site")

    return guard


def guard_with_key(guard: Guard, key: str) -> Guard:
    """``guard``, and where there is a ``key``, only for who brings it as ``Authorization: Bearer``; others get 401."""
    keys = [make_key(key)] if key else []

    def guarded(http: HttpRequest) -> None:
        guard(http)
        if keys and not authorize(http.header(b"authorization"), keys, 0.0):
            raise Unauthorized("management needs its key: send it as 'Authorization: Bearer ...'")

    return guarded


def is_own(header: Callable[[bytes], str | None], *, local: bool) -> bool:
    """Whether a request's headers say nothing of another site. ``local``: only this machine can reach the server."""
    host, origin = header(b"host"), header(b"origin")
    asked = None if host is None else _AUTHORITY.fullmatch(host)
    if local and host is not None and (asked is None or not is_loopback(asked["name"])):
        return False
    if (header(b"sec-fetch-site") or "none") not in _OWN:
        return False
    return origin is None or (asked is not None and _is_page_of(origin, asked["name"], asked["port"]))


def is_loopback(host: str) -> bool:
    """Whether a name or address is always this machine. A Unix socket's is, and has no name."""
    name = host.strip("[]").rstrip(".").lower()
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def _is_page_of(origin: str, name: str, port: str | None) -> bool:
    """Whether an Origin is a page of this host. Its scheme may be another: something before us may speak TLS."""
    scheme, _, rest = origin.partition("://")
    default, page = _DEFAULT_PORTS.get(scheme), _AUTHORITY.fullmatch(rest)
    if default is None or page is None:
        return False
    return page["name"].lower() == name.lower() and int(page["port"] or default) == int(port or default)
