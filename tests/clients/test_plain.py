"""What people type: curl, requests, and the standard library."""

import json
import shutil
import subprocess
import urllib.error
import urllib.request

import numpy as np
import pytest
import requests

INFER = {"inputs": [{"name": "input-0", "shape": [1, 4], "datatype": "FP32", "data": [5.1, 3.5, 1.4, 0.2]}]}
curl = pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl")


def run_curl(*arguments, stdin=None):
    done = subprocess.run(
        ["curl", "--silent", "--show-error", "--max-time", "30", *arguments],
        input=stdin,
        capture_output=True,
        check=True,
    )
    return done.stdout


def test_requests_predicts_over_both_protocols(server):
    with requests.Session() as session:
        v1 = session.post(f"{server.url}/v1/models/Iris:predict", json={"instances": [[5.1, 3.5, 1.4, 0.2]]})
        assert (v1.status_code, v1.json()) == (200, {"predictions": [0]})
        v2 = session.post(f"{server.url}/v2/models/Iris/infer", json=INFER)
        assert v2.json()["outputs"][0]["data"] == [0]
        assert v2.headers["content-type"] == "application/json"
        assert session.get(f"{server.url}/v2/models/nope").json() == {
            "error": "Request for unknown model: 'nope' is not found"
        }


def test_requests_asks_for_gzip_and_reads_it(server):
    answer = requests.post(f"{server.url}/v2/models/Iris/infer", json=INFER)
    assert answer.request.headers["Accept-Encoding"].startswith("gzip")
    assert answer.json()["outputs"][0]["data"] == [0]


def test_a_generator_is_sent_in_chunks(server):
    pieces = (piece.encode() for piece in ('{"instances": ', "[[5.1, 3.5, ", "1.4, 0.2]]}"))
    answer = requests.post(f"{server.url}/v1/models/Iris:predict", data=pieces)
    assert answer.json() == {"predictions": [0]}


def test_urllib_needs_no_more_than_itself(server):
    body = json.dumps(INFER).encode()  # urllib says that this is a form
    with urllib.request.urlopen(f"{server.url}/v2/models/Iris/infer", body, timeout=30) as answer:
        assert json.load(answer)["outputs"][0]["data"] == [0]
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(f"{server.url}/v2/models/Iris/infer", b"{", timeout=30)
    with caught.value as error:
        assert (error.code, list(json.load(error))) == (400, ["error"])


@curl
def test_curl_asks_in_one_line(server):
    document = '{"instances": [[5.1, 3.5, 1.4, 0.2]]}'
    assert run_curl(f"{server.url}/v1/models/Iris:predict", "-d", document) == b'{"predictions":[0]}'
    assert run_curl("--compressed", f"{server.url}/v1/models/Iris:predict", "-d", document) == (
        b'{"predictions":[0]}'
    )
    assert b"HTTP/1.1 200 OK" in run_curl("--head", f"{server.url}/v2/health/live")
    assert run_curl(server.url) == b'{"status":"alive"}'


@curl
def test_curl_sends_a_large_body_after_100_continue(server):
    data = np.zeros(600_000, np.float32)
    head = json.dumps(
        {
            "inputs": [
                {
                    "name": "x",
                    "shape": [data.size],
                    "datatype": "FP32",
                    "parameters": {"binary_data_size": data.nbytes},
                }
            ],
            "parameters": {"binary_data_output": True},
        }
    ).encode()
    answer = run_curl(
        f"{server.url}/v2/models/Echo/infer",
        "--data-binary",
        "@-",
        "-H",
        "Expect: 100-continue",
        "-H",
        f"Inference-Header-Content-Length: {len(head)}",
        stdin=head + data.tobytes(),
    )
    assert answer.endswith(data.tobytes())


def test_a_browser_gets_a_page(server):
    answer = requests.get(server.url, headers={"Accept": "text/html,application/xhtml+xml"})
    assert answer.headers["content-type"].startswith("text/html")
    assert "<title>Dragoman</title>" in answer.text
