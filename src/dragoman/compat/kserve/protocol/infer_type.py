"""The types of KServe's API, under the name of the module where KServe has them all."""

from dragoman.compat.kserve.protocol.byte_tensor import deserialize_bytes_tensor, serialize_byte_tensor
from dragoman.compat.kserve.protocol.contents import get_content
from dragoman.compat.kserve.protocol.infer_request import InferInput, InferRequest
from dragoman.compat.kserve.protocol.infer_response import (
    InferOutput,
    InferResponse,
    _contains_fp16_datatype,
)
from dragoman.compat.kserve.protocol.parameters import to_grpc_parameters, to_http_parameters
from dragoman.compat.kserve.protocol.requested_output import RequestedOutput

__all__ = [
    "InferInput",
    "InferOutput",
    "InferRequest",
    "InferResponse",
    "RequestedOutput",
    "_contains_fp16_datatype",
    "deserialize_bytes_tensor",
    "get_content",
    "serialize_byte_tensor",
    "to_grpc_parameters",
    "to_http_parameters",
]
