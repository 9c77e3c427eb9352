"""What takes time or more than one request: streams, queues, limits, deaths and keys, at live servers."""

import gzip
import http.client
import json
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests

from dragoman.profiles.torchserve.doors import Doors
from dragoman.profiles.torchserve.tokens import Tokens
from dragoman.protocols.torchserve import Http, Options
from dragoman.testing import TestClient
from tests.conformance.torchserve import handlers
from tests.conformance.torchserve.conftest import Profile, profile

Answer = tuple[int, dict[str, str], bytes]


def ask(server: Profile, path: str, body: bytes = b"", headers: dict[str, str] | None = None) -> Answer:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    try:
        connection.request("POST", path, body, headers or {})
        answer = connection.getresponse()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
    finally:
        connection.close()


def failure(answer: Answer) -> tuple[int, str, str]:
    document = json.loads(answer[2])
    assert document["code"] == answer[0]
    return answer[0], document["type"], document["message"]


def raw(server: Profile, request: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", server.port), 30) as connection:
        connection.sendall(request)
        received = b""
        try:
            while piece := connection.recv(65536):
                received += piece
        except ConnectionResetError:
            pass
        return received


def test_a_stream_comes_in_chunks_as_it_is_made(several: Profile) -> None:
    # row: ts-stream-next
    received = raw(
        several,
        b"POST /predictions/stream HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 3\r\n\r\nfoo",
    )
    head, _, body = received.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 \r\n")
    assert b"Transfer-Encoding: chunked" in head
    assert b"ts_stream_next" not in head
    assert body == b"6\r\nhello \r\n" * 3 + b"c\r\nhello world \r\n0\r\n\r\n"


def test_requests_reads_a_stream_piece_by_piece(several: Profile) -> None:
    url = f"http://127.0.0.1:{several.port}/predictions/stream"
    with requests.post(url, data=b"foo", stream=True, timeout=30) as answer:
        assert answer.headers["Transfer-Encoding"] == "chunked"
        pieces = [piece.decode() for piece in answer.iter_content(chunk_size=None) if piece]
    assert "".join(pieces) == "hello hello hello hello world "


def test_to_http_1_0_a_stream_is_not_chunked(several: Profile) -> None:
    # row: http-1-0-streams
    received = raw(several, b"POST /predictions/stream HTTP/1.0\r\nContent-Length: 3\r\n\r\nfoo")
    assert received.endswith(b"\r\n\r\nhello hello hello hello world ")


def test_a_stream_that_fails_is_cut_off(several: Profile) -> None:
    # row: streams-that-fail
    received = raw(several, b"POST /predictions/stream HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nfail")
    assert received.startswith(b"HTTP/1.1 200 ")
    assert not received.endswith(b"0\r\n\r\n")
    assert ask(several, "/predictions/stream", b"foo")[0] == 200


def test_a_full_queue_is_told_at_once_and_when_to_come_back(several: Profile) -> None:
    # row: retry-503
    with ThreadPoolExecutor(3) as pool:
        accepted = [pool.submit(ask, several, "/predictions/slow", b"0.3") for _ in range(3)]
        until(lambda: waiting(several, "slow") == 2)
        refused = ask(several, "/predictions/slow", b"0")
        assert failure(refused)[:2] == (503, "ServiceUnavailableException")
        assert failure(refused)[2] == (
            'Model "slow" has no worker to serve inference request. Please use scale workers API to add workers. If'
            " this is a sequence inference, please check if it is closed, or expired; or exceeds"
            " maxSequenceJobQueueSize"
        )
        assert int(refused[1]["retry-after"]) >= 1
        assert [answer.result()[0] for answer in accepted] == [200, 200, 200]


def test_a_client_whose_time_is_up_is_told(several: Profile) -> None:
    # row: time-is-up
    assert failure(ask(several, "/predictions/limited", b"1.5"))[:2] == (504, "RequestTimeoutException")


def test_requests_of_one_moment_are_one_batch(several: Profile) -> None:
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: ask(several, "/predictions/batch", b"0.01"), range(4)))
    seen = sorted((json.loads(body)["place"], json.loads(body)["together"]) for _, _, body in answers)
    assert seen == [(place, 4) for place in range(4)]


def test_a_worker_that_dies_takes_only_its_request_along(several: Profile) -> None:
    # row: worker-died
    for end in (b"exit", b"killed"):
        dead = ask(several, "/predictions/ret", end)
        assert failure(dead)[:2] == (500, "InternalServerException")
        assert failure(dead)[2].startswith("Worker died.")
        assert ask(several, "/predictions/ret", b"str")[2] == b"plain string"


def test_a_handler_may_say_that_a_body_is_too_large(several: Profile) -> None:
    # row: handlers-413
    assert failure(ask(several, "/predictions/ret", b"too large")) == (
        413,
        "InternalServerException",
        "bring less",
    )


def test_a_handler_can_not_add_headers_by_a_line_break(several: Profile) -> None:
    # row: handler-heads
    answer = ask(several, "/predictions/ret", b"line break")
    assert failure(answer)[:2] == (500, "InternalServerException")
    assert "x-yours" not in answer[1]


def test_a_failing_handler_tells_strangers_nothing(several: Profile) -> None:
    assert b"secret" not in ask(several, "/predictions/ret", b"raise")[2]


def test_errors_leave_the_connection_open(alone: Profile) -> None:
    # row: keep-alive
    connection = http.client.HTTPConnection("127.0.0.1", alone.port, timeout=30)
    for _ in range(2):
        connection.request("POST", "/predictions/none", b"x")
        answer = connection.getresponse()
        assert (answer.status, answer.will_close) == (404, False)
        answer.read()
    connection.close()


def test_a_body_over_the_limit_is_told_so(alone: Profile) -> None:
    # row: transport-errors
    most = alone.client.app.settings.limits.body_bytes
    received = raw(
        alone, b"POST /predictions/echo HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % (most + 1)
    )
    assert received.startswith(b"HTTP/1.1 413 ")


def test_a_compressed_body_reaches_the_handler_inflated(alone: Profile) -> None:
    # row: compressed-bodies
    body = gzip.compress(b"hello")
    seen = json.loads(ask(alone, "/predictions/echo", body, {"Content-Encoding": "gzip"})[2])
    assert seen["inputs"] == {"body": "bytearray hello"}
    assert "Content-Encoding" not in seen["headers"]
    assert seen["headers"]["Content-Length"] == "5"


def test_chunks_reach_the_handler_as_one_body(alone: Profile) -> None:
    received = raw(
        alone,
        b"POST /predictions/echo HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n",
    )
    seen = json.loads(received.partition(b"\r\n\r\n")[2])
    assert seen["inputs"] == {"body": "bytearray hello"}
    assert seen["headers"]["content-length"] == "5"
    assert "Transfer-Encoding" not in seen["headers"]


def test_options_of_the_whole_server_are_told(alone: Profile) -> None:
    # row: options-star
    assert raw(alone, b"OPTIONS * HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").startswith(
        b"HTTP/1.1 204 "
    )


def test_requests_and_curl_send_forms_and_files(alone: Profile, tmp_path: Any) -> None:
    url = f"http://127.0.0.1:{alone.port}/predictions/echo"
    image = tmp_path / "cat.jpg"
    image.write_bytes(b"\xff\xd8 a cat")
    wanted = "bytearray \ufffd\ufffd a cat"

    def curl(*options: str) -> Any:
        command = ["curl", "-sS", "--fail", *options, url]
        return json.loads(subprocess.run(command, capture_output=True, check=True, timeout=30).stdout)

    sent = requests.post(
        url, files={"data": ("cat.jpg", image.read_bytes()), "note": (None, "hi")}, timeout=30
    ).json()
    assert sent["inputs"] == {"data": wanted, "note": "bytearray hi"}
    assert requests.post(url, data=image.read_bytes(), timeout=30).json()["inputs"] == {"body": wanted}
    assert requests.post(url, data={"a": "1"}, timeout=30).json()["inputs"] == {"a": "bytearray 1"}
    assert requests.post(url, json={"a": 1}, timeout=30).json()["inputs"] == {"body": 'dict {"a": 1}'}
    assert curl("-T", str(image))["inputs"] == {"body": wanted}
    formed = curl("-F", f"data=@{image}", "-F", "note=hi")
    assert formed["inputs"] == {"data": wanted, "note": "bytearray hi"}
    assert formed["headers"]["data"] == {"content-type": "image/jpeg"}
    assert curl("-F", f"data=@{image}", "-F", "data=last")["inputs"] == {"data": "bytearray last"}
    assert curl("-d", '{"a": 1}')["inputs"] == {'{"a": 1}': "bytearray "}  # curl calls it a form
    assert curl("-H", "Content-Type: application/json", "-d", '{"a": 1}')["inputs"] == {
        "body": 'dict {"a": 1}'
    }


Keys = dict[str, dict[str, str]]


@pytest.fixture(scope="module")
def key_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("keys") / "key_file.json"


@pytest.fixture(scope="module")
def keys(guarded: Profile, key_file: Path) -> Keys:
    found: Keys = json.loads(key_file.read_text())
    return found


@pytest.fixture(scope="module")
def guarded(archives: Callable[..., str], key_file: Path) -> Iterator[Profile]:
    """A server with TorchServe's keys and CORS headers."""
    options = Options(
        cors_allowed_origin="https://yourdomain.com",
        cors_allowed_methods="GET, POST, PUT, OPTIONS",
        cors_allowed_headers="X-Custom-Header",
    )
    tokens = Tokens(key_file, 60)
    tokens.write()
    with TestClient(archives("guarded", handlers.ECHO)) as client:
        doors = Doors(client.app.engine, tokens)
        with profile(client, options, doors.authorize) as server:
            yield server


@pytest.mark.parametrize(
    "header", [None, "Bearer wrong", "bearer {inference}", "{inference}", "Bearer {management}"]
)
@pytest.mark.parametrize(
    "path", ["/ping", "/predictions/guarded", "/predictions/none", "/explanations/guarded", "/none"]
)
def test_a_wrong_key_opens_nothing(guarded: Profile, keys: Keys, path: str, header: str | None) -> None:
    headers = {}
    if header is not None:
        inference, management = keys["inference"]["key"], keys["management"]["key"]
        headers = {"Authorization": header.format(inference=inference, management=management)}
    answer = ask(guarded, path, b"x", headers)
    assert failure(answer) == (
        400, "InvalidKeyException",
        "Token Authorization failed. Token either incorrect, expired, or not provided correctly",
    )  # fmt: skip
    assert answer[1]["access-control-allow-origin"] == "https://yourdomain.com"


@pytest.mark.parametrize("expect", [b"", b"Expect: 100-continue\r\n"])
def test_who_has_no_key_does_not_get_to_send_a_body(guarded: Profile, expect: bytes) -> None:
    # row: keys-first
    start = b"POST /predictions/guarded HTTP/1.1\r\nHost: a\r\nContent-Length: 6000000\r\n"
    received = raw(guarded, start + expect + b"\r\n")
    assert received.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert b"\r\nConnection: close\r\n" in received
    assert b'"type": "InvalidKeyException"' in received


@pytest.mark.parametrize("name", ["Authorization", "authorization"])
def test_the_right_key_opens_and_is_the_handlers_to_see(guarded: Profile, keys: Keys, name: str) -> None:
    key = {name: f"Bearer {keys['inference']['key']}"}
    status, headers, body = ask(guarded, "/predictions/guarded", b"x", key)
    assert status == 200
    assert json.loads(body)["headers"][name] == key[name]
    assert {name: value for name, value in headers.items() if name.startswith("access-control")} == {
        "access-control-allow-origin": "https://yourdomain.com",
        "access-control-allow-methods": "GET, POST, PUT, OPTIONS",
        "access-control-allow-headers": "X-Custom-Header",
    }
    assert ask(guarded, "/ping", b"", key)[0] == 200
    assert failure(ask(guarded, "/predictions/none", b"", key))[:2] == (404, "ModelNotFoundException")


def test_the_description_needs_no_key(guarded: Profile) -> None:
    url = f"http://127.0.0.1:{guarded.port}"
    assert requests.options(url + "/", timeout=30).json()["openapi"] == "3.0.1"
    assert requests.get(url + "/api-description", timeout=30).status_code == 200


def test_a_model_that_failed_to_load_is_told(archives: Callable[..., str]) -> None:
    # row: loading-models, ping
    broken = archives("broken", "raise ImportError('no such thing')")
    with TestClient(broken, strict=False) as client, profile(client) as server:
        answer = ask(server, "/predictions/broken", b"x")
        assert failure(answer)[:2] == (503, "ServiceUnavailableException")
        assert "retry-after" in answer[1]
        assert ask(server, "/ping")[0] == 500
        assert failure(ask(server, "/predictions/broken/7"))[:2] == (404, "ModelVersionNotFoundException")


def test_beside_the_other_dialects_the_same_handler_answers(alone: Profile) -> None:
    # row: one-port
    client = alone.client
    if not any(route.pattern == "/predictions/{*}" for route in client.app.router.routes()):
        api = Http(client.app.engine, client.app.settings.limits)
        client.call(lambda: api.add_routes(client.app.router))
    assert client.request("PUT", "/predictions/echo", b"x").json()["inputs"] == {"body": "bytearray x"}
    assert client.get("/ping").json() == {"status": "Healthy"}
    assert client.get("/v2/models/echo").json()["name"] == "echo"
    assert client.get("/v1/models/echo").json() == {"name": "echo", "ready": True}


def waiting(server: Profile, name: str) -> int:
    count: int = server.client.call(lambda: server.client.app.engine.find(name).stats.waiting)
    return count


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        threading.Event().wait(0.005)
