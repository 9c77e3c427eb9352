"""The KServe v1 protocol over HTTP: list, ready and predict. Thin: the codec knows the wire, the engine the models."""

from dragoman.config import LimitSettings
from dragoman.engine.engine import Engine
from dragoman.engine.model import Model
from dragoman.engine.registry import Headers
from dragoman.errors import DragomanError, NotFound, NotReady
from dragoman.protocols.kserve_v1 import codec
from dragoman.scheduling.scheduler import Outcome
from dragoman.transport.request import HttpRequest
from dragoman.transport.router import Router
from dragoman.transport.status import respond_error
from dragoman.types import InferResponse

DIALECT = "v1"


class Http:
    """Handlers over one engine."""

    def __init__(self, engine: Engine, limits: LimitSettings) -> None:
        self._engine = engine
        self._limits = limits

    def add_routes(self, router: Router) -> None:
        router.add(("GET",), "/v1/models", self.models, operation="metadata")
        router.add(("GET",), "/v1/models/{}", self.model, permit=False, operation="health")
        router.add(("POST",), "/v1/models/{}:predict", self.predict, operation="inference")

    def predict(self, http: HttpRequest) -> None:
        """One prediction: the answer is written when the model has it, perhaps before this returns."""
        model = self._find(http, http.header)
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
            http.respond(200, codec.encode_predict(outcome, model.signature), compress=True)

        entry = model.infer(request, reply, DIALECT)
        if entry is not None:
            http.on_disconnect = entry.cancel

    def models(self, http: HttpRequest) -> None:
        http.respond(200, codec.encode_models(self._engine.registry.names()))

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
