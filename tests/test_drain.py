"""SIGTERM: not ready at once, nothing accepted is lost, exit 0; a second signal stops at once."""

import json
import re
import signal
import socket
import subprocess
import sys
import time
from contextlib import ExitStack, closing, contextmanager
from http.client import HTTPConnection

import pytest

MODEL = """
import time

class Slow:
    inputs = {"seconds": ("FP64", [1])}
    outputs = {"slept": ("FP64", [1])}

    def predict(self, seconds):
        time.sleep(seconds[0])
        return {"slept": seconds}
"""


@contextmanager
def server(folder, *flags):
    """The real command, its port, and a way to open what is closed again at the end."""
    (folder / "app.py").write_text(MODEL)
    command = [
        sys.executable,
        "-m",
        "dragoman",
        "serve",
        "app.py:Slow",
        "--port",
        "0",
        "--log-format",
        "json",
        *flags,
    ]
    with ExitStack() as stack:
        log = stack.enter_context((folder / "log").open("w+"))
        process = stack.enter_context(subprocess.Popen(command, cwd=folder, stderr=log))
        stack.callback(process.kill)
        yield process, _port(process, folder / "log"), lambda opened: stack.enter_context(closing(opened))


def _port(process, log):
    while True:
        assert process.poll() is None, log.read_text()
        for line in log.read_text().splitlines():
            if line.endswith("}") and (event := json.loads(line))["event"] == "ready":
                return int(event["url"].rpartition(":")[2])
        time.sleep(0.02)


def ask(connection, seconds):
    body = json.dumps({"inputs": [{"name": "seconds", "shape": [1], "datatype": "FP64", "data": [seconds]}]})
    connection.request("POST", "/v2/models/Slow/infer", body)


def in_flight(port):
    connection = HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("GET", "/metrics")
    text = connection.getresponse().read().decode()
    connection.close()
    waiting = re.search(r"^dragoman_waiting_requests\{.*\} (\S+)$", text, re.MULTILINE)
    running = re.search(r"^dragoman_running_requests\{.*\} (\S+)$", text, re.MULTILINE)
    return float(waiting[1]) + float(running[1])


def until(condition):
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)


def refused(port):
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
    except ConnectionRefusedError:
        return True
    return False


def test_every_accepted_request_is_answered_and_nobody_new_is_let_in(tmp_path):
    with server(tmp_path) as (process, port, keep):
        idle = [keep(socket.create_connection(("127.0.0.1", port))) for _ in range(20)]
        connections = [keep(HTTPConnection("127.0.0.1", port, timeout=30)) for _ in range(8)]
        for connection in connections:
            ask(connection, 0.2)
        until(lambda: in_flight(port) == 8)
        process.send_signal(signal.SIGTERM)
        until(lambda: refused(port))
        answers = [connection.getresponse() for connection in connections]
        assert [answer.status for answer in answers] == [200] * 8
        assert all(answer.read() for answer in answers)
        assert all(answer.getheader("Connection") == "close" for answer in answers)
        assert all(quiet.recv(1) == b"" for quiet in idle)
        assert process.wait(20) == 0


def test_a_kept_connection_sees_that_the_server_is_not_ready(tmp_path):
    with server(tmp_path) as (process, port, keep):
        busy = keep(HTTPConnection("127.0.0.1", port, timeout=30))
        ask(busy, 1.0)
        until(lambda: in_flight(port) == 1)
        probe = keep(socket.create_connection(("127.0.0.1", port)))
        # One segment: when the first answer is here, the server holds the beginning of the second request too.
        probe.sendall(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\nGET /v2/health/ready HTTP/1.1\r\n")
        assert probe.recv(65536).startswith(b"HTTP/1.1 200")
        process.send_signal(signal.SIGTERM)
        until(lambda: refused(port))
        probe.sendall(b"Host: x\r\n\r\n")
        assert probe.recv(65536).startswith(b"HTTP/1.1 400")
        assert busy.getresponse().status == 200
        assert process.wait(20) == 0


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_second_signal_stops_at_once(tmp_path, number, code):
    with server(tmp_path) as (process, port, keep):
        connection = keep(HTTPConnection("127.0.0.1", port, timeout=30))
        ask(connection, 60)
        until(lambda: in_flight(port) == 1)
        process.send_signal(number)
        until(lambda: refused(port))
        process.send_signal(number)
        assert process.wait(10) == code


def test_when_the_grace_is_over_whoever_waits_is_told(tmp_path):
    with server(tmp_path, "--grace", "0.2") as (process, port, keep):
        connection = keep(HTTPConnection("127.0.0.1", port, timeout=30))
        ask(connection, 3)
        until(lambda: in_flight(port) == 1)
        process.send_signal(signal.SIGTERM)
        answer = connection.getresponse()
        assert answer.status == 503
        assert answer.getheader("Retry-After")
        assert process.wait(20) == 0
