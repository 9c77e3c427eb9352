"""Answers that are there already beside a model that takes 5 ms: from the store, and from the cache in memory."""

import json
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Any, Final

import wrk
from cases import model_folder, server
from measuring import Options, Round, Table, measure
from processes import Server, cores, free_port

_MODEL: Final = "five"
_CONNECTIONS: Final = 8
_ROW: Final = [list(range(16))]
_BODY: Final = json.dumps(
    {"inputs": [{"name": "INPUT0", "datatype": "INT32", "shape": [1, 16], "data": _ROW}]}
).encode()
_REQUEST: Final = wrk.Request(f"/v2/models/{_MODEL}/infer", _BODY, {"Content-Type": "application/json"})


def stored(options: Options) -> Table:
    """a model of 5 ms asked itself, answered from the store of predictions, and from the cache, in turns"""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        store = Path(folder, "predictions.db")
        _predict(store, Path(folder))
        servers = {
            "the model": _start(stack),
            "predictions": _start(stack, "--predictions-store", str(store)),
            "cache": _start(stack, "--response-cache"),
        }
        for each in servers.values():
            wrk.run(each.port, _REQUEST, _CONNECTIONS, 1, cores()[1])
        rounds = [
            {name: measure(each, _REQUEST, _CONNECTIONS, options.seconds) for name, each in servers.items()}
            for _ in range(options.rounds)
        ]
    return [_row(name, rounds) for name in servers]


def _predict(store: Path, folder: Path) -> None:
    """Have the answer made ahead, as an operator does."""
    rows = folder / "rows.jsonl"
    rows.write_text(json.dumps(_ROW) + "\n")
    command = [sys.executable, "-m", "dragoman", "predict", "--model", _MODEL, "--input", str(rows)]
    command += ["--model-path", str(model_folder(_MODEL)), "--store", str(store)]
    subprocess.run(command, check=True, capture_output=True)


def _start(stack: ExitStack, *flags: str) -> Server:
    port = free_port()
    command = [*server(port, model_folder(_MODEL)), *flags]
    return stack.enter_context(Server(command, port, str(cores()[0]), "/readyz"))


def _row(name: str, rounds: list[dict[str, Round]]) -> dict[str, Any]:
    return {
        "answered by": name,
        "requests/s": round(median(each[name].rate for each in rounds)),
        "ratio": round(median(each[name].rate / each["the model"].rate for each in rounds), 1),
        "p50 µs": round(median(each[name].p50 for each in rounds)),
        "p99 µs": round(median(each[name].p99 for each in rounds)),
        "CPU µs": round(median(each[name].cpu for each in rounds), 1),
    }
