"""Runs a user's Python class as a model. Knows the shape of such a class, not where its calls come from.

::

    class Sum:
        inputs = {"INPUT0": ("INT32", [-1, 16]), "INPUT1": ("INT32", [-1, 16])}
        outputs = {"OUTPUT0": ("INT32", [-1, 16])}
        batched = True      # rows are independent: requests may be joined
        fast = True         # microseconds: may run on the server's event loop

        def predict(self, INPUT0, INPUT1):
            return {"OUTPUT0": INPUT0 + INPUT1}

``inputs``, ``outputs``, ``batched``, ``fast``, ``max_batch``, ``load`` and ``close`` are optional.
``__init__`` and ``load`` get what they name among ``path`` (the model's directory), ``options`` and
``artifact``.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from dragoman.errors import ConfigError, InvalidOutput
from dragoman.runtimes.base import Artifact, Runtime, require
from dragoman.runtimes.calling import bind_predict
from dragoman.runtimes.convert import select, to_tensor, to_undeclared
from dragoman.runtimes.importing import call_user, find_module, folder_of, pick_class
from dragoman.runtimes.service.finding import find_service
from dragoman.runtimes.signature import complete, make_spec
from dragoman.types import DTYPES, InferRequest, InferResponse, Signature, Tensor, TensorSpec


class PythonRuntime(Runtime):
    """One object of the user's class; how it wants to be called was found out at load."""

    def __init__(self, artifact: Artifact, model: Any) -> None:
        self._name, self._version, self._model = artifact.name, artifact.version, model
        self.signature = complete(artifact, read_signature(model))
        self.fast = bool(getattr(model, "fast", False))
        self._specs = self.signature.outputs
        self._names = {spec.name for spec in self._specs}
        self._promises = _plain_promises(self._specs) if self.signature.batched else []
        self._batched = self.signature.batched
        self._call = bind_predict(model.predict, self.signature.inputs)

    @classmethod
    def load(cls, artifact: Artifact) -> Runtime:
        """Import, construct and load the user's class; what it raises becomes ConfigError with a place.

        A class that is marked as a service is run as one.
        """
        if not artifact.trusted:
            raise ConfigError(
                "the model is Python code from a place that isn't trusted to run code here",
                hint="load it from a local path, or export it to ONNX",
            )
        module, name = find_module(artifact)
        if (service := find_service(module, name)) is not None:
            return _serve(artifact, service)
        found = pick_class(module, name, "predict")
        supply = {"path": folder_of(artifact), "options": dict(artifact.options), "artifact": artifact}
        model = call_user(f"{found.__name__}()", found, supply)
        if callable(load := getattr(model, "load", None)):
            call_user(f"{found.__name__}.load", load, supply)
        if not callable(getattr(model, "predict", None)):
            raise ConfigError(f"class {found.__name__!r} has no predict method")
        return cls(artifact, model)

    def execute(self, request: InferRequest) -> InferResponse:
        """Call ``predict``. What it raises passes through, InvalidInput to blame the client among it."""
        result = self._call(request)
        parameters = {}
        outputs = self._as_promised(result, request) if type(result) is dict else None
        if outputs is None:
            outputs = self._tensors(result)
            if isinstance(result, InferResponse):
                parameters = result.parameters
            if self._batched:
                self._check_rows(request, outputs)
        if request.outputs:
            outputs = select(outputs, request)
        return InferResponse(self._name, self._version, outputs, request.id, parameters)

    def close(self) -> None:
        """Call the model's own ``close``, where it has one."""
        if callable(close := getattr(self._model, "close", None)):
            close()

    def _as_promised(self, result: dict[str, Any], request: InferRequest) -> tuple[Tensor, ...] | None:
        """The outputs, if each is to the letter what was promised; ``None`` if they need a second look."""
        if not self._promises or len(result) != len(self._promises):
            return None
        rows = request.inputs[0].data.shape[:1]
        outputs = []
        for name, datatype, dtype, row in self._promises:
            data = result.get(name)
            if type(data) is not np.ndarray or data.dtype is not dtype or data.shape != rows + row:
                return None
            outputs.append(Tensor(name, datatype, data, {}))
        return tuple(outputs)

    def _tensors(self, result: Any) -> tuple[Tensor, ...]:
        """``predict`` returns a dict by name, a tuple in the outputs' order, an array, or InferResponse."""
        specs = self._specs
        if type(result) is dict:
            return self._by_name(result)
        if isinstance(result, InferResponse):
            if not specs:
                return result.outputs
            return self._by_name({tensor.name: tensor.data for tensor in result.outputs})
        if isinstance(result, tuple) or (isinstance(result, list) and len(specs) > 1):
            if not specs:
                return self._by_name({f"output_{index}": value for index, value in enumerate(result)})
            if len(result) != len(specs):
                raise InvalidOutput(f"the model returned {len(result)} outputs, expected {self._expected()}")
            return tuple([to_tensor(spec, value) for spec, value in zip(specs, result, strict=True)])
        if result is None or len(specs) > 1:
            raise InvalidOutput(f"the model returned {type(result).__name__}, expected {self._expected()}")
        return (to_tensor(specs[0], result) if specs else to_undeclared("output", result),)

    def _by_name(self, result: dict[str, Any]) -> tuple[Tensor, ...]:
        specs = self._specs
        if result.keys() != self._names:
            if not specs:
                return tuple([to_undeclared(str(name), value) for name, value in result.items()])
            specs = tuple([spec for spec in specs if not spec.optional or spec.name in result])
            if result.keys() != {spec.name for spec in specs}:
                got = ", ".join(map(str, result)) or "nothing"
                raise InvalidOutput(f"the model returned {got}, expected {self._expected()}")
        if len(specs) == 1:
            return (to_tensor(specs[0], result[specs[0].name]),)
        return tuple([to_tensor(spec, result[spec.name]) for spec in specs])

    def _expected(self) -> str:
        return ", ".join(spec.name for spec in self._specs) or "an output"

    @staticmethod
    def _check_rows(request: InferRequest, outputs: tuple[Tensor, ...]) -> None:
        rows = request.inputs[0].data.shape[0]
        for tensor in outputs:
            if tensor.data.shape[0] != rows:
                got = tensor.data.shape[0]
                raise InvalidOutput(f"the model got {rows} rows and returned {got} in output {tensor.name!r}")


def _serve(artifact: Artifact, service: Any) -> Runtime:
    require("pydantic", "service")
    from dragoman.runtimes.service.runtime import ServiceRuntime

    return ServiceRuntime(artifact, service)


def _plain_promises(specs: tuple[TensorSpec, ...]) -> list[tuple[str, str, Any, tuple[int, ...]]]:
    """Name, datatype, dtype and a row's shape of each output, if all they leave open is the number of rows."""
    if any(spec.datatype == "BYTES" or spec.shape[:1] != (-1,) or -1 in spec.shape[1:] for spec in specs):
        return []
    return [(spec.name, spec.datatype, DTYPES[spec.datatype], spec.shape[1:]) for spec in specs]


def read_signature(model: Any) -> Signature:
    """What the user's object says of itself, after it was loaded."""
    return Signature(
        _declared(model, "inputs"),
        _declared(model, "outputs"),
        bool(getattr(model, "batched", False)),
        int(getattr(model, "max_batch", 0)),
    )


def _declared(model: Any, attribute: str) -> tuple[TensorSpec, ...]:
    declared = getattr(model, attribute, None) or {}
    if not isinstance(declared, Mapping):
        raise ConfigError(f"{attribute} must be a dict of name to (datatype, shape), got {declared!r}")
    specs = []
    for name, said in declared.items():
        if not isinstance(said, list | tuple) or len(said) not in (2, 3):
            raise ConfigError(f"{attribute}[{name!r}] must be (datatype, shape) or (datatype, shape, labels)")
        specs.append(make_spec(name, said[0], said[1], labels=said[2] if len(said) == 3 else ()))
    return tuple(specs)
