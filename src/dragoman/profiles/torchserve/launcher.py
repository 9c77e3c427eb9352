"""A server with TorchServe's ports: each has its own routes, its own door, and all of them one engine.

::

    inference  8080   predictions, /wfpredict, /ping            the inference key
    management 8081   /models, /v1/models, /workflows, /token   the management key; for /token the API key
    metrics    8082   /metrics                                  no key
    gRPC       7070   predictions, Ping                         the inference key
    gRPC       7071   management                                the management key

Addresses that are equal share one listener with the routes of all.
"""

import asyncio
import contextlib
import logging
import os
import re
import socket
import stat
from collections.abc import MutableMapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dragoman import log as logs
from dragoman.app import App
from dragoman.engine.following import load_found
from dragoman.engine.manager import Manager
from dragoman.errors import ConfigError, StorageFailed
from dragoman.profiles.torchserve.address import Address
from dragoman.profiles.torchserve.doors import Doors
from dragoman.profiles.torchserve.management import Management, Metrics
from dragoman.profiles.torchserve.metrics_log import MetricsLog
from dragoman.profiles.torchserve.numbers import Numbers
from dragoman.profiles.torchserve.registrar import Registrar, desired_at_start
from dragoman.profiles.torchserve.settings import Configuration, GrpcAddress
from dragoman.profiles.torchserve.snapshots import Snapshots
from dragoman.profiles.torchserve.store import Registered
from dragoman.profiles.torchserve.tokens import KEY_FILE, Tokens
from dragoman.profiles.torchserve.workflows import Workflows
from dragoman.protocols import torchserve
from dragoman.protocols.torchserve.codec import SequenceHeaders
from dragoman.protocols.torchserve.management import WorkflowHttp
from dragoman.transport import address as addresses
from dragoman.transport.grpc.installed import installed as grpc_installed
from dragoman.transport.http import HttpServer
from dragoman.transport.router import Router
from dragoman.transport.tls import Certificates

if TYPE_CHECKING:
    from dragoman.profiles.torchserve.grpc import GrpcListener

log = logging.getLogger("dragoman.torchserve")


@dataclass(slots=True)
class Listener:
    """One address, what answers there, and the port it really got."""

    address: Address
    router: Router
    server: HttpServer
    port: int = 0

    @property
    def url(self) -> str:
        if self.address.path:
            return str(self.address)
        return addresses.show(self.address.host, self.port, tls=self.address.tls)


class TorchServe(App):
    """An app that listens where TorchServe does. The key file is written in ``directory``."""

    has_users = False

    def __init__(self, configuration: Configuration, models: Sequence[Registered], directory: Path) -> None:
        super().__init__(configuration.settings(), [model.source for model in models])
        self.configuration = configuration
        self.listeners: list[Listener] = []
        self.grpc_listeners: list[GrpcListener] = []
        self._metrics_log: MetricsLog | None = None
        self._registered = models
        self._registrar: Registrar
        self._snapshots: Snapshots | None = None
        tokens = Tokens(directory / KEY_FILE, configuration.token_minutes)
        self._tokens = tokens if configuration.token_auth else None
        self._certificates: Certificates | None = None

    def build(self) -> None:
        self.build_engine()
        said = self.configuration
        self._snapshots = Snapshots(said.snapshot_folder, said.properties) if said.snapshots else None
        self.manager = Manager(self.engine, self._snapshots, first_stays=True)
        self._registrar = Registrar(self.engine, self.manager, self.configuration, self._registered)
        self._numbers = Numbers(self.engine, self.configuration)
        access = logs.access if self.settings.log.access else None
        doors = Doors(self.engine, self._tokens)
        for address, router in self._routers(doors):
            server = HttpServer(router.find, self.settings.limits, access)
            self.listeners.append(Listener(address, router, server))
        if grpc_installed():
            from dragoman.profiles.torchserve.grpc import make_listeners

            said = self.configuration
            self.grpc_listeners = make_listeners(self.engine, said, self._registrar, doors, access)

    async def start(self) -> None:
        """Write the keys, listen everywhere, then load."""
        self.build()
        if self._tokens is not None:
            self._tokens.write()
        for listener in self.listeners:
            await self._open(listener)
            log.info("listening", extra={"url": listener.url})
        for grpc in self.grpc_listeners:
            await self._open_grpc(grpc)
        self.port = self.listeners[0].port
        await asyncio.to_thread(self._open_snapshots)
        self._metrics_log = self._numbers.open_log()
        if self._metrics_log is not None:
            self._metrics_log.start(asyncio.get_running_loop())
        await load_found(self.engine, self.models)
        self.engine.started()

    async def stop(self) -> None:
        """Not ready at once; every accepted request is answered; then the models and the keys go."""
        self.engine.stop()
        grace = self.settings.server.grace
        started = [listener for listener in self.listeners if hasattr(listener.server, "loop")]
        servers = [listener.server.stop(grace) for listener in started]
        await asyncio.gather(*servers, *(grpc.server.stop(grace) for grpc in self.grpc_listeners))
        for listener in started:
            if listener.address.path:
                Path(listener.address.path).unlink(missing_ok=True)
        self.remove_keys()
        await self._registrar.stop()
        await asyncio.to_thread(self._close_snapshots)
        await self.engine.close()
        if self._metrics_log is not None:
            await asyncio.to_thread(self._metrics_log.close)

    def remove_keys(self) -> None:
        """The keys open nothing any more; called by ``stop``, and by whoever can't wait for it."""
        if self._tokens is not None:
            self._tokens.remove()

    @property
    def url(self) -> str:
        return self.listeners[0].url

    @property
    def in_flight(self) -> int:
        requests = sum(listener.server.in_flight for listener in self.listeners)
        return requests + sum(listener.server.in_flight for listener in self.grpc_listeners)

    def _open_snapshots(self) -> None:
        """From now on changes are written down, if they can be."""
        if self._snapshots is not None:
            try:
                self._snapshots.start(desired_at_start(self._registered))
            except StorageFailed as error:
                log.warning("changes are forgotten when the server ends", extra={"reason": error.message})

    def _close_snapshots(self) -> None:
        if self._snapshots is not None:
            try:
                self._snapshots.stop()
            except StorageFailed as error:
                log.error("the last snapshot is missing", extra={"reason": error.message})

    def _routers(self, doors: Doors) -> list[tuple[Address, Router]]:
        """The routes of each address; the inference one is first."""
        said, limits = self.configuration, self.settings.limits
        cors = dict(said.cors)
        options = torchserve.Options(
            cors_allowed_origin=cors.get("access-control-allow-origin", ""),
            cors_allowed_methods=cors.get("access-control-allow-methods", ""),
            cors_allowed_headers=cors.get("access-control-allow-headers", ""),
            open_inference_protocol=said.open_inference,
            sequence_headers=SequenceHeaders(*said.sequence_headers),
        )
        routers = [(said.inference, Router())]
        inference = torchserve.Http(self.engine, limits, options, doors.authorize if doors.locked else None)
        inference.add_routes(routers[0][1], profile=True)
        flows = Workflows(self.engine, self._registrar, said)
        workflows = WorkflowHttp(flows, model_api=said.model_api, headers=said.cors)
        workflows.add_inference_routes(routers[0][1], doors.guard("inference", workflows.answering))
        management = Management(
            self._registrar, workflows, doors, model_api=said.model_api, headers=said.cors
        )
        metrics = Metrics(self._numbers.scrape, said.cors)
        for address, api in ((said.management, management), (said.metrics, metrics)):
            if address is None:
                continue
            same = [router for other, router in routers if other == address and not address.free]
            router = same[0] if same else Router()
            api.add_routes(router, shared=bool(same))
            if not same:
                routers.append((address, router))
        return routers

    async def _open(self, listener: Listener) -> None:
        address = listener.address
        certificates = self._secured(address)
        context = certificates.context if certificates is not None else None
        try:
            if address.path:
                await listener.server.start(None, 0, sock=_unix_socket(address.path))
            else:
                listener.port = await listener.server.start(address.host, address.port, ssl=context)
        except OSError as error:
            if address.path:
                raise ConfigError(f"can't listen on {address}: {error.strerror or error}") from error
            refused = addresses.cannot_listen(address.host, address.port, error)
            raise ConfigError(str(refused), hint="change the address in config.properties") from error

    def _secured(self, address: Address | GrpcAddress) -> Certificates | None:
        """What an address with TLS needs: all of them have the same certificate."""
        if address.tls and self._certificates is None:
            self._certificates = Certificates(self.configuration.certificate, self.configuration.private_key)
        return self._certificates if address.tls else None

    async def _open_grpc(self, listener: "GrpcListener") -> None:
        address = listener.address
        secured = self._secured(address)
        try:
            listener.port = await listener.server.start(address.host, address.port, certificates=secured)
        except OSError as error:
            refused = addresses.cannot_listen(address.host, address.port, error)
            hint = "change grpc_inference_port or grpc_management_port in config.properties"
            raise ConfigError(str(refused), hint=hint) from error
        log.info("listening for gRPC", extra={"grpc": addresses.authority(address.host, listener.port)})


def hide_variables(pattern: re.Pattern[str] | None, environ: MutableMapping[str, str]) -> None:
    """Take out of the environment what handlers must not see."""
    for name in [name for name in environ if pattern is not None and pattern.fullmatch(name)]:
        del environ[name]


def _unix_socket(path: str) -> socket.socket:
    """A listening place at ``path``; a socket that nobody listens on any more is taken away first."""
    with contextlib.suppress(FileNotFoundError):
        if stat.S_ISSOCK(os.lstat(path).st_mode):
            with socket.socket(socket.AF_UNIX) as other, contextlib.suppress(ConnectionRefusedError):
                other.connect(path)
                raise ConfigError(f"can't listen on unix:{path}: somebody else does")
            os.unlink(path)
    sock = socket.socket(socket.AF_UNIX)
    try:
        sock.bind(path)
        sock.setblocking(False)
    except OSError:
        sock.close()
        raise
    return sock
