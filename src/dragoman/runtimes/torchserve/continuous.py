"""Continuous batching: the handler is asked again and again about the requests that run now. Knows no process.

::

    join ──► running ──step──► a part goes out, it runs on       its stopping criterion says false
                         ├───► its last part goes out            true
                         ├───► its whole answer goes out         nothing, or there is no criterion
                         └───► it fails, with all of the step    the handler raised
                leave: its client has gone; the handler sees that it isn't there any more

As with TorchServe the handler gets what a request sent once, in its first step; later it finds an empty row and its
headers, and tells requests apart by their ids.
"""

import asyncio
import logging
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dragoman.compat.ts.context import Channel, RequestProcessor
from dragoman.compat.ts.protocol.otf_message_handler import Part
from dragoman.errors import DragomanError, PredictionFailed
from dragoman.runtimes.base import Emit, RunningBatch
from dragoman.runtimes.torchserve.calling import Call, Model, Outcome, call_handle, plain_id, to_failure
from dragoman.runtimes.torchserve.results import note_ended, to_response
from dragoman.runtimes.torchserve.rows import Row, to_row
from dragoman.types import InferRequest

log = logging.getLogger("dragoman.runtimes.torchserve")


@dataclass(slots=True)
class _Running:
    """A request between two steps. ``row`` is empty when the handler has seen it."""

    key: int
    request: InferRequest
    id: str
    row: Row
    said: RequestProcessor


class ContinuousBatch(RunningBatch):
    """The requests that run now, in the order they joined. ``emit`` gets parts of answers, by key."""

    def __init__(self, model: Model, emit: Emit) -> None:
        self._model, self._emit = model, emit
        self._running: dict[int, _Running] = {}
        self._alone: dict[int, InferRequest] = {}  # explanations and descriptions: each is a call of its own

    def __len__(self) -> int:
        return len(self._running) + len(self._alone)

    def join(self, key: int, request: InferRequest) -> None:
        headers: Mapping[str, Any] = request.parameters.get("headers", {})
        if headers.get("explain") == "True" or headers.get("describe") == "True":
            self._alone[key] = request
            return
        model = self._model
        row, all_headers = to_row(request, model.decode, model.envelope, model.sequence)
        taken = {running.id for running in self._running.values()}
        name = plain_id(request.id, taken) or str(uuid.uuid4())
        self._running[key] = _Running(key, request, name, row, RequestProcessor(all_headers))

    def leave(self, key: int) -> None:
        self._running.pop(key, None)
        self._alone.pop(key, None)

    def step(self) -> list[tuple[int, Outcome]]:
        done = []
        for key, request in self._alone.items():
            done += [(key, outcome) for outcome in Call(self._model, [request], [key], self._emit).run()]
        if self._running:
            done += self._ask(list(self._running.values()))
        for key, _ in done:
            self.leave(key)
        return done

    def _ask(self, running: Sequence[_Running]) -> list[tuple[int, Outcome]]:
        """One call of the handler, about all that run."""
        context = self._model.context
        context.request_ids = {place: each.id for place, each in enumerate(running)}
        context.request_processor = [each.said for each in running]
        context.metrics.set_request_ids(context.request_ids)
        context.cl_socket = Channel(self._send)
        rows = [each.row for each in running]
        for each in running:
            each.row = {}
        started = time.perf_counter()
        try:
            items = call_handle(self._model, rows)
        except (Exception, SystemExit, asyncio.CancelledError) as error:
            failure = to_failure(error, [each.id for each in running])
            return [(each.key, PredictionFailed(failure.message, failure.status)) for each in running]
        finally:
            context.cl_socket = None
        taken = round((time.perf_counter() - started) * 1000, 2)
        self._model.told(taken)
        context.metrics.flush()
        return list(self._sort(running, items))

    def _sort(self, running: Sequence[_Running], items: Sequence[Any]) -> Iterator[tuple[int, Outcome]]:
        """Send the parts of those that run on; give the last ones of those that don't."""
        for place, (each, item) in enumerate(zip(running, items, strict=True)):
            try:
                ends = self._ends(place, item)
                response = to_response(each.request, self._model.version, item, each.said, final=ends)
                if ends:
                    yield each.key, note_ended(response, each.said, self._model.sequence[2])
                else:
                    self._emit(each.key, response)
            except DragomanError as error:
                log.error("the handler's item for request %s can't be answered: %r", each.id, type(item))
                yield each.key, error
            except Exception as error:  # its criterion's, or the part can't be sent
                yield each.key, to_failure(error, [each.id])

    def _ends(self, place: int, item: Any) -> bool:
        criteria = self._model.context.stopping_criteria
        if not criteria:
            return True
        criterion = criteria[place] if isinstance(criteria, Mapping | Sequence) else criteria
        said = criterion(item)
        return said is None or bool(said)

    def _send(self, part: Part) -> None:
        """A part that the handler hands out itself, in the midst of a step."""
        ids = {each.id: each for each in self._running.values()}
        for index, name in part.request_ids.items():
            each = ids[name]
            item = part.message if part.items is None else part.items[index]
            response = to_response(each.request, self._model.version, item, each.said, final=False)
            if part.code != 200 and response.parameters:
                response.parameters["status"] = part.code
            self._emit(each.key, response)
