"""Arrays in JSON: what becomes one, and what is refused because something would be lost."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pydantic import TypeAdapter

from dragoman.runtimes.service.arrays import ArrayType, array_type, replace_arrays


@pytest.mark.parametrize(
    ("datatype", "shape", "value", "reason"),
    [
        ("FP32", (-1, 2), [[1, 2.5]], None),
        ("INT8", None, [1, -128], None),
        ("BOOL", (2,), [True, False], None),
        ("FP16", (), 1.5, None),
        ("FP32", (-1, 2), [[1, 2, 3]], "the shape [-1, 2] is expected, got [1, 3]"),
        ("INT8", None, [128], "numbers that INT8 can hold are expected"),
        ("UINT8", None, [-1], "numbers that UINT8 can hold are expected"),
        ("INT64", None, [1.5], "whole numbers of INT64 are expected, got fractions"),
        ("INT64", None, [True], "values of INT64 are expected, got bool"),
        ("BOOL", None, [1], "values of BOOL are expected, got int64"),
        ("FP32", None, ["a"], "values of FP32 are expected, got <U1"),
        ("FP32", None, {"a": 1}, "values of FP32 are expected, got object"),
        ("FP32", None, [[1], [1, 2]], "rows of one length are expected"),
    ],
)
def test_json_becomes_an_array_or_is_refused(datatype, shape, value, reason):
    kind = ArrayType(datatype, shape)
    if reason is None:
        assert kind.read(value).tolist() == value
        return
    with pytest.raises(ValueError) as caught:
        kind.read(value)
    assert str(caught.value) == reason


def test_a_hint_is_replaced_by_its_datatype_and_shape():
    assert array_type(replace_arrays(NDArray[np.int16])) == ArrayType("INT16", None)
    assert array_type(replace_arrays(NDArray[Any])) == ArrayType("FP64", None)
    assert array_type(replace_arrays(list[int])) is None
    with pytest.raises(ValueError, match="an array of complex128 is no tensor"):
        replace_arrays(NDArray[np.complex128])


def test_its_schema_tells_the_sizes():
    adapter = TypeAdapter(replace_arrays(np.ndarray[tuple[int, int], np.dtype[np.float32]]))
    assert adapter.json_schema() == {"type": "array", "items": {"type": "array", "items": {"type": "number"}}}
    assert adapter.dump_json(np.ones((1, 2), np.float32)) == b"[[1.0,1.0]]"
