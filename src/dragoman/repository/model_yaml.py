"""A model's ``model-config.yaml``: what it says of serving, and the whole of it for the handler.

Knows the file's keys and units, not who obeys them. Read with PyYAML's safe loader, which builds nothing but
plain values; a text that would grow into too many of them (through aliases) is refused before they are built.
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from dragoman.config import ModelSettings
from dragoman.errors import ConfigError
from dragoman.repository.manifest import read_limited
from dragoman.repository.paths import InvalidArchive

log = logging.getLogger("dragoman.repository")

MOST_BYTES: Final = 1 << 17
MOST_NODES: Final = 100_000  # each counted as often as aliases repeat it
MOST_DEPTH: Final = 50
JAVA_INT: Final = 1 << 31
#: What PyYAML's safe constructors raise for ``!!bool x`` and its like.
_NOT_A_VALUE: Final = (ValueError, LookupError, AttributeError, TypeError, OverflowError, RecursionError)
PARALLEL_TYPES: Final = ("", "pp", "tp", "pptp", "custom")
DEVICE_TYPES: Final = ("", "cpu", "gpu")


@dataclass(frozen=True, slots=True, kw_only=True)
class TorchServeSettings:
    """What a ``model-config.yaml`` says, in its own units; ``None`` where it says nothing of a key.

    Where a key has a value without being named (TorchServe's default), that is the field's default.
    """

    min_workers: int | None = None
    max_workers: int | None = None
    batch_size: int | None = None
    max_batch_delay_ms: int | None = None
    response_timeout_s: int | None = None
    startup_timeout_s: int | None = None
    job_queue_size: int | None = None
    client_timeout_ms: int = 0
    max_retry_timeout_s: int = 300
    device_type: str = ""
    device_ids: tuple[int, ...] | None = None
    parallel_type: str = ""
    parallel_level: int = 1
    torchrun: Mapping[str, int | str] | None = None
    use_job_ticket: bool = False
    use_venv: bool = False
    continuous_batching: bool = False
    sequence_batching: bool = False
    async_communication: bool = False
    sequence_max_idle_ms: int = 0
    sequence_timeout_ms: int = 0
    max_sequence_queue: int = 1
    max_sequences: int = 1


@dataclass(frozen=True, slots=True)
class ModelYaml:
    """``document`` is the whole file, as the handler gets it; empty where there is none."""

    settings: TorchServeSettings = field(default_factory=TorchServeSettings)
    document: Mapping[str, Any] = field(default_factory=dict)


def read_model_yaml(directory: Path, file: str) -> ModelYaml:
    """The file that the manifest names; one that isn't there says nothing, as with TorchServe.

    Raises InvalidArchive for one that is not YAML, too large, or asks for objects.
    """
    if not file:
        return ModelYaml()
    path = directory / file
    if not path.exists():
        log.warning("the manifest names a file that is not there", extra={"file": file})
        return ModelYaml()
    document = parse_yaml(read_limited(path, MOST_BYTES), path.name)
    return ModelYaml(read_settings(document), document)


def parse_yaml(text: bytes, name: str) -> dict[str, Any]:
    """The one mapping that the text holds."""
    try:
        import yaml
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"reading {name} needs PyYAML, which is not installed", hint="pip install 'dragoman[torchserve]'"
        ) from error
    try:
        loader = yaml.SafeLoader(text)
        try:
            node = loader.get_single_node()
            _weigh(node, name)
            document = None if node is None else loader.construct_document(node)
        finally:
            loader.dispose()
    except (yaml.YAMLError, *_NOT_A_VALUE) as error:
        raise InvalidArchive(f"{name} is not plain YAML: {_first_line(error)}") from error
    if document is None:
        return {}
    if not isinstance(document, dict):
        raise InvalidArchive(f"{name} must hold one mapping")
    return document


def read_settings(document: Mapping[str, Any]) -> TorchServeSettings:
    """The keys that TorchServe knows. A value of another type is left out, with one warning in the log."""
    said: dict[str, Any] = {}
    for key, value in document.items():
        if key in _KEYS:
            name, read = _KEYS[key]
            try:
                said[name] = read(value)
            except ValueError as error:
                log.warning("a key of model-config.yaml is ignored: %s", error, extra={"key": key})
    if said.get("torchrun"):
        said["parallel_level"] = said["torchrun"]["nproc-per-node"]
    return TorchServeSettings(**said)


def apply(said: TorchServeSettings, defaults: ModelSettings) -> ModelSettings:
    """``defaults`` overridden by what the file says; a batch is one request unless somebody says otherwise."""
    settings = replace(defaults, max_batch=said.batch_size or defaults.max_batch or 1)
    if said.max_batch_delay_ms is not None:
        settings = replace(settings, max_delay=said.max_batch_delay_ms / 1000)
    if said.min_workers is not None:
        settings = replace(settings, instances=said.min_workers)
    if said.client_timeout_ms:
        settings = replace(settings, timeout=said.client_timeout_ms / 1000)
    if said.response_timeout_s is not None:
        settings = replace(settings, response_timeout=float(said.response_timeout_s))
    settings = replace(settings, queue_size=queue_size(said, settings.queue_size))
    return apply_sequences(said, settings)


def queue_size(said: TorchServeSettings, default: int) -> int:
    """How many requests may wait: none for a model that takes only those that a worker is free for."""
    return 0 if said.use_job_ticket else said.job_queue_size or default


def apply_sequences(said: TorchServeSettings, settings: ModelSettings) -> ModelSettings:
    """A model is stateful if its file says so, or how long a sequence may be idle. All places can be taken."""
    if not said.sequence_batching and not said.sequence_max_idle_ms:
        return settings
    places = (settings.max_batch or 1) * max(settings.instances, said.max_workers or 0)
    return replace(
        settings,
        sequences=max(said.max_sequences, places),
        sequence_queue=said.max_sequence_queue,
        sequence_idle=said.sequence_max_idle_ms / 1000,
        sequence_timeout=said.sequence_timeout_ms / 1000,
    )


def _weigh(root: Any, name: str) -> None:
    """Raise InvalidArchive for a tree that is too deep, or too large with every alias written out."""
    weights: dict[int, int] = {}

    def weigh(node: Any, depth: int) -> int:
        if depth > MOST_DEPTH:
            raise InvalidArchive(f"{name} is nested in more than {MOST_DEPTH} levels")
        if id(node) not in weights:
            weights[id(node)] = MOST_NODES  # until it is known: a node inside itself has no end
            value = node.value if isinstance(node.value, list) else []
            children = [child for item in value for child in (item if isinstance(item, tuple) else (item,))]
            weight = 1
            for child in children:
                weight += weigh(child, depth + 1)
                if weight > MOST_NODES:
                    raise InvalidArchive(f"{name} holds more than {MOST_NODES} values")
            weights[id(node)] = weight
        return weights[id(node)]

    if root is not None:
        weigh(root, 1)


def _first_line(error: Exception) -> str:
    # yaml's own text goes over several lines; the problem and its line are what helps.
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or (str(error).splitlines() or [type(error).__name__])[0]
    return f"{problem[:200]} (line {mark.line + 1})" if mark is not None else problem[:200]


def _integer(*, least: int = 0, clamp: bool = True) -> Callable[[Any], int]:
    """A whole number that fits a Java int. Below ``least`` it is raised to it, or refused."""

    def read(value: Any) -> int:
        if type(value) is not int or not -JAVA_INT <= value < JAVA_INT:
            raise ValueError(f"a whole number is expected, got {value!r:.100}")
        if value < least and not clamp:
            raise ValueError(f"{least} is the least, got {value}")
        return max(least, value)

    return read


def _boolean(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"true or false is expected, got {value!r:.100}")
    return value


def _word(*known: str) -> Callable[[Any], str]:
    def read(value: Any) -> str:
        if not isinstance(value, str) or value.lower() not in known:
            raise ValueError(f"one of {', '.join(filter(None, known))} is expected, got {value!r:.100}")
        return value.lower()

    return read


def _integers(value: Any) -> tuple[int, ...]:
    if not isinstance(value, list) or not all(type(item) is int for item in value):
        raise ValueError(f"a list of whole numbers is expected, got {value!r:.100}")
    return tuple(value)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"a text is expected, got {value!r:.100}")
    return value


def _torchrun(value: Any) -> Mapping[str, int | str]:
    if not isinstance(value, dict):
        raise ValueError(f"a mapping is expected, got {value!r:.100}")
    read: dict[str, int | str] = {"nnodes": 1, "nproc-per-node": 1, "rdzv-backend": "c10d"}
    for key, item in value.items():
        if key not in _TORCHRUN:
            log.warning("a key of torchrun is not known", extra={"key": str(key)})
            continue
        try:
            read[key] = _TORCHRUN[key](item)
        except ValueError as error:
            log.warning("a key of torchrun is ignored: %s", error, extra={"key": key})
    return read


_TORCHRUN: Final[Mapping[str, Callable[[Any], int | str]]] = {
    "nnodes": _integer(least=1, clamp=False),
    "nproc-per-node": _integer(least=1, clamp=False),
    "rdzv-backend": _text,
    "rdzv-endpoint": _text,
    "rdzv-conf": _text,
    "monitor-interval": _integer(least=1, clamp=False),
    "node-rank": _integer(least=0, clamp=False),
    "OMP_NUMBER_THREADS": _integer(least=1, clamp=False),
}
#: A key, the field it goes to, and how it is read.
_KEYS: Final[Mapping[str, tuple[str, Callable[[Any], Any]]]] = {
    "minWorkers": ("min_workers", _integer(least=1)),
    "maxWorkers": ("max_workers", _integer(clamp=False)),
    "batchSize": ("batch_size", _integer(least=1)),
    "maxBatchDelay": ("max_batch_delay_ms", _integer(clamp=False)),
    "responseTimeout": ("response_timeout_s", _integer(least=1, clamp=False)),
    "startupTimeout": ("startup_timeout_s", _integer(least=1, clamp=False)),
    "deviceType": ("device_type", _word(*DEVICE_TYPES)),
    "deviceIds": ("device_ids", _integers),
    "parallelType": ("parallel_type", _word(*PARALLEL_TYPES)),
    "parallelLevel": ("parallel_level", _integer(clamp=False)),
    "torchrun": ("torchrun", _torchrun),
    "maxRetryTimeoutInSec": ("max_retry_timeout_s", _integer()),
    "clientTimeoutInMills": ("client_timeout_ms", _integer()),
    "jobQueueSize": ("job_queue_size", _integer()),
    "useJobTicket": ("use_job_ticket", _boolean),
    "sequenceMaxIdleMSec": ("sequence_max_idle_ms", _integer()),
    "sequenceTimeoutMSec": ("sequence_timeout_ms", _integer()),
    "maxSequenceJobQueueSize": ("max_sequence_queue", _integer(least=1)),
    "maxNumSequence": ("max_sequences", _integer(least=1)),
    "continuousBatching": ("continuous_batching", _boolean),
    "sequenceBatching": ("sequence_batching", _boolean),
    "asyncCommunication": ("async_communication", _boolean),
    "useVenv": ("use_venv", _boolean),
}
