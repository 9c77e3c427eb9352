"""Open Inference Protocol v2 over HTTP: tables of recorded exchanges, bombs, round trips."""

import json
import math
from contextlib import suppress
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dragoman.config import ModelSettings
from dragoman.errors import DragomanError, InvalidInput, ModelFailed, NotFound, TooLarge, Unsupported
from dragoman.protocols.kserve_v2 import codec
from dragoman.protocols.kserve_v2.codec import IndexEntry, decode_infer, encode_infer
from dragoman.tensors import bytes_array
from dragoman.types import InferRequest, InferResponse, Signature, Tensor, TensorSpec
from tests.test_tensors import IN_JSON, arrays, little_memory, same

ADD_SUB = Signature(
    (TensorSpec("INPUT0", "FP32", (-1, 4)), TensorSpec("INPUT1", "FP32", (-1, 4))),
    (
        TensorSpec("OUTPUT0", "FP32", (-1, 4), labels=("cat", "dog", "bird", "fish")),
        TensorSpec("OUTPUT1", "FP32", (-1, 4)),
    ),
    batched=True,
    max_batch=8,
)
ROW0 = {"name": "INPUT0", "shape": [1, 4], "datatype": "FP32", "data": [1.0, 2.0, 3.0, 4.0]}
ROW1 = {"name": "INPUT1", "shape": [1, 4], "datatype": "FP32", "data": [0.5, 0.5, 0.5, 0.5]}
INTEGER = {"name": "X", "shape": [1], "datatype": "INT32", "data": [1]}


def decode(document: Any, model: str = "add_sub", signature: Signature | None = ADD_SUB) -> InferRequest:
    body = document if isinstance(document, bytes) else orjson.dumps(document)
    return decode_infer(model, "1", body, None, signature)[0]


def refuse(document: Any, kind: type[DragomanError] = InvalidInput, **options: Any) -> str:
    with pytest.raises(kind) as caught:
        decode(document, **options)
    return caught.value.message


def tensor(name: str, values: Any, datatype: str = "FP32") -> Tensor:
    return Tensor(name, datatype, np.array(values, "f4" if datatype == "FP32" else None))


def answer(*outputs: Tensor, wanted: codec.Wanted | None = None, **options: Any) -> bytes:
    response = InferResponse(options.pop("model", "add_sub"), "1", outputs, **options)
    (text,), length = encode_infer(response, wanted or codec.Wanted(), ADD_SUB)
    assert length is None
    return bytes(text)


# Requests


def test_a_request_becomes_tensors() -> None:
    request = decode({"inputs": [ROW0, ROW1], "id": "req-42", "outputs": [{"name": "OUTPUT1"}]})
    assert (request.model, request.version, request.id, request.outputs) == (
        "add_sub",
        "1",
        "req-42",
        ("OUTPUT1",),
    )
    assert [tensor.name for tensor in request.inputs] == ["INPUT0", "INPUT1"]
    assert request.inputs[0].data.dtype == np.float32
    assert request.inputs[0].data.tolist() == [[1, 2, 3, 4]]


def test_a_request_from_a_receive_buffer_is_the_same() -> None:
    body = bytearray(orjson.dumps({"inputs": [ROW0]}))
    request, _ = decode_infer("m", "1", memoryview(body), None, None)
    assert request.inputs[0].data.tolist() == [[1, 2, 3, 4]]


def test_nested_data_unknown_keys_and_no_outputs_are_fine() -> None:
    nested = {**ROW0, "shape": [2, 4], "data": [[1, 2, 3, 4], [5, 6, 7, 8]]}
    request = decode({"inputs": [nested], "foo": {"a": [{"b": 1}]}, "model_name": "x", "outputs": []})
    assert request.inputs[0].data.tolist() == [[1, 2, 3, 4], [5, 6, 7, 8]]
    assert request.outputs is None


def test_null_means_not_set() -> None:
    request = decode(
        {"id": None, "parameters": None, "outputs": None, "inputs": [{**ROW0, "parameters": None}]}
    )
    assert (request.id, request.parameters, request.outputs, request.inputs[0].parameters) == (
        "",
        {},
        None,
        {},
    )
    request = decode({"parameters": {"a": None}, "inputs": [{**ROW0, "parameters": {"headers": None}}]})
    assert (request.parameters, request.inputs[0].parameters) == ({}, {})


def test_outputs_come_in_the_models_order() -> None:
    names = ["ZZZ", "OUTPUT1", "OUTPUT0"]
    document = {"inputs": [ROW0], "outputs": [{"name": name} for name in names]}
    assert decode(document).outputs == ("OUTPUT0", "OUTPUT1", "ZZZ")
    assert decode(document, signature=None).outputs == tuple(names)


def test_parameters_are_kept_and_priority_is_set() -> None:
    parameters = {"s": "str", "i": 3, "b": True, "f": 1.5, "priority": 1, "timeout": 5000, "sequence_id": "q"}
    request, wanted = decode_infer(
        "m",
        "",
        orjson.dumps({"parameters": parameters | {"binary_data_output": True}, "inputs": [INTEGER]}),
        None,
        None,
    )
    assert request.parameters == parameters
    assert request.priority == 1
    assert wanted.binary


def test_parameters_of_an_input_stay_with_it() -> None:
    request = decode({"inputs": [{**INTEGER, "parameters": {"content_type": "np"}}]})
    assert request.inputs[0].parameters == {"content_type": "np"}


@pytest.mark.parametrize(
    ("data", "datatype", "values"),
    [
        ("[true,false]", "BOOL", [True, False]),
        ("[9223372036854775807,-9223372036854775808]", "INT64", [2**63 - 1, -(2**63)]),
        ("[18446744073709551615]", "UINT64", [2**64 - 1]),
        ("[9007199254740993]", "INT64", [2**53 + 1]),
        ("[7]", "FP32", [7.0]),
        (
            "[1e38,-0.0,1e-45,3.4028235e38]",
            "FP32",
            np.array([1e38, -0.0, 1e-45, 3.4028235e38], "f4").tolist(),
        ),
        ("[Infinity,-Infinity]", "FP32", [math.inf, -math.inf]),
        (
            '["a","","h\\u00e9llo \\u2603 \\"q\\" \\\\ \\n"]',
            "BYTES",
            [b"a", b"", 'héllo ☃ "q" \\ \n'.encode()],
        ),
        ("[]", "FP32", []),
    ],
)
def test_values_arrive_exactly(data: str, datatype: str, values: list[Any]) -> None:
    body = f'{{"inputs":[{{"name":"X","shape":[{len(values)}],"datatype":"{datatype}","data":{data}}}]}}'
    assert decode(body.encode()).inputs[0].data.tolist() == values


UNKNOWN = "[request id: <id_unknown>] "
NO_INPUTS = "Unable to parse 'inputs': attempt to access non-existing object member 'inputs'"
UNSIGNED = "attempt to access JSON non-unsigned-integer as unsigned-integer"
BAD_SHAPE = f"Unable to parse 'shape': {UNSIGNED}"
ONE_SOURCE = (
    "Input must set only one of the following fields: 'data', 'binary_data_size' in 'parameters',"
    " 'shared_memory_region' in 'parameters'. But "
)


def without(item: dict[str, Any], key: str) -> dict[str, Any]:
    return {name: value for name, value in item.items() if name != key}


@pytest.mark.parametrize(
    ("document", "text"),
    [
        ([], NO_INPUTS),
        (3, NO_INPUTS),
        ({}, NO_INPUTS),
        ({"inputs": 3}, "Unable to parse 'inputs': attempt to access JSON non-array as array"),
        ({"inputs": None}, "Unable to parse 'inputs': attempt to access JSON non-array as array"),
        (
            {"inputs": [ROW0], "outputs": {}},
            "Unable to parse 'outputs': attempt to access JSON non-array as array",
        ),
        ({"inputs": [ROW0], "id": 3}, "Unable to parse 'id': attempt to access JSON non-string as string"),
        *(
            (
                {"inputs": [without(ROW0, key)]},
                f"Unable to parse '{key}': attempt to access non-existing object member '{key}'",
            )
            for key in ("name", "shape", "datatype")
        ),
        ({"inputs": [3]}, "Unable to parse 'name': attempt to access non-existing object member 'name'"),
        (
            {"inputs": [{**ROW0, "name": 3}]},
            "Unable to parse 'name': attempt to access JSON non-string as string",
        ),
        (
            {"inputs": [{**ROW0, "shape": 3}]},
            "Unable to parse 'shape': attempt to access JSON non-array as array",
        ),
        (
            {"inputs": [{**ROW0, "datatype": []}]},
            "Unable to parse 'datatype': attempt to access JSON non-string as string",
        ),
        ({"inputs": [{**ROW0, "datatype": "FLOAT"}]}, "invalid datatype for input INPUT0"),
        ({"inputs": [{**ROW0, "datatype": "fp32"}]}, "invalid datatype for input INPUT0"),
        ({"inputs": [{**ROW0, "shape": ["a"]}]}, BAD_SHAPE),
        ({"inputs": [{**ROW0, "shape": [-1, 4]}]}, BAD_SHAPE),
        ({"inputs": [{**ROW0, "shape": [1.0, 4]}]}, BAD_SHAPE),
        ({"inputs": [{**ROW0, "shape": [True, 4]}]}, BAD_SHAPE),
        (
            {"inputs": [{**ROW0, "data": 5}]},
            "Unable to parse 'data': attempt to access JSON non-array as array",
        ),
        (
            {"inputs": [{**ROW0, "data": [1, 2, 3, "x"]}]},
            "Unable to parse 'data': attempt to access JSON non-number as double",
        ),
        (
            {"inputs": [{**ROW0, "data": [1, 2]}]},
            "Unable to parse 'data': Shape does not match true shape of 'data' field",
        ),
        ({"inputs": [without(ROW0, "data")]}, f"{ONE_SOURCE}no field is set"),
        (
            {"inputs": [{**ROW0, "parameters": {"binary_data_size": 16}}]},
            f"{ONE_SOURCE}set 'data' 'binary_data_size'",
        ),
        (
            {"inputs": [{**ROW0, "parameters": {"shared_memory_region": "r"}}]},
            f"{ONE_SOURCE}set 'data' 'shared_memory_region'",
        ),
        (
            {"inputs": [{**ROW0, "parameters": [1]}]},
            "Unable to parse 'parameters': attempt to access JSON non-object as object",
        ),
        ({"inputs": [ROW0, ROW1, ROW0]}, f"{UNKNOWN}input 'INPUT0' already exists in request"),
        ({"inputs": [ROW0, ROW0], "id": "X"}, "[request id: X] input 'INPUT0' already exists in request"),
        (
            {"inputs": [ROW0], "outputs": [{"name": "A"}, {"name": "A"}]},
            f"{UNKNOWN}output 'A' already exists in request",
        ),
        (
            {"inputs": [ROW0], "outputs": [{"parameters": {}}]},
            "Unable to parse 'name': attempt to access non-existing object member 'name'",
        ),
        (
            {"inputs": [ROW0], "outputs": ["A"]},
            "Unable to parse 'name': attempt to access non-existing object member 'name'",
        ),
        (
            {"inputs": [ROW0], "outputs": [{"name": 1}]},
            "Unable to parse 'name': attempt to access JSON non-string as string",
        ),
        *(
            (
                {"inputs": [ROW0], "outputs": [{"name": "A", "parameters": {"classification": value}}]},
                f"Unable to set 'classification': {UNSIGNED}",
            )
            for value in (-1, "2", 1.0, True, None)
        ),
        (
            {"inputs": [ROW0], "outputs": [{"name": "A", "parameters": {"binary_data": 1}}]},
            "Unable to parse 'binary_data': attempt to access JSON non-boolean as boolean",
        ),
        (
            {"inputs": [ROW0], "parameters": {"o": {"a": 1}}},
            "parameter 'o' has invalid type. It should be either 'int', 'bool', or 'string'.",
        ),
        (
            {"inputs": [{**ROW0, "parameters": {"o": []}}]},
            "parameter 'o' has invalid type. It should be either 'int', 'bool', or 'string'.",
        ),
        (
            {"inputs": [ROW0], "parameters": {"triton_x": 1}},
            "parameter keys starting with 'triton_' are reserved for Triton usage and should not be"
            " specified.",
        ),
        *(
            (
                {"inputs": [ROW0], "parameters": {key: value}},
                f"Unable to parse '{key}': attempt to access JSON non-unsigned-integer as unsigned-integer",
            )
            for key, value in (("priority", -1), ("timeout", "abc"), ("timeout", 1.5), ("priority", True))
        ),
        (
            {"inputs": [ROW0], "parameters": {"binary_data_output": "yes"}},
            "Unable to parse 'binary_data_output': attempt to access JSON non-boolean as boolean",
        ),
        (
            {"inputs": [ROW0], "parameters": {"sequence_id": -1}},
            "Unable to parse 'sequence_id': attempt to access JSON non-string as string",
        ),
        (
            {"inputs": [ROW0], "parameters": 3},
            "failed to get request params.: attempt to access JSON non-object as object",
        ),
    ],
)
def test_a_bad_request_is_refused_in_known_words(document: Any, text: str) -> None:
    assert refuse(document) == text


@pytest.mark.parametrize(
    ("data", "datatype"),
    [
        ("[true,1]", "BOOL"),
        ("[-1]", "UINT64"),
        ("[18446744073709551616]", "UINT64"),
        ("[300]", "UINT8"),
        ("[1.5]", "INT64"),
        ('["7"]', "INT64"),
        ("[5]", "BYTES"),
        ("[1.0]", "FP16"),
        ("[1.0]", "BF16"),
        ("[1e400]", "FP64"),
        ("[1e308]", "FP32"),
        ("[null]", "FP32"),
        ("[[1,2,3],[4,5,6,7,8]]", "FP32"),
    ],
)
def test_values_that_would_change_are_refused(data: str, datatype: str) -> None:
    count = 8 if data.startswith("[[") else data.count(",") + 1
    refuse(f'{{"inputs":[{{"name":"X","shape":[{count}],"datatype":"{datatype}","data":{data}}}]}}'.encode())


@pytest.mark.parametrize(
    "shape",
    [
        [2**31, 2**31],
        [2**62],
        [4611686018427387904],
        [2**63, 1],
        [2**32, 2**32, 0],
        [1] * 10_000,
        [],
        [10**9],
    ],
)
@pytest.mark.parametrize("source", ["json", "binary"])
def test_shapes_that_are_bombs_are_refused(shape: list[int], source: str) -> None:
    item: dict[str, Any] = {"name": "INPUT0", "shape": shape, "datatype": "FP32"}
    if source == "json":
        body = orjson.dumps({"inputs": [{**item, "data": [1, 2]}]})
        with little_memory(), pytest.raises(InvalidInput):
            decode_infer("m", "", body, None, None)
        return
    head = orjson.dumps({"inputs": [{**item, "parameters": {"binary_data_size": 8}}]})
    with little_memory(), pytest.raises(InvalidInput):
        decode_infer("m", "", head + bytes(8), str(len(head)), None)


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 200_000,
        b'{"inputs":' + b"[" * 20_000 + b"]" * 20_000 + b"}",
        b'{"inputs": [',
        b"",
        b"\xff\xfe",
        b'{"inputs":[],"inputs":[]}',
        orjson.dumps({"inputs": [ROW0]}).replace(b'"name"', b'"name":"A","name"'),
        orjson.dumps({"inputs": [ROW0], "outputs": [{"name": "OUTPUT0"}] * 10_000}),
        orjson.dumps({"inputs": [{**INTEGER, "name": str(i)} for i in range(5000)]}),
    ],
)
def test_bodies_that_are_bombs_are_refused(body: bytes) -> None:
    with pytest.raises(InvalidInput):
        decode(body)


def test_a_million_values_of_two_bytes_are_counted() -> None:
    body = (
        b'{"inputs":[{"name":"X","shape":[9000000],"datatype":"FP64","data":[1' + b",1" * 8_999_999 + b"]}]}"
    )
    refuse(body, TooLarge)


def test_the_depth_limit_can_be_chosen() -> None:
    body = orjson.dumps({"inputs": [ROW0]})
    with pytest.raises(InvalidInput, match=r"maximum allowed limit \(3\)"):
        decode_infer("m", "", body, None, None, max_depth=3)


@pytest.mark.parametrize(
    "document",
    [
        {"inputs": [{**without(ROW0, "data"), "parameters": {"shared_memory_region": "r"}}]},
        {"inputs": [ROW0], "outputs": [{"name": "OUTPUT0", "parameters": {"shared_memory_region": "r"}}]},
    ],
)
def test_a_region_of_shared_memory_is_none_that_is_known(document: Any) -> None:
    assert refuse(document, NotFound) == "Unable to find shared memory region: 'r'"


# Answers


def test_an_answer_has_its_keys_in_order() -> None:
    outputs = [tensor("OUTPUT0", [[1.5, 2.5, 3.5, 4.5]]), tensor("OUTPUT1", [[0.5, 1.5, 2.5, 3.5]])]
    assert answer(*outputs) == (
        b'{"model_name":"add_sub","model_version":"1","outputs":[{"name":"OUTPUT0","datatype":"FP32",'
        b'"shape":[1,4],"data":[1.5,2.5,3.5,4.5]},{"name":"OUTPUT1","datatype":"FP32","shape":[1,4],'
        b'"data":[0.5,1.5,2.5,3.5]}]}'
    )
    assert answer(outputs[1], id="req-42", parameters={"a": 1}) == (
        b'{"id":"req-42","model_name":"add_sub","model_version":"1","parameters":{"a":1},"outputs":'
        b'[{"name":"OUTPUT1","datatype":"FP32","shape":[1,4],"data":[0.5,1.5,2.5,3.5]}]}'
    )


@pytest.mark.parametrize(
    ("output", "shape_and_data"),
    [
        (Tensor("O", "BOOL", np.array([True, False])), b'"shape":[2],"data":[true,false]'),
        (Tensor("O", "UINT64", np.array([2**64 - 1], "u8")), b'"shape":[1],"data":[18446744073709551615]'),
        (tensor("O", [7]), b'"shape":[1],"data":[7.0]'),
        (tensor("O", [math.nan, math.inf, -math.inf]), b'"shape":[3],"data":[NaN,Infinity,-Infinity]'),
        (tensor("O", []), b'"shape":[0],"data":[]'),
        (tensor("O", 3), b'"shape":[],"data":[3.0]'),
        (
            Tensor("O", "BYTES", bytes_array([b"a", b"", 'hé ☃ "q" \\ \n'.encode()], [3])),
            '"shape":[3],"data":["a","","hé ☃ \\"q\\" \\\\ \\n"]'.encode(),
        ),
    ],
)
def test_data_is_written_flat_and_exact(output: Tensor, shape_and_data: bytes) -> None:
    assert shape_and_data in answer(output)


def test_an_output_may_have_parameters() -> None:
    output = Tensor("O", "INT8", np.zeros(1, np.int8), {"content_type": "np"})
    assert b'"shape":[1],"parameters":{"content_type":"np"},"data":[0]' in answer(output)


def test_an_answer_that_json_cannot_carry_is_the_models_failure() -> None:
    with pytest.raises(ModelFailed):
        answer(tensor("O", [1]), parameters={"x": object()})
    with pytest.raises(
        InvalidInput, match=r"^sending FP16 data via JSON is not supported. Please use the binary"
    ):
        answer(Tensor("O", "FP16", np.zeros(1, "f2")))


@pytest.mark.parametrize("datatype", IN_JSON)
@given(data=st.data())
def test_an_answer_read_as_a_request_is_the_same_tensor(datatype: str, data: st.DataObject) -> None:
    array = data.draw(arrays(datatype))
    if datatype == "BYTES":
        array = bytes_array([element.decode("latin-1").encode() for element in array.ravel()], array.shape)
    elif datatype.startswith("FP"):
        array = np.where(np.isnan(array), np.array(np.nan, array.dtype), array)
    body = answer(Tensor("X", datatype, array)).replace(b'"outputs"', b'"inputs"')
    assert same(decode(body).inputs[0].data, array)


# Metadata


def test_metadata_is_written_in_order() -> None:
    assert codec.encode_server_metadata("triton", "2", ["classification"]) == (
        b'{"name":"triton","version":"2","extensions":["classification"]}'
    )
    signature = Signature((TensorSpec("X", "FP32", (-1, 2)),), (TensorSpec("Y", "BYTES", (-1,)),))
    assert codec.encode_model_metadata("autocfg", ["1", "3"], "python", signature) == (
        b'{"name":"autocfg","versions":["1","3"],"platform":"python","inputs":[{"name":"X","datatype":"FP32",'
        b'"shape":[-1,2]}],"outputs":[{"name":"Y","datatype":"BYTES","shape":[-1]}]}'
    )


def test_a_batching_models_configuration_is_written_in_full() -> None:
    text = codec.encode_config("add_sub", "python", ADD_SUB, ModelSettings(max_batch=8))
    side = '"is_shape_tensor":false,"is_non_linear_format_io":false'
    entry = (
        '"data_type":"TYPE_FP32","format":"FORMAT_NONE","dims":[4],"is_shape_tensor":false,'
        '"allow_ragged_batch":false,"optional":false,"is_non_linear_format_io":false'
    )
    assert text.decode() == (
        '{"name":"add_sub","platform":"","backend":"python","runtime":"","version_policy":{"latest":'
        f'{{"num_versions":1}}}},"max_batch_size":8,"input":[{{"name":"INPUT0",{entry}}},{{"name":"INPUT1",{entry}}}],'
        '"output":[{"name":"OUTPUT0","data_type":"TYPE_FP32","dims":[4],"label_filename":"labels.txt",'
        f'{side}}},{{"name":"OUTPUT1","data_type":"TYPE_FP32","dims":[4],"label_filename":"",{side}}}],'
        '"batch_input":[],"batch_output":[],"optimization":{"priority":"PRIORITY_DEFAULT","input_pinned_memory":'
        '{"enable":true},"output_pinned_memory":{"enable":true},"gather_kernel_buffer_threshold":0,'
        '"eager_batching":false},"dynamic_batching":{"preferred_batch_size":[8],"max_queue_delay_microseconds":0,'
        '"preserve_ordering":false,"priority_levels":0,"default_priority_level":0,"priority_queue_policy":{}},'
        '"instance_group":[{"name":"add_sub_0","kind":"KIND_CPU","count":1,"gpus":[],"secondary_devices":[],'
        '"profile":[],"passive":false,"host_policy":""}],"default_model_filename":"model.py",'
        '"cc_model_filenames":{},"metric_tags":{},"parameters":{},"model_warmup":[]}'
    )


def test_a_configuration_tells_the_settings() -> None:
    signature = Signature((TensorSpec("X", "BYTES", (-1, 2), optional=True),), (), batched=True)
    settings = ModelSettings(versions="specific:1,3", instances=2)
    config = json.loads(codec.encode_config("m", "onnxruntime_onnx", signature, settings))
    assert (config["platform"], config["backend"]) == ("onnxruntime_onnx", "onnxruntime")
    assert config["version_policy"] == {"specific": {"versions": [1, 3]}}
    assert config["max_batch_size"] == 0
    assert "dynamic_batching" not in config
    assert config["input"][0]["data_type"] == "TYPE_STRING"
    assert config["input"][0]["dims"] == [-1, 2]
    assert config["input"][0]["optional"] is True
    assert config["instance_group"][0]["count"] == 2
    for versions, policy in (("all", {"all": {}}), ("latest:2", {"latest": {"num_versions": 2}})):
        config = json.loads(codec.encode_config("m", "sklearn", signature, ModelSettings(versions=versions)))
        assert config["version_policy"] == policy
        assert (config["platform"], config["backend"]) == ("", "sklearn")


def test_the_index_tells_what_there_is() -> None:
    entries = [
        IndexEntry("a", "1", "READY"),
        IndexEntry("b"),
        IndexEntry("c", "2", "UNAVAILABLE", "unloaded"),
    ]
    assert codec.encode_index(entries) == (
        b'[{"name":"a","version":"1","state":"READY"},{"name":"b"},'
        b'{"name":"c","version":"2","state":"UNAVAILABLE","reason":"unloaded"}]'
    )


@pytest.mark.parametrize(
    ("body", "ready"), [(b"", False), (b"{}", False), (b'{"ready":true}', True), (b"[]", False)]
)
def test_the_index_can_be_asked_for_ready_models(body: bytes, ready: bool) -> None:
    assert codec.decode_index(body) is ready
    with pytest.raises(InvalidInput, match=r"^attempt to access JSON non-boolean as boolean$"):
        codec.decode_index(b'{"ready": "x"}')


# Fuzz

TOP_WORDS = [
    "inputs",
    "outputs",
    "id",
    "parameters",
    "priority",
    "timeout",
    "binary_data_output",
    "binary_data",
]
ITEM_WORDS = [
    "name",
    "shape",
    "datatype",
    "data",
    "binary_data_size",
    "classification",
    "shared_memory_region",
    "shared_memory_byte_size",
    "shared_memory_offset",
]
WORDS = st.sampled_from([*TOP_WORDS, *ITEM_WORDS, "FP32", "BYTES", "INT8"])
SCALARS = st.none() | st.booleans() | st.integers(-3, 300) | st.floats() | WORDS | st.text(max_size=3)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(WORDS, inner, max_size=6),
    max_leaves=20,
)
SHAPED = st.fixed_dictionaries(
    {"name": WORDS | VALUES, "shape": st.lists(st.integers(-1, 3)) | VALUES, "datatype": WORDS | VALUES},
    optional={"data": VALUES, "parameters": st.dictionaries(WORDS, SCALARS) | VALUES},
)
REQUESTS = st.fixed_dictionaries(
    {"inputs": st.lists(SHAPED, max_size=3) | VALUES},
    optional={"id": VALUES, "parameters": VALUES, "outputs": st.lists(SHAPED, max_size=3) | VALUES},
)


@given(
    REQUESTS | VALUES, st.binary(max_size=20), st.none() | st.integers(-2, 200).map(str) | st.text(max_size=4)
)
def test_any_json_is_a_request_or_refused(document: Any, tail: bytes, length: str | None) -> None:
    head = json.dumps(document).encode()
    for header in (length, str(len(head))):
        with suppress(InvalidInput, TooLarge, Unsupported):
            request, wanted = decode_infer("m", "1", head + tail, header, ADD_SUB)
            encode_infer(InferResponse("m", "1", request.inputs), wanted, ADD_SUB)


@given(st.binary(max_size=80), st.none() | st.integers(0, 90).map(str))
def test_any_bytes_are_a_request_or_refused(body: bytes, length: str | None) -> None:
    with suppress(InvalidInput, TooLarge, Unsupported):
        decode_infer("m", "1", body, length, ADD_SUB)
