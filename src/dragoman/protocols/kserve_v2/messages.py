"""The protocol's messages, as ``protos/`` defines them. Needs the extra ``grpc``."""

from typing import Any, Final

from dragoman.protobuf.schema import Schema

SERVICE: Final = "inference.GRPCInferenceService"
SCHEMA: Final = Schema.beside(__file__)


def message(name: str) -> Any:
    """The class of one of the protocol's messages."""
    return SCHEMA.message(f"inference.{name}")


ModelInferRequest: Final = message("ModelInferRequest")
ModelInferResponse: Final = message("ModelInferResponse")
ModelStreamInferResponse: Final = message("ModelStreamInferResponse")
