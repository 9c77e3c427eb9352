"""Servers of the TorchServe profile, each with a channel to both of its gRPC ports."""

import contextlib
import json
from dataclasses import dataclass

import grpc
import pytest

from dragoman.protocols.kserve_v2.messages import SCHEMA as KSERVE
from dragoman.protocols.torchserve import messages
from tests.conformance.grpc.calls import Service
from tests.conformance.torchserve import handlers
from tests.profiles.running import Running, serving

OPEN = {"disable_token_authorization": "true"}


def _inference(method):
    if method == "Ping":
        return "google.protobuf.Empty", f"{_package(messages.INFERENCE)}.TorchServeHealthResponse"
    return tuple(
        f"{_package(messages.INFERENCE)}.{name}" for name in ("PredictionsRequest", "PredictionResponse")
    )


def _management(method):
    return tuple(
        f"{_package(messages.MANAGEMENT)}.{name}" for name in (f"{method}Request", "ManagementResponse")
    )


def _open_inference(method):
    return tuple(f"inference.{method}{kind}" for kind in ("Request", "Response"))


def _package(service):
    return service.rpartition(".")[0]


OPEN_INFERENCE = Service(messages.OPEN_INFERENCE, KSERVE, _open_inference)
INFERENCE = Service(messages.INFERENCE, messages.SCHEMA, _inference)
MANAGEMENT = Service(messages.MANAGEMENT, messages.SCHEMA, _management)


@dataclass
class Profile:
    """A running server: the inference service is the first of its ``channels``, management the second."""

    running: Running
    channels: list[grpc.Channel]

    def place(self, method):
        """The channel and the service that have a method."""
        if method == "Ping" or "Predictions" in method:
            return self.channels[0], INFERENCE
        if method in (
            "ServerLive",
            "ServerReady",
            "ServerMetadata",
            "ModelReady",
            "ModelMetadata",
            "ModelInfer",
        ):
            return self.channels[0], OPEN_INFERENCE
        return self.channels[1], MANAGEMENT


@contextlib.contextmanager
def profile(directory, models, /, **values):
    (directory / "store").mkdir()
    for model in models:
        name, code, *more = model
        handlers.write_archive(directory / "store", name, code, **(more[0] if more else {}))
    with serving(directory, **values) as running, contextlib.ExitStack() as stack:
        ports = [listener.port for listener in running.app.grpc_listeners]
        channels = [stack.enter_context(grpc.insecure_channel(f"127.0.0.1:{port}")) for port in ports]
        yield Profile(running, channels)


@pytest.fixture(scope="package")
def cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="package")
def inference(tmp_path_factory, cache):
    """The handlers with a will of their own."""
    models = [("echo", handlers.ECHO), ("ret", handlers.RESULTS), ("stream", handlers.STREAM)]
    with profile(tmp_path_factory.mktemp("inference"), models, **OPEN) as server:
        yield server


@pytest.fixture(scope="package")
def management(tmp_path_factory, cache):
    """Two models of the start-up list, others in the store, and the model API."""
    directory = tmp_path_factory.mktemp("management")
    handlers.write_archive(directory / "other", "echo", handlers.ECHO, modelVersion="2.0")
    models = [(name, handlers.ECHO) for name in ("echo", "more", "batch")]
    models += [("ret", handlers.RESULTS), ("initfail", handlers.FAILS)]
    one = {"1.0": {"minWorkers": 1, "maxWorkers": 1}}
    said = {
        "load_models": "echo.mar,ret.mar",
        "models": json.dumps({"echo": one, "ret": one}),
        "default_workers_per_model": None,
        "enable_model_api": "true",
    }
    with profile(directory, models, **said, **OPEN) as server:
        (directory / "other" / "echo.mar").rename(directory / "store" / "echo_v2.mar")
        (directory / "store" / "corrupt.mar").write_text("not a zip\n")
        yield server


@pytest.fixture(scope="package")
def locked(tmp_path_factory, cache):
    """One model behind keys."""
    directory = tmp_path_factory.mktemp("locked")
    with profile(directory, [("echo", handlers.ECHO)], ts_open_inference_protocol="true") as server:
        yield server


@pytest.fixture(scope="package")
def open_inference(tmp_path_factory, cache):
    """Handlers behind KServe's envelope."""
    envelope = {"envelope": "kservev2"}
    models = [("sum", handlers.SUM, envelope), ("echo", handlers.ECHO, envelope)]
    directory = tmp_path_factory.mktemp("open-inference")
    with profile(directory, models, ts_open_inference_protocol="true", **OPEN) as server:
        yield server
