"""TorchServe's words for what can't be done to models. Pure; clients match on some of the sentences."""

from collections.abc import Sequence

from dragoman.errors import (
    AlreadyThere,
    Code,
    DownloadFailed,
    DragomanError,
    RelativePath,
    SourceError,
    SourceNotFound,
)
from dragoman.protocols.torchserve.errors import Refused, describe


def bad_request(message: str) -> Refused:
    return Refused(400, "BadRequestException", message, Code.INVALID_INPUT)


def invalid_model(message: str) -> Refused:
    return Refused(400, "InvalidModelException", message, Code.INVALID_INPUT)


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


def source_refused(error: SourceError) -> Refused:
    """Why a model can't be had from where the client said. The location is the client's own."""
    missing = f"Model not found at: {error.location}" if error.location else "empty url"
    return _source_refused(error, "Model", missing)


def workflow_source_refused(error: SourceError) -> Refused:
    """The same of a workflow."""
    return _source_refused(error, "Workflow", f"Workflow not found in workflow store: {error.location}")


def workflow_not_found(name: str) -> Refused:
    return Refused(404, "WorkflowNotFoundException", f"Workflow not found: {name}", Code.NOT_FOUND)


def workflow_registered(name: str) -> Refused:
    message = f"Workflow {name} is already registered."
    return Refused(409, "ConflictStatusException", message, Code.CONFLICT)


def invalid_workflow(message: str) -> Refused:
    return Refused(400, "InvalidWorkflowException", message, Code.INVALID_INPUT)


def invalid_dag(message: str) -> Refused:
    return Refused(400, "InvalidDAGException", message, Code.INVALID_INPUT)


def workflow_failed(name: str, failures: Sequence[DragomanError], parts: Sequence[str]) -> Refused:
    """Which of its parts could not be registered, and why: the client's fault if none of it is the server's."""
    told = [
        f"Workflow Node {part} failed to register. Details: {failure.message}"
        for part, failure in zip(parts, failures, strict=True)
    ]
    message = f"Workflow {name} has failed to register. Failures: [{', '.join(told)}]"
    ours = any(describe(failure).status >= 500 for failure in failures)
    code = Code.MODEL_FAILED if ours else Code.INVALID_INPUT
    return Refused(500 if ours else 400, "WorkflowException", message, code)


def step_failed(step: str) -> Refused:
    return Refused(500, "InternalServerException", f"Error executing {step}", Code.MODEL_FAILED)


def _source_refused(error: SourceError, what: str, missing: str) -> Refused:
    location = error.location
    if isinstance(error, RelativePath):
        return _not_found(what, f"Relative path is not allowed in url: {location}")
    if isinstance(error, SourceNotFound):
        return _not_found(what, missing)
    if isinstance(error, AlreadyThere):
        name = location.partition("?")[0].rpartition("/")[2]
        message = f"{what} file already exists {name}"
        return Refused(409, "ConflictStatusException", message, Code.CONFLICT)
    if isinstance(error, DownloadFailed):
        message = f"Failed to download archive from: {location}"
        return Refused(400, "DownloadArchiveException", message, Code.INVALID_INPUT)
    return _not_found(what, f"Given URL {location} does not match any allowed URL(s)")


def _not_found(what: str, message: str) -> Refused:
    return Refused(404, f"{what}NotFoundException", message, Code.NOT_FOUND)
