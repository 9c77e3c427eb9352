"""Has the kernel killed for memory? Only what it counts is evidence: a SIGKILL alone says nothing."""

import re
from pathlib import Path
from typing import Final

_CGROUP: Final = Path("/proc/self/cgroup")
_ROOT: Final = Path("/sys/fs/cgroup")
_MACHINE: Final = Path("/proc/vmstat")
_COUNT: Final = re.compile(r"^oom_kill (\d+)$", re.MULTILINE)


def find_counter(cgroup: Path = _CGROUP, root: Path = _ROOT, machine: Path = _MACHINE) -> Path | None:
    """The file that counts such kills, as near to this process as there is one: its cgroup's, or the machine's."""
    try:
        lines = [line.split(":", 2) for line in cgroup.read_text().splitlines()]
    except OSError:
        lines = []
    files = []
    for _, controllers, path in lines:
        if "memory" in controllers.split(","):  # version 1
            files += [root / "memory" / path.lstrip("/") / "memory.oom_control"]
            files += [root / "memory" / "memory.oom_control"]  # a container sees its own as the root
        elif not controllers:
            files += [root / path.lstrip("/") / "memory.events"]
    return next((file for file in (*files, machine) if count_kills(file) is not None), None)


def count_kills(counter: Path | None) -> int | None:
    """How many there have been; ``None`` where nobody counts."""
    try:
        found = _COUNT.search(counter.read_text()) if counter is not None else None
    except OSError:
        return None
    return int(found[1]) if found is not None else None
