"""One program of KServe's Python API, served by KServe and, unchanged, by Dragoman in KServe's place."""

import importlib.util
import os
import sys
from collections.abc import Callable
from contextlib import ExitStack
from statistics import median
from typing import Any, Final

import h2load
from calls import _PATH, _message
from cases import ADD, HERE
from measuring import Options, Table, measure
from processes import Server, cores, free_port
from wrk import run

_PROGRAM: Final = str(HERE / "kserve_peer.py")
#: A rate, and CPU for each answer in microseconds.
Figure = tuple[float, float]


def program(options: Options) -> Table:
    """kserve_peer.py run by Dragoman and by KServe: add over REST and gRPC, each on one core"""
    if importlib.util.find_spec("kserve") is None:
        return [{"skipped": "needs KServe: pip install kserve"}]
    core = str(cores()[0])
    with ExitStack() as stack:
        servers, ports = [], []
        for command in ([sys.executable, "-m", "dragoman", "run", "--as", "kserve"], [sys.executable]):
            rest, grpc = free_port(), free_port()
            line = [*command, _PROGRAM, str(rest), str(grpc)]
            servers.append(stack.enter_context(Server(line, rest, core, "/", dict(os.environ))))
            ports.append(grpc)
        for server in servers:
            run(server.port, ADD.request, 8, 1, cores()[1])
        rows = [_row(f"REST, {n} connections", servers, _rest(n, options), options) for n in (8, 32)]
        if h2load.installed():
            rows.append(_row("gRPC, 1 × 32", servers, _grpc(ports, servers, options), options))
    return rows


def _rest(connections: int, options: Options) -> Callable[[Server], Figure]:
    def figure(server: Server) -> Figure:
        found = measure(server, ADD.request, connections, options.seconds)
        return found.rate, found.cpu

    return figure


def _grpc(ports: list[int], servers: list[Server], options: Options) -> Callable[[Server], Figure]:
    def figure(server: Server) -> Figure:
        before = server.cpu_seconds
        port = ports[servers.index(server)]
        load = h2load.run(port, _PATH, _message(ADD), 1, 32, options.seconds, cores()[1])
        return load.rate, (server.cpu_seconds - before) * 1e6 / load.requests

    return figure


def _row(
    name: str, servers: list[Server], figure: Callable[[Server], Figure], options: Options
) -> dict[str, Any]:
    rounds = [[figure(server) for server in servers] for _ in range(options.rounds)]
    return {
        "load": name,
        "requests/s": round(median(ours[0] for ours, _ in rounds)),
        "KServe": round(median(theirs[0] for _, theirs in rounds)),
        "ratio": round(median(ours[0] / theirs[0] for ours, theirs in rounds), 1),
        "CPU µs": round(median(ours[1] for ours, _ in rounds)),
        "KServe CPU": round(median(theirs[1] for _, theirs in rounds)),
    }
