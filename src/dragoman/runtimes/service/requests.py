"""From an HTTP request, or from what tensors have said, to the arguments of a method: read, checked, or refused.

What is refused is told as FastAPI tells it: a list of places (``loc``), kinds and reasons. Knows no socket.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final
from urllib.parse import parse_qsl

import orjson
from pydantic import ValidationError

from dragoman.errors import InvalidInput, Unprocessable
from dragoman.runtimes.service.calls import HttpCall, make_file, make_request
from dragoman.runtimes.service.endpoints import Endpoint
from dragoman.runtimes.service.forms import MULTIPART, URLENCODED, Upload, media_type, read_form
from dragoman.runtimes.service.parameters import EMPTY, Parameter

#: The order in which FastAPI looks, and what it calls the places.
_PLACES: Final = {
    "path": "path",
    "query": "query",
    "header": "header",
    "body": "body",
    "whole": "body",
    "file": "body",
    "request": "",
}

Detail = dict[str, Any]


def read_http(endpoint: Endpoint, call: HttpCall) -> dict[str, Any]:
    """The arguments of the method. Raises Unprocessable."""
    given: dict[str, Mapping[str, Any]] = {}
    problems: list[Detail] = []
    sources = {each.source for each in endpoint.parameters}
    if "path" in sources:
        names = [part[1:-1] for part in endpoint.path.split("/") if part.startswith("{")]
        given["path"] = dict(zip(names, call.path, strict=True))
    if "query" in sources:
        given["query"] = _read_query(endpoint.parameters, call.query)
    if "header" in sources:
        given["header"] = dict(reversed(call.headers))
    if "file" in sources:
        given["body"] = _read_files(endpoint, call)
    elif "whole" in sources or "body" in sources:
        given["body"] = _read_body(endpoint, call, problems)
    if problems:
        raise refuse(problems)
    return check(endpoint.parameters, given, call)


def check(
    parameters: Iterable[Parameter], given: Mapping[str, Mapping[str, Any]], call: HttpCall | None
) -> dict[str, Any]:
    """The arguments, every one checked. ``given`` has values by place and key. Raises Unprocessable for all at once."""
    arguments: dict[str, Any] = {}
    problems: list[Detail] = []
    for place in dict.fromkeys(_PLACES.values()):
        for each in parameters:
            if _PLACES[each.source] == place:
                _check_one(each, place, given.get(place, {}), call, arguments, problems)
    if problems:
        raise refuse(problems)
    return arguments


def check_named(endpoint: Endpoint, named: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments from values by parameters' names, as tensors give them. Raises Unprocessable."""
    given: dict[str, dict[str, Any]] = {}
    for each in endpoint.parameters:
        if each.name in named:
            given.setdefault(_PLACES[each.source], {})[_key(each)] = named[each.name]
    return check(endpoint.parameters, given, None)


def refuse(problems: list[Detail]) -> Unprocessable:
    """The error that tells a client all of them."""
    first = problems[0]
    where = ".".join(map(str, first["loc"]))
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    told = orjson.dumps(problems, default=_tell, option=orjson.OPT_NON_STR_KEYS | orjson.OPT_SERIALIZE_NUMPY)
    return Unprocessable(f"{where}: {first['msg']}{more}", told.decode())


def _key(each: Parameter) -> str:
    return "" if each.source == "whole" else each.key


def _check_one(
    each: Parameter,
    place: str,
    given: Mapping[str, Any],
    call: HttpCall | None,
    arguments: dict[str, Any],
    problems: list[Detail],
) -> None:
    loc: tuple[str, ...] = (place,) if each.source == "whole" else (place, each.key)
    if each.source == "request":
        arguments[each.name] = make_request(call)
        return
    value = given.get(_key(each), EMPTY)
    if value is EMPTY:
        if each.required:
            problems.append({"type": "missing", "loc": loc, "msg": "Field required", "input": None})
        else:
            arguments[each.name] = each.default
        return
    if each.source == "file":
        value = make_file(each, value)
        if value is EMPTY:
            reason = f"Value error, Expected UploadFile, received: {type(given[each.key])}"
            problems.append({"type": "value_error", "loc": loc, "msg": reason, "input": given[each.key]})
            return
    try:
        arguments[each.name] = each.adapter.validate_python(value, from_attributes=True)
    except ValidationError as error:
        found = error.errors(include_url=False)
        problems += [{**problem, "loc": (*loc, *problem["loc"])} for problem in found]


def _read_query(parameters: Iterable[Parameter], query: str) -> dict[str, Any]:
    pairs = parse_qsl(query, keep_blank_values=True)
    found: dict[str, Any] = dict(pairs)
    for each in parameters:
        if each.source == "query" and each.many and each.key in found:
            found[each.key] = [value for key, value in pairs if key == each.key]
    return found


def _read_body(endpoint: Endpoint, call: HttpCall, problems: list[Detail]) -> Mapping[str, Any]:
    kind = media_type(call.header("content-type"))
    if kind in (MULTIPART, URLENCODED):
        document: Any = _form(call)
    elif not call.body:
        return {}
    else:
        try:
            document = orjson.loads(call.body)
        except orjson.JSONDecodeError as error:
            words = {"error": error.msg.partition(":")[0]}
            problems.append(
                {
                    "type": "json_invalid",
                    "loc": ("body", error.pos),
                    "msg": "JSON decode error",
                    "input": {},
                    "ctx": words,
                }
            )
            return {}
    if any(each.source == "whole" for each in endpoint.parameters):
        return {"": document}
    return document if isinstance(document, dict) else {}


def _read_files(endpoint: Endpoint, call: HttpCall) -> Mapping[str, Any]:
    """A form, or where one file is all that is asked for, the body as it is."""
    content_type = call.header("content-type")
    if media_type(content_type) in (MULTIPART, URLENCODED):
        return _form(call)
    needed = [each for each in endpoint.parameters if each.source in ("file", "body") and each.required]
    files = [each for each in needed if each.source == "file"] or list(endpoint.files)
    if len(needed) > 1 or not call.body:
        return {}
    return {files[0].key: Upload(call.body, "", content_type)}


def _form(call: HttpCall) -> dict[str, Any]:
    try:
        return read_form(call.body, call.header("content-type"))
    except InvalidInput as error:
        detail = {"type": "form_invalid", "loc": ("body",), "msg": error.message, "input": None}
        raise refuse([detail]) from None


def _tell(value: Any) -> Any:
    """What JSON doesn't know, in a problem's input or context: as FastAPI has it, where that is a word for it."""
    if isinstance(value, Exception):
        return {}
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, set | frozenset | tuple):
        return list(value)
    return str(value)
