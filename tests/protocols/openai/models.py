"""Models as their users write them, in KServe's style: small, deterministic, and one for each way to fail."""

import asyncio

from dragoman.compat.kserve.protocol.rest.openai import (
    ChatPrompt,
    OpenAIChatAdapterModel,
    OpenAIEncoderModel,
    OpenAIError,
    OpenAIGenerativeModel,
)
from dragoman.compat.kserve.protocol.rest.openai.errors import create_error_response
from dragoman.compat.kserve.protocol.rest.openai.types import (
    Completion,
    CompletionChoice,
    CompletionChunk,
    CompletionChunkChoice,
    Embedding,
    EmbeddingResponseData,
    Rerank,
    RerankDocument,
    RerankResult,
    UsageInfo,
)


class Echo(OpenAIChatAdapterModel):
    """Says the prompt's words again, last one first."""

    def apply_chat_template(self, request):
        return ChatPrompt(prompt=" ".join(message["content"] for message in request.messages))

    async def create_completion(self, request, raw_request=None, context=None):
        words = request.prompt.split()[::-1][: request.max_tokens]
        usage = UsageInfo(
            prompt_tokens=len(request.prompt.split()),
            completion_tokens=len(words),
            total_tokens=len(request.prompt.split()) + len(words),
        )
        if request.stream:
            return self.chunks(request, words, usage)
        choice = CompletionChoice(index=0, text=" ".join(words), finish_reason="stop")
        return Completion(model=request.model, choices=[choice], usage=usage)

    async def chunks(self, request, words, usage):
        first = CompletionChunk(model=request.model, choices=[])
        for index, word in enumerate(words):
            choice = CompletionChunkChoice(
                index=0,
                text=word if index == 0 else f" {word}",
                finish_reason="stop" if index == len(words) - 1 else None,
            )
            chunk = first.model_copy(update={"choices": [choice]})
            yield f"data: {chunk.model_dump_json()}\n\n"
        if request.stream_options and request.stream_options.include_usage:
            yield f"data: {first.model_copy(update={'usage': usage}).model_dump_json()}\n\n"
        yield "data: [DONE]\n\n"


class Lengths(OpenAIEncoderModel):
    """A text's vector is the number of its characters, and of its words."""

    async def create_embedding(self, request, raw_request=None, context=None):
        texts = [request.input] if isinstance(request.input, str) else request.input
        data = [
            EmbeddingResponseData(index=index, embedding=[float(len(text)), float(len(text.split()))])
            for index, text in enumerate(texts)
        ]
        tokens = sum(len(text.split()) for text in texts)
        usage = UsageInfo(prompt_tokens=tokens, total_tokens=tokens)
        return Embedding(model=request.model, data=data, usage=usage)

    async def create_rerank(self, request, raw_request=None, context=None):
        """The nearer a document's length is to the query's, the better."""
        order = sorted(
            range(len(request.documents)),
            key=lambda index: abs(len(request.documents[index]) - len(request.query)),
        )
        results = [
            RerankResult(
                index=index,
                document=RerankDocument(text=request.documents[index]),
                relevance_score=1 / (1 + abs(len(request.documents[index]) - len(request.query))),
            )
            for index in order[: request.top_n or None]
        ]
        return Rerank(model=request.model, results=results)


class Failing(OpenAIGenerativeModel):
    """Fails as its prompt says."""

    async def create_completion(self, request, raw_request=None, context=None):
        match request.prompt:
            case "raises":
                raise OpenAIError(create_error_response("no such adapter", param="adapter"))
            case "raises text":
                raise OpenAIError("it is what it is")
            case "returns":
                return create_error_response("too busy", "RateLimitError", status_code=429)
            case "upstream":
                return {"error": {"message": "not here", "code": "model_gone", "type": "gone"}}
            case "bug":
                raise KeyError("/secret/path")
            case "nonsense":
                return 42
            case "header":
                context["response"].headers["x-adapter"] = context["headers"]["x-wanted"]
                return Completion(model=request.model, choices=[])
            case "raw":
                body = await raw_request.json()
                assert await raw_request.body() == b"".join([part async for part in raw_request.stream()])
                assert not await raw_request.is_disconnected()
                return {"path": raw_request.url.path, "client": raw_request.client.host, "asked": body}
        return self.parts(request.prompt)

    async def create_chat_completion(self, request, raw_request=None, context=None):
        raise NotImplementedError

    async def parts(self, prompt):
        if prompt == "late":
            raise OpenAIError(create_error_response("before the first word"))
        yield {"model": "failing", "choices": [{"index": 0, "text": "half"}]}
        if prompt == "told":
            yield {"error": {"message": "the other half is gone", "code": "502"}}
            return
        if prompt == "endless":
            await asyncio.Event().wait()
        raise RuntimeError("/secret/path")


class Endless:
    """Any object with the method will do; this one goes on until somebody stops it."""

    def __init__(self):
        self.made = 0
        self.stopped = asyncio.Event()
        self.started = asyncio.Event()

    async def create_completion(self, request, raw_request):
        try:
            while True:
                self.made += 1
                self.started.set()
                yield {"choices": [{"index": 0, "text": "x" * 10_000}]}
        finally:
            self.raw_request_gone = await raw_request.is_disconnected()
            self.stopped.set()


class Blocking:
    """Made for KServe 0.13, and not even a coroutine: takes its request only, and looks into its params."""

    ready = True

    def create_completion(self, request):
        return {"object": "text_completion", "choices": [{"index": 0, "text": request.params.prompt.upper()}]}

    def healthy(self):
        return self.ready
