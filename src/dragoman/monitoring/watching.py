"""Takes what a model is asked and answers, where it happens: on the event loop, and little of it."""

import time
from collections.abc import Callable
from functools import partial
from math import ceil

from dragoman.errors import DragomanError
from dragoman.monitoring.features import Columns, columns_of
from dragoman.monitoring.log import PredictionLog, Seen
from dragoman.monitoring.values import Taken, take
from dragoman.scheduling.scheduler import Outcome, Reply
from dragoman.stats import OK
from dragoman.types import InferRequest, InferResponse

#: Is handed the columns of one request, on another thread.
Count = Callable[[Columns], None]


class Sample:
    """Exactly the share of all that come."""

    def __init__(self, share: float) -> None:
        self._share = share
        self._seen = 0

    def wants(self) -> bool:
        """Whether the next one is among them."""
        before = ceil(self._seen * self._share)
        self._seen += 1
        return ceil(self._seen * self._share) > before


class Watch:
    """Watches one version of one model; an engine's ``Watcher``. ``count`` gets its columns, where they are wanted."""

    def __init__(
        self, model: str, version: str, log: PredictionLog, sample: Sample, most: int, count: Count | None
    ) -> None:
        """``most`` bytes are taken of a request, and of an answer."""
        self.model = model
        self.version = version
        self.log = log
        self.most = most
        self.count = count
        self.batched = False
        self._sample = sample

    def watch(self, request: InferRequest, dialect: str) -> "Note | None":
        if not self._sample.wants():
            return None
        if not self.log.room:
            self.log.counts["dropped"] += 1
            return None
        return Note(self, request, dialect)


class Note:
    """One request, until it has its answer."""

    __slots__ = ("_columns", "_room", "_seen", "_start", "_watch")

    def __init__(self, watch: Watch, request: InferRequest, dialect: str) -> None:
        self._watch = watch
        self._start = time.perf_counter()
        self._room = watch.most
        self._columns = None if watch.count is None else columns_of(request.inputs, batched=watch.batched)
        self._seen = Seen(
            id=request.id,
            time=time.time(),
            model=request.model or watch.model,
            version=watch.version,
            dialect=dialect,
            code=OK,
            seconds=0.0,
            inputs=take(request.inputs, watch.most),
            parameters=dict(request.parameters),
            parts=[],
        )

    def listen(self, reply: Reply) -> Reply:
        return partial(self._pass_on, reply)

    def _pass_on(self, reply: Reply, outcome: Outcome) -> None:
        taken: tuple[Taken, ...] = ()
        if isinstance(outcome, InferResponse):
            taken = take(outcome.outputs, self._room)  # before the client's codec may change anything
        reply(outcome)
        self._take(outcome, taken)

    def take(self, outcome: Outcome) -> None:
        self._take(outcome, ())

    def _take(self, outcome: Outcome, taken: tuple[Taken, ...]) -> None:
        seen = self._seen
        if isinstance(outcome, DragomanError):
            seen.code, seen.error = outcome.code.value, outcome.message or outcome.code.value
        else:
            seen.parts.append(taken)
            self._room -= sum(each.data.nbytes for each in taken)
            if not outcome.final:
                return
        seen.seconds = time.perf_counter() - self._start
        count, columns = self._watch.count, self._columns
        if count is not None and columns and seen.code != "invalid_input":
            seen.count = partial(count, columns)
        self._watch.log.put(seen)
