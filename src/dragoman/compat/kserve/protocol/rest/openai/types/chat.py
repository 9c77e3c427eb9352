"""Chat: messages in, a message out. The types of ``POST /v1/chat/completions``."""

from typing import Any, Literal, NotRequired, TypeAlias

from pydantic import ConfigDict, Field
from typing_extensions import TypedDict

from dragoman.compat.kserve.protocol.rest.openai.types.common import (
    Document,
    OpenAIBaseModel,
    OpenAIRequest,
    StreamOptions,
    UsageInfo,
    new_id,
    now,
)

#: Part of a message: text, image, audio, by its ``type``.
ChatCompletionContentPartParam: TypeAlias = dict[str, Any]


class ChatCompletionContentPartTextParam(TypedDict):
    """A part of a message that is text."""

    type: Literal["text"]
    text: str


class ChatCompletionMessageParam(TypedDict):
    """A message, whoever it is from: a dictionary, with all that the client has put into it."""

    __pydantic_config__ = ConfigDict(extra="allow")  # type: ignore[misc]  # pydantic's way to say it of a TypedDict

    role: str
    content: NotRequired[str | list[ChatCompletionContentPartParam] | None]
    name: NotRequired[str | None]
    tool_call_id: NotRequired[str | None]
    tool_calls: NotRequired[list[Document] | None]


#: KServe has a name for each kind of message; all of them are dictionaries with a role.
CustomChatCompletionMessageParam: TypeAlias = ChatCompletionMessageParam
ChatCompletionToolMessageParam: TypeAlias = ChatCompletionMessageParam
ChatCompletionAssistantMessageParam: TypeAlias = ChatCompletionMessageParam
ConversationMessage: TypeAlias = ChatCompletionMessageParam


class ChatCompletionRequest(OpenAIRequest):
    """``messages`` are dictionaries, oldest first."""

    messages: list[ChatCompletionMessageParam]
    frequency_penalty: float | None = None
    logit_bias: dict[str, float] | None = None
    logprobs: bool | None = False
    top_logprobs: int | None = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    n: int | None = 1
    parallel_tool_calls: bool | None = None
    presence_penalty: float | None = None
    reasoning_effort: str | None = None
    response_format: Document | None = None
    seed: int | None = None
    stop: str | list[str] | None = Field(default_factory=list)
    stream: bool | None = False
    stream_options: StreamOptions | None = None
    temperature: float | None = None
    tool_choice: str | Document | None = None
    tools: list[Document] | None = None
    top_p: float | None = None
    chat_template: str | None = None
    chat_template_kwargs: Document | None = None


class ChatMessage(OpenAIBaseModel):
    """What the model says, or which tools it wants to be called."""

    role: str
    content: str | None = None
    refusal: str | None = None
    tool_calls: list[Document] | None = None
    reasoning_content: str | None = None


class ChatCompletionLogProb(OpenAIBaseModel):
    """A token, its UTF-8 bytes as numbers, and how likely it was."""

    token: str
    logprob: float = -9999.0
    bytes: list[int] | None = None


class ChatCompletionLogProbsContent(ChatCompletionLogProb):
    """The chosen token, and the likeliest ones in its place."""

    top_logprobs: list[ChatCompletionLogProb] = Field(default_factory=list)


class ChatCompletionLogProbs(OpenAIBaseModel):
    content: list[ChatCompletionLogProbsContent] | None = None


class ChatCompletionChoice(OpenAIBaseModel):
    index: int = 0
    message: ChatMessage
    logprobs: ChatCompletionLogProbs | None = None
    finish_reason: str | None = "stop"


class ChatCompletion(OpenAIBaseModel):
    """The whole answer."""

    id: str = Field(default_factory=lambda: new_id("chatcmpl"))
    object: Literal["chat.completion"] = "chat.completion"
    created: int = Field(default_factory=now)
    model: str
    choices: list[ChatCompletionChoice]
    service_tier: str | None = None
    system_fingerprint: str | None = None
    usage: UsageInfo | None = None


class ChoiceDelta(OpenAIBaseModel):
    """What has been added to a message."""

    role: str | None = None
    content: str | None = None
    refusal: str | None = None
    tool_calls: list[Document] | None = None
    reasoning_content: str | None = None


class ChunkChoice(OpenAIBaseModel):
    index: int = 0
    delta: ChoiceDelta
    logprobs: ChatCompletionLogProbs | None = None
    finish_reason: str | None = None


class ChatCompletionChunk(OpenAIBaseModel):
    """A part of a streamed answer; all parts have the same ``id``."""

    id: str = Field(default_factory=lambda: new_id("chatcmpl"))
    object: Literal["chat.completion.chunk"] = "chat.completion.chunk"
    created: int = Field(default_factory=now)
    model: str
    choices: list[ChunkChoice]
    service_tier: str | None = None
    system_fingerprint: str | None = None
    usage: UsageInfo | None = None
