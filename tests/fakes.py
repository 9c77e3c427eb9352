"""Time that a test turns by hand, and instances that answer when they are told to."""

from collections.abc import Callable, Sequence
from heapq import heappop, heappush

import numpy as np

from dragoman.scheduling.scheduler import Done, Emit, Keeper, Outcome
from dragoman.types import InferRequest, InferResponse, Tensor


class FakeTimer:
    def __init__(self, when: float, callback: Callable[[], object]) -> None:
        self.when = when
        self.callback: Callable[[], object] | None = callback

    def cancel(self) -> None:
        self.callback = None


class FakeClock:
    """A clock that stands still until ``advance``."""

    def __init__(self) -> None:
        self.now = 1000.0
        self._timers: list[tuple[float, int, FakeTimer]] = []
        self._count = 0

    def time(self) -> float:
        return self.now

    def call_at(self, when: float, callback: Callable[[], object]) -> FakeTimer:
        timer = FakeTimer(when, callback)
        self._count += 1
        heappush(self._timers, (when, self._count, timer))
        return timer

    def advance(self, seconds: float) -> None:
        end = self.now + seconds
        while self._timers and self._timers[0][0] <= end:
            when, _, timer = heappop(self._timers)
            self.now = max(self.now, when)
            if timer.callback is not None:
                timer.callback()
        self.now = end


class FakeInstance:
    """Keeps what it is given until ``finish``; then answers every request with its own first input."""

    def __init__(self) -> None:
        self.batches: list[Sequence[InferRequest]] = []
        self.closed = False
        self._done: Done | None = None

    @property
    def sizes(self) -> list[int]:
        return [len(batch) for batch in self.batches]

    up = True
    spare = False
    alive = True
    memory = 0

    @property
    def busy(self) -> bool:
        return self._done is not None

    def close(self, when_ended: Callable[[], None]) -> None:
        assert self._done is None, "an instance is closed when nothing runs on it"
        self.closed = True
        when_ended()

    def watch(self, keeper: Keeper) -> None:
        keeper.returned(self)

    def run(self, requests: Sequence[InferRequest], done: Done, emit: Emit) -> None:
        assert self._done is None, "an instance runs one batch at a time"
        self.batches.append(requests)
        self._done = done

    def unwanted(self, request: InferRequest) -> None:
        """Answers all the same."""

    def finish(self, outcomes: Sequence[Outcome] | None = None) -> None:
        assert self._done is not None
        done, self._done = self._done, None
        if outcomes is None:
            outcomes = [InferResponse(r.model, "1", r.inputs, r.id) for r in self.batches[-1]]
        done(outcomes, 0.002)


def request(rows: int = 1, width: int = 2, value: float = 0, id: str = "", **fields: object) -> InferRequest:
    data = np.full((rows, width), value, np.float32)
    return InferRequest("m", (Tensor("x", "FP32", data),), id=id, **fields)  # type: ignore[arg-type]
