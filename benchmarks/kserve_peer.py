"""KServe's own Python server with the models ``add`` and ``identity``, as its pages show them. For comparison.

Run as ``kserve_peer.py REST_PORT GRPC_PORT``.
"""

import sys
from typing import Any

from kserve import InferOutput, InferRequest, InferResponse, Model, ModelServer


def output(name: str, datatype: str, array: Any, binary: bool) -> InferOutput:
    made = InferOutput(name, list(array.shape), datatype)
    made.set_data_from_numpy(array, binary_data=binary)
    return made


class Add(Model):  # type: ignore[misc]
    def __init__(self) -> None:
        super().__init__("add")
        self.ready = True

    async def predict(self, payload: InferRequest, *_: Any, **__: Any) -> InferResponse:
        a, b = (each.as_numpy() for each in payload.inputs)
        binary = payload.use_binary_outputs
        outputs = [output("OUTPUT0", "INT32", a + b, binary), output("OUTPUT1", "INT32", a - b, binary)]
        return InferResponse(payload.id or "none", self.name, outputs)


class Identity(Model):  # type: ignore[misc]
    def __init__(self) -> None:
        super().__init__("identity")
        self.ready = True

    async def predict(self, payload: InferRequest, *_: Any, **__: Any) -> InferResponse:
        array, binary = payload.inputs[0].as_numpy(), payload.use_binary_outputs
        return InferResponse(payload.id or "none", self.name, [output("OUTPUT0", "FP32", array, binary)])


if __name__ == "__main__":
    server = ModelServer(http_port=int(sys.argv[1]), grpc_port=int(sys.argv[2]), workers=1)
    server.start([Add(), Identity()])
