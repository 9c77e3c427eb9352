"""The Open Inference Protocol over HTTP: routes, and thin handlers between the codec and the engine."""

from dragoman import __version__
from dragoman.config import LimitSettings
from dragoman.engine.engine import Engine
from dragoman.engine.recall import origin_headers, wants_fresh
from dragoman.errors import Code, DragomanError, InvalidInput, Mismatch, NotFound, Unsupported
from dragoman.protocols.kserve_v2 import codec, metadata, statistics
from dragoman.protocols.kserve_v2.finding import find, headers_of, names_of, set_deadline
from dragoman.protocols.kserve_v2.windows import NOTHING_SHARED, Shared
from dragoman.scheduling.scheduler import Outcome, Ticket
from dragoman.tensors import dump_json
from dragoman.transport.auth import About
from dragoman.transport.request import HttpRequest
from dragoman.transport.router import Router
from dragoman.transport.status import respond_error
from dragoman.types import InferResponse

DIALECT = "v2"


class Http:
    """Handlers over one engine. Paths and answers are those of the protocol's reference server."""

    def __init__(self, engine: Engine, limits: LimitSettings, shared: Shared = NOTHING_SHARED) -> None:
        self._engine = engine
        self._registry = engine.registry
        self._limits = limits
        self._shared = shared

    def add_routes(self, router: Router) -> None:
        router.add(("GET",), "/v2/health/live", self.live, permit=False, operation="health")
        router.add(("GET",), "/v2/health/ready", self.ready, permit=False, operation="health")
        router.add(("GET",), "/v2", self.server_metadata, operation="metadata", about=About.SERVER)
        router.add(("GET",), "/v2/models/stats", self.statistics, operation="statistics")
        for model in ("/v2/models/{}", "/v2/models/{}/versions/{}"):
            router.add(("GET",), model, self.model_metadata, operation="metadata", about=0)
            router.add(
                ("GET",), f"{model}/ready", self.model_ready, permit=False, operation="health", about=0
            )
            router.add(("GET",), f"{model}/config", self.model_config, operation="model-config", about=0)
            router.add(("GET",), f"{model}/stats", self.statistics, operation="statistics", about=0)
            router.add(("POST",), f"{model}/infer", self.infer, operation="inference", about=0)

    def infer(self, http: HttpRequest) -> None:
        """One inference: the answer is written when the model has it, perhaps before this returns."""
        model = find(self._engine, http, DIALECT, http.header)
        if model.decoupled:
            text = "HTTP end point doesn't support models with decoupled transaction policy"
            model.stats.answers[DIALECT, Code.UNSUPPORTED.value] += 1
            raise Unsupported(text)
        try:
            header_length = http.header(b"inference-header-content-length")
            request, wanted = codec.decode_infer(
                model.name,
                model.version,
                http.body,
                header_length,
                model.signature,
                max_depth=self._limits.json_depth,
                shared=self._shared,
            )
        except DragomanError as error:
            model.stats.answers[DIALECT, error.code.value] += 1
            raise
        set_deadline(request, self._engine.clock)
        if model.takes_documents:
            request.parameters["headers"] = headers_of(http, DIALECT)

        def reply(outcome: Outcome) -> None:
            if not isinstance(outcome, InferResponse):
                respond_error(http, outcome)
                return
            if not outcome.final:
                if entry is not None:
                    entry.cancel()
                respond_error(http, Unsupported("the answer comes in parts, which POST .../infer can't have"))
                return
            own = outcome.parameters.pop("headers", None) if model.takes_documents else None
            headers = [*(own.items() if own else ()), *origin_headers(outcome)]
            buffers, json_length = codec.encode_infer(outcome, wanted, model.signature)
            if json_length is None:
                http.respond(200, buffers[0], headers=headers, compress=True)
            else:
                headers.append(("Inference-Header-Content-Length", str(json_length)))
                http.respond(200, buffers, "application/octet-stream", headers, compress=True)

        entry: Ticket | None = None
        request.fresh = model.recall is not None and wants_fresh(http.header)
        try:
            entry = model.infer(request, reply, DIALECT)
        except Mismatch as error:  # the original says which request, where it is about its tensors
            raise InvalidInput(f"[request id: {request.id or '<id_unknown>'}] {error.message}") from None
        if entry is not None:
            http.on_disconnect = entry.cancel

    def live(self, http: HttpRequest) -> None:
        http.respond(200, b'{"live":true}')

    def ready(self, http: HttpRequest) -> None:
        if self._engine.ready:
            http.respond(200, b'{"ready":true}')
        else:
            http.respond(400, b'{"ready":false}')

    def model_ready(self, http: HttpRequest) -> None:
        try:
            model = self._engine.find(*names_of(http))
        except NotFound:
            model = None
        if model is not None and model.ready:
            http.respond(200, metadata.encode_model_ready(model.name))
        else:
            http.respond(400, b'{"error":"Model version not ready"}')

    def server_metadata(self, http: HttpRequest) -> None:
        http.respond(
            200, metadata.encode_server_metadata("dragoman", __version__, metadata.extensions(self._shared))
        )

    def model_metadata(self, http: HttpRequest) -> None:
        model = find(self._engine, http, DIALECT)
        versions = [model.version] if len(http.params) > 1 else self._engine.registry.versions(model.name)
        http.respond(
            200, metadata.encode_model_metadata(model.name, versions, model.platform, model.signature)
        )

    def statistics(self, http: HttpRequest) -> None:
        """Of one version, of one model or of all, as far as they are counted."""
        name, version = names_of(http) if http.params else ("", "")
        chosen = statistics.choose(self._registry, name, version)
        http.respond(200, dump_json({"model_stats": [statistics.describe(model) for model in chosen]}))

    def model_config(self, http: HttpRequest) -> None:
        model = find(self._engine, http, DIALECT)
        http.respond(200, metadata.encode_config(model.name, model.platform, model.signature, model.settings))
