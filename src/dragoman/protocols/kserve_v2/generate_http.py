"""Triton's generate extension over HTTP: one answer as JSON, or every answer as an event while the model goes on."""

from typing import Final

from dragoman.config import LimitSettings
from dragoman.engine.engine import Engine
from dragoman.engine.recall import origin_headers, wants_fresh
from dragoman.errors import DragomanError, InvalidInput, Mismatch
from dragoman.protocols.kserve_v2 import generate
from dragoman.protocols.kserve_v2.finding import find, headers_of, set_deadline
from dragoman.protocols.kserve_v2.members import tag_of
from dragoman.scheduling.scheduler import Outcome, Ticket
from dragoman.transport.request import HttpRequest
from dragoman.transport.router import Router
from dragoman.transport.status import error_body, respond_error
from dragoman.transport.stream import PieceWriter
from dragoman.types import InferResponse

DIALECT: Final = "v2-generate"
_EVENTS: Final = (("Content-Type", "text/event-stream; charset=utf-8"), ("Cache-Control", "no-cache"))


class GenerateHttp:
    """Handlers over one engine."""

    def __init__(self, engine: Engine, limits: LimitSettings) -> None:
        self._engine = engine
        self._limits = limits

    def add_routes(self, router: Router) -> None:
        for model in ("/v2/models/{}", "/v2/models/{}/versions/{}"):
            router.add("POST", f"{model}/generate", self.generate, operation="inference", about=0)
            router.add(
                "POST", f"{model}/generate_stream", self.generate_stream, operation="inference", about=0
            )

    def generate(self, http: HttpRequest) -> None:
        """The one answer of a model, as a flat object."""
        self._ask(http, Whole(http))

    def generate_stream(self, http: HttpRequest) -> None:
        """Each answer of a model, as soon as it is there."""
        self._ask(http, Events(http))

    def _ask(self, http: HttpRequest, answer: "Whole | Events") -> None:
        model = find(self._engine, http, DIALECT, http.header)
        try:
            request = generate.decode_generate(
                model.name, model.version, http.body, model.signature, self._limits.json_depth
            )
        except DragomanError as error:
            model.stats.answers[DIALECT, error.code.value] += 1
            raise
        set_deadline(request, self._engine.clock)
        if model.takes_documents:
            request.parameters["headers"] = headers_of(http, DIALECT)
        request.fresh = model.recall is not None and wants_fresh(http.header)
        try:
            answer.entry = model.infer(request, answer.reply, DIALECT)
        except Mismatch as error:  # the original says which request, where it is about its tensors
            raise InvalidInput(tag_of(request.id) + error.message) from None
        http.on_disconnect = answer.leave


class Whole:
    """An answer that is expected to be the only one."""

    def __init__(self, http: HttpRequest) -> None:
        self.entry: Ticket | None = None
        self._http = http
        self._only: InferResponse | None = None

    def reply(self, outcome: Outcome) -> None:
        """Called with every part, the last one marked ``final``, or with the failure. Raises DragomanError."""
        if not isinstance(outcome, InferResponse):
            respond_error(self._http, outcome)
            return
        if outcome.outputs:
            if self._only is not None:
                self.leave()
                respond_error(self._http, InvalidInput(generate.ONE_ANSWER))
                return
            self._only = outcome
        if not outcome.final:
            return
        if self._only is None:
            raise InvalidInput(generate.ONE_ANSWER)
        document = generate.encode_generate(self._only)
        self._http.respond(200, document, headers=origin_headers(outcome), compress=True)

    def leave(self) -> None:
        """Nobody waits for it."""
        if self.entry is not None:
            self.entry.cancel()


class Events:
    """Answers as events of a stream. Its status is that of the first one; what fails later is an event, too."""

    def __init__(self, http: HttpRequest) -> None:
        self.entry: Ticket | None = None
        self._http = http
        self._writer: PieceWriter | None = None

    def reply(self, outcome: Outcome) -> None:
        """Called with every part, the last one marked ``final``, or with the failure. Raises DragomanError."""
        if not isinstance(outcome, InferResponse):
            self._fail(outcome)
            return
        # Encoded first: what has no JSON is refused before the stream begins.
        event = generate.encode_event(generate.encode_generate(outcome)) if outcome.outputs else b""
        writer = self._begun(outcome)
        writer.write(event)
        if outcome.final:
            writer.end()

    def leave(self) -> None:
        """Nobody waits for it."""
        if self._writer is not None:
            self._writer.stop()
        self._cancel()

    def _begun(self, outcome: InferResponse) -> PieceWriter:
        if self._writer is None:
            self._http.start(200, (*_EVENTS, *origin_headers(outcome)))
            self._writer = PieceWriter(self._http, self._cancel)
        return self._writer

    def _fail(self, error: DragomanError) -> None:
        if self._writer is None:
            respond_error(self._http, error)
            return
        self._writer.write(generate.encode_event(error_body(error.message)))
        self._writer.end()

    def _cancel(self) -> None:
        if self.entry is not None:
            self.entry.cancel()
