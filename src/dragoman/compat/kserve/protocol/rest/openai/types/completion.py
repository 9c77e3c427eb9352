"""Completions: a text goes on. The types of ``POST /v1/completions``."""

from typing import Literal

from pydantic import Field

from dragoman.compat.kserve.protocol.rest.openai.types.common import (
    Document,
    OpenAIBaseModel,
    OpenAIRequest,
    StreamOptions,
    UsageInfo,
    new_id,
    now,
)


class CompletionRequest(OpenAIRequest):
    """``prompt`` is one text or several, as characters or as tokens."""

    prompt: str | list[str] | list[int] | list[list[int]] | None = None
    best_of: int | None = None
    echo: bool | None = False
    frequency_penalty: float | None = None
    logit_bias: dict[str, float] | None = None
    logprobs: int | None = None
    max_tokens: int | None = 16
    n: int | None = 1
    presence_penalty: float | None = None
    response_format: Document | None = None
    seed: int | None = None
    stop: str | list[str] | None = Field(default_factory=list)
    stream: bool | None = False
    stream_options: StreamOptions | None = None
    suffix: str | None = None
    temperature: float | None = None
    top_p: float | None = None


class CompletionLogProbs(OpenAIBaseModel):
    """One entry a token in each list."""

    text_offset: list[int] = Field(default_factory=list)
    token_logprobs: list[float | None] = Field(default_factory=list)
    tokens: list[str] = Field(default_factory=list)
    top_logprobs: list[dict[str, float] | None] = Field(default_factory=list)


class CompletionChoice(OpenAIBaseModel):
    index: int = 0
    text: str
    logprobs: CompletionLogProbs | None = None
    finish_reason: str | None = None


class Completion(OpenAIBaseModel):
    """The whole answer."""

    id: str = Field(default_factory=lambda: new_id("cmpl"))
    object: Literal["text_completion"] = "text_completion"
    created: int = Field(default_factory=now)
    model: str
    choices: list[CompletionChoice]
    system_fingerprint: str | None = None
    usage: UsageInfo | None = None


class CompletionChunkChoice(CompletionChoice):
    """What has been added to one choice."""


class CompletionChunk(OpenAIBaseModel):
    """A part of a streamed answer; all parts have the same ``id``."""

    id: str = Field(default_factory=lambda: new_id("cmpl"))
    object: Literal["text_completion"] = "text_completion"
    created: int = Field(default_factory=now)
    model: str
    choices: list[CompletionChunkChoice]
    system_fingerprint: str | None = None
    usage: UsageInfo | None = None
