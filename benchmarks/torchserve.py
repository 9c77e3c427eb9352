"""The same archives served by ``dragoman torchserve`` and by TorchServe itself, if there is one.

Both read one config.properties but for its ports, have one worker a model, ask nobody for a key and measure no
host. A JVM compiles what is used, so there are two rows for each archive: one for servers that were started just now
and have had a second of load, and one for servers that have had ten. Without a TorchServe the columns about it
stay empty:

    python -m venv ts && ts/bin/pip install torchserve==0.12.0 torch torch-model-archiver psutil pyyaml
    TORCHSERVE_PYTHON=ts/bin/python python benchmarks/run.py --cases torchserve
"""

import os
import shutil
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, Final

from cases import HERE
from measuring import Options, Round, Table, measure
from processes import Server, cores, free_port
from wrk import Request, run

from dragoman.repository.pack import Contents, pack

_HANDLERS: Final = HERE / "models" / "handlers"
_BODY: Final = b"[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16]"
_CONFIGURATION: Final = """
default_workers_per_model=1
disable_system_metrics=true
"""
#: Seconds of load before the first figure: of servers that were just started, and of such as have been up for a while.
_FRESH: Final = 1
_WARM: Final = 10


@dataclass(frozen=True, slots=True)
class Load:
    """An archive, and how many ask it at once."""

    archive: str
    connections: int

    @property
    def request(self) -> Request:
        return Request(f"/predictions/{self.archive}", _BODY, {"Content-Type": "application/json"})


_LOADS: Final = (Load("echo", 8), Load("slow", 32))


def find() -> Path | None:
    """The ``torchserve`` beside TORCHSERVE_PYTHON, or the one on the PATH; ``None`` without one or without Java."""
    python = os.environ.get("TORCHSERVE_PYTHON")
    found = str(Path(python).parent / "torchserve") if python else shutil.which("torchserve")
    return Path(found) if found and Path(found).exists() and shutil.which("java") else None


def torchserve(options: Options) -> Table:
    """archives: an echo with 8 connections, 2 ms + 10 µs an item in batches of up to 32 with 32 connections"""
    rows: Table = []
    for load in _LOADS:
        with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
            store = Path(folder, "store")
            store.mkdir()
            for each in _LOADS:
                _archive(each.archive, store)
            servers = [stack.enter_context(_ours(Path(folder, "ours"), store))]
            if options.torchserve is not None:
                servers.append(
                    stack.enter_context(_theirs(options.torchserve, Path(folder, "theirs"), store))
                )
            rows += [
                _compare(load, servers, _FRESH, 1, options.seconds),
                _compare(load, servers, _WARM, options.rounds, options.seconds),
            ]
    return rows


def torchserve_start(options: Options) -> Table:
    """from the command to the first answered prediction of an echo archive, and memory then"""
    rows: dict[str, list[tuple[float, int]]] = {}
    for number in range(min(options.rounds, 3)):
        with tempfile.TemporaryDirectory() as folder:
            store = Path(folder, "store")
            store.mkdir()
            _archive("echo", store)
            servers = {"dragoman": _ours(Path(folder, "ours"), store)}
            if options.torchserve is not None:
                servers["torchserve"] = _theirs(options.torchserve, Path(folder, f"theirs{number}"), store)
            for name, server in servers.items():
                with server:
                    rows.setdefault(name, []).append((server.seconds_to_ready, server.resident_bytes))
    return [
        {
            "server": name,
            "seconds": round(median(seconds for seconds, _ in found), 2),
            "resident MiB": round(median(resident for _, resident in found) / 2**20),
        }
        for name, found in rows.items()
    ]


def _compare(load: Load, servers: Sequence[Server], warm: int, times: int, seconds: int) -> dict[str, Any]:
    for server in servers:
        run(server.port, load.request, load.connections, warm, cores()[1])
    rounds = [
        [measure(server, load.request, load.connections, seconds) for server in servers] for _ in range(times)
    ]

    def of(place: int, figure: str, digits: int | None = None) -> float | str:
        if place >= len(servers):
            return "–"
        found: float = median(getattr(each[place], figure) for each in rounds)
        return round(found, digits)

    def ratio(figure: str) -> float | str:
        return round(median(_ratio(each, figure) for each in rounds), 2) if len(servers) > 1 else "–"

    return {
        "archive": load.archive,
        "connections": load.connections,
        "warm-up s": warm,
        "requests/s": of(0, "rate"),
        "torchserve": of(1, "rate"),
        "ratio": ratio("rate"),
        "p50 µs": of(0, "p50"),
        "torchserve p50": of(1, "p50"),
        "p99 µs": of(0, "p99"),
        "torchserve p99": of(1, "p99"),
        "CPU µs": of(0, "cpu"),
        "torchserve CPU": of(1, "cpu"),
        "CPU ratio": ratio("cpu"),
    }


def _ratio(pair: Sequence[Round], figure: str) -> float:
    ours, theirs = pair
    return float(getattr(ours, figure) / getattr(theirs, figure))


def _archive(name: str, store: Path) -> None:
    """Packs the handler, with the settings beside it if it has some."""
    settings = _HANDLERS / f"{name}.yaml"
    contents = Contents(
        model_name=name,
        version="1.0",
        handler=str(_HANDLERS / f"{name}.py"),
        config_file=str(settings) if settings.exists() else "",
    )
    pack(contents, store, "default", force=False)


def _ours(folder: Path, store: Path) -> Server:
    return _server([sys.executable, "-m", "dragoman", "torchserve"], folder, store, dict(os.environ))


def _theirs(command: Path, folder: Path, store: Path) -> Server:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return _server([str(command.parent / "python"), str(command), "--start"], folder, store, environment)


def _server(command: Sequence[str], folder: Path, store: Path, environment: dict[str, str]) -> Server:
    """A server of every archive in the store whose files all lie in ``folder``; ready when it has answered."""
    folder.mkdir()
    port = free_port()
    ports = {"inference": port, "management": free_port(), "metrics": free_port()}
    lines = [f"{name}_address=http://127.0.0.1:{number}" for name, number in ports.items()]
    lines += [f"grpc_{name}_port={free_port()}" for name in ("inference", "management")]
    configuration = folder / "config.properties"
    configuration.write_text("\n".join(lines) + _CONFIGURATION)
    flags = ["--foreground", "--ncs", "--disable-token-auth", "--ts-config", str(configuration)]
    flags += ["--model-store", str(store), "--models", "all"]
    environment |= {"TMPDIR": str(folder), "TEMP": str(folder)}
    environment |= {"LOG_LOCATION": str(folder / "logs"), "METRICS_LOCATION": str(folder / "logs")}
    probe = Load("echo", 1).request
    return Server([*command, *flags], port, str(cores()[0]), probe, environment)
