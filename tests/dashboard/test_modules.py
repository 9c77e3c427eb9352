"""The page's modules that know no element, called in the browser that runs them."""

import struct

import numpy as np
import pytest

from dragoman.protocols.kserve_v2 import codec
from dragoman.tensors import bytes_array, encode_raw
from dragoman.types import DTYPES, InferResponse, Signature, Tensor

CALL = "async ([file, name, values]) => (await import(`/page/${file}`))[name](...values)"


@pytest.fixture(scope="module")
def call(chromium, server):
    """``call("values.js", "parse", …)`` is what the module's function returns."""
    page = chromium.new_page()
    page.goto(f"{server.url}/page/icon.svg")
    page.goto(server.url)
    yield lambda file, name, *values: page.evaluate(CALL, [file, name, list(values)])
    page.close()


def spec(datatype, *shape):
    return {"name": "x", "datatype": datatype, "shape": list(shape)}


@pytest.mark.parametrize(
    ("text", "tensor", "shape", "items"),
    [
        ("1 2\n3 4", spec("FP32", -1, 2), [2, 2], ["1", "2", "3", "4"]),
        ("1,2;3\t4", spec("FP32", -1, 4), [1, 4], ["1", "2", "3", "4"]),
        ("[[1,2],[3,4]]", spec("INT32", -1, 2), [2, 2], ["1", "2", "3", "4"]),
        ("[1, 2, 3, 4]", spec("INT32", -1, 2), [2, 2], ["1", "2", "3", "4"]),
        ("1 2 3", spec("INT32", 3), [3], ["1", "2", "3"]),
        ("1 2 3", spec("INT32", -1), [3], ["1", "2", "3"]),
        ("1\n2\n3", spec("INT32", -1), [3], ["1", "2", "3"]),
        ("1 2 3 4", spec("FP32", -1, -1, 2), [1, 2, 2], ["1", "2", "3", "4"]),
        ("7", spec("FP64"), [], ["7"]),
        ("9007199254740993", spec("INT64", 1), [1], ["9007199254740993"]),
        ("[18446744073709551615]", spec("UINT64", 1), [1], ["18446744073709551615"]),
        ("+1 -02 .5 1. 1e-3 -.5E+2", spec("FP32", -1), [6], ["1", "-2", "0.5", "1", "1e-3", "-0.5E+2"]),
        ("nan inf -Infinity", spec("FP32", -1), [3], ["NaN", "Infinity", "-Infinity"]),
        ("[NaN, -inf]", spec("FP64", 2), [2], ["NaN", "-Infinity"]),
        ("true 0 False 1", spec("BOOL", 4), [4], ["true", "false", "false", "true"]),
        ('["a, b", "c"]', spec("BYTES", -1), [2], ["a, b", "c"]),
        ("a b, c\nd", spec("BYTES", -1), [2], ["a b, c", "d"]),
        ("a, b\nc, d", spec("BYTES", -1, 2), [2, 2], ["a", "b", "c", "d"]),
    ],
)
def test_what_is_typed_becomes_a_tensor(call, text, tensor, shape, items):
    assert call("values.js", "parse", text, tensor) == {"shape": shape, "items": items}


@pytest.mark.parametrize(
    ("text", "tensor", "words"),
    [
        ("1 2 3", spec("FP32", -1, 4), "x expects the shape [?, 4]: a multiple of 4 values; there are 3"),
        ("1 2 3", spec("FP32", 4), "x expects the shape [4], which is 4 values; there are 3"),
        ("", spec("FP32", -1), "x expects the shape [?], and there are no values"),
        ("[]", spec("FP32", -1), "x expects the shape [?], and there are no values"),
        ("1 2\n3", spec("FP32", -1, -1), "x: row 2 has 1 values, the first one has 2"),
        ("[[1, 2], [3]]", spec("FP32", -1, -1), "x: the lists are not all of one length"),
        ("[[1], 2]", spec("FP32", -1, -1), "x: the lists are not all of one length"),
        ("[1, 2", spec("FP32", -1), "x: this begins like JSON and is none; check its brackets and commas"),
        ("1.5", spec("INT32", 1), "x: 1.5 is no whole number"),
        ("nan", spec("INT8", 1), "x: nan is no whole number"),
        ("one", spec("FP32", 1), "x: one is no number"),
        ("maybe", spec("BOOL", 1), "x: maybe is neither true nor false"),
    ],
)
def test_what_is_wrong_is_said_in_words(call, text, tensor, words):
    with pytest.raises(Exception, match="Error: ") as caught:
        call("values.js", "parse", text, tensor)
    assert words in str(caught.value)


DECODE = """async ([head, body]) => {
  const { decode } = await import("/page/wire.js");
  const bytes = Uint8Array.from(body);
  const headers = new Headers(head);
  const { outputs } = decode(bytes.buffer, headers);
  const plain = (value) => {
    if (value instanceof Uint8Array) return [...value];
    return Number.isFinite(value) || typeof value === "boolean" ? value : String(value);
  };
  return outputs.map(({ values, ...rest }) => ({ ...rest, values: values.map(plain) }));
}"""
VALUES = {
    "BOOL": [True, False],
    "UINT8": [0, 255],
    "UINT16": [1, 65535],
    "UINT32": [1, 2**32 - 1],
    "UINT64": [1, 2**64 - 1],
    "INT8": [-128, 127],
    "INT16": [-(2**15), 2**15 - 1],
    "INT32": [-(2**31), 2**31 - 1],
    "INT64": [-(2**63), 2**63 - 1],
    "FP16": [0.5, -65504.0, 5.960464477539063e-08, float("inf"), float("nan"), -0.0],
    "FP32": [0.5, -1.5, float("-inf"), float("nan")],
    "FP64": [0.1, -1e300, float("inf")],
}


@pytest.mark.parametrize("datatype", VALUES)
def test_every_datatype_is_read_as_the_server_writes_it(chromium, server, datatype):
    tensor = Tensor("y", datatype, np.array(VALUES[datatype], DTYPES[datatype]))
    words = Tensor("w", "BYTES", bytes_array([b"", b"\xff\x00", "ß".encode()], (3,)))
    answer = InferResponse("m", "1", (tensor, words))
    buffers, length = codec.encode_infer(answer, codec.Wanted(binary=True), Signature((), ()))
    page = chromium.new_page()
    page.goto(server.url)
    head = {"Inference-Header-Content-Length": str(length)}
    numbers, texts = page.evaluate(DECODE, [head, list(b"".join(map(bytes, buffers)))])
    page.close()
    assert texts["values"] == [[], [255, 0], list("ß".encode())]
    shown = [float(v) if isinstance(v, str) and "FP" in datatype else v for v in numbers["values"]]
    expected = (
        [str(v) for v in VALUES[datatype]]
        if datatype.endswith("64") and "INT" in datatype
        else VALUES[datatype]
    )
    np.testing.assert_equal(shown, expected)
    assert (numbers["name"], numbers["datatype"], numbers["shape"]) == ("y", datatype, [len(expected)])


def test_bf16_goes_and_comes_as_the_server_has_it(chromium, server):
    """Its bits are the upper half of a float's, rounded to the nearest."""
    texts = ["1", "-2.5", "3.14159", "1e-40", "NaN", "Infinity", "1.00390625"]
    page = chromium.new_page()
    page.goto(server.url)
    bits = page.evaluate(
        """async (items) => {
          const { describe } = await import("/page/wire.js");
          const tail = [];
          describe({ name: "x", datatype: "BF16", shape: [items.length], items }, tail);
          return [...tail[0]];
        }""",
        texts,
    )
    page.close()
    import ml_dtypes

    sent = np.frombuffer(bytes(bits), np.uint16)
    rounded = np.array([float(text) for text in texts], np.float32).astype(ml_dtypes.bfloat16)
    np.testing.assert_equal(
        sent.view(ml_dtypes.bfloat16).astype(float).tolist(), rounded.astype(float).tolist()
    )


def test_percentiles_lie_where_the_buckets_say(call):
    bounds = [1, 2, 4]
    assert call("history.js", "percentile", [0, 0, 0, 0], bounds, 0.5) is None
    assert call("history.js", "percentile", [10, 0, 0, 0], bounds, 0.5) == 0.5
    assert call("history.js", "percentile", [5, 5, 0, 0], bounds, 0.5) == 1
    assert call("history.js", "percentile", [5, 0, 5, 0], bounds, 0.75) == 3
    assert call("history.js", "percentile", [0, 0, 0, 3], bounds, 0.5) == 4, (
        "beyond the last bound is the last bound"
    )


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("seconds", None, "–"),
        ("seconds", 0, "0 ms"),
        ("seconds", 0.00025, "250 µs"),
        ("seconds", 0.0123, "12.3 ms"),
        ("seconds", 90, "90 s"),
        ("bytes", 512, "512 B"),
        ("bytes", 1536, "1.5 KiB"),
        ("bytes", 3 * 2**30, "3 GiB"),
        ("rate", 0, "0/s"),
        ("rate", 1234.5, "1,235/s"),
        ("percent", 0.125, "12.5 %"),
        ("back", 14.2, "14 s ago"),
        ("back", 300, "5 min ago"),
        ("shape", [-1, 3], "[?, 3]"),
    ],
)
def test_numbers_are_written_for_people(call, name, value, words):
    assert call("format.js", name, value) == words


@pytest.mark.parametrize(
    "text", ["plain", "two words", "it's", '$HOME `id` \\ "', "", "line\nbreak", "ß😀", "-", "*"]
)
def test_any_text_survives_a_shell_and_python(call, text, tmp_path):
    import subprocess
    import sys

    word = call("snippets.js", "shell", text)
    done = subprocess.run(["sh", "-c", f"printf %s {word}"], capture_output=True, check=True)
    assert done.stdout.decode() == text
    literal = call("snippets.js", "python", text)
    code = f"import sys; sys.stdout.buffer.write({literal}.encode())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert done.stdout.decode() == text


def test_a_body_with_files_is_what_the_server_reads(chromium, server):
    page = chromium.new_page()
    page.goto(server.url)
    body, header = page.evaluate(
        """async () => {
          const { encode } = await import("/page/wire.js");
          const files = [Uint8Array.from([1, 2, 255])];
          const inputs = [
            { name: "ß", datatype: "BYTES", shape: [1], files },
            { name: "n", datatype: "INT64", shape: [1], items: ["9007199254740993"] },
          ];
          const { body, headers } = encode(inputs);
          return [[...new Uint8Array(await body.arrayBuffer())], headers["Inference-Header-Content-Length"]];
        }"""
    )
    page.close()
    request, wanted = codec.decode_infer("m", "", bytes(body), header, None)
    assert request.input("ß").data.tolist() == [b"\x01\x02\xff"]
    assert request.input("n").data.tolist() == [9007199254740993]
    assert wanted.binary
    assert encode_raw(request.input("ß")) == struct.pack("<I", 3) + b"\x01\x02\xff"
