"""A model that is elsewhere, behind another live server: its answers, its streams and its failures come through."""

import asyncio
import contextlib

import httpx
import openai
import pytest

from dragoman.compat.kserve.protocol.rest.openai import OpenAIError, OpenAIProxyModel
from dragoman.compat.kserve.protocol.rest.openai.types import CompletionRequest
from dragoman.testing import TestClient

MESSAGES = [{"role": "user", "content": "one two three"}]


class Shouting(OpenAIProxyModel):
    """Changes what goes there, and what comes back."""

    def preprocess_completion_request(self, request, raw_request=None):
        request.prompt += " four"

    def postprocess_completion(self, completion, request, raw_request=None):
        completion.choices[0].text += "!"

    def postprocess_completion_chunk(self, completion, request, raw_request=None):
        for choice in completion.choices:
            choice.text = choice.text.upper()

    def preprocess_chat_completion_request(self, request, raw_request=None):
        request.messages.append({"role": "user", "content": "four"})

    def postprocess_chat_completion(self, chat_completion, request, raw_request=None):
        chat_completion.choices[0].message.content += "!"

    def postprocess_chat_completion_chunk(self, chat_completion_chunk, request, raw_request=None):
        for choice in chat_completion_chunk.choices:
            choice.delta.content = choice.delta.content.upper()


@pytest.fixture(scope="module", params=[False, True], ids=["checked", "unchecked"])
def proxy(server, request):
    """A server whose models are all on the other one."""

    client = httpx.AsyncClient(timeout=60)

    def make(kind, name, **options):
        unchecked = request.param
        return kind(name, f"{server.url}/openai/", client, skip_upstream_validation=unchecked, **options)

    with TestClient() as proxy:

        def add():
            health = "/v1/models/echo"
            proxy.app.openai.add("echo", make(OpenAIProxyModel, "echo", health_endpoint=health))
            proxy.app.openai.add("failing", make(OpenAIProxyModel, "failing", health_endpoint=None))
            proxy.app.openai.add("lengths", make(OpenAIProxyModel, "lengths"))

        proxy.call(add)
        yield proxy
        proxy.call(client.aclose)


@pytest.fixture
def through(proxy):
    with openai.OpenAI(base_url=f"{proxy.url}/openai/v1", api_key="none", max_retries=0) as client:
        yield client


@pytest.fixture
def shouting(server):
    with TestClient() as proxy:
        model = Shouting("echo", f"{server.url}/openai")
        proxy.call(lambda: proxy.app.openai.add("echo", model))
        with openai.OpenAI(base_url=f"{proxy.url}/openai/v1", api_key="none") as client:
            yield client

        async def stop():
            model.stop()
            await model._closing

        proxy.call(stop)
        assert not model.ready


def test_answers_come_through(through):
    completion = through.completions.create(model="echo", prompt="one two three")
    assert completion.choices[0].text == "three two one"
    completion = through.chat.completions.create(model="echo", messages=MESSAGES)
    assert completion.choices[0].message.content == "three two one"


def test_streams_come_through(through):
    # row: openai-iterators
    chunks = through.completions.create(model="echo", prompt="one two three", stream=True)
    assert [chunk.choices[0].text for chunk in chunks] == ["three", " two", " one"]
    chunks = through.chat.completions.create(model="echo", messages=MESSAGES, stream=True)
    assert [chunk.choices[0].delta.content for chunk in chunks] == ["three", " two", " one"]


def test_failures_come_through(through):
    with pytest.raises(openai.BadRequestError, match="no such adapter"):
        through.completions.create(model="failing", prompt="raises")
    with pytest.raises(openai.RateLimitError, match="too busy"):
        through.completions.create(model="failing", prompt="returns", stream=True)
    with pytest.raises(openai.BadRequestError, match="does not support Completions API"):
        through.completions.create(model="lengths", prompt="x")


def test_a_code_that_is_no_status_leaves_the_status_as_it_was(through):
    # row: openai-upstream-codes
    with pytest.raises(openai.InternalServerError) as caught:
        through.completions.create(model="failing", prompt="upstream")
    assert (caught.value.status_code, caught.value.code) == (500, "model_gone")


def test_a_stream_that_breaks_off_there_breaks_off_here(through):
    chunks = through.completions.create(model="failing", prompt="breaks", stream=True)
    assert next(chunks).choices[0].text == "half"
    with pytest.raises(openai.APIError, match="internal error"):
        next(chunks)


def test_it_is_as_healthy_as_the_other_server_says(proxy):
    assert proxy.get("/openai/v1/models/echo").status == 200
    assert proxy.get("/openai/v1/models/failing").status == 200, "the other server isn't asked"
    assert proxy.get("/openai/v1/models/lengths").status == 503, "there is no /openai/health"
    # row: openai-proxy-health
    assert proxy.post("/v1/completions", {"model": "lengths"}).status == 400, "it is asked all the same"


def test_hooks_change_requests_and_answers(shouting):
    assert shouting.completions.create(model="echo", prompt="a").choices[0].text == "four a!"
    chunks = shouting.completions.create(model="echo", prompt="a", stream=True)
    assert [chunk.choices[0].text for chunk in chunks] == ["FOUR", " A"]
    completion = shouting.chat.completions.create(model="echo", messages=MESSAGES)
    assert completion.choices[0].message.content == "four three two one!"
    chunks = shouting.chat.completions.create(model="echo", messages=MESSAGES, stream=True)
    assert [chunk.choices[0].delta.content for chunk in chunks][:1] == ["FOUR"]


async def refuse(reader):
    """Answers nothing."""
    return b""


@contextlib.asynccontextmanager
async def answering(answer):
    """A server that sends what ``answer`` returns, and closes the connection; gives its URL."""
    handlers = set()

    async def handle(reader, writer):
        handlers.add(asyncio.current_task())
        writer.write(await answer(reader))
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    await asyncio.gather(*handlers)


def respond(text):
    async def answer(reader):
        await reader.readuntil(b"\r\n\r\n")
        return text

    return answer


def ask_of(answer, **options):
    """The status and message that a client would be told."""

    async def ask():
        async with answering(answer) as url, httpx.AsyncClient(timeout=options.pop("timeout", 60)) as client:
            model = OpenAIProxyModel("echo", url, http_client=client)
            healthy = await model.healthy()

            async def read():
                asked = CompletionRequest(model="echo", prompt="x", stream=options.get("stream", False))
                return [part async for part in await model.create_completion(asked)]

            with pytest.raises(OpenAIError) as caught:
                await read()
            error = caught.value.response.error
            return int(error.code), error.message, healthy

    return asyncio.run(ask())


@pytest.mark.parametrize("stream", [False, True])
def test_one_that_answers_nonsense_is_a_bad_gateway(stream):
    page = b"HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\ndata: <html"
    assert ask_of(respond(page), stream=stream) == (502, "upstream's answer is not one of OpenAI's API", True)
    other = b'HTTP/1.1 200 OK\r\nContent-Length: 16\r\n\r\ndata: {"id": [] }'
    assert ask_of(respond(other), stream=stream)[0] == 502


def test_so_is_one_whose_errors_are_none_of_openais():
    page = b"HTTP/1.1 500 Oops\r\nContent-Length: 4\r\n\r\noops"
    assert ask_of(respond(page)) == (502, "upstream answered 500, and no error of OpenAI's API", False)


def test_one_that_closes_the_connection_is_unavailable():
    assert ask_of(refuse) == (503, "upstream can't be reached, or closes connections", False)


def test_one_that_does_not_answer_in_time_is_a_timeout():
    async def silent(reader):
        await reader.read()
        return b""

    assert ask_of(silent, timeout=0.05) == (504, "upstream did not answer in time", False)


def test_one_that_is_not_there_is_unavailable():
    async def ask():
        async with answering(refuse) as url:
            pass
        async with httpx.AsyncClient() as client:
            model = OpenAIProxyModel("echo", url, http_client=client)
            with pytest.raises(OpenAIError, match="upstream can't be reached") as caught:
                await model.create_completion(CompletionRequest(model="echo", prompt="x"))
            assert caught.value.response.error.code == "503"
            assert not await model.healthy()

    asyncio.run(ask())
