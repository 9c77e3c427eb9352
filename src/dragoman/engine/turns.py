"""One thing at a time for each name; who wants what is being done already waits for that. Knows not what is done."""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from functools import partial
from typing import Any

Work = Callable[[], Coroutine[Any, Any, None]]


@dataclass(slots=True)
class _Doing:
    what: object
    task: "asyncio.Task[None]"


class Turns:
    """What is being done, by name. Everything happens on the event loop's thread."""

    def __init__(self) -> None:
        self._doing: dict[str, _Doing] = {}

    async def take(self, name: str, what: object, work: Work) -> bool:
        """Do ``work``, or wait for whoever does an equal ``what``; what that raises is raised.

        False when something else was being done, and is over now: things may have changed. What has begun goes on
        when who asked for it does not wait any more.
        """
        doing = self._doing.get(name)
        if doing is None:
            task = asyncio.get_running_loop().create_task(work())
            doing = self._doing[name] = _Doing(what, task)
            task.add_done_callback(partial(self._done, name))
        elif doing.what != what:
            await asyncio.wait({doing.task})
            return False
        await asyncio.shield(doing.task)
        return True

    def _done(self, name: str, task: "asyncio.Task[None]") -> None:
        del self._doing[name]
        if not task.cancelled():
            task.exception()  # whoever still waits for it is told
