"""Lines of metrics in files, as TorchServe's readers know them."""

import re
import time

import pytest

from dragoman.metrics.torchserve import Sample, View
from dragoman.model_metrics import Value
from dragoman.profiles.torchserve import metrics_log
from dragoman.profiles.torchserve.metrics_log import LogFile, MetricsLog

NOW = 1_795_301_191.734
STAMP = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d,734 - "


class Server:
    """Counts that a test turns by hand."""

    def __init__(self, folder, interval=60.0):
        self.counts = {}
        self.now = NOW
        self.folder = folder
        self.log = MetricsLog(View(host="H"), folder, self.samples, self.measure, interval, lambda: self.now)

    def samples(self):
        return [Sample(name, labels, value) for (name, labels), value in self.counts.items()]

    def measure(self):
        return [Sample("DiskUtilization", ("Host",), 38.6)]

    def lines(self, name):
        self.log.close()
        path = self.folder / name
        return path.read_text().splitlines() if path.exists() else []


@pytest.fixture
def server(tmp_path):
    return Server(tmp_path / "logs")


def test_a_line_tells_what_counts_have_gone_up_by(server):
    server.counts = {
        ("Requests2XX", ("Host",)): 3.0,
        ("ts_inference_requests_total", ("echo", "default")): 1.0,
    }
    server.log.look()
    server.log.look()
    server.counts["Requests2XX", ("Host",)] = 5.0
    server.log.look()
    lines = server.lines("ts_metrics.log")
    assert all(re.match(STAMP, line) for line in lines)
    assert [re.sub(STAMP, "", line) for line in lines if "Disk" not in line] == [
        "Requests2XX.Count:3.0|#Level:Host|#hostname:H,timestamp:1795301191",
        "ts_inference_requests_total.Count:1.0|#model_name:echo,model_version:default|#hostname:H,timestamp:1795301191",
        "Requests2XX.Count:2.0|#Level:Host|#hostname:H,timestamp:1795301191",
    ]


def test_a_gauge_is_told_as_it_stands_when_it_changes(server):
    for waited in (3.0, 3.0, 1.0):
        server.counts["QueueTime", ("Host",)] = waited
        server.log.look()
    assert [
        line.split("|")[0].split(" - ")[1] for line in server.lines("ts_metrics.log") if "Queue" in line
    ] == [
        "QueueTime.Milliseconds:3.0",
        "QueueTime.Milliseconds:1.0",
    ]


def test_the_host_is_measured_every_so_often(server):
    for _ in range(3):
        server.log.look()
    server.now += 59.9
    server.log.look()
    server.now += 0.1
    server.log.look()
    lines = server.lines("ts_metrics.log")
    assert [re.sub(r"^\S+ - ", "", line).partition(",timestamp")[0] for line in lines] == [
        "DiskUtilization.Percent:38.6|#Level:Host|#hostname:H"
    ] * 2


def test_the_host_need_not_be_measured(tmp_path):
    server = Server(tmp_path, interval=0)
    server.log.look()
    assert server.lines("ts_metrics.log") == []


def test_every_value_of_a_handlers_metric_is_a_line_if_it_is_declared(server):
    labels = (("ModelName", "echo"), ("Level", "Model"))
    server.log.take(
        [
            Value("PredictionTime", "gauge", "ms", labels, 0.03, "41c6f2a1", 1_795_301_190.9),
            Value("Undeclared", "gauge", "ms", labels, 1.0),
            Value("PredictionTime", "gauge", "ms", labels, 12345678.0),
        ]
    )
    lines = [re.sub(STAMP, "", line) for line in server.lines("model_metrics.log")]
    assert lines == [
        "PredictionTime.ms:0.03|#ModelName:echo,Level:Model|#hostname:H,requestID:41c6f2a1,timestamp:1795301190",
        "PredictionTime.ms:1.2345678E7|#ModelName:echo,Level:Model|#hostname:H,timestamp:1795301191",
    ]


def test_the_time_is_the_machines_own(server, monkeypatch):
    monkeypatch.setenv("TZ", "UTC-2")
    time.tzset()
    try:
        server.log.take([Value("PredictionTime", "gauge", "ms", (), 1.0)])
        (line,) = server.lines("model_metrics.log")
    finally:
        monkeypatch.undo()
        time.tzset()
    assert line.startswith("2026-11-22T00:46:31,734 - ")


def test_nothing_that_a_model_writes_begins_a_line(server):
    labels = (("ModelName", "a\n2026-01-01T00:00:00,000 - forged\r"),)
    server.log.take([Value("PredictionTime", "gauge", "ms", labels, 1.0)])
    assert len(server.lines("model_metrics.log")) == 1


def test_files_do_not_grow_for_ever(tmp_path, monkeypatch):
    monkeypatch.setattr(metrics_log, "LARGEST", 100)
    file = LogFile(tmp_path / "a.log")
    for number in range(10):
        file.write([f"{number}" * 60])
    file.close()
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["a.log", *(f"a.log.{number}" for number in range(1, 6))]
    assert (tmp_path / "a.log").read_text() == "9" * 60 + "\n"


def test_a_folder_that_can_not_be_written_is_told_and_does_no_harm(tmp_path, caplog):
    (tmp_path / "logs").write_text("no folder")
    file = LogFile(tmp_path / "logs" / "a.log")
    file.write(["lost"])
    file.write(["lost, too"])
    file.close()
    assert [record.message for record in caplog.records] == ["metrics can't be written"]
