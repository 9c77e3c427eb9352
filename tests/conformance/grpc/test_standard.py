"""gRPC's own services, and what no recorded call could show."""

import threading
from queue import SimpleQueue

import grpc
import numpy as np
import pytest
import tritonclient.grpc as triton
from tritonclient.utils import InferenceServerException

from dragoman.protocols.grpc.health import SCHEMA as STANDARD
from dragoman.protocols.kserve_v2.messages import SCHEMA as KSERVE
from dragoman.protocols.kserve_v2.messages import SERVICE
from dragoman.testing import TestClient
from tests.clients.models import Echo, Slow

PATIENCE = 60
SERVING, NOT_SERVING, SERVICE_UNKNOWN = 1, 2, 3
Request = STANDARD.message("grpc.health.v1.HealthCheckRequest")
Response = STANDARD.message("grpc.health.v1.HealthCheckResponse")


@pytest.fixture(scope="module")
def server():
    with TestClient(Echo, Slow) as server:
        yield server


@pytest.fixture
def channel(server):
    with grpc.insecure_channel(server.grpc) as channel:
        yield channel


def check(channel, name=""):
    call = channel.unary_unary("/grpc.health.v1.Health/Check", Request.SerializeToString, Response.FromString)
    return call(Request(service=name), timeout=PATIENCE).status


def watch(channel, name=""):
    call = channel.unary_stream(
        "/grpc.health.v1.Health/Watch", Request.SerializeToString, Response.FromString
    )
    return call(Request(service=name))


def refused(call):
    with pytest.raises(grpc.RpcError) as caught:
        call()
    return caught.value.code().name, caught.value.details()


@pytest.mark.parametrize("name", ["", SERVICE, "grpc.health.v1.Health", "Echo"])
def test_server_services_and_models_are_serving(channel, name):
    assert check(channel, name) == SERVING
    watched = watch(channel, name)
    assert next(watched).status == SERVING
    watched.cancel()


def test_an_unknown_service_is_not_found_and_watched_as_such(channel):
    # row: health-names
    assert refused(lambda: check(channel, "nope")) == ("NOT_FOUND", "unknown service 'nope'")
    watched = watch(channel, "nope")
    assert next(watched).status == SERVICE_UNKNOWN
    watched.cancel()


def test_a_model_that_failed_to_load_is_not_serving_and_neither_is_its_server(servers):
    with grpc.insecure_channel(servers["v2"].grpc) as channel:
        assert check(channel, "bad_init") == NOT_SERVING
        assert check(channel) == NOT_SERVING
        assert check(channel, "add_sub") == SERVING


def test_a_watcher_hears_of_a_change():
    with TestClient(Echo) as server, grpc.insecure_channel(server.grpc) as channel:
        watched = watch(channel)
        assert next(watched).status == SERVING
        server.call(server.app.engine.stop)
        assert next(watched).status == NOT_SERVING
        watched.cancel()


def test_a_watcher_does_not_keep_its_server():
    with TestClient(Echo) as server:
        channel = grpc.insecure_channel(server.grpc)
        watched = watch(channel)
        assert next(watched).status == SERVING
    assert refused(lambda: list(watched))[0] == "UNAVAILABLE"
    channel.close()


class Reflection:
    """A conversation with the reflection service."""

    def __init__(self, channel, package):
        self._request = STANDARD.message(f"{package}.ServerReflectionRequest")
        response = STANDARD.message(f"{package}.ServerReflectionResponse")
        self._questions = SimpleQueue()
        self._answers = channel.stream_stream(
            f"/{package}.ServerReflection/ServerReflectionInfo",
            self._request.SerializeToString,
            response.FromString,
        )(iter(self._questions.get, None), timeout=PATIENCE)

    def ask(self, **question):
        self._questions.put(self._request(**question))
        return next(self._answers)

    def end(self):
        self._questions.put(None)
        return list(self._answers)


@pytest.mark.parametrize("package", ["grpc.reflection.v1", "grpc.reflection.v1alpha"])
def test_reflection_tells_services_and_their_definitions(channel, package):
    # row: reflection
    reflection = Reflection(channel, package)
    services = [s.name for s in reflection.ask(list_services="").list_services_response.service]
    assert services == [
        SERVICE,
        "grpc.health.v1.Health",
        "grpc.reflection.v1.ServerReflection",
        "grpc.reflection.v1alpha.ServerReflection",
    ]
    for service in services:
        answer = reflection.ask(file_containing_symbol=service)
        assert answer.original_request.file_containing_symbol == service
        assert answer.file_descriptor_response.file_descriptor_proto
    files = reflection.ask(file_containing_symbol=f"{SERVICE}.ModelConfig")
    assert list(files.file_descriptor_response.file_descriptor_proto) == [
        KSERVE.files["grpc_service.proto"],
        KSERVE.files["model_config.proto"],
    ]
    by_name = reflection.ask(file_by_filename="model_config.proto").file_descriptor_response
    assert list(by_name.file_descriptor_proto) == [KSERVE.files["model_config.proto"]]
    assert reflection.ask(file_by_filename="nope.proto").error_response.error_code == 5
    assert reflection.ask(file_containing_symbol="nope.Nope").error_response.error_code == 5
    assert reflection.ask(all_extension_numbers_of_type=SERVICE).error_response.error_code == 12
    assert reflection.end() == []


def test_bytes_that_are_no_message_are_the_client_s_mistake(channel):
    # row: malformed-messages
    for method in ("ModelInfer", "ModelReady", "ModelMetadata", "RepositoryIndex"):
        call = channel.unary_unary(f"/{SERVICE}/{method}")
        assert refused(lambda call=call: call(b"\xff\xff\xff", timeout=PATIENCE)) == (
            "INVALID_ARGUMENT",
            "Unable to parse request",
        )
    health = channel.unary_unary("/grpc.health.v1.Health/Check")
    assert refused(lambda: health(b"\xff\xff\xff", timeout=PATIENCE))[0] == "INVALID_ARGUMENT"


def test_an_unknown_method_is_unimplemented(channel):
    for path in ("/inference.GRPCInferenceService/Nope", "/no.such.Service/ModelInfer"):
        call = channel.unary_unary(path)
        assert refused(lambda call=call: call(b"", timeout=PATIENCE))[0] == "UNIMPLEMENTED"


def test_a_deadline_on_a_slow_model_is_exceeded(server, channel):
    request = KSERVE.message("inference.ModelInferRequest")()
    tensor = request.inputs.add(name="x", datatype="FP32", shape=[1])
    tensor.contents.fp32_contents.append(1)
    request.model_name = "Slow"
    call = channel.unary_unary(f"/{SERVICE}/ModelInfer")
    assert refused(lambda: call(request.SerializeToString(), timeout=0.05))[0] == "DEADLINE_EXCEEDED"
    answered = threading.Event()
    future = call.future(request.SerializeToString(), timeout=PATIENCE)
    future.add_done_callback(lambda _: answered.set())
    assert answered.wait(PATIENCE)
    assert future.code() is grpc.StatusCode.OK


MORTAL = """
import os, time
from pathlib import Path

class Mortal:
    inputs = {"x": ("FP64", [1])}
    outputs = {"y": ("FP64", [1])}

    def __init__(self):
        while (Path(__file__).parent / "wait").exists():
            time.sleep(0.02)

    def predict(self, x):
        if x[0] < 0:
            os._exit(3)
        return x
"""


def test_a_model_is_not_ready_until_a_process_that_died_is_replaced(tmp_path):
    (tmp_path / "app.py").write_text(MORTAL)
    with (
        TestClient(f"{tmp_path / 'app.py'}:Mortal") as server,
        triton.InferenceServerClient(server.grpc) as client,
        grpc.insecure_channel(server.grpc) as channel,
    ):
        states = watch(channel, "Mortal")
        assert next(states).status == SERVING
        assert client.is_model_ready("Mortal")
        (tmp_path / "wait").touch()
        x = triton.InferInput("x", [1], "FP64").set_data_from_numpy(np.full(1, -1.0))
        with pytest.raises(InferenceServerException, match="died"):
            client.infer("Mortal", [x])
        assert next(states).status == NOT_SERVING
        assert not client.is_model_ready("Mortal")
        assert not client.is_server_ready()
        (tmp_path / "wait").unlink()
        assert next(states).status == SERVING
        assert client.is_model_ready("Mortal")
