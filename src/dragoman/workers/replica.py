"""What runs far away: one loaded model in a process that a cluster has started, and that may run batches.

Knows the runtimes and how a batch is executed, and nothing of the cluster. Everything that goes in or out of it is
plain: requests, outcomes, parts of answers, lists and texts.
"""

import asyncio
import logging
import sys
import time
import traceback
from collections import deque
from collections.abc import AsyncIterator, Coroutine, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from dragoman.errors import ConfigError, NotReady
from dragoman.model_metrics import Value
from dragoman.runtimes.base import Artifact, Emit, Runtime
from dragoman.runtimes.table import runtime_class
from dragoman.scheduling.scheduler import Outcome
from dragoman.types import InferRequest, InferResponse
from dragoman.workers.execution import execute, execute_concurrently
from dragoman.workers.introduction import introduce

T = TypeVar("T")

#: Records that wait to be told with an answer; older ones are left out.
MOST_RECORDS: Final = 100


@dataclass(frozen=True, slots=True)
class Part:
    """A part of the answer to the request at ``place`` of its batch, before its last one."""

    place: int
    response: InferResponse


@dataclass(frozen=True, slots=True)
class Record:
    """A line that was logged, as text: what a model raises need not be known elsewhere."""

    level: int
    text: str
    id: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """The outcomes of a batch, the seconds it ran, and what came up meanwhile: numbers and lines of the log."""

    outcomes: Sequence[Outcome]
    seconds: float
    metrics: Sequence[Value] = ()
    records: Sequence[Record] = ()


@dataclass(frozen=True, slots=True)
class Order:
    """What a replica is told: everything it needs to load the model where it is."""

    runtime: str
    artifact: dict[str, Any]
    sys_path: Sequence[str] = ()


class Replica:
    """Loads the model when it is made, and never raises then: ``describe`` says how that went.

    A runtime is used by one thread only, which has loaded it; one that is ``concurrent`` has its own event loop there.
    """

    def __init__(self, order: Order) -> None:
        self._records = _Records()
        self._thread = ThreadPoolExecutor(1, "model")
        self._loop: asyncio.AbstractEventLoop | None = None
        self._leaving: asyncio.Event | None = None
        self._runtime: Runtime | None = None
        self._failure: dict[str, str] = {}
        self._told = False
        try:
            self._runtime = self._thread.submit(_load, order).result()
        except BaseException as error:
            self._failure = _describe_failure(error)
            return
        if self._runtime.concurrent:
            self._loop = self._open_loop(self._runtime)

    async def describe(self) -> dict[str, Any]:
        """What the model is, as ``read_introduction`` reads it, or under ``failure`` why it could not be loaded."""
        if self._runtime is None:
            self._told = True
            return {"failure": self._failure}
        # Nobody joins a batch that runs here: it is answered to the end.
        return introduce(self._runtime) | {"continuous": False}

    async def run(self, requests: Sequence[InferRequest]) -> Answer:
        """Answer a batch; parts of answers before their last are lost."""
        return await self._run(requests, _lose)

    async def stream(self, requests: Sequence[InferRequest]) -> AsyncIterator[Part | Answer]:
        """Answer a batch part by part; the answer comes last."""
        parts: asyncio.Queue[Part] = asyncio.Queue()
        loop = asyncio.get_running_loop()

        def emit(place: int, response: InferResponse) -> None:
            loop.call_soon_threadsafe(parts.put_nowait, Part(place, response))

        running = asyncio.ensure_future(self._run(requests, emit))
        try:
            while not running.done():
                coming = asyncio.ensure_future(parts.get())
                await asyncio.wait((running, coming), return_when=asyncio.FIRST_COMPLETED)
                if coming.done():
                    yield coming.result()
                else:
                    coming.cancel()
            while not parts.empty():
                yield parts.get_nowait()
            yield running.result()
        finally:
            running.cancel()  # when nobody wants the rest

    async def check_health(self) -> None:
        """The cluster asks: what could not be loaded, and has been told of, is to be replaced."""
        if self._told:
            raise RuntimeError("the model could not be loaded")

    async def _run(self, requests: Sequence[InferRequest], emit: Emit) -> Answer:
        runtime = self._runtime
        if runtime is None:
            self._told = True
            reason = f"a replica of the model could not load it: {self._failure['reason']}"
            return Answer([NotReady(reason)] * len(requests), 0.0)
        start = time.perf_counter()
        outcomes: Sequence[Outcome]
        if self._loop is not None:
            outcomes = await _elsewhere(self._loop, execute_concurrently(runtime, requests, emit))
            seconds = time.perf_counter() - start
        else:
            loop = asyncio.get_running_loop()
            outcomes, seconds = await loop.run_in_executor(self._thread, _timed, runtime, requests, emit)
        values = () if runtime.metrics is None else runtime.metrics.take()
        return Answer(outcomes, seconds, values, self._records.take())

    def _open_loop(self, runtime: Runtime) -> asyncio.AbstractEventLoop:
        """The runtime's own event loop, which from now on runs on its thread."""
        opened: Future[asyncio.AbstractEventLoop] = Future()

        async def stay() -> None:
            self._leaving = asyncio.Event()
            opened.set_result(asyncio.get_running_loop())
            await self._leaving.wait()

        self._thread.submit(runtime.finish, stay())
        return opened.result()

    def __del__(self) -> None:
        """The cluster calls this when the replica is to go, and nothing runs on it."""
        if self._runtime is None:
            return
        if self._loop is not None and self._leaving is not None:
            self._loop.call_soon_threadsafe(self._leaving.set)
        self._thread.submit(self._runtime.close).result()
        self._runtime = None


class _Records(logging.Handler):
    """Keeps what the server's own code logs here, until somebody takes it to where the server's log is."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self._kept: deque[Record] = deque(maxlen=MOST_RECORDS)
        logger = logging.getLogger("dragoman")
        logger.addHandler(self)
        logger.setLevel(logging.INFO)

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        if record.exc_info:
            text += "\n" + "".join(traceback.format_exception(*record.exc_info))
        self._kept.append(Record(record.levelno, text, str(record.__dict__.get("id", ""))))

    def take(self) -> Sequence[Record]:
        return [self._kept.popleft() for _ in range(len(self._kept))]


def _load(order: Order) -> Runtime:
    sys.path[:0] = [path for path in order.sys_path if path not in sys.path]
    artifact = Artifact(**order.artifact)
    if artifact.path is not None and not artifact.path.exists():
        raise ConfigError(
            f"the model's files are not on the machine of the replica: {artifact.path.name}",
            hint="every node needs them at the same path: a shared volume, or an image that has them",
        )
    return runtime_class(order.runtime).load(artifact)


def _timed(runtime: Runtime, requests: Sequence[InferRequest], emit: Emit) -> tuple[Sequence[Outcome], float]:
    start = time.perf_counter()
    return execute(runtime, requests, emit), time.perf_counter() - start


async def _elsewhere(loop: asyncio.AbstractEventLoop, coroutine: Coroutine[Any, Any, T]) -> T:
    """Await a coroutine that runs on another event loop; to give this up is to cancel it there."""
    return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(coroutine, loop))


def _lose(place: int, part: InferResponse) -> None:
    """Where nobody takes parts."""


def _describe_failure(error: BaseException) -> dict[str, str]:
    told = isinstance(error, ConfigError)
    reason = str(error) if told else f"{type(error).__name__}: {error}"
    if isinstance(error, SystemExit):
        reason = f"the model's code called sys.exit({error.code!r}) while it loaded"
    story = "" if told and error.__cause__ is None else "".join(traceback.format_exception(error))
    return {"reason": reason, "hint": error.hint if isinstance(error, ConfigError) else "", "story": story}
