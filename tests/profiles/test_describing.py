"""A version as TorchServe describes it: every key, its order, and what a yaml says."""

from dragoman.config import ModelSettings
from dragoman.profiles.torchserve.describing import describe, expected, without_nulls
from dragoman.profiles.torchserve.serving import Serving
from dragoman.profiles.torchserve.store import Registered
from dragoman.repository.model_yaml import read_settings
from dragoman.repository.spec import ModelSource
from dragoman.workers.report import InstanceReport

KEYS = [
    "modelName", "modelVersion", "modelUrl", "runtime", "minWorkers", "maxWorkers", "batchSize", "maxBatchDelay",
    "responseTimeout", "startupTimeout", "maxRetryTimeoutInSec", "clientTimeoutInMills", "parallelType",
    "parallelLevel", "deviceType", "continuousBatching", "useJobTicket", "useVenv", "stateful", "sequenceMaxIdleMSec",
    "sequenceTimeoutMSec", "maxNumSequence", "maxSequenceJobQueueSize", "loadedAtStartup", "workers",
    "jobQueueStatus",
]  # fmt: skip


def registered(tmp_path, yaml=None, **serving):
    said = read_settings(yaml or {})
    source = ModelSource("m", "1.0", None, "", ModelSettings())
    return Registered(
        source, Serving(min_workers=1, max_workers=2, yaml=said, **serving), "m.mar", tmp_path, since=0.5
    )


def test_the_keys_have_torchserves_order(tmp_path):
    document = describe(registered(tmp_path), [], waiting=3, at_start=False)
    assert list(document) == KEYS
    assert document["jobQueueStatus"] == {"remainingCapacity": 97, "pendingRequests": 3}
    assert document["maxRetryTimeoutInSec"] == 300
    assert document["workers"] == []


def test_what_the_yaml_says_is_told(tmp_path):
    yaml = {
        "deviceIds": [0, 1], "parallelType": "tp", "torchrun": {"nproc-per-node": 4}, "continuousBatching": True,
        "useJobTicket": True, "useVenv": True, "sequenceMaxIdleMSec": 60, "sequenceTimeoutMSec": 70,
        "maxNumSequence": 5, "maxSequenceJobQueueSize": 6, "maxRetryTimeoutInSec": 9, "clientTimeoutInMills": 8,
    }  # fmt: skip
    document = describe(registered(tmp_path, yaml), [], waiting=0, at_start=True)
    assert list(document)[15] == "deviceIds"
    said = {name: document[name] for name in yaml if name != "torchrun"}
    assert said == {name: value for name, value in yaml.items() if name != "torchrun"}
    assert (document["parallelLevel"], document["stateful"], document["loadedAtStartup"]) == (4, True, True)


def test_a_queue_that_is_over_full_has_no_room(tmp_path):
    document = describe(registered(tmp_path, queue_size=2), [], waiting=5, at_start=False)
    assert document["jobQueueStatus"] == {"remainingCapacity": 0, "pendingRequests": 5}


def test_workers_that_are_not_ready_show_no_process(tmp_path):
    model = registered(tmp_path)
    loading = {
        "id": "9000", "startTime": "1970-01-01T00:00:00.500Z", "status": "UNLOADING", "memoryUsage": 0, "pid": -1,
        "gpu": False, "gpuUsage": "N/A",
    }  # fmt: skip
    assert describe(model, expected(model), waiting=0, at_start=True)["workers"] == [loading]
    busy = InstanceReport(2, 1.0, ready=True, memory=4096, pid=17)
    (worker,) = describe(model, [busy], waiting=0, at_start=True)["workers"]
    assert (worker["id"], worker["status"], worker["memoryUsage"], worker["pid"]) == (
        "9002",
        "READY",
        4096,
        17,
    )
    thread = InstanceReport(0, 1.0, ready=True)
    assert describe(model, [thread], waiting=0, at_start=True)["workers"][0]["pid"] == -1


def test_keys_without_a_value_are_left_out():
    assert without_nulls({"a": None, "b": {"c": None, "d": [None, {"e": None}]}}) == {"b": {"d": [None, {}]}}
