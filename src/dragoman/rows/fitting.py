"""From what a person gave to the tensors a model's signature asks for. Knows no file and no wire."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from dragoman import tensors
from dragoman.errors import DragomanError, InvalidInput
from dragoman.types import DTYPES, Array, Tensor, TensorSpec

#: What an input is called whose model doesn't tell.
UNNAMED: Final = "input"


class Unfit(InvalidInput):
    """What was given is nothing that the model can take. ``hint`` says what it could."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of texts; ``header`` is the first line where it can't be data."""

    header: list[str] | None
    rows: list[list[str]]


def fit(given: Any, specs: Sequence[TensorSpec]) -> tuple[Tensor, ...]:
    """A tensor for each input that was given. Raises Unfit where the two can't be brought together.

    A model of one input takes values alone; of several, an object by name or rows of objects. Where the
    dimension that counts rows is left out, one row is meant.
    """
    named = _name(given, specs)
    known = {spec.name: spec for spec in specs}
    for name in named:
        if known and name not in known:
            raise Unfit(f"the model has no input {name!r}", hint="its inputs: " + _shown(specs))
    return tuple(_tensor(name, values, known.get(name)) for name, values in named.items())


def _name(given: Any, specs: Sequence[TensorSpec]) -> dict[str, Any]:
    names = [spec.name for spec in specs]
    if isinstance(given, Table):
        if given.header is not None and len(specs) > 1 and set(names) <= set(given.header):
            return {name: [row[given.header.index(name)] for row in given.rows] for name in names}
        given = given.rows
    if isinstance(given, dict):
        return _name_object(given, names, specs)
    if _are_objects(given):
        return {name: [row[name] for row in given] for name in given[0]}
    if len(specs) <= 1:
        return {names[0] if names else UNNAMED: given}
    if isinstance(given, list) and all(isinstance(row, list) and len(row) == len(names) for row in given):
        return {name: [row[column] for row in given] for column, name in enumerate(names)}
    raise Unfit(f"the model has {len(specs)} inputs", hint="give an object: " + _shown(specs))


def _name_object(given: Mapping[str, Any], names: list[str], specs: Sequence[TensorSpec]) -> dict[str, Any]:
    """An object by name, or the body of a request of the v1 or v2 protocol."""
    if "instances" in given and "instances" not in names:
        return _name(given["instances"], specs)
    if "inputs" in given and "inputs" not in names and _are_objects(given["inputs"]):
        try:
            return {each["name"]: np.array(each["data"]).reshape(each["shape"]) for each in given["inputs"]}
        except (KeyError, ValueError) as error:
            raise Unfit(f"the inputs are no v2 request's: {error}") from error
    return dict(given)


def _are_objects(given: Any) -> bool:
    return (
        isinstance(given, list)
        and bool(given)
        and all(isinstance(row, dict) and row.keys() == given[0].keys() for row in given)
    )


def _tensor(name: str, values: Any, spec: TensorSpec | None) -> Tensor:
    try:
        if spec is None:
            array = (
                np.asarray(values) if not isinstance(values, bytes) else tensors.bytes_array([values], [1])
            )
            datatype = "BYTES" if array.dtype.kind in "OSU" else tensors.datatype_of(array.dtype)
            spec = TensorSpec(name, datatype, (-1,) * max(1, array.ndim))
        return Tensor(name, spec.datatype, _fit_shape(_convert(values, spec.datatype), spec.shape))
    except (ValueError, TypeError, OverflowError, DragomanError) as error:
        raise Unfit(
            f"input {name!r} does not fit {_shown([spec]) if spec else 'any tensor'}: {error}"
        ) from error


def _convert(values: Any, datatype: str) -> Array:
    """The values in the datatype; raises ValueError where that would change one."""
    if datatype == "BYTES":
        return _convert_bytes(values)
    if isinstance(values, bytes):
        if datatype != "UINT8":
            raise ValueError("a file's bytes go into an input of BYTES or UINT8")
        return np.frombuffer(values, np.uint8)
    array = _array(values)
    if datatype == "BF16":
        return _round_bf16(array.astype("<f4"))
    dtype = DTYPES[datatype]
    if array.dtype.kind in "US":
        if dtype.kind == "b":
            raise ValueError("a text is neither true nor false")
        return array.astype(dtype)  # raises for what is no number
    if dtype.kind == "b" and array.dtype.kind != "b":
        raise ValueError("only true and false are booleans")
    with np.errstate(over="ignore", invalid="ignore"):
        made = array.astype(dtype)
    if dtype.kind in "iu" and not np.array_equal(made, array):
        raise ValueError(f"not every value is an integer that {datatype} can hold")
    return made


def _array(values: Any) -> Array:
    try:
        array: Array = np.asarray(values)
    except ValueError:
        raise ValueError("the rows differ in length") from None
    if array.dtype.kind == "O":
        raise ValueError("a value is no number")
    return array


def _convert_bytes(values: Any) -> Array:
    array = values if isinstance(values, np.ndarray) else np.array(values, object)
    elements = [each.encode() if isinstance(each, str) else each for each in array.ravel().tolist()]
    if not all(isinstance(each, bytes) for each in elements):
        raise ValueError("every value must be a text")
    return tensors.bytes_array(elements, array.shape)


def _round_bf16(array: Array) -> Array:
    bits = array.view("<u4")
    rounded: Array = ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype("<u2")
    return rounded


def _fit_shape(array: Array, shape: tuple[int, ...]) -> Array:
    """The array, with a dimension of size 1 in front or behind where the shape has one that the array lacks."""
    for _ in range(len(shape) - array.ndim):
        behind = shape[-1] == 1 and array.ndim and _fits((*array.shape, 1), shape[-array.ndim - 1 :])
        array = array[..., np.newaxis] if behind else array[np.newaxis]
    return array


def _fits(sizes: tuple[int, ...], shape: tuple[int, ...]) -> bool:
    return all(want in (-1, size) for size, want in zip(sizes, shape, strict=True))


def _shown(specs: Sequence[TensorSpec]) -> str:
    return ", ".join(
        f"{spec.name} {spec.datatype}[{','.join('?' if n < 0 else str(n) for n in spec.shape)}]"
        for spec in specs
    )
