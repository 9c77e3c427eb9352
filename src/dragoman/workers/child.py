"""A worker process from the inside: loads one runtime, answers batches until the server closes the socket.

Started with ``python -m dragoman.workers.child``, the numbers of inherited files (SOCKET RING_IN RING_OUT WAKE_IN
COUNT_OUT WAKE_OUT ORDER) and the server's pid. Standard output and error belong to the model. Never outlives it.
"""

import asyncio
import atexit
import ctypes
import gc
import json
import logging
import os
import resource
import select
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Final, NoReturn

from dragoman.errors import ConfigError, InvalidOutput, PredictionFailed
from dragoman.model_metrics import Value
from dragoman.runtimes.base import Artifact, Emit, Runtime
from dragoman.runtimes.table import runtime_class
from dragoman.scheduling.scheduler import Outcome
from dragoman.types import InferRequest, InferResponse
from dragoman.workers import sweep
from dragoman.workers.execution import execute, execute_concurrently
from dragoman.workers.frames import Frame
from dragoman.workers.introduction import introduce
from dragoman.workers.messages import decode_requests, encode_outcomes, encode_part
from dragoman.workers.reporting import Reporter, encode_values
from dragoman.workers.shared import BIG, HERE, IN_FILE, LARGEST, Ring, read_file, write_file
from dragoman.workers.stepping import serve_steps
from dragoman.workers.talking import Encode, serve_talk

PR_SET_PDEATHSIG: Final = 1  # linux/prctl.h
#: Exit codes that say what happened: the server reads them.
ORPHANED: Final = 101
LOAD_FAILED: Final = 102
OUT_OF_MEMORY: Final = 103
#: How much sooner than the server this process is chosen when memory runs out.
OOM_SCORE: Final = "500"
#: Bytes of one batch: the server's own limits have seen them before.
MOST_ASKED: Final = 1 << 40
#: Seconds that an answer may wait for the next one, so that one announcement does for both.
_A_MOMENT: Final = 0.0002
#: Characters of a failure's story that are told.
_STORY: Final = 65_536


class Line:
    """The way to the server: frames through a ring or a file, single messages through the socket.

    Answers are counted at once and announced together: when there is nothing more to do, or when the first of them
    has waited for a moment.
    """

    def __init__(
        self, sock: socket.socket, ring_in: Ring, ring_out: Ring, wake_in: int, count_out: int, wake_out: int
    ) -> None:
        self._sock = sock
        self._ring_in, self._ring_out = ring_in, ring_out
        self._wake_in, self._count_out, self._wake_out = wake_in, count_out, wake_out
        self._waiting = 0  # frames that lie in the ring
        self._unannounced = 0.0  # when the first of the answers that were not announced was sent
        self._lock = threading.Lock()
        self._poll = select.poll()
        self._poll.register(wake_in, select.POLLIN)

    def next(self) -> bytes | memoryview:
        """Wait for the next frame."""
        if not self._waiting:
            if self._unannounced:
                self._announce()
            self._poll.poll()
            self._waiting = os.eventfd_read(self._wake_in)
        return self._take()

    @property
    def wake_in(self) -> int:
        """Readable when frames have come."""
        return self._wake_in

    def arrived(self) -> Iterator[bytes | memoryview]:
        """Those that have come, without waiting for more."""
        with suppress(BlockingIOError):
            self._waiting += os.eventfd_read(self._wake_in)
        while self._waiting:
            yield self._take()

    def _take(self) -> bytes | memoryview:
        self._waiting -= 1
        frame = self._ring_in.read()
        if frame[:1] != IN_FILE:
            return memoryview(frame)[len(HERE) :]
        _, fds, _, _ = socket.recv_fds(self._sock, 1, 1)
        return read_file(fds[0], MOST_ASKED)

    def send(self, frame: Frame, *, at_once: bool = True) -> None:
        """Send a frame; models may do that from threads of their own."""
        with self._lock:
            if frame.size < BIG:
                self._ring_out.write([HERE, *frame.pieces], frame.size + len(HERE))
            else:
                fd = write_file(frame.pieces, frame.size)
                try:
                    socket.send_fds(self._sock, [b"F"], [fd])
                finally:
                    os.close(fd)
                self._ring_out.write([IN_FILE], len(IN_FILE))
            os.eventfd_write(self._count_out, 1)
        now = time.perf_counter()
        self._unannounced = self._unannounced or now
        if at_once or now - self._unannounced > _A_MOMENT:
            self._announce()

    def _announce(self) -> None:
        self._unannounced = 0.0
        os.eventfd_write(self._wake_out, 1)

    def tell(self, kind: bytes, message: Any) -> None:
        """Send one message outside of the ring, length first."""
        text = json.dumps(message, default=str).encode()
        with self._lock:
            self._sock.sendall(kind + len(text).to_bytes(4, "little") + text)


def main(arguments: Sequence[str]) -> None:
    *fds, parent = map(int, arguments)
    _die_with(parent)
    sweep.carry(os.environ[sweep.MARK])
    for fd in fds:
        os.set_inheritable(fd, False)  # what the model starts has no business with them
    control, ring_in, ring_out, wake_in, count_out, wake_out, order_file = fds
    sock = socket.socket(fileno=control)
    order: dict[str, Any] = json.loads(bytes(read_file(order_file, LARGEST)))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the server decides
    line = Line(sock, Ring(ring_in), Ring(ring_out), wake_in, count_out, wake_out)
    _limit(order)
    try:
        runtime = _load(order)
    except BaseException as error:
        line.tell(b"X", _failure(error))
        os._exit(LOAD_FAILED)
    _log()
    line.tell(b"L", introduce(runtime))
    reporter = None if runtime.metrics is None else Reporter(runtime.metrics, partial(_report, line))
    gc.freeze()
    code: object = 0
    try:
        if runtime.talks:
            emit, encode = _speak(line, order["max_output"])
            serve_talk(line, runtime, partial(_rotten, order=order), emit, encode)
            runtime.close()
        elif runtime.concurrent:
            runtime.finish(_serve_concurrently(line, runtime, order))
            runtime.close()
        elif runtime.continuous:
            serve_steps(line, runtime, partial(_rotten, order=order))
            runtime.close()
        else:
            _serve(line, runtime, order)
    except MemoryError as error:
        sys.stderr.write(_story(error))
        os._exit(OUT_OF_MEMORY if order["max_memory"] else 1)
    except SystemExit as error:
        code = error.code
    if reporter is not None:
        reporter.close()
    _exit(code)


def _exit(code: object) -> NoReturn:
    """End as ``sys.exit(code)`` does, but without waiting for threads that the model has left running."""
    atexit._run_exitfuncs()
    if not isinstance(code, int | None):
        sys.stderr.write(f"{code}\n")
        code = 1
    os._exit((code or 0) & 0xFF)


def _serve(line: Line, runtime: Runtime, order: dict[str, Any]) -> None:
    served = 0
    fatal = (SystemExit, MemoryError) if order["max_memory"] else (SystemExit,)
    while True:
        frame = line.next()
        if not frame:  # an empty frame is the word to go
            runtime.close()
            return
        number, requests = decode_requests(frame)
        del frame
        started = time.perf_counter()
        outcomes = execute(runtime, requests, partial(_emit, line, number, order["max_output"]), fatal)
        seconds = time.perf_counter() - started
        served += len(requests)
        rotten = _rotten(outcomes, served, order)
        answer = _encode(number, outcomes, seconds, rotten, order["max_output"])
        line.send(answer, at_once=False)
        del requests, outcomes


async def _serve_concurrently(line: Line, runtime: Runtime, order: dict[str, Any]) -> None:
    """Start every batch as it comes, on the runtime's event loop; answers go as they are ready."""
    tasks: set[asyncio.Task[None]] = set()
    leaving = asyncio.Event()
    served = 0

    async def answer(number: int, requests: Sequence[InferRequest]) -> None:
        nonlocal served
        started = time.perf_counter()
        emit = partial(_emit, line, number, order["max_output"])
        outcomes = await execute_concurrently(runtime, requests, emit)
        seconds = time.perf_counter() - started
        served += len(requests)
        rotten = _rotten(outcomes, served, order)
        line.send(_encode(number, outcomes, seconds, rotten, order["max_output"]))

    def hear() -> None:
        for frame in line.arrived():
            if not frame:
                leaving.set()
                return
            task = asyncio.create_task(answer(*decode_requests(frame)))
            tasks.add(task)
            task.add_done_callback(tasks.discard)

    asyncio.get_running_loop().add_reader(line.wake_in, hear)
    await leaving.wait()


def _speak(line: Line, most: int) -> tuple[Callable[[int], Emit], Encode]:
    """How a model that talks hands out parts of the answer to a batch, and answers it."""
    return lambda number: partial(_emit, line, number, most), partial(_encode, most=most)


def _emit(line: Line, number: int, most: int, place: int, response: InferResponse) -> None:
    part = encode_part(number, place, response)
    if part.size > most:
        raise InvalidOutput(f"a part of the answer has {part.size} bytes, the most are {most}")
    line.send(part)


def _encode(number: int, outcomes: Sequence[Outcome], seconds: float, rotten: str, most: int) -> Frame:
    """The answer to a batch; in it, an answer to one request that has more than ``most`` bytes is invalid."""
    answer = encode_outcomes(number, outcomes, seconds, rotten)
    if answer.size <= most:
        return answer
    return encode_outcomes(number, [_bound(outcome, most) for outcome in outcomes], seconds, rotten)


def _bound(outcome: Outcome, most: int) -> Outcome:
    size = encode_outcomes(0, [outcome], 0.0).size
    return InvalidOutput(f"it has {size} bytes, the most are {most}") if size > most else outcome


def _report(line: Line, values: Sequence[Value]) -> None:
    with suppress(OSError):  # the server has gone, and this process is about to
        for message in encode_values(values):
            line.tell(b"M", message)


def _rotten(outcomes: Sequence[Outcome], served: int, order: dict[str, Any]) -> str:
    """Why this process should be replaced, or nothing."""
    if order["max_requests"] and served >= order["max_requests"]:
        return f"{served} requests served"
    if order["max_rss"] and (rss := _rss()) > order["max_rss"]:
        return f"{rss >> 20} MiB of memory in use"
    if order["max_memory"] and any(isinstance(o, PredictionFailed) and o.status == 507 for o in outcomes):
        return "a handler found no memory"  # and goes on, as with TorchServe: 507 is what that is told by
    return ""


def _load(order: dict[str, Any]) -> Runtime:
    sys.path[:0] = [path for path in order["sys_path"] if path not in sys.path]
    document = order["artifact"]
    if document["path"] is not None:
        document["path"] = Path(document["path"])
    return runtime_class(order["runtime"]).load(Artifact(**document))


def _failure(error: BaseException) -> dict[str, str]:
    told = isinstance(error, ConfigError)
    reason = str(error) if told else f"{type(error).__name__}: {error}"
    if isinstance(error, SystemExit):
        reason = f"the model's code called sys.exit({error.code!r}) while it loaded"
    return {
        "reason": reason[:_STORY],
        "hint": error.hint[:_STORY] if isinstance(error, ConfigError) else "",
        "traceback": "" if told and error.__cause__ is None else _story(error)[-_STORY:],
    }


def _story(error: BaseException) -> str:
    return "".join(traceback.format_exception(error))


class _WithId(logging.Formatter):
    """A failure that a client was told the id of is found by it."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        text = super().formatMessage(record)
        failure = record.__dict__.get("id")
        return f"{text} [{failure}]" if failure else text


def _log() -> None:
    """What is logged here is the model's output."""
    handler = logging.StreamHandler()
    handler.setFormatter(_WithId("%(message)s"))
    logging.basicConfig(handlers=[handler], level=logging.INFO)


def _limit(order: dict[str, Any]) -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if order["max_memory"]:  # data, not address space: libraries map much more than they use
        resource.setrlimit(resource.RLIMIT_DATA, (order["max_memory"], order["max_memory"]))
    with suppress(OSError):  # waking it up does not stop the server, which has more to send
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    with suppress(OSError):  # a container may forbid it, and other systems don't have it
        Path("/proc/self/oom_score_adj").write_text(OOM_SCORE)


def _die_with(parent: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(ORPHANED)


def _rss() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


if __name__ == "__main__":
    main(sys.argv[1:])
