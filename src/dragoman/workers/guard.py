"""What is left to do when a server is killed: a process of its own that ends what the workers have left behind.

A worker dies with its server by the kernel's hand, but not what the model has started in sessions of its own. All of
it carries the server's mark in its environment. This file is also the guard's program: it imports no other of ours.
"""

import atexit
import os
import secrets
import select
import signal
import subprocess
import sys
from contextlib import suppress
from typing import Final

#: The environment variable by which what belongs to a worker is found: ``<server's mark>.<worker's mark>``.
MARK: Final = "DRAGOMAN_WORKER"
#: Passes over all processes: one may start another while it is looked for.
_PASSES: Final = 5

_guards: dict[int, tuple[str, "subprocess.Popen[bytes]"]] = {}  # one for each process, by its number


def watch() -> str:
    """See to it that this process is watched; what it starts must carry the mark that this returns."""
    known = _guards.get(os.getpid())
    mark = known[0] if known is not None else secrets.token_hex(8)
    if known is None:
        atexit.register(_dismiss, os.getpid())
    if known is None or known[1].poll() is not None:
        _guards[os.getpid()] = (mark, _start(mark))
    return mark


def _dismiss(pid: int) -> None:
    """A server that ends in order has ended its workers, and needs no guard."""
    if pid == os.getpid():
        guard = _guards[pid][1]
        guard.kill()
        guard.wait()


def kill_marked(mark: str) -> None:
    """End every process whose mark is this one or begins with it."""
    wanted = f"{MARK}={mark}".encode()
    for _ in range(_PASSES):
        if not sum(_kill_if_marked(int(name), wanted) for name in os.listdir("/proc") if name.isdigit()):
            return


def _kill_if_marked(pid: int, wanted: bytes) -> bool:
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            if wanted not in file.read():
                return False
        os.kill(pid, signal.SIGKILL)
    except OSError:  # gone already, or somebody else's
        return False
    return True


def _start(mark: str) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [sys.executable, "-I", "-S", __file__, mark, str(os.getpid())],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def _main(mark: str, server: int) -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    with suppress(ProcessLookupError):
        end = os.pidfd_open(server)
        if os.getppid() == server:
            poll = select.poll()
            poll.register(end, select.POLLIN)
            poll.poll()
    kill_marked(mark)


if __name__ == "__main__":
    _main(sys.argv[1], int(sys.argv[2]))
