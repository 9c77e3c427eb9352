"""Management over HTTP: inspect, load, scale, split, roll back, unload. Thin: the codec knows the wire, the manager
the models.

::

    GET    /management/models                             what there is, loaded or not
    POST   /management/models                             load one
    GET    /management/operations[/{id}]                  how far that is
    GET    /management/models/{m}                         one model
    DELETE /management/models/{m}[/versions/{v}]
    PUT    /management/models/{m}/default                 GET, PUT /management/models/{m}/traffic
    PUT    /management/models/{m}/versions/{v}/instances
    POST   /management/models/{m}/rollback
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from dragoman.engine.engine import Engine
from dragoman.engine.intake import Intake
from dragoman.engine.lifecycle import Record, State
from dragoman.engine.manager import Manager
from dragoman.engine.operations import Operation, Operations
from dragoman.errors import DragomanError, NotFound
from dragoman.protocols.management import codec
from dragoman.transport.auth import About
from dragoman.transport.request import Guard, HttpRequest
from dragoman.transport.router import Router
from dragoman.transport.status import STATUS, error_body, error_headers, respond_error, respond_failure

Memory = Mapping[tuple[str, str], int]


class Http:
    """Handlers over one manager."""

    def __init__(self, engine: Engine, manager: Manager, intake: Intake, operations: Operations) -> None:
        self._engine = engine
        self._manager = manager
        self._intake = intake
        self._operations = operations
        self._tasks: set[asyncio.Task[None]] = set()

    def add_routes(self, router: Router, guard: Guard | None = None) -> None:
        """``guard`` lets operators in, and nobody else."""
        for method, pattern, handler in (
            ("GET", "/management/models", self.models),
            ("POST", "/management/models", self.load),
            ("GET", "/management/models/{}", self.model),
            ("DELETE", "/management/models/{}", self.unload),
            ("DELETE", "/management/models/{}/versions/{}", self.unload),
            ("PUT", "/management/models/{}/default", self.set_default),
            ("GET", "/management/models/{}/traffic", self.traffic),
            ("PUT", "/management/models/{}/traffic", self.set_traffic),
            ("PUT", "/management/models/{}/versions/{}/instances", self.scale),
            ("POST", "/management/models/{}/rollback", self.roll_back),
            ("GET", "/management/operations", self.operations),
            ("GET", "/management/operations/{}", self.operation),
        ):
            operation = "inspection" if method == "GET" else "management"
            about = 0 if pattern.startswith("/management/models/") else About.MODELS
            router.add(method, pattern, handler, permit=False, guard=guard, operation=operation, about=about)

    # Look.

    def models(self, http: HttpRequest) -> None:
        async def work() -> codec.Document:
            memory = await self._measure()
            names = sorted({record.name for record in self._engine.index()})
            return {"models": [self._describe(name, memory) for name in names]}

        self._answer(http, work)

    def model(self, http: HttpRequest) -> None:
        (name,) = http.params
        self._check_known(name)

        async def work() -> codec.Document:
            return self._describe(name, await self._measure())

        self._answer(http, work)

    def operations(self, http: HttpRequest) -> None:
        found = [codec.encode_operation(operation) for operation in self._operations.all()]
        http.respond(200, codec.encode({"operations": found}))

    def operation(self, http: HttpRequest) -> None:
        found = self._operations.find(http.params[0])
        if found is None:
            raise NotFound(f"there is no operation {http.params[0]!r}, or it ended long ago")
        http.respond(200, codec.encode(codec.encode_operation(found)))

    def traffic(self, http: HttpRequest) -> None:
        (name,) = http.params
        self._check_known(name)
        http.respond(200, codec.encode(self._describe_traffic(name)))

    # Change.

    def load(self, http: HttpRequest) -> None:
        """Answers when it is done, or at once with the operation to look at if the caller does not wait."""
        order, waits = codec.decode_order(http.body), codec.decode_wait(http.body)

        async def work(operation: Operation) -> Any:
            return await self._intake.load(order, _who(http), operation)

        def done(operation: Operation) -> None:
            if (error := operation.error) is not None:
                http.respond(
                    STATUS[error.code], error_body(codec.explain(error)), headers=error_headers(error)
                )
            else:
                http.respond(200, codec.encode(codec.encode_operation(operation)))

        operation = self._operations.start(f"load {order.location}", work, done if waits else None)
        if not waits:
            http.respond(202, codec.encode(codec.encode_operation(operation)))

    def unload(self, http: HttpRequest) -> None:
        name, version = (*http.params, "")[:2]

        async def work() -> codec.Document:
            gone = await self._manager.unregister(name, version, _who(http))
            return {"name": name, "unloaded": gone}

        self._answer(http, work)

    def set_default(self, http: HttpRequest) -> None:
        (name,), version = http.params, codec.decode_version(http.body)

        async def work() -> codec.Document:
            await self._manager.set_default(name, version, _who(http))
            return {"name": name, "default": self._engine.registry.default(name)}

        self._answer(http, work)

    def roll_back(self, http: HttpRequest) -> None:
        (name,) = http.params

        async def work() -> codec.Document:
            return {"name": name, "default": await self._manager.roll_back(name, _who(http))}

        self._answer(http, work)

    def scale(self, http: HttpRequest) -> None:
        (name, version), (least, most) = http.params, codec.decode_instances(http.body)

        async def work() -> codec.Document:
            now = await self._manager.scale(name, version, least, most, _who(http))
            return {"name": name, "version": version, "instances": {"now": now, "min": least, "max": most}}

        self._answer(http, work)

    def set_traffic(self, http: HttpRequest) -> None:
        (name,), traffic = http.params, codec.decode_traffic(http.body)

        async def work() -> codec.Document:
            await self._manager.set_traffic(name, traffic, _who(http))
            return self._describe_traffic(name)

        self._answer(http, work)

    # Inside.

    def _answer(self, http: HttpRequest, work: Callable[[], Awaitable[codec.Document]]) -> None:
        """Do it, and answer with what it returns or why it could not be done."""

        async def run() -> None:
            try:
                http.respond(200, codec.encode(await work()))
            except DragomanError as error:
                respond_error(http, error)
            except Exception as error:
                respond_failure(http, error)

        task = asyncio.get_running_loop().create_task(run())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _check_known(self, name: str) -> None:
        if not self._engine.registry.knows(name):
            raise NotFound(f"there is no model {name!r}")

    async def _measure(self) -> Memory:
        """The memory of each version's processes, in bytes; measuring takes its time."""
        models = list(self._engine.registry)
        sizes = await asyncio.to_thread(lambda: [model.memory for model in models])
        return {(model.name, model.version): size for model, size in zip(models, sizes, strict=True)}

    def _describe(self, name: str, memory: Memory) -> codec.Document:
        records = [record for record in self._engine.index() if record.name == name]
        return {
            "name": name,
            "default": self._engine.registry.default(name),
            "traffic": self._describe_traffic(name),
            "versions": [self._describe_version(record, memory) for record in records],
        }

    def _describe_version(self, record: Record, memory: Memory) -> codec.Document:
        document: dict[str, Any] = {**codec.encode_record(record), "runtime": "", "instances": None}
        document |= {"memory_bytes": 0, "waiting": 0, "running": 0}
        document |= dict(self._manager.origin(record.name, record.version))
        if record.state is State.READY:
            model = self._engine.find(record.name, record.version)
            limits, stats = model.range, model.stats
            document["runtime"] = model.platform
            document["instances"] = {"now": model.instances, "min": limits.minimum, "max": limits.maximum}
            document["memory_bytes"] = memory.get((record.name, record.version), 0)
            document |= {"waiting": stats.waiting, "running": stats.running}
        return document

    def _describe_traffic(self, name: str) -> codec.Document:
        registry = self._engine.registry
        return codec.encode_traffic(registry.traffic(name), registry.shadow_report(name))


def _who(http: HttpRequest) -> str:
    """Whose change it is, for the history."""
    who = http.caller.name or "management"
    return f"{who} from {http.client[0]}" if http.client else who
