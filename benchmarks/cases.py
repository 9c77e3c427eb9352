"""What is measured: for each case a request, who sends it, and the command lines of the two servers."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import orjson
from wrk import Request

HERE: Final = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Case:
    """One request to one model, from several numbers of connections in turn."""

    name: str
    text: str
    model: str
    request: Request
    connections: Sequence[int]


def server(port: int, *targets: Path) -> list[str]:
    """The command line of Dragoman, as an operator has it: with metrics, limits and routes."""
    return [
        sys.executable,
        "-m",
        "dragoman",
        "serve",
        *map(str, targets),
        "--port",
        str(port),
        "--grpc-port",
        "0",
    ]


def floor(model: str, port: int) -> list[str]:
    return [sys.executable, str(HERE / "floor.py"), model, str(port)]


def model_folder(model: str) -> Path:
    return HERE / "models" / model


def small_onnx() -> bytes:
    """A linear classifier of four numbers into three classes."""
    from onnx import TensorProto, helper, numpy_helper

    weights = np.linspace(-1, 1, 12, dtype=np.float32).reshape(4, 3)
    nodes = [
        helper.make_node("MatMul", ["features", "weights"], ["scores"]),
        helper.make_node("Softmax", ["scores"], ["probabilities"]),
    ]
    features = helper.make_tensor_value_info("features", TensorProto.FLOAT, ["rows", 4])
    probabilities = helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["rows", 3])
    graph = helper.make_graph(
        nodes, "classifier", [features], [probabilities], [numpy_helper.from_array(weights, "weights")]
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(model.SerializeToString())


def _json(model: str, *inputs: str) -> Request:
    tensors = [
        {"name": name, "datatype": "INT32", "shape": [1, 16], "data": list(range(start, start + 16))}
        for start, name in enumerate(inputs)
    ]
    body = orjson.dumps({"inputs": tensors})
    return Request(f"/v2/models/{model}/infer", body, {"Content-Type": "application/json"})


def _binary(model: str, elements: int) -> Request:
    data = np.arange(elements, dtype=np.float32).tobytes()
    tensor = {
        "name": "INPUT0",
        "datatype": "FP32",
        "shape": [elements],
        "parameters": {"binary_data_size": len(data)},
    }
    head = orjson.dumps({"inputs": [tensor], "parameters": {"binary_data_output": True}})
    headers = {"Content-Type": "application/octet-stream", "Inference-Header-Content-Length": str(len(head))}
    return Request(f"/v2/models/{model}/infer", head + data, headers)


CASES: Final = (
    Case(
        "add",
        "two INT32 [1, 16] as JSON, their sum and difference back",
        "add",
        _json("add", "INPUT0", "INPUT1"),
        (8, 64),
    ),
    Case(
        "identity-1MiB",
        "FP32 [262144] as binary data, there and back",
        "identity",
        _binary("identity", 262_144),
        (1, 4),
    ),
    Case(
        "batching",
        "a model that takes 2 ms + 10 µs a row, in batches of up to 32",
        "batching",
        _json("batching", "INPUT0"),
        (32,),
    ),
)
ADD: Final = CASES[0]
IDENTITY: Final = CASES[1]
