"""How a server is asked over REST: protocol, time, certificates. Needs httpx."""

import ssl
from pathlib import Path
from typing import Any

import httpx

from dragoman.compat.kserve.constants.constants import PredictorProtocol


class RESTConfig:
    """``timeout`` is for a call in full, in seconds; ``None`` is none. ``retries`` is how often a connection is tried
    again. ``verify`` is a file or folder of certificates to trust, a context, or false for anybody; ``cert`` a file
    of our own, or (file, key), or (file, key, password). Whoever brings a ``transport`` sees to TLS himself.
    """

    def __init__(
        self,
        transport: httpx.AsyncBaseTransport | None = None,
        protocol: str | PredictorProtocol = "v1",
        retries: int = 3,
        http2: bool = False,
        timeout: Any = 60,
        cert: Any = None,
        verify: str | bool | ssl.SSLContext = True,
        auth: Any = None,
        verbose: bool = False,
    ) -> None:
        self.transport = transport
        self.protocol = protocol.value if isinstance(protocol, PredictorProtocol) else protocol
        self.retries = retries
        self.http2 = http2
        self.timeout = timeout
        self.cert = cert
        self.verify = verify
        self.auth = auth
        self.verbose = verbose


def trust(config: RESTConfig) -> ssl.SSLContext:
    """Who is believed, and who we are."""
    verify = config.verify
    if isinstance(verify, ssl.SSLContext):
        context = verify
    elif isinstance(verify, str):
        place = {"capath": verify} if Path(verify).is_dir() else {"cafile": verify}
        context = ssl.create_default_context(**place)  # type: ignore[arg-type]
    else:
        context = httpx.create_ssl_context()
        if not verify:
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if config.cert is not None:
        context.load_cert_chain(*([config.cert] if isinstance(config.cert, str) else config.cert))
    return context
