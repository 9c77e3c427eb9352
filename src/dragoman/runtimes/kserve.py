"""Runs a model written for KServe's Python API: its hooks get what the client sent, and its words go back.

Requests of KServe's first protocol come as documents (see ``Runtime.takes_documents``), those of the second as tensors;
a model sees a dict or its own ``InferRequest``. Knows no wire: a document's bytes are JSON or they are not.
"""

import asyncio
import inspect
import logging
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping, Sequence
from functools import partial
from typing import Any, ClassVar, Final

import orjson

from dragoman.compat import install
from dragoman.compat.kserve.model import BaseKServeModel, InferenceVerb, is_healthy
from dragoman.compat.kserve.protocol.core import from_core, to_core
from dragoman.compat.kserve.protocol.infer_type import InferResponse as KServeResponse
from dragoman.errors import (
    ConfigError,
    DragomanError,
    InvalidInput,
    InvalidOutput,
    ModelFailed,
    NotReady,
    PredictionFailed,
    Unsupported,
)
from dragoman.runtimes.base import Artifact, Emit, Runtime
from dragoman.runtimes.importing import find_class, where
from dragoman.runtimes.joining import join
from dragoman.tensors import bytes_array, dump_json
from dragoman.types import InferRequest, InferResponse, Signature, Tensor, TensorSpec

log = logging.getLogger("dragoman.runtimes.kserve")

Outcome = InferResponse | DragomanError
#: Asks a model: body, headers and verb; its answer and the answer's headers.
Ask = Callable[[Any, Mapping[str, str], InferenceVerb], Awaitable[tuple[Any, dict[str, str]]]]

JSON: Final = "application/json"
#: What a body may say of itself and still be JSON. KServe takes no other type, and none at all, for JSON, too.
_JSON_TYPES: Final = frozenset({"", JSON, "application/ld+json", "application/cloudevents+json"})
#: What curl says of every body: JSON, if it can be read as that.
_CURL: Final = "application/x-www-form-urlencoded"
#: What a hook stumbles with over a body that is no object.
_STUMBLES: Final = (TypeError, AttributeError, KeyError, IndexError)
#: Keys that every request of the first protocol has one of.
_KEYS: Final = ("instances", "inputs")


class KServeRuntime(Runtime):
    """One model object. Its hooks may be coroutines; those that aren't run on threads."""

    takes_requests: ClassVar[bool] = True
    takes_documents: ClassVar[bool] = True
    concurrent = True

    def __init__(self, name: str, version: str, model: Any, signature: Signature) -> None:
        """``model`` is loaded."""
        self._name, self._version, self.model = name, version, model
        self.signature = signature
        self._health = _Health(model)
        self._ask: Ask = getattr(model, "answer", None) or partial(_call, model)

    @classmethod
    async def of(cls, name: str, version: str, model: BaseKServeModel) -> "KServeRuntime":
        """For a model that somebody has loaded. ConfigError where it says of its tensors what can't be."""
        inputs = await _specs(model, "get_input_types")
        return cls(name, version, model, Signature(inputs, await _specs(model, "get_output_types")))

    @classmethod
    def load(cls, artifact: Artifact) -> "KServeRuntime":
        """Import the class that the file has, make a model of it and load it. Raises ConfigError."""
        if not artifact.trusted:
            raise ConfigError(
                "the model is Python code from a place that isn't trusted to run code here",
                hint="load it from a local path",
            )
        install("kserve")
        found = find_class(artifact, "predict")
        try:
            model = found(artifact.name)
            return asyncio.run(cls._load(artifact, model))
        except ConfigError:
            raise
        except Exception as error:
            text = f"{found.__name__} failed at {where(error)}: {type(error).__name__}: {error}"
            raise ConfigError(text) from error

    @classmethod
    async def _load(cls, artifact: Artifact, model: BaseKServeModel) -> "KServeRuntime":
        if not model.ready:
            loaded: Any = model.load()
            if inspect.isawaitable(loaded):
                await loaded
        return await cls.of(artifact.name, artifact.version, model)

    def execute(self, request: InferRequest) -> InferResponse:
        """Never called: this runtime takes requests as they are."""
        raise NotImplementedError

    async def execute_concurrently(self, requests: Sequence[InferRequest], emit: Emit) -> Sequence[Outcome]:
        if len(requests) == 1:
            return [await self._answer(requests[0], 0, emit)]
        joined = join(requests)
        if joined is not None:
            outcome = await self._answer(joined.request, 0, _nobody)
            if isinstance(outcome, InferResponse):
                parts = joined.split(outcome)
                if parts is not None:
                    return parts
            log.info("a joined call failed: its requests go one by one", extra={"requests": len(requests)})
        return await asyncio.gather(
            *(self._answer(request, place, emit) for place, request in enumerate(requests))
        )

    def alive(self) -> bool:
        return self._health.ask()

    def finish(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run(coroutine)

    def close(self) -> None:
        """Call the model's own ``stop``, and ``stop_engine`` where it has one."""
        self.model.stop()
        if getattr(self.model, "engine", False):
            self.model.stop_engine()

    async def _answer(self, request: InferRequest, place: int, emit: Emit) -> Outcome:
        payload: Any = None
        try:
            health = self._health
            if not (health.ask() if health.plain else await health.wait()):
                return NotReady(f"Model with name {self._name} is not ready.")
            parameters = request.parameters
            headers: dict[str, str] = parameters.get("headers") or {}
            document = _document(request)
            if document is None:
                grpc = parameters.get("transport") == "grpc"
                payload = from_core(request, from_grpc=grpc, raw=grpc)
                verb = InferenceVerb.PREDICT
            else:
                payload = _payload(document)
                verb = InferenceVerb.EXPLAIN if parameters.get("verb") == "explain" else InferenceVerb.PREDICT
            answer, own = await self._ask(payload, headers, verb)
            if hasattr(answer, "__anext__"):
                return await self._stream(request, answer, own, document is not None, place, emit)
            return self._response(request, answer, own, document is not None)
        except asyncio.CancelledError:
            raise
        except BaseException as error:
            return _to_failure(error, payload, request)

    async def _stream(
        self,
        request: InferRequest,
        pieces: AsyncIterator[Any],
        headers: Mapping[str, str],
        document: bool,
        place: int,
        emit: Emit,
    ) -> Outcome:
        """Hand out each piece as it comes, until nobody listens any more."""
        async for piece in pieces:
            part = self._response(request, piece, headers, document)
            part.final = False
            if emit(place, part) is False:
                if (close := getattr(pieces, "aclose", None)) is not None:
                    await close()
                break
        return InferResponse(self._name, self._version, (), request.id, _said("", headers))

    def _response(
        self, request: InferRequest, answer: Any, headers: Mapping[str, str], document: bool
    ) -> InferResponse:
        if document:
            body, content_type = _body(answer)
            output = Tensor("body", "BYTES", bytes_array([body], [1]))
            return InferResponse(
                self._name, self._version, (output,), request.id, _said(content_type, headers)
            )
        if isinstance(answer, dict):
            answer = _from_rest(answer)
        if not isinstance(answer, KServeResponse):
            raise InvalidOutput(
                f"model {self._name!r} answered with {type(answer).__name__}, expected an InferResponse"
            )
        response = to_core(answer, self._version)
        if request.outputs is not None:
            _select(response, request.outputs)
        if headers:
            response.parameters = {**response.parameters, "headers": dict(headers)}
        return response


class _Health:
    """Whether the model says that it is healthy. One that has to wait for that is asked while others wait for it."""

    def __init__(self, model: BaseKServeModel) -> None:
        self._model = model
        self.plain = type(model).healthy is BaseKServeModel.healthy  #: it is an attribute
        self._last = bool(model.ready)

    def ask(self) -> bool:
        """The answer now; of a model that has to wait for its own, the last one."""
        if self.plain:
            return bool(self._model.ready)
        said: Any = self._model.healthy()
        if inspect.iscoroutine(said):
            try:
                said.send(None)
            except StopIteration as done:
                self._last = bool(done.value)
            else:
                said.close()
                asyncio.get_running_loop().create_task(self.wait())
        elif inspect.isawaitable(said):
            asyncio.get_running_loop().create_task(self.wait())
        else:
            self._last = bool(said)
        return self._last

    async def wait(self) -> bool:
        """The answer, however long it takes."""
        if self.plain:
            return bool(self._model.ready)
        self._last = await is_healthy(self._model)
        return self._last


async def _call(
    model: Any, body: Any, headers: Mapping[str, str], verb: InferenceVerb
) -> tuple[Any, dict[str, str]]:
    """Of a model that is called itself, the answer, and headers where it has some. Raises InvalidInput."""
    if not callable(model):  # as those that speak OpenAI's API alone
        raise InvalidInput(f"Model of type {type(model).__name__} does not support inference")
    answer = model(body, headers=headers, verb=verb)
    if inspect.isawaitable(answer):
        answer = await answer
    if isinstance(answer, tuple) and len(answer) == 2 and isinstance(answer[1], dict):
        return answer
    return answer, {}


def _nobody(place: int, response: InferResponse) -> bool:
    """Takes parts that joined requests can't have."""
    return False


def _document(request: InferRequest) -> Tensor | None:
    """The body, if the request came as one; else it came as tensors."""
    inputs = request.inputs
    if len(inputs) == 1 and "content_type" in inputs[0].parameters:
        return inputs[0]
    return None


def _payload(document: Tensor) -> Any:
    """JSON is parsed; anything else is its bytes. Raises InvalidInput."""
    body: bytes = document.data.item()
    kind = document.parameters["content_type"].partition(";")[0].strip().lower()
    if kind not in _JSON_TYPES and kind != _CURL:
        return bytes(body)
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        if document.parameters.get("event") or kind == _CURL:
            return bytes(body)  # an event's data may be anything
        raise InvalidInput(f"Unrecognized request format: {error}") from None


def _body(answer: Any) -> tuple[bytes, str]:
    """Text and bytes as they are; the rest as JSON, where NaN is null."""
    if isinstance(answer, bytes | bytearray | memoryview):
        return bytes(answer), ""
    if isinstance(answer, str):
        return answer.encode(), ""
    if isinstance(answer, KServeResponse):
        answer = answer.encode_rest()[0]
    try:
        return dump_json(answer), JSON
    except TypeError as error:
        raise InvalidOutput(f"it can't be written as JSON: {error}") from None


def _said(content_type: str, headers: Mapping[str, str]) -> dict[str, Any]:
    said: dict[str, Any] = {"content_type": content_type}
    if headers:
        said["headers"] = {name: str(value) for name, value in headers.items()}
    return said


def _from_rest(answer: dict[str, Any]) -> KServeResponse:
    """An answer of the second protocol that is still a dict."""
    if "outputs" not in answer:
        raise InvalidOutput(f"it has the keys {', '.join(map(str, answer)) or 'none'}, expected outputs")
    return KServeResponse.from_rest(answer)


def _select(response: InferResponse, wanted: Sequence[str]) -> None:
    have = {tensor.name: tensor for tensor in response.outputs}
    for name in wanted:
        if name not in have:
            raise InvalidInput(f"Unexpected inference output '{name}' for model '{response.model}'")
    response.outputs = tuple([tensor for tensor in response.outputs if tensor.name in wanted])


def _to_failure(error: BaseException, payload: Any, request: InferRequest) -> DragomanError:
    """What a client is told of what a hook raised."""
    told = _told(error)
    if told is not None:
        return told
    number = secrets.token_hex(4)
    log.error("model %s failed", request.model, extra={"id": number, "request": request.id}, exc_info=error)
    if isinstance(error, KeyError) and isinstance(payload, dict) and error.args:
        key = error.args[0]
        if key in _KEYS and key not in payload:
            return InvalidInput(f"the request has no {key!r}: expected a JSON object with it")
    missed = getattr(payload, "missed", "")
    if missed and isinstance(error, _STUMBLES):
        names = ", ".join(repr(tensor.name) for tensor in request.inputs) or "none"
        return InvalidInput(f"the model needs the input {missed!r}, got {names}")
    if _document(request) is not None and not isinstance(payload, dict) and isinstance(error, _STUMBLES):
        kind = "bytes" if isinstance(payload, bytes) else type(payload).__name__
        return InvalidInput(f"the model can't take this body: expected a JSON object, got {kind}")
    return ModelFailed(
        f"model {request.model!r} failed on this request; the server's log has it under id {number}"
    )


def _told(error: BaseException) -> DragomanError | None:
    """What the model meant a client to know."""
    if isinstance(error, DragomanError):
        return error
    if isinstance(error, NotImplementedError):
        return Unsupported(str(error) or "the model does not do that")
    status = getattr(error, "status_code", None)
    if isinstance(status, int) and hasattr(error, "detail"):  # Starlette's and FastAPI's HTTPException
        return PredictionFailed(str(error.detail), status, error.detail)
    return None


async def _specs(model: Any, method: str) -> tuple[TensorSpec, ...]:
    """What the model says of its tensors, for people and metadata."""
    if (ask := getattr(model, method, None)) is None:
        return ()
    said = ask()
    if inspect.isawaitable(said):
        said = await said
    try:
        return tuple(
            [TensorSpec(each["name"], each["datatype"], tuple(each["shape"])) for each in said or ()]
        )
    except (KeyError, TypeError) as error:
        raise ConfigError(
            f"{method} of model {model.name!r} must give a list of dicts with name, datatype and shape"
        ) from error
