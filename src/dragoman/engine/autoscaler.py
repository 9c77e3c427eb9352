"""Looks at every model once in a while, and lets it have the instances and the memory that it should have.

Decides nothing itself: ``scaling`` says how many, ``Residency`` which ones may sleep. Knows no wire.
"""

import asyncio
import logging
from typing import Final
from weakref import WeakKeyDictionary

from dragoman.engine.model import Model
from dragoman.engine.registry import Registry
from dragoman.engine.residency import Residency
from dragoman.engine.scaling import Scaler
from dragoman.scheduling.scheduler import Clock, TimerHandle

log = logging.getLogger("dragoman.engine")

#: Seconds between two looks.
INTERVAL: Final = 0.5
#: Seconds after which a model that could not have one more instance may try again.
PAUSE: Final = 30.0


class Autoscaler:
    """Runs on the event loop from ``start`` to ``stop``."""

    def __init__(self, registry: Registry, residency: Residency, clock: Clock) -> None:
        self._registry = registry
        self._residency = residency
        self._clock = clock
        self._timer: TimerHandle | None = None
        self._scalers: WeakKeyDictionary[Model, Scaler] = WeakKeyDictionary()
        self._paused: WeakKeyDictionary[Model, float] = WeakKeyDictionary()
        self._tasks: dict[Model, asyncio.Task[None]] = {}

    def start(self) -> None:
        self._look()

    async def stop(self) -> None:
        """Returns when nothing is being changed any more."""
        if self._timer is not None:
            self._timer.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    def _look(self) -> None:
        self._timer = self._clock.call_at(self._clock.time() + INTERVAL, self._look)
        for model in self._registry:
            if model.scales and model not in self._tasks:
                self._consider(model)
        self._residency.look()

    def _consider(self, model: Model) -> None:
        now = self._clock.time()
        scaler = self._scalers.setdefault(model, Scaler())
        load = model.load
        wanted = scaler.wanted(model.range, load, now)
        if wanted == load.instances or (wanted > load.instances and now < self._paused.get(model, 0.0)):
            return
        task = asyncio.get_running_loop().create_task(self._scale(model, wanted))
        self._tasks[model] = task
        task.add_done_callback(lambda _: self._tasks.pop(model))

    async def _scale(self, model: Model, wanted: int) -> None:
        before = model.instances
        if wanted > before and not await self._residency.has_room(model):
            self._paused[model] = self._clock.time() + PAUSE
            return
        labels = {"model": model.name, "version": model.version, "instances": wanted, "before": before}
        try:
            await model.scale(wanted)
        except Exception as error:
            self._paused[model] = self._clock.time() + PAUSE
            log.error("a model could not have one more instance", extra={**labels, "reason": str(error)})
        else:
            log.info("model scaled", extra=labels)
