import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dragoman.errors import ModelFailed
from dragoman.scheduling.batch import key_of, merge, rows_of, split
from dragoman.types import InferRequest, InferResponse, Tensor
from tests.fakes import request


@given(st.lists(st.integers(1, 5), min_size=1, max_size=8))
def test_what_is_merged_and_split_comes_back_to_whom_it_belongs(rows):
    requests = [request(n, value=place, id=str(place)) for place, n in enumerate(rows)]
    merged = merge(requests)
    assert rows_of(merged) == sum(rows)
    answers = split(InferResponse("m", "1", merged.inputs), requests)
    for place, (answer, asked) in enumerate(zip(answers, requests, strict=True)):
        assert answer.id == str(place)
        np.testing.assert_array_equal(answer.output("x").data, asked.input("x").data)


def test_split_gives_views_not_copies():
    requests = [request(2), request(3)]
    merged = merge(requests)
    answers = split(InferResponse("m", "1", merged.inputs), requests)
    assert all(np.shares_memory(answer.output("x").data, merged.input("x").data) for answer in answers)


def test_bytes_rows_are_joined_too():
    def ask(*texts):
        return InferRequest("m", (Tensor("t", "BYTES", np.array(texts, object)),))

    requests = [ask(b"a"), ask(b"b", b"\xff")]
    answers = split(InferResponse("m", "1", merge(requests).inputs), requests)
    assert [list(answer.output("t").data) for answer in answers] == [[b"a"], [b"b", b"\xff"]]


@pytest.mark.parametrize(
    "other",
    [
        request(1, width=3),
        request(outputs=("y",)),
        request(parameters={"temperature": 1}),
        InferRequest("m", (Tensor("y", "FP32", np.zeros((1, 2), np.float32)),)),
        InferRequest("m", (Tensor("x", "FP64", np.zeros((1, 2))),)),
    ],
)
def test_only_equals_share_a_key(other):
    assert key_of(request(1)) == key_of(request(7))
    assert key_of(request(1)) != key_of(other)


def test_parameters_of_any_json_kind_make_a_key():
    assert key_of(request(parameters={"a": [1], "b": None})) == key_of(
        request(parameters={"b": None, "a": [1]})
    )


@pytest.mark.parametrize("data", [np.zeros(()), np.zeros((4, 2)), np.zeros((6, 2))])
def test_an_answer_with_the_wrong_number_of_rows_belongs_to_nobody(data):
    with pytest.raises(ModelFailed, match="batch of 5 rows"):
        split(InferResponse("m", "1", (Tensor("x", "FP64", data),)), [request(2), request(3)])
