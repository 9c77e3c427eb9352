"""What takes time or more than one request, at live servers: conversations, queues, deadlines, sizes."""

import json
import time
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest

from dragoman.protocols.torchserve import messages
from tests.conformance.torchserve import handlers
from tests.conformance.torchserve.grpc.conftest import INFERENCE, MANAGEMENT, OPEN, OPEN_INFERENCE, profile

#: Counts the requests of each conversation.
COUNTER = """
import time

counts = {}

def handle(data, context):
    if data is None:
        return None
    answers = []
    for place, row in enumerate(data):
        number = context.get_sequence_id(place)
        if context.get_request_header(place, "ts_request_sequence_start") == "true":
            counts[number] = 0
        counts[number] += 1
        answers.append(f"{number}: {counts[number]}")
    return answers
"""
#: Says something of itself.
DESCRIBED = """
def handle(data, context):
    if data is None:
        return None
    if context.get_request_header(0, "describe") == "True":
        return [{"labels": ["cat", "dog"]}]
    return ["a prediction"]
"""
STATEFUL = """
minWorkers: 1
maxWorkers: 1
batchSize: 2
maxBatchDelay: 10
sequenceBatching: true
sequenceMaxIdleMSec: 60000
maxNumSequence: 2
maxSequenceJobQueueSize: 10
"""
Request = messages.PredictionsRequest


@pytest.fixture(scope="module")
def slow(tmp_path_factory, cache):
    """Handlers that take their time, that remember, that tell of themselves."""
    queue = "minWorkers: 1\nmaxWorkers: 1\nbatchSize: 1\njobQueueSize: 1\n"
    limited = "minWorkers: 1\nmaxWorkers: 1\nresponseTimeout: 1\n"
    models = [
        ("slow", handlers.SLOW, {"yaml": queue}),
        ("limited", handlers.SLOW, {"yaml": limited}),
        ("counter", COUNTER, {"yaml": STATEFUL}),
        ("described", DESCRIBED),
        ("stream", handlers.STREAM),
    ]
    with profile(tmp_path_factory.mktemp("slow"), models, max_request_size="1000000", **OPEN) as server:
        yield server


def a_request(model, body=b"", **more):
    return Request(model_name=model, input={"body": body} if body else {}, **more).SerializeToString()


def method(server, name, kind="unary_unary"):
    channel, service = server.place(name)
    make = getattr(channel, kind)
    return make(f"/{service.name}/{name}", encode, service.classes(name)[1].FromString)


def encode(message):
    return message if isinstance(message, bytes) else message.SerializeToString()


def predict(server, *args, timeout=30):
    return method(server, "Predictions")(a_request(*args), timeout=timeout).prediction


def refusal(call, *args, **more):
    with pytest.raises(grpc.RpcError) as caught:
        call(*args, **more)
    return caught.value.code().name, caught.value.details()


def test_a_deadline_ends_a_request_and_the_model_goes_on(slow):
    started = time.monotonic()
    code, _ = refusal(predict, slow, "slow", b"1", timeout=0.2)
    assert code == "DEADLINE_EXCEEDED"
    assert time.monotonic() - started < 0.9
    assert json.loads(predict(slow, "slow", b"0")) == {"place": 0, "together": 1}


def test_a_full_queue_refuses(slow):
    # row: time-is-up
    with ThreadPoolExecutor(6) as pool:
        asked = [pool.submit(predict, slow, "slow", b"0.5") for _ in range(6)]
        failed = [future.exception() for future in asked if future.exception() is not None]
    assert failed
    assert {error.code().name for error in failed} == {"INTERNAL"}
    assert {error.details().partition("\n")[2] for error in failed} == {"InternalServerException.()"}
    assert 'Model "slow" has no worker to serve inference request' in failed[0].details()
    code, details = refusal(predict, slow, "limited", b"3")
    assert (code, details.partition("\n")[2]) == (
        "DEADLINE_EXCEEDED",
        "org.pytorch.serve.http.RequestTimeoutException",
    )


def test_who_hangs_up_leaves_the_queue(slow):
    # row: gone-clients
    call = method(slow, "Predictions").future(a_request("slow", b"0.5"))
    waits = method(slow, "Predictions").future(a_request("slow", b"5"))
    time.sleep(0.2)
    waits.cancel()
    assert json.loads(call.result().prediction) == {"place": 0, "together": 1}
    started = time.monotonic()
    predict(slow, "slow", b"0")
    assert time.monotonic() - started < 3


def test_a_stream_that_fails_says_so(slow):
    # row: streams-that-fail
    parts = method(slow, "StreamPredictions", "unary_stream")(a_request("stream", b"fail"), timeout=30)
    assert next(parts).prediction == b"hello "
    assert refusal(lambda: list(parts))[0] == "UNAVAILABLE"


def test_a_conversation_remembers_and_ends_with_its_stream(slow):
    # row: conversations-go-on
    converse = method(slow, "StreamPredictions2", "stream_stream")
    for _ in range(3):  # there is room for two sequences: those of streams that have ended make room
        asked = [a_request("counter", b"x", sequence_id=name) for name in ("a", "b", "a")]
        answers = list(converse(iter([*asked, a_request("counter", b"x")]), timeout=30))
        assert sorted(answer.prediction for answer in answers) == [b"", b"a: 1", b"a: 2", b"b: 1"]
        (refused,) = [answer for answer in answers if answer.HasField("status")]
        error = messages.ErrorInfo()
        assert refused.status.details[0].Unpack(error)
        assert (refused.status.code, error.reason) == (13, "BadRequestException.()")


def test_a_broken_request_of_a_conversation_is_answered_too(slow):
    converse = method(slow, "StreamPredictions2", "stream_stream")
    requests = [b"\xff\xff", a_request("counter", b"x", sequence_id="broken")]
    answers = list(converse(iter(requests), timeout=30))
    assert [answer.HasField("status") for answer in answers] == [True, False]


def test_a_model_tells_of_itself(slow):
    described = method(slow, "DescribeModel")
    request = MANAGEMENT.classes("DescribeModel")[0]
    (document,) = json.loads(described(request(model_name="described", customized=True)).msg)
    assert document["customizedMetadata"] == {"labels": ["cat", "dog"]}
    assert document["modelName"] == "described"
    (document,) = json.loads(described(request(model_name="described")).msg)
    assert "customizedMetadata" not in document
    (document,) = json.loads(described(request(model_name="described", model_version="all")).msg)
    assert document["modelVersion"] == "1.0"


def test_messages_have_a_size(slow):
    # row: grpc-transport
    code, details = refusal(predict, slow, "described", bytes(1_000_001))
    assert code == "RESOURCE_EXHAUSTED"
    assert "1000000" in details


def test_inputs_are_no_more_than_a_form_s_fields(slow):
    # row: form-limits
    inputs = {f"{number}": b"" for number in range(1001)}
    many = Request(model_name="described", input=inputs).SerializeToString()
    assert refusal(method(slow, "Predictions"), many) == (
        "RESOURCE_EXHAUSTED",
        "a request has at most 1000 inputs",
    )
    del inputs["0"], inputs["1"]
    few = Request(model_name="described", input=inputs).SerializeToString()
    assert method(slow, "Predictions")(few, timeout=30).prediction == b"a prediction"


def test_what_is_not_there_is_unimplemented(slow):
    # row: grpc-transport
    channel = slow.channels[0]
    for path in (
        f"/{OPEN_INFERENCE.name}/ServerLive",
        "/inference.GRPCInferenceService/ServerLive",
        f"/{INFERENCE.name}/Nothing",
        f"/{MANAGEMENT.name}/ListModels",
        "/grpc.health.v1.Health/Check",
    ):
        code, details = refusal(channel.unary_unary(path), b"")
        assert (code, details) == ("UNIMPLEMENTED", "no such method")


def test_a_broken_message_is_refused(slow):
    # row: grpc-transport
    assert refusal(method(slow, "Predictions"), b"\xff\xff") == (
        "INVALID_ARGUMENT",
        "Unable to parse request",
    )
    code, details = refusal(method(slow, "ListModels"), b"\xff\xff")
    assert (code, details.partition("\n")[0]) == ("INVALID_ARGUMENT", "Unable to parse request")


def test_with_the_open_inference_protocol_its_own_clients_are_at_home_too(open_inference):
    # row: grpc-open-inference
    channel = open_inference.channels[0]
    request, response = OPEN_INFERENCE.classes("ModelReady")
    ready = channel.unary_unary(
        "/inference.GRPCInferenceService/ModelReady", request.SerializeToString, response.FromString
    )
    assert ready(request(name="sum"), timeout=30).ready
    assert not ready(request(name="nosuch"), timeout=30).ready
