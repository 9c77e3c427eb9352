"""The one table from a kind of failure to an HTTP status, and how an error is written. Knows no route."""

import logging
import secrets
from http import HTTPStatus
from typing import Final

import orjson

from dragoman.errors import Code, DragomanError, Overloaded, PredictionFailed, RateLimited
from dragoman.transport.request import Header, HttpRequest

log = logging.getLogger("dragoman.transport")

STATUS: Final[dict[Code, int]] = {
    Code.INVALID_INPUT: 400,
    Code.UNAUTHORIZED: 401,
    Code.FORBIDDEN: 403,
    Code.NOT_FOUND: 404,
    Code.CONFLICT: 409,
    Code.TOO_LARGE: 413,
    Code.UNSUPPORTED: 501,
    Code.RATE_LIMITED: 429,
    Code.OVERLOADED: 503,
    Code.NOT_READY: 503,
    Code.DEADLINE_EXCEEDED: 504,
    Code.CANCELLED: 499,  # nginx's number for a client that left; nobody is there to read it but the log
    Code.MODEL_FAILED: 500,
    Code.MODEL_OUTPUT_INVALID: 500,
    Code.STORAGE: 507,
    Code.INTERNAL: 500,
}

REASONS: Final[dict[int, str]] = {status.value: status.phrase for status in HTTPStatus} | {
    413: "Content Too Large",
    414: "URI Too Long",
    499: "Client Closed Request",
}


def respond_error(request: HttpRequest, error: DragomanError) -> None:
    """Answers with ``{"error": message}`` and the status of the error's code; with FastAPI's body and the model's own
    status where the model has raised FastAPI's HTTPException."""
    if isinstance(error, PredictionFailed) and error.detail is not None:
        request.respond(error.status, orjson.dumps({"detail": error.detail}, default=str))
        return
    request.respond(STATUS[error.code], error_body(error.message), headers=error_headers(error))


def respond_failure(request: HttpRequest, error: Exception) -> None:
    """Answers for whatever a handler raised. What is no DragomanError is a bug: logged, and only an id is shown."""
    if isinstance(error, DragomanError):
        respond_error(request, error)
        return
    number = secrets.token_hex(8)
    log.error("%s %s failed, id %s", request.method, request.path, number, exc_info=error)
    request.respond(500, error_body(f"internal error, see the server's log under id {number}"))


def error_body(message: str) -> bytes:
    """The JSON of an error. Safe for any ``message``: what is no character becomes a question mark."""
    return orjson.dumps({"error": message.encode("utf-8", "replace").decode("utf-8")})


def error_headers(error: DragomanError) -> tuple[Header, ...]:
    """Headers that go with an error: when to come back, where that is known to help, and what to bring."""
    if error.code is Code.UNAUTHORIZED:
        return (("WWW-Authenticate", "Bearer"),)
    if isinstance(error, RateLimited):
        return (("Retry-After", str(error.retry_after)),)
    if error.code is Code.OVERLOADED or error.code is Code.NOT_READY:
        seconds = error.retry_after if isinstance(error, Overloaded) else 1
        return (("Retry-After", str(seconds)),)
    return ()
