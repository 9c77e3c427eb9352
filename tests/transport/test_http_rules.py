"""Every malformed, ambiguous or greedy request has one written answer, and harms nobody else."""

import gzip
import json
import zlib
from collections.abc import Iterator

import pytest

from dragoman.config import LimitSettings

from .live import Live, serve

LIMITS = LimitSettings(header_bytes=16_384, body_bytes=1_000_000, chunks=1000, header_count=100)
POST = b"POST /echo HTTP/1.1\r\nHost: a\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"


@pytest.fixture(scope="module", params=["asyncio", "uvloop"])
def live(request: pytest.FixtureRequest) -> Iterator[Live]:
    with serve(request.param, LIMITS) as live:
        yield live


REFUSED = {
    "length and chunks": (400, POST + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    "chunks and length": (400, POST + b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n"),
    "two lengths that differ": (400, POST + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd"),
    "two lengths that agree": (400, POST + b"Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc"),
    "a list of lengths": (400, POST + b"Content-Length: 3, 3\r\n\r\nabc"),
    "a signed length": (400, POST + b"Content-Length: +3\r\n\r\nabc"),
    "a negative length": (400, POST + b"Content-Length: -3\r\n\r\nabc"),
    "a hexadecimal length": (400, POST + b"Content-Length: 0x3\r\n\r\nabc"),
    "a length with a space": (400, POST + b"Content-Length: 1 2\r\n\r\nabc"),
    "an empty length": (400, POST + b"Content-Length: \r\n\r\nabc"),
    "a length beyond 64 bits": (400, POST + b"Content-Length: 99999999999999999999\r\n\r\nabc"),
    "a space before the colon": (400, POST + b"Content-Length : 3\r\n\r\nabc"),
    "a space before the colon of chunks": (400, POST + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n"),
    "an unknown transfer coding": (501, POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n"),
    "an unknown transfer coding and a length": (
        501,
        POST + b"Transfer-Encoding: xchunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
    ),
    "a length and an unknown transfer coding": (
        501,
        POST + b"Content-Length: 5\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    ),
    "two transfer codings": (501, POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"),
    "chunked not last": (501, POST + b"Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n"),
    "transfer coding identity": (501, POST + b"Transfer-Encoding: identity\r\n\r\n"),
    "two transfer coding headers": (
        400,
        POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
    "chunks in HTTP/1.0": (400, b"POST /echo HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    "bare line feeds in a whole head": (400, b"GET /echo HTTP/1.1\nHost: a\n\n"),
    "a bare line feed after a header": (400, b"GET /echo HTTP/1.1\r\nHost: a\nX: b\r\n\r\n"),
    "a bare line feed as the empty line": (400, b"GET /echo HTTP/1.1\r\nHost: a\r\n\n"),
    "a bare carriage return in a value": (400, POST + b"X: a\rb\r\n\r\n"),
    "a bare line feed after a chunk's size": (400, CHUNKED + b"3\nabc\r\n0\r\n\r\n"),
    "a bare line feed after a chunk": (400, CHUNKED + b"3\r\nabc\n0\r\n\r\n"),
    "a bare line feed in a chunk extension": (400, CHUNKED + b"3;a\nb\r\nabc\r\n0\r\n\r\n"),
    "a bare line feed after the last chunk": (400, CHUNKED + b"3\r\nabc\r\n0\n\r\n"),
    "a bare line feed after the trailers": (400, CHUNKED + b"3\r\nabc\r\n0\r\n\n"),
    "a chunk longer than it says": (400, CHUNKED + b"3\r\nabcd\r\n0\r\n\r\n"),
    "a chunk size with a prefix": (400, CHUNKED + b"0x3\r\nabc\r\n0\r\n\r\n"),
    "a negative chunk size": (400, CHUNKED + b"-3\r\nabc\r\n0\r\n\r\n"),
    "a chunk size with a space": (400, CHUNKED + b"3 \r\nabc\r\n0\r\n\r\n"),
    "an empty chunk size": (400, CHUNKED + b"\r\nabc\r\n0\r\n\r\n"),
    "a chunk size beyond 64 bits": (400, CHUNKED + b"f" * 17 + b"\r\nabc"),
    "a trailer that is no header": (400, CHUNKED + b"0\r\nnonsense\r\n\r\n"),
    "no host": (400, b"GET /echo HTTP/1.1\r\n\r\n"),
    "two hosts": (400, b"GET /echo HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n"),
    "a host with a space": (400, b"GET /echo HTTP/1.1\r\nHost: a b\r\n\r\n"),
    "two authorizations": (400, POST + b"Authorization: a\r\nauthorization: b\r\n\r\n"),
    "two content types": (400, POST + b"Content-Type: a/b\r\nContent-Type: a/b\r\n\r\n"),
    "a folded header": (400, POST + b"X: a\r\n b\r\n\r\n"),
    "a NUL in a value": (400, POST + b"X: a\0b\r\n\r\n"),
    "a header without a name": (400, POST + b": b\r\n\r\n"),
    "a header without a colon": (400, POST + b"nonsense\r\n\r\n"),
    "a long head": (431, POST + b"X: " + b"a" * 16_384 + b"\r\n\r\n"),
    "a long head that does not end": (431, POST + b"X: " + b"a" * 16_384),
    "many headers": (431, POST + b"X: a\r\n" * 101 + b"\r\n"),
    "twenty thousand headers": (431, POST + b"X: a\r\n" * 20_000 + b"\r\n"),
    "a header of a megabyte": (431, POST + b"X: " + b"a" * 1_048_576 + b"\r\n\r\n"),
    "a long request line": (414, b"GET /" + b"a" * 16_384 + b" HTTP/1.1\r\nHost: a\r\n\r\n"),
    "garbage": (400, b"garbage\r\n\r\n"),
    "the start of garbage": (400, b"hello server\r\n"),
    "TLS": (400, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"),
    "no version": (400, b"GET /echo\r\n\r\n"),
    "two spaces": (400, b"GET  /echo HTTP/1.1\r\nHost: a\r\n\r\n"),
    "a space in the target": (400, b"GET /e cho HTTP/1.1\r\nHost: a\r\n\r\n"),
    "a control character in the target": (400, b"GET /e\x01 HTTP/1.1\r\nHost: a\r\n\r\n"),
    "bytes beyond ASCII in the target": (400, b"GET /\xff HTTP/1.1\r\nHost: a\r\n\r\n"),
    "a relative target": (400, b"GET echo HTTP/1.1\r\nHost: a\r\n\r\n"),
    "another scheme": (400, b"GET ftp://a/echo HTTP/1.1\r\nHost: a\r\n\r\n"),
    "an asterisk for GET": (400, b"GET * HTTP/1.1\r\nHost: a\r\n\r\n"),
    "an unknown method": (400, b"BREW /echo HTTP/1.1\r\nHost: a\r\n\r\n"),
    "a method in lower case": (400, b"get /echo HTTP/1.1\r\nHost: a\r\n\r\n"),
    "a tunnel": (501, b"CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\n"),
    "HTTP/1.2": (505, b"GET /echo HTTP/1.2\r\nHost: a\r\n\r\n"),
    "HTTP/2 by prior knowledge": (505, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    "another protocol": (400, b"PLAY /echo RTSP/1.0\r\nHost: a\r\n\r\n"),
    "two empty lines first": (400, b"\r\n\r\nGET /echo HTTP/1.1\r\nHost: a\r\n\r\n"),
    "an unknown expectation": (417, POST + b"Expect: wonders\r\nContent-Length: 3\r\n\r\nabc"),
    "two expectations": (400, POST + b"Expect: 100-continue\r\nExpect: x\r\nContent-Length: 3\r\n\r\nabc"),
    "a body that is too long": (413, POST + b"Content-Length: 1000001\r\n\r\n"),
    "a body far too long, sent": (413, POST + b"Content-Length: 5000000\r\n\r\n" + b"x" * 5_000_000),
    "a chunk that is too long": (413, CHUNKED + b"f4241\r\n"),
    "chunks that are too long together": (413, CHUNKED + (b"10000\r\n" + b"x" * 65_536 + b"\r\n") * 16),
    "too many chunks": (413, CHUNKED + b"1\r\nx\r\n" * 1001),
    "six hundred thousand chunks": (413, CHUNKED + b"1\r\nx\r\n" * 600_000 + b"0\r\n\r\n"),
    "a chunk extension of a megabyte": (413, CHUNKED + b"3;a=" + b"b" * 1_048_576 + b"\r\nabc\r\n0\r\n\r\n"),
    "many chunk extensions": (413, CHUNKED + (b"1;" + b"b" * 1000 + b"\r\nx\r\n") * 20 + b"0\r\n\r\n"),
    "many trailers": (431, CHUNKED + b"0\r\n" + b"X: a\r\n" * 101 + b"\r\n"),
    "long trailers": (413, CHUNKED + b"0\r\n" + (b"X: " + b"a" * 1000 + b"\r\n") * 20 + b"\r\n"),
    "an unknown content coding": (415, POST + b"Content-Encoding: br\r\nContent-Length: 3\r\n\r\nabc"),
    "two content codings": (415, POST + b"Content-Encoding: gzip, gzip\r\nContent-Length: 3\r\n\r\nabc"),
    "two content coding headers": (
        415,
        POST + b"Content-Encoding: gzip\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_is_refused_and_closed(live: Live, name: str) -> None:
    status, data = REFUSED[name]
    client = live.connect()
    client.try_send(data)
    answer = client.answer()
    assert (answer.status, answer.headers["connection"]) == (status, "close")
    assert list(json.loads(answer.body)) == ["error"]
    assert client.closed()
    assert live.good()


@pytest.mark.parametrize("name", ["a signed length", "a bare line feed after a chunk", "garbage", "no host"])
def test_is_refused_however_the_bytes_are_cut(live: Live, name: str) -> None:
    status, data = REFUSED[name]
    client = live.connect()
    for index in range(len(data)):
        client.try_send(data[index : index + 1])
    assert client.answer().status == status


ANSWERED = {
    "GET with a body": (b"GET /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc", b"abc"),
    "chunks": (CHUNKED + b"3\r\nabc\r\n1\r\nd\r\n0\r\n\r\n", b"abcd"),
    "chunks in capitals": (
        POST + b"transfer-encoding:CHUNKED\r\n\r\nA\r\n0123456789\r\n0\r\n\r\n",
        b"0123456789",
    ),
    "a chunk extension": (CHUNKED + b'3;a=b;c="d"\r\nabc\r\n0;x\r\n\r\n', b"abc"),
    "leading zeros of a chunk": (CHUNKED + b"0003\r\nabc\r\n000\r\n\r\n", b"abc"),
    "space around a length": (POST + b"Content-Length: \t3 \t\r\n\r\nabc", b"abc"),
    "an absolute target": (b"POST http://b/echo HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx", b"x"),
    "an absolute target with a query": (b"GET HTTP://b/echo?q HTTP/1.1\r\nHost: a\r\n\r\n", b""),
    "one empty line first": (b"\r\nGET /echo HTTP/1.1\r\nHost: a\r\n\r\n", b""),
    "bytes beyond ASCII in a value": (b"GET /echo HTTP/1.1\r\nHost: a\r\nX: \xff\xfe\r\n\r\n", b""),
    "identity": (POST + b"Content-Encoding: identity\r\nContent-Length: 3\r\n\r\nabc", b"abc"),
    "gzip": (
        POST
        + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(gzip.compress(b"abc"))
        + gzip.compress(b"abc"),
        b"abc",
    ),
    "deflate": (
        POST + b"Content-Encoding: Deflate\r\nContent-Length: 11\r\n\r\n" + zlib.compress(b"abc"),
        b"abc",
    ),
    "HTTP/1.0": (b"POST /echo HTTP/1.0\r\nContent-Length: 3\r\n\r\nabc", b"abc"),
    "a body of 64 KiB": (POST + b"Content-Length: 65536\r\n\r\n" + b"x" * 65_536, b"x" * 65_536),
    "a big body": (POST + b"Content-Length: 999999\r\n\r\n" + b"x" * 999_999, b"x" * 999_999),
    "big chunks": (CHUNKED + (b"20000\r\n" + b"x" * 131_072 + b"\r\n") * 7 + b"0\r\n\r\n", b"x" * 917_504),
}


@pytest.mark.parametrize("name", ANSWERED)
def test_is_answered(live: Live, name: str) -> None:
    data, body = ANSWERED[name]
    answer = live.ask(data)
    assert (answer.status, answer.body) == (200, body)


@pytest.mark.parametrize("name", sorted(set(ANSWERED) - {"a body of 64 KiB", "a big body", "big chunks"}))
def test_is_answered_however_the_bytes_are_cut(live: Live, name: str) -> None:
    data, body = ANSWERED[name]
    client = live.connect()
    for index in range(len(data)):
        client.send(data[index : index + 1])
    answer = client.answer()
    assert (answer.status, answer.body) == (200, body)


def test_trailers_do_not_become_headers(live: Live) -> None:
    seen = []
    live.call(
        lambda: live.router.add(
            "POST", "/headers", lambda request: (seen.append(request.headers), request.respond(200))[0]
        )
    )
    answer = live.ask(CHUNKED.replace(b"/echo", b"/headers") + b"0\r\nAuthorization: secret\r\n\r\n")
    assert answer.status == 200
    assert [name for name, _ in seen[0]] == [b"host", b"transfer-encoding"]


@pytest.mark.parametrize(
    ("path", "status"),
    [("/echo/", 404), ("//echo", 404), ("/%65cho", 404), ("/../echo", 404), ("/%2e%2e/echo", 404), ("/echo;x", 404),
     ("/echo?x=/../", 200), ("/Echo", 404)],
)  # fmt: skip
def test_a_path_is_taken_as_it_is(live: Live, path: str, status: int) -> None:
    assert live.ask(f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode()).status == status


def test_an_unknown_path_and_a_wrong_method_say_so_and_keep_the_connection(live: Live) -> None:
    client = live.connect()
    client.send(b"GET /nowhere HTTP/1.1\r\nHost: a\r\n\r\n")
    unknown = client.answer()
    assert (unknown.status, unknown.body) == (404, b'{"error":"Not Found"}')
    client.send(b"DELETE /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc")
    wrong = client.answer()
    assert (wrong.status, wrong.body) == (405, b'{"error":"Method Not Allowed"}')
    assert wrong.headers["allow"] == "GET, HEAD, POST"
    client.send(b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n")
    assert client.answer().status == 204
    client.send(b"GET /echo HTTP/1.1\r\nHost: a\r\n\r\n")
    assert client.answer().status == 200


def test_an_upgrade_is_answered_as_it_is_and_closed(live: Live) -> None:
    upgrade = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQ\r\n"
    client = live.connect()
    client.send(POST + upgrade + b"Content-Length: 3\r\n\r\nabcPRI * HTTP/2.0\r\n\r\n")
    answer = client.answer()
    assert (answer.status, answer.body, answer.headers["connection"]) == (200, b"abc", "close")
    assert client.closed()


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
def test_a_bomb_is_refused(live: Live, coding: str) -> None:
    compressor = zlib.compressobj(wbits=31 if coding == "gzip" else 15)
    bomb = b"".join(compressor.compress(bytes(1_000_000)) for _ in range(200)) + compressor.flush()
    answer = live.ask(
        POST + f"Content-Encoding: {coding}\r\nContent-Length: {len(bomb)}\r\n\r\n".encode() + bomb
    )
    assert answer.status == 413
    assert live.good()


@pytest.mark.parametrize(
    "data",
    [b"", b"nonsense", gzip.compress(b"abc")[:-1], gzip.compress(b"abc") + b"x", gzip.compress(b"abc") * 2,
     gzip.compress(b"abc")[:-6] + b"xxxxxx", zlib.compress(b"abc")],
)  # fmt: skip
def test_a_damaged_gzip_body_is_refused(live: Live, data: bytes) -> None:
    answer = live.ask(POST + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(data) + data)
    assert answer.status == 400
    assert live.good()


def test_raw_deflate_is_refused(live: Live) -> None:
    compressor = zlib.compressobj(wbits=-15)
    data = compressor.compress(b"abc" * 100) + compressor.flush()
    answer = live.ask(POST + b"Content-Encoding: deflate\r\nContent-Length: %d\r\n\r\n" % len(data) + data)
    assert answer.status == 400


def test_a_refusal_reaches_a_client_that_sends_everything_before_it_reads(live: Live) -> None:
    client = live.connect()
    client.send(POST + b"Content-Length: 20000000\r\n\r\n")
    for _ in range(20):
        client.send(b"x" * 1_000_000)
    assert client.answer().status == 413


def test_a_request_that_ends_too_early_is_refused(live: Live) -> None:
    for data in (
        b"GET /echo HTTP/1.1\r\nHo",
        POST + b"Content-Length: 3\r\n\r\nab",
        CHUNKED + b"3\r\nabc\r\n",
    ):
        client = live.connect()
        client.send(data)
        client.sock.shutdown(1)
        assert client.answer().status == 400
    assert live.good()
