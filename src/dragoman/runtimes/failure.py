"""What becomes of an exception that a model has raised: the story for the log, an id for the client."""

import logging
import secrets

from dragoman.errors import ModelFailed
from dragoman.types import InferRequest

log = logging.getLogger("dragoman.workers")


def failed(request: InferRequest, error: BaseException) -> ModelFailed:
    """Log ``error`` under an id, which is all that the client is told."""
    failure = secrets.token_hex(4)
    log.error("model %s failed", request.model, extra={"id": failure, "request": request.id}, exc_info=error)
    return ModelFailed(
        f"model {request.model!r} failed on this request; the server's log has it under id {failure}"
    )
