"""One of several server processes: an app that gives its numbers to the parent and gets those of all from it.

Started by the parent with ``python -m dragoman.supervisor.child SOCKET PARENT``: the number of the socket it
inherits, and the parent's pid. Never outlives the parent.
"""

import asyncio
import os
import signal
import socket
import sys
from itertools import count
from typing import Any, Final

from dragoman import log as logs
from dragoman.app import App, run, serve
from dragoman.config import (
    GrpcSettings,
    LimitSettings,
    LogSettings,
    ManagementSettings,
    ModelSettings,
    ServerSettings,
    Settings,
)
from dragoman.errors import ConfigError
from dragoman.stats import Stats
from dragoman.supervisor.messages import Channel, Message

REFUSED: Final = 78
ORPHANED: Final = 1
PR_SET_PDEATHSIG: Final = 1  # linux/prctl.h
#: Seconds between two unasked reports: what a process that is killed has counted since is lost.
INTERVAL: Final = 1.0
#: Seconds the parent has to answer.
PATIENCE: Final = 3.0


class Parent:
    """The parent, and behind it the other processes: an app's ``Siblings``."""

    def __init__(self, channel: Channel, serving: bool) -> None:
        self._channel = channel
        self._serving = serving
        self._go = asyncio.Event()
        self._app: App | None = None
        self._reported: Message = {}
        self._serials = count(1)
        self._asked: dict[int, asyncio.Future[Message]] = {}

    @property
    def serving(self) -> bool:
        return self._serving

    async def loaded(self, app: App) -> None:
        self._app = app
        self._channel.send("loaded", models=app.overview())
        await self._go.wait()

    async def gather(self) -> tuple[Stats, int]:
        serial = next(self._serials)
        self._asked[serial] = asyncio.get_running_loop().create_future()
        try:
            self._channel.send("gather", serial=serial)
            async with asyncio.timeout(PATIENCE):
                answer = await self._asked[serial]
        finally:
            del self._asked[serial]
        stats = Stats()
        stats.add(answer["stats"])
        stats.started = answer["started"]
        return stats, answer["in_flight"]

    async def listen(self) -> None:
        """Do what the parent says, as long as it lives."""
        while (message := await self._channel.receive()) is not None:
            match message["kind"]:
                case "go":
                    self._go.set()
                case "collect":
                    self._channel.send("numbers", serial=message["serial"], **self._numbers())
                case "merged" if asked := self._asked.get(message["serial"]):
                    asked.set_result(message)
        os._exit(ORPHANED)

    async def report(self) -> None:
        """Send the numbers again and again: the parent keeps the last ones of a process that dies."""
        while True:
            self.send_numbers()
            await asyncio.sleep(INTERVAL)

    def send_numbers(self) -> None:
        """Send the numbers, if they have changed."""
        numbers = self._numbers()
        if numbers != self._reported:
            self._reported = numbers
            self._channel.send("numbers", serial=0, **numbers)

    def _numbers(self) -> dict[str, Any]:
        if self._app is None:
            return {"stats": Stats().snapshot(), "in_flight": 0}
        return {"stats": self._app.engine.stats.snapshot(), "in_flight": self._app.in_flight}


async def _serve(sock: socket.socket) -> int:
    channel = await Channel.open(sock)
    order = await channel.receive()
    if order is None:
        return ORPHANED
    settings = read_settings(order["settings"])
    logs.configure(settings.log)
    parent = Parent(channel, order["serving"])
    tasks = [asyncio.create_task(parent.listen()), asyncio.create_task(parent.report())]
    try:
        app = App.serving(order["targets"], settings, parent)
        code = await serve(app, lambda app: channel.send("serving"))
        parent.send_numbers()
    except ConfigError as error:
        channel.send("refused", message=str(error), hint=error.hint)
        code = REFUSED
    for task in tasks:
        task.cancel()
    await channel.close()
    return code


def read_settings(document: dict[str, dict[str, Any]]) -> Settings:
    """The settings from JSON, which knows lists and no tuples."""
    tables: dict[str, dict[str, Any]] = {
        section: {key: tuple(value) if isinstance(value, list) else value for key, value in table.items()}
        for section, table in document.items()
    }
    return Settings(
        server=ServerSettings(**tables["server"]),
        limits=LimitSettings(**tables["limits"]),
        grpc=GrpcSettings(**tables["grpc"]),
        log=LogSettings(**tables["log"]),
        models=ModelSettings(**tables["models"]),
        management=ManagementSettings(**tables["management"]),
    )


def die_with(parent: int) -> None:
    """Let the kernel kill this process when its parent dies, however that happens. Only Linux can."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it was quicker
        os._exit(ORPHANED)


def main() -> None:
    descriptor, parent = map(int, sys.argv[1:])
    die_with(parent)
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())  # for module:Class
    sock = socket.socket(fileno=descriptor)
    sock.set_inheritable(False)
    sys.exit(run(_serve(sock)))


if __name__ == "__main__":
    main()
