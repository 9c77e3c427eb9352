"""Unpacked TorchServe models, and requests as the TorchServe dialect hands them to a runtime."""

import json
from pathlib import Path
from textwrap import dedent
from typing import Any

import numpy as np

from dragoman.runtimes.base import Artifact
from dragoman.runtimes.torchserve import TorchServeRuntime
from dragoman.types import InferRequest, InferResponse, Tensor


def unpack(directory: Path, *, manifest: dict[str, Any] | None = None, **files: str) -> Path:
    """A model's directory: ``handler="..."`` is the file handler.py; the manifest names it."""
    directory.mkdir(exist_ok=True)
    for name, code in files.items():
        (directory / f"{name}.py").write_text(dedent(code))
    model = {"modelName": "m", "modelVersion": "1.0", "handler": "handler.py", **(manifest or {})}
    (directory / "MAR-INF").mkdir(exist_ok=True)
    (directory / "MAR-INF" / "MANIFEST.json").write_text(json.dumps({"runtime": "python", "model": model}))
    return directory


def load(directory: Path, *, trusted: bool = True, **options: Any) -> TorchServeRuntime:
    return TorchServeRuntime.load(Artifact("m", "1.0", directory, options=options, trusted=trusted))


def part(name: str, data: bytes, content_type: str = "") -> Tensor:
    array = np.empty(1, dtype=object)
    array[0] = data
    return Tensor(name, "BYTES", array, {"content_type": content_type})


def post(
    body: bytes | str = b"", content_type: str = "", *, id: str = "r1", explain: str = "False", **headers: str
) -> InferRequest:
    """A request with one body."""
    data = body.encode() if isinstance(body, str) else body
    return form(part("body", data, content_type), id=id, explain=explain, **headers)


def post_json(value: Any, **more: Any) -> InferRequest:
    return post(json.dumps(value), "application/json", **more)


def form(*parts: Tensor, id: str = "r1", **headers: str) -> InferRequest:
    given = {name.replace("_", "-") if name[0].isupper() else name: value for name, value in headers.items()}
    return InferRequest("m", parts, id=id, parameters={"headers": given})


def raw(response: InferResponse) -> bytes:
    """The body of an answer."""
    (tensor,) = response.outputs
    assert (tensor.name, tensor.datatype, tensor.shape) == ("body", "BYTES", (1,))
    data = tensor.data[0]
    assert isinstance(data, bytes)
    return data


def answer(runtime: TorchServeRuntime, request: InferRequest) -> Any:
    """The JSON that a request is answered with."""
    return json.loads(raw(runtime.execute(request)))
