"""What no worker may leave behind, told to a process of its own that survives the server: the guard.

A worker dies with its server by the kernel's hand, but not what the model has started in sessions of its own; and a
model that starts processes without end must be stopped by somebody who is not busy. What the guard does: ``sweep``.
"""

import atexit
import os
import secrets
import subprocess
import sys
from contextlib import suppress
from typing import Final

from dragoman.workers import sweep

#: Seconds that the guard has for its last search when the server ends in order.
_PATIENCE: Final = 5.0


class Guard:
    """The guard of one server process, and what it was told."""

    def __init__(self) -> None:
        self.mark = secrets.token_hex(8)  #: what the marks of all workers of this server begin with
        self._watched: dict[str, int] = {}
        self._counts: dict[str, int] = {}
        self._inbox = b""
        self._start()

    def watch(self, most: int) -> str:
        """A mark for a new worker, which may have so many processes at once; 0 is no limit. Raises OSError."""
        if self._process.poll() is not None:
            self._close()
            self._start()
            for mark in self._watched:
                self._tell(f"watch {mark} {self._watched[mark]}")
        mark = f"{self.mark}.{secrets.token_hex(8)}"
        self._watched[mark] = most
        self._tell(f"watch {mark} {most}")
        return mark

    def end(self, mark: str) -> int:
        """The worker has ended: end what it left behind. How many processes it had, if that was too many, or 0."""
        del self._watched[mark]
        count = self._heard(mark)
        if not self._tell(f"end {mark}"):
            sweep.kill([mark])
        return count

    def dismiss(self) -> None:
        """The server ends. What its workers left behind is looked for once more."""
        self._close()
        try:
            self._process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _start(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", sweep.__file__, self.mark, str(os.getpid())],
            bufsize=0,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            os.set_blocking(pipe.fileno(), False)

    def _close(self) -> None:
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            pipe.close()

    def _tell(self, line: str) -> bool:
        assert self._process.stdin is not None
        data = f"{line}\n".encode()
        try:
            return os.write(self._process.stdin.fileno(), data) == len(data)
        except OSError:  # somebody has killed it, or it can't keep up
            return False

    def _heard(self, mark: str) -> int:
        """What the guard said of this worker before it ended it."""
        assert self._process.stdout is not None
        with suppress(OSError):
            self._inbox += os.read(self._process.stdout.fileno(), 65_536)
        *lines, self._inbox = self._inbox.split(b"\n")
        for line in lines:
            name, count = line.decode().split()
            self._counts[name] = int(count)
        return self._counts.pop(mark, 0)


_guards: dict[int, Guard] = {}  # one for each process, by its number


def get() -> Guard:
    """The guard of this process, started when it is wanted first. Raises OSError."""
    if os.getpid() not in _guards:
        atexit.register(_dismiss, os.getpid())
        _guards[os.getpid()] = Guard()
    return _guards[os.getpid()]


def _dismiss(pid: int) -> None:
    if pid == os.getpid() and pid in _guards:
        _guards.pop(pid).dismiss()
