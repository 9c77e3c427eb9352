"""The numbers as JSON say what Prometheus is told."""

import re
from pathlib import Path

import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families

from dragoman import __version__
from dragoman.config import ManagementSettings, Settings
from dragoman.testing import TestClient

DOCS = Path(__file__).parents[2] / "docs" / "metrics.md"


class Double:
    inputs = {"x": ("FP32", [-1, 1])}
    outputs = {"y": ("FP32", [-1, 1])}
    batched = True

    def predict(self, x):
        return {"y": x * 2}


@pytest.fixture(scope="module")
def client():
    with TestClient(Double) as client:
        for rows in (1, 4, 4):
            client.infer("Double", {"x": np.ones((rows, 1), np.float32)})
        client.post("/v1/models/Double:predict", {"instances": [[1]]})
        client.post("/v2/models/Double/infer", {"inputs": []})
        client.post("/v2/models/nobody/infer", {"inputs": []})
        yield client


def test_what_was_asked_is_what_is_told(client):
    stats = client.get("/stats").json()
    (model,) = stats["models"]
    assert (model["name"], model["version"]) == ("Double", "1")
    assert model["answers"] == {"v2": {"ok": 3, "invalid_input": 1}, "v1": {"ok": 1}}
    assert stats["refused"] == {"v2": {"not_found": 1}}
    assert (model["waiting"], model["running"], model["exits"]) == (0, 0, {})
    assert stats["started"] < model["last"] < stats["time"]
    rows = dict(zip([*stats["bounds"]["rows"], "more"], model["batch"]["counts"], strict=True))
    assert {bound: count for bound, count in rows.items() if count} == {1: 2, 4: 2}
    assert model["batch"]["sum"] == 10
    for name in ("total", "queue", "execute"):
        assert len(model[name]["counts"]) == len(stats["bounds"]["seconds"]) + 1
        assert sum(model[name]["counts"]) == 4


def test_prometheus_is_told_the_same(client):
    (model,) = client.get("/stats").json()["models"]
    samples = {
        (sample.name, sample.labels.get("le")): sample.value
        for family in text_string_to_metric_families(client.get("/metrics").body.decode())
        for sample in family.samples
    }
    for metric, name in (("request", "total"), ("queue", "queue"), ("execute", "execute")):
        assert samples[f"dragoman_{metric}_seconds_sum", None] == model[name]["sum"]
        assert samples[f"dragoman_{metric}_seconds_count", None] == sum(model[name]["counts"])
    assert samples["dragoman_start_time_seconds", None] == client.get("/stats").json()["started"]


def test_the_server_says_what_it_is_and_what_it_offers(client):
    stats = client.get("/stats").json()
    assert (stats["version"], stats["ready"]) == (__version__, True)
    assert stats["grpc_port"] == client.app.grpc_port
    assert stats["offers"] == ["management"]
    assert stats["in_flight"] == 1
    assert stats["memory_bytes"] is None or stats["memory_bytes"] > 2**20
    assert stats["models"][0]["instances"] == 1
    assert stats["models"][0]["memory_bytes"] >= 0
    off = Settings(management=ManagementSettings(enabled="off"))
    with TestClient(Double, settings=off) as closed:
        assert closed.get("/stats").json()["offers"] == []


def test_a_model_that_went_keeps_its_numbers_and_has_no_instances(tmp_path):
    with TestClient(Double) as client:
        client.infer("Double", {"x": np.ones((1, 1), np.float32)})
        assert client.request("DELETE", "/management/models/Double").status == 200
        (model,) = client.get("/stats").json()["models"]
        assert model["answers"] == {"v2": {"ok": 1}}
        assert (model["instances"], model["memory_bytes"]) == (0, 0)


def test_every_key_is_documented_and_every_documented_one_is_there(client):
    stats = client.get("/stats").json()
    section = DOCS.read_text().partition("## As JSON")[2]
    documented = {
        key
        for line in section.splitlines()
        if (match := re.match(r"\| (`.*?`) \|", line))
        for key in re.findall(r"`(\w+)`", match[1])
    }
    assert documented == stats.keys() | stats["models"][0].keys()
