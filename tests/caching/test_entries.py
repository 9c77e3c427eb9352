"""Answers as bytes: back as they were, and odd bytes are no answer."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dragoman.caching.entries import choose, decode_entry, encode_entry, join_rows, own, split_rows
from dragoman.tensors import bytes_array
from dragoman.types import DTYPES, InferResponse, Tensor


def answer(**parameters):
    outputs = [
        Tensor(datatype.lower(), datatype, np.ones((2, 3), dtype)) for datatype, dtype in DTYPES.items()
    ]
    outputs[-1] = Tensor("bytes", "BYTES", bytes_array([b"", b"a\0", b"\xff" * 300], [3]), {"k": "v"})
    return InferResponse("m", "3", tuple(outputs), "some id", parameters)


def told(response):
    return [(t.name, t.datatype, t.data.dtype, t.data.tolist(), t.parameters) for t in response.outputs], (
        response.model,
        response.version,
        response.parameters,
    )


def test_an_answer_comes_back_as_it_was_but_for_its_id():
    before = answer(temperature=0.5, headers={"a": "b"})
    after = decode_entry(encode_entry(before))
    assert told(after) == told(before)
    assert after.id == ""


@settings(deadline=None)
@given(st.binary(max_size=60), st.integers(0, 200), st.integers(0, 3))
@example(b"", 0, 0)
def test_odd_bytes_are_no_entry_and_nothing_worse(junk, place, how):
    whole = encode_entry(InferResponse("m", "1", (Tensor("y", "FP32", np.ones((2, 2), np.float32)),)))
    forms = (
        junk,
        whole[:place],
        whole[:place] + junk + whole[place:],
        whole[:place] + junk + whole[place + 3 :],
    )
    try:
        found = decode_entry(forms[how])
    except ValueError:
        return
    assert isinstance(found, InferResponse)


def test_an_owned_answer_can_be_changed_by_nobody():
    data = np.ones(3, np.float32)
    kept = own(InferResponse("m", "1", (Tensor("y", "FP32", data),)))
    data[:] = 2
    assert kept.output("y").data.tolist() == [1, 1, 1]
    with pytest.raises(ValueError, match="read-only"):
        kept.output("y").data[0] = 5


def test_rows_are_cut_apart_and_joined_again():
    whole = InferResponse(
        "m", "1", (Tensor("y", "INT64", np.arange(6).reshape(3, 2)), Tensor("z", "INT64", np.arange(3)))
    )
    rows = split_rows(whole, 3)
    assert rows is not None
    assert [row.output("y").data.tolist() for row in rows] == [[[0, 1]], [[2, 3]], [[4, 5]]]
    assert told(join_rows(rows)) == told(whole)
    assert split_rows(whole, 2) is None


def test_the_wanted_outputs_are_chosen_in_their_order():
    whole = InferResponse("m", "1", tuple(Tensor(n, "INT64", np.arange(2)) for n in ("a", "b", "c")))
    assert choose(whole, None) is whole
    chosen = choose(whole, ("c", "a"))
    assert chosen is not None
    assert [tensor.name for tensor in chosen.outputs] == ["c", "a"]
    assert choose(whole, ("a", "d")) is None
