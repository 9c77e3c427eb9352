"""Certificates as grpcio's core takes them, renewed with the files."""

from typing import Any

import grpc

from dragoman.transport.tls import Certificates, Loaded


def make_credentials(certificates: Certificates) -> Any:
    """What a secure port needs: it asks for what is current at each handshake."""
    told = certificates.current()

    def fetch() -> Any:
        nonlocal told
        current = certificates.current()
        if current is told:
            return None  # nothing has changed
        told = current
        return _configure(current)

    return grpc.dynamic_ssl_server_credentials(
        _configure(told), fetch, require_client_authentication=told.client_ca is not None
    )


def _configure(loaded: Loaded) -> Any:
    return grpc.ssl_server_certificate_configuration([(loaded.key, loaded.chain)], loaded.client_ca)
