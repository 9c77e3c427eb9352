"""What the management API tells of models, in TorchServe's words and order. Pure but for the numbers it looks at."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from dragoman.engine.model import Model
from dragoman.profiles.torchserve.store import Registered

#: The port of the first worker, by which TorchServe calls it: here it is only a name.
_FIRST_WORKER: Final = 9000


def list_models(urls: Mapping[str, str], limit: int, start: int) -> dict[str, Any]:
    """One page of the list; ``urls`` tells by name where each model came from, in the order of the list."""
    names = list(urls)
    document: dict[str, Any] = {}
    if start + limit <= len(names):  # as recorded: at the very end, too
        document["nextPageToken"] = str(start + limit)
    shown = names[start : start + limit]
    document["models"] = [{"modelName": name, "modelUrl": urls[name]} for name in shown]
    return document


def describe(registered: Registered, model: Model | None) -> dict[str, Any]:
    """One version; ``model`` is ``None`` while it can't answer. Of a worker only what is known here is told."""
    serving, yaml = registered.serving, registered.serving.yaml
    stateful = yaml.sequence_batching
    waiting = 0 if model is None else model.stats.waiting
    return {
        "modelName": registered.source.name,
        "modelVersion": registered.source.version,
        "modelUrl": registered.url,
        "runtime": "python",
        "minWorkers": serving.min_workers,
        "maxWorkers": serving.max_workers,
        "batchSize": serving.batch_size,
        "maxBatchDelay": serving.max_batch_delay,
        "responseTimeout": serving.response_timeout,
        "startupTimeout": serving.startup_timeout,
        "maxRetryTimeoutInSec": yaml.max_retry_timeout_s,
        "clientTimeoutInMills": serving.client_timeout,
        "parallelType": yaml.parallel_type,
        "parallelLevel": yaml.parallel_level if yaml.parallel_type else 0,
        "deviceType": yaml.device_type or "cpu",
        "continuousBatching": yaml.continuous_batching,
        "useJobTicket": yaml.use_job_ticket,
        "useVenv": yaml.use_venv,
        "stateful": stateful,
        "sequenceMaxIdleMSec": yaml.sequence_max_idle_ms if stateful else 0,
        "sequenceTimeoutMSec": yaml.sequence_timeout_ms if stateful else 0,
        "maxNumSequence": yaml.max_sequences if stateful else 0,
        "maxSequenceJobQueueSize": yaml.max_sequence_queue if stateful else 0,
        "loadedAtStartup": registered.at_start,
        "workers": _workers(serving.min_workers) if model is not None else [],
        "jobQueueStatus": {
            "remainingCapacity": serving.queue_size - waiting,
            "pendingRequests": waiting,
        },
    }


def _workers(count: int) -> Sequence[dict[str, Any]]:
    return [
        {"id": str(_FIRST_WORKER + number), "status": "READY", "gpu": False, "gpuUsage": "N/A"}
        for number in range(count)
    ]
