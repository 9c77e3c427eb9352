"""The Open Inference Protocol as TorchServe has it over gRPC: under a package of its own, in its own words.

Answers have typed contents, because its clients look nowhere else. Requests may be raw, which TorchServe's may not.
"""

import uuid
from collections.abc import Callable
from typing import Any, Final

from dragoman.engine.engine import Engine
from dragoman.engine.model import Model
from dragoman.errors import DragomanError
from dragoman.protocols.kserve_v2 import grpc_codec
from dragoman.protocols.kserve_v2.grpc import DIALECT, Grpc, submit
from dragoman.protocols.kserve_v2.messages import message
from dragoman.protocols.torchserve.finding import find
from dragoman.protocols.torchserve.grpc_errors import Told, missing, tell_management, tell_prediction
from dragoman.protocols.torchserve.messages import OPEN_INFERENCE
from dragoman.scheduling.scheduler import Outcome
from dragoman.transport.grpc.call import Call, Shape
from dragoman.transport.grpc.routes import Routes
from dragoman.types import InferResponse

#: What is said word for word as in KServe's package.
_SAME: Final = ("ServerLive", "ServerReady", "ServerMetadata")


class OpenInference:
    """Handlers over one engine."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._protocol = Grpc(engine)

    def add_services(self, routes: Routes) -> None:
        self._protocol.add_services(routes, OPEN_INFERENCE, _SAME)
        routes.add(OPEN_INFERENCE, "ModelReady", Shape.UNARY, self.model_ready, "health", permit=False)
        routes.add(OPEN_INFERENCE, "ModelMetadata", Shape.UNARY, self.model_metadata, "metadata")
        routes.add(OPEN_INFERENCE, "ModelInfer", Shape.UNARY, self.model_infer, "inference")

    def model_ready(self, call: Call) -> None:
        """No answer but ready: a model that can't answer is told as an error."""
        self._describe(call, "ModelReady", lambda model: {"ready": True})

    def model_metadata(self, call: Call) -> None:
        self._describe(call, "ModelMetadata", self._metadata_of)

    def model_infer(self, call: Call) -> None:
        parsed = grpc_codec.parse_infer(call.message)
        name, version = parsed.head.model_name, parsed.head.model_version

        def reply(outcome: Outcome) -> None:
            if not isinstance(outcome, InferResponse):
                _fail(call, tell_prediction(outcome, name, version))
            else:
                call.respond(grpc_codec.encode_typed(outcome))

        if not name:
            _fail(call, missing("model_name"))
            return
        try:
            find(self._engine, name, version, DIALECT)
            model, asked = self._protocol.decode(parsed, call)
            asked.request.id = asked.request.id or str(uuid.uuid4())
            entry = submit(model, asked, reply)
        except DragomanError as error:
            _fail(call, tell_prediction(error, name, version))
            return
        if entry is not None:
            call.on_cancel = entry.leave

    def _describe(self, call: Call, method: str, describe: Callable[[Model], dict[str, Any]]) -> None:
        request = grpc_codec.decode(message(f"{method}Request"), call.message)
        if not request.name:
            _fail(call, missing("name"))
            return
        try:
            model = find(self._engine, request.name, request.version, DIALECT)
        except DragomanError as error:
            _fail(call, tell_management(error))
            return
        call.respond(message(f"{method}Response")(**describe(model)).SerializeToString())

    def _metadata_of(self, model: Model) -> dict[str, Any]:
        """Handlers don't say what they take."""
        return {"name": model.name, "versions": [model.version], "platform": model.platform}


def _fail(call: Call, told: Told) -> None:
    call.fail(told.status, told.details)
