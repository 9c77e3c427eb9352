"""A model that is elsewhere: passes requests on to another server with OpenAI's API, and its answers back."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, TypeVar

import httpx
import orjson
from pydantic import ValidationError

from dragoman.compat.kserve.protocol.rest.openai.errors import OpenAIError, create_error_response
from dragoman.compat.kserve.protocol.rest.openai.openai_model import (
    AsyncMappingIterator,
    Context,
    OpenAIGenerativeModel,
    Stream,
)
from dragoman.compat.kserve.protocol.rest.openai.types import (
    ChatCompletion,
    ChatCompletionChunk,
    ChatCompletionRequest,
    Completion,
    CompletionChunk,
    CompletionRequest,
    ErrorResponse,
)

if TYPE_CHECKING:
    from pydantic import BaseModel
    from starlette.requests import Request

COMPLETIONS_ENDPOINT = "/v1/completions"
CHAT_COMPLETIONS_ENDPOINT = "/v1/chat/completions"
#: Seconds to connect and to send; and seconds without a byte of the answer.
_CONNECT, _READ = 5.0, 30.0

T = TypeVar("T")
Body = TypeVar("Body", bound="BaseModel")
Asked = CompletionRequest | ChatCompletionRequest


class OpenAIProxyModel(OpenAIGenerativeModel):
    """Asks ``predictor_url``, such as ``http://my-backend:9000``.

    Hooks before and after: each changes the object it gets, which is then sent on. ``health_endpoint`` is where the
    other server says how it is; of vLLM and TGI ``/health``, of KServe ``/openai/v1/models/{name}``; with ``None`` it
    isn't asked. With ``skip_upstream_validation`` answers are taken as they come.
    """

    def __init__(
        self,
        name: str,
        predictor_url: str,
        http_client: httpx.AsyncClient | None = None,
        skip_upstream_validation: bool = False,
        health_endpoint: str | None = "/health",
    ) -> None:
        super().__init__(name)
        base = predictor_url.rstrip("/")
        self.predictor_url = predictor_url
        self.skip_upstream_validation = skip_upstream_validation
        self._own_client = http_client is None
        self._http_client = http_client or httpx.AsyncClient(timeout=httpx.Timeout(_CONNECT, read=_READ))
        self._closing: asyncio.Task[None] | None = None
        self._completions_endpoint = base + COMPLETIONS_ENDPOINT
        self._chat_completions_endpoint = base + CHAT_COMPLETIONS_ENDPOINT
        self._health_endpoint = base + health_endpoint if health_endpoint else None

    # Hooks.

    def preprocess_completion_request(
        self, request: CompletionRequest, raw_request: "Request | None" = None
    ) -> None:
        """Before a request is sent."""

    def postprocess_completion(
        self, completion: Completion, request: CompletionRequest, raw_request: "Request | None" = None
    ) -> None:
        """After a whole answer has come."""

    def postprocess_completion_chunk(
        self, completion: CompletionChunk, request: CompletionRequest, raw_request: "Request | None" = None
    ) -> None:
        """After each part of a stream."""

    def preprocess_chat_completion_request(
        self, request: ChatCompletionRequest, raw_request: "Request | None" = None
    ) -> None:
        """Before a request is sent."""

    def postprocess_chat_completion(
        self,
        chat_completion: ChatCompletion,
        request: ChatCompletionRequest,
        raw_request: "Request | None" = None,
    ) -> None:
        """After a whole answer has come."""

    def postprocess_chat_completion_chunk(
        self,
        chat_completion_chunk: ChatCompletionChunk,
        request: ChatCompletionRequest,
        raw_request: "Request | None" = None,
    ) -> None:
        """After each part of a stream."""

    # Requests.

    async def create_completion(
        self,
        request: CompletionRequest,
        raw_request: "Request | None" = None,
        context: Context | None = None,
    ) -> Stream | Completion | ErrorResponse:
        self.preprocess_completion_request(request, raw_request)
        if request.stream:
            after = partial(self.postprocess_completion_chunk, request=request, raw_request=raw_request)
            return await self._stream(
                self._completions_endpoint, request, raw_request, CompletionChunk, after
            )
        completion = await self.generate_completion(request, raw_request)
        self.postprocess_completion(completion, request, raw_request)
        return completion

    async def create_chat_completion(
        self,
        request: ChatCompletionRequest,
        raw_request: "Request | None" = None,
        context: Context | None = None,
    ) -> Stream | ChatCompletion | ErrorResponse:
        self.preprocess_chat_completion_request(request, raw_request)
        if request.stream:
            after = partial(self.postprocess_chat_completion_chunk, request=request, raw_request=raw_request)
            endpoint = self._chat_completions_endpoint
            return await self._stream(endpoint, request, raw_request, ChatCompletionChunk, after)
        completion = await self.generate_chat_completion(request, raw_request)
        self.postprocess_chat_completion(completion, request, raw_request)
        return completion

    async def generate_completion(
        self, request: CompletionRequest, raw_request: "Request | None" = None
    ) -> Completion:
        """A whole answer of the other server. Raises OpenAIError."""
        content = await self._whole(self._completions_endpoint, request, raw_request)
        return self._read(Completion, content)

    async def generate_chat_completion(
        self, request: ChatCompletionRequest, raw_request: "Request | None" = None
    ) -> ChatCompletion:
        """A whole answer of the other server. Raises OpenAIError."""
        content = await self._whole(self._chat_completions_endpoint, request, raw_request)
        return self._read(ChatCompletion, content)

    async def healthy(self) -> bool:
        """Whether the other server says that it is well, or isn't asked."""
        if self._health_endpoint is None:
            return self.ready
        try:
            response = await self._http_client.get(self._health_endpoint)
        except httpx.HTTPError:
            return False
        return response.status_code == HTTPStatus.OK

    def stop(self) -> None:
        """Ask no more; called on the event loop, the connections to the other server are closed, too."""
        super().stop()
        if self._own_client:
            with contextlib.suppress(RuntimeError):  # no loop, and nothing that could be closed on one
                self._closing = asyncio.get_running_loop().create_task(self._http_client.aclose())

    # Inside.

    def _build_request(self, endpoint: str, request: Asked, raw_request: "Request | None") -> httpx.Request:
        headers = httpx.Headers()
        if raw_request is not None and "upstream_headers" in raw_request:
            headers = httpx.Headers(raw_request["upstream_headers"])
        headers["Content-Type"] = "application/json"
        content = request.model_dump_json(exclude_unset=True, exclude_none=True)
        return self._http_client.build_request("POST", endpoint, content=content, headers=headers)

    async def _whole(self, endpoint: str, request: Asked, raw_request: "Request | None") -> bytes:
        sent = self._build_request(endpoint, request, raw_request)
        response = await _asking(lambda: self._http_client.send(sent))
        _check(response)
        return response.content

    async def _stream(
        self,
        endpoint: str,
        request: Asked,
        raw_request: "Request | None",
        kind: type[Body],
        after: Callable[[Any], None],
    ) -> Stream:
        sent = self._build_request(endpoint, request, raw_request)
        response = await _asking(lambda: self._http_client.send(sent, stream=True))
        if response.is_error:
            await _asking(response.aread)
            _check(response)
        return _Lines(
            response.aiter_lines(), partial(self._read_line, kind=kind, after=after), close=response.aclose
        )

    def _read_line(self, line: str, kind: type[Body], after: Callable[[Any], None]) -> Any:
        """A chunk; ``None`` for a line that has none."""
        name, _, data = line.partition(":")
        data = data.strip()
        if name != "data" or not data or data == "[DONE]":
            return None
        document = _parse(data)
        if isinstance(document, Mapping) and "error" in document:
            return document
        chunk = self._read(kind, document)
        after(chunk)
        return chunk

    def _read(self, kind: type[Body], content: Any) -> Body:
        """Another server's object. Raises OpenAIError where it is none."""
        document = _parse(content) if isinstance(content, bytes) else content
        try:
            if self.skip_upstream_validation:
                return kind.model_construct(**document)
            return kind.model_validate(document)
        except (ValidationError, TypeError):
            raise _invalid() from None


class _Lines(AsyncMappingIterator):
    """Chunks as they come, and the other server's failures as OpenAI's."""

    async def __anext__(self) -> Any:
        return await _asking(super().__anext__)


async def _asking(ask: Callable[[], Awaitable[T]]) -> T:
    """Ask the other server. Raises OpenAIError."""
    try:
        return await ask()
    except httpx.TimeoutException:
        raise _failure("upstream did not answer in time", "GatewayTimeout", 504) from None
    except httpx.NetworkError as error:
        raise _failure(
            "upstream can't be reached, or closes connections", "ServiceUnavailableError", 503
        ) from error
    except httpx.HTTPError as error:
        raise _failure("upstream does not speak HTTP, or broke off", "BadGateway", 502) from error


def _check(response: httpx.Response) -> None:
    """Pass another server's error on, with its status."""
    if response.is_success:
        return
    try:
        told = ErrorResponse.model_validate_json(response.content)
    except ValidationError:
        text = f"upstream answered {response.status_code}, and no error of OpenAI's API"
        raise _failure(text, "BadGateway", 502) from None
    raise OpenAIError(told, response.status_code if response.is_error else 502)


def _parse(content: bytes | str) -> Any:
    try:
        return orjson.loads(content)
    except orjson.JSONDecodeError:
        raise _invalid() from None


def _invalid() -> OpenAIError:
    return _failure("upstream's answer is not one of OpenAI's API", "BadGateway", 502)


def _failure(message: str, kind: str, status: int) -> OpenAIError:
    return OpenAIError(create_error_response(message, kind, status_code=HTTPStatus(status)))
