"""What crosses the border comes out as it went in; what no honest worker writes is refused, and in one way only."""

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dragoman.errors import InvalidInput, ModelFailed, PredictionFailed, TooLarge
from dragoman.types import DTYPES, InferRequest, InferResponse, Tensor
from dragoman.workers import frames, messages
from dragoman.workers.messages import (
    Outcomes,
    Part,
    decode_answer,
    decode_requests,
    encode_outcomes,
    encode_part,
    encode_requests,
)
from dragoman.workers.shared import Damaged

NAMES = st.text(st.characters(codec="utf-8"), max_size=8)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | NAMES
    | st.floats(allow_nan=False, allow_infinity=False)
)
PARAMETERS = st.dictionaries(NAMES, SCALARS, max_size=3)


@st.composite
def tensors(draw):
    datatype = draw(st.sampled_from(sorted(DTYPES)))
    shape = draw(st.lists(st.integers(0, 3), max_size=3))
    count = int(np.prod(shape, dtype=int))
    if datatype == "BYTES":
        data = np.empty(count, object)
        data[:] = draw(st.lists(st.binary(max_size=9), min_size=count, max_size=count))
    else:
        size = count * DTYPES[datatype].itemsize
        raw = draw(st.binary(min_size=size, max_size=size))
        data = np.frombuffer(bytes(b & 1 for b in raw) if datatype == "BOOL" else raw, DTYPES[datatype])
    return Tensor(draw(NAMES), datatype, data.reshape(shape), draw(PARAMETERS))


RESPONSES = st.builds(
    InferResponse,
    NAMES,
    NAMES,
    st.lists(tensors(), max_size=3).map(tuple),
    id=NAMES,
    parameters=PARAMETERS,
)
REQUESTS = st.builds(
    InferRequest,
    NAMES,
    st.lists(tensors(), max_size=3).map(tuple),
    NAMES,
    NAMES,
    st.none() | st.lists(NAMES, max_size=3).map(tuple),
    PARAMETERS,
)
ERRORS = (
    NAMES.map(InvalidInput)
    | NAMES.map(TooLarge)
    | NAMES.map(ModelFailed)
    | st.builds(PredictionFailed, NAMES, st.integers(200, 599))
)
OUTCOMES = st.lists(RESPONSES | ERRORS, max_size=4)


def joined(frame):
    data = b"".join(frame.pieces)
    assert len(data) == frame.size
    return data


def same_tensors(ours, theirs):
    assert len(ours) == len(theirs)
    for a, b in zip(ours, theirs, strict=True):
        assert (a.name, a.datatype, a.shape, a.parameters) == (b.name, b.datatype, b.shape, b.parameters)
        if a.datatype == "BYTES":
            assert a.data.tolist() == b.data.tolist()
        else:
            assert a.data.tobytes() == b.data.tobytes()


def same(ours, theirs):
    assert type(ours) is type(theirs)
    if isinstance(ours, InferResponse):
        assert (ours.model, ours.version, ours.id) == (theirs.model, theirs.version, theirs.id)
        assert ours.parameters == theirs.parameters
        same_tensors(ours.outputs, theirs.outputs)
    else:
        assert ours.message == theirs.message
        assert getattr(ours, "status", None) == getattr(theirs, "status", None)


@given(st.integers(0, 2**60), st.lists(REQUESTS, max_size=4))
def test_requests_come_out_as_they_went_in(number, requests):
    got_number, got = decode_requests(joined(encode_requests(number, requests)))
    assert got_number == number
    assert len(got) == len(requests)
    for ours, theirs in zip(requests, got, strict=True):
        assert (ours.model, ours.version, ours.id) == (theirs.model, theirs.version, theirs.id)
        assert (ours.outputs, ours.parameters) == (theirs.outputs, theirs.parameters)
        same_tensors(ours.inputs, theirs.inputs)


@given(st.integers(0, 2**60), OUTCOMES, st.floats(0, 1e6), NAMES)
def test_outcomes_come_out_as_they_went_in(number, outcomes, seconds, rotten):
    answer = decode_answer(joined(encode_outcomes(number, outcomes, seconds, rotten)))
    assert isinstance(answer, Outcomes)
    assert (answer.number, answer.seconds, answer.rotten) == (number, seconds, rotten)
    assert len(answer.outcomes) == len(outcomes)
    for ours, theirs in zip(outcomes, answer.outcomes, strict=True):
        same(ours, theirs)


@given(st.integers(0, 2**60), st.integers(0, 99), RESPONSES)
def test_parts_come_out_as_they_went_in_and_are_not_final(number, place, response):
    answer = decode_answer(joined(encode_part(number, place, response)))
    assert isinstance(answer, Part)
    assert (answer.number, answer.place, answer.response.final) == (number, place, False)
    same(response, answer.response)


@given(st.binary(max_size=300))
def test_random_frames_are_damaged(data):
    with pytest.raises(Damaged):
        decode_answer(data)


@given(OUTCOMES, st.data())
def test_mutated_frames_are_damaged_or_readable(outcomes, data):
    frame = bytearray(joined(encode_outcomes(1, outcomes, 0.5)))
    for _ in range(data.draw(st.integers(1, 4))):
        frame[data.draw(st.integers(0, len(frame) - 1))] = data.draw(st.integers(0, 255))
    try:
        answer = decode_answer(bytes(frame[: data.draw(st.integers(0, len(frame)))]))
    except Damaged:
        return
    assert isinstance(answer, Outcomes | Part)


TENSOR = ["x", "FP32", [1], 0, 4, {}]


@pytest.mark.parametrize(
    "document",
    [
        [],
        {},
        7,
        ["outcomes"],
        ["other", 1, [], 0.1, ""],
        ["outcomes", -1, [], 0.1, ""],
        ["outcomes", True, [], 0.1, ""],
        ["outcomes", 1, [], "nan", ""],
        ["outcomes", 1, [], -1, ""],
        ["outcomes", 1, [["no_such_code", "m", 0]], 0.1, ""],
        ["outcomes", 1, [["internal", 5, 0]], 0.1, ""],
        ["outcomes", 1, [["m", "1", "", [], []]], 0.1, ""],
        ["outcomes", 1, [["m", None, "", {}, []]], 0.1, ""],
        ["part", 1, 0, ["internal", "m", 0]],
        ["part", 1, -1, ["m", "1", "", {}, []]],
        *[
            ["outcomes", 1, [["m", "1", "", {}, [tensor]]], 0.1, ""]
            for tensor in (
                [7, *TENSOR[1:]],
                ["x", "FP31", *TENSOR[2:]],
                ["x", [], *TENSOR[2:]],
                ["x", "FP32", "1", 0, 4, {}],
                ["x", "FP32", [-1], 0, 4, {}],
                ["x", "FP32", [2], 0, 4, {}],
                ["x", "FP32", [2**31, 2**31], 0, 4, {}],
                ["x", "FP32", [1] * 99, 0, 4, {}],
                ["x", "FP32", [1], 10**6, 4, {}],
                ["x", "FP32", [1], -4, 4, {}],
                ["x", "FP32", [1], 0, 2**62, {}],
                ["x", "FP32", [1], 0, 4.0, {}],
                ["x", "FP32", [1], 0, 4, None],
                ["x", "BYTES", [1], 0, 64, {}],
                ["x", "BYTES", [2**39], 0, 64, {}],
            )
        ],
    ],
    ids=str,
)
def test_hostile_descriptions_are_damaged(document):
    data = frames.Data()
    data.describe(Tensor("pad", "FP32", np.full(16, np.nan, np.float32)))
    with pytest.raises(Damaged):
        decode_answer(joined(data.frame(orjson.dumps(document))))


@pytest.mark.parametrize(
    "tensor",
    [
        Tensor("x", "FP32", np.zeros(1, np.int64)),
        Tensor("x", "NO_SUCH", np.zeros(1)),
        Tensor("x", "BYTES", np.array([5], object)),
        Tensor("x", "FP32", np.zeros(1, np.float32), {"what": object()}),
        Tensor("x", "FP32", np.zeros(1, np.float32), {"what": 2**80}),
        Tensor("\ud800", "FP32", np.zeros(1, np.float32)),
    ],
)
def test_an_answer_that_cannot_be_told_is_that_requests_failure_alone(tensor):
    good = InferResponse("m", "1", (Tensor("x", "FP32", np.ones(3, np.float32)),))
    bad = InferResponse("m", "1", (Tensor("y", "FP64", np.ones(9)), tensor))
    answer = decode_answer(joined(encode_outcomes(3, [good, bad, good], 0.1)))
    assert isinstance(answer, Outcomes)
    same(answer.outcomes[0], good)
    assert isinstance(answer.outcomes[1], ModelFailed)
    same(answer.outcomes[2], good)


def test_an_answer_with_too_much_data_is_refused_where_it_is_made(monkeypatch):
    monkeypatch.setattr(frames, "MOST_DATA", 1000)
    monkeypatch.setattr(messages, "MOST_DATA", 1000)
    big = InferResponse("m", "1", (Tensor("x", "UINT8", np.zeros(2000, np.uint8)),))
    answer = decode_answer(joined(encode_outcomes(1, [big], 0.1)))
    assert isinstance(answer, Outcomes)
    assert "1000 bytes" in answer.outcomes[0].message


def test_a_status_that_is_none_becomes_500():
    (outcome,) = decode_answer(joined(encode_outcomes(1, [PredictionFailed("no", 7000)], 0.1))).outcomes
    assert outcome.status == 500
