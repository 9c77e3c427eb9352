"""Answers that come bit by bit: as fast as they are read, until they end, fail, or nobody reads any more."""

import asyncio
import http.client
import json
from dataclasses import replace

import openai
import pytest

from dragoman.config import ModelSettings, Settings
from dragoman.testing import TestClient
from tests.protocols.openai.models import Endless, Failing

PATH = "/openai/v1/completions"


def events_of(answer):
    assert answer.status == 200
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert answer.headers["cache-control"] == "no-cache"
    assert answer.body.endswith(b"\n\n")
    return [event.removeprefix("data: ") for event in answer.body.decode().split("\n\n")[:-1]]


def stream(server, model, prompt):
    return server.post(PATH, {"model": model, "prompt": prompt, "stream": True})


def test_the_models_own_events_go_through_as_they_are(server):
    *chunks, done = events_of(stream(server, "echo", "a b"))
    assert done == "[DONE]"
    assert [json.loads(chunk)["choices"][0]["text"] for chunk in chunks] == ["b", " a"]


def test_an_error_before_the_first_chunk_has_its_own_status(server, client):
    # row: openai-first-item
    assert stream(server, "failing", "late").status == 400
    with pytest.raises(openai.BadRequestError, match="before the first word"):
        client.completions.create(model="failing", prompt="late", stream=True)


def test_an_error_after_it_is_an_event_and_the_stream_is_not_done(server, caplog):
    # row: openai-stream-error
    half, error = events_of(stream(server, "failing", "breaks"))
    assert json.loads(half)["choices"][0]["text"] == "half"
    assert json.loads(error)["error"]["type"] == "InternalServerError"
    assert "secret" not in error
    assert any("/secret/path" in str(record.exc_info) for record in caplog.records if record.exc_info)


def test_clients_see_it(client):
    chunks = client.completions.create(model="failing", prompt="breaks", stream=True)
    assert next(chunks).choices[0].text == "half"
    with pytest.raises(openai.APIError, match="internal error"):
        next(chunks)


def test_an_error_that_the_model_tells_in_between_ends_the_stream_likewise(server):
    _, error = events_of(stream(server, "failing", "told"))
    assert json.loads(error)["error"]["message"] == "the other half is gone"


def test_a_client_that_leaves_stops_the_model_and_one_that_reads_slowly_holds_it():
    model = Endless()
    with TestClient() as server:
        server.call(lambda: server.app.openai.add("endless", model))
        connection = http.client.HTTPConnection("127.0.0.1", server.app.port, timeout=60)
        connection.request("POST", PATH, json.dumps({"model": "endless", "stream": True}))
        answer = connection.getresponse()
        answer.read(100_000)

        # A model that nothing holds would never let the server do anything else.
        assert server.call(lambda: model.made) < 10_000, "the client hasn't read a hundred megabytes"
        answer.close()
        connection.close()
        server.call(lambda: asyncio.wait_for(model.stopped.wait(), 60))
        assert model.raw_request_gone
        numbers = server.app.engine.stats.of("endless", "1")
        assert dict(numbers.answers) == {("openai", "cancelled"): 1}
        assert numbers.running == 0


def test_an_answer_that_takes_too_long_is_given_up():
    settings = Settings(models=replace(ModelSettings(), timeout=0.05))
    with TestClient(settings=settings) as server:
        server.call(lambda: server.app.openai.add("failing", Failing("failing")))
        half, error = events_of(stream(server, "failing", "endless"))
        assert json.loads(half)["choices"][0]["text"] == "half"
        assert json.loads(error)["error"] == {
            "code": "504",
            "message": "the answer took more than 0.05 seconds",
            "param": None,
            "type": "GatewayTimeout",
        }


def test_answers_are_counted_by_model_and_outcome():
    with TestClient() as server:
        server.call(lambda: server.app.openai.add("failing", Failing("failing"), "3"))
        stream(server, "failing", "breaks")
        server.post(PATH, {"model": "failing", "prompt": "header"})
        server.post(PATH, {"model": "failing", "prompt": 5})
        server.post(PATH, {"model": "missing"})
        text = server.get("/metrics").body.decode()
    for outcome in ("model_failed", "invalid_input"):
        labels = f'{{code="{outcome}",dialect="openai",model="failing",version="3"}}'
        assert f"dragoman_requests_total{labels}" in text
    assert 'dragoman_refused_requests_total{code="not_found",dialect="openai"} 1.0' in text
    assert 'dragoman_running_requests{model="failing",version="3"} 0.0' in text
