"""KServe v1 for models that take what the client sent: a body in, a body out. Knows no socket and no URL.

The body is the one input ``body``, a BYTES tensor of one element with the parameter ``content_type``; the headers are
the parameter ``headers``, by names in lower case, and ``verb`` is ``explain`` where that is asked for.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from dragoman.errors import ModelFailed
from dragoman.protocols.kserve_v1.cloudevents import Event, decode_event
from dragoman.tensors import bytes_array, check_json_depth
from dragoman.types import InferRequest, InferResponse, Tensor

#: Headers of an answer that are the server's, whatever a model says.
_OURS: Final = frozenset({"connection", "content-length", "transfer-encoding", "keep-alive", "content-type"})


class Answer(NamedTuple):
    """A model's answer, or a part of it, as HTTP says it."""

    body: bytes
    content_type: str
    headers: tuple[tuple[str, str], ...]


def decode_document(
    model: str,
    version: str,
    body: bytes | memoryview,
    content_type: str,
    headers: Mapping[str, str],
    verb: str = "predict",
    *,
    max_depth: int = 100,
) -> tuple[InferRequest, Event | None]:
    """The request, and the event that it came as. Raises InvalidInput and TooLarge."""
    data = bytes(body)
    event = decode_event(data, content_type, headers)
    parameters: dict[str, Any] = {"content_type": content_type}
    if event is not None:
        data = event.data
        parameters = {"content_type": event.content_type, "event": True}
    if "json" in parameters["content_type"] or not parameters["content_type"]:
        check_json_depth(data, max_depth)
    tensor = Tensor("body", "BYTES", bytes_array([data], [1]), parameters)
    said = {"headers": headers, "verb": verb} if verb != "predict" else {"headers": headers}
    return InferRequest(model, (tensor,), version, parameters=said), event


def encode_document(response: InferResponse) -> Answer:
    """What the model said, or a part of it. Raises ModelFailed for a header that can't be one."""
    outputs = response.outputs
    body = bytes(outputs[0].data.item()) if outputs else b""
    content_type = response.parameters.get("content_type", "")
    headers: tuple[tuple[str, str], ...] = ()
    if given := response.parameters.get("headers"):
        if type(given) is not dict:
            raise ModelFailed(f"the model's headers are {type(given).__name__}, expected a dict")
        content_type = next((v for name, v in given.items() if name.lower() == "content-type"), content_type)
        headers = tuple((name, v) for name, v in given.items() if name.lower() not in _OURS)
    return Answer(body, content_type, headers)


def decode_headers(raw: Sequence[tuple[bytes, bytes]]) -> dict[str, str]:
    """A request's headers as a model sees them; of several with one name the last."""
    return {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in raw}
