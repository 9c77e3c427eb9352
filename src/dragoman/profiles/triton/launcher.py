"""A server with Triton's ports: REST 8000, gRPC 8001, metrics 8002, all of them one engine.

REST has the Open Inference Protocol and nothing of the other dialects.
"""

import logging
from typing import TYPE_CHECKING, Any

from dragoman import log as logs
from dragoman.app import App
from dragoman.errors import ConfigError
from dragoman.profiles.triton.settings import Configuration, Listen
from dragoman.repository.offers import Repository
from dragoman.runtimes.table import guess
from dragoman.transport import address as addresses
from dragoman.transport.http import HttpServer
from dragoman.transport.router import Router
from dragoman.transport.tls import Certificates

if TYPE_CHECKING:
    from dragoman.transport.grpc.server import GrpcServer

log = logging.getLogger("dragoman.tritonserver")


class TritonServer(App):
    """An app that listens where tritonserver does."""

    has_users = False

    def __init__(self, configuration: Configuration) -> None:
        """Raises ConfigError for repositories that hold nothing, and models that are named and not there."""
        settings = configuration.settings
        repository = Repository(configuration.repositories, settings.models, guess)
        models = repository.read()
        unknown = sorted({*settings.server.load_model} - {"*"} - {model.name for model in models})
        if unknown:
            raise ConfigError(f"--load-model: no repository has a model {unknown[0]!r}")
        super().__init__(settings, models, repository=repository, restrictions=configuration.restrictions)
        self.configuration = configuration
        self.metrics_port = 0
        self._metrics_server: HttpServer

    def build(self) -> None:
        super().build()
        metrics = Router()
        metrics.add("GET", "/metrics", self._metrics.metrics, permit=False)
        access = logs.access if self.settings.log.access else None
        self._metrics_server = HttpServer(metrics.find, self.settings.limits, access)

    def _add_routes(self) -> None:
        self.add_open_inference()

    async def _listen(self) -> None:
        said = self.configuration
        if said.http is not None:
            self.port = await _open(self._server, said.http, "--http-port")
            log.info("listening", extra={"url": self.url})
        if said.grpc is not None and self._grpc is not None:
            files = said.certificates
            certificates = Certificates(files.cert, files.key, files.root) if files is not None else None
            self.grpc_port = await _open(self._grpc, said.grpc, "--grpc-port", certificates=certificates)
            log.info("listening for gRPC", extra={"grpc": self.grpc_address})
        if said.metrics is not None:
            self.metrics_port = await _open(self._metrics_server, said.metrics, "--metrics-port")
            log.info("listening for metrics", extra={"url": self.metrics_url})

    async def stop(self) -> None:
        # Numbers are told until the last request has its answer.
        await super().stop()
        await self._metrics_server.stop(0)

    @property
    def url(self) -> str:
        """Empty where REST is not served."""
        http = self.configuration.http
        return addresses.show(http.host, self.port) if http is not None else ""

    @property
    def grpc_address(self) -> str:
        grpc = self.configuration.grpc
        return addresses.authority(grpc.host, self.grpc_port) if grpc is not None and self.grpc_port else ""

    @property
    def metrics_url(self) -> str:
        """Where the metrics are."""
        metrics = self.configuration.metrics
        return f"{addresses.show(metrics.host, self.metrics_port)}/metrics" if metrics is not None else ""


async def _open(server: "HttpServer | GrpcServer", where: Listen, flag: str, **more: Any) -> int:
    try:
        return await server.start(where.host, where.port, reuse_port=where.shared, **more)
    except OSError as error:
        raise addresses.cannot_listen(where.host, where.port, error, flag) from error
