"""KServe v1 requests and answers as bytes, from tables and from properties."""

import base64
import math
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dragoman.errors import DragomanError, InvalidInput, TooLarge
from dragoman.protocols.kserve_v1.codec import (
    decode_predict,
    encode_model,
    encode_models,
    encode_predict,
)
from dragoman.types import DTYPES, InferRequest, InferResponse, Signature, Tensor, TensorSpec


def signature(*inputs: TensorSpec, outputs: tuple[TensorSpec, ...] = (), batched: bool = True) -> Signature:
    return Signature(inputs, outputs, batched)


def spec(name: str = "x", datatype: str = "FP32", *row: int) -> TensorSpec:
    return TensorSpec(name, datatype, (-1, *row))


FOUR = signature(spec("x", "FP32", 4))
PAIR = signature(spec("a", "FP32", 2), spec("b", "INT64"))
ANY = signature()
PREDICT, PROBA = spec("predict", "INT64"), spec("predict_proba", "FP32", 3)
CLASSIFIER = signature(spec("x", "FP32", 4), outputs=(PREDICT, PROBA))


def decode(body: Any, of: Signature = ANY) -> InferRequest:
    raw = body if isinstance(body, bytes | memoryview) else orjson.dumps(body)
    return decode_predict("m", "", raw, of)


def refusal(body: Any, of: Signature = ANY) -> str:
    with pytest.raises(InvalidInput) as caught:
        decode(body, of)
    assert caught.value.message.isascii()
    return caught.value.message


def answer(of: Signature, *outputs: Tensor) -> Any:
    return orjson.loads(encode_predict(InferResponse("m", "1", outputs), of))["predictions"]


def tensor(name: str, datatype: str, values: Any) -> Tensor:
    return Tensor(name, datatype, np.array(values, DTYPES[datatype]))


# --------------------------------------------------------------------------------------------- requests taken


@pytest.mark.parametrize(
    ("values", "datatype", "want"),
    [
        ([[1, 2], [3, 4]], "INT64", [[1, 2], [3, 4]]),
        ([1.5, 2], "FP64", [1.5, 2.0]),
        ([True, False], "BOOL", [True, False]),
        (["ä", ""], "BYTES", ["ä".encode(), b""]),
        ([{"b64": "AP8="}, "t"], "BYTES", [b"\x00\xff", b"t"]),
        ([[["a"], ["b"]]], "BYTES", [[[b"a"], [b"b"]]]),
        ([[], []], "BOOL", [[], []]),
        ([1], "INT64", [1]),
    ],
)
@pytest.mark.parametrize("key", ["instances", "inputs"])
def test_without_a_signature_the_values_decide_the_datatype(
    key: str, values: Any, datatype: str, want: Any
) -> None:
    (found,) = decode({key: values}).inputs
    assert (found.name, found.datatype, found.data.dtype) == ("input-0", datatype, DTYPES[datatype])
    assert found.data.tolist() == want


@pytest.mark.parametrize(
    ("datatype", "values", "want"),
    [
        ("FP32", [1, 2.5], [1.0, 2.5]),
        ("FP64", [2**53 + 1], [2.0**53]),
        ("FP16", [1, 0.1], [1.0, 0.0999755859375]),
        ("BF16", [1, 1.00390625, 1.01171875, -2], [0x3F80, 0x3F80, 0x3F82, 0xC000]),
        ("INT8", [-128, 127], [-128, 127]),
        ("UINT64", [2**64 - 1], [2**64 - 1]),
        ("INT64", [2**53 + 1, -(2**63)], [2**53 + 1, -(2**63)]),
        ("BOOL", [True], [True]),
        ("BYTES", ["a"], [b"a"]),
    ],
)
def test_the_signature_decides_name_and_datatype(datatype: str, values: Any, want: Any) -> None:
    (found,) = decode({"instances": values}, signature(spec("x", datatype))).inputs
    assert (found.name, found.datatype, found.data.dtype) == ("x", datatype, DTYPES[datatype])
    assert found.data.tolist() == want


def test_a_recorded_prediction_reads_as_one_tensor() -> None:
    body = b'{"instances": [[5.1, 3.5, 1.4, 0.2], [6.7, 3.0, 5.2, 2.3]]}'
    request = decode_predict("iris", "3", memoryview(body), FOUR)
    assert (request.model, request.version, request.outputs, request.parameters) == ("iris", "3", None, {})
    assert request.input("x").shape == (2, 4)


@pytest.mark.parametrize(
    "body",
    [
        {"instances": [{"a": [1, 2], "b": 3}, {"b": 6, "a": [4, 5]}]},
        {"inputs": {"a": [[1, 2], [4, 5]], "b": [3, 6]}},
        {"inputs": [{"a": [1, 2], "b": 3}, {"a": [4, 5], "b": 6}]},
        {"instances": [{"a": [1, 2], "b": 3}, {"a": [4, 5], "b": 6}], "signature_name": "s", "x": None},
    ],
)
def test_rows_and_columns_of_names_are_one_tensor_per_name(body: Any) -> None:
    request = decode(body, PAIR)
    assert [(i.name, i.datatype) for i in request.inputs] == [("a", "FP32"), ("b", "INT64")]
    assert [i.data.tolist() for i in request.inputs] == [[[1, 2], [4, 5]], [3, 6]]


def test_names_are_free_when_the_model_has_no_signature() -> None:
    request = decode({"inputs": {"p": [1.0], "q": ["t"]}})
    assert [(i.name, i.datatype) for i in request.inputs] == [("p", "FP64"), ("q", "BYTES")]


def test_scalars_fill_a_column_of_width_one() -> None:
    columns = signature(spec("age", "FP32", 1), spec("town", "BYTES", 1))
    request = decode({"instances": [{"age": 5, "town": "Ulm"}, {"age": 6, "town": "Bonn"}]}, columns)
    assert [i.data.tolist() for i in request.inputs] == [[[5.0], [6.0]], [[b"Ulm"], [b"Bonn"]]]


def test_an_optional_input_may_be_absent() -> None:
    optional = signature(spec("a"), TensorSpec("b", "INT64", (-1,), optional=True))
    assert [i.name for i in decode({"instances": [1, 2]}, optional).inputs] == ["a"]
    assert [i.name for i in decode({"inputs": {"a": [1]}}, optional).inputs] == ["a"]
    assert [i.name for i in decode({"inputs": {"b": [1], "a": [1]}}, optional).inputs] == ["b", "a"]


def test_one_binary_value_under_inputs_is_a_scalar() -> None:
    (found,) = decode({"inputs": {"b64": "AA=="}}, signature(TensorSpec("x", "BYTES", ()))).inputs
    assert (found.shape, found.data[()]) == ((), b"\x00")


def test_parameters_are_passed_on() -> None:
    parameters = {"s": "t", "i": 1, "f": 0.5, "b": True}
    assert decode({"instances": [1], "parameters": parameters}).parameters == parameters


@pytest.mark.parametrize(
    ("body", "outputs"),
    [
        ({}, ("predict",)),
        ({"outputs": ["predict_proba"]}, ("predict_proba",)),
        ({"outputs": ["predict_proba", "predict"]}, ("predict_proba", "predict")),
    ],
)
def test_predict_speaks_for_a_classifier_unless_outputs_are_named(body: Any, outputs: Any) -> None:
    assert decode({"instances": [[1, 2, 3, 4]], **body}, CLASSIFIER).outputs == outputs


# ------------------------------------------------------------------------------------------- requests refused


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (
            b'{"instances": [1,',
            "Unrecognized request format: unexpected end of data: line 1 column 18 (char 17)",
        ),
        (
            b"",
            "Unrecognized request format: Input is a zero-length, empty document: line 1 column 1 (char 0)",
        ),
        (b'{"instances": "abc"}', 'Expected "instances" to be a list'),
        (b'{"instances": {"x": 1}}', 'Expected "instances" to be a list'),
        (b'{"instances": null}', 'Expected "instances" to be a list'),
        (b"[1, 2]", "Expected the request to be an object, got a list"),
        (b"null", "Expected the request to be an object, got null"),
        (
            b'{"foo": 1}',
            'Expected "instances" (rows) or "inputs" (columns), for example {"instances": [[0.0, 0.0]]}',
        ),
        (b'{"instances": [1], "inputs": [1]}', 'Expected either "instances" or "inputs", got both'),
        (b'{"instances": []}', 'Expected "instances" to have at least one row, got none'),
    ],
)
def test_a_body_that_is_no_prediction_request_is_refused_with_a_reason(body: bytes, message: str) -> None:
    assert refusal(body) == message


@pytest.mark.parametrize("literal", [b"NaN", b"Infinity", b"-Infinity", b"1e400", b"01", b"'a'", b'"\xff"'])
def test_what_json_does_not_have_is_malformed(literal: bytes) -> None:
    assert refusal(b'{"instances": [' + literal + b"]}").startswith("Unrecognized request format: ")


@pytest.mark.parametrize(
    ("datatype", "values", "message"),
    [
        ("FP32", ["1.5"], "input 'x' expects FP32, got a string"),
        ("FP32", [None], "input 'x' expects FP32, got null"),
        ("FP32", [True, 1.0], "input 'x' expects FP32, got a boolean"),
        ("FP32", [1e39], "input 'x' expects FP32, got a number out of range"),
        ("FP16", [70000], "input 'x' expects FP16, got a number out of range"),
        ("BF16", [1e39], "input 'x' expects BF16, got a number out of range"),
        ("BF16", [3.4e38], "input 'x' expects BF16, got a number out of range"),
        ("INT64", [1.5], "input 'x' expects INT64, got a floating-point number"),
        ("INT64", [2**63], "input 'x' expects INT64, got a number out of range"),
        ("UINT8", [300], "input 'x' expects UINT8, got a number out of range"),
        ("UINT64", [-1], "input 'x' expects UINT64, got a number out of range"),
        ("INT32", [True], "input 'x' expects INT32, got a boolean"),
        ("BOOL", [1], "input 'x' expects BOOL, got an integer"),
        ("BYTES", [1], "input 'x' expects BYTES, got an integer"),
        ("BYTES", [{"b64": "?"}], "input 'x' expects base64 text under \"b64\""),
        ("BYTES", [{"b64": "ä"}], "input 'x' expects base64 text under \"b64\""),
        ("BYTES", ["a", {"c": "d"}], "input 'x' expects BYTES, got an object"),
        ("FP32", [[1, 2], [3]], "input 'x' expects rows of equal shape, got ragged data"),
        ("FP32", [[1, 2], 3], "input 'x' expects rows of equal shape, got ragged data"),
        ("FP32", [1, [2]], "input 'x' expects FP32, got a list"),
        ("FP32", [[[1], [2]], [[3, 4], [5, 6]]], "input 'x' expects rows of equal shape, got ragged data"),
    ],
)
def test_a_value_that_does_not_fit_is_refused_by_input_and_datatype(
    datatype: str, values: Any, message: str
) -> None:
    assert refusal({"instances": values}, signature(spec("x", datatype))) == message


@pytest.mark.parametrize("values", [[None], [1, "a"], [True, 1], [1, {"b64": ""}], [[1, None]]])
def test_values_of_no_one_kind_have_no_datatype(values: Any) -> None:
    assert refusal({"instances": values}).startswith("input 'input-0' expects values of one kind, got ")


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"instances": [[1, 2]]}, "Expected \"instances\" to name the inputs 'a', 'b', for example "
         '{"instances": [{"a": [0.0, 0.0], "b": 0}]}'),
        ({"instances": [{"a": [1, 2]}]}, "Expected the inputs 'a', 'b', got 'a'"),
        ({"instances": [{"a": 1, "b": 2, "c": 3}]}, "Expected the inputs 'a', 'b', got 'a', 'b', 'c'"),
        ({"instances": [{"a": 1, "b": 2}, {"a": 1}]},
         "Expected rows with the keys 'a', 'b', row 1 has the keys 'a'"),
        ({"instances": [{"a": 1, "b": 2}, 3]}, "Expected rows with the keys 'a', 'b', row 1 has an integer"),
        ({"instances": [{}]}, "Expected the inputs 'a', 'b', got none"),
        ({"inputs": {}}, "Expected the inputs 'a', 'b', got none"),
        ({"inputs": {"é": 1}}, r"Expected the inputs 'a', 'b', got '\xe9'"),
    ],
)  # fmt: skip
def test_inputs_that_are_not_the_models_are_refused(body: Any, message: str) -> None:
    assert refusal(body, PAIR) == message


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"outputs": "predict"}, 'Expected "outputs" to be a list of output names'),
        ({"outputs": []}, 'Expected "outputs" to be a list of output names'),
        ({"outputs": [1]}, 'Expected "outputs" to be a list of output names'),
        ({"outputs": ["predict"] * 2}, 'Expected the names in "outputs" to differ'),
        ({"outputs": ["nope"]}, "Unexpected inference output 'nope' for model 'm'"),
        ({"parameters": [1]}, 'Expected "parameters" to be an object, got a list'),
        ({"parameters": {"p": None}}, "parameter 'p' expects a scalar, got null"),
        ({"parameters": {"p" * 99: {}}}, f"parameter '{'p' * 61}...' expects a scalar, got an object"),
    ],
)
def test_outputs_and_parameters_that_make_no_sense_are_refused(more: Any, message: str) -> None:
    assert refusal({"instances": [[1, 2, 3, 4]], **more}, CLASSIFIER) == message


@pytest.mark.parametrize(
    "body",
    [
        b'{"instances": [1], "instances": [2]}',
        b'{"instances": [1], "\\u0069nstances": [2]}',
        b'{"instances": [{"x": 1, "x": 2}]}',
        b'{"instances": [{"b64": "", "b64": ""}]}',
        b'{"instances": [1], "parameters": {"a": 1, "a": 2}}',
    ],
)
def test_a_key_said_twice_is_refused(body: bytes) -> None:
    assert refusal(body).endswith("an object has the same key twice")


def test_colons_in_text_are_no_keys() -> None:
    assert decode({"instances": ["a:b", 'c\\":']}).inputs[0].data.tolist() == [b"a:b", b'c\\":']


def test_more_values_than_the_limit_are_too_many() -> None:
    with pytest.raises(TooLarge):
        decode(b'{"instances": [' + b"0," * (2**23 + 1) + b"0]}")


def test_no_depth_of_nesting_does_harm() -> None:
    for depth in (40, 99, 101, 1000, 100_000):
        refusal(b'{"instances": ' + b"[" * depth + b"1" + b"]" * depth + b"}")


# ---------------------------------------------------------------------------------------------------- answers


@pytest.mark.parametrize(
    ("datatype", "values", "want"),
    [
        ("INT64", [0, 2], [0, 2]),
        ("FP32", [[0.1, 0.9]], [[0.1, 0.9]]),
        ("FP64", [math.nan, math.inf, -0.0, -math.inf], [None, None, -0.0, None]),
        ("FP16", [0.5, math.nan], [0.5, None]),
        ("BF16", [0x3F80, 0xC000, 0x7F80], [1.0, -2.0, None]),
        ("BOOL", [True, False], [True, False]),
        ("UINT64", [2**64 - 1], [2**64 - 1]),
        ("BYTES", [b"abc", "ä".encode(), b"\xff"], ["abc", "ä", {"b64": "/w=="}]),
        ("BYTES", [[b"a"], [b"b"]], [["a"], ["b"]]),
        ("FP32", [], []),
        ("INT32", 7, 7),
        ("BYTES", b"a", "a"),
    ],
)
def test_one_output_is_the_list_of_its_rows(datatype: str, values: Any, want: Any) -> None:
    assert answer(ANY, tensor("y", datatype, values)) == want


def test_an_array_in_any_memory_order_is_written_row_by_row() -> None:
    data = np.arange(6, dtype="<i4").reshape(2, 3)
    assert answer(ANY, Tensor("y", "INT32", data.T)) == [[0, 3], [1, 4], [2, 5]]
    assert answer(ANY, Tensor("y", "INT32", data[:, ::2])) == [[0, 2], [3, 5]]
    assert answer(ANY, Tensor("y", "BF16", np.array([[0x3F80, 0], [0, 0]], "<u2").T)) == [[1, 0], [0, 0]]


def test_several_outputs_of_a_batched_model_are_one_object_per_row() -> None:
    outputs = (
        tensor("label", "BYTES", [b"cat", b"\xfe"]),
        tensor("half", "FP16", [0.5, math.nan]),
        tensor("scores", "FP32", [[0.1, 0.9], [0.8, 0.2]]),
        tensor("brain", "BF16", [[0x3F80], [0]]),
        tensor("sure", "BOOL", [True, False]),
    )
    assert answer(PAIR, *outputs) == [
        {"label": "cat", "half": 0.5, "scores": [0.1, 0.9], "brain": [1.0], "sure": True},
        {"label": {"b64": "/g=="}, "half": None, "scores": [0.8, 0.2], "brain": [0.0], "sure": False},
    ]


@pytest.mark.parametrize(
    ("batched", "first"),
    [(False, [1, 2]), (True, [1, 2, 3]), (True, 5)],
    ids=["unbatched", "uneven", "scalar"],
)
def test_outputs_without_common_rows_are_columns(batched: bool, first: Any) -> None:
    outputs = (tensor("a", "INT8", first), tensor("b", "FP32", [0.1, 0.2]))
    assert answer(signature(batched=batched), *outputs) == {"a": first, "b": [0.1, 0.2]}


def test_the_twin_of_int64_is_written_wherever_it_stands() -> None:
    twin = np.array([1, 2], np.longlong)
    assert answer(PAIR, Tensor("a", "INT64", twin), tensor("b", "FP32", [0.1, 0.2])) == [
        {"a": 1, "b": 0.1},
        {"a": 2, "b": 0.2},
    ]
    assert answer(PAIR, Tensor("a", "INT64", twin.sum(keepdims=True).reshape(()))) == 3


def test_models_are_listed_as_recorded() -> None:
    assert encode_models(n for n in ("iris", "addsub")) == b'{"models":["iris","addsub"]}'
    assert encode_model("iris", True) == b'{"name":"iris","ready":true}'


# ------------------------------------------------------------------------------------------------- properties

ELEMENTS = {
    "BOOL": st.booleans(),
    "INT8": st.integers(-(2**7), 2**7 - 1),
    "UINT16": st.integers(0, 2**16 - 1),
    "INT64": st.integers(-(2**63), 2**63 - 1),
    "UINT64": st.integers(0, 2**64 - 1),
    "FP16": st.floats(width=16, allow_nan=False, allow_infinity=False),
    "FP32": st.floats(width=32, allow_nan=False, allow_infinity=False),
    "FP64": st.floats(allow_nan=False, allow_infinity=False),
    "BF16": st.integers(0, 2**16 - 1).filter(lambda bits: bits & 0x7F80 != 0x7F80),
    "BYTES": st.binary(max_size=8),
}


@st.composite
def tensors(draw: st.DrawFn) -> Tensor:
    datatype = draw(st.sampled_from(sorted(ELEMENTS)))
    shape = draw(st.lists(st.integers(1, 3), min_size=1, max_size=3))
    size = math.prod(shape)
    data = np.empty(size, DTYPES[datatype])
    data[:] = draw(st.lists(ELEMENTS[datatype], min_size=size, max_size=size))
    return Tensor("x", datatype, data.reshape(shape))


@given(tensors())
def test_what_is_answered_can_be_asked(original: Tensor) -> None:
    of = signature(TensorSpec("x", original.datatype, original.shape))
    predictions = answer(of, original)
    (found,) = decode({"instances": predictions}, of).inputs
    assert found.datatype == original.datatype
    assert found.shape == original.shape
    if original.datatype == "BYTES":
        assert found.data.tolist() == original.data.tolist()
    else:
        assert found.data.tobytes() == original.data.tobytes()


TEXT = st.text('ab4ä\0"', max_size=3)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | TEXT,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["a", "b", "x", "b64"]) | TEXT, inner, max_size=3)
    ),
    max_leaves=12,
)
BODIES = st.dictionaries(st.sampled_from(["instances", "inputs", "parameters", "outputs"]), JSON)


@pytest.mark.parametrize("of", [ANY, FOUR, PAIR, CLASSIFIER, signature(spec("x", "BYTES"))])
@given(st.binary(max_size=40) | BODIES.map(orjson.dumps))
def test_nothing_but_our_own_errors_leaves_the_decoder(of: Signature, body: bytes) -> None:
    try:
        request = decode_predict("m", "", body, of)
    except DragomanError:
        return
    assert all(tensor.data.dtype == DTYPES[tensor.datatype] for tensor in request.inputs)


def test_base64_of_any_length_survives() -> None:
    raw = bytes(range(256)) * 40
    (found,) = decode({"instances": [{"b64": base64.b64encode(raw).decode()}]}).inputs
    assert found.data[0] == raw
