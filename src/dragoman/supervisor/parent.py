"""The parent: takes the port, starts the processes, and starts another for each that dies.

Loads no model and answers no request, so that little can go wrong in it.

    starting ──every process has tried its models──► serving ──signal──► stopping ──second signal──► killed
        └──a process ends──► stopping                   └──a process ends──► another takes its place
"""

import asyncio
import contextlib
import logging
import signal
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, replace
from typing import Any, Final

from dragoman.config import Settings
from dragoman.errors import ConfigError
from dragoman.supervisor.changes import Changes
from dragoman.supervisor.process import Process, Program
from dragoman.supervisor.totals import Totals
from dragoman.transport import address
from dragoman.transport.grpc.installed import installed

log = logging.getLogger("dragoman.supervisor")

#: Seconds until another takes the place of a process that died: doubled each time, short again after a long life.
SHORTEST: Final = 0.1
LONGEST: Final = 30.0
#: Seconds beyond their grace that processes have to end.
PATIENCE: Final = 5.0
FAILED: Final = 1

Models = list[dict[str, Any]]
#: Told the URL, the models and where gRPC is (empty: nowhere) when every process has tried the models. May raise,
#: which stops the server.
Present = Callable[[str, Models, str], None]


def supervise(
    targets: list[str], settings: Settings, present: Present, program: Program | None = None
) -> int:
    """Serve with ``settings.server.processes`` processes until a signal: ours, or ``program`` as often. Returns the
    exit code.

    Raises ConfigError where a single process would, and what ``present`` raises, when all processes are gone.
    """
    server = settings.server
    with ExitStack() as taken:
        port = _reserve(taken, server.host, server.port)
        grpc = server.grpc and installed()
        grpc_port = _reserve(taken, server.host, server.grpc_listens, "--grpc-port") if grpc else 0
        server = replace(server, port=port, grpc=grpc, grpc_port=grpc_port)
        supervisor = Supervisor(targets, replace(settings, server=server), present, program)
        return asyncio.run(supervisor.run())


def _reserve(taken: ExitStack, host: str, port: int, flag: str = "--port") -> int:
    sockets, port = address.reserve(host, port, flag)
    for sock in sockets:
        taken.enter_context(sock)
    return port


class Supervisor:
    """Keeps the processes of one server. Its port must be a real one."""

    def __init__(
        self, targets: list[str], settings: Settings, present: Present, program: Program | None = None
    ) -> None:
        self._order = {"targets": targets, "settings": asdict(settings)}
        self._program = program
        self._changes = Changes()
        self._server = settings.server
        self._present = present
        self._totals = Totals()
        self._processes: list[Process] = []
        self._serving = False
        self._ready: set[tuple[str, str]] = set()  #: what could be loaded when the server started
        self._stopping = asyncio.Event()
        self._failed = False
        self._error: Exception | None = None
        self._gathering: set[asyncio.Task[None]] = set()

    async def run(self) -> int:
        """Returns when every process is gone."""
        loop = asyncio.get_running_loop()
        signals: asyncio.Queue[int] = asyncio.Queue()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, signals.put_nowait, number)
        keepers = asyncio.gather(*(self._keep() for _ in range(self._server.processes)))
        first = asyncio.create_task(signals.get())
        stopping = asyncio.create_task(self._stopping.wait())
        await asyncio.wait((first, stopping, keepers), return_when=asyncio.FIRST_COMPLETED)
        for task in (first, stopping):
            task.cancel()
        code = await self._stop(keepers, signals)
        if self._error is not None:
            raise self._error
        return code or (FAILED if self._failed else 0)

    async def _stop(self, keepers: "asyncio.Future[list[None]]", signals: "asyncio.Queue[int]") -> int:
        log.info("stopping: every accepted request is answered first")
        self._stopping.set()
        self._signal(signal.SIGTERM)
        second = asyncio.create_task(signals.get())
        limit = self._server.grace + PATIENCE
        await asyncio.wait((keepers, second), timeout=limit, return_when=asyncio.FIRST_COMPLETED)
        code = 0
        if second.done():
            code = 128 + second.result()
            log.warning("stopped at once by a second signal")
        elif not keepers.done():
            code = FAILED
            log.error("processes that did not end in time are killed")
        second.cancel()
        self._signal(signal.SIGKILL)
        await keepers
        return code

    def _signal(self, number: int) -> None:
        for process in self._processes:
            process.signal(number)

    async def _keep(self) -> None:
        """Keep one process running until the server stops."""
        delay = SHORTEST
        while not self._stopping.is_set():
            start = time.monotonic()
            pid, reason = await self._live()
            if self._stopping.is_set():
                return
            delay = SHORTEST if time.monotonic() - start > LONGEST else delay
            log.error(
                "a server process died, another takes its place",
                extra={"pid": pid, "reason": reason, "seconds": delay},
            )
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), delay)
            delay = min(2 * delay, LONGEST)

    async def _live(self) -> tuple[int | None, str]:
        """The life of one process: its pid, and why it ended."""
        try:
            order = {**self._order, "serving": self._serving, "changes": self._changes.made}
            process = await Process.start(order, self._program)
        except OSError as error:  # no memory, no process or no file is left
            if not self._serving:
                raise
            return None, f"it could not be started: {error.strerror}"
        self._processes.append(process)
        if self._stopping.is_set():
            process.signal(signal.SIGTERM)
        await self._listen(process)
        self._processes.remove(process)
        self._changes.bury(process)
        self._totals.bury(process.pid)
        if self._stopping.is_set():
            self._failed |= process.code not in (0, -signal.SIGTERM)
        elif not self._serving:
            self._give_up(process)
        return process.pid, process.reason

    def _give_up(self, process: Process) -> None:
        """A process ended before the server ever served: another would end the same way."""
        if process.refusal is None:
            log.error("a server process ended while it started", extra={"reason": process.reason})
        self._failed = True
        self._error = self._error or process.refusal
        self._stopping.set()

    async def _listen(self, process: Process) -> None:
        """Act on a process's messages until it has ended."""
        async for message in process.messages():
            match message["kind"]:
                case "numbers":
                    self._totals.put(process.pid, message)
                case "gather":
                    task = asyncio.create_task(self._gather(process, message["serial"]))
                    self._gathering.add(task)
                    task.add_done_callback(self._gathering.discard)
                case "tell":
                    others = [each for each in self._processes if each is not process]
                    self._changes.tell(process, message, others)
                case "done":
                    self._changes.done(process, message)
                case "refused":
                    process.refusal = ConfigError(message["message"], message["hint"])
                case "loaded":
                    process.models = message["models"]
                    self._loaded(process, process.models)
                case "serving":
                    process.serving = True
                    self._served(process)

    async def _gather(self, asker: Process, serial: int) -> None:
        def ask(question: int) -> None:
            for process in self._processes:
                process.send("collect", serial=question)

        asker.send("merged", serial=serial, **await self._totals.gather(ask))

    def _loaded(self, process: Process, models: Models) -> None:
        """Let the processes that start together go together, and a later one when it is as good as they."""
        ready = {(model["name"], model["version"]) for model in models if model["state"] == "READY"}
        if not self._serving:
            if self._all(lambda each: each.models is not None):
                self._ready = ready
                for each in self._processes:
                    each.send("go")
        elif ready >= self._ready:
            process.send("go")
        else:
            log.error("a new process can't load what the others serve", extra={"pid": process.pid})
            process.signal(signal.SIGKILL)

    def _served(self, process: Process) -> None:
        if self._serving:
            log.info("a new server process serves", extra={"pid": process.pid})
        elif self._all(lambda each: each.serving):
            self._serving = True
            try:
                server = self._server
                url = address.show(server.host, server.port, tls=bool(server.tls_cert))
                grpc = address.authority(server.host, server.grpc_listens) if server.grpc else ""
                self._present(url, process.models or [], grpc)
            except Exception as error:
                self._error = error
                self._stopping.set()

    def _all(self, test: Callable[[Process], bool]) -> bool:
        return len(self._processes) == self._server.processes and all(map(test, self._processes))
