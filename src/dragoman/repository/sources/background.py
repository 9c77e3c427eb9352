"""A fetch beside an event loop: on a thread of its own, so that a slow one keeps nobody else waiting."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from threading import Thread

from dragoman.repository.sources.fetching import Check, Fetched, Sources
from dragoman.repository.sources.staging import Progress


async def fetch(
    sources: Sources,
    location: str,
    *,
    digest: str = "",
    progress: Progress | None = None,
    check: Check | None = None,
) -> Fetched:
    """As ``Sources.fetch``. ``progress`` is called on the event loop, ``check`` on the thread.

    Cancelling ends the fetch, and returns when the store is as it was before.
    """
    loop, effort = asyncio.get_running_loop(), sources.effort()
    done: asyncio.Future[Fetched] = loop.create_future()

    def tell(size: int, total: int | None) -> None:
        if progress is not None:
            _call(loop, lambda: progress(size, total))

    def work() -> None:
        try:
            fetched = sources.fetch(location, digest=digest, progress=tell, check=check, effort=effort)
        except BaseException as error:
            failure = error  # the name in the clause is gone when the loop gets there
            _call(loop, lambda: done.set_exception(failure))
        else:
            _call(loop, lambda: done.set_result(fetched))

    Thread(target=work, name="dragoman-fetch", daemon=True).start()
    try:
        return await asyncio.shield(done)
    except asyncio.CancelledError:
        effort.cancel()
        await _settled(done)
        if done.exception() is None:  # it was complete before it heard
            await asyncio.to_thread(done.result().discard)
        raise


async def _settled(done: asyncio.Future[Fetched]) -> None:
    while not done.done():
        with suppress(asyncio.CancelledError):
            await asyncio.wait([done])


def _call(loop: asyncio.AbstractEventLoop, function: Callable[[], object]) -> None:
    with suppress(RuntimeError):  # the loop may be closed: then nobody waits
        loop.call_soon_threadsafe(function)
