"""A server's monitoring, for whatever protocol asks: which versions are watched, what was kept, what has moved.

::

    Model.infer ──► Watch ──► Note ──► PredictionLog ──thread──► store
                                            └── columns ──► Reference.count ──► event loop: stats' window ──► drift
"""

import asyncio
import json
import logging
from collections.abc import Sequence
from functools import partial
from typing import Any, Final

from dragoman.config import MonitoringSettings
from dragoman.engine.engine import Engine
from dragoman.engine.model import Model
from dragoman.errors import ConfigError, DragomanError, InvalidInput, NotFound
from dragoman.monitoring import finding
from dragoman.monitoring.drift import Drift, compare
from dragoman.monitoring.features import Columns
from dragoman.monitoring.labels import Label, judge
from dragoman.monitoring.log import PredictionLog
from dragoman.monitoring.reference import Reference
from dragoman.monitoring.watching import Sample, Watch
from dragoman.repository.spec import ModelSource
from dragoman.stats import Stats
from dragoman.store import open_observed
from dragoman.store.prediction import Accuracy, Prediction, Query
from dragoman.windows import Window

log = logging.getLogger("dragoman.monitoring")

#: Seconds between two looks at the store for live accuracy.
_REFRESH: Final = 15.0
_OFF: Final = "this server keeps no predictions (setting monitoring.store)"


class Monitor:
    """One server's monitoring. Needs the running event loop. Raises ConfigError."""

    def __init__(self, engine: Engine, settings: MonitoringSettings) -> None:
        self._engine = engine
        self._settings = settings
        self.window = settings.window  #: seconds that drift and accuracy look back
        self._loop = asyncio.get_running_loop()
        self._sample = Sample(settings.sample)
        self._store = open_observed(settings.store) if settings.store else None
        limits = None
        if self._store is not None:
            from dragoman.store.observed import Limits

            limits = Limits(settings.retention, settings.rows)
        self._log = PredictionLog(self._store, limits, settings.redact, settings.waiting)
        self._references: dict[tuple[str, str], Reference] = {}
        self._refreshing: asyncio.Task[None] | None = None
        #: By the labels of the window, as far as it was looked at last.
        self.accuracies: Sequence[Accuracy] = ()
        engine.stats.observed = self._log.counts
        engine.lifecycle.watch = self._watch

    @property
    def keeps(self) -> bool:
        """Whether there is a place for predictions."""
        return self._store is not None

    def start(self) -> None:
        """Begin to write."""
        self._log.start()
        if self._store is not None:
            self._refreshing = self._loop.create_task(self._refresh())

    async def close(self, patience: float) -> None:
        """Write what waits, for so many seconds."""
        if self._refreshing is not None:
            self._refreshing.cancel()
            await asyncio.gather(self._refreshing, return_exceptions=True)
        await asyncio.to_thread(self._log.close, patience)
        if self._store is not None:
            await asyncio.to_thread(self._store.close)

    # What callers want.

    async def newest(self, query: Query) -> Sequence[Prediction]:
        """What was kept, newest first. Raises NotFound where nothing is."""
        if self._store is None:
            raise NotFound(_OFF)
        return await asyncio.to_thread(self._store.newest, query)

    async def label(self, id: str, label: Label) -> tuple[Prediction, int]:  # noqa: A002 - it is called that
        """Say what was true; tells how many of its predictions were right. Raises NotFound, InvalidInput."""
        if self._store is None:
            raise NotFound(_OFF)
        found = await asyncio.to_thread(self._store.find, id)
        right = judge(self._with_classes(label, found), json.loads(found.response))
        said = json.dumps(label.values if len(label.values) > 1 else label.values[0])
        await asyncio.to_thread(self._store.label, found.number, said, right, len(label.values))
        await self._look()
        return found, right

    async def accuracy(self) -> Sequence[Accuracy]:
        """How right each version was, by the labels of the window. Raises NotFound."""
        if self._store is None:
            raise NotFound(_OFF)
        await self._look()
        return self.accuracies

    def drift(self, stats: Stats) -> dict[tuple[str, str], tuple[Reference, Sequence[Drift]]]:
        """Every watched version that has a reference, held against what ``stats`` have counted."""
        found: dict[tuple[str, str], tuple[Reference, Sequence[Drift]]] = {}
        for key, reference in sorted(self._references.items()):
            found[key] = reference, list(compare(reference, stats.of(*key).seen))
        return found

    def _with_classes(self, label: Label, found: Prediction) -> Label:
        """The label with the names that the model has for its classes, while it is loaded."""
        try:
            signature = self._engine.find(found.model, found.version).signature
        except NotFound:
            return label
        outputs = [spec for spec in signature.outputs if label.output in ("", spec.name)]
        return Label(label.values, label.output, label.within, outputs[0].labels) if outputs else label

    async def _refresh(self) -> None:
        while True:
            try:
                await self._look()
            except DragomanError as error:
                log.warning("live accuracy can't be read", extra={"reason": error.message})
            await asyncio.sleep(_REFRESH)

    async def _look(self) -> None:
        assert self._store is not None
        self.accuracies = await asyncio.to_thread(self._store.accuracy, self.window)

    # For the engine.

    async def _watch(self, model: Model, source: Any) -> Watch | None:
        reference = await self._reference(model, source)
        key = model.name, model.version
        self._references.pop(key, None)
        if reference is not None:
            self._references[key] = reference
            model.stats.window = Window(self.window)
        elif self._store is None:
            return None
        count = None if reference is None else partial(self._count, model, reference)
        watch = Watch(*key, self._log, self._sample, self._settings.entry_bytes, count)
        watch.batched = model.signature.batched
        return watch

    async def _reference(self, model: Model, source: Any) -> Reference | None:
        """Beside a model; one that can't be read is no reason not to serve it."""
        if not isinstance(source, ModelSource) or (path := finding.find(source)) is None:
            return None
        labels = {"model": model.name, "version": model.version}
        signature = model.signature
        try:
            read = partial(finding.read, path, signature.inputs, batched=signature.batched)
            reference = await asyncio.to_thread(read)
        except (InvalidInput, ConfigError, OSError) as error:
            log.error("the reference can't be read: no drift is told", extra={**labels, "reason": str(error)})
            return None
        log.info("drift is told", extra={**labels, "features": len(reference.features)})
        return reference

    def _count(self, model: Model, reference: Reference, columns: Columns) -> None:
        """On the other thread."""
        counts = reference.count(columns)
        if counts and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(model.stats.see, counts)
