"""How TorchServe tells a failure over gRPC: a status, a sentence, and the name of a Java class under it.

Knows no call. Of its inference service nearly everything is INTERNAL, but for what a handler says itself.
"""

from collections.abc import Mapping
from typing import Final, NamedTuple

from dragoman.errors import DragomanError
from dragoman.protocols.torchserve import errors
from dragoman.transport.grpc.call import Status


class Told(NamedTuple):
    """``reason`` is the class, as TorchServe writes it."""

    status: Status
    message: str
    reason: str

    @property
    def details(self) -> str:
        """The text that goes with the status."""
        return f"{self.message}\n{self.reason}"


#: Statuses of HTTP, which are what handlers and TorchServe's own code choose, and what they become.
_STATUS: Final[Mapping[int, Status]] = {
    400: Status.INVALID_ARGUMENT,
    401: Status.UNAUTHENTICATED,
    403: Status.PERMISSION_DENIED,
    404: Status.NOT_FOUND,
    409: Status.ABORTED,
    413: Status.RESOURCE_EXHAUSTED,
    416: Status.OUT_OF_RANGE,
    429: Status.RESOURCE_EXHAUSTED,
    499: Status.CANCELLED,
    501: Status.UNIMPLEMENTED,
    503: Status.UNAVAILABLE,
    504: Status.DEADLINE_EXCEEDED,
}
_HTTP: Final = "org.pytorch.serve.http"
_MODELS: Final = frozenset({"ModelNotFoundException", "ModelVersionNotFoundException", "ModelException"})
#: Packages of the exceptions that are not the frontend's.
_PACKAGES: Final = {
    **dict.fromkeys((*_MODELS, "InvalidModelException"), "org.pytorch.serve.archive.model"),
    "DownloadArchiveException": "org.pytorch.serve.archive",
}


def status_of(code: int) -> Status:
    """The status of gRPC that TorchServe takes for one of HTTP."""
    other = Status.FAILED_PRECONDITION if 400 <= code < 500 else Status.INTERNAL
    return _STATUS.get(code, other)


def class_of(kind: str) -> str:
    """The full name of an exception's class."""
    return f"{_PACKAGES.get(kind, _HTTP)}.{kind}"


def tell_prediction(error: DragomanError, model: str, version: str) -> Told:
    """Of the inference service: ``model`` and ``version`` are as the client named them."""
    failure = errors.describe(error, model, version)
    if failure.kind == "ServiceUnavailableException":
        return Told(Status.INTERNAL, failure.message, "InternalServerException.()")
    if failure.kind in _MODELS:
        return Told(Status.INTERNAL, failure.message, class_of(failure.kind))
    return Told(status_of(failure.status), failure.message, class_of(failure.kind))


def tell_management(error: DragomanError) -> Told:
    """Of the management service."""
    failure = errors.describe(error)
    return Told(status_of(failure.status), failure.message, class_of(failure.kind))


def missing(parameter: str) -> Told:
    """Of a request that lacks something."""
    return Told(Status.INTERNAL, f"Parameter {parameter} is required.", "BadRequestException.()")
