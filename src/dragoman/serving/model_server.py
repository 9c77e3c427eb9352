"""KServe's ``ModelServer``: starts a server in the program that has made the models, and returns when it has ended.

``parser`` and ``args`` are the program's command line as far as it is the server's, read at import as in KServe.
"""

import asyncio
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from dragoman import log as logs
from dragoman import running
from dragoman.app import App
from dragoman.compat.kserve import dialect
from dragoman.compat.kserve.context import set_predictor_config
from dragoman.compat.kserve.errors import NoModelReady
from dragoman.compat.kserve.model import BaseKServeModel, Model
from dragoman.compat.kserve.model_repository import ModelRepository
from dragoman.compat.kserve.predictor_config import PredictorConfig
from dragoman.config import (
    LimitSettings,
    LogSettings,
    OpenAISettings,
    PayloadSettings,
    ServerSettings,
    Settings,
    load,
    variable_name,
)
from dragoman.serving.app import Family, ServingApp
from dragoman.serving.middleware import make_application
from dragoman.serving.models import check_models
from dragoman.serving.parser import make_parser, openai_route_prefix
from dragoman.serving.processes import inherited, run_workers, serve_as_worker

log = logging.getLogger("kserve")

parser: Final = make_parser()
args, _ = parser.parse_known_args()


def __getattr__(name: str) -> Any:
    """``app``, which programs add routes and middleware to, is made when one asks for it."""
    if name != "app":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()["app"] = application = make_application()
    return application


#: What an exception handler of an event loop is given.
Handler = Callable[[asyncio.AbstractEventLoop, dict[str, Any]], None]
#: KServe's HTTPS port, where nobody says another.
HTTPS_PORT: Final = 8443


class ModelServer:
    """Serves models over every dialect until a signal, or until ``stop``."""

    def __init__(
        self,
        http_port: int = args.http_port,
        grpc_port: int = args.grpc_port,
        workers: int = args.workers,
        max_threads: int = args.max_threads,
        max_asyncio_workers: int | None = args.max_asyncio_workers,
        registered_models: ModelRepository | None = None,
        enable_grpc: bool = args.enable_grpc,
        enable_docs_url: bool = args.enable_docs_url,
        enable_latency_logging: bool = args.enable_latency_logging,
        access_log_format: str | None = args.access_log_format,
        event_loop: str = args.event_loop,
        timeout_keep_alive: int = args.timeout_keep_alive,
        grace_period: int = 30,
        predictor_config: PredictorConfig | None = None,
        ssl_certfile: str | None = args.ssl_certfile,
        ssl_keyfile: str | None = args.ssl_keyfile,
        *,
        host: str = args.host,
    ) -> None:
        """KServe ModelServer Constructor

        ``http_port`` and ``grpc_port`` 0 pick free ones. ``workers`` are processes that run this same program, each
        with models of its own. ``max_threads`` has no meaning here: gRPC calls need no threads.
        ``max_asyncio_workers`` threads are for what the program itself runs on some: a model's hooks that are no
        coroutines have a thread of their own. Seconds are ``timeout_keep_alive`` and
        ``grace_period``.
        """
        self.registered_models = registered_models if registered_models is not None else ModelRepository()
        self.http_port = http_port
        self.grpc_port = grpc_port
        self.workers = workers
        self.max_threads = max_threads
        self.max_asyncio_workers = max_asyncio_workers
        self.enable_grpc = enable_grpc
        self.enable_docs_url = enable_docs_url
        self.enable_latency_logging = enable_latency_logging
        self.access_log_format = access_log_format
        self.event_loop = event_loop
        self.timeout_keep_alive = timeout_keep_alive
        self.grace_period = grace_period
        self.predictor_config = predictor_config or _configured()
        self.ssl_certfile = ssl_certfile
        self.ssl_keyfile = ssl_keyfile
        self.host = host
        self.app: ServingApp | None = None
        self._handler: Handler | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping: asyncio.Event | None = None

    def start(self, models: list[BaseKServeModel] | Mapping[str, Any]) -> None:
        """Start the model server with a set of registered models; returns when it has stopped.

        ``models`` is a list of models, or a dict from names to deployments of Ray Serve.
        """
        if isinstance(models, Mapping):
            for model in _deployed(models):
                self.register_model(model)
        elif isinstance(models, list | tuple):
            self._register(list(models))
        else:
            raise RuntimeError("Unknown model collection type")
        if not logging.getLogger().handlers:
            logs.configure(LogSettings())
        self._run()

    def register_model(self, model: BaseKServeModel, name: str | None = None) -> None:
        """Register a model to the model server."""
        check_models([model])
        name = name or model.name
        if not name:
            raise ValueError("Failed to register model, model.name must be provided.")
        if isinstance(model, Model):
            model.enable_latency_logging = self.enable_latency_logging
        self.registered_models.update(model, name)
        log.info("Registering model: %s", name)

    def register_model_handle(self, name: str, model_handle: Any) -> None:
        """Register a model handle to the model server."""
        from dragoman.serving.ray import RayModel

        self.registered_models.update_handle(name, RayModel(name, model_handle))
        log.info("Registering model handle: %s", name)

    def register_exception_handler(self, handler: Handler | None) -> None:
        """Add a custom handler as the event loop exception handler.

        ``None`` sets the default one again. ``handler`` is called with the event loop and the context of
        ``call_exception_handler``.
        """
        self._handler = handler
        if self._loop is not None:
            self._loop.set_exception_handler(handler or self.default_exception_handler)

    def default_exception_handler(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Default exception handler for event loop: shuts the server down gracefully; under KServe 0.21's dialect it
        only tells."""
        log.error("an exception that nobody has caught", extra={"context": context.get("message", "")})
        if dialect.is_old():
            self.stop()
        loop.default_exception_handler(context)

    def stop(self, sig: int | None = None) -> "asyncio.Future[None]":
        """Stop the instances of REST and gRPC model servers. What it returns may be awaited: then they have
        stopped taking requests."""
        log.info("Stopping the model server%s", f" after signal {sig}" if sig else "")
        loop, stopping = self._loop, self._stopping
        if loop is None or stopping is None:
            raise RuntimeError("the server has not been started")
        loop.call_soon_threadsafe(stopping.set)
        done: asyncio.Future[None] = loop.create_future()
        done.set_result(None)
        return done

    def register_signal_handler(self) -> None:
        """Let SIGINT, SIGTERM and SIGQUIT stop the server. Called by ``start``."""
        assert self._loop is not None
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGQUIT):
            self._loop.add_signal_handler(number, self.stop, number)

    def setup_event_loop(self) -> None:
        """Threads for hooks, and who hears of exceptions. Called by ``start``, on the event loop."""
        assert self._loop is not None
        self._loop.set_exception_handler(self._handler or self.default_exception_handler)
        threads = self.max_asyncio_workers or min(32, _cores() + 4)
        self._loop.set_default_executor(ThreadPoolExecutor(threads, "hook"))

    def _register(self, models: list[BaseKServeModel]) -> None:
        check_models(models)
        for model in models:
            if dialect.is_old() or model.ready:
                self.register_model(model)
                model.start()
        ready = [model for model in models if model.ready]
        if models and not ready and not dialect.is_old():
            raise NoModelReady(models)

    def _run(self) -> None:
        parent = inherited()
        if self.workers > 1 and parent is None:
            code = run_workers(self.settings())
        else:
            run = asyncio.run if self.event_loop == "asyncio" else running.run
            code = run(self._serve(parent))
        if code:
            sys.exit(code)

    async def _serve(self, parent: socket.socket | None) -> int:
        self._loop = asyncio.get_running_loop()
        self._stopping = asyncio.Event()
        self.setup_event_loop()
        set_predictor_config(self.predictor_config)
        if parent is not None:
            return await serve_as_worker(parent, self._make_app, self._stopping)
        return await running.serve(self._make_app(self.settings()), _started, self._stopping)

    def _make_app(self, settings: Settings, family: Family | None = None) -> ServingApp:
        application = globals().get("app")
        models, docs = self.registered_models, self.enable_docs_url
        self.app = ServingApp(settings, models, family, application, docs=docs)
        return self.app

    def settings(self) -> Settings:
        """What the arguments mean in the server's own words."""
        port = self.http_port
        if self.ssl_certfile and port == parser.get_default("http_port"):
            port = HTTPS_PORT
        server = ServerSettings(
            host=self.host,
            port=port,
            grpc=self.enable_grpc,
            grpc_port=self.grpc_port,
            grace=float(self.grace_period),
            tls_cert=self.ssl_certfile or "",
            tls_key=self.ssl_keyfile or "",
            processes=self.workers,
            control="explicit",
        )
        longest = max(args.grpc_max_send_message_length, args.grpc_max_receive_message_length)
        limits = LimitSettings(
            idle_timeout=float(self.timeout_keep_alive),
            body_bytes=max(LimitSettings().body_bytes, longest),
        )
        return Settings(
            server=server,
            limits=limits,
            log=LogSettings(access=bool(self.access_log_format)),
            openai=OpenAISettings(prefix=openai_route_prefix()),
            payloads=_payloads(),
        )


def _payloads() -> PayloadSettings:
    """What the environment says of the payload log: KServe's agent has flags for it, its server has none."""
    start = variable_name("payloads", "")
    said = {name: value for name, value in os.environ.items() if name.startswith(start)}
    return load(None, said, {}).settings.payloads


def _started(app: App) -> None:
    log.info("serving", extra={"url": app.url, "grpc": app.grpc_address})


def _configured() -> PredictorConfig | None:
    """The predictor that the command line names."""
    if args.predictor_host is None:
        return None
    protocol = args.predictor_protocol if args.predictor_protocol != "v1" else args.protocol
    return PredictorConfig(
        args.predictor_host,
        protocol,
        args.predictor_use_ssl,
        args.predictor_request_timeout_seconds,
        args.predictor_request_retries,
        args.enable_predictor_health_check,
    )


def _deployed(deployments: Mapping[str, Any]) -> list[BaseKServeModel]:
    from dragoman.serving.ray import models_of

    return list(models_of(dict(deployments)))


def _cores() -> int:
    return os.cpu_count() or 1
