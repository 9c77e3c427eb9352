"""A handler that remembers: each sequence of requests stays with the worker that knows it."""

import json
import os
import signal
import threading
import time

import pytest

from dragoman.testing import TestClient
from tests.profiles.archives import write_archive
from tests.profiles.running import INFERENCE, serving

#: As the documentation of stateful inference has it: a cache by sequence id, begun and ended by headers.
HANDLER = """
import os

from ts.torch_handler.base_handler import BaseHandler


class Accumulator(BaseHandler):
    def initialize(self, context):
        self.sums = {}
        self.initialized = True

    def handle(self, data, context):
        answers = []
        for place, row in enumerate(data):
            name = context.get_sequence_id(place)
            if context.is_sequence_start(place):
                self.sums[name] = 0
            self.sums[name] = self.sums.get(name, 0) + int(row["body"])
            answers.append({"sum": self.sums[name], "worker": os.getpid(), "id": name})
            if context.is_sequence_end(place):
                del self.sums[name]
        return answers
"""
YAML = """
minWorkers: 2
maxWorkers: 2
batchSize: 2
maxBatchDelay: 1
sequenceBatching: true
maxNumSequence: 4
maxSequenceJobQueueSize: 10
sequenceMaxIdleMSec: {idle}
"""


@pytest.fixture
def serve(tmp_path):
    pytest.importorskip("yaml")
    clients = []

    def start(idle=600_000):
        write_archive(tmp_path, "adder", HANDLER, yaml=YAML.format(idle=idle))
        clients.append(TestClient(str(tmp_path / "adder.mar")))
        return clients[-1].__enter__()

    yield start
    for client in clients:
        client.__exit__(None, None, None)


def add(client, number, name=None, *, start=False, end=False):
    headers = {"Content-Type": "application/json"}
    if name is not None:
        headers["ts_request_sequence_id"] = name
    if start:
        headers["ts_request_sequence_start"] = "true"
    if end:
        headers["ts_request_sequence_end"] = "true"
    return client.request("POST", "/predictions/adder", str(number).encode(), headers)


def test_sequences_side_by_side_have_sums_of_their_own_and_one_worker_each(serve):
    client = serve()
    seen = {}

    def run(name, step):
        seen[name] = [add(client, step, name, start=True).json()]
        seen[name] += [add(client, step, name).json() for _ in range(8)]
        seen[name].append(add(client, step, name, end=True).json())

    threads = [threading.Thread(target=run, args=(f"s{step}", step)) for step in range(1, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    for step in range(1, 5):
        answers = seen[f"s{step}"]
        assert [answer["sum"] for answer in answers] == [step * count for count in range(1, 11)]
        assert len({answer["worker"] for answer in answers}) == 1
    assert len({answers[0]["worker"] for answers in seen.values()}) == 2


def test_who_names_no_sequence_begins_one_and_is_told_its_name(serve):
    client = serve()
    first = add(client, 3)
    name = first.headers["ts_request_sequence_id"]
    assert name.startswith("ts-seq-")
    assert first.json()["id"] == name
    assert add(client, 4, name).json()["sum"] == 7


@pytest.mark.parametrize("ended", [False, True])
def test_a_sequence_that_is_not_known_begins(serve, ended):
    client = serve()
    if ended:
        add(client, 1, "x")
        assert add(client, 1, "x", end=True).json()["sum"] == 2
    assert add(client, 1, "x").json()["sum"] == 1
    assert add(client, 1, "x").json()["sum"] == 2


def test_another_dialect_is_told_that_its_request_is_wrong(serve):
    client = serve()
    tensor = {"name": "body", "shape": [1], "datatype": "INT32", "data": [1]}
    document = {"inputs": [tensor], "parameters": {"sequence_id": "x"}}
    answer = client.request(
        "POST", "/v2/models/adder/infer", json.dumps(document).encode(), {"Content-Type": "application/json"}
    )
    assert answer.status == 400
    assert "sequence_start" in answer.json()["error"]


def test_more_sequences_than_allowed_are_refused_until_one_ends(serve):
    client = serve()
    for number in range(4):
        assert add(client, 1, f"s{number}", start=True).status == 200
    assert add(client, 1, "s4", start=True).status == 503
    add(client, 1, "s0", end=True)
    assert add(client, 1, "s4", start=True).status == 200


def test_an_idle_sequence_gives_its_place_back(serve):
    client = serve(idle=50)
    for number in range(4):
        add(client, 1, f"s{number}", start=True)
    end = time.monotonic() + 60
    while add(client, 1, "late", start=True).status != 200:
        assert time.monotonic() < end, "no place came free"
        time.sleep(0.02)


def test_a_dead_workers_sequences_are_lost_and_say_so(serve):
    client = serve()
    worker = add(client, 1, "x", start=True).json()["worker"]
    os.kill(worker, signal.SIGKILL)
    end = time.monotonic() + 60
    while "has gone" not in (answer := add(client, 1, "x")).body.decode():
        assert time.monotonic() < end, "nobody was told"
    assert answer.status == 503
    assert "has no worker to serve inference request" in answer.json()["message"]
    assert add(client, 5, "x").json()["sum"] == 5


@pytest.mark.parametrize("sent", ["X-Session", "x-session"])
def test_the_headers_of_sequences_can_have_other_names(tmp_path, monkeypatch, sent):
    pytest.importorskip("yaml")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "store").mkdir()
    write_archive(tmp_path / "store", "adder", HANDLER, yaml=YAML.format(idle=600_000))
    names = {"id": "X-Session", "start": "X-Begin", "end": "X-End"}
    said = {f"ts_header_key_sequence_{part}": name for part, name in names.items()}
    with serving(tmp_path, disable_token_authorization="true", **said) as running:

        def ask(number, headers=()):
            headers = {"Content-Type": "application/json", **dict(headers)}
            return running.ask(INFERENCE, "/predictions/adder", "POST", body=str(number), headers=headers)

        assert ask(1, {sent: "a", "X-Begin": "true"}).json["sum"] == 1
        assert ask(2, {sent: "a"}).json["sum"] == 3
        assert ask(4, {sent: "a", "x-end": "true"}).json["sum"] == 7
        assert ask(1, {sent: "a"}).json["sum"] == 1
        unnamed = ask(5)
        assert unnamed.headers["x-session"] == unnamed.json["id"]
        assert "ts_request_sequence_id" not in unnamed.headers
        assert ask(6, {sent: unnamed.json["id"]}).json["sum"] == 11
        # The default name means nothing now: this begins a sequence of its own.
        assert ask(8, {"ts_request_sequence_id": "a"}).json["id"].startswith("ts-seq-")
