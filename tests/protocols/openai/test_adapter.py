"""A chat that is a completion behind the scenes: nothing of either is lost on the way."""

import asyncio

import pytest

from dragoman.compat.kserve.protocol.rest.openai import ChatPrompt, OpenAIChatAdapterModel
from dragoman.compat.kserve.protocol.rest.openai.errors import create_error_response
from dragoman.compat.kserve.protocol.rest.openai.openai_model import AsyncMappingIterator
from dragoman.compat.kserve.protocol.rest.openai.types import (
    ChatCompletionRequest,
    Completion,
    CompletionChoice,
    CompletionLogProbs,
    ErrorResponse,
)


class Recorder(OpenAIChatAdapterModel):
    """Keeps what it is asked, and answers what it was given."""

    def __init__(self, answer):
        super().__init__("recorder")
        self.answer = answer

    def apply_chat_template(self, request):
        return ChatPrompt(prompt=request.messages[-1]["content"], response_role="bot")

    async def create_completion(self, request, raw_request=None, context=None):
        self.asked, self.context = request, context
        return self.answer


def chat(answer, **fields):
    model = Recorder(answer)
    request = ChatCompletionRequest(model="m", messages=[{"role": "user", "content": "hi"}], **fields)
    return model, asyncio.run(model.create_chat_completion(request, None, {"headers": {}}))


def completion(**fields):
    return Completion(
        model="m", choices=[CompletionChoice(index=1, text="ho", finish_reason="length", **fields)]
    )


def test_every_field_that_a_completion_has_gets_there():
    fields = {
        "frequency_penalty": 0.1, "logit_bias": {"5": 1.0}, "presence_penalty": 0.2, "seed": 3, "stop": ["x"],
        "stream_options": {"include_usage": True}, "temperature": 0.4, "top_p": 0.5, "user": "me",
        "request_id": "r1", "response_format": {"type": "json_object"},
    }  # fmt: skip
    model, _ = chat(completion(), max_completion_tokens=7, logprobs=True, top_logprobs=2, **fields)
    # row: openai-adapter
    asked = model.asked.model_dump(exclude_unset=True)
    assert {key: asked[key] for key in fields} == fields
    assert (asked["prompt"], asked["max_tokens"], asked["logprobs"]) == ("hi", 7, 2)
    assert model.context == {"headers": {}}


def test_a_chat_without_a_limit_has_none_behind_the_scenes():
    model, _ = chat(completion())
    assert model.asked.max_tokens is None
    assert model.asked.logprobs is None


def test_probabilities_are_told_for_each_token():
    told = CompletionLogProbs(
        tokens=["h", "ö"], token_logprobs=[-0.5, None], top_logprobs=[{"h": -0.5, "j": -1.5}]
    )
    _, answer = chat(completion(logprobs=told))
    first, second = answer.choices[0].logprobs.content
    assert (first.token, first.bytes, first.logprob) == ("h", [104], -0.5)
    assert [(top.token, top.logprob) for top in first.top_logprobs] == [("h", -0.5), ("j", -1.5)]
    assert (second.bytes, second.top_logprobs) == ([195, 182], [])


def test_the_message_is_the_text_and_the_role_is_the_prompts():
    _, answer = chat(completion())
    choice = answer.choices[0]
    assert (choice.index, choice.message.role, choice.message.content) == (1, "bot", "ho")
    assert choice.finish_reason == "length"


def test_an_error_is_passed_on_as_it_is():
    error = create_error_response("no")
    assert chat(error)[1] is error
    assert isinstance(error, ErrorResponse)


@pytest.mark.parametrize(
    "items",
    [
        ['data: {"id": "1", "model": "m", "choices": [{"index": 0, "text": "a"}]}\n\n', "data: [DONE]\n\n"],
        [b'data: {"id": "1", "model": "m", "choices": [{"index": 0, "text": "a"}]}\n\ndata: [DONE]\n\n'],
        [{"id": "1", "model": "m", "choices": [{"index": 0, "text": "a"}]}],
        [Completion(id="1", model="m", choices=[CompletionChoice(text="a")])],
    ],
    ids=["text", "bytes", "dictionaries", "objects"],
)
def test_a_stream_may_be_made_of_events_or_of_objects(items):
    closed = []

    async def source():
        try:
            for item in items:
                yield item
        finally:
            closed.append(True)

    async def read():
        request = ChatCompletionRequest(model="m", messages=[{"role": "user", "content": "hi"}], stream=True)
        answer = await Recorder(source()).create_chat_completion(request)
        return [chunk async for chunk in answer]

    (chunk,) = asyncio.run(read())
    assert (chunk.id, chunk.choices[0].delta.content, chunk.object) == ("1", "a", "chat.completion.chunk")
    assert closed == [True]


def test_an_iterator_that_maps_leaves_out_nothing_and_closes_once():
    closed = []

    async def numbers():
        for number in range(4):
            yield number

    async def read():
        odd = AsyncMappingIterator(numbers(), lambda n: n if n % 2 else None, close=lambda: closed.append(1))
        return [number async for number in odd]

    assert asyncio.run(read()) == [1, 3]
    assert closed == [1]
