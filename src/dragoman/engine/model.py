"""One loaded version of one model, as the engine sees it: a signature, a check, a queue. Knows no wire."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from copy import copy
from dataclasses import replace
from functools import partial
from typing import Any, Final

from dragoman.config import ModelSettings
from dragoman.engine.check import Check, compile_check
from dragoman.engine.recall import Recall
from dragoman.engine.scaling import Load, Range
from dragoman.engine.shadow import Mirror
from dragoman.engine.watching import Watcher
from dragoman.errors import ConfigError, DragomanError, NoInstance
from dragoman.scheduling.policy import DynamicBatching, Immediate, Policy
from dragoman.scheduling.scheduler import Asleep, Clock, Reply, Scheduler, Ticket
from dragoman.scheduling.sequence import Limits, SequenceScheduler
from dragoman.stats import ModelStats
from dragoman.tracing.passage import current
from dragoman.types import InferRequest, Signature
from dragoman.workers.crash import CrashReport
from dragoman.workers.pool import Pool
from dragoman.workers.report import InstanceReport

log = logging.getLogger("dragoman.engine")

#: Rows joined into one execution when a batched model's operator has not said how many.
DEFAULT_MAX_BATCH = 64


#: What a model says that wants to see for itself.
NOTHING_SAID: Final = Signature((), ())


class Model:
    """A version that can answer. Made by the lifecycle once every instance has loaded."""

    def __init__(
        self,
        name: str,
        version: str,
        platform: str,
        pool: Pool,
        settings: ModelSettings,
        stats: ModelStats,
        clock: Clock,
    ) -> None:
        self.name = name
        self.version = version
        self.platform = platform
        self.settings = settings
        self.stats = stats
        self.signature = pool.signature if pool.takes_requests else _signature(pool.signature, settings)
        #: It is given what the client sent: see ``Runtime.takes_documents``.
        self.takes_documents = pool.takes_documents
        #: It answers as often as it likes, or not at all.
        self.decoupled = pool.decoupled
        self._pool = pool
        pool.metrics.connect(stats.metrics.take)
        self._clock = clock
        #: Called before a model that sleeps is loaded.
        self.make_room: Callable[[Model], Awaitable[None]] = _no_room_needed
        #: Gets a copy of every request, where the operator compares two versions.
        self.mirror: Mirror | None = None
        #: What is kept of its answers, where something is.
        self.recall: Recall | None = None
        #: Sees every request and its answer, where somebody wants to know.
        self.watcher: Watcher | None = None
        self._labels = {"model": name, "version": version}
        self._scaling = asyncio.Lock()
        self._waking: asyncio.Task[None] | None = None
        self._check = compile_check(name, NOTHING_SAID if pool.takes_documents else self.signature)
        self._face_checks: dict[str, Check] = {}
        self._scheduler = _scheduler(self.signature, settings, pool, stats, clock, self._asleep)
        if pool.exits is not None:
            pool.exits.count_in(stats.exits)

    def infer(
        self, request: InferRequest, reply: Reply, dialect: str, *, check: bool = True
    ) -> Ticket | None:
        """Check and queue a request; ``None`` if it has been answered already.

        Raises what makes it impossible; all else goes through ``reply``, once. Without ``check`` the request is in
        the model's own words, which only the model can check.
        """
        if (passage := current.get()) is not None:
            passage.enter(request, self.name, self.version, dialect)
        note = None if self.watcher is None else self.watcher.watch(request, dialect)
        if note is not None:
            reply = note.listen(reply)
        try:
            if check:
                self._check(request)
            timeout = self.settings.timeout
            if timeout:
                deadline = self._clock.time() + timeout
                request.deadline = deadline if request.deadline is None else min(deadline, request.deadline)
            if self.mirror is not None:
                reply = self.mirror.watch(request, reply, check=check)
            if self.recall is not None and check and not request.fresh:
                return self.recall.ask(request, reply, dialect, self._scheduler.submit)
            return self._scheduler.submit(request, reply, dialect)
        except DragomanError as error:
            self.stats.answers[dialect, error.code.value] += 1
            if note is not None:
                note.take(error)
            raise

    def face(self, name: str) -> "Model | None":
        """The same model, asked something else: under a name and with a signature of its own."""
        signature = self._pool.faces.get(name)
        if signature is None:
            return None
        face = copy(self)
        face.name = f"{self.name}.{name}"
        face.signature = signature
        if name not in self._face_checks:
            self._face_checks[name] = compile_check(face.name, signature)
        face._check = self._face_checks[name]
        return face

    @property
    def faces(self) -> Mapping[str, Signature]:
        """What else it can be asked, by name."""
        return self._pool.faces

    @property
    def description(self) -> Mapping[str, Any] | None:
        """What it says of itself to a protocol of its own."""
        return self._pool.description

    def finish_sequence(self, name: str) -> None:
        """The client says that no more requests of this sequence come."""
        if isinstance(self._scheduler, SequenceScheduler):
            self._scheduler.finish(name)

    @property
    def ready(self) -> bool:
        """One of its instances can answer, or is answering, or it sleeps, and a request would wake it."""
        instances = self._pool.instances
        return any(instance.alive for instance in instances) or (
            self.sleeps and not instances and not self.broken
        )

    @property
    def broken(self) -> bool:
        """Its workers die again and again: it refuses requests until one of them has answered."""
        return self._scheduler.broken

    @property
    def crashes(self) -> Sequence[CrashReport]:
        """The newest deaths of its workers, oldest first."""
        return tuple(self._pool.exits.reports) if self._pool.exits is not None else ()

    @property
    def range(self) -> Range:
        """Between how many instances the load may choose."""
        said = self.settings
        most = max(said.instances, said.max_instances, 1 if self.sleeps else 0)
        return Range(said.instances, most, said.target_delay, said.idle_timeout)

    @property
    def sleeps(self) -> bool:
        """Whether it may have no instance while nobody asks for it."""
        return self._pool.elastic and not self.settings.instances and self.settings.wake_timeout > 0

    @property
    def scales(self) -> bool:
        """Whether its number of instances follows the load."""
        return self._pool.elastic and (self.sleeps or self.settings.max_instances > self.settings.instances)

    @property
    def instances(self) -> int:
        """Loaded copies that are given work."""
        return len(self._scheduler.instances)

    @property
    def reports(self) -> Sequence[InstanceReport]:
        """What its instances tell of themselves, for those who look after models."""
        return self._pool.reports

    @property
    def memory(self) -> int:
        """Bytes that its processes have for themselves; 0 for what runs in the server's own."""
        return self._pool.memory

    @property
    def load(self) -> Load:
        """What it has to do now, and has had to do so far."""
        stats, waited = self.stats, self._clock.time() - self._scheduler.oldest
        return Load(self.instances, stats.waiting, stats.running, max(0.0, waited), stats.execute.total)

    async def scale(self, instances: int) -> None:
        """Have so many instances: returns when the new ones serve, or the old ones have answered and ended.

        Raises what the first failing load raised; those that could be loaded stay.
        """
        async with self._scaling:
            missing = instances - self.instances
            if missing > 0:
                await self._grow(missing)
            for _ in range(-missing):
                free = asyncio.Event()
                instance = self._scheduler.release(free.set)
                await free.wait()
                await self._pool.remove(instance)

    async def _grow(self, missing: int) -> None:
        started = await asyncio.gather(*(self._pool.add() for _ in range(missing)), return_exceptions=True)
        failures = [each for each in started if isinstance(each, BaseException)]
        for instance in started:
            if not isinstance(instance, BaseException):
                self._scheduler.add(instance)
        if failures:
            raise failures[0]

    def _asleep(self, request: InferRequest) -> None:
        """A request has come and there is no instance: it waits for the first one, but not for ever."""
        limit = self.settings.wake_timeout
        if not limit:
            raise NoInstance(f"model {self.name!r} has no instance")
        deadline = self._clock.time() + limit
        request.deadline = deadline if request.deadline is None else min(deadline, request.deadline)
        if self._waking is None:
            self._waking = asyncio.get_running_loop().create_task(self._wake())

    async def _wake(self) -> None:
        try:
            await self.make_room(self)
            if not self.instances:
                await self.scale(1)
        except Exception as error:
            log.error(
                "a model could not be woken", extra={**self._labels, "reason": str(error)}, exc_info=error
            )
            self._scheduler.refuse("it could not be loaded again")
        finally:
            self._waking = None

    def drain(self, when_done: Callable[[], None]) -> None:
        """Take nothing more; when everything accepted is answered, close the instances and call ``when_done``."""
        close = partial(self._scheduler.close, partial(self._pool.close, when_done))
        if self.recall is None:
            close()
        else:
            self.recall.close(close)


async def _no_room_needed(model: Model) -> None:
    """Where memory has no budget."""


def _signature(signature: Signature, settings: ModelSettings) -> Signature:
    """What the model says, limited by its operator, who may also say that its rows are independent."""
    if not settings.max_batch:
        return signature
    if not signature.batched:
        fixed = [spec.name for spec in (*signature.inputs, *signature.outputs) if spec.shape[:1] != (-1,)]
        if fixed or not signature.inputs:
            raise ConfigError(
                f"max_batch = {settings.max_batch} needs tensors whose first dimension counts rows,"
                f" but {', '.join(map(repr, fixed)) or 'the model'} has none of variable size",
                hint="remove max_batch, or export the model with a dynamic first dimension",
            )
    return replace(signature, batched=True, max_batch=settings.max_batch)


def _scheduler(
    signature: Signature,
    settings: ModelSettings,
    pool: Pool,
    stats: ModelStats,
    clock: Clock,
    asleep: Asleep,
) -> Scheduler:
    if settings.sequences:
        places = settings.max_batch or 1 if pool.takes_requests else 1
        limits = Limits(
            places,
            settings.sequences,
            settings.sequence_queue,
            settings.sequence_idle,
            settings.sequence_timeout,
        )
        return SequenceScheduler(
            pool.instances,
            limits,
            stats,
            clock,
            settings.queue_size,
            asleep,
            singly=pool.continuous,
        )
    return Scheduler(
        pool.instances,
        Immediate() if pool.continuous else _policy(signature, settings, pool),
        stats,
        clock,
        queue_size=settings.queue_size,
        batched=signature.batched and (pool.takes_rows or not pool.takes_requests),
        alike=pool.takes_rows or not pool.takes_requests,
        now=pool.now,
        asleep=asleep,
    )


def _policy(signature: Signature, settings: ModelSettings, pool: Pool) -> Policy:
    if pool.takes_rows:
        max_batch = pool.most_requests  # its own configuration says so
    elif pool.takes_requests:
        max_batch = settings.max_batch or pool.most_requests
    elif signature.batched:
        max_batch = signature.max_batch or DEFAULT_MAX_BATCH
    else:
        max_batch = 1
    if max_batch == 1:
        return Immediate()
    return DynamicBatching(max_batch, settings.max_delay, settings.preferred_batch)
