"""Programs with ModelServer whose models speak OpenAI's API, run unchanged as processes of their own."""

import json

import httpx
import openai
import pytest

from tests.program import Program


@pytest.fixture(scope="module")
def talker(tmp_path_factory):
    file = tmp_path_factory.mktemp("payloads") / "payloads.jsonl"
    said = {"DRAGOMAN_PAYLOADS__FILE": str(file), "KSERVE_OPENAI_ROUTE_PREFIX": "llm"}
    with Program("talker.py", environment=said) as program:
        program.wait_for("(the engine runs)")
        yield program
    assert any("the engine has stopped" in line for line in program.log)
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert {line["subject"] for line in lines} >= {"/llm/v1/completions", "/v1/models/echo:predict"}


@pytest.fixture
def client(talker):
    with openai.OpenAI(base_url=f"{talker.url}/llm/v1", api_key="none") as client:
        yield client


def test_a_model_answers_with_what_its_engine_makes(client):
    assert client.completions.create(model="talker", prompt="x").choices[0].text == "hello"
    messages = [{"role": "user", "content": "x"}]
    assert (
        client.chat.completions.create(model="talker", messages=messages).choices[0].message.content
        == "hello"
    )


def test_only_models_that_speak_the_api_are_in_its_list(client, talker):
    assert [model.id for model in client.models.list()] == ["talker"]
    assert httpx.get(f"{talker.url}/v1/models").json() == {"models": ["echo", "talker"]}
    assert httpx.get(f"{talker.url}/v1/models/talker").json()["ready"]


def test_the_others_are_no_models_of_it(client):
    with pytest.raises(openai.NotFoundError):
        client.completions.create(model="echo", prompt="x")


def test_a_model_that_speaks_nothing_else_says_so(talker):
    answer = httpx.post(f"{talker.url}/v1/models/talker:predict", json={"instances": [1]})
    assert (answer.status_code, answer.json()) == (
        400, {"error": "Model of type Talker does not support inference"}
    )  # fmt: skip
    answer = httpx.post(f"{talker.url}/v1/models/echo:predict", json={"instances": [1]})
    assert answer.json() == {"predictions": [1]}


def test_an_unloaded_model_is_gone_from_the_list():
    with Program("talker.py") as program:
        url = f"{program.url}/v2/repository/models/talker/unload"
        assert httpx.post(url).status_code == 200
        assert httpx.get(f"{program.url}/openai/v1/models").json()["data"] == []
        program.wait_for("(the engine has stopped)")
