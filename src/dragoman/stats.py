"""Counts and durations, taken once. Prometheus, Triton's statistics and every dashboard are views of these numbers.

Written on the event loop's thread only, so nothing here locks. Durations are in seconds.
"""

import time
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from itertools import repeat
from typing import Any, Final

from dragoman import windows
from dragoman.model_metrics import ModelMetrics, Value

OK: Final = "ok"
#: How a look for a kept answer ended.
HIT, MISS, FAILED = "hit", "miss", "failed"

#: Upper bounds of the duration buckets, from a fast table model to a slow generation.
SECONDS: Final = (
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
)  # fmt: skip
#: Upper bounds of the batch-size buckets, in rows.
ROWS: Final = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)


#: Observations that wait to be sorted, at most.
_KEPT: Final = 512


class Histogram:
    """Observations by bucket, with their sum. ``counts`` has one more place than ``bounds``: everything above.

    An observation is only kept; many are sorted into their buckets at once, when there are ``_KEPT`` of them or
    somebody looks.
    """

    __slots__ = ("_counts", "_last", "_total", "bounds", "kept")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._total = 0.0
        self._last = 0.0
        self.kept: list[float] = []  #: not sorted yet

    def observe(self, value: float) -> None:
        self.kept.append(value)
        if len(self.kept) >= _KEPT:
            self.sort()

    @property
    def counts(self) -> list[int]:
        self.sort()
        return list(self._counts)

    @property
    def total(self) -> float:
        self.sort()
        return self._total

    @property
    def count(self) -> int:
        return sum(self.counts)

    @property
    def last(self) -> float:
        """The newest observation of this process."""
        return self.kept[-1] if self.kept else self._last

    def add(self, counts: list[int], total: float) -> None:
        """Take in another process's observations."""
        self._counts = [mine + theirs for mine, theirs in zip(self._counts, counts, strict=True)]
        self._total += total

    def sort(self) -> None:
        """Put what is kept into its buckets."""
        if self.kept:
            counts = self._counts
            for place in map(bisect_left, repeat(self.bounds), self.kept):
                counts[place] += 1
            self._total += sum(self.kept)
            self._last = self.kept[-1]
            self.kept.clear()


class ModelStats:
    """The numbers of one version of one model."""

    __slots__ = (
        "_elsewhere", "_lists", "answers", "batch", "execute", "exits", "last", "lookup_seconds", "lookups", "metrics",
        "queue", "running", "total", "waiting", "window",
    )  # fmt: skip

    def __init__(self, told: Callable[[Sequence[Value]], None] | None = None) -> None:
        self.answers: Counter[tuple[str, str]] = Counter()  #: answers by (dialect, code)
        self.exits: Counter[str] = Counter()  #: worker processes that ended, by reason
        #: looks for kept answers by (where, outcome): "cache" or "predictions"; HIT, MISS or FAILED
        self.lookups: Counter[tuple[str, str]] = Counter()
        self.lookup_seconds: defaultdict[tuple[str, str], float] = defaultdict(
            float
        )  #: what they took, by the same
        self.queue = Histogram(SECONDS)  #: from arrival to the start of the execution, per request
        self.execute = Histogram(SECONDS)  #: per execution
        self.total = Histogram(SECONDS)  #: from arrival to the answer, per request
        self.batch = Histogram(ROWS)  #: rows per execution
        self._lists = tuple(
            histogram.kept for histogram in (self.queue, self.execute, self.total, self.batch)
        )
        self.waiting = 0
        self.running = 0
        self.last = 0.0  #: wall-clock time of the newest execution
        self.metrics = ModelMetrics(told)  #: the model's own
        #: values of its features lately, by where they lie; where somebody wants to know
        self.window: windows.Window | None = None
        self._elsewhere: dict[str, list[int]] = {}  # those of other processes

    def executed(self, rows: int, seconds: float) -> None:
        """One execution is over."""
        self.batch.observe(rows)
        self.execute.observe(seconds)
        self.last = time.time()

    def ran_now(self, dialect: str, code: str, rows: int, seconds: float) -> None:
        """A request was executed on the spot and answered: all of the above, in one go."""
        self.answers[dialect, code] += 1
        self.last = time.time()
        queue, execute, total, batch = self._lists
        queue.append(0.0)
        execute.append(seconds)
        total.append(seconds)
        batch.append(rows)
        if len(batch) >= _KEPT:
            for histogram in (self.queue, self.execute, self.total, self.batch):
                histogram.sort()

    def looked(self, where: str, outcome: str, seconds: float) -> None:
        """A kept answer was looked for; seconds may be added for one look in several goes."""
        self.lookups[where, outcome] += 1
        self.lookup_seconds[where, outcome] += seconds

    def recalled(self, dialect: str, code: str, seconds: float) -> None:
        """A request was answered without being executed."""
        self.answers[dialect, code] += 1
        self.total.observe(seconds)

    def see(self, counts: windows.Counts) -> None:
        """Values of features have come."""
        if self.window is not None:
            self.window.add(counts)

    @property
    def seen(self) -> dict[str, list[int]]:
        """What has come of features lately, in all processes that were added."""
        found = {} if self.window is None else self.window.totals()
        windows.add(found, self._elsewhere)
        return found

    def snapshot(self) -> dict[str, Any]:
        """Plain lists and numbers, for another process."""
        return {
            "answers": [[dialect, code, n] for (dialect, code), n in self.answers.items()],
            "lookups": [[*key, n, self.lookup_seconds[key]] for key, n in self.lookups.items()],
            "exits": dict(self.exits),
            "histograms": {
                name: [(histogram := getattr(self, name)).counts, histogram.total]
                for name in ("queue", "execute", "total", "batch")
            },
            "waiting": self.waiting,
            "running": self.running,
            "last": self.last,
            "metrics": self.metrics.snapshot(),
            "seen": self.seen,
        }

    def add(self, snapshot: dict[str, Any]) -> None:
        """Take in another process's snapshot."""
        for dialect, code, n in snapshot["answers"]:
            self.answers[dialect, code] += n
        for where, outcome, n, seconds in snapshot["lookups"]:
            self.lookups[where, outcome] += n
            self.lookup_seconds[where, outcome] += seconds
        for reason, n in snapshot["exits"].items():
            self.exits[reason] += n
        for name, (counts, total) in snapshot["histograms"].items():
            getattr(self, name).add(counts, total)
        self.waiting += snapshot["waiting"]
        self.running += snapshot["running"]
        self.last = max(self.last, snapshot["last"])
        self.metrics.add(snapshot["metrics"])
        windows.add(self._elsewhere, snapshot["seen"])


@dataclass(slots=True)
class CacheStats:
    """What is kept of answers in memory now, and what had to go for others."""

    bytes: int = 0
    entries: int = 0
    evictions: int = 0


@dataclass(slots=True)
class JobStats:
    """Jobs of this process: ``ended`` by how, ``webhooks`` by what became of one try to tell."""

    accepted: int = 0
    running: int = 0
    begun: int = 0
    ended: Counter[str] = field(default_factory=lambda: Counter(done=0, failed=0, cancelled=0))
    webhooks: Counter[str] = field(default_factory=lambda: Counter(told=0, failed=0, given_up=0))

    def snapshot(self) -> dict[str, Any]:
        counts = {"accepted": self.accepted, "running": self.running, "begun": self.begun}
        return {**counts, "ended": dict(self.ended), "webhooks": dict(self.webhooks)}

    def add(self, snapshot: dict[str, Any]) -> None:
        """Take in another process's snapshot."""
        self.accepted += snapshot["accepted"]
        self.running += snapshot["running"]
        self.begun += snapshot["begun"]
        self.ended.update(snapshot["ended"])
        self.webhooks.update(snapshot["webhooks"])


class Stats:
    """The numbers of a server: one ``ModelStats`` per model and version, and what no model ever saw."""

    def __init__(self) -> None:
        self.models: dict[tuple[str, str], ModelStats] = {}
        self.refused: Counter[tuple[str, str]] = Counter()  #: requests no model saw, by (dialect, code)
        self.payloads: Counter[str] = Counter(sent=0, failed=0, dropped=0)  #: by outcome
        #: predictions that were to be kept, by outcome
        self.observed: Counter[str] = Counter(kept=0, failed=0, dropped=0)
        self.cache = CacheStats()
        self.jobs = JobStats()
        self.started = time.time()
        self.told: Callable[[Sequence[Value]], None] | None = (
            None  #: hears every value of models' own metrics
        )

    def of(self, model: str, version: str) -> ModelStats:
        """The numbers of this model and version; they survive a reload."""
        numbers = self.models.get((model, version))
        if numbers is None:
            numbers = self.models[model, version] = ModelStats(self._tell)
        return numbers

    def _tell(self, values: Sequence[Value]) -> None:
        if self.told is not None:
            self.told(values)

    def snapshot(self) -> dict[str, Any]:
        return {
            "models": [[*key, stats.snapshot()] for key, stats in self.models.items()],
            "refused": [[dialect, code, n] for (dialect, code), n in self.refused.items()],
            "payloads": dict(self.payloads),
            "observed": dict(self.observed),
            "cache": asdict(self.cache),
            "jobs": self.jobs.snapshot(),
        }

    def add(self, snapshot: dict[str, Any]) -> None:
        """Take in another process's snapshot."""
        for model, version, numbers in snapshot["models"]:
            self.of(model, version).add(numbers)
        for dialect, code, n in snapshot["refused"]:
            self.refused[dialect, code] += n
        self.payloads.update(snapshot["payloads"])
        self.observed.update(snapshot["observed"])
        self.jobs.add(snapshot["jobs"])
        for name, number in snapshot["cache"].items():
            setattr(self.cache, name, getattr(self.cache, name) + number)
