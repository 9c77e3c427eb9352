"""The worked examples of the lesson on APIs for models, requests and answers, against a live server."""

import json
from datetime import datetime
from pathlib import Path

import pytest

from dragoman.testing import TestClient

APP = str(Path(__file__).parent / "apps" / "lesson.py")
ARGS = {
    "shuffle": True,
    "subset": None,
    "min_freq": 75,
    "lower": True,
    "stem": False,
    "analyzer": "char_wb",
    "ngram_max_range": 8,
    "alpha": 0.0001,
    "learning_rate": 0.14688087680118794,
    "power_t": 0.158985493618746,
}
OVERALL = {
    "precision": 0.8941372402587212,
    "recall": 0.8333333333333334,
    "f1": 0.8491658224308651,
    "num_samples": 144,
}


@pytest.fixture(scope="module")
def client():
    with TestClient(APP) as client:
        yield client


def get(client, path):
    return client.request("GET", path, headers={"accept": "application/json"})


def check_envelope(client, answer, method, path, data, message="OK", status=200):
    assert answer.status == status
    document = answer.json()
    assert list(document) == [
        "message", "method", "status-code", "timestamp", "url", "data", "model-version", "run-id",
    ]  # fmt: skip
    timestamp = document.pop("timestamp")
    assert datetime.fromisoformat(timestamp).isoformat() == timestamp
    assert datetime.fromisoformat(timestamp).tzinfo is None
    assert document == {
        "message": message,
        "method": method,
        "status-code": status,
        "url": f"{client.url}{path}",
        "data": data,
        "model-version": "1",
        "run-id": "7d6b1c39d4a34c4b",
    }


def test_the_health_check_is_at_the_root(client):
    check_envelope(client, get(client, "/"), "GET", "/", {})


def test_a_browser_gets_the_page_there(client):
    page = client.request("GET", "/", headers={"accept": "text/html,*/*"})
    assert page.headers["content-type"].startswith("text/html")


def test_the_performance_of_a_part_is_asked_for_with_a_filter(client):
    answer = get(client, "/performance?filter=overall")
    check_envelope(client, answer, "GET", "/performance?filter=overall", {"performance": OVERALL})


@pytest.mark.parametrize("path", ["/performance", "/performance?filter=nonsense"])
def test_without_a_filter_that_is_known_it_is_all_of_it(client, path):
    whole = {"overall": OVERALL, "class": {"computer-vision": {"f1": 0.9}}}
    check_envelope(client, get(client, path), "GET", path, {"performance": whole})


def test_the_arguments_of_the_training_are_shown(client):
    check_envelope(client, get(client, "/args"), "GET", "/args", {"args": ARGS})


def test_one_of_them_is_shown_alone(client):
    answer = get(client, "/args/learning_rate")
    check_envelope(client, answer, "GET", "/args/learning_rate", {"learning_rate": 0.14688087680118794})


def test_an_unknown_one_is_empty(client):
    check_envelope(client, get(client, "/args/nonsense"), "GET", "/args/nonsense", {"nonsense": ""})


def test_a_prediction_is_made_for_each_text(client):
    texts = [
        "Transfer learning with transformers for text classification.",
        "Generative adversarial networks for image generation.",
    ]
    answer = client.post("/predict", {"texts": [{"text": text} for text in texts]})
    tags = ["natural-language-processing", "computer-vision"]
    predictions = [{"input_text": text, "predicted_tag": tag} for text, tag in zip(texts, tags, strict=True)]
    check_envelope(client, answer, "POST", "/predict", {"predictions": predictions})


def test_an_empty_text_is_refused_with_its_place(client):
    answer = client.post("/predict", {"texts": [{"text": ""}]})
    assert answer.status == 422
    (problem,) = answer.json()["detail"]
    assert problem["loc"] == ["body", "texts", 0, "text"]
    assert problem["msg"] == "String should have at least 1 character"


def test_no_texts_are_refused_by_the_validator_of_the_class(client):
    answer = client.post("/predict", {"texts": []})
    assert answer.status == 422
    (problem,) = answer.json()["detail"]
    assert problem["loc"] == ["body", "texts"]
    assert problem["msg"] == "Value error, List of texts to classify cannot be empty."
    assert problem["type"] == "value_error"


@pytest.mark.parametrize("body", [b"", b"{}", b'{"texts": null}', b'{"texts": [{}]}', b"[1]", b"{"])
def test_what_is_missing_or_broken_is_refused_with_its_place(client, body):
    answer = client.request("POST", "/predict", body, {"content-type": "application/json"})
    assert answer.status == 422
    assert all(problem["loc"][0] == "body" for problem in answer.json()["detail"])


def test_the_document_has_what_the_service_says_of_itself(client):
    document = get(client, "/openapi.json").json()
    assert document["info"] == {
        "title": "TagIfAI - Made With ML",
        "version": "0.1",
        "description": "Classify machine learning projects.",
    }
    tags = {path: next(iter(found.values()))["tags"] for path, found in document["paths"].items()}
    assert tags == {
        "/": ["General"],
        "/predict": ["Prediction"],
        "/performance": ["Performance"],
        "/args": ["Arguments"],
        "/args/{arg}": ["Arguments"],
    }
    schema = document["components"]["schemas"]["PredictPayload"]
    assert schema["example"]["texts"][1] == {
        "text": "Generative adversarial networks in both PyTorch and TensorFlow."
    }
    json.dumps(document)


def test_other_methods_are_not_allowed(client):
    answer = get(client, "/predict")
    assert (answer.status, answer.headers["allow"]) == (405, "POST")
