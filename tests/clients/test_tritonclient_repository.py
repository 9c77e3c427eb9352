"""Triton's HTTP client, unmodified, loads and unloads models of a live server."""

import json
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import tritonclient.http as triton
from tritonclient.utils import InferenceServerException

from dragoman.config import ServerSettings, Settings
from dragoman.errors import NotFound
from dragoman.testing import TestClient
from tests.repository.archives import FILES, manifest, zipped

MODEL = """
class Model:
    inputs = {{"x": ("FP32", [-1])}}
    outputs = {{"y": ("FP32", [-1])}}

    def predict(self, x):
        return x * 0 + {answer}
"""
X = np.zeros(1, np.float32)


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
    with triton.InferenceServerClient(f"127.0.0.1:{server.app.port}", concurrency=8) as client:
        yield client


def write(models, answer, place="m/1"):
    (models / place).mkdir(parents=True, exist_ok=True)
    (models / place / "model.py").write_text(MODEL.format(answer=answer))


def ask(client, name="m"):
    given = triton.InferInput("x", [1], "FP32").set_data_from_numpy(X)
    return float(client.infer(name, [given]).as_numpy("y")[0])


def states(server, client):
    server.call(server.app.engine.lifecycle.drained)
    index = client.get_model_repository_index()
    return {entry["name"]: (entry.get("state"), entry.get("reason")) for entry in index}


def test_models_are_loaded_asked_reloaded_and_unloaded(server, client, models):
    write(models, 1)
    assert states(server, client) == {"m": (None, None)}
    assert client.is_server_ready()
    assert not client.is_model_ready("m")
    client.load_model("m")
    assert ask(client) == 1
    write(models, 2, "m/2")
    client.load_model("m")
    assert ask(client) == 2
    assert client.get_model_metadata("m")["versions"] == ["2"]
    client.unload_model("m")
    assert not client.is_model_ready("m")
    with pytest.raises(InferenceServerException, match="has no available versions"):
        ask(client)
    assert states(server, client) == {"m": ("UNAVAILABLE", "unloaded")}
    client.unload_model("m", unload_dependents=True)
    client.unload_model("nope")


def test_what_can_not_be_loaded_is_told_why(server, client, models):
    write(models, 1)
    client.load_model("m")
    write(models, "None", "m/2")
    (models / "m/2/model.py").write_text("import nothing_like_it")
    with pytest.raises(
        InferenceServerException, match=r"version 2 is at UNAVAILABLE state: .*nothing_like_it"
    ):
        client.load_model("m")
    assert ask(client) == 1
    with pytest.raises(InferenceServerException, match="failed to load 'nope', failed to poll"):
        client.load_model("nope")


def test_another_configuration_is_used(server, client, models):
    write(models, 1)
    config = {
        "max_batch_size": 3,
        "parameters": {"p": {"string_value": "q"}},
        "instance_group": [{"count": 2}],
    }
    client.load_model("m", config=json.dumps(config))
    told = client.get_model_config("m")
    assert (told["max_batch_size"], told["instance_group"][0]["count"]) == (3, 2)
    client.load_model("m", config=json.dumps(told))  # what is told can be loaded
    assert client.get_model_config("m") == told
    client.load_model("m")
    assert client.get_model_config("m")["max_batch_size"] == 0
    with pytest.raises(InferenceServerException, match="config has no field 'zzz'"):
        client.load_model("m", config='{"zzz": 1}')


def test_a_model_of_files_that_are_sent_needs_no_folder_and_leaves_none(server, client, models, tmp_path):
    files = {"file:1/model.py": MODEL.format(answer=7).encode()}
    config = '{"backend": "python"}'
    client.load_model("sent", config=config, files=files)
    assert ask(client, "sent") == 7
    client.load_model("sent", config=config, files={"file:1/model.py": MODEL.format(answer=8).encode()})
    assert ask(client, "sent") == 8
    for name in ("file:../../evil.py", "file:/tmp/evil.py", "file:1/../../../evil.py"):
        with pytest.raises(InferenceServerException, match="no path of a file below the model's folder"):
            client.load_model("sent", config=config, files={name: b""})
    with pytest.raises(InferenceServerException, match="need a configuration"):
        client.load_model("sent", files=files)
    assert ask(client, "sent") == 8
    client.unload_model("sent")
    assert states(server, client) == {}
    server.call(server.app.control._follower.stop)
    left = [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]
    assert [path.name for path in left] == ["uploads.lock"]
    assert list(models.iterdir()) == []


def test_eight_clients_that_load_one_model_are_all_answered(server, client, models):
    def load(_):
        with triton.InferenceServerClient(f"127.0.0.1:{server.app.port}") as own:
            own.load_model("m")
            return ask(own)

    write(models, 1)
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(load, range(8))) == [1] * 8
    model = server.call(lambda: server.app.engine.find("m"))
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(load, range(8))) == [1] * 8
    assert server.call(lambda: server.app.engine.find("m")) is model


@pytest.mark.parametrize("length", [0, 1, 40, 200, -60, -1])
def test_a_damaged_archive_is_refused_and_the_one_before_it_goes_on(server, client, models, length):
    whole = zipped({"MAR-INF/MANIFEST.json": manifest("echo", "1.0"), **FILES})
    (models / "echo.mar").write_bytes(whole)
    client.load_model("echo")
    new = zipped({"MAR-INF/MANIFEST.json": manifest("echo", "2.0"), **FILES})
    (models / "echo.mar").write_bytes(new[:length])
    with pytest.raises(InferenceServerException) as caught:
        client.load_model("echo")
    assert caught.value.status() == "400"
    assert client.is_model_ready("echo", "1.0")
    (models / "echo.mar").write_bytes(new)
    client.load_model("echo")
    assert client.is_model_ready("echo", "2.0")


def test_pages_of_other_sites_load_nothing(server, client, models):
    write(models, 1)
    for action in ("load", "unload"):
        path = f"/v2/repository/models/m/{action}"
        for headers in (
            {"Origin": "http://evil.example"},
            {"Host": "evil.example"},
            {"Host": f"evil.example:{server.app.port}", "Origin": f"http://evil.example:{server.app.port}"},
            {"Sec-Fetch-Site": "cross-site"},
        ):
            answer = server.request("POST", path, b"{}", headers)
            assert (answer.status, answer.json()) == (
                403,
                {"error": "the request comes from a page of another site"},
            )
    with pytest.raises(NotFound):
        server.call(lambda: server.app.engine.find("m"))
    own = {"Origin": server.url, "Sec-Fetch-Site": "same-origin"}
    assert server.request("POST", "/v2/repository/models/m/load", b"{}", own).status == 200
    assert ask(client) == 1
