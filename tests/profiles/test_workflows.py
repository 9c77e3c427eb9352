"""Workflows on a live server: what goes where, what runs where, and what is left when something fails."""

import json
import os
import socket
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import quote

import pytest

from tests.conformance.torchserve import handlers
from tests.profiles.archives import BROKEN, write_archive
from tests.profiles.running import INFERENCE, MANAGEMENT, serving, until
from tests.repository.archives import tar_of, zipped_members
from tests.repository.sources.conftest import canary, host
from tests.repository.sources.hosts import text, unchanged

__all__ = ["canary", "host"]  # fixtures

#: Functions that tell what they get, where they run, or do something bad.
CODE = """
import json
import os
import time


def show(row):
    return {name: bytes(value).decode() for name, value in row.items()}


def tells(data, context):
    if data is None:
        return None
    header = context.get_request_header(0, "X-Mine")
    return [{"got": show(row), "header": header} for row in data]


def where(data, context):
    return None if data is None else [os.getpid()] * len(data)


def one(data, context):
    return None if data is None else ["one"] * len(data)


def two(data, context):
    return None if data is None else [json.dumps({"n": 2})] * len(data)


def dies(data, context):
    if data is not None:
        os._exit(3)


def raises(data, context):
    if data is not None:
        with open(os.environ["TRIES"], "a") as file:
            file.write("x")
        raise ValueError("a secret of the handler")


def waits(data, context):
    while data is not None and not os.path.exists(os.environ["GATE"]):
        time.sleep(0.01)
    return None if data is None else ["waited"] * len(data)
"""


@pytest.fixture
def directory(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("GATE", str(tmp_path / "gate"))
    monkeypatch.setenv("TRIES", str(tmp_path / "tries"))
    (tmp_path / "store").mkdir()
    return tmp_path


def managed(directory, **values):
    said = {"load_models": None, "disable_token_authorization": "true", "enable_model_api": "true"}
    return serving(directory, **{**said, **values})


def post(running, url, **query):
    more = "".join(f"&{name}={value}" for name, value in query.items())
    return running.ask(MANAGEMENT, f"/workflows?url={quote(str(url), safe='')}{more}", "POST")


def predict(running, name="flow", body=b"x", **headers):
    return running.ask(INFERENCE, f"/wfpredict/{name}", "POST", body=body, headers=headers)


def flow(directory, dag, models="{}", name="flow", code=CODE):
    """A workflow's archive in the store."""
    return handlers.write_workflow(directory / "store", name, f"models: {models}\ndag: {dag}\n", code).name


def known(running):
    """Every model there is, functions of workflows included."""
    return [record.name for record in running.app.engine.index()]


def refused(answer):
    return (answer.status, answer.json["type"], answer.json["message"])


def test_of_one_node_before_it_a_node_gets_the_answer_as_its_body(directory):
    with managed(directory) as running:
        assert post(running, flow(directory, "{one: [tells]}")).status == 200
        answer = predict(running, body=b"anything", **{"X-Mine": "kept"})
        assert answer.json == {"got": {"body": "one"}, "header": "kept"}
        assert answer.headers["content-type"] == "application/json"


def test_of_several_nodes_before_it_a_node_gets_each_answer_under_its_name(directory):
    with managed(directory) as running:
        assert post(running, flow(directory, "{where: [one, two], one: [tells], two: [tells]}")).status == 200
        assert predict(running).json["got"] == {"one": "one", "two": '{"n": 2}'}


def test_the_first_nodes_get_what_the_client_sent(directory):
    with managed(directory) as running:
        assert post(running, flow(directory, "{tells: []}")).status == 200
        form = "--b\r\nContent-Disposition: form-data; name={}\r\n\r\n{}\r\n"
        body = form.format("p", "1") + form.format("q", "2") + "--b--\r\n"
        headers = {"Content-Type": "multipart/form-data; boundary=b"}
        assert predict(running, body=body.encode(), **headers).json["got"] == {"p": "1", "q": "2"}


def test_several_last_nodes_answer_together(directory):
    with managed(directory) as running:
        assert post(running, flow(directory, "{tells: [one, two]}")).status == 200
        assert predict(running).json == {"one": "one", "two": {"n": 2}}


def test_functions_run_in_processes_and_are_not_listed(directory):
    with managed(directory) as running:
        assert post(running, flow(directory, "{where: []}")).status == 200
        assert predict(running).json not in (os.getpid(), os.getppid())
        assert known(running) == ["flow__where"]
        assert running.ask(MANAGEMENT, "/models").json == {"models": []}
        (described,) = running.ask(MANAGEMENT, "/models/flow__where").json
        assert described["workers"][0]["pid"] == predict(running).json


def test_a_function_that_dies_fails_its_request_alone(directory):
    with managed(directory) as running:
        assert post(running, flow(directory, "{dies: [one]}", "{retry-attempts: 0}")).status == 200
        assert post(running, flow(directory, "{where: []}", name="other")).status == 200
        for _ in range(2):
            assert refused(predict(running)) == (500, "InternalServerException", "Error executing dies")
        assert predict(running, "other").status == 200


def test_a_node_that_fails_is_tried_again_as_often_as_the_specification_says(directory):
    with managed(directory) as running:
        post(running, flow(directory, "{raises: []}", "{retry-attempts: 2}"))
        answer = predict(running)
        assert refused(answer) == (500, "InternalServerException", "Error executing raises")
        assert (directory / "tries").read_text() == "xxx"


def test_a_node_has_its_time(directory):
    with managed(directory) as running:
        post(running, flow(directory, "{waits: []}", "{retry-attempts: 0, timeout-ms: 200}"))
        assert refused(predict(running)) == (500, "InternalServerException", "Error executing waits")
        (directory / "gate").touch()
        assert until(lambda: predict(running).status == 200)


def test_a_node_whose_queue_is_full_says_when_to_come_back(directory):
    # row: workflow-overload
    with managed(directory, job_queue_size="1") as running, ThreadPoolExecutor(3) as pool:
        post(running, flow(directory, "{waits: []}", "{retry-attempts: 0}"))
        waiting = [pool.submit(predict, running) for _ in range(2)]
        until(lambda: running.app.engine.find("flow__waits").stats.waiting == 1)
        answer = predict(running)
        assert refused(answer) == (503, "ServiceUnavailableException", "Error executing waits")
        assert answer.headers["retry-after"] == "1"
        (directory / "gate").touch()
        assert {each.result(30).status for each in waiting} == {200}


def test_who_has_gone_is_not_worked_for(directory):
    with managed(directory) as running:
        post(running, flow(directory, "{waits: [one]}", "{timeout-ms: 60000}"))
        stats = running.app.engine.find("flow__waits").stats
        with socket.create_connection(("127.0.0.1", running.app.listeners[INFERENCE].port)) as client:
            client.sendall(b"POST /wfpredict/flow HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx")
            until(lambda: stats.running)
        until(lambda: stats.answers["torchserve", "cancelled"])
        (directory / "gate").touch()
        assert predict(running).status == 200
        assert running.app.engine.find("flow__one").stats.answers["torchserve", "ok"] == 1


def test_a_workflows_models_follow_the_load_between_their_numbers(directory):
    # row: workflow-workers
    write_archive(directory / "store", "m", handlers.LENGTH)
    models = "{max-batch-delay: 7, m: {url: m.mar, min-workers: 1, max-workers: 3, batch-size: 2}}"
    with managed(directory) as running:
        assert post(running, flow(directory, "{m: []}", models), response_timeout=9).status == 200
        (described,) = running.ask(MANAGEMENT, "/models/flow__m").json
        assert (described["minWorkers"], described["maxWorkers"], len(described["workers"])) == (1, 3, 1)
        assert (described["batchSize"], described["maxBatchDelay"]) == (2, 7)
        assert described["responseTimeout"] == 9
        assert predict(running, body=b"four").body == b"4"


@pytest.mark.parametrize(
    ("dag", "kind"),
    [
        ("{a: [b], b: [a]}", "InvalidDAGException"),
        ("{a: [a]}", "InvalidDAGException"),
        ("{one: [a], a: [b], b: [c], c: [a]}", "InvalidDAGException"),
        ("[a, b]", "InvalidWorkflowException"),
        ("{'no name': []}", "InvalidWorkflowException"),
    ],
)
def test_what_can_be_no_workflow_is_refused(directory, dag, kind):
    with managed(directory) as running:
        answer = post(running, flow(directory, dag))
        assert (answer.status, answer.json["type"]) == (400, kind)
        assert known(running) == []


def test_a_part_that_is_not_there_lets_nothing_be_registered(directory):
    # row: workflow-failures
    name = flow(directory, "{one: [m], m: [two]}", "{m: {url: nosuch.mar}}")
    with managed(directory) as running, unchanged(directory / "store"):
        expected = (
            "Workflow flow has failed to register. Failures: [Workflow Node flow__m failed to register. Details: Model"
            " not found at: nosuch.mar]"
        )
        assert refused(post(running, name)) == (400, "WorkflowException", expected)
        assert known(running) == []
        assert running.ask(MANAGEMENT, "/workflows").json == {"workflows": []}


@pytest.mark.parametrize("bad", ["model", "function"])
def test_a_part_that_does_not_start_lets_nothing_be_registered(directory, bad):
    write_archive(directory / "store", "m", BROKEN if bad == "model" else handlers.LENGTH)
    goal = "nosuchfunction" if bad == "function" else "two"
    name = flow(directory, f"{{one: [m], m: [{goal}]}}", "{m: {url: m.mar}}")
    with managed(directory) as running:
        answer = post(running, name)
        part = "flow__m" if bad == "model" else "flow__nosuchfunction"
        expected = (
            f"Workflow flow has failed to register. Failures: [Workflow Node {part} failed to register. Details:"
            f" Failed to start workers for model {part} version: 1.0]"
        )
        assert refused(answer) == (500, "WorkflowException", expected)
        assert known(running) == []
        assert running.ask(INFERENCE, "/ping").status == 200


def test_of_two_registrations_at_once_one_wins(directory):
    name = flow(directory, "{one: [two]}")
    with managed(directory) as running, ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: post(running, name), range(4)))
        assert sorted(answer.status for answer in answers) == [200, 409, 409, 409]
        assert predict(running).status == 200
        again = post(running, name, workflow_name="second")
        assert again.json == {"status": "Workflow second has been registered and scaled successfully."}
        assert known(running) == ["flow__one", "flow__two", "second__one", "second__two"]


def test_a_workflow_that_goes_answers_what_it_has_accepted(directory):
    with managed(directory) as running, ThreadPoolExecutor(2) as pool:
        post(running, flow(directory, "{waits: [one]}", "{timeout-ms: 60000}"))
        prediction = pool.submit(predict, running)
        until(lambda: running.app.engine.find("flow__waits").stats.running)
        removal = pool.submit(running.ask, MANAGEMENT, "/workflows/flow", "DELETE")
        until(lambda: running.ask(MANAGEMENT, "/workflows/flow").status == 404)
        assert predict(running).status == 404
        assert not removal.done()
        (directory / "gate").touch()
        assert prediction.result(30).body == b"one"
        assert removal.result(30).status == 200
        assert known(running) == []


def test_a_part_that_somebody_has_taken_away_is_missed(directory):
    with managed(directory) as running:
        post(running, flow(directory, "{one: [two]}"))
        assert running.ask(MANAGEMENT, "/models/flow__two", "DELETE").status == 200
        assert refused(predict(running)) == (500, "InternalServerException", "Error executing two")
        assert running.ask(MANAGEMENT, "/workflows/flow", "DELETE").status == 200
        assert known(running) == []


def test_a_workflow_and_its_models_are_fetched_and_taken_away_again(directory, host):
    store, away = directory / "store", directory / "away"
    away.mkdir()
    spec = f"models: {{m: {{url: '{host.base}/m.mar'}}, n: {{url: '{host.base}/m.mar'}}}}\ndag: {{m: [n]}}\n"
    host.answers["/flow.war?secret=1"] = text(200, handlers.write_workflow(away, "flow", spec).read_bytes())
    host.answers["/m.mar"] = text(200, write_archive(away, "m", handlers.LENGTH).read_bytes())
    with managed(directory, allowed_networks="127.0.0.1/32") as running, unchanged(store):
        assert post(running, f"{host.base}/flow.war?secret=1").status == 200
        assert sorted(path.name for path in store.iterdir()) == ["flow.war", "m.mar"]
        assert predict(running, body=b"12345").body == b"1"
        (described,) = running.ask(MANAGEMENT, "/workflows/flow").json
        assert described["workflowUrl"] == "flow.war"
        assert refused(post(running, f"{host.base}/flow.war?secret=1"))[0] == 409
        assert running.ask(MANAGEMENT, "/workflows/flow", "DELETE").status == 200


@pytest.mark.parametrize(
    ("url", "status", "kind"),
    [
        ("http://127.0.0.1:{port}/x.war", 404, "WorkflowNotFoundException"),
        ("http://127.0.0.1:{port}/../x.war", 404, "WorkflowNotFoundException"),
        ("../x.war", 404, "WorkflowNotFoundException"),
        ("ftp://127.0.0.1:{port}/x.war", 404, "WorkflowNotFoundException"),
        ("file:///nosuch/x.war", 400, "DownloadArchiveException"),
        ("file:///etc/passwd", 400, "InvalidWorkflowException"),
        ("/etc/passwd", 404, "WorkflowNotFoundException"),
        ("file:///etc", 404, "WorkflowNotFoundException"),
        ("evil.war", 400, "InvalidWorkflowException"),
        ("tar.war", 400, "InvalidWorkflowException"),
        ("folder", 404, "WorkflowNotFoundException"),
        ("", 404, "WorkflowNotFoundException"),
    ],
)
def test_workflows_come_from_where_models_may_come_from(directory, canary, url, status, kind):
    (directory / "store" / "evil.war").write_bytes(zipped_members(("../../owned", b"x")))
    (directory / "store" / "tar.war").write_bytes(tar_of(b"2", "evil", "/tmp"))
    (directory / "store" / "folder").mkdir()
    with managed(directory) as running, unchanged(directory / "store"):
        answer = post(running, url.format(port=canary().port))
        assert (answer.status, answer.json["type"]) == (status, kind)
        assert not (directory / "owned").exists()


def test_a_store_of_their_own(directory):
    (directory / "flows").mkdir()
    handlers.write_workflow(directory / "flows", "flow", "models: {}\ndag: {one: []}\n", CODE)
    with managed(directory, workflow_store="flows") as running:
        document = json.dumps({"url": "flow.war", "workflow_name": "mine", "startup_timeout": 60})
        headers = {"Content-Type": "application/json"}
        answer = running.ask(MANAGEMENT, "/workflows", "POST", body=document, headers=headers)
        assert answer.json == {"status": "Workflow mine has been registered and scaled successfully."}
        assert running.ask(MANAGEMENT, "/models/mine__one").json[0]["startupTimeout"] == 60
        assert predict(running, "mine").body == b"one"


def test_workflows_are_listed_by_pages(directory):
    name = flow(directory, "{one: []}")
    with managed(directory) as running:
        for each in "abc":
            assert post(running, name, workflow_name=each).status == 200
        document = running.ask(MANAGEMENT, "/workflows?limit=2").json
        assert list(document) == ["nextPageToken", "workflows"]
        assert [entry["workflowName"] for entry in document["workflows"]] == ["a", "b"]
        rest = running.ask(MANAGEMENT, f"/workflows?next_page_token={document['nextPageToken']}").json
        assert rest == {"workflows": [{"workflowName": "c", "workflowUrl": "flow.war"}]}


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/workflows/", 200), ("GET", "/workflows/flow/", 200), ("GET", "/workflows/flow/x", 200),
        ("GET", "/workflows/flow/x/y", 404), ("PUT", "/workflows/flow", 405), ("POST", "/workflows/flow", 405),
        ("DELETE", "/workflows", 405), ("HEAD", "/workflows/flow", 200), ("GET", "/workflows/no", 404),
    ],
)  # fmt: skip
def test_paths_of_workflows(directory, method, path, status):
    name = flow(directory, "{one: []}")
    with managed(directory) as running:
        assert post(running, name).status == 200
        assert running.ask(MANAGEMENT, path, method).status == status
