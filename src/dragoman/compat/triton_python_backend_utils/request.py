"""A request: as it comes to a model, and as a model makes one to ask another model."""

import json
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from typing import Any, Final

from dragoman.compat.triton_python_backend_utils.asking import (
    Answers,
    answer,
    async_answer,
    async_answers,
    begin,
)
from dragoman.compat.triton_python_backend_utils.errors import TritonModelException
from dragoman.compat.triton_python_backend_utils.memory import InferenceTrace, PreferredMemory
from dragoman.compat.triton_python_backend_utils.response import InferenceResponse, InferenceResponseSender
from dragoman.compat.triton_python_backend_utils.tensor import Tensor
from dragoman.types import InferRequest

TRITONSERVER_REQUEST_FLAG_SEQUENCE_START: Final = 1
TRITONSERVER_REQUEST_FLAG_SEQUENCE_END: Final = 2
TRITONSERVER_REQUEST_RELEASE_ALL: Final = 1
TRITONSERVER_REQUEST_RELEASE_RESCHEDULE: Final = 2

#: Parameters that have a method of their own.
_OWN: Final = frozenset({"sequence_id", "sequence_start", "sequence_end"})


class InferenceRequest:
    """Made by models to ask others: ``exec`` and ``async_exec``. What a model is given is a ``Received``."""

    def __init__(
        self,
        model_name: str,
        requested_output_names: Sequence[str],
        inputs: Sequence[Tensor],
        request_id: str = "",
        correlation_id: int | str = 0,
        model_version: int = -1,
        flags: int = 0,
        timeout: int = 0,
        preferred_memory: PreferredMemory | None = None,
        trace: InferenceTrace | None = None,
        parameters: Mapping[str, Any] | str | None = None,
    ) -> None:
        """``timeout`` is in microseconds, 0 is none; ``model_version`` -1 is the default one."""
        self._model, self._version = model_name, model_version
        self._wanted, self._inputs = list(requested_output_names), list(inputs)
        self._id, self._correlation, self._flags, self._timeout = request_id, correlation_id, flags, timeout
        self._priority = 0
        said = json.loads(parameters) if isinstance(parameters, str) else parameters
        self._parameters: dict[str, Any] = dict(said or {})
        self._memory, self._trace = preferred_memory or PreferredMemory(), trace or InferenceTrace()
        for tensor in self._inputs:
            if not isinstance(tensor, Tensor):
                raise TritonModelException(f"inputs must be tensors, got {type(tensor).__name__}")

    def model_name(self) -> str:
        return self._model

    def model_version(self) -> int:
        return self._version

    def inputs(self) -> list[Tensor]:
        return self._inputs

    def requested_output_names(self) -> list[str]:
        return self._wanted

    def request_id(self) -> str:
        return self._id

    def correlation_id(self) -> int | str:
        """The sequence's id; 0 where the request belongs to none."""
        return self._correlation

    def flags(self) -> int:
        return self._flags

    def set_flags(self, flags: int) -> None:
        self._flags = flags

    def timeout(self) -> int:
        """Microseconds that the client has given it; 0 is no limit."""
        return self._timeout

    def priority(self) -> int:
        return self._priority

    def parameters(self) -> str:
        """As JSON; empty where there are none."""
        return json.dumps(self._parameters) if self._parameters else ""

    def preferred_memory(self) -> PreferredMemory:
        return self._memory

    def trace(self) -> InferenceTrace:
        return self._trace

    def set_release_flags(self, flags: int) -> None:
        """All of a request is given back when it is answered; to be asked again with it is not offered."""
        if flags != TRITONSERVER_REQUEST_RELEASE_ALL:
            raise TritonModelException("requests can't be scheduled again: only RELEASE_ALL is offered")

    def exec(self, decoupled: bool = False) -> InferenceResponse | Iterator[InferenceResponse]:
        """Ask the model and wait: its answer, or, of a decoupled one, an iterator over all of them.

        What the model fails with is the response's error.
        """
        asked = begin(self._to_core())
        return Answers(asked) if decoupled else answer(asked)

    async def async_exec(
        self, decoupled: bool = False
    ) -> InferenceResponse | AsyncIterator[InferenceResponse]:
        """The same for coroutines."""
        asked = begin(self._to_core())
        return async_answers(asked) if decoupled else await async_answer(asked)

    def _to_core(self) -> InferRequest:
        parameters = dict(self._parameters)
        if self._correlation:
            parameters["sequence_id"] = self._correlation
            parameters["sequence_start"] = bool(self._flags & TRITONSERVER_REQUEST_FLAG_SEQUENCE_START)
            parameters["sequence_end"] = bool(self._flags & TRITONSERVER_REQUEST_FLAG_SEQUENCE_END)
        return InferRequest(
            self._model,
            tuple([tensor.to_core() for tensor in self._inputs]),
            "" if int(self._version) == -1 else str(self._version),
            self._id,
            tuple(self._wanted) or None,
            parameters,
            timeout=self._timeout,
        )


class Received(InferenceRequest):
    """What a model is asked."""

    def __init__(
        self, request: InferRequest, outputs: Sequence[str], sender: InferenceResponseSender
    ) -> None:
        """``outputs`` are the model's, for requests that name none."""
        said = request.parameters
        start = TRITONSERVER_REQUEST_FLAG_SEQUENCE_START if said.get("sequence_start") else 0
        end = TRITONSERVER_REQUEST_FLAG_SEQUENCE_END if said.get("sequence_end") else 0
        super().__init__(
            request.model,
            outputs if request.outputs is None else request.outputs,
            [Tensor.of(tensor) for tensor in request.inputs],
            request.id,
            said.get("sequence_id", 0),
            int(request.version) if request.version.isdigit() else -1,
            start | end,
            request.timeout,
            parameters={key: value for key, value in said.items() if key not in _OWN},
        )
        self._priority = request.priority
        self._request, self._sender = request, sender
        self.sends = False  #: the model has asked for the sender: what it returns is not the answer

    def get_response_sender(self) -> InferenceResponseSender:
        """What sends the answer, in place of what ``execute`` returns."""
        self.sends = True
        return self._sender

    def is_cancelled(self) -> bool:
        """Whether nobody waits for the answer any more."""
        return self._request.abandoned
