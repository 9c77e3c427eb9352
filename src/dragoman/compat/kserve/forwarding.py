"""A model's default ``predict`` and ``explain``: ask another server, over v1, v2 or gRPC.

What that server refuses keeps its kind: a client's mistake stays one, whoever finds it. Where it is not there, or
late, the model is not ready, or the time is up.
"""

import os
from collections.abc import Mapping, MutableMapping
from typing import Any, Final

from dragoman.compat.kserve.constants.constants import PredictorProtocol
from dragoman.compat.kserve.inference_client import find_client
from dragoman.compat.kserve.predictor_config import PredictorConfig
from dragoman.compat.kserve.protocol.infer_type import InferRequest
from dragoman.compat.kserve.protocol.parameters import is_message
from dragoman.compat.kserve.utils.inference_client_factory import InferenceClientFactory

#: The headers of a request that go on to the next server: who it is for, and how to find it again.
FORWARDED: Final = ("x-request-id", "x-b3-traceid", "traceparent", "tracestate", "authorization")
#: Files of certificates to trust, as the operator of a transformer names them.
_TRUSTED: Final = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
_GRPC: Final = (("request_type", "grpc_v2"), ("response_type", "grpc_v2"))
Headers = Mapping[str, str] | None


async def predict(
    config: PredictorConfig,
    name: str,
    payload: Any,
    headers: Headers,
    response_headers: MutableMapping[str, str] | None = None,
) -> Any:
    """What the predictor answers: a document over v1, an InferResponse over the others."""
    if config.protocol == PredictorProtocol.GRPC_V2.value:
        return await _predict_grpc(config, payload, headers)
    return await _rest(config).infer(
        config.predictor_base_url,
        model_name=name,
        data=InferRequest.from_grpc(payload) if is_message(payload, "ModelInferRequest") else payload,
        headers=append_forwardable_headers(headers, {"content-type": "application/json"}),
        response_headers=response_headers,
    )


async def explain(config: PredictorConfig, name: str, payload: Any, headers: Headers) -> Any:
    """What the explainer answers."""
    return await _rest(config).explain(
        config.predictor_base_url,
        model_name=name,
        data=payload,
        headers=append_forwardable_headers(headers, {"content-type": "application/json"}),
    )


def append_forwardable_headers(headers: Headers, base: Headers = None) -> dict[str, str]:
    """``base`` and those of the request's headers that go on, whatever case their names are in."""
    sent = {name.lower(): value for name, value in (headers or {}).items()}
    return {**(base or {}), **{name: sent[name] for name in FORWARDED if name in sent}}


async def _predict_grpc(config: PredictorConfig, payload: Any, headers: Headers) -> Any:
    asked = InferenceClientFactory().get_grpc_client(
        config.predictor_host or "",
        use_ssl=config.use_ssl,
        root_certificates=_trusted() if config.use_ssl else None,
        timeout=config.timeout,
        retries=config.retries,
    )
    request = InferRequest.from_grpc(payload) if is_message(payload, "ModelInferRequest") else payload
    return await asked.infer(request, headers=(*_GRPC, *append_forwardable_headers(headers).items()))


def _rest(config: PredictorConfig) -> Any:
    settings = find_client("RESTConfig")(
        protocol=config.protocol,
        timeout=config.timeout,
        retries=config.retries,
        verify=_trusted() or True,
    )
    return InferenceClientFactory().get_rest_client(settings)


def _trusted() -> str | None:
    return next((os.environ[name] for name in _TRUSTED if os.environ.get(name)), None)
