"""What a query or a JSON body asks for."""

import json
from contextlib import suppress
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dragoman.errors import InvalidInput
from dragoman.protocols.torchserve.management.requests import (
    Page,
    Registration,
    Scaling,
    decode_page,
    decode_registration,
    decode_scaling,
)

JSON = "application/json"
ALL = {
    "url": "a.mar",
    "model_name": "a",
    "handler": "h.py:f",
    "runtime": "python3",
    "batch_size": 8,
    "max_batch_delay": 50,
    "initial_workers": 2,
    "response_timeout": 7,
    "startup_timeout": 77,
    "synchronous": False,
}


def test_a_query_and_a_body_say_the_same():
    query = urlencode({**ALL, "synchronous": "false"})
    assert decode_registration(b"", "", query) == Registration(**ALL)
    assert decode_registration(json.dumps(ALL).encode(), JSON, "url=other.mar") == Registration(**ALL)
    assert decode_registration(b'{"url": "b.mar"}', "text/plain", query) == Registration(**ALL)


def test_what_is_not_asked_is_not_there():
    for asked in (decode_registration(b"", "", ""), decode_registration(b"{}", JSON, "url=a")):
        assert asked == Registration()
        assert asked.synchronous


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("url=", {"url": ""}),
        ("url=a&url=b", {"url": "a"}),
        ("url=a%2Fb+c&extra=1", {"url": "a/b c"}),
        ("batch_size=abc&max_batch_delay=1.5&initial_workers=", {}),
        ("batch_size=0&response_timeout=0&startup_timeout=-1", {}),
        ("batch_size=2147483648&initial_workers=-1", {"initial_workers": -1}),
        ("batch_size=%2B5&max_batch_delay=0", {"batch_size": 5, "max_batch_delay": 0}),
        ("batch_size=%D9%A5", {}),  # a digit, but none of Java's
        ("synchronous=TRUE", {}),
        ("synchronous=yes", {"synchronous": False}),
        ("synchronous=", {"synchronous": False}),
    ],
)
def test_a_query_is_read_as_java_reads_it(query, expected):
    assert decode_registration(b"", "", query) == Registration(**expected)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", (1, 1, False, "")),
        ("min_worker=3", (3, 3, False, "")),
        ("min_worker=3&max_worker=1", (3, 1, False, "")),
        ("max_worker=4", (1, 4, False, "")),
        ("min_worker=abc&max_worker=x", (1, 1, False, "")),
        ("min_worker=0&synchronous=true", (0, 0, True, "")),
        ("min_worker=-1", (-1, -1, False, "")),
        ("model_version=2.0&timeout=5&number_gpu=1", (1, 1, False, "2.0")),
    ],
)
def test_workers_are_asked_for(query, expected):
    minimum, maximum, synchronous, version = expected
    assert decode_scaling(query) == Scaling(
        minimum=minimum, maximum=maximum, synchronous=synchronous, version=version
    )


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", (100, 0)),
        ("limit=5&next_page_token=10", (5, 10)),
        ("limit=0", (0, 0)),
        ("limit=101&next_page_token=-1", (100, 0)),
        ("limit=a&next_page_token=99999999999", (100, 0)),
    ],
)
def test_a_page_is_asked_for(query, expected):
    assert decode_page(query) == Page(*expected)


@given(st.text(max_size=200), st.binary(max_size=200), st.sampled_from(["", JSON, "text/plain"]))
def test_no_request_does_anything_but_ask_or_fail(query, body, kind):
    for decode in (lambda: decode_registration(body, kind, query), lambda: decode_scaling(query)):
        with suppress(InvalidInput):
            assert isinstance(decode(), Registration | Scaling)


@given(
    st.dictionaries(st.sampled_from([*ALL, "other"]), st.none() | st.integers() | st.text() | st.booleans())
)
def test_no_document_does_anything_but_ask_or_fail(document):
    with suppress(InvalidInput):
        asked = decode_registration(json.dumps(document).encode(), JSON, "")
        assert isinstance(asked.url, str | None)
        assert isinstance(asked.batch_size, int | None)
