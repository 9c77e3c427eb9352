"""Parameters of requests, tensors and answers: plain values for REST, messages for gRPC."""

from collections.abc import Mapping
from typing import Any, Final

from dragoman.compat.kserve.errors import InvalidInput

#: Numbers that only an unsigned parameter holds.
_UNSIGNED: Final = range(2**63, 2**64)
_SIGNED: Final = range(-(2**63), 2**63)


def to_grpc_parameters(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Each value as an ``InferParameter``. Raises InvalidInput for a value that is no text, boolean or number."""
    from dragoman.compat.kserve.protocol.grpc.grpc_predict_v2_pb2 import InferParameter

    return {
        name: value if isinstance(value, InferParameter) else InferParameter(**{_field(value): plain(value)})
        for name, value in parameters.items()
    }


def to_http_parameters(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Each value as it stands in JSON. Messages without a value are left out."""
    found = {name: plain(value) for name, value in parameters.items()}
    return {name: value for name, value in found.items() if value is not None or parameters[name] is None}


def plain(value: Any) -> Any:
    """What a message of anybody's ``InferParameter`` holds; anything else is handed back."""
    if not is_message(value, "InferParameter"):
        return value
    choice = value.WhichOneof("parameter_choice")
    return None if choice is None else getattr(value, choice)


def is_message(value: Any, name: str) -> bool:
    """Whether it is a message of that name, from whoever's generated code: a program may hold several."""
    descriptor = getattr(value, "DESCRIPTOR", None)
    return descriptor is not None and descriptor.name == name


def _field(value: Any) -> str:
    value = plain(value)
    if isinstance(value, str):
        return "string_param"
    if isinstance(value, bool):
        return "bool_param"
    if isinstance(value, int) and value in _SIGNED:
        return "int64_param"
    if isinstance(value, int) and value in _UNSIGNED:
        return "uint64_param"
    if isinstance(value, float):
        return "double_param"
    raise InvalidInput(f"to_grpc: invalid parameter value: {value}")
