"""KServe v1, the protocol of TensorFlow Serving's REST API: ``{"instances": rows}`` in,
``{"predictions": rows}`` out. Knows no socket, no URL, and of a model only its signature.

The body of a prediction request is an object with these keys; others (``signature_name``) are ignored:

* ``instances``: a list of rows. A row is the data of the model's one input, or an object whose keys are the
  names of its inputs. A string is text; ``{"b64": "..."}`` is bytes.
* or ``inputs``: the same by columns: an object ``{name: data of all rows}``, or the data of the one input.
* ``parameters``, optional: an object of strings, numbers and booleans for the model.
* ``outputs``, optional and our own: the names of the wanted outputs. Without it a model answers with all of
  them, except that one with an output called ``predict`` (scikit-learn's) answers with that one alone.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

import orjson

from dragoman.errors import InvalidInput, TooLarge
from dragoman.protocols.kserve_v1.values import (
    decode_tensor,
    encode_rows,
    encode_tensor,
    is_bytes,
    kind_of,
    list_names,
    show,
)
from dragoman.tensors import MAX_JSON_VALUES, check_json_depth, check_json_keys, dump_json
from dragoman.types import InferRequest, InferResponse, Parameters, Signature, Tensor, TensorSpec

#: The output that answers for the whole model: what KServe's scikit-learn server calls "predictions".
DEFAULT_OUTPUT: Final = "predict"
#: What the one input of a model without a signature is called (KServe's and MLServer's habit).
UNNAMED_INPUT: Final = "input-0"


def decode_predict(
    model: str, version: str, body: bytes | memoryview, signature: Signature, *, max_depth: int = 100
) -> InferRequest:
    """The body of ``POST /v1/models/{model}:predict``. Raises InvalidInput and TooLarge."""
    document = _parse_object(bytes(body), max_depth)
    if "instances" in document:
        if "inputs" in document:
            raise InvalidInput('Expected either "instances" or "inputs", got both')
        inputs = _from_instances(document["instances"], signature)
    elif "inputs" in document:
        inputs = _from_inputs(document["inputs"], signature)
    else:
        example = _example(signature)
        raise InvalidInput(f'Expected "instances" (rows) or "inputs" (columns), for example {example}')
    request = InferRequest(model, inputs, version)
    request.outputs = _wanted_outputs(model, document.get("outputs"), signature)
    if "parameters" in document:
        request.parameters = _parameters(document["parameters"])
    return request


def encode_predict(response: InferResponse, signature: Signature) -> bytes:
    """A list of rows; an object of columns when several outputs have no rows in common. NaN becomes null."""
    outputs = response.outputs
    predictions: Any
    if len(outputs) == 1:
        predictions = encode_tensor(outputs[0])
    elif signature.batched and len({tensor.shape[:1] for tensor in outputs}) == 1 and outputs[0].shape:
        names = [tensor.name for tensor in outputs]
        columns = [encode_rows(tensor) for tensor in outputs]
        predictions = [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]
    else:
        predictions = {tensor.name: encode_tensor(tensor) for tensor in outputs}
    return dump_json({"predictions": predictions})


def encode_models(names: Iterable[str]) -> bytes:
    """The answer to ``GET /v1/models``."""
    return dump_json({"models": list(names)})


def encode_model(name: str, ready: bool) -> bytes:
    """The answer to ``GET /v1/models/{name}``."""
    return dump_json({"name": name, "ready": ready})


def _parse_object(body: bytes, max_depth: int) -> dict[str, Any]:
    check_json_depth(body, max_depth)
    if len(body) > MAX_JSON_VALUES and body.count(b",") > MAX_JSON_VALUES:
        raise TooLarge(f"the request JSON holds more than {MAX_JSON_VALUES} values")
    try:
        document = orjson.loads(body)  # takes neither NaN nor numbers that are infinite as doubles
    except orjson.JSONDecodeError as error:
        raise InvalidInput(f"Unrecognized request format: {error}") from None
    if type(document) is not dict:
        raise InvalidInput(f"Expected the request to be an object, got {kind_of(document)}")
    check_json_keys(body, document, _count_keys(document))
    return document


def _count_keys(document: dict[str, Any]) -> int:
    """How many keys a well-formed request has: its own and those of its rows or columns."""
    count = len(document)
    data = document.get("instances", document.get("inputs"))
    if type(data) is dict:
        count += len(data)
    elif type(data) is list and data and type(data[0]) is dict:
        count += sum(len(row) for row in data if type(row) is dict)
    return count


def _from_instances(instances: Any, signature: Signature) -> tuple[Tensor, ...]:
    if type(instances) is not list:
        raise InvalidInput('Expected "instances" to be a list')
    if not instances:
        raise InvalidInput('Expected "instances" to have at least one row, got none')
    if type(instances[0]) is dict and not is_bytes(instances[0]):
        return _from_columns(_transpose(instances), signature)
    spec = _only_input(signature, "instances")
    return (decode_tensor(spec, instances),)


def _from_inputs(inputs: Any, signature: Signature) -> tuple[Tensor, ...]:
    if type(inputs) is dict and not is_bytes(inputs):
        return _from_columns(inputs, signature)
    if type(inputs) is list and inputs and type(inputs[0]) is dict:  # KServe takes rows under this name, too
        return _from_instances(inputs, signature)
    return (decode_tensor(_only_input(signature, "inputs"), inputs),)


def _transpose(rows: list[Any]) -> dict[str, list[Any]]:
    names = rows[0].keys()
    columns: dict[str, list[Any]] = {name: [] for name in names}
    for number, row in enumerate(rows):
        if type(row) is not dict or row.keys() != names:
            got = f"the keys {list_names(row)}" if type(row) is dict else kind_of(row)
            raise InvalidInput(f"Expected rows with the keys {list_names(names)}, row {number} has {got}")
        for name, value in row.items():
            columns[name].append(value)
    return columns


def _from_columns(columns: Mapping[str, Any], signature: Signature) -> tuple[Tensor, ...]:
    if not signature.inputs:
        return tuple(decode_tensor(TensorSpec(name, "", ()), values) for name, values in columns.items())
    known = {spec.name: spec for spec in signature.inputs}
    unknown = [name for name in columns if name not in known]
    missing = [name for name, spec in known.items() if not spec.optional and name not in columns]
    if unknown or missing:
        raise InvalidInput(f"Expected the inputs {list_names(known)}, got {list_names(columns)}")
    return tuple(decode_tensor(known[name], values) for name, values in columns.items())


def _only_input(signature: Signature, key: str) -> TensorSpec:
    """The input that data without a name is for."""
    specs = signature.inputs
    if len(specs) > 1:
        specs = tuple(spec for spec in specs if not spec.optional)
    if len(specs) == 1:
        return specs[0]
    if not signature.inputs:
        return TensorSpec(UNNAMED_INPUT, "", ())
    names = list_names(spec.name for spec in signature.inputs)
    raise InvalidInput(f'Expected "{key}" to name the inputs {names}, for example {_example(signature)}')


def _wanted_outputs(model: str, names: Any, signature: Signature) -> tuple[str, ...] | None:
    known = [spec.name for spec in signature.outputs]
    if names is None:
        return (DEFAULT_OUTPUT,) if len(known) > 1 and DEFAULT_OUTPUT in known else None
    if type(names) is not list or not names or any(type(name) is not str for name in names):
        raise InvalidInput('Expected "outputs" to be a list of output names')
    if len(set(names)) != len(names):
        raise InvalidInput('Expected the names in "outputs" to differ')
    for name in names:
        if known and name not in known:
            raise InvalidInput(f"Unexpected inference output {show(name)} for model '{model}'")
    return tuple(names)


def _parameters(parameters: Any) -> Parameters:
    if type(parameters) is not dict:
        raise InvalidInput(f'Expected "parameters" to be an object, got {kind_of(parameters)}')
    for name, value in parameters.items():
        if type(value) not in (str, int, float, bool):
            raise InvalidInput(f"parameter {show(name)} expects a scalar, got {kind_of(value)}")
    return parameters


def _example(signature: Signature) -> str:
    """A body with one row that fits the signature in kind, not always in size."""
    rows = {spec.name: _example_row(spec) for spec in signature.inputs if not spec.optional}
    row = ", ".join(f"{orjson.dumps(name).decode()}: {value}" for name, value in rows.items())
    only = next(iter(rows.values())) if len(rows) == 1 else None
    return f'{{"instances": [{only or "{" + row + "}" if rows else "[0.0, 0.0]"}]}}'


def _example_row(spec: TensorSpec) -> str:
    value = {"BYTES": '"text"', "BOOL": "true"}.get(spec.datatype, "0.0" if "F" in spec.datatype else "0")
    for size in reversed(spec.shape[1:]):
        value = f"[{', '.join([value] * min(abs(size), 4))}{', ...' if size > 4 else ''}]"
    return value
