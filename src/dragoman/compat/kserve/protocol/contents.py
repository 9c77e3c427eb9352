"""Elements of tensors in gRPC messages that are not raw bytes."""

from typing import Any

from dragoman.compat.kserve.constants.constants import GRPC_CONTENT_DATATYPE_MAPPINGS
from dragoman.compat.kserve.errors import InvalidInput
from dragoman.compat.kserve.protocol.byte_tensor import as_bytes


def get_content(datatype: str, data: Any) -> list[Any]:
    """The elements that an ``InferTensorContents`` has of a datatype. Those of FP16 and BF16 are elsewhere, raw."""
    if datatype in {"FP16", "BF16"}:
        return []
    field = GRPC_CONTENT_DATATYPE_MAPPINGS.get(datatype)
    if field is None:
        raise InvalidInput("invalid content type")
    return list(getattr(data, field))


def make_contents(datatype: str, data: Any, wrong_kind: str, wrong_datatype: str) -> dict[str, list[Any]]:
    """The fields of an ``InferTensorContents`` for a list of elements; the texts say what it is if it is none."""
    if not isinstance(data, list):
        raise InvalidInput(wrong_kind)
    field = GRPC_CONTENT_DATATYPE_MAPPINGS.get(datatype)
    if field is None:
        raise InvalidInput(wrong_datatype)
    return {field: [as_bytes(value) for value in data] if datatype == "BYTES" else data}
