"""A server with caches, asked over every wire: what is answered from where, and what the numbers say."""

import asyncio
import json
from dataclasses import replace

import grpc
import numpy as np
import pytest

from dragoman.config import CacheSettings, ModelSettings, Settings
from dragoman.engine.recall import Recall
from dragoman.errors import NotReady
from dragoman.protocols.kserve_v2.messages import (
    SERVICE,
    ModelInferRequest,
    ModelInferResponse,
    message,
)
from dragoman.stats import ModelStats
from dragoman.testing import TestClient
from dragoman.types import InferRequest, InferResponse

from ..fakes import request
from .servers import RedisServer

CALLS = []


class Double:
    inputs = {"x": ("FP32", [-1])}
    outputs = {"y": ("FP32", [-1]), "z": ("FP32", [-1])}
    fast = True

    def predict(self, x):
        CALLS.append(x.tolist())
        if x[0] < 0:
            raise ValueError("negative")
        return {"y": 2 * x, "z": x + len(CALLS)}


class Told:
    """Answers with its parameters."""

    inputs = {"x": ("FP32", [-1])}
    outputs = {"n": ("INT64", [1])}
    fast = True

    def predict(self, request: InferRequest):
        CALLS.append(dict(request.parameters))
        return {"n": np.array([len(CALLS)])}


def settings(cache=None, **model):
    return Settings(models=ModelSettings(response_cache=True, **model), cache=cache or CacheSettings())


@pytest.fixture(autouse=True)
def _count_anew():
    CALLS.clear()


@pytest.fixture
def client():
    with TestClient(Double, Told, settings=settings()) as client:
        yield client


def ask(client, values, model="Double", **more):
    data = {"name": "x", "shape": [len(values)], "datatype": "FP32", "data": values}
    return client.post(f"/v2/models/{model}/infer", {"inputs": [data], **more})


def metric(client, name):
    for line in client.get("/metrics").body.decode().splitlines():
        if line.startswith((f"{name} ", f"{name}{{")):
            return float(line.rpartition(" ")[2])
    return None


def test_an_equal_request_is_answered_from_the_cache_and_says_so(client):
    first, second = (ask(client, [1, 2], id=id) for id in ("one", "two"))
    assert len(CALLS) == 1
    assert "dragoman-cache" not in first.headers
    assert second.headers["dragoman-cache"] == "hit"
    assert second.headers["x-dragoman-version"] == "1"
    assert second.json() == first.json() | {"id": "two"}
    assert ask(client, [1, 3]).json()["outputs"][0]["data"] == [2, 6]
    assert len(CALLS) == 2


def test_every_wire_finds_what_another_has_asked(client):
    ask(client, [1, 2])
    assert client.infer("Double", {"x": np.array([1, 2], np.float32)})["y"].tolist() == [2, 4]
    answer = client.post("/v1/models/Double:predict", {"instances": [1, 2]})
    assert answer.headers["dragoman-cache"] == "hit"
    asked = ModelInferRequest(model_name="Double")
    asked.inputs.add(name="x", datatype="FP32", shape=[2])
    asked.raw_input_contents.append(np.array([1, 2], np.float32).tobytes())
    with grpc.insecure_channel(client.grpc) as channel:
        infer = channel.unary_unary(
            f"/{SERVICE}/ModelInfer", ModelInferRequest.SerializeToString, ModelInferResponse.FromString
        )
        answer, call = infer.with_call(asked, timeout=60)
    assert np.frombuffer(answer.raw_output_contents[0], np.float32).tolist() == [2, 4]
    assert dict(call.initial_metadata())["dragoman-cache"] == "hit"
    assert dict(call.initial_metadata())["x-dragoman-version"] == "1"
    assert len(answer.parameters) == 0
    assert len(CALLS) == 1


@pytest.mark.parametrize("parameters", [{}, {"k": 1}, {"k": 2}, {"k": "1"}, {"k": True}])
def test_other_parameters_are_another_question(client, parameters):
    # row: cache-parameters
    ask(client, [1], "Told", parameters={"k": 7})
    ask(client, [1], "Told", parameters=parameters)
    ask(client, [1], "Told", parameters=parameters)
    assert [{"k": 7}, parameters] == CALLS


def test_what_is_only_the_scheduler_s_is_no_other_question(client):
    ask(client, [1], "Told")
    assert ask(client, [1], "Told", parameters={"timeout": 60_000_000, "priority": 1}).status == 200
    assert len(CALLS) == 1


def test_other_wanted_outputs_are_another_question(client):
    whole = ask(client, [1]).json()["outputs"]
    part = ask(client, [1], outputs=[{"name": "y"}]).json()["outputs"]
    assert part == whole[:1]
    assert len(CALLS) == 2


def test_a_failure_is_never_kept(client):
    assert [ask(client, [-1]).status for _ in range(3)] == [500] * 3
    assert len(CALLS) == 3


def test_a_model_that_does_not_ask_for_it_has_no_cache():
    with TestClient(Double) as client:
        assert "dragoman-cache" not in [ask(client, [1]), ask(client, [1])][1].headers
        assert len(CALLS) == 2
        assert client.app.engine.find("Double").recall is None


def test_a_server_without_a_cache_has_none_whatever_the_model_asks_for():
    with TestClient(Double, settings=settings(CacheSettings(size=0))) as client:
        ask(client, [1]), ask(client, [1])
        assert len(CALLS) == 2


def test_a_version_that_is_loaded_again_answers_for_itself(tmp_path):
    folder = tmp_path / "m" / "1"
    folder.mkdir(parents=True)
    text = "class M:\n fast = True\n inputs = {'x': ('FP32', [-1])}\n outputs = {'y': ('FP32', [-1])}\n"
    file = folder / "model.py"
    file.write_text(text + " def predict(self, x): return {'y': x + 1}\n")
    said = settings()
    said = replace(said, server=replace(said.server, control="explicit", load_model=("*",)))
    with TestClient(str(tmp_path), settings=said) as client:
        values = [ask(client, [1], "m").json()["outputs"][0]["data"] for _ in range(2)]
        file.write_text(text + " def predict(self, x): return {'y': x + 22}\n")
        assert client.post("/v2/repository/models/m/load", {}).status == 200
        values += [ask(client, [1], "m").json()["outputs"][0]["data"] for _ in range(2)]
        assert values == [[2], [2], [23], [23]]
        client.post("/v2/repository/models/m/unload", {})
        assert client.app.engine.stats.cache.entries == 0


def test_the_numbers_are_triton_s(client):
    """Two questions, each asked twice: as Triton 2.51 counts it (four successes, two executions)."""
    for values in ([1], [1], [2], [2]):
        ask(client, values)
    with grpc.insecure_channel(client.grpc) as channel:
        answer = channel.unary_unary(
            f"/{SERVICE}/ModelStatistics", None, message("ModelStatisticsResponse").FromString
        )(message("ModelStatisticsRequest")(name="Double").SerializeToString(), timeout=60)
    (found,) = answer.model_stats
    counted = found.inference_stats
    assert (found.execution_count, counted.success.count, counted.queue.count) == (2, 4, 4)
    assert (counted.compute_infer.count, counted.cache_hit.count, counted.cache_miss.count) == (2, 2, 2)
    assert counted.cache_hit.ns > 0
    assert counted.cache_miss.ns > 0
    labels = '{model="Double",source="cache",version="1"}'
    assert metric(client, f"dragoman_cache_hits_total{labels}") == 2
    assert metric(client, f"dragoman_cache_misses_total{labels}") == 2
    assert metric(client, "dragoman_cache_entries") == 2
    assert metric(client, "dragoman_cache_bytes") > 0
    config = json.loads(client.get("/v2/models/Double/config").body)
    assert config["response_cache"] == {"enable": True}


def test_a_redis_server_keeps_answers_for_several_servers(tmp_path):
    server = RedisServer(tmp_path)
    server.start()
    said = settings(CacheSettings(size=0, redis=server.url, redis_timeout=30.0))
    with TestClient(Double, settings=said) as one, TestClient(Double, settings=said) as other:
        first = ask(one, [1, 2])
        # What the first one keeps is on its way: one more question on the same connection comes after it.
        assert ask(one, [1, 2]).headers["dragoman-cache"] == "hit"
        second = ask(other, [1, 2])
        assert second.headers["dragoman-cache"] == "hit"
        assert second.json() == first.json()
        assert len(CALLS) == 1
        server.kill()
        assert ask(other, [1, 2]).json()["outputs"][0] == first.json()["outputs"][0]
        assert len(CALLS) == 2
        labels = '{model="Double",source="cache",version="1"}'
        assert metric(other, f"dragoman_cache_failures_total{labels}") == 1
        assert metric(other, f"dragoman_cache_misses_total{labels}") == 0


def test_without_redis_py_the_operator_is_told_what_to_install(monkeypatch):
    import sys

    from dragoman.caching.redis import open_redis
    from dragoman.errors import ConfigError

    monkeypatch.setitem(sys.modules, "redis", None)
    with pytest.raises((ConfigError, ModuleNotFoundError)) as caught:
        open_redis("redis://localhost", "p", 0, 1)
    assert "dragoman[redis]" in getattr(caught.value, "hint", "dragoman[redis]")


class Waiting:
    """A cache that answers when it is told to."""

    def __init__(self):
        self.then = []
        self.kept = []

    def get(self, key, then):
        self.then.append(then)

    def put(self, key, answer):
        self.kept.append(key)


@pytest.fixture
def slow():
    cache, stats = Waiting(), ModelStats()
    return cache, stats, Recall([(cache, b"p:")], None, stats, lambda: None)


def submitting(answers):
    def submit(request, reply, dialect):
        answers.append(reply)

    return submit


def answer_of(request, final=True):
    return InferResponse("m", "1", request.inputs, request.id, final=final)


def test_a_client_that_goes_while_its_answer_is_looked_for_is_asked_for_nothing_more(slow):
    cache, stats, recall = slow
    asked, told = [], []
    ticket = recall.ask(request(), told.append, "v2", submitting(asked))
    ticket.cancel()
    ticket.cancel()
    assert ticket.answered
    cache.then[0](None, False)
    assert (asked, told) == ([], [])
    assert dict(stats.answers) == {("v2", "cancelled"): 1}


def test_an_unload_waits_for_answers_that_are_looked_for(slow):
    cache, _, recall = slow
    asked, closed = [], []
    recall.ask(request(), lambda outcome: None, "v2", submitting(asked))
    recall.close(lambda: closed.append(len(asked)))
    assert closed == []
    cache.then[0](None, False)
    assert closed == [1]  # the model was asked before it may go


def test_who_is_refused_later_is_told_so_and_counted(slow):
    cache, stats, recall = slow
    told = []

    def refuse(request, reply, dialect):
        raise NotReady("no")

    ticket = recall.ask(request(), told.append, "v2", refuse)
    cache.then[0](None, False)
    assert [error.message for error in told] == ["no"]
    assert ticket.answered
    assert dict(stats.answers) == {("v2", "not_ready"): 1}


def test_an_answer_in_parts_is_not_kept_and_neither_is_a_handler_s_failure(slow):
    cache, _, recall = slow
    asked = []
    one = request()
    for _ in range(3):
        recall.ask(one, lambda outcome: None, "v2", submitting(asked))
        cache.then.pop()(None, False)
    parts, failed, whole = asked
    parts(answer_of(one, final=False))
    parts(answer_of(one))
    failed(replace(answer_of(one), parameters={"status": 404}))
    assert cache.kept == []
    whole(answer_of(one))
    assert [key[:2] for key in cache.kept] == [b"p:"]


def test_a_failing_cache_is_counted_apart_from_a_miss(slow):
    cache, stats, recall = slow
    recall.ask(request(), lambda outcome: None, "v2", submitting([]))
    cache.then.pop()(None, True)
    assert dict(+stats.lookups) == {("cache", "failed"): 1}


def test_a_model_that_remembers_has_no_cache():
    from dragoman.config import PredictionSettings
    from dragoman.engine.recollection import Recollection
    from dragoman.stats import Stats

    class Remembering:
        name, version = "m", "1"
        settings = ModelSettings(response_cache=True, sequences=3)

    async def main():
        recollection = Recollection(CacheSettings(), PredictionSettings(), Stats())
        assert recollection.of(Remembering()) is None
        await recollection.close()

    asyncio.run(main())
