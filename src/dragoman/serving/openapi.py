"""What a program's server answers over REST, as OpenAPI 3.1 has it, and the page that shows it. Knows no model.

KServe describes its two protocols so; here they are described by the routes that are there.
"""

import re
from collections.abc import Iterable
from typing import Any, Final

from dragoman import __version__
from dragoman.protocols.service.documents import POLICY, page
from dragoman.tensors import dump_json
from dragoman.transport.request import HttpRequest
from dragoman.transport.router import RouteInfo, Router

TITLE: Final = "Dragoman ModelServer"

#: What the ``{}`` of a pattern are called, from the first.
_NAMES: Final = ("model_name", "model_version")
#: Which routes belong to which protocol.
_TAGS: Final = (
    ("/v1/models", "V1"),
    ("/v2/repository", "Repository"),
    ("/v2", "V2"),
    ("/openai", "OpenAI"),
)
_BODIES: Final = {
    ":predict": {"instances": {"type": "array", "items": {}}},
    ":explain": {"instances": {"type": "array", "items": {}}},
    "/infer": {
        "id": {"type": "string"},
        "inputs": {"type": "array", "items": {"$ref": "#/components/schemas/Tensor"}},
        "parameters": {"type": "object"},
    },
}
_TENSOR: Final = {
    "type": "object",
    "required": ["name", "shape", "datatype", "data"],
    "properties": {
        "name": {"type": "string"},
        "shape": {"type": "array", "items": {"type": "integer"}},
        "datatype": {"type": "string", "examples": ["FP32"]},
        "data": {"type": "array", "items": {}},
        "parameters": {"type": "object"},
    },
}


def describe(routes: Iterable[RouteInfo]) -> bytes:
    """The document of these routes."""
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        tag = next((tag for prefix, tag in _TAGS if route.pattern.startswith(prefix)), "")
        if not tag or "{*}" in route.pattern:
            continue
        path, names = _name(route.pattern)
        for method in route.methods:
            if method in ("GET", "POST"):
                paths.setdefault(path, {})[method.lower()] = _operation(route, tag, names, method)
    document = {
        "openapi": "3.1.0",
        "info": {"title": TITLE, "version": __version__},
        "paths": paths,
        "components": {"schemas": {"Tensor": _TENSOR}},
    }
    return dump_json(document)


def add_routes(router: Router, *, pages: bool) -> None:
    """Serve the document and, if it is wanted, the page that shows it. After all other routes."""
    document = describe(router.routes())

    def openapi(http: HttpRequest) -> None:
        http.respond(200, document, compress=True)

    def docs(http: HttpRequest) -> None:
        policy = [("Content-Security-Policy", POLICY)]
        http.respond(200, page("docs", TITLE, "/docs"), "text/html; charset=utf-8", policy)

    router.add("GET", "/openapi.json", openapi, operation="metadata")
    if pages:
        router.add("GET", "/docs", docs, operation="pages")


def _name(pattern: str) -> tuple[str, list[str]]:
    """The pattern with names for its segments, and these."""
    names = list(_NAMES[: pattern.count("{}")])
    parts = iter(names)
    return re.sub(r"\{\}", lambda _: "{" + next(parts) + "}", pattern), names


def _operation(route: RouteInfo, tag: str, names: list[str], method: str) -> dict[str, Any]:
    told = route.name.replace("_", " ")
    operation: dict[str, Any] = {
        "tags": [tag],
        "summary": told.capitalize(),
        "parameters": [
            {"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in names
        ],
        "responses": {"200": {"description": "done"}, "default": {"description": '{"error": "why not"}'}},
    }
    body = next((body for end, body in _BODIES.items() if route.pattern.endswith(end)), None)
    if method == "POST":
        schema = {"type": "object", **({"properties": body} if body else {})}
        operation["requestBody"] = {"content": {"application/json": {"schema": schema}}}
    return operation
