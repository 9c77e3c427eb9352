"""One loaded version of one model, as the engine sees it: a signature, a check, a queue. Knows no wire."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

from dragoman.config import ModelSettings
from dragoman.engine.check import compile_check
from dragoman.errors import ConfigError, DragomanError
from dragoman.scheduling.policy import DynamicBatching, Immediate, Policy
from dragoman.scheduling.scheduler import Clock, Entry, Reply, Scheduler
from dragoman.scheduling.sequence import Limits, SequenceScheduler
from dragoman.stats import ModelStats
from dragoman.types import InferRequest, Signature
from dragoman.workers.crash import CrashReport
from dragoman.workers.pool import Pool

#: Rows joined into one execution when a batched model's operator has not said how many.
DEFAULT_MAX_BATCH = 64


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
        self._pool = pool
        self._clock = clock
        self._check = compile_check(name, self.signature)
        self._scheduler = _scheduler(self.signature, settings, pool, stats, clock)

    def infer(self, request: InferRequest, reply: Reply, dialect: str) -> Entry | None:
        """Check and queue a request; ``None`` if it has been answered already.

        Raises what makes it impossible; all else goes through ``reply``, once.
        """
        try:
            self._check(request)
            timeout = self.settings.timeout
            if timeout:
                deadline = self._clock.time() + timeout
                request.deadline = deadline if request.deadline is None else min(deadline, request.deadline)
            return self._scheduler.submit(request, reply, dialect)
        except DragomanError as error:
            self.stats.answers[dialect, error.code.value] += 1
            raise

    def finish_sequence(self, name: str) -> None:
        """The client says that no more requests of this sequence come."""
        if isinstance(self._scheduler, SequenceScheduler):
            self._scheduler.finish(name)

    @property
    def broken(self) -> bool:
        """Its workers die again and again: it refuses requests until one of them has answered."""
        return self._scheduler.broken

    @property
    def crashes(self) -> Sequence[CrashReport]:
        """The newest deaths of its workers, oldest first."""
        return tuple(self._pool.crashes)

    def drain(self, when_done: Callable[[], None]) -> None:
        """Take nothing more; when everything accepted is answered, close the instances and call ``when_done``."""

        self._scheduler.close(partial(self._pool.close, when_done))


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
    signature: Signature, settings: ModelSettings, pool: Pool, stats: ModelStats, clock: Clock
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
        return SequenceScheduler(pool.instances, limits, stats, clock, settings.queue_size)
    return Scheduler(
        pool.instances,
        _policy(signature, settings, pool.takes_requests),
        stats,
        clock,
        queue_size=settings.queue_size,
        batched=signature.batched,
        alike=not pool.takes_requests,
        now=pool.now,
    )


def _policy(signature: Signature, settings: ModelSettings, takes_requests: bool) -> Policy:
    if takes_requests:
        max_batch = settings.max_batch or 1
    elif signature.batched:
        max_batch = signature.max_batch or DEFAULT_MAX_BATCH
    else:
        max_batch = 1
    if max_batch == 1:
        return Immediate()
    return DynamicBatching(max_batch, settings.max_delay, settings.preferred_batch)
