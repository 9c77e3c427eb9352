"""The wire, one level deep: fields are cut out as the runtime would read them."""

import pytest
from google.protobuf.message import DecodeError
from hypothesis import example, given
from hypothesis import strategies as st

from dragoman.protobuf.wire import Malformed, TooMany, cut, tag, varint
from dragoman.protocols.kserve_v2.messages import ModelInferRequest

RAW = 7

raw = st.lists(st.binary(max_size=40), max_size=4)
names = st.text(max_size=10)


def a_request(name, tensors, raw, at):
    """A message whose raw contents stand somewhere among its other fields, as the wire allows."""
    head = ModelInferRequest(model_name=name)
    for tensor in tensors:
        head.inputs.add(name=tensor, datatype="FP32", shape=[len(tensor), 300])
    pieces = [head.SerializeToString(), ModelInferRequest(id="é").SerializeToString()]
    packed = [tag(RAW) + varint(len(value)) + value for value in raw]
    return b"".join([*packed[:at], pieces[0], *packed[at:], pieces[1]])


@given(names, st.lists(names, max_size=3), raw, st.integers(0, 4))
def test_what_is_cut_and_what_is_left_is_what_the_runtime_reads(name, tensors, raw, at):
    message = a_request(name, tensors, raw, at)
    rest, values = cut(message, RAW, 100)
    whole = ModelInferRequest.FromString(message)
    assert [bytes(value) for value in values] == list(whole.raw_input_contents)
    del whole.raw_input_contents[:]
    assert ModelInferRequest.FromString(rest) == whole


@given(st.binary(max_size=60))
@example(b"\x3a\x05abc")
@example(b"\x3a" + b"\xff" * 10 + b"\x01")
@example(b"\x08")
@example(b"\x09\x00")
@example(b"\x3b\x3c")
def test_bytes_are_cut_or_refused_and_never_more_is_taken_than_the_runtime_would(data):
    try:
        rest, values = cut(data, RAW, 100)
    except Malformed:
        return
    try:
        whole = ModelInferRequest.FromString(data)
    except DecodeError:
        return  # the runtime looks into the other fields, too: it will refuse what is left
    assert [bytes(value) for value in values] == list(whole.raw_input_contents)
    del whole.raw_input_contents[:]
    assert ModelInferRequest.FromString(rest) == whole


def test_fields_are_not_without_number():
    message = ModelInferRequest(id="x", raw_input_contents=[b""] * 9).SerializeToString()
    assert len(cut(message, RAW, 10)[1]) == 9
    with pytest.raises(TooMany):
        cut(message, RAW, 9)


def test_values_are_views():
    message = ModelInferRequest(raw_input_contents=[b"x" * 100]).SerializeToString()
    _, (value,) = cut(message, RAW, 100)
    assert value.obj is message


@pytest.mark.parametrize(
    ("number", "written"),
    [
        (0, b"\x00"),
        (1, b"\x01"),
        (127, b"\x7f"),
        (128, b"\x80\x01"),
        (300, b"\xac\x02"),
        (2**31, b"\x80" * 4 + b"\x08"),
    ],
)
def test_numbers_are_written_as_the_runtime_writes_them(number, written):
    assert varint(number) == written


def test_a_tag_names_its_field():
    assert tag(1) == b"\x0a"
    assert tag(7) == b"\x3a"
    assert tag(16) == b"\x82\x01"
