"""A model without a ``predict`` of its own asks another server: what arrives there, and what comes of its answer."""

import asyncio
import json
from dataclasses import replace

import grpc
import httpx
import numpy as np
import pytest

from dragoman import errors as kinds
from dragoman.compat.kserve.forwarding import append_forwardable_headers
from dragoman.compat.kserve.model import InferenceVerb, Model, PredictorConfig
from dragoman.compat.kserve.protocol.grpc import grpc_predict_v2_pb2 as messages
from dragoman.compat.kserve.protocol.grpc.grpc_predict_v2_pb2_grpc import (
    GRPCInferenceServiceServicer,
    add_GRPCInferenceServiceServicer_to_server,
)
from dragoman.compat.kserve.protocol.infer_type import InferInput, InferRequest, InferResponse
from dragoman.compat.kserve.utils.inference_client_factory import InferenceClientFactory
from dragoman.config import Settings
from dragoman.testing import TestClient
from tests.compat.kserve.peers import Adder, nobody, recording, silence
from tests.transport.authority import Authority

pytestmark = pytest.mark.usefixtures("old")
PROTOCOLS = ["v1", "v2", "grpc-v2"]


@pytest.fixture(scope="module")
def predictor():
    with TestClient(Adder) as client:
        yield client


def host(client, protocol):
    return client.grpc if protocol == "grpc-v2" else f"127.0.0.1:{client.app.port}"


def ask(model, body, **more):
    """What the model answers, with its clients closed behind it."""

    async def go():
        try:
            return await model(body, **more)
        finally:
            await InferenceClientFactory().close()

    return asyncio.run(go())


def payload(protocol, *numbers, name="Adder"):
    if protocol == "v1":
        return {"instances": list(numbers)}
    tensor = InferInput("x", [len(numbers)], "FP32")
    tensor.set_data_from_numpy(np.array(numbers, np.float32), binary_data=protocol == "grpc-v2")
    return InferRequest(name, [tensor], "r-1")


def numbers_of(answer):
    return answer["predictions"] if isinstance(answer, dict) else answer.outputs[0].as_numpy().tolist()


def transformer(where, protocol, name="Adder", **more):
    return Model(name, PredictorConfig(where, protocol, **more))


class Doubling(Model):
    """What KServe's documentation of 0.13 shows: a transformer that is told of its predictor."""

    def __init__(self, name, predictor_host, protocol):
        super().__init__(name)
        self.predictor_host = predictor_host
        self.protocol = protocol
        self.ready = True

    def preprocess(self, inputs, headers=None):
        if isinstance(inputs, dict):
            return {"instances": [2 * number for number in inputs["instances"]]}
        tensor = InferInput("x", [1], "FP32")
        tensor.set_data_from_numpy(2 * inputs.inputs[0].as_numpy(), binary_data=False)
        return InferRequest(self.name, [tensor], inputs.id)

    def postprocess(self, response, headers=None):
        return response


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_transformer_asks_its_predictor(predictor, protocol):
    answer = ask(Doubling("Adder", host(predictor, protocol), protocol), payload(protocol, 3.0))
    assert numbers_of(answer) == [7.0]
    if protocol != "v1":
        assert isinstance(answer, InferResponse)
        assert (answer.id, answer.model_name) == ("r-1", "Adder")


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_the_server_s_configuration_is_enough(predictor, protocol):
    assert numbers_of(ask(transformer(host(predictor, protocol), protocol), payload(protocol, 1.0, 2.0))) == [
        2.0,
        3.0,
    ]


def test_a_message_is_sent_as_well(predictor):
    for protocol in ("v2", "grpc-v2"):
        message = payload("grpc-v2", 5.0).to_grpc()
        assert numbers_of(ask(transformer(host(predictor, protocol), protocol), message)) == [6.0]


def test_raw_bytes_travel_raw_over_rest(predictor):
    assert numbers_of(ask(transformer(host(predictor, "v2"), "v2"), payload("grpc-v2", 5.0))) == [6.0]


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_client_s_mistake_stays_one_in_the_predictor_s_words(predictor, protocol):
    # row: predictor-errors
    with pytest.raises(kinds.InvalidInput) as failure:
        ask(transformer(host(predictor, protocol), protocol), payload(protocol, -1.0))
    assert "nothing below zero" in failure.value.message
    assert "127.0.0.1" not in failure.value.message
    assert isinstance(failure.value, grpc.RpcError if protocol == "grpc-v2" else httpx.HTTPStatusError)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_predictor_that_is_not_ready_makes_the_model_so(predictor, protocol):
    # row: predictor-errors
    with pytest.raises(kinds.NotReady, match="warming up"):
        ask(transformer(host(predictor, protocol), protocol), payload(protocol, -2.0))


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_predictor_that_fails_lets_the_model_fail(predictor, protocol):
    with pytest.raises(kinds.ModelFailed):
        ask(transformer(host(predictor, protocol), protocol), payload(protocol, -3.0))


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_model_that_the_predictor_has_not_is_not_found(predictor, protocol):
    with pytest.raises(kinds.NotFound):
        ask(transformer(host(predictor, protocol), protocol, "other"), payload(protocol, 1.0, name="other"))


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_predictor_that_is_not_there_makes_the_model_not_ready(protocol):
    # row: predictor-errors
    with pytest.raises(kinds.NotReady) as failure:
        ask(transformer(nobody(), protocol), payload(protocol, 1.0))
    assert isinstance(failure.value, grpc.RpcError if protocol == "grpc-v2" else httpx.ConnectError)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_predictor_that_does_not_answer_is_late(protocol):
    with silence() as where, pytest.raises(kinds.DeadlineExceeded) as failure:
        ask(
            transformer(where, protocol, predictor_request_timeout_seconds=0.3),
            payload(protocol, 1.0),
        )
    assert isinstance(failure.value, grpc.RpcError if protocol == "grpc-v2" else httpx.TimeoutException)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_over_tls_the_predictor_must_be_who_it_says(tmp_path, monkeypatch, protocol):
    authority = Authority(tmp_path, "authority")
    pair = authority.sign("predictor")
    settings = Settings()
    server = replace(settings.server, tls_cert=str(pair.cert), tls_key=str(pair.key))
    with TestClient(Adder, settings=replace(settings, server=server)) as client:
        where = host(client, protocol).replace("127.0.0.1", "localhost")
        model = transformer(where, protocol, predictor_use_ssl=True, predictor_request_timeout_seconds=20)
        with pytest.raises(kinds.NotReady):
            ask(model, payload(protocol, 1.0))
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(authority.cert))
        assert numbers_of(ask(model, payload(protocol, 1.0))) == [2.0]


SENT = {
    "X-Request-Id": "r-1",
    "x-b3-traceid": "t",
    "traceparent": "00-1",
    "Authorization": "Bearer b",
    "cookie": "secret",
    "host": "transformer",
    "content-length": "5",
}
KEPT = {"x-request-id": "r-1", "x-b3-traceid": "t", "traceparent": "00-1", "authorization": "Bearer b"}


def test_only_headers_that_say_who_asks_go_on():
    # row: forwarded-headers
    assert append_forwardable_headers(SENT, {"content-type": "x"}) == {**KEPT, "content-type": "x"}
    assert append_forwardable_headers(None) == {}


def test_they_arrive_over_rest_together_with_the_document():
    with recording(answer={"predictions": [1]}) as server:
        assert ask(transformer(server.host, "v1", "m/1"), {"instances": [1]}, headers=SENT) == {
            "predictions": [1]
        }
    ((path, headers, body),) = server.asked
    assert path == "/v1/models/m%2F1:predict"
    assert json.loads(body) == {"instances": [1]}
    headers = {name.lower(): value for name, value in headers.items()}
    assert (
        headers.items()
        >= {**KEPT, "content-type": "application/json", "content-length": str(len(body))}.items()
    )
    assert headers["host"] == server.host
    assert "cookie" not in headers


class Recorder(GRPCInferenceServiceServicer):
    """A servicer that answers with its input, and notes what came with it."""

    async def ModelInfer(self, request, context):  # noqa: N802
        self.metadata = dict(context.invocation_metadata())
        self.request = request
        return InferResponse(request.id, request.model_name, InferRequest.from_grpc(request).inputs).to_grpc()


def test_they_arrive_over_grpc_as_metadata():
    recorder = Recorder()

    async def go():
        server = grpc.aio.server()
        add_GRPCInferenceServiceServicer_to_server(recorder, server)
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        try:
            model = transformer(f"127.0.0.1:{port}", "grpc-v2", "m")
            return await model(payload("grpc-v2", 1.0), headers=SENT)
        finally:
            await InferenceClientFactory().close()
            await server.stop(None)

    assert numbers_of(asyncio.run(go())) == [1.0]
    assert (
        recorder.metadata.items() >= {**KEPT, "request_type": "grpc_v2", "response_type": "grpc_v2"}.items()
    )
    assert "cookie" not in recorder.metadata
    assert isinstance(recorder.request, messages.ModelInferRequest)


def test_headers_of_the_predictor_s_answer_are_there_where_a_model_wants_them(new):
    with recording(answer={"predictions": [1]}) as server:
        model = Model("m", PredictorConfig(server.host), return_response_headers=True)
        response, headers = ask(model, {"instances": [1]})
    assert response == {"predictions": [1]}
    assert headers["x-answered"] == "yes"


class TestExplaining:
    def test_the_explainer_is_asked_over_v1(self):
        # row: explainer-host
        with recording(answer={"explanations": [9]}) as server:
            model = Model("m")
            model.explainer_host = server.host
            body = {"instances": [1]}
            assert ask(model, body, verb=InferenceVerb.EXPLAIN, headers=SENT) == {"explanations": [9]}
        ((path, headers, _),) = server.asked
        assert path == "/v1/models/m:explain"
        assert headers["x-request-id"] == "r-1"

    def test_its_refusals_keep_their_kind(self):
        with recording(status=400, answer={"error": "no"}) as server:
            model = Model("m")
            model.explainer_host = server.host
            with pytest.raises(kinds.InvalidInput, match=r"^no, '400 Bad Request'"):
                ask(model, {}, verb=InferenceVerb.EXPLAIN)


@pytest.mark.parametrize(
    ("status", "answer", "kind", "words"),
    [
        (400, {"error": "bad"}, kinds.InvalidInput, "bad"),
        (401, {"error": "who?"}, kinds.Unauthorized, "who?"),
        (403, {"error": "no"}, kinds.Forbidden, "no"),
        (404, {"detail": "Not Found"}, kinds.NotFound, "Not Found"),
        (409, {"error": "taken"}, kinds.Conflict, "taken"),
        (413, b"", kinds.TooLarge, "the predictor answered 413 Request Entity Too Large"),
        (422, {"detail": [{"msg": "x"}]}, kinds.InvalidInput, '[{"msg":"x"}]'),
        (429, {"message": "slowly"}, kinds.Overloaded, "slowly"),
        (500, {"error": "sorry"}, kinds.ModelFailed, "sorry"),
        (501, b"<html>", kinds.Unsupported, "the predictor answered 501 Not Implemented"),
        (503, {"error": "later"}, kinds.NotReady, "later"),
        (504, {"error": "late"}, kinds.DeadlineExceeded, "late"),
        (302, b"", kinds.ModelFailed, "the predictor answered 302 Found"),
    ],
)
def test_every_status_has_a_kind_and_the_server_s_words(status, answer, kind, words):
    with recording(status=status, answer=answer) as server, pytest.raises(kind) as failure:
        ask(transformer(server.host, "v1", "m"), {"instances": [1]})
    assert failure.value.message == words
    assert isinstance(failure.value, httpx.HTTPStatusError)
    assert failure.value.response.status_code == status
    assert f"for url 'http://{server.host}/v1/models/m:predict'" in str(failure.value)


@pytest.mark.parametrize(
    ("protocol", "answer"), [("v1", b"<html>"), ("v2", b"[]"), ("v2", b'{"outputs":[{}]}')]
)
def test_an_answer_that_makes_no_sense_is_the_predictor_s_fault(protocol, answer):
    with recording(answer=answer) as server, pytest.raises(kinds.ModelFailed, match="can't be read"):
        ask(transformer(server.host, protocol, "m"), payload(protocol, 1.0))
