import re

import pytest

from dragoman.metrics.torchserve import METRICS, java_double, render
from dragoman.stats import Stats


@pytest.fixture
def stats():
    stats = Stats()
    echo = stats.of("echo", "1.0")
    echo.answers["torchserve", "ok"] = 6
    echo.answers["torchserve", "invalid_input"] = 2
    echo.answers["torchserve", "model_failed"] = 3
    echo.answers["torchserve", "cancelled"] = 9
    echo.total.observe(13.375965743)
    echo.queue.observe(0.000240629)
    stats.of("echo", "2.0").answers["v2", "ok"] = 1
    stats.of("silent", "1.0")
    stats.refused["torchserve", "unauthorized"] = 4
    return stats


def lines(stats, names=(), **options):
    return render(stats, {"echo": "1.0"}, names, host="H", **options).decode().splitlines()


def test_samples_have_the_recorded_form(stats):
    answer = lines(stats, system=False)
    assert "# HELP Requests2XX Torchserve prometheus counter metric with unit: Count" in answer
    assert "# TYPE Requests2XX counter" in answer
    assert 'Requests2XX{Level="Host",Hostname="H",} 7.0' in answer
    assert 'Requests4XX{Level="Host",Hostname="H",} 6.0' in answer
    assert 'Requests5XX{Level="Host",Hostname="H",} 3.0' in answer
    default = 'model_name="echo",model_version="default",hostname="H",'
    assert f"ts_inference_requests_total{{{default}}} 6.0" in answer
    assert f"ts_inference_latency_microseconds{{{default}}} 1.3375965743E7" in answer
    assert f"ts_queue_latency_microseconds{{{default}}} 240.629" in answer
    assert 'ts_inference_requests_total{model_name="echo",model_version="2.0",hostname="H",} 1.0' in answer
    assert not any("silent" in line for line in answer)


def test_the_regular_expression_of_torchserves_own_tests_matches(stats):
    text = render(stats, {}).decode()
    assert re.search(r'Requests2XX\{Level="Host",Hostname=".*",\} \d+\.\d+', text)


def test_names_are_there_before_there_are_numbers():
    answer = lines(Stats(), system=False)
    assert len(answer) == 2 * len(METRICS)
    assert all(line.startswith("# ") for line in answer)


def test_names_can_be_chosen(stats):
    answer = lines(stats, {"Requests2XX", "ts_inference_requests_total", "nope"})
    assert [line.split("{")[0] for line in answer if not line.startswith("#")] == [
        "Requests2XX",
        "ts_inference_requests_total",
        "ts_inference_requests_total",
    ]
    assert len(answer) == 7
    assert render(stats, {}, {"nope"}) == b""


def test_the_host_is_measured_unless_it_is_not_wanted(stats):
    measured = {"DiskUsage", "DiskAvailable", "DiskUtilization"}
    with_system = {line.split("{")[0] for line in lines(stats) if not line.startswith("#")}
    without = {line.split("{")[0] for line in lines(stats, system=False) if not line.startswith("#")}
    assert measured <= with_system
    assert not measured & without


def test_labels_are_escaped():
    stats = Stats()
    stats.of('a"b\\c\nd', "1").answers["torchserve", "ok"] = 1
    assert 'model_name="a\\"b\\\\c\\nd",' in render(stats, {}).decode()


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0.0"), (6.0, "6.0"), (38.2, "38.2"), (0.001, "0.001"), (9999999.0, "9999999.0"), (1e7, "1.0E7"),
        (13375965.742999999, "1.3375965742999999E7"), (13050006.481, "1.3050006481E7"), (0.0001, "1.0E-4"),
        (0.00012, "1.2E-4"), (1e16, "1.0E16"), (1.5e300, "1.5E300"), (2.5e-7, "2.5E-7"), (-12345678.5, "-1.23456785E7"),
        (float("inf"), "+Inf"), (float("-inf"), "-Inf"), (float("nan"), "NaN"),
    ],
)  # fmt: skip
def test_numbers_are_written_as_java_does(value, text):
    assert java_double(value) == text
