"""The one table of runtimes: a name to where its class lives, and a file to a name. Imports no library."""

import difflib
import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from dragoman.errors import ConfigError
from dragoman.runtimes.base import Runtime
from dragoman.runtimes.sniffing import is_service_file, is_triton_file

#: What ``runtime`` may be in a ``model.toml``, and the class behind it.
RUNTIMES: Final[Mapping[str, str]] = {
    "kserve": "dragoman.runtimes.kserve:KServeRuntime",
    "lightgbm": "dragoman.runtimes.lightgbm:LightGBMRuntime",
    "onnx": "dragoman.runtimes.onnx:OnnxRuntime",
    "python": "dragoman.runtimes.python:PythonRuntime",
    "service": "dragoman.runtimes.service.runtime:ServiceRuntime",
    "sklearn": "dragoman.runtimes.sklearn:SklearnRuntime",
    "torch": "dragoman.runtimes.torch:TorchRuntime",
    "torchserve": "dragoman.runtimes.torchserve:TorchServeRuntime",
    "triton_python": "dragoman.runtimes.triton_python:TritonPythonRuntime",
    "xgboost": "dragoman.runtimes.xgboost:XGBoostRuntime",
}

#: What metadata calls a runtime where clients of the Open Inference Protocol expect another name.
PLATFORMS: Final[Mapping[str, str]] = {
    "onnx": "onnxruntime_onnx",
    "torch": "pytorch_libtorch",
    "triton_python": "python",
}

#: Which runtimes a file's suffix may stand for.
SUFFIXES: Final[Mapping[str, tuple[str, ...]]] = {
    ".bst": ("lightgbm", "xgboost"),
    ".joblib": ("sklearn",),
    ".json": ("xgboost",),
    ".lgb": ("lightgbm",),
    ".onnx": ("onnx",),
    ".pickle": ("sklearn",),
    ".pkl": ("sklearn",),
    ".pt": ("torch",),
    ".pt2": ("torch",),
    ".pth": ("torch",),
    ".py": ("python",),
    ".skops": ("sklearn",),
    ".ts": ("torch",),
    ".txt": ("lightgbm",),
    ".ubj": ("xgboost",),
    ".xgb": ("xgboost",),
}

#: Suffixes with other uses: here the first bytes decide.
_AMBIGUOUS = frozenset({".bst", ".json", ".lgb", ".txt"})
_HEAD_BYTES = 256


def runtime_class(name: str) -> type[Runtime]:
    """The class that ``name`` stands for, its library not yet imported; ConfigError for an unknown name."""
    if name not in RUNTIMES:
        near = difflib.get_close_matches(name.lower(), RUNTIMES, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise ConfigError(f"unknown runtime {name!r}", hint=f"{hint}known: {', '.join(sorted(RUNTIMES))}")
    module, _, attribute = RUNTIMES[name].partition(":")
    found: type[Runtime] = getattr(importlib.import_module(module), attribute)
    return found


def guess(path: Path) -> str | None:
    """The runtime that a model's file asks for, or ``None`` when nothing says so.

    Goes by the suffix, and by the first bytes only where a suffix has other uses. A file that can't be read
    is nobody's.
    """
    suffix = path.suffix.lower()
    names = SUFFIXES.get(suffix, ())
    if suffix == ".py" and is_service_file(path):
        return "service"
    if suffix == ".py" and is_triton_file(path):
        return "triton_python"
    if suffix not in _AMBIGUOUS:
        return names[0] if names else None
    found = _sniff(path)
    return found if found in names else None


def _sniff(path: Path) -> str | None:
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD_BYTES)
    except OSError:
        return None
    # LightGBM's text opens with the line "tree"; XGBoost's JSON and UBJSON have the key "learner".
    if head.startswith((b"tree\n", b"tree\r\n")):
        return "lightgbm"
    if head.startswith(b"{") and b"learner" in head[:64]:
        return "xgboost"
    return None
