"""The rules by which a typed method is a model of tensors: hints become a plan, with the signature that clients see.

Pure: knows hints, no values and no wire.

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
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal, Union, get_args, get_origin

from pydantic import BaseModel

from dragoman.runtimes.service.arrays import array_type, replace_arrays
from dragoman.runtimes.service.parameters import Parameter, bare, is_class
from dragoman.types import Signature, TensorSpec

Form = Literal["one", "list", "table", "models", "array", "json"]

#: What the only tensor of a result without names is called.
OUTPUT: Final = "output"
_TEXT: Final = (str, bytes, datetime.date, datetime.time, datetime.timedelta, uuid.UUID)


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


def _specs(places: Sequence[Place]) -> tuple[TensorSpec, ...]:
    return tuple(spec for place in places for spec in place.specs)


def _place(name: str, hint: Any, *, optional: bool = False) -> Place:
    hint = replace_arrays(hint)
    core = bare(hint)
    array = array_type(hint)
    if array is not None:
        return Place(name, "array", (TensorSpec(name, array.datatype, array.tensor_shape, optional),))
    if datatype := _scalar(core):
        return Place(name, "one", (TensorSpec(name, datatype, (1,), optional),), core is not bytes)
    if get_origin(core) is list:
        item = bare(get_args(core)[0])
        if datatype := _scalar(item):
            spec = TensorSpec(name, datatype, (-1,), optional)
            return Place(name, "list", (spec,), item is not bytes)
        if get_origin(item) is list and (datatype := _scalar(bare(get_args(item)[0]))):
            return Place(name, "table", (TensorSpec(name, datatype, (-1, -1), optional),))
        if specs := _flat_fields(item, optional):
            return Place(name, "models", specs)
    return Place(name, "json", (TensorSpec(name, "BYTES", (1,), optional),))


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
    return tuple(_prefixed(place) if place.form == "models" else place for place in places)


def _prefixed(place: Place) -> Place:
    return replace(place, specs=tuple(replace(s, name=f"{place.name}.{s.name}") for s in place.specs))


def _shaped(place: Place, rows: bool) -> Place:
    """A value is one of a list of rows, or the only one of its tensor."""
    if not rows or place.form != "one":
        return place
    return replace(place, specs=(replace(place.specs[0], shape=(-1,)),))


def _stacked(place: Place) -> Place:
    """A part of a result of each row: values and arrays are stacked, anything else is JSON a row."""
    if place.form == "one":
        return _shaped(place, rows=True)
    if place.form == "array":
        (spec,) = place.specs
        return replace(place, specs=(replace(spec, shape=(-1, *spec.shape)),))
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
    """An output is there whatever its field's default."""
    return replace(place, specs=tuple(replace(spec, optional=False) for spec in place.specs))


def _scalar(core: Any) -> str:
    """The datatype of a single value; empty where it is none."""
    if get_origin(core) is Literal:
        return _common(get_args(core))
    if get_origin(core) in (Union, types.UnionType) or not isinstance(core, type):
        return ""
    if issubclass(core, enum.Enum):
        return _common([member.value for member in core])
    for kind, datatype in ((bool, "BOOL"), (int, "INT64"), (float, "FP64"), (_TEXT, "BYTES")):
        if issubclass(core, kind):
            return datatype
    return "BYTES" if is_class(core, "starlette.datastructures.UploadFile") else ""


def _common(values: Iterable[Any]) -> str:
    """The datatype that all of these have; empty where they differ."""
    kinds = {type(value) for value in values}
    return _scalar(kinds.pop()) if len(kinds) == 1 else ""


def _is_model(hint: Any) -> bool:
    core = bare(hint)
    return isinstance(core, type) and issubclass(core, BaseModel)


def _flat_fields(item: Any, optional: bool) -> tuple[TensorSpec, ...]:
    """A tensor for each field of a model that has nothing but single values; none for anything else."""
    if not _is_model(item):
        return ()
    specs = tuple(
        TensorSpec(
            field.alias or name, _scalar(bare(field.annotation)), (-1,), optional or not field.is_required()
        )
        for name, field in item.model_fields.items()
    )
    return specs if all(spec.datatype for spec in specs) else ()
