"""One server a user: the file that tells its process, locked while the server lives. Knows no server.

The lock decides, not the number in the file: a server that was killed holds none, and no other process can be
taken for it.
"""

import contextlib
import fcntl
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from dragoman.errors import ConfigError

_FLAGS: Final = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
_POLL: Final = 0.05


class PidFile:
    """``take`` it to be the server, ask for its ``holder`` to stop one."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor = -1

    def take(self) -> bool:
        """Become the one server, or learn that there is one. What a fork does with it is its children's, too."""
        while True:
            descriptor = self._open(os.O_CREAT)
            if not _lock(descriptor):
                os.close(descriptor)
                return False
            if self._is_there(descriptor):
                self._descriptor = descriptor
                return True
            os.close(descriptor)  # the one before us took the file away with it

    def write(self) -> None:
        """Tell this process's number."""
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, str(os.getpid()).encode(), 0)

    def release(self) -> None:
        """Take the file away. The lock stays until the process ends, for whoever waits for that."""
        self.path.unlink(missing_ok=True)

    def close(self) -> None:
        """Leave it to the other processes that have it."""
        os.close(self._descriptor)
        self._descriptor = -1

    def holder(self) -> "Holder | None":
        """The server that runs, ``None`` without one. Raises ConfigError where it can't be told."""
        try:
            descriptor = self._open(0)
        except FileNotFoundError:
            return None
        text = os.pread(descriptor, 32, 0).decode("ascii", "replace")
        if _lock(descriptor) or not text.isdigit():
            os.close(descriptor)
            return None
        return Holder(int(text), descriptor)

    def _open(self, flags: int) -> int:
        try:
            descriptor = os.open(self.path, _FLAGS | flags, 0o600)
        except FileNotFoundError:
            raise
        except OSError as error:
            raise ConfigError(f"can't open {self.path}: {error.strerror}") from error
        if os.fstat(descriptor).st_uid != os.geteuid():
            os.close(descriptor)
            raise ConfigError(
                f"{self.path} belongs to another user", hint="set TMPDIR to a folder of your own"
            )
        return descriptor

    def _is_there(self, descriptor: int) -> bool:
        with contextlib.suppress(FileNotFoundError):
            found, ours = os.stat(self.path, follow_symlinks=False), os.fstat(descriptor)
            return (found.st_dev, found.st_ino) == (ours.st_dev, ours.st_ino)
        return False


class Holder:
    """The process that has the file."""

    def __init__(self, pid: int, descriptor: int) -> None:
        self.pid = pid
        self._descriptor = descriptor

    def wait(self, seconds: float, pause: Callable[[float], None] = time.sleep) -> bool:
        """Whether its process ends before so much time has passed. Called once."""
        try:
            for _ in range(max(1, int(seconds / _POLL))):
                if _lock(self._descriptor):
                    return True
                pause(_POLL)
            return False
        finally:
            os.close(self._descriptor)


def _lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
