"""Permissions as guards: asked about each request by the operation that its route declares.

What is refused is refused in Triton's words, which tell the header's name and nothing of its value.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple

from dragoman.errors import ConfigError, Forbidden, NotReady
from dragoman.transport.auth import OPERATIONS, Permissions, parse_restrictions
from dragoman.transport.request import Guard, HttpRequest

if TYPE_CHECKING:
    from dragoman.transport.grpc.call import Call
    from dragoman.transport.grpc.routes import Route
    from dragoman.transport.grpc.server import Guard as GrpcGuard

#: Before the key in the name of a call's metadata.
PREFIX: Final = "triton-grpc-protocol-"


class Restrictions(NamedTuple):
    """What REST and gRPC ask for."""

    rest: Permissions
    grpc: Permissions

    @classmethod
    def read(cls, rest: str, grpc: str | None = None) -> "Restrictions":
        """Out of what an operator wrote, for both alike or for each. Raises ConfigError, with no secret in it."""
        try:
            return cls(
                Permissions(parse_restrictions(rest)),
                Permissions(parse_restrictions(rest if grpc is None else grpc, PREFIX)),
            )
        except ValueError as error:
            raise ConfigError(f"a restriction can't be read: {error}") from None


def guards_of(permissions: Permissions) -> Mapping[str, Guard]:
    """For HTTP: a guard for each operation that asks for a header. Other requests cost nothing."""
    return {name: partial(_check_request, permissions, name) for name in OPERATIONS if permissions.asks(name)}


def grpc_guard_of(permissions: Permissions) -> "GrpcGuard | None":
    """For gRPC: a guard of all methods, if any operation asks for a header."""
    if not any(map(permissions.asks, OPERATIONS)):
        return None
    return partial(_check_call, permissions)


def both(first: "GrpcGuard | None", second: "GrpcGuard | None") -> "GrpcGuard | None":
    """One guard out of two, of which the first is asked first."""
    if first is None or second is None:
        return first or second

    def guard(route: "Route", call: "Call") -> None:
        first(route, call)
        second(route, call)

    return guard


def _check_request(permissions: Permissions, operation: str, http: HttpRequest) -> None:
    header = permissions.lacking(operation, _read_from(http))
    if header is not None:
        raise Forbidden(f"This API is restricted, expecting header '{header}'")


def _check_call(permissions: Permissions, route: "Route", call: "Call") -> None:
    header = permissions.lacking(route.operation, _read_from(call))
    if header is not None:  # UNAVAILABLE is Triton's status for it
        raise NotReady(f"This protocol is restricted, expecting header '{header}'")


def _read_from(request: "HttpRequest | Call") -> Callable[[str], str | None]:
    return lambda name: request.header(name.encode("latin-1"))
