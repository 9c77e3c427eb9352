"""The same calls, on KServe 0.21 and here: what both answer, in words, documents and bytes."""

import importlib
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some
from hypothesis.extra import numpy as arrays

from dragoman.compat.kserve import dialect


def everything(package):
    types = importlib.import_module(f"{package}.protocol.infer_type")
    more = {
        name: getattr(importlib.import_module(f"{package}.{module}"), name)
        for module, name in (
            ("utils.utils", "get_predict_input"),
            ("utils.utils", "get_predict_response"),
            ("utils.utils", "is_structured_cloudevent"),
            ("utils.utils", "strtobool"),
            ("utils.numpy_codec", "from_np_dtype"),
            ("utils.numpy_codec", "to_np_dtype"),
            ("errors", "InferenceError"),
            ("errors", "InvalidInput"),
            ("errors", "ModelMissingError"),
            ("errors", "ModelNotFound"),
            ("errors", "ModelNotReady"),
            ("errors", "NoModelReady"),
            ("errors", "ServerNotLive"),
            ("errors", "ServerNotReady"),
            ("errors", "UnsupportedProtocol"),
            ("errors", "WorkersShouldBeLessThanMaxWorkersError"),
        )
    }
    messages = importlib.import_module(f"{package}.protocol.grpc.grpc_predict_v2_pb2")
    return SimpleNamespace(**{**vars(types), **more, "pb": messages})


THEIRS, OURS = everything("kserve"), everything("dragoman.compat.kserve")
F4 = np.array([[1.5, -2.0], [0.0, 3.25]], np.float32)
TEXT = np.array(["a", "ü"], dtype=object)
DATATYPES = ("BOOL", "INT8", "INT16", "INT32", "INT64", "UINT8", "UINT16", "UINT32", "UINT64", "FP32", "FP64")
DTYPES = (*"?bhilBHILefdO", "S3", "U3", "M8[s]", "c8", "m8[s]")
EVENT = {"id": "1", "time": "t", "type": "x", "source": "s", "specversion": "1.0", "data": {}}


def input_(k, data=None, datatype="FP32", shape=(2, 2), array=None, binary=True, raw=None, **more):
    tensor = k.InferInput("x", list(shape), datatype, data, **more)
    if array is not None:
        tensor.set_data_from_numpy(array, binary_data=binary)
    if raw is not None:
        tensor._raw_data = raw
    return tensor


def output(k, data=None, datatype="FP32", shape=(2, 2), array=None, binary=True, name="y"):
    tensor = k.InferOutput(name, list(shape), datatype, data)
    if array is not None:
        tensor.set_data_from_numpy(array, binary_data=binary)
    return tensor


def request(k, *inputs, **more):
    return k.InferRequest("m", list(inputs), "7", **more)


def response(k, *outputs, **more):
    return k.InferResponse("7", "m", list(outputs), "1", **more)


def served(k, body, **more):
    return k.InferRequest.from_bytes(body, len(body) - more.pop("raw", 0), "m")


TWO = b'{"id":"9","inputs":[{"name":"x","shape":[2],"datatype":"%s","data":[%s]}]}'
BINARY = (
    b'{"inputs":[{"name":"x","shape":[2],"datatype":"FP32","parameters":{"binary_data_size":8}}],'
    b'"outputs":[{"name":"y","parameters":{"binary_data":true}}],"parameters":{"binary_data_output":true}}'
    b"\x00\x00\x80?\x00\x00\x00@"
)

CASES = {
    "datatypes are in capitals": lambda k: input_(k, datatype="fp32").datatype,
    "as_numpy of a list": lambda k: input_(k, [1, 2, 3, 4]).as_numpy(),
    "as_numpy of a nested list": lambda k: input_(k, [[1, 2], [3, 4]], "INT16").as_numpy(),
    "as_numpy of an array": lambda k: input_(k, F4).as_numpy(),
    "as_numpy of what was set": lambda k: input_(k, array=F4).as_numpy(),
    "as_numpy of what was set to be JSON": lambda k: input_(k, array=F4, binary=False).as_numpy(),
    "as_numpy of texts": lambda k: input_(k, ["a", "b"], "BYTES", (2,)).as_numpy(),
    "as_numpy of bytes": lambda k: input_(k, [b"a", b"b"], "BYTES", (2,)).as_numpy(),
    "as_numpy of raw bytes": lambda k: input_(k, raw=F4.tobytes()).as_numpy(),
    "as_numpy of raw BYTES": lambda k: input_(k, datatype="BYTES", shape=(1,), raw=b"\1\0\0\0a").as_numpy(),
    "as_numpy of another datatype": lambda k: input_(k, [1], "FP128", (1,)).as_numpy(),
    "as_numpy of booleans": lambda k: input_(k, [True, False], "BOOL", (2,)).as_numpy(),
    "as_string of nested bytes": lambda k: input_(k, [[b"a"], [b"b"]], "BYTES", (2, 1)).as_string(),
    "as_string of numbers": lambda k: input_(k, [1]).as_string(),
    "data of what was set": lambda k: input_(k, array=F4).data,
    "data of what was set to be JSON": lambda k: input_(k, array=F4, binary=False).data,
    "data of text that was set to be JSON": lambda k: (
        input_(k, datatype="BYTES", shape=(2,), array=TEXT, binary=False).data
    ),
    "raw data of text": lambda k: input_(k, datatype="BYTES", shape=(2,), array=TEXT)._raw_data,
    "raw data of numbers": lambda k: input_(k, array=F4)._raw_data,
    "raw data of nothing": lambda k: (
        input_(k, datatype="BYTES", shape=(0,), array=np.empty(0, object))._raw_data
    ),
    "raw data of dates": lambda k: (
        input_(k, datatype="BYTES", shape=(1,), array=np.array(["2024-01-02"], dtype=object))._raw_data
    ),
    "the size of raw bytes is a parameter": lambda k: input_(k, array=F4, parameters={"p": 1}).parameters,
    "and no longer when they are to be JSON": lambda k: (
        input_(k, array=F4, binary=False, parameters={"p": 1, "binary_data_size": 3}).parameters
    ),
    "setting another datatype": lambda k: input_(k, array=np.zeros((2, 2))),
    "setting another shape": lambda k: input_(k, array=np.zeros((2, 3), np.float32)),
    "setting fewer dimensions": lambda k: input_(k, array=np.zeros(2, np.float32)),
    "setting a list": lambda k: k.InferInput("x", [1], "FP32").set_data_from_numpy([1.0]),
    "bytes that are no text to be JSON": lambda k: input_(
        k, datatype="BYTES", shape=(1,), array=np.array([b"\xff"], dtype=object), binary=False
    ),
    "how an input shows itself": lambda k: repr(input_(k, [1, 2], "INT8", (2,), parameters={"p": "q"})),
    "how a request shows itself": lambda k: str(request(k, input_(k, [1, 2], "INT8", (2,)))),
    "how an answer shows itself": lambda k: repr(response(k, output(k, ["t"], "BYTES", (1,)))),
    "how a wanted output shows itself": lambda k: repr(k.RequestedOutput("y", {"binary_data": True})),
    "a request as a dict": lambda k: request(k, input_(k, [1, 2], "INT8", (2,))).to_dict(),
    "equal inputs": lambda k: input_(k, [1]) == input_(k, [1]),
    "other data": lambda k: input_(k, [1]) == input_(k, [2]),
    "raw and not": lambda k: input_(k, array=F4) == input_(k, array=F4, binary=False),
    "equal requests": lambda k: request(k, input_(k, [1])) == request(k, input_(k, [1])),
    "requests that want other outputs": lambda k: (
        request(k, input_(k, [1])) == request(k, input_(k, [1]), request_outputs=[k.RequestedOutput("y")])
    ),
    "an input is no output": lambda k: input_(k, [1]) == output(k, [1]),
    "to_rest of lists": lambda k: request(k, input_(k, [[1, 2], [3, 4]])).to_rest(),
    "to_rest of an array": lambda k: request(k, input_(k, F4)).to_rest(),
    "to_rest of raw bytes": lambda k: request(k, input_(k, array=F4), input_(k, [1, 2, 3, 4])).to_rest(),
    "to_rest of half floats": lambda k: request(
        k, input_(k, array=F4.astype("f2"), datatype="FP16")
    ).to_rest(),
    "to_rest of half floats in a list": lambda k: request(k, input_(k, [1, 2, 3, 4], "FP16")).to_rest(),
    "to_rest of nothing": lambda k: request(k, input_(k)).to_rest(),
    "to_rest of both": lambda k: request(k, input_(k, [1, 2, 3, 4], raw=F4.tobytes())).to_rest(),
    "to_rest of an array of another datatype": lambda k: request(k, input_(k, np.zeros((2, 2)))).to_rest(),
    "to_rest with all that a request has": lambda k: request(
        k,
        input_(k, ["t"], "BYTES", (1,), parameters={"p": True}),
        parameters={"q": 1.5},
        request_outputs=[k.RequestedOutput("y", {"binary_data": True}), k.RequestedOutput("z")],
    ).to_rest(),
    "an answer's to_rest of lists is flat": lambda k: response(k, output(k, [[1, 2], [3, 4]])).to_rest(),
    "an answer's to_rest of an array": lambda k: response(k, output(k, F4)).to_rest(),
    "an answer's to_rest of raw bytes": lambda k: response(k, output(k, array=F4)).to_rest(),
    "an answer's to_rest of raw bytes as such": lambda k: response(
        k, output(k, array=F4), use_binary_outputs=True
    ).to_rest(),
    "an answer's to_rest of text as raw bytes": lambda k: response(
        k, output(k, ["a", "ü"], "BYTES", (2,)), use_binary_outputs=True
    ).to_rest(),
    "an answer's to_rest of no elements": lambda k: response(k, output(k, [], "FP32", (0,))).to_rest(),
    "an answer's to_rest of half floats": lambda k: response(k, output(k, F4.astype("f2"), "FP16")).to_rest(),
    "an answer's to_rest of half floats as raw bytes": lambda k: response(
        k, output(k, F4.astype("f2"), "FP16"), use_binary_outputs=True
    ).to_rest(),
    "an answer's to_rest of nothing": lambda k: response(k, output(k)).to_rest(),
    "an answer's to_rest of what is wanted": lambda k: response(
        k,
        output(k, F4),
        output(k, [1], "INT8", (1,), name="z"),
        requested_outputs=[k.RequestedOutput("z"), k.RequestedOutput("y", {"binary_data": True})],
    ).to_rest(),
    "an answer's to_rest of what is wanted and not there": lambda k: response(
        k, output(k, F4), requested_outputs=[k.RequestedOutput("q")]
    ).to_rest(),
    "an answer's parameters": lambda k: response(k, output(k, F4), parameters={"p": "q"}).to_rest(),
    "to_grpc of lists": lambda k: request(k, input_(k, [1, 2, 3, 4])).to_grpc(),
    "to_grpc of text": lambda k: request(k, input_(k, ["a", b"\xff"], "BYTES", (2,))).to_grpc(),
    "to_grpc of an array": lambda k: request(k, input_(k, F4)).to_grpc(),
    "to_grpc of raw bytes": lambda k: request(k, input_(k, array=F4)).to_grpc(),
    "to_grpc of nothing": lambda k: request(k, input_(k)).to_grpc(),
    "to_grpc of another datatype": lambda k: request(k, input_(k, [1], "FP128", (1,))).to_grpc(),
    "to_grpc of a list in a parameter": lambda k: request(k, input_(k, [1], parameters={"p": []})).to_grpc(),
    "to_grpc with all that a request has": lambda k: request(
        k,
        input_(k, [1, 2, 3, 4], parameters={"p": True, "q": 7}),
        parameters={"s": "t"},
        request_outputs=[k.RequestedOutput("y", {"classification": 3})],
        model_version="2",
    ).to_grpc(),
    "an answer's to_grpc of lists": lambda k: response(k, output(k, [1, 2, 3, 4])).to_grpc(),
    "an answer's to_grpc of an array": lambda k: response(k, output(k, F4)).to_grpc(),
    "an answer's to_grpc of lists as raw bytes": lambda k: response(
        k, output(k, [1, 2, 3, 4]), use_binary_outputs=True
    ).to_grpc(),
    "an answer's to_grpc with half floats in it": lambda k: response(
        k, output(k, [1, 2, 3, 4]), output(k, [1, 2, 3, 4], "FP16")
    ).to_grpc(),
    "an answer's to_grpc of nothing": lambda k: response(k, output(k)).to_grpc(),
    "an answer's to_grpc of another datatype": lambda k: response(k, output(k, [1], "FP128", (1,))).to_grpc(),
    "from_bytes of JSON": lambda k: served(k, TWO % (b"INT32", b"1,2")).to_dict(),
    "from_bytes of raw bytes": lambda k: served(k, BINARY, raw=8).to_dict(),
    "from_bytes as numpy": lambda k: served(k, BINARY, raw=8).inputs[0].as_numpy(),
    "from_bytes wants raw outputs": lambda k: served(k, BINARY, raw=8).use_binary_outputs,
    "from_bytes wants outputs": lambda k: served(k, BINARY, raw=8).request_outputs[0].binary_data,
    "from_bytes of what is no JSON": lambda k: served(k, b"{"),
    "from_bytes without data": lambda k: served(
        k, b'{"inputs":[{"name":"x","shape":[1],"datatype":"FP32"}]}'
    ),
    "an answer's from_bytes": lambda k: k.InferResponse.from_bytes(
        b'{"model_name":"m","id":"1","outputs":[{"name":"y","shape":[1],"datatype":"INT8","data":[3]}]}', 93
    ).to_dict(),
    "an answer's from_rest": lambda k: k.InferResponse.from_rest(
        {"model_name": "m", "outputs": [{"name": "y", "shape": [1], "datatype": "INT8", "data": [3]}]}
    ).to_dict(),
    "from_grpc of lists": lambda k: k.InferRequest.from_grpc(
        request(k, input_(k, [1, 2, 3, 4], parameters={"p": 2}), model_version="3").to_grpc()
    ).to_dict()["inputs"],
    "from_grpc of raw bytes": lambda k: (
        k.InferRequest.from_grpc(request(k, input_(k, F4)).to_grpc()).inputs[0].as_numpy()
    ),
    "from_grpc of raw bytes wants raw outputs": lambda k: (
        k.InferRequest.from_grpc(request(k, input_(k, F4)).to_grpc()).use_binary_outputs
    ),
    "from_grpc of another datatype": lambda k: k.InferRequest.from_grpc(
        k.pb.ModelInferRequest(inputs=[{"name": "x", "datatype": "FP128"}])
    ),
    "an answer's from_grpc": lambda k: (
        k.InferResponse.from_grpc(response(k, output(k, F4)).to_grpc()).outputs[0].as_numpy()
    ),
    "serialize bytes": lambda k: k.serialize_byte_tensor(np.array([b"a", "ü", 5], dtype=object)).item(),
    "serialize numpy's bytes": lambda k: k.serialize_byte_tensor(np.array([b"ab", b"c"])).item(),
    "serialize nothing": lambda k: k.serialize_byte_tensor(np.empty(0, object)),
    "serialize numbers": lambda k: k.serialize_byte_tensor(np.zeros(1)),
    "deserialize": lambda k: k.deserialize_bytes_tensor(b"\1\0\0\0a\0\0\0\0"),
    "parameters from messages": lambda k: k.to_http_parameters(
        {"a": k.pb.InferParameter(bool_param=False), "b": k.pb.InferParameter(), "c": 1}
    ),
    "contents": lambda k: k.get_content("UINT8", k.pb.InferTensorContents(uint_contents=[1, 2])),
    "contents of half floats": lambda k: k.get_content("FP16", k.pb.InferTensorContents()),
    "contents of another datatype": lambda k: k.get_content("X", k.pb.InferTensorContents()),
    "instances": lambda k: k.get_predict_input({"instances": [[1, 2], [3, 4]]}),
    "inputs come first": lambda k: k.get_predict_input({"inputs": [1], "instances": [2]}),
    "no instances": lambda k: k.get_predict_input({"instances": []}),
    "instances of text": lambda k: k.get_predict_input({"instances": ["a", "b"]}),
    "instances with names": lambda k: k.get_predict_input({"instances": [{"a": [1], "b": [2]}]}).to_dict(),
    "instances with chosen columns": lambda k: k.get_predict_input(
        {"instances": [[{"a": 1, "b": 2}], [{"a": 3, "b": 4}]]}, columns=["b"]
    ).to_dict("list"),
    "the first input": lambda k: k.get_predict_input(request(k, input_(k, [1, 2, 3, 4]))),
    "the first input of text": lambda k: k.get_predict_input(request(k, input_(k, ["a"], "BYTES", (1,)))),
    "inputs as a table": lambda k: k.get_predict_input(
        request(k, input_(k, [1, 2], "INT8", (2,)), parameters={"content_type": "pd"})
    ).to_dict("list"),
    "inputs as a table over gRPC": lambda k: k.get_predict_input(
        k.InferRequest.from_grpc(
            request(k, input_(k, [1, 2], "INT8", (2,)), parameters={"content_type": "pd"}).to_grpc()
        )
    ).to_dict("list"),
    "predictions": lambda k: k.get_predict_response({"instances": []}, np.arange(3), "m"),
    "predictions of a list": lambda k: k.get_predict_response({"instances": []}, ["a"], "m"),
    "predictions of a table": lambda k: k.get_predict_response(
        {"instances": []}, importlib.import_module("pandas").DataFrame({"a": [1, 2]}), "m"
    ),
    "an answer of an array": lambda k: k.get_predict_response(request(k), np.arange(3), "m").to_dict(),
    "an answer of a list": lambda k: k.get_predict_response(request(k), [1.5, 2.5], "m").to_dict(),
    "an answer of texts": lambda k: k.get_predict_response(request(k), ["a", "b"], "m").to_dict(),
    "an answer of a table": lambda k: k.get_predict_response(
        request(k), importlib.import_module("pandas").DataFrame({"a": [1, 2], "b": [0.5, 1]}), "m"
    ).to_dict(),
    "an answer of raw bytes": lambda k: k.get_predict_response(
        request(k, parameters={"binary_data_output": True}), np.arange(3, dtype=np.int32), "m"
    ).to_rest(),
    "an answer to something else": lambda k: k.get_predict_response(3, np.arange(3), "m"),
    "truths": lambda k: [
        k.strtobool(word) for word in ("y", "Yes", "TRUE", "on", "1", "n", "no", "f", "OFF", "0")
    ],
    "neither true nor false": lambda k: k.strtobool("maybe"),
    "an event": lambda k: [k.is_structured_cloudevent(EVENT), k.is_structured_cloudevent({"id": "1"})],
    "datatypes of numpy": lambda k: [k.from_np_dtype(np.dtype(name)) for name in DTYPES],
    "dtypes of datatypes": lambda k: [
        None if k.to_np_dtype(name) is None else np.dtype(k.to_np_dtype(name)).str
        for name in [*DATATYPES, "FP16", "BYTES", "FP8"]
    ],
    "words of errors": lambda k: [
        str(error)
        for error in (
            k.InvalidInput("bad"),
            k.InferenceError("bad"),
            k.InferenceError("bad", status="E42", debug_details="x"),
            k.ModelMissingError("/models/m"),
            k.ModelNotFound("m"),
            k.ModelNotReady("m"),
            k.ModelNotReady("m", "warming up"),
            k.ServerNotLive(),
            k.ServerNotReady("later"),
            k.UnsupportedProtocol("v3"),
            k.WorkersShouldBeLessThanMaxWorkersError(4),
            k.NoModelReady([SimpleNamespace(name="a")]),
            k.NoModelReady([SimpleNamespace(name="a"), SimpleNamespace(name="b")], "sorry"),
        )
    ],
}


@pytest.fixture(autouse=True)
def current(new):
    pass


def outcome(case, k):
    """What comes of it, in a form that both sides can have."""
    try:
        return comparable(case(k))
    except Exception as error:
        return type(error).__name__, str(error)


def comparable(value):
    if hasattr(value, "SerializeToString"):
        return value.SerializeToString(deterministic=True)
    if isinstance(value, np.ndarray):
        return value.dtype.str, value.shape, value.tolist()
    if isinstance(value, dict):
        return {key: comparable(member) for key, member in value.items()}
    if isinstance(value, (list, tuple)):
        return [comparable(member) for member in value]
    return value


@pytest.mark.parametrize("name", CASES)
def test_both_answer_the_same(name):
    assert outcome(CASES[name], OURS) == outcome(CASES[name], THEIRS)


datatypes = some.sampled_from(DATATYPES)


@some.composite
def tensors(draw):
    """A datatype and an array of it, without NaN, which is nothing's equal."""
    name = draw(datatypes)
    shape = draw(arrays.array_shapes(max_dims=3, max_side=4))
    dtype = OURS.to_np_dtype(name)
    elements = {"allow_nan": False} if dtype.kind == "f" else None
    return name, draw(arrays.arrays(dtype, shape, elements=elements))


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # the first one imports
@given(tensors(), some.booleans())
def test_both_write_the_same_document(tensor, binary):
    datatype, array = tensor
    dialect.choose("0.21")

    def write(k):
        made = output(k, array, datatype, array.shape)
        return k.InferResponse("1", "m", [made], use_binary_outputs=binary).to_rest()

    assert write(OURS) == write(THEIRS)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # the first one imports
@given(tensors())
def test_both_write_the_same_message(tensor):
    datatype, array = tensor

    def write(k):
        listed = input_(k, datatype=datatype, shape=array.shape, array=array, binary=False)
        return request(k, listed).to_grpc().SerializeToString(deterministic=True)

    assert write(OURS) == write(THEIRS)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # the first one imports
@given(some.lists(some.binary(max_size=20) | some.text(max_size=20), max_size=6))
def test_both_serialize_the_same_bytes(elements):
    array = np.empty(len(elements), object)
    array[:] = elements
    ours, theirs = OURS.serialize_byte_tensor(array), THEIRS.serialize_byte_tensor(array)
    assert ours.shape == theirs.shape
    if elements:
        assert ours.item() == theirs.item()
        assert OURS.deserialize_bytes_tensor(theirs.item()).tolist() == [
            element.encode() if isinstance(element, str) else element for element in elements
        ]
