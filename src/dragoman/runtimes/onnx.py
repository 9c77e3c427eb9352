"""Runs ONNX graphs with onnxruntime. Knows that library's names for things, nothing of wires."""

import ctypes
import re
from typing import Any, Final

import numpy as np

from dragoman.errors import ConfigError, InvalidInput
from dragoman.runtimes.base import Artifact, Runtime, require
from dragoman.runtimes.convert import decode_text, to_tensor, wanted
from dragoman.runtimes.options import cannot_load, check_options, choose, find_file
from dragoman.runtimes.signature import complete
from dragoman.types import Array, InferRequest, InferResponse, Signature, Tensor, TensorSpec

#: onnxruntime's names of element types.
DATATYPES: Final = {
    "tensor(bool)": "BOOL",
    "tensor(uint8)": "UINT8",
    "tensor(uint16)": "UINT16",
    "tensor(uint32)": "UINT32",
    "tensor(uint64)": "UINT64",
    "tensor(int8)": "INT8",
    "tensor(int16)": "INT16",
    "tensor(int32)": "INT32",
    "tensor(int64)": "INT64",
    "tensor(float16)": "FP16",
    "tensor(bfloat16)": "BF16",
    "tensor(float)": "FP32",
    "tensor(double)": "FP64",
    "tensor(string)": "BYTES",
}

_OPTIMIZATION: Final = {
    "none": "ORT_DISABLE_ALL",
    "basic": "ORT_ENABLE_BASIC",
    "extended": "ORT_ENABLE_EXTENDED",
    "all": "ORT_ENABLE_ALL",
}
_OPTIONS: Final = {
    "intra_op_threads": int,
    "inter_op_threads": int,
    "optimization": str,
    "providers": list,
    "log_severity": int,
}
_BFLOAT16: Final = 16  # onnx.TensorProto.BFLOAT16
_BATCH = re.compile(r"batch.*|bs|n", re.IGNORECASE)
_UNNAMED = re.compile(r"unk__\d+")  # what tf2onnx calls a size without a name
_CLIENT_ERROR = re.compile(r"Invalid rank for input|Got invalid dimensions for input|Unexpected input data")


class OnnxRuntime(Runtime):
    """An inference session, on the CPU unless ``providers`` says otherwise.

    Options: ``intra_op_threads`` (inside one operator) and ``inter_op_threads`` (operators side by side),
    both 0 for all cores; ``optimization`` (none, basic, extended, all); ``providers`` (onnxruntime's names,
    the first that can is used); ``log_severity`` (0 tells everything, 3 only errors, the default).

    Rows may be joined (``signature.batched``) when the first size of *every* input and output is variable,
    and either all carry one name that looks like a batch (``batch…``, ``bs``, ``N``) or none carries a
    name, which is how skl2onnx and tf2onnx write it. Where the graph doesn't say so, the options
    ``batched`` or ``max_batch`` do.
    """

    extra = "onnx"

    def __init__(self, artifact: Artifact, session: Any, ort: Any) -> None:
        self._name, self._version = artifact.name, artifact.version
        self._session, self._ort = session, ort
        self._invalid: type[Exception] = ort.capi.onnxruntime_pybind11_state.InvalidArgument
        self.signature = complete(artifact, read_signature(session))
        specs = (*self.signature.inputs, *self.signature.outputs)
        self._bfloat16 = any(spec.datatype == "BF16" for spec in specs)

    @classmethod
    def load(cls, artifact: Artifact) -> "OnnxRuntime":
        """Open a session on the file, or on a directory's ``model.onnx`` or only ``.onnx`` file."""
        ort: Any = require("onnxruntime", cls.extra)
        check_options(artifact, _OPTIONS)
        path = find_file(artifact, ".onnx")
        settings, providers = _settings(artifact, ort), _providers(artifact, ort)
        try:
            session = ort.InferenceSession(str(path), sess_options=settings, providers=providers)
        except Exception as error:  # onnxruntime's exceptions share no base class
            raise cannot_load("onnxruntime", path, error) from error
        return cls(artifact, session, ort)

    def execute(self, request: InferRequest) -> InferResponse:
        """Compute the outputs asked for, and no others."""
        specs = wanted(self.signature.outputs, request)
        names = [spec.name for spec in specs]
        run = self._run_bfloat16 if self._bfloat16 else self._run
        try:
            values = run(names, request.inputs)
        except self._invalid as error:
            if _CLIENT_ERROR.search(str(error)) is None:
                raise
            raise InvalidInput(str(error).rpartition("INVALID_ARGUMENT : ")[2]) from error
        outputs = tuple([to_tensor(spec, value) for spec, value in zip(specs, values, strict=True)])
        return InferResponse(self._name, self._version, outputs, request.id)

    def close(self) -> None:
        """Drop the session, and with it the weights and its threads."""
        self._session = None

    def _run(self, names: list[str], inputs: tuple[Tensor, ...]) -> list[Array]:
        feeds = {tensor.name: _to_array(tensor) for tensor in inputs}
        values: list[Array] = self._session.run(names, feeds)
        return values

    def _run_bfloat16(self, names: list[str], inputs: tuple[Tensor, ...]) -> list[Array]:
        """numpy has no bfloat16, so its bits go in and come out through onnxruntime's own values."""
        feeds = {tensor.name: self._to_value(tensor) for tensor in inputs}
        return [_from_value(value) for value in self._session.run_with_ort_values(names, feeds)]

    def _to_value(self, tensor: Tensor) -> Any:
        make = self._ort.OrtValue
        if tensor.datatype == "BF16":
            return make.ortvalue_from_numpy_with_onnx_type(np.ascontiguousarray(tensor.data), _BFLOAT16)
        return make.ortvalue_from_numpy(_to_array(tensor))


def read_signature(session: Any) -> Signature:
    """The graph's inputs and outputs. Raises ConfigError for those that are no tensors."""
    inputs, outputs = session.get_inputs(), session.get_outputs()
    for node in inputs + outputs:
        if node.type not in DATATYPES:
            hint = "export it again without ZipMap: skl2onnx.to_onnx(..., options={'zipmap': False})"
            raise ConfigError(f"{node.name!r} is {node.type}, not a tensor", hint=hint)
    return Signature(
        tuple(map(_spec, inputs)), tuple(map(_spec, outputs)), batched=_joins_rows(inputs + outputs)
    )


def _spec(node: Any) -> TensorSpec:
    shape = tuple(size if isinstance(size, int) and size >= 0 else -1 for size in node.shape)
    return TensorSpec(node.name, DATATYPES[node.type], shape)


def _joins_rows(nodes: list[Any]) -> bool:
    if not all(node.shape for node in nodes):
        return False
    sizes = {node.shape[0] for node in nodes}
    if all(size is None or _UNNAMED.fullmatch(str(size)) for size in sizes):
        return True
    return len(sizes) == 1 and _BATCH.fullmatch(str(sizes.pop())) is not None


def _settings(artifact: Artifact, ort: Any) -> Any:
    settings = ort.SessionOptions()
    settings.log_severity_level = artifact.options.get("log_severity", 3)
    settings.intra_op_num_threads = artifact.options.get("intra_op_threads", 0)
    settings.inter_op_num_threads = artifact.options.get("inter_op_threads", 0)
    level = choose(artifact, "optimization", _OPTIMIZATION, "all")
    settings.graph_optimization_level = getattr(ort.GraphOptimizationLevel, level)
    return settings


def _providers(artifact: Artifact, ort: Any) -> list[str]:
    providers = list(artifact.options.get("providers", ["CPUExecutionProvider"]))
    available = ort.get_available_providers()
    for name in providers:
        if name not in available:
            hint = f"available: {', '.join(available)}"
            raise ConfigError(f"onnxruntime has no provider {name!r} on this machine", hint=hint)
    return providers


def _to_array(tensor: Tensor) -> Array:
    return decode_text(tensor) if tensor.datatype == "BYTES" else tensor.data


def _from_value(value: Any) -> Array:
    if value.data_type() != "tensor(bfloat16)":
        array: Array = value.numpy()
        return array
    shape = tuple(value.shape())
    # A copy, because the value's memory is onnxruntime's.
    bits = ctypes.string_at(value.data_ptr(), 2 * int(np.prod(shape)))
    return np.frombuffer(bits, dtype="<u2").reshape(shape)
