"""Outputs that a client wants, and how."""

from collections.abc import Mapping, Sequence
from typing import Any

from dragoman.compat.kserve.protocol.parameters import plain, to_grpc_parameters, to_http_parameters


class RequestedOutput:
    """An output that a client wants, and how."""

    def __init__(self, name: str, parameters: dict[str, Any] | None = None) -> None:
        self._name = name
        self.parameters = parameters

    @property
    def name(self) -> str:
        return self._name

    @property
    def binary_data(self) -> bool | None:
        """Whether it is wanted as raw bytes; ``None`` if nothing is said."""
        return plain(self.parameters.get("binary_data")) if self.parameters else None

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, RequestedOutput):
            return False
        return (self.name, self.parameters) == (other.name, other.parameters)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"RequestedOutput(name={self.name}, parameters={self.parameters})"


def read_outputs(outputs: Sequence[Mapping[str, Any]]) -> list[RequestedOutput]:
    return [RequestedOutput(output["name"], output.get("parameters")) for output in outputs]


def write_rest_output(output: RequestedOutput) -> dict[str, Any]:
    said = {"parameters": to_http_parameters(output.parameters)} if output.parameters else {}
    return {"name": output.name, **said}


def write_grpc_output(output: RequestedOutput) -> dict[str, Any]:
    return {"name": output.name, "parameters": to_grpc_parameters(output.parameters or {})}
