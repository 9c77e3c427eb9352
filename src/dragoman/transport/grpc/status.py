"""The one table from a kind of failure to a gRPC status, and how a failure is told. Knows no method."""

import logging
import secrets
from typing import Final

from dragoman.errors import Code, DragomanError, PredictionFailed
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
    Code.RATE_LIMITED: Status.RESOURCE_EXHAUSTED,
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

#: What a model means that raises FastAPI's HTTPException with one of these.
_RAISED: Final[dict[int, Status]] = {
    401: Status.UNAUTHENTICATED,
    403: Status.PERMISSION_DENIED,
    404: Status.NOT_FOUND,
    409: Status.ABORTED,
    429: Status.RESOURCE_EXHAUSTED,
    501: Status.UNIMPLEMENTED,
    503: Status.UNAVAILABLE,
    504: Status.DEADLINE_EXCEEDED,
}


def fail(call: Call, error: DragomanError) -> None:
    """End the call with the status of the error's code, or of the HTTP status that the model has raised."""
    if isinstance(error, PredictionFailed) and error.detail is not None:
        call.fail(_RAISED.get(error.status, _class_of(error.status)), error.message)
        return
    call.fail(STATUS[error.code], error.message)


def _class_of(status: int) -> Status:
    return Status.INVALID_ARGUMENT if 400 <= status < 500 else Status.INTERNAL


def fail_unexpected(call: Call, error: Exception) -> None:
    """End a call whose handler raised. What is no DragomanError is a bug: logged, and only an id is shown."""
    if isinstance(error, DragomanError):
        fail(call, error)
        return
    number = secrets.token_hex(8)
    log.error("gRPC %s failed, id %s", call.method, number, exc_info=error)
    call.fail(Status.INTERNAL, f"internal error, see the server's log under id {number}")
