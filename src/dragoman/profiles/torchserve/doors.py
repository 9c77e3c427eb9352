"""Who is let in at which port, and how the keys are renewed. Says no in TorchServe's words.

All that is asked here is asked of a request's head: nobody without a key gets to send a body.
"""

import logging
from collections.abc import Callable
from typing import Final
from urllib.parse import parse_qs

from dragoman.engine.engine import Engine
from dragoman.errors import Code
from dragoman.profiles.torchserve.tokens import Scope, Tokens
from dragoman.protocols.torchserve.errors import Refused
from dragoman.protocols.torchserve.http import DIALECT
from dragoman.transport.request import Guard, Handler, HttpRequest

log = logging.getLogger("dragoman.torchserve")

_BECAUSE: Final = "Token either incorrect, expired, or not provided correctly"
#: Wrong keys that are answered one by one, and how many more a second; those beyond are told to wait.
BURST: Final = 1000.0
RATE: Final = 100.0
_RENEWABLE: Final = {"management": Scope.MANAGEMENT, "inference": Scope.INFERENCE}


class Doors:
    """Asks for keys; without ``tokens`` every door is open."""

    def __init__(self, engine: Engine, tokens: Tokens | None) -> None:
        self._engine = engine
        self._tokens = tokens
        self._left, self._since = BURST, 0.0

    @property
    def locked(self) -> bool:
        return self._tokens is not None

    def authorize(self, http: HttpRequest, scope: str) -> None:
        """Raise Refused unless the request brings the key of ``scope``, "inference" or "management"."""
        self.check(http.header(b"authorization"), scope, http.arrived)

    def check(self, header: str | None, scope: str, arrived: float) -> None:
        """The same of an ``Authorization`` header, or metadata, alone."""
        if self._tokens is not None and not self._tokens.allows(Scope(scope), header):
            raise self._refused(f"Token Authorization failed. {_BECAUSE}", arrived)

    def guard(self, scope: str, answering: Callable[[Handler], Handler]) -> Guard | None:
        """What asks for the key of a scope, and says no through ``answering``; ``None`` where doors are open."""
        return answering(lambda http: self.authorize(http, scope)) if self.locked else None

    def authorize_renewal(self, http: HttpRequest) -> None:
        """Raise Refused unless the request brings the API key, and ``?type=`` names a key that can be renewed."""
        if self._tokens is None or not self._allows(Scope.API, http) or _kind(http) not in _RENEWABLE:
            raise self._refused(f"Token Authentication failed. {_BECAUSE}", http.arrived)

    def renew(self, http: HttpRequest) -> None:
        """Make the key that ``?type=`` names anew, in the file only; after ``authorize_renewal``. Raises Refused."""
        kind = _kind(http)
        assert self._tokens is not None
        try:
            self._tokens.renew(_RENEWABLE[kind])
        except OSError as error:
            log.error("a key could not be renewed", extra={"key": kind, "reason": error.strerror})
            message = "the key file could not be written"
            raise Refused(500, "InternalServerException", message, Code.INTERNAL) from error
        log.info("a key was renewed", extra={"key": kind})

    def _allows(self, scope: Scope, http: HttpRequest) -> bool:
        assert self._tokens is not None
        return self._tokens.allows(scope, http.header(b"authorization"))

    def _refused(self, message: str, arrived: float) -> Refused:
        """Who tries keys is slowed down; who has one is never asked to wait."""
        self._left = min(BURST, self._left + (arrived - self._since) * RATE) - 1
        self._since = arrived
        refused = Refused(400, "InvalidKeyException", message, Code.UNAUTHORIZED)
        if self._left < 0:
            self._left = 0.0
            refused = Refused(429, "InvalidKeyException", "Too many wrong keys", Code.UNAUTHORIZED)
        self._engine.refuse(DIALECT, refused)
        return refused


def _kind(http: HttpRequest) -> str:
    return parse_qs(http.query).get("type", [""])[0]
