"""One server process as its parent sees it: started, spoken to, and asked why it died."""

import asyncio
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from dragoman.errors import ConfigError
from dragoman.supervisor.messages import Channel, Message

#: Seconds between the end of a process and of its words, whichever comes first.
LAST_WORDS: Final = 2.0


@dataclass(frozen=True, slots=True)
class Program:
    """A user's program that serves when it is told to. The variable ``place`` tells it: the number of the socket that
    it inherits, a colon, and its parent's pid."""

    command: Sequence[str]
    place: str
    environment: Mapping[str, str] = field(default_factory=dict)


class Process:
    """``start`` it and read its ``messages``, which end when it has ended."""

    def __init__(self, process: asyncio.subprocess.Process, channel: Channel) -> None:
        self.pid = process.pid
        self.models: list[dict[str, Any]] | None = None  #: set when it has tried them
        self.serving = False
        self.refusal: ConfigError | None = None  #: why it won't serve at all
        self._process = process
        self._channel = channel

    @classmethod
    async def start(cls, order: Message, program: "Program | None" = None) -> "Process":
        """A new process that is told what to serve by a "serve" message: ours, or the user's own program."""
        ours, theirs = socket.socketpair()
        with theirs:
            fd, parent = theirs.fileno(), os.getpid()
            if program is None:
                command = [sys.executable, "-m", "dragoman.supervisor.child", str(fd), str(parent)]
                environment = None
            else:
                command = [*program.command]
                environment = {**os.environ, **program.environment, program.place: f"{fd}:{parent}"}
            process = await asyncio.create_subprocess_exec(
                *command,
                env=environment,
                stdin=asyncio.subprocess.DEVNULL,
                pass_fds=(fd,),
                process_group=0,  # a terminal's Ctrl-C is for the parent, which passes it on once
            )
        channel = await Channel.open(ours)
        channel.send("serve", **order)
        return cls(process, channel)

    @property
    def code(self) -> int:
        """Its exit code; negative for the signal that ended it."""
        return self._process.returncode or 0

    @property
    def reason(self) -> str:
        """Why it ended, for people."""
        if self.code >= 0:
            return f"exit code {self.code}"
        try:
            return f"signal {signal.Signals(-self.code).name}"
        except ValueError:
            return f"signal {-self.code}"

    def send(self, kind: str, **fields: Any) -> None:
        self._channel.send(kind, **fields)

    def signal(self, number: int) -> None:
        """Send a signal, unless it has ended."""
        if self._process.returncode is None:
            self._process.send_signal(number)

    async def messages(self) -> AsyncIterator[Message]:
        """What it says, until it has ended. One that speaks nonsense, or no more, is killed."""
        watch = asyncio.create_task(self._watch())
        try:
            while (message := await self._channel.receive()) is not None:
                yield message
        except ValueError:
            self.signal(signal.SIGKILL)
        try:
            await asyncio.wait_for(asyncio.shield(watch), LAST_WORDS)
        except TimeoutError:
            self.signal(signal.SIGKILL)
            await watch
        await self._channel.close()

    async def _watch(self) -> None:
        await self._process.wait()
        # Something it started may hold its end of the socket open: that must not hide its death.
        asyncio.get_running_loop().call_later(LAST_WORDS, self._channel.abort)
