"""How one version of a model is served, where its archive, the configuration and a request all have a say.

Pure. Whose word counts is TorchServe's order as it really is, which is not the one of its documentation:

=================  =========================================================================================
batch, delay       the request, the archive's yaml, the key ``models``, 1 and 100 ms
workers            the yaml (if its two numbers make sense); at the start the key ``models``, then the default;
                   in a request ``initial_workers``, then ``default_workers_per_model``
time limits        the yaml, 120 s where there is a yaml that doesn't say; without one the key ``models``, the
                   request, the default
=================  =========================================================================================
"""

from dataclasses import dataclass, field, replace
from typing import Final

from dragoman.config import ModelSettings
from dragoman.profiles.torchserve.settings import Configuration, Table
from dragoman.protocols.torchserve.management.requests import Registration
from dragoman.repository.model_yaml import TorchServeSettings, apply_sequences, queue_size

DEFAULT_BATCH_SIZE: Final = 1
DEFAULT_BATCH_DELAY: Final = 100  # milliseconds
#: Seconds that a request waits for the first worker of a model that may have some and has none.
WAKE_TIMEOUT: Final = 60.0
#: What a yaml that exists and doesn't say means, in seconds, whatever else was configured.
YAML_TIMEOUT: Final = 120
_WRITTEN: Final = {
    "minWorkers": "min_workers",
    "maxWorkers": "max_workers",
    "batchSize": "batch_size",
    "maxBatchDelay": "max_batch_delay",
    "responseTimeout": "response_timeout",
    "startupTimeout": "startup_timeout",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Serving:
    """How a version is served, in TorchServe's units: ``max_batch_delay`` and ``client_timeout`` in milliseconds,
    the other times in seconds. A ``client_timeout`` of 0 is none."""

    min_workers: int
    max_workers: int
    batch_size: int = DEFAULT_BATCH_SIZE
    max_batch_delay: int = DEFAULT_BATCH_DELAY
    response_timeout: int = 120
    startup_timeout: int = 120
    queue_size: int = 100
    client_timeout: int = 0
    default: bool = False  #: the configuration makes this version its model's default
    yaml: TorchServeSettings = field(default_factory=TorchServeSettings)

    @property
    def wake_timeout(self) -> float:
        """Seconds that a request waits for the first worker. A model that must not have any refuses it at once, as
        with TorchServe; one that may gets one, which goes when it has nothing to do."""
        return WAKE_TIMEOUT if self.max_workers else 0.0

    def settings(self, defaults: ModelSettings) -> ModelSettings:
        """The same in Dragoman's words."""
        settings = replace(
            defaults,
            instances=self.min_workers,
            max_instances=self.max_workers,
            wake_timeout=self.wake_timeout,
            max_batch=self.batch_size,
            max_delay=self.max_batch_delay / 1000,
            queue_size=self.queue_size,
            timeout=self.client_timeout / 1000,
            response_timeout=float(self.response_timeout),
            load_timeout=float(self.startup_timeout),
        )
        return apply_sequences(self.yaml, settings)


def resolve(
    yaml: TorchServeSettings | None,
    configured: Table,
    request: Registration | None,
    configuration: Configuration,
) -> Serving:
    """Settle everybody's word on one version.

    ``yaml`` is what the archive's model-config.yaml says, ``None`` without one; ``configured`` the version's table
    under the key ``models``; ``request`` is ``None`` for models of the start-up list. What is no positive number
    in ``configured`` is as if it weren't there.
    """
    asked, own = request or Registration(), yaml or TorchServeSettings()

    def limit(said: int | None, name: str, wanted: int | None, default: int) -> int:
        if yaml is not None:
            return _first(said, YAML_TIMEOUT)
        return _first(_positive(configured, name), wanted, default)

    if request is None and configuration.from_snapshot and configured:
        return _as_before(configured, own, configuration)
    least, most = _workers(own, configured, request, configuration)
    size, delay = _positive(configured, "batchSize"), _positive(configured, "maxBatchDelay")
    response, startup = configuration.response_timeout, configuration.startup_timeout
    return Serving(
        min_workers=least,
        max_workers=most,
        batch_size=max(1, _first(asked.batch_size, own.batch_size or None, size, DEFAULT_BATCH_SIZE)),
        max_batch_delay=max(
            0, _first(asked.max_batch_delay, own.max_batch_delay_ms or None, delay, DEFAULT_BATCH_DELAY)
        ),
        response_timeout=limit(own.response_timeout_s, "responseTimeout", asked.response_timeout, response),
        startup_timeout=limit(own.startup_timeout_s, "startupTimeout", asked.startup_timeout, startup),
        queue_size=queue_size(own, configuration.queue_size),
        client_timeout=own.client_timeout_ms,
        default=configured.get("defaultVersion") is True,
        yaml=own,
    )


def _as_before(written: Table, own: TorchServeSettings, configuration: Configuration) -> Serving:
    """As a snapshot has written it down, in which everybody's word has been settled. What it lacks is TorchServe's
    default, and what is no number is as if it weren't there."""
    numbers = {
        field: written[name]
        for name, field in _WRITTEN.items()
        if type(written.get(name)) is int and written[name] >= 0
    }
    least = numbers.pop("min_workers", 1)
    return Serving(
        min_workers=least,
        max_workers=max(least, numbers.pop("max_workers", least)),
        batch_size=max(1, numbers.pop("batch_size", DEFAULT_BATCH_SIZE)),
        queue_size=own.job_queue_size or configuration.queue_size,
        client_timeout=own.client_timeout_ms,
        default=written.get("defaultVersion") is True,
        yaml=own,
        **numbers,
    )


def _workers(
    own: TorchServeSettings, configured: Table, request: Registration | None, configuration: Configuration
) -> tuple[int, int]:
    least, most = own.min_workers, own.max_workers
    if least and most and most >= least:
        return least, most
    if request is not None:
        count = configuration.default_workers if request.initial_workers is None else request.initial_workers
        return max(0, count), max(0, count, request.most_workers or 0)
    least = _first(_positive(configured, "minWorkers"), configuration.workers)
    return least, max(least, _first(_positive(configured, "maxWorkers"), configuration.workers))


def _positive(table: Table, name: str) -> int | None:
    value = table.get(name)
    return value if type(value) is int and value > 0 else None


def _first(*values: int | None) -> int:
    return next(value for value in values if value is not None)
