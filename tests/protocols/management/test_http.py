"""The management API of a real server: what operators see, what they change, and what is refused."""

import json
import threading

import numpy as np
import pytest

from dragoman.config import ManagementSettings, Settings
from dragoman.testing import TestClient

MODEL = """
import numpy as np

class Model:
    inputs = {"x": ("FP64", [-1])}
    outputs = {"y": ("FP64", [-1])}

    def predict(self, x):
        return {"y": x + %s}
"""


def put_model(store, name, versions, broken=False):
    folder = store / name
    for version in versions:
        (folder / version).mkdir(parents=True, exist_ok=True)
        text = "raise ValueError('broken on purpose')" if broken else MODEL % version
        (folder / version / "model.py").write_text(text)
    (folder / "model.toml").write_text('entry = "model.py:Model"\nversions = "all"\n')


@pytest.fixture
def store(tmp_path):
    folder = tmp_path / "store"
    folder.mkdir()
    put_model(folder, "adder", ["1", "2"])
    put_model(folder, "broken", ["1"], broken=True)
    return folder


@pytest.fixture
def client(store):
    settings = Settings(management=ManagementSettings(store=str(store)))
    with TestClient(settings=settings) as client:
        yield client


def put(client, path, document):
    return client.request("PUT", path, json.dumps(document).encode())


def load(client, source, **more):
    return client.post("/management/models", {"source": source, **more})


def added(client, version="", headers=None):
    """What the model adds: the number of the version that answered."""
    body = json.dumps({"inputs": [{"name": "x", "shape": [1], "datatype": "FP64", "data": [0.0]}]}).encode()
    path = f"/v2/models/adder/versions/{version}/infer" if version else "/v2/models/adder/infer"
    answer = client.request("POST", path, body, headers or {})
    assert answer.status == 200, answer.body
    return int(answer.json()["outputs"][0]["data"][0])


def test_a_model_is_loaded_by_its_name_in_the_store_and_answers(client):
    assert client.get("/management/models").json() == {"models": []}
    answer = load(client, "adder")
    assert answer.status == 200
    assert [entry["version"] for entry in answer.json()["loaded"]] == ["1", "2"]
    assert added(client) == 2
    model = client.get("/management/models/adder").json()
    assert model["default"] == "2"
    assert [version["state"] for version in model["versions"]] == ["READY", "READY"]
    assert all(version["memory_bytes"] > 1 << 20 for version in model["versions"])
    assert all(version["source"] == "adder" for version in model["versions"])


def test_who_does_not_wait_gets_an_operation_to_look_at(client):
    answer = load(client, "adder", wait=False)
    assert answer.status == 202
    operation = answer.json()
    assert operation["state"] == "running"
    while operation["state"] == "running":
        operation = client.get(f"/management/operations/{operation['id']}").json()
    assert operation["state"] == "done"
    assert operation["loaded"][1] | {"version": "2", "state": "READY"} == operation["loaded"][1]
    assert client.get("/management/operations").json()["operations"][0]["id"] == operation["id"]
    assert client.get("/management/operations/none").status == 404


def test_a_model_that_can_not_be_loaded_leaves_no_trace(client):
    answer = load(client, "broken")
    assert answer.status == 400
    assert "broken on purpose" in answer.json()["error"]
    assert client.get("/management/models").json() == {"models": []}
    assert client.get("/management/models/broken").status == 404


def test_what_serves_goes_on_when_its_replacement_can_not_be_loaded(client, store):
    load(client, "adder")
    (store / "adder" / "2" / "model.py").write_text("raise ValueError('worse')")
    answer = load(client, "adder", replaces=True)
    assert answer.status == 400
    assert "worse" in answer.json()["error"]
    assert added(client) == 2


def test_a_version_that_is_there_is_replaced_only_by_who_says_so(client, store):
    load(client, "adder")
    assert load(client, "adder").status == 409
    (store / "adder" / "2" / "model.py").write_text(MODEL % 7)
    assert load(client, "adder", replaces=True).status == 200
    assert added(client) == 7


def test_defaults_are_set_and_rolled_back(client):
    load(client, "adder", default=False)
    assert added(client) == 2  # the newest, while nobody has chosen
    assert put(client, "/management/models/adder/default", {"version": "1"}).json()["default"] == "1"
    assert added(client) == 1
    assert put(client, "/management/models/adder/default", {"version": "2"}).status == 200
    assert client.request("POST", "/management/models/adder/rollback").json()["default"] == "1"
    assert added(client) == 1
    assert client.request("POST", "/management/models/adder/rollback").json()["default"] == "2"
    assert client.request("POST", "/management/models/adder/rollback").status == 409
    assert put(client, "/management/models/adder/default", {"version": "9"}).status == 404


def test_a_version_that_is_not_to_be_the_default_answers_nobody_who_names_none(store):
    """Also where nobody had chosen: the model is from the start-up list, and its newest version answers."""
    folder = store.parent / "started"
    put_model(folder, "adder", ["1"])
    put_model(store, "next", ["2"])
    settings = Settings(management=ManagementSettings(store=str(store)))
    with TestClient(str(folder / "adder"), settings=settings) as client:
        assert load(client, "broken", name="adder", version="3", default=False).status == 400
        assert load(client, "next", name="adder", default=False).status == 200
        assert (added(client), added(client, "2")) == (1, 2)
        assert client.get("/management/models/adder").json()["default"] == "1"
        assert put(client, "/management/models/adder/default", {"version": "2"}).status == 200
        assert client.request("POST", "/management/models/adder/rollback").json()["default"] == "1"


def test_traffic_is_split_exactly_pinned_and_compared(client):
    load(client, "adder")
    path = "/management/models/adder/traffic"
    assert put(client, path, {"shares": {"1": 75, "2": 25}}).status == 200
    answers = [added(client) for _ in range(40)]
    assert (answers.count(1), answers.count(2)) == (30, 10)
    assert {added(client, headers={"X-Dragoman-Version": "1"}) for _ in range(8)} == {1}
    assert put(client, path, {"shares": {"1": 100}, "shadow": "2"}).status == 200
    assert [added(client) for _ in range(10)] == [1] * 10
    report = client.get(path).json()["report"]
    while report["equal"] + report["different"] < 10:
        report = client.get(path).json()["report"]
    assert (report["copied"], report["different"], report["disagreement"]) == (10, 10, 1.0)
    assert report["largest_difference"] == 1.0
    for wrong in ({"shares": {"1": 50}}, {"shares": {"9": 100}}, {"shares": {"1": "all"}}, {"share": {}}):
        assert 400 <= put(client, path, wrong).status < 500, wrong


def test_instances_are_set_while_it_answers(client):
    load(client, "adder")
    path = "/management/models/adder/versions/2/instances"
    stop, failures = threading.Event(), []

    def ask():
        while not stop.is_set():
            try:
                assert added(client) == 2
            except Exception as error:
                failures.append(error)

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    counts = [put(client, path, {"min": count}).json()["instances"]["now"] for count in (3, 1, 2, 1)]
    stop.set()
    for thread in threads:
        thread.join()
    assert counts == [3, 1, 2, 1]
    assert failures == []
    assert put(client, path, {"min": -1}).status == 400


def test_versions_and_models_are_unloaded(client):
    load(client, "adder")
    assert client.request("DELETE", "/management/models/adder/versions/2").status == 409
    assert client.request("DELETE", "/management/models/adder/versions/1").json()["unloaded"] == ["1"]
    assert client.request("DELETE", "/management/models/adder/versions/1").status == 404
    assert client.request("DELETE", "/management/models/adder").json()["unloaded"] == ["2"]
    assert client.get("/management/models").json() == {"models": []}
    assert load(client, "adder").status == 200


def test_settings_and_names_can_be_given(client, store):
    put_model(store, "single", ["1"])
    answer = load(client, "single", name="adder", version="5", settings={"instances": 2})
    assert answer.status == 200, answer.body
    version = client.get("/management/models/adder").json()["versions"][0]
    assert (version["version"], version["instances"]["now"]) == ("5", 2)
    assert load(client, "single", settings={"instance": 2}).status == 400
    assert "did you mean" in load(client, "single", settings={"instance": 2}).json()["error"]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "parse"),
        (b"[]", "JSON object"),
        (b"{}", "'source' is missing"),
        (b'{"source": 7}', "must be a text"),
        (b'{"source": "adder", "nmae": "x"}', "unknown key 'nmae'"),
        (b'{"source": "../adder"}', ".."),
        (b'{"source": "/etc/passwd"}', ""),
        (b'{"source": "http://127.0.0.1/x.onnx"}', "allowed"),
        (b'{"source": "file:///etc/passwd"}', "allowed"),
        (b'{"source": "adder", "name": "no/name"}', "can't be a model's name"),
    ],
)
def test_what_makes_no_sense_is_refused(client, body, words):
    answer = client.request("POST", "/management/models", body)
    assert 400 <= answer.status < 500, answer.body
    assert words in answer.json()["error"]
    assert client.get("/management/models").json() == {"models": []}


def test_without_a_store_nothing_new_is_loaded():
    with TestClient() as client:
        answer = load(client, "adder")
        assert answer.status == 501
        assert "management.store" in answer.json()["error"]


def test_it_can_be_switched_off():
    with TestClient(settings=Settings(management=ManagementSettings(enabled="off"))) as client:
        assert client.get("/management/models").status == 404


def test_models_of_the_start_up_list_are_managed_too(store):
    with TestClient(str(store / "adder")) as client:
        assert put(client, "/management/models/adder/default", {"version": "1"}).status == 200
        assert added(client) == 1
        np.testing.assert_equal(client.infer("adder", {"x": np.zeros(1)})["y"], [1.0])


def test_only_who_has_the_key_is_let_in_and_no_page_of_another_site(store):
    settings = Settings(management=ManagementSettings(store=str(store), key="a-secret"))
    with TestClient(settings=settings) as client:
        bearer = {"Authorization": "Bearer a-secret"}
        assert client.get("/management/models").status == 401
        assert client.request("GET", "/management/models", None, {"Authorization": "Bearer x"}).status == 401
        assert client.request("GET", "/management/models", None, bearer).status == 200
        foreign = {**bearer, "Origin": "https://elsewhere.example"}
        body = b'{"source": "adder"}'
        assert client.request("POST", "/management/models", body, foreign).status == 403
        assert client.request("POST", "/management/models", body, bearer).status == 200
