"""The instances of one model: loaded together, closed together. Decides where they run.

``inline`` runs on the event loop, ``thread`` on a thread of the server, ``process`` in a process of its own, which may
crash, leak and hang without taking anything else with it, and ``ray`` anywhere in a cluster.
"""

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from itertools import count
from typing import Any, Final, Protocol, TypeVar

from dragoman.config import ModelSettings
from dragoman.errors import ConfigError
from dragoman.runtimes.base import Artifact, Runtime
from dragoman.runtimes.table import runtime_class
from dragoman.scheduling.scheduler import Instance, Now
from dragoman.workers.crash import Exits
from dragoman.workers.far import Loader
from dragoman.workers.instance import InlineInstance, LoopInstance, ThreadInstance
from dragoman.workers.introduction import Introduction
from dragoman.workers.process import ProcessInstance, ProcessPlan
from dragoman.workers.questions import Questions, ask_from_threads
from dragoman.workers.report import InstanceReport
from dragoman.workers.reporting import Outlet

#: Runtimes that run their users' code: in processes, unless the operator or the model says otherwise.
USER_CODE: Final = frozenset({"kserve", "python", "service", "torchserve", "triton_python"})
#: What the border between processes is made of.
PROCESSES_WORK: Final = all(hasattr(os, name) for name in ("memfd_create", "eventfd", "pidfd_open"))

#: Batches of a model made of coroutines that run side by side; one where it joins requests.
SIDE_BY_SIDE: Final = 256

T = TypeVar("T", bound=tuple[Any, ...])


class Closable(Instance, Protocol):
    """An instance that can be given back, when nothing runs on it any more; it tells when it has ended.

    ``memory`` is what its process has for itself, in bytes; 0 where it has none of its own.
    """

    @property
    def memory(self) -> int: ...
    @property
    def report(self) -> InstanceReport: ...
    def close(self, when_ended: Callable[[], None]) -> None: ...


class Pool:
    """Instances that are ready to run, and what they all say of themselves."""

    def __init__(
        self,
        said: Introduction,
        instances: Sequence[Closable],
        more: Callable[[], Awaitable[Closable]] | None = None,
        *,
        exits: Exits | None = None,
        now: Now | None = None,
        metrics: Outlet | None = None,
        questions: Questions | None = None,
    ) -> None:
        """``more`` loads one more instance; ``now`` is the short way of one that runs on the event loop."""
        self.signature = said.signature
        self.instances = list(instances)
        self.takes_requests = said.takes_requests
        self.takes_documents = said.takes_documents
        self.takes_rows = said.takes_rows
        self.decoupled = said.decoupled
        self.most_requests = said.most_requests  #: that it likes to get at once
        self.faces = said.faces  #: what else it can be asked, by name
        self.description = said.description
        self.exits = exits  #: how its processes ended, where it has any
        self.now = now
        self.metrics = metrics or Outlet()
        self.questions = questions or Questions()  #: to other models
        self.continuous = said.continuous  #: requests are handed over one by one, and join what runs
        self._more = more

    @property
    def elastic(self) -> bool:
        """Whether there can be more or fewer instances than at the start."""
        return self._more is not None

    @property
    def memory(self) -> int:
        """Bytes that the instances' processes have for themselves."""
        return sum(instance.memory for instance in list(self.instances))

    @property
    def reports(self) -> list[InstanceReport]:
        """What the instances tell of themselves, the oldest first."""
        return [instance.report for instance in self.instances]

    async def add(self) -> Instance:
        """Load one more instance. Raises what its load raised."""
        if self._more is None:
            raise ConfigError("a model on the event loop has one instance")
        instance = await self._more()
        self.instances.append(instance)
        return instance

    async def remove(self, instance: Instance) -> None:
        """Give back an instance on which nothing runs; returns when it has ended."""
        ended = asyncio.Event()
        for mine in [each for each in self.instances if each is instance]:
            self.instances.remove(mine)
            mine.close(ended.set)
            await ended.wait()

    def close(self, when_ended: Callable[[], None]) -> None:
        """Give back all instances; nothing runs on them. Tells when they have ended."""
        _close(self.instances, when_ended)


async def start(
    artifact: Artifact, runtime: str, settings: ModelSettings, environment: Mapping[str, str] | None = None
) -> Pool:
    """Load a model as often as it has instances, side by side. Raises what the first failing load raised."""
    sleeps = not settings.instances and PROCESSES_WORK  # only a process that ends gives its memory back
    asked = settings.execution != "auto" or sleeps
    where = settings.execution if settings.execution != "auto" else ""
    if not where and (sleeps or (runtime in USER_CODE and PROCESSES_WORK)):
        where = "process"
    if where == "ray":
        return await _start_far(artifact, runtime, settings, environment)
    if where == "process":
        if not PROCESSES_WORK:
            raise ConfigError(
                "models can run in processes of their own on Linux only", hint="use execution = 'thread'"
            )
        pool, fast = await _start_processes(artifact, runtime, settings, environment)
        if not fast or asked:
            return pool
        # That was a try: a model that says it is fast, and has loaded without harm, may come in.
        await _closed(pool.instances)

    def load() -> Runtime:
        return runtime_class(runtime).load(artifact)

    return await start_here(artifact.name, load, settings.instances or 1, where)


async def _start_processes(
    artifact: Artifact, runtime: str, settings: ModelSettings, environment: Mapping[str, str] | None
) -> tuple[Pool, bool]:
    """The pool, and whether the model says that it is fast."""
    loop = asyncio.get_running_loop()
    plan = ProcessPlan(
        artifact.name,
        artifact.version,
        _order(artifact, runtime, settings),
        environment,
        response_timeout=settings.response_timeout,
        load_timeout=settings.load_timeout,
        # Else it is better to wait for company, or to refuse.
        ahead=settings.max_batch <= 1 and not settings.sequences and settings.queue_size > 0,
        # With sequences twice as many, as in TorchServe: who cancels one must get in beside it.
        batch_size=(settings.max_batch or 1) * (2 if settings.sequences else 1),
    )
    numbers = count()

    async def load() -> tuple[ProcessInstance, Introduction]:
        process = ProcessInstance(plan, next(numbers), loop)
        try:
            return process, await process.loaded
        except BaseException:
            await _closed([process])
            raise

    kind = runtime_class(runtime)
    if not settings.instances and kind.takes_requests and hasattr(kind, "signature"):
        # All that it says when it is loaded.
        documents = kind.takes_documents
        said, loaded = Introduction(kind.signature, takes_requests=True, takes_documents=documents), []
    else:  # a model that may sleep is loaded once: nobody else can say what it takes
        loaded = await _all(load, settings.instances or 1)
        _, said = loaded[0]

    async def more() -> Closable:
        process, its = await load()
        await _check_equal(artifact.name, [process], [said, its])
        return process

    processes = [process for process, _ in loaded]
    await _check_equal(artifact.name, processes, [each for _, each in loaded])
    return Pool(
        said, processes, more, exits=plan.exits, metrics=plan.metrics, questions=plan.questions
    ), said.fast


async def _start_far(
    artifact: Artifact, runtime: str, settings: ModelSettings, environment: Mapping[str, str] | None
) -> Pool:
    """As replicas in a cluster, each of which is an instance."""
    loader = Loader(artifact, runtime, settings, environment)
    loaded = await _all(loader.load, settings.instances or 1)
    _, said = loaded[0]
    replicas = [replica for replica, _ in loaded]
    await _check_equal(artifact.name, replicas, [each for _, each in loaded])

    async def more() -> Closable:
        replica, its = await loader.load()
        await _check_equal(artifact.name, [replica], [said, its])
        return replica

    return Pool(said, replicas, more, exits=loader.exits, metrics=loader.metrics)


async def start_here(name: str, load: Callable[[], Runtime], instances: int = 1, where: str = "") -> Pool:
    """Load a model in this process: on threads, or inline if it is fast or ``where`` says so.

    An inline model is one copy, loaded on a thread so that the event loop stays free meanwhile.
    """
    loop, numbers = asyncio.get_running_loop(), count()
    metrics, questions = Outlet(), Questions()

    def load_here() -> Runtime:
        runtime = load()
        if runtime.talks:
            runtime.attend(ask_from_threads(questions, loop))
        return runtime

    async def start() -> tuple[ThreadInstance, Runtime]:
        thread = ThreadInstance(name, load_here, loop, metrics, next(numbers))
        try:
            return thread, await asyncio.wrap_future(thread.loaded)
        except BaseException as error:
            thread.close()
            if isinstance(error, SystemExit):
                raise ConfigError(
                    f"the model's code called sys.exit({error.code!r}) while it loaded"
                ) from None
            raise

    started = await _all(start, instances)
    threads = [thread for thread, _ in started]
    runtime = started[0][1]
    said = Introduction.of(runtime)
    await _check_equal(name, threads, [Introduction.of(loaded) for _, loaded in started])

    async def more() -> Closable:
        thread, loaded = await start()
        await _check_equal(name, [thread], [said, Introduction.of(loaded)])
        return thread

    if where == "thread" or not (where == "inline" or runtime.fast):
        return Pool(said, threads, more, metrics=metrics, questions=questions)
    if said.concurrent or said.talks:
        await _closed(threads)
        why = "asks other models" if said.talks else "is made of coroutines"
        raise ConfigError(
            f"model {name!r} {why}: it can't run on the server's event loop",
            hint="use execution = 'process' or 'thread'",
        )
    # The threads have nothing more to do; a runtime that stays must not be closed by the thread that loaded it.
    inline = InlineInstance(threads[0].release(), loop, metrics)
    await _closed(threads)
    if said.takes_requests:  # its answers may come in parts
        return Pool(said, [inline], metrics=metrics)
    return Pool(said, [inline], now=inline.run_now, metrics=metrics)


async def start_loaded(runtime: Runtime, max_batch: int = 0) -> Pool:
    """A model made of coroutines that was loaded by whoever runs this process, on the event loop."""
    metrics = Outlet()
    most = 1 if max_batch > 1 else SIDE_BY_SIDE
    instance = LoopInstance(runtime, asyncio.get_running_loop(), metrics, most)
    return Pool(Introduction.of(runtime), [instance], metrics=metrics)


async def _all(load: Callable[[], Coroutine[Any, Any, T]], times: int) -> list[T]:
    """So many loads side by side; when one fails, or nobody wants them any more, the others are given up."""
    tasks = [asyncio.create_task(load()) for _ in range(times)]
    try:
        return await asyncio.gather(*tasks)
    except BaseException:
        for task in tasks:
            if not task.cancelling():  # a second time would disturb it while it tidies up
                task.cancel()
        done = await asyncio.gather(*tasks, return_exceptions=True)
        await _closed([each[0] for each in done if isinstance(each, tuple)])
        raise


def _order(artifact: Artifact, runtime: str, settings: ModelSettings) -> Mapping[str, Any]:
    """What a process is told: everything it needs to load the model where it is."""
    described = asdict(artifact)
    described["path"] = None if artifact.path is None else str(artifact.path)
    return {
        "runtime": runtime,
        "artifact": described,
        "sys_path": [path for path in sys.path if path],
        "max_requests": settings.max_requests,
        "max_rss": settings.max_rss,
        "max_memory": settings.max_memory,
        "max_processes": settings.max_processes,
        "max_output": settings.max_output,
    }


async def _check_equal(name: str, instances: Sequence[Closable], said: Sequence[Introduction]) -> None:
    if not all(each.agrees(said[0]) for each in said):
        await _closed(instances)
        raise ConfigError(f"the instances of model {name!r} disagree about its signature")


def _close(instances: Sequence[Closable], when_ended: Callable[[], None]) -> None:
    left = set(instances)

    def ended(instance: Closable) -> None:
        left.discard(instance)
        if not left:
            when_ended()

    if not left:
        when_ended()
    for instance in list(instances):
        instance.close(partial(ended, instance))


async def _closed(instances: Sequence[Closable]) -> None:
    ended = asyncio.Event()
    _close(instances, ended.set)
    await ended.wait()
