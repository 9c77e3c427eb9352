"""The JSON of OpenAI's API: requests in, answers and server-sent events out. Pure: no model, no route, no clock.

The types are pydantic's and come from the extra ``openai``; they are imported when there is a model.
"""

import base64
from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from dragoman.errors import InvalidInput, InvalidOutput
from dragoman.protocols.openai.errors import BadParameter
from dragoman.tensors import dump_json, parse_json

if TYPE_CHECKING:
    from pydantic import BaseModel, ValidationError

Document = dict[str, Any]
_Steps = tuple[int | str, ...]

#: What ends a stream that is complete.
DONE: Final = b"data: [DONE]\n\n"


def decode_document(body: bytes | memoryview, max_depth: int) -> tuple[Document, str]:
    """The request as JSON, and the model that it names. Raises InvalidInput."""
    document = parse_json(body, max_depth)
    if not isinstance(document, dict):
        raise InvalidInput(f"the body must be a JSON object, got {type(document).__name__}")
    model = document.get("model")
    if not isinstance(model, str) or not model:
        found = "nothing" if model is None else repr(model)
        raise BadParameter(f"model: expected the name of a model, got {found}", "model")
    return document, model


def decode_request(document: Document, kind: str) -> "BaseModel":
    """The request as the model takes it, of the type called ``kind``. Raises BadParameter for the first wrong field."""
    from pydantic import ValidationError

    from dragoman.compat.kserve.protocol.rest.openai import types

    wanted: type[BaseModel] = getattr(types, kind)
    try:
        return wanted.model_validate(document)
    except ValidationError as error:
        raise _explain(error, document) from None


def encode_answer(answer: Any, request: "BaseModel") -> bytes:
    """A whole answer as JSON. Raises InvalidOutput for what can't be one."""
    if isinstance(answer, str | bytes):
        return answer.encode() if isinstance(answer, str) else answer
    if getattr(request, "encoding_format", None) == "base64":
        _shorten(answer)
    return _json(answer)


def encode_event(item: Any) -> bytes:
    """One item of a stream as an event. Text is an event already: models made for KServe write them."""
    if isinstance(item, str):
        return item.encode()
    if isinstance(item, bytes):
        return item
    return b"data: " + _json(item) + b"\n\n"


def ends_stream(event: bytes) -> bool:
    """Whether a model has said itself that its stream is complete."""
    return event.rstrip().endswith(b"[DONE]")


def encode_models(names: list[tuple[str, int]]) -> bytes:
    """The list of models, each with when it came, in seconds since 1970."""
    return dump_json({"object": "list", "data": [_model(name, created) for name, created in names]})


def encode_model(name: str, created: int) -> bytes:
    return dump_json(_model(name, created))


def _model(name: str, created: int) -> Document:
    return {"id": name, "object": "model", "created": created, "owned_by": ""}


def _json(value: Any) -> bytes:
    dump = getattr(value, "model_dump_json", None)
    if dump is not None:
        text: str = dump(exclude_none=True, warnings=False)  # of parts that nobody has checked
        return text.encode()
    if isinstance(value, Mapping):
        return dump_json(dict(value))
    raise InvalidOutput(f"expected an answer of OpenAI's API, got {type(value).__name__}")


def _shorten(answer: Any) -> None:
    """Vectors as base64, which is what OpenAI's own client asks for: a third of the bytes, and no digit to parse."""
    data = answer.get("data") if isinstance(answer, dict) else getattr(answer, "data", None)
    for item in data if isinstance(data, list) else ():
        vector = item.get("embedding") if isinstance(item, dict) else getattr(item, "embedding", None)
        if vector is None or isinstance(vector, str):
            continue
        text = base64.b64encode(np.asarray(vector, "<f4").tobytes()).decode()
        if isinstance(item, dict):
            item["embedding"] = text
        else:
            item.embedding = text


def _explain(error: "ValidationError", document: Document) -> BadParameter:
    """Which field is wrong, in the client's words.

    A field that may be several things has errors for each: the one that it nearly is tells most.
    """
    errors = error.errors(include_url=False, include_context=False)
    places = [_place(each["loc"], each["type"], document) for each in errors]
    alike = Counter(way for _, way in places)
    best = min(range(len(errors)), key=lambda index: (alike[places[index][1]], -len(places[index][0])))
    name = ".".join(map(str, places[best][0])) or "body"
    return BadParameter(f"{name}: {errors[best]['msg']}", name)


def _place(steps: tuple[int | str, ...], kind: str, document: Document) -> tuple[_Steps, _Steps]:
    """Where an error is in the document, and by which of the types that a value may have it was found there."""
    path: list[int | str] = []
    way: list[int | str] = []
    value: Any = document
    for step in steps:
        inside = (
            step in value if isinstance(value, dict) else isinstance(value, list) and isinstance(step, int)
        )
        if inside:
            value = value[step]
            path.append(step)
        else:
            way.append(step)
    if kind == "missing":
        path.append(way.pop())
    return tuple(path), tuple(way)
