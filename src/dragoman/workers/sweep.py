"""Finds what a model has started, wherever it hides, and ends it. Also the guard's program: imports no other of ours.

What belongs to a worker carries its mark twice: in its environment, and, since a program may be started with another
environment, in two limits that every process inherits and nobody sets, on pending signals and on message queues.

The guard is told by the server, a line each: ``watch MARK MOST`` before a worker starts, and ``end MARK`` when it has
ended. It ends what that worker has left behind; a worker that has more than MOST processes, with all of them, after it
has told ``MARK COUNT``; and everything when the server is gone, however that happens.
"""

import os
import re
import resource
import select
import signal
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from typing import Final

#: The environment variable that carries a mark: ``<server's mark>.<worker's mark>``, sixteen hexadecimal digits each.
MARK: Final = "DRAGOMAN_WORKER"
#: The limits that carry it, and how /proc tells them.
_CARRIERS: Final = [getattr(resource, f"RLIMIT_{name}", -1) for name in ("SIGPENDING", "MSGQUEUE")]
_TOLD: Final = re.compile(
    rb"^Max pending signals +(\d+).*^Max msgqueue size +(\d+)", re.MULTILINE | re.DOTALL
)
#: A limit that is lower than this carries nothing; one without end is taken for this high. None is halved.
_LOWEST: Final = 4_096
_HIGHEST: Final = 1 << 30
#: Passes over all processes, at most: one may start another while it is looked for.
_PASSES: Final = 100
#: Seconds between two looks at how many processes the system has started.
_TICK: Final = 0.1
#: The part of its time that the guard may spend on counting.
_SHARE: Final = 0.1
#: It has to get its turn among thousands. Only root may be that bold.
_NICE: Final = -10


def carry(mark: str) -> None:
    """Let this process, and all that it starts, be found by ``mark``."""
    for carrier, value in zip(_CARRIERS, _limits_of(mark), strict=False):
        resource.setrlimit(carrier, (value, resource.getrlimit(carrier)[1]))


def kill(marks: Iterable[str]) -> None:
    """End every process that carries one of these marks, or one that begins with it."""
    search = Search(marks)
    for _ in range(_PASSES):
        left = [pid for pids in search.run().values() for pid in pids if not _ended(pid)]
        if not left:
            return
        _kill(left)


class Search:
    """Looks for several marks at once."""

    def __init__(self, marks: Iterable[str]) -> None:
        self._texts = {mark: f"{MARK}={mark}".encode() for mark in marks}
        self._limits = {limits: mark for mark in self._texts if (limits := _limits_of(mark))}

    def run(self) -> dict[str, list[int]]:
        """The processes that carry each mark, those that have ended and were not collected among them."""
        found: dict[str, list[int]] = {mark: [] for mark in self._texts}
        for pid in _processes():
            mark = self._mark_of(pid)
            if mark is not None:
                found[mark].append(pid)
        return found

    def _mark_of(self, pid: int) -> str | None:
        told = _TOLD.search(_read(f"{pid}/limits"))
        limits = (int(told[1]), int(told[2])) if told else ()
        if limits in self._limits:
            return self._limits[limits]
        environment = _read(f"{pid}/environ")
        return next((mark for mark, text in self._texts.items() if text in environment), None)


def _limits_of(mark: str) -> tuple[int, ...]:
    """What the carriers are set to for a worker's mark; nothing where they can't carry it."""
    digits = mark.partition(".")[2]
    most = [_most(resource.getrlimit(carrier)[1]) for carrier in _CARRIERS]
    if not digits or min(most) < _LOWEST:
        return ()
    seeds = int(digits[:8], 16), int(digits[8:], 16)
    return tuple(limit - 1 - seed % (limit // 2) for limit, seed in zip(most, seeds, strict=True))


def _most(limit: int) -> int:
    return _HIGHEST if limit == resource.RLIM_INFINITY else limit


def _kill(pids: Sequence[int]) -> None:
    """Whole groups at once where their first process is among these: a group can't grow while it is ended."""
    for pid in pids:
        with suppress(OSError):  # gone already
            if os.getpgid(pid) == pid:
                os.killpg(pid, signal.SIGKILL)
    for pid in pids:
        with suppress(OSError):
            os.kill(pid, signal.SIGKILL)


def _processes() -> Iterator[int]:
    own = os.getpid()
    return (int(name) for name in os.listdir("/proc") if name.isdigit() and int(name) != own)


def _ended(pid: int) -> bool:
    return _read(f"{pid}/stat").rpartition(b")")[2].split()[:1] in ([], [b"Z"], [b"X"])


def _read(name: str) -> bytes:
    try:
        with open(f"/proc/{name}", "rb", buffering=0) as file:
            return file.read()
    except OSError:  # gone already, or somebody else's
        return b""


class _Guard:
    """The guard at work."""

    def __init__(self, server: str) -> None:
        self._server = server
        self._most: dict[str, int] = {}
        self._inbox = b""
        self._newest = _newest()
        self._highest = int(_read("sys/kernel/pid_max") or _HIGHEST)
        self._begun = 0  # processes and threads that the system has started since the last count
        self._room = 0  # as many may begin until it is worth while to count again
        self._rest = 0.0  # no count before this time

    def run(self, end: int) -> None:
        """Work until the server is gone: ``end`` is its pidfd, which tells even if its end of the pipe lives on."""
        told = sys.stdin.fileno()
        poll = select.poll()
        for fd in (told, end):
            poll.register(fd, select.POLLIN)
        while True:
            counting = any(self._most.values())
            ready = {fd for fd, _ in poll.poll(_TICK * 1000 if counting else None)}
            gone = not self._hear() if told in ready else end in ready
            if gone:
                kill([*self._most, self._server])
                return
            if counting:
                self._look()

    def _hear(self) -> bool:
        """Do what the server says; false when it has closed its end."""
        data = os.read(sys.stdin.fileno(), 65_536)
        *lines, self._inbox = (self._inbox + data).split(b"\n")
        ended = []
        for line in lines:
            word, mark, *most = line.decode().split()
            if word == "watch":
                self._most[mark] = int(most[0])
                self._room = 0
            else:
                self._most.pop(mark, None)
                ended.append(mark)
        if ended:
            kill(ended)
        return bool(data)

    def _look(self) -> None:
        """Count only if so much has been started since the last time that it may matter."""
        newest = _newest()
        self._begun += (newest - self._newest) % self._highest
        self._newest = newest
        start = time.monotonic()
        if self._begun >= self._room and start >= self._rest:
            self._count()
            self._rest = start + (time.monotonic() - start) / _SHARE

    def _count(self) -> None:
        self._begun = 0
        self._room = _HIGHEST
        for mark, pids in Search(self._most).run().items():
            most = self._most[mark]
            if most and len(pids) > most:
                with suppress(OSError):  # nobody listens any more
                    os.write(sys.stdout.fileno(), f"{mark} {len(pids)}\n".encode())
                _kill(pids)
                kill([mark])
            elif most:
                self._room = min(self._room, most - len(pids) + 1)


def _newest() -> int:
    """The number of the process or thread that was started last."""
    return int((_read("loadavg").split() or [b"0"])[-1])


def _main(mark: str, server: int) -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, _NICE)
    try:
        end = os.pidfd_open(server)
    except ProcessLookupError:  # it is gone already: so is its end of the pipe
        end = sys.stdin.fileno()
    _Guard(mark).run(end)


if __name__ == "__main__":
    _main(sys.argv[1], int(sys.argv[2]))
