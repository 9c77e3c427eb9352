"""Triton's HTTP client, unmodified: the one of asyncio."""

import asyncio

import numpy as np
import pytest
import tritonclient.http as triton
import tritonclient.http.aio as aio
from tritonclient.utils import InferenceServerException

from tests.clients.datatypes import SAMPLES, same
from tests.clients.test_tritonclient import A, B, an_input, two_inputs


def ask(server, function):
    """What ``function(client)`` answers, with a client of a loop of its own."""

    async def run():
        async with aio.InferenceServerClient(f"127.0.0.1:{server.app.port}") as client:
            return await function(client)

    return asyncio.run(run())


def test_health_and_metadata_are_told(server):
    async def run(client):
        assert await client.is_server_live()
        assert await client.is_server_ready()
        assert await client.is_model_ready("Echo", "1")
        assert not await client.is_model_ready("Echo", "7")
        assert (await client.get_server_metadata())["name"] == "dragoman"
        assert (await client.get_model_metadata("Labelled"))["versions"] == ["1"]
        assert (await client.get_model_config("Labelled"))["max_batch_size"] == 8
        return await client.get_model_repository_index()

    assert len(ask(server, run)) == 4


def test_every_datatype_travels(server):
    async def run(client):
        outputs = [triton.InferRequestedOutput("x", binary_data=True)]
        for datatype, data in SAMPLES.items():
            answer = await client.infer("Echo", [an_input("x", datatype, data)], outputs=outputs)
            assert same(answer.as_numpy("x"), data), datatype

    ask(server, run)


def test_many_requests_at_once_get_their_own_answers(server):
    async def run(client):
        async def one(number):
            data = np.full((1, 4), number, np.float32)
            inputs = [an_input("INPUT0", "FP32", data), an_input("INPUT1", "FP32", B, number % 2 == 0)]
            answer = await client.infer("Labelled", inputs, request_id=str(number))
            assert answer.get_response()["id"] == str(number)
            np.testing.assert_array_equal(answer.as_numpy("OUTPUT0"), data + B)

        await asyncio.gather(*(one(number) for number in range(90)))

    ask(server, run)


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
def test_bodies_may_be_compressed(server, coding):
    async def run(client):
        answer = await client.infer(
            "Labelled",
            two_inputs(),
            request_compression_algorithm=coding,
            response_compression_algorithm=coding,
            priority=2,
            timeout=30_000_000,
            parameters={"any": "thing"},
        )
        np.testing.assert_array_equal(answer.as_numpy("OUTPUT1"), A - B)

    ask(server, run)


def test_mistakes_are_told_in_tritons_words(server):
    async def run(client):
        with pytest.raises(InferenceServerException) as caught:
            await client.infer("nope", two_inputs())
        assert caught.value.status() == "404"
        assert caught.value.message() == "Request for unknown model: 'nope' is not found"
        with pytest.raises(InferenceServerException, match="missing required input") as caught:
            await client.infer("Labelled", two_inputs()[:1])
        assert caught.value.status() == "400"

    ask(server, run)
