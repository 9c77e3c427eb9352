"""The server as an ASGI application: in a real uvicorn and a real gunicorn, and mounted in somebody's FastAPI app."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from http.client import HTTPConnection
from pathlib import Path

import fastapi
import pytest
import uvicorn

import dragoman
from dragoman.errors import ConfigError
from tests.protocols.service.apps import functions, lesson

ROOT = Path(__file__).parent.parent
APPS = ROOT / "tests" / "protocols" / "service" / "apps"
LIMIT = 60


def free_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def ask(port, method, path, document=None):
    connection = HTTPConnection("127.0.0.1", port, timeout=LIMIT)
    try:
        body = None if document is None else json.dumps(document).encode()
        connection.request(method, path, body, {"content-type": "application/json"})
        answer = connection.getresponse()
        return answer.status, dict(answer.getheaders()), answer.read()
    finally:
        connection.close()


def wait_until_it_answers(port, process):
    deadline = time.monotonic() + LIMIT
    while True:
        try:
            return ask(port, "GET", "/livez")
        except OSError:
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.02)  # until a process listens, which nobody tells


@pytest.fixture(params=["uvicorn", "gunicorn"])
def hosted(request, tmp_path):
    """Another server with our application in it, and its port."""
    (tmp_path / "hosted.py").write_text(f"import dragoman\napp = dragoman.asgi({str(APPS / 'many.py')!r})\n")
    port = free_port()
    command = {
        "uvicorn": ["-m", "uvicorn", "hosted:app", "--port", str(port), "--log-level", "warning"],
        "gunicorn": [
            "-m", "gunicorn", "hosted:app", "-k", "uvicorn.workers.UvicornWorker", "-b", f"127.0.0.1:{port}",
        ],
    }  # fmt: skip
    path = os.pathsep.join([str(ROOT / "src"), str(ROOT), str(tmp_path)])
    environment = {**os.environ, "PYTHONPATH": path}
    process = subprocess.Popen(
        [sys.executable, *command[request.param]],
        cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    try:
        wait_until_it_answers(port, process)
        yield port
        process.send_signal(signal.SIGTERM)
        output, _ = process.communicate(timeout=LIMIT)
        assert b"Traceback" not in output, output.decode()
    finally:
        process.kill()
        process.wait()


def test_under_another_server_everything_answers(hosted):
    status, _, body = ask(hosted, "POST", "/predict", {"numbers": [1, 2], "scale": 2})
    assert (status, json.loads(body)["data"]) == (200, [2.0, 4.0])
    assert json.loads(body)["url"] == f"http://127.0.0.1:{hosted}/predict"
    assert ask(hosted, "POST", "/predict", {"numbers": ["x"]})[0] == 422
    status, headers, body = ask(hosted, "POST", "/count", {"until": 3})
    assert (headers["content-type"], body) == ("application/x-ndjson", b"0\n1\n2\n")
    document = {"inputs": [{"name": "numbers", "datatype": "FP64", "shape": [1], "data": [3]}]}
    assert json.loads(ask(hosted, "POST", "/v2/models/many/infer", document)[2])["outputs"][0]["data"] == [3]
    assert ask(hosted, "GET", "/v2/health/ready")[0] == 200
    assert ask(hosted, "GET", "/nothing")[0] == 404
    assert ask(hosted, "GET", "/docs")[0] == 200


class Uvicorn:
    """An application in uvicorn, on a thread of its own."""

    def __init__(self, app):
        self.port = free_port()
        self.server = uvicorn.Server(uvicorn.Config(app, port=self.port, log_level="warning"))
        self.thread = threading.Thread(target=self.server.run)

    def __enter__(self):
        self.thread.start()
        deadline = time.monotonic() + LIMIT
        while not self.server.started:
            assert self.thread.is_alive(), "it did not start"
            assert time.monotonic() < deadline
            time.sleep(0.01)  # uvicorn tells nobody
        return self.port

    def __exit__(self, *exception):
        self.server.should_exit = True
        self.thread.join()


def test_in_another_application_it_answers_under_the_path_it_is_mounted_at():
    models = dragoman.asgi(lesson.TagIfAI)
    app = fastapi.FastAPI(lifespan=models.lifespan)
    app.mount("/models", models)
    with Uvicorn(app) as port:
        status, _, body = ask(port, "POST", "/models/predict", {"texts": [{"text": "an image"}]})
        assert (status, json.loads(body)["url"]) == (200, f"http://127.0.0.1:{port}/models/predict")
        assert ask(port, "GET", "/predict")[0] == 404


def test_mounted_without_its_lifespan_it_loads_with_the_first_request(tmp_path):
    (tmp_path / "mounting.py").write_text(
        "import dragoman, fastapi\napp = fastapi.FastAPI()\n"
        f"app.mount('/m', dragoman.asgi({str(APPS / 'words.py')!r}))\n"
    )
    port = free_port()
    command = [sys.executable, "-m", "uvicorn", "mounting:app", "--port", str(port), "--log-level", "warning"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(tmp_path)])}
    with subprocess.Popen(command, cwd=tmp_path, env=environment) as process:
        try:
            wait_until_it_answers(port, process)
            status, _, body = ask(port, "POST", "/m/predict", {"text": "a b"})
            assert (status, json.loads(body)["data"]) == (200, 2)
        finally:
            process.kill()


def test_a_service_of_functions_is_found_again_in_its_file():
    with Uvicorn(dragoman.asgi(functions.app)) as port:
        assert json.loads(ask(port, "POST", "/tools/triple", {"number": 2})[2]) == 6


def test_an_application_that_can_load_nothing_does_not_start(tmp_path):
    (tmp_path / "broken.py").write_text("import dragoman\n@dragoman.service\nclass B:\n    pass\n")
    app = dragoman.asgi(str(tmp_path / "broken.py"))
    server = uvicorn.Server(uvicorn.Config(app, port=free_port(), log_level="critical"))
    with pytest.raises(SystemExit):
        server.run()
    assert not server.started


def test_a_class_that_is_in_no_file_is_refused():
    made = type("Made", (), {"__module__": "nowhere"})
    with pytest.raises(ConfigError, match="Made is in no file"):
        dragoman.asgi(made)
