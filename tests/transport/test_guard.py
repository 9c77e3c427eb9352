"""Guards look at a head before anything of the body is read: at real sockets, byte by byte."""

from collections.abc import Iterator

import pytest

from dragoman.config import LimitSettings
from dragoman.errors import DragomanError
from dragoman.transport.request import HttpRequest

from .live import Held, Live, serve

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class Door:
    """Lets in who has the key; says no as its dialect would."""

    def __init__(self) -> None:
        self.key = "right"
        self.asked = 0

    def __call__(self, request: HttpRequest) -> None:
        self.asked += 1
        if request.header(b"x-key") != self.key:
            request.respond(400, b"no", "text/plain")


class Kept(Held):
    def __init__(self) -> None:
        super().__init__()
        self.bodies: list[bytes] = []

    def __call__(self, request: HttpRequest) -> None:
        self.bodies.append(bytes(request.body))
        request.respond(200, b"in")


@pytest.fixture(params=["asyncio", "uvloop"])
def live(request: pytest.FixtureRequest) -> Iterator[Live]:
    with serve(request.param, LimitSettings(requests=1)) as live:
        yield live


@pytest.fixture
def door(live: Live) -> Door:
    return Door()


@pytest.fixture
def room(live: Live, door: Door) -> Kept:
    room = Kept()
    live.router.add("POST", "/room", room, guard=door)
    return room


def head(key: str, length: int, *more: str) -> bytes:
    lines = ["POST /room HTTP/1.1", "Host: a", f"X-Key: {key}", f"Content-Length: {length}", *more, "", ""]
    return "\r\n".join(lines).encode()


def test_who_is_refused_is_told_before_the_body_has_come(live: Live, room: Kept) -> None:
    client = live.connect()
    client.send(head("wrong", 50_000_000))
    answer = client.answer()
    assert (answer.status, answer.body, answer.headers["connection"]) == (400, b"no", "close")
    assert client.closed()
    assert room.bodies == []


def test_100_continue_is_for_those_who_are_let_in(live: Live, room: Kept) -> None:
    stranger = live.connect()
    stranger.send(head("wrong", 9, "Expect: 100-continue"))
    assert stranger.answer().status == 400
    guest = live.connect()
    guest.send(head("right", 9, "Expect: 100-continue"))
    assert guest.take(len(CONTINUE)) == CONTINUE
    guest.send(b"my things")
    assert guest.answer().body == b"in"
    assert room.bodies == [b"my things"]


def test_a_refusal_comes_before_every_other_one_and_takes_no_permit(live: Live, room: Kept) -> None:
    held = Held()
    live.router.add("GET", "/held", held)
    busy = live.connect()
    busy.send(b"GET /held HTTP/1.1\r\nHost: a\r\n\r\n")
    held.wait()
    too_long = live.server.limits.body_bytes + 1
    for length, more in ((1, ()), (too_long, ()), (1, ("Content-Encoding: odd",))):
        assert live.ask(head("wrong", length, *more)).status == 400
    assert live.ask(head("right", too_long)).status == 413
    assert live.ask(head("right", 1, "Content-Encoding: odd")).status == 415
    assert live.ask(head("right", 1) + b"x").status == 503
    live.call(held.requests[0].respond, 200)
    assert busy.answer().status == 200


@pytest.mark.parametrize("body", [b"x", b"x" * 100_000])
def test_a_refusal_is_the_connections_last_answer_though_the_body_is_there(
    live: Live, room: Kept, body: bytes
) -> None:
    client = live.connect()
    client.try_send(head("wrong", len(body)) + body + head("right", 1) + b"y")
    assert client.answer().status == 400
    assert client.closed()
    assert room.bodies == []


def test_each_request_is_asked_though_it_is_like_the_last_one(live: Live, room: Kept, door: Door) -> None:
    client = live.connect()
    for body in (b"1", b"2", b"3"):
        client.send(head("right", 1) + body)
        assert client.answer().status == 200
    assert door.asked == 3
    door.key = "another"
    client.send(head("right", 1) + b"4")
    answer = client.answer()
    assert (answer.status, answer.headers["connection"]) == (400, "close")
    assert client.closed()
    assert room.bodies == [b"1", b"2", b"3"]


def test_a_chunked_body_is_not_read_either(live: Live, room: Kept) -> None:
    client = live.connect()
    start = b"POST /room HTTP/1.1\r\nHost: a\r\nX-Key: wrong\r\nTransfer-Encoding: chunked\r\n\r\n"
    client.send(start + b"fffff\r\n")
    assert client.answer().status == 400
    assert client.closed()


def test_streaming_handlers_are_guarded_too(live: Live, door: Door) -> None:
    held = Held()
    live.router.add("POST", "/stream", held, streaming=True, guard=door)
    client = live.connect()
    client.send(b"POST /stream HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n")
    assert client.answer().status == 400
    assert held.requests == []


@pytest.mark.parametrize(
    ("raised", "status"), [(DragomanError("not you"), 500), (RuntimeError("a bug of the guard"), 500)]
)
def test_a_guard_that_raises_lets_nobody_in(live: Live, raised: Exception, status: int) -> None:
    room = Kept()

    def guard(request: HttpRequest) -> None:
        raise raised

    live.router.add("POST", "/room", room, guard=guard)
    answer = live.ask(head("right", 1) + b"x")
    assert answer.status == status
    assert b"bug" not in answer.body
    assert room.bodies == []


def test_the_fallbacks_guard_is_asked_about_what_the_router_answers_itself(live: Live, door: Door) -> None:
    live.router.fallback(Kept(), guard=door)
    for request in (
        b"PATCH /health HTTP/1.1\r\nHost: a\r\n",
        b"OPTIONS * HTTP/1.1\r\nHost: a\r\n",
        b"GET /x HTTP/1.1\r\nHost: a\r\n",
    ):
        assert live.ask(request + b"\r\n").status == 400
        assert live.ask(request + b"X-Key: right\r\n\r\n").status in (200, 204, 405)
    assert live.ask(b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n").status == 200
