"""Bodies to inputs and answers to bodies, as TorchServe's handlers know them."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dragoman.errors import InvalidInput, ModelFailed
from dragoman.protocols.torchserve.codec import (
    Answer,
    decode_headers,
    decode_inputs,
    encode_answer,
    make_request,
)
from dragoman.protocols.torchserve.multipart import Field
from dragoman.tensors import bytes_array
from dragoman.types import InferResponse, Tensor

FORM = (
    b'--B\r\nContent-Disposition: form-data; name="data"; filename="a"\r\nContent-Type: text/plain\r\n\r\nfirst\r\n'
    b'--B\r\nContent-Disposition: form-data; name="data"; filename="b"\r\nContent-Type: image/png\r\n\r\nsecond\r\n'
    b"--B--\r\n"
)


@pytest.mark.parametrize(
    ("body", "content_type", "query", "inputs"),
    [
        (b"hello", "", "", [("body", b"hello", "")]),
        (b"", "", "", [("body", b"", "")]),
        (b"x", "Application/JSON; charset=utf-8", "", [("body", b"x", "application/json")]),
        (b"x", "garbage", "", [("body", b"x", "garbage")]),
        (b"a=1&b=2&a=3", "application/x-www-form-urlencoded", "", [("a", b"3", ""), ("b", b"2", "")]),
        (b"", "application/x-www-form-urlencoded", "", []),
        (FORM, "multipart/form-data; boundary=B", "", [("data", b"second", "image/png")]),
        (FORM, 'Multipart/Form-Data; charset=x; boundary="B"', "", [("data", b"second", "image/png")]),
        (
            b"x",
            "text/plain",
            "foo=b%20r&z",
            [("foo", b"b r", ""), ("z", b"", ""), ("body", b"x", "text/plain")],
        ),
        (b"x", "", "é=é%C3%A9", [("é", "éé".encode(), ""), ("body", b"x", "")]),
        (b"x", "", "body=y", [("body", b"x", "")]),
        (memoryview(b"view"), "", "", [("body", b"view", "")]),
    ],
)
def test_a_body_becomes_inputs(
    body: bytes, content_type: str, query: str, inputs: list[tuple[str, bytes, str]]
) -> None:
    found = decode_inputs(body, content_type, query)
    assert [tuple(field) for field in found.values()] == inputs
    assert list(found) == [name for name, _, _ in inputs]


def test_a_broken_form_is_the_clients_mistake() -> None:
    with pytest.raises(InvalidInput):
        decode_inputs(b"x", "multipart/form-data; boundary=B")


def test_a_handler_sees_headers_as_the_client_wrote_them() -> None:
    raw = [
        (b"Host", b"a"),
        (b"X-Custom", b"1"),
        (b"x-custom", b"2"),
        (b"X-Custom", b"3"),
        (b"Content-Length", b"7"),
    ]
    assert decode_headers(raw, 7) == {
        "Host": "a", "X-Custom": "3", "x-custom": "2", "Content-Length": "7",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("explain", "url_path", "notes"),
    [
        (False, "", {"url_path": "", "explain": "False"}),
        (True, "a/b", {"url_path": "a/b", "explain": "True"}),
        (False, None, {"explain": "False"}),
        (None, None, {}),
    ],
)
def test_the_servers_notes_are_not_the_clients_to_write(
    explain: bool | None, url_path: str | None, notes: dict[str, str]
) -> None:
    sent = [(name.encode(), b"client") for name in notes]
    assert decode_headers([*sent, (b"A", b"b")], 3, explain, url_path) == {
        "A": "b", "content-length": "3", **notes,
    }  # fmt: skip


def test_what_the_transport_has_undone_is_not_told() -> None:
    raw = [
        (b"Expect", b"100-continue"), (b"Transfer-Encoding", b"chunked"),
        (b"CONTENT-ENCODING", b"gzip"), (b"content-Length", b"3"),
    ]  # fmt: skip
    assert decode_headers(raw, 9) == {"content-Length": "9"}


def test_a_request_has_a_tensor_for_each_input() -> None:
    inputs = {"a": Field("a", b"1", "image/png"), "b": Field("b", b"2")}
    request = make_request("m", "1.0", "id", inputs, {"A": "b"})
    assert (request.model, request.version, request.id) == ("m", "1.0", "id")
    assert request.parameters == {"headers": {"A": "b"}}
    assert [(t.name, t.datatype, t.data.tolist(), t.parameters) for t in request.inputs] == [
        ("a", "BYTES", [b"1"], {"content_type": "image/png"}),
        ("b", "BYTES", [b"2"], {"content_type": ""}),
    ]


def answered(body: bytes, **parameters: object) -> Answer:
    output = Tensor("body", "BYTES", bytes_array([body], [1]))
    return encode_answer(InferResponse("m", "1", (output,), parameters=dict(parameters)))


def test_an_answer_says_only_what_the_handler_said() -> None:
    assert answered(b"x") == Answer(200, "", "", (), b"x")
    assert answered(b"x", status=418, reason="Teapot") == Answer(418, "Teapot", "", (), b"x")
    assert answered(b"x", content_type="text/html") == Answer(200, "", "text/html", (), b"x")


def test_headers_that_are_the_servers_are_left_to_it() -> None:
    # row: handler-framing
    headers = {
        "X-Mine": "v", "Content-Type": "image/png", "Content-Length": "nonsense", "Connection": "close",
        "TRANSFER-ENCODING": "x", "x-request-id": "mine", "Pragma": "p", "ts_stream_next": "true", "X-Number": 3,
    }  # fmt: skip
    assert answered(b"x", headers=headers) == Answer(
        200, "", "image/png", (("X-Mine", "v"), ("X-Number", "3")), b"x"
    )


@pytest.mark.parametrize("status", [0, 100, 199, 1000, -1, "200", None, True, 200.0])
def test_a_strange_status_is_the_models_failure(status: object) -> None:
    with pytest.raises(ModelFailed, match="status"):
        answered(b"x", status=status)


def test_a_model_that_is_no_handler_is_answered_in_json() -> None:
    # row: other-models
    outputs = (
        Tensor("label", "INT64", np.array([[1], [2]])),
        Tensor("text", "BYTES", bytes_array([b"a", b"\xff"], [2])),
    )
    answer = encode_answer(InferResponse("m", "1", outputs))
    assert (answer.status, answer.content_type) == (200, "application/json")
    assert json.loads(answer.body) == {"label": [[1], [2]], "text": ["a", "\ufffd"]}
    assert encode_answer(InferResponse("m", "1", ())).body == b""


@given(st.binary(max_size=100), st.text(max_size=20), st.text(max_size=20))
def test_bodies_come_through_unchanged(body: bytes, header: str, content_type: str) -> None:
    try:
        field = decode_inputs(body, content_type)["body"]
    except (InvalidInput, KeyError):  # a form, as it happens
        return
    assert field.value == body
    assert answered(field.value).body == body
