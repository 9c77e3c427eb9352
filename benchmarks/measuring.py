"""One server under load, once: what every case is made of. Knows no case."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import wrk
from processes import Server, cores

Table = list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Options:
    rounds: int
    seconds: int
    torchserve: Path | None = None  #: the command of a TorchServe to be measured beside ours


@dataclass(frozen=True, slots=True)
class Round:
    """One server under load once: answers a second, latencies and CPU for each answer in microseconds."""

    rate: float
    p50: int
    p99: int
    cpu: float


def measure(server: Server, request: wrk.Request, connections: int, seconds: int) -> Round:
    before = server.cpu_seconds
    load = wrk.run(server.port, request, connections, seconds, cores()[1])
    cpu = (server.cpu_seconds - before) * 1e6 / load.requests
    return Round(load.rate, load.p50, load.p99, cpu)
