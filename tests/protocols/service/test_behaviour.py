"""What endpoints can do: parameters from everywhere, files, requests, streams, errors, and the end of a process."""

import json
import time
from pathlib import Path

import pytest

from dragoman.testing import TestClient

APP = str(Path(__file__).parent / "apps" / "many.py")
JSON = {"content-type": "application/json"}


@pytest.fixture(scope="module")
def client():
    with TestClient(APP) as client:
        yield client


def data(answer, status=200):
    assert answer.status == status, answer.body
    return answer.json()["data"]


def test_a_path_parameter_and_a_query_are_read_by_their_types(client):
    assert data(client.get("/items/3?tag=a&tag=b&limit=5")) == {"item": 3, "tag": ["a", "b"], "limit": 5}
    assert data(client.get("/items/3")) == {"item": 3, "tag": [], "limit": 10}


def test_all_that_is_wrong_is_told_at_once(client):
    answer = client.get("/items/x?limit=0")
    assert [problem["loc"] for problem in answer.json()["detail"]] == [["path", "item"], ["query", "limit"]]


def test_a_body_may_have_several_parameters(client):
    body = {"points": [{"x": 1}], "by": {"x": 1, "y": 2}, "colour": "blue"}
    assert data(client.post("/move-points", body)) == {"points": [{"x": 2.0, "y": 2.0}], "colour": "blue"}


def test_a_status_of_its_own_is_in_the_envelope_too(client):
    answer = client.post("/items", {"name": "ada"})
    assert (answer.status, answer.json()["status-code"], answer.json()["message"]) == (201, 201, "Created")


@pytest.mark.parametrize(
    ("name", "status"), [("taken", 409), ("secret", 403), ("who", 401), ("bad", 400), ("x", 422)]
)
def test_a_kind_of_error_is_a_status(client, name, status):
    answer = client.post("/items", {"name": name})
    assert answer.status == status
    if status != 422:
        assert answer.json() == {"detail": f"not {name}"}


def test_what_is_not_there_is_404(client):
    answer = client.get("/items/404")
    assert (answer.status, answer.json()) == (404, {"detail": "there is no item 404"})


def test_fastapi_s_exception_is_answered_as_it_says(client):
    answer = client.post("/items", {"name": "teapot"})
    assert (answer.status, answer.json()) == (418, {"detail": {"short": True, "stout": True}})
    assert answer.headers["x-tea"] == "green"


def test_any_other_exception_tells_nothing_but_an_id(client):
    answer = client.post("/items", {"name": "boom"})
    assert answer.status == 500
    assert "the server's log has it under id" in answer.json()["detail"]
    assert b"business" not in answer.body


def test_a_result_that_is_not_what_was_promised_is_the_model_s_failure(client):
    answer = client.post("/wrong", {})
    assert answer.status == 500
    assert answer.json()["detail"].startswith(
        "the model's output is invalid: wrong is not what its hint promises"
    )


def test_a_process_that_ends_takes_only_its_own_request_with_it(client):
    answer = client.post("/items", {"name": "die"})
    assert (answer.status, "detail" in answer.json()) == (503, True)
    deadline = time.monotonic() + 60
    while (again := client.post("/items", {"name": "ada"})).status == 503:
        assert "detail" in again.json()
        assert time.monotonic() < deadline
    assert again.status == 201
    assert client.get("/crashes/many").json()


def test_a_stream_is_lines_of_json(client):
    answer = client.post("/count", {"until": 3})
    assert answer.headers["content-type"] == "application/x-ndjson"
    assert [json.loads(line) for line in answer.body.splitlines()] == [0, 1, 2]
    assert answer.headers["model-version"] == "1"


def test_or_events_for_who_asks_for_them(client):
    headers = JSON | {"accept": "text/event-stream"}
    answer = client.request("POST", "/count", b'{"until": 2}', headers)
    assert answer.headers["content-type"] == "text/event-stream"
    assert answer.body == b"data: 0\n\ndata: 1\n\n"


def test_an_empty_stream_is_an_answer(client):
    answer = client.post("/count", {"until": 0})
    assert (answer.status, answer.body) == (200, b"")


def test_a_stream_that_fails_ends_without_its_end(client):
    with pytest.raises(Exception, match=r"IncompleteRead|0 bytes read"):
        client.post("/count", {"until": 20})


def form(**parts):
    lines = []
    for name, value in parts.items():
        extra = ""
        if isinstance(value, tuple):
            filename, kind, value = value
            extra = f'; filename="{filename}"\r\nContent-Type: {kind}'
        lines.append(
            f'--edge\r\nContent-Disposition: form-data; name="{name}"{extra}\r\n\r\n'.encode()
            + value
            + b"\r\n"
        )
    return b"".join(lines) + b"--edge--\r\n", {"content-type": "multipart/form-data; boundary=edge"}


def test_a_file_comes_in_a_form_beside_fields(client):
    body, headers = form(image=("cat.png", "image/png", b"\x89PNG\r\n\x1a\n"), title=b"a cat")
    answer = client.request("POST", "/size", body, headers)
    assert data(answer) == {"bytes": 8, "title": "a cat", "first": "89"}


def test_or_as_the_body_where_it_is_all_that_is_needed(client):
    answer = client.request("POST", "/size", b"\x89PNG", {"content-type": "image/png"})
    assert data(answer) == {"bytes": 4, "title": "", "first": "89"}


def test_an_upload_knows_its_name_and_type(client):
    body, headers = form(file=("cat.png", "image/png", bytes(3_000_000)))
    assert data(client.request("POST", "/upload", body, headers)) == {
        "name": "cat.png",
        "type": "image/png",
        "size": 3_000_000,
        "bytes": 3_000_000,
    }


def test_a_field_is_no_file_and_no_file_is_missing(client):
    body, headers = form(file=b"text")
    assert client.request("POST", "/upload", body, headers).json()["detail"][0]["loc"] == ["body", "file"]
    body, headers = form(other=b"text")
    assert client.request("POST", "/upload", body, headers).json()["detail"][0]["type"] == "missing"


def test_a_broken_form_is_refused(client):
    answer = client.request(
        "POST", "/upload", b"nonsense", {"content-type": "multipart/form-data; boundary=edge"}
    )
    assert answer.status == 422


def test_a_method_that_asks_for_the_request_gets_it(client):
    answer = client.request("POST", "/look?a=1", b"hi", {"x-agent": "007"})
    assert data(answer) == {
        "method": "POST",
        "agent": "007",
        "query": {"a": "1"},
        "url": f"{client.url}/look?a=1",
        "body": "hi",
    }


def test_bytes_and_responses_are_answered_as_they_are(client):
    raw = client.post("/raw", {})
    assert (raw.body, raw.headers["content-type"]) == (b"\x00\x01", "application/octet-stream")
    text = client.post("/text", {})
    assert (text.status, text.body, text.headers["x-kind"]) == (203, b"hello", "plain")


@pytest.mark.parametrize("path", ["/plain", "/_private", "/startup", "/nothing"])
def test_what_is_not_public_or_has_no_hints_is_no_endpoint(client, path):
    assert client.post(path, {}).status == 404


def test_a_form_of_fields_does_as_well_as_json(client):
    headers = {"content-type": "application/x-www-form-urlencoded"}
    answer = client.request("POST", "/items", b"name=ada", headers)
    assert data(answer, 201) == {"name": "ada"}
