import json

import numpy as np
import pytest

from dragoman.config import ServerSettings, Settings
from dragoman.testing import TestClient


class Add:
    inputs = {"a": ("FP32", [-1]), "b": ("FP32", [-1])}
    outputs = {"sum": ("FP32", [-1])}

    def predict(self, a, b):
        return {"sum": a + b}


class Shout:
    inputs = {"text": ("BYTES", [-1])}
    outputs = {"text": ("BYTES", [-1])}

    def predict(self, text):
        return {"text": np.array([t.upper() for t in text], object)}


class Broken:
    def load(self):
        raise ValueError("no weights")

    def predict(self, x):
        return x


def test_a_class_is_served_and_asked():
    with TestClient(Add) as client:
        answer = client.infer("Add", {"a": np.ones(3, np.float32), "b": np.ones(3, np.float32)})
        np.testing.assert_array_equal(answer["sum"], [2, 2, 2])
        assert client.get("/v2/health/ready").status == 200


def test_bytes_and_text_travel():
    with TestClient(Shout) as client:
        assert list(client.infer("Shout", {"text": np.array(["é", "b"])})["text"]) == [
            "é".encode().upper(),
            b"B",
        ]


def test_how_hard_answers_are_compressed_is_said_in_the_settings():
    body = json.dumps(
        {"inputs": [{"name": "text", "datatype": "BYTES", "shape": [2000], "data": ["abc", "cde"] * 1000}]}
    )
    sizes = {}
    for level in ("none", "low", "high"):
        with TestClient(Shout, settings=Settings(server=ServerSettings(compression=level))) as client:
            answer = client.request(
                "POST", "/v2/models/Shout/infer", body.encode(), {"Accept-Encoding": "gzip"}
            )
            sizes[level] = len(answer.body)
            assert answer.headers.get("content-encoding") == (None if level == "none" else "gzip")
    assert sizes["high"] < sizes["low"] < sizes["none"]


def test_a_refusal_is_told_in_the_servers_words():
    with TestClient(Add) as client, pytest.raises(RuntimeError, match="expected 2 inputs"):
        client.infer("Add", {"a": np.ones(3, np.float32)})


def test_a_model_that_fails_to_load_fails_the_block():
    with pytest.raises(RuntimeError, match="no weights"), TestClient(Broken):
        raise AssertionError("not reached")


def test_without_strict_the_server_stands_and_tells_about_it():
    with TestClient(Broken, strict=False) as client:
        assert client.get("/v2/health/ready").status == 400
        (entry,) = client.post("/v2/repository/index", {}).json()
        assert entry["state"] == "UNAVAILABLE"
        assert "no weights" in entry["reason"]
