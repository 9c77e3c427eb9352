"""One of several server processes: an app that gives its numbers to the parent and gets those of all from it.

Started by the parent with ``python -m dragoman.supervisor.child SOCKET PARENT``: the number of the socket it
inherits, and the parent's pid. Never outlives the parent.
"""

import asyncio
import os
import signal
import socket
import sys
from collections.abc import Awaitable, Callable
from itertools import count
from typing import Any, Final

from dragoman import log as logs
from dragoman.app import App
from dragoman.config import Settings, sections
from dragoman.errors import ConfigError
from dragoman.running import run, serve
from dragoman.stats import Stats
from dragoman.supervisor.messages import Channel, Message

REFUSED: Final = 78
ORPHANED: Final = 1
PR_SET_PDEATHSIG: Final = 1  # linux/prctl.h
#: Seconds between two unasked reports: what a process that is killed has counted since is lost.
INTERVAL: Final = 1.0
#: Seconds the parent has to answer.
PATIENCE: Final = 3.0


#: Makes a change that another process was asked for: an action and a model's name. Raises what makes it impossible.
Follow = Callable[[str, str], Awaitable[None]]
#: Makes the app out of the parent's order.
MakeApp = Callable[[Message, Settings, "Parent"], App]


class Parent:
    """The parent, and behind it the other processes: an app's ``Siblings``."""

    def __init__(self, channel: Channel, serving: bool) -> None:
        self._channel = channel
        self._serving = serving
        #: Makes a change that another process was asked for.
        self.follow: Follow | None = None
        self._following: set[asyncio.Task[None]] = set()
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
        async with asyncio.timeout(PATIENCE):
            answer = await self._ask("gather")
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
                case "merged" | "followed" if asked := self._asked.get(message["serial"]):
                    asked.set_result(message)
                case "told":
                    task = asyncio.create_task(self._follow(message))
                    self._following.add(task)
                    task.add_done_callback(self._following.discard)
        os._exit(ORPHANED)

    async def tell(self, action: str, name: str) -> list[str]:
        """A client has changed something here: returns when the others have followed, with what went wrong there."""
        answer = await self._ask("tell", action=action, name=name)
        failures: list[str] = answer["failures"]
        return failures

    async def _follow(self, message: Message) -> None:
        failure = ""
        try:
            if self.follow is not None:
                await self.follow(message["action"], message["name"])
        except Exception as error:
            failure = str(error)
        self._channel.send("done", serial=message["serial"], failure=failure)

    async def _ask(self, kind: str, **fields: Any) -> Message:
        serial = next(self._serials)
        self._asked[serial] = asyncio.get_running_loop().create_future()
        try:
            self._channel.send(kind, serial=serial, **fields)
            return await self._asked[serial]
        finally:
            del self._asked[serial]

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


async def serve_child(sock: socket.socket, make: MakeApp, stopping: asyncio.Event | None = None) -> int:
    """Serve what the parent says until it says stop. Returns the exit code."""
    channel = await Channel.open(sock)
    order = await channel.receive()
    if order is None:
        return ORPHANED
    settings = read_settings(order["settings"])
    logs.configure(settings.log)
    parent = Parent(channel, order["serving"])
    tasks = [asyncio.create_task(parent.listen()), asyncio.create_task(parent.report())]
    try:
        app = make(order, settings, parent)
        code = await serve(app, lambda app: channel.send("serving"), stopping)
        parent.send_numbers()
    except ConfigError as error:
        channel.send("refused", message=str(error), hint=error.hint)
        code = REFUSED
    for task in tasks:
        task.cancel()
    await channel.close()
    return code


def _named(order: Message, settings: Settings, parent: Parent) -> App:
    return App.serving(order["targets"], settings, parent)


def read_settings(document: dict[str, dict[str, Any]]) -> Settings:
    """The settings from JSON, which knows lists and no tuples."""
    tables: dict[str, dict[str, Any]] = {
        section: {key: tuple(value) if isinstance(value, list) else value for key, value in table.items()}
        for section, table in document.items()
    }
    return Settings(**{section: kind(**tables[section]) for section, kind in sections().items()})


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
    sys.exit(run(serve_child(sock, _named)))


if __name__ == "__main__":
    main()
