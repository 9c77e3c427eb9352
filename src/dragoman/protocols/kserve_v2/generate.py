"""Triton's generate extension: one flat JSON object to a request, by the names of the model's inputs, and back.

Pure. What isn't an input is a parameter; a value without brackets is a tensor of one element.
"""

import math
from collections.abc import Mapping
from typing import Any, Final

import orjson

from dragoman.errors import InvalidInput, Unsupported
from dragoman.protocols.kserve_v2.members import decode_parameters
from dragoman.tensors import Buffer, check_json_keys, dump_json, from_json, parse_json, to_json
from dragoman.types import InferRequest, InferResponse, Parameters, Signature, Tensor, TensorSpec

#: What ``generate`` says of a model that has another number of answers than one.
ONE_ANSWER: Final = (
    "generate expects model to produce exactly 1 response, use generate stream for model that generates various number"
    " of responses"
)
#: What a model may say of an answer to a whole document.
_OF_HTTP: Final = frozenset({"headers", "content_type"})
_BEGIN: Final = b"data: "
_END: Final = b"\n\n"


def decode_generate(
    model: str, version: str, body: Buffer, signature: Signature, max_depth: int = 100
) -> InferRequest:
    """The request in ``body``. Raises InvalidInput, TooLarge, Unsupported."""
    if not signature.inputs:
        raise Unsupported(
            f"model '{model}' does not say which inputs it has, so that they can't be told from parameters: ask"
            f" /v2/models/{model}/infer"
        )
    document = parse_json(body, max_depth)
    if type(document) is not dict:
        raise InvalidInput("Unable to parse the request: attempt to access JSON non-object as object")
    nested = document.get("parameters")
    check_json_keys(body, document, len(document) + (len(nested) if type(nested) is dict else 0))
    specs = {spec.name: spec for spec in signature.inputs}
    given = {key: value for key, value in document.items() if value is not None}
    inputs = tuple([_decode_input(spec, given[name]) for name, spec in specs.items() if name in given])
    request = InferRequest(model, inputs, version, _decode_id(given) if "id" not in specs else "")
    request.parameters = _decode_rest(given, specs)
    request.priority = request.parameters.get("priority", 0)
    return request


def encode_generate(response: InferResponse) -> bytes:
    """An answer as one flat object, keys in the order of the alphabet; outputs of one element without brackets."""
    document = {key: value for key, value in response.parameters.items() if key not in _OF_HTTP}
    for tensor in response.outputs:
        document[tensor.name] = to_json(tensor) if tensor.data.size != 1 else _only(tensor)
    document |= {"model_name": response.model, "model_version": response.version}
    if response.id:
        document["id"] = response.id
    return dump_json(dict(sorted(document.items())))


def encode_event(document: bytes) -> bytes:
    """A JSON text as an event of the stream."""
    return _BEGIN + document + _END


def _decode_id(given: Mapping[str, Any]) -> str:
    id_ = given.get("id", "")
    if type(id_) is not str:
        raise InvalidInput("Unable to parse 'id': attempt to access JSON non-string as string")
    return id_


def _decode_rest(given: Mapping[str, Any], inputs: Mapping[str, TensorSpec]) -> Parameters:
    """Parameters: those under that name, and whatever else is no input."""
    named = {} if "parameters" in inputs else given.get("parameters", {})
    if type(named) is not dict:
        raise InvalidInput("Unable to parse 'parameters': attempt to access JSON non-object as object")
    rest = {
        key: value for key, value in given.items() if key not in inputs and key not in ("id", "parameters")
    }
    parameters, _ = decode_parameters(rest | named)
    return parameters


def _decode_input(spec: TensorSpec, value: Any) -> Tensor:
    values = value if type(value) is list else [value]
    shape = _shape_of(values)
    if len(shape) != len(spec.shape):
        shape = _fit(spec, math.prod(shape))
        values = _flat(values)
    return Tensor(spec.name, spec.datatype, from_json(values, spec.datatype, shape, spec.name))


def _shape_of(values: Any) -> list[int]:
    """Of lists in lists, as their first ones tell."""
    shape = []
    while type(values) is list:
        shape.append(len(values))
        values = values[0] if values else None
    return shape


def _flat(values: list[Any]) -> list[Any]:
    """Lists in lists as one. How deep they may be has been checked."""
    while values and type(values[0]) is list:
        values = [item for part in values for item in (part if type(part) is list else [part])]
    return values


def _fit(spec: TensorSpec, count: int) -> list[int]:
    """The input's shape where it has ``count`` elements: the last open size takes what the others leave.

    So a batch is one row, unless only the number of rows is open.
    """
    fixed = math.prod(size for size in spec.shape if size >= 0)
    left = count // fixed if fixed else 1
    shape = []
    for size in reversed(spec.shape):
        shape.append(left if size < 0 else size)
        if size < 0:
            left = 1
    if math.prod(shape) != count:
        raise InvalidInput(f"input '{spec.name}' expects shape {list(spec.shape)}, got {count} elements")
    return shape[::-1]


def _only(tensor: Tensor) -> Any:
    """The one element, as JSON has it."""
    return orjson.Fragment(dump_json(to_json(tensor))[1:-1])
