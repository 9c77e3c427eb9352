"""numpy arrays as parameters and results: nested lists in JSON, tensors on the binary wires.

::

    NDArray[np.float32]                                            # FP32; as a tensor [-1, -1]
    np.ndarray[tuple[int, Literal[4]], np.dtype[np.float32]]       # FP32 [-1, 4]

Knows how such hints are written and how pydantic asks about types; no request.
"""

from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal, get_args, get_origin

import numpy as np

from dragoman.runtimes.convert import DATATYPES
from dragoman.types import DTYPES, Array

_JSON_TYPES: Final = {"b": "boolean", "i": "integer", "u": "integer", "f": "number"}


@dataclass(frozen=True, slots=True)
class ArrayType:
    """What stands in for an array's hint. ``shape`` is ``None`` where any is taken; -1 is any size."""

    datatype: str
    shape: tuple[int, ...] | None

    @property
    def tensor_shape(self) -> tuple[int, ...]:
        """The shape that a signature tells: rows of features where the hint leaves it open."""
        return (-1, -1) if self.shape is None else self.shape

    def read(self, value: Any) -> Array:
        """Raises ValueError for what is no such array, or would lose something by becoming one."""
        dtype = DTYPES[self.datatype]
        try:
            given = np.asarray(value)
        except ValueError:
            raise ValueError("rows of one length are expected") from None
        if given.dtype.kind not in _JSON_TYPES or (given.dtype.kind == "b") != (dtype.kind == "b"):
            raise ValueError(f"values of {self.datatype} are expected, got {given.dtype}")
        if given.dtype.kind == "f" and dtype.kind != "f":
            raise ValueError(f"whole numbers of {self.datatype} are expected, got fractions")
        if self.shape is not None and not self._fits(given.shape):
            raise ValueError(f"the shape {list(self.shape)} is expected, got {list(given.shape)}")
        with np.errstate(over="ignore"):
            made = given.astype(dtype, copy=False)
        if dtype.kind in "iu" and not np.array_equal(made, given):
            raise ValueError(f"numbers that {self.datatype} can hold are expected")
        return made

    def _fits(self, shape: tuple[int, ...]) -> bool:
        wanted = self.shape or ()
        return len(shape) == len(wanted) and all(
            want in (-1, size) for want, size in zip(wanted, shape, strict=True)
        )

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        from pydantic_core import core_schema

        return core_schema.no_info_plain_validator_function(
            self.read, serialization=core_schema.plain_serializer_function_ser_schema(_to_list)
        )

    def __get_pydantic_json_schema__(self, schema: Any, handler: Any) -> dict[str, Any]:
        described: dict[str, Any] = {"type": _JSON_TYPES[DTYPES[self.datatype].kind]}
        for size in reversed(self.tensor_shape):
            sizes = {} if size < 0 else {"minItems": size, "maxItems": size}
            described = {"type": "array", "items": described, **sizes}
        return described


def replace_arrays(hint: Any) -> Any:
    """``hint`` with an ``ArrayType`` in the place of an array. Raises ValueError for a dtype that is no tensor's."""
    if get_origin(hint) is Annotated:
        inner, *more = get_args(hint)
        return Annotated[replace_arrays(inner), *more]
    if hint is np.ndarray:
        return Annotated[Any, ArrayType("FP64", None)]
    if get_origin(hint) is not np.ndarray:
        return hint
    shape, dtype = get_args(hint)
    return Annotated[Any, ArrayType(_datatype(dtype), _shape(shape))]


def array_type(hint: Any) -> ArrayType | None:
    """The ``ArrayType`` in a hint that has been replaced."""
    if get_origin(hint) is Annotated:
        return next((each for each in get_args(hint)[1:] if isinstance(each, ArrayType)), None)
    return None


def _datatype(dtype: Any) -> str:
    (scalar,) = get_args(dtype) or (np.float64,)
    if not isinstance(scalar, type) or not issubclass(scalar, np.generic):
        return "FP64"  # NDArray[Any]
    try:
        return DATATYPES[np.dtype(scalar)]
    except (KeyError, TypeError):
        raise ValueError(f"an array of {scalar.__name__} is no tensor") from None


def _shape(shape: Any) -> tuple[int, ...] | None:
    sizes = get_args(shape)
    if get_origin(shape) is not tuple or ... in sizes:
        return None
    return tuple(get_args(size)[0] if get_origin(size) is Literal else -1 for size in sizes)


def _to_list(array: Any) -> Any:
    return array.tolist() if isinstance(array, np.ndarray) else array
