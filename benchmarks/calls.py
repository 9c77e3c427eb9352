"""gRPC beside grpc.aio, KServe's server and our own REST: the same models, asked for the same answers."""

import importlib.util
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from statistics import median
from typing import Any, Final

import grpc
import h2load
import numpy as np
from cases import ADD, HERE, IDENTITY, Case, model_folder, server
from measuring import Options, Table, measure
from processes import Server, cores, free_port

from dragoman.protocols.kserve_v2.messages import SERVICE, ModelInferRequest, ModelInferResponse
from dragoman.types import Array

_PATH: Final = f"/{SERVICE}/ModelInfer"
_WHOLE: Final = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
#: What is asked; connections, and calls that each has open.
_LOADS: Final = ((ADD, 1, 32), (ADD, 32, 1), (IDENTITY, 1, 1), (IDENTITY, 4, 1))


@dataclass(frozen=True, slots=True)
class Peer:
    """A server with a gRPC port; its processes are watched."""

    name: str
    server: Server
    port: int


def calls(options: Options) -> Table:
    """add and identity-1MiB over gRPC with raw tensors, beside grpc.aio, KServe's server and REST"""
    if not h2load.installed():
        return [{"skipped": h2load.MISSING}]
    with ExitStack() as stack:
        peers = list(_start(stack))
        for case in (ADD, IDENTITY):
            answers = [_ask(peer.port, _message(case)) for peer in peers]
            if any(answer != answers[0] for answer in answers):
                raise RuntimeError(f"{case.name}: the servers don't give the same answer")
        return [_row(peers, *load, options) for load in _LOADS]


def _start(stack: ExitStack) -> Iterator[Peer]:
    """The servers, ours first; ``stack`` ends them."""
    core = str(cores()[0])
    scripts = {"grpc.aio": "aio.py"}
    if importlib.util.find_spec("kserve") is not None:
        scripts["KServe"] = "kserve_peer.py"
    probe, port = free_port(), free_port()
    models = (model_folder(ADD.model), model_folder(IDENTITY.model))
    command = [*server(probe, *models), "--grpc-port", str(port)]
    yield Peer("ours", stack.enter_context(Server(command, probe, core, "/readyz")), port)
    for name, script in scripts.items():
        probe, port = free_port(), free_port()
        command = [sys.executable, str(HERE / script), str(probe), str(port)]
        yield Peer(name, stack.enter_context(Server(command, probe, core, "/")), port)


def _row(peers: list[Peer], case: Case, connections: int, streams: int, options: Options) -> dict[str, Any]:
    message = _message(case)
    rounds = [
        [_measure(peer, message, connections, streams, options.seconds) for peer in peers]
        for _ in range(options.rounds)
    ]
    row: dict[str, Any] = {"case": case.name, "load": f"{connections} × {streams}"}
    for place, peer in enumerate(peers):
        row["requests/s" if not place else peer.name] = round(median(each[place][0] for each in rounds))
        if place:
            row[f"ratio to {peer.name}"] = round(median(each[0][0] / each[place][0] for each in rounds), 1)
    for place, peer in enumerate(peers):
        row["CPU µs" if not place else f"{peer.name} CPU"] = round(median(each[place][1] for each in rounds))
    rest = measure(peers[0].server, case.request, connections * streams, options.seconds)
    return {**row, "REST CPU": round(rest.cpu)}


def _measure(peer: Peer, message: bytes, connections: int, streams: int, seconds: int) -> tuple[float, float]:
    """Answers a second, and CPU for each in microseconds."""
    before = peer.server.cpu_seconds
    load = h2load.run(peer.port, _PATH, message, connections, streams, seconds, cores()[1])
    return load.rate, (peer.server.cpu_seconds - before) * 1e6 / load.requests


def _message(case: Case) -> bytes:
    request = ModelInferRequest(model_name=case.model)
    inputs: dict[str, Array] = {"INPUT0": np.arange(262_144, dtype=np.float32)}
    if case is ADD:
        inputs = {f"INPUT{n}": np.arange(n, n + 16, dtype=np.int32).reshape(1, 16) for n in (0, 1)}
    for name, array in inputs.items():
        request.inputs.add(name=name, datatype="INT32" if case is ADD else "FP32", shape=array.shape)
        request.raw_input_contents.append(array.tobytes())
    return bytes(request.SerializeToString())


def _ask(port: int, message: bytes) -> list[bytes]:
    """The tensors of an answer."""
    with grpc.insecure_channel(f"127.0.0.1:{port}", _WHOLE) as channel:
        answer = channel.unary_unary(_PATH)(message, timeout=60, wait_for_ready=True)
        return list(ModelInferResponse.FromString(answer).raw_output_contents)
