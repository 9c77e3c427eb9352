"""The kinds of failure, by name. Knows no HTTP number and no gRPC status: each transport has one table for that."""

from collections.abc import Mapping
from enum import Enum
from typing import Any


class Code(Enum):
    """What went wrong, for a program. The message is for a person."""

    INVALID_INPUT = "invalid_input"
    UNAUTHORIZED = "unauthorized"
    FORBIDDEN = "forbidden"
    NOT_FOUND = "not_found"
    CONFLICT = "conflict"
    TOO_LARGE = "too_large"
    UNSUPPORTED = "unsupported"
    RATE_LIMITED = "rate_limited"
    OVERLOADED = "overloaded"
    NOT_READY = "not_ready"
    DEADLINE_EXCEEDED = "deadline_exceeded"
    CANCELLED = "cancelled"
    MODEL_FAILED = "model_failed"
    MODEL_OUTPUT_INVALID = "model_output_invalid"
    STORAGE = "storage"
    INTERNAL = "internal"


class DragomanError(Exception):
    """An answer that is not a prediction. ``message`` is shown to the client: no path, pid or traceback in it."""

    code = Code.INTERNAL

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message

    def __reduce__(self) -> tuple[Any, ...]:
        """As it is, whatever its own constructor takes: it may come from a replica on another machine."""
        return _revive, (type(self), self.args, self.__dict__)


def _revive(kind: type[DragomanError], args: tuple[Any, ...], state: dict[str, Any]) -> DragomanError:
    error = kind.__new__(kind)
    error.args = args
    error.__dict__.update(state)
    return error


class InvalidInput(DragomanError):
    """The client sent something the model or the protocol can't take."""

    code = Code.INVALID_INPUT


class Mismatch(InvalidInput):
    """The request's tensors are not those of the model's signature."""


class SequenceUnknown(InvalidInput):
    """The request goes on with a sequence that has not begun, or has ended."""


class Unprocessable(InvalidInput):
    """It could be read, and is not what the model's types ask for. ``detail`` is JSON: a list of places and reasons."""

    def __init__(self, message: str, detail: str = "[]") -> None:
        super().__init__(message)
        self.detail = detail


class Unauthorized(DragomanError):
    """Nobody who may: the key is missing or wrong."""

    code = Code.UNAUTHORIZED


class Forbidden(DragomanError):
    """The operator's rules don't allow it, whoever asks."""

    code = Code.FORBIDDEN


class NotFound(DragomanError):
    """No such model, version or route."""

    code = Code.NOT_FOUND


class Conflict(DragomanError):
    """It can't be done to what there is now: taken, or changed by somebody else in between."""

    code = Code.CONFLICT


class TooLarge(DragomanError):
    """More bytes, elements or depth than the limits allow."""

    code = Code.TOO_LARGE


class Unsupported(DragomanError):
    """Known, but not offered by this server or this model."""

    code = Code.UNSUPPORTED


class NotReady(DragomanError):
    """The model exists but can't answer now."""

    code = Code.NOT_READY


class NoInstance(NotReady):
    """The model has no instance and is to have none, until somebody says otherwise."""


class WorkerDied(NotReady):
    """The process that worked on this request died; a new one is on its way."""


class Overloaded(DragomanError):
    """The queue or the server is full; ``retry_after`` is in seconds."""

    code = Code.OVERLOADED

    def __init__(self, message: str, retry_after: int = 1) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class RateLimited(DragomanError):
    """This client has asked for more than it may; ``retry_after`` is in seconds."""

    code = Code.RATE_LIMITED

    def __init__(self, message: str, retry_after: int = 1) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class DeadlineExceeded(DragomanError):
    """The client's time was up before the answer was ready."""

    code = Code.DEADLINE_EXCEEDED


class Cancelled(DragomanError):
    """Nobody waits for it any more."""

    code = Code.CANCELLED


class ModelFailed(DragomanError):
    """The model raised. The log has the story under the same id."""

    code = Code.MODEL_FAILED


class InvalidOutput(ModelFailed):
    """The model returned something other than it promised, too much, or nothing that is an answer."""

    code = Code.MODEL_OUTPUT_INVALID

    def __init__(self, message: str) -> None:
        begins = "the model's output is invalid: "  # what people can look for, whatever follows
        super().__init__(message if message.startswith(begins) else f"{begins}{message}")


class PredictionFailed(ModelFailed):
    """A handler's own word on its failure. ``status`` is the HTTP status it chose; 503 when it chose none.

    ``detail`` is what FastAPI's HTTPException has for its answer's body, where the handler raised one.
    """

    def __init__(self, message: str, status: int = 503, detail: Any = None) -> None:
        super().__init__(message)
        self.status = status
        self.detail = detail


class StorageFailed(DragomanError):
    """The disk or the database didn't take what had to be kept. What was there before is still there."""

    code = Code.STORAGE


class ReadOnly(StorageFailed):
    """The state can be read here and not changed."""


class SourceError(DragomanError):
    """A model can't be had from ``location``, which is as the client wrote it: a name, a path or a URL."""

    code = Code.INVALID_INPUT

    def __init__(self, message: str, location: str) -> None:
        super().__init__(message)
        self.location = location


class RelativePath(SourceError):
    """The location goes up: it has ``..`` in it, however that is written."""


class UrlNotAllowed(SourceError):
    """The operator's rules don't allow the URL, or the address it leads to; or it can be read in two ways."""

    code = Code.FORBIDDEN


class SourceNotFound(SourceError):
    """Nothing is there, or nobody knows how to get it from there."""

    code = Code.NOT_FOUND


class DownloadFailed(SourceError):
    """It is allowed, and could not be had whole: refused, broken off, too slow, or not what was expected."""


class DownloadTooLarge(DownloadFailed):
    """It has more bytes or files than a download may have."""

    code = Code.TOO_LARGE


class AlreadyThere(SourceError):
    """The store has something of that name."""

    code = Code.CONFLICT


class LoadFailed(DragomanError):
    """What was to be loaded could not be. Whatever served before still does."""

    code = Code.INVALID_INPUT


class VersionsFailed(LoadFailed):
    """Versions of a model failed while they were loaded; ``reasons`` says why, by version."""

    def __init__(self, name: str, reasons: Mapping[str, str]) -> None:
        told = "; ".join(f"version {version}: {reason}" for version, reason in reasons.items())
        super().__init__(f"model {name!r} could not be loaded: {told}")
        self.reasons = dict(reasons)


class NoVersion(LoadFailed):
    """The model is there, and none of the versions that it should be loaded in."""


class Unreadable(LoadFailed):
    """What lies in the repository, or came with the request, is no model that could be tried."""


class Internal(DragomanError):
    """A bug of the server. The log has the story under the id in the message."""


class ConfigError(Exception):
    """The operator's files, flags or environment don't make sense. Never reaches a client; exit code 78."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class StateUnreadable(ConfigError):
    """The file or database with the state is damaged, of a newer Dragoman, or something else altogether."""
