"""How TorchServe tells a failure: a status, the name of a Java exception, a sentence. Knows no socket.

Clients match on the names and on some of the sentences, so both are TorchServe's own where it has them.
"""

import json
from typing import Any, Final, NamedTuple

from dragoman.errors import (
    Code,
    DragomanError,
    NoInstance,
    Overloaded,
    PredictionFailed,
    SequenceUnknown,
    WorkerDied,
)


class Refused(DragomanError):
    """A failure for which TorchServe has its own status and name."""

    def __init__(self, status: int, kind: str, message: str, code: Code) -> None:
        super().__init__(message)
        self.status = status
        self.kind = kind
        self.code = code


class Failure(NamedTuple):
    """What is answered. ``retry_after`` is in seconds, 0 where coming back is of no use."""

    status: int
    kind: str
    message: str
    retry_after: int = 0


#: Exceptions that TorchServe throws for what dragoman calls by these codes.
_KINDS: Final[dict[Code, tuple[int, str]]] = {
    Code.INVALID_INPUT: (400, "BadRequestException"),
    Code.UNAUTHORIZED: (400, "InvalidKeyException"),
    Code.FORBIDDEN: (403, "InvalidKeyException"),
    Code.NOT_FOUND: (404, "ResourceNotFoundException"),
    Code.CONFLICT: (409, "ConflictStatusException"),
    Code.TOO_LARGE: (413, "BadRequestException"),
    Code.UNSUPPORTED: (405, "MethodNotAllowedException"),
    Code.RATE_LIMITED: (429, "ServiceUnavailableException"),
    Code.OVERLOADED: (503, "ServiceUnavailableException"),
    Code.NOT_READY: (503, "ServiceUnavailableException"),
    Code.DEADLINE_EXCEEDED: (504, "RequestTimeoutException"),
    Code.STORAGE: (507, "InternalServerException"),
}
_OTHERS: Final = (500, "InternalServerException")


def describe(error: DragomanError, model: str = "", version: str = "") -> Failure:
    """What TorchServe would say of it. ``model`` and ``version`` are as the client named them."""
    if isinstance(error, Refused):
        return Failure(error.status, error.kind, error.message)
    if isinstance(error, PredictionFailed):
        return Failure(error.status, "InternalServerException", error.message)
    if isinstance(error, WorkerDied):
        return Failure(500, "InternalServerException", f"Worker died. ({error.message})", 1)
    if isinstance(error, NoInstance) and model:  # it is of no use to come back
        return Failure(503, "ServiceUnavailableException", no_worker(model, version))
    if isinstance(error, SequenceUnknown) and model:
        return Failure(503, "ServiceUnavailableException", f"{no_worker(model, version)} ({error.message})")
    status, kind = _KINDS.get(error.code, _OTHERS)
    if status == 503:
        retry_after = error.retry_after if isinstance(error, Overloaded) else 1
        message = no_worker(model, version) if model else error.message
        if model and error.code is Code.NOT_READY:
            message += f" ({error.message})"
        return Failure(status, kind, message, retry_after)
    return Failure(status, kind, error.message)


def no_worker(model: str, version: str = "") -> str:
    """TorchServe's sentence for a full queue and for a model that has nobody to answer."""
    name = f'Model "{model}" Version "{version}"' if version else f'Model "{model}"'
    return (
        f"{name} has no worker to serve inference request. Please use scale workers API to add workers."
        " If this is a sequence inference, please check if it is closed, or expired; or exceeds"
        " maxSequenceJobQueueSize"
    )


def model_not_found(model: str) -> Refused:
    return Refused(404, "ModelNotFoundException", f"Model not found: {model}", Code.NOT_FOUND)


def version_not_found(model: str, version: str) -> Refused:
    message = f"Model version: {version} does not exist for model: {model}"
    return Refused(404, "ModelVersionNotFoundException", message, Code.NOT_FOUND)


def resource_not_found() -> Refused:
    message = "Requested resource is not found, please refer to API document."
    return Refused(404, "ResourceNotFoundException", message, Code.NOT_FOUND)


def method_not_allowed() -> Refused:
    message = "Requested method is not allowed, please refer to API document."
    return Refused(405, "MethodNotAllowedException", message, Code.UNSUPPORTED)


def encode_failure(failure: Failure) -> bytes:
    return encode_json({"code": failure.status, "type": failure.kind, "message": failure.message})


def encode_json(document: Any) -> bytes:
    """Indented by two spaces and with a line feed at the end, as TorchServe writes all JSON of its own."""
    text = json.dumps(document, indent=2, ensure_ascii=False) + "\n"
    return text.encode("utf-8", "replace")
