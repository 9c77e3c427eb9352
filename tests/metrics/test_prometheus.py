import json
import time
from pathlib import Path

import numpy as np
from prometheus_client.parser import text_string_to_metric_families

from dragoman.config import ModelSettings, MonitoringSettings, Settings
from dragoman.metrics.prometheus import METRICS
from dragoman.stats import OK, Stats
from dragoman.testing import TestClient
from dragoman.workers.crash import Reason

DOCS = Path(__file__).parents[2] / "docs" / "metrics.md"


class Double:
    inputs = {"x": ("FP32", [-1, 1])}
    outputs = {"y": ("FP32", [-1, 1])}
    batched = True

    def predict(self, x):
        return {"y": x * 2}


def scrape(client):
    answer = client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    samples = {}
    for family in text_string_to_metric_families(answer.body.decode()):
        for sample in family.samples:
            samples[sample.name, tuple(sorted(sample.labels.items()))] = sample.value
    return samples


def test_what_was_asked_is_what_is_counted():
    with TestClient(Double) as client:
        for _ in range(3):
            client.infer("Double", {"x": np.ones((4, 1), np.float32)})
        client.post("/v1/models/Double:predict", {"instances": [[1]]})
        client.post("/v2/models/Double/infer", {"inputs": []})
        client.post("/v2/models/nobody/infer", {"inputs": []})
        samples = scrape(client)
    model = (("model", "Double"), ("version", "1"))

    def answers(code, dialect):
        return samples["dragoman_requests_total", (("code", code), ("dialect", dialect), *model)]

    assert answers("ok", "v2") == 3
    assert answers("ok", "v1") == 1
    assert answers("invalid_input", "v2") == 1
    assert samples["dragoman_refused_requests_total", (("code", "not_found"), ("dialect", "v2"))] == 1
    assert samples["dragoman_request_seconds_count", model] == 4
    assert samples["dragoman_queue_seconds_count", model] == 4
    assert samples["dragoman_batch_rows_sum", model] == 13
    assert samples["dragoman_batch_rows_bucket", (("le", "4.0"), *model)] == 4
    assert samples["dragoman_waiting_requests", model] == 0


def test_a_models_own_name_can_hold_whatever_a_label_can():
    stats = Stats()
    stats.of('a"b\\c\n', "1").answers["v2", OK] += 1
    from dragoman.metrics.prometheus import render

    (family,) = [
        f for f in text_string_to_metric_families(render(stats, 0).decode()) if f.name == "dragoman_requests"
    ]
    assert family.samples[0].labels["model"] == 'a"b\\c\n'


def test_the_numbers_of_two_processes_add_up():
    one, two = Stats(), Stats()
    for stats, n in ((one, 2), (two, 3)):
        numbers = stats.of("m", "1")
        numbers.answers["v2", OK] += n
        numbers.waiting = n
        for _ in range(n):
            numbers.executed(4, 0.01)
        stats.refused["v1", "not_found"] += n
        numbers.exits["oom"] += n
    one.add(two.snapshot())
    numbers = one.of("m", "1")
    assert numbers.answers["v2", OK] == 5
    assert numbers.waiting == 5
    assert (numbers.batch.count, numbers.batch.total) == (5, 20)
    assert one.refused["v1", "not_found"] == 5
    assert numbers.exits == {"oom": 5}


def test_every_reason_for_which_a_worker_may_end_is_there_from_the_beginning():
    with TestClient(Double) as client:
        samples = scrape(client)
    for reason in Reason:
        labels = (("model", "Double"), ("reason", reason.value), ("version", "1"))
        assert samples["dragoman_worker_exits_total", labels] == 0
        assert f"`{reason.value}`" in DOCS.read_text()


MODEL = """class Model:
    inputs = {"x": ("FP32", [-1, 1])}
    outputs = {"y": ("FP32", [-1, 1])}
    batched = True

    def predict(self, x):
        return {"y": x}
"""


def watched(tmp_path):
    """A model with a reference, on a server that keeps predictions."""
    folder = tmp_path / "watched"
    folder.mkdir()
    (folder / "model.py").write_text(MODEL)
    (folder / "reference.jsonl").write_text("\n".join(f"[{number}]" for number in range(300)))
    monitoring = MonitoringSettings(store=str(tmp_path / "log.db"))
    return str(folder), Settings(models=ModelSettings(response_cache=True), monitoring=monitoring)


def judge(client):
    """Say that the one prediction which is kept was right, as soon as it is kept."""
    deadline = time.monotonic() + 60
    while not (kept := client.get("/log/predictions").json()["predictions"]) and time.monotonic() < deadline:
        time.sleep(0.02)
    client.post(f"/log/predictions/{kept[0]['id']}/label", {"label": [0] * 300})


def test_every_metric_is_scraped_and_documented(tmp_path):
    text = DOCS.read_text()
    folder, settings = watched(tmp_path)
    with TestClient(folder, settings=settings) as client:
        client.infer("watched", {"x": np.zeros((300, 1), np.float32)})
        client.post("/v2/models/nobody/infer", {"inputs": []})
        judge(client)
        names = {name for name, _ in scrape(client)}
    for name, kind, _, labels in METRICS:
        suffix = {"counter": "_total", "histogram": "_count"}.get(kind, "")
        assert f"{name}{suffix}" in names
        assert f"`{name}{'_total' if kind == 'counter' else ''}`" in text, (
            f"{name} is missing in docs/metrics.md"
        )
        assert all(f"`{label}`" in text for label in labels)
    documented = {
        line.split("`")[1].removesuffix("_total")
        for line in text.splitlines()
        if line.startswith("| `dragoman_")
    }
    assert documented == {name for name, *_ in METRICS}


def test_what_several_processes_count_of_caches_and_jobs_adds_up():
    one, both = Stats(), Stats()
    one.of("m", "1").looked("cache", "hit", 0.5)
    one.cache.entries, one.jobs.accepted = 3, 2
    one.jobs.ended["done"] += 1
    one.jobs.webhooks["told"] += 1
    for _ in range(2):
        both.add(json.loads(json.dumps(one.snapshot())))
    assert both.of("m", "1").lookups["cache", "hit"] == 2
    assert both.of("m", "1").lookup_seconds["cache", "hit"] == 1.0
    assert (both.cache.entries, both.jobs.accepted) == (6, 4)
    assert (both.jobs.ended["done"], both.jobs.webhooks["told"]) == (2, 2)
