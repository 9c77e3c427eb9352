"""Server processes: started on a core of their own, watched through /proc, ended. Knows no dialect."""

import os
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from types import TracebackType
from typing import Self

from wrk import Request

_TICK = 1 / os.sysconf("SC_CLK_TCK")
_PATIENCE = 60.0


def cores() -> tuple[int, int]:
    """The server's core and the client's: the same one where there is only one."""
    allowed = sorted(os.sched_getaffinity(0))
    return allowed[0], allowed[-1]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Server:
    """A running server and its children: ``with Server(command, port, cores, probe) as server``.

    It is entered when it has answered the probe, a path or a whole request, with status 200.
    """

    def __init__(
        self,
        command: Sequence[str],
        port: int,
        cores: str,
        probe: str | Request,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._command = list(command)
        self._cores = cores
        self._probe = probe
        self._environment = environment
        self.port = port
        self.seconds_to_ready = 0.0

    def __enter__(self) -> Self:
        start = time.perf_counter()
        self._errors = tempfile.TemporaryFile()
        self._process = subprocess.Popen(
            ["taskset", "-c", self._cores, *self._command],
            stdout=subprocess.DEVNULL,
            stderr=self._errors,
            env=self._environment,
            start_new_session=True,
        )
        while not self._answers():
            if self._process.poll() is not None or time.perf_counter() - start > _PATIENCE:
                raise RuntimeError(f"{' '.join(self._command)} did not start:\n{self._last_words()}")
            time.sleep(0.005)
        self.seconds_to_ready = time.perf_counter() - start
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._last_words()

    @property
    def cpu_seconds(self) -> float:
        """What the server's processes have used of a core so far, in user mode and in the kernel."""
        return sum(_cpu_seconds(pid) for pid in self._tree())

    @property
    def resident_bytes(self) -> int:
        return sum(_resident_bytes(pid) for pid in self._tree())

    def _tree(self) -> list[int]:
        found = [self._process.pid]
        for pid in found:
            for task in Path(f"/proc/{pid}/task").iterdir():
                with suppress(OSError):  # a thread that has just ended
                    found += map(int, (task / "children").read_text().split())
        return found

    def _answers(self) -> bool:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=_PATIENCE)
        probe = self._probe
        try:
            if isinstance(probe, str):
                connection.request("GET", probe)
            else:
                connection.request("POST", probe.path, probe.body, dict(probe.headers))
            return connection.getresponse().status == 200
        except (OSError, HTTPException):
            return False
        finally:
            connection.close()

    def _last_words(self) -> str:
        """End it, and whoever it has left in its session; returns the last it wrote."""
        self._process.terminate()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(_PATIENCE)
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        with self._errors as errors:
            errors.seek(0)
            return errors.read().decode(errors="replace")[-2000:]


def _cpu_seconds(pid: int) -> float:
    # The command's name is in parentheses and may hold anything; utime and stime are fields 14 and 15.
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * _TICK


def _resident_bytes(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    return 0
