"""The middle: every protocol asks here, and only here. Knows no wire and no library."""

import asyncio
from collections.abc import Callable

from dragoman.engine.autoscaler import Autoscaler
from dragoman.engine.lifecycle import Lifecycle, Record, State
from dragoman.engine.model import Model
from dragoman.engine.recollection import Recollection
from dragoman.engine.registry import Headers, Registry
from dragoman.engine.residency import Residency
from dragoman.errors import DragomanError
from dragoman.scheduling.scheduler import Clock, Outcome
from dragoman.stats import Stats
from dragoman.types import InferRequest, InferResponse


class Engine:
    """Finds models, passes requests on, and tells how things stand."""

    def __init__(
        self,
        clock: Clock,
        memory_budget: int = 0,
        recollection: Callable[[Stats], Recollection] | None = None,
    ) -> None:
        """``recollection`` makes what keeps answers, and counts in the numbers it is given."""
        self.clock = clock
        self.stats = Stats()
        self._recollection = None if recollection is None else recollection(self.stats)
        self.registry = Registry()
        self.residency = Residency(self.registry, clock, memory_budget)
        self.lifecycle = Lifecycle(self.registry, self.stats, clock, self.residency, self._recollection)
        self.autoscaler = Autoscaler(self.registry, self.residency, clock)
        self._stopping = False
        self._started = False

    def find(self, name: str, version: str = "", headers: Headers | None = None) -> Model:
        """The model that answers for this name; without a version the default. Raises NotFound.

        Who passes the ``headers`` of a request means to have it answered: its share of a split traffic counts.
        """
        return self.registry.find(name, version, headers)

    async def ask(self, request: InferRequest, dialect: str) -> InferResponse:
        """Ask and wait, for callers that live in a coroutine. Raises DragomanError."""
        future: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()

        def reply(outcome: Outcome) -> None:
            if not future.done():
                future.set_result(outcome)

        entry = self.find(request.model, request.version).infer(request, reply, dialect)
        try:
            outcome = await future
        except asyncio.CancelledError:
            if entry is not None:
                entry.cancel()
            raise
        if isinstance(outcome, DragomanError):
            raise outcome
        return outcome

    def refuse(self, dialect: str, error: DragomanError) -> None:
        """Count a request that no model saw."""
        self.stats.refused[dialect, error.code.value] += 1

    def started(self) -> None:
        """Every model of the start-up list has been tried."""
        self._started = True
        for record in self.lifecycle.records.values():
            record.awaited = True
        self.autoscaler.start()

    async def close(self) -> None:
        """Everything accepted has been answered: give the models back."""
        await self.autoscaler.stop()
        await self.lifecycle.unload_all()
        if self._recollection is not None:
            await self._recollection.close()

    def stop(self) -> None:
        """Not ready from this moment; models still answer what comes."""
        self._stopping = True

    @property
    def ready(self) -> bool:
        """Every model of the start-up list answers, and the server is not going down."""
        return (
            self._started
            and not self._stopping
            and not self._failed
            and all(model.ready for model in self.registry)
        )

    @property
    def healthy(self) -> bool:
        """Every model answers or is on its way: none could not be loaded, and none's workers die again and again.

        What somebody tries to load later doesn't count: a broken upload is no reason to send all traffic away.
        """
        return not self._failed and not any(model.broken for model in self.registry)

    @property
    def _failed(self) -> bool:
        records = self.lifecycle.records.values()
        return any(
            record.state is State.FAILED and (record.awaited or not self._started) for record in records
        )

    def index(self) -> list[Record]:
        """Every known version and its state, by name and number."""
        return sorted(self.lifecycle.records.values(), key=by_name)


def by_name(record: Record) -> tuple[str, str]:
    """The order of an index: by name, then by number."""
    return record.name, record.version.zfill(20)
