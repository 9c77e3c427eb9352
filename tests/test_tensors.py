"""Every datatype there and back, and everything that must be refused before it costs anything."""

import json
import math
import struct
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dragoman.errors import InvalidInput, ModelFailed, TooLarge
from dragoman.tensors import (
    MAX_JSON_VALUES,
    bytes_array,
    check_json_depth,
    check_json_keys,
    count_elements,
    datatype_of,
    decode_raw,
    dump_json,
    encode_raw,
    from_json,
    join_bytes,
    parse_json,
    split_bytes,
    to_json,
)
from dragoman.types import DTYPES, Array, Tensor

NUMERIC = [name for name in DTYPES if name != "BYTES"]
IN_JSON = [name for name in DTYPES if name not in ("FP16", "BF16")]
INTEGERS = [name for name in DTYPES if "INT" in name]


@contextmanager
def little_memory(limit: int = 1 << 20) -> Iterator[None]:
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < limit
    finally:
        tracemalloc.stop()


def shapes() -> st.SearchStrategy[tuple[int, ...]]:
    return st.lists(st.integers(0, 4), max_size=4).map(tuple)


@st.composite
def arrays(draw: st.DrawFn, datatype: str) -> Array:
    shape = draw(shapes())
    count = math.prod(shape)
    if datatype == "BYTES":
        return bytes_array(draw(st.lists(st.binary(max_size=9), min_size=count, max_size=count)), shape)
    size = count * DTYPES[datatype].itemsize
    raw = draw(st.binary(min_size=size, max_size=size))
    if datatype == "BOOL":
        raw = bytes(byte & 1 for byte in raw)
    return np.frombuffer(raw, DTYPES[datatype]).reshape(shape)


def same(left: Array, right: Array) -> bool:
    if left.dtype != right.dtype or left.shape != right.shape:
        return False
    if left.dtype == object:
        return bool(left.ravel().tolist() == right.ravel().tolist())
    return left.tobytes() == right.tobytes()


# Bytes


@pytest.mark.parametrize("datatype", list(DTYPES))
@given(data=st.data())
def test_raw_bytes_come_back_as_they_went(datatype: str, data: st.DataObject) -> None:
    array = data.draw(arrays(datatype))
    raw = encode_raw(Tensor("X", datatype, array))
    shape = list(array.shape)
    if datatype == "BYTES":
        back = bytes_array(split_bytes(raw, array.size, "X"), shape)
    else:
        back = decode_raw(raw, datatype, shape)
    assert same(back, array)


def test_numbers_are_views_of_the_body() -> None:
    body = bytearray(1 << 20)
    array = decode_raw(memoryview(body), "FP32", [512, 512])
    assert np.shares_memory(array, np.frombuffer(body, np.uint8))
    written = encode_raw(Tensor("X", "FP32", array))
    assert np.shares_memory(np.frombuffer(written, np.uint8), array)


def test_data_in_another_order_is_written_in_c_order_and_little_endian() -> None:
    array = np.array([[1, 2], [3, 4]], ">i2").T
    assert bytes(encode_raw(Tensor("X", "INT16", array))) == struct.pack("<4h", 1, 3, 2, 4)


def test_data_of_another_dtype_is_the_models_mistake() -> None:
    with pytest.raises(ModelFailed, match="says FP32 but holds float64"):
        encode_raw(Tensor("X", "FP32", np.zeros(2)))
    with pytest.raises(ModelFailed, match="holds int"):
        encode_raw(Tensor("X", "BYTES", np.array([1], object)))


def test_text_in_a_bytes_tensor_is_encoded() -> None:
    array = np.array(["é", b"\x00", np.str_("a")], object)
    assert encode_raw(Tensor("X", "BYTES", array)) == join_bytes(["é".encode(), b"\x00", b"a"])


def test_a_boolean_of_several_bits_becomes_true() -> None:
    assert decode_raw(b"\x00\x01\x02\xff", "BOOL", [4]).view(np.uint8).tolist() == [0, 1, 1, 1]


@pytest.mark.parametrize(
    ("data", "count", "text"),
    [
        (b"\x01\x00\x00", 1, "incomplete string length indicator for .* expecting 4 bytes but only 3 bytes"),
        (b"d\x00\x00\x00ab", 1, "expecting string of length 100 but only 2 bytes available"),
        (b"\xff\xff\xff\xff", 1, "expecting string of length 4294967295 but only 0 bytes available"),
        (join_bytes([b"ab", b"c"]), 3, "expected 3 string elements .* got 2"),
        (join_bytes([b"ab", b"c"]), 1, "unexpected number of string elements 2 .* expecting 1"),
        (b"", 10**12, "expected 1000000000000 string elements .* got 0"),
        (b"a", 0, "incomplete string length indicator"),
    ],
)
def test_broken_framing_is_refused(data: bytes, count: int, text: str) -> None:
    with little_memory(), pytest.raises(InvalidInput, match=text):
        split_bytes(data, count, "X", "m")


def test_surplus_elements_are_not_read() -> None:
    body = bytes(40_000_000)
    with little_memory(), pytest.raises(InvalidInput, match="unexpected number of string elements 2"):
        split_bytes(body, 1, "X")


@pytest.mark.parametrize("datatype", [name for name in DTYPES if name != "BF16"])
def test_every_dtype_has_its_datatype(datatype: str) -> None:
    assert datatype_of(DTYPES[datatype]) == datatype
    assert datatype_of(DTYPES[datatype].newbyteorder(">")) == datatype


def test_a_dtype_without_datatype_is_the_models_mistake() -> None:
    assert datatype_of(np.dtype("<U3")) == "BYTES"
    with pytest.raises(ModelFailed, match="complex64"):
        datatype_of(np.dtype(np.complex64))


def test_more_strings_than_memory_is_good_for_are_refused() -> None:
    body = bytes(4 << 23) + bytes(4)
    with little_memory(), pytest.raises(TooLarge, match="input 'X' has more than 8388608 string elements"):
        split_bytes(body, (1 << 23) + 1, "X")


# Shapes


@pytest.mark.parametrize(
    ("shape", "count"), [([], 1), ([0], 0), ([2, 3], 6), ([1] * 32, 1), ([2**20, 2**20], 2**40)]
)
def test_elements_are_counted(shape: list[int], count: int) -> None:
    assert count_elements(shape, "X") == count


@pytest.mark.parametrize(
    "shape",
    [[2**31, 2**31], [2**63, 1], [2**64, 1], [2**32, 2**32, 0], [0, 2**62], [2**41], [1] * 10_000, [1] * 33],
)
def test_shapes_that_nobody_could_hold_are_refused(shape: list[int]) -> None:
    with little_memory(), pytest.raises(InvalidInput):
        count_elements(shape, "X")


@pytest.mark.parametrize("size", [-1, 1.0, True, "2", None, [2], 2.0**64])
def test_sizes_are_whole_numbers(size: Any) -> None:
    with pytest.raises(InvalidInput, match="Unable to parse 'shape'"):
        count_elements([2, size], "X")


# JSON text


@pytest.mark.parametrize("body", [b"[" * 1_000_000, b'{"a":' * 300_000, b'[{"a":[]' * 200_000])
def test_deep_json_is_refused_before_it_is_parsed(body: bytes) -> None:
    with pytest.raises(InvalidInput, match=r"JSON nesting depth exceeds maximum allowed limit \(100\)"):
        parse_json(body)


def test_depth_is_counted_up_to_the_limit() -> None:
    check_json_depth(b"[" * 100 + b"]" * 100, 100)
    check_json_depth(b"[[]," * 50 + b"[]" + b"]" * 50, 100)
    with pytest.raises(InvalidInput):
        check_json_depth(b"[" * 101 + b"]" * 101, 100)


def test_wide_json_is_not_deep() -> None:
    body = b"[" + b"[]," * 200_000 + b"[]]"
    check_json_depth(body, 2)
    with pytest.raises(InvalidInput):
        check_json_depth(body, 1)


def documents() -> st.SearchStrategy[Any]:
    return st.recursive(
        st.none() | st.booleans() | st.integers(-9, 9) | st.text('a"\\[]{}:,é\n', max_size=6),
        lambda inner: (
            st.lists(inner, max_size=3) | st.dictionaries(st.text('a"\\[{:', max_size=3), inner, max_size=3)
        ),
        max_leaves=12,
    )


def depth_of(document: Any) -> int:
    if isinstance(document, dict):
        document = list(document.values())
    return 1 + max(map(depth_of, document), default=0) if isinstance(document, list) else 0


def keys_of(document: Any) -> int:
    if isinstance(document, dict):
        return len(document) + sum(map(keys_of, document.values()))
    return sum(map(keys_of, document)) if isinstance(document, list) else 0


@given(documents(), st.booleans())
def test_depth_and_keys_are_those_of_the_parsed_document(document: Any, ascii_only: bool) -> None:
    body = json.dumps(document, ensure_ascii=ascii_only).encode()
    depth = depth_of(document)
    check_json_depth(body, depth)
    if depth:
        with pytest.raises(InvalidInput):
            check_json_depth(body, depth - 1)
    check_json_keys(body, document, keys_of(document))
    check_json_keys(body, document, 0)


@pytest.mark.parametrize(
    "body", [b'{"a":1,"a":2}', b'{"b":":","a":{"c":1,"c":1}}', b'[{"x":1},{"y":"a:","y":1}]']
)
def test_a_key_said_twice_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidInput, match="the same key twice"):
        check_json_keys(body, parse_json(body), 0)


def test_nan_and_infinities_are_numbers() -> None:
    values = parse_json(b'{"NaN": [NaN, -Infinity, Infinity, 1.5, "NaN"]}')["NaN"]
    assert math.isnan(values[0])
    assert values[1:] == [-math.inf, math.inf, 1.5, "NaN"]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b'{"inputs": [',
        b"[1e400]",
        b"[NaN, 1e400]",
        b"[NaN, " + b"1" * 400 + b"]",
        b"1" * 5000,
        b"NaN" + b"1" * 5000,
        b"[-NaN]",
        b"[+Infinity]",
        b"[1NaN]",
        b"[nan]",
        b"[01]",
        b"[1,]",
        b'["\xff"]',
        b'[NaN, "\xff"]',
        b'["\\ud800"]',
        b'[NaN, "\\ud800"]',
        b'[NaN, "\x01"]',
        b"\xef\xbb\xbf[NaN]",
        "[NaN]".encode("utf-16"),
    ],
)
def test_what_is_not_json_is_refused_without_echoing_it(body: bytes) -> None:
    with pytest.raises(InvalidInput, match=r"^failed to parse the request JSON buffer: ") as caught:
        parse_json(body)
    assert caught.value.message.isascii()
    assert len(caught.value.message) < 120


def test_more_values_than_memory_is_good_for_are_refused() -> None:
    with pytest.raises(TooLarge, match="more than 8388608 values"):
        parse_json(b"[" + b"1," * (MAX_JSON_VALUES + 1) + b"1]")


@pytest.mark.parametrize("piece", [b"{},", b"[],", b'{"a":1},'])
def test_more_objects_than_memory_is_good_for_are_refused(piece: bytes) -> None:
    with little_memory(64 << 20), pytest.raises(TooLarge, match="more than 1048576 arrays and objects"):
        parse_json(b"[" + piece * (1 << 20) + b"0]")


# JSON values


@pytest.mark.parametrize("datatype", IN_JSON)
@given(data=st.data())
def test_json_comes_back_as_it_went(datatype: str, data: st.DataObject) -> None:
    array = data.draw(arrays(datatype))
    if datatype == "BYTES":
        array = bytes_array([element.decode("latin-1").encode() for element in array.ravel()], array.shape)
    elif datatype.startswith("FP"):
        array = np.where(np.isnan(array), np.array(np.nan, array.dtype), array)  # JSON has one NaN
    text = dump_json(to_json(Tensor("X", datatype, array)))
    assert same(from_json(parse_json(text), datatype, list(array.shape), "X"), array)


@pytest.mark.parametrize("datatype", IN_JSON)
@given(data=st.data())
def test_nested_data_is_the_same_as_flat(datatype: str, data: st.DataObject) -> None:
    array = data.draw(arrays(datatype))
    if datatype == "BYTES":
        array = bytes_array([b"a"] * array.size, array.shape)
    elif datatype.startswith("FP"):
        array = np.ones_like(array)
    nested = np.vectorize(bytes.decode, [object])(array) if datatype == "BYTES" and array.size else array
    if array.ndim:
        assert same(from_json(nested.tolist(), datatype, list(array.shape), "X"), array)


@pytest.mark.parametrize("datatype", INTEGERS)
def test_integers_keep_their_extremes_and_are_never_wrapped(datatype: str) -> None:
    limits = np.iinfo(DTYPES[datatype])
    extremes = [int(limits.min), int(limits.max)]
    assert from_json(extremes, datatype, [2], "X").tolist() == extremes
    for value in (limits.min - 1, limits.max + 1):
        with pytest.raises(InvalidInput):
            from_json([0, int(value)], datatype, [2], "X")


def test_an_integer_out_of_range_is_named() -> None:
    with pytest.raises(InvalidInput, match="input 'X' holds 300, out of range for UINT8"):
        from_json([1, 300], "UINT8", [2], "X")
    with pytest.raises(InvalidInput, match="holds -129, out of range for INT8"):
        from_json([-129, 127], "INT8", [2], "X")
    with pytest.raises(InvalidInput, match=r"holds 1e\+308, out of range for FP32"):
        from_json([1e308], "FP32", [1], "X")


@pytest.mark.parametrize("datatype", [*INTEGERS, "BOOL", "FP32", "FP64", "BYTES"])
@pytest.mark.parametrize("item", [1, 1.5, "7", True, None, {}, [], [1], {"a": 1}])
def test_nothing_is_coerced(datatype: str, item: Any) -> None:
    allowed: Any = {"BOOL": bool, "BYTES": str, "FP32": (int, float), "FP64": (int, float)}.get(datatype, int)
    good = {"BOOL": True, "BYTES": "a"}.get(datatype, 1)
    if isinstance(item, allowed) and (datatype == "BOOL" or not isinstance(item, bool)):
        from_json([good, item], datatype, [2], "X")
    else:
        with pytest.raises(InvalidInput):
            from_json([good, item], datatype, [2], "X")


@pytest.mark.parametrize(
    ("datatype", "text"),
    [
        ("BOOL", "Unable to parse 'data': attempt to access JSON non-boolean as boolean"),
        ("UINT8", "Unable to parse 'data': attempt to access JSON non-unsigned-integer as unsigned-integer"),
        ("INT64", "Unable to parse 'data': attempt to access JSON non-signed-integer as signed-integer"),
        ("FP32", "Unable to parse 'data': attempt to access JSON non-number as double"),
        ("BYTES", "Unable to parse JSON bytes array: attempt to access JSON non-string as string"),
    ],
)
def test_a_value_of_the_wrong_kind_is_refused_in_known_words(datatype: str, text: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        from_json([None], datatype, [1], "X")
    assert caught.value.message == text
    with pytest.raises(InvalidInput, match="non-unsigned-integer as unsigned-integer"):
        from_json([-1], "UINT64", [1], "X")


@pytest.mark.parametrize(
    ("data", "shape"),
    [
        ([1, 2], [4]),
        ([1, 2, 3, 4, 5], [4]),
        ([], [1]),
        ([1], [0]),
        ([1, 2], []),
        ([], []),
        ([[1, 2, 3], [4, 5, 6, 7, 8]], [2, 4]),
        ([[1, 2], [3, 4]], [4]),
        ([[1, 2, 3, 4]], [2, 2]),
        ([[1], [2]], [1, 2]),
        ([[[1]], [[2]]], [2, 1]),
        ([[1, 2], 3, 4], [2, 2]),
        ([[1], "ab"], [2, 1]),
        ([1], [2**40]),
    ],
)
def test_data_that_does_not_fill_its_shape_is_refused(data: list[Any], shape: list[int]) -> None:
    with (
        little_memory(),
        pytest.raises(InvalidInput, match="Shape does not match true shape of 'data' field"),
    ):
        from_json(data, "INT32", shape, "X")


@pytest.mark.parametrize("data", [5, None, "abc", {}, True])
def test_data_must_be_a_list(data: Any) -> None:
    with pytest.raises(InvalidInput, match="attempt to access JSON non-array as array"):
        from_json(data, "INT32", [1], "X")


@pytest.mark.parametrize("datatype", ["FP16", "BF16"])
def test_half_floats_need_binary_data(datatype: str) -> None:
    with pytest.raises(
        InvalidInput, match=f"^receiving {datatype} data via JSON is not supported. .* for input X"
    ):
        from_json([1.0], datatype, [1], "X")
    with pytest.raises(InvalidInput, match=f"^sending {datatype} data via JSON is not supported."):
        to_json(Tensor("X", datatype, np.zeros(1, DTYPES[datatype])))


def test_a_scalar_has_one_element() -> None:
    assert from_json([5], "INT64", [], "X").shape == ()


@pytest.mark.parametrize("size", [3, 300])
def test_floats_are_written_as_doubles_and_what_is_not_finite_as_words(size: int) -> None:
    array = np.full(size, 7, np.float32)
    assert dump_json(to_json(Tensor("X", "FP32", array))).startswith(b"[7.0,7.0")
    array[:3] = [np.nan, -np.inf, np.inf]
    assert dump_json(to_json(Tensor("X", "FP32", array))).startswith(b"[NaN,-Infinity,Infinity")
    array[:3] = [1e38, -0.0, 1e-45]
    values = orjson.loads(dump_json(to_json(Tensor("X", "FP32", array))))
    assert values[:3] == [9.999999680285693e37, -0.0, 1.401298464324817e-45]
    assert math.copysign(1, values[1]) == -1


def test_an_overflowing_sum_of_finite_values_stays_finite() -> None:
    assert dump_json(to_json(Tensor("X", "FP64", np.array([1e308, 1e308])))) == b"[1e+308,1e+308]"


def test_bytes_that_are_not_text_are_not_put_into_json() -> None:
    with pytest.raises(
        InvalidInput, match="output 'X' holds bytes that are not UTF-8: ask for it with binary_data"
    ):
        to_json(Tensor("X", "BYTES", bytes_array([b"\xff"], [1])))


def test_an_answer_that_is_not_json_is_the_models_failure() -> None:
    with pytest.raises(ModelFailed):
        dump_json({"x": object()})
    with pytest.raises(ModelFailed):
        dump_json({"x": "\ud800"})


@given(st.binary(max_size=60))
def test_any_bytes_are_json_or_refused(body: bytes) -> None:
    with suppress(InvalidInput):
        check_json_keys(body, parse_json(body), 0)
