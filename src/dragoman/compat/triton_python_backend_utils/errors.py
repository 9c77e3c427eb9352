"""What models say of a failure: errors that are answers, and the exception of whatever can't be done."""

from typing import Final

from dragoman.errors import (
    Cancelled,
    Code,
    Conflict,
    DragomanError,
    InvalidInput,
    ModelFailed,
    NotFound,
    NotReady,
    Unsupported,
)


class TritonError:
    """An answer that is no result. ``code`` is one of the class's numbers."""

    UNKNOWN = 0
    INTERNAL = 1
    NOT_FOUND = 2
    INVALID_ARG = 3
    UNAVAILABLE = 4
    UNSUPPORTED = 5
    ALREADY_EXISTS = 6
    CANCELLED = 7

    def __init__(self, message: str, code: int = INTERNAL) -> None:
        self._message, self._code = str(message), int(code)

    def message(self) -> str:
        return self._message

    def code(self) -> int:
        return self._code

    def __str__(self) -> str:
        return self._message


class TritonModelException(Exception):
    """Raised for what a model has asked and can't have."""

    def message(self) -> str:
        return str(self)


#: The server's kind for each number. A model's unknown failure is its failure.
_KINDS: Final[dict[int, type[DragomanError]]] = {
    TritonError.UNKNOWN: ModelFailed,
    TritonError.INTERNAL: ModelFailed,
    TritonError.NOT_FOUND: NotFound,
    TritonError.INVALID_ARG: InvalidInput,
    TritonError.UNAVAILABLE: NotReady,
    TritonError.UNSUPPORTED: Unsupported,
    TritonError.ALREADY_EXISTS: Conflict,
    TritonError.CANCELLED: Cancelled,
}
#: And the number for each code of the server's.
_NUMBERS: Final[dict[Code, int]] = {
    Code.INVALID_INPUT: TritonError.INVALID_ARG,
    Code.NOT_FOUND: TritonError.NOT_FOUND,
    Code.CONFLICT: TritonError.ALREADY_EXISTS,
    Code.TOO_LARGE: TritonError.INVALID_ARG,
    Code.UNSUPPORTED: TritonError.UNSUPPORTED,
    Code.OVERLOADED: TritonError.UNAVAILABLE,
    Code.NOT_READY: TritonError.UNAVAILABLE,
    Code.DEADLINE_EXCEEDED: TritonError.UNAVAILABLE,
    Code.CANCELLED: TritonError.CANCELLED,
}


def to_failure(error: TritonError) -> DragomanError:
    """What a client is told of a model's error: its own words."""
    return _KINDS.get(error.code(), ModelFailed)(error.message())


def from_failure(error: DragomanError) -> TritonError:
    """What a model is told of another model's failure."""
    return TritonError(error.message, _NUMBERS.get(error.code, TritonError.INTERNAL))
