"""The OpenAPI document of a service: made once, when it is loaded. Knows hints and endpoints, no request."""

import inspect
from collections.abc import Iterable, Sequence
from typing import Any, Final

from pydantic import TypeAdapter
from pydantic.errors import PydanticInvalidForJsonSchema

from dragoman.errors import ConfigError
from dragoman.runtimes.service.answers import EVENTS, JSON, LINES
from dragoman.runtimes.service.endpoints import Endpoint
from dragoman.runtimes.service.forms import MULTIPART
from dragoman.runtimes.service.parameters import Parameter
from dragoman.services import ServiceOptions

_REF: Final = "#/components/schemas/{model}"
_FILE: Final = {"type": "string", "format": "binary"}
#: FastAPI's names and words for what 422 says.
_PROBLEMS: Final[dict[str, Any]] = {
    "HTTPValidationError": {
        "title": "HTTPValidationError",
        "type": "object",
        "properties": {
            "detail": {
                "title": "Detail",
                "type": "array",
                "items": {"$ref": "#/components/schemas/ValidationError"},
            }
        },
    },
    "ValidationError": {
        "title": "ValidationError",
        "type": "object",
        "required": ["loc", "msg", "type"],
        "properties": {
            "loc": {
                "title": "Location",
                "type": "array",
                "items": {"anyOf": [{"type": "string"}, {"type": "integer"}]},
            },
            "msg": {"title": "Message", "type": "string"},
            "type": {"title": "Error Type", "type": "string"},
            "input": {"title": "Input"},
            "ctx": {"title": "Context", "type": "object"},
        },
    },
}
_ENVELOPE: Final[dict[str, Any]] = {
    "message": {"type": "string", "example": "OK"},
    "method": {"type": "string"},
    "status-code": {"type": "integer"},
    "timestamp": {"type": "string"},
    "url": {"type": "string"},
    "data": {},
    "model-version": {"type": "string"},
    "run-id": {"type": "string"},
}

Schemas = dict[tuple[str, str], dict[str, Any]]


def describe(options: ServiceOptions, endpoints: Sequence[Endpoint]) -> dict[str, Any]:
    """The document. ``options`` are complete; paths have no prefix. Raises ConfigError for a type without a schema."""
    schemas, definitions = _schemas(endpoints)
    paths: dict[str, dict[str, Any]] = {}
    if not any(each.path == "/" and each.options.method == "GET" for each in endpoints):
        paths["/"] = {"get": _health(options.envelope)}
    for each in endpoints:
        operation = _operation(each, schemas, options.envelope)
        paths.setdefault(each.path, {})[each.options.method.lower()] = operation
    info = {"title": options.title, "version": options.version}
    if options.description:
        info["description"] = options.description
    components = {"schemas": dict(sorted({**definitions, **_PROBLEMS}.items()))}
    return {"openapi": "3.1.0", "info": info, "paths": paths, "components": components}


def _schemas(endpoints: Iterable[Endpoint]) -> tuple[Schemas, dict[str, Any]]:
    """The schema of every parameter and result, and what they refer to."""
    wanted: list[tuple[Any, Any, TypeAdapter[Any]]] = []
    for endpoint in endpoints:
        for each in endpoint.parameters:
            if each.source not in ("request", "file"):
                wanted.append(((endpoint.name, each.name), "validation", each.adapter))
        if endpoint.adapter is not None:
            wanted.append(((endpoint.name, ""), "serialization", endpoint.adapter))
    try:
        found, definitions = TypeAdapter.json_schemas(wanted, ref_template=_REF)
    except PydanticInvalidForJsonSchema as error:
        raise ConfigError(f"a type of the service has no schema: {str(error).splitlines()[0]}") from error
    return {key: dict(schema) for (key, _), schema in found.items()}, dict(definitions.get("$defs", {}))


def _health(envelope: bool) -> dict[str, Any]:
    return {
        "tags": ["General"],
        "summary": "Index",
        "description": "Health check.",
        "operationId": "index",
        "responses": {"200": _answer(200, {"type": "object"}, envelope)},
    }


def _operation(endpoint: Endpoint, schemas: Schemas, envelope: bool) -> dict[str, Any]:
    options = endpoint.options
    operation: dict[str, Any] = {
        "tags": list(options.tags) or ["Prediction"],
        "summary": endpoint.summary,
        "operationId": f"{endpoint.name}_{options.method.lower()}",
    }
    if words := inspect.getdoc(endpoint.function):
        operation["description"] = words
    simple = [each for each in endpoint.parameters if each.source in ("path", "query", "header")]
    if simple:
        operation["parameters"] = [_parameter(endpoint, each, schemas) for each in simple]
    if body := _body(endpoint, schemas):
        operation["requestBody"] = body
    operation["responses"] = {str(options.status): _responses(endpoint, schemas, envelope)}
    if len(simple) or body:
        problems = {"$ref": "#/components/schemas/HTTPValidationError"}
        operation["responses"]["422"] = {
            "description": "Validation Error",
            "content": {JSON: {"schema": problems}},
        }
    return operation


def _parameter(endpoint: Endpoint, each: Parameter, schemas: Schemas) -> dict[str, Any]:
    schema = _titled(each, schemas[endpoint.name, each.name])
    return {"name": each.key, "in": each.source, "required": each.required, "schema": schema}


def _body(endpoint: Endpoint, schemas: Schemas) -> dict[str, Any]:
    whole = [each for each in endpoint.parameters if each.source == "whole"]
    fields = [each for each in endpoint.parameters if each.source in ("body", "file")]
    if not whole and not fields:
        return {}
    if whole:
        schema, required = schemas[endpoint.name, whole[0].name], whole[0].required
    else:
        schema, required = _object(endpoint, fields, schemas), any(each.required for each in fields)
    media: dict[str, Any] = {"schema": schema}
    if endpoint.options.example is not None:
        media["example"] = endpoint.options.example
    content = {MULTIPART if endpoint.files else JSON: media}
    if len(endpoint.files) == 1 == len([each for each in fields if each.required]):
        content["application/octet-stream"] = {"schema": _FILE}
    return {"content": content, "required": required}


def _object(endpoint: Endpoint, fields: Sequence[Parameter], schemas: Schemas) -> dict[str, Any]:
    properties = {
        each.key: _titled(each, _FILE if each.source == "file" else schemas[endpoint.name, each.name])
        for each in fields
    }
    schema: dict[str, Any] = {"type": "object", "title": f"Body_{endpoint.name}", "properties": properties}
    if required := [each.key for each in fields if each.required]:
        schema["required"] = required
    return schema


def _titled(each: Parameter, schema: dict[str, Any]) -> dict[str, Any]:
    titled = schema if "$ref" in schema else {**schema, "title": schema.get("title", each.name.title())}
    if each.required or each.default is None or "$ref" in schema:
        return titled
    plain = isinstance(each.default, str | int | float | bool)
    return {**titled, "default": each.default} if plain else titled


def _responses(endpoint: Endpoint, schemas: Schemas, envelope: bool) -> dict[str, Any]:
    schema = schemas.get((endpoint.name, ""), {})
    status = endpoint.options.status
    if endpoint.stream:
        content = {LINES: {"schema": schema}, EVENTS: {"schema": {"type": "string"}}}
        return {"description": "A stream of items", "content": content}
    if endpoint.result is bytes:
        return {"description": "OK", "content": {"application/octet-stream": {"schema": _FILE}}}
    return _answer(status, schema, envelope)


def _answer(status: int, schema: dict[str, Any], envelope: bool) -> dict[str, Any]:
    if envelope:
        properties = {**_ENVELOPE, "status-code": {"type": "integer", "example": status}, "data": schema}
        required = [name for name in _ENVELOPE if name != "run-id"]
        schema = {"type": "object", "properties": properties, "required": required}
    return {"description": "Successful Response", "content": {JSON: {"schema": schema}}}
