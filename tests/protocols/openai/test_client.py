"""OpenAI's own client, unmodified, against a live server."""

import asyncio

import openai
import pytest

from dragoman.config import OpenAISettings, Settings
from dragoman.errors import ConfigError, Unsupported
from dragoman.protocols.openai.http import Http
from dragoman.protocols.openai.serving import Serving
from dragoman.serving.parser import openai_route_prefix
from dragoman.testing import TestClient
from dragoman.transport.router import Router
from tests.protocols.openai.models import Lengths

MESSAGES = [{"role": "system", "content": "one two"}, {"role": "user", "content": "three"}]


def test_it_lists_the_models(client):
    assert [model.id for model in client.models.list()] == ["blocking", "echo", "failing", "lengths"]


def test_it_retrieves_one_and_is_told_of_one_that_there_is_not(client):
    # row: openai-models
    assert client.models.retrieve("echo").id == "echo"
    with pytest.raises(openai.NotFoundError, match="Model with name missing does not exist"):
        client.models.retrieve("missing")


def test_it_completes(client):
    completion = client.completions.create(model="echo", prompt="one two three")
    assert completion.choices[0].text == "three two one"
    assert completion.choices[0].finish_reason == "stop"
    assert completion.object == "text_completion"
    assert completion.usage.total_tokens == 6


def test_it_completes_bit_by_bit(client):
    chunks = list(client.completions.create(model="echo", prompt="one two three", stream=True))
    assert [chunk.choices[0].text for chunk in chunks] == ["three", " two", " one"]
    assert len({chunk.id for chunk in chunks}) == 1


def test_it_chats(client):
    completion = client.chat.completions.create(model="echo", messages=MESSAGES)
    message = completion.choices[0].message
    assert (message.role, message.content) == ("assistant", "three two one")
    assert completion.object == "chat.completion"
    assert completion.usage.prompt_tokens == 3


def test_it_chats_bit_by_bit_and_counts_tokens(client):
    options = {"include_usage": True}
    chunks = list(
        client.chat.completions.create(
            model="echo", messages=MESSAGES, max_tokens=2, stream=True, stream_options=options
        )
    )
    assert [chunk.choices[0].delta.content for chunk in chunks[:-1]] == ["three", " two"]
    assert chunks[-1].choices == []
    assert chunks[-1].usage.completion_tokens == 2
    assert chunks[0].object == "chat.completion.chunk"


def test_it_gathers_a_streamed_chat(client):
    with client.chat.completions.stream(model="echo", messages=MESSAGES) as stream:
        assert stream.get_final_completion().choices[0].message.content == "three two one"


@pytest.mark.parametrize("format", ["float", "base64", openai.omit])
def test_it_gets_vectors_in_whatever_format_it_asks_for(client, format):
    # row: openai-base64
    answer = client.embeddings.create(model="lengths", input=["a b", "cdef"], encoding_format=format)
    assert [item.index for item in answer.data] == [0, 1]
    if format == "base64":
        assert answer.data[0].embedding == "AABAQAAAAEA="
    else:
        assert [item.embedding for item in answer.data] == [[3.0, 2.0], [4.0, 1.0]]
    assert answer.usage.prompt_tokens == 3


def test_it_works_without_the_prefix(server):
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="none") as client:
        assert client.completions.create(model="echo", prompt="a b").choices[0].text == "b a"


def test_the_asynchronous_one_asks_many_at_once(server):
    async def ask():
        async with openai.AsyncOpenAI(base_url=f"{server.url}/openai/v1", api_key="none") as client:

            async def one(word):
                stream = await client.chat.completions.create(
                    model="echo", messages=[{"role": "user", "content": f"{word} said"}], stream=True
                )
                return "".join([chunk.choices[0].delta.content async for chunk in stream])

            return await asyncio.gather(*(one(f"word{n}") for n in range(50)))

    assert asyncio.run(ask()) == [f"said word{n}" for n in range(50)]


def test_a_model_of_an_older_api_answers_from_a_thread(client):
    # row: openai-partial
    assert client.completions.create(model="blocking", prompt="loud").choices[0].text == "LOUD"


def test_documents_are_ranked_over_plain_http(server):
    documents = ["a very long document", "short", "medium one"]
    request = {"model": "lengths", "query": "query", "documents": documents, "top_n": 2}
    for path in ("/openai/v1/rerank", "/v1/rerank"):
        answer = server.post(path, request)
        assert answer.status == 200
        assert [result["index"] for result in answer.json()["results"]] == [1, 2]
        assert answer.json()["results"][0] == {
            "index": 1, "document": {"text": "short"}, "relevance_score": 1.0
        }  # fmt: skip


@pytest.mark.parametrize("prefix", ["/llm/openai", ""])
def test_the_prefix_is_a_setting(prefix):
    with TestClient(settings=Settings(openai=OpenAISettings(prefix=prefix))) as server:
        server.call(lambda: server.app.openai.add("lengths", Lengths("lengths")))
        with openai.OpenAI(base_url=f"{server.url}{prefix}/v1", api_key="none") as client:
            assert client.embeddings.create(model="lengths", input="abc").data[0].embedding == [3.0, 1.0]
        assert server.get("/openai/v1/models").status == 404


@pytest.mark.parametrize("prefix", ["openai", "/", "/a b", "/{}", "/a/"])
def test_a_prefix_that_is_no_path_is_refused_at_start(prefix):
    with pytest.raises(ConfigError, match=r"openai\.prefix is no path"):
        Http(None, Serving(), None).add_routes(Router(), prefix)


def test_an_object_without_any_of_the_methods_is_no_model():
    with pytest.raises(Unsupported, match="'it' has none of the methods of OpenAI's API: create_completion"):
        Serving().add("it", object())


def test_kserves_variable_for_the_prefix_is_read():
    assert openai_route_prefix({}) == "/openai"
    assert openai_route_prefix({"KSERVE_OPENAI_ROUTE_PREFIX": "llm"}) == "/llm"
    assert openai_route_prefix({"KSERVE_OPENAI_ROUTE_PREFIX": ""}) == ""
