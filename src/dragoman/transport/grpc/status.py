"""The one table from a kind of failure to a gRPC status, and how a failure is told. Knows no method."""

import logging
import secrets
from typing import Final

from dragoman.errors import Code, DragomanError
from dragoman.transport.grpc.call import Call, Status

log = logging.getLogger("dragoman.transport")

STATUS: Final[dict[Code, Status]] = {
    Code.INVALID_INPUT: Status.INVALID_ARGUMENT,
    Code.UNAUTHORIZED: Status.UNAUTHENTICATED,
    Code.FORBIDDEN: Status.PERMISSION_DENIED,
    Code.NOT_FOUND: Status.NOT_FOUND,
    Code.CONFLICT: Status.ABORTED,
    Code.TOO_LARGE: Status.RESOURCE_EXHAUSTED,
    Code.UNSUPPORTED: Status.UNIMPLEMENTED,
    # Where to come back helps: clients and load balancers retry this one, and not RESOURCE_EXHAUSTED.
    Code.OVERLOADED: Status.UNAVAILABLE,
    Code.NOT_READY: Status.UNAVAILABLE,
    Code.DEADLINE_EXCEEDED: Status.DEADLINE_EXCEEDED,
    Code.CANCELLED: Status.CANCELLED,
    Code.MODEL_FAILED: Status.INTERNAL,
    Code.MODEL_OUTPUT_INVALID: Status.INTERNAL,
    Code.STORAGE: Status.RESOURCE_EXHAUSTED,
    Code.INTERNAL: Status.INTERNAL,
}


def fail(call: Call, error: DragomanError) -> None:
    """End the call with the status of the error's code."""
    call.fail(STATUS[error.code], error.message)


def fail_unexpected(call: Call, error: Exception) -> None:
    """End a call whose handler raised. What is no DragomanError is a bug: logged, and only an id is shown."""
    if isinstance(error, DragomanError):
        fail(call, error)
        return
    number = secrets.token_hex(8)
    log.error("gRPC %s failed, id %s", call.method, number, exc_info=error)
    call.fail(Status.INTERNAL, f"internal error, see the server's log under id {number}")
