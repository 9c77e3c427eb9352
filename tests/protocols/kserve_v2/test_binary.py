"""The binary extension: headers, sizes, raw requests, and data that is never copied."""

from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dragoman.errors import InvalidInput
from dragoman.protocols.kserve_v2.binary import decode_header_length
from dragoman.protocols.kserve_v2.codec import Wanted, decode_infer, encode_infer
from dragoman.tensors import bytes_array, join_bytes
from dragoman.types import DTYPES, InferRequest, InferResponse, Signature, Tensor, TensorSpec
from tests.test_tensors import arrays, little_memory, same

FOUR = np.array([[1, 2, 3, 4]], "f4")
HALF = np.full((1, 4), 0.5, "f4")


def item(name: str, shape: list[int], datatype: str, size: Any) -> dict[str, Any]:
    return {"name": name, "shape": shape, "datatype": datatype, "parameters": {"binary_data_size": size}}


def send(
    inputs: list[dict[str, Any]], tail: bytes, model: str = "add_sub", **document: Any
) -> tuple[InferRequest, Wanted]:
    head = orjson.dumps({**document, "inputs": inputs})
    return decode_infer(model, "1", head + tail, str(len(head)), None)


def refuse(inputs: list[dict[str, Any]], tail: bytes, model: str = "add_sub") -> str:
    with little_memory(), pytest.raises(InvalidInput) as caught:
        send(inputs, tail, model)
    return caught.value.message


def two(first: Any = 16, second: Any = 16) -> list[dict[str, Any]]:
    return [item("INPUT0", [1, 4], "FP32", first), item("INPUT1", [1, 4], "FP32", second)]


def raw(body: bytes, *inputs: TensorSpec, batched: bool = False, model: str = "m") -> Tensor:
    request, wanted = decode_infer(model, "1", body, "0", Signature(inputs, (), batched))
    assert wanted == Wanted(binary=True)
    return request.inputs[0]


def refuse_raw(body: bytes, *inputs: TensorSpec, **options: Any) -> str:
    with pytest.raises(InvalidInput) as caught:
        raw(body, *inputs, **options)
    return caught.value.message


def test_raw_tensors_follow_the_json_in_order() -> None:
    request, wanted = send(two(), FOUR.tobytes() + HALF.tobytes())
    assert same(request.inputs[0].data, FOUR)
    assert same(request.inputs[1].data, HALF)
    assert request.inputs[0].parameters == {}
    assert wanted == Wanted()


def test_one_input_may_be_raw_and_another_json() -> None:
    row = {"name": "INPUT1", "shape": [1, 4], "datatype": "FP32", "data": [0.5, 0.5, 0.5, 0.5]}
    request, _ = send([two()[0], row], FOUR.tobytes())
    assert same(request.inputs[1].data, HALF)


@pytest.mark.parametrize("wrap", [bytes, memoryview, bytearray])
def test_a_megabyte_is_not_copied(wrap: Any) -> None:
    head = orjson.dumps({"inputs": [item("X", [1, 262144], "FP32", 1 << 20)]})
    body = wrap(head + bytes(1 << 20))
    with little_memory(100_000):
        request, _ = decode_infer("m", "1", body, str(len(head)), None)
        array = request.inputs[0].data
        buffers, _ = encode_infer(InferResponse("m", "1", request.inputs), Wanted(binary=True))
    assert np.shares_memory(array, np.frombuffer(body, np.uint8))
    assert np.shares_memory(np.frombuffer(buffers[1], np.uint8), array)


@pytest.mark.parametrize("datatype", list(DTYPES))
@given(data=st.data())
def test_every_datatype_comes_back_as_it_went(datatype: str, data: st.DataObject) -> None:
    array = data.draw(arrays(datatype))
    buffers, length = encode_infer(
        InferResponse("m", "1", (Tensor("X", datatype, array),)), Wanted(binary=True)
    )
    body = b"".join(bytes(buffer) for buffer in buffers)
    assert length == len(buffers[0])
    renamed = body.replace(b'"outputs"', b'"inputs"', 1)
    request, _ = decode_infer("m", "1", renamed, str(length - 1), None)
    assert same(request.inputs[0].data, array)


@pytest.mark.parametrize(
    ("inputs", "tail", "text"),
    [
        (
            two(12),
            bytes(28),
            "[request id: <id_unknown>] input byte size mismatch for input 'INPUT0' for model 'add_sub'."
            " Expected 16, got 12",
        ),
        (
            two(),
            bytes(20),
            "unexpected size for input 'INPUT1', expecting 12 additional bytes for model 'add_sub'",
        ),
        (two(), bytes(34), "unexpected additional input data for model 'add_sub'"),
        *(
            (
                two(size),
                bytes(32),
                "Unable to parse 'binary_data_size': attempt to access JSON non-unsigned-integer as"
                " unsigned-integer",
            )
            for size in ("16", -16, 16.0, True, None)
        ),
        (
            two(2**64 - 1),
            bytes(32),
            "unexpected size for input 'INPUT0', expecting 18446744073709551583 additional bytes for model"
            " 'add_sub'",
        ),
    ],
)
def test_sizes_must_agree(inputs: list[dict[str, Any]], tail: bytes, text: str) -> None:
    assert refuse(inputs, tail) == text


def test_raw_data_without_the_header_is_explained() -> None:
    body = orjson.dumps({"inputs": two()}) + FOUR.tobytes() + HALF.tobytes()
    with pytest.raises(InvalidInput, match="needs the header Inference-Header-Content-Length"):
        decode_infer("add_sub", "1", body, None, None)


def test_raw_data_without_the_header_is_not_there() -> None:
    body = orjson.dumps({"inputs": two()})
    with pytest.raises(
        InvalidInput, match="unexpected size for input 'INPUT0', expecting 16 additional bytes"
    ):
        decode_infer("add_sub", "1", body, None, None)


@pytest.mark.parametrize(
    ("shape", "tail", "text"),
    [
        (
            [1],
            b"\x01\x00\x00",
            "[request id: <id_unknown>] incomplete string length indicator for inference input 'INPUT0' for"
            " model 'identity_bytes', expecting 4 bytes but only 3 bytes available. Please make sure the string"
            " length indicator is in one buffer.",
        ),
        (
            [1],
            b"d\x00\x00\x00ab",
            "incomplete string data for inference input 'INPUT0', expecting string of length 100 but only 2"
            " bytes available",
        ),
        (
            [3],
            join_bytes([b"ab", b"c"]),
            "[request id: <id_unknown>] expected 3 string elements for inference input 'INPUT0' for model"
            " 'identity_bytes', got 2",
        ),
        (
            [1],
            join_bytes([b"ab", b"c"]),
            "[request id: <id_unknown>] unexpected number of string elements 2 for inference input 'INPUT0' for"
            " model 'identity_bytes', expecting 1",
        ),
    ],
)
def test_strings_must_fit_their_frame(shape: list[int], tail: bytes, text: str) -> None:
    assert refuse([item("INPUT0", shape, "BYTES", len(tail))], tail, "identity_bytes") == text


@pytest.mark.parametrize(("value", "length"), [(None, 238), ("0", 0), ("238", 238), ("7", 7), ("+7", 7)])
def test_the_header_tells_how_long_the_json_is(value: str | None, length: int) -> None:
    assert decode_header_length(value, 238) == length


@pytest.mark.parametrize("value", ["-5", "100000", "99999999999", str(2**64), "1" * 5000])
def test_a_length_out_of_range_is_refused(value: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        decode_header_length(value, 238)
    assert caught.value.message == f"inference header size should be in range (0, 238), got: {value[:32]}"


@pytest.mark.parametrize("value", ["abc", "", "-", "1_0", "0x10", "1.0", "²", "٣", "--5"])
def test_a_length_that_is_no_number_is_refused(value: str) -> None:
    with pytest.raises(
        InvalidInput, match=r"^Unable to parse Inference-Header-Content-Length, got: "
    ) as caught:
        decode_header_length(value, 238)
    assert caught.value.message.isascii()


def test_json_cut_short_by_the_header_is_refused() -> None:
    with pytest.raises(InvalidInput, match=r"^failed to parse the request JSON buffer: .* at 1$"):
        decode_infer("m", "1", b'{"inputs": []}', "1", None)


@pytest.mark.parametrize(
    ("document", "binary"),
    [
        ({"outputs": [{"name": "A", "parameters": {"binary_data": True}}, {"name": "B"}]}, ["A"]),
        ({"parameters": {"binary_data_output": True}}, ["A", "B"]),
        ({"parameters": {"binary_data_output": True}, "outputs": []}, ["A", "B"]),
        (
            {
                "parameters": {"binary_data_output": True},
                "outputs": [{"name": "A"}, {"name": "B", "parameters": {"binary_data": False}}],
            },
            [],
        ),
        ({"parameters": {"binary_data_output": False}}, []),
        ({}, []),
    ],
)
def test_the_client_chooses_which_outputs_are_raw(document: dict[str, Any], binary: list[str]) -> None:
    _, wanted = send(two(), bytes(32), **document)
    outputs = (Tensor("A", "FP32", FOUR), Tensor("B", "FP32", HALF))
    buffers, length = encode_infer(InferResponse("m", "1", outputs), wanted)
    entries = orjson.loads(bytes(buffers[0]))["outputs"]
    assert [entry["name"] for entry in entries if "data" not in entry] == binary
    assert [entry.get("parameters") for entry in entries if "data" not in entry] == [
        {"binary_data_size": 16}
    ] * len(binary)
    assert len(buffers) == 1 + len(binary)
    assert (length is None) == (not binary)


def test_an_answer_with_raw_data_is_written_as_recorded() -> None:
    wanted = Wanted(False, {"OUTPUT0": (True, 0), "OUTPUT1": (False, 0)})
    outputs = (Tensor("OUTPUT0", "FP32", FOUR + 0.5), Tensor("OUTPUT1", "FP32", FOUR - 0.5))
    buffers, length = encode_infer(InferResponse("add_sub", "1", outputs, id="b"), wanted)
    assert length == 229
    assert b"".join(map(bytes, buffers)) == (
        b'{"id":"b","model_name":"add_sub","model_version":"1","outputs":[{"name":"OUTPUT0","datatype":"FP32",'
        b'"shape":[1,4],"parameters":{"binary_data_size":16}},{"name":"OUTPUT1","datatype":"FP32","shape":[1,4],'
        b'"data":[0.5,1.5,2.5,3.5]}]}\x00\x00\xc0?\x00\x00 @\x00\x00`@\x00\x00\x90@'
    )


# Raw requests: no JSON at all


def test_the_shape_of_a_raw_request_follows_from_its_size() -> None:
    assert raw(bytes(12), TensorSpec("X", "FP32", (-1,))).data.shape == (3,)
    assert raw(bytes(8), TensorSpec("X", "FP32", (-1, 2)), batched=True).data.shape == (1, 2)
    assert raw(bytes(24), TensorSpec("X", "FP32", (-1, 2, -1)), batched=True).data.shape == (1, 2, 3)
    assert raw(bytes(4), TensorSpec("X", "INT32", (1,))).data.tolist() == [0]
    assert raw(b"", TensorSpec("X", "FP32", (-1,))).data.shape == (0,)


def test_a_raw_request_of_bytes_is_one_element_without_a_frame() -> None:
    tensor = raw(b"hello", TensorSpec("X", "BYTES", (-1, 1)), batched=True)
    assert same(tensor.data, bytes_array([b"hello"], (1, 1)))


def test_an_empty_body_is_a_raw_request() -> None:
    with pytest.raises(InvalidInput, match=r"Raw request must only have 1 input \(found 1\)"):
        decode_infer("m", "1", b"", None, None)


@pytest.mark.parametrize(
    ("inputs", "body", "text"),
    [
        (
            [TensorSpec("A", "FP32", (4,)), TensorSpec("B", "FP32", (4,))],
            bytes(32),
            "Raw request must only have 1 input (found 1) to be deduced but got 2 inputs in 'm' model"
            " configuration",
        ),
        (
            [TensorSpec("INPUT0", "BYTES", (-1,))],
            b"hello",
            "For BYTE datatype raw input 'INPUT0', the model must have input shape [1]",
        ),
        (
            [TensorSpec("X", "FP32", (-1,))],
            b"12345",
            "input byte size mismatch for input 'raw_input' for model 'm'. Expected 4, got 5",
        ),
        (
            [TensorSpec("X", "FP32", (0, -1))],
            b"1234",
            "input byte size mismatch for input 'raw_input' for model 'm'. Expected 0, got 4",
        ),
        (
            [TensorSpec("INPUT0", "FP32", (-1, -1))],
            b"1234",
            "The shape of the raw input 'INPUT0' can not be deduced because there are more than one"
            " variable-sized dimension",
        ),
    ],
)
def test_a_raw_request_that_leaves_a_question_is_refused(
    inputs: list[TensorSpec], body: bytes, text: str
) -> None:
    assert refuse_raw(body, *inputs) == f"[request id: <id_unknown>] {text}"


# The reference client


@pytest.mark.parametrize("binary_in", [True, False])
@pytest.mark.parametrize("binary_out", [True, False])
@pytest.mark.parametrize("datatype", ["BOOL", "INT8", "UINT64", "FP32", "FP64", "BYTES"])
def test_the_reference_client_is_understood_and_understands(
    binary_in: bool, binary_out: bool, datatype: str
) -> None:
    client = pytest.importorskip("tritonclient.http")
    values: Any = [b"a", "é".encode()] if datatype == "BYTES" else [[0, 1]]
    array = np.array(values, DTYPES[datatype]).reshape(1, 2)
    if datatype == "FP32":
        array[0, 0] = np.nan
    sent = client.InferInput("X", [1, 2], datatype)
    sent.set_data_from_numpy(array, binary_data=binary_in)
    wanted_output = client.InferRequestedOutput("X", binary_data=binary_out)
    body, json_size = client.InferenceServerClient.generate_request_body([sent], outputs=[wanted_output])
    request, wanted = decode_infer("m", "1", body, None if json_size is None else str(json_size), None)
    assert same(request.inputs[0].data, array)
    buffers, length = encode_infer(InferResponse("m", "1", request.inputs, request.id), wanted)
    answer = b"".join(map(bytes, buffers))
    result = client.InferenceServerClient.parse_response_body(answer, header_length=length).as_numpy("X")
    if datatype == "BYTES" and not binary_out:
        result = np.array([[text.encode() for text in result[0]]], object)  # the client gives text here
    assert same(result, array)
