import json
import os
import pty
import select
import signal
import socket
import subprocess
import threading
import time

from dragoman.cli.banner import curl
from tests.cli.running import DRAGOMAN, LIMIT, SUM, Server, dragoman, environment, question


def test_a_server_answers_and_a_signal_ends_it_with_zero(folder):
    with Server(folder, "app.py:Sum") as server:
        status, body = server.ask("POST", "/v2/models/Sum/infer", SUM)
        assert (status, json.loads(body)["outputs"][0]["data"]) == (200, [4, 6])
        assert server.stop(signal.SIGTERM) == 0


def test_ctrl_c_ends_it_with_zero_too(folder):
    with Server(folder, "app.py:Sum") as server:
        assert server.stop(signal.SIGINT) == 0


def test_a_module_in_the_working_directory_can_be_served(server):
    assert server.ask("GET", "/v2/models/Double/ready")[0] == 200


def test_an_accepted_request_is_answered_after_sigterm(folder):
    with Server(folder, "app.py:Slow") as server:
        answers = []
        asking = threading.Thread(
            target=lambda: answers.append(server.ask("POST", "/v2/models/Slow/infer", _slow(0.5)))
        )
        asking.start()
        _wait_until_running(server)
        assert server.stop() == 0
        asking.join()
        assert answers[0][0] == 200


def test_a_second_signal_stops_at_once_and_names_itself(folder):
    with Server(folder, "app.py:Slow") as server:
        connection = server.connect()
        connection.request("POST", "/v2/models/Slow/infer", json.dumps(_slow(60)))
        _wait_until_running(server)
        server.process.send_signal(signal.SIGTERM)
        server.wait_for("stopping: every accepted request is answered first")
        assert server.stop(signal.SIGTERM) == 128 + signal.SIGTERM
        connection.close()


def test_a_port_that_is_taken_is_a_configuration_error_on_one_line(folder):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = dragoman("serve", "app.py:Sum", "--port", str(port), cwd=folder)
    assert done.returncode == 78
    error, hint = done.stderr.splitlines()
    assert error == f"error: can't listen on 127.0.0.1 port {port}: Address already in use"
    assert hint.startswith("hint: ")


def test_without_a_target_it_says_what_to_write(folder):
    done = dragoman("serve", cwd=folder)
    assert (done.returncode, done.stderr.splitlines()[0]) == (2, "error: serve what?")
    (folder / "models").mkdir()
    assert dragoman("serve", cwd=folder).stderr.endswith("hint: dragoman serve models/\n")


def test_an_unknown_flag_is_a_usage_error(folder):
    assert dragoman("serve", "app.py:Sum", "--prot", "1", cwd=folder).returncode == 2


def test_what_makes_no_sense_is_a_configuration_error(folder):
    for arguments, words in (
        (["app.py:Sum", "--port", "none"], "(flag --port)"),
        (["app.py:Sum", "--config", "nothing.toml"], "can't read file nothing.toml"),
        (["app.py:Sum", "--tls-cert", "c.pem"], "needs server.tls_key"),
        (["app.py:Sum", "--tls-client-ca", "ca.pem"], "server.tls_client_ca needs server.tls_cert"),
        (
            ["app.py:Sum", "--restrict", "health"],
            "a restriction can't be read: expected operations:key=value",
        ),
        (["app.py:Sum", "--restrict", "health:a=b;health:c=d"], "health is restricted twice"),
        (["app.py:Sum", "--restrict", "hearing:a=b"], "unknown operation 'hearing', known: health, "),
        (["ap.py"], "there is no file or folder 'ap.py'"),
    ):
        done = dragoman("serve", *arguments, cwd=folder)
        assert done.returncode == 78, done.stderr
        assert done.stderr.startswith("error: ")
        assert words in done.stderr
        assert len(done.stderr.splitlines()) <= 2


def test_if_every_model_fails_the_server_fails_with_the_reasons(folder):
    done = dragoman("serve", "app.py:Broken", "--port", "0", cwd=folder)
    assert done.returncode == 1
    assert "error: no model could be loaded" in done.stderr
    assert "no weights" in done.stderr.splitlines()[-1]


def test_if_one_model_fails_the_others_are_served_and_it_is_told(server):
    event = server.wait_for("some models failed, not ready")
    assert (event["failed"], event["models"], event["level"]) == (["Broken"], 3, "warning")
    assert server.ask("POST", "/v2/models/Sum/infer", SUM)[0] == 200
    assert server.ask("GET", "/readyz")[0] == 503


def test_strict_fails_if_one_model_fails(folder):
    done = dragoman("serve", "app.py:Sum", "app.py:Broken", "--strict", "--port", "0", cwd=folder)
    assert done.returncode == 1
    assert "error: not every model could be loaded\n  Broken: " in done.stderr


def test_flags_reach_the_server(folder):
    with Server(folder, "app.py:Sum", "--max-batch", "7", "--access-log", "--host", "localhost") as server:
        assert server.url.startswith("http://localhost:")
        assert json.loads(server.ask("GET", "/v2/models/Sum/config")[1])["max_batch_size"] == 7
        assert server.wait_for("request")["path"] == "/v2/models/Sum/config"


def test_on_a_terminal_people_see_the_address_the_models_and_a_line_to_copy(folder):
    screen = _on_a_terminal(folder, environment())
    assert "Dragoman" in screen
    assert "\x1b[32mREADY" in screen
    assert "FAILED" in screen
    assert "no weights" in screen
    assert "\ncurl http://127.0.0.1:" in screen.replace("\r", "")


def test_no_color_is_honoured(folder):
    assert "\x1b[3" not in _on_a_terminal(folder, environment(NO_COLOR="1"))


def test_the_line_to_copy_fits_the_first_ready_model():
    model = {"name": "m", "state": "READY", "inputs": [["x", "FP32", [-1, 2]], ["t", "BYTES", [1]]]}
    failed = {"name": "f", "state": "FAILED", "inputs": []}
    line = curl("http://h:1", [failed, model])
    address, _, body = line.partition(" -d ")
    assert address == "curl http://h:1/v2/models/m/infer"
    assert json.loads(body.strip("'")) == {
        "inputs": [
            {"name": "x", "datatype": "FP32", "shape": [1, 2], "data": [0.0, 0.0]},
            {"name": "t", "datatype": "BYTES", "shape": [1], "data": ["text"]},
        ]
    }
    large = {"name": "m", "state": "READY", "inputs": [["x", "FP32", [224, 224]]]}
    assert curl("http://h:1", [large]) == "curl http://h:1/v2/models/m"
    assert curl("http://h:1", [failed]) == ""


def _slow(seconds: float) -> dict:
    return question(("seconds", [1], [seconds]))


def _wait_until_running(server: Server) -> None:
    deadline = time.monotonic() + LIMIT
    while time.monotonic() < deadline:
        if b'dragoman_running_requests{model="Slow",version="1"} 1.0' in server.ask("GET", "/metrics")[1]:
            return
        time.sleep(0.02)
    raise AssertionError("the request never ran")


def _on_a_terminal(folder, environ) -> str:
    """What a person sees until the server is ready and stopped."""
    ours, theirs = pty.openpty()
    command = [*DRAGOMAN, "serve", "app.py:Sum", "app.py:Broken", "--port", "0"]
    environ = {**environ, "TERM": "xterm"}
    with subprocess.Popen(
        command, cwd=folder, env=environ, stdin=theirs, stdout=theirs, stderr=theirs
    ) as process:
        os.close(theirs)
        seen, told = b"", False
        while select.select([ours], [], [], LIMIT)[0]:
            try:
                seen += os.read(ours, 65_536)
            except OSError:  # the other end is closed
                break
            if b"not ready" in seen and not told:
                told = True
                process.send_signal(signal.SIGINT)
        os.close(ours)
        assert process.wait(LIMIT) == 0
    return seen.decode()


MODEL = """
class Model:
    inputs = {"x": ("FP32", [1])}
    outputs = {"x": ("FP32", [1])}

    def predict(self, x):
        return x
"""


def test_models_are_loaded_when_clients_ask_for_them(folder):
    for name in ("one", "two"):
        (folder / "models" / name / "1").mkdir(parents=True)
        (folder / "models" / name / "1" / "model.py").write_text(MODEL)
    with Server(folder, "models", "--control", "explicit", "--load-model", "one") as server:
        states = [
            (entry["name"], entry.get("state"))
            for entry in json.loads(server.ask("POST", "/v2/repository/index")[1])
        ]
        assert states == [("one", "READY"), ("two", None)]
        assert server.ask("POST", "/v2/repository/models/two/load")[0] == 200
        assert server.ask("GET", "/v2/models/two/ready")[0] == 200


def test_models_that_come_into_an_empty_folder_are_served(folder):
    (folder / "models").mkdir()
    with Server(folder, "models", "--control", "poll", "--poll-interval", "100ms") as server:
        assert server.ask("GET", "/v2/health/ready")[0] == 200
        (folder / "models" / "new").mkdir()
        (folder / "models" / "new" / "model.py").write_text(MODEL)
        server.wait_for("model ready")
        assert server.ask("GET", "/v2/models/new/ready")[0] == 200
