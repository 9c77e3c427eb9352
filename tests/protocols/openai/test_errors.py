"""What clients are told when something goes wrong: OpenAI's shape, the right status, and nothing internal."""

import json

import openai
import pytest

from dragoman.errors import Code
from dragoman.protocols.openai.errors import TYPES
from dragoman.testing import TestClient
from dragoman.transport.status import STATUS
from tests.protocols.openai.models import Echo

COMPLETIONS = "/openai/v1/completions"
CHAT = "/openai/v1/chat/completions"


def error_of(answer):
    assert set(answer.json()) == {"error"}
    error = answer.json()["error"]
    assert set(error) == {"code", "message", "param", "type"}
    return error


def fails(server, prompt):
    return server.post(COMPLETIONS, {"model": "failing", "prompt": prompt})


@pytest.mark.parametrize(
    ("path", "body", "param", "message"),
    [
        (COMPLETIONS, b"{", None, "failed to parse the request JSON buffer: unexpected end of data"),
        (COMPLETIONS, b"[1]", None, "the body must be a JSON object, got list"),
        (COMPLETIONS, b"[" * 200, None, "JSON nesting depth exceeds"),
        (COMPLETIONS, b'{"prompt": "x"}', "model", "model: expected the name of a model, got nothing"),
        (COMPLETIONS, b'{"model": 7}', "model", "model: expected the name of a model, got 7"),
        (COMPLETIONS, b'{"model": "echo", "max_tokens": "many"}', "max_tokens", "max_tokens: Input should be a"),
        (COMPLETIONS, b'{"model": "echo", "logit_bias": {"5": "x"}}', "logit_bias.5", "logit_bias.5: Input should be"),
        (COMPLETIONS, b'{"model": "echo", "prompt": [1, 2, "x"]}', "prompt.2", "prompt.2: Input should be"),
        (CHAT, b'{"model": "echo"}', "messages", "messages: Field required"),
        (CHAT, b'{"model": "echo", "messages": [{"content": "x"}]}', "messages.0.role", "messages.0.role: Field req"),
        (CHAT, b'{"model": "echo", "n": 2, "messages": []}', "n", "n != 1 is not supported"),
        ("/v1/embeddings", b'{"model": "lengths", "input": 5}', "input", "input: Input should be"),
        ("/v1/rerank", b'{"model": "lengths", "query": "q"}', "documents", "documents: Field required"),
        ("/v1/rerank", b'{"model": "lengths", "query": "q", "documents": [], "top_n": -1}', "top_n", "top_n: Input"),
        (COMPLETIONS, b'{"model": "lengths", "prompt": "x"}', "model", "Model lengths does not support Complet"),
        (CHAT, b'{"model": "lengths", "messages": []}', "model", "Model lengths does not support Chat Complet"),
        ("/v1/embeddings", b'{"model": "echo", "input": "x"}', "model", "Model echo does not support Embeddings API"),
        ("/v1/rerank", b'{"model": "echo", "query": "x"}', "model", "Model echo does not support Rerank API"),
    ],
)  # fmt: skip
def test_a_wrong_request_is_told_which_field_is_wrong(server, path, body, param, message):
    # row: openai-error-shape
    answer = server.request("POST", path, body)
    assert answer.status == 400
    error = error_of(answer)
    assert error["message"].startswith(message)
    assert (error["param"], error["code"], error["type"]) == (param, "400", "BadRequestError")


def test_an_unknown_model_is_not_found(client):
    with pytest.raises(openai.NotFoundError) as caught:
        client.completions.create(model="missing", prompt="x")
    assert caught.value.code == "404"
    assert caught.value.type == "NotFoundError"
    assert caught.value.body["message"] == "Model with name missing does not exist."


def test_a_model_that_is_not_ready_says_so_everywhere():
    model = Echo("echo")
    model.ready = False
    with TestClient() as server:
        server.call(lambda: server.app.openai.add("echo", model))
        assert server.get("/openai/v1/models/echo").status == 503
        answer = server.post(COMPLETIONS, {"model": "echo", "prompt": "x"})
        assert answer.status == 503
        assert answer.headers["retry-after"] == "1"
        assert error_of(answer)["message"] == "Model with name echo is not ready."
        model.ready = True
        assert server.get("/openai/v1/models/echo").status == 200
        server.call(lambda: server.app.openai.remove("echo"))
        assert server.get("/openai/v1/models/echo").status == 404


def test_a_model_raises_an_error_of_its_own(client):
    with pytest.raises(openai.BadRequestError) as caught:
        client.completions.create(model="failing", prompt="raises")
    assert (caught.value.param, caught.value.body["message"]) == ("adapter", "no such adapter")


def test_a_model_raises_only_a_text(server):
    answer = fails(server, "raises text")
    assert answer.status == 500
    assert error_of(answer)["message"] == "it is what it is"


def test_a_model_returns_an_error_in_the_place_of_an_answer(client):
    with pytest.raises(openai.RateLimitError, match="too busy"):
        client.completions.create(model="failing", prompt="returns")


def test_another_servers_code_is_passed_on_where_it_is_no_status(server):
    answer = fails(server, "upstream")
    assert answer.status == 500
    assert error_of(answer) == {"code": "model_gone", "message": "not here", "param": None, "type": "gone"}


def test_a_bug_is_logged_under_an_id_and_only_that_is_shown(server, caplog):
    answer = fails(server, "bug")
    assert answer.status == 500
    message = error_of(answer)["message"]
    assert "secret" not in answer.body.decode()
    (record,) = [each for each in caplog.records if each.name == "dragoman.openai"]
    assert message.endswith(record.getMessage().split()[-1])
    assert "/secret/path" in str(record.exc_info[1])


def test_what_is_no_answer_is_the_models_mistake(server):
    answer = fails(server, "nonsense")
    assert answer.status == 500
    assert error_of(answer)["message"] == (
        "the model's output is invalid: expected an answer of OpenAI's API, got int"
    )


def test_a_model_may_set_headers_and_read_the_clients(server):
    body = json.dumps({"model": "failing", "prompt": "header"}).encode()
    answer = server.request("POST", COMPLETIONS, body, {"x-wanted": "seven"})
    assert (answer.status, answer.headers["x-adapter"]) == (200, "seven")


def test_a_header_that_cannot_be_written_is_the_models_mistake(server):
    body = json.dumps({"model": "failing", "prompt": "header"}).encode()
    assert server.request("POST", COMPLETIONS, body).status == 500


def test_a_model_may_look_at_the_whole_request(server):
    answer = fails(server, "raw")
    assert answer.json() == {
        "path": COMPLETIONS,
        "client": "127.0.0.1",
        "asked": {"model": "failing", "prompt": "raw"},
    }


def test_what_is_not_implemented_is_the_models_mistake(server):
    assert server.post(CHAT, {"model": "failing", "messages": []}).status == 500


def test_every_status_that_can_be_told_has_a_type():
    assert {STATUS[code] for code in Code} <= set(TYPES)
