"""Permits, order, keep-alive, deadlines, streams, disconnects and stopping, through real sockets."""

import asyncio
import contextlib
import gzip
import json
import logging
import socket
import threading
import time
import zlib
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from dragoman.config import LimitSettings
from dragoman.errors import Code, DragomanError, InvalidInput, NotReady, Overloaded
from dragoman.transport.request import HttpRequest
from dragoman.transport.status import REASONS, STATUS

from .live import PATIENCE, Client, Held, Live, serve

GET = b"GET /echo HTTP/1.1\r\nHost: a\r\n\r\n"
CLOSE = b"GET /echo HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"


@pytest.fixture(params=["asyncio", "uvloop"])
def loop(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def live(loop: str) -> Iterator[Live]:
    with serve(loop) as live:
        yield live


def eventually(condition: Callable[[], bool]) -> bool:
    end = time.monotonic() + PATIENCE
    while not condition() and time.monotonic() < end:
        time.sleep(0.005)
    return condition()


def send_until_stuck(client: Client, data: bytes) -> int:
    """How much of ``data`` can be sent before the server has not taken any for a while."""
    client.sock.settimeout(0.3)
    sent = 0
    with contextlib.suppress(TimeoutError):
        while sent < len(data):
            sent += client.sock.send(data[sent : sent + 1_000_000])
    client.sock.settimeout(PATIENCE)
    return sent


def get(path: str, *headers: str, version: str = "1.1", method: str = "GET") -> bytes:
    return "\r\n".join([f"{method} {path} HTTP/{version}", "Host: a", *headers, "", ""]).encode()


def post(path: str, body: bytes, *headers: str) -> bytes:
    return get(path, f"Content-Length: {len(body)}", *headers, method="POST") + body


# What a handler sees and may answer.


def test_a_handler_sees_the_request_as_it_came(live: Live) -> None:
    seen: dict[str, object] = {}

    def handler(request: HttpRequest) -> None:
        for name in (
            "method",
            "path",
            "query",
            "headers",
            "body",
            "params",
            "http_version",
            "scheme",
            "client",
            "server",
        ):
            seen[name] = getattr(request, name)
        seen["type"] = request.header(b"content-type")
        seen["none"] = request.header(b"x-none")
        seen["age"] = live.loop.time() - request.arrived
        request.respond(200)

    live.router.add("POST", "/models/{}/v/{}:run", handler)
    client = live.connect()
    client.send(
        post("/models/a%2Fb%20c/v/1:run?x=%20&y", b"abc", "Content-Type: a/b", "X-Two: 1", "X-Two: 2")
    )
    assert client.answer().status == 200
    assert (seen["method"], seen["path"], seen["query"]) == ("POST", "/models/a%2Fb%20c/v/1:run", "x=%20&y")
    assert seen["params"] == ("a/b c", "1")
    assert (seen["body"], seen["type"], seen["none"]) == (b"abc", "a/b", None)
    assert seen["headers"] == [
        (b"host", b"a"), (b"content-length", b"3"), (b"content-type", b"a/b"), (b"x-two", b"1"), (b"x-two", b"2"),
    ]  # fmt: skip
    assert (seen["http_version"], seen["scheme"]) == ("1.1", "http")
    assert (seen["client"], seen["server"]) == (client.sock.getsockname(), ("127.0.0.1", live.port))
    assert 0 <= float(str(seen["age"])) < PATIENCE


def test_the_same_head_again_is_the_same_request_with_another_body(live: Live) -> None:
    client = live.connect()
    for body in (b"one", b"two", b"six"):
        client.send(post("/echo", body))
        assert client.answer().body == body
    client.send(post("/echo", b"longer"))
    assert client.answer().body == b"longer"
    client.send(get("/health"))
    assert client.answer().body == b"{}"


def test_headers_given_to_a_handler_are_its_own(live: Live) -> None:
    def handler(request: HttpRequest) -> None:
        request.headers.append((b"x-mine", b"1"))
        request.respond(200, json.dumps([name.decode() for name, _ in request.headers]).encode())

    live.router.add("GET", "/headers", handler)
    client = live.connect()
    for _ in range(2):
        client.send(get("/headers"))
        assert json.loads(client.answer().body) == ["host"]


def test_an_answer_has_its_headers_and_type(live: Live) -> None:
    def handler(request: HttpRequest) -> None:
        request.respond(
            202, [b"ab", memoryview(b"cd"), bytearray(b"e")], "text/plain", [("X-One", "1"), ("x-two", "2")]
        )

    live.router.add("GET", "/x", handler)
    answer = live.ask(get("/x"))
    assert (answer.line, answer.body) == ("HTTP/1.1 202 Accepted", b"abcde")
    assert answer.headers == {"content-type": "text/plain", "x-one": "1", "x-two": "2", "content-length": "5"}


def test_a_big_answer_of_odd_buffers_arrives_whole(live: Live) -> None:
    numbers = np.arange(300_000, dtype=np.float32).reshape(3, 100_000)
    live.router.add(
        "GET", "/big", lambda request: request.respond(200, [b"head", numbers.data, np.empty((0, 3)).data])
    )
    client = live.connect()
    for _ in range(3):
        client.send(get("/big"))
        assert client.answer().body == b"head" + numbers.tobytes()


def test_a_big_body_is_a_view_that_stays_valid(live: Live) -> None:
    kept = []

    def handler(request: HttpRequest) -> None:
        assert isinstance(request.body, memoryview)
        assert request.body.readonly
        kept.append(np.frombuffer(request.body, np.uint8))
        request.respond(200)

    live.router.add("POST", "/keep", handler)
    client = live.connect()
    for value in range(8):
        client.send(post("/keep", bytes([value]) * (200_000 + value)))
        assert client.answer().status == 200
    assert [(set(array.tolist()), len(array)) for array in kept] == [({v}, 200_000 + v) for v in range(8)]


def test_head_is_get_without_the_body(live: Live) -> None:
    live.router.add("GET", "/x", lambda request: request.respond(200, b"abc"))
    client = live.connect()
    client.send(get("/x", method="HEAD"))
    answer = client.answer(head_only=True)
    assert answer.headers["content-length"] == "3"
    client.send(get("/x"))
    assert client.answer().body == b"abc"


def test_no_content_has_no_length(live: Live) -> None:
    live.router.add("GET", "/x", lambda request: request.respond(204, b"", ""))
    client = live.connect()
    client.send(get("/x") + get("/echo"))
    assert client.answer().headers == {}
    assert client.answer().status == 200


@pytest.mark.parametrize(
    "bad",
    [
        lambda request: request.respond(200, b"", "a\r\nX: y"),
        lambda request: request.respond(200, headers=[("X", "a\r\nY: b")]),
        lambda request: request.respond(200, headers=[("X: y", "a")]),
        lambda request: request.start(200, [("X\n", "a")]),
    ],
)
def test_a_handler_cannot_break_a_line(live: Live, bad: Callable[[HttpRequest], None]) -> None:
    live.router.add("GET", "/bad", bad)
    assert live.ask(get("/bad")).status == 500
    assert live.good()


@pytest.mark.parametrize("body", ["text", ["text"], [b"x" * 100_000, "text"], np.arange(9).data[::2], 5])
def test_an_answer_that_is_no_bytes_is_a_bug(live: Live, body: object) -> None:
    live.router.add("GET", "/bad", lambda request: request.respond(200, body))
    client = live.connect()
    client.send(get("/bad") + GET)
    assert client.answer().status == 500
    assert client.answer().status == 200


# Errors.


@pytest.mark.parametrize("code", list(Code))
def test_every_code_has_a_status_with_a_reason(code: Code) -> None:
    assert STATUS[code] in REASONS


@pytest.mark.parametrize(
    ("error", "status", "retry"),
    [
        (InvalidInput("no \ud800 é"), 400, None),
        (Overloaded("full", 7), 503, "7"),
        (NotReady("soon"), 503, "1"),
    ],
)
def test_an_error_raised_is_the_answer(
    live: Live, error: DragomanError, status: int, retry: str | None
) -> None:
    def handler(request: HttpRequest) -> None:
        raise error

    live.router.add("GET", "/fail", handler)
    client = live.connect()
    client.send(get("/fail") + GET)
    answer = client.answer()
    assert (answer.status, answer.headers.get("retry-after")) == (status, retry)
    assert json.loads(answer.body) == {"error": error.message.replace("\ud800", "?")}
    assert client.answer().status == 200


def test_a_bug_is_logged_with_an_id_and_shows_nothing_else(
    live: Live, caplog: pytest.LogCaptureFixture
) -> None:
    def handler(request: HttpRequest) -> None:
        raise KeyError("secret")

    live.router.add("GET", "/fail", handler)
    with caplog.at_level(logging.ERROR, "dragoman.transport"):
        answer = live.ask(get("/fail"))
    assert answer.status == 500
    message = json.loads(answer.body)["error"]
    number = message.removeprefix("internal error, see the server's log under id ")
    assert len(number) == 16
    assert number in caplog.text
    assert "KeyError: 'secret'" in caplog.text


def test_an_answer_to_nobody_is_ignored(live: Live) -> None:
    def handler(request: HttpRequest) -> None:
        request.respond(200, b"first")
        request.respond(500, b"second")

    live.router.add("GET", "/twice", handler)
    client = live.connect()
    client.send(get("/twice") + GET)
    assert client.answer().body == b"first"
    assert client.answer().body == b""


# Keep-alive and order.


@pytest.mark.parametrize(
    ("request_", "kept", "connection"),
    [
        (get("/echo"), True, None),
        (get("/echo", "Connection: close"), False, "close"),
        (get("/echo", "Connection: keep-alive, Close"), False, "close"),
        (get("/echo", version="1.0"), False, "close"),
        (get("/echo", "Connection: Keep-Alive", version="1.0"), True, "keep-alive"),
        (b"GET /echo HTTP/1.0\r\n\r\n", False, "close"),
    ],
)
def test_keep_alive_is_what_the_client_asked_for(
    live: Live, request_: bytes, kept: bool, connection: str
) -> None:
    client = live.connect()
    client.send(request_)
    answer = client.answer()
    assert (answer.status, answer.headers.get("connection")) == (200, connection)
    if kept:
        client.send(request_)
        assert client.answer().status == 200
    else:
        assert client.closed()


def test_a_thousand_requests_at_once_are_answered_in_order(live: Live) -> None:
    client = live.connect()
    bodies = [str(index).encode() for index in range(1000)]
    sender = threading.Thread(target=client.send, args=(b"".join(post("/echo", body) for body in bodies),))
    sender.start()
    assert [client.answer().body for _ in bodies] == bodies
    sender.join()


def test_many_requests_at_once_leave_others_their_turn(live: Live) -> None:
    order: list[str] = []

    def handler(request: HttpRequest) -> None:
        if not order:
            live.loop.call_soon(order.append, "other")
        order.append("this")
        request.respond(200)

    live.router.add("GET", "/turn", handler)
    client = live.connect()
    client.send(get("/turn") * 1000)
    for _ in range(1000):
        assert client.answer().status == 200
    assert order.index("other") < 50


def test_one_request_is_in_work_at_a_time(live: Live) -> None:
    held = Held()
    live.router.add("POST", "/hold", held)
    client = live.connect()
    client.send(post("/hold", b"1") + post("/hold", b"2") + post("/echo", b"3"))
    first = held.wait()
    assert [request.body for request in held.requests] == [b"1"]
    live.call(first.respond, 200, b"one")
    assert client.answer().body == b"one"
    live.call(held.wait().respond, 200, b"two")
    assert client.answer().body == b"two"
    assert client.answer().body == b"3"


def test_a_client_that_only_sends_is_made_to_wait(live: Live) -> None:
    held = Held()
    live.router.add("GET", "/hold", held)
    client = live.connect()
    client.send(get("/hold"))
    request = held.wait()
    # What the system's buffers hold, and our bound.
    assert send_until_stuck(client, GET * 1_000_000) < 30_000_000
    live.call(request.respond, 200, b"held")
    assert client.answer().body == b"held"
    assert client.answer().status == 200


def test_requests_of_a_client_that_does_not_read_are_not_worked_on(live: Live) -> None:
    served = []

    def handler(request: HttpRequest) -> None:
        served.append(1)
        request.respond(200, bytes(1_000_000))

    live.router.add("GET", "/big", handler)
    client = live.connect()
    client.send(get("/big") * 100)
    assert eventually(lambda: len(served) > 0)
    time.sleep(0.2)
    assert len(served) < 50
    assert live.good()
    for _ in range(100):
        assert len(client.answer().body) == 1_000_000
    assert len(served) == 100


# Permits.


def test_without_a_permit_the_answer_is_503_before_the_body(loop: str) -> None:
    with serve(loop, LimitSettings(requests=1)) as live:
        held = Held()
        live.router.add("POST", "/hold", held)
        first = live.connect()
        first.send(post("/hold", b"x"))
        request = held.wait()
        assert live.call(lambda: live.server.in_flight) == 1
        refused = live.connect()
        refused.send(get("/echo", "Content-Length: 1000", method="POST"))  # and no body
        answer = refused.answer()
        assert (answer.status, answer.headers["retry-after"], answer.headers["connection"]) == (
            503,
            "1",
            "close",
        )
        assert refused.closed()
        assert live.ask(get("/health")).status == 200
        live.call(request.respond, 200)
        assert first.answer().status == 200
        assert live.good()


def test_a_repeated_request_needs_its_permit_too(loop: str) -> None:
    with serve(loop, LimitSettings(requests=1)) as live:
        held = Held()
        live.router.add("POST", "/hold", held)
        other = live.connect()
        other.send(GET)
        assert other.answer().status == 200
        first = live.connect()
        first.send(post("/hold", b"x"))
        request = held.wait()
        other.send(GET)
        assert other.answer().status == 503
        live.call(request.respond, 200)


def test_a_body_on_its_way_holds_a_permit_and_a_lost_client_gives_it_back(loop: str) -> None:
    with serve(loop, LimitSettings(requests=1)) as live:
        for start in (
            get("/echo", "Content-Length: 10", method="POST"),
            get("/echo", "Content-Length: 1000000"),
        ):
            client = live.connect()
            client.send(start)
            assert eventually(lambda: live.server.permits == 0)
            assert live.ask(GET).status == 503
            client.close()
            assert eventually(lambda: live.server.permits == 1)
            assert live.good()


# Clients that go.


def test_a_handler_is_told_when_its_client_goes(live: Live) -> None:
    held = Held()
    live.router.add("GET", "/hold", held)
    client = live.connect()
    client.send(get("/hold"))
    request = held.wait()
    client.close()
    assert held.left.wait(PATIENCE)
    assert held.gone == [request]
    assert live.server.in_flight == 0
    live.call(request.respond, 200, b"too late")
    live.call(request.start, 200)
    live.call(request.end)
    assert live.good()


def test_nobody_is_told_of_a_client_that_goes_after_its_answer(live: Live) -> None:
    held = Held()
    live.router.add("GET", "/hold", held)
    client = live.connect()
    client.send(get("/hold"))
    live.call(held.wait().respond, 200)
    assert client.answer().status == 200
    client.close()
    assert live.good()
    assert not held.gone


# Expectations.


def test_continue_is_said_once_there_is_a_permit(loop: str) -> None:
    with serve(loop, LimitSettings(requests=1, body_bytes=100_000)) as live:
        held = Held()
        live.router.add("GET", "/hold", held)
        for size in (3, 90_000):
            client = live.connect()
            client.send(get("/echo", f"Content-Length: {size}", "Expect: 100-Continue", method="POST"))
            assert client.answer().line == "HTTP/1.1 100 Continue"
            client.send(b"x" * size)
            answer = client.answer()
            assert (answer.status, len(answer.body)) == (200, size)
        client.send(post("/echo", b"at once", "Expect: 100-continue"))
        assert client.answer().body == b"at once"
        client.send(get("/echo", "Content-Length: 100001", "Expect: 100-continue"))
        assert client.answer().status == 413
        busy = live.connect()
        busy.send(get("/hold"))
        request = held.wait()
        client = live.connect()
        client.send(get("/echo", "Content-Length: 3", "Expect: 100-continue"))
        assert client.answer().status == 503
        live.call(request.respond, 200)
        old = live.ask(get("/echo", "Expect: 100-continue", version="1.0"))
        assert old.status == 200


# Deadlines.


class Clock:
    """Time that passes when a test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def timed(loop: str, clock: Clock) -> Iterator[Live]:
    limits = LimitSettings(header_timeout=10, idle_timeout=75, write_timeout=30, body_rate=500)
    with serve(loop, limits, clock=clock) as live:
        yield live


def tick(live: Live, clock: Clock, seconds: float) -> None:
    """Seconds pass, and the server looks at its connections before and after."""
    live.call(live.server.sweep)
    clock.now += seconds
    live.call(live.server.sweep)


def connected(live: Live) -> int:
    return live.call(lambda: len(live.server._connections))


def test_a_slow_head_is_cut(timed: Live, clock: Clock) -> None:
    client = timed.connect()
    client.send(b"GET /echo HT")
    assert eventually(lambda: connected(timed) == 1)
    for _ in range(3):
        tick(timed, clock, 3)
        client.send(b"T")
    tick(timed, clock, 2)
    assert client.answer().status == 408
    assert client.closed()
    assert timed.good()


def test_a_client_that_says_nothing_is_cut(timed: Live, clock: Clock) -> None:
    client = timed.connect()
    assert eventually(lambda: connected(timed) == 1)
    tick(timed, clock, 10)
    assert client.closed()


def test_an_idle_connection_is_cut_later(timed: Live, clock: Clock) -> None:
    client = timed.connect()
    client.send(GET)
    assert client.answer().status == 200
    tick(timed, clock, 74)
    client.send(GET)
    assert client.answer().status == 200
    tick(timed, clock, 74)
    tick(timed, clock, 1)
    assert client.closed()


@pytest.mark.parametrize(
    "start", ["Content-Length: 100", "Content-Length: 1000000", "Transfer-Encoding: chunked"]
)
def test_a_slow_body_is_cut(timed: Live, clock: Clock, start: str) -> None:
    client = timed.connect()
    client.send(get("/echo", start, "Expect: 100-continue", method="POST"))
    assert client.answer().status == 100
    tick(timed, clock, 9)
    assert timed.server.in_flight == 1
    tick(timed, clock, 1)
    assert client.answer().status == 408
    assert client.closed()
    assert timed.server.in_flight == 0
    assert timed.good()


def test_a_steady_body_is_not_cut(timed: Live, clock: Clock) -> None:
    client = timed.connect()
    client.send(get("/echo", "Content-Length: 40000", method="POST"))
    for index in range(1, 9):
        client.send(b"x" * 5000)
        received = 5000 * index
        if index < 8:
            assert eventually(
                lambda received=received: timed.call(  # type: ignore[misc]
                    lambda: [connection._received for connection in timed.server._connections] == [received]
                )
            )
            tick(timed, clock, 10)
    answer = client.answer()
    assert (answer.status, len(answer.body)) == (200, 40_000)


def test_a_request_in_work_is_never_cut(timed: Live, clock: Clock) -> None:
    held = Held()
    timed.router.add("GET", "/hold", held)
    client = timed.connect()
    client.send(get("/hold"))
    request = held.wait()
    tick(timed, clock, 100_000)
    timed.call(request.respond, 200, b"at last")
    assert client.answer().body == b"at last"


def test_a_client_that_does_not_read_is_cut(timed: Live, clock: Clock) -> None:
    timed.router.add("GET", "/big", lambda request: request.respond(200, bytes(50_000_000)))
    client = timed.connect()
    client.send(get("/big"))
    assert eventually(lambda: timed.server.in_flight == 1)
    tick(timed, clock, 29)
    assert timed.server.in_flight == 1
    tick(timed, clock, 1)
    tick(timed, clock, 30)
    assert eventually(lambda: timed.server.in_flight == 0)
    assert timed.good()


def test_a_client_that_reads_slowly_is_not_cut(timed: Live, clock: Clock) -> None:
    timed.router.add("GET", "/big", lambda request: request.respond(200, bytes(20_000_000)))
    client = timed.connect()
    client.send(get("/big"))
    assert eventually(lambda: timed.server.in_flight == 1)
    read = 0
    while read < 20_000_000:
        piece = min(2_000_000, 20_000_000 - read)
        read += len(client.take(piece))
        time.sleep(0.02)
        tick(timed, clock, 8)
    assert timed.good()


def test_the_sweep_runs_by_itself(loop: str) -> None:
    with serve(loop, LimitSettings(header_timeout=0.2)) as live:
        client = live.connect()
        client.send(b"GET ")
        assert client.answer().status == 408
        assert live.good()


# Answers in pieces.


def streamer(live: Live, pieces: list[bytes], headers: tuple[tuple[str, str], ...] = ()) -> None:
    tasks = set()

    def handler(request: HttpRequest) -> None:
        async def run() -> None:
            request.start(200, headers)
            for piece in pieces:
                await request.send(piece)
            request.end()

        task = live.loop.create_task(run())
        tasks.add(task)

    live.router.add("GET", "/stream", handler)


def test_an_answer_in_pieces_is_chunked(live: Live) -> None:
    pieces = [b"one", b"", b"x" * 100_000, b"end"]
    streamer(live, pieces, (("Content-Type", "text/event-stream"),))
    client = live.connect()
    for _ in range(2):
        client.send(get("/stream"))
        answer = client.answer()
        assert answer.headers == {"content-type": "text/event-stream", "transfer-encoding": "chunked"}
        assert answer.body == b"".join(pieces)
    client.send(get("/stream", method="HEAD") + GET)
    assert "transfer-encoding" not in client.answer(head_only=True).headers
    assert client.answer().status == 200


def test_an_answer_in_pieces_may_have_a_length(live: Live) -> None:
    streamer(live, [b"abc", b"def"], (("Content-Length", "6"),))
    client = live.connect()
    client.send(get("/stream") + GET)
    answer = client.answer()
    assert (answer.headers, answer.body) == ({"content-length": "6"}, b"abcdef")
    assert client.answer().status == 200


def test_an_answer_in_pieces_ends_with_the_connection_in_http_1_0(live: Live) -> None:
    streamer(live, [b"abc", b"def"])
    answer = live.ask(get("/stream", "Connection: keep-alive", version="1.0"))
    assert (answer.headers, answer.body) == ({"connection": "close"}, b"abcdef")


def test_an_answer_shorter_than_its_length_is_cut_off(live: Live, caplog: pytest.LogCaptureFixture) -> None:
    streamer(live, [b"abc"], (("Content-Length", "6"),))
    client = live.connect()
    client.send(get("/stream"))
    with pytest.raises((EOFError, ConnectionResetError)):
        client.answer()
    assert live.good()


def test_a_stream_waits_for_its_client_and_learns_that_it_left(live: Live) -> None:
    sent = []
    raised = threading.Event()
    left = threading.Event()

    def handler(request: HttpRequest) -> None:
        request.on_disconnect = left.set

        async def run() -> None:
            request.start(200)
            try:
                for _ in range(1000):
                    await request.send(bytes(1_000_000))
                    sent.append(1)
            except ConnectionError:
                raised.set()

        live.submit(run())

    live.router.add("GET", "/endless", handler)
    client = live.connect()
    client.send(get("/endless"))
    assert eventually(lambda: len(sent) > 0)
    time.sleep(0.2)
    assert len(sent) < 100
    assert live.server.in_flight == 1
    client.close()
    assert raised.wait(PATIENCE)
    assert left.is_set()
    assert live.server.in_flight == 0


def test_a_handler_that_fails_after_it_began_cuts_the_answer_off(
    live: Live, caplog: pytest.LogCaptureFixture
) -> None:
    def handler(request: HttpRequest) -> None:
        request.start(200)
        raise ValueError

    live.router.add("GET", "/fail", handler)
    client = live.connect()
    client.send(get("/fail"))
    with pytest.raises((EOFError, ConnectionResetError)):
        client.answer()
    assert live.good()


# Bodies in pieces.


def reader(live: Live, results: list[object], first: threading.Event | None = None) -> None:
    def handler(request: HttpRequest) -> None:
        async def run() -> None:
            total = 0
            if first is not None:
                await asyncio.to_thread(first.wait)
            try:
                while (piece := await request.receive()) is not None:
                    total += len(piece)
                assert await request.receive() is None
                request.respond(200, str(total).encode())
                results.append(total)
            except ConnectionError as error:
                results.append(type(error))

        results.append(request.body)
        live.submit(run())

    live.router.add("POST", "/read", handler, streaming=True)


def test_a_streaming_handler_reads_the_body_itself(live: Live) -> None:
    results: list[object] = []
    reader(live, results)
    client = live.connect()
    for body in (b"", b"abc", b"x" * 3_000_000):
        client.send(post("/read", body))
        answer = client.answer()
        assert answer.body == str(len(body)).encode()
    client.send(
        get("/read", "Transfer-Encoding: chunked", method="POST") + b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n" + GET
    )
    assert client.answer().body == b"5"
    assert client.answer().status == 200
    assert eventually(lambda: results == [b"", 0, b"", 3, b"", 3_000_000, b"", 5])


def test_a_streaming_handler_that_does_not_read_makes_the_client_wait(live: Live) -> None:
    go = threading.Event()
    results: list[object] = []
    reader(live, results, go)
    client = live.connect()
    client.send(get("/read", "Content-Length: 60000000", method="POST"))
    sent = send_until_stuck(client, bytes(60_000_000))
    assert sent < 60_000_000
    go.set()
    client.send(bytes(60_000_000 - sent))
    assert client.answer().body == b"60000000"


def test_a_streaming_handler_learns_that_the_body_will_not_come(live: Live) -> None:
    results: list[object] = []
    reader(live, results)
    client = live.connect()
    client.send(get("/read", "Content-Length: 10", method="POST") + b"abc")
    assert eventually(lambda: len(results) == 1)
    client.close()
    assert eventually(lambda: results == [b"", ConnectionResetError])


def test_a_streaming_body_that_breaks_the_rules_is_refused(live: Live) -> None:
    results: list[object] = []
    reader(live, results)
    client = live.connect()
    client.send(get("/read", "Transfer-Encoding: chunked", method="POST") + b"3\r\nabc\r\n")
    assert eventually(lambda: len(results) == 1)
    client.send(b"nonsense\r\n")
    assert client.answer().status == 400
    assert eventually(lambda: results == [b"", ConnectionResetError])


def test_a_streaming_handler_may_answer_before_the_body_has_come(live: Live) -> None:
    live.router.add("POST", "/no", lambda request: request.respond(403, b"no"), streaming=True)
    client = live.connect()
    client.send(get("/no", "Content-Length: 3000000", method="POST"))
    client.try_send(bytes(3_000_000))
    answer = client.answer()
    assert (answer.status, answer.headers["connection"]) == (403, "close")
    assert client.closed()


def test_the_fallback_takes_what_no_route_does(live: Live) -> None:
    live.router.fallback(lambda request: request.respond(200, request.path.encode()))
    assert live.ask(get("/some/where", method="PUT")).body == b"/some/where"
    assert live.ask(get("/echo", method="PUT")).status == 405


# Compression of answers.


@pytest.mark.parametrize(
    ("accept", "coding"),
    [(None, None), ("gzip", "gzip"), ("deflate", "deflate"), ("br", None), ("gzip;q=0", None), ("*", "gzip"),
     ("deflate, gzip", "deflate"), ("deflate;q=0.5, gzip;q=0.8", "gzip"), ("*, gzip;q=0", "deflate"), ("", None),
     ("identity", None), ("GZIP; Q=0.1", "gzip"), ("gzip;q=x", None), ("*;q=0", None), ("gzip;q=0.2,*;q=0.1", "gzip")],
)  # fmt: skip
def test_an_answer_is_compressed_as_the_client_likes(accept: str | None, coding: str | None) -> None:
    with serve() as live:
        live.router.add("GET", "/z", lambda request: request.respond(200, [b"ab", b"c"], compress=True))
        answer = live.ask(get("/z", *([f"Accept-Encoding: {accept}"] if accept is not None else [])))
        assert answer.headers["vary"] == "Accept-Encoding"
        assert answer.headers.get("content-encoding") == coding
        undo = {None: bytes, "gzip": gzip.decompress, "deflate": zlib.decompress}[coding]
        assert undo(answer.body) == b"abc"
        assert "content-encoding" not in live.ask(get("/echo", "Accept-Encoding: gzip")).headers


def test_a_small_limit_holds_for_a_body_that_comes_with_its_head(loop: str) -> None:
    with serve(loop, LimitSettings(body_bytes=100)) as live:
        assert live.ask(post("/echo", b"x" * 100)).status == 200
        assert live.ask(post("/echo", b"x" * 101)).status == 413


# The log hook.


def test_the_access_hook_hears_of_every_answer(loop: str) -> None:
    heard: list[tuple[str, str, int, float, int, int]] = []
    with serve(loop, LimitSettings(body_bytes=100), lambda *line: heard.append(line)) as live:
        held = Held()
        live.router.add("GET", "/hold", held)
        live.ask(post("/echo?q", b"abc"))
        live.ask(b"garbage\r\n\r\n")
        live.ask(get("/echo", "Content-Length: 101"))
        client = live.connect()
        client.send(get("/hold"))
        held.wait()
        client.close()
        assert held.left.wait(PATIENCE)
    lines = [(method, path, status, size, sent) for method, path, status, _, size, sent in heard]
    assert lines[0] == ("POST", "/echo", 200, 3, 3)
    assert [line[:3] for line in lines[1:]] == [("-", "-", 400), ("GET", "/echo", 413), ("GET", "/hold", 499)]
    assert all(line[3] >= 0 for line in heard)


# Starting and stopping.


def test_more_connections_than_allowed_are_closed(loop: str) -> None:
    with serve(loop, LimitSettings(connections=2)) as live:
        clients = [live.connect() for _ in range(2)]
        assert eventually(lambda: connected(live) == 2)
        third = live.connect()
        third.try_send(GET)
        with pytest.raises((EOFError, ConnectionResetError)):
            third.answer()
        clients[0].close()
        assert eventually(lambda: connected(live) == 1)
        assert live.good()


def test_stop_loses_no_request(live: Live) -> None:
    held = Held()
    live.router.add("POST", "/hold", held)
    idle, unread = live.connect(), live.connect()
    idle.send(GET)
    assert idle.answer().status == 200
    clients = [live.connect() for _ in range(8)]
    for client in clients:
        client.send(post("/hold", b"x"))
    assert eventually(lambda: len(held.requests) == 8)
    late = live.connect()
    late.send(get("/hold", "Content-Length: 3", method="POST"))
    assert eventually(lambda: live.server.in_flight == 9)
    stopping = live.submit(live.server.stop(PATIENCE))
    assert idle.closed()
    assert unread.closed()
    with pytest.raises(OSError):
        live.ask(GET)
    late.send(b"abc")
    assert eventually(lambda: len(held.requests) == 9)
    assert not stopping.done()
    for request in held.requests:
        live.call(request.respond, 200, bytes(300_000))
    for client in [*clients, late]:
        answer = client.answer()
        assert (answer.status, len(answer.body), answer.headers["connection"]) == (200, 300_000, "close")
        assert client.closed()
    stopping.result(PATIENCE)


def test_stop_tells_the_rest_when_its_patience_is_over(live: Live) -> None:
    held = Held()
    live.router.add("GET", "/hold", held)
    streamer(live, [])
    client = live.connect()
    client.send(get("/hold"))
    request = held.wait()
    live.run(live.server.stop(0.05))
    answer = client.answer()
    assert (answer.status, answer.headers["connection"]) == (503, "close")
    assert client.closed()
    assert held.gone == [request]
    live.call(request.respond, 200)


def test_a_server_listens_on_a_socket_it_is_given(loop: str) -> None:
    with serve(loop) as live, socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = live.run(live.server.start(None, 0, sock=sock.dup()))
        assert port == sock.getsockname()[1]
        live.port = port
        assert live.good()


def test_servers_share_a_port() -> None:
    with serve() as one, serve() as two:
        port = one.run(one.server.start("127.0.0.1", 0, reuse_port=True))
        assert two.run(two.server.start("127.0.0.1", port, reuse_port=True)) == port


@pytest.mark.parametrize("reason", ["", "Teapot"])
def test_a_handler_may_choose_the_reason(live: Live, reason: str) -> None:
    def whole(request: HttpRequest) -> None:
        request.respond(418, b"{}", reason=reason)

    async def in_pieces(request: HttpRequest) -> None:
        request.start(418, reason=reason)
        await request.send(b"{}")
        request.end()

    tasks = set()
    live.router.add("GET", "/whole", whole)
    live.router.add("GET", "/pieces", lambda request: tasks.add(asyncio.ensure_future(in_pieces(request))))
    for path in (b"/whole", b"/pieces"):
        client = live.connect()
        client.send(b"GET " + path + b" HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        assert client.to_the_end().startswith(b"HTTP/1.1 418 " + reason.encode() + b"\r\n")


def test_a_reason_with_a_line_break_is_not_sent(live: Live) -> None:
    live.router.add("GET", "/broken", lambda request: request.respond(200, reason="a\r\nX: y"))
    assert live.ask(b"GET /broken HTTP/1.1\r\nHost: a\r\n\r\n").status == 500
