"""Requests that belong together: each sequence stays with the instance that knows its state, in the order it came.

    start ──► WAITING ──a free place──► PINNED ──end, idle for too long, too old, its instance gone──► ended

An instance has as many places as its batches have; a batch has at most one request of each of its sequences.
"""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

from dragoman.errors import DragomanError, NotReady, Overloaded, SequenceUnknown
from dragoman.scheduling.policy import Immediate
from dragoman.scheduling.scheduler import Clock, Entry, Instance, Reply, Scheduler, TimerHandle
from dragoman.stats import ModelStats
from dragoman.types import InferRequest


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
        self.running = False
        self.timers: dict[str, TimerHandle] = {}


class SequenceScheduler(Scheduler):
    """Feeds instances that remember: parameters ``sequence_id``, ``sequence_start`` and ``sequence_end``.

    A request without an id is a sequence of its own that begins and ends with it.
    """

    def __init__(
        self, instances: Iterable[Instance], limits: Limits, stats: ModelStats, clock: Clock, queue_size: int
    ) -> None:
        self._limits = limits
        self._sequences: dict[object, _Sequence] = {}
        self._unpinned: deque[_Sequence] = deque()
        self._pinned: dict[Instance, dict[object, _Sequence]] = {}
        super().__init__(instances, Immediate(), stats, clock, queue_size=queue_size)

    def submit(self, request: InferRequest, reply: Reply, dialect: str) -> Entry | None:
        """Queue a request behind those of its sequence. Raises Overloaded, NotReady, SequenceUnknown."""
        self._admit(request)
        entry = Entry(self, request, reply, dialect)
        name = request.parameters.get("sequence_id")
        key: object = name if name else entry
        sequence = self._sequences.get(key)
        if sequence is None:
            if name and not request.parameters.get("sequence_start"):
                raise SequenceUnknown(
                    f"model {request.model!r} knows no sequence {name!r}: it has ended or expired, its worker has"
                    " gone, or it did not begin; begin it with sequence_start"
                )
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
            self._end(sequence, "the worker that knew it has gone")

    def settle(self, entry: Entry, outcome: object) -> None:
        super().settle(entry, outcome)  # type: ignore[arg-type]
        sequence = self._sequences.get(entry.key)
        if sequence is None or not sequence.ending or sequence.running or entry.running:
            return
        if entry.key not in self._groups:  # its last request will never run
            self._end(sequence, "")

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
            batch = self._batch_for(instance)
            if batch:
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
            sequence.running = True
        return batch

    def _ran(self, batch: list[Entry]) -> None:
        for entry in batch:
            sequence = self._sequences.get(entry.key)
            if sequence is None:
                continue
            sequence.running = False
            sequence.touched = self.clock.time()
            if sequence.ending and entry.key not in self._groups:
                self._end(sequence, "")
