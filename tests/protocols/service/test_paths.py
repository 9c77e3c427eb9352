"""Where services answer: at the root, under a prefix, under their names; beside each other and the server's own."""

import time
from pathlib import Path

import pytest

from dragoman.config import ServerSettings, Settings
from dragoman.testing import TestClient

APPS = Path(__file__).parent / "apps"


class Plain:
    inputs = {"x": ("FP32", [-1])}
    outputs = {"y": ("FP32", [-1])}

    def predict(self, x):
        return {"y": x}


@pytest.fixture(scope="module")
def client():
    with TestClient(
        str(APPS / "words.py"), str(APPS / "functions.py"), str(APPS / "many.py"), Plain
    ) as client:
        yield client


def test_every_service_answers_under_its_name(client):
    assert client.get("/services").json() == {
        "services": [{"name": name, "url": f"/services/{name}"} for name in ("functions", "many", "words")]
    }
    assert client.post("/services/words/predict", {"text": "a b"}).json()["data"] == 2
    assert client.post("/services/many/predict", {"numbers": [1]}).json()["data"] == [1.0]
    assert client.get("/services/many/items/7").json()["data"]["item"] == 7
    assert client.get("/services/words").json()["data"] == {}
    assert client.get("/services/words/").json()["data"] == {}


def test_the_first_by_name_has_a_path_that_two_want(client):
    assert client.post("/predict", {"numbers": [2], "scale": 3}).json()["data"] == [6.0]


def test_a_prefix_comes_before_every_path(client):
    assert client.post("/tools/triple", {"number": 4}).json() == 12
    assert client.post("/tools/shout", {"text": "a"}).json() == "A"
    assert client.post("/triple", {"number": 4}).status == 404
    assert client.get("/tools").json() == {}
    assert client.get("/tools/performance?filter=overall").json() == {"performance": {"f1": 1.0}}
    assert client.get("/tools/openapi.json").json()["servers"] == [{"url": "/tools"}]


def test_functions_are_models_too(client):
    answer = client.post("/v1/models/functions:predict", {"instances": [1, 2]})
    assert answer.json() == {"predictions": [3, 6]}
    answer = client.post("/v1/models/functions.shout:predict", {"instances": ["a"]})
    assert answer.json() == {"predictions": ["A"]}


def test_what_is_no_service_or_no_path_of_one_is_not_found(client):
    assert client.post("/services/Plain/predict", {}).json() == {"detail": "there is no service 'Plain'"}
    assert client.post("/services/words/nothing", {}).json() == {"detail": "Not Found"}
    assert client.post("/nothing", {}).json() == {"error": "Not Found"}
    assert client.get("/services/words/predict").status == 405


def test_a_path_of_the_server_stays_the_server_s(tmp_path, caplog):
    file = tmp_path / "metrics.py"
    file.write_text(
        "import dragoman\n@dragoman.service\nclass M:\n"
        "    @dragoman.endpoint('/metrics', method='GET')\n    def metrics(self) -> str:\n        return 'mine'\n"
    )
    with TestClient(str(file)) as client:
        assert client.get("/metrics").body.startswith(b"# HELP")
        assert client.get("/services/metrics/metrics").json()["data"] == "mine"
    assert "a path of a service is the server's own" in caplog.text


def test_without_a_service_nothing_is_different():
    with TestClient(Plain) as client:
        assert client.get("/").json() == {"status": "alive"}
        for path in ("/predict", "/docs", "/redoc", "/openapi.json", "/performance", "/args"):
            answer = client.get(path)
            assert (answer.status, answer.body) == (404, b'{"error":"Not Found"}')
        assert client.get("/services").json() == {"services": []}


def test_a_service_that_is_unloaded_is_not_there_any_more_and_comes_back(tmp_path):
    (tmp_path / "words").mkdir()
    (tmp_path / "words" / "model.py").write_text((APPS / "words.py").read_text())
    settings = Settings(server=ServerSettings(control="explicit", load_model=("words",)))
    with TestClient(str(tmp_path), settings=settings) as client:
        assert client.post("/predict", {"text": "a"}).status == 200
        assert client.post("/v2/repository/models/words/unload", {}).status == 200
        assert client.post("/predict", {"text": "a"}).status == 404
        assert client.get("/").json() == {"status": "alive"}
        assert client.post("/v2/repository/models/words/load", {}).status == 200
        assert client.post("/predict", {"text": "a"}).status == 200


def test_a_restriction_of_inference_holds_for_every_path_of_a_service_and_no_other():
    settings = Settings(server=ServerSettings(restrict="inference:key=secret"))
    with TestClient(str(APPS / "words.py"), settings=settings) as client:
        for path in ("/predict", "/services/words/predict", "/docs"):
            assert client.request("POST", path, b'{"text": "a"}').status == 403
        answer = client.request("POST", "/predict", b'{"text": "a"}', {"key": "secret"})
        assert answer.status == 200
        assert client.post("/nothing", {}).status == 404


def test_versions_of_a_service_share_its_traffic(tmp_path):
    for version in ("1", "2"):
        folder = tmp_path / "who" / version
        folder.mkdir(parents=True)
        (folder / "model.py").write_text(
            "import dragoman\n@dragoman.service\nclass Who:\n"
            f"    def predict(self, x: int) -> str:\n        return '{version}'\n"
        )
    (tmp_path / "who" / "model.toml").write_text('versions = "all"\n')
    with TestClient(str(tmp_path)) as client:
        answer = client.post("/predict", {"x": 1}).json()
        assert (answer["data"], answer["model-version"]) == ("2", "2")
        shares = b'{"shares": {"1": 50, "2": 50}}'
        headers = {"content-type": "application/json"}
        assert client.request("PUT", "/management/models/who/traffic", shares, headers).status == 200
        assert {client.post("/predict", {"x": 1}).json()["model-version"] for _ in range(4)} == {"1", "2"}


@pytest.mark.parametrize(("other", "equal"), [("x + 1", True), ("x + 2", False)])
def test_a_shadow_s_answers_are_compared_without_their_envelopes(tmp_path, other, equal):
    for version, value in (("1", "x + 1"), ("2", other)):
        folder = tmp_path / "sum" / version
        folder.mkdir(parents=True)
        (folder / "model.py").write_text(
            "import dragoman\n@dragoman.service\nclass Sum:\n"
            f"    def predict(self, x: int) -> int:\n        return {value}\n"
        )
    (tmp_path / "sum" / "model.toml").write_text('versions = "all"\n')
    with TestClient(str(tmp_path)) as client:
        shadow, headers = b'{"shadow": "1"}', {"content-type": "application/json"}
        assert client.request("PUT", "/management/models/sum/traffic", shadow, headers).status == 200
        assert client.post("/predict", {"x": 1}).status == 200
        deadline = time.monotonic() + 60
        while True:
            report = client.get("/management/models/sum/traffic").json()["report"]
            if report["equal"] + report["different"]:
                break
            assert time.monotonic() < deadline
        assert (report["copied"], report["equal"]) == (1, int(equal))
