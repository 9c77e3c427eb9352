"""One flat object to a request, by the names of the model's inputs, and answers as flat objects."""

import json
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dragoman.errors import DragomanError, InvalidInput, TooLarge, Unsupported
from dragoman.protocols.kserve_v2.generate import decode_generate, encode_generate
from dragoman.tensors import bytes_array
from dragoman.types import InferResponse, Signature, Tensor, TensorSpec


def spec(*shape, datatype="FP32", name="x"):
    return TensorSpec(name, datatype, shape)


def decode(document, *specs):
    return decode_generate("m", "", json.dumps(document).encode(), Signature(specs or (spec(-1),), ()))


def refusal(document, *specs, kind=InvalidInput):
    with pytest.raises(kind) as caught:
        decode(document, *specs)
    return caught.value.message


@pytest.mark.parametrize(
    ("value", "wanted", "shape"),
    [
        (1.5, (-1,), (1,)),
        (1.5, (-1, 1), (1, 1)),
        (1.5, (), ()),
        ([1, 2, 3], (-1,), (3,)),
        ([1, 2, 3], (-1, -1), (1, 3)),
        ([1, 2, 3, 4], (-1, 4), (1, 4)),
        ([1, 2, 3, 4], (-1, 2), (2, 2)),
        ([1, 2, 3, 4], (-1, -1, 2), (1, 2, 2)),
        ([[1, 2], [3, 4]], (-1, -1), (2, 2)),
        ([[1, 2], [3, 4]], (4,), (4,)),
        ([[1, 2], [3, 4]], (1, 4), (2, 2)),  # of the right rank: the model's check tells what is wrong
        ([], (-1,), (0,)),
        ([], (-1, 0), (1, 0)),
    ],
)
def test_a_value_takes_the_shape_of_its_input(value, wanted, shape):
    (tensor,) = decode({"x": value}, spec(*wanted)).inputs
    assert tensor.data.shape == shape
    assert tensor.data.ravel().tolist() == np.ravel(value).tolist()


@pytest.mark.parametrize(
    ("value", "wanted"),
    [([1, 2, 3], (-1, 2)), ([1, 2, 3], ()), (1, (2, 2)), ([1], (-1, 0)), ([[1, 2], [3]], (3,))],
)
def test_a_value_that_fits_no_shape_is_refused(value, wanted):
    assert "x" in refusal({"x": value}, spec(*wanted)) or "Shape does not match" in refusal(
        {"x": value}, spec(*wanted)
    )


def test_what_is_no_input_is_a_parameter():
    request = decode(
        {
            "id": "7",
            "x": [1],
            "temperature": 0.5,
            "stop": "x",
            "n": None,
            "parameters": {"flag": True, "k": 3},
        }
    )
    assert request.id == "7"
    assert request.parameters == {"temperature": 0.5, "stop": "x", "flag": True, "k": 3}


def test_an_input_may_be_called_as_the_extension_calls_its_own():
    names = [spec(1, datatype="BYTES", name="id"), spec(1, datatype="BYTES", name="parameters")]
    request = decode({"id": "a", "parameters": "b"}, *names)
    assert (request.id, request.parameters) == ("", {})
    assert [tensor.data.tolist() for tensor in request.inputs] == [[b"a"], [b"b"]]


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ([], "JSON non-object as object"),
        ({"x": "a"}, "JSON non-number as double"),
        ({"x": {"a": 1}}, "JSON non-number as double"),
        ({"id": 7}, "JSON non-string as string"),
        ({"parameters": []}, "Unable to parse 'parameters'"),
        ({"o": {"a": 1}}, "parameter 'o' has invalid type"),
        ({"o": [1]}, "parameter 'o' has invalid type"),
        ({"triton_x": 1}, "reserved for Triton usage"),
        ({"priority": -1}, "non-unsigned-integer"),
    ],
)
def test_what_can_not_be_read_is_refused_in_known_words(document, words):
    assert words in refusal(document)


def test_a_key_that_comes_twice_is_refused():
    with pytest.raises(InvalidInput, match="same key twice"):
        decode_generate("m", "", b'{"x": 1, "x": 2}', Signature((spec(-1),), ()))


def test_a_model_that_says_nothing_of_its_inputs_is_asked_elsewhere():
    with pytest.raises(Unsupported, match="/v2/models/m/infer"):
        decode_generate("m", "", b'{"x": 1}', Signature((), ()))


def test_bombs_are_refused():
    assert "JSON nesting depth" in refusal(json.loads("[" * 200 + "]" * 200))
    with pytest.raises(TooLarge):
        decode_generate("m", "", b'{"x":[1' + b",1" * 8_999_999 + b"]}", Signature((spec(-1),), ()))


@pytest.mark.parametrize(
    ("outputs", "text"),
    [
        ([Tensor("y", "INT64", np.array([[3]]))], b'{"model_name":"m","model_version":"1","y":3}'),
        ([Tensor("y", "BOOL", np.array([True]))], b'{"model_name":"m","model_version":"1","y":true}'),
        ([Tensor("y", "FP32", np.array([np.nan], "f4"))], b'{"model_name":"m","model_version":"1","y":NaN}'),
        (
            [Tensor("Y", "BYTES", bytes_array([b'a"'], [1]))],
            b'{"Y":"a\\"","model_name":"m","model_version":"1"}',
        ),
        (
            [Tensor("y", "FP64", np.array([[1.0], [2]]))],
            b'{"model_name":"m","model_version":"1","y":[1.0,2.0]}',
        ),
        ([Tensor("y", "INT8", np.zeros((0, 2), "i1"))], b'{"model_name":"m","model_version":"1","y":[]}'),
    ],
)
def test_an_answer_is_one_flat_object(outputs, text):
    assert encode_generate(InferResponse("m", "1", tuple(outputs))) == text


def test_an_answer_has_the_request_s_id_and_the_model_s_parameters():
    response = InferResponse("m", "1", (), "7", {"tokens": 3, "headers": {"a": "b"}})
    assert encode_generate(response) == b'{"id":"7","model_name":"m","model_version":"1","tokens":3}'


WORDS = st.sampled_from(["x", "id", "parameters", "priority", "timeout", "sequence_id", "y"])
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(WORDS, inner, max_size=3),
    max_leaves=12,
)


@given(
    st.dictionaries(WORDS, VALUES),
    st.lists(st.integers(-1, 3), max_size=3),
    st.sampled_from(["FP32", "BYTES"]),
)
def test_any_object_is_a_request_or_refused(document, shape, datatype):
    with suppress(DragomanError):
        decode(document, spec(*shape, datatype=datatype))
