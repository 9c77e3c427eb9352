"""The rules by which a typed method is a model of tensors: its hints as a signature, tensors as arguments, what it
returns as tensors. Pure: knows hints and arrays, no wire and no service.

| hint | tensor | |
|---|---|---|
| ``str``, ``bytes``, ``Enum``, dates | BYTES | UTF-8 text |
| ``bool``, ``int``, ``float`` | BOOL, INT64, FP64 | |
| only such parameters | ``[-1]`` each | **rows**: the method is called for each, answers are stacked |
| such a parameter beside lists | ``[1]`` | one value |
| ``list[X]``, ``list[list[X]]`` | ``[-1]``, ``[-1, -1]`` | one call |
| a list of a flat model | ``[-1]`` for each field | a row is a model; named after the fields |
| a sole model | as its fields | |
| a numpy array | its datatype and shape | |
| anything else | BYTES ``[1]`` | JSON |

A parameter with a default is an optional input; it may also be given as a parameter of the request.
"""

import datetime
import enum
import types
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, Union, get_args, get_origin

import numpy as np
import orjson
from pydantic import BaseModel

from dragoman.errors import InvalidInput, InvalidOutput
from dragoman.runtimes.convert import to_tensor
from dragoman.runtimes.service.arrays import array_type, replace_arrays
from dragoman.runtimes.service.parameters import Parameter, bare
from dragoman.types import InferRequest, Signature, Tensor, TensorSpec

Form = Literal["one", "list", "table", "models", "array", "json"]

#: What the only tensor of a result without names is called.
OUTPUT: Final = "output"
_TEXT: Final = (str, bytes, enum.Enum, datetime.date, datetime.time, datetime.timedelta, uuid.UUID)


@dataclass(frozen=True, slots=True)
class Place:
    """How one argument, or one named part of a result, is said in tensors.

    ``one`` value, ``list`` of values, ``table`` (a list of lists), ``models`` (a tensor for each of their fields),
    ``array``, or ``json``.
    """

    name: str
    form: Form
    specs: tuple[TensorSpec, ...]
    text: bool = True  #: BYTES are text, not bytes
    optional: bool = False


@dataclass(frozen=True, slots=True)
class Plan:
    """A method in tensors. ``wraps`` names the sole model whose fields the places are."""

    signature: Signature
    inputs: tuple[Place, ...]
    outputs: tuple[Place, ...]
    rows: bool  #: called once for each row
    wraps: str = ""
    named: bool = False  #: its result is an object of the outputs' names


def make_plan(parameters: Sequence[Parameter], result: Any, *, stream: bool, batch: bool) -> Plan:
    """The plan of a method with these parameters; ``result`` is ``None`` where nothing is known of it."""
    taken = [each for each in parameters if each.source != "request"]
    wraps = next((each.name for each in taken if each.source == "whole" and _is_model(each.hint)), "")
    if wraps and len(taken) == 1:
        inputs = tuple(_field_places(bare(taken[0].hint)))
    else:
        wraps = ""
        inputs = tuple(_place(each.name, each.hint, optional=not each.required) for each in taken)
    rows = bool(inputs) and all(place.form == "one" for place in inputs) and not stream
    inputs = tuple(_shaped(place, rows) for place in _distinct(inputs))
    outputs, named = _result_places(result, stream)
    outputs = tuple(_stacked(place) if rows else _shaped(place, rows=False) for place in outputs)
    specs = [spec for place in (*inputs, *outputs) for spec in place.specs]
    batched = (rows or batch) and all(spec.shape[:1] == (-1,) for spec in specs)
    signature = Signature(_specs(inputs), _specs(outputs), batched)
    return Plan(signature, inputs, outputs, rows, wraps, named)


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


def _specs(places: Sequence[Place]) -> tuple[TensorSpec, ...]:
    return tuple(spec for place in places for spec in place.specs)


def _place(name: str, hint: Any, *, optional: bool = False) -> Place:
    hint = replace_arrays(hint)
    core = bare(hint)
    array = array_type(hint)
    if array is not None:
        return Place(name, "array", (TensorSpec(name, array.datatype, array.tensor_shape, optional),))
    if datatype := _scalar(core):
        return Place(name, "one", (TensorSpec(name, datatype, (1,), optional),), core is not bytes, optional)
    if get_origin(core) is list:
        item = bare(get_args(core)[0])
        if datatype := _scalar(item):
            spec = TensorSpec(name, datatype, (-1,), optional)
            return Place(name, "list", (spec,), item is not bytes, optional)
        if get_origin(item) is list and (datatype := _scalar(bare(get_args(item)[0]))):
            return Place(name, "table", (TensorSpec(name, datatype, (-1, -1), optional),), True, optional)
        if fields := _flat_fields(item):
            specs = tuple(TensorSpec(field, datatype, (-1,), optional) for field, datatype in fields.items())
            return Place(name, "models", specs, True, optional)
    datatype = "BYTES"
    return Place(name, "json", (TensorSpec(name, datatype, (1,), optional),), True, optional)


def _field_places(model: type[BaseModel]) -> list[Place]:
    return [
        _place(field.alias or name, field.annotation, optional=not field.is_required())
        for name, field in model.model_fields.items()
    ]


def _distinct(places: tuple[Place, ...]) -> tuple[Place, ...]:
    """Fields of models are named after their parameter, too, where two of them would be called the same."""
    names = [spec.name for place in places for spec in place.specs]
    if len(set(names)) == len(names):
        return places
    return tuple(
        Place(
            place.name,
            place.form,
            tuple(_prefixed(place.name, spec) for spec in place.specs),
            place.text,
            place.optional,
        )
        if place.form == "models"
        else place
        for place in places
    )


def _prefixed(name: str, spec: TensorSpec) -> TensorSpec:
    return TensorSpec(f"{name}.{spec.name}", spec.datatype, spec.shape, spec.optional)


def _shaped(place: Place, rows: bool) -> Place:
    """A value is one of a list of rows, or the only one of its tensor."""
    if not rows or place.form != "one":
        return place
    (spec,) = place.specs
    return Place(
        place.name,
        "one",
        (TensorSpec(spec.name, spec.datatype, (-1,), spec.optional),),
        place.text,
        place.optional,
    )


def _stacked(place: Place) -> Place:
    """A part of a result of each row: values and arrays are stacked, anything else is JSON a row."""
    (spec, *more) = place.specs
    if place.form == "one":
        return _shaped(place, rows=True)
    if place.form == "array" and not more:
        return Place(place.name, "array", (TensorSpec(spec.name, spec.datatype, (-1, *spec.shape)),))
    return Place(place.name, "json", (TensorSpec(place.name, "BYTES", (-1,)),))


def _result_places(result: Any, stream: bool) -> tuple[tuple[Place, ...], bool]:
    hint = list[result] if stream and result is not None else result
    if hint is None:
        return (Place(OUTPUT, "json", (TensorSpec(OUTPUT, "BYTES", (1,)),)),), False
    if _is_model(hint):
        places = _distinct(tuple(_field_places(bare(hint))))
        return tuple(_always(place) for place in places), True
    return (_always(_place(OUTPUT, hint)),), False


def _always(place: Place) -> Place:
    specs = tuple(TensorSpec(spec.name, spec.datatype, spec.shape) for spec in place.specs)
    return Place(place.name, place.form, specs, place.text)


def _scalar(core: Any) -> str:
    """The datatype of a single value; empty where it is none."""
    if get_origin(core) is Literal:
        kinds = {type(each) for each in get_args(core)}
        return _scalar(kinds.pop()) if len(kinds) == 1 else ""
    if get_origin(core) in (Union, types.UnionType) or not isinstance(core, type):
        return ""
    for kind, datatype in ((bool, "BOOL"), (int, "INT64"), (float, "FP64"), (_TEXT, "BYTES")):
        if issubclass(core, kind):
            return datatype
    is_file = core.__name__ == "UploadFile"
    return "BYTES" if is_file else ""


def _is_model(hint: Any) -> bool:
    core = bare(hint)
    return isinstance(core, type) and issubclass(core, BaseModel)


def _flat_fields(item: Any) -> dict[str, str]:
    """Name and datatype of each field of a model that has nothing but single values; empty for anything else."""
    if not _is_model(item):
        return {}
    fields = {
        field.alias or name: _scalar(bare(field.annotation)) for name, field in item.model_fields.items()
    }
    return fields if all(fields.values()) else {}


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
    from dragoman.types import DTYPES

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
