"""Jobs over HTTP, against a live server: accepted, run, answered as the protocol itself answers."""

import base64
import http.server
import json
import threading
import time
from dataclasses import replace
from urllib.parse import urlencode

import numpy as np
import pytest
from standardwebhooks import Webhook

from dragoman.config import JobSettings, PredictionSettings, ServerSettings, Settings
from dragoman.protocols.kserve_v2.client import LENGTH, decode_response, encode_request
from dragoman.testing import TestClient
from dragoman.types import Tensor

LIMIT = 60.0
SECRET = "whsec_" + base64.b64encode(b"0123456789abcdef0123456789abcdef").decode()
CALLS = []
GO = threading.Event()


class Double:
    inputs = {"x": ("FP32", [-1, 2])}
    outputs = {"y": ("FP32", [-1, 2])}
    batched = True
    fast = True

    def predict(self, x):
        CALLS.append(len(x))
        if (x < 0).any():
            raise ValueError("negative")
        return {"y": 2 * x}


class Held:
    """Answers when it is let go; on a thread, so that the server goes on."""

    inputs = {"x": ("FP32", [-1])}
    outputs = {"y": ("FP32", [-1])}

    def predict(self, x):
        CALLS.append("held")
        assert GO.wait(LIMIT)
        return {"y": x}


@pytest.fixture(autouse=True)
def _begin_anew():
    CALLS.clear()
    GO.clear()


def make_settings(tmp_path, **said):
    from dragoman.config import ModelSettings

    (tmp_path / "rows").mkdir(exist_ok=True)
    jobs = {
        "store": str(tmp_path / "jobs.db"),
        "folder": str(tmp_path / "rows"),
        "lease": 2.0,
        "rows": 4,
        **said,
    }
    return Settings(
        jobs=JobSettings(**jobs),
        predictions=PredictionSettings(store=str(tmp_path / "p.db")),
        models=ModelSettings(execution="thread"),
    )


@pytest.fixture
def client(tmp_path):
    with TestClient(Double, Held, settings=make_settings(tmp_path)) as client:
        yield client
        GO.set()


def body(rows):
    data = {"name": "x", "shape": list(np.shape(rows)), "datatype": "FP32", "data": rows}
    return json.dumps({"inputs": [data]}).encode()


def submit(client, to="/v2/models/Double/infer", rows=((1, 2),), id="", sent=None, headers=None, **query):
    query = query or {"to": to}
    path = f"/jobs{'/' + id if id else ''}?{urlencode(query)}"
    content = body(rows) if sent is None else sent
    return client.request("PUT" if id else "POST", path, content, headers)


def wait(client, id, *states):
    deadline = time.monotonic() + LIMIT
    while time.monotonic() < deadline:
        job = client.get(f"/jobs/{id}").json()
        if job["state"] in (states or ("done", "failed", "cancelled")):
            return job
        time.sleep(0.02)
    raise AssertionError(job)


def test_a_job_is_accepted_run_and_answered_as_its_protocol_answers(client):
    accepted = submit(client)
    assert accepted.status == 202
    told = accepted.json()
    assert accepted.headers["location"] == f"/jobs/{told['id']}"
    assert told["state"] == "queued"
    job = wait(client, told["id"])
    assert (job["state"], job["status"], job["model"], job["attempts"]) == ("done", 200, "Double", 1)
    assert job["created"] <= job["ended"]
    result = client.get(job["result"])
    assert result.status == 200
    at_once = client.request("POST", "/v2/models/Double/infer", body([[1, 2]]))
    assert (result.body, result.headers["content-type"]) == (at_once.body, at_once.headers["content-type"])


def test_every_dialect_is_a_job(client):
    tensors = [Tensor("x", "FP32", np.array([[3, 4]], np.float32))]
    binary, headers = encode_request(tensors)
    for to, sent, sent_headers in (
        ("/v2/models/Double/versions/1/infer", binary, headers),
        ("/v1/models/Double:predict", b'{"instances": [[3, 4]]}', None),
        ("/predictions/Double/1", b"any body", {"Content-Type": "application/x-anything"}),
    ):
        job = wait(client, submit(client, to, sent=sent, headers=sent_headers).json()["id"])
        result = client.get(job["result"])
        at_once = client.request("POST", to, sent, sent_headers)
        assert (result.status, result.headers["content-type"]) == (
            at_once.status,
            at_once.headers["content-type"],
        )
        if to.startswith("/v2"):
            length = result.headers[LENGTH.lower()]
            assert decode_response(result.body, length)[0].data.tolist() == [[6, 8]]
        assert result.body == at_once.body or to.startswith("/predictions")


def test_a_handler_s_body_reaches_it_with_its_type(tmp_path):
    folder = tmp_path / "echo"
    (folder / "MAR-INF").mkdir(parents=True)
    manifest = {"model": {"modelName": "echo", "modelVersion": "1.0", "handler": "echo.py"}}
    (folder / "MAR-INF" / "MANIFEST.json").write_text(json.dumps(manifest))
    (folder / "echo.py").write_text(
        "class Echo:\n"
        "    def initialize(self, context): pass\n"
        "    def handle(self, data, context):\n"
        "        context.set_response_content_type(0, 'text/x-echo')\n"
        "        headers = context.get_all_request_header(0)\n"
        "        kind = {name.lower(): value for name, value in headers.items()}['content-type']\n"
        "        return [f'{kind}|{row[\"body\"]}' for row in data]\n"
    )
    settings = make_settings(tmp_path)
    with TestClient(str(folder), settings=settings) as client:
        sent = submit(client, "/predictions/echo", sent=b"hello", headers={"Content-Type": "text/plain"})
        job = wait(client, sent.json()["id"])
        result = client.get(job["result"])
        assert (result.status, result.body) == (200, b"text/plain|hello"), job
        assert result.headers["content-type"] == "text/x-echo"


def test_a_put_is_done_once_however_often_it_comes(client):
    first = submit(client, id="mine")
    assert (first.status, first.json()["id"]) == (202, "mine")
    wait(client, "mine")
    second = submit(client, id="mine")
    assert (second.status, second.json()["state"]) == (200, "done")
    assert CALLS == [1]
    other = submit(client, id="mine", rows=[[5, 6]])
    assert other.status == 409
    assert "another job 'mine'" in other.json()["error"]
    assert client.get("/jobs/mine").json()["state"] == "done"


def test_of_many_puts_at_once_one_is_run(client):
    answers = []

    def put():
        answers.append(submit(client, "/v2/models/Held/infer", id="one", sent=body([1])).status)

    threads = [threading.Thread(target=put) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    GO.set()
    wait(client, "one")
    assert answers == [202] * 8
    assert CALLS == ["held"]


def test_a_result_is_there_when_it_is_there(client):
    id = submit(client, "/v2/models/Held/infer", sent=body([1])).json()["id"]
    wait(client, id, "running")
    early = client.get(f"/jobs/{id}/result")
    assert (early.status, early.headers["retry-after"]) == (409, "1")
    GO.set()
    wait(client, id)
    assert client.get(f"/jobs/{id}/result").status == 200


def test_what_the_model_refuses_is_the_result_of_a_failed_job(client):
    id = submit(client, rows=[[-1, 2]]).json()["id"]
    job = wait(client, id)
    assert (job["state"], job["status"], job["attempts"]) == ("failed", 500, 1)
    result = client.get(f"/jobs/{id}/result")
    assert result.status == 500
    assert "error" in result.json()
    id = submit(client, sent=b"{}").json()["id"]
    assert wait(client, id)["status"] == 400


@pytest.mark.parametrize(
    ("query", "status", "words"),
    [
        ({"to": "/v2/models/nobody/infer"}, 404, "unknown model"),
        ({"to": "/v2/health/live"}, 400, "no path at which a model is asked"),
        ({"to": "/management/models"}, 400, "no path at which a model is asked"),
        ({"to": "/jobs"}, 400, "no path at which a model is asked"),
        ({"to": "/nowhere"}, 400, "no path at which a model is asked"),
        ({"to": "/v2/models/Double/infer", "model": "Double"}, 400, "no other query parameter"),
        ({"too": "x"}, 400, "unknown query parameter 'too'"),
        ({"version": "1"}, 400, "a job says where it goes"),
        ({"model": "nobody"}, 404, "unknown model"),
        ({"model": "Double", "format": "xml"}, 400, "rows are read from jsonl, csv, parquet"),
        ({"model": "Double", "stored": "yes"}, 400, "'stored' is true or false"),
    ],
)
def test_what_can_t_be_a_job_is_refused_at_once(client, query, status, words):
    answer = client.request("POST", f"/jobs?{urlencode(query)}", b"[1]")
    assert (answer.status, words in answer.json()["error"]) == (status, True), answer.body
    assert client.get("/jobs").json() == {"jobs": []}


@pytest.mark.parametrize("id", ["a b", "-x", "x" * 129, "ä"])
def test_an_id_is_a_name(client, id):
    from urllib.parse import quote

    answer = client.request("PUT", f"/jobs/{quote(id)}?to=/v2/models/Double/infer", body([[1, 2]]))
    assert answer.status == 400


def test_unknown_jobs_are_not_found(client):
    for method, path in (("GET", "/jobs/x"), ("GET", "/jobs/x/result"), ("DELETE", "/jobs/x")):
        assert client.request(method, path).status == 404


def test_a_waiting_or_running_job_is_cancelled_and_an_ended_one_forgotten(client):
    running = [submit(client, "/v2/models/Held/infer", sent=body([1])).json()["id"] for _ in range(4)]
    for id in running:
        wait(client, id, "running")
    waiting = submit(client).json()["id"]  # four run at once, and no more
    assert client.request("DELETE", f"/jobs/{waiting}").json()["state"] == "queued"
    assert client.request("DELETE", f"/jobs/{running[0]}").json()["state"] == "running"
    for id in (waiting, running[0]):
        job = client.get(f"/jobs/{id}").json()
        assert (job["state"], job["error"]) == ("cancelled", "it was cancelled")
        assert client.get(f"/jobs/{id}/result").status == 409
    GO.set()
    for id in running[1:]:
        assert wait(client, id)["state"] == "done"
    assert client.request("DELETE", f"/jobs/{running[1]}").json()["state"] == "done"
    assert client.get(f"/jobs/{running[1]}").status == 404
    assert client.get(f"/jobs/{waiting}").json()["state"] == "cancelled"
    assert 1 not in CALLS  # the model was never asked for the one that waited


def test_jobs_are_listed_by_state_the_newest_first(client):
    ids = [submit(client, rows=[[n, n]]).json()["id"] for n in range(3)]
    failed = submit(client, rows=[[-1, 1]]).json()["id"]
    for id in (*ids, failed):
        wait(client, id)
    assert [job["id"] for job in client.get("/jobs").json()["jobs"]] == [failed, *reversed(ids)]
    assert [job["id"] for job in client.get("/jobs?state=failed").json()["jobs"]] == [failed]
    assert [job["id"] for job in client.get("/jobs?limit=1&state=done").json()["jobs"]] == [ids[2]]
    assert client.get("/jobs?state=lost").status == 400
    assert client.get("/jobs?limit=0").status == 400


def test_clients_go_first(client):
    """While somebody waits for the model, a job doesn't begin."""
    asking = threading.Thread(target=lambda: client.request("POST", "/v2/models/Held/infer", body([1])))
    waiting = threading.Thread(target=lambda: client.request("POST", "/v2/models/Held/infer", body([2])))
    asking.start()
    waiting.start()
    deadline = time.monotonic() + LIMIT
    while client.app.engine.find("Held").stats.waiting != 1:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    id = submit(client, "/v2/models/Held/infer", sent=body([3])).json()["id"]
    wait(client, id, "running")
    assert client.app.engine.find("Held").stats.waiting == 1  # claimed, and polite
    GO.set()
    assert wait(client, id)["state"] == "done"
    asking.join()
    waiting.join()


def test_more_jobs_than_may_wait_are_refused(tmp_path):
    settings = make_settings(tmp_path, waiting=2, concurrency=1)
    with TestClient(Double, Held, settings=settings) as client:
        first = submit(client, "/v2/models/Held/infer", sent=body([1])).json()["id"]
        wait(client, first, "running")
        assert [submit(client).status for _ in range(3)] == [202, 202, 503]
        GO.set()


def test_jobs_that_have_ended_are_kept_for_a_while(client):
    id = submit(client).json()["id"]
    wait(client, id)
    store = client.app._jobs._database.store
    assert store.forget(3600) == 0
    later = time.time() + 7200
    store._clock = lambda: later
    assert store.forget(3600) == 1
    assert client.get(f"/jobs/{id}").status == 404


def test_without_a_store_there_are_no_jobs():
    with TestClient(Double) as client:
        answer = submit(client)
        assert answer.status == 501
        assert "jobs.store" in answer.json()["error"]


def test_who_may_not_ask_a_model_may_not_leave_a_job(tmp_path):
    settings = replace(make_settings(tmp_path), server=ServerSettings(restrict="inference:key=s3cret"))
    with TestClient(Double, settings=settings) as client:
        assert submit(client).status == 403
        accepted = submit(client, headers={"key": "s3cret"})
        assert accepted.status == 202
        job_path = accepted.headers["location"]
        assert client.get(job_path).status == 403
        order = client.call(lambda: client.app._jobs._database.store.newest())[0].order
        assert "s3cret" not in order


def test_a_page_of_another_site_leaves_no_jobs(client):
    assert submit(client, headers={"Origin": "http://evil.example"}).status == 403


# Rows.

LINES = b"".join(b"[%d, 1]\n" % n for n in range(10))


def test_rows_are_a_job_with_progress(client):
    accepted = submit(client, sent=LINES, model="Double", format="jsonl")
    assert accepted.json()["rows"] == {"done": 0, "total": None}
    job = wait(client, accepted.json()["id"])
    assert (job["state"], job["version"], job["rows"]) == ("done", "1", {"done": 10, "total": 10}), job
    result = client.get(job["result"])
    assert result.headers["content-type"] == "application/jsonl"
    assert [json.loads(line) for line in result.body.splitlines()] == [{"y": [2 * n, 2]} for n in range(10)]
    assert CALLS == [4, 4, 2]


def test_a_file_is_named_below_the_operator_s_folder_only(client, tmp_path):
    (tmp_path / "rows" / "in.csv").write_text("a,b\n1,2\n3,4\n")
    (tmp_path / "secret.csv").write_text("1,2\n")
    (tmp_path / "rows" / "link.csv").symlink_to(tmp_path / "secret.csv")
    job = wait(client, submit(client, sent=b"", model="Double", file="in.csv").json()["id"])
    assert client.get(job["result"]).body == b'{"y": [2.0, 4.0]}\n{"y": [6.0, 8.0]}\n'
    for file in ("../secret.csv", "link.csv", str(tmp_path / "secret.csv"), "missing.csv", "."):
        answer = submit(client, sent=b"", model="Double", file=file, format="csv")
        assert (answer.status, "no file" in answer.json()["error"]) == (400, True), file


def test_rows_may_be_kept_among_the_predictions_made_ahead(client):
    job = wait(client, submit(client, sent=LINES, model="Double", stored="true").json()["id"])
    assert job["state"] == "done", job
    CALLS.clear()
    answer = client.request("POST", "/v2/models/Double/infer", body([[7, 1], [2, 1]]))
    assert answer.headers["dragoman-cache"] == "hit"
    assert answer.json()["outputs"][0]["data"] == [14, 2, 4, 2]
    assert CALLS == []


def test_rows_that_fail_are_named(client):
    sent = b"[1, 1]\n[2, 2]\n[3, 3]\n[4, 4]\n[5]\n"
    job = wait(client, submit(client, sent=sent, model="Double").json()["id"])
    assert (job["state"], job["status"]) == ("failed", 400)
    assert job["error"].startswith("rows 5 to 5: ")
    assert client.get(job["result"]).status == 400


# Webhooks.


class Receiver:
    """A server that is told; answers the statuses it was given, then 200."""

    def __init__(self, *statuses):
        self.statuses = list(statuses)
        self.told = []
        receiver = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                sent = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.told.append((dict(self.headers), sent))
                self.send_response(receiver.statuses.pop(0) if receiver.statuses else 200)
                self.end_headers()

            def log_message(self, *arguments):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/hook"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def wait(self, count):
        deadline = time.monotonic() + LIMIT
        while len(self.told) < count:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        return self.told

    def close(self):
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def receiver():
    receiver = Receiver(500)
    yield receiver
    receiver.close()


@pytest.fixture
def telling(tmp_path):
    said = {"webhook_urls": r"http://127\.0\.0\.1:\d+/.*", "webhook_networks": ("127.0.0.0/8",)}
    with TestClient(Double, settings=make_settings(tmp_path, webhook_secret=SECRET, **said)) as client:
        yield client


def wait_for_webhook(client, id, state):
    deadline = time.monotonic() + LIMIT
    while True:
        job = client.get(f"/jobs/{id}").json()
        if job["webhook"]["state"] == state:
            return job
        assert time.monotonic() < deadline, job
        time.sleep(0.02)


def test_a_webhook_is_told_again_until_it_answers_and_anybody_can_check_who_tells(telling, receiver):
    id = submit(telling, headers={"Dragoman-Webhook": receiver.url}).json()["id"]
    (first, _), (headers, sent) = receiver.wait(2)
    assert first["webhook-id"] == headers["webhook-id"] == f"msg_{id}"
    event = Webhook(SECRET).verify(sent, {name.lower(): value for name, value in headers.items()})
    assert event["type"] == "job.done"
    assert event["data"]["id"] == id
    assert event["data"]["result"] == f"/jobs/{id}/result"
    with pytest.raises(Exception, match=r"[Nn]o matching signature"):
        Webhook(SECRET).verify(sent + b" ", {name.lower(): value for name, value in headers.items()})
    assert wait_for_webhook(telling, id, "told")["webhook"]["attempts"] == 2
    text = telling.get("/metrics").body.decode()
    assert 'dragoman_webhooks_total{outcome="told"} 1.0' in text
    assert 'dragoman_webhooks_total{outcome="failed"} 1.0' in text


def test_who_is_gone_is_not_told_again(telling):
    receiver = Receiver(410)
    id = submit(telling, headers={"Dragoman-Webhook": receiver.url}).json()["id"]
    assert wait_for_webhook(telling, id, "given up")["webhook"]["attempts"] == 1
    receiver.close()


@pytest.mark.parametrize(
    "url",
    ["http://localhost:1/hook", "http://10.0.0.1/hook", "file:///etc/passwd", "http://127.0.0.1:1@evil.example/x",
     "http://127.0.0.1:80/../x", "ftp://127.0.0.1:21/x", "nonsense"],
)  # fmt: skip
def test_nobody_is_told_whom_the_operator_has_not_allowed(telling, url):
    answer = submit(telling, headers={"Dragoman-Webhook": url})
    assert answer.status in (400, 403, 404), answer.body
    assert telling.get("/jobs").json() == {"jobs": []}


def test_an_allowed_name_that_leads_into_the_network_is_not_told(tmp_path, receiver):
    """The rules allow any URL, but the address is judged when the connection is made."""
    settings = make_settings(tmp_path, webhook_secret=SECRET, webhook_urls=".*")
    with TestClient(Double, settings=settings) as client:
        id = submit(client, headers={"Dragoman-Webhook": receiver.url}).json()["id"]
        assert wait_for_webhook(client, id, "given up")["state"] == "done"
        assert receiver.told == []


def test_without_allowed_urls_there_are_no_webhooks(client, receiver):
    assert submit(client, headers={"Dragoman-Webhook": receiver.url}).status == 403


def test_the_numbers_tell_of_jobs(client):
    wait(client, submit(client).json()["id"])
    wait(client, submit(client, rows=[[-1, 1]]).json()["id"])
    text = client.get("/metrics").body.decode()
    for line in (
        "dragoman_jobs_accepted_total 2.0",
        "dragoman_jobs_begun_total 2.0",
        'dragoman_jobs_ended_total{state="done"} 1.0',
        'dragoman_jobs_ended_total{state="failed"} 1.0',
        "dragoman_jobs_running 0.0",
    ):
        assert line in text
