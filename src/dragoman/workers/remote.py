"""An instance that runs on another machine, or at least in somebody else's process: a replica, behind a ``Line``.

Knows when to hand it batches and what its death means, and not what cluster it lives in.

::

    UP ──batches, up to ``most``──► BUSY ──► UP
     ▲                               │        a death fails what was handed over, at once, and is reported
     └─ it answers again ◄─ probe ◄──┘ death  the cluster starts another one meanwhile, and others get the work

A batch is given up, there too, when nobody waits for any of its answers any more.
"""

import asyncio
import logging
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Protocol

from dragoman.errors import Cancelled, DragomanError, Internal, WorkerDied
from dragoman.scheduling.scheduler import Done, Emit, Keeper, Outcome
from dragoman.types import InferRequest
from dragoman.workers.crash import Cause, CrashReport, Exits, Reason
from dragoman.workers.replica import Answer
from dragoman.workers.report import InstanceReport
from dragoman.workers.reporting import Outlet

log = logging.getLogger("dragoman.workers")

#: Seconds between two tries to reach a replica that has died.
PAUSE: Final = 0.5


class ReplicaDied(Exception):
    """The replica has gone with everything that it was given; ``words`` say why, as far as anybody knows."""

    def __init__(self, words: str) -> None:
        super().__init__(words)
        self.words = words


class Line(Protocol):
    """The way to one replica, which is replaced when it dies."""

    async def ask(self, requests: Sequence[InferRequest], emit: Emit) -> Answer:
        """Have a batch answered. Raises ReplicaDied, and DragomanError for what the cluster refuses."""

    async def probe(self) -> None:
        """Returns when the replica, or the one that has taken its place, answers. Raises what ``ask`` raises."""

    async def close(self) -> None:
        """Let the replica go. Returns when it has."""


class RemoteInstance:
    """One replica, seen by the scheduler as any other instance. ``most`` batches may be on their way to it."""

    memory = 0

    def __init__(
        self,
        line: Line,
        labels: Mapping[str, Any],
        number: int,
        most: int,
        exits: Exits,
        metrics: Outlet,
    ) -> None:
        """``labels`` are the model's name and version, under ``model`` and ``version``."""
        self._line = line
        self._labels = labels
        self._number = number
        self._most = most
        self._exits = exits
        self._metrics = metrics
        self._keeper: Keeper | None = None
        self._batches: list[_Batch] = []
        self._probing: asyncio.Task[None] | None = None
        self._started = time.time()
        self._life = 0  # counts the replicas that have been this instance
        self.alive = True

    # The scheduler calls these.

    def watch(self, keeper: Keeper) -> None:
        self._keeper = keeper
        if self.up:
            keeper.returned(self)

    @property
    def up(self) -> bool:
        return self.alive and not self._batches

    @property
    def spare(self) -> bool:
        return self.alive and len(self._batches) < self._most

    @property
    def busy(self) -> bool:
        return bool(self._batches)

    @property
    def report(self) -> InstanceReport:
        return InstanceReport(self._number, self._started, ready=self.alive)

    def run(self, requests: Sequence[InferRequest], done: Done, emit: Emit) -> None:
        batch = _Batch(requests, done, emit, self._life)
        self._batches.append(batch)
        batch.task = asyncio.get_running_loop().create_task(self._run(batch))

    def unwanted(self, request: InferRequest) -> None:
        for batch in self._batches:
            if any(each is request for each in batch.wanted):
                batch.wanted = [each for each in batch.wanted if each is not request]
                if not batch.wanted and batch.task is not None:
                    batch.task.cancel()

    def close(self, when_ended: Callable[[], None]) -> None:
        """Let the replica go, and tell when it has. Nothing is running."""
        if self._probing is not None:
            self._probing.cancel()
        closing = asyncio.get_running_loop().create_task(self._close())
        closing.add_done_callback(lambda _: when_ended())

    # Inside.

    async def _close(self) -> None:
        try:
            await self._line.close()
        except Exception:
            log.exception("a replica could not be let go", extra=dict(self._labels))

    async def _run(self, batch: "_Batch") -> None:
        outcomes, seconds = await self._ask(batch)
        self._batches.remove(batch)
        batch.done(outcomes, seconds)

    async def _ask(self, batch: "_Batch") -> tuple[Sequence[Outcome], float]:
        """The outcomes of a batch, whatever becomes of it."""
        failure: DragomanError
        start = time.perf_counter()
        try:
            answer = await self._line.ask(batch.requests, batch.emit)
            self._take(answer)
            return _counted(answer.outcomes, batch.requests), answer.seconds
        except asyncio.CancelledError:
            failure = Cancelled("nobody waits for this answer any more")
        except ReplicaDied as death:
            failure = self._died(death, batch.life)
        except DragomanError as refusal:
            failure = refusal
        except Exception:
            number = secrets.token_hex(4)
            log.exception("a replica could not be asked", extra={**self._labels, "id": number})
            failure = Internal(f"the replica could not be asked; the server's log has it under id {number}")
        return [failure] * len(batch.requests), time.perf_counter() - start

    def _take(self, answer: Answer) -> None:
        """What has come beside the outcomes."""
        if answer.metrics:
            self._metrics.put(answer.metrics)
        for record in answer.records:
            told = {"id": record.id} if record.id else {}
            log.log(record.level, "%s", record.text, extra={**self._labels, **told})

    def _died(self, death: ReplicaDied, life: int) -> WorkerDied:
        """Count a death once, whichever of its batches tells of it first."""
        if life == self._life:
            self._life += 1
            self.alive = False
            self._report(death)
            if self._keeper is not None:
                self._keeper.withdrawn(self)
            self._probing = asyncio.get_running_loop().create_task(self._wait_for_another())
        name, report = self._labels["model"], self._exits.reports[-1].id
        return WorkerDied(f"a replica of model {name!r} died: {death.words} (crash report {report})")

    def _report(self, death: ReplicaDied) -> None:
        requests = [request for batch in self._batches for request in batch.requests]
        ids = [request.id for request in requests if request.id]
        cause = Cause(Reason.REPLICA, death.words)
        model, version = self._labels["model"], self._labels["version"]
        report = CrashReport(model, version, self._number, cause, requests=ids)
        self._exits.reports.append(report)
        self._exits.count(cause.reason)
        told = {
            "id": report.id,
            "reason": cause.reason.value,
            "cause": cause.words,
            "requests": len(requests),
        }
        log.error("a replica died", extra={**self._labels, "instance": self._number, **told})

    async def _wait_for_another(self) -> None:
        while not self.alive:
            try:
                await self._line.probe()
            except Exception as error:
                log.info("a replica is not back yet", extra={**self._labels, "reason": str(error)})
                await asyncio.sleep(PAUSE)
            else:
                self.alive, self._started = True, time.time()
        self._probing = None
        log.info("a replica is back", extra={**self._labels, "instance": self._number})
        if self._keeper is not None:
            self._keeper.returned(self)


class _Batch:
    """What the replica was handed, and for whom."""

    __slots__ = ("done", "emit", "life", "requests", "task", "wanted")

    def __init__(self, requests: Sequence[InferRequest], done: Done, emit: Emit, life: int) -> None:
        self.requests = requests
        self.wanted = list(requests)
        self.done = done
        self.emit = emit
        self.life = life
        self.task: asyncio.Task[None] | None = None


def _counted(outcomes: Sequence[Outcome], requests: Sequence[InferRequest]) -> Sequence[Outcome]:
    if len(outcomes) != len(requests):
        raise ValueError(f"{len(outcomes)} outcomes of {len(requests)} requests")
    return outcomes
