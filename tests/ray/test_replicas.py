"""Models as replicas in a Ray cluster, behind our own front ends."""

import json
import os
import signal
import socket
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest
from tritonclient.utils import InferenceServerException

from dragoman.testing import Response, TestClient
from tests.clients.pools import triton
from tests.ray.conftest import PATIENCE, until

A, B = np.array([[1, 2]], np.float32), np.array([[3, 4]], np.float32)


def document(gate: Path) -> dict:
    return {"inputs": [{"name": "gate", "datatype": "BYTES", "shape": [1], "data": [str(gate)]}]}


def begun(gate: Path) -> list[int]:
    """The pids of those that wait for it."""
    return [int(path.suffix[1:]) for path in gate.parent.glob(f"{gate.name}.*")]


class Callers:
    """Requests on threads, each with a gate of its own."""

    def __init__(self, server: TestClient, folder: Path) -> None:
        self._server = server
        self._folder = folder
        self._threads = ThreadPoolExecutor(16)
        self._count = 0

    def ask(self, model: str) -> tuple[Path, "Future[Response]"]:
        self._count += 1
        gate = self._folder / f"gate{self._count}"
        path = f"/v2/models/{model}/infer"
        return gate, self._threads.submit(self._server.post, path, document(gate))


@pytest.fixture
def callers(server, tmp_path):
    callers = Callers(server, tmp_path)
    yield callers
    callers._threads.shutdown()


def pid_of(response: Response) -> int:
    assert response.status == 200, response.body
    return response.json()["outputs"][0]["data"][0]


def test_two_replicas_answer_at_once(callers):
    (first, one), (second, two) = callers.ask("pair"), callers.ask("pair")
    until(lambda: begun(first) and begun(second))
    first.touch()
    second.touch()
    pids = {pid_of(one.result(PATIENCE)), pid_of(two.result(PATIENCE))}
    assert len(pids) == 2
    assert os.getpid() not in pids


def test_they_answer_over_every_protocol(server):
    assert server.infer("sum", {"a": A, "b": B})["sum"].tolist() == [[4, 6]]
    rows = {"instances": [{"a": [1, 2], "b": [3, 4]}]}
    assert server.post("/v1/models/sum:predict", rows).json()["predictions"][0]["sum"] == [4, 6]
    with triton.InferenceServerClient(server.grpc) as client:
        inputs = [
            triton.InferInput(name, [1, 2], "FP32").set_data_from_numpy(data)
            for name, data in (("a", A), ("b", B))
        ]
        assert client.infer("sum", inputs).as_numpy("sum").tolist() == [[4, 6]]


def test_big_tensors_pass(server):
    rows = np.arange(2 << 18, dtype=np.float32).reshape(-1, 2)
    # 8 rows are the most that one request may bring to this model.
    answers = [server.infer("sum", {"a": rows[i : i + 8], "b": rows[i : i + 8]})["sum"] for i in (0, 8)]
    np.testing.assert_array_equal(np.concatenate(answers), 2 * rows[:16])


def test_metadata_configuration_and_instances_are_the_model_s(server):
    metadata = server.get("/v2/models/sum").json()
    assert [each["name"] for each in metadata["inputs"]] == ["a", "b"]
    assert metadata["platform"] == "python"
    configuration = server.get("/v2/models/sum/config").json()
    assert configuration["max_batch_size"] == 8
    assert configuration["instance_group"][0]["count"] == 2


def test_a_killed_replica_takes_only_what_it_had_with_it(server, callers):
    (first, one), (second, two) = callers.ask("pair"), callers.ask("pair")
    until(lambda: begun(first) and begun(second))
    os.kill(begun(first)[0], signal.SIGKILL)
    lost = one.result(PATIENCE)
    assert lost.status == 503
    assert "a replica of model 'pair' died: its process ended unexpectedly" in lost.json()["error"]
    assert server.get("/v2/models/pair/ready").status == 200  # there is another one
    second.touch()
    survivor = pid_of(two.result(PATIENCE))
    third, three = callers.ask("pair")
    third.touch()
    assert pid_of(three.result(PATIENCE)) == survivor
    model = server.app.engine.find("pair")
    until(lambda: all(report.ready for report in model.reports))
    (first, one), (second, two) = callers.ask("pair"), callers.ask("pair")
    until(lambda: begun(first) and begun(second))
    first.touch()
    second.touch()
    assert len({pid_of(one.result(PATIENCE)), pid_of(two.result(PATIENCE))}) == 2
    (report,) = server.get("/crashes/pair").json()
    assert report["reason"] == "replica"
    assert report["id"] in lost.json()["error"]


def test_a_model_without_a_replica_is_not_ready_until_it_has_one_again(server, callers):
    gate, asked = callers.ask("gate")
    until(lambda: begun(gate))
    os.kill(begun(gate)[0], signal.SIGKILL)
    assert asked.result(PATIENCE).status == 503
    waiting, answer = callers.ask("gate")  # it waits for the next one
    waiting.touch()
    assert pid_of(answer.result(PATIENCE)) not in begun(gate)
    assert server.get("/v2/models/gate/ready").status == 200


def test_more_than_may_wait_are_refused(server, callers):
    running, _ = callers.ask("tight")
    until(lambda: begun(running))
    waiting, _ = callers.ask("tight")
    model = server.app.engine.find("tight")
    until(lambda: model.stats.waiting == 1)
    refused = server.post("/v2/models/tight/infer", document(waiting))
    assert refused.status == 503
    assert "retry-after" in refused.headers
    with triton.InferenceServerClient(server.grpc) as client:
        gate = triton.InferInput("gate", [1], "BYTES").set_data_from_numpy(np.array([b"x"], object))
        with pytest.raises(InferenceServerException) as refusal:
            client.infer("tight", [gate])
    assert refusal.value.status() == "StatusCode.UNAVAILABLE"
    running.touch()
    waiting.touch()


def send(server: TestClient, model: str, gate: Path) -> socket.socket:
    """A request on a connection that the test may close."""
    body = json.dumps(document(gate)).encode()
    sock = socket.create_connection(("127.0.0.1", urlsplit(server.url).port), PATIENCE)
    head = f"POST /v2/models/{model}/infer HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
    sock.sendall(head.encode() + body)
    return sock


def test_what_is_on_its_way_is_given_up_when_its_client_leaves(server, callers, tmp_path):
    running, answer = callers.ask("gate")
    until(lambda: begun(running))
    model = server.app.engine.find("gate")
    left = tmp_path / "left"
    with send(server, "gate", left):  # the replica has it already: two may be there at once
        until(lambda: model.stats.running == 2)
    until(lambda: model.stats.running == 1)
    running.touch()
    pid_of(answer.result(PATIENCE))
    after, answer = callers.ask("gate")
    after.touch()
    pid_of(answer.result(PATIENCE))
    assert not begun(left)


def test_a_deadline_counts_and_gives_up_what_is_on_its_way(server, callers, tmp_path):
    running, answer = callers.ask("gate")
    until(lambda: begun(running))
    late = tmp_path / "late"
    with triton.InferenceServerClient(server.grpc) as client:
        gate = np.array([str(late).encode()], object)
        given = triton.InferInput("gate", [1], "BYTES").set_data_from_numpy(gate)
        with pytest.raises(InferenceServerException) as refusal:
            client.infer("gate", [given], client_timeout=0.5)
    assert refusal.value.status() == "StatusCode.DEADLINE_EXCEEDED"
    until(lambda: server.app.engine.find("gate").stats.running == 1)
    running.touch()
    pid_of(answer.result(PATIENCE))


def test_an_error_of_the_model_keeps_its_kind_and_is_in_the_server_s_log(server, caplog):
    def ask(value: float) -> Response:
        x = {"name": "x", "datatype": "FP32", "shape": [1], "data": [value]}
        return server.post("/v2/models/fussy/infer", {"inputs": [x]})

    assert ask(4).json()["outputs"][0]["data"] == [0.25]
    refused = ask(-1)
    assert refused.status == 400
    assert "x must not be negative" in refused.json()["error"]
    failed = ask(0)
    assert failed.status == 500
    number = failed.json()["error"].rpartition(" ")[2]
    (record,) = [record for record in caplog.records if getattr(record, "id", "") == number]
    assert "ZeroDivisionError: by nothing" in record.getMessage()


def test_a_handler_s_parts_come_as_they_are_made_and_explanations_are_its_own(server):
    assert server.request("POST", "/predictions/words", b"to be or not").body == b"tobeornot"
    assert server.request("POST", "/explanations/words", b"to be").body == b"because"


def test_another_replica_comes_with_a_word_of_the_operator_and_goes_again(server, callers):
    put = "/management/models/sum/versions/1/instances"
    assert server.request("PUT", put, b'{"min": 3, "max": 3}').json()["instances"]["now"] == 3
    assert len(server.app.engine.find("sum").reports) == 3
    assert server.request("PUT", put, b'{"min": 2, "max": 2}').json()["instances"]["now"] == 2
    assert server.infer("sum", {"a": A, "b": B})["sum"].tolist() == [[4, 6]]


def test_replicas_follow_the_load(server, callers):
    model = server.app.engine.find("grows")
    gates = [callers.ask("grows") for _ in range(4)]
    until(lambda: model.instances == 2)
    for gate, _ in gates:
        gate.touch()
    assert len({pid_of(answer.result(PATIENCE)) for _, answer in gates}) == 2
    until(lambda: model.instances == 1)


def test_a_model_that_can_t_be_loaded_says_why_and_leaves_nothing_in_the_cluster(server, folder):
    from ray import serve

    (folder / "broken").mkdir()
    (folder / "broken" / "model.py").write_text(
        "class Model:\n    def predict(self): pass\n\nraise OSError('no disk')\n"
    )
    answer = server.request("POST", "/v2/repository/models/broken/load")
    assert answer.status == 400
    assert "no disk" in answer.json()["error"]
    assert not [name for name in serve.status().applications if "broken" in name]


def test_an_unloaded_model_leaves_nothing_in_the_cluster(server, folder):
    from ray import serve

    (folder / "short").mkdir()
    (folder / "short" / "model.py").write_text("class Model:\n    def predict(self, x): return x\n")
    assert server.request("POST", "/v2/repository/models/short/load").status == 200
    assert [name for name in serve.status().applications if "short" in name]
    assert server.request("POST", "/v2/repository/models/short/unload").status == 200
    until(lambda: not [name for name in serve.status().applications if "short" in name])


def test_requests_at_once_are_joined_and_cut_apart_again(server):
    barrier, found = threading.Barrier(12), []

    def ask(number: int) -> None:
        barrier.wait()
        rows = np.full((1, 2), number, np.float32)
        found.append((number, server.infer("sum", {"a": rows, "b": rows})["sum"].tolist()))

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == [(number, [[2 * number, 2 * number]]) for number in range(12)]
