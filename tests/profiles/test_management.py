"""Models are managed over a live port: beyond what was recorded, and at the same time."""

import json
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.profiles.archives import BROKEN, ECHO, write_archive
from tests.profiles.running import INFERENCE, MANAGEMENT, METRICS, serving, until

#: Answers when the file that its body names is there, and with its version and process.
WAITS = """
import os
import time


def handle(data, context):
    if data is None:
        return None
    for row in data:
        text = bytes(row.get("body", b"")).decode()
        while text and not os.path.exists(text):
            time.sleep(0.01)
    return [{"version": context.manifest["model"]["modelVersion"], "pid": os.getpid()}] * len(data)
"""
#: Loads when the file in its environment is there.
LOADS_LATE = """
import os
import time

while not os.path.exists(os.environ["GATE"]):
    time.sleep(0.01)


def handle(data, context):
    return ["ready"] * len(data or ())
"""
#: Can't be loaded while the file in its environment isn't there.
LOADS_PERHAPS = """
import os

if not os.path.exists(os.environ["GATE"]):
    raise RuntimeError("no such luck")


def handle(data, context):
    return ["ready"] * len(data or ())
"""
DESCRIBES = """
def handle(data, context):
    if data is None:
        return None
    if context.get_request_header(0, "describe") == "True":
        if context.get_request_header(0, "How") == "list":
            return [["not", "a", "dictionary"]]
        if context.get_request_header(0, "How") == "raise":
            raise ValueError("a secret of the handler")
        return [{"name": context.model_name, "session": context.get_request_header(0, "ts_request_sequence_id")}]
    return ["ok"] * len(data)
"""


@pytest.fixture
def directory(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("GATE", str(tmp_path / "gate"))
    (tmp_path / "store").mkdir()
    return tmp_path


@pytest.fixture
def write(directory):
    return lambda *args, **more: write_archive(directory / "store", *args, **more)


def managed(directory, **values):
    said = {"load_models": None, "disable_token_authorization": "true", "enable_model_api": "true"}
    return serving(directory, **{**said, **values})


def ask(running, method, path, body=None, **headers):
    return running.ask(MANAGEMENT, path, method, body=body, headers=headers)


def said(answer):
    return (answer.status, answer.json["status"])


def refused(answer):
    assert answer.json["code"] == answer.status
    return (answer.status, answer.json["type"], answer.json["message"])


def described(running, name, version=""):
    return ask(running, "GET", f"/models/{name}/{version}").json[0]


def predict(running, path, body=b""):
    return running.ask(INFERENCE, f"/predictions/{path}", "POST", body=body)


def test_numbers_in_json_may_be_written_in_any_way_that_is_a_number(directory, write):
    write("echo")
    with managed(directory) as running:
        document = {
            "url": "echo.mar", "batch_size": "4", "max_batch_delay": 20.0, "initial_workers": None,
            "synchronous": "true", "s3_sse_kms": False, "response_timeout": -1, "nobody_knows": [1],
        }  # fmt: skip
        answer = ask(
            running, "POST", "/models", json.dumps(document), **{"Content-Type": "application/json; x=y"}
        )
        assert answer.status == 200
        found = described(running, "echo")
        assert (found["batchSize"], found["maxBatchDelay"], found["responseTimeout"]) == (4, 20, 120)


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({"url": 5}, "Parameter url must be a text."),
        ({"url": "echo.mar", "batch_size": "many"}, "Parameter batch_size must be a whole number."),
        ({"url": "echo.mar", "initial_workers": True}, "Parameter initial_workers must be a whole number."),
        ({"url": "echo.mar", "max_batch_delay": 1.5}, "Parameter max_batch_delay must be a whole number."),
        (
            {"url": "echo.mar", "startup_timeout": 1 << 31},
            "Parameter startup_timeout must be a whole number.",
        ),
        ({"url": "echo.mar", "synchronous": 1}, "Parameter synchronous must be true or false."),
        ({"model_name": "echo"}, "Parameter url is required."),
        (["echo.mar"], "the body must be a JSON object with the names of the query's parameters"),
    ],
)
def test_json_that_says_nothing_sensible_is_refused(directory, write, document, message):
    # row: json-bodies
    write("echo")
    with managed(directory) as running:
        answer = ask(running, "POST", "/models", json.dumps(document), **{"Content-Type": "application/json"})
        assert refused(answer) == (400, "BadRequestException", message)
        assert ask(running, "GET", "/models").json == {"models": []}


@pytest.mark.parametrize("body", [b"\xff", b"[" * 100_000, b'{"url": NaN}'])
def test_what_is_no_json_is_refused(directory, body):
    with managed(directory) as running:
        answer = ask(running, "POST", "/models", body, **{"Content-Type": "application/json"})
        assert answer.status == 400
        assert answer.json["message"].startswith("the body is not JSON")


def test_a_json_body_that_is_empty_leaves_the_word_to_the_query(directory, write):
    # row: json-bodies
    write("echo")
    with managed(directory) as running:
        answer = ask(running, "POST", "/models?url=echo.mar", b"", **{"Content-Type": "application/json"})
        assert answer.status == 200


@pytest.mark.parametrize(
    ("method", "path", "message"),
    [
        ("PUT", "/models/echo?min_worker=-1", "min_worker and max_worker must be between 0 and 1024."),
        ("PUT", "/models/echo?min_worker=9999", "min_worker and max_worker must be between 0 and 1024."),
        (
            "PUT",
            "/models/echo?max_worker=2147483647",
            "min_worker and max_worker must be between 0 and 1024.",
        ),
        ("POST", "/models?url=echo.mar&initial_workers=2000000000", "initial_workers must be at most 1024."),
        ("POST", "/models?url=echo.mar&runtime=LSP", "Invalid RuntimeType value: LSP"),
        ("GET", "/models?" + "&".join("x=y" for _ in range(200)), "a query has at most 100 parameters"),
    ],
)
def test_numbers_that_nobody_can_mean_are_refused(directory, write, method, path, message):
    # row: worker-numbers, cpp-backend
    write("echo")
    with managed(directory, load_models="echo.mar") as running:
        assert refused(ask(running, method, path)) == (400, "BadRequestException", message)
        assert len(described(running, "echo")["workers"]) == 1


@pytest.mark.parametrize(
    "name", [".", "..", "a/b", "a%2fb", "%252e%252e", "a b", "", "x" * 4096, "a\n", "é", "a\u202eb", "\x00"]
)
def test_a_name_that_can_be_no_models_is_refused(directory, write, name):
    """S10"""
    # row: model-names
    write("echo")
    with managed(directory) as running:
        document = json.dumps({"url": "echo.mar", "model_name": name})
        answer = ask(running, "POST", "/models", document, **{"Content-Type": "application/json"})
        if name:
            assert answer.status == 400
            assert answer.json["type"] == "InvalidModelException"
        else:  # as if it weren't given
            assert answer.status == 200
            assert described(running, "echo")["modelName"] == "echo"


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/models/", 200),
        ("GET", "/models/echo/", 200),
        ("GET", "/models/ec%68o/1%2E0//", 200),
        ("GET", "/models/echo%2F1.0", 200),
        ("HEAD", "/models", 200),
        ("HEAD", "/models/echo", 200),
        ("GET", "/models//", 404),
        ("GET", "/models/echo/1.0/set-default", 404),
        ("PUT", "/models/echo/1.0/more/set-default", 404),
        ("PUT", "/models", 405),
        ("OPTIONS", "/models", 405),
        ("PATCH", "/models/echo", 405),
        ("POST", "/models/echo/1.0", 405),
        ("GET", "/models/..", 404),
        ("GET", "/models/%2e%2e%2fetc", 404),
        ("GET", "/v1/models/echo", 200),
        ("GET", "/v1/models/nosuch", 404),
        ("POST", "/v1/models/echo", 405),
    ],
)
def test_paths_are_read_as_torchserve_reads_them(directory, write, method, path, status):
    write("echo")
    with managed(directory, load_models="echo.mar") as running:
        assert ask(running, method, path).status == status


def test_kserve_asks_whether_a_model_is_ready(directory, write):
    write("echo")
    with managed(directory) as running:
        ask(running, "POST", "/models?url=echo.mar&initial_workers=0")
        assert ask(running, "GET", "/v1/models/echo").json == {"name": "echo", "ready": False}
        ask(running, "PUT", "/models/echo?synchronous=true")
        assert ask(running, "GET", "/v1/models/echo").json == {"name": "echo", "ready": True}
        assert refused(ask(running, "GET", "/v1/models/no"))[1] == "ModelNotFoundException"


def test_of_registrations_at_once_one_wins(directory, write):
    write("echo")
    with managed(directory) as running, ThreadPoolExecutor(8) as pool:
        for synchronous in ("true", "false"):
            path = f"/models?url=echo.mar&initial_workers=1&synchronous={synchronous}"
            answers = list(pool.map(lambda _: ask(running, "POST", path), range(8)))  # noqa: B023 - at once
            assert sorted(answer.status for answer in answers)[1:] == [409] * 7
            assert predict(running, "echo", b"x").status in (200, 503)
            until(lambda: predict(running, "echo", b"x").status == 200)
            assert ask(running, "DELETE", "/models/echo").status == 200


def test_a_registration_behind_its_answer_that_fails_leaves_nothing(directory, write):
    write("broken", BROKEN)
    with managed(directory) as running:
        path = "/models?url=broken.mar&initial_workers=1&synchronous=false"
        assert said(ask(running, "POST", path)) == (202, "Processing worker updates...")
        until(lambda: ask(running, "GET", "/models/broken").status == 404)
        assert ask(running, "GET", "/models").json == {"models": []}
        assert running.ask(INFERENCE, "/ping").status == 200
        assert predict(running, "broken").status == 404


def test_a_model_that_loads_is_seen_answers_503_and_can_be_removed(directory, write):
    # row: loading-can-be-removed
    write("late", LOADS_LATE)
    with managed(directory) as running:
        path = "/models?url=late.mar&initial_workers=2&synchronous=false"
        assert ask(running, "POST", path).status == 202
        found = described(running, "late")
        assert [worker["status"] for worker in found["workers"]] == ["UNLOADING"] * 2
        assert [worker["pid"] for worker in found["workers"]] == [-1] * 2
        assert ask(running, "GET", "/v1/models/late").json["ready"] is False
        assert predict(running, "late").status == 503
        assert (
            refused(ask(running, "GET", "/models/late?customized=true"))[1] == "ServiceUnavailableException"
        )
        assert said(ask(running, "DELETE", "/models/late")) == (200, 'Model "late" unregistered')
        assert ask(running, "GET", "/models").json == {"models": []}
        (directory / "gate").touch()
        assert ask(running, "POST", "/models?url=late.mar&initial_workers=1").status == 200
        assert predict(running, "late").body == b"ready"


def test_a_model_that_takes_too_long_to_load_is_given_up(directory, write):
    write("late", LOADS_LATE)
    with managed(directory) as running:
        answer = ask(running, "POST", "/models?url=late.mar&initial_workers=1&startup_timeout=1")
        expected = "Failed to start workers for model late version: 1.0"
        assert refused(answer) == (500, "InternalServerException", expected)
        assert ask(running, "GET", "/models/late").status == 404


def test_a_worker_that_takes_too_long_to_answer_is_replaced(directory, write):
    write("waits", WAITS)
    with managed(directory) as running:
        ask(running, "POST", "/models?url=waits.mar&initial_workers=1&response_timeout=1")
        assert described(running, "waits")["responseTimeout"] == 1
        assert predict(running, "waits", b"/no/such/file").status == 504
        assert until(lambda: predict(running, "waits").status == 200)


def test_a_version_that_goes_answers_what_it_has_accepted(directory, write):
    # row: unregister-drains
    write("waits", WAITS)
    with managed(directory) as running, ThreadPoolExecutor(2) as pool:
        ask(running, "POST", "/models?url=waits.mar&initial_workers=1")
        gate = directory / "go"
        prediction = pool.submit(predict, running, "waits", str(gate).encode())
        until(lambda: running.app.engine.find("waits").stats.running)
        removal = pool.submit(ask, running, "DELETE", "/models/waits")
        until(lambda: not running.app.engine.registry.versions("waits"))
        assert predict(running, "waits").status == 404
        assert not prediction.done()
        gate.touch()
        assert prediction.result(30).status == 200
        assert removal.result(30).status == 200


def test_a_default_moves_while_requests_are_answered(directory, write):
    write("one", WAITS, version="1.0", file="one.mar")
    write("one", WAITS, version="2.0", file="two.mar")
    with managed(directory, load_models="one.mar") as running:
        over, seen = threading.Event(), []

        def client():
            while not over.is_set():
                answer = predict(running, "one")
                seen.append(answer.json["version"] if answer.status == 200 else answer.status)

        threads = [threading.Thread(target=client) for _ in range(2)]
        for thread in threads:
            thread.start()
        assert ask(running, "POST", "/models?url=two.mar&initial_workers=1").status == 200
        until(lambda: len(seen) > 20)
        assert set(seen) == {"1.0"}
        assert ask(running, "PUT", "/models/one/2.0/set-default").status == 200
        before = len(seen)
        until(lambda: len(seen) > before + 20)
        assert ask(running, "DELETE", "/models/one/1.0").status == 200
        over.set()
        for thread in threads:
            thread.join(30)
        assert set(seen) == {"1.0", "2.0"}
        assert seen[-1] == "2.0"


def test_workers_that_can_not_be_started_change_nothing(directory, write):
    write("perhaps", LOADS_PERHAPS)
    gate = directory / "gate"
    gate.touch()
    with managed(directory) as running:
        ask(running, "POST", "/models?url=perhaps.mar&initial_workers=1")
        gate.unlink()
        answer = ask(running, "PUT", "/models/perhaps?min_worker=2&synchronous=true")
        expected = "Failed to start workers for model perhaps version: 1.0"
        assert refused(answer) == (500, "InternalServerException", expected)
        found = described(running, "perhaps")
        assert (found["minWorkers"], found["maxWorkers"], len(found["workers"])) == (1, 1, 1)
        assert predict(running, "perhaps").status == 200
        gate.touch()
        assert ask(running, "PUT", "/models/perhaps?min_worker=2&synchronous=true").status == 200
        assert len(described(running, "perhaps")["workers"]) == 2


def test_a_model_that_could_not_be_loaded_at_the_start_can_be_scaled_to_life_or_removed(directory, write):
    write("perhaps", LOADS_PERHAPS)
    write("broken", BROKEN)
    with managed(directory, load_models="all") as running:
        assert running.ask(INFERENCE, "/ping").status == 500
        assert [worker["status"] for worker in described(running, "perhaps")["workers"]] == ["UNLOADING"]
        assert ask(running, "PUT", "/models/perhaps?synchronous=true").status == 500
        assert described(running, "perhaps")["minWorkers"] == 1
        (directory / "gate").touch()
        answer = ask(running, "PUT", "/models/perhaps?min_worker=2&synchronous=true")
        assert said(answer) == (200, "Workers scaled to 2 for model: perhaps")
        assert predict(running, "perhaps").status == 200
        assert ask(running, "DELETE", "/models/broken").status == 200
        assert running.ask(INFERENCE, "/ping").status == 200
        assert ask(running, "DELETE", "/models/perhaps/1.0").status == 200


def test_between_its_two_numbers_a_model_follows_the_load(directory, write):
    # row: autoscaling
    write("waits", WAITS)
    gate = directory / "go"
    with managed(directory) as running, ThreadPoolExecutor(4) as pool:
        ask(running, "POST", "/models?url=waits.mar&initial_workers=1")
        assert ask(running, "PUT", "/models/waits?min_worker=1&max_worker=2&synchronous=true").status == 200
        assert len(described(running, "waits")["workers"]) == 1
        waiting = [pool.submit(predict, running, "waits", str(gate).encode()) for _ in range(3)]
        until(lambda: len(described(running, "waits")["workers"]) == 2)
        gate.touch()
        pids = {each.result(30).json["pid"] for each in waiting}
        assert len(pids) <= 2
        found = described(running, "waits")
        assert (found["minWorkers"], found["maxWorkers"]) == (1, 2)
        ask(running, "PUT", "/models/waits?min_worker=1&synchronous=true")
        assert len(described(running, "waits")["workers"]) == 1


def test_a_model_that_may_have_workers_gets_one_when_it_is_asked(directory, write):
    # row: scale-to-zero
    write("waits", WAITS)
    with managed(directory) as running:
        ask(running, "POST", "/models?url=waits.mar&initial_workers=0")
        assert predict(running, "waits").status == 503
        answer = ask(running, "PUT", "/models/waits?min_worker=0&max_worker=1&synchronous=true")
        assert said(answer) == (200, "Workers scaled to 0 for model: waits")
        assert described(running, "waits")["workers"] == []
        assert predict(running, "waits").status == 200
        (worker,) = described(running, "waits")["workers"]
        assert worker["status"] == "READY"
        assert os.path.exists(f"/proc/{worker['pid']}")
        ask(running, "PUT", "/models/waits?min_worker=0&synchronous=true")
        answer = predict(running, "waits")
        assert answer.status == 503
        assert "retry-after" not in answer.headers
        assert answer.json["message"].endswith("or exceeds maxSequenceJobQueueSize")


def test_a_model_says_of_itself_what_it_likes(directory, write):
    write("describes", DESCRIBES)
    stateful = "minWorkers: 1\nmaxWorkers: 1\nsequenceBatching: true\nmaxNumSequence: 1\n"
    write("stateful", DESCRIBES, yaml=stateful)
    with managed(directory, load_models="all") as running:
        answer = ask(running, "GET", "/models/describes?customized=TRUE")
        assert answer.json[0]["customizedMetadata"] == {"name": "describes"}
        assert "customizedMetadata" not in ask(running, "GET", "/models/describes?customized=false").json[0]
        assert (
            "customizedMetadata" not in ask(running, "GET", "/models/describes/all?customized=true").json[0]
        )
        answer = ask(running, "GET", "/models/describes?customized=true", How="list")
        assert answer.json[0]["customizedMetadata"] == {}
        answer = ask(running, "GET", "/models/describes?customized=true", How="raise")
        assert refused(answer) == (503, "InternalServerException", "Prediction failed")
        for _ in range(2):  # each is a sequence of its own, and leaves its place to the next
            (found,) = ask(running, "GET", "/models/stateful?customized=true").json
            assert found["customizedMetadata"]["session"].startswith("ts-seq-")
        assert (found["stateful"], found["maxNumSequence"]) == (True, 1)


def test_workers_are_told_of_with_what_they_are(directory, write):
    # row: worker-ids
    write("echo", ECHO)
    with managed(directory, load_models="echo.mar") as running:
        ask(running, "PUT", "/models/echo?min_worker=2&synchronous=true")
        first, second = described(running, "echo")["workers"]
        assert list(first) == ["id", "startTime", "status", "memoryUsage", "pid", "gpu", "gpuUsage"]
        assert (first["id"], second["id"]) == ("9000", "9001")
        assert first["memoryUsage"] > 1 << 20
        assert first["pid"] != second["pid"]
        os.kill(first["pid"], 9)
        until(lambda: described(running, "echo")["workers"][0]["pid"] not in (-1, first["pid"]))
        assert described(running, "echo")["workers"][0]["startTime"] > first["startTime"]


def test_the_queue_is_told(directory, write):
    write("waits", WAITS, yaml="jobQueueSize: 5\nminWorkers: 1\nmaxWorkers: 1\n")
    gate = directory / "go"
    with managed(directory, load_models="waits.mar") as running, ThreadPoolExecutor(4) as pool:
        waiting = [pool.submit(predict, running, "waits", str(gate).encode()) for _ in range(3)]
        expected = {"remainingCapacity": 3, "pendingRequests": 2}
        until(lambda: described(running, "waits")["jobQueueStatus"] == expected)
        gate.touch()
        assert {each.result(30).status for each in waiting} == {200}


def operations(document):
    return {(path, method) for path, methods in document["paths"].items() for method in methods}


def test_the_description_tells_what_is_there(directory, write):
    # row: management-description
    write("echo")
    always = {
        ("/", "options"), ("/api-description", "get"), ("/models", "get"), ("/models/{model_name}", "get"),
        ("/models/{model_name}", "put"), ("/models/{model_name}/{model_version}", "get"),
        ("/models/{model_name}/{model_version}", "put"), ("/v1/models/{model_name}", "get"),
        ("/models/{model_name}/{model_version}/set-default", "put"),
    }  # fmt: skip
    changes = {
        ("/models", "post"), ("/models/{model_name}", "delete"),
        ("/models/{model_name}/{model_version}", "delete"),
    }  # fmt: skip
    for switch, expected in (("false", always), ("true", always | changes)):
        with managed(directory, load_models="echo.mar", enable_model_api=switch) as running:
            whole = ask(running, "OPTIONS", "/").json
            assert operations(whole) >= expected
            assert operations(whole) - expected <= {(p, m) for p, m in operations(whole) if "workflows" in p}
            for path, method in operations(whole):
                where = path.format(model_name="nosuch", model_version="1.0", workflow_name="nosuch")
                answer = ask(running, method.upper(), where)
                assert answer.json.get("type") not in (
                    "ResourceNotFoundException",
                    "MethodNotAllowedException",
                )
            one = ask(running, "OPTIONS", "/models/echo").json
            assert operations(one) == {(p, m) for p, m in expected if "{model_name}" in p}
            assert one["info"]["title"] == "RESTful Management API for: echo"


def test_nobody_without_a_key_gets_to_send_a_body(directory):
    with serving(directory, load_models=None, enable_model_api="true") as running:
        for method, path in (("POST", "/models"), ("PUT", "/models/a"), ("DELETE", "/models/a")):
            answer = ask(running, method, path, b"x" * 1000)
            assert refused(answer)[1] == "InvalidKeyException"
            key = {"Authorization": f"Bearer {running.keys['inference']}"}
            assert refused(ask(running, method, path, **key))[1] == "InvalidKeyException"


def test_a_bug_is_told_by_its_id_only(directory, write, monkeypatch, caplog):
    write("echo")
    with managed(directory) as running:

        async def fails(*args, **more):
            raise RuntimeError("a secret of the server")

        monkeypatch.setattr(running.app._registrar, "register", fails)
        answer = ask(running, "POST", "/models?url=echo.mar")
        assert answer.status == 500
        assert answer.json["type"] == "InternalServerException"
        assert "secret" not in answer.json["message"]
        failure = answer.json["message"].rpartition(" ")[2]
        assert any(getattr(record, "id", "") == failure for record in caplog.records)


def test_metrics_follow_the_default(directory, write):
    write("one", WAITS, version="1.0", file="one.mar")
    write("one", WAITS, version="2.0", file="two.mar")
    with managed(directory, load_models="one.mar,two.mar", metrics_mode="prometheus") as running:
        predict(running, "one")
        ask(running, "PUT", "/models/one/2.0/set-default")
        ask(running, "DELETE", "/models/one/1.0")
        predict(running, "one")
        scraped = running.ask(METRICS, "/metrics").body.decode()
        assert 'ts_inference_requests_total{model_name="one",model_version="default",' in scraped
        assert 'ts_inference_requests_total{model_name="one",model_version="1.0",' in scraped


def test_every_route_is_told_of(directory):
    page = (Path(__file__).parents[2] / "docs" / "torchserve.md").read_text()
    with serving(directory, load_models=None, enable_model_api="true") as running:
        patterns = {route.pattern for route in running.app.listeners[MANAGEMENT].router.routes()}
    places = {pattern.partition("{")[0].rstrip("/") for pattern in patterns} - {"", "/api-description"}
    assert places >= {"/models", "/v1/models", "/workflows", "/token"}
    assert [place for place in places if f"`{place}" not in page] == []
    assert "GET /api-description" in page
