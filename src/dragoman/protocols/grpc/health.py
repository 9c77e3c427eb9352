"""grpc.health.v1: is the server ready, or one of its services, or one of its models? Knows no wire but this one.

A service is as ready as the server. A model's name is taken as a service's: probes can ask for one model.
"""

from collections.abc import Callable
from typing import Any, Final

from google.protobuf.message import DecodeError

from dragoman.engine.engine import Engine
from dragoman.errors import InvalidInput, NotFound
from dragoman.protobuf.schema import Schema
from dragoman.scheduling.scheduler import TimerHandle
from dragoman.transport.grpc.call import Call, Shape
from dragoman.transport.grpc.routes import Routes

SERVICE: Final = "grpc.health.v1.Health"
SCHEMA: Final = Schema.beside(__file__)
#: Seconds between two looks, while somebody watches.
INTERVAL: Final = 0.5

_Request: Final = SCHEMA.message("grpc.health.v1.HealthCheckRequest")
_Response: Final = SCHEMA.message("grpc.health.v1.HealthCheckResponse")


class Health:
    """``services`` tells the names of those that are served."""

    def __init__(self, engine: Engine, services: Callable[[], list[str]]) -> None:
        self._engine = engine
        self._services = services
        self._watchers: set[_Watcher] = set()
        self._timer: TimerHandle | None = None

    def add_services(self, routes: Routes) -> None:
        routes.add(SERVICE, "Check", Shape.UNARY, self.check, "health", permit=False)
        routes.add(SERVICE, "Watch", Shape.SERVER_STREAM, self.watch, "health", permit=False)

    def check(self, call: Call) -> None:
        name = _name(call)
        status = self.status(name)
        if status == _Response.SERVICE_UNKNOWN:
            raise NotFound(f"unknown service '{name}'")
        call.respond(_Response(status=status).SerializeToString())

    def watch(self, call: Call) -> None:
        """The status now, and again whenever it has changed."""
        watcher = _Watcher(self, call, _name(call))
        self._watchers.add(watcher)
        call.on_cancel = watcher.leave
        watcher.look()
        if self._timer is None:
            self._look()

    def status(self, name: str) -> Any:
        """How things stand with the server (an empty name), a service or a model."""
        if not name or name in self._services():
            return _Response.SERVING if self._engine.ready else _Response.NOT_SERVING
        try:
            ready = self._engine.find(name).ready
        except NotFound:
            known = self._engine.registry.knows(name)
            return _Response.NOT_SERVING if known else _Response.SERVICE_UNKNOWN
        return _Response.SERVING if ready else _Response.NOT_SERVING

    def forget(self, watcher: "_Watcher") -> None:
        self._watchers.discard(watcher)

    def _look(self) -> None:
        for watcher in tuple(self._watchers):
            watcher.look()
        clock = self._engine.clock
        self._timer = clock.call_at(clock.time() + INTERVAL, self._look) if self._watchers else None


class _Watcher:
    """One call of ``Watch``."""

    def __init__(self, health: Health, call: Call, name: str) -> None:
        self._health = health
        self._call = call
        self._name = name
        self._told: Any = None

    def look(self) -> None:
        status = self._health.status(self._name)
        if status != self._told:
            self._told = status
            self._call.send(_Response(status=status).SerializeToString())

    def leave(self) -> None:
        self._health.forget(self)


def _name(call: Call) -> str:
    try:
        return str(_Request.FromString(call.message).service)
    except DecodeError:
        raise InvalidInput("Unable to parse request") from None
