"""KServe's gRPC client, unmodified, with typed tensors and raw ones."""

import asyncio

import grpc
import numpy as np
import pytest
from kserve import InferenceGRPCClient, InferInput, InferRequest

from tests.clients.datatypes import SAMPLES, same

ROWS = np.array([[5.1, 3.5, 1.4, 0.2], [6.7, 3.0, 5.2, 2.3]], np.float32)


def ask(server, function):
    """What ``function(client)`` answers, with a client of a loop of its own."""

    async def run():
        async with InferenceGRPCClient(url=server.grpc) as client:
            return await function(client)

    return asyncio.run(run())


def infer(server, model, *inputs, **more):
    request = InferRequest(model, list(inputs), **more)
    return ask(server, lambda client: client.infer(request))


def an_input(name, datatype, data, binary):
    made = InferInput(name, list(data.shape), datatype)
    made.set_data_from_numpy(data, binary_data=binary)
    return made


def test_server_and_models_are_ready_or_not(server, broken_server):
    assert ask(server, lambda client: client.is_server_live())
    assert ask(server, lambda client: client.is_server_ready())
    assert ask(server, lambda client: client.is_model_ready("Iris"))
    assert not ask(broken_server, lambda client: client.is_server_ready())
    assert not ask(broken_server, lambda client: client.is_model_ready("Broken"))


@pytest.mark.parametrize("binary", [True, False])
def test_rows_are_predicted(server, binary):
    answer = infer(server, "Iris", an_input("input-0", "FP32", ROWS, binary), request_id="seven")
    assert (answer.id, answer.model_name) == ("seven", "Iris")
    assert answer.outputs[0].as_numpy().tolist() == [0, 2]


@pytest.mark.parametrize(
    ("datatype", "binary"),
    [
        (name, binary)
        for name in SAMPLES
        for binary in (True, False)
        if name not in ("BF16", "BYTES") and (binary or name != "FP16")  # which has no typed field
    ],
)
def test_every_datatype_travels(server, datatype, binary):
    data = SAMPLES[datatype].reshape(2, 2)
    answer = infer(server, "Echo", an_input("x", datatype, data, binary))
    assert same(answer.outputs[0].as_numpy(), data)


@pytest.mark.parametrize("binary", [True, False])
def test_texts_travel(server, binary):
    data = np.array([b"", "é☃".encode()], object)
    answer = infer(server, "Echo", an_input("x", "BYTES", data, binary))
    got = answer.outputs[0].as_numpy().tolist()
    assert [item if isinstance(item, bytes) else item.encode() for item in got] == data.tolist()


def test_parameters_are_taken(server):
    answer = infer(
        server,
        "Iris",
        an_input("input-0", "FP32", ROWS, True),
        parameters={"any": "thing", "number": 1, "flag": True},
    )
    assert answer.outputs[0].as_numpy().tolist() == [0, 2]


def test_mistakes_have_their_status(server):
    for model, name, status in (("nope", "x", "NOT_FOUND"), ("Iris", "other", "INVALID_ARGUMENT")):
        with pytest.raises(grpc.RpcError) as caught:
            infer(server, model, an_input(name, "FP32", ROWS, True))
        assert caught.value.code().name == status
