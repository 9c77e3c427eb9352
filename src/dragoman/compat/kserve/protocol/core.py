"""Requests and answers of KServe's API from and to those that flow through the server.

For whoever runs a model with this API; model files don't need it. Arrays are handed over as they are.
"""

from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from dragoman.compat.kserve.errors import InferenceError, InvalidInput
from dragoman.compat.kserve.protocol.byte_tensor import elements
from dragoman.compat.kserve.protocol.infer_request import InferInput, InferRequest
from dragoman.compat.kserve.protocol.infer_response import InferOutput, InferResponse
from dragoman.compat.kserve.protocol.infer_tensor import SIZE
from dragoman.compat.kserve.protocol.parameters import plain, to_grpc_parameters
from dragoman.compat.kserve.protocol.requested_output import RequestedOutput
from dragoman.errors import InvalidOutput
from dragoman.tensors import bytes_array
from dragoman.types import DTYPES, Array, Tensor
from dragoman.types import InferRequest as CoreRequest
from dragoman.types import InferResponse as CoreResponse

#: Which kinds of values (numpy's letters) a list may hold for a datatype of some kind.
_TAKES: Final[Mapping[str, str]] = {"b": "biu", "i": "biu", "u": "biu", "f": "biuf"}


#: What a server's protocol notes among a request's parameters; the client has not written it there.
NOTES: Final = frozenset({"headers", "transport", "verb"})


def from_core(request: CoreRequest, *, from_grpc: bool = False, raw: bool = False) -> InferRequest:
    """What a model's hooks get. ``raw`` is whether the client sent raw bytes.

    As in KServe, BYTES are text where they came over REST, and the request's parameters are messages where it came
    over gRPC. What is not there is ``None``.
    """
    text = not from_grpc
    made = InferRequest.__new__(InferRequest)
    made.id = request.id if request.id or from_grpc else None
    made.model_name = request.model
    made.inputs = [
        InferInput.of_array(tensor.name, tensor.datatype, tensor.data, dict(tensor.parameters), text, raw)
        for tensor in request.inputs
    ]
    made.from_grpc = from_grpc
    made.model_version = request.version or None
    made.request_outputs = (
        None if request.outputs is None else [RequestedOutput(name) for name in request.outputs]
    )
    parameters = {name: value for name, value in request.parameters.items() if name not in NOTES}
    if from_grpc and parameters:
        made.parameters = to_grpc_parameters(parameters)
    else:
        made.parameters = parameters or None
    made._is_served = True
    return made


def to_core(response: InferResponse, version: str = "") -> CoreResponse:
    """What a model's hooks have answered; ``version`` is the model's, if the answer says none.

    Raises InvalidOutput where an output's data are not what its datatype and shape say.
    """
    return CoreResponse(
        response.model_name,
        response.model_version or version,
        tuple([_tensor(output) for output in response.outputs]),
        response.id or "",
        _plain(response.parameters),
    )


def _tensor(output: InferOutput) -> Tensor:
    array, datatype = output._array, output._datatype
    if array is None or output._list is not None:
        array = _array(output)
    if list(array.shape) != output._shape:
        array = _shaped(array, output)
    if datatype != "BYTES" and array.dtype != DTYPES[datatype]:
        raise InvalidOutput(f"output {output.name!r} says {datatype} but holds {array.dtype}")
    return Tensor(output._name, datatype, array, _plain(output._parameters))


def _array(output: InferOutput) -> Array:
    """The data of an output that has no array of its own yet, in its datatype; not in its shape."""
    dtype = DTYPES.get(output.datatype)
    if dtype is None:
        raise InvalidOutput(f"output {output.name!r} has the datatype {output.datatype!r}, which is none")
    if output.is_empty:
        raise InvalidOutput(f"output {output.name!r} has no data")
    data = output.data
    try:
        if isinstance(data, np.ndarray):
            output.check(data)
        elif isinstance(data, list) and data and output.datatype != "BYTES":
            _check_kinds(np.array(data), output)
        array = output.as_numpy()
    except (InvalidInput, InferenceError) as error:
        raise InvalidOutput(f"output {output.name!r}: {error}") from None
    except ValueError:  # numpy's, of a list that is nested in no order
        raise InvalidOutput(f"output {output.name!r} holds lists of different lengths") from None
    return bytes_array(elements(array), array.shape) if output.datatype == "BYTES" else array


def _check_kinds(found: Array, output: InferOutput) -> None:
    """Raises InvalidOutput for values that numpy would make others of, without a word."""
    taken = _TAKES[DTYPES[output.datatype].kind]
    if found.dtype.kind not in taken:
        raise InvalidOutput(f"output {output.name!r} says {output.datatype} but holds {found.dtype}")


def _shaped(array: Array, output: InferOutput) -> Array:
    try:
        return array.reshape(output.shape)
    except (TypeError, ValueError):
        raise InvalidOutput(
            f"output {output.name!r} has {array.size} elements, which are not of its shape {output.shape}"
        ) from None


def _plain(parameters: Any) -> dict[str, Any]:
    """Parameters without messages, and without the size of bytes that this server writes itself."""
    if not parameters:
        return {}
    return {name: plain(value) for name, value in parameters.items() if name != SIZE}
