"""Authority as guards of routes: a head comes in, and who asks is known, or it is told why not.

What is asked, in this order: the key, its roles, its models, how much it has left. REST and gRPC ask the same.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote

from dragoman.errors import DragomanError
from dragoman.transport.auth import ALLOWED, About, digest_of
from dragoman.transport.request import Guard, HttpRequest
from dragoman.users.authority import Authority
from dragoman.users.caller import KnownCaller
from dragoman.users.recorder import Recorder

if TYPE_CHECKING:
    from dragoman.transport.grpc.call import Call, Status
    from dragoman.transport.grpc.routes import Route
    from dragoman.transport.grpc.server import Guard as GrpcGuard

#: Operations of which the audit has a line each time, let in or not.
AUDITED: Final = frozenset({"model-repository", "management", "shared-memory", "trace", "logging"})
#: Changes of accounts write their lines themselves; here are those that are refused.
_REFUSALS: Final = AUDITED | {"accounts"}
_DIGEST: Final = "key's digest"


@dataclass(frozen=True, slots=True)
class Guards:
    """Makes the guards of all routes."""

    authority: Authority
    recorder: Recorder

    def admit(self, operation: str, pattern: str, about: int | About) -> Guard | None:
        """The guard of a REST route; ``None`` where everybody may come in."""
        if ALLOWED[operation] is None:
            return None
        return _RestGuard(self, operation, pattern, about)

    def grpc(self) -> "GrpcGuard":
        """The guard of all gRPC methods."""
        return self._check_call

    def _check_call(self, route: "Route", call: "Call") -> None:
        if ALLOWED[route.operation] is None:
            return
        address = address_of(call.peer)
        try:
            call.caller = caller = self.authority.identify(secret_of(call.header), address)
            caller.check_operation(route.operation)
            if route.about is About.MODELS:
                caller.check_everything()
            caller.spend()
        except DragomanError as error:
            if route.operation in _REFUSALS:
                self.recorder.record(call.caller.name, route.path, address, f"refused: {error.code.value}")
            raise
        if route.operation in AUDITED:
            call.on_end = self._grpc_outcome(caller.name, route.path, address)

    def _grpc_outcome(self, who: str, what: str, address: str) -> "Callable[[Status], None]":
        return lambda status: self.recorder.record(who, what, address, status.name)


class _RestGuard:
    """Of one route."""

    def __init__(self, guards: Guards, operation: str, pattern: str, about: int | About) -> None:
        self._authority = guards.authority
        self._recorder = guards.recorder
        self._operation = operation
        self._about = about
        #: The name is the first segment of a rest of the path, and not a segment of its own.
        self._rest = pattern.endswith("/{*}") and about == pattern.count("{") - 1
        self._audited = operation in AUDITED

    def __call__(self, http: HttpRequest) -> None:
        try:
            self._check(http)
        except DragomanError as error:
            if self._operation in _REFUSALS:
                self._record(http, origin_of(http), f"refused: {error.code.value}")
            raise
        if self._audited:
            origin = origin_of(http)  # now: when it is answered the connection is another request's
            http.on_answer = lambda status: self._record(http, origin, str(status))

    def _check(self, http: HttpRequest) -> None:
        digest = http.notes.get(_DIGEST) or _digest(http)
        caller = self._authority.known(digest)
        if caller is None:
            caller = self._authority.identify(secret_of(http.header), origin_of(http))
        http.caller = caller
        if self._operation not in caller.operations:
            caller.check_operation(self._operation)
        if not caller.everything:
            self._check_models(caller, http)
        if caller.limits is not None:
            try:
                caller.spend()
            finally:
                http.lines = caller.lines()

    def _check_models(self, caller: KnownCaller, http: HttpRequest) -> None:
        if isinstance(self._about, int):
            caller.check(self._model(http))
        elif self._about is About.MODELS:
            caller.check_everything()

    def _model(self, http: HttpRequest) -> str:
        if not isinstance(self._about, int):
            return ""
        name = http.params[self._about]
        return name.split("/", 1)[0] if self._rest else name

    def _record(self, http: HttpRequest, origin: str, outcome: str) -> None:
        what = f"{http.method} {http.path}"
        self._recorder.record(http.caller.name, what, origin, outcome, self._model(http))


def _digest(http: HttpRequest) -> bytes:
    """Of the key that a head brings, remembered with the head: clients send the same again and again."""
    name, secret = _find(http.header)
    http.hide(name)  # nobody behind this door has any use for it
    digest = http.notes[_DIGEST] = digest_of(secret or "")
    return digest


def secret_of(header: Callable[[bytes], str | None]) -> str | None:
    """The key or token that a request's headers bring: ``Authorization: Bearer``, or ``X-API-Key``."""
    return _find(header)[1]


def _find(header: Callable[[bytes], str | None]) -> tuple[bytes, str | None]:
    """In which header it is, and the key."""
    given = header(b"authorization")
    if given is not None and given[:7].lower() == "bearer ":
        return b"authorization", given[7:].strip()
    return b"x-api-key", header(b"x-api-key")


def origin_of(http: HttpRequest) -> str:
    """The address that a request came from; empty over a Unix socket."""
    return http.client[0] if http.client is not None else ""


def address_of(peer: str) -> str:
    """The address in what gRPC calls a peer: ``ipv4:10.0.0.7:51234``, ``ipv6:%5B::1%5D:51234``."""
    kind, _, rest = unquote(peer).partition(":")
    return rest.rpartition(":")[0].strip("[]") if kind in ("ipv4", "ipv6") else ""
