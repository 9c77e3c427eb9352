"""Looks at the repository once in a while and follows the changes that are over.

Looking happens on a thread: the event loop only compares. A model that takes long to load keeps no other from being
followed.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from dragoman.engine.following import Follower
from dragoman.engine.quiet import Quiet
from dragoman.repository.offers import Offer, Offers
from dragoman.scheduling.scheduler import Clock, TimerHandle

log = logging.getLogger("dragoman.engine")


class Poller:
    """Runs on the event loop from ``start`` to ``stop``. ``known`` is what has been followed already."""

    def __init__(
        self,
        look: Callable[[], Awaitable[Offers]],
        follower: Follower,
        clock: Clock,
        interval: float,
        known: Offers,
    ) -> None:
        self._look = look
        self._follower = follower
        self._clock = clock
        self._interval = interval
        self._quiet = Quiet(known)
        self._timer: TimerHandle | None = None
        self._looks: set[asyncio.Task[None]] = set()
        self._aims: dict[
            str, Offer | None
        ] = {}  # what models should become, when they have become what they should
        self._following: dict[str, asyncio.Task[None]] = {}

    def start(self) -> None:
        self._timer = self._clock.call_at(self._clock.time() + self._interval, self._tick)

    async def stop(self) -> None:
        """Returns when nothing is being changed any more."""
        if self._timer is not None:
            self._timer.cancel()
        tasks = [*self._looks, *self._following.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def look(self) -> None:
        """Follow what two looks in a row have seen alike. Returns when that has been done."""
        there = await self._look()
        changes = self._quiet.changes(there)
        await asyncio.gather(*(self._aim(name, offer) for name, offer in changes.items()))
        self._follower.forget(there)

    def _tick(self) -> None:
        self.start()
        task = asyncio.get_running_loop().create_task(self.look())
        self._looks.add(task)
        task.add_done_callback(self._looked)

    def _looked(self, task: "asyncio.Task[None]") -> None:
        self._looks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("the models could not be looked at", exc_info=error)

    async def _aim(self, name: str, offer: Offer | None) -> None:
        self._aims[name] = offer
        if name not in self._following:
            self._following[name] = asyncio.get_running_loop().create_task(self._follow(name))
        await asyncio.shield(self._following[name])

    async def _follow(self, name: str) -> None:
        try:
            while name in self._aims:
                offer = self._aims.pop(name)
                if offer is None:
                    await self._follower.retire(name)
                else:
                    await self._follower.follow(offer)
        finally:
            del self._following[name]
