"""What a stranger may send to make the server fall, swell or blame itself. It does none of it.

Every bomb is 400 or 413; the next good request is answered; the process is no larger than before.
"""

import gzip
import json
import struct
from http.client import HTTPConnection

import numpy as np
import psutil
import pytest

from tests.cli.running import Server

MODELS = """
from dragoman.types import InferRequest, InferResponse

class Echo:
    def predict(self, request: InferRequest):
        return InferResponse(request.model, request.version, request.inputs)

class Vector:
    def predict(self, x):
        return {"y": x}

class Bytes(Vector):
    inputs, outputs = {"x": ("BYTES", [-1])}, {"y": ("BYTES", [-1])}

class F32(Vector):
    inputs, outputs = {"x": ("FP32", [-1])}, {"y": ("FP32", [-1])}

class F64(Vector):
    inputs, outputs = {"x": ("FP64", [-1])}, {"y": ("FP64", [-1])}

class I64(Vector):
    inputs, outputs = {"x": ("INT64", [-1])}, {"y": ("INT64", [-1])}

class U8(Vector):
    inputs, outputs = {"x": ("UINT8", [-1])}, {"y": ("UINT8", [-1])}
"""
NAMES = ("Echo", "Bytes", "F32", "F64", "I64", "U8")
DATATYPES = {"Bytes": "BYTES", "F32": "FP32", "F64": "FP64", "I64": "INT64", "U8": "UINT8"}
PATIENCE = 30.0  # seconds without a byte after which the server counts as hung
MIB = 2**20


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bombs")
    (folder / "models.py").write_text(MODELS)
    with Server(folder, *(f"models.py:{name}" for name in NAMES)) as server:
        good_request(server)
        yield server


def post(server, path, body, headers=None):
    """Status and body."""
    connection = HTTPConnection("127.0.0.1", int(server.url.rpartition(":")[2]), timeout=PATIENCE)
    try:
        connection.request("POST", path, body, headers or {})
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def good_request(server):
    assert post(server, "/v1/models/F32:predict", b'{"instances": [1.5]}') == (200, b'{"predictions":[1.5]}')


def refused(server, path, body, headers=None, *, grows=4 * MIB):
    """The error of a bomb, after which all is as it was before."""
    process = psutil.Process(server.process.pid)
    before = process.memory_info().rss
    status, answer = post(server, path, body, headers)
    assert status in (400, 413), answer
    good_request(server)
    assert process.memory_info().rss - before < grows
    return json.loads(answer)["error"]


def v2(server, model, shape, data, datatype=None, **more):
    """The error of a v2 request in JSON. ``shape`` and ``data`` are JSON or become it."""
    datatype = DATATYPES[model] if datatype is None else datatype
    text = [value if isinstance(value, str) else json.dumps(value) for value in (shape, data)]
    tensor = f'"name":"x","datatype":"{datatype}","shape":{text[0]},"data":{text[1]}'
    return refused(server, f"/v2/models/{model}/infer", f'{{"inputs":[{{{tensor}}}]}}', **more)


def binary_body(shape, raw, datatype, size=None):
    size = len(raw) if size is None else size
    tensor = {"name": "x", "datatype": datatype, "shape": shape, "parameters": {"binary_data_size": size}}
    head = json.dumps({"inputs": [tensor]}).encode()
    return head + raw, {"Inference-Header-Content-Length": str(len(head))}


def binary(server, model, shape, raw, datatype=None, size=None, **more):
    """The error of a v2 request with raw data."""
    datatype = DATATYPES[model] if datatype is None else datatype
    body, headers = binary_body(shape, raw, datatype, size)
    return refused(server, f"/v2/models/{model}/infer", body, headers, **more)


def v1(server, model, values, **more):
    """The error of a v1 request. ``values`` is JSON or becomes it."""
    text = values if isinstance(values, str) else json.dumps(values)
    return refused(server, f"/v1/models/{model}:predict", f'{{"instances":{text}}}', **more)


def taken(server, model, values):
    """What JSON comes back as, over v2 and v1."""
    tensor = f'"name":"x","datatype":"{DATATYPES[model]}","shape":[1],"data":[{values}]'
    status, answer = post(server, f"/v2/models/{model}/infer", f'{{"inputs":[{{{tensor}}}]}}')
    assert status == 200, answer
    return answer[answer.index(b'"data":[') + 8 : -4].decode()


class TestShapes:
    @pytest.mark.parametrize(
        "shape",
        [
            [2**31, 2**31],
            [2**62],
            [2**63, 1],
            [2**64, 1],
            [2**32, 2**32, 0],
            [0, 2**63],
            [1] * 10_000,
            [10**400],
        ],
        ids=lambda shape: str(shape)[:30],
    )
    @pytest.mark.parametrize("model", ["Echo", "F32"])
    def test_sizes_that_nobody_could_hold(self, server, model, shape):
        v2(server, model, shape, [1.0], "FP32")
        binary(server, model, shape, b"\0\0\0\0", "FP32")
        binary(server, "Echo", shape, b"\0\0\0\0", "BYTES")

    @pytest.mark.parametrize(
        "size", ["-1", "1.0", "true", '"1"', "null", "[1]", "{}", "-9223372036854775808"]
    )
    def test_sizes_that_are_none(self, server, size):
        v2(server, "F32", f"[{size}]", [1.0])
        v2(server, "Echo", f"[1,{size}]", [1.0], "FP32")
        binary(server, "Echo", [json.loads(size)], b"\0\0\0\0", "FP32")

    @pytest.mark.parametrize("shape", ['"4"', "4", "null", "{}", '{"0":1}'])
    def test_shapes_that_are_none(self, server, shape):
        v2(server, "Echo", shape, [1.0], "FP32")

    @pytest.mark.parametrize(
        ("shape", "data"),
        [([], [1, 2]), ([3], [1, 2]), ([1], [1, 2]), ([2, 2], [[1, 2], [3]]), ([2], [[1, 2]]), ([1], [])],
    )
    def test_data_of_another_shape(self, server, shape, data):
        v2(server, "Echo", shape, data, "FP32")
        binary(server, "Echo", shape, b"\0" * 12 if shape != [3] else b"", "FP32")

    @pytest.mark.parametrize("rows", [[[1], [1, 2]], [[[1]], [1]], [1, [1]], [[], [1]]])
    def test_ragged_rows(self, server, rows):
        v1(server, "F32", rows)
        v1(server, "Echo", rows)


class TestRawData:
    @pytest.mark.parametrize(("shape", "size"), [([3], 8), ([3], 16), ([2], 7), ([0], 4), ([1, 0], 4)])
    def test_a_size_that_does_not_fit_the_shape(self, server, shape, size):
        for model in ("F32", "Echo"):
            binary(server, model, shape, b"\0" * size, "FP32")

    @pytest.mark.parametrize("size", [-1, 5, 2**31, 2**63, 2**64, 10**400, 4.0, "4", True, []])
    def test_a_size_that_is_not_that_of_the_data(self, server, size):
        binary(server, "F32", [1], b"\0" * 4, size=size)

    @pytest.mark.parametrize(
        ("shape", "raw"),
        [
            ([1], struct.pack("<I", 5) + b"ab"),
            ([1], struct.pack("<I", 2**32 - 1) + b"ab"),
            ([1], struct.pack("<I", 2**31)),
            ([1], b"\x01\0\0"),
            ([2], struct.pack("<I", 2) + b"ab"),
            ([1], struct.pack("<I", 0) * 2),
            ([2], struct.pack("<I", 1) + b"ab"),
            ([2**40], struct.pack("<I", 0)),
            ([1], b""),
        ],
    )
    def test_strings_whose_lengths_lie(self, server, shape, raw):
        for model in ("Bytes", "Echo"):
            binary(server, model, shape, raw, "BYTES")

    @pytest.mark.parametrize(
        "length", ["-1", "-0x1", "10000", "2e1", "18446744073709551616", "9" * 5000, "abc", "1.5", "+", "²"]
    )
    def test_a_header_length_that_is_none(self, server, length):
        body, headers = binary_body([1], b"\0" * 4, "FP32")
        headers["Inference-Header-Content-Length"] = length.encode()
        refused(server, "/v2/models/F32/infer", body, headers)


class TestDatatypes:
    @pytest.mark.parametrize("datatype", ["FP99", "fp32", "", "FLOAT", "FP32\\u0000", "A" * 100_000])
    def test_an_unknown_one(self, server, datatype):
        v2(server, "Echo", [1], [1.0], datatype)
        binary(server, "Echo", [1], b"\0" * 4, datatype)

    @pytest.mark.parametrize("datatype", [name for name in DATATYPES.values() if name != "FP32"])
    def test_another_than_the_models(self, server, datatype):
        v2(server, "F32", [1], ["a"] if datatype == "BYTES" else [1], datatype)

    @pytest.mark.parametrize("datatype", ["FP16", "BF16"])
    def test_one_that_json_does_not_carry(self, server, datatype):
        v2(server, "Echo", [1], [1.0], datatype)

    @pytest.mark.parametrize("value", ["null", '"1"', "true", "{}", "[]"])
    def test_a_value_of_another_kind(self, server, value):
        for model in ("F32", "F64", "I64", "U8"):
            v2(server, model, [1], f"[{value}]")
            v1(server, model, f"[{value}]" if value != "[]" else "[[]]")
        v2(server, "Bytes", [1], "[1]")
        v1(server, "Bytes", "[1]")


class TestNumbers:
    """What would be lost is refused; what JSON can't say but clients write is taken in v2 and refused in v1."""

    @pytest.mark.parametrize(
        ("model", "number"),
        [
            ("F64", "1e400"),
            ("F32", "1e308"),
            ("F32", "-1e39"),
            ("U8", "300"),
            ("U8", "-1"),
            ("U8", "1.0"),
            ("I64", "9223372036854775808"),
            ("I64", "1e3"),
            ("I64", "1" * 5000),
            ("F64", "1" * 5000),
            ("F64", "01"),
            ("F64", "+1"),
            ("F64", ".5"),
            ("F64", "0x10"),
        ],
    )
    def test_what_does_not_fit_is_refused(self, server, model, number):
        v2(server, model, [1], f"[{number}]")
        v1(server, model, f"[{number}]")

    def test_what_fits_is_exact(self, server):
        assert taken(server, "I64", "9007199254740993") == "9007199254740993"
        assert taken(server, "F64", "-0.0") == "-0.0"
        assert taken(server, "U8", "255") == "255"

    @pytest.mark.parametrize("word", ["NaN", "Infinity", "-Infinity"])
    def test_words_are_numbers_in_v2_only(self, server, word):
        assert taken(server, "F64", word) == word
        v1(server, "F64", f"[{word}]")
        v2(server, "I64", [1], f"[{word}]")


class TestNames:
    def test_the_same_key_twice(self, server):
        tensor = '{"name":"x","datatype":"FP32","shape":[1],"data":[1]}'
        twice = '{"name":"x","datatype":"FP32","shape":[1],"data":[1],"data":[2]}'
        for body in (
            f'{{"inputs":[{tensor}],"inputs":[]}}',
            f'{{"inputs":[{twice}]}}',
            f'{{"id":"a","id":"b","inputs":[{tensor}]}}',
            f'{{"inputs":[{tensor}],"parameters":{{"a":1,"a":2}}}}',
        ):
            refused(server, "/v2/models/F32/infer", body)
        for body in ('{"instances":[1],"instances":[2]}', '{"instances":[{"x":1,"x":2}]}'):
            refused(server, "/v1/models/F32:predict", body)

    def test_the_same_tensor_twice(self, server):
        tensor = {"name": "x", "datatype": "FP32", "shape": [1], "data": [1]}
        refused(server, "/v2/models/Echo/infer", json.dumps({"inputs": [tensor, tensor]}))
        wanted = [{"name": "y"}] * 10_000
        body = json.dumps({"inputs": [tensor], "outputs": wanted})
        refused(server, "/v2/models/F32/infer", body, grows=8 * MIB)

    def test_too_many_tensors(self, server):
        tensor = {"datatype": "FP32", "shape": [1], "data": [1]}
        many = [{"name": str(number), **tensor} for number in range(10_000)]
        refused(server, "/v2/models/Echo/infer", json.dumps({"inputs": many}), grows=16 * MIB)

    def test_a_name_that_no_log_should_hold(self, server):
        for name in ("a" * 1_000_000, "\x00\x1b[31m", "\ud800"):
            tensor = {"name": name, "datatype": "FP32", "shape": [1], "data": [1]}
            refused(server, "/v2/models/F32/infer", json.dumps({"inputs": [tensor]}), grows=16 * MIB)
            rows = {"instances": [{name: 1}]}
            error = refused(server, "/v1/models/F32:predict", json.dumps(rows), grows=16 * MIB)
            assert len(error) < 1000


class TestText:
    @pytest.mark.parametrize("path", ["/v2/models/Echo/infer", "/v1/models/Echo:predict"])
    @pytest.mark.parametrize(
        "body",
        [
            b"",
            b"\0",
            b"\xff\xfe",
            b"\xef\xbb\xbf{}",
            b"null",
            b"[]",
            b"{}",
            b'"',
            b'{"inputs":' + b"[" * 200_000 + b"]" * 200_000 + b"}",
            b'{"instances":' + b"[" * 200_000,
            b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
            b'{"inputs":"\\ud800"}',
            b" " * 1_000_000,
        ],
        ids=lambda body: repr(body[:20]),
    )
    def test_what_is_no_request(self, server, path, body):
        refused(server, path, body, grows=8 * MIB)


class TestAmounts:
    """What is small on the wire and large in memory is counted as what it becomes."""

    def test_nine_million_digits_are_too_many_numbers(self, server):
        digits = "[" + "1," * 9_000_000 + "1]"
        v2(server, "F64", [9_000_001], digits, grows=64 * MIB)
        v1(server, "F64", digits, grows=64 * MIB)

    def test_a_shape_of_millions_of_sizes_is_none(self, server):
        v2(server, "F32", [2] * 3_000_000, "[1]", grows=160 * MIB)

    def test_millions_of_empty_strings_are_too_many(self, server):
        strings = "[" + '"",' * 9_000_000 + '""]'
        v2(server, "Bytes", [9_000_001], strings, grows=64 * MIB)
        v1(server, "Bytes", strings, grows=64 * MIB)

    def test_a_million_empty_strings_leave_nothing_behind(self, server):
        process = psutil.Process(server.process.pid)
        before = process.memory_info().rss
        count = 1_000_000
        body, headers = binary_body([count], b"\0" * 4 * count, "BYTES")
        for _ in range(3):
            status, _ = post(server, "/v2/models/Bytes/infer", body, headers)
            assert status in (200, 400, 413)
        good_request(server)
        assert process.memory_info().rss - before < 128 * MIB

    @pytest.mark.parametrize("path", ["/v2/models/F32/infer", "/v1/models/F32:predict"])
    def test_a_body_that_inflates_beyond_all_bounds(self, server, path):
        bomb = gzip.compress(b"[" + b"0," * 150_000_000, compresslevel=1)
        assert len(bomb) < 2 * MIB
        assert "inflates" in refused(server, path, bomb, {"Content-Encoding": "gzip"}, grows=160 * MIB)

    def test_a_body_beyond_the_limit_is_not_read(self, server):
        length = {"Content-Length": str(2**40)}
        status, _ = post(server, "/v2/models/F32/infer", b"", length)
        assert status == 413
        good_request(server)

    def test_a_good_tensor_of_some_size_is_no_bomb(self, server):
        data = np.arange(250_000, dtype=np.float32)
        body, headers = binary_body([data.size], data.tobytes(), "FP32")
        assert post(server, "/v2/models/F32/infer", body, headers)[0] == 200
