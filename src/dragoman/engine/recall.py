"""Answers that are there already: looked for before a model is asked, and kept when it has answered.

::

    request ──► cache ──► another cache ──► predictions made ahead ──► the model ──► its answer is kept in every cache
                  └──hit──────┴──hit─────────────────┴──hit──► reply

Failures are never kept, nor answers in parts, nor what a model that remembers says.
"""

import time
from collections.abc import Callable, Sequence
from typing import Final, Protocol

from dragoman.caching.cache import Cache, Then
from dragoman.caching.keys import request_key
from dragoman.errors import Code, DragomanError
from dragoman.scheduling.scheduler import Outcome, Reply, Ticket, tell
from dragoman.stats import FAILED, HIT, MISS, ModelStats
from dragoman.types import InferRequest, InferResponse, Parameters

#: Where an answer came from, in an answer and in the numbers.
CACHE: Final = "cache"
PREDICTIONS: Final = "predictions"

#: The header, or metadata, of an answer that no model was asked for.
HEADER: Final = "Dragoman-Cache"
#: Asks the model. Raises DragomanError.
Submit = Callable[[InferRequest, Reply, str], Ticket | None]


class Stored(Protocol):
    """Predictions of one version of one model that were made ahead."""

    def applies(self, request: InferRequest) -> bool:
        """Whether there can be one for such a request."""

    def find(self, request: InferRequest, then: Then) -> None:
        """Call ``then`` once, on the event loop's thread."""


class Recall:
    """What is kept for one version of one model. ``caches`` come with what keys in them begin with, fastest first."""

    def __init__(
        self,
        caches: Sequence[tuple[Cache, bytes]],
        stored: Stored | None,
        stats: ModelStats,
        forget: Callable[[], None],
    ) -> None:
        """``forget`` is called when the version is not asked any more."""
        self.caches = caches
        self.stored = stored
        self.stats = stats
        self._forget = forget
        for where, kept in ((CACHE, caches), (PREDICTIONS, stored)):
            if kept:
                stats.lookups.update({(where, outcome): 0 for outcome in (HIT, MISS, FAILED)})
        self._looking = 0
        self._when_done: Callable[[], None] | None = None

    def ask(self, request: InferRequest, reply: Reply, dialect: str, submit: Submit) -> Ticket | None:
        """Answer a request from what is kept, else by ``submit``; ``None`` if it has its answer already.

        Raises what ``submit`` raises, unless that is called later.
        """
        key = request_key(request) if self.caches else None
        stored = self.stored if self.stored is not None and self.stored.applies(request) else None
        if key is None and stored is None:
            return submit(request, reply, dialect)
        return _Look(self, request, reply, dialect, submit, key, stored).begin()

    def close(self, then: Callable[[], None]) -> None:
        """Call ``then`` when no answer is being looked for: whoever was not found has asked the model by then."""
        self._when_done = then
        self._check_done()

    def begun(self) -> None:
        self._looking += 1

    def done(self) -> None:
        self._looking -= 1
        if self._when_done is not None:
            self._check_done()

    def _check_done(self) -> None:
        then = self._when_done
        if then is not None and not self._looking:
            self._when_done = None
            self._forget()
            then()


class _Look:
    """One request whose answer is looked for; a ``Ticket``."""

    __slots__ = (
        "_answered", "_dialect", "_failed", "_key", "_late", "_parts", "_recall", "_reply", "_request", "_since",
        "_start", "_step", "_stored", "_submit", "_ticket",
    )  # fmt: skip

    def __init__(
        self,
        recall: Recall,
        request: InferRequest,
        reply: Reply,
        dialect: str,
        submit: Submit,
        key: bytes | None,
        stored: Stored | None,
    ) -> None:
        self._recall = recall
        self._request = request
        self._reply = reply
        self._dialect = dialect
        self._submit = submit
        self._key = key
        self._stored = stored
        self._step = 0  # the cache that is asked
        self._failed = False  # something of what was asked doesn't work
        self._late = False  # who asked doesn't wait in ``begin`` any more
        self._parts = False  # the model answers in parts
        self._answered = False
        self._ticket: Ticket | None = None  # the model's, once it is asked
        self._start = self._since = time.perf_counter()

    def begin(self) -> Ticket | None:
        self._recall.begun()
        if self._key is not None:
            self._ask_cache()
        else:
            self._ask_stored()
        self._late = True
        return None if self.answered else self._ticket or self

    @property
    def answered(self) -> bool:
        return self._answered if self._ticket is None else self._ticket.answered

    def cancel(self) -> None:
        if self._ticket is not None:
            self._ticket.cancel()
        elif not self._answered:
            self._answered = True
            self._recall.stats.recalled(
                self._dialect, Code.CANCELLED.value, time.perf_counter() - self._start
            )

    def leave(self) -> None:
        if self._ticket is not None:
            self._ticket.leave()
        else:
            self.cancel()

    def _ask_cache(self) -> None:
        assert self._key is not None
        cache, prefix = self._recall.caches[self._step]
        cache.get(prefix + self._key, self._cached)

    def _cached(self, answer: InferResponse | None, failed: bool) -> None:
        self._failed |= failed
        if answer is not None:
            self._looked(CACHE, HIT)
            self._keep(answer, self._recall.caches[: self._step])
            self._answer(answer, CACHE)
            return
        self._step += 1
        if self._step < len(self._recall.caches):
            self._ask_cache()
        else:
            self._looked(CACHE, FAILED if self._failed else MISS)
            self._ask_stored()

    def _ask_stored(self) -> None:
        if self._stored is None:
            self._ask_model()
        else:
            self._stored.find(self._request, self._predicted)

    def _predicted(self, answer: InferResponse | None, failed: bool) -> None:
        self._looked(PREDICTIONS, HIT if answer is not None else FAILED if failed else MISS)
        if answer is not None:
            self._answer(answer, PREDICTIONS)
        else:
            self._ask_model()

    def _answer(self, kept: InferResponse, where: str) -> None:
        if not self._answered:
            self._answered = True
            request = self._request
            answer = InferResponse(
                kept.model,
                kept.version,
                kept.outputs,
                request.id,
                _parameters(kept, where),
                recalled=where,
            )
            code = tell(self._reply, request, answer)
            self._recall.stats.recalled(self._dialect, code, time.perf_counter() - self._start)
        self._recall.done()

    def _ask_model(self) -> None:
        reply = self._reply if self._key is None else self._model_answered
        try:
            if not self._answered:
                self._ticket = self._submit(self._request, reply, self._dialect)
                self._answered = self._ticket is None
        except DragomanError as error:
            if not self._late:
                raise
            self._answered = True
            code = tell(self._reply, self._request, error)
            self._recall.stats.recalled(self._dialect, code, time.perf_counter() - self._start)
        finally:
            self._recall.done()

    def _model_answered(self, outcome: Outcome) -> None:
        """The reply that the model is given: the client's, and then what it answered is kept."""
        parameters = dict(outcome.parameters) if isinstance(outcome, InferResponse) else {}
        self._reply(outcome)  # which may take parameters out that are no part of the body
        if not isinstance(outcome, InferResponse):
            return
        if not outcome.final:
            self._parts = True
        elif not self._parts and _is_good(parameters):
            outcome.parameters = parameters
            start = time.perf_counter()
            self._keep(outcome, self._recall.caches)
            where = CACHE, FAILED if self._failed else MISS
            self._recall.stats.lookup_seconds[where] += time.perf_counter() - start

    def _keep(self, answer: InferResponse, caches: Sequence[tuple[Cache, bytes]]) -> None:
        assert self._key is not None
        for cache, prefix in caches:
            cache.put(prefix + self._key, answer)

    def _looked(self, where: str, outcome: str) -> None:
        now = time.perf_counter()
        self._recall.stats.looked(where, outcome, now - self._since)
        self._since = now


def origin_headers(answer: InferResponse) -> tuple[tuple[str, str], ...]:
    """What a client is told of where an answer comes from: nothing of one that a model has just made."""
    return ((HEADER, "hit"), ("X-Dragoman-Version", answer.version)) if answer.recalled else ()


def wants_fresh(header: Callable[[bytes], str | None]) -> bool:
    """Whether a client asks for an answer that nobody has kept (RFC 9111's Cache-Control)."""
    told = header(b"cache-control")
    return told is not None and ("no-cache" in told.lower() or "no-store" in told.lower())


def _parameters(kept: InferResponse, where: str) -> Parameters:
    """Of an answer from the cache they are those of the model; who gets one made ahead is told."""
    return {**kept.parameters, "cache": "hit"} if where == PREDICTIONS else dict(kept.parameters)


def _is_good(parameters: Parameters) -> bool:
    """Whether they are of an answer, and not of a handler's own word on a failure."""
    status = parameters.get("status", 200)
    return type(status) is int and 200 <= status < 300
