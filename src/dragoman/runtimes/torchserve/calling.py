"""One batch's way through a handler: rows in, items out, parts in between, and what a failure becomes.

Knows the handler's contract, not how it was found.
"""

import asyncio
import inspect
import logging
import re
import time
import uuid
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from dragoman.compat.ts.context import Channel, Context, RequestProcessor
from dragoman.compat.ts.protocol.otf_message_handler import Part
from dragoman.compat.ts.utils.util import PredictionException
from dragoman.errors import DragomanError, PredictionFailed
from dragoman.runtimes.base import Emit
from dragoman.runtimes.torchserve.finding import Handle
from dragoman.runtimes.torchserve.results import note_ended, to_response
from dragoman.runtimes.torchserve.rows import SEQUENCE_HEADERS, to_row
from dragoman.types import InferRequest, InferResponse

log = logging.getLogger("dragoman.runtimes.torchserve")

Outcome = InferResponse | DragomanError

_PLAIN_ID: Final = re.compile(r"[\w.:/+=@-]{1,128}")


@dataclass(frozen=True, slots=True)
class Model:
    """A loaded handler and what its calls depend on. ``finish`` runs a coroutine to its end."""

    handle: Handle
    context: Context
    finish: Callable[[Any], Any]
    told: Callable[[float], None]  #: how many milliseconds a batch has taken
    version: str
    envelope: str = ""
    decode: bool = True
    sequence: Sequence[str] = SEQUENCE_HEADERS


class Call:
    """One batch's way through the handler. ``places`` are its requests' places among all that were asked."""

    def __init__(
        self, model: Model, batch: Sequence[InferRequest], places: Sequence[int], emit: Emit
    ) -> None:
        self._model, self._batch, self._places, self._emit = model, batch, places, emit
        self._ids = _unique([request.id for request in batch])
        self._processors: list[RequestProcessor] = []
        self._started = 0.0
        self.failed = False
        self.sent = False

    def run(self) -> list[Outcome]:
        """An outcome for each request. Never raises for what the handler does."""
        rows = self._begin()
        try:
            items = call_handle(self._model, rows)
        except (Exception, SystemExit, asyncio.CancelledError) as error:
            return self._end(to_failure(error, self._ids))
        return self._end(items)

    async def run_concurrently(self) -> list[Outcome]:
        """The same for a handler that is a coroutine, while others of its calls may be under way."""
        rows = self._begin()
        try:
            items = self._model.handle(rows, self._model.context)
            if inspect.isawaitable(items):
                items = await items
            return self._end(_checked(items, rows))
        except (Exception, SystemExit, asyncio.CancelledError) as error:
            return self._end(to_failure(error, self._ids))

    def _begin(self) -> list[dict[str, Any]]:
        model = self._model
        rows = []
        for request in self._batch:
            row, headers = to_row(request, model.decode, model.envelope, model.sequence)
            rows.append(row)
            self._processors.append(RequestProcessor(headers))
        model.context.cl_socket = Channel(self._send)
        self._started = time.perf_counter()
        self._present(range(len(rows)))
        return rows

    def _end(self, items: list[Any] | PredictionFailed) -> list[Outcome]:
        context = self._model.context
        if len(context.request_processor) != len(self._batch):
            self._present(range(len(self._batch)))
        context.cl_socket = None
        if isinstance(items, PredictionFailed):
            self.failed = True
            context.metrics.flush()
            return [PredictionFailed(items.message, items.status) for _ in self._batch]
        taken = round((time.perf_counter() - self._started) * 1000, 2)
        self._model.told(taken)
        context.metrics.flush()
        return [self._answer(place, item) for place, item in enumerate(items)]

    def _present(self, which: Sequence[int]) -> None:
        """Show these requests to the handler, through the context."""
        context = self._model.context
        context.request_ids = {index: self._ids[place] for index, place in enumerate(which)}
        context.request_processor = [self._processors[place] for place in which]
        context.metrics.set_request_ids(context.request_ids)

    def _answer(self, place: int, item: Any) -> Outcome:
        request, said = self._batch[place], self._processors[place]
        try:
            response = to_response(request, self._model.version, item, said)
            return note_ended(response, said, self._model.sequence[2])
        except DragomanError as error:
            log.error("the handler's item for request %s can't be answered: %r", self._ids[place], type(item))
            return error

    def _send(self, part: Part) -> None:
        """Hand out a part of some requests' answers. May be called from a thread of the handler's."""
        for index, name in part.request_ids.items():
            place = self._ids.index(name)
            item = part.message if part.items is None else part.items[index]
            said = self._processors[place]
            response = to_response(self._batch[place], self._model.version, item, said, final=False)
            if part.code != 200 and response.parameters:
                response.parameters["status"] = part.code
            self.sent = True
            self._emit(self._places[place], response)


def call_handle(model: Model, rows: Sequence[Any]) -> list[Any]:
    """The handler's items, one for each row. Raises what the handler raises, and PredictionFailed."""
    return _checked(model.finish(model.handle(rows, model.context)), rows)


def to_failure(error: BaseException, ids: Sequence[str]) -> PredictionFailed:
    """What the clients get for it; the log has the rest."""
    if isinstance(error, PredictionFailed):
        return error
    log.error("the handler failed on requests %s", ", ".join(ids), exc_info=error)
    if isinstance(error, PredictionException):
        return PredictionFailed(error.message, error.error_code)
    if isinstance(error, MemoryError) or "CUDA" in str(error):
        return PredictionFailed("Out of resources", 507)
    return PredictionFailed("Prediction failed")


def _checked(items: Any, rows: Sequence[Any]) -> list[Any]:
    """Raises PredictionFailed unless there is an item for each row."""
    if not isinstance(items, list):
        log.error("the handler returned %s, not a list", type(items).__name__)
        raise PredictionFailed("Invalid model predict output")
    if len(items) != len(rows):
        log.error("the handler returned %d items for %d requests", len(items), len(rows))
        raise PredictionFailed("number of batch response mismatched")
    return items


def together(requests: Sequence[InferRequest]) -> Iterator[list[int]]:
    """The places of requests that may be one batch: all plain ones, and each special one alone."""
    plain = []
    for place, request in enumerate(requests):
        headers: Mapping[str, Any] = request.parameters.get("headers", {})
        if headers.get("explain") == "True" or headers.get("describe") == "True":
            yield [place]
        else:
            plain.append(place)
    if plain:
        yield plain


def plain_id(name: str, taken: Collection[str]) -> str:
    """A client's id, if a handler can tell requests apart by it and write it into a line; else ""."""
    return name if _PLAIN_ID.fullmatch(name) and name not in taken else ""


def _unique(ids: Sequence[str]) -> list[str]:
    """Clients choose their ids, or none."""
    known: dict[str, None] = {}
    for each in ids:
        known[plain_id(each, known) or str(uuid.uuid4())] = None
    return list(known)
