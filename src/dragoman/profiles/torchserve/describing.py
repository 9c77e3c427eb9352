"""A version as TorchServe describes it. Pure: what is known of it in, a document out."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

from dragoman.profiles.torchserve.serving import Serving
from dragoman.profiles.torchserve.store import Registered
from dragoman.workers.report import InstanceReport

#: Workers are numbered as TorchServe numbers theirs, which are called after their ports.
FIRST_WORKER: Final = 9000
#: What stands in the place of a process that isn't there.
NO_PROCESS: Final = -1

Document = dict[str, Any]


def describe(
    model: Registered, workers: Sequence[InstanceReport], *, waiting: int, at_start: bool
) -> Document:
    """The document, its keys in TorchServe's order. ``waiting`` is the length of its queue."""
    serving = model.serving
    return {
        "modelName": model.source.name,
        "modelVersion": model.source.version,
        "modelUrl": model.url,
        "runtime": model.runtime,
        "minWorkers": serving.min_workers,
        "maxWorkers": serving.max_workers,
        "batchSize": serving.batch_size,
        "maxBatchDelay": serving.max_batch_delay,
        "responseTimeout": serving.response_timeout,
        "startupTimeout": serving.startup_timeout,
        **_from_yaml(serving),
        "loadedAtStartup": at_start,
        "workers": [_worker(worker) for worker in workers],
        "jobQueueStatus": {
            "remainingCapacity": max(0, serving.queue_size - waiting),
            "pendingRequests": waiting,
        },
    }


def expected(model: Registered) -> list[InstanceReport]:
    """The workers of a version that is being loaded, or could not be."""
    return [InstanceReport(number, model.since, ready=False) for number in range(model.serving.min_workers)]


def without_nulls(value: Any) -> Any:
    """As TorchServe's JSON writer leaves keys without a value out."""
    if isinstance(value, dict):
        return {key: without_nulls(item) for key, item in value.items() if item is not None}
    return [without_nulls(item) for item in value] if isinstance(value, list) else value


def _from_yaml(serving: Serving) -> Document:
    said = serving.yaml
    stateful = said.sequence_batching or bool(said.sequence_max_idle_ms)
    document: Document = {
        "maxRetryTimeoutInSec": said.max_retry_timeout_s,
        "clientTimeoutInMills": said.client_timeout_ms,
        "parallelType": said.parallel_type,
        "parallelLevel": said.parallel_level if said.parallel_type or said.torchrun else 0,
        "deviceType": "cpu",
    }
    if said.device_ids is not None:
        document["deviceIds"] = list(said.device_ids)
    return document | {
        "continuousBatching": said.continuous_batching,
        "useJobTicket": said.use_job_ticket,
        "useVenv": said.use_venv,
        "stateful": stateful,
        "sequenceMaxIdleMSec": said.sequence_max_idle_ms,
        "sequenceTimeoutMSec": said.sequence_timeout_ms,
        "maxNumSequence": said.max_sequences if stateful else 0,
        "maxSequenceJobQueueSize": said.max_sequence_queue if stateful else 0,
    }


def _worker(worker: InstanceReport) -> Document:
    started = datetime.fromtimestamp(worker.started, UTC)
    return {
        "id": str(FIRST_WORKER + worker.number),
        "startTime": f"{started:%Y-%m-%dT%H:%M:%S}.{started.microsecond // 1000:03}Z",
        "status": "READY" if worker.ready else "UNLOADING",
        "memoryUsage": worker.memory if worker.ready else 0,
        "pid": worker.pid if worker.ready and worker.pid else NO_PROCESS,
        "gpu": False,
        "gpuUsage": "N/A",
    }
