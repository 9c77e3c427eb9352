"""A real server on a thread, for tests: real sockets, real models, no mocks.

::

    with TestClient("app.py:Sum") as client:
        answer = client.infer("Sum", {"a": np.ones(2, np.float32)})
"""

import asyncio
import inspect
import json
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from http.client import HTTPConnection
from typing import Any

import numpy as np

from dragoman.app import App
from dragoman.config import Settings
from dragoman.engine.lifecycle import State
from dragoman.protocols.kserve_v2.client import LENGTH, decode_response, encode_request, infer_path
from dragoman.running import run
from dragoman.tensors import datatype_of
from dragoman.types import Array, Tensor


@dataclass(frozen=True, slots=True)
class Response:
    """An HTTP answer. Header names are in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


class TestClient:
    """Serves models on a free loopback port while the ``with`` block runs.

    Takes what ``dragoman serve`` takes, or classes that an import can find. A model that fails to load fails
    the block, unless ``strict`` is false. ``port`` is a port other than a free one.
    """

    __test__ = False  # pytest collects classes by name

    def __init__(
        self, *models: str | type, settings: Settings | None = None, strict: bool = True, port: int = 0
    ) -> None:
        settings = settings or Settings()
        self._settings = replace(settings, server=replace(settings.server, port=port, grpc_port=0))
        self._targets = [model if isinstance(model, str) else _entry(model) for model in models]
        self._strict = strict
        self._loop: asyncio.AbstractEventLoop
        self._stop: asyncio.Event
        self._failure: BaseException | None = None
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, name="dragoman TestClient", daemon=True)
        self.app: App

    def __enter__(self) -> "TestClient":
        self.app = App.serving(self._targets, self._settings)
        self._thread.start()
        self._ready.wait()
        if self._failure is not None:
            raise self._failure
        failed = [record for record in self.app.engine.index() if record.state is State.FAILED]
        if failed and self._strict:
            self.__exit__()
            raise RuntimeError(f"model {failed[0].name!r} failed to load: {failed[0].reason}")
        return self

    def __exit__(self, *exception: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    @property
    def url(self) -> str:
        return self.app.url

    @property
    def grpc(self) -> str:
        """Where gRPC clients connect; empty where gRPC is not installed."""
        return self.app.grpc_address

    def call(self, function: Callable[[], Any]) -> Any:
        """Call something on the server's own thread and give its result back; of a coroutine function what it
        returns in the end."""

        async def run() -> Any:
            result = function()
            return await result if inspect.isawaitable(result) else result

        return asyncio.run_coroutine_threadsafe(run(), self._loop).result()

    def request(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Response:
        """One HTTP request on a connection of its own."""
        connection = HTTPConnection("127.0.0.1", self.app.port, timeout=60)
        try:
            connection.request(method, path, body, dict(headers or {}))
            answer = connection.getresponse()
            found = {name.lower(): value for name, value in answer.getheaders()}
            return Response(answer.status, found, answer.read())
        finally:
            connection.close()

    def get(self, path: str) -> Response:
        return self.request("GET", path)

    def post(self, path: str, document: Any) -> Response:
        """Send a JSON document."""
        return self.request("POST", path, json.dumps(document).encode(), {"Content-Type": "application/json"})

    def infer(
        self, model: str, inputs: Mapping[str, Array], outputs: Sequence[str] | None = None, version: str = ""
    ) -> dict[str, Array]:
        """Ask over the v2 protocol's binary extension; raises RuntimeError with the server's words if refused."""
        tensors = [_tensor(name, np.asarray(data)) for name, data in inputs.items()]
        body, headers = encode_request(tensors, outputs or ())
        answer = self.request("POST", infer_path(model, version), body, headers)
        if answer.status != 200:
            raise RuntimeError(f"{answer.status}: {answer.json()['error']}")
        return {t.name: t.data for t in decode_response(answer.body, answer.headers.get(LENGTH.lower()))}

    def _run(self) -> None:
        try:
            run(self._serve())
        except BaseException as error:
            self._failure = error
        finally:
            self._ready.set()

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        await self.app.start()
        self._ready.set()
        await self._stop.wait()
        await self.app.stop()


def _tensor(name: str, data: Array) -> Tensor:
    if data.dtype.kind == "U":
        data = np.char.encode(data, "utf-8").astype(object)
    return Tensor(name, datatype_of(data.dtype), data)


def _entry(model: type) -> str:
    found = getattr(sys.modules.get(model.__module__), model.__qualname__, None)
    if found is not model:
        raise ValueError(f"{model.__qualname__} must be a class at the top of an importable module")
    return f"{model.__module__}:{model.__qualname__}"
