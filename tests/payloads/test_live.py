"""The payload log of a live server: to a real collector and a file, from every dialect, and never in anybody's way."""

import json
import re
import time
from pathlib import Path

import numpy as np
import openai
import pytest

from dragoman.config import PayloadSettings, Settings, describe
from dragoman.errors import ConfigError
from dragoman.payloads import PayloadLog
from dragoman.payloads.agent import FLAGS
from dragoman.protocols.kserve_v2.messages import message
from dragoman.testing import TestClient
from tests.clients.pools import triton
from tests.payloads.collector import DEADLINE, Collector
from tests.protocols.openai.models import Echo

PAGE = Path(__file__).parents[2] / "docs" / "payloads.md"
PREDICT = "/v1/models/Double:predict"


class Double:
    inputs = {"x": ("FP32", [-1])}
    outputs = {"y": ("FP32", [-1])}

    def predict(self, x):
        return {"y": x * 2}


@pytest.fixture
def collector():
    with Collector() as collector:
        yield collector


def serving(**said):
    return TestClient(Double, settings=Settings(payloads=PayloadSettings(**said)))


def ask(server, values, **headers):
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    return server.request("POST", PREDICT, json.dumps({"inputs": {"x": values}}).encode(), headers)


def counts(server):
    """What the metrics say of payloads."""
    lines = server.get("/metrics").body.decode().splitlines()
    found = [line for line in lines if line.startswith("dragoman_payloads_total{")]
    return {line.split('"')[1]: float(line.split()[-1]) for line in found}


def eventually(condition):
    """Wait for what another thread does."""
    deadline = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < deadline


def test_a_request_and_its_answer_are_two_events_with_one_id(collector):
    told = {"service": "double", "namespace": "prod", "component": "predictor", "endpoint": "default"}
    with serving(url=f"{collector.url}/take?it=1", source="http://me/", **told) as server:
        answer = ask(server, [1, 2], content_type="application/json", ce_id="42")
        request, response = collector.wait(2)
        eventually(lambda: counts(server)["sent"] == 2)
    assert request.path == "/take?it=1"
    assert request.body == b'{"inputs": {"x": [1, 2]}}'
    assert response.body == answer.body
    assert [event.type for event in (request, response)] == ["request", "response"]
    for event in (request, response):
        attributes = {name: value for name, value in event.headers.items() if name.startswith("ce-")}
        assert attributes.pop("ce-type").startswith("org.kubeflow.serving.inference.")
        assert attributes.pop("ce-time").endswith("Z")
        assert attributes == {
            "ce-specversion": "1.0",
            "ce-id": "42",
            "ce-source": "http://me/",
            "ce-subject": PREDICT,
            "ce-inferenceservicename": "double",
            "ce-namespace": "prod",
            "ce-component": "predictor",
            "ce-endpoint": "default",
        }
        assert event.headers["content-type"] == "application/json"


def test_an_id_is_the_clients_or_made(collector):
    with serving(url=collector.url) as server:
        ask(server, [1], x_request_id="mine")
        ask(server, [1])
        events = collector.wait(4)
    first, second, third, fourth = (event.headers["ce-id"] for event in events)
    assert first == second == "mine"
    assert third == fourth
    assert len(third) == 36


@pytest.mark.parametrize("mode", ["request", "response"])
def test_one_side_alone_is_a_mode(collector, mode):
    with serving(url=collector.url, mode=mode) as server:
        for _ in range(3):
            ask(server, [1])
        events = collector.wait(3)
    assert {event.type for event in events} == {mode}


def test_an_answer_that_is_none_is_not_kept(collector):
    with serving(url=collector.url) as server:
        assert ask(server, "nonsense").status == 400
        assert ask(server, [1]).status == 200
        events = collector.wait(3)
    assert [event.type for event in events] == ["request", "request", "response"]


def test_a_share_of_the_requests_is_exact(collector):
    with serving(url=collector.url, sample=0.25) as server:
        for number in range(8):
            ask(server, [number])
        events = collector.wait(4)
    asked = [json.loads(event.body)["inputs"]["x"] for event in events if event.type == "request"]
    assert asked == [[0], [4]]


def test_binary_tensors_arrive_as_they_were(collector):
    with serving(url=collector.url) as server:
        server.infer("Double", {"x": np.arange(3, dtype=np.float32)})
        _, response = collector.wait(2)
    assert response.headers["content-type"] == "application/octet-stream"
    assert response.body.endswith(np.array([0, 2, 4], "<f4").tobytes())


def test_what_is_not_inference_is_not_kept(collector):
    with serving(url=collector.url) as server:
        for path in ("/v2/models/Double", "/v1/models", "/metrics", "/readyz"):
            assert server.get(path).status == 200
        ask(server, [1])
        assert collector.wait(2)[0].headers["ce-subject"] == PREDICT


def test_a_stream_is_one_event_when_it_has_ended(collector):
    with serving(url=collector.url) as server:
        server.call(lambda: server.app.openai.add("echo", Echo("echo")))
        with openai.OpenAI(base_url=f"{server.url}/openai/v1", api_key="none") as client:
            assert len(list(client.completions.create(model="echo", prompt="a b c", stream=True))) == 3
        request, response = collector.wait(2)
    assert json.loads(request.body)["prompt"] == "a b c"
    assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert response.body.count(b"data: ") == 4


def test_grpc_messages_are_kept_as_they_are(collector):
    x = triton.InferInput("x", [2], "FP32").set_data_from_numpy(np.ones(2, np.float32))
    with serving(url=collector.url) as server, triton.InferenceServerClient(server.grpc) as client:
        client.infer("Double", [x], headers={"x-request-id": "mine"})
        request, response = collector.wait(2)
    for event in (request, response):
        assert event.headers["ce-subject"] == "/inference.GRPCInferenceService/ModelInfer"
        assert event.headers["content-type"] == "application/x-protobuf"
        assert event.headers["ce-id"] == "mine"
    assert message("ModelInferRequest").FromString(request.body).inputs[0].name == "x"
    assert message("ModelInferResponse").FromString(response.body).outputs[0].name == "y"


def test_messages_of_a_grpc_stream_are_numbered(collector):
    x = triton.InferInput("x", [2], "FP32").set_data_from_numpy(np.ones(2, np.float32))
    with serving(url=collector.url) as server, triton.InferenceServerClient(server.grpc) as client:
        client.start_stream(lambda result, error: None, headers={"x-request-id": "s"})
        for _ in range(2):
            client.async_stream_infer("Double", [x])
        events = collector.wait(4)
        client.stop_stream()
    assert sorted((event.headers["ce-id"], event.type) for event in events) == [
        ("s-1", "request"), ("s-1", "response"), ("s-2", "request"), ("s-2", "response"),
    ]  # fmt: skip


def test_a_file_has_a_line_for_each(tmp_path):
    file = tmp_path / "payloads.jsonl"
    for _ in range(2):  # what is there stays
        with serving(file=str(file)) as server:
            ask(server, [1, 2])
            server.infer("Double", {"x": np.zeros(1, np.float32)})
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert len(lines) == 8, "what waits is written at the end"
    assert lines[0]["data"] == {"inputs": {"x": [1, 2]}}
    assert lines[1]["data"] == {"predictions": [2, 4]}
    assert "data_base64" in lines[3]
    assert file.stat().st_mode & 0o077 == 0, "it is nobody else's to read"


def test_what_does_not_fit_is_dropped_and_counted_and_every_request_is_answered(collector):
    collector.open.clear()
    with serving(url=collector.url, buffer=4096) as server:
        assert all(ask(server, [1]).status == 200 for _ in range(20))
        found = counts(server)
        assert found["dropped"] > 20
        assert found["sent"] == 0
        assert ask(server, list(range(2000))).status == 200
        assert counts(server)["dropped"] == found["dropped"] + 2
        collector.open.set()
    assert len(collector.events) == 40 - found["dropped"]


def test_a_collector_that_refuses_is_counted(collector):
    collector.status = 400
    with serving(url=collector.url) as server:
        ask(server, [1])
        eventually(lambda: counts(server)["failed"] == 2)
        assert counts(server) == {"dropped": 0, "failed": 2, "sent": 0}


def test_a_collector_that_fails_is_told_of_once_and_again_when_it_works(collector, caplog):
    caplog.set_level("INFO", logger="dragoman.payloads")
    collector.status = 500
    with serving(url=collector.url) as server:
        for _ in range(3):
            assert ask(server, [1]).status == 200
        eventually(lambda: counts(server)["failed"] == 6)
        collector.status = 200
        ask(server, [1])
        eventually(lambda: counts(server)["sent"] == 2)
    told = [record.getMessage() for record in caplog.records if record.name == "dragoman.payloads"]
    assert told == ["payloads can't be kept", "payloads are kept again"]


@pytest.mark.parametrize(
    "url", ["collector", "ftp://h/", "http://", "http://h:x/", "http://h:99999/", "http://u@h/"]
)
def test_a_url_that_is_none_is_refused_at_start(url):
    with pytest.raises(ConfigError, match=r"payloads\.url is no URL of a collector"):
        PayloadLog(PayloadSettings(url=url))


def test_a_file_that_cannot_be_written_is_refused_at_start(tmp_path):
    with pytest.raises(ConfigError, match=r"payloads\.file can't be written"):
        PayloadLog(PayloadSettings(file=str(tmp_path / "missing" / "file")))


def test_the_flags_of_kserves_agent_are_settings_and_on_the_page():
    assert {entry.name for entry in describe()} >= set(FLAGS.values())
    rows = re.findall(r"^\| `(--[\w-]+)` \| `([\w.]+)` \|$", PAGE.read_text(), re.MULTILINE)
    assert dict(rows) == FLAGS
