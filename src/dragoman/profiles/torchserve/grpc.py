"""TorchServe's two gRPC ports: which services are where, and who is let in.

With ts_open_inference_protocol the Open Inference Protocol is there
under TorchServe's package, and under the one that its clients know.
"""

from dataclasses import dataclass, replace

from dragoman.engine.engine import Engine
from dragoman.errors import Code
from dragoman.profiles.torchserve.doors import Doors
from dragoman.profiles.torchserve.open_inference import OpenInference
from dragoman.profiles.torchserve.settings import Configuration, GrpcAddress
from dragoman.protocols.kserve_v2.grpc import PLAIN
from dragoman.protocols.kserve_v2.grpc import Grpc as KServe
from dragoman.protocols.torchserve.codec import SequenceHeaders
from dragoman.protocols.torchserve.errors import Refused
from dragoman.protocols.torchserve.grpc import Grpc
from dragoman.protocols.torchserve.management import Models
from dragoman.protocols.torchserve.management.grpc import Grpc as Management
from dragoman.transport.grpc.call import Call
from dragoman.transport.grpc.routes import Route, Routes
from dragoman.transport.grpc.server import Access, GrpcServer, Guard


@dataclass(slots=True)
class GrpcListener:
    """One address, what answers there, and the port it really got."""

    address: GrpcAddress
    server: GrpcServer
    port: int = 0


def make_listeners(
    engine: Engine,
    configuration: Configuration,
    models: Models,
    doors: Doors,
    access: Access | None,
) -> list[GrpcListener]:
    """The servers of both addresses, not started; the inference one is first. Equal addresses share one."""
    inference, management = configuration.grpc_inference, configuration.grpc_management
    shared = inference == management and inference.port != 0
    first = Routes()
    second = first if shared else Routes()
    Grpc(engine, SequenceHeaders(*configuration.sequence_headers)).add_services(first)
    if configuration.open_inference:
        OpenInference(engine).add_services(first)
        KServe(engine).add_services(first, only=PLAIN)
    Management(models, model_api=configuration.model_api).add_services(second)
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
            doors.check(call.header(b"authorization"), scope, call.arrived)
        except Refused as refused:  # which over gRPC is no UNAUTHENTICATED
            raise Refused(refused.status, refused.kind, refused.message, Code.FORBIDDEN) from None

    return guard
