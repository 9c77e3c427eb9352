"""Compose with Prometheus and Grafana: the files fit each other, and ask for nothing that isn't there."""

import json
import re
from pathlib import Path

import pytest
import yaml
from promql_parser import parse

from dragoman.config import load
from dragoman.metrics.prometheus import METRICS
from dragoman.monitoring.drift import LARGE
from dragoman.testing import TestClient

FOLDER = Path(__file__).parents[2] / "deploy" / "compose"
COMPOSE = yaml.safe_load((FOLDER / "compose.yaml").read_text())
ALERTS = yaml.safe_load((FOLDER / "alerts.yaml").read_text())
SCRAPE = yaml.safe_load((FOLDER / "prometheus.yaml").read_text())
RULES = [rule for group in ALERTS["groups"] for rule in group["rules"]]
BOARDS = {path.name: json.loads(path.read_text()) for path in (FOLDER / "grafana/dashboards").glob("*.json")}
PANELS = [panel for board in BOARDS.values() for panel in board["panels"]]
QUERIES = [target["expr"] for panel in PANELS for target in panel.get("targets", ())]
EXPRESSIONS = [*QUERIES, *(rule["expr"] for rule in RULES)]
#: What each metric may be asked as, and the labels that it has.
KNOWN = {
    name + suffix: {*labels, *(("le",) if suffix == "_bucket" else ())}
    for name, kind, _, labels in METRICS
    for suffix in {"counter": ("_total",), "gauge": ("",), "histogram": ("_bucket", "_sum", "_count")}[kind]
}


def plain(expression):
    """Without Grafana's variables."""
    return expression.replace("$__rate_interval", "5m").replace("$model", ".*").replace("$version", ".*")


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_every_expression_is_promql_over_metrics_and_labels_that_there_are(expression):
    parse(plain(expression))
    for name, matchers in re.findall(r"\b(dragoman_\w+)(?:\{([^}]*)\})?", expression):
        assert name in KNOWN, name
        assert set(re.findall(r"(\w+)\s*(?:=|!=|=~|!~)\"", matchers)) <= KNOWN[name], expression
    asked = {label for name in re.findall(r"dragoman_\w+", expression) for label in KNOWN[name]}
    for group in re.findall(r"by \(([^)]*)\)", expression):
        assert set(re.split(r",\s*", group)) <= asked, expression


def test_every_metric_is_on_a_dashboard():
    shown = {name for query in QUERIES for name in re.findall(r"dragoman_\w+", query)}
    left = {name for name in KNOWN if not name.endswith(("_sum", "_count", "_bucket"))} - shown
    assert left == {
        "dragoman_cache_entries", "dragoman_cache_evictions_total", "dragoman_cache_failures_total",
        "dragoman_cache_seconds_total", "dragoman_jobs_begun_total",
    }  # fmt: skip


@pytest.mark.parametrize("name", BOARDS)
def test_a_dashboard_is_whole(name):
    board = BOARDS[name]
    ids = [panel["id"] for panel in board["panels"]]
    assert len(ids) == len(set(ids))
    taken = set()
    for panel in board["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert place["x"] + place["w"] <= 24
        assert not cells & taken, panel["title"]
        taken |= cells
        refs = [target["refId"] for target in panel.get("targets", ())]
        assert len(refs) == len(set(refs))
        if panel["type"] != "row":
            assert panel["title"]
            assert panel["fieldConfig"]["defaults"]["unit"]
    variables = {each["name"] for each in board["templating"]["list"]}
    used = set(re.findall(r"\$([a-z]\w*)", json.dumps(board["panels"])))
    assert used <= variables


def test_dashboards_ask_the_data_source_that_is_provisioned():
    (source,) = yaml.safe_load((FOLDER / "grafana/provisioning/datasources/prometheus.yaml").read_text())[
        "datasources"
    ]
    assert {target["datasource"]["uid"] for panel in PANELS for target in panel.get("targets", ())} == {
        source["uid"]
    }
    assert source["url"] == "http://prometheus:9090"
    (provider,) = yaml.safe_load((FOLDER / "grafana/provisioning/dashboards/dragoman.yaml").read_text())[
        "providers"
    ]
    mounted = dict(
        volume.split(":")[:2] for volume in COMPOSE["services"]["grafana"]["volumes"] if volume[0] == "."
    )
    folder = next(here for here, there in mounted.items() if there == provider["options"]["path"])
    assert (FOLDER / folder).is_dir()
    home = COMPOSE["services"]["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert (FOLDER / folder / Path(home).name).is_file()


def test_alerts_have_a_name_a_severity_and_words():
    assert len({rule["alert"] for rule in RULES}) == len(RULES)
    for rule in RULES:
        assert rule["labels"]["severity"] in ("critical", "warning", "info")
        for name in re.findall(r"\$labels\.(\w+)", rule["annotations"]["summary"]):
            assert (
                name in rule["expr"]
                or any(name in KNOWN[metric] for metric in re.findall(r"dragoman_\w+", rule["expr"]))
                or name == "instance"
            )
    drift = next(rule for rule in RULES if rule["alert"] == "DragomanDrift")
    assert drift["expr"].endswith(f">= {LARGE}")


def test_prometheus_scrapes_the_service_with_the_key_that_the_server_asks_for():
    (job,) = SCRAPE["scrape_configs"]
    assert job["static_configs"] == [{"targets": ["dragoman:8080"]}]
    secret = COMPOSE["services"]["prometheus"]["secrets"][0]
    assert job["authorization"]["credentials_file"] == f"/run/secrets/{secret['target']}"
    variable = COMPOSE["secrets"][secret["source"]]["environment"]
    assert f"${{{variable}:?" in COMPOSE["services"]["dragoman"]["environment"]["DRAGOMAN_AUTH__KEY"]
    for config in COMPOSE["configs"].values():
        assert (FOLDER / config["file"]).is_file()


def test_everything_is_reached_from_this_machine_only():
    for service in COMPOSE["services"].values():
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", ()))
        assert service["cap_drop"] == ["ALL"]
    named = {volume.split(":")[0] for each in COMPOSE["services"].values() for volume in each["volumes"]}
    assert set(COMPOSE["volumes"]) == {name for name in named if re.fullmatch(r"\w+", name)}
    build = COMPOSE["services"]["dragoman"]["build"]
    assert (FOLDER / build["context"] / build["dockerfile"]).is_file()


def test_its_variables_are_settings():
    variables = COMPOSE["services"]["dragoman"]["environment"]
    settings = load(None, {**variables, "DRAGOMAN_AUTH__KEY": "x" * 16}, {}).settings
    assert settings.monitoring.store == "/data/predictions.db"


class Double:
    inputs = {"x": ("FP32", [-1, 1])}
    outputs = {"y": ("FP32", [-1, 1])}

    def predict(self, x):
        return {"y": 2 * x}


def test_a_scrape_tells_memory():
    with TestClient(Double) as client:
        text = client.get("/metrics").body.decode()
    assert float(re.search(r"^dragoman_memory_bytes (\S+)$", text, re.M)[1]) > 1e6
    assert 'dragoman_model_memory_bytes{model="Double",version="1"}' in text
