"""The life of a model's version: loaded in the background, published when it can answer, drained before it goes.

::

    NEW ──load──► LOADING ──► READY ──unload──► DRAINING ──► UNLOADED
                     └──► FAILED(reason)

A version that is loaded again while it serves stays READY: requests find the new one once it can answer, and never if
it could not be loaded.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

from dragoman.config import ModelSettings
from dragoman.engine.model import Model
from dragoman.engine.recollection import Recollection
from dragoman.engine.registry import Registry
from dragoman.engine.residency import Residency
from dragoman.engine.warmup import warm_up
from dragoman.engine.watching import Watcher
from dragoman.errors import ConfigError
from dragoman.scheduling.scheduler import Clock, Reply, Ticket
from dragoman.stats import Stats
from dragoman.types import InferRequest
from dragoman.workers.pool import Pool

log = logging.getLogger("dragoman.engine")

#: Whose requests are those of models.
DIALECT: Final = "model"


class State(Enum):
    NEW = "NEW"
    LOADING = "LOADING"
    READY = "READY"
    DRAINING = "DRAINING"
    UNLOADED = "UNLOADED"
    FAILED = "FAILED"


def _nothing() -> None:
    """Where nobody has to be told."""


@dataclass(frozen=True, slots=True)
class Plan:
    """A version to load: ``start`` makes its instances. ``platform`` names the runtime for metadata.

    Plans with an equal ``source`` load the same thing; ``None`` is equal to nothing. ``gone`` is called once when
    nothing made by ``start`` runs any more, or could be made.
    """

    name: str
    version: str
    platform: str
    settings: ModelSettings
    start: Callable[[], Awaitable[Pool]]
    source: Any = None
    gone: Callable[[], None] = _nothing


@dataclass(slots=True)
class Record:
    """What is known of a version, loaded or not. ``reason`` says why its newest load failed, and ``step`` what is
    being done to it now; both are for people and empty where there is nothing to say. ``awaited`` says that the
    server was to have it when it started: it is not ready without."""

    name: str
    version: str
    state: State = State.NEW
    reason: str = ""
    step: str = ""
    awaited: bool = False


#: What must be done between a load and the moment that requests find it; whatever it raises undoes the load.
Confirm = Callable[[], Awaitable[None]]
#: Makes who watches a version, given the ``source`` of its plan.
Watch = Callable[[Model, Any], Awaitable[Watcher | None]]


@dataclass(slots=True)
class _Loading:
    plan: Plan
    task: "asyncio.Task[Record]"
    given_up: bool = False
    loaded: bool = False


class Lifecycle:
    """Moves versions through their states. Everything happens on the event loop's thread."""

    def __init__(
        self,
        registry: Registry,
        stats: Stats,
        clock: Clock,
        residency: Residency,
        recollection: Recollection | None = None,
    ) -> None:
        self.records: dict[tuple[str, str], Record] = {}
        self._registry = registry
        self._stats = stats
        self._clock = clock
        self._residency = residency
        self._recollection = recollection
        #: Makes who watches a version's requests, where somebody does.
        self.watch: Watch | None = None
        self._loading: dict[tuple[str, str], _Loading] = {}
        self._leaving: set[asyncio.Event] = set()
        self._gone: dict[Model, Callable[[], None]] = {}

    async def load_all(self, plans: Sequence[Plan]) -> None:
        """Load these side by side. Failures become records, never exceptions."""
        await asyncio.gather(*(self.load(plan) for plan in plans))

    async def load(self, plan: Plan, confirm: Confirm | None = None) -> Record:
        """Load one version and publish it; a version of the same number is drained when the new one answers.

        Who asks for what is being loaded already waits for that; another plan for the same version waits its turn.
        The load goes on when who asked for it does not wait any more. Raises what ``confirm`` raises, and then
        nothing was published.
        """
        key = plan.name, plan.version
        while (current := self._loading.get(key)) is not None:
            same = plan.source is not None and plan.source == current.plan.source
            record = await asyncio.shield(current.task)
            if same:
                plan.gone()
                return record
        task = asyncio.create_task(self._load(plan, confirm))
        self._loading[key] = _Loading(plan, task)
        task.add_done_callback(lambda _: self._loading.pop(key))
        return await asyncio.shield(task)

    async def give_up(self, name: str, version: str) -> bool:
        """End a load of this version; whoever waits for it is told that it failed. False if there is none, or if it
        is over but for its confirmation. What served before still does.
        """
        loading = self._loading.get((name, version))
        if loading is None or loading.loaded:
            return False
        loading.given_up = True
        loading.task.cancel()
        await asyncio.wait([loading.task])
        return True

    async def settled(self, name: str, version: str) -> None:
        """Returns when no load of this version goes on."""
        while (loading := self._loading.get((name, version))) is not None:
            await asyncio.wait([loading.task])

    async def cancel_loads(self) -> None:
        """Give up whatever is being loaded."""
        tasks = [loading.task for loading in self._loading.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _load(self, plan: Plan, confirm: Confirm | None) -> Record:
        record = self.records.setdefault((plan.name, plan.version), Record(plan.name, plan.version))
        self._registry.know(plan.name)
        serving = record.state is State.READY
        if not serving:
            record.state = State.LOADING
        record.reason, record.step = "", "loading"
        start = time.perf_counter()
        try:
            model = await self._start(plan, record)
        except asyncio.CancelledError:
            if not self._loading[plan.name, plan.version].given_up:
                raise
            self._failed(record, ConfigError("the load was given up"), serving=serving)
            return record
        except Exception as error:
            self._failed(record, error, serving=serving)
            return record
        finally:
            record.step = ""
        if confirm is not None:
            self._loading[plan.name, plan.version].loaded = True
            await self._confirm(confirm, model, record, serving=serving)
        before = self._registry.publish(model)
        record.state = State.READY
        seconds = round(time.perf_counter() - start, 3)
        labels = {"model": plan.name, "version": plan.version, "runtime": plan.platform}
        log.info("model ready", extra={**labels, "seconds": seconds})
        if before is not None:
            self._drain(before)
        return record

    async def _start(self, plan: Plan, record: Record) -> Model:
        try:
            pool = await plan.start()
        except BaseException:
            plan.gone()
            raise
        pool.questions.connect(self._ask)
        try:
            stats = self._stats.of(plan.name, plan.version)
            model = Model(plan.name, plan.version, plan.platform, pool, plan.settings, stats, self._clock)
            if plan.settings.warmup:
                record.step = "warming up"
                await warm_up(model, plan.settings.warmup)
        except BaseException:
            pool.close(plan.gone)
            raise
        self._gone[model] = plan.gone
        model.make_room = self._residency.make_room
        if self._recollection is not None:
            model.recall = self._recollection.of(model)
        if self.watch is not None:
            model.watcher = await self.watch(model, plan.source)
        return model

    def _ask(self, request: InferRequest, reply: Reply) -> Ticket | None:
        """One model asks another, which is found as for any client. Raises DragomanError."""
        model = self._registry.find(request.model, request.version, lambda name: None)
        if request.timeout:
            request.deadline = self._clock.time() + request.timeout / 1e6
        if model.takes_documents:
            request.parameters["headers"] = {}
        return model.infer(request, reply, DIALECT)

    async def _confirm(self, confirm: Confirm, model: Model, record: Record, *, serving: bool) -> None:
        try:
            await confirm()
        except BaseException as error:
            self._drain(model)
            self._failed(record, error, serving=serving)
            raise

    def fail(self, name: str, version: str, reason: str) -> None:
        """Record a version that can't even be tried, so that the index tells about it."""
        self._registry.know(name)
        record = self.records.setdefault((name, version), Record(name, version))
        record.state, record.reason = State.FAILED, reason
        log.error("model failed to load", extra={"model": name, "version": version, "reason": reason})

    async def unload(self, name: str, version: str) -> None:
        """Unpublish, answer what was accepted, give everything back."""
        gone = self.retire(name, version)
        if gone is not None:
            await gone.wait()

    def retire(self, name: str, version: str) -> asyncio.Event | None:
        """Unpublish; what was accepted is answered, and then the event is set. ``None`` where nothing is loaded; a
        load that failed is forgiven."""
        model = self._registry.unpublish(name, version)
        record = self.records.get((name, version))
        if record is not None:
            record.reason, record.awaited = "", False
            if record.state is State.FAILED:
                record.state = State.UNLOADED
        if model is None or record is None:
            return None
        record.state = State.DRAINING

        def unloaded() -> None:
            if record.state is State.DRAINING:  # nobody has loaded it again meanwhile
                record.state = State.UNLOADED
            log.info("model unloaded", extra={"model": name, "version": version})

        return self._drain(model, unloaded)

    async def unload_all(self) -> None:
        """Unload every version; returns when all that was loaded before them has gone, too."""
        await self.cancel_loads()
        await asyncio.gather(*(self.unload(model.name, model.version) for model in list(self._registry)))
        await self.drained()

    async def drained(self) -> None:
        """Returns when all that has been unloaded or replaced so far has answered what it had, and has gone."""
        await asyncio.gather(*(event.wait() for event in list(self._leaving)))

    def forget(self, name: str, version: str) -> None:
        """A version that is not loaded has never been."""
        self.records.pop((name, version), None)
        if not any(known == name for known, _ in self.records):
            self._registry.forget(name)

    def _drain(self, model: Model, then: Callable[[], None] = _nothing) -> asyncio.Event:
        gone = asyncio.Event()
        self._leaving.add(gone)

        def done() -> None:
            then()
            self._gone.pop(model)()
            gone.set()
            self._leaving.discard(gone)

        model.drain(done)
        return gone

    def _failed(self, record: Record, error: BaseException, *, serving: bool) -> None:
        if not serving:
            record.state = State.FAILED
        hint = f" ({error.hint})" if isinstance(error, ConfigError) and error.hint else ""
        told = isinstance(error, ConfigError)
        record.reason = f"{error}{hint}" if told else f"{type(error).__name__}: {error}"
        labels = {"model": record.name, "version": record.version, "reason": record.reason}
        log.error(
            "model failed to load",
            extra=labels | ({"serving": "the version loaded before"} if serving else {}),
            exc_info=None if told and error.__cause__ is None else error,
        )
