"""Requests that belong together: each sequence stays with the instance that knows its state, in the order it came.

    start ──► WAITING ──a free place──► PINNED ──end, idle for too long, too old, its instance gone──► ended

An instance has as many places as its batches have; a batch has at most one request of each of its sequences. Where
requests are handed over one by one, to join those that run, a sequence may have several of them running.
"""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from dragoman.errors import DragomanError, NotReady, Overloaded, SequenceUnknown
from dragoman.scheduling.policy import Immediate
from dragoman.scheduling.scheduler import (
    Asleep,
    Clock,
    Entry,
    Instance,
    Outcome,
    Reply,
    Scheduler,
    TimerHandle,
)
from dragoman.stats import ModelStats
from dragoman.types import InferRequest, InferResponse

#: Sequences lost with their workers that are remembered, the newest.
_REMEMBERED: Final = 1000


@dataclass(frozen=True, slots=True)
class Limits:
    """``places`` in each instance, ``most`` sequences in all, requests of one that may wait; in seconds how long one
    may be ``idle`` and how long it may last, where 0 is no limit."""

    places: int = 1
    most: int = 1
    waiting: int = 1
    idle: float = 0.0
    lifetime: float = 0.0


class _Sequence:
    """One that has begun and not ended."""

    __slots__ = ("ending", "instance", "key", "running", "timers", "touched")

    def __init__(self, key: object, now: float) -> None:
        self.key = key
        self.touched = now
        self.instance: Instance | None = None
        self.ending = False  # its last request has come
        self.running = 0
        self.timers: dict[str, TimerHandle] = {}


class SequenceScheduler(Scheduler):
    """Feeds instances that remember: parameters ``sequence_id``, ``sequence_start`` and ``sequence_end``.

    A request without an id is a sequence of its own that begins and ends with it. With ``sequence_implicit`` an id that
    is not known begins a sequence. An answer's parameter ``ended_sequences`` ends those.
    """

    def __init__(
        self,
        instances: Iterable[Instance],
        limits: Limits,
        stats: ModelStats,
        clock: Clock,
        queue_size: int,
        asleep: Asleep | None = None,
        *,
        singly: bool = False,
    ) -> None:
        """``singly`` hands requests over one by one."""
        self._limits = limits
        self._singly = singly
        self._sequences: dict[object, _Sequence] = {}
        self._unpinned: deque[_Sequence] = deque()
        self._pinned: dict[Instance, dict[object, _Sequence]] = {}
        #: Those that ended with their worker, why, and that nobody has asked for since.
        self._lost: dict[object, str] = {}
        super().__init__(instances, Immediate(), stats, clock, queue_size=queue_size, asleep=asleep)

    def submit(self, request: InferRequest, reply: Reply, dialect: str) -> Entry | None:
        """Queue a request behind those of its sequence. Raises Overloaded, NotReady, SequenceUnknown."""
        self._admit(request)
        entry = Entry(self, request, reply, dialect)
        name = request.parameters.get("sequence_id")
        key: object = name if name else entry
        sequence = self._sequences.get(key)
        if sequence is None:
            self._may_begin(request, name)
            if len(self._sequences) >= self._limits.most:
                raise Overloaded(f"model {request.model!r} has {len(self._sequences)} sequences already")
        elif sequence.ending:
            raise SequenceUnknown(f"the last request of sequence {name!r} has come already")
        elif len(self._groups.get(key, ())) >= self._limits.waiting:
            raise Overloaded(f"sequence {name!r} of model {request.model!r} has its most requests waiting")
        if request.deadline is not None and self._overdue(entry, request.deadline):
            return entry
        if sequence is None:
            sequence = self._begin(key)
        sequence.touched = entry.arrived
        sequence.ending = not name or bool(request.parameters.get("sequence_end"))
        entry.key = key
        self._stats.waiting += 1
        self._groups.setdefault(key, deque()).append(entry)
        self._dispatch()
        return entry

    def finish(self, key: object) -> None:
        """No more requests of this sequence come: it ends with those that are there."""
        sequence = self._sequences.get(key)
        if sequence is None:
            return
        sequence.ending = True
        if not sequence.running and key not in self._groups:
            self._end(sequence, "")

    def withdrawn(self, instance: Instance) -> None:
        """What it knew of its sequences is lost."""
        super().withdrawn(instance)
        for sequence in list(self._pinned.get(instance, {}).values()):
            if len(self._lost) >= _REMEMBERED:
                del self._lost[next(iter(self._lost))]
            self._lost[sequence.key] = reason = "the worker that knew it has gone"
            self._end(sequence, reason)

    def settle(self, entry: Entry, outcome: Outcome | None) -> None:
        super().settle(entry, outcome)
        if isinstance(outcome, InferResponse) and "ended_sequences" in outcome.parameters:
            self._end_named(outcome.parameters["ended_sequences"])
        sequence = self._sequences.get(entry.key)
        if sequence is None or not sequence.ending or sequence.running or entry.running:
            return
        if entry.key not in self._groups:  # its last request will never run
            self._end(sequence, "")

    def _least_used(self) -> Instance:
        return min(self._instances, key=lambda instance: (len(self._pinned.get(instance, ())), instance.busy))

    def _may_begin(self, request: InferRequest, name: object) -> None:
        """Raise SequenceUnknown for a request that goes on with what isn't there.

        Where ids begin sequences by being new, whoever goes on with one that was lost is told so, once.
        """
        lost = self._lost.pop(name, "")
        if not name or request.parameters.get("sequence_start"):
            return
        if not request.parameters.get("sequence_implicit"):
            raise SequenceUnknown(
                f"model {request.model!r} knows no sequence {name!r}: it has ended or expired, its worker has"
                " gone, or it did not begin; begin it with sequence_start"
            )
        if lost:
            raise SequenceUnknown(f"sequence {name!r} has ended: {lost}; the next request begins it anew")

    def _begin(self, key: object) -> _Sequence:
        now = self.clock.time()
        sequence = self._sequences[key] = _Sequence(key, now)
        self._unpinned.append(sequence)
        if self._limits.idle:
            self._watch_idle(sequence)
        if self._limits.lifetime:
            sequence.timers["lifetime"] = self.clock.call_at(
                now + self._limits.lifetime, lambda: self._end(sequence, "it has lasted too long")
            )
        return sequence

    def _watch_idle(self, sequence: _Sequence) -> None:
        now, idle = self.clock.time(), self._limits.idle
        busy = sequence.running or sequence.key in self._groups
        if not busy and now >= sequence.touched + idle:
            self._end(sequence, "it was idle for too long")
            return
        when = (now if busy else sequence.touched) + idle
        sequence.timers["idle"] = self.clock.call_at(when, lambda: self._watch_idle(sequence))

    def _end_named(self, names: object) -> None:
        """The model says that these have ended; what runs and waits of them is still answered."""
        for name in names if isinstance(names, list) else ():
            sequence = self._sequences.get(name) if isinstance(name, str) else None
            if sequence is not None:
                sequence.ending = True
                if not sequence.running and sequence.key not in self._groups:
                    self._end(sequence, "")

    def _end(self, sequence: _Sequence, reason: str) -> None:
        """Forget it; who waits in it is told the reason, and its place is another's."""
        if self._sequences.get(sequence.key) is not sequence:
            return
        del self._sequences[sequence.key]
        for timer in sequence.timers.values():
            timer.cancel()
        if sequence.instance is not None:
            del self._pinned[sequence.instance][sequence.key]
        else:
            self._unpinned.remove(sequence)
        for entry in list(self._groups.get(sequence.key, ())):
            error: DragomanError = NotReady(f"sequence {sequence.key!r} has ended: {reason}")
            self.settle(entry, error)
        if self._groups:
            self._dispatch()

    def _dispatch(self) -> None:
        for instance in sorted(self._idle, key=lambda each: len(self._pinned.get(each, ()))):
            while instance in self._idle and (batch := self._batch_for(instance)):
                self._idle.remove(instance)
                self._run(batch, instance)

    def _batch_for(self, instance: Instance) -> list[Entry]:
        """The next request of each of its sequences; free places are taken by those that have waited longest."""
        pinned = self._pinned.setdefault(instance, {})
        while self._unpinned and len(pinned) < self._limits.places:
            sequence = self._unpinned.popleft()
            sequence.instance = instance
            pinned[sequence.key] = sequence
        batch = []
        for sequence in pinned.values():
            group = self._groups.get(sequence.key)
            if group is None:
                continue
            batch.append(group.popleft())
            if not group:
                del self._groups[sequence.key]
            sequence.running += 1
            if self._singly:
                break
        return batch

    def _ran(self, batch: list[Entry]) -> None:
        for entry in batch:
            sequence = self._sequences.get(entry.key)
            if sequence is None:
                continue
            sequence.running -= 1
            sequence.touched = self.clock.time()
            if sequence.ending and not sequence.running and entry.key not in self._groups:
                self._end(sequence, "")
