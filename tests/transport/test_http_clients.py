"""Clients that people use: curl and the standard library's."""

import gzip
import http.client
import shutil
import subprocess
from collections.abc import Iterator

import pytest

from .live import PATIENCE, Live, serve


@pytest.fixture(scope="module")
def live() -> Iterator[Live]:
    with serve() as live:
        live.router.add("POST", "/z", lambda request: request.respond(200, request.body, compress=True))
        yield live


def test_the_standard_library_s_client_keeps_its_connection(live: Live) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", live.port, timeout=PATIENCE)
    connection.connect()
    sock = connection.sock
    for body in (b"abc", iter([b"a", b"bc"]), bytes(3_000_000), b""):
        connection.request("POST", "/echo", body, {"Connection": "keep-alive"})
        response = connection.getresponse()
        assert response.status == 200
        response.read()
    assert connection.sock is sock
    connection.close()


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
@pytest.mark.parametrize(
    "options",
    [
        [],
        ["--http1.0"],
        ["--http2"],
        ["-H", "Expect: 100-continue"],
        ["-H", "Transfer-Encoding: chunked"],
        ["-H", "Connection: close"],
        ["--compressed"],
    ],
    ids=" ".join,
)
@pytest.mark.parametrize("size", [0, 10, 3_000_000])
def test_curl_gets_back_what_it_sent(live: Live, options: list[str], size: int) -> None:
    body = b"x" * size
    url = f"http://127.0.0.1:{live.port}/z"
    run = subprocess.run(
        ["curl", "-sS", "--fail", "--max-time", "20", *options, "--data-binary", "@-", url],
        input=body,
        capture_output=True,
    )
    assert (run.returncode, run.stderr, run.stdout) == (0, b"", body)


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_curl_may_compress_what_it_sends_and_send_again(live: Live) -> None:
    url = f"http://127.0.0.1:{live.port}/echo"
    run = subprocess.run(
        ["curl", "-sS", "-H", "Content-Encoding: gzip", "--data-binary", "@-", url, url],
        input=gzip.compress(b"abc"),
        capture_output=True,
    )
    assert (run.returncode, run.stdout) == (0, b"abcabc")
