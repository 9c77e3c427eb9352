"""The examples of docs/openai.md: a real encoder, and a chat without weights, asked by OpenAI's own client."""

import asyncio

import httpx
import numpy as np
import openai
import pytest

from tests.program import Program
from tests.test_examples import ROOT, run

EXAMPLES = ROOT / "examples" / "embeddings"
#: With how much they are alike, as the model's authors tell it for their own implementation.
TEXTS = {
    "That is a happy person": 1.0,
    "That is a happy dog": 0.6946,
    "That is a very happy person": 0.9429,
    "Today is a sunny day": 0.2569,
}


@pytest.fixture(scope="module")
def minilm():
    with Program(EXAMPLES / "model.py") as program:
        yield program.url


@pytest.fixture(scope="module")
def zen():
    with Program(EXAMPLES / "chat.py") as program:
        yield program.url


def likeness(answer):
    vectors = np.array([item.embedding for item in answer.data])
    assert vectors.shape == (len(TEXTS), 384)
    return vectors @ vectors[0]


def test_texts_that_mean_alike_have_vectors_that_point_alike(minilm):
    with openai.OpenAI(base_url=f"{minilm}/openai/v1", api_key="none") as client:
        answer = client.embeddings.create(model="minilm", input=list(TEXTS))
        assert likeness(answer) == pytest.approx(list(TEXTS.values()), abs=1e-3)
        assert answer.usage.prompt_tokens == 29
        floats = client.embeddings.create(model="minilm", input=list(TEXTS), encoding_format="float")
        assert likeness(floats) == pytest.approx(likeness(answer), abs=1e-6)


def test_many_ask_at_once_and_each_gets_its_own(minilm):
    async def ask():
        async with openai.AsyncOpenAI(base_url=f"{minilm}/openai/v1", api_key="none") as client:

            async def one(text):
                answer = await client.embeddings.create(model="minilm", input=text)
                return np.array(answer.data[0].embedding)

            return await asyncio.gather(*map(one, [*TEXTS] * 8))

    vectors = np.array(asyncio.run(ask()))
    assert vectors @ vectors[0] == pytest.approx([*TEXTS.values()] * 8, abs=1e-3)


@pytest.mark.parametrize("input", ["", [], [1, 2]])
def test_what_is_no_text_is_refused_in_the_models_words(minilm, input):
    with openai.OpenAI(base_url=f"{minilm}/openai/v1", api_key="none") as client:
        if input == "":
            assert client.embeddings.create(model="minilm", input=input).usage.prompt_tokens == 2
            return
        with pytest.raises(openai.BadRequestError) as caught:
            client.embeddings.create(model="minilm", input=input)
    assert caught.value.param == "input"


def test_documents_are_ranked_by_what_they_mean(minilm):
    documents = ["The stock market fell.", {"text": "A kitten sleeps."}, "Dogs bark at night."]

    request = {"model": "minilm", "query": "Where is my cat?", "documents": documents, "top_n": 2}
    results = httpx.post(f"{minilm}/v1/rerank", json=request, timeout=60).json()["results"]
    assert [result["index"] for result in results] == [1, 2]
    assert results[0]["document"] == {"text": "A kitten sleeps."}
    assert results[0]["relevance_score"] > results[1]["relevance_score"]


def test_a_chat_goes_on_as_the_poem_does(zen):
    messages = [{"role": "user", "content": "What is better than implicit?"}]
    with openai.OpenAI(base_url=f"{zen}/openai/v1", api_key="none") as client:
        whole = client.chat.completions.create(model="zen", messages=messages, max_tokens=6)
        assert whole.choices[0].message.content == ". Although practicality beats purity."
        assert whole.choices[0].finish_reason == "length"
        chunks = list(
            client.chat.completions.create(
                model="zen",
                messages=messages,
                max_tokens=6,
                stream=True,
                stream_options={"include_usage": True},
            )
        )
    texts = [chunk.choices[0].delta.content for chunk in chunks if chunk.choices]
    assert "".join(texts) == whole.choices[0].message.content
    assert len(texts) == 7
    assert chunks[-1].usage == whole.usage


def test_the_client_of_the_examples_asks_both(minilm, zen):
    assert run(EXAMPLES / "client.py", minilm) == [
        "models: minilm",
        "1.00  a cat sits on the sofa",
        "0.77  a kitten rests on the couch",
        "0.08  the stock market fell today",
    ]
    models, said = run(EXAMPLES / "client.py", zen)
    assert models == "models: zen"
    assert said.startswith(". Although practicality beats purity")
