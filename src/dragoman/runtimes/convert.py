"""Between a library's arrays and tensors: text to BYTES and back, and proof that a model kept its promise.

Knows the signature and numpy, no library.
"""

from typing import Any, Final

import numpy as np

from dragoman.errors import InvalidInput, InvalidOutput
from dragoman.types import DTYPES, Array, InferRequest, Tensor, TensorSpec

#: numpy's dtype to the datatype's name. uint16 is UINT16 here: only a signature can say that it means BF16.
DATATYPES: Final = {dtype: name for name, dtype in DTYPES.items() if name not in ("BF16", "BYTES")}

_ANY = (-1,)


def wanted(specs: tuple[TensorSpec, ...], request: InferRequest) -> tuple[TensorSpec, ...]:
    """The outputs that ``request`` asks for, in its order; raises InvalidInput for one that doesn't exist."""
    if not request.outputs:
        return specs
    by_name = {spec.name: spec for spec in specs}
    return tuple([_find(by_name, name) for name in request.outputs])


def select(tensors: tuple[Tensor, ...], request: InferRequest) -> tuple[Tensor, ...]:
    """The same of tensors that are there already."""
    if not request.outputs:
        return tensors
    by_name = {tensor.name: tensor for tensor in tensors}
    return tuple([_find(by_name, name) for name in request.outputs])


def to_tensor(spec: TensorSpec, value: Any) -> Tensor:
    """``value`` as the output that ``spec`` promises; InvalidOutput when its datatype or shape is another.

    Arrays are never cast: FP64 where FP32 was promised is a mistake that a client would find much later.
    Lists and numbers have no datatype of their own and take the promised one of the same kind.
    """
    data: Array = value if isinstance(value, np.ndarray) else _as_array(spec, value)
    if spec.datatype == "BYTES":
        data = encode_text(data, spec.name)
    elif data.dtype != DTYPES[spec.datatype]:
        data = _reinterpret(spec, data)
    shape, want = data.shape, spec.shape
    if shape[1:] != want[1:] or want[:1] != _ANY or not shape:  # mostly, only the rows are free
        _check_shape(spec, shape)
    return Tensor(spec.name, spec.datatype, data)


def to_undeclared(name: str, value: Any) -> Tensor:
    """``value`` as an output nothing was promised of: its dtype gives the datatype; text becomes BYTES."""
    data: Array = value if isinstance(value, np.ndarray) else _array(name, value)
    if data.dtype in DATATYPES:
        return Tensor(name, DATATYPES[data.dtype], data)
    if data.dtype.name == "bfloat16":
        return Tensor(name, "BF16", data.view("<u2"))
    return Tensor(name, "BYTES", encode_text(data, name))


def encode_text(data: Array, name: str) -> Array:
    """An array of ``str`` or ``bytes``, of any dtype, as an object array of ``bytes``, text in UTF-8."""
    if data.dtype.kind not in "OSUT":
        raise InvalidOutput(f"output {name!r} is {data.dtype}; expected text or bytes")
    items = data.ravel().tolist()
    for index, item in enumerate(items):
        if isinstance(item, str):
            items[index] = item.encode()
        elif not isinstance(item, bytes):
            raise InvalidOutput(f"output {name!r} holds {type(item).__name__} where text or bytes belong")
    return _objects(items, data.shape)


def decode_text(tensor: Tensor) -> Array:
    """A BYTES tensor as an object array of ``str``; raises InvalidInput where it is not UTF-8."""
    try:
        items = [item.decode() for item in tensor.data.ravel()]
    except UnicodeDecodeError as error:
        raise InvalidInput(f"input {tensor.name!r} must be UTF-8 text: {error.reason}") from error
    return _objects(items, tensor.data.shape)


def _objects(items: list[Any], shape: tuple[int, ...]) -> Array:
    result = np.empty(len(items), dtype=object)
    result[:] = items
    return result.reshape(shape)


def _as_array(spec: TensorSpec, value: Any) -> Array:
    data, dtype = _array(spec.name, value), DTYPES[spec.datatype]
    if hasattr(value, "dtype") or spec.datatype in ("BYTES", "BF16") or data.dtype == dtype:
        return data
    # Plain Python numbers: numpy made them int64 or float64, the signature knows better. Never float to int.
    if data.dtype.kind == dtype.kind or data.dtype.kind + dtype.kind in ("iu", "if"):
        try:
            return np.asarray(value, dtype=dtype)
        except OverflowError as error:
            raise InvalidOutput(f"output {spec.name!r}: a number doesn't fit {spec.datatype}") from error
    return data


def _array(name: str, value: Any) -> Array:
    try:
        return np.asarray(value)
    except ValueError as error:
        raise InvalidOutput(f"output {name!r} is not an array: its rows differ in length") from error


def _reinterpret(spec: TensorSpec, data: Array) -> Array:
    if spec.datatype == "BF16" and data.dtype.name == "bfloat16":
        return data.view("<u2")
    got = DATATYPES.get(data.dtype, str(data.dtype))
    raise InvalidOutput(f"output {spec.name!r} should be {spec.datatype}, the model returned {got}")


def _check_shape(spec: TensorSpec, shape: tuple[int, ...]) -> None:
    want = spec.shape
    if len(shape) == len(want):
        for got_size, size in zip(shape, want, strict=True):
            if got_size != size and size != -1:
                break
        else:
            return
    raise InvalidOutput(f"output {spec.name!r} should be {list(want)}, the model returned {list(shape)}")


def _find(by_name: dict[str, Any], name: str) -> Any:
    if name not in by_name:
        raise InvalidInput(f"the model has no output {name!r}; it has: {', '.join(by_name)}")
    return by_name[name]
