"""``ModelServer(workers=N)``: the program runs N times, under a supervisor, behind one port.

Each process makes its own models, as the program does; nothing is pickled and nothing is forked. What a client loads or
unloads in one of them is loaded or unloaded in all.
"""

import asyncio
import logging
import os
import socket
import sys
import tempfile
from collections.abc import Callable, Mapping
from typing import Any, Final

from dragoman.app import App
from dragoman.config import Settings
from dragoman.serving.app import METRICS, Family, ServingApp
from dragoman.supervisor import supervise
from dragoman.supervisor.child import Parent, die_with, serve_child
from dragoman.supervisor.messages import Message
from dragoman.supervisor.process import Program

log = logging.getLogger("dragoman.serving")

#: In the environment of a program that is one of several: its socket and its parent.
PLACE: Final = "DRAGOMAN_MODEL_SERVER"


def run_workers(settings: Settings) -> int:
    """Run this program as often as ``settings`` say until a signal. Returns the exit code."""
    main = sys.modules.get("__main__")
    if not getattr(main, "__file__", None):
        raise RuntimeError("workers > 1 runs this program several times, which needs it to be a file")
    with tempfile.TemporaryDirectory(prefix="dragoman-metrics-") as metrics:
        environment: Mapping[str, str] = {} if METRICS in os.environ else {METRICS: metrics}
        command = [sys.executable, *sys.orig_argv[1:]]
        return supervise([], settings, _present, Program(command, PLACE, environment))


async def serve_as_worker(
    sock: socket.socket, make: Callable[[Settings, Family], ServingApp], stopping: asyncio.Event
) -> int:
    """Serve as one of several. Returns the exit code."""

    def make_one(order: Message, settings: Settings, parent: Parent) -> App:
        return make(settings, Family(parent, order["changes"]))

    return await serve_child(sock, make_one, stopping)


def inherited() -> socket.socket | None:
    """The way to the parent, if this program is one of several; asked once."""
    place = os.environ.pop(PLACE, "")
    if not place:
        return None
    descriptor, parent = map(int, place.split(":"))
    die_with(parent)
    sock = socket.socket(fileno=descriptor)
    sock.set_inheritable(False)
    return sock


def _present(url: str, models: list[dict[str, Any]], grpc: str) -> None:
    log.info("serving", extra={"url": url, "grpc": grpc, "models": [model["name"] for model in models]})
