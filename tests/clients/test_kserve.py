"""KServe's REST client, unmodified, for both of its protocols."""

import asyncio

import httpx
import numpy as np
import pytest
from kserve import InferenceRESTClient, InferInput, InferRequest
from kserve.inference_client import RESTConfig
from kserve.protocol.infer_type import RequestedOutput

from tests.clients.datatypes import SAMPLES, TEXTS, same

ROWS = [[5.1, 3.5, 1.4, 0.2], [6.7, 3.0, 5.2, 2.3]]
DATATYPES = [name for name in SAMPLES if name != "BF16"]  # KServe has no BF16


def ask(server, protocol, function):
    """What ``function(client, url)`` answers, with a client of a loop of its own."""

    async def run():
        async with InferenceRESTClient(RESTConfig(protocol=protocol)) as client:
            return await function(client, server.url)

    return asyncio.run(run())


def an_input(name, datatype, data, binary):
    made = InferInput(name, list(data.shape), datatype)
    made.set_data_from_numpy(data, binary_data=binary)
    return made


def echo(server, datatype, data, binary_in, binary_out):
    request = InferRequest(
        "Echo",
        [an_input("x", datatype, data, binary_in)],
        request_outputs=[RequestedOutput("x", parameters={"binary_data": binary_out})],
    )
    answer = ask(server, "v2", lambda client, url: client.infer(url, request, model_name="Echo"))
    return answer.outputs[0].as_numpy()


@pytest.mark.parametrize("protocol", ["v1", "v2"])
def test_the_server_is_live(server, protocol):
    assert ask(server, protocol, lambda client, url: client.is_server_live(url)) is True


def test_the_server_is_ready(server, broken_server):
    assert ask(server, "v2", lambda client, url: client.is_server_ready(url)) is True
    with pytest.raises(httpx.HTTPStatusError) as caught:
        ask(broken_server, "v2", lambda client, url: client.is_server_ready(url))
    assert caught.value.response.status_code == 400


@pytest.mark.parametrize("protocol", ["v1", "v2"])
def test_models_are_ready_or_not(server, broken_server, protocol):
    assert ask(server, protocol, lambda client, url: client.is_model_ready(url, "Iris")) is True
    assert ask(broken_server, protocol, lambda client, url: client.is_model_ready(url, "Broken")) is False


def test_an_unknown_model_is_not_ready_in_v2_and_an_error_in_v1(server):
    assert ask(server, "v2", lambda client, url: client.is_model_ready(url, "nope")) is False
    with pytest.raises(httpx.HTTPStatusError, match=r"Model with name nope does not exist\.") as caught:
        ask(server, "v1", lambda client, url: client.is_model_ready(url, "nope"))
    assert caught.value.response.status_code == 404


class TestV1:
    def test_rows_are_predicted(self, server):
        for key in ("instances", "inputs"):
            document = {key: ROWS}
            answer = ask(
                server, "v1", lambda client, url, d=document: client.infer(url, d, model_name="Iris")
            )
            assert answer == {"predictions": [0, 2]}

    def test_rows_of_several_inputs_are_predicted(self, server):
        rows = {"instances": [{"INPUT0": [1, 2, 3, 4], "INPUT1": [1, 1, 1, 1]}]}
        answer = ask(server, "v1", lambda client, url: client.infer(url, rows, model_name="Labelled"))
        assert answer == {"predictions": [{"OUTPUT0": [2, 3, 4, 5], "OUTPUT1": [0, 1, 2, 3]}]}

    @pytest.mark.parametrize(
        ("document", "words"),
        [
            ({"instances": "abc"}, 'Expected "instances" to be a list'),
            ({"foo": 1}, 'Expected "instances"'),
            ({"instances": [[1, 2]]}, "Expected [-1,4], got [1,2]"),
            ({"instances": [["a", "b", "c", "d"]]}, "expects FP32, got a string"),
        ],
    )
    def test_mistakes_are_400(self, server, document, words):
        with pytest.raises(httpx.HTTPStatusError) as caught:
            ask(server, "v1", lambda client, url: client.infer(url, document, model_name="Iris"))
        assert caught.value.response.status_code == 400
        assert words in str(caught.value)


class TestV2:
    @pytest.mark.parametrize("datatype", [name for name in DATATYPES if name != "BYTES"])
    def test_every_datatype_travels_raw(self, server, datatype):
        data = SAMPLES[datatype].reshape(2, 2)
        assert same(echo(server, datatype, data, True, True), data)

    @pytest.mark.parametrize("datatype", [name for name in DATATYPES if name not in ("FP16", "BYTES")])
    @pytest.mark.parametrize(("binary_in", "binary_out"), [(False, False), (True, False), (False, True)])
    def test_numbers_travel_as_json(self, server, datatype, binary_in, binary_out):
        data = SAMPLES[datatype].reshape(2, 2)
        assert same(echo(server, datatype, data, binary_in, binary_out), data)

    @pytest.mark.parametrize(
        ("binary_in", "binary_out"), [(False, False), (True, False), (False, True), (True, True)]
    )
    def test_texts_travel(self, server, binary_in, binary_out):
        # Bytes that are no UTF-8 this client can send, but not read.
        got = echo(server, "BYTES", TEXTS, binary_in, binary_out).tolist()
        assert [item if isinstance(item, bytes) else item.encode() for item in got] == TEXTS.tolist()

    @pytest.mark.parametrize("datatype", DATATYPES)
    def test_empty_tensors_travel_raw(self, server, datatype):
        data = np.empty((0, 3), SAMPLES[datatype].dtype)
        assert same(echo(server, datatype, data, True, True), data)

    def test_an_answer_has_id_and_names(self, server):
        request = InferRequest(
            "Iris",
            [an_input("input-0", "FP32", np.array(ROWS, np.float32), False)],
            request_id="seven",
            parameters={"any": "thing", "number": 1, "flag": True},
        )
        answer = ask(server, "v2", lambda client, url: client.infer(url, request, model_name="Iris"))
        assert (answer.id, answer.model_name) == ("seven", "Iris")
        assert answer.outputs[0].data == [0, 2]

    def test_a_plain_document_is_taken(self, server):
        document = {
            "inputs": [{"name": "input-0", "shape": [2, 4], "datatype": "FP32", "data": ROWS}],
        }
        answer = ask(server, "v2", lambda client, url: client.infer(url, document, model_name="Iris"))
        assert answer.outputs[0].data == [0, 2]

    def test_mistakes_are_400_and_unknown_models_404(self, server):
        request = InferRequest("Iris", [an_input("other", "FP32", np.ones((1, 4), np.float32), False)])
        for model, status, words in (
            ("Iris", 400, "unexpected inference input 'other'"),
            ("nope", 404, "nope"),
        ):
            with pytest.raises(httpx.HTTPStatusError, match=words) as caught:
                ask(server, "v2", lambda client, url, m=model: client.infer(url, request, model_name=m))
            assert caught.value.response.status_code == status
