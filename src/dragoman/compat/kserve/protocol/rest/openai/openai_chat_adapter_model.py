"""Chat by completion: the messages become a prompt, and what is written after it becomes the message."""

import json
from abc import abstractmethod
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

from dragoman.compat.kserve.protocol.rest.openai.errors import OpenAIError, create_error_response
from dragoman.compat.kserve.protocol.rest.openai.openai_model import (
    ChatPrompt,
    Context,
    OpenAIGenerativeModel,
    Stream,
)
from dragoman.compat.kserve.protocol.rest.openai.types import (
    ChatCompletion,
    ChatCompletionChoice,
    ChatCompletionChunk,
    ChatCompletionLogProb,
    ChatCompletionLogProbs,
    ChatCompletionLogProbsContent,
    ChatCompletionRequest,
    ChatMessage,
    ChoiceDelta,
    ChunkChoice,
    Completion,
    CompletionChoice,
    CompletionChunk,
    CompletionLogProbs,
    CompletionRequest,
    ErrorResponse,
)

if TYPE_CHECKING:
    from starlette.requests import Request

#: Fields that mean the same in both requests.
_ALIKE = (
    "model", "frequency_penalty", "logit_bias", "n", "presence_penalty", "response_format", "seed", "stop",
    "stream", "stream_options", "temperature", "top_p", "user", "request_id",
)  # fmt: skip


class OpenAIChatAdapterModel(OpenAIGenerativeModel):
    """Has ``create_completion`` and ``apply_chat_template`` to implement; chat follows from the two."""

    @abstractmethod
    def apply_chat_template(self, request: ChatCompletionRequest) -> ChatPrompt:
        """The messages as one text."""

    async def create_chat_completion(
        self,
        request: ChatCompletionRequest,
        raw_request: "Request | None" = None,
        context: Context | None = None,
    ) -> Stream | ChatCompletion | ErrorResponse:
        """Ask ``create_completion``, and dress what it answers as a message. Raises OpenAIError."""
        if request.n not in (None, 1):
            raise OpenAIError(create_error_response("n != 1 is not supported", param="n"))
        prompt = self.apply_chat_template(request)
        params = self.chat_completion_params_to_completion_params(request, prompt.prompt)
        answer = await self.create_completion(params, raw_request, context)
        if isinstance(answer, ErrorResponse):
            return answer
        if isinstance(answer, Completion):
            return self.completion_to_chat_completion(answer, prompt.response_role)
        return self._stream(answer, prompt.response_role)

    async def _stream(self, chunks: AsyncIterator[Any], role: str) -> AsyncIterator[Any]:
        """Every chunk as one of a chat; an error that comes in between goes through as it is."""
        try:
            async for item in chunks:
                for document in _documents(item):
                    if "error" in document:
                        yield document
                    else:
                        chunk = CompletionChunk.model_validate(document)
                        yield self.completion_to_chat_completion_chunk(chunk, role)
        finally:
            close = getattr(chunks, "aclose", None)
            if close is not None:
                await close()

    @classmethod
    def chat_completion_params_to_completion_params(
        cls, request: ChatCompletionRequest, prompt: str
    ) -> CompletionRequest:
        """The same question as a completion. A chat without a limit has none here either."""
        alike = {name: getattr(request, name) for name in _ALIKE}
        limit = request.max_tokens if request.max_tokens is not None else request.max_completion_tokens
        logprobs = (request.top_logprobs or 0) if request.logprobs else None
        return CompletionRequest(prompt=prompt, max_tokens=limit, logprobs=logprobs, **alike)

    @classmethod
    def to_choice_logprobs(cls, logprobs: CompletionLogProbs) -> ChatCompletionLogProbs:
        """One list of objects for four lists of values."""
        content = []
        for index, token in enumerate(logprobs.tokens):
            tops = logprobs.top_logprobs[index] if index < len(logprobs.top_logprobs) else None
            chosen = logprobs.token_logprobs[index] if index < len(logprobs.token_logprobs) else None
            others = [
                ChatCompletionLogProb(token=text, bytes=list(text.encode()), logprob=value)
                for text, value in (tops or {}).items()
            ]
            told = {} if chosen is None else {"logprob": chosen}
            content.append(
                ChatCompletionLogProbsContent(
                    token=token, bytes=list(token.encode()), top_logprobs=others, **told
                )
            )
        return ChatCompletionLogProbs(content=content)

    @classmethod
    def to_chat_completion_choice(
        cls, completion_choice: CompletionChoice, role: str
    ) -> ChatCompletionChoice:
        """A choice of a whole answer."""
        return ChatCompletionChoice(
            index=completion_choice.index,
            finish_reason=completion_choice.finish_reason,
            logprobs=cls._logprobs(completion_choice),
            message=ChatMessage(content=completion_choice.text, role=role),
        )

    @classmethod
    def to_chat_completion_chunk_choice(cls, completion_choice: CompletionChoice, role: str) -> ChunkChoice:
        """A choice of a part."""
        return ChunkChoice(
            index=completion_choice.index,
            finish_reason=completion_choice.finish_reason,
            logprobs=cls._logprobs(completion_choice),
            delta=ChoiceDelta(content=completion_choice.text, role=role),
        )

    @classmethod
    def completion_to_chat_completion(cls, completion: Completion, role: str) -> ChatCompletion:
        """A whole answer."""
        return ChatCompletion(
            id=completion.id,
            choices=[cls.to_chat_completion_choice(choice, role) for choice in completion.choices],
            created=completion.created,
            model=completion.model,
            system_fingerprint=completion.system_fingerprint,
            usage=completion.usage,
        )

    @classmethod
    def completion_to_chat_completion_chunk(
        cls, completion: Completion | CompletionChunk, role: str
    ) -> ChatCompletionChunk:
        """A part of one."""
        return ChatCompletionChunk(
            id=completion.id,
            choices=[cls.to_chat_completion_chunk_choice(choice, role) for choice in completion.choices],
            created=completion.created,
            model=completion.model,
            system_fingerprint=completion.system_fingerprint,
            usage=completion.usage,
        )

    @classmethod
    def _logprobs(cls, choice: CompletionChoice) -> ChatCompletionLogProbs | None:
        return None if choice.logprobs is None else cls.to_choice_logprobs(choice.logprobs)


def _documents(item: Any) -> list[dict[str, Any]]:
    """The chunks in one item of a stream: an object, or the text of server-sent events."""
    if not isinstance(item, str | bytes):
        return [item if isinstance(item, dict) else item.model_dump()]
    text = item if isinstance(item, str) else item.decode()
    data = [line[5:].strip() for line in text.splitlines() if line.startswith("data:")]
    return [json.loads(each) for each in data if each and each != "[DONE]"]
