import re

import pytest

from dragoman.metrics.host import Host
from dragoman.metrics.torchserve import BACKEND, FRONTEND, Sample, View, count, java_double, queue_time
from dragoman.model_metrics import BUCKETS, Declared, Value
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


def render(stats, names=(), samples=(), **options):
    view = View(host="H", **options)
    return view.render(stats, [*count(stats, {"echo": "1.0"}), *queue_time(stats), *samples], names)


def lines(stats, names=(), **options):
    return render(stats, names, **options).decode().splitlines()


def test_samples_have_the_recorded_form(stats):
    answer = lines(stats)
    assert "# HELP Requests2XX Torchserve prometheus counter metric with unit: Count" in answer
    assert "# TYPE Requests2XX counter" in answer
    assert 'Requests2XX{Level="Host",Hostname="H",} 7.0' in answer
    assert 'Requests4XX{Level="Host",Hostname="H",} 6.0' in answer
    assert 'Requests5XX{Level="Host",Hostname="H",} 3.0' in answer
    default = 'model_name="echo",model_version="default",hostname="H",'
    assert f"ts_inference_requests_total{{{default}}} 20.0" in answer
    assert f"ts_inference_latency_microseconds{{{default}}} 1.3375965743E7" in answer
    assert f"ts_queue_latency_microseconds{{{default}}} 240.629" in answer
    assert 'ts_inference_requests_total{model_name="echo",model_version="2.0",hostname="H",} 1.0' in answer
    assert not any("silent" in line for line in answer)


def test_the_regular_expression_of_torchserves_own_tests_matches(stats):
    text = View().render(stats, count(stats, {})).decode()
    assert re.search(r'Requests2XX\{Level="Host",Hostname=".*",\} \d+\.\d+', text)


def test_names_are_there_before_there_are_numbers():
    answer = lines(Stats())
    assert len(answer) == 2 * len({*FRONTEND, *BACKEND})
    assert all(line.startswith("# ") for line in answer)


def test_names_can_be_chosen(stats):
    answer = lines(stats, {"Requests2XX", "ts_inference_requests_total", "nope"})
    assert [line.split("{")[0] for line in answer if not line.startswith("#")] == [
        "Requests2XX",
        "ts_inference_requests_total",
        "ts_inference_requests_total",
    ]
    assert len(answer) == 7
    assert render(stats, {"nope"}) == b""


def test_the_host_is_measured():
    measured = dict(Host().measure())
    assert measured.keys() <= FRONTEND.keys()
    assert {"DiskUsage", "DiskAvailable", "DiskUtilization"} <= measured.keys()
    assert all(0 <= measured[name] <= 100 for name in measured if name.endswith("Utilization"))


def test_processors_are_measured_between_two_looks(monkeypatch):
    ticks = iter([(100, 1000), (150, 1100), (150, 1200)])
    monkeypatch.setattr("dragoman.metrics.host._processor_times", lambda: next(ticks))
    host = Host()
    assert dict(host.measure())["CPUUtilization"] == 50.0
    assert dict(host.measure())["CPUUtilization"] == 0.0


def test_the_time_in_the_queue_is_the_newest_requests():
    stats = Stats()
    assert list(queue_time(stats)) == []
    for model, waited, when in (("old", 0.9, 1.0), ("new", 0.0129, 2.0)):
        stats.of(model, "1").queue.observe(5.0)
        stats.of(model, "1").queue.observe(waited)
        stats.of(model, "1").last = when
    assert list(queue_time(stats)) == [Sample("QueueTime", ("Host",), 12.0)]
    stats.of("new", "1").queue.sort()
    assert list(queue_time(stats)) == [Sample("QueueTime", ("Host",), 12.0)]


def own(name, kind, value, unit="ms", **labels):
    return Value(name, kind, unit, tuple(labels.items()), value, "r1", 7.0)


@pytest.fixture
def measured():
    stats = Stats()
    stats.of("echo", "1.0").metrics.take(
        [
            own("PredictionTime", "gauge", 0.04, ModelName="echo", Level="Model"),
            own("Asked", "counter", 1.0, "Count", ModelName="echo"),
            own("Asked", "counter", 2.0, "Count", ModelName="echo"),
            own("Size", "histogram", 0.3, "kB", Kind='a"b'),
            own("Size", "histogram", 50.0, "kB", Kind='a"b'),
            own("Requests2XX", "counter", 1e9, "Count", Level="Host"),
        ]
    )
    stats.of("echo", "2.0").metrics.take([own("Asked", "counter", 4.0, "Count", ModelName="echo")])
    return stats


def test_handlers_metrics_have_the_recorded_form(measured):
    answer = lines(measured, detect=True)
    assert 'PredictionTime{ModelName="echo",Level="Model",Hostname="H",} 0.04' in answer
    assert "# HELP PredictionTime Torchserve prometheus gauge metric with unit: ms" in answer
    assert "# TYPE HandlerTime gauge" in answer  # declared, and without a value
    asked = answer.index("# HELP Asked Torchserve prometheus counter metric with unit: Count")
    assert answer[asked + 1 : asked + 3] == [
        "# TYPE Asked counter",
        'Asked{ModelName="echo",Hostname="H",} 7.0',
    ]
    size = answer.index("# TYPE Size histogram")
    start = 'Size_bucket{Kind="a\\"b",Hostname="H",le='
    assert answer[size + 1] == start + '"0.005",} 0.0'
    assert answer[size + 7 : size + 9] == [start + '"0.25",} 0.0', start + '"0.5",} 1.0']
    assert answer[size + len(BUCKETS) : size + len(BUCKETS) + 4] == [
        start + '"10.0",} 1.0',
        start + '"+Inf",} 2.0',
        'Size_count{Kind="a\\"b",Hostname="H",} 2.0',
        'Size_sum{Kind="a\\"b",Hostname="H",} 50.3',
    ]


def test_a_handler_can_not_take_the_servers_names(measured):
    assert "1.0E9" not in render(measured, detect=True).decode()


def test_what_is_not_declared_is_not_shown_unless_it_is_detected(measured):
    answer = render(measured).decode()
    assert "PredictionTime{" in answer
    assert "Asked" not in answer
    backend = {"Asked": Declared("counter", "count", ("ModelName",))}
    declared = render(measured, backend=backend).decode()
    assert "Asked{" in declared
    assert "PredictionTime" not in declared
    assert [line for line in lines(measured, {"Asked"}, detect=True) if line[0] != "#"] == [
        'Asked{ModelName="echo",Hostname="H",} 7.0'
    ]


def test_the_servers_metrics_have_the_declared_labels_and_unit(stats):
    frontend = {
        "Requests2XX": Declared("counter", "requests", ("Where", "Machine")),
        "Requests4XX": Declared("counter", "Count", ("TooFew",)),
        "Unknown": Declared("gauge", "x", ("a",)),
    }
    assert lines(stats, frontend=frontend, backend={}) == [
        "# HELP Requests2XX Torchserve prometheus counter metric with unit: requests",
        "# TYPE Requests2XX counter",
        'Requests2XX{Where="Host",Machine="H",} 7.0',
        "# HELP Requests4XX Torchserve prometheus counter metric with unit: Count",
        "# TYPE Requests4XX counter",
        "# HELP Unknown Torchserve prometheus gauge metric with unit: x",
        "# TYPE Unknown gauge",
    ]


def test_labels_are_escaped():
    stats = Stats()
    stats.of('a"b\\c\nd', "1").answers["torchserve", "ok"] = 1
    assert 'model_name="a\\"b\\\\c\\nd",' in render(stats).decode()


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
