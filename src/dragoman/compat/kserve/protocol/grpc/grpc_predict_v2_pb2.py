"""KServe's messages, under the name of the module that its clients import; defined in ``protos/``.

They are in a pool of their own, so that the process may hold KServe's generated code as well.
"""

from typing import Any, Final

from dragoman.protobuf.schema import Schema

SCHEMA: Final = Schema.beside(__file__)
DESCRIPTOR: Final = SCHEMA.descriptor("grpc_predict_v2.proto")


def _message(name: str) -> Any:
    return SCHEMA.message(f"inference.{name}")


ServerLiveRequest: Final = _message("ServerLiveRequest")
ServerLiveResponse: Final = _message("ServerLiveResponse")
ServerReadyRequest: Final = _message("ServerReadyRequest")
ServerReadyResponse: Final = _message("ServerReadyResponse")
ModelReadyRequest: Final = _message("ModelReadyRequest")
ModelReadyResponse: Final = _message("ModelReadyResponse")
ServerMetadataRequest: Final = _message("ServerMetadataRequest")
ServerMetadataResponse: Final = _message("ServerMetadataResponse")
ModelMetadataRequest: Final = _message("ModelMetadataRequest")
ModelMetadataResponse: Final = _message("ModelMetadataResponse")
InferParameter: Final = _message("InferParameter")
InferTensorContents: Final = _message("InferTensorContents")
ModelInferRequest: Final = _message("ModelInferRequest")
ModelInferResponse: Final = _message("ModelInferResponse")
RepositoryModelLoadRequest: Final = _message("RepositoryModelLoadRequest")
RepositoryModelLoadResponse: Final = _message("RepositoryModelLoadResponse")
RepositoryModelUnloadRequest: Final = _message("RepositoryModelUnloadRequest")
RepositoryModelUnloadResponse: Final = _message("RepositoryModelUnloadResponse")
