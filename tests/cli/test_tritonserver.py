"""``dragoman tritonserver`` as a process: its ports, its clients, its restrictions, its end."""

import contextlib
import json
import signal
import subprocess
import time
from http.client import HTTPConnection
from urllib.parse import urlsplit

import numpy as np
import pytest
import tritonclient.http
from tritonclient.utils import InferenceServerException

from tests.cli.running import DRAGOMAN, LIMIT, dragoman, environment
from tests.clients.pools import triton
from tests.transport.authority import Authority

MODEL = """
import numpy as np


class Add:
    inputs = {"INPUT0": ("FP32", [-1]), "INPUT1": ("FP32", [-1])}
    outputs = {"OUTPUT0": ("FP32", [-1])}

    def predict(self, INPUT0, INPUT1):
        return {"OUTPUT0": INPUT0 + INPUT1}
"""
FREE = ("--http-port=0", "--grpc-port=0", "--metrics-port=0")


class TritonServer:
    """``dragoman tritonserver`` on free ports."""

    def __init__(self, folder, *flags, ready="ready"):
        self._log = folder / f"log-{time.monotonic_ns()}"
        command = [*DRAGOMAN, "tritonserver", "--model-repository=models", *FREE, *map(str, flags)]
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(command, cwd=folder, env=environment(), stderr=log)
        try:
            self.ready = self.wait_for(ready)
        except BaseException:
            self.process.kill()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.process.kill()
        self.process.wait(LIMIT)

    @property
    def events(self):
        lines = self._log.read_text().splitlines()
        return [json.loads(line) for line in lines if line.startswith("{") and line.endswith("}")]

    def wait_for(self, name):
        deadline = time.monotonic() + LIMIT
        while time.monotonic() < deadline:
            for event in self.events:
                if event["event"] == name:
                    return event
            assert self.process.poll() is None, self._log.read_text()
            time.sleep(0.02)
        raise AssertionError(self._log.read_text())

    @property
    def http(self):
        return urlsplit(self.ready["url"]).netloc

    def get(self, url, path="", headers=None):
        parts = urlsplit(url)
        connection = HTTPConnection(parts.netloc, timeout=LIMIT)
        with contextlib.closing(connection):
            connection.request("GET", path or parts.path, headers=headers or {})
            answer = connection.getresponse()
            return answer.status, answer.read()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("triton")
    (folder / "models" / "add").mkdir(parents=True)
    (folder / "models" / "add" / "model.py").write_text(MODEL)
    return folder


@pytest.fixture(scope="module")
def server(folder):
    flags = ("--trace-config=rate=1", "--http-thread-count=2", "--grpc-infer-response-compression-level=high")
    with TritonServer(folder, *flags) as server:
        yield server


@pytest.fixture(scope="module")
def restricted(folder):
    flags = (
        "--http-restricted-api=health,inference:infer-key=secret",
        "--http-restricted-api=statistics,model-repository:admin-key=secret",
        "--grpc-restricted-protocol=health,model-repository:admin-key=secret",
    )
    with TritonServer(folder, *flags) as server:
        yield server


def infer(client, library, **more):
    inputs = [library.InferInput(name, [2], "FP32") for name in ("INPUT0", "INPUT1")]
    for each in inputs:
        each.set_data_from_numpy(np.array([1, 2], np.float32))
    return client.infer("add", inputs, **more).as_numpy("OUTPUT0").tolist()


def test_triton_s_clients_are_answered_on_both_ports(server):
    with contextlib.closing(tritonclient.http.InferenceServerClient(server.http)) as client:
        assert client.is_server_ready()
        assert infer(client, tritonclient.http) == [2, 4]
    with contextlib.closing(triton.InferenceServerClient(server.ready["grpc"])) as client:
        assert client.is_model_ready("add")
        assert infer(client, triton, compression_algorithm="gzip") == [2, 4]


def test_metrics_have_a_port_of_their_own(server):
    url = server.wait_for("listening for metrics")["url"]
    status, body = server.get(url)
    assert status == 200
    assert b"dragoman_" in body
    assert server.get(server.ready["url"], "/metrics")[0] == 404
    assert server.get(url, "/v2")[0] == 404


def test_rest_has_the_protocol_and_nothing_of_other_dialects(server):
    assert server.get(server.ready["url"], "/v2/models/add")[0] == 200
    for path in ("/", "/v1/models", "/ping", "/predictions/add", "/crashes"):
        assert server.get(server.ready["url"], path)[0] == 404


def test_flags_that_do_nothing_are_told_of_in_one_line_each(server):
    lines = [(event["level"], event["event"]) for event in server.events if event["event"].startswith("--")]
    assert lines == [
        ("warning", "--trace-config is not in this version: requests are not traced"),
        ("info", "--http-thread-count is without meaning here: one event loop carries every connection"),
    ]


RECORDED = [
    ("/v2/health/live", {}, "infer-key"),
    ("/v2/health/live", {"infer-key": "wrong"}, "infer-key"),
    ("/v2/health/live", {"infer-key": "secret"}, ""),
    ("/v2/models/add/ready", {}, "infer-key"),
    ("/v2/models/add/ready", {"Infer-Key": "secret"}, ""),
    ("/v2", {}, ""),
]


@pytest.mark.parametrize(("path", "headers", "lacking"), RECORDED)
def test_restricted_apis_are_refused_in_triton_s_words(restricted, path, headers, lacking):
    status, body = restricted.get(restricted.ready["url"], path, headers)
    if lacking:
        assert status == 403
        assert body == f'{{"error":"This API is restricted, expecting header \'{lacking}\'"}}'.encode()
    else:
        assert status == 200


def test_restricted_protocols_are_refused_in_triton_s_words(restricted):
    key = {"triton-grpc-protocol-admin-key": "secret"}
    with contextlib.closing(triton.InferenceServerClient(restricted.ready["grpc"])) as client:
        for ask in (client.is_server_live, client.get_model_repository_index):
            for headers in (None, {"triton-grpc-protocol-admin-key": "x"}, {"admin-key": "secret"}):
                with pytest.raises(InferenceServerException) as caught:
                    ask(headers=headers)
                assert caught.value.status() == "StatusCode.UNAVAILABLE"
                assert caught.value.message() == (
                    "This protocol is restricted, expecting header 'triton-grpc-protocol-admin-key'"
                )
            assert ask(headers=key)
        assert infer(client, triton) == [2, 4]


def test_the_secrets_of_restrictions_are_in_no_line_of_the_log(restricted):
    assert "secret" not in json.dumps(restricted.events)


def test_ports_may_be_left_out(folder):
    with TritonServer(folder, "--allow-http=false", "--allow-metrics=false") as server:
        assert server.ready["url"] == ""
        names = [event["event"] for event in server.events]
        assert "listening" not in names
        assert "listening for metrics" not in names
        with contextlib.closing(triton.InferenceServerClient(server.ready["grpc"])) as client:
            assert infer(client, triton) == [2, 4]
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(LIMIT) == 0
    with TritonServer(folder, "--allow-grpc=false") as server:
        assert "grpc" not in server.ready
        assert server.get(server.ready["url"], "/v2/health/ready")[0] == 200


def test_grpc_alone_has_tls(folder, tmp_path):
    authority = Authority(tmp_path, "authority")
    cert, key = authority.sign("server")
    mine = authority.sign("client")
    flags = (f"--grpc-server-cert={cert}", f"--grpc-server-key={key}", f"--grpc-root-cert={authority.cert}")
    with TritonServer(folder, "--grpc-use-ssl-mutual=true", *flags) as server:
        assert server.ready["url"].startswith("http://")
        files = {
            "root_certificates": str(authority.cert),
            "private_key": str(mine.key),
            "certificate_chain": str(mine.cert),
        }
        client = triton.InferenceServerClient(server.ready["grpc"], ssl=True, **files)
        with contextlib.closing(client):
            assert infer(client, triton) == [2, 4]


def test_explicit_mode_loads_what_is_named(folder):
    with TritonServer(folder, "--model-control-mode=explicit") as server:
        assert server.ready["models"] == 0
    with TritonServer(folder, "--model-control-mode=explicit", "--load-model=add") as server:
        assert server.ready["models"] == 1
    done = dragoman(
        "tritonserver",
        "--model-repository=models",
        "--model-control-mode=explicit",
        "--load-model=b",
        cwd=folder,
    )
    assert (done.returncode, done.stderr) == (78, "error: --load-model: no repository has a model 'b'\n")


def test_what_can_not_be_is_told_on_one_line(folder):
    for flags, code, words in (
        ((), 78, "error: serve what?\nhint: --model-repository names a folder of models\n"),
        (("--http-prot=1",), 2, "unrecognized arguments: --http-prot=1"),
        (("--model-repository=nowhere",), 78, "nowhere"),
    ):
        done = dragoman("tritonserver", *flags, cwd=folder)
        assert done.returncode == code, done.stderr
        assert words in done.stderr


BROKEN = """
class Broken:
    def load(self):
        raise OSError("no weights")

    def predict(self, x):
        return x
"""


def test_a_model_that_fails_ends_it_unless_that_is_no_error(folder, tmp_path):
    (tmp_path / "models" / "broken").mkdir(parents=True)
    (tmp_path / "models" / "broken" / "model.py").write_text(BROKEN)
    (tmp_path / "models" / "add").symlink_to(folder / "models" / "add")
    done = dragoman("tritonserver", "--model-repository=models", *FREE, cwd=tmp_path)
    assert done.returncode == 1
    assert "no weights" in done.stderr
    with TritonServer(tmp_path, "--exit-on-error=false", ready="some models failed, not ready") as server:
        assert server.get(server.ready["url"], "/v2/models/add/ready")[0] == 200
        assert server.get(server.ready["url"], "/v2/health/ready")[0] == 400
