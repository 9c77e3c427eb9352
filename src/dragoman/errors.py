"""The kinds of failure, by name. Knows no HTTP number and no gRPC status: each transport has one table for that."""

from enum import Enum


class Code(Enum):
    """What went wrong, for a program. The message is for a person."""

    INVALID_INPUT = "invalid_input"
    UNAUTHORIZED = "unauthorized"
    FORBIDDEN = "forbidden"
    NOT_FOUND = "not_found"
    TOO_LARGE = "too_large"
    UNSUPPORTED = "unsupported"
    OVERLOADED = "overloaded"
    NOT_READY = "not_ready"
    DEADLINE_EXCEEDED = "deadline_exceeded"
    CANCELLED = "cancelled"
    MODEL_FAILED = "model_failed"
    INTERNAL = "internal"


class DragomanError(Exception):
    """An answer that is not a prediction. ``message`` is shown to the client: no path, pid or traceback in it."""

    code = Code.INTERNAL

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class InvalidInput(DragomanError):
    """The client sent something the model or the protocol can't take."""

    code = Code.INVALID_INPUT


class Mismatch(InvalidInput):
    """The request's tensors are not those of the model's signature."""


class SequenceUnknown(InvalidInput):
    """The request goes on with a sequence that has not begun, or has ended."""


class Forbidden(DragomanError):
    """The client may not do this."""

    code = Code.FORBIDDEN


class NotFound(DragomanError):
    """No such model, version or route."""

    code = Code.NOT_FOUND


class TooLarge(DragomanError):
    """More bytes, elements or depth than the limits allow."""

    code = Code.TOO_LARGE


class Unsupported(DragomanError):
    """Known, but not offered by this server or this model."""

    code = Code.UNSUPPORTED


class NotReady(DragomanError):
    """The model exists but can't answer now."""

    code = Code.NOT_READY


class WorkerDied(NotReady):
    """The process that worked on this request died; a new one is on its way."""


class Overloaded(DragomanError):
    """The queue or the server is full; ``retry_after`` is in seconds."""

    code = Code.OVERLOADED

    def __init__(self, message: str, retry_after: int = 1) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class DeadlineExceeded(DragomanError):
    """The client's time was up before the answer was ready."""

    code = Code.DEADLINE_EXCEEDED


class ModelFailed(DragomanError):
    """The model raised or returned something that is not an answer. The log has the story under the same id."""

    code = Code.MODEL_FAILED


class PredictionFailed(ModelFailed):
    """A handler's own word on its failure. ``status`` is the HTTP status it chose; 503 when it chose none."""

    def __init__(self, message: str, status: int = 503) -> None:
        super().__init__(message)
        self.status = status


class Internal(DragomanError):
    """A bug of the server. The log has the story under the id in the message."""


class ConfigError(Exception):
    """The operator's files, flags or environment don't make sense. Never reaches a client; exit code 78."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint
