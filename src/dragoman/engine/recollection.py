"""What a server keeps of answers, and what of that is for which model: made when it starts, closed when it ends."""

import asyncio
import logging
import time
from collections.abc import Sequence
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Final

from dragoman.caching.cache import Cache, Then
from dragoman.caching.entries import choose, decode_entry, join_rows
from dragoman.caching.keys import input_key, row_keys
from dragoman.caching.memory import MemoryCache
from dragoman.caching.redis import open_redis
from dragoman.caching.remote import Remote, RemoteCache
from dragoman.config import CacheSettings, PredictionSettings
from dragoman.engine.recall import Recall
from dragoman.stats import Stats
from dragoman.store import open_predictions
from dragoman.types import InferRequest, InferResponse

if TYPE_CHECKING:
    from dragoman.engine.model import Model
    from dragoman.store.predictions import Key

log = logging.getLogger("dragoman.engine")

#: Rows of one request that are looked for in the store of predictions; of a bigger one the model is asked.
MOST_ROWS: Final = 256


class Recollection:
    """Every place where answers lie. Needs the running event loop. Raises ConfigError."""

    def __init__(self, cache: CacheSettings, predictions: PredictionSettings, stats: Stats) -> None:
        self._memory = MemoryCache(cache.size, cache.ttl, time.monotonic, stats.cache) if cache.size else None
        self._redis: RemoteCache | None = None
        if cache.redis:
            place = open_redis(cache.redis, cache.redis_prefix, cache.ttl, cache.redis_timeout)
            self._redis = RemoteCache(place, "redis")
        self._predictions: Remote[Key] | None = None
        if predictions.store:
            self._predictions = Remote(open_predictions(predictions.store, predictions.ttl), "predictions")
        self._loads = count(1)
        self._known: set[bytes] = set()  # what was loaded before

    def of(self, model: "Model") -> Recall | None:
        """What is kept for a version that has just been loaded; ``None`` where nothing is."""
        caches = list(self._caches(model)) if model.settings.response_cache else []
        stored: _Stored | None = None
        if self._predictions is not None and model.settings.stored_predictions:
            stored = _Stored(self._predictions, model)
        if model.settings.sequences or not (caches or stored):
            return None
        return Recall(caches, stored, model.stats, partial(self._forget, caches))

    def _forget(self, caches: Sequence[tuple[Cache, bytes]]) -> None:
        """A version is not there any more: its answers in memory are of no use to anybody."""
        for cache, prefix in caches:
            if cache is self._memory:
                cache.clear(prefix)

    def _caches(self, model: "Model") -> Sequence[tuple[Cache, bytes]]:
        if self._memory is None and self._redis is None:
            labels = {"model": model.name, "version": model.version}
            log.warning("response_cache has no effect: there is no cache (setting cache.size)", extra=labels)
        found: list[tuple[Cache, bytes]] = []
        if self._memory is not None:
            # What a version said before it was loaded again is not what it says now.
            found.append((self._memory, next(self._loads).to_bytes(8)))
        if self._redis is not None:
            prefix = f"{model.name}:{model.version}:".encode()
            if prefix in self._known:
                self._redis.clear(prefix)
            self._known.add(prefix)
            found.append((self._redis, prefix))
        return found

    async def close(self) -> None:
        """Give everything back."""
        for place in (self._redis, self._predictions):
            if place is not None:
                await asyncio.to_thread(place.close)


class _Stored:
    """Predictions of one version. A batched model's are those of single rows: a request needs all of its rows."""

    def __init__(self, remote: "Remote[Key]", model: "Model") -> None:
        self._remote = remote
        self._model, self._version = model.name, model.version
        self._batched = model.signature.batched

    def applies(self, request: InferRequest) -> bool:
        """What was predicted ahead was asked without parameters."""
        if request.parameters or not request.inputs:
            return False
        return not self._batched or 0 < len(request.inputs[0].data) <= MOST_ROWS

    def find(self, request: InferRequest, then: Then) -> None:
        inputs, outputs = request.inputs, request.outputs
        digests = row_keys(inputs) if self._batched else [input_key(inputs)]

        def read(entries: Sequence[bytes | None]) -> InferResponse | None:
            found = [decode_entry(entry) for entry in entries if entry is not None]
            return choose(join_rows(found), outputs) if len(found) == len(entries) else None

        self._remote.ask([(self._model, self._version, digest) for digest in digests], read, then)
