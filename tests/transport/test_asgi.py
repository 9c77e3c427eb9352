"""The bridge to ASGI applications, against a request in memory."""

import asyncio
import json
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import pytest

from dragoman.transport.asgi import AsgiBridge

App = Callable[[Any, Any, Any], Awaitable[None]]


class FakeRequest:
    """A request whose client a test plays."""

    http_version = "1.1"
    scheme = "http"
    client = ("127.0.0.1", 5)
    server = ("127.0.0.1", 80)

    def __init__(
        self, method: str = "GET", path: str = "/", query: str = "", body: Iterable[bytes] | None = ()
    ) -> None:
        self.method, self.path, self.query = method, path, query
        self.headers = [(b"host", b"h"), (b"x-a", b"\xe9")]
        self.body = b""
        self.params = ()
        self.arrived = 0.0
        self.on_disconnect: Callable[[], None] | None = None
        self.status = 0
        self.sent: list[Any] = []
        self.answer_headers: list[tuple[str, str]] = []
        self.ended = self.aborted = self.gone = False
        self.readable = asyncio.Event()  # cleared: the client is slow
        self.readable.set()
        self._pieces = deque(body or ())
        self._more = asyncio.Event()
        self._ended = body is not None
        self._readers = 0

    def header(self, name: bytes) -> str | None:
        return None

    def arrives(self, piece: bytes | None) -> None:
        if piece is None:
            self._ended = True
        else:
            self._pieces.append(piece)
        self._more.set()

    def leaves(self) -> None:
        self.gone = True
        self._more.set()
        self.readable.set()
        if self.on_disconnect is not None:
            self.on_disconnect()

    async def receive(self) -> bytes | None:
        self._readers += 1
        try:
            assert self._readers == 1, "a request has one reader"
            while True:
                if self.gone:
                    raise ConnectionResetError
                if self._pieces:
                    return self._pieces.popleft()
                if self._ended:
                    return None
                self._more.clear()
                await self._more.wait()
        finally:
            self._readers -= 1

    def respond(
        self, status: int, body: Any = b"", content_type: str = "application/json", headers: Any = ()
    ) -> None:
        assert not self.status
        if content_type:
            headers = (*headers, ("content-type", content_type))
        self.start(status, headers)
        self.sent.append(bytes(body))
        self.end()

    def start(self, status: int, headers: Iterable[tuple[str, str]] = ()) -> None:
        assert not self.status
        self.status, self.answer_headers = status, list(headers)

    async def send(self, piece: Any) -> None:
        await self.readable.wait()
        if self.gone:
            raise ConnectionResetError
        self.sent.append(bytes(piece))

    def end(self) -> None:
        assert not self.ended
        self.ended = True

    def abort(self) -> None:
        self.aborted = True


def start(status: int = 200, *headers: tuple[bytes, bytes]) -> dict[str, Any]:
    return {"type": "http.response.start", "status": status, "headers": list(headers)}


def body(piece: bytes = b"", more: bool = False) -> dict[str, Any]:
    return {"type": "http.response.body", "body": piece, "more_body": more}


def ask(app: App, request: Callable[[], FakeRequest] = FakeRequest) -> FakeRequest:
    """One request without a lifespan, to its very end."""

    async def run() -> FakeRequest:
        made = request()
        bridge = AsgiBridge(app)
        bridge(made)
        await bridge.shutdown()
        return made

    return asyncio.run(run())


def saying(*messages: dict[str, Any]) -> App:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        for message in messages:
            await send(message)

    return app


def test_the_scope_says_what_the_request_says() -> None:
    scopes: list[dict[str, Any]] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        scopes.append(scope)

    ask(app, lambda: FakeRequest("PUT", "/a%20b/%C3%A9%2Fc%ff", "x=%20&y"))
    assert scopes == [
        {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.4"},
            "http_version": "1.1",
            "method": "PUT",
            "scheme": "http",
            "path": "/a b/é/c\ufffd",
            "raw_path": b"/a%20b/%C3%A9%2Fc%ff",
            "query_string": b"x=%20&y",
            "root_path": "",
            "headers": [(b"host", b"h"), (b"x-a", b"\xe9")],
            "client": ("127.0.0.1", 5),
            "server": ("127.0.0.1", 80),
            "state": {},
            "extensions": {},
        }
    ]


@pytest.mark.parametrize(
    ("messages", "sent", "headers"),
    [
        ([start(), body(b"abc")], [b"abc"], []),
        ([start(204), body()], [b""], []),
        ([start(200, (b"X-A", b"\xe9")), {"type": "http.response.body"}], [b""], [("X-A", "é")]),
        ([start(), body(b"a", True), body(b"b", True), body()], [b"a", b"b", b""], []),
        ([start(200, (b"content-length", b"3")), body(b"abc")], [b"abc"], [("content-length", "3")]),
    ],
)
def test_an_answer_is_passed_on_whole_or_in_pieces(messages: Any, sent: Any, headers: Any) -> None:
    request = ask(saying(*messages))
    assert (request.status, request.sent, request.answer_headers, request.ended) == (
        messages[0]["status"],
        sent,
        headers,
        True,
    )


def test_an_answer_to_head_keeps_its_content_length() -> None:
    request = ask(saying(start(200, (b"content-length", b"9")), body()), lambda: FakeRequest("HEAD"))
    assert (request.answer_headers, request.ended) == ([("content-length", "9")], True)


def test_the_body_comes_in_pieces_and_then_the_disconnect() -> None:
    got = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        got.extend([await receive() for _ in range(3)])
        await send(start())
        await send(body())
        got.append(await receive())

    ask(app, lambda: FakeRequest("POST", body=[b"one", b"two"]))
    assert got == [
        {"type": "http.request", "body": b"one", "more_body": True},
        {"type": "http.request", "body": b"two", "more_body": True},
        {"type": "http.request", "body": b"", "more_body": False},
        {"type": "http.disconnect"},
    ]


def test_a_second_reader_waits_for_the_first_and_may_give_up() -> None:
    async def run() -> None:
        got = []

        async def app(scope: Any, receive: Any, send: Any) -> None:
            first = asyncio.create_task(receive())
            second = asyncio.create_task(receive())
            await asyncio.sleep(0)
            second.cancel()
            request.arrives(b"x")
            got.append((await first)["body"])

        request = FakeRequest(body=None)
        bridge = AsgiBridge(app)
        bridge(request)
        await bridge.shutdown()
        assert got == [b"x"]

    asyncio.run(run())


def test_a_slow_client_holds_the_application_back() -> None:
    async def run() -> None:
        progress = []

        async def app(scope: Any, receive: Any, send: Any) -> None:
            await send(start())
            for number in range(3):
                await send(body(b"x", True))
                progress.append(number)
            await send(body())

        request = FakeRequest()
        bridge = AsgiBridge(app)
        request.readable.clear()
        bridge(request)
        for _ in range(5):
            await asyncio.sleep(0)
        assert progress == []
        request.readable.set()
        await bridge.shutdown()
        assert progress == [0, 1, 2]

    asyncio.run(run())


@pytest.mark.parametrize("reading", [False, True])
def test_a_client_that_leaves_cancels_nothing_but_is_seen_by_both_ways(reading: bool) -> None:
    async def run() -> None:
        seen: list[Any] = []

        async def app(scope: Any, receive: Any, send: Any) -> None:
            if not reading:
                await receive()
            seen.append(await receive())
            seen.append(await receive())
            for message in (start(), body()):
                with pytest.raises(OSError):
                    await send(message)
            seen.append("still here")

        request = FakeRequest(body=None if reading else ())
        bridge = AsgiBridge(app)
        bridge(request)
        await asyncio.sleep(0)
        request.leaves()
        await bridge.shutdown()
        assert seen == [{"type": "http.disconnect"}, {"type": "http.disconnect"}, "still here"]
        assert (request.status, request.aborted) == (0, False)

    asyncio.run(run())


def test_a_client_that_leaves_a_stream_stops_it_quietly(caplog: pytest.LogCaptureFixture) -> None:
    async def run() -> None:
        async def app(scope: Any, receive: Any, send: Any) -> None:
            await send(start())
            while True:
                await send(body(b"x", True))
                request.leaves()

        request = FakeRequest()
        bridge = AsgiBridge(app)
        bridge(request)
        await bridge.shutdown()

    caplog.set_level(logging.INFO)
    asyncio.run(run())
    assert [record.levelname for record in caplog.records] == ["INFO"]


@pytest.mark.parametrize(
    ("messages", "where"),
    [
        ([], "before the response"),
        ([start()], "before the body of the response"),
    ],
)
@pytest.mark.parametrize("raising", [True, False])
def test_an_application_without_an_answer_is_500_with_an_id_that_the_log_has(
    messages: Any, where: str, raising: bool, caplog: pytest.LogCaptureFixture
) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await saying(*messages)(scope, receive, send)
        if raising:
            raise ValueError("secret")

    request = ask(app)
    message = json.loads(request.sent[0])["error"]
    assert (request.status, request.ended) == (500, True)
    assert message.startswith("internal error, see the server's log under id ")
    (record,) = caplog.records
    assert where in record.message
    assert record.message.endswith(message.rpartition(" ")[2])
    assert bool(record.exc_info) is raising
    assert "secret" not in message


@pytest.mark.parametrize("raising", [True, False])
def test_an_answer_that_breaks_off_closes_the_connection(
    raising: bool, caplog: pytest.LogCaptureFixture
) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await saying(start(), body(b"half", True))(scope, receive, send)
        if raising:
            raise ValueError

    request = ask(app)
    assert (request.sent, request.ended, request.aborted) == ([b"half"], False, True)
    assert "in the middle of the response" in caplog.text


def test_an_error_after_the_answer_is_only_logged(caplog: pytest.LogCaptureFixture) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await saying(start(), body(b"all"))(scope, receive, send)
        raise ValueError

    request = ask(app)
    assert (request.status, request.ended, request.aborted) == (200, True, False)
    assert "after the end of the response" in caplog.text


@pytest.mark.parametrize(
    "messages",
    [
        [body(b"x")],
        [start(), start()],
        [start(), body(), body()],
        [start(), body(), start()],
        [{"type": "http.nonsense"}],
        [{"type": "websocket.accept"}],
        [start(100)],
        [{"type": "http.response.start", "status": "200"}],
        [start(200, (b"content-length", b"2")), body(b"abc")],
        [start(200, (b"content-length", b"4")), body(b"abc")],
    ],
)
def test_a_message_out_of_turn_is_the_applications_error(messages: Any) -> None:
    caught: list[Exception] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await saying(*messages[:-1])(scope, receive, send)
        try:
            await send(messages[-1])
        except RuntimeError as error:
            caught.append(error)

    ask(app)
    assert caught


# ------------------------------------------------------------------------------------------------- lifespan


def test_what_startup_puts_into_the_state_is_copied_into_every_scope() -> None:
    seen = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            assert await receive() == {"type": "lifespan.startup"}
            scope["state"]["shared"] = seen
            await send({"type": "lifespan.startup.complete"})
            assert await receive() == {"type": "lifespan.shutdown"}
            seen.append("down")
            await send({"type": "lifespan.shutdown.complete"})
            return
        scope["state"]["shared"].append(len(scope["state"]))
        scope["state"]["own"] = 1
        await asyncio.sleep(0)
        await saying(start(), body())(scope, receive, send)

    async def run() -> None:
        bridge = AsgiBridge(app)
        await bridge.startup()
        requests = FakeRequest(), FakeRequest()
        for request in requests:
            bridge(request)
        await bridge.shutdown()
        assert all(request.ended for request in requests)

    asyncio.run(run())
    assert seen == [1, 1, "down"]


def test_an_application_without_a_lifespan_is_fine() -> None:
    async def raising(scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "http"

    async def reading(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        raise KeyError("method")

    async def run() -> None:
        for app in (raising, reading, saying()):
            bridge = AsgiBridge(app)
            await bridge.startup()
            await bridge.shutdown()

    asyncio.run(run())


def test_a_startup_that_fails_raises_its_message() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "lifespan.startup.failed", "message": "no database"})
        raise ValueError("no database")

    async def run() -> None:
        bridge = AsgiBridge(app)
        with pytest.raises(RuntimeError, match="the application did not start: no database"):
            await bridge.startup()
        await bridge.shutdown()

    asyncio.run(run())


@pytest.mark.parametrize("raising", [True, False])
def test_a_shutdown_that_fails_is_logged(raising: bool, caplog: pytest.LogCaptureFixture) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        if raising:
            raise ValueError("stuck")
        await send({"type": "lifespan.shutdown.failed", "message": "stuck"})

    async def run() -> None:
        bridge = AsgiBridge(app)
        await bridge.startup()
        await bridge.shutdown()

    asyncio.run(run())
    assert "stuck" in caplog.text


def test_a_lifespan_message_out_of_turn_is_the_applications_error() -> None:
    caught = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        for kind in ("lifespan.shutdown.complete", "lifespan.startup.complete", "lifespan.startup.complete"):
            try:
                await send({"type": kind})
            except RuntimeError:
                caught.append(kind)

    async def run() -> None:
        bridge = AsgiBridge(app)
        await bridge.startup()
        await bridge.shutdown()

    asyncio.run(run())
    assert caught == ["lifespan.shutdown.complete", "lifespan.startup.complete"]


def test_shutdown_waits_for_requests_but_not_for_ever() -> None:
    async def run() -> None:
        async def app(scope: Any, receive: Any, send: Any) -> None:
            await asyncio.Event().wait()

        request = FakeRequest()
        bridge = AsgiBridge(app)
        bridge(request)
        await asyncio.sleep(0)
        await bridge.shutdown(timeout=0.01)
        assert request.aborted

    asyncio.run(run())
