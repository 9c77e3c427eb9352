import numpy as np
import pytest

from dragoman.cli.failure import Failure
from dragoman.cli.fitting import fit
from dragoman.cli.reading import Table
from dragoman.types import TensorSpec

COLUMNS = (TensorSpec("age", "INT64", (-1, 1)), TensorSpec("name", "BYTES", (-1, 1)))


def one(datatype, *shape):
    return (TensorSpec("x", datatype, shape),)


@pytest.mark.parametrize(
    ("given", "datatype", "shape", "wanted"),
    [
        ([1, 2], "FP32", (-1, 2), (1, 2)),
        ([[1, 2]], "FP32", (-1, 2), (1, 2)),
        (5, "INT32", (-1,), (1,)),
        (5, "INT32", (-1, 1), (1, 1)),
        ([5, 6, 7], "INT32", (-1, 1), (3, 1)),
        ([[5, 6], [7, 8]], "INT32", (-1, 2, 1), (2, 2, 1)),
        ([[5, 6], [7, 8]], "INT32", (-1, 2, 2), (1, 2, 2)),
        ([5], "INT32", (1,), (1,)),
        (b"abc", "BYTES", (-1, 1), (1, 1)),
        (b"abc", "UINT8", (-1,), (3,)),
        (5, "INT32", (), ()),
    ],
)
def test_missing_dimensions_of_size_one_are_added(given, datatype, shape, wanted):
    (tensor,) = fit(given, one(datatype, *shape))
    assert tensor.data.shape == wanted


@pytest.mark.parametrize(
    ("given", "datatype"),
    [
        ([1.5], "INT32"),
        ([300], "UINT8"),
        ([-1], "UINT8"),
        ([float("nan")], "INT64"),
        (["x"], "FP32"),
        (["1.5"], "INT64"),
        (["true"], "BOOL"),
        ([1], "BOOL"),
        ([1], "BYTES"),
        ([[1], [1, 2]], "FP32"),
        ([None], "FP32"),
        (b"abc", "FP32"),
    ],
)
def test_no_value_is_changed_to_fit(given, datatype):
    with pytest.raises(Failure, match="input 'x' does not fit x"):
        fit(given, one(datatype, -1))


def test_cells_of_a_table_become_what_the_columns_are():
    age, name = fit(Table(["name", "age"], [["ann", "41"], ["bob", "7"]]), COLUMNS)
    assert (age.data.tolist(), name.data.tolist()) == ([[41], [7]], [[b"ann"], [b"bob"]])
    age, name = fit(Table(None, [["41", "ann"]]), COLUMNS)
    assert (age.data.tolist(), name.data.tolist()) == ([[41]], [[b"ann"]])
    (matrix,) = fit(Table(["a", "b"], [["1", "2.5"]]), one("FP32", -1, 2))
    assert matrix.data.tolist() == [[1, 2.5]]


def test_bf16_is_rounded_to_the_nearest():
    (tensor,) = fit([1.0, 3.14159], one("BF16", -1))
    assert tensor.data.tolist() == [0x3F80, 0x4049]


def test_a_model_without_a_signature_gets_what_is_there():
    (tensor,) = fit([[1, 2]], ())
    assert (tensor.datatype, tensor.data.shape) == ("INT64", (1, 2))
    (text,) = fit({"t": "a"}, ())
    assert (text.name, text.datatype, text.data.tolist()) == ("t", "BYTES", [b"a"])


def test_integers_beyond_what_doubles_hold_survive():
    (tensor,) = fit([2**53 + 1], one("INT64", -1))
    assert tensor.data.tolist() == [2**53 + 1]
    (tensor,) = fit(Table(None, [[str(2**63 - 1)]]), one("INT64", -1, 1))
    assert tensor.data.tolist() == [[2**63 - 1]]
    assert fit(np.array([2.0]), one("INT32", -1))[0].data.dtype == np.int32
