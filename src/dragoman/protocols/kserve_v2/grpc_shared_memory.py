"""Triton's shared memory extensions over gRPC: thin handlers between its messages and the regions."""

from collections.abc import Callable
from typing import Any, Final

from dragoman.errors import InvalidInput, NotFound
from dragoman.protocols.kserve_v2 import grpc_codec
from dragoman.protocols.kserve_v2.messages import SERVICE, message
from dragoman.protocols.kserve_v2.shared_memory import SharedMemory, no_gpu
from dragoman.transport.grpc.call import Call, Handler, Shape
from dragoman.transport.grpc.routes import Routes

OPERATION: Final = "shared-memory"

#: Offsets of files have 63 bits.
_MOST: Final = 2**63


class SharedMemoryGrpc:
    """Handlers over the regions of one server."""

    def __init__(self, memory: SharedMemory) -> None:
        self._memory = memory

    def add_services(self, routes: Routes) -> None:
        for method, answer in (
            ("SystemSharedMemoryStatus", self.status),
            ("SystemSharedMemoryRegister", self.register),
            ("SystemSharedMemoryUnregister", self.unregister),
            ("CudaSharedMemoryStatus", self.cuda_status),
            ("CudaSharedMemoryRegister", self.cuda_register),
            ("CudaSharedMemoryUnregister", self.cuda_unregister),
        ):
            routes.add(SERVICE, method, Shape.UNARY, self._answering(method, answer), OPERATION)

    def status(self, request: Any, answer: Any) -> None:
        for entry in self._memory.status(request.name):
            region = answer.regions[entry.name]
            region.name, region.key = entry.name, entry.key
            region.offset, region.byte_size = entry.offset, entry.byte_size

    def register(self, request: Any, answer: Any) -> None:
        if not request.name:
            raise InvalidInput("a region of shared memory needs a name")
        if max(request.offset, request.byte_size) >= _MOST:
            raise InvalidInput(f"Invalid shared memory region: '{request.key}'")
        self._memory.register(request.name, request.key, request.offset, request.byte_size)

    def unregister(self, request: Any, answer: Any) -> None:
        self._memory.unregister(request.name)

    def cuda_status(self, request: Any, answer: Any) -> None:
        if request.name:
            raise NotFound(f"Unable to find cuda shared memory region: '{request.name}'")

    def cuda_register(self, request: Any, answer: Any) -> None:
        raise no_gpu(request.name)

    def cuda_unregister(self, request: Any, answer: Any) -> None:
        """None of them is there any more, and none was."""

    def _answering(self, method: str, fill: Callable[[Any, Any], None]) -> Handler:
        """A handler that lets ``fill`` make an answer of a request."""
        kind, answered = message(f"{method}Request"), message(f"{method}Response")

        def handle(call: Call) -> None:
            self._memory.check_enabled()
            answer = answered()
            fill(grpc_codec.decode(kind, call.message), answer)
            call.respond(answer.SerializeToString())

        return handle
