"""The description of the inference API, in OpenAPI 3.0.1 as TorchServe writes it. Knows no request."""

from collections.abc import Mapping
from typing import Any, Final

Document = dict[str, Any]

#: The TorchServe whose API this is.
API_VERSION: Final = "0.12.0"

_STRING: Final[Document] = {"type": "string"}
_BINARY: Final[Document] = {"*/*": {"schema": {"type": "string", "format": "binary"}}}


def describe_server(*, raw_paths: bool) -> Document:
    """The server's inference API; ``raw_paths`` says that KServe's paths lead to handlers, too."""
    paths: Document = {
        "/": {"options": _description("apiDescription")},
        "/ping": {
            "get": _operation(
                "Get TorchServe status.",
                "ping",
                {"200": _answer("TorchServe status", _object(status="Overall status of the TorchServe."))},
            )
        },
    }
    default = "Predictions entry point to get inference using default model version."
    if raw_paths:
        for path in ("/v1/models/{model_name}:predict", "/v2/models/{model_name}/infer"):
            paths[path] = {"post": _prediction(default, "predictions")}
    paths["/predictions/{model_name}"] = {"post": _prediction(default, "predictions")}
    specific = "Predictions entry point to get inference using specific model version."
    version = {"model_version": "Name of model version."}
    paths["/predictions/{model_name}/{model_version}"] = {
        "post": _prediction(specific, "version_predictions", version)
    }
    paths["/api-description"] = {"get": _description("api-description") | {"deprecated": True}}
    return describe_paths(paths)


def describe_paths(paths: Mapping[str, Any]) -> Document:
    """The document of a server, or of one of its ports, that has these paths."""
    info = {
        "title": "TorchServe APIs",
        "description": "TorchServe is a flexible and easy to use tool for serving deep learning models",
        "version": API_VERSION,
    }
    return {"openapi": "3.0.1", "info": info, "paths": paths}


def describe_model(name: str, *, raw_paths: bool) -> Document:
    """One model's part of it."""
    operation = _operation(f"A predict entry point for model: {name}.", name, {"200": {"description": "OK"}})
    paths = [f"/predictions/{name}"]
    if raw_paths:
        paths += [f"/v1/models/{name}:predict", f"/v2/models/{name}/infer"]
    return {
        "openapi": "3.0.1",
        "info": {"title": f"RESTful API for: {name}", "version": "1.0.0"},
        "paths": {path: {"post": operation} for path in paths},
    }


def metrics_paths(content_type: str) -> Document:
    """What the metrics port has: metrics in ``content_type``."""
    parts = {
        "# HELP": "Help text for TorchServe metric.",
        "# TYPE": "Type of TorchServe metric.",
        "metric": "TorchServe application metric.",
    }
    answer = {
        "description": "TorchServe application metrics",
        "content": {content_type: {"schema": _object(**parts)}},
    }
    operation = _operation(
        "Get TorchServe application metrics in prometheus format.", "metrics", {"200": answer}
    )
    chosen = {"name": "name[]", "description": "Names of metrics to filter", "required": False}
    operation["parameters"] = [{"in": "query"} | chosen | {"schema": _STRING}]
    return {"/metrics": {"get": operation}}


def _description(operation_id: str) -> Document:
    schema = {
        "type": "object",
        "required": ["openapi", "info", "paths"],
        "properties": {"openapi": _STRING, "info": {"type": "object"}, "paths": {"type": "object"}},
    }
    answers = {"200": _answer("A openapi 3.0.1 descriptor", schema)}
    return _operation("Get openapi description.", operation_id, answers)


def _prediction(text: str, operation_id: str, more: Mapping[str, str] | None = None) -> Document:
    answers = {
        "200": {"description": "Output data format is defined by each model.", "content": _BINARY},
        "404": _answer("Model not found or Model Version not found", _error()),
    }
    operation = _operation(text, operation_id, answers)
    operation["responses"]["503"] = _answer("No worker is available to serve request", _error())
    names = {"model_name": "Name of model."} | dict(more or {})
    operation["parameters"] = [
        {"in": "path", "name": name, "description": description, "required": True, "schema": _STRING}
        for name, description in names.items()
    ]
    body = {
        "description": "Input data format is defined by each model.",
        "content": _BINARY,
        "required": True,
    }
    responses = operation.pop("responses")
    return operation | {"requestBody": body, "responses": responses}


def _operation(text: str, operation_id: str, answers: Document) -> Document:
    responses = answers | {"500": _answer("Internal Server Error", _error())}
    return {"description": text, "operationId": operation_id, "parameters": [], "responses": responses}


def _answer(text: str, schema: Document) -> Document:
    return {"description": text, "content": {"application/json": {"schema": schema}}}


def _error() -> Document:
    schema = _object(code="Error code.", type="Error type.", message="Error message.")
    schema["properties"]["code"]["type"] = "integer"
    return schema


def _object(**properties: str) -> Document:
    return {
        "type": "object",
        "required": list(properties),
        "properties": {name: {"type": "string", "description": text} for name, text in properties.items()},
    }
