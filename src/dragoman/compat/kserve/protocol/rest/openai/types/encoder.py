"""Embeddings and rerank: texts in, numbers out. The types of ``POST /v1/embeddings`` and ``POST /v1/rerank``."""

from typing import Literal, TypeAlias

from pydantic import Field

from dragoman.compat.kserve.protocol.rest.openai.types.common import (
    Document,
    OpenAIBaseModel,
    OpenAIRequest,
    UsageInfo,
    new_id,
    now,
)


class EmbeddingCompletionRequest(OpenAIRequest):
    """``input`` is one text or several, as characters or as tokens."""

    input: str | list[str] | list[int] | list[list[int]]
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: int | None = Field(None, ge=1)


#: vLLM's name for whatever an embedding may be asked for with.
EmbeddingRequest: TypeAlias = EmbeddingCompletionRequest


class EmbeddingResponseData(OpenAIBaseModel):
    """One vector: numbers, or the base64 of its little-endian FP32 bytes. The server makes the one of the other."""

    index: int
    object: str = "embedding"
    embedding: list[float] | str


class Embedding(OpenAIBaseModel):
    """The whole answer, one vector for each text."""

    id: str = Field(default_factory=lambda: new_id("embd"))
    object: str = "list"
    created: int = Field(default_factory=now)
    model: str
    data: list[EmbeddingResponseData]
    usage: UsageInfo | None = None


class RerankRequest(OpenAIRequest):
    """Which of ``documents`` answer ``query`` best; the best ``top_n`` of them, 0 or nothing is all.

    As Jina, Cohere and vLLM have it. A document is a text, or an object with a ``text``.
    """

    query: str
    documents: list[str | Document]
    top_n: int | None = Field(0, ge=0)
    return_documents: bool | None = None


class RerankDocument(OpenAIBaseModel):
    text: str | None = None


class RerankResult(OpenAIBaseModel):
    """``index`` is the document's place in the request."""

    index: int
    document: RerankDocument | None = None
    relevance_score: float


class RerankUsage(OpenAIBaseModel):
    prompt_tokens: int = 0
    total_tokens: int = 0


class Rerank(OpenAIBaseModel):
    """The documents that were asked for, best first."""

    id: str = Field(default_factory=lambda: new_id("rerank"))
    model: str
    usage: RerankUsage | None = None
    results: list[RerankResult]
