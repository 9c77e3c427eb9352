"""A connection to the host of a URL, and to no address that the rules don't allow. Knows no HTTP.

A name is looked up once, every address it has is judged, and the connection is made to one of these addresses: a
name that means something else a moment later means nothing here. What is at the other end is then asked of the
socket itself. Proxies of the environment are not used: behind one, nobody could say where a connection ends.
"""

import contextlib
import io
import logging
import socket
import ssl
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import ip_address
from typing import TYPE_CHECKING, BinaryIO, Final

from dragoman.errors import DownloadFailed, UrlNotAllowed
from dragoman.repository.sources.addresses import Address, meant
from dragoman.repository.sources.effort import Effort
from dragoman.repository.sources.location import Url
from dragoman.repository.sources.rules import Rules

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

log = logging.getLogger("dragoman.repository")

#: The most addresses of one host that are tried.
TRIES: Final = 4

#: Addresses of a host, in the order to try them; as ``socket.getaddrinfo``, whose OSError it may raise.
Resolve = Callable[[str], Sequence[Address]]


def look_up(host: str) -> list[Address]:
    """Every address the system knows for a host."""
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return [ip_address(entry[4][0]) for entry in found]


@dataclass(frozen=True, slots=True)
class Egress:
    """The ways out: who is asked for addresses, and whose certificates are believed (``None`` is the system's)."""

    resolve: Resolve = look_up
    tls: ssl.SSLContext | None = None


class Connection:
    """A connected socket as a stream whose every step ends in time."""

    def __init__(self, sock: socket.socket, effort: Effort) -> None:
        self._sock = sock
        self._effort = effort

    def send(self, data: bytes) -> None:
        self._sock.settimeout(self._effort.left())
        self._sock.sendall(data)

    def makefile(self, mode: str, *_: object) -> BinaryIO:
        """What ``http.client.HTTPResponse`` wants of a socket."""
        return io.BufferedReader(_Reader(self._sock, self._effort))


@contextmanager
def connect(url: Url, location: str, rules: Rules, egress: Egress, effort: Effort) -> Iterator[Connection]:
    """Connected to the URL's host, over TLS for https. Raises UrlNotAllowed before anything is sent, DownloadFailed
    for a host without address, OSError and TimeoutError."""
    addresses = _allowed(url, location, rules, egress, effort)
    with contextlib.ExitStack() as stack:
        plain = stack.enter_context(_dial(addresses, url.port, effort))
        _check_peer(plain, addresses, location)
        sock = plain
        if url.scheme == "https":
            context = egress.tls or ssl.create_default_context()
            # A stream that ends without TLS's own end may have been cut by anybody.
            sock = context.wrap_socket(
                plain, server_hostname=url.host, do_handshake_on_connect=False, suppress_ragged_eofs=False
            )
            stack.enter_context(sock)
        stack.enter_context(effort.waking(lambda: _shut(sock)))
        if isinstance(sock, ssl.SSLSocket):
            sock.settimeout(effort.left())
            sock.do_handshake()
        yield Connection(sock, effort)


def _allowed(url: Url, location: str, rules: Rules, egress: Egress, effort: Effort) -> Sequence[Address]:
    try:
        addresses = effort.call(lambda: egress.resolve(url.host))
    except (socket.gaierror, UnicodeError):
        addresses = []
    if not addresses:
        raise DownloadFailed("its host has no address", location)
    for address in addresses:
        if not rules.allows(address):
            log.warning("a fetch is refused", extra={"url": url.shown, "address": str(address)})
            # The address stays in the log: a client must not learn names of the network it can't see.
            raise UrlNotAllowed("the URL leads to an address that is not allowed", location)
    return addresses[:TRIES]


def _dial(addresses: Sequence[Address], port: int, effort: Effort) -> socket.socket:
    failure: OSError = OSError("no address")
    for address in addresses:
        family = socket.AF_INET if address.version == 4 else socket.AF_INET6
        sock = socket.socket(family, socket.SOCK_STREAM)
        try:
            with effort.waking(lambda: _shut(sock)):  # noqa: B023 - called within the loop only
                sock.settimeout(effort.left())
                sock.connect((str(address), port))
        except OSError as error:
            sock.close()
            failure = error
        except BaseException:
            sock.close()
            raise
        else:
            return sock
    raise failure


def _check_peer(sock: socket.socket, addresses: Sequence[Address], location: str) -> None:
    peer = meant(ip_address(sock.getpeername()[0]))
    if peer not in [meant(address) for address in addresses]:
        raise UrlNotAllowed("the URL leads to an address that is not allowed", location)


def _shut(sock: socket.socket) -> None:
    """Wake whoever waits on the socket. The plain way also for TLS, whose own would forget its state meanwhile."""
    with contextlib.suppress(OSError):
        socket.socket.shutdown(sock, socket.SHUT_RDWR)


class _Reader(io.RawIOBase):
    def __init__(self, sock: socket.socket, effort: Effort) -> None:
        self._sock = sock
        self._effort = effort

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "WriteableBuffer", /) -> int:
        self._sock.settimeout(self._effort.left())
        count = self._sock.recv_into(buffer)
        if not count:
            self._effort.left()  # an end that giving up has made is none
        return count
