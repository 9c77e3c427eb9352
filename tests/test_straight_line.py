"""A real request is followed through the rooms; it must enter them in the order of the architecture's drawing."""

import sys
from itertools import pairwise
from pathlib import Path
from types import FrameType

import grpc
import numpy as np
import pytest

import dragoman
from dragoman.protocols.kserve_v2.messages import (
    SERVICE,
    ModelInferRequest,
    ModelInferResponse,
    ModelStreamInferResponse,
)
from dragoman.testing import TestClient

ROOMS = ("transport", "protocols", "engine", "scheduling", "workers", "runtimes")
#: How an answer goes back: a runtime returns, an instance tells the scheduler, which replies to the protocol.
BACK = {("workers", "scheduling"), ("scheduling", "protocols"), ("protocols", "transport")}
ROOT = Path(dragoman.__file__).parent


class Double:
    inputs = {"x": ("FP32", [-1])}
    outputs = {"y": ("FP32", [-1])}
    fast = True

    def predict(self, x):
        return {"y": x * 2}


class Trace:
    """Notes each step from one room into another."""

    def __init__(self):
        self.steps = []

    def __call__(self, frame: FrameType, event: str, arg: object) -> None:
        if event == "call":
            into, out_of = _room(frame), _nearest_room(frame.f_back)
            if into is not None and out_of is not None and into != out_of:
                self.steps.append((out_of, into))

    @property
    def order(self):
        entered = []
        for _, into in [("", "transport"), *self.steps]:
            if into not in entered:
                entered.append(into)
        return tuple(entered)


def _room(frame):
    path = Path(frame.f_code.co_filename)
    if not path.is_relative_to(ROOT):
        return None
    part = path.relative_to(ROOT).parts[0]
    return part if part in ROOMS else None


def _nearest_room(frame):
    while frame is not None:
        room = _room(frame)
        if room is not None:
            return room
        frame = frame.f_back
    return None


@pytest.fixture(scope="module")
def client():
    with TestClient(Double) as client:
        yield client


def _follow(client, send):
    trace = Trace()
    client.call(lambda: sys.setprofile(trace))
    try:
        send()
    finally:
        client.call(lambda: sys.setprofile(None))
    return trace


def _v2_json(client):
    data = {"name": "x", "shape": [2], "datatype": "FP32", "data": [1, 2]}
    assert client.post("/v2/models/Double/infer", {"inputs": [data]}).json()["outputs"][0]["data"] == [2, 4]


def _v2_binary(client):
    assert list(client.infer("Double", {"x": np.ones(2, np.float32)})["y"]) == [2, 2]


def _v1(client):
    assert client.post("/v1/models/Double:predict", {"instances": [1, 2]}).json() == {"predictions": [2, 4]}


def _request():
    request = ModelInferRequest(model_name="Double", raw_input_contents=[np.ones(2, np.float32).tobytes()])
    request.inputs.add(name="x", datatype="FP32", shape=[2])
    return request.SerializeToString()


def _grpc(client):
    with grpc.insecure_channel(client.grpc) as channel:
        infer = channel.unary_unary(f"/{SERVICE}/ModelInfer", None, ModelInferResponse.FromString)
        assert list(np.frombuffer(infer(_request()).raw_output_contents[0], np.float32)) == [2, 2]


def _grpc_stream(client):
    with grpc.insecure_channel(client.grpc) as channel:
        infer = channel.stream_stream(
            f"/{SERVICE}/ModelStreamInfer", None, ModelStreamInferResponse.FromString
        )
        (answer,) = infer(iter([_request()]))
        assert list(np.frombuffer(answer.infer_response.raw_output_contents[0], np.float32)) == [2, 2]


@pytest.mark.parametrize("send", [_v2_json, _v2_binary, _v1, _grpc, _grpc_stream])
def test_a_request_goes_through_the_rooms_in_order_and_back_through_the_same_doors(client, send):
    trace = _follow(client, lambda: send(client))
    assert trace.order == ROOMS
    forward = set(pairwise(ROOMS))
    assert set(trace.steps) <= forward | BACK


def test_a_request_for_no_model_goes_no_further_than_the_engine(client):
    trace = _follow(client, lambda: client.post("/v2/models/nobody/infer", {"inputs": []}))
    assert trace.order == ("transport", "protocols", "engine")
