"""The envelope ``kservev2``: tensors of the Open Inference Protocol, as JSON, in and out."""

import json
from typing import Any

from dragoman.compat.need import need
from dragoman.compat.ts.torch_handler.request_envelope.base import Instances, body_of

numpy = need("numpy", "the envelope kservev2")

_DATATYPES = {
    "bool": "BOOL",
    "float16": "FP16",
    "float32": "FP32",
    "float64": "FP64",
    **{f"{kind}{bits}": f"{kind.upper()}{bits}" for kind in ("int", "uint") for bits in (8, 16, 32, 64)},
}


class KServev2Envelope(Instances):
    """Each input is a row of the handler's, and its item is the output of the same name."""

    def parse_input(self, data: Any) -> Any:
        bodies = [self._body(row) for row in data]
        self._requests = bodies
        return self.join([body["inputs"] for body in bodies])

    def format_output(self, data: Any) -> Any:
        return [self._answer(index, part) for index, part in enumerate(self.divide(data))]

    def _body(self, row: Any) -> dict[str, Any]:
        body = body_of(row)
        if isinstance(body, str | bytes | bytearray):
            body = json.loads(body)
        if not isinstance(body["inputs"], list):
            raise TypeError("inputs must be a list")
        found: dict[str, Any] = body
        return found

    def _answer(self, index: int, items: Any) -> dict[str, Any]:
        request, model = self._requests[index], self.context.manifest["model"]
        names = [each.get("name") for each in request["inputs"]]
        return {
            "id": request["id"] if "id" in request else self.context.get_request_id(index),
            "model_name": model.get("modelName", self.context.model_name),
            "model_version": model.get("modelVersion"),
            "outputs": [
                _output(names[place] if place < len(names) else f"output-{place}", item)
                for place, item in enumerate(items)
            ],
        }


def _output(name: Any, item: Any) -> dict[str, Any]:
    """A scalar is a tensor of one element."""
    array = numpy.asarray(item)
    array = array.reshape(1) if array.ndim == 0 else array
    datatype = _DATATYPES.get(array.dtype.name, "BYTES")
    return {"name": name, "datatype": datatype, "data": array.ravel().tolist(), "shape": list(array.shape)}
