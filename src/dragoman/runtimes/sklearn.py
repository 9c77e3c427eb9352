"""Runs scikit-learn estimators and pipelines from skops, joblib or pickle files. Knows estimators' methods.

One tensor goes in: rows of numbers, or texts where the pipeline begins with a vectorizer. Columns of mixed
kinds are not offered.
"""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np

from dragoman.errors import ConfigError
from dragoman.runtimes.base import Artifact, Runtime, require
from dragoman.runtimes.convert import decode_text, to_tensor, wanted
from dragoman.runtimes.options import cannot_load, check_options, find_file
from dragoman.runtimes.signature import complete
from dragoman.types import DTYPES, Array, InferRequest, InferResponse, Signature, TensorSpec

_OPTIONS: Final = {"datatype": str, "method": str, "trusted_types": list}
_METHODS: Final = ("predict", "predict_proba", "predict_log_proba", "decision_function", "transform")
_KINDS: Final = {
    "i": "INT64",
    "u": "INT64",
    "f": "FP64",
    "b": "BOOL",
    "O": "BYTES",
    "U": "BYTES",
    "S": "BYTES",
}

_Method = Callable[[Any], Any]


class SklearnRuntime(Runtime):
    """An estimator whose methods are its outputs: ``predict``, and ``predict_proba`` where it has one.

    Only the methods whose outputs are asked for are called. Options: ``datatype`` of the input (FP64),
    ``method`` (offer this one alone: predict, predict_proba, predict_log_proba, decision_function,
    transform), ``trusted_types`` (the operator's allow-list for a skops file; a file can't bring its own).
    """

    extra = "sklearn"

    def __init__(self, artifact: Artifact, model: Any) -> None:
        self._name, self._version = artifact.name, artifact.version
        found = read_signature(model, artifact.options)
        self.signature = complete(artifact, found, rename=True, retype=True)
        names = [spec.name for spec in found.outputs]
        pairs = zip(self.signature.outputs, names, strict=True)
        self._methods: dict[str, _Method] = {spec.name: getattr(model, name) for spec, name in pairs}

    @classmethod
    def load(cls, artifact: Artifact) -> "SklearnRuntime":
        """Load a ``.skops`` file, or, from a trusted path only, a joblib or pickle file."""
        require("sklearn", cls.extra)
        check_options(artifact, _OPTIONS)
        path = find_file(artifact, ".skops", ".joblib", ".pkl", ".pickle")
        model = (
            _load_skops(artifact, path) if path.suffix.lower() == ".skops" else _load_pickle(artifact, path)
        )
        # Models fitted on a DataFrame would say this at every request; here, tensors have no column names.
        warnings.filterwarnings("ignore", "X does not have valid feature names", UserWarning)
        return cls(artifact, model)

    def execute(self, request: InferRequest) -> InferResponse:
        """Call the methods whose outputs are asked for."""
        tensor = request.inputs[0]
        rows = decode_text(tensor) if tensor.datatype == "BYTES" else tensor.data
        outputs = tuple(
            [
                to_tensor(spec, _fit(self._methods[spec.name](rows), spec))
                for spec in wanted(self.signature.outputs, request)
            ]
        )
        return InferResponse(self._name, self._version, outputs, request.id)


def read_signature(model: Any, options: Any) -> Signature:
    """The estimator's input and outputs, found by asking it about one row of zeros (or one empty text).

    An estimator that can't answer that (say, an encoder that never saw a 0) is taken to give a value for
    each row.
    """
    given = _input(model, options.get("datatype", "FP64").upper())
    outputs = []
    for name in _methods(model, options.get("method", "")):
        labels = tuple(map(str, getattr(model, "classes_", ()))) if name.startswith("predict_") else ()
        result = _probe(getattr(model, name), given)
        if isinstance(result, list):  # one array of probabilities for each of several outputs
            continue
        if result is None:
            result = np.empty((1, len(labels)) if labels else 1, _unprobed_dtype(model, name))
        shape = (-1, *result.shape[1:])
        outputs.append(TensorSpec(name, _KINDS[result.dtype.kind], shape, labels=labels))
    if not outputs:
        raise ConfigError("the model gives one array of probabilities for each output, which can't be served")
    return Signature((given,), tuple(outputs), batched=True)


def _input(model: Any, datatype: str) -> TensorSpec:
    first = model.steps[0][1] if hasattr(model, "steps") else model
    if hasattr(first, "build_analyzer"):  # what all vectorizers of text have in common
        return TensorSpec("input", "BYTES", (-1,))
    if datatype not in DTYPES or datatype in ("BF16", "BYTES"):
        raise ConfigError(f"option 'datatype' is {datatype!r}, expected a datatype of numbers like FP32")
    return TensorSpec("input", datatype, (-1, getattr(model, "n_features_in_", -1)))


def _methods(model: Any, only: str) -> list[str]:
    available = [name for name in _METHODS if hasattr(model, name)]
    if not available:
        raise ConfigError(f"the file holds a {type(model).__name__}, which can't predict or transform")
    if only:
        if only not in available:
            raise ConfigError(f"the model has no method {only!r}", hint=f"it has: {', '.join(available)}")
        return [only]
    return [name for name in available if name in ("predict", "predict_proba")] or available[:1]


def _probe(method: _Method, given: TensorSpec) -> Any:
    if given.datatype == "BYTES":
        rows: Array = np.array([""], dtype=object)
    elif given.shape[1] < 0:
        return None
    else:
        rows = np.zeros((1, given.shape[1]), DTYPES[given.datatype])
    try:
        return _dense(method(rows))
    except Exception:  # whatever a user's own step raises: it is only a question
        return None


def _unprobed_dtype(model: Any, name: str) -> Any:
    return (
        np.asarray(model.classes_).dtype if name == "predict" and hasattr(model, "classes_") else np.float64
    )


def _dense(result: Any) -> Any:
    return result.toarray() if hasattr(result, "toarray") else result


def _fit(result: Any, spec: TensorSpec) -> Array:
    """Widen what estimators return by chance (FP32 for FP32 rows, INT32 classes) to the declared datatype."""
    array: Array = np.asarray(_dense(result))
    dtype = DTYPES[spec.datatype]
    return array.astype(dtype, copy=False) if array.dtype.kind == dtype.kind else array


def _load_skops(artifact: Artifact, path: Path) -> Any:
    io: Any = require("skops.io", SklearnRuntime.extra)
    allowed = list(artifact.options.get("trusted_types", ()))
    if allowed and not artifact.trusted:
        raise ConfigError("trusted_types counts only for a local path that you named yourself")
    try:
        unknown = sorted(set(io.get_untrusted_types(file=path)) - set(allowed))
        if unknown:
            raise ConfigError(
                f"{path.name} holds types that are not trusted: {', '.join(unknown)}",
                hint="if you know them, list them in the option trusted_types",
            )
        return io.load(path, trusted=allowed)
    except ConfigError:
        raise
    except Exception as error:  # a damaged file fails in many ways
        raise cannot_load("skops", path, error) from error


def _load_pickle(artifact: Artifact, path: Path) -> Any:
    if not artifact.trusted:
        raise ConfigError(
            f"{path.name} is a pickle: loading it runs whatever code is in it, and this path isn't trusted",
            hint="save the model with skops.io.dump or export it to ONNX, or copy the file to a local path",
        )
    joblib: Any = require("joblib", SklearnRuntime.extra)
    try:
        return joblib.load(path)
    except Exception as error:  # unpickling runs code: anything can come
        raise cannot_load("joblib", path, error) from error
