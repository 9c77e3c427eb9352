"""The description of the management API, in OpenAPI 3.0.1 as TorchServe writes it. Knows no request."""

from collections.abc import Mapping

from dragoman.protocols.torchserve.management.parameters import (
    CUSTOMIZED,
    LIST,
    REGISTER,
    REGISTER_WORKFLOW,
    SCALE,
    Parameter,
)
from dragoman.protocols.torchserve.openapi import (
    API_VERSION,
    Document,
    answered,
    error_schema,
    make_operation,
    object_schema,
    server_description,
)


def paths(*, model_api: bool) -> Document:
    """What a server has below ``/models``. Without ``model_api`` models are neither registered nor removed."""
    found: Document = {
        "/": {"options": server_description("apiDescription")},
        "/models": {"get": _list_models()},
        "/models/{model_name}": _of_model(versioned=False, model_api=model_api),
        "/models/{model_name}/{model_version}": _of_model(versioned=True, model_api=model_api),
        "/models/{model_name}/{model_version}/set-default": {"put": _set_default()},
        "/v1/models/{model_name}": {"get": _kserve_ready()},
        "/api-description": {"get": server_description("api-description") | {"deprecated": True}},
    }
    if model_api:
        found["/models"]["post"] = _register_model()
    return found | _workflows(model_api=model_api)


def describe_model(name: str, *, model_api: bool) -> Document:
    """The part that is about one model, whose name stands in the title."""
    mine = {path: methods for path, methods in paths(model_api=model_api).items() if "{model_name}" in path}
    info = {"title": f"RESTful Management API for: {name}", "version": API_VERSION}
    return {"openapi": "3.0.1", "info": info, "paths": mine}


def _list_models() -> Document:
    entry = object_schema(modelName="Name of the model.", modelUrl="URL of the model.")
    token = (
        "Use this parameter in a subsequent request after you receive a response with truncated results. Set it to"
        " the value of nextPageToken from the truncated response you just received."
    )
    schema = {
        "type": "object",
        "required": ["models"],
        "properties": {
            "nextPageToken": {"type": "string", "description": token},
            "models": {"type": "array", "items": entry, "description": "A list of registered models."},
        },
    }
    text = "List registered models in TorchServe."
    return _operation(text, "listModels", LIST, {"200": answered("OK", schema)})


def _register_model() -> Document:
    failures = {"400": "Bad request", "404": "Model not found", "409": "Model already registered"}
    done = {"200": "Model registered", "202": "Accepted"}
    text = "Register a new model in TorchServe."
    return _operation(text, "registerModel", REGISTER, _statuses(done, failures))


def _of_model(*, versioned: bool, model_api: bool) -> Document:
    """Describe, scale, unregister: the default version, or one that the path names."""
    which = "the specified version of a model" if versioned else "the default version of a model"
    prefix = "version_" if versioned else ""
    missing = {"404": "Model not found or Model version not found"}

    def in_path(purpose: str) -> tuple[Parameter, ...]:
        name = Parameter("model_name", f"Name of model to {purpose}.", required=True)
        version = Parameter("model_version", f"Version of model to {purpose}.", required=True)
        return (name, version) if versioned else (name,)

    describing = f"Provides detailed information about {which}."
    if versioned:
        describing += (
            ' If "all" is specified as version, returns the details about all the versions of the model.'
        )
    described = {"200": answered("OK", _description_schema())} | _statuses({}, missing)
    scaled = _statuses({"200": "Model workers updated", "202": "Accepted"}, {"400": "Bad request"} | missing)
    methods = {
        "get": _operation(
            describing, f"{prefix}describeModel", (*in_path("describe"), CUSTOMIZED), described
        ),
        "put": _operation(
            f"Configure number of workers for {which}. This is an asynchronous call by default. Caller need to call"
            " describeModel to check if the model workers has been changed.",
            f"{prefix}setAutoScale",
            (*in_path("scale workers"), *SCALE),
            scaled,
        ),
    }
    if model_api:
        methods["delete"] = _operation(
            f"Unregister {which} from TorchServe"
            + ("." if versioned else " if it is the only version available."),
            f"{prefix}unregisterModel",
            in_path("unregister"),
            _statuses({"200": "Model unregistered"}, {"403": "It is the default version"} | missing),
        )
    return methods


def _set_default() -> Document:
    where = (
        Parameter("model_name", "Name of model whose default version needs to be updated.", required=True),
        Parameter(
            "model_version", "Version of model to be set as default version for the model", required=True
        ),
    )
    answers = _statuses(
        {"200": "Default version successfully updated for model"},
        {"404": "Model not found or Model version not found"},
    )
    return _operation("Set default version of a model", "setDefault", where, answers)


def _workflows(*, model_api: bool) -> Document:
    entry = object_schema(workflowName="Name of the workflow.", workflowUrl="URL of the workflow.")
    listed = {"type": "object", "properties": {"workflows": {"type": "array", "items": entry}}}
    name = (Parameter("workflow_name", "Name of the workflow.", required=True),)
    missing = {"404": "Workflow not found"}
    described = {"200": answered("OK", {"type": "array", "items": entry})} | _statuses({}, missing)
    listing = _operation("List registered workflows.", "listWorkflows", LIST, {"200": answered("OK", listed)})
    of_one = {"get": _operation("Describes a workflow.", "describeWorkflow", name, described)}
    found: Document = {"/workflows": {"get": listing}, "/workflows/{workflow_name}": of_one}
    if model_api:
        done = _statuses({"200": "Workflow unregistered"}, missing)
        of_one["delete"] = _operation(
            "Unregisters a workflow and its models.", "unregisterWorkflow", name, done
        )
        failures = {"400": "Bad request", **missing, "409": "Workflow already registered"}
        registered = _statuses({"200": "Workflow registered"}, failures)
        found["/workflows"]["post"] = _operation(
            "Registers a workflow and its models.", "registerWorkflow", REGISTER_WORKFLOW, registered
        )
    return found


def _kserve_ready() -> Document:
    schema = object_schema(name="Name of the model.", ready="Whether it has a worker.")
    schema["properties"]["ready"]["type"] = "boolean"
    where = (Parameter("model_name", "Name of model.", required=True),)
    answers = {"200": answered("OK", schema)} | _statuses({}, {"404": "Model not found"})
    return _operation("Tells whether a model is ready, as KServe does.", "modelReady", where, answers)


def _description_schema() -> Document:
    worker = object_schema(id="Worker id", startTime="Worker start time", status="Worker status")
    worker["properties"]["status"]["enum"] = ["READY", "UNLOADING"]
    worker["properties"] |= {
        "memoryUsage": {"type": "integer", "description": "Memory of the worker process in bytes"},
        "pid": {"type": "integer", "description": "Process of the worker"},
        "gpu": {"type": "boolean", "description": "If running on GPU"},
    }
    queue = object_schema(
        remainingCapacity="Requests that may wait beside those that do.",
        pendingRequests="Requests that wait.",
    )
    for property_ in queue["properties"].values():
        property_["type"] = "integer"
    texts = object_schema(
        modelName="Name of the model.", modelVersion="Version of the model.", modelUrl="URL of the model."
    )
    numbers = {
        "minWorkers": "Configured minimum number of worker.",
        "maxWorkers": "Configured maximum number of worker.",
        "batchSize": "Configured batch size.",
        "maxBatchDelay": "Configured maximum batch delay in ms.",
        "responseTimeout": "Configured response timeout in s.",
        "startupTimeout": "Configured startup timeout in s.",
    }
    properties = texts["properties"] | {
        name: {"type": "integer", "description": text} for name, text in numbers.items()
    }
    properties |= {
        "workers": {"type": "array", "items": worker, "description": "A list of active backend workers."},
        "jobQueueStatus": queue,
        "customizedMetadata": {"type": "object", "description": "What the model says of itself."},
    }
    required = [*texts["required"], "minWorkers", "maxWorkers", "workers", "jobQueueStatus"]
    return {
        "type": "array",
        "items": {"type": "object", "required": required, "properties": properties},
    }


def _statuses(done: Mapping[str, str], failures: Mapping[str, str]) -> Document:
    said = {code: answered(text, object_schema(status="What was done.")) for code, text in done.items()}
    return said | {code: answered(text, error_schema()) for code, text in failures.items()}


def _operation(
    text: str, operation_id: str, parameters: tuple[Parameter, ...], answers: Document
) -> Document:
    described = make_operation(text, operation_id, answers)
    in_path = (
        ("model_name", "model_version", "workflow_name") if not operation_id.startswith("register") else ()
    )
    described["parameters"] = [
        {
            "in": "path" if each.name in in_path else "query",
            "name": each.name,
            "description": each.text,
            "required": each.required,
            "schema": _schema(each),
        }
        for each in parameters
    ]
    return described


def _schema(parameter: Parameter) -> Document:
    schema: Document = {"type": parameter.kind}
    if parameter.default:
        schema["default"] = parameter.default
    if parameter.choices:
        schema["enum"] = list(parameter.choices)
    return schema
