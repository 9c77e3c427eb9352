"""An instance in a process of its own: kept alive, replaced when it is worn out, and honest about why it died.

    LOADING ──► UP ──batch──► BUSY ──► UP                 a death fails its batch at once, and is reported
       ▲         │               │
       └─ back-off ◄─── death ───┘      too many deaths ──► BROKEN ──back-off──► LOADING (a try) ──first answer──► UP

A worn-out process is replaced between batches, by one that has loaded already: nobody waits for it.

A model that answers in microseconds is handed batches ahead, so that it need not be woken for each. Only the first of
them runs: the others have not begun when the process dies, and wait again. A model that answers several side by side
gets them as they come, and so does one whose requests join a running batch: of that one, and of one that talks, every
part is a sign of life.
"""

import asyncio
import logging
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from dragoman.errors import ConfigError, DeadlineExceeded, DragomanError, Internal, WorkerDied
from dragoman.model_metrics import Value
from dragoman.scheduling.scheduler import Done, Emit, Keeper, Outcome
from dragoman.types import InferRequest
from dragoman.workers import oom
from dragoman.workers.crash import Cause, CrashReport, Exits, Reason
from dragoman.workers.introduction import Introduction, read_introduction
from dragoman.workers.messages import Outcomes, Part
from dragoman.workers.questions import Conversation, Questions
from dragoman.workers.report import InstanceReport
from dragoman.workers.reporting import Outlet
from dragoman.workers.restarts import DEATHS, WINDOW, Restarts
from dragoman.workers.shared import Damaged
from dragoman.workers.talk import Ready, Word, encode_abandoned
from dragoman.workers.worker import Worker

log = logging.getLogger("dragoman.workers")

#: Seconds of work, and batches, that a process may have ahead.
AHEAD: Final = 0.001
MOST_AHEAD: Final = 16
#: Batches that a process may work on side by side, if its model can.
SIDE_BY_SIDE: Final = 128
#: Seconds between two looks for answers that were not announced; a batch that takes longer gets no company.
_LOOK: Final = 0.005


@dataclass(frozen=True, slots=True)
class ProcessPlan:
    """What every process of a model is told, and how it is treated. Sizes are in bytes, durations in seconds."""

    model: str
    version: str
    order: Mapping[str, Any]
    environment: Mapping[str, str] | None = None
    response_timeout: float = 0.0
    load_timeout: float = 0.0
    ahead: bool = False  #: whether batches may be handed over before the one that runs is answered
    batch_size: int = 1  #: requests that a model works on at once if others may join them between two steps
    exits: Exits = field(default_factory=Exits)
    kills: Path | None = field(default_factory=oom.find_counter)  #: where the kernel counts those for memory
    metrics: Outlet = field(default_factory=Outlet)
    questions: Questions = field(default_factory=Questions)


class ProcessInstance:
    """One instance of a model. ``loaded`` is done when the first process can answer, or says why not."""

    def __init__(self, plan: ProcessPlan, number: int, loop: asyncio.AbstractEventLoop) -> None:
        self.loaded: asyncio.Future[Introduction] = loop.create_future()
        self._plan = plan
        self._number = number
        self._loop = loop
        self._keeper: Keeper | None = None
        self._current: _Process | None = None
        self._next: _Process | None = None  # being loaded, to take the current one's place
        self._batches: dict[int, _Batch] = {}  # handed over, oldest first: that one runs, or all do
        self.continuous = False  # what it works on side by side are steps of all of it
        self._concurrent = False
        self._talks = False
        self._count = 0
        self._pace = AHEAD  # seconds a batch takes, on average
        self._began = 0.0  # when the oldest batch became that
        self._limit: asyncio.TimerHandle | None = None
        self._look: asyncio.TimerHandle | None = None
        self._restarts = Restarts()
        self._why_broken = ""
        self._when_ended: Callable[[], None] | None = None  # set when it is closed
        self._processes: set[_Process] = set()  # every one that has not ended, in use or not
        self._timer: asyncio.TimerHandle | None = None
        self._started = time.time()
        self._spawn()

    # The scheduler calls these.

    def watch(self, keeper: Keeper) -> None:
        self._keeper = keeper
        if self._restarts.broken:
            keeper.failing(self, self._why_broken)
        if self.up:
            keeper.returned(self)

    @property
    def alive(self) -> bool:
        return self._current is not None and self._current.willing

    @property
    def up(self) -> bool:
        return self._current is not None and not self._batches

    @property
    def busy(self) -> bool:
        return bool(self._batches)

    @property
    def memory(self) -> int:
        # A copy: it is asked on another thread, while processes come and go.
        return sum(process.worker.memory for process in list(self._processes))

    @property
    def report(self) -> InstanceReport:
        process = self._current or self._next
        if process is None:  # it has died, and another one is to take its place
            return InstanceReport(self._number, self._started, ready=False)
        worker, ready = process.worker, self._current is not None
        return InstanceReport(self._number, process.started, ready, worker.rss, worker.pid)

    @property
    def spare(self) -> bool:
        if self._current is None or (self._next is not None and self._next.ready):
            return False
        if self._concurrent:
            return len(self._batches) < (self._plan.batch_size if self.continuous else SIDE_BY_SIDE)
        most = min(MOST_AHEAD, AHEAD // max(self._pace, 1e-9))
        return self._plan.ahead and len(self._batches) < most

    def run(self, requests: Sequence[InferRequest], done: Done, emit: Emit) -> None:
        current = self._current
        assert current is not None
        self._count += 1
        now = time.perf_counter()
        if not self._batches:
            self._began = now
            if self._plan.response_timeout and self._limit is None:
                self._limit = self._loop.call_later(self._plan.response_timeout, self._check_time)
        elif self._look is None and not self._concurrent:
            self._look = self._loop.call_later(_LOOK, self._look_for_answers, next(iter(self._batches)))
        self._batches[self._count] = _Batch(self._count, requests, done, emit, now)
        try:
            current.worker.send(self._count, requests)
        except Exception as error:  # the process has seen nothing of it
            failure = secrets.token_hex(4)
            log.exception("a request could not be handed over", extra={**self._labels, "id": failure})
            reason = f"the request could not be handed over; the server's log has it under id {failure}"
            refusal = error if isinstance(error, DragomanError) else Internal(reason)
            self._finish(self._count, [refusal] * len(requests), 0.0)

    def unwanted(self, request: InferRequest) -> None:
        """Who talks is told now, who works step by step when it hands out the next part; others answer all the same."""
        if not self._talks or self._current is None:
            return
        for batch in self._batches.values():
            for place, each in enumerate(batch.requests):
                if each is request:
                    self._current.worker.tell(encode_abandoned(batch.number, place))

    def close(self, when_ended: Callable[[], None]) -> None:
        """Let the processes end, and tell when they have. Nothing is running."""
        self._when_ended = when_ended
        for timer in (self._timer, self._limit, self._look):
            if timer is not None:
                timer.cancel()
        self._current = self._next = None
        for process in tuple(self._processes):
            if process.ready:
                process.worker.stop()
            else:
                process.worker.end(Cause(Reason.RECYCLED, "it is not needed any more"))
        if not self._processes:
            when_ended()

    # Processes call these.

    def process_loaded(self, process: "_Process", hello: dict[str, Any]) -> None:
        said = read_introduction(hello)
        self.continuous, self._talks = said.continuous, said.talks
        self._concurrent = said.concurrent or said.continuous
        if self._when_ended is not None or self.loaded.cancelled():
            process.worker.stop()
            return
        if not self.loaded.done():
            self.loaded.set_result(said)
        elif not self.loaded.result().agrees(said):
            words = "the model's signature has changed since it was loaded first"
            process.worker.end(Cause(Reason.LOAD_FAILED, words))
            return
        if not self._batches:
            if self._current is not None and self._keeper is not None:
                self._keeper.withdrawn(self)  # what the old one remembers goes with it
            self._take_over(process)
            if self._keeper is not None:
                self._keeper.returned(self)
        elif self._keeper is not None:
            self._keeper.withdrawn(self)  # it takes over when the last batch is answered

    def process_answered(self, process: "_Process", answer: Outcomes | Part) -> None:
        if process is not self._current:
            return  # of a batch that has been given up
        batch = self._batches.get(answer.number)
        if batch is None or (not self._concurrent and answer.number != next(iter(self._batches))):
            raise Damaged(f"an answer to batch {answer.number} out of turn")
        if isinstance(answer, Part):
            wanted = answer.place < len(batch.requests) and batch.emit(answer.place, answer.response)
            if self._talks:
                self._began = time.perf_counter()
            if self.continuous:
                self._stepped(process, batch, wanted)
            return
        if len(answer.outcomes) != len(batch.requests):
            raise Damaged(f"{len(answer.outcomes)} outcomes of {len(batch.requests)} requests")
        if self._restarts.troubled:
            self._recovered(process)
        if answer.rotten and self._next is None and self._timer is None:
            log.info("replacing a worker", extra={**self._labels, "why": answer.rotten})
            self._spawn()
        seconds = min(answer.seconds, time.perf_counter() - batch.started)
        self._pace += (seconds - self._pace) / 8
        self._finish(batch.number, answer.outcomes, seconds)

    def _stepped(self, process: "_Process", batch: "_Batch", wanted: bool) -> None:
        """It gets on; whose client has gone is taken out of it, and is answered for the form's sake."""
        self._began = time.perf_counter()
        if not wanted and not batch.given_up:
            batch.given_up = True
            process.worker.send(batch.number, [])

    def process_measured(self, values: Sequence[Value]) -> None:
        self._plan.metrics.put(values)

    def process_ended(self, process: "_Process", cause: Cause, failure: dict[str, str] | None) -> None:
        self._processes.discard(process)
        if self._when_ended is not None:
            if not self._processes:
                self._when_ended()
            return
        was_current = process is self._current
        if was_current:
            self._current = None
        elif process is self._next:
            self._next = None
        else:
            return  # it had been replaced
        if failure is not None and not self.loaded.done():
            error = ConfigError(failure["reason"], hint=failure["hint"])
            if failure["traceback"]:
                error.__cause__ = RuntimeError("in the worker\n" + failure["traceback"])
            self.loaded.set_exception(error)
            return
        if not self.loaded.done():
            tail = "; ".join(process.worker.tail[-3:])
            self.loaded.set_exception(
                ConfigError(f"{cause.words} while it loaded{f': {tail}' if tail else ''}")
            )
            return
        if self.loaded.cancelled():
            return  # nobody waits for it any more
        if failure is not None:
            cause = Cause(cause.reason, f"it could not be loaded again: {cause.words}")
        self._died(process, cause, was_current=was_current)

    # Inside.

    @property
    def _labels(self) -> dict[str, Any]:
        return {"model": self._plan.model, "version": self._plan.version, "instance": self._number}

    def _spawn(self) -> None:
        """Start a process that is to be the next one; it reports when it is ready, or that it has ended."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        label = f"{self._plan.model}#{self._number}"
        try:
            self._next = _Process(self, self._plan, self._loop, label)
        except OSError as error:
            reason = f"no process could be started: {error.strerror}"
            if not self.loaded.done():
                self.loaded.set_exception(ConfigError(reason))
                return
            log.error("no worker could be started", extra={**self._labels, "reason": error.strerror})
            self._count_death(reason)
            self._spawn_later()
            return
        self._processes.add(self._next)

    def _take_over(self, process: "_Process") -> None:
        """Let the next process be the current one."""
        old, self._current, self._next = self._current, process, None
        if old is not None:
            self._plan.exits.count(Reason.RECYCLED)
            old.worker.stop()

    def _finish(self, number: int, outcomes: Sequence[Outcome], seconds: float) -> None:
        batch = self._batches.pop(number)
        if not self._concurrent or self.continuous:
            self._began = time.perf_counter()
        elif self._batches:
            self._began = next(iter(self._batches.values())).started
        if not self._batches and self._next is not None and self._next.ready:
            self._take_over(self._next)
        batch.done(outcomes, seconds)

    def _check_time(self) -> None:
        """No answer in time: the process is given up, and another takes its place."""
        self._limit = None
        process, limit = self._current, self._plan.response_timeout
        if process is None or not self._batches:
            return
        left = self._began + limit - time.perf_counter()
        if left > 0:
            self._limit = self._loop.call_later(left, self._check_time)
            return
        cause = Cause(Reason.TIMEOUT, f"no answer within {limit:g} s")
        process.worker.end(cause)
        self._current = None
        self._report(process, cause, self._running)
        self._spawn_later()
        self._lose(DeadlineExceeded(f"model {self._plan.model!r} did not answer within {limit:g} s"))
        self._count_death(cause.words)

    def _look_for_answers(self, oldest: int) -> None:
        """Answers may wait for one that takes long: they are taken, and nothing more goes to that process."""
        self._look = None
        if self._current is not None:
            self._current.worker.collect()
        if len(self._batches) < 2:
            return
        number = next(iter(self._batches))
        if number == oldest and self._keeper is not None:
            self._keeper.withdrawn(self)
        self._look = self._loop.call_later(_LOOK, self._look_for_answers, number)

    @property
    def _running(self) -> Sequence[InferRequest]:
        """What the process is working on."""
        running = list(self._batches.values())[: None if self._concurrent else 1]
        return [request for batch in running for request in batch.requests]

    def _lose(self, error: DragomanError) -> None:
        """The process is gone: the batches that ran fail, and those that had not begun wait again."""
        if self._keeper is not None:
            self._keeper.withdrawn(self)
        running = list(self._batches)
        while len(running) > 1 and not self._concurrent:
            self._batches.pop(running.pop()).done(None, 0.0)
        seconds = time.perf_counter() - self._began
        for number in running:
            self._finish(number, [error] * len(self._batches[number].requests), seconds)

    def _report(self, process: "_Process", cause: Cause, taken: Sequence[InferRequest]) -> CrashReport:
        requests = [request.id for request in taken if request.id]
        report = CrashReport(
            self._plan.model,
            self._plan.version,
            self._number,
            cause,
            process.worker.tail,
            requests,
            process.rss,
        )
        self._plan.exits.reports.append(report)
        self._plan.exits.count(cause.reason)
        told = {"id": report.id, "reason": cause.reason.value, "cause": cause.words, "requests": len(taken)}
        log.error("a worker died", extra={**self._labels, **told})
        return report

    def _died(self, process: "_Process", cause: Cause, *, was_current: bool) -> None:
        """A process that nobody had given up has ended; only the current one takes its batch with it."""
        report = self._report(process, cause, self._running if was_current else ())
        if was_current and self._keeper is not None:
            self._keeper.withdrawn(self)
        self._spawn_later()
        if was_current and self._batches:
            told = f"({cause.reason}): {cause.words} (crash report {report.id})"
            self._lose(WorkerDied(f"the worker of model {self._plan.model!r} died {told}"))
        self._count_death(cause.words)

    def _count_death(self, cause: str) -> None:
        now = time.monotonic()
        if self._current is not None:  # it works on meanwhile
            self._restarts.failed(now)
        elif self._restarts.died(now):
            self._why_broken = f"its worker died {DEATHS} times in {WINDOW:g} s, last: {cause}"
            if self._keeper is not None:
                self._keeper.failing(self, self._why_broken)

    def _spawn_later(self) -> None:
        """Unless another process is on its way already."""
        if self._next is None and self._timer is None:
            self._timer = self._loop.call_later(self._restarts.delay(), self._spawn)

    def _recovered(self, process: "_Process") -> None:
        if self._restarts.answered(process.born) and self._keeper is not None:
            self._keeper.failing(self, "")


class _Batch:
    """What the current process was handed."""

    __slots__ = ("done", "emit", "given_up", "number", "requests", "started")

    def __init__(
        self, number: int, requests: Sequence[InferRequest], done: Done, emit: Emit, started: float
    ) -> None:
        self.number = number
        self.requests = requests
        self.done = done
        self.emit = emit
        self.started = started
        self.given_up = False  # the process has been told


class _Process:
    """A worker, and whether it has loaded."""

    def __init__(
        self, owner: ProcessInstance, plan: ProcessPlan, loop: asyncio.AbstractEventLoop, label: str
    ) -> None:
        self.ready = False
        self._talks = False
        self.willing = True  # until the model says otherwise
        self.born = time.monotonic()
        self.rss = 0
        self._kills: int | None = None
        self._counter = plan.kills
        self.started = time.time()
        self._owner = owner
        self._loop = loop
        self.worker = Worker(plan.order, self, loop, label, plan.environment)
        self._conversation = Conversation(plan.questions, self.worker.tell)
        self._load_timeout = plan.load_timeout
        self._limit = loop.call_later(plan.load_timeout, self._give_up) if plan.load_timeout else None
        self._look()

    def loaded(self, hello: dict[str, Any]) -> None:
        if self.ready:
            raise Damaged("it says twice that it is ready")
        self.ready = True
        self._talks = read_introduction(hello).talks
        self._stop_waiting()
        self.rss = self.worker.rss or self.rss
        self._owner.process_loaded(self, hello)

    def answered(self, answer: Outcomes | Part | Word) -> None:
        if not isinstance(answer, Outcomes | Part):
            if not self._talks:
                raise Damaged("a question of a model that asks none")
            if isinstance(answer, Ready):
                self.willing = answer.ready
                return
            self._conversation.heard(answer)
            return
        self._owner.process_answered(self, answer)

    def measured(self, values: Sequence[Value]) -> None:
        self._owner.process_measured(values)

    def ended(self, cause: Cause, failure: dict[str, str] | None) -> None:
        self._timer.cancel()
        self._stop_waiting()
        self._conversation.close()
        if cause.reason is Reason.SIGKILL and oom.count_kills(self._counter) != self._kills:
            cause = Cause(Reason.OOM, "out of memory: the kernel killed it to get its memory")
        self._owner.process_ended(self, cause, failure)

    def _give_up(self) -> None:
        self.worker.end(Cause(Reason.TIMEOUT, f"no answer within {self._load_timeout:g} s"))

    def _stop_waiting(self) -> None:
        if self._limit is not None:
            self._limit.cancel()

    def _look(self) -> None:
        """Remember how much memory it has, and how often the kernel has killed for it: afterwards nobody can tell."""
        self.rss = self.worker.rss or self.rss
        self._kills = oom.count_kills(self._counter)
        self._timer = self._loop.call_later(1.0, self._look)
