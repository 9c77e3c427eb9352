"""TorchServe's two gRPC ports: which services are where, who is let in, and the management service.

The inference service is the protocol's own. With ts_open_inference_protocol the Open Inference Protocol is there
under TorchServe's package, and under the one that its clients know.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from dragoman.engine.engine import Engine
from dragoman.errors import Code, DragomanError, InvalidInput, NotFound, Unsupported
from dragoman.profiles.torchserve.describing import describe, list_models
from dragoman.profiles.torchserve.doors import Doors
from dragoman.profiles.torchserve.open_inference import OpenInference
from dragoman.profiles.torchserve.settings import Configuration, GrpcAddress
from dragoman.profiles.torchserve.store import Registered
from dragoman.protocols.kserve_v2.grpc import PLAIN
from dragoman.protocols.kserve_v2.grpc import Grpc as KServe
from dragoman.protocols.torchserve import codec
from dragoman.protocols.torchserve.errors import Refused, model_not_found, no_worker, version_not_found
from dragoman.protocols.torchserve.grpc import DIALECT, Grpc, decode
from dragoman.protocols.torchserve.grpc_errors import class_of, tell_management, tell_prediction
from dragoman.protocols.torchserve.messages import MANAGEMENT, SCHEMA
from dragoman.scheduling.scheduler import Outcome
from dragoman.transport.grpc.call import Call, Shape, Status
from dragoman.transport.grpc.routes import Route, Routes
from dragoman.transport.grpc.server import Access, GrpcServer, Guard
from dragoman.types import InferResponse

_PACKAGE: Final = MANAGEMENT.rpartition(".")[0]
_Response: Final = SCHEMA.message(f"{_PACKAGE}.ManagementResponse")
_ALL: Final = "all"


@dataclass(slots=True)
class GrpcListener:
    """One address, what answers there, and the port it really got."""

    address: GrpcAddress
    server: GrpcServer
    port: int = 0


def make_listeners(
    engine: Engine,
    configuration: Configuration,
    models: Sequence[Registered],
    doors: Doors,
    access: Access | None,
) -> list[GrpcListener]:
    """The servers of both addresses, not started; the inference one is first. Equal addresses share one."""
    inference, management = configuration.grpc_inference, configuration.grpc_management
    shared = inference == management and inference.port != 0
    first = Routes()
    second = first if shared else Routes()
    Grpc(engine).add_services(first)
    if configuration.open_inference:
        OpenInference(engine).add_services(first)
        KServe(engine).add_services(first, only=PLAIN)
    Management(engine, models, model_api=configuration.model_api).add_services(second)
    settings = configuration.settings()
    listeners = []
    for address, routes in [(inference, first), (management, second)][: 1 if shared else 2]:
        options = replace(settings.grpc, connection_age=address.age, connection_age_grace=address.age_grace)
        server = GrpcServer(routes, settings.limits, options, access, guard_of(doors))
        listeners.append(GrpcListener(address, server))
    return listeners


def guard_of(doors: Doors) -> Guard | None:
    """Asks for the key of the operation: of management its own, of everything else the inference key."""
    if not doors.locked:
        return None

    def guard(route: Route, call: Call) -> None:
        scope = "management" if route.operation == "management" else "inference"
        try:
            doors.check(call.header("authorization"), scope, call.arrived)
        except Refused as refused:  # which over gRPC is no UNAUTHENTICATED
            raise Refused(refused.status, refused.kind, refused.message, Code.FORBIDDEN) from None

    return guard


class Management:
    """The six methods, as far as they go. ``models`` are those of the start-up list."""

    def __init__(self, engine: Engine, models: Sequence[Registered], *, model_api: bool) -> None:
        self._engine = engine
        self._models = {(model.source.name, model.source.version): model for model in models}
        self._model_api = model_api

    def add_services(self, routes: Routes) -> None:
        for method, handle in (
            ("DescribeModel", self.describe_model),
            ("ListModels", self.list_models),
            ("RegisterModel", self.register_model),
            ("ScaleWorker", self.scale_worker),
            ("SetDefault", self.set_default),
            ("UnregisterModel", self.unregister_model),
        ):
            kind = SCHEMA.message(f"{_PACKAGE}.{method}Request")
            routes.add(MANAGEMENT, method, Shape.UNARY, _answering(kind, handle), "management")

    def list_models(self, call: Call, request: Any) -> None:
        """A limit of 0 is a limit of 0, as recorded: the list is empty then."""
        limit = request.limit if 0 <= request.limit <= 100 else 100
        urls = {name: self._models[name, version].url for name, version in sorted(self._defaults().items())}
        _respond(call, _write(list_models(urls, limit, max(0, request.next_page_token))))

    def describe_model(self, call: Call, request: Any) -> None:
        """One version, the default one, or ``all``; ``customized`` adds what the handler says of itself."""
        name, version = request.model_name, request.model_version
        if request.customized and version != _ALL:
            self._describe_customized(call, name, version)
            return
        _respond(call, _write([self._describe(*key) for key in self._chosen(name, version)]))

    def register_model(self, call: Call, request: Any) -> None:
        self._check_model_api()
        if not request.url:
            raise InvalidInput("Parameter url is required.")
        raise Unsupported("models can't be registered by requests in this version")

    def unregister_model(self, call: Call, request: Any) -> None:
        self._check_model_api()
        if not request.model_name:
            raise InvalidInput("Parameter url is required.")  # as TorchServe says it
        self._chosen(request.model_name, request.model_version)
        raise Unsupported("models can't be unregistered by requests in this version")

    def scale_worker(self, call: Call, request: Any) -> None:
        if 0 < request.max_worker < (request.min_worker or 1):
            raise InvalidInput("max_worker cannot be less than min_worker.")
        self._chosen(request.model_name, request.model_version)
        raise Unsupported("workers can't be scaled by requests in this version")

    def set_default(self, call: Call, request: Any) -> None:
        name, version = request.model_name, request.model_version
        self._chosen(name, "")
        if (name, version) not in self._models:
            message = f"Model version {version} does not exist for model {name}"
            raise Refused(404, "ModelVersionNotFoundException", message, Code.NOT_FOUND)
        raise Unsupported("the default version can't be chosen by requests in this version")

    def _check_model_api(self) -> None:
        if not self._model_api:
            raise Refused(403, "ModelException", "Model API disabled", Code.FORBIDDEN)

    def _defaults(self) -> dict[str, str]:
        """The version of each model that answers who names none, or would if it could."""
        defaults: dict[str, str] = {}
        for name, version in self._models:
            defaults.setdefault(name, version)
        for model in self._engine.registry:
            if model.name in defaults:
                defaults[model.name] = self._engine.registry.find(model.name).version
        return defaults

    def _chosen(self, name: str, version: str) -> list[tuple[str, str]]:
        """The versions that are meant. Raises Refused."""
        defaults = self._defaults()
        if name not in defaults:
            raise model_not_found(name)
        if version == _ALL:
            return sorted(key for key in self._models if key[0] == name)
        key = (name, version or defaults[name])
        if key not in self._models:
            raise version_not_found(name, version)
        return [key]

    def _describe(self, name: str, version: str) -> dict[str, Any]:
        try:
            model = self._engine.find(name, version)
        except NotFound:
            model = None
        return describe(self._models[name, version], model)

    def _describe_customized(self, call: Call, name: str, version: str) -> None:
        try:
            ((name, version),) = self._chosen(name, version)
            model = self._engine.find(name, version)
        except Refused as refused:
            told = tell_prediction(refused, name, version)
            call.fail(told.status, told.details)
            return
        except NotFound:
            call.fail(Status.INTERNAL, f"{no_worker(name)}\n{class_of('InternalServerException')}")
            return

        def reply(outcome: Outcome) -> None:
            if not isinstance(outcome, InferResponse):
                told = tell_prediction(outcome, name, version)
                call.fail(told.status, told.details)
                return
            described = self._describe(name, version)
            described["customizedMetadata"] = _parse(codec.encode_answer(outcome).body)
            _respond(call, _write([described]))

        request = codec.make_request(name, version, "", {}, {"describe": "True"})
        request.deadline = call.deadline
        entry = model.infer(request, reply, DIALECT)
        if entry is not None:
            call.on_cancel = entry.leave


def _answering(kind: Any, handle: Callable[[Call, Any], None]) -> Callable[[Call], None]:
    """A handler with TorchServe's answer for what ``handle`` raises."""

    def answered(call: Call) -> None:
        try:
            handle(call, decode(kind, call.message))
        except Unsupported as error:
            call.fail(Status.UNIMPLEMENTED, error.message)
        except DragomanError as error:
            told = tell_management(error)
            call.fail(told.status, told.details)

    return answered


def _respond(call: Call, text: str) -> None:
    call.respond(_Response(msg=text).SerializeToString())


def _write(document: Any) -> str:
    return json.dumps(document, indent=2, ensure_ascii=False)


def _parse(body: bytes) -> Any:
    """What a handler says of itself: JSON, or else text."""
    try:
        return json.loads(body)
    except ValueError:
        return body.decode("utf-8", "replace")
