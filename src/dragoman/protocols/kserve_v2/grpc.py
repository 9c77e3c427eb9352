"""The Open Inference Protocol over gRPC, as Triton and KServe speak it: thin handlers between codec and engine.

Everything that Triton's service has is here; what this version can't do says so.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, Final

from google.protobuf import json_format

from dragoman import __version__
from dragoman.engine.engine import Engine
from dragoman.engine.model import Model
from dragoman.engine.recall import origin_headers, wants_fresh
from dragoman.engine.registry import Headers
from dragoman.errors import Code, DragomanError, InvalidInput, Mismatch, NotFound, Unsupported
from dragoman.protocols.kserve_v2 import grpc_codec, metadata, statistics
from dragoman.protocols.kserve_v2.grpc_stream import InferStream
from dragoman.protocols.kserve_v2.members import tag_of
from dragoman.protocols.kserve_v2.messages import SERVICE, message
from dragoman.protocols.kserve_v2.windows import NOTHING_SHARED, Shared
from dragoman.scheduling.scheduler import Outcome, Reply, Ticket
from dragoman.transport.auth import About
from dragoman.transport.grpc.call import Call, Handler, Shape
from dragoman.transport.grpc.routes import Routes
from dragoman.transport.grpc.status import fail
from dragoman.types import InferResponse, Signature, TensorSpec

DIALECT: Final = "v2-grpc"

#: What is there so that clients are told, and why it isn't more: methods by operation.
_NOT_OFFERED: Final = {
    "TraceSetting": ("trace", "requests are not traced by this version"),
    "LogSettings": ("logging", "how a server logs is said where it is started, not by clients"),
}
#: What the protocol has without Triton's extensions.
PLAIN: Final = ("ServerLive", "ServerReady", "ModelReady", "ServerMetadata", "ModelMetadata", "ModelInfer")

_DECOUPLED: Final = "ModelInfer RPC doesn't support models with decoupled transaction policy"

Answer = Callable[[Any], Any]


class Grpc:
    """Handlers over one engine."""

    def __init__(self, engine: Engine, shared: Shared = NOTHING_SHARED) -> None:
        self._engine = engine
        self._registry = engine.registry
        self._shared = shared

    def add_services(self, routes: Routes, service: str = SERVICE, only: tuple[str, ...] = ()) -> None:
        """All methods, or ``only`` some of them, under a service's full name."""
        for method, operation, answer, about in (
            ("ServerLive", "health", self.server_live, About.SERVER),
            ("ServerReady", "health", self.server_ready, About.SERVER),
            ("ModelReady", "health", self.model_ready, About.SERVER),
            ("ServerMetadata", "metadata", self.server_metadata, About.SERVER),
            ("ModelMetadata", "metadata", self.model_metadata, About.HANDLER),
            ("ModelConfig", "model-config", self.model_config, About.HANDLER),
            ("ModelStatistics", "statistics", self.model_statistics, About.HANDLER),
        ):
            if not only or method in only:
                handler = _answering(message(f"{method}Request"), answer, about)
                permit = operation != "health"
                routes.add(service, method, Shape.UNARY, handler, operation, permit=permit, about=about)
        if not only or "ModelInfer" in only:
            routes.add(service, "ModelInfer", Shape.UNARY, self.model_infer, "inference", about=About.HANDLER)
        if only:
            return
        stream = self.model_stream_infer
        routes.add(service, "ModelStreamInfer", Shape.BIDI, stream, "inference", about=About.HANDLER)
        for method, (operation, text) in _NOT_OFFERED.items():
            routes.add(service, method, Shape.UNARY, partial(_refuse, text), operation)

    def model_infer(self, call: Call) -> None:
        """One inference: the answer is sent when the model has it, perhaps before this returns."""
        model, asked = self.decode(grpc_codec.parse_infer(call.message), call)
        if model.decoupled:
            model.stats.answers[DIALECT, Code.UNSUPPORTED.value] += 1
            raise Unsupported(_DECOUPLED)
        entry: Ticket | None = None

        def reply(outcome: Outcome) -> None:
            if not isinstance(outcome, InferResponse):
                fail(call, outcome)
            elif outcome.final:
                if model.takes_documents and (headers := outcome.parameters.pop("headers", None)):
                    call.trailing = [(name.lower(), str(value)) for name, value in headers.items()]
                pieces = grpc_codec.encode_infer(outcome, asked.forms, model.signature)
                call.respond(pieces, origin_headers(outcome))
            else:
                if entry is not None:
                    entry.cancel()
                fail(call, Unsupported(_DECOUPLED))

        entry = submit(model, asked, reply)
        if entry is not None:
            call.on_cancel = entry.leave

    def model_stream_infer(self, call: Call) -> None:
        """Any number of inferences on one stream."""
        InferStream(call, self.decode, submit).ask()

    def decode(self, parsed: grpc_codec.Parsed, call: Call) -> tuple[Model, grpc_codec.Asked]:
        """The model that a request is for, and what it asks. Raises DragomanError; the request is counted then."""
        call.caller.check(parsed.head.model_name)
        model = self._find(parsed.head.model_name, parsed.head.model_version, call.header)
        deadline = call.deadline
        try:
            asked = grpc_codec.decode_infer(parsed, model.name, model.version, model.signature, self._shared)
        except DragomanError as error:
            model.stats.answers[DIALECT, error.code.value] += 1
            raise
        request = asked.request
        if parameters := request.parameters:  # as over HTTP: the scheduler's, not the model's
            parameters.pop("priority", None)
            if timeout := parameters.pop("timeout", 0):  # microseconds; 0 is none
                request.timeout = timeout
                ends = self._engine.clock.time() + timeout / 1e6
                deadline = ends if deadline is None else min(ends, deadline)
        if model.takes_documents:
            request.parameters |= {"headers": call.metadata, "transport": "grpc"}
        request.deadline = deadline
        request.fresh = model.recall is not None and wants_fresh(call.header)
        return model, asked

    def server_live(self, request: Any) -> Any:
        return message("ServerLiveResponse")(live=True)

    def server_ready(self, request: Any) -> Any:
        return message("ServerReadyResponse")(ready=self._engine.ready)

    def model_ready(self, request: Any) -> Any:
        try:
            ready = self._find(request.name, request.version, count=False).ready
        except NotFound:
            ready = False
        return message("ModelReadyResponse")(ready=ready)

    def server_metadata(self, request: Any) -> Any:
        return message("ServerMetadataResponse")(
            name="dragoman", version=__version__, extensions=metadata.extensions(self._shared)
        )

    def model_metadata(self, request: Any) -> Any:
        model = self._find(request.name, request.version)
        versions = [model.version] if request.version else self._registry.versions(model.name)
        answer = message("ModelMetadataResponse")(name=model.name, versions=versions, platform=model.platform)
        _describe(model.signature, answer)
        return answer

    def model_config(self, request: Any) -> Any:
        model = self._find(request.name, request.version)
        answer = message("ModelConfigResponse")()
        written = metadata.encode_config(model.name, model.platform, model.signature, model.settings)
        json_format.Parse(written, answer.config)
        return answer

    def model_statistics(self, request: Any) -> Any:
        """Of one model or all, as far as they are counted."""
        answer = message("ModelStatisticsResponse")()
        for model in statistics.choose(self._registry, request.name, request.version):
            json_format.ParseDict(statistics.describe(model), answer.model_stats.add())
        return answer

    def _find(self, name: str, version: str, headers: Headers | None = None, *, count: bool = True) -> Model:
        try:
            return self._registry.find(name, version, headers)
        except NotFound as error:
            if version and not version.isdigit() and self._registry.knows(name):
                raise InvalidInput(
                    f"failed to get model version from specified version string '{version}' (details: stol),"
                    " version should be an integral value > 0"
                ) from None
            if count:
                self._engine.refuse(DIALECT, error)
            raise


def submit(model: Model, asked: grpc_codec.Asked, reply: Reply) -> Ticket | None:
    """Ask the model. Raises DragomanError."""
    try:
        return model.infer(asked.request, reply, DIALECT)
    except Mismatch as error:  # the original says which request, where it is about its tensors
        raise InvalidInput(tag_of(asked.request.id) + error.message) from None


def _answering(kind: Any, answer: Answer, about: About) -> Handler:
    """A handler out of what makes one message of another. Where a message is about a model, ``name`` says which."""

    def handle(call: Call) -> None:
        request = grpc_codec.decode(kind, call.message)
        if about is About.HANDLER:
            call.caller.check(request.name)
        call.respond(answer(request).SerializeToString())

    return handle


def _refuse(text: str, call: Call) -> None:
    raise Unsupported(text)


def _describe(signature: Signature, answer: Any) -> None:
    def add(specs: tuple[TensorSpec, ...], into: Any) -> None:
        for spec in specs:
            into.add(name=spec.name, datatype=spec.datatype, shape=spec.shape)

    add(signature.inputs, answer.inputs)
    add(signature.outputs, answer.outputs)
