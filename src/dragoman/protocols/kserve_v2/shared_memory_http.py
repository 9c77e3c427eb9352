"""Triton's shared memory extensions over HTTP: what requests to them say, and thin handlers before the regions."""

from collections.abc import Callable
from typing import Any, Final

from dragoman.config import LimitSettings
from dragoman.errors import InvalidInput, NotFound
from dragoman.protocols.kserve_v2.members import UNSIGNED
from dragoman.protocols.kserve_v2.shared_memory import SharedMemory, no_gpu
from dragoman.tensors import Buffer, dump_json, parse_json
from dragoman.transport.request import Guard, HttpRequest
from dragoman.transport.router import Router

OPERATION: Final = "shared-memory"


class SharedMemoryHttp:
    """Handlers over the regions of one server. ``guard`` is asked before anything is changed."""

    def __init__(self, memory: SharedMemory, limits: LimitSettings, guard: Guard) -> None:
        self._memory = memory
        self._depth = limits.json_depth
        self._guard = guard

    def add_routes(self, router: Router) -> None:
        def add(method: str, path: str, handler: Callable[[HttpRequest], None]) -> None:
            guard = self._guard if method == "POST" else None
            router.add(method, path, handler, guard=guard, operation=OPERATION)

        for kind, status, register, unregister in (
            ("system", self.status, self.register, self.unregister),
            ("cuda", self.cuda_status, self.cuda_register, self.cuda_unregister),
        ):
            every, one = f"/v2/{kind}sharedmemory", f"/v2/{kind}sharedmemory/region/{{}}"
            for path in (every, one):
                add("GET", f"{path}/status", status)
                add("POST", f"{path}/unregister", unregister)
            add("POST", f"{one}/register", register)

    def status(self, http: HttpRequest) -> None:
        """What is registered."""
        http.respond(200, dump_json([entry._asdict() for entry in self._memory.status(*http.params)]))

    def register(self, http: HttpRequest) -> None:
        """Take a region in."""
        self._memory.register(http.params[0], *decode_register(http.body, self._depth))
        http.respond(200)

    def unregister(self, http: HttpRequest) -> None:
        """Forget a region, or all."""
        self._memory.unregister(*http.params)
        http.respond(200)

    def cuda_status(self, http: HttpRequest) -> None:
        """Nothing: there is no memory of GPUs here."""
        self._memory.check_enabled()
        if http.params:
            raise NotFound(f"Unable to find cuda shared memory region: '{http.params[0]}'")
        http.respond(200, b"[]")

    def cuda_register(self, http: HttpRequest) -> None:
        self._memory.check_enabled()
        raise no_gpu(http.params[0])

    def cuda_unregister(self, http: HttpRequest) -> None:
        """None of them is there any more, and none was."""
        self._memory.check_enabled()
        http.respond(200)


def decode_register(body: Buffer, max_depth: int = 100) -> tuple[str, int, int]:
    """The key, offset and size of a region, in bytes. Raises InvalidInput."""
    document = parse_json(body, max_depth)
    if type(document) is not dict:
        raise InvalidInput("Unable to parse the request: attempt to access JSON non-object as object")
    for field in ("key", "byte_size"):
        if field not in document:
            raise InvalidInput(f"Shared memory register request has no '{field}' field")
    key = document["key"]
    if type(key) is not str:
        raise InvalidInput("attempt to access JSON non-string as string")
    return key, _unsigned(document.get("offset", 0)), _unsigned(document["byte_size"])


def _unsigned(value: Any) -> int:
    if type(value) is not int or not 0 <= value < 2**63:
        raise InvalidInput(UNSIGNED)
    return value
