"""What was predicted ahead is answered by every wire, said to be so, and never for another version."""

import time
from contextlib import closing

import grpc
import numpy as np
import pytest

from dragoman.caching.ahead import to_answers
from dragoman.config import ModelSettings, PredictionSettings, Settings
from dragoman.protocols.kserve_v2.messages import SERVICE, ModelInferRequest, ModelInferResponse
from dragoman.store import open_predictions
from dragoman.store.predictions import Predictions, Run, RunTaken
from dragoman.testing import TestClient
from dragoman.types import InferResponse, Tensor

from ..store.conftest import place, postgres  # noqa: F401 - the databases that there are

CALLS = []


class Double:
    inputs = {"x": ("FP32", [-1, 2])}
    outputs = {"y": ("FP32", [-1, 2]), "z": ("FP32", [-1])}
    batched = True
    fast = True

    def predict(self, x):
        CALLS.append(x.tolist())
        return {"y": 2 * x, "z": x.sum(axis=1)}


class Whole:
    inputs = {"x": ("FP32", [-1])}
    outputs = {"y": ("FP32", [1])}
    fast = True

    def predict(self, x):
        CALLS.append(x.tolist())
        return {"y": x.sum(keepdims=True)}


def array(values):
    return np.array(values, np.float32)


def tensor(name, values):
    return Tensor(name, "FP32", array(values))


def predicted(where, model, version, x, outputs, *, batched, ttl=0.0, at=None):
    """Keep answers as a run does."""
    with closing(open_predictions(where, ttl)) as store:
        if at is not None:
            store._clock = lambda: at
        response = InferResponse(model, version, tuple(tensor(n, v) for n, v in outputs.items()))
        run = store.begin(Run(f"{model}{version}{time.monotonic_ns()}", model, version))
        store.add(run, to_answers((tensor("x", x),), response, batched=batched), len(x))


@pytest.fixture
def store(tmp_path):
    CALLS.clear()
    return str(tmp_path / "p.db")


def settings(store, ttl=0.0, **model):
    return Settings(predictions=PredictionSettings(store=store, ttl=ttl), models=ModelSettings(**model))


ROWS = {"y": [[10, 20], [30, 40]], "z": [1.5, 2.5]}  # not what the model says: whoever answers is seen


@pytest.fixture
def client(store):
    predicted(store, "Double", "1", [[1, 2], [3, 4]], ROWS, batched=True)
    with TestClient(Double, Whole, settings=settings(store)) as client:
        yield client


def ask(client, rows, model="Double", headers=None, **more):
    import json

    data = {"name": "x", "shape": list(array(rows).shape), "datatype": "FP32", "data": rows}
    body = json.dumps({"inputs": [data], **more}).encode()
    return client.request("POST", f"/v2/models/{model}/infer", body, headers)


def test_a_row_that_was_predicted_is_answered_from_the_store(client):
    answer = ask(client, [[3, 4]])
    assert answer.headers["dragoman-cache"] == "hit"
    assert answer.headers["x-dragoman-version"] == "1"
    document = answer.json()
    assert document["parameters"] == {"cache": "hit"}
    assert document["model_version"] == "1"
    assert [output["data"] for output in document["outputs"]] == [[30, 40], [2.5]]
    assert CALLS == []


def test_rows_are_answered_together_in_their_order_and_only_if_all_are_there(client):
    answer = ask(client, [[3, 4], [1, 2], [3, 4]]).json()
    assert [output["data"] for output in answer["outputs"]] == [[30, 40, 10, 20, 30, 40], [2.5, 1.5, 2.5]]
    answer = ask(client, [[3, 4], [5, 6]])
    assert "dragoman-cache" not in answer.headers
    assert "parameters" not in answer.json()
    assert answer.json()["outputs"][0]["data"] == [6, 8, 10, 12]


def test_every_wire_says_that_it_was_predicted_ahead(client):
    answer = client.post("/v1/models/Double:predict", {"instances": [[1, 2]], "outputs": ["z"]})
    assert answer.headers["dragoman-cache"] == "hit"
    assert answer.json() == {"predictions": [1.5]}
    assert client.infer("Double", {"x": array([[1, 2]])})["y"].tolist() == [[10, 20]]
    asked = ModelInferRequest(model_name="Double")
    asked.inputs.add(name="x", datatype="FP32", shape=[1, 2])
    asked.raw_input_contents.append(array([1, 2]).tobytes())
    with grpc.insecure_channel(client.grpc) as channel:
        infer = channel.unary_unary(
            f"/{SERVICE}/ModelInfer", ModelInferRequest.SerializeToString, ModelInferResponse.FromString
        )
        found, call = infer.with_call(asked, timeout=60)
    assert found.parameters["cache"].string_param == "hit"
    assert dict(call.initial_metadata())["dragoman-cache"] == "hit"
    assert np.frombuffer(found.raw_output_contents[0], np.float32).tolist() == [10, 20]
    assert CALLS == []


def test_who_wants_the_model_itself_says_no_cache(client):
    answer = ask(client, [[1, 2]], headers={"Cache-Control": "no-cache"})
    assert "dragoman-cache" not in answer.headers
    assert answer.json()["outputs"][0]["data"] == [2, 4]


def test_a_question_with_parameters_was_not_asked_ahead(client):
    assert ask(client, [[1, 2]], parameters={"k": 1}).json()["outputs"][0]["data"] == [2, 4]


def test_a_model_whose_rows_belong_together_has_one_prediction_for_all_of_its_input(store):
    predicted(store, "Whole", "1", [1, 2, 3], {"y": [99]}, batched=False)
    with TestClient(Whole, settings=settings(store)) as client:
        assert ask(client, [1, 2, 3], "Whole").json()["outputs"][0]["data"] == [99]
        assert ask(client, [1, 2], "Whole").json()["outputs"][0]["data"] == [3]


def test_a_model_may_be_left_out(store):
    predicted(store, "Double", "1", [[1, 2]], {"y": [[0, 0]], "z": [0]}, batched=True)
    with TestClient(Double, settings=settings(store, stored_predictions=False)) as client:
        assert ask(client, [[1, 2]]).json()["outputs"][0]["data"] == [2, 4]


def test_another_version_has_other_predictions_and_the_default_one_is_asked(store, tmp_path):
    text = (
        "class M:\n fast = True\n inputs = {'x': ('FP32', [-1])}\n outputs = {'y': ('FP32', [-1])}\n"
        " def predict(self, x): return {'y': x}\n"
    )
    for version in ("1", "2"):
        folder = tmp_path / "models" / "m" / version
        folder.mkdir(parents=True)
        (folder / "model.py").write_text(text)
        predicted(store, "m", version, [5], {"y": [int(version) * 100]}, batched=False)
    with TestClient(str(tmp_path / "models"), settings=settings(store, versions="all")) as client:
        assert ask(client, [5], "m").json()["outputs"][0]["data"] == [200]
        assert client.request("PUT", "/management/models/m/default", b'{"version": "1"}').status == 200
        answer = ask(client, [5], "m")
        assert answer.json()["outputs"][0]["data"] == [100]
        assert answer.headers["x-dragoman-version"] == "1"
        assert ask(client, [5], "m/versions/2").json()["outputs"][0]["data"] == [200]


def test_a_prediction_may_grow_too_old(store):
    now = time.time()
    predicted(store, "Double", "1", [[1, 2]], {"y": [[0, 0]], "z": [0]}, batched=True, at=now - 5000)
    predicted(store, "Double", "1", [[3, 4]], {"y": [[0, 0]], "z": [0]}, batched=True, at=now)
    with TestClient(Double, settings=settings(store, ttl=3600.0)) as client:
        assert ask(client, [[1, 2]]).json()["outputs"][0]["data"] == [2, 4]
        assert ask(client, [[3, 4]]).json()["outputs"][0]["data"] == [0, 0]


def test_a_store_that_is_gone_is_no_reason_not_to_answer(client):
    def break_it():
        raise RuntimeError("no disk")

    remote = client.app.engine.find("Double").recall.stored._remote
    remote._place.get_many = lambda keys: break_it()
    assert ask(client, [[1, 2]]).json()["outputs"][0]["data"] == [2, 4]
    text = client.get("/metrics").body.decode()
    assert 'dragoman_cache_failures_total{model="Double",source="predictions",version="1"} 1.0' in text


# The store itself, in each kind of database.


@pytest.fixture
def kept(place):  # noqa: F811
    with closing(open_predictions(place)) as store:
        yield store


def test_progress_and_answers_are_one_change_and_one_run_goes_on_in_one_place(kept: Predictions):
    run = kept.begin(Run("r", "m", "1"))
    second = kept.begin(Run("r", "m", "1"))
    after = kept.add(run, [(b"a" * 32, b"1"), (b"b" * 32, b"2"), (b"a" * 32, b"3")], 3)
    assert after.rows == 3
    with pytest.raises(RunTaken):
        kept.add(second, [(b"c" * 32, b"4")], 1)
    keys = [("m", "1", digit * 32) for digit in (b"c", b"b", b"a")]
    assert kept.get_many(keys) == [None, b"2", b"3"]
    assert kept.begin(Run("r", "m", "1")) == after
    kept.finish(after)
    assert kept.begin(Run("r", "m", "1")).finished
    assert kept.begin(Run("r", "m", "1"), again=True).rows == 0
    assert kept.count("m", "1") == 2
    assert kept.count("m", "2") == 0


def test_predictions_are_forgotten_by_version(kept: Predictions):
    for version in ("1", "2"):
        run = kept.begin(Run(version, "m", version))
        kept.add(run, [(bytes([n]) * 32, b"") for n in range(3)], 3)
    assert kept.forget("m", "1") == 3
    assert (kept.count("m", "1"), kept.count("m", "2")) == (0, 3)
    assert kept.forget("m") == 3


def test_many_keys_are_asked_for_at_once(kept: Predictions):
    run = kept.begin(Run("r", "m", "1"))
    answers = [(n.to_bytes(32), str(n).encode()) for n in range(1500)]
    kept.add(run, answers, 1500)
    assert kept.get_many([("m", "1", key) for key, _ in answers]) == [answer for _, answer in answers]
