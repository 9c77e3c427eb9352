"""KServe's own server with the models ``add`` and ``identity``, written as its guide says. For comparison.

Run as ``kserve_server.py HTTP_PORT GRPC_PORT``.
"""

import sys
from typing import Any

import numpy as np
from kserve import InferOutput, InferRequest, InferResponse, Model, ModelServer


class Add(Model):  # type: ignore[misc]
    def predict(
        self, payload: InferRequest, headers: Any = None, response_headers: Any = None
    ) -> InferResponse:
        a, b = (tensor.as_numpy() for tensor in payload.inputs)
        return _answer(self.name, payload, OUTPUT0=a + b, OUTPUT1=a - b)


class Identity(Model):  # type: ignore[misc]
    def predict(
        self, payload: InferRequest, headers: Any = None, response_headers: Any = None
    ) -> InferResponse:
        return _answer(self.name, payload, OUTPUT0=payload.inputs[0].as_numpy())


def _answer(name: str, request: InferRequest, **arrays: np.ndarray[Any, Any]) -> InferResponse:
    outputs = []
    for output, array in arrays.items():
        datatype = "INT32" if array.dtype == np.int32 else "FP32"
        outputs.append(InferOutput(output, list(array.shape), datatype))
        outputs[-1].set_data_from_numpy(array, binary_data=True)
    return InferResponse(response_id=request.id, model_name=name, infer_outputs=outputs)


if __name__ == "__main__":
    models: list[Any] = [Add("add"), Identity("identity")]
    for model in models:
        model.ready = True
    ModelServer(http_port=int(sys.argv[1]), grpc_port=int(sys.argv[2]), workers=1).start(models)
