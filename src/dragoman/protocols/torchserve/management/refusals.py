"""TorchServe's words for what can't be done to models. Pure; clients match on some of the sentences."""

from dragoman.errors import (
    AlreadyThere,
    Code,
    DownloadFailed,
    DragomanError,
    RelativePath,
    SourceError,
    SourceNotFound,
)
from dragoman.protocols.torchserve.errors import Refused


def bad_request(message: str) -> Refused:
    return Refused(400, "BadRequestException", message, Code.INVALID_INPUT)


def invalid_model(message: str) -> Refused:
    return Refused(400, "InvalidModelException", message, Code.INVALID_INPUT)


def not_found_at(message: str) -> Refused:
    return Refused(404, "ModelNotFoundException", message, Code.NOT_FOUND)


def already_registered(model: str, version: str) -> Refused:
    message = f"Model version {version} is already registered for model {model}"
    return Refused(409, "ConflictStatusException", message, Code.CONFLICT)


def default_stays(model: str) -> Refused:
    message = f"Cannot remove default version for model {model}"
    return Refused(403, "InvalidModelVersionException", message, Code.CONFLICT)


def no_such_default(model: str, version: str) -> Refused:
    message = f"Model version {version} does not exist for model {model}"
    return Refused(404, "ModelVersionNotFoundException", message, Code.NOT_FOUND)


def workers_failed(model: str, version: str) -> Refused:
    message = f"Failed to start workers for model {model} version: {version}"
    return Refused(500, "InternalServerException", message, Code.MODEL_FAILED)


def no_describer(model: str) -> Refused:
    message = f'Model "{model}" has no worker to serve describe request. Please use scale workers API to add workers.'
    return Refused(503, "ServiceUnavailableException", message, Code.OVERLOADED)


def source_refused(error: SourceError) -> DragomanError:
    """Why a model can't be had from where the client said. The location is the client's own."""
    location = error.location
    if isinstance(error, RelativePath):
        return not_found_at(f"Relative path is not allowed in url: {location}")
    if isinstance(error, SourceNotFound):
        return not_found_at(f"Model not found at: {location}" if location else "empty url")
    if isinstance(error, AlreadyThere):
        name = location.partition("?")[0].rpartition("/")[2]
        return Refused(409, "ConflictStatusException", f"Model file already exists {name}", Code.CONFLICT)
    if isinstance(error, DownloadFailed):
        message = f"Failed to download archive from: {location}"
        return Refused(400, "DownloadArchiveException", message, Code.INVALID_INPUT)
    return not_found_at(f"Given URL {location} does not match any allowed URL(s)")
