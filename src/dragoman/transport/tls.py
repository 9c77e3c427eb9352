"""Certificates: makes the context that a listener needs for HTTPS. Knows no connection."""

import os
import ssl

from dragoman.errors import ConfigError


def server_context(cert: str | os.PathLike[str], key: str | os.PathLike[str] | None = None) -> ssl.SSLContext:
    """TLS 1.2 or newer with the chain in ``cert`` and its ``key``, in one file or two. Raises ConfigError."""
    for name, path in (("certificate", cert), ("key", key or cert)):
        try:
            with open(path, "rb"):
                pass
        except OSError as error:
            raise ConfigError(f"can't read the TLS {name} {os.fspath(path)}: {error.strerror}") from None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_cert_chain(cert, key, password=_no_password)
    except ssl.SSLError as error:
        files = f"{os.fspath(cert)} and {os.fspath(key or cert)}"
        raise ConfigError(
            f"the TLS certificate and key in {files} don't load: {error.reason or 'not PEM'}",
            hint="Both are PEM files; the key must be the certificate's and have no password.",
        ) from None
    return context


def _no_password() -> str:
    return ""  # rather than to ask on the terminal
