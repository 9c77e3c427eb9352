"""The KServe v1 protocol over HTTP: list, ready, predict and explain. Thin: the codecs know the wire, the engine the
models."""

from dragoman.config import LimitSettings
from dragoman.engine.engine import Engine
from dragoman.engine.model import Model
from dragoman.engine.recall import origin_headers, wants_fresh
from dragoman.engine.registry import Headers
from dragoman.errors import DragomanError, NotFound, NotReady, Unsupported
from dragoman.protocols.kserve_v1 import codec, documents
from dragoman.protocols.kserve_v1.answering import DocumentAnswer
from dragoman.protocols.kserve_v1.cloudevents import Style
from dragoman.scheduling.scheduler import Outcome
from dragoman.transport.auth import About
from dragoman.transport.request import HttpRequest
from dragoman.transport.router import Router
from dragoman.transport.status import respond_error
from dragoman.types import InferResponse

DIALECT = "v1"


class Http:
    """Handlers over one engine. ``events`` says how answers to CloudEvents look."""

    def __init__(self, engine: Engine, limits: LimitSettings, events: Style) -> None:
        self._engine = engine
        self._limits = limits
        self._events = events

    def add_routes(self, router: Router) -> None:
        router.add(("GET",), "/v1/models", self.models, operation="metadata", about=About.HANDLER)
        router.add(("GET",), "/v1/models/{}", self.model, permit=False, operation="health", about=0)
        router.add(("POST",), "/v1/models/{}:predict", self.predict, operation="inference", about=0)
        router.add(("POST",), "/v1/models/{}:explain", self.explain, operation="inference", about=0)

    def predict(self, http: HttpRequest) -> None:
        """One prediction: the answer is written when the model has it, perhaps before this returns."""
        model = self._find(http, http.header)
        if model.takes_documents:
            self._ask_document(http, model, "predict")
            return
        try:
            request = codec.decode_predict(
                model.name, model.version, http.body, model.signature, max_depth=self._limits.json_depth
            )
        except DragomanError as error:
            model.stats.answers[DIALECT, error.code.value] += 1
            raise

        def reply(outcome: Outcome) -> None:
            if not isinstance(outcome, InferResponse):
                respond_error(http, outcome)
                return
            body = codec.encode_predict(outcome, model.signature)
            http.respond(200, body, headers=origin_headers(outcome), compress=True)

        request.fresh = model.recall is not None and wants_fresh(http.header)
        entry = model.infer(request, reply, DIALECT)
        if entry is not None:
            http.on_disconnect = entry.cancel

    def explain(self, http: HttpRequest) -> None:
        """One explanation. Raises Unsupported for a model that has only predictions."""
        model = self._find(http, http.header)
        if not model.takes_documents:
            error = Unsupported(f"model {model.name!r} does not explain its predictions")
            model.stats.answers[DIALECT, error.code.value] += 1
            raise error
        self._ask_document(http, model, "explain")

    def _ask_document(self, http: HttpRequest, model: Model, verb: str) -> None:
        headers = http.notes.get(DIALECT)
        if headers is None:
            headers = http.notes[DIALECT] = documents.decode_headers(http.raw_headers())
        content_type = headers.get("content-type", "")
        depth = self._limits.json_depth
        try:
            request, event = documents.decode_document(
                model.name, model.version, http.body, content_type, headers, verb, max_depth=depth
            )
        except DragomanError as error:
            model.stats.answers[DIALECT, error.code.value] += 1
            raise
        answer = DocumentAnswer(http, model.name, event, self._events)
        request.fresh = model.recall is not None and wants_fresh(http.header)
        entry = model.infer(request, answer.reply, DIALECT)
        if entry is not None and not entry.answered:
            answer.entry = entry
            http.on_disconnect = answer.lost

    def models(self, http: HttpRequest) -> None:
        names = self._engine.registry.names()
        http.respond(200, codec.encode_models([name for name in names if http.caller.allows(name)]))

    def model(self, http: HttpRequest) -> None:
        model = self._find(http)
        if not model.ready:
            raise NotReady(f"Model with name {model.name} is not ready.")
        http.respond(200, codec.encode_model(model.name, True))

    def _find(self, http: HttpRequest, headers: Headers | None = None) -> Model:
        name = http.params[0]
        try:
            return self._engine.find(name, "", headers)
        except NotFound as error:
            self._engine.refuse(DIALECT, error)
            if self._engine.registry.knows(name):
                raise NotReady(f"Model with name {name} is not ready.") from None
            raise NotFound(f"Model with name {name} does not exist.") from None
