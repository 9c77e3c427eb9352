"""Kept predictions, against a live server: what was asked and answered is there, and nothing that must not be."""

import json
import threading
import time
from urllib.parse import urlencode

import numpy as np
import pytest

from dragoman.config import MonitoringSettings, Settings
from dragoman.testing import TestClient

LIMIT = 60.0


class Double:
    inputs = {"x": ("FP32", [-1, 2])}
    outputs = {"y": ("FP32", [-1, 2])}
    batched = True
    fast = True

    def predict(self, x):
        if (x < 0).any():
            raise ValueError("negative")
        return {"y": 2 * x}


class Words:
    inputs = {"text": ("BYTES", [-1]), "secret": ("BYTES", [-1])}
    outputs = {"text": ("BYTES", [-1])}
    batched = True
    fast = True

    def predict(self, text, secret):
        return {"text": text}


def make_settings(tmp_path, **said):
    return Settings(monitoring=MonitoringSettings(store=str(tmp_path / "log.db"), **said))


@pytest.fixture
def client(tmp_path):
    with TestClient(Double, Words, settings=make_settings(tmp_path)) as client:
        yield client


def ask(client, rows, id="", model="Double", **more):
    data = {"name": "x", "shape": list(np.shape(rows)), "datatype": "FP32", "data": rows}
    return client.post(f"/v2/models/{model}/infer", {"id": id, "inputs": [data], **more})


def page(client, **query):
    answer = client.get(f"/log/predictions?{urlencode(query)}")
    assert answer.status == 200, answer.body
    return answer.json()


def wait(client, count, **query):
    """The kept predictions, as soon as there are so many."""
    deadline = time.monotonic() + LIMIT
    while time.monotonic() < deadline:
        found = page(client, **query)["predictions"]
        if len(found) >= count:
            return found
        time.sleep(0.02)
    raise AssertionError(found)


def test_what_was_asked_and_answered_is_kept(client):
    before = time.time()
    assert ask(client, [[1, 2]], id="first").status == 200
    (kept,) = wait(client, 1)
    assert (kept["id"], kept["model"], kept["version"]) == ("first", "Double", "1")
    assert (kept["dialect"], kept["code"]) == ("v2", "ok")
    assert before <= kept["time"] <= time.time()
    assert kept["seconds"] >= 0
    tensor = {"name": "x", "datatype": "FP32", "shape": [1, 2], "data": [1.0, 2.0]}
    assert kept["request"] == {"inputs": [tensor]}
    assert kept["response"] == {"outputs": [{**tensor, "name": "y", "data": [2.0, 4.0]}]}


def test_what_fails_is_kept_with_its_code_and_its_words(client):
    ask(client, [[-1, 2]], id="fails")
    ask(client, [[1, 2, 3]], id="misfit")
    found = {kept["id"]: kept for kept in wait(client, 2)}
    assert found["fails"]["code"] == "model_failed"
    assert "failed on this request" in found["fails"]["response"]["error"]
    assert found["misfit"]["code"] == "invalid_input"
    assert "shape" in found["misfit"]["response"]["error"]


def test_every_dialect_is_kept(client):
    client.infer("Double", {"x": np.ones((1, 2), np.float32)})
    client.post("/v1/models/Double:predict", {"instances": [[1, 2]]})
    assert {kept["dialect"] for kept in wait(client, 2)} == {"v1", "v2"}
    assert all(kept["id"] for kept in wait(client, 2)), "who brings no id gets one"


def test_the_newest_come_first_and_pages_follow_each_other(client):
    for number in range(5):
        ask(client, [[number, 0]], id=f"n{number}")
        wait(client, number + 1)
    first = page(client, limit=2)
    second = page(client, limit=2, before=first["next"])
    third = page(client, limit=2, before=second["next"])
    ids = [[kept["id"] for kept in each["predictions"]] for each in (first, second, third)]
    assert ids == [["n4", "n3"], ["n2", "n1"], ["n0"]]
    assert third["next"] == ""


def test_a_search_finds_text_in_models_ids_requests_and_answers(client):
    ask(client, [[1, 2]], id="needle")
    ask(client, [[21, 2]], id="other")
    wait(client, 2)
    assert [kept["id"] for kept in page(client, query="NEEDLE")["predictions"]] == ["needle"]
    assert [kept["id"] for kept in page(client, query="42.0")["predictions"]] == ["other"]
    assert len(page(client, query="doub")["predictions"]) == 2
    assert page(client, query="100%")["predictions"] == []
    assert page(client, model="Words")["predictions"] == []
    assert len(page(client, model="Double", version="1", since=time.time() - 60)["predictions"]) == 2
    assert page(client, since=time.time() + 60)["predictions"] == []


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=many", "limit=1001", "before=-1", "since=x", "what=1", "limit=1&limit=2"]
)
def test_a_query_that_makes_no_sense_is_refused(client, query):
    assert client.get(f"/log/predictions?{query}").status == 400


def test_what_is_redacted_is_nowhere_in_the_store(tmp_path):
    settings = make_settings(tmp_path, redact=("Secret", "card"))
    with TestClient(Words, settings=settings) as client:
        text = json.dumps({"name": "ann", "card": "4111-1111", "deep": [{"CARD": "4222-2222"}]})
        odd = "card=4333-3333"
        inputs = {"text": np.array([text, odd]), "secret": np.array(["hush-hush", "hush-hush"])}
        client.infer("Words", inputs)
        (kept,) = wait(client, 1)
    shown = json.dumps(kept)
    assert "ann" in shown
    for secret in ("4111-1111", "4222-2222", "4333-3333", "hush-hush"):
        assert secret not in shown
        assert all(secret.encode() not in file.read_bytes() for file in tmp_path.glob("log.db*"))


def test_big_tensors_are_cut_short(tmp_path):
    with TestClient(Double, settings=make_settings(tmp_path, entry_bytes=256)) as client:
        client.infer("Double", {"x": np.ones((1000, 2), np.float32)})
        (kept,) = wait(client, 1)
    (tensor,) = kept["request"]["inputs"]
    assert (tensor["shape"], len(tensor["data"]), tensor["cut"]) == ([1000, 2], 32, True)


def test_exactly_the_share_is_kept(tmp_path):
    with TestClient(Double, settings=make_settings(tmp_path, sample=0.25)) as client:
        for _ in range(20):
            ask(client, [[1, 2]])
        wait(client, 5)
        assert client.call(lambda: client.app.engine.stats.observed["dropped"]) == 0
    with TestClient(Double, settings=make_settings(tmp_path)) as client:
        assert len(page(client)["predictions"]) == 5, "they survive the server"


def test_numbers_that_are_none_are_texts(client):
    client.infer("Double", {"x": np.array([[np.inf, np.nan]], np.float32)})
    (kept,) = wait(client, 1)
    assert kept["request"]["inputs"][0]["data"] == ["inf", "nan"]


def test_the_oldest_of_too_many_go(tmp_path):
    with TestClient(Double, settings=make_settings(tmp_path)) as client:
        for number in range(6):
            ask(client, [[number, 0]], id=f"n{number}")
            wait(client, number + 1)
    with TestClient(Double, settings=make_settings(tmp_path, rows=3)) as client:
        ask(client, [[9, 0]], id="n9")
        wait(client, 1, query="n9")
        deadline = time.monotonic() + LIMIT
        while len(found := page(client)["predictions"]) > 3 and time.monotonic() < deadline:
            time.sleep(0.02)
    assert [kept["id"] for kept in found] == ["n9", "n5", "n4"]


def test_what_there_is_no_room_for_is_dropped_and_counted_and_answered(tmp_path):
    with TestClient(Double, settings=make_settings(tmp_path, waiting=1)) as client:
        log = client.app._monitor._log
        gate = _Gate(log._store.add)
        log._store.add = gate
        for _ in range(8):
            assert ask(client, [[1, 2]]).status == 200
        dropped = client.app.engine.stats.observed["dropped"]
        gate.open()
        assert dropped >= 5
        assert f'dragoman_kept_predictions_total{{outcome="dropped"}} {float(dropped)}' in metrics(client)


class _Gate:
    """A store that takes nothing until it is let to."""

    def __init__(self, add):
        self._add = add
        self._event = threading.Event()
        self.open = self._event.set

    def __call__(self, predictions):
        assert self._event.wait(LIMIT)
        self._add(predictions)


def metrics(client):
    return client.get("/metrics").body.decode()


def test_a_store_that_fails_is_counted_and_fails_no_request(tmp_path):
    with TestClient(Double, settings=make_settings(tmp_path)) as client:
        store = client.app._monitor._store
        with store._opened.writer.begin() as connection:
            connection.exec_driver_sql("DROP TABLE dragoman_observed")
        assert ask(client, [[1, 2]]).status == 200
        deadline = time.monotonic() + LIMIT
        while not client.app.engine.stats.observed["failed"] and time.monotonic() < deadline:
            time.sleep(0.02)
        assert client.app.engine.stats.observed["failed"] == 1
        assert ask(client, [[1, 2]]).status == 200


def test_without_a_store_nothing_is_offered_and_every_call_says_why():
    with TestClient(Double) as client:
        for path in ("/log/predictions", "/log/accuracy"):
            answer = client.get(path)
            assert answer.status == 404
            assert "monitoring.store" in answer.json()["error"]
        assert client.post("/log/predictions/x/label", {"label": 1}).status == 404
        assert "predictions" not in client.get("/stats").json()["offers"]
        assert client.call(lambda: client.app.engine.find("Double").watcher) is None


def test_with_a_store_the_page_is_told(client):
    assert "predictions" in client.get("/stats").json()["offers"]


# Labels.


class Kinds:
    """Says a class by its number, and how sure it is of each."""

    inputs = {"x": ("FP32", [-1, 3])}
    outputs = {"kind": ("INT64", [-1]), "scores": ("FP32", [-1, 3]), "size": ("FP32", [-1])}
    batched = True
    fast = True

    def predict(self, x):
        return {"kind": x.argmax(1), "scores": x, "size": x.sum(1)}


@pytest.fixture
def judged(tmp_path):
    with TestClient(Kinds, settings=make_settings(tmp_path)) as client:
        ask(client, [[0, 1, 0], [5, 0, 0], [0, 0, 2.5]], id="r", model="Kinds")
        wait(client, 1)
        yield client


@pytest.mark.parametrize(
    ("said", "right"),
    [
        ({"label": [1, 0, 2]}, 3),
        ({"label": [1, 1, 1]}, 1),
        ({"label": [1, 0, 1], "output": "scores"}, 2),
        ({"label": [1, 5.4, 9], "output": "size", "within": 0.5}, 2),
        ({"label": [[0, 1, 0], [5, 0, 0], [1, 1, 1]], "output": "scores"}, 2),
    ],
)
def test_a_label_tells_how_many_predictions_were_right(judged, said, right):
    answer = judged.post("/log/predictions/r/label", said)
    assert answer.json() == {"id": "r", "model": "Kinds", "version": "1", "right": right, "judged": 3}
    accuracy = judged.get("/log/accuracy").json()
    line = {"model": "Kinds", "version": "1", "labels": 1, "right": right, "judged": 3, "accuracy": right / 3}
    assert accuracy == {"window": 3600.0, "models": [line]}
    assert f'dragoman_accuracy{{model="Kinds",version="1"}} {right / 3}' in metrics(judged)
    assert 'dragoman_judged_predictions{model="Kinds",version="1"} 3.0' in metrics(judged)


def test_a_later_label_takes_the_place_of_the_first(judged):
    judged.post("/log/predictions/r/label", {"label": [1, 1, 1]})
    judged.post("/log/predictions/r/label", {"label": [1, 0, 2]})
    assert judged.get("/log/accuracy").json()["models"][0]["accuracy"] == 1
    assert page(judged)["predictions"][0]["label"] == [1, 0, 2]


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({}, "expected an object"),
        ({"label": None}, "a value"),
        ({"label": []}, "a value"),
        ({"label": 1}, "3 rows, got 1"),
        ({"label": [1, 0, 2], "output": "nothing"}, "no output"),
        ({"label": [1, 0, 2], "within": -1}, "'within'"),
        ({"label": [1, 0, 2], "more": 1}, "expected an object"),
        ({"label": ["a", "b", "c"], "output": "scores"}, "doesn't name its classes"),
    ],
)
def test_a_label_that_can_not_be_compared_is_refused(judged, said, words):
    answer = judged.post("/log/predictions/r/label", said)
    assert answer.status == 400
    assert words in answer.json()["error"]


def test_who_labels_what_is_not_kept_is_told(judged):
    assert judged.post("/log/predictions/nobody/label", {"label": 1}).status == 404


def test_an_answer_that_was_cut_short_is_not_judged(tmp_path):
    with TestClient(Double, settings=make_settings(tmp_path, entry_bytes=256)) as client:
        ask(client, [[1, 2]] * 100, id="long")
        wait(client, 1)
        answer = client.post("/log/predictions/long/label", {"label": [1] * 100})
    assert answer.status == 400
    assert "cut short" in answer.json()["error"]
