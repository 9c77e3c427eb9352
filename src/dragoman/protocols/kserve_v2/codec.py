"""Open Inference Protocol v2 with binary data, classification and shared memory: a body to a request and back.

Knows no transport and no engine. Whether the inputs are those of the model is checked by the engine; here a
signature serves to deduce raw requests and to find labels. Error texts are Triton's wherever it has one, for
clients match on them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from dragoman.errors import InvalidInput
from dragoman.protocols.kserve_v2.binary import decode_header_length, decode_raw_request
from dragoman.protocols.kserve_v2.classification import classify
from dragoman.protocols.kserve_v2.inputs import decode_inputs
from dragoman.protocols.kserve_v2.members import (
    UNSIGNED,
    check_boolean,
    check_list,
    decode_object,
    decode_parameters,
    missing_member,
    tag_of,
    wrong_member,
)
from dragoman.protocols.kserve_v2.metadata import (
    IndexEntry,
    decode_index,
    encode_config,
    encode_index,
    encode_model_metadata,
    encode_server_metadata,
)
from dragoman.protocols.kserve_v2.windows import (
    NOTHING_SHARED,
    REGION,
    Find,
    Shared,
    Window,
    open_window,
)
from dragoman.tensors import Buffer, check_json_keys, dump_json, encode_raw, parse_json, to_json
from dragoman.types import InferRequest, InferResponse, Parameters, Signature

__all__ = [
    "IndexEntry",
    "Wanted",
    "decode_index",
    "decode_infer",
    "encode_config",
    "encode_index",
    "encode_infer",
    "encode_model_metadata",
    "encode_server_metadata",
]


@dataclass(frozen=True, slots=True)
class Wanted:
    """How the client wants the answer written.

    ``outputs`` has, by name, whether an output comes as binary data and how many of its classes are wanted
    (0 is the output itself), or the part of shared memory that it goes to. Outputs that it does not have are written
    as ``binary`` says.
    """

    binary: bool = False
    outputs: Mapping[str, "Form"] = field(default_factory=dict)


Form = tuple[bool, int] | Window


_JSON: Final = Wanted()
_BINARY: Final = Wanted(binary=True)


def decode_infer(
    model: str,
    version: str,
    body: Buffer,
    header_length: str | None,
    signature: Signature | None,
    *,
    max_depth: int = 100,
    shared: Shared = NOTHING_SHARED,
) -> tuple[InferRequest, Wanted]:
    """The request in ``body`` and how to write its answer; ``header_length`` is the header of the extension.

    Raises InvalidInput, TooLarge, NotFound or Unsupported. Raw tensors are views on ``body``.
    """
    length = decode_header_length(header_length, len(body))
    if not length:
        tensor = decode_raw_request(model, body, signature, tag_of(""))
        return InferRequest(model, (tensor,), version), _BINARY
    text = bytes(body if length == len(body) else memoryview(body)[:length])
    document = _parse(text, header_length, max_depth)
    if type(document) is not dict or "inputs" not in document:
        raise InvalidInput("Unable to parse 'inputs': attempt to access non-existing object member 'inputs'")
    id_ = document.get("id")
    if id_ is None:
        id_ = ""
    elif type(id_) is not str:
        raise InvalidInput("Unable to parse 'id': attempt to access JSON non-string as string")
    inputs, keys = decode_inputs(document["inputs"], text, body, model, id_, shared)
    request = InferRequest(model, inputs, version, id_)
    keys += len(document)
    wanted = _JSON
    if (parameters := document.get("parameters")) is not None:
        request.parameters, binary = decode_parameters(parameters)
        request.priority = request.parameters.get("priority", 0)
        keys += len(parameters)
        if binary:
            wanted = _BINARY
    if (items := document.get("outputs")) is not None:
        outputs, met = _decode_outputs(items, id_, shared.find)
        keys += met
        if outputs:
            # An output that is named but asks for nothing comes as JSON, whatever binary_data_output says.
            request.outputs = in_order(outputs, signature)
            wanted = Wanted(False, outputs)
    check_json_keys(text, document, keys)
    return request, wanted


def encode_infer(
    response: InferResponse, wanted: Wanted, signature: Signature | None = None
) -> tuple[list[Buffer], int | None]:
    """The answer as buffers to write in order, and the length of its JSON when binary data follows."""
    entries: list[dict[str, Any]] = []
    tail: list[Buffer] = []
    named = wanted.outputs
    for tensor in response.outputs:
        form = named.get(tensor.name, (wanted.binary, 0)) if named else (wanted.binary, 0)
        if isinstance(form, Window):
            form.write(tensor)
            entries.append({"name": tensor.name, "datatype": tensor.datatype, "shape": tensor.data.shape})
            continue
        binary, classes = form
        if classes:
            tensor = classify(tensor, classes, signature)
        entry: dict[str, Any] = {"name": tensor.name, "datatype": tensor.datatype, "shape": tensor.data.shape}
        if binary:
            data = encode_raw(tensor)
            entry["parameters"] = {**tensor.parameters, "binary_data_size": len(data)}
            tail.append(data)
        else:
            if tensor.parameters:
                entry["parameters"] = tensor.parameters
            entry["data"] = to_json(tensor)
        entries.append(entry)
    document: dict[str, Any] = {"id": response.id} if response.id else {}
    document["model_name"] = response.model
    document["model_version"] = response.version
    if response.parameters:
        document["parameters"] = response.parameters
    document["outputs"] = entries
    head = dump_json(document)
    return [head, *tail], len(head) if tail else None


def _decode_outputs(items: Any, id_: str, find: Find) -> tuple[dict[str, Form], int]:
    """The named outputs and how each is wanted, and how many keys they had in all."""
    check_list(items, "outputs")
    outputs: dict[str, Form] = {}
    keys = 0
    for item in items:
        if type(item) is not dict or "name" not in item:
            raise missing_member(item)
        name = item["name"]
        if type(name) is not str:
            raise wrong_member(name, "")
        if name in outputs:
            raise InvalidInput(f"{tag_of(id_)}output '{name}' already exists in request")
        parameters = decode_object(item)
        keys += len(item) + len(parameters)
        outputs[name] = _decode_form(parameters, find) if parameters else (False, 0)
    return outputs, keys


def _decode_form(parameters: Parameters, find: Find) -> Form:
    """Whether an output is wanted as binary data, and how many of its classes; or where in shared memory."""
    if REGION in parameters:
        for other in ("binary_data", "classification"):
            if parameters.get(other):
                raise InvalidInput(f"Output can't set both '{REGION}' and '{other}'")
        return open_window(parameters, find)
    classes = parameters.get("classification", 0)
    if type(classes) is not int or classes < 0:
        raise InvalidInput(f"Unable to set 'classification': {UNSIGNED}")
    binary = parameters.get("binary_data", False)
    check_boolean("binary_data", binary)
    return binary, classes


def in_order(outputs: Mapping[str, Any], signature: Signature | None) -> tuple[str, ...]:
    """The names in the model's order, which is the order of the answer, however the client ordered them."""
    if signature is None or len(outputs) == 1:
        return tuple(outputs)
    known = [spec.name for spec in signature.outputs if spec.name in outputs]
    return (*known, *(name for name in outputs if name not in known))


def _parse(text: bytes, header_length: str | None, max_depth: int) -> Any:
    try:
        return parse_json(text, max_depth)
    except InvalidInput as error:
        if header_length is None and b'"binary_data_size"' in text:
            raise InvalidInput(
                f"{error.message}. Raw data after the JSON needs the header Inference-Header-Content-Length"
            ) from None
        raise
