"""A request of KServe's API: inputs for a model, and how they are written for REST and gRPC."""

import uuid
from typing import Any

import numpy as np

from dragoman.compat.kserve import dialect
from dragoman.compat.kserve.errors import InvalidInput
from dragoman.compat.kserve.protocol.contents import get_content
from dragoman.compat.kserve.protocol.infer_tensor import InferTensor, told
from dragoman.compat.kserve.protocol.parameters import plain, to_grpc_parameters, to_http_parameters
from dragoman.compat.kserve.protocol.requested_output import (
    RequestedOutput,
    read_outputs,
    write_grpc_output,
    write_rest_output,
)
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
from dragoman.compat.need import need
from dragoman.types import Array


class InferInput(InferTensor):
    """One input of a request."""

    kind = "input"

    def set_data_from_numpy(self, input_tensor: Array, binary_data: bool = True) -> None:
        """Take the data of an array, as they are now. ``binary_data`` is whether they are to travel as raw bytes.

        Raises InferenceError where the array has not the input's datatype or shape, and for bytes that are to be
        JSON and are no text.
        """
        self.take(input_tensor, binary_data)


class InferRequest:
    """``raw_inputs`` are the data of the inputs in their order, as they are on a wire."""

    _use_raw_outputs = False
    _is_served = False  #: whether it is a server's own request
    #: The input that a model looked for last and that isn't there: it may explain why the model fails then.
    missed = ""

    def __init__(
        self,
        model_name: str,
        infer_inputs: list[InferInput],
        request_id: str | None = None,
        raw_inputs: Any = None,
        from_grpc: bool | None = False,
        parameters: Any = None,
        request_outputs: list[RequestedOutput] | None = None,
        model_version: str | None = None,
    ) -> None:
        self.id = request_id
        self.model_name = model_name
        self.inputs = infer_inputs
        self.parameters = parameters
        self.from_grpc = from_grpc
        self.request_outputs = request_outputs
        self.model_version = model_version
        if raw_inputs:
            self._use_raw_outputs = True
            set_raw(infer_inputs, raw_inputs)

    @property
    def use_binary_outputs(self) -> bool:
        """Whether all outputs are wanted as raw bytes: over gRPC if the inputs were, over REST if it was said.

        Always, of a server's own request: the server writes them as the client wants them, and raw bytes can be all.
        """
        if self._is_served or self.from_grpc:
            return self._is_served or self._use_raw_outputs
        return bool(plain(self.parameters.get("binary_data_output", False))) if self.parameters else False

    @classmethod
    def _from_grpc(cls, request: Any) -> "InferRequest":
        """The request in a ``ModelInferRequest``."""
        inputs = [
            InferInput(
                tensor.name,
                list(tensor.shape),
                tensor.datatype,
                get_content(tensor.datatype, tensor.contents),
                to_http_parameters(tensor.parameters) if tensor.parameters else None,
            )
            for tensor in request.inputs
        ]
        outputs = [
            RequestedOutput(output.name, to_http_parameters(output.parameters) if output.parameters else None)
            for output in request.outputs
        ]
        return cls(
            request_id=request.id,
            model_name=request.model_name,
            infer_inputs=inputs,
            raw_inputs=request.raw_input_contents,
            from_grpc=True,
            parameters=request.parameters,
            request_outputs=outputs or None,
            model_version=request.model_version,
        )

    #: KServe has one name for two things: how one is made of a message, and whether it was.
    from_grpc: Any = _from_grpc

    @classmethod
    def from_bytes(cls, req_bytes: bytes, json_length: int, model_name: str) -> "InferRequest":
        """The request in the body of a v2 call; ``json_length`` bytes of it are JSON, raw tensors follow."""
        document, raws = split_rest(req_bytes, json_length)
        inputs = read_tensors(InferInput, document.get("inputs") or [], raws, model_name)
        outputs = document.get("outputs")
        return cls(
            model_name=model_name,
            request_id=document.get("id"),
            parameters=document.get("parameters"),
            infer_inputs=inputs,
            request_outputs=None if outputs is None else read_outputs(outputs),
        )

    @classmethod
    def from_inference_request(cls, request: Any, model_name: str) -> "InferRequest":
        """The request in an ``InferenceRequest`` of ``protocol.rest.v2_datamodels``."""
        document = request.model_dump()
        for tensor in (*document["inputs"], *(document["outputs"] or ())):
            tensor["parameters"] = tensor["parameters"] or {}
        return cls(
            request_id=document["id"],
            model_name=model_name,
            infer_inputs=read_tensors(InferInput, document["inputs"], None, model_name),
            parameters=document["parameters"],
            request_outputs=read_outputs(document["outputs"]) if document["outputs"] else None,
        )

    def to_rest(self) -> Any:
        """The v2 document of the request; in KServe 0.21's way a pair, see ``dialect``."""
        return self.encode_rest() if not dialect.is_old() else self._rest(binary=False)[0]

    def encode_rest(self) -> Rest:
        """The v2 document and ``None``, or, where inputs are raw, a body and how many bytes of it are JSON."""
        return join_rest(*self._rest(binary=True))

    def to_grpc(self) -> Any:
        """The request as a ``ModelInferRequest``. Where one input is raw, all are: servers take no mixture."""
        from dragoman.compat.kserve.protocol.grpc.grpc_predict_v2_pb2 import ModelInferRequest

        raw = is_any_raw(self.inputs)
        texts = ("input data is not a List", "invalid input datatype")
        written = [write_grpc(tensor, raw, *texts) for tensor in self.inputs]
        return ModelInferRequest(
            id=self.id,
            model_name=self.model_name,
            model_version=self.model_version,
            inputs=[tensor for tensor, _ in written],
            raw_input_contents=[data for _, data in written if data is not None],
            parameters=to_grpc_parameters(self.parameters) if self.parameters else None,
            outputs=[write_grpc_output(output) for output in self.request_outputs or ()],
        )

    def as_dataframe(self) -> Any:
        """The inputs as columns of a pandas DataFrame; BYTES as text."""
        pandas = need("pandas", "InferRequest.as_dataframe")
        frames = []
        for tensor in self.inputs:
            data = tensor.data
            if tensor.datatype == "BYTES":
                data = [value.decode() if isinstance(value, bytes) else value for value in data]
            frames.append(pandas.DataFrame(data, columns=[tensor.name]))
        return pandas.concat(frames, axis=1)

    def get_input_by_name(self, name: str) -> InferInput | None:
        """The input of that name, or ``None``."""
        for tensor in self.inputs:
            if tensor.name == name:
                return tensor
        self.missed = name
        return None

    def to_dict(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "model_name": self.model_name,
            "inputs": [tensor.to_dict() for tensor in self.inputs],
            "parameters": self.parameters,
            "from_grpc": self.from_grpc,
        }

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, InferRequest):
            return False
        return self._members() == other._members()

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return told({**self.to_dict(), "inputs": self.inputs})

    def _members(self) -> tuple[Any, ...]:
        said = (self.model_name, self.id, self.from_grpc, self.parameters)
        return (*said, self.inputs, self.request_outputs)

    def _rest(self, binary: bool) -> tuple[dict[str, Any], list[bytes]]:
        raws: list[bytes] = []
        inputs = [write_rest(tensor, self._data(tensor, binary), raws) for tensor in self.inputs]
        document: dict[str, Any] = {"id": self.id or str(uuid.uuid4())}
        if not dialect.is_old():
            document["model_name"] = self.model_name
        document["inputs"] = inputs
        if self.request_outputs:
            document["outputs"] = [write_rest_output(output) for output in self.request_outputs]
        if self.parameters:
            document["parameters"] = to_http_parameters(self.parameters)
        return document, raws

    def _data(self, tensor: InferInput, binary: bool) -> list[Any] | bytes:
        """An input's data for REST. A list that was given is taken at its word, nested or flat."""
        require_data(tensor, self.model_name)
        if tensor.has_both:
            raise InvalidInput(
                f"Both 'data' and 'raw_data' fields are set for input '{tensor.name}' for model '{self.model_name}'"
            )
        if binary and tensor.is_raw:
            return tensor.to_bytes()
        data = tensor.data
        if isinstance(data, np.ndarray):
            tensor.check(data)
        if not dialect.is_old() and data is not None and len(data):
            refuse_json(tensor)
        return data if isinstance(data, list) and not _has_bytes(data) else tensor.to_list()


def set_raw(tensors: list[Any], raws: Any) -> None:
    """Give tensors their raw bytes, in their order. Raises InvalidInput where there are more bytes than tensors."""
    if len(raws) > len(tensors):
        raise InvalidInput(f"{len(raws)} raw contents for {len(tensors)} tensors")
    for tensor, raw in zip(tensors, raws, strict=False):
        tensor._raw_data = raw


def _has_bytes(data: list[Any]) -> bool:
    return any(isinstance(value, bytes) for value in data)
