"""A document on its way out: whole, in parts, or as an event. Knows one request and one answer."""

import uuid
from datetime import UTC, datetime

from dragoman.engine.recall import origin_headers
from dragoman.errors import ModelFailed
from dragoman.protocols.kserve_v1 import documents
from dragoman.protocols.kserve_v1.cloudevents import Event, Style, encode_event
from dragoman.scheduling.scheduler import Outcome, Ticket
from dragoman.transport.request import HttpRequest
from dragoman.transport.status import respond_error
from dragoman.transport.stream import PieceWriter
from dragoman.types import InferResponse


class DocumentAnswer:
    """The answer to one request."""

    __slots__ = ("_event", "_events", "_http", "_model", "_writer", "entry")

    def __init__(self, http: HttpRequest, model: str, event: Event | None, events: Style) -> None:
        self._http = http
        self._model = model
        self._event = event
        self._events = events
        self._writer: PieceWriter | None = None
        self.entry: Ticket | None = None

    def reply(self, outcome: Outcome) -> None:
        """Called with every part, the last one marked ``final``, or with the failure. Raises ModelFailed."""
        if isinstance(outcome, InferResponse):
            answer = documents.encode_document(outcome)
            try:
                if outcome.recalled:
                    answer = answer._replace(headers=(*answer.headers, *origin_headers(outcome)))
                self._write(answer, outcome.final)
            except ValueError as error:  # nothing was written yet
                raise ModelFailed(f"the model's answer has a header that can't be sent: {error}") from None
        elif self._writer is not None:  # too late to say why; the client sees that something is missing
            self._writer.abort()
            self._cancel()
        else:
            respond_error(self._http, outcome)

    def lost(self) -> None:
        """The client has gone."""
        if self._writer is not None:
            self._writer.stop()
        self._cancel()

    def _cancel(self) -> None:
        if self.entry is not None:
            self.entry.cancel()

    def _write(self, answer: documents.Answer, final: bool) -> None:
        body, content_type, headers = answer
        if self._writer is None and final:
            if self._event is not None:
                now = datetime.now(UTC).isoformat()
                body, content_type, more = encode_event(
                    self._event, body, content_type, self._model, str(uuid.uuid4()), now, self._events
                )
                headers = (*headers, *more.items())
            self._http.respond(200, body, content_type, headers, compress=True)
            return
        if self._writer is None:
            if content_type:
                headers = (("Content-Type", content_type), *headers)
            self._http.start(200, headers)
            self._writer = PieceWriter(self._http, self._cancel)
        self._writer.write(body)
        if final:
            self._writer.end()
