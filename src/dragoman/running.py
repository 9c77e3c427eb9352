"""Runs an app in a program of its own: the event loop, signals, and the collector while it serves."""

import asyncio
import gc
import logging
import signal
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from dragoman.app import App
from dragoman.transport.buffers import tune_allocator

log = logging.getLogger("dragoman")

T = TypeVar("T")


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine on the fastest event loop there is."""
    try:
        import uvloop
    except ImportError:
        return asyncio.run(main)
    result: T = uvloop.run(main)
    return result


async def serve(app: App, started: Callable[[App], None], stopping: asyncio.Event | None = None) -> int:
    """Run an app until a signal: the first drains, a second one stops at once. Returns the exit code.

    ``stopping`` is another way to stop it.
    """
    loop = asyncio.get_running_loop()
    signals: asyncio.Queue[int] = asyncio.Queue()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, signals.put_nowait, number)
    running = asyncio.create_task(_start(app, started))
    first = asyncio.create_task(_first_of(signals.get(), stopping))
    await asyncio.wait((running, first), return_when=asyncio.FIRST_COMPLETED)
    if running.done():
        running.result()
        await first
    else:
        running.cancel()  # a signal while models load: nothing was accepted that they would answer
        await asyncio.wait((running,))
    log.info("stopping: every accepted request is answered first", extra={"in_flight": app.in_flight})
    ending = asyncio.create_task(app.stop())
    second = asyncio.create_task(signals.get())
    await asyncio.wait((ending, second), return_when=asyncio.FIRST_COMPLETED)
    if not ending.done():
        log.warning("stopped at once by a second signal", extra={"in_flight": app.in_flight})
        return 128 + second.result()
    ending.result()
    second.cancel()
    return 0


async def _first_of(signal: Coroutine[Any, Any, int], stopping: asyncio.Event | None) -> None:
    """Returns when there is a signal, or when ``stopping`` is set."""
    waiting = [asyncio.ensure_future(signal)]
    if stopping is not None:
        waiting.append(asyncio.ensure_future(stopping.wait()))
    try:
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for each in waiting:
            each.cancel()


async def _start(app: App, started: Callable[[App], None]) -> None:
    tune_allocator()
    try:
        await app.start()
        # What is loaded stays: the collector need not look at it again and again while requests come and go.
        gc.collect()
        gc.freeze()
        started(app)
    except Exception:
        await app.stop()
        raise
