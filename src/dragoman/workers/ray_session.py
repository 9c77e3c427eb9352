"""Joins a Ray cluster, or starts one on this machine, and makes Ray's blocking calls. Knows no replica.

They are made one after the other, on a thread of their own: Ray's aren't made for several.
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
from collections.abc import Callable
from concurrent.futures import Future
from functools import cache
from queue import SimpleQueue
from typing import Any, Final, TypeVar

from dragoman.errors import ConfigError
from dragoman.runtimes.base import require

#: The environment variable that names a cluster to join, as for any program that uses Ray.
ADDRESS: Final = "RAY_ADDRESS"
#: Seconds that a cluster of our own has to end.
PATIENCE: Final = 20.0
#: How Ray is to behave, unless the operator says otherwise.
_ENVIRONMENT: Final = {"RAY_SERVE_LOG_TO_STDERR": "0", "RAY_USAGE_STATS_ENABLED": "0"}
#: A cluster of our own listens on the loopback interface, whatever the variable is called, and to who has the token.
_OF_OUR_OWN: Final = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "RAY_AUTH_MODE": "token"}
_QUIET: Final[dict[str, Any]] = {"log_to_driver": False, "configure_logging": False}

T = TypeVar("T")
_Call = tuple[Callable[[], Any], "Future[Any]"]


async def join() -> None:
    """Join the cluster, or start one, unless that has been done. Raises ConfigError where Ray is not installed or can't
    be reached."""
    await on_thread(_connect)
    _keep_signals()


def join_now() -> None:
    """The same before there is an event loop."""
    call_blocking(_connect)
    _keep_signals()


async def on_thread(call: Callable[[], T]) -> T:
    """Make one of Ray's blocking calls, and wait for it."""
    return await asyncio.wrap_future(put(call))


def call_blocking(call: Callable[[], T]) -> T:
    """The same before there is an event loop."""
    return put(call).result()


def put(call: Callable[[], T]) -> "Future[T]":
    """Let one of Ray's blocking calls be made after those that wait already."""
    done: Future[T] = Future()
    _calls().put((call, done))
    return done


@cache
def _calls() -> SimpleQueue[_Call]:
    calls: SimpleQueue[_Call] = SimpleQueue()
    threading.Thread(target=_work, args=(calls,), name="ray", daemon=True).start()
    return calls


def _work(calls: SimpleQueue[_Call]) -> None:
    while True:
        call, done = calls.get()
        if not done.set_running_or_notify_cancel():
            continue
        try:
            done.set_result(call())
        except BaseException as error:
            done.set_exception(error)


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
