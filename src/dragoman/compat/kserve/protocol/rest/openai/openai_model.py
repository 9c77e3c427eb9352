"""Base classes of models that answer OpenAI's endpoints. A model has what its class has to implement."""

import inspect
from abc import abstractmethod
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from pydantic import BaseModel

from dragoman.compat.kserve.model import BaseKServeModel
from dragoman.compat.kserve.protocol.rest.openai.types import (
    ChatCompletion,
    ChatCompletionRequest,
    Completion,
    CompletionRequest,
    Embedding,
    EmbeddingRequest,
    ErrorResponse,
    Rerank,
    RerankRequest,
)

if TYPE_CHECKING:
    from starlette.requests import Request

Answer = TypeVar("Answer")
#: Chunks: server-sent events as text, made by the model, or objects that the server makes events of.
Stream: TypeAlias = AsyncIterator[Any]
Context: TypeAlias = dict[str, Any]


class ChatPrompt(BaseModel):
    """Messages as one text, and who is to speak next."""

    response_role: str = "assistant"
    prompt: str


class OpenAIModel(BaseKServeModel):
    """A model behind OpenAI's API. It is ready from the beginning, unless it says otherwise."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.ready = True


class OpenAIGenerativeModel(OpenAIModel):
    """Writes: ``/v1/completions`` and ``/v1/chat/completions``.

    ``raw_request`` is a Starlette request; ``context`` has ``headers``, those of the request, and ``response``,
    whose headers are sent with the answer.
    """

    @abstractmethod
    async def create_completion(
        self,
        request: CompletionRequest,
        raw_request: "Request | None" = None,
        context: Context | None = None,
    ) -> Stream | Completion | ErrorResponse:
        """Chunks where ``request.stream`` is set, else a whole answer."""

    @abstractmethod
    async def create_chat_completion(
        self,
        request: ChatCompletionRequest,
        raw_request: "Request | None" = None,
        context: Context | None = None,
    ) -> Stream | ChatCompletion | ErrorResponse:
        """Chunks where ``request.stream`` is set, else a whole answer."""


class OpenAIEncoderModel(OpenAIModel):
    """Measures texts: ``/v1/embeddings`` and ``/v1/rerank``. See ``OpenAIGenerativeModel`` for what is passed."""

    @abstractmethod
    async def create_embedding(
        self,
        request: EmbeddingRequest,
        raw_request: "Request | None" = None,
        context: Context | None = None,
    ) -> Stream | Embedding | ErrorResponse:
        """A vector for each text of ``request.input``."""

    @abstractmethod
    async def create_rerank(
        self,
        request: RerankRequest,
        raw_request: "Request | None" = None,
        context: Context | None = None,
    ) -> Stream | Rerank | ErrorResponse:
        """The documents that fit ``request.query`` best, best first."""


class AsyncMappingIterator:
    """What ``mapper`` makes of each item; ``close`` is called when the items end, fail or are not wanted any more."""

    def __init__(
        self,
        iterator: AsyncIterator[Any],
        mapper: Callable[[Any], Any] = lambda item: item,
        skip_none: bool = True,
        close: Callable[[], Any] | None = None,
    ) -> None:
        self.iterator = iterator
        self.mapper = mapper
        self.skip_none = skip_none
        self.close = close

    def __aiter__(self) -> "AsyncMappingIterator":
        return self

    async def __anext__(self) -> Any:
        try:
            mapped = self.mapper(await anext(self.iterator))
            while mapped is None and self.skip_none:
                mapped = self.mapper(await anext(self.iterator))
        except BaseException:
            await self.aclose()
            raise
        return mapped

    async def aclose(self) -> None:
        """Nobody wants more of it."""
        inner = getattr(self.iterator, "aclose", None)
        for close in (inner, self.close):
            result = None if close is None else close()
            if inspect.isawaitable(result):
                await result
        self.close = None
