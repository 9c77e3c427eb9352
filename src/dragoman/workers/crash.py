"""Why a worker died: told once, in words and by name, and kept for whoever asks. Knows no process."""

import secrets
import signal
import time
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

#: Reports that are kept of each model.
KEPT: Final = 10


class Reason(StrEnum):
    """Why a worker process ended: a closed set, for metrics and programs."""

    EXIT = "exit"  #: it ended itself
    SIGKILL = "sigkill"
    SIGSEGV = "sigsegv"
    SIGABRT = "sigabrt"
    SIGBUS = "sigbus"
    SIGILL = "sigill"
    SIGFPE = "sigfpe"
    SIGTERM = "sigterm"
    SIGNAL = "signal"  #: any other one
    OOM = "oom"  #: it reached its memory limit, or the kernel needed its memory
    TIMEOUT = "timeout"  #: no answer within response_timeout
    PROCESSES = "processes"  #: it had more processes than max_processes
    GARBAGE = "garbage"  #: it sent what can't be read
    REPLICA = "replica"  #: it ran in a cluster, which has told that it is gone
    LOAD_FAILED = "load_failed"  #: the process that was to take a dead one's place could not load
    RECYCLED = "recycled"  #: it was worn out, and was replaced without anybody noticing


@dataclass(frozen=True, slots=True)
class Cause:
    """The reason for an end, and the same in words."""

    reason: Reason
    words: str


#: Signals that have a reason of their own, and what they usually mean.
_SIGNALS: Final = {
    "SIGKILL": (Reason.SIGKILL, "killed from outside"),
    "SIGSEGV": (Reason.SIGSEGV, "native code used memory that isn't its own"),
    "SIGABRT": (Reason.SIGABRT, "native code gave up"),
    "SIGBUS": (Reason.SIGBUS, "native code used memory that went away"),
    "SIGILL": (Reason.SIGILL, "native code for another processor"),
    "SIGFPE": (Reason.SIGFPE, "native code divided by zero"),
    "SIGTERM": (Reason.SIGTERM, "asked to stop from outside"),
}
#: What C++ says when it finds no memory, before it aborts.
_NO_MEMORY: Final = "std::bad_alloc"
_LAST_WORDS: Final = 10


@dataclass(frozen=True, slots=True)
class CrashReport:
    """One death. ``requests`` are the ids it took with it, ``output`` its last lines, ``rss`` its last known bytes."""

    model: str
    version: str
    instance: int
    cause: Cause
    output: Sequence[str] = ()
    requests: Sequence[str] = ()
    rss: int = 0
    id: str = field(default_factory=lambda: secrets.token_hex(4))
    time: float = field(default_factory=time.time)

    def for_clients(self) -> dict[str, Any]:
        """The report as JSON, without what is nobody's business outside."""
        return {
            "id": self.id,
            "time": self.time,
            "model": self.model,
            "version": self.version,
            "instance": self.instance,
            "reason": self.cause.reason.value,
            "cause": self.cause.words,
            "requests": list(self.requests),
            "rss_bytes": self.rss,
            "output": list(self.output),
        }


class Exits:
    """How the processes of one model ended: the newest reports, and how many ended for each reason."""

    def __init__(self) -> None:
        self.reports: deque[CrashReport] = deque(maxlen=KEPT)
        self._counts: Counter[str] = Counter({reason.value: 0 for reason in Reason})

    def count(self, reason: Reason) -> None:
        self._counts[reason.value] += 1

    def count_in(self, counts: Counter[str]) -> None:
        """From now on these are the numbers; what was counted before is added to them."""
        counts.update(self._counts)
        self._counts = counts


def explain_exit(code: int, output: Sequence[str] = ()) -> Cause:
    """An exit code as Python's subprocess gives it, negative for signals, and the last lines that were printed."""
    if code >= 0:
        return Cause(Reason.EXIT, f"the process ended with exit code {code}")
    try:
        name = signal.Signals(-code).name
    except ValueError:
        return Cause(Reason.SIGNAL, f"the process was ended by signal {-code}")
    if name == "SIGABRT" and any(_NO_MEMORY in line for line in output[-_LAST_WORDS:]):
        return Cause(Reason.OOM, "out of memory: native code found none, and gave up")
    reason, meaning = _SIGNALS.get(name, (Reason.SIGNAL, ""))
    return Cause(reason, f"the process was ended by {name}{f' ({meaning})' if meaning else ''}")
