"""Why a worker died: told once, in words, and kept for whoever asks. Knows no process."""

import secrets
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

#: What a signal usually means.
_SIGNALS = {
    "SIGKILL": "killed from outside, most often because memory ran out",
    "SIGSEGV": "native code used memory that isn't its own",
    "SIGABRT": "native code gave up",
    "SIGBUS": "native code used memory that went away",
    "SIGILL": "native code for another processor",
    "SIGFPE": "native code divided by zero",
    "SIGTERM": "asked to stop from outside",
}


@dataclass(frozen=True, slots=True)
class CrashReport:
    """One death. ``requests`` are the ids it took with it, ``output`` its last lines, ``rss`` its last known bytes."""

    model: str
    version: str
    instance: int
    cause: str
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
            "cause": self.cause,
            "requests": list(self.requests),
            "rss_bytes": self.rss,
            "output": list(self.output),
        }


def explain_exit(code: int) -> str:
    """An exit code as Python's subprocess gives it, in words: negative ones are signals."""
    if code >= 0:
        return f"the process ended with exit code {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        return f"the process was ended by signal {-code}"
    meaning = f" ({_SIGNALS[name]})" if name in _SIGNALS else ""
    return f"the process was ended by {name}{meaning}"
