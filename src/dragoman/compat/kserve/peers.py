"""Failures of another server that a model asks: errors of a client library that are kinds of ours as well.

Code that catches what the library raises still does; a server that lets them through knows what to answer.
"""

from types import new_class
from typing import Any, Final, cast

from dragoman import errors as kinds

#: What a peer's HTTP status means to our own client. What is not here is its own number's hundred.
_OF_STATUS: Final[dict[int, type[kinds.DragomanError]]] = {
    401: kinds.Unauthorized,
    403: kinds.Forbidden,
    404: kinds.NotFound,
    408: kinds.DeadlineExceeded,
    409: kinds.Conflict,
    413: kinds.TooLarge,
    429: kinds.Overloaded,
    501: kinds.Unsupported,
    502: kinds.NotReady,
    503: kinds.NotReady,
    504: kinds.DeadlineExceeded,
}
#: The same for gRPC, by the name of the status.
_OF_CODE: Final[dict[str, type[kinds.DragomanError]]] = {
    "INVALID_ARGUMENT": kinds.InvalidInput,
    "FAILED_PRECONDITION": kinds.InvalidInput,
    "OUT_OF_RANGE": kinds.InvalidInput,
    "UNAUTHENTICATED": kinds.Unauthorized,
    "PERMISSION_DENIED": kinds.Forbidden,
    "NOT_FOUND": kinds.NotFound,
    "ALREADY_EXISTS": kinds.Conflict,
    "ABORTED": kinds.Conflict,
    "RESOURCE_EXHAUSTED": kinds.Overloaded,
    "UNIMPLEMENTED": kinds.Unsupported,
    "UNAVAILABLE": kinds.NotReady,
    "DEADLINE_EXCEEDED": kinds.DeadlineExceeded,
    "CANCELLED": kinds.NotReady,
}
_LONGEST: Final = 2000


def kind_of_status(status: int) -> type[kinds.DragomanError]:
    """The kind of failure behind a peer's HTTP status of 300 or more."""
    return _OF_STATUS.get(status, kinds.InvalidInput if 400 <= status < 500 else kinds.ModelFailed)


def kind_of_code(code: str) -> type[kinds.DragomanError]:
    """The kind of failure behind a peer's gRPC status, by its name."""
    return _OF_CODE.get(code, kinds.ModelFailed)


def blame(error: Exception, kind: type[kinds.DragomanError], message: str) -> kinds.DragomanError:
    """The error as one that is of ``kind``, too. ``message`` is for our client: no address of the peer in it."""
    both: Any = new_class(f"{kind.__name__}{type(error).__name__}", (kind, type(error)))
    both.__module__ = __name__
    made: Any = both.__new__(both)
    made.__dict__.update(error.__dict__)
    made.args = error.args
    made.message = message[:_LONGEST]
    if isinstance(made, kinds.Overloaded):
        made.retry_after = 1
    return cast(kinds.DragomanError, made)
