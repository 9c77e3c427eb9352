"""Small things that model files take from KServe: ids, truths, and what scikit-learn and its like want of a payload."""

import os
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np

from dragoman.compat.kserve.constants.constants import PredictorProtocol
from dragoman.compat.kserve.errors import InvalidInput
from dragoman.compat.kserve.protocol.infer_type import InferOutput, InferRequest, InferResponse
from dragoman.compat.kserve.protocol.parameters import plain
from dragoman.compat.kserve.utils.numpy_codec import from_np_dtype
from dragoman.compat.need import need
from dragoman.types import Array

#: What Kubernetes puts into every pod.
_POD: Final = Path("/var/run/secrets/kubernetes.io")
_EVENT: Final = frozenset({"time", "type", "source", "id", "specversion", "data"})
_TRUE: Final = frozenset({"y", "yes", "t", "true", "on", "1"})
_FALSE: Final = frozenset({"n", "no", "f", "false", "off", "0"})


def is_running_in_k8s() -> bool:
    return _POD.is_dir()


def get_current_k8s_namespace() -> str:
    """The namespace of the pod we run in. Raises OSError elsewhere."""
    return (_POD / "serviceaccount" / "namespace").read_text("utf-8").partition("\n")[0]


def get_default_target_namespace() -> str:
    return get_current_k8s_namespace() if is_running_in_k8s() else "default"


def get_isvc_namespace(inferenceservice: Any) -> str:
    return inferenceservice.metadata.namespace or get_default_target_namespace()


def cpu_count() -> int:
    """How many CPUs the process may use: of the machine's those it is bound to, and no more than its control group
    may take."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    limits = (_quota(Path("/sys/fs/cgroup/cpu.max")), count)
    return max(1, min(limit for limit in limits if limit))


def is_structured_cloudevent(body: Mapping[str, Any]) -> bool:
    """Whether a document looks like a CloudEvent."""
    return body.keys() >= _EVENT


def generate_uuid() -> str:
    return str(uuid.uuid4())


def to_headers(context: Any) -> dict[str, str]:
    """The metadata of a gRPC call, those behind it as well, where the context has them."""
    metadata = list(context.invocation_metadata() or ())
    if hasattr(context, "trailing_metadata"):
        metadata += context.trailing_metadata() or ()
    return {item[0]: item[1] for item in metadata}


def get_predict_input(payload: Any, columns: list[Any] | None = None) -> Any:
    """What a model of scikit-learn and its like takes: an array, a DataFrame, or a list of strings.

    Of a document its ``inputs`` or ``instances``; of a request its first input, or, where the parameter
    ``content_type`` is ``pd``, all of them as columns. Raises InvalidInput where there is nothing of it.
    """
    if isinstance(payload, Mapping):
        return _of_document(payload, columns)
    if not isinstance(payload, InferRequest):
        raise InvalidInput(f"unsupported payload type {type(payload)}")
    if plain((payload.parameters or {}).get("content_type")) == "pd":
        return payload.as_dataframe()
    if not payload.inputs:
        raise InvalidInput("the request has no inputs")
    first = payload.inputs[0]
    if first.datatype == "BYTES" and isinstance(first.data, list):
        texts: list[Any] = first.data
        if texts and isinstance(texts[0], str):
            return texts
    return first.as_numpy()


def get_predict_response(payload: Any, result: Any, model_name: str) -> Any:
    """What is answered: a document where a document was asked, an InferResponse where a request was.

    A DataFrame becomes one output a column; anything else the output ``output-0``.
    """
    if isinstance(payload, Mapping):
        return {"predictions": _rows(result)}
    if not isinstance(payload, InferRequest):
        raise InvalidInput(f"unsupported payload type {type(payload)}")
    raw = payload.use_binary_outputs
    if _is_frame(result):
        outputs = [_output(str(column), result[column].to_numpy(), raw) for column in result.columns]
    elif isinstance(result, list) and result and isinstance(result[0], str):
        outputs = [_output("output-0", np.array(result, dtype=object), raw)]
    else:
        outputs = [_output("output-0", np.asarray(result), raw)]
    return InferResponse(
        response_id=payload.id or generate_uuid(),
        model_name=model_name,
        infer_outputs=outputs,
        use_binary_outputs=raw,
        requested_outputs=payload.request_outputs,
    )


def strtobool(val: str) -> bool:
    """Whether a text says yes. Raises ValueError for one that says neither yes nor no."""
    word = val.lower()
    if word not in _TRUE | _FALSE:
        raise ValueError(f"invalid truth value {val!r}")
    return word in _TRUE


def is_v2(protocol: str | PredictorProtocol) -> bool:
    return _value(protocol) == PredictorProtocol.REST_V2.value


def is_v1(protocol: str | PredictorProtocol) -> bool:
    return _value(protocol) == PredictorProtocol.REST_V1.value


def _of_document(payload: Mapping[str, Any], columns: list[Any] | None) -> Any:
    if "inputs" not in payload and "instances" not in payload:
        raise InvalidInput('Expected "instances" or "inputs" in the request')
    instances = payload["inputs"] if "inputs" in payload else payload["instances"]
    if len(instances) == 0:
        return np.array(instances)
    first = instances[0]
    if isinstance(first, Mapping) or (isinstance(first, list) and first and isinstance(first[0], Mapping)):
        pandas = need("pandas", "get_predict_input of rows with names")
        return pandas.concat([pandas.DataFrame(row, columns=columns) for row in instances], axis=0)
    if isinstance(first, str):
        return instances
    try:
        return np.array(instances)
    except ValueError:  # numpy's
        raise InvalidInput("the rows of the request are of different lengths") from None


def _rows(result: Any) -> Any:
    if _is_frame(result):
        return [row.to_dict() for _, row in result.iterrows()]
    return result.tolist() if isinstance(result, np.ndarray) else result


def _is_frame(result: Any) -> bool:
    """Whether it is a DataFrame of pandas, which is not imported to know it."""
    return hasattr(result, "columns") and hasattr(result, "iterrows")


def _output(name: str, array: Array, raw: bool) -> InferOutput:
    output = InferOutput(name, list(array.shape), from_np_dtype(array.dtype) or str(array.dtype))
    output.set_data_from_numpy(array, binary_data=raw)
    return output


def _value(protocol: str | PredictorProtocol) -> str:
    return protocol.value if isinstance(protocol, PredictorProtocol) else protocol.lower()


def _quota(path: Path) -> int:
    """The CPUs that a control group may take, 0 where it has no limit."""
    try:
        quota, period = path.read_text("utf-8").split()
        return int(quota) // int(period)
    except (OSError, ValueError):
        return 0
