"""Where Dragoman's types go further than KServe's, or refuse what KServe's would break on."""

import pickle

import ml_dtypes
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some
from hypothesis.extra import numpy as arrays

from dragoman.compat.kserve import dialect
from dragoman.compat.kserve.errors import InvalidInput
from dragoman.compat.kserve.protocol.infer_type import (
    InferInput,
    InferOutput,
    InferRequest,
    InferResponse,
    deserialize_bytes_tensor,
    to_grpc_parameters,
    to_http_parameters,
)
from dragoman.compat.kserve.protocol.rest.v2_datamodels import InferenceRequest
from dragoman.compat.kserve.utils.numpy_codec import to_np_dtype

F4 = np.array([1.5, -2.0], np.float32)


def document(datatype, shape, size, raw):
    """A body with one raw input, and how much of it is JSON."""
    text = (
        f'{{"inputs":[{{"name":"x","shape":{shape},"datatype":"{datatype}",'
        f'"parameters":{{"binary_data_size":{size}}}}}]}}'
    ).encode()
    return text + raw, len(text)


@pytest.mark.parametrize(
    ("datatype", "shape", "size", "raw", "told"),
    [
        ("FP32", [2], 8, b"1234", "'binary_data_size' of 'x' is 8, expected a number up to the 4 bytes"),
        ("FP32", [2], -1, b"1234", "is -1, expected a number"),
        ("FP32", [2], '"8"', b"12345678", "is '8', expected a number"),
        ("FP32", [2], 4, b"1234", r"'x' has 4 bytes, expected 8 for FP32 of shape \[2\]"),
        ("FP32", [1], 4, b"12345", "1 bytes behind the JSON belong to no input"),
        ("BYTES", [2], 5, b"\1\0\0\0a", r"'x' has 1 elements, expected 2 of shape \[2\]"),
        ("BYTES", [1], 5, b"\2\0\0\0a", "an element of 2 bytes where 1 are left"),
        ("BYTES", [1], 3, b"\2\0\0", "3 bytes of a length that has 4"),
        ("FP128", [1], 4, b"1234", "invalid datatype FP128"),
    ],
)
def test_raw_bytes_that_do_not_fit_are_the_client_s_mistake(datatype, shape, size, raw, told):
    # row: checked-sizes
    with pytest.raises(InvalidInput, match=told):
        InferRequest.from_bytes(*document(datatype, shape, size, raw), "m")


@pytest.mark.parametrize(
    ("data", "datatype"), [([1, 2, 3], "FP32"), (["a", "b"], "INT8"), ([300, 1], "INT8")]
)
def test_what_does_not_fit_its_shape_is_invalid_input_and_still_a_value_error(data, datatype):
    # row: shape-errors
    with pytest.raises(InvalidInput, match="input 'x' can't be") as failure:
        InferInput("x", [2], datatype, data).as_numpy()
    assert isinstance(failure.value, ValueError)


def test_bytes_that_are_no_text_pass_over_rest():
    # row: binary-strings
    request = InferRequest.from_bytes(*document("BYTES", [1], 5, b"\1\0\0\0\xff"), "m")
    assert request.inputs[0].as_numpy().tolist() == [b"\xff"]
    body, length = request.encode_rest()
    assert body[length:] == b"\1\0\0\0\xff"


def test_numbers_with_a_fraction_and_large_ones_are_parameters():
    # row: parameters
    plain = {"half": 0.5, "large": 2**64 - 1, "least": -(2**63)}
    written = to_grpc_parameters(plain)
    assert written["half"].double_param == 0.5
    assert written["large"].uint64_param == 2**64 - 1
    assert to_http_parameters(written) == plain
    with pytest.raises(InvalidInput):
        to_grpc_parameters({"huge": 2**64})


def test_bfloat16_travels_as_its_bits():
    # row: bf16
    array = np.array([1.0, -2.0], ml_dtypes.bfloat16)
    for made in (array, array.view(np.uint16)):
        tensor = InferInput("x", [2], "BF16")
        tensor.set_data_from_numpy(made)
        assert tensor._raw_data == array.tobytes()
        assert tensor.as_numpy().view(ml_dtypes.bfloat16).tolist() == [1.0, -2.0]
    message = InferRequest("m", [InferInput("x", [2], "BF16", array)]).to_grpc()
    assert message.raw_input_contents == [array.tobytes()]
    assert InferRequest.from_grpc(message).inputs[0].as_numpy().tolist() == [0x3F80, 0xC000]


def test_half_floats_in_a_list_go_over_grpc_as_raw_bytes():
    # row: half-floats
    message = InferRequest("m", [InferInput("x", [2], "FP16", [1.0, 2.0])]).to_grpc()
    assert message.raw_input_contents == [np.array([1, 2], "f2").tobytes()]


def test_a_message_has_only_raw_inputs_or_none():
    # row: no-mixture
    inputs = [InferInput("x", [2], "FP32", F4), InferInput("z", [1], "INT8", [3])]
    message = InferRequest("m", inputs).to_grpc()
    assert len(message.raw_input_contents) == 2
    assert not message.inputs[1].HasField("contents")


def test_data_beside_raw_bytes_are_there_over_grpc():
    # row: grpc-data
    request = InferRequest.from_grpc(InferRequest("m", [InferInput("x", [2], "FP32", F4)]).to_grpc())
    assert request.inputs[0].data == [1.5, -2.0]
    assert request.as_dataframe()["x"].tolist() == [1.5, -2.0]


def test_data_that_are_set_count_also_where_there_were_raw_bytes():
    # row: data-setter
    tensor = InferOutput("x", [2], "FP32")
    tensor.set_data_from_numpy(F4)
    tensor.data = [3.0, 4.0]
    assert tensor.as_numpy().tolist() == [3.0, 4.0]


def test_what_was_set_from_numpy_is_as_it_was_then():
    array = F4.copy()
    tensor = InferOutput("x", [2], "FP32")
    tensor.set_data_from_numpy(array)
    array[:] = 0
    assert tensor.as_numpy().tolist() == [1.5, -2.0]


@pytest.mark.parametrize("data", [["a", b"b"], [["a"], [b"b"]]])
def test_text_of_any_nesting_is_read_as_text(data):
    # row: as-string
    assert InferInput("x", [2], "BYTES", data).as_string() == ["a", "b"]
    with pytest.raises(InvalidInput, match="no UTF-8"):
        InferInput("x", [1], "BYTES", [b"\xff"]).as_string()


def test_more_raw_contents_than_tensors_are_refused():
    # row: raw-contents
    with pytest.raises(InvalidInput, match="2 raw contents for 1 tensors"):
        InferRequest("m", [InferInput("x", [1], "INT8")], raw_inputs=[b"1", b"2"])


@pytest.mark.parametrize(("speaks", "pair"), [("0.13", False), ("0.21", True)])
def test_to_rest_is_what_the_dialect_says(speaks, pair):
    dialect.choose(speaks)
    request = InferRequest("m", [InferInput("x", [2], "FP32", F4)], "7")
    answer = InferResponse("7", "m", [InferOutput("x", [2], "FP32", F4)])
    assert isinstance(request.to_rest(), tuple) is pair
    assert isinstance(answer.to_rest(), tuple) is pair


def test_there_are_two_dialects():
    with pytest.raises(ValueError, match=r"0\.13 or 0\.21"):
        dialect.choose("0.15")


def test_the_old_dialect_has_no_raw_bytes_in_rest(old):
    tensor = InferOutput("y", [1, 2], "FP16")
    tensor.set_data_from_numpy(np.array([[1, 2]], "f2"))
    text = InferOutput("z", [1], "BYTES")
    text.set_data_from_numpy(np.array([b"a"], dtype=object))
    document = InferResponse("7", "m", [tensor, text]).to_rest()
    assert [output["data"] for output in document["outputs"]] == [[[1.0, 2.0]], ["a"]]
    assert all("parameters" not in output for output in document["outputs"])


def test_both_ways_of_reading_an_answer_s_document_work(old):
    document = {"model_name": "n", "outputs": [{"name": "y", "shape": [1], "datatype": "INT8", "data": [1]}]}
    assert InferResponse.from_rest(document).model_name == "n"
    assert InferResponse.from_rest(response=document, model_name="m").model_name == "m"
    assert InferResponse.from_rest("m", document).outputs[0].data == [1]
    with pytest.raises(InvalidInput, match="'shape' is missing"):
        InferResponse.from_rest("m", {"outputs": [{"name": "y"}]})


def test_a_request_of_the_data_model_is_read():
    request = InferenceRequest(
        id="7",
        inputs=[{"name": "x", "shape": [1], "datatype": "INT8", "data": [1]}],
        outputs=[{"name": "y", "parameters": {"binary_data": True}}],
    )
    made = InferRequest.from_inference_request(request, "m")
    assert (made.id, made.model_name, made.inputs[0].data) == ("7", "m", [1])
    assert made.inputs[0].parameters == {}
    assert made.request_outputs[0].binary_data is True
    request.inputs[0].datatype = "FP16"
    with pytest.raises(InvalidInput, match="FP16 data via JSON is not supported"):
        InferRequest.from_inference_request(request, "m")


def test_requests_and_answers_can_be_sent_to_another_process():
    request = InferRequest("m", [InferInput("x", [2], "FP32", F4)], "7", parameters={"p": 1})
    assert pickle.loads(pickle.dumps(request)) == request


@some.composite
def tensors(draw):
    """A datatype and an array of it, without NaN, which is nothing's equal."""
    names = "BOOL INT8 INT16 INT32 INT64 UINT8 UINT16 UINT32 UINT64 FP16 FP32 FP64"
    datatype = draw(some.sampled_from(names.split()))
    dtype = np.dtype(to_np_dtype(datatype))
    elements = {"allow_nan": False} if dtype.kind == "f" else None
    return datatype, draw(arrays.arrays(dtype, arrays.array_shapes(max_side=4), elements=elements))


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # the first one imports
@given(tensors(), some.booleans())
def test_a_request_comes_back_from_grpc(tensor, binary):
    datatype, array = tensor
    made = InferInput("x", list(array.shape), datatype)
    made.set_data_from_numpy(array, binary_data=binary)
    (again,) = InferRequest.from_grpc(InferRequest("m", [made]).to_grpc()).inputs
    assert again.as_numpy().dtype == array.dtype
    assert again.as_numpy().tolist() == array.tolist()


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # the first one imports
@given(tensors())
def test_an_answer_comes_back_from_rest(tensor):
    datatype, array = tensor
    made = InferOutput("x", list(array.shape), datatype)
    made.set_data_from_numpy(array)
    body, length = InferResponse("7", "m", [made], use_binary_outputs=True).encode_rest()
    (again,) = InferResponse.from_bytes(body, length).outputs
    assert again.as_numpy().dtype == array.dtype
    assert again.as_numpy().tolist() == array.tolist()


@given(some.binary(max_size=40))
def test_any_bytes_are_elements_or_refused(data):
    try:
        found = deserialize_bytes_tensor(data)
    except InvalidInput:
        return
    assert sum(4 + len(element) for element in found) == len(data)
