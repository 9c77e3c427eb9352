"""Names, ports and environment variables that KServe's own code and model files agree on."""

import os
from collections.abc import Mapping
from enum import Enum
from typing import Final

KSERVE_LOGLEVEL: Final = os.environ.get("KSERVE_LOGLEVEL", "INFO").upper()
KSERVE_MODEL_SERVER_NAME: Final = "kserve"

KSERVE_GROUP: Final = "serving.kserve.io"
KSERVE_KIND_INFERENCESERVICE: Final = "InferenceService"
KSERVE_KIND = KSERVE_KIND_INFERENCESERVICE
KSERVE_PLURAL_INFERENCESERVICE: Final = "inferenceservices"
KSERVE_PLURAL = KSERVE_PLURAL_INFERENCESERVICE
KSERVE_V1BETA1_VERSION: Final = "v1beta1"
KSERVE_V1BETA1: Final = f"{KSERVE_GROUP}/{KSERVE_V1BETA1_VERSION}"
KSERVE_V1ALPHA1_VERSION: Final = "v1alpha1"
KSERVE_V1ALPHA1: Final = f"{KSERVE_GROUP}/{KSERVE_V1ALPHA1_VERSION}"

DEFAULT_HTTP_PORT: Final = 8080
DEFAULT_HTTPS_PORT: Final = 8443
DEFAULT_GRPC_PORT: Final = 8081
#: Bytes of one gRPC message.
MAX_GRPC_MESSAGE_LENGTH: Final = 8388608

V1_ROUTE_PREFIX: Final = "/v1"
V2_ROUTE_PREFIX: Final = "/v2"
PREDICTOR_URL_FORMAT: Final = "{0}://{1}/v1/models/{2}:predict"
EXPLAINER_URL_FORMAT: Final = "{0}://{1}/v1/models/{2}:explain"
PREDICTOR_V2_URL_FORMAT: Final = "{0}://{1}/v2/models/{2}/infer"
PREDICTOR_BASE_URL_FORMAT: Final = "{0}://{1}"
EXPLAINER_BASE_URL_FORMAT: Final = "{0}://{1}"

#: How many bytes of a v2 body are JSON; tensors follow as they are.
INFERENCE_CONTENT_LENGTH_HEADER: Final = "inference-header-content-length"

KSERVE_TLS_CERT_FILE_ENV: Final = "KSERVE_TLS_CERT_FILE"
KSERVE_TLS_KEY_FILE_ENV: Final = "KSERVE_TLS_KEY_FILE"

FASTAPI_APP_IMPORT_STRING: Final = "kserve.model_server:app"
LLM_STATS_KEY: Final = "llm-stats"

#: The field of InferTensorContents that holds elements of a datatype. FP16 and BF16 have none: they go as raw bytes.
GRPC_CONTENT_DATATYPE_MAPPINGS: Final[Mapping[str, str]] = {
    "BOOL": "bool_contents",
    "INT8": "int_contents",
    "INT16": "int_contents",
    "INT32": "int_contents",
    "INT64": "int64_contents",
    "UINT8": "uint_contents",
    "UINT16": "uint_contents",
    "UINT32": "uint_contents",
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "BYTES": "bytes_contents",
}


class PredictorProtocol(Enum):
    """How a model asks its predictor."""

    REST_V1 = "v1"
    REST_V2 = "v2"
    GRPC_V2 = "grpc-v2"


class ModelType(Enum):
    EXPLAINER = 1
    PREDICTOR = 2
