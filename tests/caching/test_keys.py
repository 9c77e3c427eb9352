"""One input has one key, whichever wire it came by, and two inputs have two."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from dragoman.caching.keys import SIZE, input_key, request_key, row_keys
from dragoman.protocols.kserve_v1 import codec as v1
from dragoman.protocols.kserve_v2 import codec as v2
from dragoman.protocols.kserve_v2 import grpc_codec
from dragoman.protocols.kserve_v2.client import LENGTH, encode_request
from dragoman.protocols.kserve_v2.messages import ModelInferRequest
from dragoman.tensors import bytes_array, encode_raw
from dragoman.types import DTYPES, InferRequest, Signature, Tensor, TensorSpec

NUMBERS = [name for name in DTYPES if name not in ("BYTES", "BF16")]


@st.composite
def tensors(draw, name):
    datatype = draw(st.sampled_from([*NUMBERS, "BYTES"]))
    shape = draw(hnp.array_shapes(min_dims=2, max_dims=3, min_side=1, max_side=3))
    if datatype == "BYTES":
        count = int(np.prod(shape))
        # v1 and v2 JSON have texts where the binary forms have any bytes.
        elements = draw(st.lists(st.text(max_size=5), min_size=count, max_size=count))
        return Tensor(name, "BYTES", bytes_array([each.encode() for each in elements], shape))
    dtype = DTYPES[datatype]
    elements = None
    if dtype.kind == "f":  # JSON of v1 has neither NaN nor infinity
        elements = st.floats(width=8 * dtype.itemsize, allow_nan=False, allow_infinity=False)
    return Tensor(name, datatype, draw(hnp.arrays(dtype, shape, elements=elements)))


def signature_of(inputs):
    return Signature(tuple(TensorSpec(t.name, t.datatype, (-1,) * t.data.ndim) for t in inputs), ())


def over_v2(inputs, binary):
    body, headers = encode_request(inputs, binary=binary)
    return v2.decode_infer("m", "1", body, headers.get(LENGTH), signature_of(inputs))[0].inputs


def over_v1(inputs):
    import orjson

    def plain(tensor):
        if tensor.datatype != "BYTES":
            return tensor.data.tolist()
        return (
            np.array([each.decode() for each in tensor.data.ravel()], object).reshape(tensor.shape).tolist()
        )

    body = orjson.dumps({"inputs": {tensor.name: plain(tensor) for tensor in inputs}})
    return v1.decode_predict("m", "1", body, signature_of(inputs)).inputs


def over_grpc(inputs):
    message = ModelInferRequest(model_name="m")
    for tensor in inputs:
        message.inputs.add(name=tensor.name, datatype=tensor.datatype, shape=tensor.shape)
        message.raw_input_contents.append(bytes(encode_raw(tensor)))
    parsed = grpc_codec.parse_infer(message.SerializeToString())
    return grpc_codec.decode_infer(parsed, "m", "1", signature_of(inputs)).request.inputs


@settings(deadline=None)
@given(tensors("a"), tensors("b"))
def test_one_input_has_one_key_on_every_wire(a, b):
    key = input_key((a, b))
    assert len(key) == SIZE
    wires = [over_v1, over_grpc, lambda x: over_v2(x, True), lambda x: over_v2(x, False)]
    if "FP16" in (a.datatype, b.datatype):
        wires.pop()  # the protocol has no FP16 in JSON
    for wire in wires:
        assert input_key(wire((b, a))) == key


@settings(deadline=None)
@given(tensors("a"), tensors("a"))
def test_two_inputs_have_two_keys(a, b):
    same = a.datatype == b.datatype and a.shape == b.shape and bytes(encode_raw(a)) == bytes(encode_raw(b))
    assert (input_key((a,)) == input_key((b,))) is same


@settings(deadline=None)
@given(tensors("a"))
def test_how_an_array_lies_in_memory_plays_no_part(a):
    key = input_key((a,))
    assert input_key((Tensor("a", a.datatype, np.asfortranarray(a.data)),)) == key
    assert input_key((Tensor("a", a.datatype, a.data[::-1][::-1]),)) == key
    if a.data.dtype.kind in "iuf":
        swapped = a.data.astype(a.data.dtype.newbyteorder(">"))
        assert input_key((Tensor("a", a.datatype, swapped),)) == key


@settings(deadline=None)
@given(st.data())
def test_a_row_s_key_is_that_of_the_row_alone(data):
    rows = data.draw(st.integers(1, 4))
    inputs = []
    for name in ("a", "b"):
        one = data.draw(tensors(name))
        inputs.append(Tensor(name, one.datatype, np.concatenate([one.data[:1]] * rows)))
    alone = [
        input_key([Tensor(t.name, t.datatype, t.data[row : row + 1]) for t in inputs]) for row in range(rows)
    ]
    assert row_keys(inputs) == alone


def bits(datatype, *patterns):
    size = DTYPES[datatype].itemsize
    raw = b"".join(pattern.to_bytes(size, "little") for pattern in patterns)
    return Tensor("x", datatype, np.frombuffer(raw, DTYPES[datatype]))


@pytest.mark.parametrize(
    ("datatype", "nans", "infinity"),
    [
        ("FP16", (0x7E00, 0xFE00, 0x7C01), 0x7C00),
        ("BF16", (0x7FC0, 0xFFC0, 0x7F81), 0x7F80),
        ("FP32", (0x7FC00000, 0xFFC00001, 0x7F800001), 0x7F800000),
        ("FP64", (0x7FF8 << 48, 0xFFF8 << 48 | 5, (0x7FF0 << 48) + 1), 0x7FF0 << 48),
    ],
)
def test_every_nan_is_the_same_and_is_nothing_else(datatype, nans, infinity):
    keys = {input_key((bits(datatype, 0, nan),)) for nan in nans}
    assert len(keys) == 1
    assert input_key((bits(datatype, 0, infinity),)) not in keys
    assert len({tuple(row_keys((bits(datatype, 0, nan),))) for nan in nans}) == 1


def test_zeros_of_either_sign_are_two_values():
    plus, minus = (Tensor("x", "FP32", np.array([value], np.float32)) for value in (0.0, -0.0))
    assert input_key((plus,)) != input_key((minus,))


def request(value=1.0, **fields):
    return InferRequest("m", (Tensor("x", "FP32", np.array([value], np.float32)),), **fields)


DIFFERENT = [
    request(),
    request(2.0),
    request(parameters={"k": 1}),
    request(parameters={"k": 1.0}),
    request(parameters={"k": True}),
    request(parameters={"k": "1"}),
    request(parameters={"headers": {"a": "b"}}),
    request(outputs=("y",)),
    request(outputs=("y", "z")),
    request(outputs=()),
]


def test_what_an_answer_depends_on_is_part_of_a_request_s_key():
    assert len({request_key(each) for each in DIFFERENT}) == len(DIFFERENT)


def test_what_it_does_not_depend_on_is_not():
    key = request_key(request(outputs=("y", "z"), parameters={"a": 1, "b": 2}))
    other = request(outputs=("z", "y"), parameters={"b": 2, "a": 1}, id="7", deadline=3.0, priority=2)
    assert request_key(other) == key


def test_a_parameter_that_can_t_be_compared_makes_no_key():
    assert request_key(request(parameters={"k": object()})) is None


def test_a_tensor_s_own_parameters_count():
    one, other = (
        Tensor("body", "BYTES", bytes_array([b"x"], [1]), {"content_type": kind})
        for kind in ("application/json", "text/plain")
    )
    assert input_key((one,)) != input_key((other,))
