"""The bounded queue between the event loop, which must not wait, and the thread that writes.

::

    event loop ──put──► queue ──► thread: describes, counts ──► store, many at once
       └── no room: dropped               └── fails: counted, and told once
"""

import logging
import time
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from threading import Thread
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

from dragoman.monitoring.values import Taken, clean_parameters, describe
from dragoman.store.prediction import Prediction
from dragoman.tensors import dump_json
from dragoman.types import Parameters

if TYPE_CHECKING:
    from dragoman.store.observed import Limits, Observed

log = logging.getLogger("dragoman.monitoring")

#: Predictions that are written in one go, at most.
_BATCH: Final = 256
#: Seconds between two looks for what is too old.
_SWEEP: Final = 60.0


@dataclass(slots=True)
class Seen:
    """One request and its answer, as they were taken. ``error`` is empty where there is an answer.

    ``count`` is called on the other thread, to count what else there is in it.
    """

    id: str
    time: float
    model: str
    version: str
    dialect: str
    code: str
    seconds: float
    inputs: tuple[Taken, ...]
    parameters: Parameters
    parts: list[tuple[Taken, ...]]
    error: str = ""
    count: Callable[[], None] | None = None


class PredictionLog:
    """``put`` is for the event loop's thread; ``counts`` is for all. Without a store it only counts."""

    def __init__(
        self, store: "Observed | None", limits: "Limits | None", redact: Collection[str], waiting: int
    ) -> None:
        self._store = store
        self._limits = limits
        self._redact = frozenset(name.lower() for name in redact)
        self._most = waiting
        self.counts = Counter(kept=0, failed=0, dropped=0)
        self._queue: SimpleQueue[Seen | None] = SimpleQueue()
        self._deadline = float("inf")
        self._failing = False
        self._swept = float("-inf")
        self._thread = Thread(target=self._run, name="dragoman-monitoring", daemon=True)

    def start(self) -> None:
        """From now on what is put is written."""
        self._thread.start()

    @property
    def room(self) -> bool:
        """Whether one more may wait."""
        return self._queue.qsize() < self._most

    def put(self, seen: Seen) -> None:
        """Keep one, or drop it where too many wait."""
        if self.room:
            self._queue.put(seen)
        else:
            self.counts["dropped"] += 1

    def close(self, patience: float) -> None:
        """Write what waits, for so many seconds; then give up the rest. Blocks."""
        if self._thread.is_alive():
            self._deadline = time.monotonic() + patience
            self._queue.put(None)
            self._thread.join(patience + 1)

    # The thread.

    def _run(self) -> None:
        more = True
        while more:
            batch: list[Seen] = []
            more = self._gather(batch)
            for seen in batch:
                self._count(seen)
            if batch and self._store is not None:
                self._keep(self._store, batch)

    def _gather(self, batch: list[Seen]) -> bool:
        """Wait for one, take those that are there; says whether more may come."""
        item = self._queue.get()
        try:
            while item is not None:
                batch.append(item)
                if len(batch) == _BATCH:
                    return True
                item = self._queue.get_nowait()
        except Empty:
            return True
        return False

    def _count(self, seen: Seen) -> None:
        try:
            if seen.count is not None:
                seen.count()
        except Exception:
            log.exception("a request could not be counted", extra={"model": seen.model})

    def _keep(self, store: "Observed", batch: list[Seen]) -> None:
        try:
            if time.monotonic() >= self._deadline:
                raise TimeoutError("the server stops")
            store.add([self._prediction(seen) for seen in batch])
            self._sweep(store)
        except Exception as error:  # whatever it is: the next ones have their chance
            self.counts["failed"] += len(batch)
            if not self._failing:
                reason = f"{type(error).__name__}: {error}"
                log.warning("predictions can't be kept", extra={"reason": reason})
            self._failing = True
            return
        self.counts["kept"] += len(batch)
        if self._failing:
            log.info("predictions are kept again")
        self._failing = False

    def _sweep(self, store: "Observed") -> None:
        now = time.monotonic()
        if self._limits is not None and now - self._swept >= _SWEEP:
            store.forget(self._limits)
            self._swept = now

    def _prediction(self, seen: Seen) -> Prediction:
        request: dict[str, Any] = {"inputs": describe(seen.inputs, self._redact)}
        if parameters := clean_parameters(seen.parameters, self._redact):
            request["parameters"] = parameters
        response: dict[str, Any] = {"error": seen.error}
        if not seen.error:
            parts = [describe(part, self._redact) for part in seen.parts]
            response = {"outputs": parts[0]} if len(parts) == 1 else {"parts": parts}
        return Prediction(
            id=seen.id or str(uuid4()),
            time=seen.time,
            model=seen.model,
            version=seen.version,
            dialect=seen.dialect,
            code=seen.code,
            seconds=seen.seconds,
            request=_json(request),
            response=_json(response),
        )


def _json(document: Any) -> str:
    return dump_json(document).decode().replace("\\u0000", "�")  # which no database keeps
