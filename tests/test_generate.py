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


@pytest.fixture
def gate(tmp_path):
    """After its first answer the model waits until there is this file."""
    gate = tmp_path / "gate"
    yield gate
    gate.touch()


def cancelled(server):
    return server.call(lambda: server.app.engine.find("gen_stream").stats.answers["v2-generate", "cancelled"])


def test_a_stream_has_every_answer_in_order(server):
    answer = server.post("/v2/models/gen_stream/generate_stream", {"text_input": "a", "repeat": 500})
    events = answer.body.decode().split("\n\n")
    assert events.pop() == ""
    texts = [json.loads(event.removeprefix("data: "))["text_output"] for event in events]
    assert texts == [f"a#{number}|{{}}" for number in range(500)]


def test_an_answer_is_sent_while_the_model_goes_on_and_who_leaves_is_cancelled(server, gate):
    body = json.dumps({"text_input": str(gate)}).encode()
    path = "/v2/models/gen_stream/generate_stream"
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", server.app.port), timeout=60) as connection:
        connection.sendall(head.encode() + body)
        with connection.makefile("rb") as stream:
            assert stream.readline() == b"HTTP/1.1 200 OK\r\n"
            assert any(line.startswith(b"data: ") for line in stream)
        assert cancelled(server) == 0
    deadline = time.monotonic() + 60
    while cancelled(server) == 0:
        assert time.monotonic() < deadline


def test_a_deadline_ends_a_stream_with_an_event(server, gate):
    document = {"text_input": str(gate), "timeout": 500_000}
    answer = server.post("/v2/models/gen_stream/generate_stream", document)
    assert "the request's time was up" in answer.body.decode()


def test_many_answers_where_one_is_expected_are_refused_at_the_second(server):
    answer = server.post("/v2/models/gen_stream/generate", {"text_input": "a", "repeat": 300})
    assert answer.status == 400
    assert "exactly 1 response" in answer.json()["error"]
    assert server.post("/v2/models/gen_stream/generate", {"text_input": "a", "repeat": 1}).status == 200


def test_requests_are_counted_under_a_dialect_of_their_own(server):
    server.post("/v2/models/gen/generate", {"text_input": "a"})
    server.post("/v2/models/gen/generate", {"text_input": 7})
    answers = server.call(lambda: dict(server.app.engine.find("gen").stats.answers))
    assert answers["v2-generate", "ok"] == answers["v2-generate", "invalid_input"] == 1
