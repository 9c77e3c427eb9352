"""The instances of one model: loaded together, closed together. Decides where they run.

``inline`` runs on the event loop, ``thread`` on a thread of the server, ``process`` in a process of its own, which may
crash, leak and hang without taking anything else with it.
"""

import asyncio
import os
import sys
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any, Final

from dragoman.config import ModelSettings
from dragoman.errors import ConfigError
from dragoman.runtimes.base import Artifact, Runtime
from dragoman.runtimes.table import runtime_class
from dragoman.scheduling.scheduler import Instance, Now
from dragoman.types import Signature
from dragoman.workers.crash import CrashReport
from dragoman.workers.instance import InlineInstance, ThreadInstance
from dragoman.workers.process import ProcessInstance, ProcessPlan
from dragoman.workers.reporting import Outlet

#: Runtimes that run their users' code: in processes, unless the operator or the model says otherwise.
USER_CODE: Final = frozenset({"python", "torchserve"})
#: What the border between processes is made of.
PROCESSES_WORK: Final = all(hasattr(os, name) for name in ("memfd_create", "eventfd", "pidfd_open"))


@dataclass(frozen=True, slots=True)
class Pool:
    """Instances that are ready to run, and what they all say of themselves.

    ``close`` is for when nothing runs any more; it calls what it is given when everything has ended.
    """

    signature: Signature
    instances: Sequence[Instance]
    close: Callable[[Callable[[], None]], None]
    takes_requests: bool = False
    crashes: deque[CrashReport] = field(default_factory=deque)
    now: Now | None = None  #: the instance's short way, where it runs on the event loop
    metrics: Outlet = field(default_factory=Outlet)
    continuous: bool = False  #: requests are handed over one by one, and join what runs


async def start(
    artifact: Artifact, runtime: str, settings: ModelSettings, environment: Mapping[str, str] | None = None
) -> Pool:
    """Load a model as often as it has instances, side by side. Raises what the first failing load raised."""
    asked = settings.execution != "auto"
    where = settings.execution if asked else "process" if runtime in USER_CODE and PROCESSES_WORK else ""
    if where == "process":
        if not PROCESSES_WORK:
            raise ConfigError(
                "models can run in processes of their own on Linux only", hint="use execution = 'thread'"
            )
        pool, fast = await _start_processes(artifact, runtime, settings, environment)
        if not fast or asked:
            return pool
        # That was a try: a model that says it is fast, and has loaded without harm, may come in.
        await _closed(pool.close)

    def load() -> Runtime:
        return runtime_class(runtime).load(artifact)

    return await start_here(artifact.name, load, settings.instances, where)


async def _start_processes(
    artifact: Artifact, runtime: str, settings: ModelSettings, environment: Mapping[str, str] | None
) -> tuple[Pool, bool]:
    loop = asyncio.get_running_loop()
    plan = ProcessPlan(
        artifact.name,
        artifact.version,
        _order(artifact, runtime, settings),
        environment,
        response_timeout=settings.response_timeout,
        # Else it is better to wait for company, or to refuse.
        ahead=settings.max_batch <= 1 and not settings.sequences and settings.queue_size > 0,
        # With sequences twice as many, as in TorchServe: who cancels one must get in beside it.
        batch_size=(settings.max_batch or 1) * (2 if settings.sequences else 1),
    )
    processes = [ProcessInstance(plan, number, loop) for number in range(settings.instances)]
    try:
        hellos = await asyncio.gather(*(process.loaded for process in processes))
        _check_equal(artifact.name, [signature for signature, _ in hellos])
    except BaseException:
        await _closed(partial(_close_processes, processes))
        raise
    signature, fast = hellos[0]
    takes_requests = runtime_class(runtime).takes_requests
    close = partial(_close_processes, processes)
    pool = Pool(
        signature, processes, close, takes_requests, plan.crashes,
        metrics=plan.metrics, continuous=processes[0].continuous,
    )  # fmt: skip
    return pool, fast


async def start_here(name: str, load: Callable[[], Runtime], instances: int = 1, where: str = "") -> Pool:
    """Load a model in this process: on threads, or inline if it is fast or ``where`` says so.

    An inline model is one copy, loaded on a thread so that the event loop stays free meanwhile.
    """
    loop = asyncio.get_running_loop()
    metrics = Outlet()
    threads = [ThreadInstance(name, load, loop, metrics) for _ in range(instances)]
    try:
        runtimes = await asyncio.gather(*(asyncio.wrap_future(thread.loaded) for thread in threads))
        _check_equal(name, [loaded.signature for loaded in runtimes])
    except BaseException:
        _close_threads(threads)
        raise
    signature, takes_requests = runtimes[0].signature, runtimes[0].takes_requests
    if where == "thread" or not (where == "inline" or runtimes[0].fast):
        return Pool(signature, threads, partial(_close_threads, threads), takes_requests, metrics=metrics)
    # The threads have nothing more to do; a runtime that stays must not be closed by the thread that loaded it.
    inline = InlineInstance(threads[0].release(), loop, metrics)
    _close_threads(threads)
    if takes_requests:  # its answers may come in parts
        return Pool(signature, [inline], inline.close, takes_requests, metrics=metrics)
    return Pool(signature, [inline], inline.close, now=inline.run_now, metrics=metrics)


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
    }


def _check_equal(name: str, signatures: Sequence[Signature]) -> None:
    if any(signature != signatures[0] for signature in signatures):
        raise ConfigError(f"the instances of model {name!r} disagree about its signature")


def _close_threads(threads: Sequence[ThreadInstance], when_ended: Callable[[], None] | None = None) -> None:
    for thread in threads:
        thread.close()
    if when_ended is not None:
        when_ended()


def _close_processes(processes: Sequence[ProcessInstance], when_ended: Callable[[], None]) -> None:
    left = set(processes)

    def ended(process: ProcessInstance) -> None:
        left.discard(process)
        if not left:
            when_ended()

    for process in processes:
        process.close(partial(ended, process))


async def _closed(close: Callable[[Callable[[], None]], None]) -> None:
    ended = asyncio.Event()
    close(ended.set)
    await ended.wait()
