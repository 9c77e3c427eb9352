"""The JSON of OpenAI's API as bytes: what goes in comes out, and nothing that a stranger sends is a surprise."""

import base64

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dragoman.compat.kserve.protocol.rest.openai.types import (
    ChatCompletionChunk,
    ChoiceDelta,
    ChunkChoice,
    CompletionRequest,
    Embedding,
    EmbeddingRequest,
    EmbeddingResponseData,
    UsageInfo,
)
from dragoman.errors import DragomanError
from dragoman.protocols.openai import codec
from dragoman.protocols.openai.errors import describe, from_model
from dragoman.protocols.openai.serving import OPERATIONS

KINDS = [operation.request for operation in OPERATIONS]
FIELDS = (
    "model",
    "prompt",
    "messages",
    "input",
    "documents",
    "query",
    "n",
    "stop",
    "logit_bias",
    "stream_options",
)
leaves = st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False) | st.text()
values = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
)
documents = st.dictionaries(st.sampled_from(FIELDS) | st.text(max_size=8), values, max_size=8)


def tried(function, *arguments):
    """What it returns, or the error that it has told."""
    try:
        return function(*arguments)
    except DragomanError as error:
        return error


@given(st.sampled_from(KINDS), documents)
def test_whatever_is_sent_is_a_request_or_a_named_mistake(kind, document):
    def decode():
        read, model = codec.decode_document(orjson.dumps(document), 100)
        return codec.decode_request(read, kind), model

    outcome = tried(decode)
    if isinstance(outcome, DragomanError):
        param = getattr(outcome, "param", None)
        assert param is None or outcome.message.startswith(f"{param}: ")
        assert describe(outcome).status in (400, 413)
    else:
        request, model = outcome
        assert request.model == model == document["model"]


@given(st.binary(max_size=64))
def test_bytes_that_are_no_request_are_refused(body):
    outcome = tried(codec.decode_document, body, 100)
    assert isinstance(outcome, tuple) or describe(outcome).status in (400, 413)


def test_fields_that_nobody_knows_are_kept():
    document = {"model": "m", "prompt": "x", "guided_regex": "[a-z]", "max_tokens": None}
    request = codec.decode_request(document, "CompletionRequest")
    assert request.guided_regex == "[a-z]"
    assert request.max_tokens is None
    assert request.params is request


def test_messages_are_dictionaries_with_all_that_was_sent():
    message = {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}], "more": [1]}
    request = codec.decode_request({"model": "m", "messages": [message]}, "ChatCompletionRequest")
    assert request.messages == [message]


def test_a_chunk_is_an_event_without_what_it_does_not_say():
    choice = ChunkChoice(delta=ChoiceDelta(content="ä"), index=0)
    chunk = ChatCompletionChunk(id="1", created=2, model="m", choices=[choice])
    assert codec.encode_event(chunk).decode() == (
        'data: {"id":"1","object":"chat.completion.chunk","created":2,"model":"m",'
        '"choices":[{"index":0,"delta":{"content":"ä"}}]}\n\n'
    )


@pytest.mark.parametrize(
    ("item", "event"),
    [
        ("data: x\n\n", b"data: x\n\n"),
        (b": keep-alive\n\n", b": keep-alive\n\n"),
        ({"a": np.float32(0.5)}, b'data: {"a":0.5}\n\n'),
    ],
)
def test_text_is_an_event_already(item, event):
    assert codec.encode_event(item) == event


@pytest.mark.parametrize(
    ("event", "ends"),
    [
        (b"data: [DONE]\n\n", True),
        (b"data: 1\n\ndata: [DONE]", True),
        (b"data: DONE\n\n", False),
        (b"", False),
    ],
)
def test_a_model_may_end_its_stream_itself(event, ends):
    assert codec.ends_stream(event) is ends


@given(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), max_size=8))
def test_vectors_come_back_from_base64(vector):
    request = EmbeddingRequest(model="m", input="x", encoding_format="base64")
    data = [EmbeddingResponseData(index=0, embedding=vector)]
    for answer in (Embedding(model="m", data=data), {"data": [{"index": 0, "embedding": list(vector)}]}):
        encoded = orjson.loads(codec.encode_answer(answer, request))["data"][0]["embedding"]
        assert np.frombuffer(base64.b64decode(encoded), "<f4").tolist() == vector


def test_a_vector_that_is_base64_already_stays():
    request = EmbeddingRequest(model="m", input="x", encoding_format="base64")
    data = [EmbeddingResponseData(index=0, embedding="AACAPw==")]
    usage = UsageInfo(prompt_tokens=1, total_tokens=1)
    encoded = codec.encode_answer(Embedding(id="1", created=2, model="m", data=data, usage=usage), request)
    assert encoded.decode() == (
        '{"id":"1","object":"list","created":2,"model":"m","data":[{"index":0,"object":"embedding",'
        '"embedding":"AACAPw=="}],"usage":{"prompt_tokens":1,"total_tokens":1,"completion_tokens":0}}'
    )


def test_text_and_bytes_are_answers_as_they_are():
    request = CompletionRequest(model="m")
    assert (
        codec.encode_answer('{"a": 1}', request) == codec.encode_answer(b'{"a": 1}', request) == b'{"a": 1}'
    )


@pytest.mark.parametrize(
    ("told", "status", "code", "counted"),
    [
        ({"message": "m", "code": 404}, 404, "404", "not_found"),
        ({"message": "m", "code": "429"}, 429, "429", "overloaded"),
        ({"message": "m", "code": 418}, 418, "418", "invalid_input"),
        ({"message": "m", "code": 502}, 502, "502", "model_failed"),
        ({"message": "m", "code": 200}, 500, "200", "model_failed"),
        ({"message": "m", "code": "²"}, 500, "²", "model_failed"),
        ({"message": "m", "code": None}, 500, "500", "model_failed"),
        ({}, 500, "500", "model_failed"),
    ],
)
def test_a_models_own_error_has_the_status_that_is_its_code(told, status, code, counted):
    failure = from_model(told)
    assert (failure.status, failure.document["error"]["code"], failure.code.value) == (status, code, counted)
