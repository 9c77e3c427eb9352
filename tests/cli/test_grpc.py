"""``dragoman serve`` over gRPC: where it is, that it can be left out, and that a signal loses nothing."""

import contextlib
import http.client
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from urllib.parse import urlsplit

import grpc
import numpy as np
import pytest
from tritonclient.utils import InferenceServerException

from tests.cli.running import LIMIT, SUM, Server, dragoman, environment
from tests.clients.pools import triton
from tests.transport.authority import Authority

WITHOUT = "import sys\nsys.modules['grpc'] = None\nfrom dragoman.cli import main\nmain()"


def infer(address, model, files=None, **arrays):
    inputs = []
    for name, values in arrays.items():
        array = np.array(values, np.float32)
        inputs.append(triton.InferInput(name, array.shape, "FP32"))
        inputs[-1].set_data_from_numpy(array)
    secured = (
        {}
        if files is None
        else dict(zip(("root_certificates", "private_key", "certificate_chain"), files, strict=True))
    )
    client = triton.InferenceServerClient(address, ssl=files is not None, **secured)
    with contextlib.closing(client):
        return client.infer(model, inputs, client_timeout=LIMIT)


def test_the_ready_line_tells_where_grpc_is(server):
    ready = server.wait_for("some models failed, not ready")
    assert ready["grpc"] == server.wait_for("listening for gRPC")["grpc"]
    assert infer(ready["grpc"], "Sum", a=[[1, 2]], b=[[3, 4]]).as_numpy("sum").tolist() == [[4, 6]]


@contextlib.contextmanager
def port_after_a_free_one():
    """A port that is taken, while the one before it is not."""
    for _ in range(100):
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            try:
                socket.create_server(("127.0.0.1", port - 1)).close()
            except OSError:
                continue
            yield port
            return
    raise AssertionError("no port is free")


def test_it_is_on_the_next_port_unless_another_is_said(folder):
    with port_after_a_free_one() as port:
        done = dragoman("serve", "app.py:Sum", "--port", str(port - 1), cwd=folder)
        assert (done.returncode, done.stderr.splitlines()[-1]) == (
            78,
            "hint: choose another with --grpc-port, or 0 for any free one",
        )
        assert f"error: can't listen on 127.0.0.1 port {port}: Address already in use" in done.stderr


def test_it_can_be_left_out(folder):
    with Server(folder, "app.py:Sum", "--no-grpc") as server:
        assert "grpc" not in server.wait_for("ready")
        assert server.ask("POST", "/v2/models/Sum/infer", SUM)[0] == 200
    assert "gRPC" not in server.log


def test_without_the_extra_it_is_left_out_and_the_log_says_so(folder):
    command = [sys.executable, "-c", WITHOUT, "serve", "app.py:Sum", "--port", "0"]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, cwd=folder, env=environment(), stderr=log)
    try:
        deadline = time.monotonic() + LIMIT
        while '"event": "ready"' not in (text := (folder / "log").read_text()):
            assert process.poll() is None, text
            assert time.monotonic() < deadline
            time.sleep(0.05)
    finally:
        process.terminate()
        assert process.wait(LIMIT) == 0
    assert "gRPC is not served: it needs pip install 'dragoman[grpc]'" in text
    assert '"grpc"' not in text.splitlines()[-1]


def test_several_processes_share_its_port(folder):
    with Server(folder, "app.py:Pid", "--processes", "2") as server:
        address = server.wait_for("ready")["grpc"]
        deadline = time.monotonic() + LIMIT
        pids = set()
        while len(pids) < 2:
            assert time.monotonic() < deadline
            pids.add(int(infer(address, "Pid", x=[1]).as_numpy("pid")[0]))
        assert server.stop() == 0


def test_certificates_are_for_both_ports(folder, tmp_path_factory):
    authority = Authority(tmp_path_factory.mktemp("tls"), "authority")
    pair, mine = authority.sign("server"), authority.sign("client")
    flags = ("--tls-cert", pair.cert, "--tls-key", pair.key, "--tls-client-ca", authority.cert)
    with Server(folder, "app.py:Sum", *flags) as server:
        assert server.url.startswith("https://127.0.0.1:")
        context = ssl.create_default_context(cafile=authority.cert)
        address = server.wait_for("ready")["grpc"]
        with pytest.raises((ssl.SSLError, ConnectionError)):
            ask(server.url, context)
        with pytest.raises(InferenceServerException, match="UNAVAILABLE"):
            infer(address, "Sum", (str(authority.cert), None, None), a=[[1, 2]], b=[[3, 4]])
        context.load_cert_chain(*mine)
        assert ask(server.url, context) == 200
        files = (str(authority.cert), str(mine.key), str(mine.cert))
        assert infer(address, "Sum", files, a=[[1, 2]], b=[[3, 4]]).as_numpy("sum").tolist() == [[4, 6]]


def ask(url, context):
    connection = http.client.HTTPSConnection(urlsplit(url).netloc, timeout=LIMIT, context=context)
    with contextlib.closing(connection):
        connection.request("GET", "/v2/models/Sum/ready")
        return connection.getresponse().status


@pytest.mark.parametrize("processes", ["1", "2"])
def test_a_call_is_answered_after_sigterm(folder, processes):
    with Server(folder, "app.py:Slow", "--processes", processes) as server:
        address = server.wait_for("ready")["grpc"]
        answers = []
        asking = threading.Thread(
            target=lambda: answers.append(infer(address, "Slow", seconds=[1]).as_numpy("seconds").tolist())
        )
        asking.start()
        time.sleep(0.5)
        assert server.stop(signal.SIGTERM) == 0
        asking.join()
        assert answers == [[1]]


def test_the_standard_health_service_tells_that_it_stops(folder):
    with Server(folder, "app.py:Slow") as server:
        address = server.wait_for("ready")["grpc"]
        with grpc.insecure_channel(address) as channel:
            watch = channel.unary_stream("/grpc.health.v1.Health/Watch")(b"", timeout=LIMIT)
            states = [next(watch)]
            server.process.send_signal(signal.SIGTERM)
            with contextlib.suppress(grpc.RpcError):
                states.extend(watch)
        assert states[0] == b"\x08\x01"
        assert states[1:2] in ([], [b"\x08\x02"])
        assert server.process.wait(LIMIT) == 0
