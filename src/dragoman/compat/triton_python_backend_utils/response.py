"""What a model answers: tensors or an error, and who sends answers one by one."""

from collections.abc import Callable, Sequence
from typing import Any, Final

from dragoman.compat.triton_python_backend_utils.errors import TritonError, TritonModelException
from dragoman.compat.triton_python_backend_utils.tensor import Tensor

TRITONSERVER_RESPONSE_COMPLETE_FINAL: Final = 1


class InferenceResponse:
    """One answer: ``output_tensors``, or an ``error``. ``parameters`` go to the client."""

    def __init__(
        self,
        output_tensors: Sequence[Tensor] | None = None,
        error: TritonError | None = None,
        parameters: dict[str, Any] | None = None,
    ) -> None:
        tensors = [] if output_tensors is None else list(output_tensors)
        for tensor in tensors:
            if not isinstance(tensor, Tensor):
                raise TritonModelException(f"output_tensors must be tensors, got {type(tensor).__name__}")
        for key, value in (parameters or {}).items():
            if not isinstance(key, str) or not isinstance(value, bool | int | float | str):
                raise TritonModelException(
                    f"parameter {key!r} of a response must be bool, int, float or str, got {type(value).__name__}"
                )
        self._tensors, self._error, self._parameters = tensors, error, dict(parameters or {})

    def output_tensors(self) -> list[Tensor]:
        return self._tensors

    def has_error(self) -> bool:
        return self._error is not None

    def error(self) -> TritonError | None:
        return self._error

    def parameters(self) -> dict[str, Any]:
        return self._parameters


#: Takes a response, or none, and whether it was the last.
Send = Callable[[InferenceResponse | None, bool], None]


class InferenceResponseSender:
    """Sends the answer to one request, in parts where its model is decoupled; from any thread."""

    def __init__(self, send: Send, is_cancelled: Callable[[], bool], lose: Callable[[], None]) -> None:
        """``lose`` is called when the model has let go of it, whatever it has sent."""
        self._send, self._is_cancelled, self._lose = send, is_cancelled, lose
        self._closed = False

    def __del__(self) -> None:
        self._lose()

    def send(self, response: InferenceResponse | None = None, flags: int = 0) -> None:
        """Send a part. With the flag FINAL there comes no other; it may be the flag alone."""
        if self._closed:
            raise TritonModelException("Unable to send response. Response sender has been closed.")
        if flags not in (0, TRITONSERVER_RESPONSE_COMPLETE_FINAL):
            raise TritonModelException("Unable to send response. Unsupported flag provided.")
        if response is None and not flags:
            raise TritonModelException(
                "Inference Response object must be provided when the response flags is set to zero."
            )
        if response is not None and not isinstance(response, InferenceResponse):
            raise TritonModelException(f"expected an InferenceResponse, got {type(response).__name__}")
        self._closed = bool(flags)
        self._send(response, self._closed)

    def is_cancelled(self) -> bool:
        """Whether nobody waits for the answer any more."""
        return self._is_cancelled()
