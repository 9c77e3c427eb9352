"""TorchServe's inference API over HTTP. Thin: the codec knows the wire, the engine the models.

Most of it doesn't look at the method: a prediction may be asked for with GET, PUT or PATCH, too.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import wraps
from random import getrandbits
from typing import Any, Final

from dragoman.config import LimitSettings
from dragoman.engine.engine import Engine
from dragoman.engine.model import Model
from dragoman.engine.recall import origin_headers, wants_fresh
from dragoman.engine.registry import Headers
from dragoman.errors import DragomanError, InvalidInput, ModelFailed
from dragoman.protocols.torchserve import codec, errors, openapi
from dragoman.protocols.torchserve.finding import find
from dragoman.scheduling.scheduler import Outcome, Ticket
from dragoman.transport.answer import lines_of
from dragoman.transport.auth import About
from dragoman.transport.request import Guard, Handler, Header, HttpRequest
from dragoman.transport.router import Router
from dragoman.transport.status import REASONS
from dragoman.transport.stream import PieceWriter
from dragoman.types import InferResponse

DIALECT = "torchserve"

METHODS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")

#: Raises what tells the client that it may not: called with the request's head and "inference" before anything else.
Authorize = Callable[[HttpRequest, str], None]

#: What every answer of every port says of caches.
NO_CACHE: Final[tuple[Header, ...]] = (
    ("Pragma", "no-cache"),
    ("Cache-Control", "no-cache; no-store, must-revalidate, private"),
    ("Expires", "Thu, 01 Jan 1970 00:00:00 UTC"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What TorchServe's configuration says of this API. Empty CORS values add no header."""

    cors_allowed_origin: str = ""
    cors_allowed_methods: str = ""
    cors_allowed_headers: str = ""
    open_inference_protocol: bool = False
    sequence_headers: codec.SequenceHeaders = codec.SEQUENCE_HEADERS


class Http:
    """Handlers over one engine."""

    def __init__(
        self,
        engine: Engine,
        limits: LimitSettings,
        options: Options | None = None,
        authorize: Authorize | None = None,
    ) -> None:
        options = options or Options()
        self._engine = engine
        self._guard = None if authorize is None else self._asking(authorize)
        self._oip = options.open_inference_protocol
        self._sequence = options.sequence_headers
        self._raw_paths = False
        #: What every answer of this API has, beside its x-request-id.
        self.common = lines_of((*_cors(options), *NO_CACHE))

    def add_routes(self, router: Router, profile: bool = False) -> None:
        """Without ``profile`` only what leaves room for the other dialects on the same port."""
        self._raw_paths = profile

        def add(
            pattern: str,
            handler: Handler,
            methods: Iterable[str] = METHODS,
            permit: bool = True,
            operation: str = "inference",
            about: int | About = 0,
        ) -> None:
            answered, seen = self._answering(handler), self._guard
            router.add(
                methods, pattern, answered, permit=permit, guard=seen, operation=operation, about=about
            )

        for method, pattern in (("OPTIONS", "/"), ("GET", "/api-description")):
            router.add(method, pattern, self.api_description, permit=False, operation="pages")
        add("/ping", self.ping, permit=False, operation="health", about=About.SERVER)
        add("/predictions/{*}", self.predictions)
        add("/explanations/{*}", self.explanations)
        add("/invocations", self.invocations, about=About.HANDLER)
        add("/models/{}/invoke", self.invoke)
        if not profile:
            return
        others = [method for method in METHODS if method != "OPTIONS"]
        add("/", self.no_method, methods=others, about=About.SERVER)
        add("/v1/models/{}:predict", self.kserve_predict)
        add("/v1/models/{}:explain", self.kserve_explain)
        add("/v2/models/{}/infer", self.kserve_predict)
        add("/v2/models/{}/explain", self.kserve_explain)
        add("/{}/predict", self.legacy_predict)
        add("/{}/{}/predict", self.legacy_predict)
        if self._oip:
            add("/v2", self.metadata, permit=False, operation="metadata", about=About.SERVER)
            add("/v2/health/live", self.live, permit=False, operation="health", about=About.SERVER)
            add("/v2/health/ready", self.ready, permit=False, operation="health", about=About.SERVER)
            add("/v2/models/{}/versions/{*}", self.no_versions, permit=False)
        router.fallback(self._answering(self.nothing), streaming=False, guard=self._guard)

    # Predictions.

    def predictions(self, http: HttpRequest) -> None:
        """``/predictions/{model}[/{version}[/what the handler sees as url_path]]``."""
        name, version, url_path = _split(http.params[0])
        self._predict(http, name, version, explain=False, url_path=url_path)

    def explanations(self, http: HttpRequest) -> None:
        name, version, url_path = _split(http.params[0])
        self._predict(http, name, version, explain=True, url_path=url_path)

    def kserve_predict(self, http: HttpRequest) -> None:
        """The paths of KServe's protocols; what the body means is the handler's business."""
        self._predict(http, http.params[0], explain=False)

    def kserve_explain(self, http: HttpRequest) -> None:
        self._predict(http, http.params[0], explain=True)

    def legacy_predict(self, http: HttpRequest) -> None:
        """``/{model}/predict`` and ``/{model}/{version}/predict``: query parameters are inputs."""
        name, version = http.params if len(http.params) == 2 else (http.params[0], "")
        self._predict(http, name, version, query=http.query)

    def invoke(self, http: HttpRequest) -> None:
        """SageMaker's endpoint of one model among several."""
        self._predict(http, http.params[0], query=http.query)

    def invocations(self, http: HttpRequest) -> None:
        """SageMaker's endpoint of one model: the only one there is, or the one that ``model_name`` names."""
        try:
            inputs = _inputs(http, http.query)
            names = self._engine.registry.names()
            if "model_name" in inputs:
                name = inputs["model_name"].value.decode("utf-8", "replace")
            elif len(names) == 1:
                name = names[0]
            else:
                raise InvalidInput("Parameter model_name is required.")
            http.caller.check(name)
        except DragomanError as error:
            self._engine.refuse(DIALECT, error)
            raise
        self._predict(http, name, inputs=inputs)

    def _predict(
        self,
        http: HttpRequest,
        name: str,
        version: str = "",
        *,
        explain: bool | None = None,
        url_path: str | None = None,
        query: str = "",
        inputs: codec.Inputs | None = None,
    ) -> None:
        model = self._find(name, version, http.header)
        if http.method == "OPTIONS":
            self._json(http, 200, openapi.describe_model(name, raw_paths=self._raw_paths))
            return
        request_id = new_id()
        try:
            inputs = inputs or _inputs(http, query)
        except DragomanError as error:
            model.stats.answers[DIALECT, error.code.value] += 1
            raise
        headers = _headers(http, explain, url_path)
        sequence: dict[str, Any] | None = None
        own: tuple[Header, ...] = ()
        if model.settings.sequences:
            headers = dict(headers)
            sequence, made = codec.decode_sequence(headers, new_id, self._sequence)
            own = ((self._sequence.id, made),) if made else ()
        request = codec.make_request(model.name, model.version, request_id, inputs, headers, sequence)
        request.fresh = model.recall is not None and wants_fresh(http.header)
        answer = _Answer(self, http, request_id, name, version, own)
        try:
            entry = model.infer(request, answer.reply, DIALECT)
        except DragomanError as error:
            self._fail(http, error, request_id, name, version)
            return
        if entry is not None and not entry.answered:
            answer.entry = entry
            http.on_disconnect = answer.lost

    def _find(self, name: str, version: str, headers: Headers) -> Model:
        return find(self._engine, name, version, DIALECT, headers)

    # All the rest.

    def ping(self, http: HttpRequest) -> None:
        if self._engine.healthy:
            self._json(http, 200, {"status": "Healthy"})
        else:
            self._json(http, 500, {"status": "Unhealthy"})

    def api_description(self, http: HttpRequest) -> None:
        self._json(http, 200, openapi.describe_server(raw_paths=self._raw_paths))

    def metadata(self, http: HttpRequest) -> None:
        extensions = ["kserve", "kubeflow"]
        document = {"name": "Torchserve", "version": openapi.API_VERSION}
        self._json(http, 200, document | {"extenstion": extensions, "extensions": extensions})

    def live(self, http: HttpRequest) -> None:
        self._json(http, 200, {"live": True})

    def ready(self, http: HttpRequest) -> None:
        ready = self._engine.ready
        self._json(http, 200 if ready else 503, {"ready": ready})

    def no_versions(self, http: HttpRequest) -> None:
        self._json(http, 501, {"error": "Model versioning is not yet supported."})

    def no_method(self, http: HttpRequest) -> None:
        raise errors.method_not_allowed()

    def nothing(self, http: HttpRequest) -> None:
        raise errors.resource_not_found()

    # Answers.

    def _asking(self, authorize: Authorize) -> Guard:
        """Asks for the key while there is only a head: who has none doesn't get to send a body."""
        return self._answering(lambda http: authorize(http, "inference"))

    def _answering(self, handler: Handler) -> Handler:
        """``handler``, with TorchServe's answer for what it raises."""

        @wraps(handler)
        def answered(http: HttpRequest) -> None:
            try:
                handler(http)
            except DragomanError as error:
                self._fail(http, error)

        return answered

    def _json(self, http: HttpRequest, status: int, document: dict[str, Any]) -> None:
        headers = (("x-request-id", new_id()),)
        http.respond(status, errors.encode_json(document), headers=headers, common=self.common)

    def _fail(
        self, http: HttpRequest, error: DragomanError, request_id: str = "", name: str = "", version: str = ""
    ) -> None:
        failure = errors.describe(error, name, version)
        headers: tuple[Header, ...] = (("x-request-id", request_id or new_id()),)
        if failure.retry_after:
            headers = (*headers, ("Retry-After", str(failure.retry_after)))
        reason = None if failure.status in REASONS else f"Server Error ({failure.status})"
        body = errors.encode_failure(failure)
        http.respond(failure.status, body, headers=headers, common=self.common, reason=reason)

    def refuse(self, answer: "_Answer", error: DragomanError) -> None:
        """Say why there is no prediction."""
        self._fail(answer.http, error, answer.request_id, answer.name, answer.version)


class _Answer:
    """One prediction on its way out, whole or in parts."""

    __slots__ = ("_api", "_own", "_writer", "entry", "http", "name", "request_id", "version")

    def __init__(
        self,
        api: Http,
        http: HttpRequest,
        request_id: str,
        name: str,
        version: str,
        own: tuple[Header, ...] = (),
    ) -> None:
        self._own = own
        self._api = api
        self._writer: PieceWriter | None = None
        self.entry: Ticket | None = None
        self.http = http
        self.request_id = request_id
        self.name = name
        self.version = version

    def reply(self, outcome: Outcome) -> None:
        """Called with every part, the last one marked ``final``, or with the failure. Raises ModelFailed."""
        if isinstance(outcome, InferResponse):
            answer = codec.encode_answer(outcome)
            if outcome.recalled:
                self._own = (*self._own, *origin_headers(outcome))
            try:
                self._answer(answer, outcome.final)
            except ValueError as error:  # nothing was written yet
                raise ModelFailed(f"the handler's answer has a header that can't be sent: {error}") from None
        elif self._writer is None:
            self._api.refuse(self, outcome)
        else:  # too late to say why; the client sees that something is missing
            self._writer.abort()
            self._cancel()

    def lost(self) -> None:
        """The client has gone."""
        if self._writer is not None:
            self._writer.stop()
        self._cancel()

    def _cancel(self) -> None:
        if self.entry is not None:
            self.entry.cancel()

    def _answer(self, answer: codec.Answer, final: bool) -> None:
        writer = self._writer
        if writer is None:
            headers = (*answer.headers, *self._own, ("x-request-id", self.request_id))
            common, reason = self._api.common, answer.reason
            if final:
                self.http.respond(
                    answer.status, answer.body, answer.content_type, headers, common=common, reason=reason
                )
                return
            if answer.content_type:
                headers = (("Content-Type", answer.content_type), *headers)
            self.http.start(answer.status, headers, common=common, reason=reason)
            writer = self._writer = PieceWriter(self.http, self._cancel)
        writer.write(answer.body)
        if final:
            writer.end()


def new_id() -> str:
    """A random UUID: one of its kind, but no secret."""
    digits = f"{getrandbits(128):032x}"
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-a{digits[17:20]}-{digits[20:]}"


def _headers(http: HttpRequest, explain: bool | None, url_path: str | None) -> dict[str, str]:
    """What a handler knows of the request. Shared by requests with the same head: not to be changed."""
    length = len(http.body)
    known: tuple[int, dict[str, str]] | None = http.notes.get(DIALECT)
    if known is None or known[0] != length:
        headers = codec.decode_headers(http.raw_headers(), length, explain, url_path)
        known = http.notes[DIALECT] = (length, headers)
    return known[1]


def _inputs(http: HttpRequest, query: str) -> codec.Inputs:
    return codec.decode_inputs(http.body, http.header(b"content-type") or "", query)


def _split(path: str) -> tuple[str, str, str]:
    """Model, version and the rest of a path; like TorchServe, blind to slashes at its end."""
    parts = path.rstrip("/").split("/", 2)
    if not parts[0]:
        raise errors.resource_not_found()
    name, version, rest = (*parts, "", "")[:3]
    return name, version, rest


def _cors(options: Options) -> list[Header]:
    values = {
        "access-control-allow-origin": options.cors_allowed_origin,
        "access-control-allow-methods": options.cors_allowed_methods,
        "access-control-allow-headers": options.cors_allowed_headers,
    }
    return [(name, value) for name, value in values.items() if value]
