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
        "/": {"options": server_description("apiDescription")},
        "/ping": {
            "get": make_operation(
                "Get TorchServe status.",
                "ping",
                {
                    "200": answered(
                        "TorchServe status", object_schema(status="Overall status of the TorchServe.")
                    )
                },
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
    paths["/api-description"] = {"get": server_description("api-description") | {"deprecated": True}}
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
    operation = make_operation(
        f"A predict entry point for model: {name}.", name, {"200": {"description": "OK"}}
    )
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
        "content": {content_type: {"schema": object_schema(**parts)}},
    }
    operation = make_operation(
        "Get TorchServe application metrics in prometheus format.", "metrics", {"200": answer}
    )
    chosen = {"name": "name[]", "description": "Names of metrics to filter", "required": False}
    operation["parameters"] = [{"in": "query"} | chosen | {"schema": _STRING}]
    return {"/metrics": {"get": operation}}


def server_description(operation_id: str) -> Document:
    """The operation that answers with a description such as this."""
    schema = {
        "type": "object",
        "required": ["openapi", "info", "paths"],
        "properties": {"openapi": _STRING, "info": {"type": "object"}, "paths": {"type": "object"}},
    }
    answers = {"200": answered("A openapi 3.0.1 descriptor", schema)}
    return make_operation("Get openapi description.", operation_id, answers)


def _prediction(text: str, operation_id: str, more: Mapping[str, str] | None = None) -> Document:
    answers = {
        "200": {"description": "Output data format is defined by each model.", "content": _BINARY},
        "404": answered("Model not found or Model Version not found", error_schema()),
    }
    operation = make_operation(text, operation_id, answers)
    operation["responses"]["503"] = answered("No worker is available to serve request", error_schema())
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


def make_operation(text: str, operation_id: str, answers: Document) -> Document:
    """An operation without parameters, which like every one may fail."""
    responses = answers | {"500": answered("Internal Server Error", error_schema())}
    return {"description": text, "operationId": operation_id, "parameters": [], "responses": responses}


def answered(text: str, schema: Document) -> Document:
    """An answer in JSON."""
    return {"description": text, "content": {"application/json": {"schema": schema}}}


def error_schema() -> Document:
    """What every error looks like."""
    schema = object_schema(code="Error code.", type="Error type.", message="Error message.")
    schema["properties"]["code"]["type"] = "integer"
    return schema


def object_schema(**properties: str) -> Document:
    """An object that has these texts, each with its description."""
    return {
        "type": "object",
        "required": list(properties),
        "properties": {name: {"type": "string", "description": text} for name, text in properties.items()},
    }
