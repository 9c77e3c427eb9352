"""A handler's own metrics, from the worker that gave them values to whoever scrapes or reads the logs."""

import os
import re
import signal

import pytest
from prometheus_client.parser import text_string_to_metric_families

from dragoman.config import ModelSettings, Settings
from dragoman.testing import TestClient
from tests.profiles.archives import write_archive
from tests.profiles.running import INFERENCE, METRICS, serving, until

pytest.importorskip("yaml")

#: One value of every kind, as TorchServe's documentation gives them; and one that nobody has heard of.
HANDLER = """
import os

from ts.metrics.dimension import Dimension
from ts.metrics.metric_type_enum import MetricTypes


class Metered:
    def initialize(self, context):
        self.kept = context.metrics.add_metric_to_cache("Loaded", "count", ["ModelName"])
        self.kept.add_or_update(1, ["metered"])

    def handle(self, data, context):
        metrics = context.metrics
        for place, row in enumerate(data):
            metrics.add_counter("Asked", len(row["body"]), place)
            metrics.add_metric("Things", 2, "things", dimensions=[Dimension("Color", "red")])
            metrics.add_time("Preprocess", 1.5)
            metrics.add_size("Image", 3.0, unit="kB")
            metrics.add_percent("Share", 55.0)
            metrics.add_metric("Hist", 0.3, "ms", metric_type=MetricTypes.HISTOGRAM)
            metrics.add_error("Wrong", 1)
        return [str(os.getpid())] * len(data)
"""
DECLARED = """
model_metrics:
  counter:
    - {name: Asked, unit: count, dimensions: [ModelName, Level]}
    - {name: Things, unit: things, dimensions: [Colour, ModelName, Level]}
    - {name: Loaded, unit: count, dimensions: [ModelName]}
    - {name: Never, unit: count, dimensions: [ModelName]}
  gauge:
    - {name: Preprocess, unit: ms, dimensions: [ModelName, Level]}
    - {name: Image, unit: kB, dimensions: [TooFew]}
  histogram:
    - {name: Hist, unit: ms, dimensions: [ModelName, Level]}
"""
OWN = 'ModelName="metered",Level="Model",Hostname='


@pytest.fixture
def serve(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "store").mkdir()
    write_archive(tmp_path / "store", "metered", HANDLER)
    (tmp_path / "metrics.yaml").write_text(DECLARED)

    def serve(**said):
        return serving(tmp_path, disable_token_authorization="true", **said)

    return serve


def ask(running, body="x"):
    answer = running.ask(INFERENCE, "/predictions/metered", "POST", body=body)
    assert answer.status == 200
    return int(answer.body)


def scrape(running, query=""):
    return running.ask(METRICS, f"/metrics{query}").body.decode()


def value(text, name, labels=OWN):
    found = re.search(rf"^{name}\{{{labels}\"[^\"]*\",\}} (\S+)$", text, re.M)
    return None if found is None else float(found[1])


def test_declared_metrics_are_scraped_in_torchserves_form(serve):
    with serve(metrics_mode="prometheus", metrics_config="metrics.yaml") as running:
        ask(running, "x" * 5)
        text = until(lambda: (text := scrape(running)) and value(text, "Asked") and text)
    assert value(text, "Asked") == 5.0
    assert value(text, "Things", 'Colour="red",' + OWN) == 2.0
    assert value(text, "Loaded", 'ModelName="metered",Hostname=') == 1.0
    assert value(text, "Preprocess") == 1.5
    assert value(text, "Hist_count") == 1.0
    assert value(text, "Hist_sum") == 0.3
    assert value(text, "Hist_bucket", OWN.replace("Hostname=", r'Hostname="[^"]*",le=')) is not None
    assert (
        "# HELP Asked Torchserve prometheus counter metric with unit: count\n# TYPE Asked counter\n" in text
    )
    assert "# TYPE Never counter\n" in text
    for name in (
        "Share",
        "Wrong",
        "PredictionTime",
        "Image{",
        "Requests2XX",
    ):  # not declared, or with other labels
        assert f"\n{name}" not in text, name


def test_what_is_declared_by_default_and_what_is_detected(serve):
    with serve(metrics_mode="prometheus") as running:
        ask(running)
        text = until(lambda: (text := scrape(running)) and value(text, "PredictionTime") is not None and text)
        assert "Asked" not in text
        assert "# TYPE HandlerTime gauge\n" in text
    with serve(metrics_mode="prometheus", model_metrics_auto_detect="true") as running:
        ask(running)
        text = until(lambda: (text := scrape(running)) and value(text, "Share") and text)
        assert value(text, "Image") == 3.0
        assert "# HELP Image Torchserve prometheus gauge metric with unit: Kilobytes\n" in text
        assert value(text, "Wrong", 'Level="Error",Hostname=') == 1.0
        assert value(text, "PredictionTime") is not None
        chosen = scrape(running, "?name[]=Asked")
        assert [line.split("{")[0] for line in chosen.splitlines()[2:]] == ["Asked"]


def test_counts_go_on_over_workers_and_their_deaths(serve):
    said = {"default_workers_per_model": "2", "metrics_mode": "prometheus", "metrics_config": "metrics.yaml"}
    with serve(**said) as running:
        workers = {ask(running) for _ in range(20)}
        until(lambda: value(scrape(running), "Asked") == 20.0)
        assert value(scrape(running), "Loaded", 'ModelName="metered",Hostname=') == 2.0
        dead = workers.pop()
        os.kill(dead, signal.SIGKILL)
        until(lambda: value(scrape(running), "Loaded", 'ModelName="metered",Hostname=') == 3.0)
        for _ in range(5):
            assert ask(running) != dead
        until(lambda: value(scrape(running), "Asked") == 25.0)


def test_in_log_mode_every_value_is_a_line_with_its_request(serve, tmp_path):
    with serve(metrics_config="metrics.yaml") as running:
        for _ in range(3):
            ask(running, "xy")
        assert scrape(running) == ""
    lines = (tmp_path / "logs" / "model_metrics.log").read_text().splitlines()
    asked = [line for line in lines if " - Asked.count:2.0|#ModelName:metered,Level:Model|#hostname:" in line]
    assert len(asked) == 3
    assert all(re.search(r",requestID:[0-9a-f-]{36},timestamp:\d{10}$", line) for line in asked)
    assert len({line.partition("requestID:")[2] for line in asked}) == 3
    assert sum(" - Hist.ms:0.3|" in line for line in lines) == 3
    assert not any("Share" in line for line in lines)


def test_in_log_mode_the_servers_counts_are_lines_that_add_up(serve, tmp_path):
    with serve() as running:
        for _ in range(3):
            ask(running)
        running.ask(INFERENCE, "/predictions/nosuch", "POST")
    lines = (tmp_path / "logs" / "ts_metrics.log").read_text().splitlines()

    def total(name):
        return sum(float(line.partition(f" - {name}:")[2].partition("|")[0] or 0) for line in lines)

    assert total("Requests2XX.Count") == 3.0
    assert total("Requests4XX.Count") == 1.0
    assert total("ts_inference_requests_total.Count") == 3.0
    assert total("ts_inference_latency_microseconds.Microseconds") > 0
    assert any(" - DiskUtilization.Percent:" in line for line in lines)


def test_legacy_mode_shows_three_counters_and_logs_the_rest(serve, tmp_path):
    with serve(metrics_mode="legacy") as running:
        ask(running)
        text = scrape(running)
    names = {line.split()[2] for line in text.splitlines() if line.startswith("# TYPE ")}
    assert names == {
        "ts_inference_requests_total", "ts_inference_latency_microseconds", "ts_queue_latency_microseconds",
    }  # fmt: skip
    logged = (tmp_path / "logs" / "ts_metrics.log").read_text()
    assert "Requests2XX.Count:1.0|" in logged
    assert "ts_inference" not in logged
    assert "PredictionTime.ms:" in (tmp_path / "logs" / "model_metrics.log").read_text()


@pytest.mark.parametrize("execution", ["process", "thread"])
def test_dragomans_own_metrics_have_them_too(tmp_path, execution):
    archive = write_archive(tmp_path, "metered", HANDLER)
    settings = Settings(models=ModelSettings(execution=execution))
    with TestClient(str(archive), settings=settings) as client:
        for _ in range(2):
            client.request("POST", "/predictions/metered", b"abc")

        def samples():
            text = client.get("/metrics").body.decode()
            families = list(text_string_to_metric_families(text))
            return {
                (sample.name, sample.labels.get("model")): sample
                for family in families
                for sample in family.samples
            }

        found = until(lambda: (all_ := samples()) and ("Asked_total", "metered") in all_ and all_)
        until(lambda: samples()["Asked_total", "metered"].value == 6.0)
        assert found["Asked_total", "metered"].labels == {
            "model": "metered", "version": "1.0", "ModelName": "metered", "Level": "Model",
        }  # fmt: skip
        assert found["Loaded_total", "metered"].value == 1.0
        assert found["Preprocess", "metered"].value == 1.5
        until(lambda: samples()["Hist_count", "metered"].value == 2.0)
        assert samples()["Hist_sum", "metered"].value == pytest.approx(0.6)
