"""Runs PyTorch programs: TorchScript and torch.export archives. Knows PyTorch's tensors.

Weights alone (a ``state_dict``) and pickled modules can't run here: the first has no code, the second is
any code. The ``device`` option offers GPUs; that path is guarded, but not yet measured on one.
"""

import re
from typing import Any, Final

import numpy as np

from dragoman.errors import ConfigError, InvalidInput, InvalidOutput
from dragoman.runtimes.base import Artifact, Runtime, require
from dragoman.runtimes.convert import select, to_tensor, to_undeclared
from dragoman.runtimes.options import check_options, find_file
from dragoman.runtimes.signature import complete
from dragoman.runtimes.torch_archive import Call, flatten, in_position, open_archive
from dragoman.types import Array, InferRequest, InferResponse, Signature, Tensor, TensorSpec

_OPTIONS: Final = {"device": str, "threads": int}
_GUARD = re.compile(r"Guard failed|Expected input .* but got")  # a size that the export rules out


class TorchRuntime(Runtime):
    """A program in inference mode. Options: ``device`` (cpu, cuda, cuda:1), ``threads`` (of the process).

    A ``.pt2`` file brings its signature. TorchScript says no shapes: they are the operator's ``inputs`` and
    ``outputs``, or undeclared, and then any tensors pass. Arguments go by ``forward``'s parameter names;
    else by position where all names end in ``__0``, ``__1``…; else in the order sent. Outputs are a dict's
    keys, else ``OUTPUT__0``… Rows are joined only when the operator says ``batched`` or ``max_batch``: a
    program doesn't tell.
    """

    extra = "torch"

    def __init__(self, artifact: Artifact, found: Signature, call: Call, torch: Any, device: Any) -> None:
        self._name, self._version = artifact.name, artifact.version
        self._torch, self._device, self._call = torch, device, call
        self.signature = complete(artifact, found)

    @classmethod
    def load(cls, artifact: Artifact) -> "TorchRuntime":
        """Load the archive, from a trusted path only: PyTorch makes no promise for strangers' programs."""
        if not artifact.trusted:
            raise ConfigError(
                "PyTorch archives are programs, and this path isn't trusted to run code here",
                hint="copy the file to a local path, or export the model to ONNX",
            )
        torch: Any = require("torch", cls.extra)
        check_options(artifact, _OPTIONS)
        path = find_file(artifact, ".pt2", ".pt", ".ts", ".pth")
        device = _device(artifact, torch)
        if threads := artifact.options.get("threads", 0):
            torch.set_num_threads(threads)
        found, call = open_archive(path, torch, device)
        return cls(artifact, found, call, torch, device)

    def execute(self, request: InferRequest) -> InferResponse:
        """Run the program on the request's tensors."""
        given = {tensor.name: self._to_torch(tensor) for tensor in request.inputs}
        with self._torch.inference_mode():
            try:
                result = self._call(given)
            except (AssertionError, RuntimeError) as error:
                if _GUARD.match(str(error)) is None:
                    raise
                raise InvalidInput(str(error)) from error
            outputs = select(self._tensors(result), request)
        return InferResponse(self._name, self._version, outputs, request.id)

    def _to_torch(self, tensor: Tensor) -> Any:
        data = tensor.data
        if tensor.datatype == "BYTES":
            raise InvalidInput(f"input {tensor.name!r} is BYTES, and PyTorch's tensors hold numbers only")
        if not (data.flags.writeable and data.flags.c_contiguous):
            data = data.copy()  # a program may write into its inputs, and these are the client's bytes
        if tensor.datatype == "BF16":
            return self._torch.from_numpy(data.view(np.int16)).view(self._torch.bfloat16).to(self._device)
        return self._torch.from_numpy(data).to(self._device)

    def _tensors(self, result: Any) -> tuple[Tensor, ...]:
        values = dict(flatten(result))
        specs = self.signature.outputs
        if not specs:
            return tuple([self._from_torch(None, name, value) for name, value in values.items()])
        if values.keys() != {spec.name for spec in specs}:
            values = _rename(values, specs)
        return tuple([self._from_torch(spec, spec.name, values[spec.name]) for spec in specs])

    def _from_torch(self, spec: TensorSpec | None, name: str, value: Any) -> Tensor:
        if isinstance(value, self._torch.Tensor):
            value = value.detach().cpu()
            if value.dtype == self._torch.bfloat16:
                bits: Array = value.contiguous().view(self._torch.int16).numpy().view("<u2")
                return _bfloat16(spec or TensorSpec(name, "BF16", bits.shape), bits)
            value = value.numpy()
        return to_undeclared(name, value) if spec is None else to_tensor(spec, value)


def _device(artifact: Artifact, torch: Any) -> Any:
    name = artifact.options.get("device", "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ConfigError(f"option 'device' is {name!r}", hint="it may be: cpu, cuda, cuda:1") from error
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ConfigError(f"there is no device {name!r}: torch sees {torch.cuda.device_count()} GPUs")
    return device


def _rename(values: dict[str, Any], specs: tuple[TensorSpec, ...]) -> dict[str, Any]:
    """Give outputs that have a position only the operator's names."""
    if len(values) != len(specs) or any(name != f"OUTPUT__{index}" for index, name in enumerate(values)):
        expected = ", ".join(spec.name for spec in specs)
        raise InvalidOutput(f"the model returned {', '.join(values)}, expected {expected}")
    names = in_position(spec.name for spec in specs)
    return dict(zip(names, values.values(), strict=True))


def _bfloat16(spec: TensorSpec, bits: Array) -> Tensor:
    if spec.datatype != "BF16":
        raise InvalidOutput(f"output {spec.name!r} should be {spec.datatype}, the model returned BF16")
    return to_tensor(spec, bits)
