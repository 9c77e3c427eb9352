"""Live servers with TorchServe's own routes, on a port beside the one that carries every dialect."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest

from dragoman.protocols.torchserve import Http, Options
from dragoman.testing import TestClient
from dragoman.transport.http import HttpServer
from dragoman.transport.router import Router
from tests.conformance.torchserve import handlers


@dataclass(frozen=True)
class Profile:
    """A server, and the port on which it is TorchServe."""

    client: TestClient
    port: int


@contextmanager
def profile(
    client: TestClient, options: Options | None = None, authorize: object = None
) -> Iterator[Profile]:
    engine, limits = client.app.engine, client.app.settings.limits
    router = Router()
    Http(engine, limits, options, authorize).add_routes(router, profile=True)  # type: ignore[arg-type]
    server = HttpServer(router.find, limits)

    def run(coroutine: object) -> int:
        return asyncio.run_coroutine_threadsafe(coroutine, client._loop).result()  # type: ignore[arg-type]

    port = run(server.start("127.0.0.1", 0))
    try:
        yield Profile(client, port)
    finally:
        run(server.stop(5))


@pytest.fixture(scope="package")
def archives(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., str]:
    folder = tmp_path_factory.mktemp("archives")
    return lambda name, code, *args, **more: handlers.write_archive(folder, name, code, *args, **more)


@pytest.fixture(scope="package")
def alone(archives: Callable[..., str]) -> Iterator[Profile]:
    """One model, which tells what it sees."""
    with TestClient(archives("echo", handlers.ECHO)) as client, profile(client) as server:
        yield server


@pytest.fixture(scope="package")
def several(archives: Callable[..., str]) -> Iterator[Profile]:
    """The handlers with a will of their own."""
    slow = "minWorkers: 1\nmaxWorkers: 1\nbatchSize: 1\njobQueueSize: 2\n"
    limited = "minWorkers: 1\nmaxWorkers: 1\nresponseTimeout: 1\n"
    batch = "minWorkers: 1\nmaxWorkers: 1\nbatchSize: 4\nmaxBatchDelay: 10000\n"
    models = [
        archives("ret", handlers.RESULTS),
        archives("stream", handlers.STREAM),
        archives("slow", handlers.SLOW, yaml=slow),
        archives("limited", handlers.SLOW, yaml=limited),
        archives("batch", handlers.SLOW, yaml=batch),
    ]
    with TestClient(*models) as client, profile(client) as server:
        yield server


@pytest.fixture(scope="package")
def envelopes(archives: Callable[..., str]) -> Iterator[Profile]:
    """KServe's two protocols in front of one handler, with the Open Inference Protocol's paths."""
    models = [
        archives("v1", handlers.SUM, envelope="kserve"),
        archives("v2", handlers.SUM, envelope="kservev2"),
    ]
    options = Options(open_inference_protocol=True)
    with TestClient(*models) as client, profile(client, options) as server:
        yield server
