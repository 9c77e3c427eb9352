"""The one place where everything meets: settings and models in, a running server out."""

import asyncio
import logging
import os
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

from dragoman import __version__
from dragoman import log as logs
from dragoman.config import ManagementSettings, Settings
from dragoman.dashboard.http import Http as Page
from dragoman.engine.control import Control, Controls
from dragoman.engine.desired import Ledger
from dragoman.engine.engine import Engine
from dragoman.engine.intake import Intake
from dragoman.engine.ledger import StoreLedger
from dragoman.engine.lifecycle import Record, State
from dragoman.engine.manager import Manager
from dragoman.engine.operations import Operations
from dragoman.engine.recollection import Recollection
from dragoman.errors import ConfigError, NotFound
from dragoman.jobs.service import Jobs
from dragoman.metrics.http import Http as Metrics
from dragoman.monitoring.monitor import Monitor
from dragoman.payloads import PayloadLog
from dragoman.protocols.accounts.http import Http as Accounts
from dragoman.protocols.jobs.http import Http as JobsHttp
from dragoman.protocols.kserve_v1.cloudevents import Style
from dragoman.protocols.kserve_v1.http import Http as KServeV1
from dragoman.protocols.kserve_v2.generate_http import GenerateHttp
from dragoman.protocols.kserve_v2.http import Http as KServeV2
from dragoman.protocols.kserve_v2.repository_http import RepositoryHttp
from dragoman.protocols.kserve_v2.shared_memory import SharedMemory
from dragoman.protocols.kserve_v2.shared_memory_http import SharedMemoryHttp
from dragoman.protocols.kserve_v2.windows import NOTHING_SHARED, Shared
from dragoman.protocols.log.http import Http as LogHttp
from dragoman.protocols.management.http import Http as Management
from dragoman.protocols.openai.http import Http as OpenAI
from dragoman.protocols.openai.serving import Serving
from dragoman.protocols.service.http import Http as Services
from dragoman.protocols.torchserve.http import Http as TorchServe
from dragoman.repository.offers import Repository
from dragoman.repository.sources import Sources, parse_rules
from dragoman.repository.spec import ModelSource, Problem
from dragoman.runtimes.table import guess
from dragoman.scheduling.scheduler import LoopClock
from dragoman.stats import Stats
from dragoman.store import open_store
from dragoman.tensors import dump_json
from dragoman.tracing.opening import open_tracer
from dragoman.transport import address
from dragoman.transport.auth import About
from dragoman.transport.grpc.installed import installed as grpc_installed
from dragoman.transport.http import Finder, HttpServer
from dragoman.transport.origin import guard_from_browsers, guard_with_key, is_loopback
from dragoman.transport.recording import recorded
from dragoman.transport.request import Handler, HttpRequest
from dragoman.transport.restricting import Restrictions, both, grpc_guard_of, guards_of
from dragoman.transport.router import Router
from dragoman.transport.timing import timed
from dragoman.transport.tls import Certificates
from dragoman.users.access import Access, arrange, asks_for_keys

if TYPE_CHECKING:
    from dragoman.tracing.tracer import Tracer
    from dragoman.transport.grpc.call import Handler as GrpcHandler
    from dragoman.transport.grpc.routes import Routes
    from dragoman.transport.grpc.server import GrpcServer

log = logging.getLogger("dragoman")

#: Seconds that the payload log, and what keeps predictions, have at the end.
_LAST_PAYLOADS: Final = 5.0

Found = Sequence[ModelSource | Problem]
T = TypeVar("T")


def find_models(targets: Sequence[str], settings: Settings) -> Found:
    """Everything at the places the operator named. Raises ConfigError when one of them holds nothing."""
    return Repository(targets, settings.models, guess).read()


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
    """A server and its models. ``start`` it on an event loop, ``stop`` it there.

    With a ``repository`` models may come and go, as ``server.control`` says. ``ledger`` is where changes are kept.
    ``made_key`` is a key that was made because there was none: the operator has to be shown it, once.
    """

    #: Whether ``settings.auth`` counts; servers in the clothes of another have that one's keys.
    has_users = True

    def __init__(
        self,
        settings: Settings,
        models: Found,
        siblings: Siblings | None = None,
        repository: Repository | None = None,
        ledger: Ledger | None = None,
        restrictions: Restrictions | None = None,
    ) -> None:
        """``restrictions`` take the place of ``settings.server.restrict``, which is for both transports alike."""
        settings, self.made_key = arrange(settings) if self.has_users else (settings, "")
        self.settings = settings
        self.models = models
        self._restrictions = restrictions or Restrictions.read(settings.server.restrict)
        share = settings.server.processes if siblings is not None else 1
        self.access = Access(settings, share) if self.has_users and asks_for_keys(settings) else None
        admit = self.access.guards.admit if self.access is not None else None
        self.router = Router(guards_of(self._restrictions.rest), admit)
        self.engine: Engine
        self.memory: SharedMemory
        self.manager: Manager
        self.control: Controls
        self.openai = Serving()  #: models that speak OpenAI's API; empty until somebody adds some
        self._built = False  # else there is nothing to stop
        self.port = 0
        self.grpc_port = 0  #: 0 where gRPC is not served
        self._server: HttpServer
        self._grpc: GrpcServer | None = None
        self._metrics: Metrics
        self._siblings = siblings
        self._repository = repository
        state = settings.management.state
        self._state = StoreLedger(open_store(state)) if state else None
        self._ledger: Ledger | None = ledger or self._state
        kept = settings.payloads
        self._payloads = PayloadLog(kept) if kept.url or kept.file else None
        self._built = False

    @classmethod
    def serving(cls, targets: Sequence[str], settings: Settings, siblings: Siblings | None = None) -> "App":
        """An app for what the operator named. Raises ConfigError when one of the places holds nothing."""
        repository = Repository(targets, settings.models, guess)
        return cls(settings, repository.read(), siblings, repository)

    def build(self) -> None:
        """Make the engine and every route, and start nothing. Needs the running event loop."""
        self.build_engine()
        if self._payloads is not None:
            self._payloads.start()
            self.engine.stats.payloads = self._payloads.counts
        self._tracer = open_tracer(self.settings.tracing, __version__)
        told = self.settings.tracing.server_timing
        self.router.taps = {"inference": partial(_tap, self._payloads, self._tracer, told)}
        self.control = self.make_control()
        self.memory = SharedMemory(enabled=self.settings.server.client_shm)
        self._intake = Intake(self.manager, self.settings.models, guess, _sources(self.settings.management))
        self._operations = Operations()
        self._monitor = Monitor(self.engine, self.settings.monitoring)
        self._monitor.start()
        self._jobs = Jobs(self.engine, self.router, self.settings.jobs, self.settings.predictions)
        gather = None if self._siblings is None else self._siblings.gather
        self._metrics = Metrics(
            self.engine,
            lambda: self.in_flight,
            lambda: self.grpc_port,
            gather,
            self.more_metrics,
            self._monitor,
        )
        self._add_routes()
        access = logs.access if self.settings.log.access else None
        limits, compression = self.settings.limits, self.settings.server.compression
        self._server = HttpServer(self.finder(), limits, access, compression=compression)
        if self.settings.server.grpc and grpc_installed():
            from dragoman.transport.grpc.server import GrpcServer

            routes = grpc_routes(self, self._payloads, self._tracer, told=told)
            users = self.access.guards.grpc() if self.access is not None else None
            guard = both(users, grpc_guard_of(self._restrictions.grpc))
            self._grpc = GrpcServer(routes, limits, self.settings.grpc, access, guard)
        self._built = True

    def make_control(self) -> Controls:
        """Who changes what is loaded."""
        return Control(self.engine, self.manager, self.settings, self.models, self._repository)

    def finder(self) -> Finder:
        """What finds the route of a request."""
        return self.router.find

    def more_metrics(self) -> bytes:
        """What else ``/metrics`` has, in Prometheus' text format."""
        return b""

    def build_engine(self) -> None:
        """Make the engine, and who changes its models. Needs the running event loop."""
        said = self.settings
        recollection = partial(Recollection, said.cache, said.predictions)
        self.engine = Engine(LoopClock(asyncio.get_running_loop()), said.server.memory_budget, recollection)
        self.manager = Manager(self.engine, self._ledger)

    async def start(self) -> None:
        """Listen, then load: a probe gets its answer from the first moment. Returns when every model was tried.

        A process that joins others which serve already loads first: where it listens, requests arrive.
        """
        self.build()
        if self.access is not None:
            self.access.start()
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
        self._jobs.start()

    async def open(self) -> None:
        """Load without listening, for a host that brings the requests. Returns when every model was tried."""
        self.build()
        if self.access is not None:
            self.access.start()
        await self._load()
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
        if self._built:
            await self._stop_serving()
        if self._payloads is not None:
            await asyncio.to_thread(self._payloads.close, _LAST_PAYLOADS)
        if self._state is not None:
            await asyncio.to_thread(self._state.close)
        if self.access is not None:
            await self.access.stop()

    async def _stop_serving(self) -> None:
        self.engine.stop()
        grace = self.settings.server.grace
        await self.control.stop()
        stopping = [self._server.stop(grace), self._jobs.stop(grace)]
        if self._grpc is not None:
            stopping.append(self._grpc.stop(grace))
        await asyncio.gather(*stopping)
        await self._operations.stop()
        await self._jobs.close()
        await self.engine.close()
        await self.control.close()
        await self._monitor.close(_LAST_PAYLOADS)
        if self._tracer is not None:
            await asyncio.to_thread(self._tracer.close)

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
        self.add_open_inference()
        TorchServe(self.engine, self.settings.limits).add_routes(self.router)
        KServeV1(self.engine, self.settings.limits, _event_style(os.environ)).add_routes(self.router)
        timeout, prefix = self.settings.models.timeout, self.settings.openai.prefix
        OpenAI(self.engine, self.openai, self.settings.limits, timeout).add_routes(self.router, prefix)
        guard = guard_from_browsers(self.settings.server.host)
        JobsHttp(self._jobs, self.engine).add_routes(self.router, guard)
        LogHttp(self._monitor, self._metrics.gather).add_routes(self.router, guard)
        for path in ("/livez", "/healthz"):
            self.router.add("GET", path, self._live, permit=False, operation="health")
        self.router.add("GET", "/readyz", self._ready, permit=False, operation="health")
        self._metrics.add_routes(self.router)
        self.router.add("GET", "/crashes", self._crashes, permit=False, operation="logging")
        self.router.add("GET", "/crashes/{}", self._crashes, permit=False, operation="logging", about=0)
        if self._manages:
            management = Management(self.engine, self.manager, self._intake, self._operations)
            # With users its key is one among others.
            key = "" if self.access is not None else self.settings.management.key
            management.add_routes(self.router, guard_with_key(guard, key))
        if self.access is not None:
            Accounts(self.access).add_routes(self.router, guard)
        expected = [each.name for each in self.models if isinstance(each, ModelSource) and is_service(each)]
        self._services = Services(self.engine, expected)
        self._services.add_routes(self.router, self.router.guarding("inference", about=About.HANDLER))
        Page(self._services.at_home).add_routes(self.router)

    def add_open_inference(self) -> None:
        """The routes of the Open Inference Protocol, with Triton's extensions."""
        limits, guard = self.settings.limits, guard_from_browsers(self.settings.server.host)
        KServeV2(self.engine, limits, self.shared).add_routes(self.router)
        GenerateHttp(self.engine, limits).add_routes(self.router)
        RepositoryHttp(self.control, limits, guard).add_routes(self.router)
        SharedMemoryHttp(self.memory, limits, guard).add_routes(self.router)

    @property
    def shared(self) -> Shared:
        """What clients may share with the server beside their requests."""
        memory, most = self.memory, self.settings.limits.body_bytes
        return Shared(memory.find, most) if memory.enabled else NOTHING_SHARED

    @property
    def _manages(self) -> bool:
        """Whether models can be changed from outside: not by everybody, and not behind the others' backs."""
        said = self.settings.management
        safe = bool(said.key) or self.access is not None or is_loopback(self.settings.server.host)
        return self._siblings is None and (said.enabled == "on" or (said.enabled == "auto" and safe))

    async def _load(self) -> None:
        """Load what the operator named, and what was wanted beside it when the server last ended."""
        wanted = [] if self._state is None else await asyncio.to_thread(self._state.read)
        for desired in wanted:
            self.manager.adopt(desired)
        await self.control.start()
        plans = [await self._intake.plans(desired.name, desired.versions.values()) for desired in wanted]
        await self.engine.lifecycle.load_all([plan for found in plans for plan in found])
        for desired in wanted:
            try:
                self.engine.registry.set_traffic(desired.name, desired.traffic)
            except NotFound as error:  # one of its versions could not be loaded
                log.error("traffic can't be split", extra={"model": desired.name, "reason": error.message})

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


def _event_style(environ: Mapping[str, str]) -> Style:
    """How answers to CloudEvents look: KServe's variables say it."""
    merge = environ.get("CE_MERGE", "").lower() == "true"
    return Style(environ.get("CE_TYPE") or Style().type, environ.get("CE_SOURCE", ""), merge)


def is_service(source: ModelSource) -> bool:
    """Whether a typed service is to be expected of a model."""
    return source.settings.runtime == "service"


def _sources(management: ManagementSettings) -> Sources | None:
    """Where new models come from. Raises ConfigError."""
    if not management.store:
        return None
    store = Path(management.store).absolute()
    if not store.is_dir():
        raise ConfigError(
            f"management.store is no folder: {management.store}", hint="make it, or name another"
        )
    return Sources(store, parse_rules(management.allowed_urls, management.allowed_networks))


def _tap(
    payloads: PayloadLog | None, tracer: "Tracer | None", told: bool, handler: Handler, pattern: str
) -> Handler:
    """What sees requests on their way to a handler that answers them with a model."""
    if payloads is not None:
        handler = recorded(handler, payloads)
    return timed(handler, pattern, tracer, told=told) if told or tracer is not None else handler


def grpc_routes(
    app: App,
    payloads: PayloadLog | None = None,
    tracer: "Tracer | None" = None,
    *,
    told: bool = False,
) -> "Routes":
    """Every gRPC method of the one port that has all of them."""
    from dragoman.protocols.grpc.health import Health
    from dragoman.protocols.grpc.reflection import Reflection
    from dragoman.protocols.kserve_v2 import messages
    from dragoman.protocols.kserve_v2.grpc import Grpc
    from dragoman.protocols.kserve_v2.grpc_repository import RepositoryGrpc
    from dragoman.protocols.kserve_v2.grpc_shared_memory import SharedMemoryGrpc
    from dragoman.transport.grpc.recording import recorded as grpc_recorded
    from dragoman.transport.grpc.routes import Routes
    from dragoman.transport.grpc.timing import timed as grpc_timed

    def tap(handler: "GrpcHandler") -> "GrpcHandler":
        if payloads is not None:
            handler = grpc_recorded(handler, payloads)
        return grpc_timed(handler, tracer, told=told) if told or tracer is not None else handler

    routes = Routes({"inference": tap})
    Grpc(app.engine, app.shared).add_services(routes)
    RepositoryGrpc(app.control).add_services(routes)
    SharedMemoryGrpc(app.memory).add_services(routes)
    Health(app.engine, routes.services).add_services(routes)
    Reflection(routes, [messages.SCHEMA]).add_services(routes)
    return routes
