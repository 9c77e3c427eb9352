"""Calls a model's hooks: coroutines on the event loop, functions on the model's own thread.

The original calls functions on the event loop, where they block everything else; like there, no two functions of one
model ever run at the same time.
"""

import asyncio
import inspect
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from functools import lru_cache, partial
from typing import Any


class OwnThread:
    """A thread that is there once it is needed. A copy of the model, in whatever process, gets one of its own."""

    def __init__(self) -> None:
        self._executor: ThreadPoolExecutor | None = None

    async def run(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """What the function returns, or raises, with the context of who asks."""
        if self._executor is None:
            self._executor = ThreadPoolExecutor(1, thread_name_prefix="kserve model")
        call = partial(copy_context().run, function, *arguments)
        return await asyncio.get_running_loop().run_in_executor(self._executor, call)

    def __reduce__(self) -> tuple[type["OwnThread"], tuple[()]]:
        return OwnThread, ()


async def call_hook(thread: OwnThread | None, hook: Callable[..., Any], *arguments: Any) -> Any:
    """What a hook gives. Without a thread, functions are called where we are, for a loop with nothing else to do."""
    if is_coroutine(getattr(hook, "__func__", hook)):
        return await hook(*arguments)
    result = hook(*arguments) if thread is None else await thread.run(hook, *arguments)
    return await result if inspect.isawaitable(result) else result


@lru_cache(maxsize=4096)
def is_coroutine(function: Callable[..., Any]) -> bool:
    """Whether calling it gives a coroutine; found out once for each function of a class."""
    return inspect.iscoroutinefunction(function)
