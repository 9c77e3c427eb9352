"""The classification extension: the best values of an output, with their labels."""

import math
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dragoman.errors import InvalidInput
from dragoman.protocols.kserve_v2.classification import classify
from dragoman.protocols.kserve_v2.codec import Wanted, decode_infer, encode_infer
from dragoman.types import DTYPES, InferResponse, Signature, Tensor, TensorSpec
from tests.test_tensors import little_memory

LABELS = ("cat", "dog", "bird", "fish")
BATCHED = Signature((), (TensorSpec("O", "FP32", (-1, 4), labels=LABELS),), batched=True, max_batch=8)
FLAT = Signature((), (TensorSpec("O", "INT32", (16,)),))


def top(
    values: Any, count: int, signature: Signature | None, datatype: str = "FP32"
) -> tuple[Any, list[str]]:
    result = classify(Tensor("O", datatype, np.array(values, DTYPES[datatype])), count, signature)
    assert result.datatype == "BYTES"
    return result.shape, [element.decode() for element in result.data.ravel()]


@pytest.mark.parametrize(
    ("values", "count", "shape", "strings"),
    [
        ([[1.5, 2.5, 3.5, 4.5]], 2, (1, 2), ["4.500000:3:fish", "3.500000:2:bird"]),
        (
            [[1.5, 2.5, 3.5, 4.5]],
            10,
            (1, 4),
            ["4.500000:3:fish", "3.500000:2:bird", "2.500000:1:dog", "1.500000:0:cat"],
        ),
        (
            [[1.5, 2.5, 3.5, 4.5], [4.5, 3.5, 2.5, 1.5]],
            2,
            (2, 2),
            ["4.500000:3:fish", "3.500000:2:bird", "4.500000:0:cat", "3.500000:1:dog"],
        ),
        ([[[1, 2], [3, 4]]], 1, (1, 1), ["4.000000:3:fish"]),
        ([[1, 1, 2, 1, 2]], 4, (1, 4), ["2.000000:2:bird", "2.000000:4", "1.000000:0:cat", "1.000000:1:dog"]),
        ([[math.nan, -math.inf, math.inf]], 3, (1, 3), ["inf:2:bird", "nan:0:cat", "-inf:1:dog"]),
        (np.zeros((0, 4)), 2, (0, 2), []),
        (np.zeros((2, 0)), 2, (2, 0), []),
    ],
)
def test_each_row_gives_its_best(values: Any, count: int, shape: Any, strings: list[str]) -> None:
    assert top(values, count, BATCHED) == (shape, strings)


def test_a_model_without_batches_gives_one_list() -> None:
    assert top(range(1, 17), 2, FLAT, "INT32") == ((2,), ["16:15", "15:14"])
    assert top([[1, 2], [4, 3]], 2, None, "INT8") == ((2,), ["4:2", "3:3"])
    assert top(2, 5, BATCHED) == ((1,), ["2.000000:0:cat"])


def test_extreme_integers_and_booleans_are_ordered() -> None:
    assert top([0, 2**64 - 1], 1, None, "UINT64") == ((1,), ["18446744073709551615:1"])
    assert top([-(2**63), 5], 2, None, "INT64") == ((2,), ["5:1", "-9223372036854775808:0"])
    assert top([False, True], 2, None, "BOOL") == ((2,), ["1:1", "0:0"])


@pytest.mark.parametrize("datatype", ["BYTES", "FP16", "BF16"])
def test_a_datatype_without_order_is_refused(datatype: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        classify(Tensor("O", datatype, np.zeros(1, DTYPES[datatype])), 1, None)
    assert (
        caught.value.message == f"class result not available for output due to unsupported type '{datatype}'"
    )


def test_any_number_of_classes_costs_no_more_than_the_output() -> None:
    with little_memory():
        assert top([[1, 2, 3]], 2**64 - 1, BATCHED)[0] == (1, 3)


@given(st.lists(st.integers(-5, 5), min_size=1, max_size=12), st.integers(1, 15))
def test_classes_are_the_largest_values_in_order(values: list[int], count: int) -> None:
    expected = sorted(enumerate(values), key=lambda pair: -pair[1])[:count]
    assert top(values, count, None, "INT8")[1] == [f"{value}:{index}" for index, value in expected]


@pytest.mark.parametrize(
    ("parameters", "tail"),
    [
        (
            {"classification": 2},
            b'"datatype":"BYTES","shape":[1,2],"data":["4.500000:3:fish","3.500000:2:bird"]}]}',
        ),
        ({"classification": 0}, b'"datatype":"FP32","shape":[1,4],"data":[1.5,2.5,3.5,4.5]}]}'),
        (
            {"classification": 2, "binary_data": True},
            b'"datatype":"BYTES","shape":[1,2],"parameters":{"binary_data_size":38}}]}'
            b"\x0f\x00\x00\x004.500000:3:fish\x0f\x00\x00\x003.500000:2:bird",
        ),
    ],
)
def test_the_client_asks_for_classes_by_output(parameters: dict[str, Any], tail: bytes) -> None:
    body = orjson.dumps({"inputs": [], "outputs": [{"name": "O", "parameters": parameters}]})
    _, wanted = decode_infer("m", "1", body, None, BATCHED)
    assert isinstance(wanted, Wanted)
    response = InferResponse("m", "1", (Tensor("O", "FP32", np.array([[1.5, 2.5, 3.5, 4.5]], "f4")),))
    buffers, _ = encode_infer(response, wanted, BATCHED)
    assert b"".join(map(bytes, buffers)).endswith(tail)
