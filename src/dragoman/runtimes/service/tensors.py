"""Tensors to the arguments of a typed method, and what it returns to tensors, as its plan says.

Pure: knows values and plans, no wire and no service.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import orjson

from dragoman.errors import InvalidInput, InvalidOutput
from dragoman.runtimes.convert import to_tensor
from dragoman.runtimes.service.places import Place, Plan
from dragoman.types import DTYPES, InferRequest, Tensor, TensorSpec


def read_arguments(plan: Plan, request: InferRequest) -> list[dict[str, Any]]:
    """What the method is to be called with, by name and as JSON has it, unchecked; once for each row, else once.

    Raises InvalidInput for what is no text, no JSON, or rows that don't fit together.
    """
    given = {tensor.name: tensor for tensor in request.inputs}
    extra = {
        place.name: request.parameters[place.name]
        for place in plan.inputs
        if place.name in request.parameters
    }
    found = {place.name: _read(place, given) for place in plan.inputs if _is_given(place, given)}
    if plan.rows:
        count = len(next(iter(found.values()))) if found else 1
        if any(len(values) != count for values in found.values()):
            raise InvalidInput("the inputs have different numbers of rows")
        calls = [extra | {name: values[row] for name, values in found.items()} for row in range(count)]
    else:
        calls = [extra | found]
    return [{plan.wraps: arguments} for arguments in calls] if plan.wraps else calls


def write_results(plan: Plan, results: Sequence[Any]) -> tuple[Tensor, ...]:
    """What the method returned, one a call, as tensors. The results are as JSON has them, but for arrays and bytes.

    Raises InvalidOutput where rows don't fit together.
    """
    tensors: list[Tensor] = []
    for place in plan.outputs:
        parts = [_part(result, place.name) if plan.named else result for result in results]
        tensors += _write(place, parts if plan.rows else parts[0], plan.rows)
    return tuple(tensors)


def _is_given(place: Place, given: Mapping[str, Tensor]) -> bool:
    return any(spec.name in given for spec in place.specs)


def _read(place: Place, given: Mapping[str, Tensor]) -> Any:
    tensors = [given[spec.name] for spec in place.specs if spec.name in given]
    if place.form == "models":
        columns = {_field(place, tensor.name): _values(tensor, place.text) for tensor in tensors}
        if len({len(values) for values in columns.values()}) > 1:
            raise InvalidInput(f"the inputs {', '.join(columns)} have different numbers of rows")
        return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    (tensor,) = tensors
    if place.form == "array":
        return tensor.data
    values = _values(tensor, place.text)
    if place.form == "json":
        try:
            return orjson.loads(values[0])
        except orjson.JSONDecodeError as error:
            raise InvalidInput(f"input {place.name!r} must be JSON: {error}") from None
    # A single value's tensor of one element; as rows they are told apart by who calls.
    return values if place.form != "one" or place.specs[0].shape == (-1,) else values[0]


def _field(place: Place, tensor: str) -> str:
    return tensor.removeprefix(f"{place.name}.")


def _values(tensor: Tensor, text: bool) -> list[Any]:
    values: list[Any] = tensor.data.tolist()
    if tensor.datatype != "BYTES" or not text:
        return values
    try:
        return _decoded(values)
    except UnicodeDecodeError as error:
        raise InvalidInput(f"input {tensor.name!r} must be UTF-8 text: {error.reason}") from None


def _decoded(values: list[Any]) -> list[Any]:
    return [_decoded(each) if isinstance(each, list) else each.decode() for each in values]


def _part(result: Any, name: str) -> Any:
    return result.get(name) if isinstance(result, Mapping) else getattr(result, name, None)


def _write(place: Place, value: Any, stacked: bool) -> list[Tensor]:
    if place.form == "models":
        return [_column(place, spec, value) for spec in place.specs]
    (spec,) = place.specs
    if place.form == "json":
        parts = value if stacked else [value]
        return [to_tensor(spec, np.array([_dumped(each) for each in parts], dtype=object))]
    if place.form == "one" and not stacked:
        value = [value]
    if place.form == "array" and stacked:
        value = _stack(spec, value)
    return [to_tensor(spec, _objects(value) if spec.datatype == "BYTES" else value)]


def _column(place: Place, spec: TensorSpec, rows: Any) -> Tensor:
    values = [_part(row, _field(place, spec.name)) for row in rows]
    if any(value is None for value in values):
        raise InvalidOutput(f"output {spec.name!r} has a row without a value")
    return to_tensor(
        spec, _objects(values) if spec.datatype == "BYTES" else np.asarray(values) if values else _none(spec)
    )


def _none(spec: TensorSpec) -> Any:
    return np.empty((0,), DTYPES[spec.datatype])


def _objects(values: Any) -> Any:
    """Texts as an array of objects: numpy's own would cut zeros off their ends."""
    if values and isinstance(values[0], list):
        return np.array([[_text(each) for each in row] for row in values], dtype=object)
    made = np.empty(len(values), dtype=object)
    made[:] = [_text(each) for each in values]
    return made


def _text(value: Any) -> Any:
    return value if isinstance(value, str | bytes) else str(value)


def _stack(spec: TensorSpec, values: Sequence[Any]) -> Any:
    try:
        return np.stack([np.asarray(each) for each in values])
    except ValueError as error:
        raise InvalidOutput(f"output {spec.name!r}: the rows' arrays differ in shape") from error


def _dumped(value: Any) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS)
