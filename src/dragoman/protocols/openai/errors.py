"""Every failure in OpenAI's words: ``{"error": {"code", "message", "param", "type"}}`` and a status. Knows no route."""

import logging
import secrets
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from dragoman.errors import Code, DragomanError, InvalidInput
from dragoman.transport.request import Header
from dragoman.transport.status import STATUS, error_headers

log = logging.getLogger("dragoman.openai")

#: The type of an error, which is the name that OpenAI's clients give to its status.
TYPES: Final[Mapping[int, str]] = {
    400: "BadRequestError",
    401: "AuthenticationError",
    403: "PermissionDeniedError",
    404: "NotFoundError",
    409: "ConflictError",
    413: "RequestTooLargeError",
    429: "RateLimitError",
    499: "ClientClosedRequest",
    500: "InternalServerError",
    501: "NotImplementedError",
    502: "BadGateway",
    503: "ServiceUnavailableError",
    504: "GatewayTimeout",
    507: "InsufficientStorageError",
}
#: What is counted where a model has told a status, not a kind of failure.
_CODES: Final[Mapping[int, Code]] = {
    401: Code.UNAUTHORIZED,
    403: Code.FORBIDDEN,
    404: Code.NOT_FOUND,
    409: Code.CONFLICT,
    413: Code.TOO_LARGE,
    429: Code.OVERLOADED,
    501: Code.UNSUPPORTED,
    503: Code.NOT_READY,
    504: Code.DEADLINE_EXCEEDED,
}


class BadParameter(InvalidInput):
    """A field of the request is missing or wrong: ``param`` is its path, as in ``messages.0.role``."""

    def __init__(self, message: str, param: str) -> None:
        super().__init__(message)
        self.param = param


class Failure(NamedTuple):
    """An error as it is sent, and as it is counted."""

    status: int
    code: Code
    document: dict[str, Any]
    headers: tuple[Header, ...] = ()


def describe(error: Exception) -> Failure:
    """What the client is told of an exception. What is nobody's word is a bug: logged, and only an id is shown."""
    if isinstance(error, DragomanError):
        status = STATUS[error.code]
        document = _document(status, error.message, getattr(error, "param", None))
        return Failure(status, error.code, document, error_headers(error))
    response = getattr(error, "response", None)
    if isinstance(response, str):
        return from_model({"message": response}, getattr(error, "status", None))
    told = told_by(response)
    if told is not None:
        return from_model(told, getattr(error, "status", None))
    number = secrets.token_hex(8)
    log.error("a model failed, id %s", number, exc_info=error)
    message = f"internal error, see the server's log under id {number}"
    return Failure(500, Code.MODEL_FAILED, _document(500, message, None))


def told_by(answer: object) -> dict[str, Any] | None:
    """The error in what a model returned or raised; ``None`` where it is none."""
    error = answer.get("error") if isinstance(answer, Mapping) else getattr(answer, "error", None)
    if error is None:
        return None
    dump = getattr(error, "model_dump", None)
    fields = dump() if dump is not None else error
    if isinstance(fields, str):
        return {"message": fields}
    return dict(fields) if isinstance(fields, Mapping) else None


def from_model(told: Mapping[str, Any], status: int | None = None) -> Failure:
    """A model's own error. Its status is its code, if that is one; else ``status``, else 500."""
    code = str(told.get("code"))
    number = int(code) if code.isascii() and code.isdigit() and 400 <= int(code) <= 599 else status or 500
    document = _document(number, str(told.get("message", "")), told.get("param"))
    document["error"] |= {key: str(told[key]) for key in ("code", "type") if told.get(key)}
    kind = _CODES.get(number, Code.INVALID_INPUT if number < 500 else Code.MODEL_FAILED)
    return Failure(number, kind, document)


def _document(status: int, message: str, param: str | None) -> dict[str, Any]:
    text = message.encode("utf-8", "replace").decode()
    fields = {"code": str(status), "message": text, "param": param, "type": TYPES.get(status, "APIError")}
    return {"error": fields}
