"""KServe's gRPC service: a stub for clients and a servicer to inherit from, made from the definition."""

from typing import Any, Final

from dragoman.compat.kserve.protocol.grpc.grpc_predict_v2_pb2 import DESCRIPTOR, SCHEMA
from dragoman.compat.need import need

_SERVICE: Final = DESCRIPTOR.services_by_name["GRPCInferenceService"]
#: Every method with the classes of what it takes and gives.
_METHODS: Final[dict[str, tuple[Any, Any]]] = {
    method.name: (SCHEMA.message(method.input_type.full_name), SCHEMA.message(method.output_type.full_name))
    for method in _SERVICE.methods
}


class GRPCInferenceServiceStub:
    """One callable a method, on a channel of grpc or grpc.aio."""

    def __init__(self, channel: Any) -> None:
        for name, (request, response) in _METHODS.items():
            path = f"/{_SERVICE.full_name}/{name}"
            call = channel.unary_unary(
                path, request_serializer=request.SerializeToString, response_deserializer=response.FromString
            )
            setattr(self, name, call)

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"{_SERVICE.full_name} has no method {name}, but {', '.join(_METHODS)}")


class GRPCInferenceServiceServicer:
    """To inherit from: what is not overridden is answered UNIMPLEMENTED."""

    def ServerLive(self, request: Any, context: Any) -> Any:  # noqa: N802 - the service's own names
        return _refuse(context)

    ServerReady = ModelReady = ServerMetadata = ModelMetadata = ModelInfer = ServerLive
    RepositoryModelLoad = RepositoryModelUnload = ServerLive


def add_GRPCInferenceServiceServicer_to_server(servicer: Any, server: Any) -> None:  # noqa: N802
    """Let a server of grpc or grpc.aio answer with the servicer's methods."""
    grpc = need("grpc", "KServe's gRPC service", "grpcio")
    handlers = {
        name: grpc.unary_unary_rpc_method_handler(
            getattr(servicer, name),
            request_deserializer=request.FromString,
            response_serializer=response.SerializeToString,
        )
        for name, (request, response) in _METHODS.items()
    }
    handler = grpc.method_handlers_generic_handler(_SERVICE.full_name, handlers)
    server.add_generic_rpc_handlers((handler,))


def _refuse(context: Any) -> Any:
    grpc = need("grpc", "KServe's gRPC service", "grpcio")
    context.set_code(grpc.StatusCode.UNIMPLEMENTED)
    context.set_details("Method not implemented!")
    raise NotImplementedError("Method not implemented!")
