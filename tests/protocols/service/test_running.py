"""How calls run: side by side where they are coroutines, joined where their rows may be."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dragoman.config import ModelSettings, Settings
from dragoman.testing import TestClient

APPS = Path(__file__).parent / "apps"


@pytest.fixture(scope="module")
def side():
    with TestClient(str(APPS / "side.py")) as client:
        yield client


@pytest.fixture(scope="module", params=["process", "thread"])
def anywhere(request):
    settings = Settings(models=ModelSettings(execution=request.param))
    with TestClient(str(APPS / "side.py"), settings=settings) as client:
        yield client


@pytest.fixture(scope="module")
def batched():
    settings = Settings(models=replace(ModelSettings(), max_batch=4, max_delay=30.0))
    with TestClient(str(APPS / "batched.py"), settings=settings) as client:
        yield client


def together(*calls):
    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(lambda call: call(), calls))


def test_coroutines_wait_for_each_other(side):
    answers = together(
        lambda: side.post("/meet", {"name": "ada"}), lambda: side.post("/meet", {"name": "bob"})
    )
    assert [answer.json() for answer in answers] == ["ada", "bob"]


def test_a_plain_method_beside_them_answers_wherever_they_run(anywhere):
    assert anywhere.post("/plain", {"number": 3}).json() == -3


def test_an_asynchronous_stream_is_a_stream_there(anywhere):
    answer = anywhere.get("/ticks?until=3")
    assert [json.loads(line)["tick"] for line in answer.body.splitlines()] == [0, 1, 2]


def test_coroutines_can_not_run_on_the_server_s_event_loop():
    settings = Settings(models=ModelSettings(execution="inline"))
    reason = "model 'side' is made of coroutines: it can't run on the server's event loop"
    with pytest.raises(RuntimeError, match=reason), TestClient(str(APPS / "side.py"), settings=settings):
        pass


@pytest.mark.parametrize("execution", ["inline", "thread"])
def test_plain_services_can_run_in_the_server_too(execution):
    settings = Settings(models=ModelSettings(execution=execution))
    with TestClient(str(APPS / "words.py"), settings=settings) as client:
        assert client.post("/predict", {"text": "a b"}).json()["data"] == 2
        assert client.post("/predict", {}).status == 422


def words(*texts):
    return {"words": [{"text": text} for text in texts]}


def test_rows_that_wait_together_are_one_call_and_everybody_gets_its_own(batched):
    requests = [("a", "bb"), ("ccc",), ("dddd", "e"), ("ff",)]
    answers = together(*(lambda texts=texts: batched.post("/predict", words(*texts)) for texts in requests))
    for texts, answer in zip(requests, answers, strict=True):
        assert answer.json() == {"lengths": [len(text) for text in texts], "calls": [6] * len(texts)}


def test_tensors_and_json_are_joined_alike(batched):
    text = np.array(["one", "three"], dtype=object)
    answers = together(
        lambda: batched.infer("batched", {"text": text}),
        lambda: batched.post("/predict", words("x")),
        lambda: batched.post("/predict", words("y")),
        lambda: batched.post("/predict", words("z")),
    )
    assert answers[0]["lengths"].tolist() == [3, 5]
    assert answers[0]["calls"].tolist() == [5, 5]
    assert all(answer.json()["calls"] == [5] for answer in answers[1:])


def test_other_arguments_and_bad_requests_go_alone(batched):
    answers = together(
        lambda: batched.post("/predict", words("x")),
        lambda: batched.post("/predict", words("y") | {"extra": 1}),
        lambda: batched.post("/predict", {"words": [{}]}),
        lambda: batched.post("/predict", words("zz")),
    )
    assert [answer.status for answer in answers] == [200, 200, 422, 200]
    assert answers[0].json() == {"lengths": [1], "calls": [2]}
    assert answers[1].json() == {"lengths": [2], "calls": [1]}


def test_one_that_makes_a_call_fail_fails_alone(batched):
    answers = together(
        *(lambda text=text: batched.post("/predict", words(text)) for text in ("a", "bad", "c", "d"))
    )
    assert [answer.status for answer in answers] == [200, 500, 200, 200]


def test_arrays_are_rows_too(batched):
    rows = [[1.0, 2.0]]
    answers = together(*(lambda: batched.post("/double", {"rows": rows}) for _ in range(4)))
    assert all(answer.json() == [[2.0, 4.0]] for answer in answers)


def test_where_rows_are_lost_each_request_gets_a_call_of_its_own(batched):
    answers = together(*(lambda: batched.post("/lose", {"rows": [1, 2]}) for _ in range(4)))
    assert [answer.json() for answer in answers] == [[1]] * 4


def test_many_clients_get_each_its_own(batched):
    settings = Settings(models=replace(ModelSettings(), max_batch=64))
    with TestClient(str(APPS / "batched.py"), settings=settings) as client:
        wrong = []

        def ask(number):
            for turn in range(20):
                text = "x" * (number * 20 + turn + 1)
                answer = client.post("/predict", words(text)).json()
                if answer["lengths"] != [len(text)]:
                    wrong.append((text, answer))

        threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert wrong == []
