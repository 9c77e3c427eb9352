"""The operator's metrics.yaml: what it declares, and what it can't."""

import pytest

pytest.importorskip("yaml")

from dragoman.errors import ConfigError
from dragoman.metrics.torchserve import BACKEND, FRONTEND
from dragoman.model_metrics import Declared
from dragoman.profiles.torchserve.metrics_file import read_metrics_file

#: As TorchServe's documentation has it, names of dimensions as anchors included.
FILE = """
dimensions:
  - &model_name "ModelName"
  - &level "Level"
ts_metrics:
  counter:
    - name: Requests2XX
      unit: Count
      dimensions: [*level, Hostname]
  gauge:
    - name: Unheard
      unit: ms
      dimensions: []
model_metrics:
  counter:
    - name: Asked
      unit: count
      dimensions: [*model_name, *level]
  gauge:
    - {name: PredictionTime, unit: ms, dimensions: [*model_name, *level]}
  histogram:
    - {name: Size, unit: kB, dimensions: [Kind]}
"""


@pytest.fixture
def read(tmp_path):
    def read(text):
        (tmp_path / "metrics.yaml").write_text(text)
        return read_metrics_file(tmp_path / "metrics.yaml")

    return read


def test_a_file_declares_all_there_is(read):
    found = read(FILE)
    assert found.frontend == {
        "Requests2XX": Declared("counter", "Count", ("Level", "Hostname")),
        "Unheard": Declared("gauge", "ms", ()),
    }
    assert found.backend == {
        "Asked": Declared("counter", "count", ("ModelName", "Level")),
        "PredictionTime": BACKEND["PredictionTime"],
        "Size": Declared("histogram", "kB", ("Kind",)),
    }
    assert found.warnings == ()


@pytest.mark.parametrize(
    "text", ["", "dimensions: [a]", "ts_metrics:\nmodel_metrics:", "model_metrics: {gauge: }"]
)
def test_a_file_may_declare_nothing(read, text):
    found = read(text)
    assert (found.frontend, found.backend) == ({}, {})


def test_the_servers_metrics_keep_their_kind_and_their_labels_count(read):
    found = read(
        "ts_metrics:\n  histogram:\n    - {name: QueueTime, unit: s, dimensions: [a, b]}\n"
        "  counter:\n    - {name: Requests4XX, unit: Count, dimensions: [Level]}\n"
    )
    assert found.frontend["QueueTime"] == Declared("gauge", "s", ("a", "b"))
    assert [warning.partition(" is ")[0].partition(" has ")[0] for warning in found.warnings] == [
        "metrics_config: QueueTime",
        "metrics_config: Requests4XX",
    ]
    assert FRONTEND["QueueTime"].kind == "gauge"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("- a", "must hold one mapping"),
        ("a: [", "is not plain YAML"),
        ("model_metrics: [a]", "model_metrics must be a mapping"),
        ("model_metrics: {summary: []}", "model_metrics has no 'summary'"),
        ("model_metrics: {gauge: {name: a}}", "gauge of model_metrics must be a list"),
        ("model_metrics: {gauge: [a]}", "needs name, unit and dimensions, got 'a'"),
        ("model_metrics: {gauge: [{name: a, dimensions: []}]}", "needs name, unit and dimensions"),
        ("ts_metrics: {gauge: [{name: a, unit: b, dimensions: c}]}", "a gauge of ts_metrics needs"),
        ("model_metrics: {gauge: [{name: a b, unit: c}]}", "'a b' can't be a metric"),
        ("model_metrics: {gauge: [{name: a, unit: c, dimensions: [x, x]}]}", "'a' can't be a metric"),
    ],
)
def test_what_makes_no_sense_is_refused_by_name(read, text, reason):
    with pytest.raises(ConfigError) as refused:
        read(text)
    assert reason in str(refused.value)


def test_a_file_that_is_not_there_is_told(tmp_path):
    with pytest.raises(ConfigError, match=r"metrics_config can't be read: .*No such file"):
        read_metrics_file(tmp_path / "none.yaml")
