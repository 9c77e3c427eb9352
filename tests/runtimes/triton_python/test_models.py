"""Models for Triton's Python backend answer as they do there, over REST and gRPC."""

import json
import queue
import threading
from contextlib import contextmanager
from dataclasses import replace
from http.client import HTTPConnection

import numpy as np
import pytest
import tritonclient.grpc as triton
from tritonclient.utils import InferenceServerException

from dragoman.config import Settings
from dragoman.testing import TestClient

from .repository import MODELS, make_repository

PAIR = {"INPUT0": np.array([[1, 2, 3, 4]], np.float32), "INPUT1": np.full((1, 4), 0.5, np.float32)}
X = {"name": "X", "datatype": "INT32", "shape": [1], "data": [5]}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    with TestClient(str(make_repository(folder, *MODELS))) as client:
        yield client


@contextmanager
def streamed(server):
    """A client's stream, and the queue that its answers come into."""
    answers = queue.SimpleQueue()
    with triton.InferenceServerClient(server.grpc) as client:
        client.start_stream(lambda result, error: answers.put(error or result))
        yield client, answers
        client.stop_stream()


def ask_repeat(client, values, **more):
    tensor = triton.InferInput("IN", [len(values)], "INT32")
    tensor.set_data_from_numpy(np.array(values, np.int32))
    client.async_stream_infer("repeat", [tensor], **more)


def test_a_sum_is_answered_over_rest_and_grpc(server):
    answer = server.infer("add_sub", PAIR)
    np.testing.assert_array_equal(answer["OUTPUT0"], [[1.5, 2.5, 3.5, 4.5]])
    inputs = [triton.InferInput(name, [1, 4], "FP32") for name in PAIR]
    for tensor, data in zip(inputs, PAIR.values(), strict=True):
        tensor.set_data_from_numpy(data)
    with triton.InferenceServerClient(server.grpc) as client:
        found = client.infer("add_sub", inputs, outputs=[triton.InferRequestedOutput("OUTPUT1")])
    np.testing.assert_array_equal(found.as_numpy("OUTPUT1"), [[0.5, 1.5, 2.5, 3.5]])
    assert found.as_numpy("OUTPUT0") is None


def test_every_datatype_goes_in_and_comes_out(server):
    for name, data in (
        ("bool", np.array([True, False])),
        ("fp16", np.array([1.5, -2], np.float16)),
        ("int64", np.array([2**62, -1], np.int64)),
        ("uint8", np.array([0, 255], np.uint8)),
        ("string", np.array([b"\xff", b""], object)),
    ):
        np.testing.assert_array_equal(server.infer(f"identity_{name}", {"IN": data})["OUT"], data)


def test_bfloat16_goes_by_dlpack(server):
    raw = np.array([0x3F80, 0xC000], "<u2")
    tensor = triton.InferInput("IN", [2], "BF16")
    tensor._raw_content = raw.tobytes()
    with triton.InferenceServerClient(server.grpc) as client:
        found = client.infer("identity_bf16", [tensor])
    assert found.get_response().raw_output_contents[0] == raw.tobytes()


def test_a_models_error_is_the_answer_with_its_own_words(server):
    # row: python-codes
    statuses = {2: 400, 3: 404, 4: 503, 5: 501, 6: 409, 7: 499, 8: 500, 9: 500}
    for which, status in statuses.items():
        tensor = {"name": "WHICH", "datatype": "INT32", "shape": [1], "data": [which]}
        answer = server.post("/v2/models/errors/infer", {"inputs": [tensor]})
        assert (answer.status, answer.json()) == (status, {"error": "custom error text"})


def test_what_execute_raises_is_told_by_an_id_only(server):
    # row: python-raises
    tensor = {"name": "WHICH", "datatype": "INT32", "shape": [1], "data": [0]}
    answer = server.post("/v2/models/errors/infer", {"inputs": [tensor]})
    assert answer.status == 500
    assert "boom" not in answer.json()["error"]


def test_a_wrong_number_of_responses_is_told_with_both_numbers(server):
    tensor = {"name": "WHICH", "datatype": "INT32", "shape": [1], "data": [1]}
    answer = server.post("/v2/models/errors/infer", {"inputs": [tensor]})
    assert answer.status == 500
    text = "InferenceRequest(s) size is:1, and InferenceResponse(s) size is:0"
    assert text in answer.json()["error"]


def test_a_request_says_what_the_client_has_said_of_it(server):
    said = {"s": "str", "i": 3, "b": True, "f": 1.5}
    own = {"timeout": 5_000_000, "priority": 1, "sequence_id": 42, "sequence_start": True}
    answer = server.post("/v2/models/echo/infer", {"id": "x", "parameters": said | own, "inputs": [X]}).json()
    assert answer["parameters"] == {"text": "s", "count": 7, "yes": True}
    assert json.loads(answer["outputs"][0]["data"][0]) == {
        "parameters": said,
        "id": "x",
        "correlation": 42,
        "flags": 1,
        "timeout": 5_000_000,
        "priority": 1,
        "model": "echo",
        "outputs": ["SAID"],
        "cancelled": False,
    }


def test_a_model_completes_its_own_configuration(server):
    found = server.get("/v2/models/double/config").json()
    assert (found["max_batch_size"], found["backend"]) == (8, "python")
    assert found["input"][0]["dims"] == [4]
    assert server.infer("double", {"X": PAIR["INPUT0"]})["Y"].tolist() == [[2, 4, 6, 8]]


def test_a_decoupled_model_answers_as_often_as_it_likes(server):
    with streamed(server) as (client, answers):
        ask_repeat(client, [7, 8, 9], request_id="d", enable_empty_final_response=True)
        found = [answers.get(timeout=30) for _ in range(4)]
        assert [result.as_numpy("OUT")[0] for result in found[:3]] == [7, 8, 9]
        assert [result.as_numpy("IDX")[0] for result in found[:3]] == [0, 1, 2]
        finals = [result.get_response().parameters["triton_final_response"].bool_param for result in found]
        assert finals == [False, False, False, True]
        assert not found[3].get_response().outputs


def test_a_decoupled_model_may_not_answer_at_all(server):
    with streamed(server) as (client, answers):
        ask_repeat(client, [], request_id="none")
        ask_repeat(client, [5], request_id="one")
        assert answers.get(timeout=30).get_response().id == "one"


def test_an_error_among_the_parts_is_the_last_of_them(server):
    # row: stream-errors-end
    with streamed(server) as (client, answers):
        ask_repeat(client, [7, -1, 9], request_id="e")
        assert answers.get(timeout=30).as_numpy("OUT")[0] == 7
        error = answers.get(timeout=30)
        assert isinstance(error, InferenceServerException)
        assert error.message() == "negative value in stream"
        ask_repeat(client, [5], request_id="next")
        assert answers.get(timeout=30).get_response().id == "next"


def test_a_sender_that_is_lost_is_an_error(server):
    # row: lost-senders
    with streamed(server) as (client, answers):
        ask_repeat(client, [99])
        assert answers.get(timeout=30).as_numpy("OUT")[0] == 99
        assert "has not sent the final flag" in answers.get(timeout=30).message()


def test_a_decoupled_model_is_asked_over_streams_only(server):
    tensor = {"name": "IN", "datatype": "INT32", "shape": [1], "data": [1]}
    answer = server.post("/v2/models/repeat/infer", {"inputs": [tensor]})
    assert (answer.status, answer.json()["error"]) == (
        501,
        "HTTP end point doesn't support models with decoupled transaction policy",
    )
    asked = triton.InferInput("IN", [1], "INT32")
    asked.set_data_from_numpy(np.array([1], np.int32))
    with (
        triton.InferenceServerClient(server.grpc) as client,
        pytest.raises(InferenceServerException) as caught,
    ):
        client.infer("repeat", [asked])
    assert "ModelInfer RPC doesn't support models with decoupled" in caught.value.message()


def test_a_response_may_come_later_by_its_sender(server):
    assert server.infer("later", {"X": np.array([5], np.int32)})["X"].tolist() == [5]


def ask_caller(server, model, values):
    x = {"name": "X", "datatype": "FP32", "shape": [1, len(values)], "data": values}
    name = {"name": "MODEL", "datatype": "BYTES", "shape": [1], "data": [model]}
    return server.post("/v2/models/caller/infer", {"inputs": [x, name]})


def test_a_model_asks_others_and_waits_or_awaits(server):
    answer = ask_caller(server, "add_sub", [1, 2, 3, 4])
    assert answer.json()["outputs"][0]["data"] == [4, 8, 12, 16]


def test_a_model_takes_the_parts_of_another_ones_answer(server):
    answer = ask_caller(server, "repeat", [3, 1, 2])
    assert answer.json()["outputs"][0]["data"] == [3, 1, 2]


def test_what_the_other_model_says_is_the_answer(server):
    answer = ask_caller(server, "nobody", [1, 2, 3, 4])
    assert (answer.status, "nobody" in answer.json()["error"]) == (404, True)
    answer = ask_caller(server, "add_sub", [1, 2])
    assert (answer.status, "unexpected shape" in answer.json()["error"]) == (400, True)


def test_models_on_threads_of_the_server_ask_each_other(tmp_path):
    settings = Settings()
    settings = replace(settings, models=replace(settings.models, execution="thread"))
    folder = make_repository(tmp_path, "add_sub", "double", "caller")
    with TestClient(str(folder), settings=settings) as client:
        assert ask_caller(client, "add_sub", [1, 2, 3, 4]).json()["outputs"][0]["data"] == [4, 8, 12, 16]


def test_a_model_is_told_that_its_client_has_gone(tmp_path):
    folder = make_repository(tmp_path, "patient") / "patient"
    with TestClient(str(folder)) as client:
        connection = HTTPConnection("127.0.0.1", client.app.port)
        connection.request("POST", "/v2/models/patient/infer", json.dumps({"inputs": [X]}))
        wait_for((folder / "began").exists)
        connection.close()
        wait_for((folder / "cancelled").exists)


def test_a_question_that_is_taken_back_is_told_to_who_was_asked(tmp_path):
    folder = make_repository(tmp_path, "patient", "hasty")
    with TestClient(str(folder)) as client:
        assert client.infer("hasty", {"X": np.array([5], np.int32)})["X"].tolist() == [5]
        wait_for((folder / "patient" / "cancelled").exists)


def test_a_model_says_itself_whether_it_is_ready(tmp_path):
    # row: ready-by-turns
    folder = make_repository(tmp_path, "moody") / "moody"
    with TestClient(str(folder)) as client:
        assert client.get("/v2/models/moody/ready").status == 200
        (folder / "not_now").touch()
        wait_for(lambda: client.get("/v2/models/moody/ready").status == 400)
        (folder / "not_now").unlink()
        wait_for(lambda: client.get("/v2/models/moody/ready").status == 200)


def test_rows_of_several_requests_come_together_up_to_the_batch(server):
    folder = server.app.models[0].folder.parent / "together"
    counts = queue.SimpleQueue()

    def ask():
        counts.put(server.infer("together", {"X": np.array([[1]], np.int32)})["COUNT"][0, 0])

    threads = [threading.Thread(target=ask) for _ in range(9)]
    for thread in threads:
        thread.start()
    stats = server.app.engine.find("together").stats
    while stats.waiting + stats.running < 9:
        threading.Event().wait(0.005)
    (folder / "gate").touch()
    for thread in threads:
        thread.join()
    assert sorted(counts.get() for _ in range(9)) == [1, 4, 4, 4, 4, 4, 4, 4, 4]


def test_finalize_runs_when_the_model_goes_and_its_metrics_are_the_servers(tmp_path):
    folder = make_repository(tmp_path, "finalized")
    with TestClient(str(folder)) as client:
        for _ in range(2):
            client.infer("finalized", {"X": np.array([5], np.int32)})
        (metric,) = wait_for(lambda: list(client.app.engine.find("finalized").stats.metrics))
        assert (metric.name, metric.kind) == ("asked", "counter")
        wait_for(lambda: [series.value for series in metric.series.values()] == [2.0])
        assert list(metric.series) == [(("who", "me"),)]
    assert (folder / "finalized" / "finalized").read_text() == "2.0"


def wait_for(what):
    """What it gives, once that is something."""
    for _ in range(2000):
        if found := what():
            return found
        threading.Event().wait(0.01)
    raise AssertionError("it did not happen")
