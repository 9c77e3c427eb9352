"""Deployments of Ray Serve as models of KServe's Python API."""

import asyncio
import sys
from pathlib import Path

import pytest

from dragoman.compat.kserve.errors import InvalidInput
from dragoman.compat.kserve.model import InferenceVerb
from dragoman.errors import Overloaded, WorkerDied
from tests.cli.running import DRAGOMAN, Server
from tests.ray.conftest import until

#: As where it isn't installed.
WITHOUT_RAY = """
import sys


class Nobody:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "ray":
            raise ModuleNotFoundError("No module named 'ray'", name="ray")


sys.meta_path.insert(0, Nobody())
"""
PROGRAM = Path(__file__).parent / "program.py"


def deploy(**options):
    """A class that can be asked for everything that may go wrong; written here, so that it travels as it is."""
    from ray import serve

    @serve.deployment(ray_actor_options={"num_cpus": 0.05}, **options)
    class Anything:
        async def __call__(self, body, headers=None, verb=None):
            import asyncio
            import os
            from pathlib import Path

            from dragoman.compat.kserve.errors import InvalidInput

            if body == "bad":
                raise InvalidInput("not like this")
            if body == "die":
                os._exit(1)
            if isinstance(body, dict) and "gate" in body:
                Path(body["gate"]).with_suffix(".begun").touch()
                try:
                    while not Path(body["gate"]).exists():
                        await asyncio.sleep(0.01)
                except asyncio.CancelledError:
                    Path(body["gate"]).with_suffix(".cancelled").touch()
                    raise
            return {"body": body, "headers": headers, "verb": verb and verb.name}, {"x-from": "afar"}

        async def predict(self, body, headers=None):
            for word in body["words"]:
                yield word

    return Anything


@pytest.fixture(scope="module")
def model(server):
    from dragoman.serving.ray import models_of

    (model,) = models_of({"anything": deploy()})
    yield model
    from ray import serve

    serve.delete("anything")


def test_headers_verbs_and_headers_of_the_answer_pass(model):
    answer, headers = asyncio.run(model.answer({"a": 1}, {"x-who": "me"}, InferenceVerb.PREDICT))
    assert answer == {"body": {"a": 1}, "headers": {"x-who": "me"}, "verb": None}
    assert headers == {"x-from": "afar"}
    answer, _ = asyncio.run(model.answer({"a": 1}, None, InferenceVerb.EXPLAIN))
    assert answer["verb"] == "EXPLAIN"


def test_an_error_is_the_one_that_was_raised(model):
    with pytest.raises(InvalidInput) as raised:
        asyncio.run(model.answer("bad", {}, InferenceVerb.PREDICT))
    assert type(raised.value) is InvalidInput
    assert raised.value.reason == "not like this"


def test_parts_are_handed_out_as_they_come(model):
    from dragoman.serving.ray import RayModel

    async def collect():
        streaming = RayModel("anything", model._handle, stream=True)
        answer, _ = await streaming.answer({"words": ["to", "be"]}, {}, InferenceVerb.PREDICT)
        return [each async for each in answer]

    assert asyncio.run(collect()) == ["to", "be"]


def test_who_leaves_gives_it_up_there_too(model, tmp_path):
    gate = tmp_path / "gate"

    async def leave():
        asked = asyncio.create_task(model.answer({"gate": str(gate)}, {}, InferenceVerb.PREDICT))
        await asyncio.to_thread(until, gate.with_suffix(".begun").exists)
        asked.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asked
        await asyncio.to_thread(until, gate.with_suffix(".cancelled").exists)

    asyncio.run(leave())


def test_a_deployment_that_has_enough_refuses(server, tmp_path):
    from ray import serve

    from dragoman.serving.ray import models_of

    (model,) = models_of({"tight-one": deploy(max_ongoing_requests=1, max_queued_requests=1)})
    gate = tmp_path / "gate"

    async def crowd():
        asked = [
            asyncio.create_task(model.answer({"gate": str(gate)}, {}, InferenceVerb.PREDICT))
            for _ in range(8)
        ]
        refused, _ = await asyncio.wait(asked, return_when=asyncio.FIRST_COMPLETED)
        gate.touch()
        outcomes = await asyncio.gather(*asked, return_exceptions=True)
        assert {type(task.exception()) for task in refused} == {Overloaded}
        assert any(not isinstance(outcome, Exception) for outcome in outcomes)

    asyncio.run(crowd())
    serve.delete("tight-one")


def test_a_death_is_told_and_the_next_is_answered(model):
    with pytest.raises(WorkerDied, match="a replica of model 'anything' died"):
        asyncio.run(model.answer("die", {}, InferenceVerb.PREDICT))
    answer, _ = asyncio.run(model.answer("well", {}, InferenceVerb.PREDICT))
    assert answer["body"] == "well"


class Program(Server):
    command = (*DRAGOMAN, "run", "--as", "kserve", "--dialect", "0.13")
    free = ("--http_port=0", "--grpc_port=0")


def test_a_dict_of_deployments_is_served(tmp_path):
    with Program(tmp_path, PROGRAM, wait=False) as server:
        server.url = server.wait_for("serving")["url"]
        connection = server.connect()
        connection.request("POST", "/v1/models/doubling:predict", b'{"instances": [1, 2]}', {"X-Who": "me"})
        assert connection.getresponse().read() == b'{"predictions":[2,4],"who":"me"}'
        assert server.ask("POST", "/v1/models/doubling:explain", {"instances": []}) == (
            200,
            b'{"explanations":"twice"}',
        )
        assert server.ask("GET", "/v1/models/doubling")[0] == 200
        assert server.stop() == 0


class Deployed(Server):
    command = (*DRAGOMAN, "deploy", "ray")


def test_the_command_serves_and_ends_when_it_has_answered(tmp_path):
    (tmp_path / "app.py").write_text("class Same:\n    def predict(self, x):\n        return x\n")
    flags = ("app.py:Same", "--replicas", "2", "--replica-cpus", "0.05", "--max-ongoing", "3")
    with Deployed(tmp_path, *flags) as server:
        body = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1], "data": [7]}]}
        status, answer = server.ask("POST", "/v2/models/Same/infer", body)
        assert (status, b'"data":[7.0]' in answer) == (200, True)
        assert b'"count":2' in server.ask("GET", "/v2/models/Same/config")[1]
        assert server.stop() == 0
        assert server.events[-1]["event"] == "model unloaded"


def test_a_missing_ray_says_how_to_get_it(tmp_path):
    hide = tmp_path / "hide"
    hide.mkdir()
    (hide / "sitecustomize.py").write_text(WITHOUT_RAY)
    (tmp_path / "app.py").write_text("class Same:\n    def predict(self, x):\n        return x\n")
    path = ":".join([str(hide), *filter(None, sys.path)])
    with Deployed(tmp_path, "app.py:Same", wait=False, PYTHONPATH=path) as server:
        assert server.process.wait(60) == 1
        assert "pip install 'dragoman[ray]'" in server.log
