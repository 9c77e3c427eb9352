"""A loaded copy of a model inside the server process: on the event loop if it is fast or made of coroutines, else on a
thread of its own.

A thread takes batches from a SimpleQueue and hands outcomes back with one wake-up of the event loop for as many
batches as are ready: there is no future, no executor and no task per request.
"""

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from queue import SimpleQueue

from dragoman.model_metrics import Value
from dragoman.runtimes.base import Runtime
from dragoman.scheduling.scheduler import Done, Emit, Keeper, Outcome
from dragoman.types import InferRequest, InferResponse
from dragoman.workers.execution import execute, execute_concurrently, execute_one
from dragoman.workers.report import InstanceReport
from dragoman.workers.reporting import Outlet, Reporter

Load = Callable[[], Runtime]


def _reporter(runtime: Runtime, loop: asyncio.AbstractEventLoop, metrics: Outlet) -> Reporter | None:
    """Sends the runtime's own metrics to the event loop's thread; ``None`` where it has none."""

    def send(values: Sequence[Value]) -> None:
        with suppress(RuntimeError):  # the event loop is closed: nobody is left to be told
            loop.call_soon_threadsafe(metrics.put, values)

    return None if runtime.metrics is None else Reporter(runtime.metrics, send)


class InlineInstance:
    """Runs where it is called. For models whose execution takes microseconds."""

    spare = False
    busy = False
    memory = 0
    alive = True

    def __init__(self, runtime: Runtime, loop: asyncio.AbstractEventLoop, metrics: Outlet) -> None:
        self.runtime = runtime
        self._reporter = _reporter(runtime, loop, metrics)
        self._started = time.time()

    @property
    def up(self) -> bool:
        return True

    @property
    def report(self) -> InstanceReport:
        return InstanceReport(0, self._started, ready=True)

    def watch(self, keeper: Keeper) -> None:
        keeper.returned(self)

    def run(self, requests: Sequence[InferRequest], done: Done, emit: Emit) -> None:
        start = time.perf_counter()
        outcomes = execute(self.runtime, requests, emit)
        done(outcomes, time.perf_counter() - start)

    def run_now(self, request: InferRequest) -> Outcome:
        """The outcome of one request, without a detour."""
        return execute_one(self.runtime, request)

    def unwanted(self, request: InferRequest) -> None:
        """It has begun, and ends."""

    def close(self, when_ended: Callable[[], None]) -> None:
        self.runtime.close()
        if self._reporter is not None:
            self._reporter.close()
        when_ended()


class LoopInstance:
    """Runs the coroutines of a ``concurrent`` model on the event loop, ``most`` batches side by side."""

    memory = 0

    def __init__(self, runtime: Runtime, loop: asyncio.AbstractEventLoop, metrics: Outlet, most: int) -> None:
        self.runtime = runtime
        self._loop = loop
        self._most = most
        self._reporter = _reporter(runtime, loop, metrics)
        self._started = time.time()
        self._running: set[asyncio.Task[None]] = set()

    @property
    def alive(self) -> bool:
        return self.runtime.alive()

    @property
    def up(self) -> bool:
        return not self._running

    @property
    def spare(self) -> bool:
        return 0 < len(self._running) < self._most

    @property
    def busy(self) -> bool:
        return bool(self._running)

    @property
    def report(self) -> InstanceReport:
        return InstanceReport(0, self._started, ready=self.alive)

    def watch(self, keeper: Keeper) -> None:
        keeper.returned(self)

    def run(self, requests: Sequence[InferRequest], done: Done, emit: Emit) -> None:
        task = self._loop.create_task(self._run(requests, done, emit))
        self._running.add(task)

    def unwanted(self, request: InferRequest) -> None:
        """It has begun, and ends."""

    async def _run(self, requests: Sequence[InferRequest], done: Done, emit: Emit) -> None:
        start = time.perf_counter()
        outcomes = await execute_concurrently(self.runtime, requests, emit)
        self._running.discard(asyncio.current_task(self._loop))  # to find the loop out takes microseconds
        done(outcomes, time.perf_counter() - start)

    def close(self, when_ended: Callable[[], None]) -> None:
        self.runtime.close()
        if self._reporter is not None:
            self._reporter.close()
        when_ended()


class ThreadInstance:
    """Loads and runs a model on its own thread. ``loaded`` is done when the model can answer, or says why not."""

    spare = False
    memory = 0
    alive = True

    def __init__(
        self,
        name: str,
        load: Load,
        loop: asyncio.AbstractEventLoop,
        metrics: Outlet,
        number: int = 0,
    ) -> None:
        self.loaded: Future[Runtime] = Future()
        self._number = number
        self._started = time.time()
        self._load = load
        self._loop = loop
        self._metrics = metrics
        self._released = False
        self._batches: SimpleQueue[tuple[Sequence[InferRequest], Done, Emit] | None] = SimpleQueue()
        self._finished: deque[tuple[Done, Sequence[Outcome], float]] = deque()
        self._given = 0
        self._thread = threading.Thread(target=self._work, name=f"model {name}", daemon=True)
        self._thread.start()

    @property
    def up(self) -> bool:
        return True

    @property
    def busy(self) -> bool:
        return self._given > 0

    @property
    def report(self) -> InstanceReport:
        return InstanceReport(self._number, self._started, ready=True)

    def watch(self, keeper: Keeper) -> None:
        keeper.returned(self)

    def run(self, requests: Sequence[InferRequest], done: Done, emit: Emit) -> None:
        self._given += 1
        self._batches.put((requests, done, emit))

    def unwanted(self, request: InferRequest) -> None:
        """It has begun, and ends."""

    def close(self, when_ended: Callable[[], None] | None = None) -> None:
        """Let the thread end after what it was given. Returns at once: nobody waits for it."""
        self._batches.put(None)
        if when_ended is not None:
            when_ended()

    def release(self) -> Runtime:
        """Give up the loaded runtime, unclosed, to somebody who runs it elsewhere."""
        self._released = True
        return self.loaded.result()

    def _work(self) -> None:
        if not self.loaded.set_running_or_notify_cancel():
            return  # nobody wants it any more
        try:
            runtime = self._load()
        except (
            BaseException
        ) as error:  # whoever waits for the load decides what it means, SystemExit included
            self.loaded.set_exception(error)
            return
        reporter = _reporter(runtime, self._loop, self._metrics)
        self.loaded.set_result(runtime)
        while (batch := self._batches.get()) is not None:
            requests, done, emit = batch
            start = time.perf_counter()
            outcomes = execute(runtime, requests, self._hand_out(emit))
            finished = (done, outcomes, time.perf_counter() - start)
            del batch, requests, done, emit, outcomes  # nothing of a request may outlive its answer here
            self._finished.append(finished)
            del finished
            if len(self._finished) == 1:
                self._wake()
        if not self._released:
            runtime.close()
        if reporter is not None:
            reporter.close()

    def _hand_out(self, emit: Emit) -> Emit:
        """The same from this thread: parts reach the event loop in the order they are made."""

        def hand_out(place: int, part: InferResponse) -> bool:
            self._loop.call_soon_threadsafe(emit, place, part)
            return True

        return hand_out

    def _wake(self) -> None:
        try:
            self._loop.call_soon_threadsafe(self._deliver)
        except RuntimeError:  # the event loop is closed: nobody is left to be told
            self._finished.clear()

    def _deliver(self) -> None:
        finished = self._finished
        while finished:
            done, outcomes, seconds = finished.popleft()
            self._given -= 1
            done(outcomes, seconds)
