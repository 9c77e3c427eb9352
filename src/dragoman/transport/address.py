"""Addresses to listen on: how they are shown, taken for several processes, and refused. Knows no protocol."""

import os
import socket
import sys
from contextlib import ExitStack

from dragoman.errors import ConfigError


def show(host: str, port: int, *, tls: bool = False) -> str:
    """The URL at which this machine reaches what listens there."""
    return f"{'https' if tls else 'http'}://{authority(host, port)}"


def authority(host: str, port: int) -> str:
    """The same without a scheme."""
    shown = "127.0.0.1" if host in ("", "0.0.0.0") else f"[{host}]" if ":" in host else host
    return f"{shown}:{port}"


def cannot_listen(host: str, port: int, error: OSError, flag: str = "--port") -> ConfigError:
    """What the operator is told when the address is taken, or none of this machine's. ``flag`` chooses the port."""
    reason = os.strerror(error.errno) if error.errno and error.errno > 0 else str(error)
    return ConfigError(
        f"can't listen on {host} port {port}: {reason}",
        hint=f"choose another with {flag}, or 0 for any free one",
    )


def reserve(host: str, port: int, flag: str = "--port") -> tuple[list[socket.socket], int]:
    """Take a port for several processes, which then listen on it with SO_REUSEPORT while these sockets are open.

    Nothing listens on the sockets themselves. Raises ConfigError, also where others share the port already.
    """
    with ExitStack() as opened:
        sockets: list[socket.socket] = []
        try:
            infos = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
            for family, kind, protocol, _, address in dict.fromkeys(infos):
                sock = opened.enter_context(socket.socket(family, kind, protocol))
                port = _take(sock, (address[0], port, *address[2:]))
                sockets.append(sock)
        except OSError as error:
            raise cannot_listen(host, port, error, flag) from error
        opened.pop_all()
    return sockets, port


def _take(sock: socket.socket, address: tuple[object, ...]) -> int:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if sock.family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    if sys.platform != "linux":
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    sock.bind(address)
    # Linux takes the option after bind too: so the port is shared from now on, but was nobody's before.
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    return int(sock.getsockname()[1])
