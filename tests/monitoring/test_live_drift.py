"""Drift of a live server: a reference beside a model, requests that have moved, what is told of them."""

import json
import time

import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families
from typer.testing import CliRunner

from dragoman.cli import app
from dragoman.config import MonitoringSettings, Settings
from dragoman.testing import TestClient

LIMIT = 60.0
MODEL = """class Model:
    inputs = {"x": ("FP64", [-1, 2])}
    outputs = {"y": ("FP64", [-1])}
    batched = True
    fast = True

    def predict(self, x):
        return {"y": x.sum(1)}
"""


def rows(mean, count=2000, seed=0):
    random = np.random.default_rng(seed)
    return np.column_stack([random.normal(0, 1, count), random.normal(mean, 1, count)])


def write_csv(path):
    lines = "\n".join(f"{a!r},{b!r}" for a, b in rows(0).tolist())
    path.write_text(f"first,second\n{lines}\n")


@pytest.fixture
def model(tmp_path):
    folder = tmp_path / "sums"
    folder.mkdir()
    (folder / "model.py").write_text(MODEL)
    return folder


def wait_for(client, count):
    deadline = time.monotonic() + LIMIT
    while time.monotonic() < deadline:
        (told,) = client.get("/log/drift").json()["models"]
        if all(feature["rows"] >= count for feature in told["features"]):
            return told
        time.sleep(0.02)
    raise AssertionError(told)


def test_rows_beside_a_model_are_its_reference(model):
    write_csv(model / "reference.csv")
    with TestClient(str(model)) as client:
        client.infer("sums", {"x": rows(2.0, 1000, seed=1)})
        told = wait_for(client, 1000)
        assert (told["model"], told["version"], told["reference_rows"]) == ("sums", "1", 2000)
        moved, stays = told["features"]
        assert (moved["feature"], moved["verdict"]) == ("x[1]", "large")
        assert (stays["feature"], stays["verdict"]) == ("x[0]", "stable")
        assert moved["ks"]["p"] < 1e-6 < stays["ks"]["p"]
        samples = {
            (sample.name, sample.labels["feature"], sample.labels.get("test")): sample.value
            for family in text_string_to_metric_families(client.get("/metrics").body.decode())
            for sample in family.samples
            if sample.name.startswith("dragoman_drift")
        }
    assert samples["dragoman_drift", "x[1]", "psi"] == pytest.approx(moved["psi"]["statistic"])
    assert samples["dragoman_drift_p_value", "x[0]", "ks"] == pytest.approx(stays["ks"]["p"])
    assert samples["dragoman_drift_rows", "x[1]", None] == 1000


def test_the_command_makes_a_reference_and_tells_the_drift(model, tmp_path):
    write_csv(tmp_path / "train.csv")
    with TestClient(str(model)) as client:
        made = CliRunner().invoke(
            app,
            f"monitor reference sums {tmp_path}/train.csv --url {client.url} --output {model}/reference.json",
        )
    assert made.exit_code == 0, made.output
    assert "2 features of 2000 rows" in made.output
    assert json.loads((model / "reference.json").read_text())["dragoman_reference"] == 1
    with TestClient(str(model)) as client:
        client.infer("sums", {"x": rows(0.0, 1000, seed=2)})
        wait_for(client, 1000)
        told = CliRunner().invoke(app, ["monitor", "drift", "--url", client.url, "--json"])
        shown = CliRunner().invoke(app, ["monitor", "drift", "sums", "--url", client.url])
    assert {each["verdict"] for each in json.loads(told.output)["models"][0]["features"]} == {"stable"}
    assert "stable" in shown.output


@pytest.mark.parametrize("content", ["{", "{}", '{"dragoman_reference": 1}'])
def test_a_reference_that_can_not_be_read_is_no_reason_not_to_serve(model, content, caplog):
    (model / "reference.json").write_text(content)
    with TestClient(str(model)) as client:
        assert client.infer("sums", {"x": np.ones((1, 2))})["y"].tolist() == [2.0]
        assert client.get("/log/drift").json()["models"] == []
    assert "the reference can't be read" in caplog.text


def test_only_the_sampled_requests_are_looked_at(model):
    write_csv(model / "reference.csv")
    settings = Settings(monitoring=MonitoringSettings(sample=0.5))
    with TestClient(str(model), settings=settings) as client:
        for seed in range(4):
            client.infer("sums", {"x": rows(0.0, 300, seed)})
        assert {feature["rows"] for feature in wait_for(client, 600)["features"]} == {600}
