"""Measures Dragoman beside its floor, on this machine, now: `python benchmarks/run.py`.

The server has one core and wrk another. Server and floor take turns, round after round; a ratio is the median
of the rounds' ratios, for what else the machine does weighs on both. Figures that were taken apart say little
and are not compared with any: nothing here passes or fails.
"""

import argparse
import importlib.util
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from http.client import HTTPConnection
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any, Final

import rooms
import torchserve
import wrk
from border import border
from calls import calls
from cases import ADD, CASES, HERE, Case, floor, model_folder, server, small_onnx
from measuring import Options, Table, measure
from processes import Server, cores, free_port
from program import program
from stored import stored

_PACKAGES: Final = ("dragoman", "uvloop", "httptools", "orjson", "numpy")
_READY: Final = "/readyz"
#: Clients that ask once and stay, and clients that send one byte a second.
_IDLE: Final = 1000
_SLOW: Final = 1000


def main() -> int:
    names = [*(case.name for case in CASES), *_OTHERS]
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--cases", nargs="+", choices=names, default=names, metavar="CASE", help=", ".join(names)
    )
    parser.add_argument("--rounds", type=int, default=5, help="times that each server is measured")
    parser.add_argument("--seconds", type=int, default=2, help="length of a measurement")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures here too")
    parser.add_argument(
        "--torchserve",
        type=Path,
        metavar="PATH",
        default=torchserve.find(),
        help="a torchserve command to compare",
    )
    chosen = parser.parse_args()
    if not wrk.installed():
        print(wrk.MISSING, file=sys.stderr)
        return 1
    options = Options(chosen.rounds, chosen.seconds, chosen.torchserve)
    facts = machine()
    print("  ".join(f"{name} {fact}" for name, fact in facts.items()), end="\n\n")
    results: dict[str, Table] = {}
    for name in chosen.cases:
        case = next((case for case in CASES if case.name == name), None)
        table = compare(case, options) if case is not None else _OTHERS[name](options)
        results[name] = table
        print(name, "-", case.text if case is not None else (_OTHERS[name].__doc__ or "").splitlines()[0])
        print(render(table), end="\n\n", flush=True)
    if chosen.json:
        chosen.json.write_text(
            json.dumps(
                {"machine": facts, "options": asdict(options), "cases": results}, indent=2, default=str
            )
        )
    return 0


def machine() -> dict[str, str]:
    """What the figures depend on."""
    mine, others = cores()
    return {
        "cores": f"{os.cpu_count()} (server on {mine}, wrk on {others})",
        "load": " ".join(f"{load:.1f}" for load in os.getloadavg()),
        "kernel": platform.release(),
        "python": platform.python_version(),
        **{package: version(package) for package in _PACKAGES},
    }


def compare(case: Case, options: Options) -> Table:
    """Server and floor in turns; a row for each number of connections."""
    mine, others = cores()
    our_port, floor_port = free_port(), free_port()
    with (
        Server(server(our_port, model_folder(case.model)), our_port, f"{mine}", _READY) as ours,
        Server(floor(case.model, floor_port), floor_port, f"{mine}", "/") as bare,
    ):
        check_same(case, our_port, floor_port)
        for warm in (ours, bare):
            wrk.run(warm.port, case.request, max(case.connections), 1, others)
        return [_compare(case, connections, options, ours, bare) for connections in case.connections]


def _compare(case: Case, connections: int, options: Options, ours: Server, bare: Server) -> dict[str, Any]:
    pairs = [
        (
            measure(ours, case.request, connections, options.seconds),
            measure(bare, case.request, connections, options.seconds),
        )
        for _ in range(options.rounds)
    ]

    def of(server: int, figure: str) -> float:
        return float(median(getattr(pair[server], figure) for pair in pairs))

    return {
        "connections": connections,
        "requests/s": round(of(0, "rate")),
        "floor": round(of(1, "rate")),
        "ratio": round(median(a.rate / b.rate for a, b in pairs), 2),
        "p50 µs": round(of(0, "p50")),
        "floor p50": round(of(1, "p50")),
        "p99 µs": round(of(0, "p99")),
        "floor p99": round(of(1, "p99")),
        "CPU µs": round(of(0, "cpu"), 1),
        "floor CPU": round(of(1, "cpu"), 1),
        "CPU ratio": round(median(a.cpu / b.cpu for a, b in pairs), 2),
    }


def check_same(case: Case, *ports: int) -> None:
    """Raises RuntimeError unless both give the same answer: a floor that does less measures nothing."""
    ours, bare = (ask(port, case.request) for port in ports)
    if ours != bare:
        raise RuntimeError(f"{case.name}: the server answers {ours!r:.300}, the floor {bare!r:.300}")


def ask(port: int, request: wrk.Request) -> tuple[int, Any, bytes]:
    """The answer's status, its JSON and the binary data behind it."""
    connection = HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request("POST", request.path, request.body, dict(request.headers))
        answer = connection.getresponse()
        body = answer.read()
    finally:
        connection.close()
    length = int(answer.headers.get("Inference-Header-Content-Length", len(body)))
    return answer.status, json.loads(body[:length]), body[length:]


def idle(options: Options) -> Table:
    """one small ONNX model: memory at rest, and how long until it answers"""
    missing = [name for name in ("onnx", "onnxruntime") if importlib.util.find_spec(name) is None]
    if missing:
        return [{"skipped": f"needs {' and '.join(missing)}: pip install 'dragoman[demo]'"}]
    seconds, resident = [], []
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder, "classifier.onnx")
        model.write_bytes(small_onnx())
        for _ in range(options.rounds):
            port = free_port()
            with Server(server(port, model), port, str(cores()[0]), _READY) as ours:
                seconds.append(ours.seconds_to_ready)
                time.sleep(0.5)
                resident.append(ours.resident_bytes)
    row = {"seconds to ready": round(median(seconds), 2), "resident MiB": round(median(resident) / 2**20, 1)}
    return [row]


def crowd(options: Options) -> Table:
    """four busy connections to add, alone and beside 1,000 silent and 1,000 slow ones"""
    mine, others = cores()
    port = free_port()
    alone, beside, reports = [], [], []
    with Server(server(port, model_folder(ADD.model)), port, f"{mine}", _READY) as ours:
        wrk.run(port, ADD.request, 4, 1, others)
        for _ in range(min(options.rounds, 3)):
            alone.append(measure(ours, ADD.request, 4, options.seconds))
            command = [sys.executable, str(HERE / "crowd.py"), str(port), str(_IDLE), str(_SLOW)]
            with subprocess.Popen(
                ["taskset", "-c", str(others), *command],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            ) as clients:
                assert clients.stdout is not None
                clients.stdout.readline()
                time.sleep(1)  # until the last of them has sent its first byte
                beside.append(measure(ours, ADD.request, 4, options.seconds))
                time.sleep(max(0.0, 13 - options.seconds))  # the slow ones have 10 s for their heads
                reports.append(json.loads(clients.communicate()[0]))
    slow = [report["slow_seconds"] for report in reports if report["slow_seconds"]]
    row: dict[str, Any] = {}
    for figure in ("p50", "p99"):
        row[f"{figure} µs"] = round(median(getattr(each, figure) for each in alone))
        row[f"{figure} in crowd"] = round(median(getattr(each, figure) for each in beside))
        ratios = [getattr(b, figure) / getattr(a, figure) for a, b in zip(alone, beside, strict=True)]
        row[f"{figure} ratio"] = round(median(ratios), 2)
    row["slow gone after s"] = "–".join(f"{f(life[i] for life in slow):.1f}" for f, i in ((min, 0), (max, 2)))
    row["slow left"] = max(report["slow_alive"] for report in reports)
    row["idle closed"] = max(report["idle_closed"] for report in reports)
    return [row]


def in_rooms(options: Options) -> Table:
    """what one add request costs in each room of the server, in bytecodes of this Python"""
    return rooms.count(ADD.request, model_folder(ADD.model))


_OTHERS: Final[dict[str, Callable[[Options], Table]]] = {
    "idle": idle,
    "crowd": crowd,
    "rooms": in_rooms,
    "border": border,
    "grpc": calls,
    "stored": stored,
    "kserve": program,
    "torchserve": torchserve.torchserve,
    "torchserve-start": torchserve.torchserve_start,
}


def render(table: Table) -> str:
    """Columns under their names, to the right."""
    rows: list[Sequence[str]] = [
        list(table[0]),
        *(
            [f"{value:,}" if isinstance(value, int) else str(value) for value in row.values()]
            for row in table
        ),
    ]
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    return "\n".join(
        "  ".join(text.rjust(width) for text, width in zip(row, widths, strict=True)) for row in rows
    )


if __name__ == "__main__":
    sys.exit(main())
