"""The life of a model's version: loaded in the background, published when it can answer, drained before it goes.

NEW ──load──► LOADING ──► READY ──unload──► DRAINING ──► UNLOADED
                 └──► FAILED(reason)
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from enum import Enum

from dragoman.config import ModelSettings
from dragoman.engine.model import Model
from dragoman.engine.registry import Registry
from dragoman.errors import ConfigError
from dragoman.scheduling.scheduler import Clock
from dragoman.stats import Stats
from dragoman.workers.pool import Pool

log = logging.getLogger("dragoman.engine")


class State(Enum):
    NEW = "NEW"
    LOADING = "LOADING"
    READY = "READY"
    DRAINING = "DRAINING"
    UNLOADED = "UNLOADED"
    FAILED = "FAILED"


@dataclass(frozen=True, slots=True)
class Plan:
    """A version to load: ``start`` makes its instances. ``platform`` names the runtime for metadata."""

    name: str
    version: str
    platform: str
    settings: ModelSettings
    start: Callable[[], Awaitable[Pool]]


@dataclass(slots=True)
class Record:
    """What is known of a version, loaded or not. ``reason`` says why it failed, for people."""

    name: str
    version: str
    state: State = State.NEW
    reason: str = ""


class Lifecycle:
    """Moves versions through their states. Everything happens on the event loop's thread."""

    def __init__(self, registry: Registry, stats: Stats, clock: Clock) -> None:
        self.records: dict[tuple[str, str], Record] = {}
        self._registry = registry
        self._stats = stats
        self._clock = clock

    async def load_all(self, plans: Sequence[Plan]) -> None:
        """Load these side by side. Failures become records, never exceptions."""
        await asyncio.gather(*(self.load(plan) for plan in plans))

    async def load(self, plan: Plan) -> Record:
        """Load one version and publish it; a version of the same number is drained when the new one answers."""
        record = self.records.setdefault((plan.name, plan.version), Record(plan.name, plan.version))
        self._registry.know(plan.name)
        record.state, record.reason = State.LOADING, ""
        start = time.perf_counter()
        try:
            pool = await plan.start()
            try:
                stats = self._stats.of(plan.name, plan.version)
                model = Model(plan.name, plan.version, plan.platform, pool, plan.settings, stats, self._clock)
            except BaseException:
                pool.close(lambda: None)
                raise
        except Exception as error:
            self._failed(record, error)
            return record
        before = self._registry.publish(model)
        record.state = State.READY
        log.info(
            "model ready",
            extra={
                "model": plan.name,
                "version": plan.version,
                "runtime": plan.platform,
                "seconds": round(time.perf_counter() - start, 3),
            },
        )
        if before is not None:
            before.drain(lambda: None)
        return record

    def fail(self, name: str, version: str, reason: str) -> None:
        """Record a version that can't even be tried, so that the index tells about it."""
        self._registry.know(name)
        self.records[name, version] = Record(name, version, State.FAILED, reason)
        log.error("model failed to load", extra={"model": name, "version": version, "reason": reason})

    async def unload(self, name: str, version: str) -> None:
        """Unpublish, answer what was accepted, give everything back."""
        model = self._registry.unpublish(name, version)
        if model is None:
            return
        record = self.records[name, version]
        record.state = State.DRAINING
        done = asyncio.get_running_loop().create_future()
        model.drain(lambda: done.set_result(None))
        await done
        record.state = State.UNLOADED
        log.info("model unloaded", extra={"model": name, "version": version})

    async def unload_all(self) -> None:
        await asyncio.gather(*(self.unload(model.name, model.version) for model in list(self._registry)))

    def _failed(self, record: Record, error: Exception) -> None:
        record.state = State.FAILED
        hint = f" ({error.hint})" if isinstance(error, ConfigError) and error.hint else ""
        record.reason = (
            f"{error}{hint}" if isinstance(error, ConfigError) else f"{type(error).__name__}: {error}"
        )
        log.error(
            "model failed to load",
            extra={"model": record.name, "version": record.version, "reason": record.reason},
            exc_info=None if isinstance(error, ConfigError) and error.__cause__ is None else error,
        )
