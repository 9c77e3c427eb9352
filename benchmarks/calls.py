"""gRPC beside REST, beside grpc.aio and beside KServe: the same models, asked for the same."""

import sys
from collections.abc import Callable
from statistics import median
from typing import Any, Final

import grpc
import h2load
import numpy as np
from cases import ADD, HERE, IDENTITY, Case, model_folder, server
from measuring import Options, Table, measure
from processes import Server, cores, free_port

from dragoman.protocols.kserve_v2.messages import SERVICE, ModelInferRequest, ModelInferResponse

_PATH: Final = f"/{SERVICE}/ModelInfer"


def calls(options: Options) -> Table:
    """add and 1 MiB of identity over gRPC, tensors raw, beside REST, grpc.aio and KServe"""
    if not h2load.installed():
        return [{"skipped": h2load.MISSING}]
    mine, others = cores()
    rest, ours = free_port(), free_port()
    command = [*server(rest, model_folder(ADD.model), model_folder(IDENTITY.model)), "--grpc-port", str(ours)]
    with (
        Server(command, rest, f"{mine}", "/readyz") as dragoman,
        Beside("aio.py", "/") as (aio, aio_port),
        Beside("kserve_server.py", "/v2/health/ready") as (kserve, kserve_port),
    ):
        peers = {"Dragoman": (dragoman, ours), "grpc.aio": (aio, aio_port), "KServe": (kserve, kserve_port)}
        rows = []
        for case, message, loads in _CASES:
            asked = message()
            answers = {name: _ask(port, asked) for name, (_, port) in peers.items()}
            if any(answer != answers["Dragoman"] for answer in answers.values()):
                raise RuntimeError("the servers don't give the same answer")
            for connections, streams in loads:
                rounds = []
                for _ in range(options.rounds):
                    figures = {}
                    for name, (each, port) in peers.items():
                        before = each.cpu_seconds
                        load = h2load.run(port, _PATH, asked, connections, streams, options.seconds, others)
                        figures[name] = load.rate, (each.cpu_seconds - before) * 1e6 / load.requests
                    rounds.append(figures)
                found = measure(dragoman, case.request, connections * streams, options.seconds)
                row = {"case": case.name, "connections × calls": f"{connections} × {streams}"}
                rows.append(row | _figures(rounds) | {"REST CPU": round(found.cpu)})
        return rows


class Beside:
    """Another server on the same core, and its gRPC port: ``with Beside(script, probe) as (server, port)``."""

    def __init__(self, script: str, probe: str) -> None:
        http, self._port = free_port(), free_port()
        command = [sys.executable, str(HERE / script), str(http), str(self._port)]
        self._server = Server(command, http, f"{cores()[0]}", probe)

    def __enter__(self) -> tuple[Server, int]:
        return self._server.__enter__(), self._port

    def __exit__(self, *exception: Any) -> None:
        self._server.__exit__(*exception)


def _figures(rounds: list[dict[str, tuple[float, float]]]) -> dict[str, Any]:
    """Medians, and medians of the ratios within a round."""
    row: dict[str, Any] = {}
    for name in rounds[0]:
        row[f"{name} requests/s"] = round(median(each[name][0] for each in rounds))
        row[f"{name} CPU µs"] = round(median(each[name][1] for each in rounds))
    for name in list(rounds[0])[1:]:
        row[f"requests/s ÷ {name}"] = round(median(each["Dragoman"][0] / each[name][0] for each in rounds), 1)
        row[f"CPU ÷ {name}"] = round(median(each["Dragoman"][1] / each[name][1] for each in rounds), 2)
    return row


def _add() -> bytes:
    request = ModelInferRequest(model_name=ADD.model)
    for start, name in enumerate(("INPUT0", "INPUT1")):
        request.inputs.add(name=name, datatype="INT32", shape=[1, 16])
        request.raw_input_contents.append(np.arange(start, start + 16, dtype=np.int32).tobytes())
    return bytes(request.SerializeToString())


def _identity() -> bytes:
    request = ModelInferRequest(model_name=IDENTITY.model)
    request.inputs.add(name="INPUT0", datatype="FP32", shape=[262_144])
    request.raw_input_contents.append(np.arange(262_144, dtype=np.float32).tobytes())
    return bytes(request.SerializeToString())


def _ask(port: int, message: bytes) -> list[bytes]:
    """The answer's tensors."""
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        answer = channel.unary_unary(_PATH)(message, timeout=60, wait_for_ready=True)
        return list(ModelInferResponse.FromString(answer).raw_output_contents)


#: What is asked, and by how many connections with how many calls open on each.
_CASES: Final[tuple[tuple[Case, Callable[[], bytes], tuple[tuple[int, int], ...]], ...]] = (
    (ADD, _add, ((1, 32), (32, 1), (1, 1))),
    (IDENTITY, _identity, ((1, 4), (4, 1), (1, 1))),
)
