"""Open Inference Protocol over gRPC: the bytes of a message to a request and back, with Triton's extensions.

Knows no transport and no engine. Raw tensors are looked at where they came in, and handed out where they lie. Error
texts are Triton's wherever it has one, for clients match on them.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final, NamedTuple

from google.protobuf.message import DecodeError

from dragoman.errors import InvalidInput, TooLarge
from dragoman.protobuf.wire import Malformed, TooMany, cut, tag, varint
from dragoman.protocols.kserve_v2.binary import decode_tensor
from dragoman.protocols.kserve_v2.classification import classify
from dragoman.protocols.kserve_v2.codec import in_order
from dragoman.protocols.kserve_v2.grpc_contents import decode_contents, encode_contents, has_field
from dragoman.protocols.kserve_v2.members import MAX_TENSORS, tag_of
from dragoman.protocols.kserve_v2.messages import (
    ModelInferRequest,
    ModelInferResponse,
    ModelStreamInferResponse,
)
from dragoman.protocols.kserve_v2.windows import (
    NOTHING_SHARED,
    OFFSET,
    PLACES,
    REGION,
    SIZE,
    Find,
    Shared,
    Window,
    open_window,
)
from dragoman.tensors import MAX_DIMENSIONS, Buffer, encode_raw
from dragoman.types import DTYPES, InferRequest, InferResponse, Parameters, Signature, Tensor

#: From here on it is cheaper to look for raw tensors than to let the runtime copy them twice.
_BIG: Final = 16_384
#: Inputs, raw tensors, outputs and parameters of one request together.
_MOST_FIELDS: Final = 16_384
#: Bytes of what is not raw: an empty string takes two of them, and twenty times that in memory.
_MOST_TYPED: Final = 16_777_216
_RAW_INPUTS: Final = ModelInferRequest.DESCRIPTOR.fields_by_name["raw_input_contents"].number
_ID: Final = tag(ModelInferResponse.DESCRIPTOR.fields_by_name["id"].number)
_RAW_OUTPUTS: Final = tag(ModelInferResponse.DESCRIPTOR.fields_by_name["raw_output_contents"].number)
_INFER_RESPONSE: Final = tag(ModelStreamInferResponse.DESCRIPTOR.fields_by_name["infer_response"].number)
_EMPTY_FINAL: Final = "triton_enable_empty_final_response"
_FINAL: Final = "triton_final_response"

Pieces = list[Buffer]
#: How many classes of an output are wanted (0 is the output itself), or the part of shared memory that it goes to.
Form = int | Window


class Parsed(NamedTuple):
    """A request's message without its raw tensors, and these."""

    head: Any
    raw: Sequence[Buffer]


class Asked(NamedTuple):
    """A request, how its outputs are wanted, and whether a stream shall end with an empty answer."""

    request: InferRequest
    forms: Mapping[str, Form]
    empty_final: bool


def decode(kind: Any, message: bytes) -> Any:
    """A message of the class ``kind``. Raises InvalidInput."""
    try:
        return kind.FromString(message)
    except DecodeError:
        raise InvalidInput("Unable to parse request") from None


def parse_infer(message: bytes) -> Parsed:
    """Take a request apart, as far as it can be without its model. Raises InvalidInput, TooLarge."""
    if len(message) < _BIG:
        head = decode(ModelInferRequest, message)
        return Parsed(head, head.raw_input_contents)
    try:
        rest, raw = cut(message, _RAW_INPUTS, _MOST_FIELDS)
    except TooMany:
        raise TooLarge(f"a request may have at most {_MOST_FIELDS} inputs, outputs and parameters") from None
    except Malformed:
        raise InvalidInput("Unable to parse request") from None
    if len(rest) > _MOST_TYPED:
        raise TooLarge(
            f"typed contents may take {_MOST_TYPED} bytes in all, and these take {len(rest)}: send tensors of this"
            " size as raw_input_contents"
        )
    return Parsed(decode(ModelInferRequest, rest), raw)


def decode_infer(
    parsed: Parsed, model: str, version: str, signature: Signature | None, shared: Shared = NOTHING_SHARED
) -> Asked:
    """The request in a message. Raises InvalidInput, NotFound and TooLarge."""
    head = parsed.head
    inputs = _decode_inputs(parsed, model, signature, tag_of(head.id), shared)
    request = InferRequest(model, inputs, version, head.id)
    empty_final = False
    if head.parameters:
        parameters = request.parameters = _decode_parameters(head.parameters)
        empty_final = parameters.pop(_EMPTY_FINAL, False)
        request.priority = parameters.get("priority", 0)
    forms: dict[str, Form] = {}
    if head.outputs:
        forms = _decode_outputs(head.outputs, tag_of(head.id), shared.find)
        request.outputs = in_order(forms, signature)
    return Asked(request, forms, empty_final)


def encode_infer(
    response: InferResponse,
    forms: Mapping[str, Form],
    signature: Signature | None,
    final: bool | None = None,
) -> Pieces:
    """An answer's message, in pieces that follow each other. ``final`` is told where it is one of a stream's."""
    outputs = response.outputs
    if forms:
        outputs = tuple([_classified(tensor, forms.get(tensor.name, 0), signature) for tensor in outputs])
    pieces: Pieces = [_encode_head(response, outputs)]
    if response.id:
        id_ = response.id.encode()
        pieces.append(_ID + varint(len(id_)) + id_)
    if final is not None:
        pieces.append(_encode_final(final))
    for tensor in outputs:
        form = forms.get(tensor.name) if forms else None
        if isinstance(form, Window):
            form.write(tensor)
            pieces.append(_RAW_OUTPUTS + varint(0))
            continue
        data = encode_raw(tensor)
        pieces += (_RAW_OUTPUTS + varint(len(data)), data)
    return pieces


def _classified(tensor: Tensor, form: Form, signature: Signature | None) -> Tensor:
    return classify(tensor, form, signature) if form and not isinstance(form, Window) else tensor


def encode_typed(response: InferResponse) -> bytes:
    """An answer with typed contents, for clients that look nowhere else; raw if there is no field for a datatype."""
    outputs = response.outputs
    if not all(has_field(tensor.datatype) for tensor in outputs):
        return b"".join(encode_infer(response, {}, None))
    message = ModelInferResponse()
    message.ParseFromString(_encode_head(response, outputs))
    message.id = response.id
    for tensor, output in zip(outputs, message.outputs, strict=True):
        encode_contents(tensor, output.contents)
    return bytes(message.SerializeToString())


def encode_empty_final(model: str, id_: str) -> Pieces:
    """The end of a stream of answers, where the last of them did not know that it was."""
    head = ModelInferResponse(model_name=model, id=id_)
    return [head.SerializeToString(), _encode_final(True)]


def encode_streamed(pieces: Pieces) -> Pieces:
    """An answer as a message of the stream."""
    return [_INFER_RESPONSE + varint(sum(map(len, pieces))), *pieces]


def encode_stream_error(text: str, id_: str, model: str = "") -> Pieces:
    """A failure as a message of the stream; with ``model`` that of a request which the model has seen."""
    message = ModelStreamInferResponse(error_message=text)
    message.infer_response.id = id_
    if model:
        message.infer_response.model_name = model
        message.infer_response.parameters[_FINAL].bool_param = True
    return [message.SerializeToString()]


# Requests.


def _decode_inputs(
    parsed: Parsed, model: str, signature: Signature | None, id_tag: str, shared: Shared
) -> tuple[Tensor, ...]:
    items, raw = parsed.head.inputs, parsed.raw
    _check_count(items, "inputs")
    tensors: dict[str, Tensor] = {}
    taken = lent = 0
    for item in items:
        name, datatype, shape = item.name, item.datatype, item.shape[: MAX_DIMENSIONS + 1]
        if datatype not in DTYPES:
            raise _unknown_datatype(name, model, signature, id_tag)
        if name in tensors:
            raise InvalidInput(f"{id_tag}input '{name}' already exists in request")
        if shape and min(shape) < 0:
            raise InvalidInput(f"{id_tag}input '{name}' has a negative size in its shape {shape}")
        parameters = _decode_tensor_parameters(item.parameters) if item.parameters else {}
        typed = item.HasField("contents")
        if raw and typed:
            raise InvalidInput(
                "contents field must not be specified when using raw_input_contents for"
                f" '{name}' for model '{model}'"
            )
        if item.parameters and REGION in item.parameters:
            if typed:
                raise InvalidInput(
                    f"contents field must not be specified when using shared memory for '{name}' for model '{model}'"
                )
            window = _open_window(item.parameters, shared.find)
            lent += window.size
            shared.check_total(lent)
            data = decode_tensor(name, datatype, shape, window.read(), model, id_tag)
        elif typed:
            data = decode_contents(item.contents, name, datatype, shape, model, id_tag)
        elif taken < len(raw):
            data = decode_tensor(name, datatype, shape, raw[taken], model, id_tag)
            taken += 1
        else:
            raise InvalidInput(
                f"unable to find data for input tensor '{name}' for model '{model}' in request."
            )
        tensors[name] = Tensor(name, datatype, data, parameters)
    if taken != len(raw):
        raise InvalidInput(
            f"the number of inputs ({len(items)}) does not match the expected number of raw input contents"
            f" ({len(raw)}) for model '{model}'."
        )
    return tuple(tensors.values())


def _decode_outputs(items: Any, id_tag: str, find: Find) -> dict[str, Form]:
    """The wanted outputs, and how each is."""
    _check_count(items, "outputs")
    outputs: dict[str, Form] = {}
    for item in items:
        if item.name in outputs:
            raise InvalidInput(f"{id_tag}output '{item.name}' already exists in request")
        outputs[item.name] = _decode_form(item.parameters, find) if item.parameters else 0
    return outputs


def _decode_form(parameters: Mapping[str, Any], find: Find) -> Form:
    if REGION in parameters:
        if "classification" in parameters:
            raise InvalidInput(f"Output can't set both '{REGION}' and 'classification'")
        return _open_window(parameters, find)
    if "classification" not in parameters:
        return 0
    kind, count = _value(parameters["classification"])
    if kind != "int64_param":
        raise InvalidInput("invalid value type for 'classification' parameter, expected int64_param")
    if count < 1:
        raise InvalidInput("invalid value for 'classification' parameter, expected >= 0")
    return int(count)


def _decode_tensor_parameters(parameters: Mapping[str, Any]) -> Parameters:
    _check_count(parameters, "parameters of one tensor")
    # KServe's client tells the size of raw data here.
    where = PLACES if REGION in parameters else ()
    return {
        key: _value(value)[1]
        for key, value in parameters.items()
        if key != "binary_data_size" and key not in where
    }


def _open_window(parameters: Mapping[str, Any], find: Find) -> Window:
    """The part of a region that an input or output names. Raises NotFound, InvalidInput."""
    for key, kinds in ((REGION, ("string_param",)), (SIZE, _WHOLE), (OFFSET, _WHOLE)):
        if key in parameters and _value(parameters[key])[0] not in kinds:
            raise InvalidInput(f"invalid value type for '{key}' parameter, expected {kinds[0]}.")
    return open_window({key: _value(parameters[key])[1] for key in PLACES if key in parameters}, find)


def _decode_parameters(parameters: Mapping[str, Any]) -> Parameters:
    taken: Parameters = {}
    for key, held in parameters.items():
        kind, value = _value(held)
        expected = _EXPECTED.get(key)
        if expected is not None:
            kinds, words = expected
            if kind not in kinds:
                raise InvalidInput(f"invalid value type for '{key}' parameter, expected {words}.")
            if kind == "int64_param" and value < 0:
                raise InvalidInput(f"invalid value for '{key}' parameter, expected >= 0")
        elif key.startswith("triton_"):
            raise InvalidInput(
                "parameter keys starting with 'triton_' are reserved for Triton usage. Only the following keys"
                f" starting with 'triton_' are allowed: {_EMPTY_FINAL}"
            )
        elif not kind:
            raise InvalidInput(f"parameter '{key}' has no value")
        if key != "binary_data_output":  # KServe's client says so of answers, which are always raw here
            taken[key] = value
    return taken


_WHOLE: Final = ("int64_param", "uint64_param")
#: The kinds that a parameter may be of, and how that is told.
_EXPECTED: Final = {
    "sequence_id": ((*_WHOLE, "string_param"), "int64_param or string_param"),
    "sequence_start": (("bool_param",), "bool_param"),
    "sequence_end": (("bool_param",), "bool_param"),
    "priority": (_WHOLE, "int64_param or uint64_param"),
    "timeout": (_WHOLE, "int64_param"),
    _EMPTY_FINAL: (("bool_param",), "bool_param"),
}


def _value(parameter: Any) -> tuple[str, Any]:
    """Which kind a parameter is of, and its value; an empty kind where it has none."""
    kind = parameter.WhichOneof("parameter_choice")
    return (kind, getattr(parameter, kind)) if kind else ("", None)


def _check_count(items: Any, what: str) -> None:
    if len(items) > MAX_TENSORS:
        raise InvalidInput(f"a request may have at most {MAX_TENSORS} {what}, got {len(items)}")


def _unknown_datatype(name: str, model: str, signature: Signature | None, id_tag: str) -> InvalidInput:
    for spec in signature.inputs if signature else ():
        if spec.name == name:
            return InvalidInput(
                f"{id_tag}inference input '{name}' data-type is '<invalid>', but model '{model}' expects"
                f" '{spec.datatype}'"
            )
    return InvalidInput(f"{id_tag}invalid datatype for input {name}")


# Answers.


def _encode_head(response: InferResponse, outputs: Iterable[Tensor]) -> bytes:
    """All but id, finality and data."""
    if not response.parameters and not any(tensor.parameters for tensor in outputs):
        described = tuple([(tensor.name, tensor.datatype, tensor.data.shape) for tensor in outputs])
        return _encode_plain_head(response.model, response.version, described)
    message = ModelInferResponse(model_name=response.model, model_version=response.version)
    _encode_parameters(response.parameters, message.parameters)
    for tensor in outputs:
        output = message.outputs.add(name=tensor.name, datatype=tensor.datatype, shape=tensor.data.shape)
        _encode_parameters(tensor.parameters, output.parameters)
    return bytes(message.SerializeToString())


@lru_cache(maxsize=1024)
def _encode_plain_head(
    model: str, version: str, outputs: tuple[tuple[str, str, tuple[int, ...]], ...]
) -> bytes:
    """Answers of one model mostly look alike, and to write this costs more than all the rest of them."""
    message = ModelInferResponse(model_name=model, model_version=version)
    for name, datatype, shape in outputs:
        message.outputs.add(name=name, datatype=datatype, shape=shape)
    return bytes(message.SerializeToString())


def _encode_parameters(parameters: Mapping[str, Any], into: Any) -> None:
    for key, value in parameters.items():
        if isinstance(value, bool):
            into[key].bool_param = value
        elif isinstance(value, int) and -(2**63) <= value < 2**64:
            setattr(into[key], "int64_param" if value < 2**63 else "uint64_param", value)
        elif isinstance(value, float):
            into[key].double_param = value
        else:
            into[key].string_param = str(value)


@lru_cache(maxsize=2)
def _encode_final(final: bool) -> bytes:
    message = ModelInferResponse()
    message.parameters[_FINAL].bool_param = final
    return bytes(message.SerializeToString())
