"""The one loop between a queue and the instances of a model: who goes, when, and who is told what.

Everything here runs on the event loop's thread. Time comes from a ``Clock``, so a test can turn it by hand.
Knows no wire and no library.

    entry:   WAITING ──dispatch──► RUNNING ──outcome──► answered
                └──cancel, deadline──► answered (and never executed)     RUNNING ──deadline──► answered, result dropped
"""

import asyncio
import logging
import secrets
import time
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Sequence
from math import inf
from typing import Protocol

from dragoman.errors import (
    Code,
    DeadlineExceeded,
    DragomanError,
    Internal,
    NoInstance,
    NotReady,
    Overloaded,
)
from dragoman.scheduling.batch import key_of, rows_of
from dragoman.scheduling.policy import Dispatch, Immediate, Policy
from dragoman.stats import OK, ModelStats
from dragoman.types import InferRequest, InferResponse

log = logging.getLogger("dragoman.scheduling")

Outcome = InferResponse | DragomanError
#: Writes an outcome. May raise DragomanError for a response that its dialect has no words for, and is then called
#: once more, with that error.
Reply = Callable[[Outcome], None]
#: Takes outcomes in order and the seconds they took; ``None`` for a batch that was not begun and has to wait again.
Done = Callable[[Sequence[Outcome] | None, float], None]
#: Hands out a part of the answer to the request at a place of the batch, before its last one. False: nobody waits for
#: it any more.
Emit = Callable[[int, InferResponse], bool]
#: Executes one request where it is called, for models whose execution takes microseconds.
Now = Callable[[InferRequest], Outcome]

#: Told of a request that finds no instance: sees to it that there will be one, or raises what the client is told.
Asleep = Callable[[InferRequest], None]


class TimerHandle(Protocol):
    def cancel(self) -> None: ...


class Clock(Protocol):
    """Seconds that only grow, and a way to be called at one of them."""

    def time(self) -> float: ...
    def call_at(self, when: float, callback: Callable[[], object]) -> TimerHandle: ...


class LoopClock:
    """The event loop's clock, read at full resolution (uvloop's own ``time`` moves once per turn of its loop)."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self.time = time.monotonic

    def call_at(self, when: float, callback: Callable[[], object]) -> TimerHandle:
        return self._loop.call_later(max(0.0, when - time.monotonic()), callback)


class Keeper(Protocol):
    """Who gives an instance its work, and wants to know when it can't take any."""

    def returned(self, instance: "Instance") -> None:
        """It can take a batch."""

    def withdrawn(self, instance: "Instance") -> None:
        """It can't, until it is returned."""

    def failing(self, instance: "Instance", reason: str) -> None:
        """It has failed too often to wait for it; an empty reason takes that back."""


class Instance(Protocol):
    """One loaded copy of a model. ``run`` answers through ``done`` (outcomes in order, seconds of execution).

    ``up`` says that it can take a batch and has none, ``spare`` that it can take one more than it has, ``busy`` that
    it has one, and ``alive`` that it could take one, if it had nothing to do; ``watch`` tells it whom to tell about
    that, beginning at once. ``unwanted`` tells it that nobody waits any more for the answer to a request that it has;
    it may answer all the same.
    """

    @property
    def up(self) -> bool: ...
    @property
    def spare(self) -> bool: ...
    @property
    def busy(self) -> bool: ...
    @property
    def alive(self) -> bool: ...
    def watch(self, keeper: Keeper) -> None: ...
    def run(self, requests: Sequence[InferRequest], done: Done, emit: Emit) -> None: ...
    def unwanted(self, request: InferRequest) -> None: ...


class Ticket(Protocol):
    """What a client has of a request that is on its way."""

    @property
    def answered(self) -> bool:
        """It has its answer, or needs none any more."""

    def cancel(self) -> None:
        """The client has gone."""

    def leave(self) -> None:
        """The client waits no more, be it that its time is up or that it has gone."""


class Entry:
    """A request in the queue, carrying its own reply. ``cancel`` when the client has gone."""

    __slots__ = (
        "answered",
        "arrived",
        "dialect",
        "instance",
        "key",
        "reply",
        "request",
        "rows",
        "running",
        "scheduler",
        "timer",
    )

    def __init__(self, scheduler: "Scheduler", request: InferRequest, reply: Reply, dialect: str) -> None:
        self.scheduler = scheduler
        self.request = request
        self.reply = reply
        self.dialect = dialect
        self.arrived = scheduler.clock.time()
        self.answered = False
        self.running = False
        self.instance: Instance | None = None  # the one that it runs on, or has run on
        self.rows = 1
        self.key: Hashable = None
        self.timer: TimerHandle | None = None

    def cancel(self) -> None:
        """The client has gone: leave the queue, or let the result be dropped. Its reply is not called."""
        if not self.answered:
            self.scheduler.settle(self, None)
            self._tell_instance()

    def leave(self) -> None:
        """The client waits no more, be it that its time is up or that it has gone."""
        deadline = self.request.deadline
        if deadline is not None and self.scheduler.clock.time() >= deadline:
            self.expire()
        else:
            self.cancel()

    def expire(self) -> None:
        if not self.answered:
            waited = self.scheduler.clock.time() - self.arrived
            step = "while it ran" if self.running else "in the queue"
            self.scheduler.settle(
                self, DeadlineExceeded(f"the request's time was up {step}, after {waited:.3f} s")
            )
            self._tell_instance()

    def _tell_instance(self) -> None:
        if self.running and self.instance is not None:
            self.request.abandoned = True
            self.instance.unwanted(self.request)


class Scheduler:
    """Feeds the instances of one version of one model."""

    def __init__(
        self,
        instances: Iterable[Instance],
        policy: Policy,
        stats: ModelStats,
        clock: Clock,
        *,
        queue_size: int = 100,
        batched: bool = False,
        alike: bool = True,
        now: Now | None = None,
        asleep: Asleep | None = None,
    ) -> None:
        """``batched`` models answer rows; ``alike`` says that only equal requests may be joined."""
        self.clock = clock
        self._instances = list(instances)
        self._idle: deque[Instance] = deque()
        self._leaving: dict[Instance, Callable[[], None]] = {}
        self._failing: dict[Instance, str] = {}
        self._policy = policy
        self._waits = policy.waits
        self._stats = stats
        self._queue_size = queue_size
        self._batched = batched
        self._now = now
        self._asleep = asleep
        self._joins = alike and not isinstance(policy, Immediate)
        self._groups: dict[Hashable, deque[Entry]] = {}
        self._timer: TimerHandle | None = None
        self._closed = False
        self._idle_callback: Callable[[], None] | None = None
        for instance in self._instances:
            instance.watch(self)

    def submit(self, request: InferRequest, reply: Reply, dialect: str) -> Entry | None:
        """Queue a request; ``None`` if it has been executed on the spot. ``reply`` is called once, perhaps before
        this returns. Raises Overloaded, NotReady.
        """
        if self._closed:
            raise NotReady(f"model {request.model!r} is being unloaded")
        stats = self._stats
        at_once = self._idle and not stats.waiting and not self._waits
        if at_once and self._now is not None and request.deadline is None:
            start = time.perf_counter()
            outcome = self._now(request)
            seconds = time.perf_counter() - start
            if request.moments is not None:
                request.moments.finished = self.clock.time()
                request.moments.started = request.moments.finished - seconds
            rows = rows_of(request) if self._batched else 1
            stats.ran_now(dialect, tell(reply, request, outcome), rows, seconds)
            return None
        entry = Entry(self, request, reply, dialect)
        if self._batched:
            entry.rows = rows_of(request)
        if at_once:
            # It goes alone: it needs neither a key nor a decision.
            if request.deadline is not None and self._overdue(entry, request.deadline):
                return entry
            stats.waiting += 1
            self._run([entry], self._idle.popleft())
            return entry
        self._admit(request)
        if request.deadline is not None and self._overdue(entry, request.deadline):
            return entry
        if self._joins:
            entry.key = key_of(request)
        stats.waiting += 1
        self._groups.setdefault(entry.key, deque()).append(entry)
        if self._idle:
            self._dispatch()
        return entry

    def _admit(self, request: InferRequest) -> None:
        """Raise NotReady or Overloaded if it can't wait."""
        if self._closed:
            raise NotReady(f"model {request.model!r} is being unloaded")
        if self.broken and (
            self._stats.waiting or not self._idle
        ):  # one at a time may try whether it works again
            raise NotReady(f"model {request.model!r} can't answer: {next(iter(self._failing.values()))}")
        if not self._instances:
            if self._asleep is None:
                raise NoInstance(f"model {request.model!r} has no instance")
            self._asleep(request)
        waiting = self._stats.waiting
        if waiting >= (self._queue_size or len(self._idle)):  # without a queue, only for company may one wait
            free = "its queue is full" if self._queue_size else "none may wait for an instance"
            raise Overloaded(f"model {request.model!r} has {waiting} requests waiting, {free}")

    @property
    def instances(self) -> Sequence[Instance]:
        """Those that are given work."""
        return self._instances

    def add(self, instance: Instance) -> None:
        """One more instance to give work to."""
        self._instances.append(instance)
        instance.watch(self)

    def release(self, when_free: Callable[[], None]) -> Instance:
        """Give up the instance that has the least to do: it gets nothing more, and is free when it has answered."""
        instance = self._least_used()
        self._instances.remove(instance)
        self.withdrawn(instance)
        self.failing(instance, "")
        self._leaving[instance] = when_free
        self._may_go(instance)
        return instance

    def _least_used(self) -> Instance:
        return min(self._instances, key=lambda instance: (instance.busy, instance.up))

    def close(self, when_idle: Callable[[], None]) -> None:
        """Take nothing more; call ``when_idle`` as soon as everything accepted has been answered and executed."""
        self._closed = True
        self._idle_callback = when_idle
        self._check_idle()

    def returned(self, instance: Instance) -> None:
        """An instance can take a batch (again)."""
        self._may_go(instance)
        self._dispatch()

    def withdrawn(self, instance: Instance) -> None:
        """An instance can't take a batch until it is returned."""
        if instance in self._idle:
            self._idle.remove(instance)

    def failing(self, instance: Instance, reason: str) -> None:
        """An instance has failed too often; when all have, whoever waits is told instead of kept waiting."""
        if not reason:
            self._failing.pop(instance, None)
            return
        self._failing[instance] = reason
        if self.broken:
            self.refuse(reason)

    def refuse(self, reason: str) -> None:
        """Tell everybody who waits that there will be no answer."""
        for group in list(self._groups.values()):
            for entry in list(group):
                self.settle(entry, NotReady(f"model {entry.request.model!r} can't answer: {reason}"))

    @property
    def oldest(self) -> float:
        """When the request came that has waited longest, by the clock; infinity when none waits."""
        return min((group[0].arrived for group in self._groups.values()), default=inf)

    @property
    def broken(self) -> bool:
        """Every instance has failed too often: requests are refused until one has come back."""
        return len(self._failing) == len(self._instances) > 0

    def settle(self, entry: Entry, outcome: Outcome | None) -> None:
        """Answer an entry, once. ``None`` is a client that has gone: there is nobody to tell."""
        entry.answered = True
        if entry.timer is not None:
            entry.timer.cancel()
        if not entry.running:
            self._leave(entry)
        code = Code.CANCELLED.value if outcome is None else tell(entry.reply, entry.request, outcome)
        stats = self._stats
        stats.answers[entry.dialect, code] += 1
        stats.total.observe(self.clock.time() - entry.arrived)
        if self._closed:
            self._check_idle()

    def _leave(self, entry: Entry) -> None:
        self._stats.waiting -= 1
        group = self._groups.get(entry.key)
        if group is not None and entry in group:
            group.remove(entry)
            if not group:
                del self._groups[entry.key]

    def _overdue(self, entry: Entry, deadline: float) -> bool:
        if deadline > entry.arrived:
            entry.timer = self.clock.call_at(deadline, entry.expire)
            return False
        self._stats.waiting += 1  # it was accepted, if only to be told that it is too late
        entry.expire()
        return True

    def _dispatch(self) -> None:
        """Send batches while an instance is free and the policy wants to."""
        while self._idle and self._groups:
            batch = self._next_batch()
            if not batch:
                return
            self._run(batch, self._idle.popleft())

    def _next_batch(self) -> list[Entry]:
        """What may go now, of the group with the oldest request that may; if none may, sets the timer."""
        now = self.clock.time()
        wake_at = inf
        for key, group in sorted(self._groups.items(), key=_oldest):
            decision = self._policy.decide((entry.rows for entry in group), group[0].arrived, now)
            if isinstance(decision, Dispatch):
                batch = [group.popleft() for _ in range(decision.count)]
                if not group:
                    del self._groups[key]
                return batch
            wake_at = min(wake_at, decision.until)
        self._wake_at(wake_at)
        return []

    def _run(self, batch: list[Entry], instance: Instance) -> None:
        stats = self._stats
        now = self.clock.time()
        rows = 0
        for entry in batch:
            entry.running = True
            entry.instance = instance
            rows += entry.rows
            stats.queue.observe(now - entry.arrived)
            if entry.request.moments is not None:
                entry.request.moments.started = now
        stats.waiting -= len(batch)
        stats.running += len(batch)

        def done(outcomes: Sequence[Outcome] | None, seconds: float) -> None:
            stats.running -= len(batch)
            if outcomes is None:
                self._put_back(batch)
                return
            stats.executed(rows, seconds)
            self._may_go(instance)
            self._ran(batch)
            if self._groups:
                self._dispatch()  # the instance works on while these answers are written
            for entry, outcome in zip(batch, outcomes, strict=True):
                if entry.request.moments is not None:
                    entry.request.moments.finished = self.clock.time()
                if not entry.answered:
                    self.settle(entry, outcome)
            if self._closed:
                self._check_idle()

        def emit(place: int, part: InferResponse) -> bool:
            entry = batch[place]
            if not entry.answered:
                tell(entry.reply, entry.request, part)
            return not entry.answered

        instance.run([entry.request for entry in batch], done, emit)
        if instance.spare and instance not in self._idle:
            self._idle.append(instance)  # a leaving one gets here only before it is given up

    def _ran(self, batch: list[Entry]) -> None:
        """For schedulers that remember what ran."""

    def _may_go(self, instance: Instance) -> None:
        """Give it work: before the others if it has none, after them if it can take more than it has."""
        if self._leaving and instance in self._leaving:
            if not instance.busy:
                self._leaving.pop(instance)()
            return
        if instance in self._idle:
            return
        if instance.up:
            self._idle.appendleft(instance)
        elif instance.spare:
            self._idle.append(instance)

    def _put_back(self, batch: list[Entry]) -> None:
        """What was handed over and not begun is the oldest in the queue again."""
        for entry in reversed(batch):
            if entry.answered:
                continue
            entry.running = False
            if self._joins and entry.key is None:
                entry.key = key_of(entry.request)
            self._stats.waiting += 1
            self._groups.setdefault(entry.key, deque()).appendleft(entry)
        if self._closed:
            self._check_idle()

    def _wake_at(self, when: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self.clock.call_at(when, self._wake)

    def _wake(self) -> None:
        self._timer = None
        self._dispatch()

    def _check_idle(self) -> None:
        callback = self._idle_callback
        if callback is not None and not self._stats.waiting and not self._stats.running:
            self._idle_callback = None
            callback()


def tell(reply: Reply, request: InferRequest, outcome: Outcome) -> str:
    """Tell an outcome, and say under which code its answer counts. Never raises."""
    try:
        reply(outcome)
        return OK if isinstance(outcome, InferResponse) else outcome.code.value
    except DragomanError as error:
        refusal = error
    except Exception:  # one answer that can't be written must not take the batch's others with it
        failure = secrets.token_hex(4)
        log.exception("an answer could not be written", extra={"model": request.model, "id": failure})
        refusal = Internal(f"the answer could not be written; the server's log has it under id {failure}")
    try:
        reply(refusal)
    except Exception:
        log.exception("an answer could not be refused", extra={"model": request.model})
    return refusal.code.value


def _oldest(item: tuple[Hashable, deque[Entry]]) -> float:
    return item[1][0].arrived
