"""Kinds of failure to TorchServe's words for them."""

import json

import pytest

from dragoman.errors import (
    Code,
    DeadlineExceeded,
    DragomanError,
    InvalidInput,
    Mismatch,
    ModelFailed,
    NotFound,
    NotReady,
    Overloaded,
    PredictionFailed,
    TooLarge,
    Unsupported,
    WorkerDied,
)
from dragoman.protocols.torchserve import errors

NO_WORKER = (
    'Model "m" has no worker to serve inference request. Please use scale workers API to add workers. If this is a'
    " sequence inference, please check if it is closed, or expired; or exceeds maxSequenceJobQueueSize"
)


class BadKey(DragomanError):
    code = Code.UNAUTHORIZED


@pytest.mark.parametrize(
    ("error", "status", "kind", "message"),
    [
        (InvalidInput("bad"), 400, "BadRequestException", "bad"),
        (Mismatch("bad"), 400, "BadRequestException", "bad"),
        (BadKey("key"), 400, "InvalidKeyException", "key"),
        (NotFound("none"), 404, "ResourceNotFoundException", "none"),
        (errors.model_not_found("m"), 404, "ModelNotFoundException", "Model not found: m"),
        (errors.version_not_found("m", "9"), 404, "ModelVersionNotFoundException",
         "Model version: 9 does not exist for model: m"),
        (errors.resource_not_found(), 404, "ResourceNotFoundException",
         "Requested resource is not found, please refer to API document."),
        (errors.method_not_allowed(), 405, "MethodNotAllowedException",
         "Requested method is not allowed, please refer to API document."),
        (Unsupported("no"), 405, "MethodNotAllowedException", "no"),
        (TooLarge("big"), 413, "BadRequestException", "big"),
        (DeadlineExceeded("late"), 504, "RequestTimeoutException", "late"),
        (PredictionFailed("Prediction failed"), 503, "InternalServerException", "Prediction failed"),
        (PredictionFailed("custom", 513), 513, "InternalServerException", "custom"),
        (ModelFailed("broken"), 500, "InternalServerException", "broken"),
        (DragomanError("bug"), 500, "InternalServerException", "bug"),
        (Overloaded("full", 7), 503, "ServiceUnavailableException", NO_WORKER),
        (WorkerDied("by signal 9"), 500, "InternalServerException", "Worker died. (by signal 9)"),
        (NotReady("it died"), 503, "ServiceUnavailableException", NO_WORKER + " (it died)"),
    ],
)  # fmt: skip
def test_a_failure_has_torchserves_name(error: DragomanError, status: int, kind: str, message: str) -> None:
    failure = errors.describe(error, "m")
    assert failure[:3] == (status, kind, message)
    assert errors.encode_failure(failure).endswith(b"\n}\n")
    assert json.loads(errors.encode_failure(failure)) == {"code": status, "type": kind, "message": message}


def test_only_what_passes_says_when_to_come_back() -> None:
    assert errors.describe(Overloaded("full", 7)).retry_after == 7
    assert errors.describe(NotReady("soon")).retry_after == 1
    assert errors.describe(PredictionFailed("Prediction failed")).retry_after == 0


def test_the_version_is_named_where_the_client_named_it() -> None:
    # row: quotes
    assert errors.describe(Overloaded("full"), "m", "2").message.startswith(
        'Model "m" Version "2" has no worker'
    )


@pytest.mark.parametrize("code", Code)
def test_every_kind_has_a_status(code: Code) -> None:
    error = DragomanError("x")
    error.code = code
    assert 400 <= errors.describe(error).status < 600


def test_the_json_is_written_by_hand_like_torchserves() -> None:
    assert (
        errors.encode_json({"code": 1, "type": "é\ud800"}) == '{\n  "code": 1,\n  "type": "é?"\n}\n'.encode()
    )
