"""An answer of KServe's API: outputs of a model, and how they are written for REST and gRPC."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from dragoman.compat.kserve import dialect
from dragoman.compat.kserve.errors import InvalidInput
from dragoman.compat.kserve.protocol.contents import get_content
from dragoman.compat.kserve.protocol.infer_request import set_raw
from dragoman.compat.kserve.protocol.infer_tensor import InferTensor, told
from dragoman.compat.kserve.protocol.parameters import to_grpc_parameters, to_http_parameters
from dragoman.compat.kserve.protocol.requested_output import RequestedOutput
from dragoman.compat.kserve.protocol.tensor_data import ONLY_RAW
from dragoman.compat.kserve.protocol.writing import (
    Rest,
    is_any_raw,
    join_rest,
    read_tensors,
    refuse_json,
    require_data,
    split_rest,
    write_grpc,
    write_rest,
)
from dragoman.types import Array


class InferOutput(InferTensor):
    """One output of an answer."""

    kind = "output"

    def set_data_from_numpy(self, output_tensor: Array, binary_data: bool = True) -> None:
        """Take the data of an array, as they are now. ``binary_data`` is whether they are to travel as raw bytes.

        Raises InferenceError where the array has not the output's datatype or shape, and for bytes that are to be
        JSON and are no text.
        """
        self.take(output_tensor, binary_data)


class InferResponse:
    """``raw_outputs`` are the data of the outputs in their order, as they are on a wire."""

    def __init__(
        self,
        response_id: str | None,
        model_name: str,
        infer_outputs: list[InferOutput],
        model_version: str | None = None,
        raw_outputs: Any = None,
        from_grpc: bool | None = False,
        parameters: Any = None,
        use_binary_outputs: bool | None = False,
        requested_outputs: list[RequestedOutput] | None = None,
    ) -> None:
        self.id = response_id
        self.model_name = model_name
        self.model_version = model_version
        self.outputs = infer_outputs
        self.parameters = parameters
        self.from_grpc = from_grpc
        self._use_binary_outputs = use_binary_outputs
        self._requested_outputs = requested_outputs
        if raw_outputs:
            set_raw(infer_outputs, raw_outputs)

    @classmethod
    def _from_grpc(cls, response: Any) -> "InferResponse":
        """The answer in a ``ModelInferResponse``."""
        outputs = [
            InferOutput(
                tensor.name,
                list(tensor.shape),
                tensor.datatype,
                get_content(tensor.datatype, tensor.contents),
                tensor.parameters,
            )
            for tensor in response.outputs
        ]
        return cls(
            model_name=response.model_name,
            model_version=response.model_version,
            response_id=response.id,
            parameters=response.parameters,
            infer_outputs=outputs,
            raw_outputs=response.raw_output_contents,
            from_grpc=True,
        )

    #: KServe has one name for two things: how one is made of a message, and whether it was.
    from_grpc: Any = _from_grpc

    @classmethod
    def from_rest(cls, model_name: Any, response: Mapping[str, Any] | None = None) -> "InferResponse":
        """The answer in a v2 document. KServe 0.13 names the model first, 0.21 takes it from the document."""
        document: Mapping[str, Any] = model_name if response is None else response
        name = str(document.get("model_name", "")) if response is None else model_name
        return cls(
            model_name=name,
            model_version=document.get("model_version"),
            response_id=document.get("id"),
            parameters=document.get("parameters"),
            infer_outputs=read_tensors(InferOutput, document.get("outputs") or [], None, name),
        )

    @classmethod
    def from_bytes(cls, res_bytes: bytes, json_length: int) -> "InferResponse":
        """The answer in the body of a v2 call; ``json_length`` bytes of it are JSON, raw tensors follow."""
        document, raws = split_rest(res_bytes, json_length)
        name = str(document.get("model_name", ""))
        return cls(
            model_name=name,
            model_version=document.get("model_version"),
            response_id=document.get("id"),
            parameters=document.get("parameters"),
            infer_outputs=read_tensors(InferOutput, document.get("outputs") or [], raws, name),
        )

    def to_rest(self) -> Any:
        """The v2 document of the answer; in KServe 0.21's way a pair, see ``dialect``."""
        return self.encode_rest() if not dialect.is_old() else self._old_document()

    def encode_rest(self) -> Rest:
        """The v2 document and ``None``, or, where outputs are raw, a body and how many bytes of it are JSON.

        Requested outputs are the only ones, and each says for itself whether it is raw.
        """
        raws: list[bytes] = []
        outputs = []
        for name, raw in self._wanted():
            tensor = self.get_output_by_name(name)
            if tensor is None:
                raise InvalidInput(f"Unexpected inference output '{name}' for model '{self.model_name}'")
            require_data(tensor, self.model_name)
            outputs.append(write_rest(tensor, tensor.to_bytes() if raw else _flat(tensor), raws))
        return join_rest(self._document(outputs), raws)

    def to_grpc(self) -> Any:
        """The answer as a ``ModelInferResponse``. Where one output is raw, all are: clients take no mixture."""
        from dragoman.compat.kserve.protocol.grpc.grpc_predict_v2_pb2 import ModelInferResponse

        raw = bool(self._use_binary_outputs) or is_any_raw(self.outputs)
        texts = ("output data is not a List", "to_grpc: invalid output datatype")
        written = [write_grpc(tensor, raw, *texts) for tensor in self.outputs]
        return ModelInferResponse(
            id=self.id,
            model_name=self.model_name,
            model_version=self.model_version,
            outputs=[tensor for tensor, _ in written],
            raw_output_contents=[data for _, data in written if data is not None],
            parameters=to_grpc_parameters(self.parameters) if self.parameters else None,
        )

    def get_output_by_name(self, name: str) -> InferOutput | None:
        return next((tensor for tensor in self.outputs if tensor.name == name), None)

    def to_dict(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "model_name": self.model_name,
            "outputs": [tensor.to_dict() for tensor in self.outputs],
            "parameters": self.parameters,
            "from_grpc": self.from_grpc,
        }

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, InferResponse):
            return False
        return self._members() == other._members()

    __hash__ = None  # type: ignore[assignment] # what is equal now may not be so later

    def __repr__(self) -> str:
        return told({**self.to_dict(), "outputs": self.outputs})

    def _members(self) -> tuple[Any, ...]:
        said = (self.model_name, self.model_version, self.id, self.from_grpc, self.parameters)
        return (*said, self.outputs)

    def _wanted(self) -> list[tuple[str, bool]]:
        if self._requested_outputs:
            return [(output.name, bool(output.binary_data)) for output in self._requested_outputs]
        return [(output.name, bool(self._use_binary_outputs)) for output in self.outputs]

    def _document(self, outputs: list[dict[str, Any]]) -> dict[str, Any]:
        document: dict[str, Any] = {
            "id": self.id,
            "model_name": self.model_name,
            "model_version": self.model_version,
            "outputs": outputs,
        }
        if self.parameters:
            document["parameters"] = to_http_parameters(self.parameters)
        return document

    def _old_document(self) -> dict[str, Any]:
        """All outputs, and nothing raw: lists as they were given, arrays flat, raw bytes in the output's shape."""
        outputs = []
        for tensor in self.outputs:
            data = tensor.to_list(nested=True) if tensor.is_raw else tensor.data
            flat = _flat(tensor) if isinstance(data, np.ndarray) else data
            outputs.append(write_rest(tensor, flat, []))
        return self._document(outputs)


def _flat(tensor: InferOutput) -> list[Any]:
    """An output's data for JSON, flat and of its datatype. Raises InvalidInput where JSON can't say it."""
    data = tensor.data
    if isinstance(data, np.ndarray):
        tensor.check(data)
    if isinstance(data, list) and not data:
        return data
    if not dialect.is_old():
        refuse_json(tensor)
    return tensor.to_list()


def _contains_fp16_datatype(infer_response: InferResponse) -> bool:
    """Whether any output has a datatype that only travels as raw bytes."""
    return any(tensor.datatype in ONLY_RAW for tensor in infer_response.outputs)
