"""Ray Serve, as far as it is used here: replicas of models are made, asked, and let go. Knows no scheduler.

Each replica is an application of its own with one deployment of one replica: Ray places it, watches over it and starts
it again, and who gets what to do is decided by the model's own queue. Serve's HTTP proxies are not started.

Ray's blocking calls are made one after the other, on a thread of their own: they aren't made for several.
"""

import asyncio
import atexit
import logging
import os
import secrets
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from functools import cache, partial
from queue import SimpleQueue
from typing import Any, Final, TypeVar

from dragoman.errors import ConfigError, NotReady, Overloaded
from dragoman.runtimes.base import require
from dragoman.scheduling.scheduler import Emit
from dragoman.types import InferRequest
from dragoman.workers.remote import ReplicaDied
from dragoman.workers.replica import Answer, Order, Part, Replica

log = logging.getLogger("dragoman.workers")

#: Requests that Serve lets a replica have beside its batches: who asks how it is must not wait for them.
BESIDE: Final = 2
#: The environment variable that names a cluster to join, as for any program that uses Ray.
ADDRESS: Final = "RAY_ADDRESS"
#: How Ray is to behave, unless the operator says otherwise.
_ENVIRONMENT: Final = {"RAY_SERVE_LOG_TO_STDERR": "0", "RAY_USAGE_STATS_ENABLED": "0"}
#: A cluster of our own listens on the loopback interface, whatever the variable is called, and to who has the token.
_OF_OUR_OWN: Final = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "RAY_AUTH_MODE": "token"}
_QUIET: Final[dict[str, Any]] = {"log_to_driver": False, "configure_logging": False}
#: Seconds that a cluster of our own has to end.
PATIENCE: Final = 20.0

T = TypeVar("T")


async def make_replica(name: str, order: Order, resources: Mapping[str, Any], ongoing: int) -> "RayLine":
    """A replica that is on its way: ``probe`` says when it is there. Joins the cluster, or starts one, if need be.

    ``resources`` are Ray's actor options. Raises ConfigError where Ray is not installed or can't be reached.
    """
    await _on_thread(_connect)
    _keep_signals()
    try:
        handle = await _on_thread(partial(_deploy, name, order, resources, ongoing))
    except asyncio.CancelledError:  # what runs on the thread can't be stopped, but undone
        _calls().put((partial(_delete, name), Future()))
        raise
    return RayLine(name, handle)


class RayLine:
    """The way to one replica; awaited on the server's event loop."""

    def __init__(self, name: str, handle: Any) -> None:
        self._name = name
        self._handle = handle
        self._run = handle.options(method_name="run")
        self._stream = handle.options(method_name="stream", stream=True)
        self.streams = False  #: whether answers come in parts

    async def describe(self) -> dict[str, Any]:
        """What the replica says of its model, when it has loaded it."""
        found: dict[str, Any] = await _answer(self._handle.describe.remote())
        return found

    async def probe(self) -> None:
        failure = (await self.describe()).get("failure")
        if failure:
            raise NotReady(f"a replica could not load its model again: {failure['reason']}")

    async def ask(self, requests: Sequence[InferRequest], emit: Emit) -> Answer:
        if not self.streams:
            found: Answer = await _answer(self._run.remote(requests))
            return found
        parts = self._stream.remote(requests)
        try:
            async for part in parts:
                if isinstance(part, Answer):
                    return part
                assert isinstance(part, Part)
                emit(part.place, part.response)
        except BaseException as error:
            raise translate(error, parts) from None
        raise ReplicaDied("its answer ended too early")

    async def close(self) -> None:
        await _on_thread(partial(_delete, self._name))


async def _answer(response: Any) -> Any:
    try:
        return await response
    except BaseException as error:
        raise translate(error, response) from None


def translate(error: BaseException, response: Any) -> BaseException:
    """What an error of a call of Ray Serve's means: ReplicaDied, an error of ours, or what the user's code raised.

    Who doesn't wait any more for the ``response`` gives it up there, too.
    """
    if isinstance(error, asyncio.CancelledError):
        response.cancel()
        return error
    from ray.exceptions import RayActorError, RayError, RayTaskError, TaskCancelledError
    from ray.serve.exceptions import BackPressureError, DeploymentUnavailableError, RayServeException

    if isinstance(error, BackPressureError):
        return Overloaded("the model's replicas have as many requests waiting as they may")
    if isinstance(error, RayTaskError):
        # Its text is a traceback; the cause is what was raised.
        cause = error.cause
        return cause if isinstance(cause, Exception) else error
    if isinstance(error, RayActorError):
        return ReplicaDied(_words(str(error)))
    if isinstance(error, TaskCancelledError):
        return ReplicaDied("it has been told to stop")
    if isinstance(error, DeploymentUnavailableError):
        return NotReady("the model's replicas could not be started; the cluster's log says why")
    if isinstance(error, RayError | RayServeException):
        return ReplicaDied(_words(str(error)))
    return error


def _words(text: str) -> str:
    """Why a replica died, without what is nobody's business outside: addresses, pids and names of the cluster."""
    if "OOM" in text.partition("Some common causes")[0]:
        return "out of memory: the node's memory was needed"
    if "SYSTEM_ERROR" in text or "unexpectedly" in text:
        return "its process ended unexpectedly"
    if "node" in text.lower() and "died" in text.lower():
        return "the machine it ran on has gone"
    return "the cluster has ended it"


# Ray's blocking calls.


def _connect() -> None:
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    address = os.environ.get(ADDRESS, "")
    if "ray" in sys.modules and _is_connected():
        return
    late = "ray" in sys.modules  # what its environment says has been read
    if not address and not late:
        os.environ |= _OF_OUR_OWN | {"RAY_AUTH_TOKEN": secrets.token_hex(32)}
    make_record = logging.getLogRecordFactory()
    require("ray.serve", "ray")
    import ray
    from ray import serve

    logging.setLogRecordFactory(make_record)  # Ray adds a field to everybody's lines
    _quieten(logging.ERROR)
    try:
        if late and not address:
            ray.init("local", include_dashboard=False, **_QUIET)
        else:
            ray.init(address or _start_node(), **_QUIET)
        serve.start(http_options={"location": "NoServer"})
    except Exception as error:
        where = f"the Ray cluster at {address!r}" if address else "a local Ray cluster"
        hint = f"{ADDRESS} (or --ray-address) names it" if address else ""
        raise ConfigError(f"can't use {where}: {error}", hint=hint) from error
    _quieten(logging.WARNING)


def _is_connected() -> bool:
    """Whether the program uses a cluster already, be it through us or not. Serve is there then, too."""
    import ray
    from ray import serve

    if ray.is_initialized():
        serve.start(http_options={"location": "NoServer"})  # nothing happens where it has been started
        return True
    return False


def _start_node() -> str:
    """Start a cluster on this machine, for this process. Its address; raises RuntimeError."""
    command = [sys.executable, "-m", "dragoman.workers.ray_node"]
    with tempfile.TemporaryFile() as output:
        node = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=output, start_new_session=True
        )
        assert node.stdout is not None
        address = node.stdout.readline().decode().strip()
        if not address:
            output.seek(0)
            lines = output.read().decode(errors="replace").strip().splitlines()
            raise RuntimeError(lines[-1] if lines else f"it ended with code {node.wait()}")
    atexit.register(_stop_node, node)
    return address


def _stop_node(node: "subprocess.Popen[bytes]") -> None:
    import ray

    ray.shutdown()
    assert node.stdin is not None
    node.stdin.close()
    try:
        node.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        node.kill()


def _quieten(level: int) -> None:
    """What Ray has to say goes to the server's log, if it matters."""
    for name in ("ray", "ray.serve"):
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.setLevel(level)
        logger.propagate = True


def _keep_signals() -> None:
    """Ray takes SIGTERM for a crash, and aborts the process some seconds later: the handlers from before come back."""
    if threading.current_thread() is not threading.main_thread():
        return
    for number in (signal.SIGTERM, signal.SIGINT):
        handler = signal.getsignal(number)
        if handler is not None:
            signal.signal(number, handler)


def _deploy(name: str, order: Order, resources: Mapping[str, Any], ongoing: int) -> Any:
    from ray import serve

    deployment = serve.deployment(
        name="replica",
        num_replicas=1,
        max_ongoing_requests=ongoing + BESIDE,
        ray_actor_options=dict(resources),
    )(Replica)
    target = serve.RunTarget(deployment.bind(order), name=name, route_prefix=None)
    (handle,) = serve.run_many([target], wait_for_applications_running=False)
    return handle


def _delete(name: str) -> None:
    import ray
    from ray import serve

    if ray.is_initialized():  # else Ray has ended already, and everything with it
        serve.delete(name)


def application_name(model: str, version: str) -> str:
    """A name that no other replica has, and that tells people what it is."""
    return f"dragoman-{model}-{version}-{secrets.token_hex(4)}"


def connect_now() -> None:
    """Join the cluster, or start one, before there is an event loop. Raises ConfigError."""
    call_blocking(_connect)
    _keep_signals()


def call_blocking(call: Callable[[], T]) -> T:
    """Make one of Ray's blocking calls, and wait for it."""
    done: Future[T] = Future()
    _calls().put((call, done))
    return done.result()


# The thread.


async def _on_thread(call: Callable[[], T]) -> T:
    done: Future[T] = Future()
    _calls().put((call, done))
    return await asyncio.wrap_future(done)


@cache
def _calls() -> SimpleQueue[tuple[Callable[[], Any], "Future[Any]"]]:
    calls: SimpleQueue[tuple[Callable[[], Any], Future[Any]]] = SimpleQueue()
    threading.Thread(target=_work, args=(calls,), name="ray", daemon=True).start()
    return calls


def _work(calls: SimpleQueue[tuple[Callable[[], Any], "Future[Any]"]]) -> None:
    while True:
        call, done = calls.get()
        if not done.set_running_or_notify_cancel():
            continue
        try:
            done.set_result(call())
        except BaseException as error:
            done.set_exception(error)
