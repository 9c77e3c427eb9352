"""Triton's gRPC client, unmodified, loads and unloads models of a live server."""

import numpy as np
import pytest
from tritonclient.utils import InferenceServerException

from dragoman.config import ServerSettings, Settings
from dragoman.engine.traffic import Traffic
from dragoman.testing import TestClient
from tests.clients.pools import triton

MODEL = """
class Model:
    inputs = {{"x": ("FP32", [-1])}}
    outputs = {{"y": ("FP32", [-1])}}

    def predict(self, x):
        return x * 0 + {answer}
"""


@pytest.fixture
def models(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "models").mkdir()
    return tmp_path / "models"


@pytest.fixture
def server(models):
    said = ServerSettings(control="explicit", trust_uploads=True)
    with TestClient(str(models), settings=Settings(server=said)) as server:
        yield server


@pytest.fixture
def client(server):
    with triton.InferenceServerClient(server.grpc) as client:
        yield client


def write(models, answer, place="m/1"):
    (models / place).mkdir(parents=True, exist_ok=True)
    (models / place / "model.py").write_text(MODEL.format(answer=answer))


def ask(client, name="m", **more):
    given = triton.InferInput("x", [1], "FP32").set_data_from_numpy(np.zeros(1, np.float32))
    return float(client.infer(name, [given], **more).as_numpy("y")[0])


def states(client):
    index = client.get_model_repository_index()
    return {(model.name, model.version): (model.state, model.reason) for model in index.models}


def test_models_are_loaded_asked_reloaded_and_unloaded(server, client, models):
    write(models, 1)
    assert states(client) == {("m", ""): ("", "")}
    assert not client.is_model_ready("m")
    client.load_model("m")
    assert ask(client) == 1
    write(models, 2, "m/2")
    client.load_model("m")
    assert ask(client) == 2
    client.unload_model("m", unload_dependents=True)
    assert not client.is_model_ready("m")
    server.call(server.app.engine.lifecycle.drained)
    assert ("UNAVAILABLE", "unloaded") in states(client).values()


def test_a_model_that_fails_leaves_what_serves(client, models):
    write(models, 1)
    client.load_model("m")
    write(models, "None", "m/2")
    (models / "m/2/model.py").write_text("import nothing_like_it")
    with pytest.raises(InferenceServerException, match=r"version 2 is at .*nothing_like_it") as caught:
        client.load_model("m")
    assert caught.value.status() == "StatusCode.INVALID_ARGUMENT"
    assert ask(client) == 1


def test_a_configuration_and_files_travel_as_they_are(client, models):
    files = {"file:1/model.py": MODEL.format(answer=7).encode()}
    client.load_model("sent", config='{"backend": "python"}', files=files)
    assert ask(client, "sent") == 7
    for name in ("file:../../evil.py", "file:/tmp/evil.py"):
        with pytest.raises(InferenceServerException, match="no path of a file below the model's folder"):
            client.load_model("sent", config='{"backend": "python"}', files={name: b""})
    client.unload_model("sent")
    assert list(models.iterdir()) == []


def test_split_traffic_is_split_over_grpc_and_a_version_can_be_named(server, client, models):
    write(models, 1)
    write(models, 2, "m/2")
    (models / "m" / "model.toml").write_text('versions = "all"\n')
    client.load_model("m")
    server.call(lambda: server.app.engine.registry.set_traffic("m", Traffic({"1": 75, "2": 25})))
    assert sorted(ask(client) for _ in range(8)) == [1] * 6 + [2] * 2
    assert {ask(client, headers={"x-dragoman-version": "2"}) for _ in range(4)} == {2}
    assert {ask(client, model_version="1") for _ in range(4)} == {1}
