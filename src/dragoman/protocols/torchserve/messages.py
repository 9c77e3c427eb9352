"""The messages of TorchServe's services, as ``protos/`` defines them. Needs the extra ``grpc``."""

from typing import Final

from dragoman.protobuf.schema import Schema

INFERENCE: Final = "org.pytorch.serve.grpc.inference.InferenceAPIsService"
MANAGEMENT: Final = "org.pytorch.serve.grpc.management.ManagementAPIsService"
#: The Open Inference Protocol under a package of TorchServe's own.
OPEN_INFERENCE: Final = "org.pytorch.serve.grpc.openinference.GRPCInferenceService"
SCHEMA: Final = Schema.beside(__file__)

_PACKAGE: Final = "org.pytorch.serve.grpc.inference"

Empty: Final = SCHEMA.message("google.protobuf.Empty")
ErrorInfo: Final = SCHEMA.message("google.rpc.ErrorInfo")
PredictionsRequest: Final = SCHEMA.message(f"{_PACKAGE}.PredictionsRequest")
PredictionResponse: Final = SCHEMA.message(f"{_PACKAGE}.PredictionResponse")
TorchServeHealthResponse: Final = SCHEMA.message(f"{_PACKAGE}.TorchServeHealthResponse")
