"""The whole server as an ASGI application, for people who start it with uvicorn or gunicorn, or inside another app::

    app = dragoman.asgi("app.py")          # uvicorn module:app

Every model and REST dialect is behind it; ports, TLS and gRPC are the host's business. Knows ASGI and no protocol.
"""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

from dragoman.app import App
from dragoman.config import Settings
from dragoman.config import load as load_settings
from dragoman.errors import ConfigError
from dragoman.services import Functions
from dragoman.transport.hosted import HostedRoutes
from dragoman.transport.lifespan import Message, Receive, Send


def asgi(*targets: str | type | Functions, settings: Settings | None = None) -> "Hosted":
    """An application that serves what ``dragoman serve`` would: files, folders, classes, services.

    Settings come from dragoman.toml and the environment unless they are given. Nothing is loaded before the host has
    started the application, or sent it a request.
    """
    return Hosted([_target(target) for target in targets], settings)


class Hosted:
    """The ASGI application; one for each event loop that a host runs."""

    def __init__(self, targets: list[str], settings: Settings | None) -> None:
        self._targets = targets
        self._settings = settings
        self._starting: asyncio.Task[App] | None = None
        self._routes: HostedRoutes

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif scope["type"] == "http":
            await self._started()
            await self._routes(scope, receive, send)
        else:
            raise RuntimeError(f"only http is served here, not {scope['type']!r}")

    @asynccontextmanager
    async def lifespan(self, app: object = None) -> AsyncIterator[None]:
        """From the load to the end of the models, for applications that mount this one: theirs alone is told of start
        and end. ``FastAPI(lifespan=models.lifespan)``. Raises ConfigError when no model could be loaded.
        """
        started = await self._started()
        try:
            yield
        finally:
            self._starting = None
            await started.stop()

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        try:
            async with self.lifespan():
                await send({"type": "lifespan.startup.complete"})
                await receive()
        except ConfigError as error:
            await send({"type": "lifespan.startup.failed", "message": str(error)})
            return
        await send({"type": "lifespan.shutdown.complete"})

    async def _started(self) -> App:
        """The app, once it has loaded. A host that starts nothing, as one that mounts us, waits here first."""
        if self._starting is None:
            self._starting = asyncio.create_task(self._start())
        return await asyncio.shield(self._starting)

    async def _start(self) -> App:
        settings = self._settings or load_settings(None, os.environ, {}).settings
        settings = replace(settings, server=replace(settings.server, grpc=False))
        app = App.serving(self._targets, settings)
        await app.open()
        limits = settings.limits
        self._routes = HostedRoutes(app.router, body_bytes=limits.body_bytes, permits=limits.requests)
        failed = [model for model in app.overview() if model["state"] == "FAILED"]
        if failed and len(failed) == len(app.overview()):
            await app.stop()
            raise ConfigError(f"no model could be loaded: {failed[0]['reason']}")
        return app


def _target(target: str | type | Functions) -> str:
    """What ``dragoman serve`` would be told: a class or service is found again in its file."""
    if isinstance(target, str):
        return target
    if isinstance(target, Functions):
        return str(target.functions[0].__globals__["__file__"])
    file = getattr(sys.modules.get(target.__module__), "__file__", None)
    if file is None:
        raise ConfigError(f"{target.__qualname__} is in no file, where a worker could find it")
    return f"{file}:{target.__qualname__}"
