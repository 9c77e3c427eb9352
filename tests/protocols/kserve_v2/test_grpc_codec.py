"""gRPC messages to requests and back: every datatype, raw and typed, and everything that is refused."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from dragoman.errors import DragomanError, InvalidInput, NotFound
from dragoman.protocols.kserve_v2 import grpc_codec
from dragoman.protocols.kserve_v2.messages import (
    ModelInferRequest,
    ModelInferResponse,
    ModelStreamInferResponse,
)
from dragoman.tensors import bytes_array, encode_raw
from dragoman.types import DTYPES, InferResponse, Signature, Tensor, TensorSpec

FIELDS = {
    "BOOL": "bool_contents", "INT8": "int_contents", "INT16": "int_contents", "INT32": "int_contents",
    "INT64": "int64_contents", "UINT8": "uint_contents", "UINT16": "uint_contents", "UINT32": "uint_contents",
    "UINT64": "uint64_contents", "FP32": "fp32_contents", "FP64": "fp64_contents", "BYTES": "bytes_contents",
}  # fmt: skip
SIGNATURE = Signature(
    (TensorSpec("x", "FP32", (-1, 2)),),
    (TensorSpec("a", "FP32", (-1, 3), labels=("cat", "dog", "fish")), TensorSpec("b", "FP32", (-1, 3))),
    batched=True,
)


@st.composite
def tensors(draw, datatypes=tuple(DTYPES)):
    """A tensor of any datatype and shape, with any values."""
    datatype = draw(st.sampled_from(datatypes))
    shape = draw(hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4))
    if datatype == "BYTES":
        count = int(np.prod(shape))
        data = bytes_array(draw(st.lists(st.binary(max_size=5), min_size=count, max_size=count)), shape)
    else:
        data = draw(hnp.arrays(DTYPES[datatype], shape))
    return Tensor(draw(st.text(max_size=5)), datatype, data)


def a_message(*tensors, raw=True, **fields):
    message = ModelInferRequest(model_name="m", **fields)
    for tensor in tensors:
        item = message.inputs.add(name=tensor.name, datatype=tensor.datatype, shape=tensor.shape)
        if raw:
            message.raw_input_contents.append(bytes(encode_raw(tensor)))
        else:
            item.contents.SetInParent()
            getattr(item.contents, FIELDS[tensor.datatype]).extend(tensor.data.ravel().tolist())
    return message


def decode(message, signature=None):
    parsed = grpc_codec.parse_infer(message.SerializeToString())
    return grpc_codec.decode_infer(parsed, "m", "1", signature)


def same(one, other):
    assert (one.name, one.datatype, one.shape) == (other.name, other.datatype, other.shape)
    assert bytes(encode_raw(one)) == bytes(encode_raw(other))


def refusal(message, signature=None, kind=InvalidInput):
    with pytest.raises(kind) as caught:
        decode(message, signature)
    return caught.value.message


# What comes in is what was sent.


@given(st.lists(tensors(), max_size=3, unique_by=lambda tensor: tensor.name))
def test_raw_tensors_are_read(sent):
    for got, wanted in zip(decode(a_message(*sent)).request.inputs, sent, strict=True):
        same(got, wanted)


@given(st.lists(tensors(tuple(FIELDS)), max_size=3, unique_by=lambda tensor: tensor.name))
def test_typed_tensors_are_read(sent):
    for got, wanted in zip(decode(a_message(*sent, raw=False)).request.inputs, sent, strict=True):
        same(got, wanted)


@pytest.mark.parametrize("size", [10, 100_000])
def test_small_and_big_messages_are_read_alike_and_big_tensors_where_they_are(size):
    data = np.arange(size, dtype=np.float32)
    asked = decode(a_message(Tensor("x", "FP32", data), Tensor("y", "INT8", np.ones(3, np.int8)), id="seven"))
    assert asked.request.id == "seven"
    np.testing.assert_array_equal(asked.request.inputs[0].data, data)
    np.testing.assert_array_equal(asked.request.inputs[1].data, [1, 1, 1])
    assert not asked.request.inputs[0].data.flags.owndata


def test_parameters_and_outputs_are_read():
    message = a_message(Tensor("x", "FP32", np.ones((1, 2), np.float32)), id="7")
    for key, kind, value in (
        ("s", "string_param", "v"), ("i", "int64_param", -3), ("u", "uint64_param", 2**63), ("f", "double_param", 1.5),
        ("b", "bool_param", True), ("sequence_id", "int64_param", 5), ("sequence_start", "bool_param", True),
        ("priority", "uint64_param", 2), ("timeout", "int64_param", 1000),
        ("triton_enable_empty_final_response", "bool_param", True), ("binary_data_output", "bool_param", True),
    ):  # fmt: skip
        setattr(message.parameters[key], kind, value)
    message.inputs[0].parameters["binary_data_size"].int64_param = 8
    message.inputs[0].parameters["unit"].string_param = "m"
    message.outputs.add(name="b")
    message.outputs.add(name="a").parameters["classification"].int64_param = 2
    asked = decode(message, SIGNATURE)
    assert asked.request.parameters == {
        "s": "v", "i": -3, "u": 2**63, "f": 1.5, "b": True, "sequence_id": 5, "sequence_start": True, "priority": 2,
        "timeout": 1000,
    }  # fmt: skip
    assert asked.request.priority == 2
    assert asked.request.outputs == ("a", "b")
    assert asked.forms == {"a": 2, "b": 0}
    assert asked.empty_final
    assert asked.request.inputs[0].parameters == {"unit": "m"}


# What is refused, in which words.

ROW = Tensor("x", "FP32", np.ones((1, 2), np.float32))
TAG = "[request id: <id_unknown>] "


def changed(message, change):
    change(message)
    return message


def parameter(key, kind, value):
    return lambda message: setattr(message.parameters[key], kind, value)


def test_every_mistake_has_its_words():
    typed = a_message(ROW, raw=False)
    for change, words in (
        (lambda m: m.inputs.add(name="x", datatype="FP32"), f"{TAG}input 'x' already exists in request"),
        (
            lambda m: setattr(m.inputs[0], "datatype", "FLOAT"),
            f"{TAG}inference input 'x' data-type is '<invalid>', but model 'm' expects 'FP32'",
        ),
        (
            lambda m: m.inputs[0].shape.append(-1),
            f"{TAG}input 'x' has a negative size in its shape [1, 2, -1]",
        ),
        (
            lambda m: m.raw_input_contents.pop(),
            "unable to find data for input tensor 'x' for model 'm' in request.",
        ),
        (
            lambda m: m.raw_input_contents.append(b""),
            "the number of inputs (1) does not match the expected number of raw input contents (2) for model 'm'.",
        ),
        (
            lambda m: m.inputs[0].contents.SetInParent(),
            "contents field must not be specified when using raw_input_contents for 'x' for model 'm'",
        ),
        (
            lambda m: m.outputs.extend([m.outputs.add(name="a")]),
            f"{TAG}output 'a' already exists in request",
        ),
        (
            parameter("sequence_id", "bool_param", True),
            "invalid value type for 'sequence_id' parameter, expected int64_param or string_param.",
        ),
        (
            parameter("priority", "string_param", "1"),
            "invalid value type for 'priority' parameter, expected int64_param or uint64_param.",
        ),
        (parameter("priority", "int64_param", -1), "invalid value for 'priority' parameter, expected >= 0"),
        (
            parameter("timeout", "bool_param", True),
            "invalid value type for 'timeout' parameter, expected int64_param.",
        ),
        (
            parameter("triton_x", "int64_param", 1),
            "parameter keys starting with 'triton_' are reserved for Triton usage. Only the following keys starting"
            " with 'triton_' are allowed: triton_enable_empty_final_response",
        ),
        (lambda m: m.parameters["k"].SetInParent(), "parameter 'k' has no value"),
    ):
        assert refusal(changed(a_message(ROW), change), SIGNATURE) == words
    del typed.inputs[0].contents.fp32_contents[:]
    typed.inputs[0].contents.int_contents.extend([1, 2])
    assert refusal(typed) == (
        "unexpected explicit tensor data for input tensor 'x' for model 'm' of type 'INT32', expected datatype 'FP32'"
    )


@pytest.mark.parametrize(
    ("shape", "data", "words"),
    [
        ([1, 3], bytes(8), "Expected 12, got 8"),
        ([1, 1], bytes(8), "Expected 4, got 8"),
        ([2**31, 2**31], bytes(8), "more than 1099511627776 elements"),
        ([2**62, 0], b"", "more than 1099511627776 elements"),
        ([1] * 33, bytes(4), "33 dimensions"),
    ],
)
def test_shapes_and_raw_sizes_must_agree(shape, data, words):
    message = ModelInferRequest(raw_input_contents=[data])
    message.inputs.add(name="x", datatype="FP32", shape=shape)
    assert words in refusal(message)


@pytest.mark.parametrize("datatype", FIELDS)
def test_shapes_and_numbers_of_typed_values_must_agree(datatype):
    values = [b"a", b"b"] if datatype == "BYTES" else [1, 1]
    message = ModelInferRequest()
    item = message.inputs.add(name="x", datatype=datatype, shape=[3])
    getattr(item.contents, FIELDS[datatype]).extend(values)
    assert ("got 2" if datatype == "BYTES" else "Expected") in refusal(message)


@pytest.mark.parametrize(
    ("datatype", "value"),
    [("INT8", 128), ("INT8", -129), ("INT16", 2**15), ("UINT8", 256), ("UINT16", 2**16)],
)
def test_a_typed_value_that_does_not_fit_is_refused(datatype, value):
    message = ModelInferRequest()
    item = message.inputs.add(name="x", datatype=datatype, shape=[2])
    getattr(item.contents, FIELDS[datatype]).extend([1, value])
    assert refusal(message) == f"input 'x' holds {value}, out of range for {datatype}"


@pytest.mark.parametrize("datatype", ["FP16", "BF16"])
def test_half_precision_has_no_typed_field(datatype):
    message = ModelInferRequest()
    message.inputs.add(name="x", datatype=datatype, shape=[1]).contents.fp32_contents.append(1)
    assert f"of type 'FP32', expected datatype '{datatype}'" in refusal(message)


def test_classes_are_a_positive_number():
    for kind, value, words in (
        ("int64_param", 0, "invalid value for 'classification' parameter, expected >= 0"),
        ("string_param", "2", "invalid value type for 'classification' parameter, expected int64_param"),
    ):
        message = a_message(ROW)
        setattr(message.outputs.add(name="a").parameters["classification"], kind, value)
        assert refusal(message) == words


def test_a_region_of_shared_memory_is_none_that_is_known():
    message = a_message(ROW)
    message.inputs[0].parameters["shared_memory_region"].string_param = "r"
    assert refusal(message, kind=NotFound) == "Unable to find shared memory region: 'r'"
    message = a_message(ROW)
    message.outputs.add(name="a").parameters["shared_memory_region"].string_param = "r"
    assert refusal(message, kind=NotFound) == "Unable to find shared memory region: 'r'"


def test_tensors_are_not_without_number():
    message = ModelInferRequest()
    for number in range(4097):
        message.inputs.add(name=str(number), datatype="FP32", shape=[0])
    assert refusal(message) == "a request may have at most 4096 inputs, got 4097"


@given(st.binary(max_size=200), st.booleans())
def test_any_bytes_are_a_request_or_refused(data, big):
    if big:
        data += b"\x3a\xff\xff\x01" + bytes(2**15 - 1)
    try:
        decoded = grpc_codec.decode_infer(grpc_codec.parse_infer(data), "m", "1", None)
    except DragomanError:
        return
    assert decoded.request.model == "m"


# Answers.


def encode(response, classes=None, final=None, signature=SIGNATURE):
    return b"".join(grpc_codec.encode_infer(response, classes or {}, signature, final))


@given(st.lists(tensors(), max_size=3), st.text(max_size=5))
def test_answers_are_written_raw(outputs, id_):
    message = ModelInferResponse.FromString(encode(InferResponse("m", "1", tuple(outputs), id_)))
    assert (message.model_name, message.model_version, message.id) == ("m", "1", id_)
    described = [(output.name, output.datatype, tuple(output.shape)) for output in message.outputs]
    assert described == [(tensor.name, tensor.datatype, tensor.shape) for tensor in outputs]
    assert list(message.raw_output_contents) == [bytes(encode_raw(tensor)) for tensor in outputs]


@given(
    st.lists(tensors(tuple(FIELDS)), max_size=3, unique_by=lambda tensor: tensor.name), st.text(max_size=5)
)
def test_answers_may_be_written_typed(outputs, id_):
    message = ModelInferResponse.FromString(
        grpc_codec.encode_typed(InferResponse("m", "1", tuple(outputs), id_))
    )
    again = a_message()
    for output in message.outputs:  # inputs have the same fields
        again.inputs.add().ParseFromString(output.SerializeToString())
    for got, wanted in zip(decode(again).request.inputs, outputs, strict=True):
        same(got, wanted)
    assert message.id == id_


def test_what_has_no_typed_field_is_written_raw():
    outputs = (Tensor("h", "FP16", np.ones(2, np.float16)), Tensor("f", "FP32", np.ones(2, np.float32)))
    message = ModelInferResponse.FromString(grpc_codec.encode_typed(InferResponse("m", "1", outputs)))
    assert [len(data) for data in message.raw_output_contents] == [4, 8]
    assert not any(output.HasField("contents") for output in message.outputs)


def test_big_outputs_are_handed_out_where_they_lie():
    data = np.zeros(100_000, np.float32)
    pieces = grpc_codec.encode_infer(InferResponse("m", "1", (Tensor("y", "FP32", data),)), {}, None)
    assert any(np.shares_memory(np.asarray(piece), data) for piece in pieces if isinstance(piece, memoryview))


def test_parameters_of_every_kind_are_written():
    tensor = Tensor("y", "FP32", np.ones(1, np.float32), {"scale": 2.5})
    told = {"s": "v", "i": -3, "u": 2**63, "f": 1.5, "b": True, "list": [1], "huge": 2**70}
    message = ModelInferResponse.FromString(encode(InferResponse("m", "1", (tensor,), parameters=told)))
    read = {
        key: getattr(value, value.WhichOneof("parameter_choice")) for key, value in message.parameters.items()
    }
    assert read == told | {"list": "[1]", "huge": str(2**70)}
    assert message.outputs[0].parameters["scale"].double_param == 2.5


def test_classes_take_the_place_of_their_output():
    outputs = tuple(Tensor(name, "FP32", np.array([[1, 3, 2]], np.float32)) for name in "ab")
    message = ModelInferResponse.FromString(encode(InferResponse("m", "1", outputs), {"a": 2, "b": 0}))
    assert [(o.name, o.datatype, list(o.shape)) for o in message.outputs] == [
        ("a", "BYTES", [1, 2]),
        ("b", "FP32", [1, 3]),
    ]
    assert b"3.000000:1:dog" in message.raw_output_contents[0]


@pytest.mark.parametrize("final", [True, False])
def test_an_answer_of_a_stream_tells_whether_it_is_the_last(final):
    response = InferResponse("m", "1", (ROW,), "7")
    pieces = grpc_codec.encode_streamed(grpc_codec.encode_infer(response, {}, None, final))
    message = ModelStreamInferResponse.FromString(b"".join(pieces))
    assert message.error_message == ""
    assert message.infer_response.parameters["triton_final_response"].bool_param is final
    assert message.infer_response.id == "7"
    assert message.infer_response.raw_output_contents[0] == ROW.data.tobytes()


def test_the_empty_end_and_errors_of_a_stream_are_triton_s():
    last = b"".join(grpc_codec.encode_streamed(grpc_codec.encode_empty_final("m", "7")))
    expected = ModelStreamInferResponse()
    expected.infer_response.model_name, expected.infer_response.id = "m", "7"
    expected.infer_response.parameters["triton_final_response"].bool_param = True
    assert ModelStreamInferResponse.FromString(last) == expected
    refused = ModelStreamInferResponse(error_message="no")
    refused.infer_response.id = "7"
    assert b"".join(grpc_codec.encode_stream_error("no", "7")) == refused.SerializeToString()
    failed = b"".join(grpc_codec.encode_stream_error("no", "7", "m"))
    expected.error_message = "no"
    assert ModelStreamInferResponse.FromString(failed) == expected
