"""Several processes of one program behave as one server."""

import re
import signal
import time
from contextlib import suppress
from http.client import HTTPConnection

import grpc
import psutil
import pytest

from dragoman.protocols.kserve_v2.messages import SERVICE, message
from tests.program import PATIENCE, Program

MODELS = {"addsub", "errors", "hdrs", "identity", "iris", "notready", "stream"}


@pytest.fixture(scope="module")
def program():
    with Program("zoo.py", "--workers", "2") as program:
        yield program


def ask(program, method, path, body=None):
    """One request on a connection of its own: any of the processes may answer it."""
    connection = HTTPConnection("127.0.0.1", program.port, timeout=PATIENCE)
    try:
        connection.request(method, path, body)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def workers(program):
    found = []
    for child in psutil.Process(program.process.pid).children(recursive=True):
        with suppress(psutil.Error):  # it has just ended
            if any(part.endswith("zoo.py") for part in child.cmdline()):
                found.append(child)
    return found


def until(condition):
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "it did not come true"
        time.sleep(0.05)


def test_every_process_serves_and_what_one_loads_all_have(program):
    assert len(workers(program)) == 2
    assert ask(program, "POST", "/v2/repository/models/iris2/load")[0] == 200
    assert {ask(program, "GET", "/v2/models/iris2/ready")[0] for _ in range(40)} == {200}
    assert ask(program, "POST", "/v2/repository/models/iris2/unload")[0] == 200
    assert {ask(program, "GET", "/v2/models/iris2/ready")[0] for _ in range(40)} == {400}


def test_numbers_are_those_of_all_processes(program):
    for _ in range(20):
        assert ask(program, "POST", "/v1/models/stream:predict", '{"instances": [1]}')[0] == 200
    for _ in range(6):
        text = ask(program, "GET", "/metrics")[1]
        counted = re.findall(r'^dragoman_requests_total\{.*model="stream".*\} (\S+)$', text, re.MULTILINE)
        assert sum(map(float, counted)) == 20
        (hooks,) = re.findall(
            r'^request_predict_seconds_count\{model_name="stream"\} (\S+)$', text, re.MULTILINE
        )
        assert float(hooks) == 20


def test_calls_are_answered_by_every_process(program):
    for _ in range(8):
        with grpc.insecure_channel(program.grpc, [("grpc.use_local_subchannel_pool", 1)]) as channel:
            live = channel.unary_unary(
                f"/{SERVICE}/ServerLive",
                request_serializer=lambda m: m.SerializeToString(),
                response_deserializer=message("ServerLiveResponse").FromString,
            )
            assert live(message("ServerLiveRequest")(), timeout=PATIENCE).live


def test_a_process_that_takes_the_place_of_a_dead_one_has_what_clients_have_loaded():
    with Program("zoo.py", "--workers", "2") as program:
        assert ask(program, "POST", "/v2/repository/models/iris2/load")[0] == 200
        before = {worker.pid for worker in workers(program)}
        workers(program)[0].send_signal(signal.SIGKILL)
        until(lambda: len({worker.pid for worker in workers(program)} - before) == 1)
        program.wait_for("a new server process serves")
        assert {ask(program, "GET", "/v2/models/iris2/ready")[0] for _ in range(40)} == {200}


def test_what_only_some_processes_can_do_is_told(program):
    status, text = ask(program, "POST", "/v2/repository/models/broken/load")
    assert status == 503
    assert "cannot read artefact" in text
    assert set(re.findall(r'"(\w+)"', ask(program, "GET", "/v1/models")[1])) >= MODELS
