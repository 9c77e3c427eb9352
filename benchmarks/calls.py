"""gRPC beside REST, and beside grpc.aio: the same model, asked for the same sum."""

import sys
from statistics import median
from typing import Any, Final

import grpc
import h2load
import numpy as np
from cases import ADD, HERE, model_folder, server
from measuring import Options, Table, measure
from processes import Server, cores, free_port

from dragoman.protocols.kserve_v2.messages import SERVICE, ModelInferRequest

_PATH: Final = f"/{SERVICE}/ModelInfer"
#: Connections, and calls that each has open.
_LOADS: Final = ((1, 32), (32, 1), (1, 1))


def calls(options: Options) -> Table:
    """add over gRPC with raw tensors, beside the same over REST and beside grpc.aio"""
    if not h2load.installed():
        return [{"skipped": h2load.MISSING}]
    mine, others = cores()
    rest, ours, probe, theirs = (free_port() for _ in range(4))
    command = [*server(rest, model_folder(ADD.model)), "--grpc-port", str(ours)]
    aio = [sys.executable, str(HERE / "aio.py"), str(probe), str(theirs)]
    with Server(command, rest, f"{mine}", "/readyz") as dragoman, Server(aio, probe, f"{mine}", "/") as bare:
        message = _message()
        if _ask(ours, message) != _ask(theirs, message):
            raise RuntimeError("the two servers don't give the same answer")
        rows = []
        for connections, streams in _LOADS:
            pairs = []
            for _ in range(options.rounds):
                pair = []
                for each, port in ((dragoman, ours), (bare, theirs)):
                    before = each.cpu_seconds
                    load = h2load.run(port, _PATH, message, connections, streams, options.seconds, others)
                    pair.append((load.rate, (each.cpu_seconds - before) * 1e6 / load.requests))
                pairs.append(pair)
            found = measure(dragoman, ADD.request, connections * streams, options.seconds)
            rows.append(_row(f"{connections} × {streams}", pairs, found.rate, found.cpu))
        return rows


def _row(
    load: str, pairs: list[list[tuple[float, float]]], rest_rate: float, rest_cpu: float
) -> dict[str, Any]:
    def of(server: int, figure: int) -> float:
        return median(pair[server][figure] for pair in pairs)

    return {
        "connections × calls": load,
        "requests/s": round(of(0, 0)),
        "grpc.aio": round(of(1, 0)),
        "ratio": round(median(ours[0] / aio[0] for ours, aio in pairs), 1),
        "CPU µs": round(of(0, 1)),
        "grpc.aio CPU": round(of(1, 1)),
        "CPU ratio": round(median(ours[1] / aio[1] for ours, aio in pairs), 2),
        "REST requests/s": round(rest_rate),
        "REST CPU": round(rest_cpu),
    }


def _message() -> bytes:
    request = ModelInferRequest(model_name=ADD.model)
    for start, name in enumerate(("INPUT0", "INPUT1")):
        request.inputs.add(name=name, datatype="INT32", shape=[1, 16])
        request.raw_input_contents.append(np.arange(start, start + 16, dtype=np.int32).tobytes())
    return bytes(request.SerializeToString())


def _ask(port: int, message: bytes) -> bytes:
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        answer: bytes = channel.unary_unary(_PATH)(message, timeout=60, wait_for_ready=True)
        return answer
