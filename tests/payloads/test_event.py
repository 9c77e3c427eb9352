"""A payload as CloudEvents has it, in both of its forms."""

import json

import pytest

from dragoman.payloads import REQUEST, RESPONSE, Payload
from dragoman.payloads.event import PARSED, encode_headers, encode_line

COMMON = {"source": "dragoman", "namespace": "prod"}


def payload(body=b"{}", content_type="application/json", **fields):
    known = {"type": REQUEST, "id": "7", "subject": "/v1/models/m:predict", "time": 1_700_000_000.25}
    return Payload(content_type=content_type, body=body, **(known | fields))


def test_attributes_are_headers_beside_the_bytes_as_they_are():
    assert encode_headers(payload(), COMMON) == {
        "ce-specversion": "1.0",
        "ce-type": "org.kubeflow.serving.inference.request",
        "ce-id": "7",
        "ce-time": "2023-11-14T22:13:20.250000Z",
        "ce-subject": "/v1/models/m:predict",
        "ce-source": "dragoman",
        "ce-namespace": "prod",
        "content-type": "application/json",
    }


def test_what_a_header_cannot_hold_is_percent_encoded():
    headers = encode_headers(payload(id='a "b"\r\nä%'), {})
    assert headers["ce-id"] == "a%20%22b%22%0D%0A%C3%A4%25"


def test_attributes_and_json_are_one_line_of_json():
    line = encode_line(payload(b'{"instances":\n[1, 2]}', type=RESPONSE), COMMON)
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert json.loads(line) == {
        "specversion": "1.0",
        "type": "org.kubeflow.serving.inference.response",
        "id": "7",
        "time": "2023-11-14T22:13:20.250000Z",
        "subject": "/v1/models/m:predict",
        "source": "dragoman",
        "namespace": "prod",
        "datacontenttype": "application/json",
        "data": {"instances": [1, 2]},
    }


@pytest.mark.parametrize(
    ("body", "content_type", "told", "data"),
    [
        (b"[1]", "", "application/json", {"data": [1]}),
        (b"[1]", "application/problem+json; charset=utf-8", None, {"data": [1]}),
        (b"{\xff", "application/json", None, {"data_base64": "e/8="}),
        (b"data: 1\n\n", "text/event-stream; charset=utf-8", None, {"data": "data: 1\n\n"}),
        (b"\xff", "text/plain", None, {"data_base64": "/w=="}),
        (b"\x00\x01", "application/octet-stream", None, {"data_base64": "AAE="}),
        (b"\x00\x01", "", "application/octet-stream", {"data_base64": "AAE="}),
        (b"", "", "application/octet-stream", {"data_base64": ""}),
    ],
)
def test_each_kind_of_body_has_its_place_in_a_line(body, content_type, told, data):
    document = json.loads(encode_line(payload(body, content_type), {}))
    assert {key: document[key] for key in document if key.startswith("data_") or key == "data"} == data
    assert document["datacontenttype"] == (told or content_type)


def test_big_json_is_not_parsed():
    document = json.loads(encode_line(payload(b"[" + b"1," * PARSED + b"1]"), {}))
    assert "data" not in document


def test_kserves_own_library_reads_the_events():
    from cloudevents.http import from_http, from_json

    event = from_http(encode_headers(payload(b'{"a": 1}'), COMMON), b'{"a": 1}')
    assert (event["type"], event["id"], event.data) == (REQUEST, "7", {"a": 1})
    event = from_json(encode_line(payload(b'{"a": 1}'), COMMON))
    assert (event["namespace"], event.data) == ("prod", {"a": 1})
