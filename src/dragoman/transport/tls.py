"""Certificates: what listeners need for TLS, for clients with certificates of their own, and after a renewal.

Knows files and handshakes, no connection. A renewed file counts from the next handshake on; what is open stays open.
"""

import logging
import os
import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from dragoman.errors import ConfigError

log = logging.getLogger("dragoman.transport")

FilePath = str | os.PathLike[str]
#: Seconds after which a handshake looks at the files again.
_FRESH: Final = 1.0


@dataclass(frozen=True, slots=True)
class Loaded:
    """What the files held at one time. ``chain``, ``key`` and ``client_ca`` are PEM."""

    context: ssl.SSLContext
    chain: bytes
    key: bytes
    client_ca: bytes | None


class Certificates:
    """A chain, its key, and whose certificates clients must show: read now, and again when the files change.

    May be asked by any thread.
    """

    def __init__(
        self,
        cert: FilePath,
        key: FilePath | None = None,
        client_ca: FilePath | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Raises ConfigError for files that don't serve. Without ``client_ca`` clients need no certificate."""
        self._paths = (cert, key or cert, client_ca or None)
        self._clock = clock
        self._lock = threading.Lock()
        self._seen = self._stamps()
        self._loaded = _load(*self._paths)
        self._looked = clock()
        self.context: Final = _Renewed(self)  #: for a listener, once and for all

    def current(self) -> Loaded:
        """What is in the files. If a renewal can't be used, the log says why, and what was there before is."""
        with self._lock:
            now = self._clock()
            if now - self._looked >= _FRESH:
                self._looked = now
                self._look()
            return self._loaded

    def _look(self) -> None:
        stamps = self._stamps()
        if stamps == self._seen:
            return
        self._seen = stamps
        try:
            self._loaded = _load(*self._paths)
        except ConfigError as error:
            log.error("a renewed certificate can't be used, the old one is", extra={"error": str(error)})
        else:
            log.info("certificates were renewed", extra={"certificate": os.fspath(self._paths[0])})

    def _stamps(self) -> list[tuple[int, ...]]:
        return [_stamp(path) for path in self._paths if path is not None]


class _Renewed(ssl.SSLContext):
    """Stands in front of the context that is current when a handshake begins."""

    _certificates: Certificates

    def __new__(cls, certificates: Certificates) -> "_Renewed":
        self = super().__new__(cls, ssl.PROTOCOL_TLS_SERVER)
        self._certificates = certificates
        return self

    def __init__(self, certificates: Certificates) -> None:
        """Nothing is left to do: ``__new__`` has the protocol."""

    def wrap_bio(self, *args: Any, **more: Any) -> ssl.SSLObject:
        return self._certificates.current().context.wrap_bio(*args, **more)


def server_context(
    cert: FilePath, key: FilePath | None = None, client_ca: FilePath | None = None
) -> ssl.SSLContext:
    """TLS 1.2 or newer with the chain in ``cert`` and its ``key``, in one file or two. Raises ConfigError."""
    return _load(cert, key or cert, client_ca).context


def _load(cert: FilePath, key: FilePath, client_ca: FilePath | None) -> Loaded:
    chain, secret = _read("certificate", cert), _read("key", key)
    authorities = None if client_ca is None else _read("authorities", client_ca)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_cert_chain(cert, key, password=_no_password)
    except ssl.SSLError as error:
        raise ConfigError(
            f"the TLS certificate and key in {os.fspath(cert)} and {os.fspath(key)} don't load:"
            f" {error.reason or 'not PEM'}",
            hint="Both are PEM files; the key must be the certificate's and have no password.",
        ) from None
    if authorities is not None:
        _demand(context, authorities, client_ca)
    return Loaded(context, chain, secret, authorities)


def _demand(context: ssl.SSLContext, authorities: bytes, path: FilePath | None) -> None:
    """Let nobody in without a certificate of one of these authorities."""
    try:
        context.load_verify_locations(cadata=authorities.decode("ascii"))
    except (ssl.SSLError, UnicodeDecodeError):
        raise ConfigError(
            f"the TLS authorities in {os.fspath(path or '')} don't load",
            hint="It is a PEM file of the certificates that clients' own are signed with.",
        ) from None
    context.verify_mode = ssl.CERT_REQUIRED


def _read(name: str, path: FilePath) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise ConfigError(f"can't read the TLS {name} {os.fspath(path)}: {error.strerror}") from None


def _stamp(path: FilePath) -> tuple[int, ...]:
    """Changes when the file does, or when another takes its place."""
    try:
        status = os.stat(path)
    except OSError:
        return ()
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def _no_password() -> str:
    return ""  # rather than to ask on the terminal
