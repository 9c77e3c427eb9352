"""A handler's items as answers: bytes for those who sent a body, tensors for those who sent tensors."""

import io
import json
import re
import sys
from typing import Any, Final

import numpy as np
import orjson

from dragoman.compat.ts.context import RequestProcessor
from dragoman.errors import DragomanError, ModelFailed, PredictionFailed
from dragoman.runtimes.convert import select, to_undeclared
from dragoman.runtimes.torchserve.rows import is_whole
from dragoman.types import DTYPES, InferRequest, InferResponse, Tensor

UNSERIALIZABLE: Final = "Unsupported model output data type."
_PLAIN: Final = frozenset({dict, list, int, float, bool})
_INDENTED: Final = (
    orjson.OPT_INDENT_2
    | orjson.OPT_PASSTHROUGH_DATACLASS
    | orjson.OPT_PASSTHROUGH_DATETIME
    | orjson.OPT_PASSTHROUGH_SUBCLASS
)
_DOUBTFUL: Final = re.compile(rb"\de|0\.0000|\d{17}\.|null|\x7f")


def to_response(
    request: InferRequest, version: str, item: Any, said: RequestProcessor, final: bool = True
) -> InferResponse:
    """One item as the answer, or part of the answer, to ``request``. PredictionFailed when it can't be written."""
    if not is_whole(request):
        if (
            said.get_response_status_code() >= 400
        ):  # tensors have no status: to their dialects this is a failure
            text = item if isinstance(item, str) else said.get_response_status_phrase()
            raise PredictionFailed(text or "Prediction failed", said.get_response_status_code())
        outputs = to_tensors(item)
        if request.outputs:
            wanted = {tensor.name for tensor in select(outputs, request)}
            outputs = tuple([tensor for tensor in outputs if tensor.name in wanted])
        return InferResponse(request.model, version, outputs, request.id, final=final)
    headers = {str(name): str(value) for name, value in said.get_response_headers().items()}
    parameters: dict[str, Any] = {
        "status": said.get_response_status_code(),
        "reason": said.get_response_status_phrase(),
        "headers": headers,
    }
    for name in [name for name in headers if name.lower() == "content-type"]:
        parameters["content_type"] = headers.pop(name)
    body = Tensor("body", "BYTES", _one(encode(item)))
    return InferResponse(request.model, version, (body,), request.id, parameters, final)


def note_ended(response: InferResponse, said: RequestProcessor, header: str) -> InferResponse:
    """The answer with a note of the sequences that the handler ends: their ids are in this header of its answer."""
    ids = said.get_response_header(header)
    if ids and response.parameters:
        response.parameters["ended_sequences"] = [name.strip() for name in str(ids).split(";")]
    return response


def encode(item: Any) -> bytes:
    """Bytes as they are, text as UTF-8, a tensor as PyTorch saves it, all else as indented JSON."""
    if isinstance(item, bytes | bytearray):
        return bytes(item)
    if isinstance(item, str):
        return item.encode()
    torch: Any = sys.modules.get("torch")
    if torch is not None and isinstance(item, torch.Tensor):
        buffer = io.BytesIO()
        torch.save(item, buffer)
        return buffer.getvalue()
    text = _indented(item)
    if text is not None:
        return text
    try:
        return json.dumps(item, indent=2).encode()
    except (TypeError, ValueError) as error:
        raise PredictionFailed(UNSERIALIZABLE) from error


def _indented(item: Any) -> bytes | None:
    """What ``json.dumps(item, indent=2)`` writes, many times as fast; ``None`` where the two might differ.

    orjson writes characters beyond ASCII as they are, exponents shorter, numbers that are none as null, and objects
    that JSON has no words for.
    """
    if type(item) not in _PLAIN:
        return None
    try:
        text = orjson.dumps(item, _refuse, _INDENTED)
    except orjson.JSONEncodeError:
        return None
    return text if text.isascii() and not _DOUBTFUL.search(text) else None


def _refuse(item: Any) -> Any:
    raise TypeError


def to_tensors(item: Any) -> tuple[Tensor, ...]:
    """The item's ``outputs``, or what it is as the tensor ``output-0``.

    Arrays and lists of numbers are numbers; text is text; the rest is JSON. KServe's ``predictions`` are rows.
    """
    if isinstance(item, dict) and isinstance(item.get("outputs"), list):
        try:
            return tuple([_from_json(output) for output in item["outputs"]])
        except (KeyError, TypeError, ValueError, DragomanError) as error:
            raise PredictionFailed(UNSERIALIZABLE) from error
    if isinstance(item, dict) and isinstance(item.get("predictions"), list):
        item = item["predictions"]
        if _numbers(item) is None:
            return (Tensor("output-0", "BYTES", _objects([encode(row) for row in item])),)
    if hasattr(item, "detach"):  # a tensor of PyTorch
        item = item.detach().cpu().numpy()
    if isinstance(item, np.ndarray | list | int | float | np.generic):
        numbers = np.asarray(item) if not isinstance(item, list) else _numbers(item)
        if numbers is not None:
            return (to_undeclared("output-0", numbers),)
    return (Tensor("output-0", "BYTES", _one(encode(item))),)


def _numbers(item: list[Any]) -> Any:
    """A list of numbers, however deep, as an array; ``None`` when it is something else."""
    try:
        array = np.asarray(item)
    except ValueError:  # rows of different lengths
        return None
    return array if item and array.dtype.kind in "biuf" else None


def _from_json(output: dict[str, Any]) -> Tensor:
    datatype, shape = output["datatype"], output.get("shape")
    if datatype == "BYTES":
        items = output["data"] if isinstance(output["data"], list) else [output["data"]]
        data = _objects([encode(each) for each in items])
    elif datatype == "BF16" or datatype not in DTYPES:
        raise ModelFailed(f"output {output['name']!r} has the datatype {datatype!r}")
    else:
        data = np.asarray(output["data"], dtype=DTYPES[datatype])
    return Tensor(str(output["name"]), datatype, data.reshape(shape) if shape is not None else data)


def _one(data: bytes) -> Any:
    return _objects([data])


def _objects(items: list[bytes]) -> Any:
    array = np.empty(len(items), dtype=object)
    array[:] = items
    return array
