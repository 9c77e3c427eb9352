"""KServe's Python API, so that model files run unchanged: ``import kserve`` finds this package.

Written for Dragoman from the behaviour of KServe 0.13 and 0.21, which ``dialect`` keeps apart;
``docs/compatibility-kserve.md`` has what differs. Needs nothing but Dragoman's core to be imported.
"""

import importlib
from typing import Any, Final

from dragoman.compat.kserve import dialect
from dragoman.compat.kserve.constants import constants
from dragoman.compat.kserve.model import Model
from dragoman.compat.kserve.model_repository import ModelRepository
from dragoman.compat.kserve.predictor_config import PredictorConfig
from dragoman.compat.kserve.protocol.infer_type import InferInput, InferOutput, InferRequest, InferResponse
from dragoman.compat.kserve.utils import utils

#: What is imported when it is first asked for: it needs a package of an extra, or lies above this layer.
LATER: Final = {
    "InferenceGRPCClient": "dragoman.compat.kserve.inference_client:InferenceGRPCClient",
    "InferenceRESTClient": "dragoman.compat.kserve.inference_client:InferenceRESTClient",
    "ModelServer": "dragoman.serving.model_server:ModelServer",
    "RESTConfig": "dragoman.compat.kserve.inference_client:RESTConfig",
    "Storage": "dragoman.compat.kserve.storage:Storage",
    "model_server": "dragoman.serving.model_server",
    "ray": "dragoman.serving.ray",
}
#: Modules of KServe that lie above this layer.
ELSEWHERE: Final = {
    "kserve.model_server": "dragoman.serving.model_server",
    "kserve.ray": "dragoman.serving.ray",
}

__all__ = [
    "NOT_HERE",
    "InferInput",
    "InferOutput",
    "InferRequest",
    "InferResponse",
    "InferenceGRPCClient",
    "InferenceRESTClient",
    "Model",
    "ModelRepository",
    "ModelServer",
    "PredictorConfig",
    "RESTConfig",
    "Storage",
    "constants",
    "utils",
]

_KUBERNETES: Final = "it manages a Kubernetes cluster; use KServe's own package in a program of its own"
_SERVER: Final = "Dragoman's own server takes its place; see docs/compatibility-kserve.md"

#: Modules of KServe that are not offered, and what to say to code that imports them.
NOT_HERE: Final = {
    "kserve.api": _KUBERNETES,
    "kserve.api_client": _KUBERNETES,
    "kserve.configuration": _KUBERNETES,
    "kserve.exceptions": _KUBERNETES,
    "kserve.models": _KUBERNETES,
    "kserve.rest": _KUBERNETES,
    "kserve.protocol.dataplane": _SERVER,
    "kserve.protocol.grpc.interceptors": _SERVER,
    "kserve.protocol.grpc.server": _SERVER,
    "kserve.protocol.grpc.servicer": _SERVER,
    "kserve.protocol.rest.multiprocess": _SERVER,
    "kserve.protocol.rest.server": _SERVER,
    "kserve.protocol.rest.ssl_cert_refresher": _SERVER,
    "kserve.protocol.rest.timeseries": _SERVER,
    "kserve.protocol.rest.v1_endpoints": _SERVER,
    "kserve.protocol.rest.v2_endpoints": _SERVER,
}
_CLUSTER: Final = (
    "Api",
    "Configuration",
    "KServeClient",
    "Knative",
    "NetUrl",
    "OpenApi",
    "V1alpha1",
    "V1beta1",
)


def aliased(wanted: str = "") -> None:
    """What happens when the package gets the name ``kserve``: it speaks as the current one does, or as is wanted."""
    dialect.choose("0.13" if wanted == "0.13" else "0.21")


def __getattr__(name: str) -> Any:
    if name in LATER:
        module, _, member = LATER[name].partition(":")
        found = importlib.import_module(module)
        return getattr(found, member) if member else found
    if name.startswith(_CLUSTER):
        raise ImportError(f"kserve.{name} is not here: {_KUBERNETES}", name=name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *LATER})
