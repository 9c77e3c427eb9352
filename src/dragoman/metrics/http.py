"""The numbers over HTTP: ``/metrics`` for Prometheus and ``/stats`` as JSON. Thin: the views know the formats.

Where several processes share the port, whichever answers tells the numbers of all; what each of them has for itself
(memory, instances) is then left out.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final

from dragoman import __version__
from dragoman.engine.engine import Engine
from dragoman.errors import NotReady
from dragoman.metrics import numbers, prometheus
from dragoman.monitoring.monitor import Monitor
from dragoman.stats import Stats
from dragoman.tensors import dump_json
from dragoman.transport.request import HttpRequest
from dragoman.transport.router import Router
from dragoman.transport.status import error_body, respond_failure

#: The numbers of all processes, and how many requests they have in flight. Raises TimeoutError.
Gather = Callable[[], Awaitable[tuple[Stats, int]]]
#: What the page, or another program, can have of this server beyond the protocols: a word and the route it stands for.
OFFERS: Final = (("management", "/management/models"),)
_LATE: Final = "the other processes' numbers did not come in time"


class Http:
    """Handlers over one engine."""

    def __init__(
        self,
        engine: Engine,
        in_flight: Callable[[], int],
        grpc_port: Callable[[], int],
        gather: Gather | None = None,
        more: Callable[[], bytes] = bytes,
        monitor: Monitor | None = None,
    ) -> None:
        """Without ``gather`` this process has the port for itself. ``more`` is what else Prometheus gets to read."""
        self._engine = engine
        self._in_flight = in_flight
        self._grpc_port = grpc_port
        self._gather = gather
        self._more = more
        self._monitor = monitor
        self._router = Router()
        self._tasks: set[asyncio.Task[None]] = set()

    def add_routes(self, router: Router) -> None:
        self._router = router
        for path, handler in (("/metrics", self.metrics), ("/stats", self.stats)):
            router.add("GET", path, handler, permit=False, operation="statistics")

    def metrics(self, http: HttpRequest) -> None:
        """The numbers in Prometheus' text format."""
        self._start(http, self._scrape(http))

    def stats(self, http: HttpRequest) -> None:
        """The numbers as JSON, with what the server is and what it offers."""
        self._start(http, self._tell(http))

    async def _scrape(self, http: HttpRequest) -> None:
        stats, in_flight, memory = self._engine.stats, self._in_flight(), None
        if self._gather is None:
            memory = numbers.own_memory(), {key: size for key, (_, size) in (await self._measure()).items()}
        else:
            try:
                stats, in_flight = await self._gather()
            except TimeoutError:  # a scrape that fails is better than counts that fall
                http.respond(503, f"{_LATE}\n".encode(), "text/plain")
                return
        body = prometheus.render(stats, in_flight, self._monitor, memory) + self._more()
        http.respond(200, body, prometheus.CONTENT_TYPE)

    async def gather(self) -> Stats:
        """The numbers of all processes. Raises NotReady when they don't come in time."""
        if self._gather is None:
            return self._engine.stats
        try:
            return (await self._gather())[0]
        except TimeoutError:
            raise NotReady(_LATE) from None

    async def _tell(self, http: HttpRequest) -> None:
        stats, in_flight = self._engine.stats, self._in_flight()
        if self._gather is not None:
            try:
                stats, in_flight = await self._gather()
            except TimeoutError:
                http.respond(503, error_body(_LATE))
                return
        document = self._describe_server() | numbers.describe(stats, in_flight, time.time())
        if self._gather is None:
            await self._add_memory(document)
        http.respond(200, dump_json(document), compress=True)

    def _describe_server(self) -> numbers.Document:
        patterns = {route.pattern for route in self._router.routes()}
        keeps = self._monitor is not None and self._monitor.keeps
        return {
            "version": __version__,
            "ready": self._engine.ready,
            "grpc_port": self._grpc_port(),
            "offers": [word for word, pattern in OFFERS if pattern in patterns] + ["predictions"] * keeps,
            "memory_bytes": None,
        }

    async def _add_memory(self, document: numbers.Document) -> None:
        """What this process and each model's processes have; measuring takes its time."""
        found = await self._measure()
        document["memory_bytes"] = numbers.own_memory()
        for line in document["models"]:
            line["instances"], line["memory_bytes"] = found.get((line["name"], line["version"]), (0, 0))

    async def _measure(self) -> dict[tuple[str, str], tuple[int, int]]:
        """Instances of each model, and bytes that its processes have."""
        models = list(self._engine.registry)
        sizes = await asyncio.to_thread(lambda: [model.memory for model in models])
        return {(m.name, m.version): (m.instances, size) for m, size in zip(models, sizes, strict=True)}

    def _start(self, http: HttpRequest, work: Coroutine[Any, Any, None]) -> None:
        async def answered() -> None:
            try:
                await work
            except Exception as error:
                respond_failure(http, error)

        task = asyncio.get_running_loop().create_task(answered())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
