"""One Python model server that speaks every inference dialect its users already speak.

What programs import is below; each name is imported when it is first asked for, so that ``import dragoman`` costs
nothing. The API of models and of their server is KServe's; ``__init__.pyi`` says to type checkers what is here.
"""

import importlib
from typing import Any, Final

__version__ = "0.1.0"

_KSERVE: Final = "dragoman.compat.kserve"
#: Each public name, and the module that has it.
_HOMES: Final = {
    "BaseKServeModel": f"{_KSERVE}.model",
    "InferInput": _KSERVE,
    "InferOutput": _KSERVE,
    "InferRequest": _KSERVE,
    "InferResponse": _KSERVE,
    "InferenceGRPCClient": _KSERVE,
    "InferenceRESTClient": _KSERVE,
    "InferenceVerb": f"{_KSERVE}.model",
    "Model": _KSERVE,
    "ModelRepository": _KSERVE,
    "ModelServer": "dragoman.serving.model_server",
    "PredictorConfig": _KSERVE,
    "RESTConfig": _KSERVE,
    "asgi": "dragoman.hosting",
    "deserialize_bytes_tensor": f"{_KSERVE}.protocol.infer_type",
    "endpoint": "dragoman.services",
    "serialize_byte_tensor": f"{_KSERVE}.protocol.infer_type",
    "service": "dragoman.services",
    "to_grpc_parameters": f"{_KSERVE}.protocol.infer_type",
    "to_http_parameters": f"{_KSERVE}.protocol.infer_type",
}

__all__ = [*_HOMES, "__version__"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'dragoman' has no attribute {name!r}")
    found = globals()[name] = getattr(importlib.import_module(_HOMES[name]), name)
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
