"""A server with TorchServe's ports on a thread of its own, and short ways to ask it."""

import asyncio
import contextlib
import http.client
import json
import threading
import time
from dataclasses import dataclass, field

from dragoman.profiles.torchserve.launcher import TorchServe
from dragoman.profiles.torchserve.settings import read
from dragoman.profiles.torchserve.store import find_models

INFERENCE, MANAGEMENT, METRICS = range(3)


@dataclass
class Answer:
    status: int
    headers: dict
    body: bytes

    @property
    def json(self):
        return json.loads(self.body)


@dataclass
class Running:
    app: TorchServe
    directory: object
    loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.new_event_loop)

    def run(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(180)

    def ask(self, port, path, method="GET", key="", body=None, headers=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.app.listeners[port].port, timeout=30)
        with contextlib.closing(connection):
            authorization = {"Authorization": f"Bearer {key}"} if key else {}
            connection.request(method, path, body, {**authorization, **(headers or {})})
            response = connection.getresponse()
            return Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())

    @property
    def keys(self):
        document = json.loads((self.directory / "key_file.json").read_text())
        return {name: entry["key"] for name, entry in document.items()}


@contextlib.contextmanager
def serving(directory, configuration=None, **values):
    store = directory / "store"
    store.mkdir(exist_ok=True)
    addresses = {f"{name}_address": "http://127.0.0.1:0" for name in ("inference", "management", "metrics")}
    addresses |= {f"grpc_{name}_port": "0" for name in ("inference", "management")}
    said = {
        "model_store": "store",
        "default_workers_per_model": "1",
        "load_models": "all",
        **addresses,
        **values,
    }
    if configuration is None:
        configuration = read({name: value for name, value in said.items() if value is not None}, directory)
    running = Running(TorchServe(configuration, find_models(configuration), directory), directory)
    thread = threading.Thread(target=running.loop.run_forever)
    thread.start()
    try:
        try:
            running.run(running.app.start())
            yield running
        finally:
            running.run(running.app.stop())
    finally:
        running.loop.call_soon_threadsafe(running.loop.stop)
        thread.join(30)
        running.loop.run_until_complete(running.loop.shutdown_default_executor())
        running.loop.close()


def until(condition):
    """Wait for what must come."""
    end = time.monotonic() + 60
    while not (found := condition()):
        assert time.monotonic() < end, "it has not come"
        time.sleep(0.01)
    return found
