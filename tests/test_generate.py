"""The generate extension of a live server: streams, and clients that leave them."""

import json
import socket
import time

import pytest

from dragoman.testing import TestClient
from tests.conformance.models import write_generate_repository


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    root = tmp_path_factory.mktemp("models")
    write_generate_repository(root)
    with TestClient(str(root)) as server:
        yield server


def running(server):
    return server.call(lambda: server.app.engine.find("gen_stream").stats.running)


def wait_until(check):
    deadline = time.monotonic() + 60
    while not check():
        assert time.monotonic() < deadline


def test_a_stream_has_every_answer_in_order(server):
    answer = server.post("/v2/models/gen_stream/generate_stream", {"text_input": "a", "repeat": 500})
    events = answer.body.decode().split("\n\n")
    assert events.pop() == ""
    texts = [json.loads(event.removeprefix("data: "))["text_output"] for event in events]
    assert texts == [f"a#{number}|{{}}" for number in range(500)]


def test_who_leaves_a_stream_ends_the_model_s_work(server):
    body = json.dumps({"text_input": "a", "repeat": 2**31 - 1}).encode()
    head = f"POST /v2/models/gen_stream/generate_stream HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", server.app.port), timeout=60) as connection:
        connection.sendall(head.encode() + body)
        assert connection.recv(100).startswith(b"HTTP/1.1 200")
        assert running(server) == 1
    wait_until(lambda: running(server) == 0)
    answers = server.call(lambda: dict(server.app.engine.find("gen_stream").stats.answers))
    assert answers["v2-generate", "cancelled"] == 1
    assert server.post("/v2/models/gen_stream/generate", {"text_input": "a", "repeat": 1}).status == 200


def test_a_model_with_too_many_answers_is_stopped(server):
    answer = server.post("/v2/models/gen_stream/generate", {"text_input": "a", "repeat": 2**31 - 1})
    assert answer.status == 400
    assert "exactly 1 response" in answer.json()["error"]
    wait_until(lambda: running(server) == 0)


def test_a_deadline_ends_a_stream_with_an_event(server):
    document = {"text_input": "a", "repeat": 2**31 - 1, "timeout": 300_000}
    answer = server.post("/v2/models/gen_stream/generate_stream", document)
    assert answer.status == 200
    assert "the request's time was up while it ran" in answer.body.decode().rsplit("data: ", 1)[1]


def test_requests_are_counted_under_a_dialect_of_their_own(server):
    server.post("/v2/models/gen/generate", {"text_input": "a"})
    server.post("/v2/models/gen/generate", {"text_input": 7})
    answers = server.call(lambda: dict(server.app.engine.find("gen").stats.answers))
    assert answers["v2-generate", "ok"] == answers["v2-generate", "invalid_input"] == 1
