"""Runs jobs while the server serves: a few at once, and none while requests of clients wait for its model.

::

    store ──claim──► run ──► finish | put back          heart: holds on to what runs
                                └──► webhook ──► told, or again later

Everything happens on the event loop's thread but what blocks, which has one thread of its own.
"""

import asyncio
import logging
import secrets
import time
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVar

from dragoman.config import JobSettings
from dragoman.engine.engine import Engine
from dragoman.engine.model import Model
from dragoman.errors import DragomanError, NotFound, StorageFailed
from dragoman.jobs.description import describe_event
from dragoman.jobs.order import Order
from dragoman.jobs.running import Ended, failed_unexpectedly, run_request, run_rows
from dragoman.jobs.webhooks import Webhooks, delay_after
from dragoman.store.job import FAILED, GIVEN_UP, TOLD, UNTOLD, Job, Result, Work
from dragoman.tensors import dump_json
from dragoman.transport.router import Router

if TYPE_CHECKING:
    from dragoman.store.jobs import JobStore
    from dragoman.store.predictions import Predictions

log = logging.getLogger("dragoman.jobs")

#: Seconds between two looks for jobs that other processes have accepted or left, and for webhooks that are due.
POLL: Final = 0.5
#: Seconds between two looks whether a model's clients have all been served, and how long a job lets them go first.
POLITE: Final = 0.02
PATIENCE: Final = 60.0
#: Seconds between two looks for what is too old to be kept.
SWEEP: Final = 60.0
#: Seconds until a job whose model can't answer is begun again; doubled each time, up to the longest.
FIRST_WAIT: Final = 1.0
LONGEST_WAIT: Final = 60.0
#: Seconds in which nobody else tries to tell what is being told.
TELLING: Final = 60.0

T = TypeVar("T")


class Database:
    """The store's calls, one after the other, on a thread that may wait for the disk."""

    def __init__(self, store: "JobStore") -> None:
        self.store = store
        self._thread = ThreadPoolExecutor(1, "dragoman-jobs")

    async def call(self, function: Callable[..., T], *arguments: Any, **named: Any) -> T:
        """Raises what the call raises."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, partial(function, *arguments, **named))

    async def close(self) -> None:
        await self.call(self.store.close)
        self._thread.shutdown()


class Runner:
    """``start`` it when the models are there, ``stop`` it before they go."""

    def __init__(
        self,
        database: Database,
        engine: Engine,
        router: Router,
        settings: JobSettings,
        webhooks: Webhooks,
        predictions: "Predictions | None" = None,
    ) -> None:
        self._database = database
        self._store = database.store
        self._engine = engine
        self._router = router
        self._settings = settings
        self._webhooks = webhooks
        self._predictions = predictions
        self._stats = engine.stats.jobs
        self._owner = secrets.token_hex(8)
        self._running: dict[str, asyncio.Task[None]] = {}
        self._telling: set[asyncio.Task[None]] = set()
        self._loops: list[asyncio.Task[None]] = []
        self._woken = asyncio.Event()
        self._stopping = asyncio.Event()

    def start(self) -> None:
        loop = asyncio.get_running_loop()
        for work in (self._claim_all, self._tell_all):
            self._loops.append(loop.create_task(self._again(work, self._wait)))
        for work in (self._beat, self._sweep):
            self._loops.append(loop.create_task(self._again(work, asyncio.sleep)))

    def wake(self) -> None:
        """There may be something to do."""
        self._woken.set()

    def cancel(self, id: str) -> None:  # noqa: A002 - it is called that
        """Nobody wants it any more."""
        task = self._running.get(id)
        if task is not None:
            task.cancel()

    async def stop(self, grace: float) -> None:
        """Begin nothing more; what runs has ``grace`` seconds to end, and is begun again elsewhere or later."""
        self._stopping.set()
        self._woken.set()
        if self._running:
            await asyncio.wait(list(self._running.values()), timeout=grace)
        tasks = [*self._loops, *self._running.values(), *self._telling]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # Loops, each of which goes on whatever happens in one of its turns.

    async def _again(
        self, work: Callable[[], Awaitable[float]], wait: Callable[[float], Awaitable[None]]
    ) -> None:
        while not self._stopping.is_set():
            try:
                seconds = await work()
            except DragomanError as error:
                log.warning("jobs wait for their database", extra={"reason": error.message})
                seconds = POLL
            except Exception:
                log.exception("a turn of the jobs' loop failed")
                seconds = POLL
            await wait(seconds)

    async def _wait(self, seconds: float) -> None:
        """Until there may be something to do, but not for ever: other processes don't tell."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._woken.wait()
        self._woken.clear()

    async def _claim_all(self) -> float:
        said = self._settings
        while len(self._running) < said.concurrency and not self._stopping.is_set():
            work = await self._database.call(self._store.claim, self._owner, said.lease, said.attempts)
            if work is None:
                break
            if self._stopping.is_set():
                await self._database.call(self._store.put_back, work, 0.0, "", counts=False)
                break
            task = asyncio.get_running_loop().create_task(self._run(work))
            self._running[work.job.id] = task
            self._stats.running = len(self._running)
            task.add_done_callback(partial(self._ran, work.job.id))
        return POLL

    def _ran(self, id_: str, task: "asyncio.Task[None]") -> None:
        self._running.pop(id_, None)
        self._stats.running = len(self._running)
        self._woken.set()
        if not task.cancelled() and (error := task.exception()) is not None:
            # Its lease runs out, and then it is begun again.
            log.error("a job's end could not be kept", extra={"job": id_}, exc_info=error)

    async def _beat(self) -> float:
        """Hold on to what runs; what somebody else has meanwhile, or nobody wants, is given up."""
        ids = list(self._running)
        mine = await self._database.call(self._store.renew, self._owner, ids, self._settings.lease)
        for id_ in ids:
            if id_ not in mine:
                self.cancel(id_)
        return self._settings.lease / 3

    async def _sweep(self) -> float:
        await self._database.call(self._store.forget, self._settings.retention)
        return SWEEP

    # One job.

    async def _run(self, work: Work) -> None:
        order = Order.decode(work.job.order)
        self._stats.begun += 1
        try:
            async with asyncio.timeout(self._settings.timeout or None):
                ended = await self._do(work, order)
        except TimeoutError:
            ended = Ended(FAILED, Result(status=504), f"it took more than {self._settings.timeout:g} s")
        except asyncio.CancelledError:
            with suppress(DragomanError):  # where it is not ours any more, this changes nothing
                await asyncio.shield(
                    self._database.call(
                        self._store.put_back, work, 0.0, "", counts=not self._stopping.is_set()
                    )
                )
            raise
        except StorageFailed:
            raise
        except Exception as error:
            number = secrets.token_hex(4)
            log.exception("a job failed, id %s", number, extra={"job": work.job.id}, exc_info=error)
            ended = failed_unexpectedly(number)
        await self._end(work, ended)

    async def _do(self, work: Work, order: Order) -> Ended:
        await self._let_go_first(order)
        if order.is_rows:
            progress = _Progress(work, self._database, self._predictions)
            said = self._settings
            return await run_rows(order, work.body, self._engine, progress, said.folder, said.rows)
        return await run_request(order, work.body, self._router, time.monotonic())

    async def _let_go_first(self, order: Order) -> None:
        """While clients wait for the same model, a job waits, too, but not for ever."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            try:
                model: Model = self._engine.find(order.model, order.version)
            except NotFound:
                return
            if not model.stats.waiting:
                return
            await asyncio.sleep(POLITE)

    async def _end(self, work: Work, ended: Ended) -> None:
        job = work.job
        labels = {"job": job.id, "attempt": job.attempts}
        if ended.passing and job.attempts < self._settings.attempts:
            delay = min(FIRST_WAIT * 2.0 ** (job.attempts - 1), LONGEST_WAIT)
            log.info("a job is begun again later", extra={**labels, "reason": ended.error, "seconds": delay})
            await self._database.call(self._store.put_back, work, delay, ended.error)
            return
        if await self._database.call(self._store.finish, work, ended.state, ended.result, ended.error):
            self._stats.ended[ended.state] += 1
            log.info("a job has ended", extra={**labels, "state": ended.state, "reason": ended.error})
            self._woken.set()

    # Webhooks.

    async def _tell_all(self) -> float:
        while len(self._telling) < self._settings.concurrency and not self._stopping.is_set():
            job = await self._database.call(self._store.untold, TELLING)
            if job is None:
                break
            task = asyncio.get_running_loop().create_task(self._tell(job))
            self._telling.add(task)
            task.add_done_callback(self._telling.discard)
        return POLL

    async def _tell(self, job: Job) -> None:
        body = dump_json(describe_event(job))
        tried = await asyncio.to_thread(self._webhooks.tell, job.webhook, f"msg_{job.id}", body)
        attempts = job.webhook_attempts
        if tried.told:
            state, outcome = TOLD, "told"
        elif tried.final or attempts >= self._settings.webhook_attempts:
            state, outcome = GIVEN_UP, "given_up"
        else:
            state, outcome = UNTOLD, "failed"
        self._stats.webhooks[outcome] += 1
        if not tried.told:
            log.warning(
                "a webhook was not told",
                extra={
                    "job": job.id,
                    "attempt": attempts,
                    "reason": tried.reason,
                    "given_up": state == GIVEN_UP,
                },
            )
        await self._database.call(self._store.told, job.id, state, delay_after(attempts))


class _Progress:
    """Keeps answers to the rows of one job, as long as it is this process' own."""

    def __init__(self, work: Work, database: Database, predictions: "Predictions | None") -> None:
        self.done = work.job.rows_done
        self._work = work
        self._database = database
        self._predictions = predictions

    async def add(self, first_row: int, body: bytes, rows: int, total: int) -> None:
        store = self._database.store
        if not await self._database.call(store.add_part, self._work, first_row, body, rows, total):
            raise asyncio.CancelledError

    async def keep(self, model: Model, answers: Sequence[tuple[bytes, bytes]]) -> None:
        if self._predictions is not None:
            store, name, version = self._predictions, model.name, model.version
            await self._database.call(store.put, name, version, answers)
