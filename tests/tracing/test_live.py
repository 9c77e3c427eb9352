"""Traces of a live server, as a collector gets them, and what clients are told of their time."""

import re
import subprocess
import sys

import grpc
import numpy as np
import pytest
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from dragoman.config import ModelSettings, PayloadSettings, Settings, TracingSettings
from dragoman.testing import TestClient
from dragoman.tracing.context import Parent
from dragoman.tracing.passage import Passage
from dragoman.tracing.tracer import Tracer
from tests.tracing.collector import attributes, collecting

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
PARENT = {"traceparent": f"00-{TRACE}-{SPAN}-01", "tracestate": "vendor=1"}
ROOMS = {"transport", "decode", "queue", "execute", "encode"}
TIMING = re.compile(
    r"transport;dur=[\d.]+, decode;dur=[\d.]+, queue;dur=[\d.]+, execute;dur=[\d.]+, encode;dur=[\d.]+,"
    r" total;dur=[\d.]+"
)


class Double:
    inputs = {"x": ("FP32", [-1, 1])}
    outputs = {"y": ("FP32", [-1, 1])}
    batched = True
    fast = True

    def predict(self, x):
        if (x < 0).any():
            raise ValueError("negative")
        return {"y": 2 * x}


class Slow(Double):
    """On a thread."""

    fast = False


BODY = b'{"inputs": [{"name": "x", "shape": [1, 1], "datatype": "FP32", "data": [1]}]}'
NEGATIVE = BODY.replace(b"[1]}]", b"[-1]}]")


@pytest.fixture(scope="module")
def collector():
    with collecting() as collector:
        yield collector


def traced(collector, **said):
    settings = TracingSettings(endpoint=collector.url, **said)
    return TestClient(Double, Slow, settings=Settings(tracing=settings))


def test_a_collector_gets_a_span_for_each_room_below_the_clients_own(collector):
    with traced(collector, service="shop") as client:
        for model in ("Double", "Slow"):
            answer = client.request("POST", f"/v2/models/{model}/infer", BODY, PARENT)
            assert answer.status == 200
    spans = [span for span in collector.spans if span.name == "POST /v2/models/{}/infer"]
    assert len(spans) == 2
    for span, model in zip(spans, ("Double", "Slow"), strict=True):
        assert span.trace_id.hex() == TRACE
        assert span.parent_span_id.hex() == SPAN
        assert span.trace_state == "vendor=1"
        said = attributes(span)
        assert (said["http.route"], said["http.response.status_code"]) == ("/v2/models/{}/infer", 200)
        assert (said["url.path"], said["dragoman.model"]) == (f"/v2/models/{model}/infer", model)
        below = {each.name: each for each in collector.spans if each.parent_span_id == span.span_id}
        assert below.keys() == ROOMS
        assert attributes(below["execute"]) == {"dragoman.model": model, "dragoman.version": "1"}
        order = [below[name] for name in ("transport", "decode", "queue", "execute", "encode")]
        starts = [each.start_time_unix_nano for each in order]
        assert starts == sorted(starts)
        for each in order:
            assert each.start_time_unix_nano <= each.end_time_unix_nano
            assert each.trace_id.hex() == TRACE
    assert {"service.name": "shop"}.items() <= collector.resources[-1].items()


def test_grpc_calls_are_traced_alike(collector):
    from tritonclient import grpc as triton

    with traced(collector) as client:
        asked = triton.InferenceServerClient(client.grpc)
        tensor = triton.InferInput("x", [1, 1], "FP32")
        tensor.set_data_from_numpy(np.ones((1, 1), np.float32))
        asked.infer("Double", [tensor], headers=PARENT)
        asked.close()
    span, below = collector.wait("inference.GRPCInferenceService/ModelInfer")
    assert (span.trace_id.hex(), span.parent_span_id.hex()) == (TRACE, SPAN)
    assert below.keys() == ROOMS
    said = attributes(span)
    assert (said["rpc.system"], said["rpc.method"], said["rpc.grpc.status_code"]) == ("grpc", "ModelInfer", 0)


def test_what_fails_is_traced_as_failed_and_what_is_a_clients_mistake_is_not():
    with collecting() as collector:
        with traced(collector) as client:
            assert client.request("POST", "/v2/models/Double/infer", NEGATIVE).status == 500
            assert client.request("POST", "/v2/models/Double/infer", b"{").status == 400
            assert client.request("POST", "/v2/models/nobody/infer", BODY).status == 404
        spans = [span for span in collector.spans if not span.parent_span_id]
    told = [(attributes(span)["http.response.status_code"], span.status.code) for span in spans]
    unset, failed = 0, 2
    assert told == [(500, failed), (400, unset), (404, unset)]


def count(collector):
    return sum(span.name.startswith("POST") for span in collector.spans)


@pytest.mark.parametrize(
    ("headers", "traced_ones"), [({}, 2), (PARENT, 8), ({"traceparent": f"00-{TRACE}-{SPAN}-00"}, 0)]
)
def test_exactly_the_share_is_traced_unless_the_client_has_decided(headers, traced_ones):
    with collecting() as collector:
        with traced(collector, sample=0.25) as client:
            for _ in range(8):
                client.request("POST", "/v2/models/Double/infer", BODY, headers)
        assert count(collector) == traced_ones
        assert len(collector.spans) == traced_ones * 6


def test_every_dialect_is_traced():
    with collecting() as collector:
        with traced(collector) as client:
            client.post("/v1/models/Double:predict", {"instances": [[1]]})
        assert {"POST /v1/models/{}:predict", *ROOMS} == {span.name for span in collector.spans}


TRANSFORMER = """import kserve


class Double(kserve.Model):
    def __init__(self, name):
        super().__init__(name)
        self.predictor_host = "{host}"
        self.protocol = "v2"
        self.ready = True
"""


def test_the_trace_goes_on_to_the_predictor_that_a_model_asks(tmp_path):
    with collecting() as collector:
        with traced(collector) as predictor:
            host = predictor.url.removeprefix("http://")
            (tmp_path / "transformer.py").write_text(TRANSFORMER.format(host=host))
            settings = Settings(
                tracing=TracingSettings(endpoint=collector.url), models=ModelSettings(runtime="kserve")
            )
            with TestClient(f"{tmp_path}/transformer.py:Double", settings=settings) as client:
                name = client.call(lambda: client.app.engine.registry.names()[0])
                body = BODY
                answer = client.request("POST", f"/v2/models/{name}/infer", body, PARENT)
                told = answer.status, answer.body
        spans = [span for span in collector.spans if span.name.startswith("POST")]
    first = next((span for span in spans if span.parent_span_id.hex() == SPAN), None)
    assert first is not None, told
    second = next((span for span in spans if span.parent_span_id == first.span_id), None)
    assert second is not None, told
    assert second.trace_id.hex() == TRACE


def test_a_passage_that_is_not_wanted_makes_no_span():
    exporter = InMemorySpanExporter()
    tracer = Tracer(TracingSettings(sample=0), "1", SimpleSpanProcessor(exporter))
    passage = Passage(1.0, 1.0)
    assert not tracer.begin(passage, "x", None, None)
    assert (passage.span, passage.traceparent) == (None, "")
    assert tracer.wants(Parent(1, 1, True))
    tracer.close()


@pytest.mark.parametrize(
    ("path", "headers", "told"),
    [
        ("/v2/models/Double/infer", {"X-Server-Timing": "1"}, True),
        ("/v2/models/Slow/infer?server-timing", {}, True),
        ("/v2/models/Slow/infer?server-timing=1", {}, True),
        ("/v2/models/Double/infer", {}, False),
        ("/v2/models/Double/infer", {"X-Server-Timing": "0"}, False),
        ("/v2/models/Double/infer?server-timing=0", {}, False),
    ],
)
def test_clients_that_ask_are_told_where_their_time_went(path, headers, told):
    with TestClient(Double, Slow) as client:
        answer = client.request("POST", path, BODY, headers)
    assert answer.status == 200
    assert ("server-timing" in answer.headers) is told
    if told:
        assert TIMING.fullmatch(answer.headers["server-timing"])
        parts = [float(part.rpartition("=")[2]) for part in answer.headers["server-timing"].split(", ")]
        assert sum(parts[:-1]) == pytest.approx(parts[-1], abs=0.5)


def test_who_asks_and_fails_is_told_too():
    with TestClient(Double) as client:
        answer = client.request("POST", "/v2/models/Double/infer", b"{", {"X-Server-Timing": "1"})
    assert answer.status == 400
    assert answer.headers["server-timing"].startswith("transport;dur=")


def test_grpc_clients_that_ask_are_told():
    from tritonclient.grpc import service_pb2, service_pb2_grpc

    with TestClient(Double) as client, grpc.insecure_channel(client.grpc) as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        request = service_pb2.ModelInferRequest(model_name="Double")
        request.inputs.add(name="x", datatype="FP32", shape=[1, 1])
        request.raw_input_contents.append(np.ones(1, "<f4").tobytes())
        _, call = stub.ModelInfer.with_call(request, metadata=[("x-server-timing", "1")])
        told = dict(call.initial_metadata())["server-timing"]
        assert TIMING.fullmatch(told)


def test_the_operator_may_tell_nobody():
    settings = Settings(tracing=TracingSettings(server_timing=False))
    with TestClient(Double, settings=settings) as client:
        answer = client.request("POST", "/v2/models/Double/infer", BODY, {"X-Server-Timing": "1"})
    assert "server-timing" not in answer.headers


def test_payloads_are_kept_of_traced_requests(collector, tmp_path):
    settings = Settings(
        tracing=TracingSettings(endpoint=collector.url), payloads=PayloadSettings(file=str(tmp_path / "p"))
    )
    with TestClient(Double, settings=settings) as client:
        client.request("POST", "/v2/models/Double/infer", BODY, {**PARENT, "X-Server-Timing": "1"})
    assert len((tmp_path / "p").read_text().splitlines()) == 2


def test_without_a_collector_opentelemetry_is_not_imported():
    code = "import sys, dragoman.app; assert not any('opentelemetry' in name for name in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
