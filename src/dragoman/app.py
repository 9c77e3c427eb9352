"""The one place where everything meets: settings and models in, a running server out."""

import asyncio
import gc
import logging
import os
import signal
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from dragoman import log as logs
from dragoman.config import Settings
from dragoman.engine.engine import Engine
from dragoman.engine.lifecycle import Plan, Record, State
from dragoman.errors import ConfigError
from dragoman.metrics import prometheus
from dragoman.pages import pages
from dragoman.protocols.kserve_v1.http import Http as KServeV1
from dragoman.protocols.kserve_v2.http import Http as KServeV2
from dragoman.protocols.torchserve.http import Http as TorchServe
from dragoman.repository.cache import cache_directory
from dragoman.repository.environments import build_environment
from dragoman.repository.layouts import read
from dragoman.repository.model_archive import requirements_of
from dragoman.repository.spec import ModelSource, Problem
from dragoman.runtimes.base import Artifact
from dragoman.runtimes.table import PLATFORMS, guess
from dragoman.scheduling.scheduler import LoopClock
from dragoman.stats import Stats
from dragoman.tensors import dump_json
from dragoman.transport import address
from dragoman.transport.asgi import AsgiBridge
from dragoman.transport.buffers import tune_allocator
from dragoman.transport.grpc.installed import installed as grpc_installed
from dragoman.transport.http import HttpServer
from dragoman.transport.request import HttpRequest
from dragoman.transport.restricting import Restrictions, grpc_guard_of, guards_of
from dragoman.transport.router import Router
from dragoman.transport.tls import Certificates
from dragoman.workers import pool

if TYPE_CHECKING:
    from dragoman.transport.grpc.routes import Routes
    from dragoman.transport.grpc.server import GrpcServer
log = logging.getLogger("dragoman")

Found = Sequence[ModelSource | Problem]
T = TypeVar("T")


def find_models(targets: Sequence[str], settings: Settings) -> Found:
    """Everything at the places the operator named. Raises ConfigError when one of them holds nothing."""
    found = [source for target in targets for source in read(target, settings.models, guess)]
    seen: dict[tuple[str, str], ModelSource] = {}
    for source in found:
        if (
            isinstance(source, ModelSource)
            and seen.setdefault((source.name, source.version), source) is not source
        ):
            raise ConfigError(
                f"model {source.name!r} version {source.version} is there twice",
                hint="rename one of the two folders or files",
            )
    return found


class Siblings(Protocol):
    """The processes that serve one port together, as one of them sees the others."""

    @property
    def serving(self) -> bool:
        """Whether the others serve already."""

    async def loaded(self, app: "App") -> None:
        """Tell that this process has tried its models; returns when every process has."""

    async def gather(self) -> tuple[Stats, int]:
        """The numbers of all processes, and how many HTTP requests they have in flight. Raises TimeoutError."""


class App:
    """A server and its models. ``start`` it on an event loop, ``stop`` it there."""

    def __init__(
        self,
        settings: Settings,
        models: Found,
        siblings: Siblings | None = None,
        restrictions: Restrictions | None = None,
    ) -> None:
        """``restrictions`` take the place of ``settings.server.restrict``, which is for both transports alike."""
        self.settings = settings
        self.models = models
        self._restrictions = restrictions or Restrictions.read(settings.server.restrict)
        self.router = Router(guards_of(self._restrictions.rest))
        self.engine: Engine
        self.port = 0
        self.grpc_port = 0  #: 0 where gRPC is not served
        self._server: HttpServer
        self._grpc: GrpcServer | None = None
        self._bridge: AsgiBridge
        self._siblings = siblings
        self._scrapes: set[asyncio.Task[None]] = set()

    def build(self) -> None:
        """Make the engine and every route, and start nothing. Needs the running event loop."""
        self.engine = Engine(LoopClock(asyncio.get_running_loop()))
        self._bridge = AsgiBridge(pages(self.engine, self.router))
        self._add_routes()
        access = logs.access if self.settings.log.access else None
        limits, compression = self.settings.limits, self.settings.server.compression
        self._server = HttpServer(self.router.find, limits, access, compression=compression)
        if self.settings.server.grpc and grpc_installed():
            from dragoman.transport.grpc.server import GrpcServer

            routes = grpc_routes(self.engine)
            guard = grpc_guard_of(self._restrictions.grpc)
            self._grpc = GrpcServer(routes, limits, self.settings.grpc, access, guard)

    async def start(self) -> None:
        """Listen, then load: a probe gets its answer from the first moment. Returns when every model was tried.

        A process that joins others which serve already loads first: where it listens, requests arrive.
        """
        self.build()
        await self._bridge.startup()
        if self._siblings is not None and self._siblings.serving:
            await self._load()
            await self._siblings.loaded(self)
            await self._listen()
        else:
            await self._listen()
            await self._load()
            if self._siblings is not None:
                await self._siblings.loaded(self)
        self.engine.started()

    async def _listen(self) -> None:
        server = self.settings.server
        files = (server.tls_cert, server.tls_key, server.tls_client_ca)
        certificates = Certificates(*files) if server.tls_cert else None
        context = certificates.context if certificates is not None else None
        shared = self._siblings is not None
        try:
            self.port = await self._server.start(server.host, server.port, ssl=context, reuse_port=shared)
        except OSError as error:
            raise address.cannot_listen(server.host, server.port, error) from error
        log.info("listening", extra={"url": self.url})
        if self._grpc is not None:
            await self._listen_for_grpc(self._grpc, certificates)

    async def _listen_for_grpc(self, grpc: "GrpcServer", certificates: Certificates | None) -> None:
        server = self.settings.server
        shared = self._siblings is not None
        try:
            self.grpc_port = await grpc.start(
                server.host, server.grpc_listens, certificates=certificates, reuse_port=shared
            )
        except OSError as error:
            raise address.cannot_listen(server.host, server.grpc_listens, error, "--grpc-port") from error
        log.info("listening for gRPC", extra={"grpc": self.grpc_address})

    async def stop(self) -> None:
        """Not ready at once; every accepted request is answered; then the models go."""
        self.engine.stop()
        grace = self.settings.server.grace
        stopping = [self._server.stop(grace)]
        if self._grpc is not None:
            stopping.append(self._grpc.stop(grace))
        await asyncio.gather(*stopping)
        await self._bridge.shutdown()
        await self.engine.lifecycle.unload_all()

    @property
    def url(self) -> str:
        server = self.settings.server
        return address.show(server.host, self.port, tls=bool(server.tls_cert))

    @property
    def grpc_address(self) -> str:
        """Where gRPC clients connect, as they write it; empty where they can't."""
        return address.authority(self.settings.server.host, self.grpc_port) if self.grpc_port else ""

    def overview(self) -> list[dict[str, Any]]:
        """Every known version, for people: its name, version, state and reason; if ready, its runtime and inputs."""
        return [self._describe(record) for record in self.engine.index()]

    def _describe(self, record: Record) -> dict[str, Any]:
        line: dict[str, Any] = {"name": record.name, "version": record.version, "state": record.state.value}
        line |= {"reason": record.reason, "runtime": "", "inputs": []}
        if record.state is State.READY:
            model = self.engine.find(record.name, record.version)
            line["runtime"] = model.platform
            line["inputs"] = [[spec.name, spec.datatype, list(spec.shape)] for spec in model.signature.inputs]
        return line

    @property
    def in_flight(self) -> int:
        """Requests and calls accepted and not answered yet."""
        return self._server.in_flight + (self._grpc.in_flight if self._grpc is not None else 0)

    def _add_routes(self) -> None:
        for protocol in (KServeV2, KServeV1, TorchServe):
            protocol(self.engine, self.settings.limits).add_routes(self.router)
        for path in ("/livez", "/healthz"):
            self.router.add("GET", path, self._live, permit=False, operation="health")
        self.router.add("GET", "/readyz", self._ready, permit=False, operation="health")
        self.router.add("GET", "/metrics", self._metrics, permit=False, operation="statistics")
        for path in ("/crashes", "/crashes/{}"):
            self.router.add("GET", path, self._crashes, permit=False, operation="logging")
        self.router.add("GET", "/", self._bridge, streaming=True, operation="pages")

    async def _load(self) -> None:
        plans = []
        for model in self.models:
            if isinstance(model, Problem):
                hint = f" ({model.hint})" if model.hint else ""
                self.engine.lifecycle.fail(model.name, model.version, f"{model.reason}{hint}")
            else:
                plans.append(plan(model))
        await self.engine.lifecycle.load_all(plans)

    def _live(self, http: HttpRequest) -> None:
        http.respond(200, b"ok\n", "text/plain")

    def _ready(self, http: HttpRequest) -> None:
        ready = self.engine.ready
        http.respond(200 if ready else 503, b"ready\n" if ready else b"not ready\n", "text/plain")

    def _crashes(self, http: HttpRequest) -> None:
        registry = self.engine.registry
        models = [registry.find(name) for name in http.params] or list(registry)
        reports = [report for model in models for report in model.crashes]
        reports.sort(key=lambda report: report.time, reverse=True)
        http.respond(200, dump_json([report.for_clients() for report in reports]))

    def _metrics(self, http: HttpRequest) -> None:
        if self._siblings is None:
            http.respond(200, prometheus.render(self.engine.stats, self.in_flight), prometheus.CONTENT_TYPE)
            return
        task = asyncio.get_running_loop().create_task(self._gather_metrics(http, self._siblings))
        self._scrapes.add(task)
        task.add_done_callback(self._scrapes.discard)

    async def _gather_metrics(self, http: HttpRequest, siblings: Siblings) -> None:
        try:
            stats, in_flight = await siblings.gather()
        except TimeoutError:  # a scrape that fails is better than counts that fall
            http.respond(503, b"the other processes' numbers did not come in time\n", "text/plain")
        else:
            http.respond(200, prometheus.render(stats, in_flight), prometheus.CONTENT_TYPE)


def plan(source: ModelSource) -> Plan:
    """How to load a version that was found."""
    options = dict(source.options)
    if source.inputs:
        options["inputs"] = source.inputs
    if source.outputs:
        options["outputs"] = source.outputs
    name = source.settings.runtime or "python"
    if name == "torchserve":
        options.setdefault("print_metrics", False)
        # A handler's working directory is its model's, as in TorchServe, where it has a process of its own.
        options.setdefault("chdir", source.settings.execution in ("auto", "process") and pool.PROCESSES_WORK)
    artifact = Artifact(source.name, source.version, source.path, source.entry, options, source.trusted)
    start = partial(_start_pool, source, artifact, name)
    return Plan(source.name, source.version, PLATFORMS.get(name, name), source.settings, start)


def grpc_routes(engine: Engine) -> "Routes":
    """Every gRPC method of the one port that has all of them."""
    from dragoman.protocols.grpc.health import Health
    from dragoman.protocols.grpc.reflection import Reflection
    from dragoman.protocols.kserve_v2 import messages
    from dragoman.protocols.kserve_v2.grpc import Grpc
    from dragoman.transport.grpc.routes import Routes

    routes = Routes()
    Grpc(engine).add_services(routes)
    Health(engine, routes.services).add_services(routes)
    Reflection(routes, [messages.SCHEMA]).add_services(routes)
    return routes


async def _start_pool(source: ModelSource, artifact: Artifact, runtime: str) -> pool.Pool:
    """The model's instances; before that, if the operator wants it, the packages that its archive asks for."""
    environment = None
    requirements = requirements_of(source) if source.settings.install_requirements else None
    if requirements is not None:
        build = partial(build_environment, requirements, cache_directory("environments"), model=source.name)
        packages = await asyncio.to_thread(build)
        paths = [str(packages), *filter(None, [os.environ.get("PYTHONPATH")])]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    return await pool.start(artifact, runtime, source.settings, environment)


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine on the fastest event loop there is."""
    try:
        import uvloop
    except ImportError:
        return asyncio.run(main)
    result: T = uvloop.run(main)
    return result


async def serve(app: App, started: Callable[[App], None]) -> int:
    """Run an app until a signal: the first drains, a second one stops at once. Returns the exit code."""
    loop = asyncio.get_running_loop()
    signals: asyncio.Queue[int] = asyncio.Queue()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, signals.put_nowait, number)
    running = asyncio.create_task(_start(app, started))
    first = asyncio.create_task(signals.get())
    await asyncio.wait((running, first), return_when=asyncio.FIRST_COMPLETED)
    if running.done():
        running.result()
        await first
    else:
        running.cancel()  # a signal while models load: nothing was accepted that they would answer
        await asyncio.wait((running,))
    log.info("stopping: every accepted request is answered first", extra={"in_flight": app.in_flight})
    stopping = asyncio.create_task(app.stop())
    second = asyncio.create_task(signals.get())
    await asyncio.wait((stopping, second), return_when=asyncio.FIRST_COMPLETED)
    if not stopping.done():
        log.warning("stopped at once by a second signal", extra={"in_flight": app.in_flight})
        return 128 + second.result()
    stopping.result()
    second.cancel()
    return 0


async def _start(app: App, started: Callable[[App], None]) -> None:
    tune_allocator()
    try:
        await app.start()
        # What is loaded stays: the collector need not look at it again and again while requests come and go.
        gc.collect()
        gc.freeze()
        started(app)
    except Exception:
        await app.stop()
        raise
