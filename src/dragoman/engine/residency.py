"""Which models are in memory, where memory has a budget: who was asked longest ago sleeps first.

Only models that may sleep are sent to sleep (``instances = 0``), and only while they have nothing to do. Their memory
is measured, not guessed, and comes back because their processes end.
"""

import asyncio
import logging
from typing import Final
from weakref import WeakKeyDictionary

from dragoman.engine.model import Model
from dragoman.engine.registry import Registry
from dragoman.errors import NotReady
from dragoman.scheduling.scheduler import Clock

log = logging.getLogger("dragoman.engine")

#: Seconds between two looks for a model that has nothing to do any more.
_PATIENCE: Final = 0.05


class Residency:
    """Keeps the models' processes within ``budget`` bytes; 0 is no budget."""

    def __init__(self, registry: Registry, clock: Clock, budget: int = 0) -> None:
        self.budget = budget
        self._registry = registry
        self._clock = clock
        self._lock = asyncio.Lock()
        self._sizes: WeakKeyDictionary[Model, int] = WeakKeyDictionary()  # what one instance has taken
        self._looking: asyncio.Task[None] | None = None

    async def used(self) -> int:
        """Bytes that the models' processes have for themselves now."""
        return await asyncio.to_thread(self._measure, list(self._registry))

    async def make_room(self, model: Model) -> None:
        """Let others sleep until an instance of ``model`` fits. Waits for those that work.

        Raises NotReady when it could not fit even if all slept that may.
        """
        async with self._lock:
            while await self._excess(self._sizes.get(model, 0)):
                sleepers = self._sleepers(but=model)
                if not sleepers:
                    raise NotReady(f"model {model.name!r} has no room: the others that are loaded must stay")
                if not await self._send_to_sleep(sleepers):
                    await self._moment()

    async def has_room(self, model: Model) -> bool:
        """Whether one more instance of ``model`` fits as things are."""
        return not await self._excess(self._sizes.get(model, 0))

    def look(self) -> None:
        """Models may have grown: begin to send some to sleep if they have."""
        if self.budget and self._looking is None:
            self._looking = asyncio.get_running_loop().create_task(self._shrink())

    async def _shrink(self) -> None:
        try:
            async with self._lock:
                while await self._excess(0) and await self._send_to_sleep(self._sleepers()):
                    pass
        finally:
            self._looking = None

    async def _excess(self, more: int) -> bool:
        return bool(self.budget) and await self.used() + more > self.budget

    def _sleepers(self, but: Model | None = None) -> list[Model]:
        """Those that may sleep, the one first that was asked longest ago."""
        found = [model for model in self._registry if model is not but and model.sleeps and model.instances]
        return sorted(found, key=lambda model: model.stats.last)

    async def _send_to_sleep(self, models: list[Model]) -> bool:
        """Send the first of these that has nothing to do to sleep; false when all have."""
        for model in models:
            if not model.stats.waiting and not model.stats.running:
                await model.scale(0)
                log.info("model sleeps", extra={"model": model.name, "version": model.version})
                return True
        return False

    async def _moment(self) -> None:
        passed = asyncio.get_running_loop().create_future()
        self._clock.call_at(self._clock.time() + _PATIENCE, lambda: passed.set_result(None))
        await passed

    def _measure(self, models: list[Model]) -> int:
        total = 0
        for model in models:
            size, instances = model.memory, model.instances
            total += size
            if size and instances:
                self._sizes[model] = size // instances
        return total
