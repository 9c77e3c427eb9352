"""One worker process from the outside: started, fed, listened to, ended. What its death means is others' business.

    STARTING ──loaded──► UP ──stop──► LEAVING ──► ENDED          any ──exit, garbage, kill──► ENDED(cause)

Everything here runs on the event loop's thread. What the process says is checked before it is believed.
"""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, Final, Protocol

import orjson

from dragoman.errors import ConfigError
from dragoman.model_metrics import Value
from dragoman.tensors import Buffer
from dragoman.types import InferRequest
from dragoman.workers import guard, sweep
from dragoman.workers.child import LOAD_FAILED, OUT_OF_MEMORY
from dragoman.workers.crash import Cause, Reason, explain_exit
from dragoman.workers.frames import Frame
from dragoman.workers.messages import Outcomes, Part, decode_answer, encode_requests
from dragoman.workers.output import Output
from dragoman.workers.reporting import LONGEST, decode_values
from dragoman.workers.shared import (
    BIG,
    HERE,
    IN_FILE,
    LARGEST,
    MOST_FRAMES,
    Damaged,
    Ring,
    read_file,
    write_file,
)
from dragoman.workers.talk import Word

#: Seconds between asking a process to end and ending it.
PATIENCE: Final = 2.0
_MESSAGE: Final = 16_777_216
#: Files a worker may have sent without a frame that speaks of them.
_MOST_FILES: Final = 256
_NONSENSE: Final = (
    Damaged,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    OverflowError,
    RecursionError,
)


class Listener(Protocol):
    """Who is told. ``ended`` comes exactly once, last."""

    def loaded(self, hello: dict[str, Any]) -> None: ...
    def answered(self, answer: Outcomes | Part | Word) -> None: ...
    def measured(self, values: Sequence[Value]) -> None: ...
    def ended(self, cause: Cause, failure: dict[str, str] | None) -> None: ...


class Worker:
    """A process that loads what ``order`` says. ``failure`` of a load: its reason, hint and traceback.

    Raises OSError when the system has no process or file to spare.
    """

    def __init__(
        self,
        order: Mapping[str, Any],
        listener: Listener,
        loop: asyncio.AbstractEventLoop,
        label: str,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        _refuse_inside_a_worker()
        self._listener = listener
        self._loop = loop
        self._cause: Cause | None = None
        self._limits = int(order["max_memory"]), int(order["max_processes"])
        self._failure: dict[str, str] | None = None
        self._files: deque[int] = deque()
        self._inbox = b""
        self._timer: asyncio.TimerHandle | None = None
        self._leaving = False
        self._distrusted = False
        self._gone = False
        self._guard = guard.get()
        with ExitStack() as undo:
            self._mark = self._guard.watch(order["max_processes"])
            undo.callback(self._guard.end, self._mark)
            self._open(undo)
            self._process = self._start(undo, order, environment)
            self._exit = os.pidfd_open(self._process.pid)
            undo.pop_all()
        self._outputs = [
            Output(fd, label, stream, loop)
            for fd, stream in zip(self._pipes(), ("stdout", "stderr"), strict=True)
        ]
        loop.add_reader(self._exit, self._exited)
        loop.add_reader(self._sock, self._hear)
        loop.add_reader(self._wake_out, self._announced)

    def _open(self, undo: ExitStack) -> None:
        """Open the ways to it; both sides' eventfds never block, so that nothing written to one stops us."""
        self._sock, self._theirs = socket.socketpair()
        undo.callback(self._theirs.close)
        undo.callback(self._sock.close)
        self._sock.setblocking(False)
        self._ring_in = Ring.create()
        undo.callback(self._ring_in.close)
        self._ring_out = Ring.create()
        undo.callback(self._ring_out.close)
        self._wake_in = os.eventfd(0, os.EFD_NONBLOCK)
        undo.callback(os.close, self._wake_in)
        self._count_out = os.eventfd(0, os.EFD_NONBLOCK)
        undo.callback(os.close, self._count_out)
        self._wake_out = os.eventfd(0, os.EFD_NONBLOCK)
        undo.callback(os.close, self._wake_out)

    def _start(
        self, undo: ExitStack, order: Mapping[str, Any], environment: Mapping[str, str] | None
    ) -> subprocess.Popen[bytes]:
        text = json.dumps(order, default=str).encode()
        told = write_file([text], len(text))
        rings = [self._ring_in.fd, self._ring_out.fd]
        inherited = [self._theirs.fileno(), *rings, self._wake_in, self._count_out, self._wake_out, told]
        try:
            process = subprocess.Popen(
                [
                    sys.executable,
                    "-u",  # what was printed before a crash must not be lost with it
                    "-m",
                    "dragoman.workers.child",
                    *map(str, inherited),
                    str(os.getpid()),
                ],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                pass_fds=inherited,
                start_new_session=True,
                env={**(os.environ if environment is None else environment), sweep.MARK: self._mark},
            )
        finally:
            os.close(told)
            self._theirs.close()
        undo.callback(process.wait)
        undo.callback(process.kill)
        return process

    def _pipes(self) -> list[int]:
        """Its standard output and error, ours to close."""
        fds = []
        for pipe in (self._process.stdout, self._process.stderr):
            assert pipe is not None
            fds.append(os.dup(pipe.fileno()))
            pipe.close()
        return fds

    def send(self, number: int, requests: Sequence[InferRequest]) -> None:
        """Hand over a batch. Raises for what can't be put into words."""
        self.tell(encode_requests(number, requests))

    def tell(self, frame: Frame) -> None:
        """Hand over a frame."""
        if frame.size < BIG:
            self._write([HERE, *frame.pieces], frame.size + len(HERE))
            return
        fd = write_file(frame.pieces, frame.size)
        try:
            socket.send_fds(self._sock, [b"F"], [fd])
        except BlockingIOError as error:
            self._distrust(error)
        except OSError:
            return  # it is ending: its exit will be told
        finally:
            os.close(fd)
        self._write([IN_FILE], len(IN_FILE))

    def _write(self, pieces: Sequence[Buffer], size: int) -> None:
        try:
            self._ring_in.write(pieces, size, wait=False)
            os.eventfd_write(self._wake_in, 1)
        except (Damaged, BlockingIOError) as error:
            self._distrust(error)

    def stop(self) -> None:
        """Let it end after what it was given; a process that doesn't is ended."""
        if self._cause is not None or self._leaving or self._gone:
            return
        self._leaving = True
        self._write([HERE], len(HERE))
        self._kill_later()

    def end(self, cause: Cause) -> None:
        """End it now: a moment to die in order, then the kernel does it."""
        if self._cause is None and not self._gone:
            self._cause = cause
            self._signal(signal.SIGTERM)
            self._kill_later()

    @property
    def tail(self) -> list[str]:
        """The last lines it wrote, those to standard error last."""
        return [line for output in self._outputs for line in output.tail]

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def rss(self) -> int:
        """Bytes of memory it has now; 0 once it is gone."""
        try:
            pages = Path(f"/proc/{self._process.pid}/statm").read_text().split()[1]
        except (OSError, IndexError):
            return 0
        return int(pages) * os.sysconf("SC_PAGE_SIZE")

    @property
    def memory(self) -> int:
        """Bytes of memory it has, what it shares with others counted in parts; 0 once it is gone."""
        try:
            rollup = Path(f"/proc/{self._process.pid}/smaps_rollup").read_text()
        except OSError:
            return 0
        return sum(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:")) * 1024

    def _hear(self) -> bool:
        """Read the socket: what was loaded, why it wasn't, metrics, files with frames. False if there is nothing."""
        try:
            data, fds, _, _ = socket.recv_fds(self._sock, 65_536, _MOST_FILES)
        except BlockingIOError:
            return False
        except OSError:
            data, fds = b"", []
        self._files.extend(fds)
        if not data:  # it is ending, or else it can't be reached any more
            self._loop.remove_reader(self._sock)
            if not self._gone and self._timer is None:
                self._timer = self._loop.call_later(PATIENCE, self._lost)
            return False
        self._inbox += data
        try:
            if len(self._files) > _MOST_FILES:
                raise Damaged("files that no frame speaks of")
            self._understand()
        except _NONSENSE as error:
            self._distrust(error)
            return False
        return True

    def _understand(self) -> None:
        while self._inbox:
            if self._inbox[:1] == b"F":
                self._inbox = self._inbox[1:]
                continue
            kind = self._inbox[:1]
            if kind not in (b"L", b"X", b"M"):
                raise Damaged("a message of an unknown kind")
            if len(self._inbox) < 5:
                return
            length = int.from_bytes(self._inbox[1:5], "little")
            if length > (LONGEST if kind == b"M" else _MESSAGE):
                raise Damaged(f"a message of {length} bytes")
            if len(self._inbox) < 5 + length:
                return
            message = orjson.loads(self._inbox[5 : 5 + length])
            self._inbox = self._inbox[5 + length :]
            if kind == b"M":
                self._listener.measured(decode_values(message))
            elif kind == b"L":
                self._listener.loaded(message)
            else:
                self._failure = {key: str(message[key]) for key in ("reason", "hint", "traceback")}

    def _announced(self) -> None:
        with suppress(BlockingIOError):
            os.eventfd_read(self._wake_out)
        self.collect()

    def collect(self) -> None:
        """Take the frames that were counted, announced or not."""
        if self._distrusted:
            return
        try:
            count = os.eventfd_read(self._count_out)
        except BlockingIOError:
            return
        try:
            if count > MOST_FRAMES:
                raise Damaged(f"{count} frames at once")
            for _ in range(count):
                frame: bytes | memoryview = self._ring_out.read()
                frame = self._big() if frame[:1] == IN_FILE else memoryview(frame)[len(HERE) :]
                self._listener.answered(decode_answer(frame))
        except Damaged as error:
            self._distrust(error)

    def _big(self) -> memoryview:
        while not self._files and self._hear():
            pass  # it was sent before the ring was written
        if not self._files:
            raise Damaged("a big frame without a file")
        return read_file(self._files.popleft(), LARGEST)

    def _distrust(self, error: Exception) -> None:
        """Nothing that it says counts from now on."""
        self._give_up(Cause(Reason.GARBAGE, f"the worker sent what can't be read: {error}"))
        self._loop.remove_reader(self._sock)
        self._loop.remove_reader(self._wake_out)
        self._distrusted = True
        self._kill()

    def _exited(self) -> None:
        self._loop.remove_reader(self._exit)
        self._kill()  # its whole group, before its number may be another's
        code = self._process.wait()
        self._gone = True
        count = self._guard.end(self._mark)
        if not self._distrusted:
            while self._hear():
                pass
        self.collect()
        for output in self._outputs:
            output.drain()
        self._release()
        if self._failure is not None and code == LOAD_FAILED:
            self._listener.ended(Cause(Reason.LOAD_FAILED, self._failure["reason"]), self._failure)
        else:
            self._listener.ended(self._cause or self._explain(code, count), None)

    def _explain(self, code: int, count: int) -> Cause:
        """Why it ended, if nobody here has ended it. ``count`` is of processes, if the guard found too many."""
        memory, processes = self._limits
        if count:
            return Cause(Reason.PROCESSES, f"it had {count} processes, more than {processes}")
        if code == OUT_OF_MEMORY and memory:
            return Cause(Reason.OOM, f"out of memory: it reached its limit of {memory >> 20} MiB")
        return explain_exit(code, self.tail)

    def _release(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._loop.remove_reader(self._sock)
        self._loop.remove_reader(self._wake_out)
        for ring in (self._ring_in, self._ring_out):
            ring.close()
        for fd in (self._wake_in, self._count_out, self._wake_out, self._exit, *self._files):
            os.close(fd)
        self._sock.close()

    def _lost(self) -> None:
        self._give_up(Cause(Reason.GARBAGE, "it closed its way to the server"))
        self._kill()

    def _give_up(self, cause: Cause) -> None:
        """The first cause is the one that counts."""
        self._cause = self._cause or cause

    def _kill_later(self) -> None:
        if self._timer is None:
            self._timer = self._loop.call_later(PATIENCE, self._kill)

    def _kill(self) -> None:
        self._signal(signal.SIGKILL)

    def _signal(self, number: int) -> None:
        if not self._gone:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, number)


def _refuse_inside_a_worker() -> None:
    """Raises ConfigError where a model's own code starts a server with models: such a program would start itself again
    and again."""
    spec = getattr(sys.modules.get("__main__"), "__spec__", None)
    if spec is not None and spec.name == "dragoman.workers.child":
        raise ConfigError(
            "a server is started while a model's file is imported by its own worker process",
            hint='put what starts it under: if __name__ == "__main__":',
        )
