"""Forms: what clients send, and what attackers do."""

import contextlib
from urllib.parse import quote_plus, unquote_to_bytes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dragoman.errors import DragomanError, InvalidInput, TooLarge
from dragoman.protocols.torchserve.multipart import (
    MAX_BOUNDARY,
    MAX_FIELDS,
    MAX_HEADER,
    Field,
    parse_multipart,
    parse_urlencoded,
)

TYPE = "multipart/form-data; boundary=edge"


def part(name: str, value: bytes, *headers: str, filename: str | None = None) -> bytes:
    disposition = f'Content-Disposition: form-data; name="{name}"'
    if filename is not None:
        disposition += f'; filename="{filename}"'
    return "\r\n".join(["--edge", disposition, *headers, "", ""]).encode() + value + b"\r\n"


def form(*parts: bytes) -> bytes:
    return b"".join(parts) + b"--edge--\r\n"


def test_files_keep_their_type_and_fields_have_none() -> None:
    body = form(
        part("image", b"\x89PNG\r\n\x00", "Content-Type: image/png", filename="cat.png"),
        part("note", b"caf\xc3\xa9"),
        part("text", b"a", "Content-Type: Text/Plain; charset=utf-8", filename="a.txt"),
        part("claimed", b"{}", "Content-Type: application/json"),
        part("untyped", b"x", filename="x"),
        part("empty", b""),
    )
    assert parse_multipart(body, TYPE) == [
        Field("image", b"\x89PNG\r\n\x00", "image/png"),
        Field("note", b"caf\xc3\xa9"),
        Field("text", b"a", "text/plain"),
        Field("claimed", b"{}"),
        Field("untyped", b"x", "application/octet-stream"),
        Field("empty", b""),
    ]


def test_one_name_may_come_twice() -> None:
    assert [field.value for field in parse_multipart(form(part("a", b"1"), part("a", b"2")), TYPE)] == [
        b"1",
        b"2",
    ]


def test_a_file_name_goes_nowhere() -> None:
    body = form(part("data", b"x", filename="/etc/passwd"), part("../data", b"y", filename="../../up"))
    assert [field.name for field in parse_multipart(body, TYPE)] == ["data", "../data"]


@given(st.lists(st.tuples(st.text("abcé_- ", min_size=1, max_size=8), st.binary(max_size=200)), max_size=6))
def test_what_was_put_in_comes_out(fields: list[tuple[str, bytes]]) -> None:
    fields = [(name, value.replace(b"--edge", b"")) for name, value in fields]
    body = form(*[part(name, value) for name, value in fields])
    assert [(field.name, field.value) for field in parse_multipart(body, TYPE)] == fields


@given(st.binary(max_size=300))
def test_any_bytes_are_a_form_or_refused(body: bytes) -> None:
    for data in (body, b"--edge\r\n" + body, form(part("a", b"")) + body, part("a", body)):
        try:
            parse_multipart(data, TYPE)
            parse_urlencoded(data)
        except DragomanError:
            pass


@pytest.mark.parametrize(
    "content_type",
    ["multipart/form-data", "multipart/form-data; boundary=", 'multipart/form-data; boundary=""',
     "multipart/form-data; boundary=" + "-" * (MAX_BOUNDARY + 1), "multipart/form-data; boundary=" + "x" * 60_000,
     "multipart/form-data" + ';"' * 30_000],
)  # fmt: skip
def test_a_form_needs_a_boundary_of_a_sane_length(content_type: str) -> None:
    with pytest.raises(InvalidInput, match=r"boundary|parameters"):
        parse_multipart(form(part("a", b"1")), content_type)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"no form at all",
        part("a", b"1"),
        b"--edge\r\nContent-Disposition: form-data\r\n\r\nx\r\n--edge--\r\n",
        b'--edge\r\nContent-Disposition: form-data; name=""\r\n\r\nx\r\n--edge--\r\n',
        b'--edge\r\nContent-Disposition: attachment; name="a"\r\n\r\nx\r\n--edge--\r\n',
        b"--edge\r\nContent-Type: text/plain\r\n\r\nx\r\n--edge--\r\n",
        b'--edge\r\nContent-Disposition: form-data; name="\xff"\r\n\r\nx\r\n--edge--\r\n',
        b"--edge\r\nno colon\r\n\r\nx\r\n--edge--\r\n",
    ],
)
def test_what_is_no_form_is_the_clients_mistake(body: bytes) -> None:
    with pytest.raises(InvalidInput):
        parse_multipart(body, TYPE)


def test_no_more_fields_than_allowed() -> None:
    # row: form-limits
    most = [part("a", b"")] * MAX_FIELDS
    assert len(parse_multipart(form(*most), TYPE)) == MAX_FIELDS
    with pytest.raises(TooLarge):
        parse_multipart(form(*most, part("b", b"")), TYPE)
    assert len(parse_urlencoded(b"&".join([b"a=1"] * MAX_FIELDS))) == MAX_FIELDS
    with pytest.raises(TooLarge):
        parse_urlencoded(b"&".join([b"a=1"] * (MAX_FIELDS + 1)))


@pytest.mark.parametrize(
    "body",
    [
        form(part("a", b"", *[f"X-{index}: y" for index in range(10_000)])),
        form(part("a", b"", "X: " + "y" * MAX_HEADER)),
        form(part("a", b"", "x" * MAX_HEADER)),
        form(*[part("a", b"")] * 100_000),
        b"--edge\r\n" + b"-" * 1_000_000,
        b"-" * 5_000_000,
        b"\r\n" * 2_500_000 + b"x",
        b"\r\n--edg" * 700_000,
        part("a", b"\r\n--edg" * 700_000),
        part("a", b"\r" * 5_000_000),
        b'--edge\r\nContent-Disposition: form-data; name="a"' + b";" * 8000 + b"\r\n\r\nx\r\n--edge--\r\n",
    ],
    ids=["headers", "header value", "header name", "parts", "dashes after the boundary", "dashes", "empty lines",
         "almost boundaries", "almost boundaries in a part", "carriage returns",
        "parameters"],
)  # fmt: skip
def test_what_is_made_to_cost_time_is_refused(body: bytes) -> None:
    with pytest.raises((InvalidInput, TooLarge)):
        parse_multipart(body, TYPE)


@pytest.mark.parametrize(
    "body", [b"x" * 5_000_000 + form(part("a", b"1")), form(part("a", b"1")) + b"x" * 5_000_000]
)
def test_what_stands_around_a_form_costs_nothing(body: bytes) -> None:
    with contextlib.suppress(InvalidInput):
        assert parse_multipart(body, TYPE) == [Field("a", b"1")]


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        (b"", []),
        (b"a=1&b=x%20y+z&a=2", [("a", b"1"), ("b", b"x y z"), ("a", b"2")]),
        (b"a", [("a", b"")]),
        (b'{"a": 1}', [('{"a": 1}', b"")]),
        (b"=x&&b=", [("", b"x"), ("b", b"")]),
        (b"%C3%A9=%ff%", [("é", b"\xff%")]),
    ],
)
def test_urlencoded_pairs(body: bytes, fields: list[tuple[str, bytes]]) -> None:
    assert [(field.name, field.value) for field in parse_urlencoded(body)] == fields


@given(st.lists(st.tuples(st.text(max_size=8), st.binary(max_size=20)), min_size=1, max_size=6))
def test_urlencoded_pairs_come_back(pairs: list[tuple[str, bytes]]) -> None:
    try:
        body = "&".join(f"{quote_plus(name)}={quote_plus(value)}" for name, value in pairs).encode()
    except UnicodeEncodeError:
        return
    assert [(field.name, field.value) for field in parse_urlencoded(body)] == pairs
    assert unquote_to_bytes(body)


def test_bytes_that_curl_calls_a_form_get_a_hint() -> None:
    with pytest.raises(InvalidInput, match="application/octet-stream"):
        parse_urlencoded(b"\x89PNG\xff")
