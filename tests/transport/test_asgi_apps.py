"""Starlette and FastAPI behind the HTTP server, over real sockets and on both event loops."""

import asyncio
import http.client
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import uvloop
from fastapi import FastAPI
from pydantic import BaseModel
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from dragoman.config import LimitSettings
from dragoman.transport.asgi import AsgiBridge
from dragoman.transport.http import HttpServer
from dragoman.transport.router import Router

Run = Callable[[Awaitable[None]], None]


@pytest.fixture(params=[asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Run:
    return request.param


@asynccontextmanager
async def serving(app: Any, **limits: Any) -> AsyncIterator[int]:
    router = Router()
    bridge = AsgiBridge(app)
    router.fallback(bridge)
    server = HttpServer(router.find, LimitSettings(**limits))
    await bridge.startup()
    port = await server.start("127.0.0.1", 0)
    try:
        async with asyncio.timeout(20):
            yield port
    finally:
        await server.stop(5)
        await bridge.shutdown(5)


class Answer:
    def __init__(self, response: http.client.HTTPResponse) -> None:
        self.status = response.status
        self.headers = {name.lower(): value for name, value in response.getheaders()}
        self.body = response.read()


async def ask(port: int, *requests: tuple[Any, ...]) -> list[Answer]:
    """Requests (method, path, body, headers) one after the other on one connection."""

    def talk() -> list[Answer]:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        try:
            answers = []
            for method, path, *rest in requests:
                body = rest[0] if rest else None
                headers = rest[1] if len(rest) > 1 else {}
                connection.request(
                    method, path, body, headers, encode_chunked=not isinstance(body, bytes | None)
                )
                answers.append(Answer(connection.getresponse()))
            return answers
        finally:
            connection.close()

    return await asyncio.to_thread(talk)


def app_of(*endpoints: Callable[..., Any], **options: Any) -> Starlette:
    """Each endpoint under its own name, for every method."""
    methods = ["GET", "HEAD", "POST", "PUT"]
    routes = [Route(f"/{e.__name__}", e, methods=methods) for e in endpoints]
    return Starlette(routes=routes, **options)


def test_answers_of_every_shape_arrive(run: Run) -> None:
    async def plain(request: Request) -> Response:
        return PlainTextResponse("Grüße", headers={"x-name": "é"})

    async def nothing(request: Request) -> Response:
        return Response(status_code=204)

    async def pieces(request: Request) -> Response:
        return StreamingResponse((str(number) * 3 for number in range(4)), media_type="text/plain")

    async def counted(request: Request) -> Response:
        return StreamingResponse(iter([b"ab", b"", b"c"]), headers={"content-length": "3"})

    async def main() -> None:
        async with serving(app_of(plain, nothing, pieces, counted)) as port:
            asked = [(m, p) for p in ("/plain", "/nothing", "/pieces", "/counted") for m in ("GET", "HEAD")]
            answers = await ask(port, *asked, ("GET", "/nowhere"))
        assert [(a.status, a.body) for a in answers] == [
            (200, "Grüße".encode()), (200, b""),
            (204, b""), (204, b""),
            (200, b"000111222333"), (200, b""),
            (200, b"abc"), (200, b""),
            (404, b"Not Found"),
        ]  # fmt: skip
        wanted = {"content-length": "7", "content-type": "text/plain; charset=utf-8", "x-name": "é"}
        assert wanted.items() <= answers[0].headers.items()
        assert answers[1].headers["content-length"] == "7"
        assert "content-type" not in answers[2].headers
        assert answers[4].headers["transfer-encoding"] == "chunked"
        assert answers[6].headers["content-length"] == "3"

    run(main())


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_of_any_framing_streams_into_the_application(run: Run, chunked: bool) -> None:
    data = bytes(range(256)) * 8192

    async def echo(request: Request) -> Response:
        return StreamingResponse(request.stream())

    async def size(request: Request) -> Response:
        return JSONResponse(len(await request.body()))

    async def main() -> None:
        def body() -> Any:
            return (data[i : i + 70_001] for i in range(0, len(data), 70_001)) if chunked else data

        async with serving(app_of(echo, size)) as port:
            answers = await ask(port, ("POST", "/echo", body()), ("PUT", "/size", body()), ("GET", "/size"))
        assert [a.status for a in answers] == [200, 200, 200]
        assert answers[0].body == data
        assert [a.body for a in answers[1:]] == [str(len(data)).encode(), b"0"]

    run(main())


def test_an_upload_waits_for_a_slow_application(run: Run) -> None:
    async def main() -> None:
        go = asyncio.Event()

        async def slow(request: Request) -> Response:
            await go.wait()
            return JSONResponse(len(await request.body()))

        async with serving(app_of(slow)) as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            size = 32_000_000
            writer.write(b"POST /slow HTTP/1.1\r\nhost: h\r\ncontent-length: %d\r\n\r\n" % size)
            writer.write(bytes(size))
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(writer.drain(), 0.2)
            go.set()
            await writer.drain()
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
            assert await reader.readexactly(8) == b"32000000"
            writer.close()

    run(main())


def test_a_download_waits_for_a_slow_client(run: Run) -> None:
    async def main() -> None:
        produced = 0

        async def endless(request: Request) -> Response:
            async def pieces() -> AsyncIterator[bytes]:
                nonlocal produced
                for _ in range(500):
                    produced += 1
                    yield bytes(65_536)

            return StreamingResponse(pieces())

        async with serving(app_of(endless)) as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=65_536)
            writer.write(b"GET /endless HTTP/1.0\r\n\r\n")
            await asyncio.sleep(0.2)
            assert 0 < produced < 400
            size = 0
            await reader.readuntil(b"\r\n\r\n")
            while piece := await reader.read(1 << 20):
                size += len(piece)
            assert size == 500 * 65_536
            writer.close()

    run(main())


def test_a_background_task_does_not_keep_the_connection(run: Run) -> None:
    async def main() -> None:
        release, done = asyncio.Event(), asyncio.Event()

        async def work() -> None:
            await release.wait()
            done.set()

        async def later(request: Request) -> Response:
            return PlainTextResponse("soon", background=BackgroundTask(work))

        async with serving(app_of(later)) as port:
            answers = await ask(port, ("GET", "/later"), ("GET", "/later"))
            assert [a.body for a in answers] == [b"soon", b"soon"]
            assert not done.is_set()
            release.set()
        assert done.is_set()

    run(main())


def test_lifespan_state_is_seen_by_requests(run: Run) -> None:
    events = []

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[dict[str, Any]]:
        events.append("up")
        yield {"answer": 42}
        events.append("down")

    async def state(request: Request) -> Response:
        return JSONResponse(request.state.answer)

    async def main() -> None:
        async with serving(app_of(state, lifespan=lifespan)) as port:
            (answer,) = await ask(port, ("GET", "/state"))
        assert answer.body == b"42"

    run(main())
    assert events == ["up", "down"]


def test_a_lifespan_that_fails_keeps_the_server_from_starting(run: Run) -> None:
    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        raise ValueError("no database")
        yield

    async def main() -> None:
        with pytest.raises(RuntimeError, match="no database"):
            await AsgiBridge(app_of(lifespan=lifespan)).startup()

    run(main())


@pytest.mark.parametrize("how", ["polling", "listening", "streaming", "uploading"])
def test_an_application_notices_that_its_client_has_left(run: Run, how: str) -> None:
    async def main() -> None:
        reached, noticed = asyncio.Event(), asyncio.Event()

        async def polling(request: Request) -> Response:
            reached.set()
            while not await request.is_disconnected():
                await asyncio.sleep(0.005)
            noticed.set()
            return Response()

        async def listening(request: Request) -> Response:
            await request.body()
            reached.set()
            assert await request.receive() == {"type": "http.disconnect"}
            noticed.set()
            return Response()

        async def streaming(request: Request) -> Response:
            async def pieces() -> AsyncIterator[bytes]:
                try:
                    while True:
                        yield b"x"
                        reached.set()
                        await asyncio.sleep(0.005)
                finally:
                    noticed.set()

            return StreamingResponse(pieces())

        async def uploading(request: Request) -> Response:
            try:
                async for _ in request.stream():
                    reached.set()
            except ClientDisconnect:
                noticed.set()
            return Response()

        async with serving(app_of(polling, listening, streaming, uploading)) as port:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            length = b"content-length: 10\r\n\r\nabc" if how == "uploading" else b"\r\n"
            writer.write(b"POST /%b HTTP/1.1\r\nhost: h\r\n%b" % (how.encode(), length))
            await reached.wait()
            writer.transport.abort()
            await noticed.wait()

    run(main())


def test_an_early_answer_ends_whoever_still_reads_the_body(run: Run) -> None:
    async def main() -> None:
        async def early(scope: Any, receive: Any, send: Any) -> None:
            assert scope["type"] == "http"
            reading = asyncio.create_task(receive())
            await asyncio.sleep(0)
            await send({"type": "http.response.start", "status": 413})
            await send({"type": "http.response.body", "body": b"enough"})
            assert (await reading)["type"] == "http.disconnect"

        async with serving(early) as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 9\r\n\r\n")
            assert (await reader.read()).endswith(b"enough")
            writer.close()

    run(main())


def test_errors_of_the_application_are_500_before_and_a_closed_connection_after_the_start(
    run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    async def raises(request: Request) -> Response:
        raise ValueError("secret")

    async def breaks(request: Request) -> Response:
        def pieces() -> Iterator[bytes]:
            yield b"half"
            raise ValueError("secret")

        return StreamingResponse(pieces())

    async def main() -> None:
        async with serving(app_of(raises, breaks)) as port:
            (answer,) = await ask(port, ("GET", "/raises"))
            with pytest.raises(http.client.IncompleteRead):
                await ask(port, ("GET", "/breaks"))
        assert (answer.status, answer.body) == (500, b"Internal Server Error")  # Starlette's own

    async def bare(scope: Any, receive: Any, send: Any) -> None:
        raise ValueError("secret")

    async def main_bare() -> None:
        async with serving(bare) as port:
            answers = await ask(port, ("GET", "/"), ("GET", "/"))
        assert [a.status for a in answers] == [500, 500]
        assert answers[0].body.startswith(b'{"error":"internal error, see the server\'s log under id ')

    caplog.set_level(logging.ERROR)
    run(main())
    run(main_bare())
    assert caplog.text.count("ValueError: secret") == 4


def test_a_header_that_could_split_the_answer_is_the_applications_error(run: Run) -> None:
    async def split(request: Request) -> Response:
        return Response(headers={"x-a": "b\r\nset-cookie: c"})

    async def main() -> None:
        async with serving(app_of(split)) as port:
            (answer,) = await ask(port, ("GET", "/split"))
        assert answer.status == 500
        assert "set-cookie" not in answer.headers

    run(main())


def test_middleware_that_reads_the_body_twice_works(run: Run) -> None:
    async def both(request: Request, call_next: Any) -> Response:
        seen = await request.body()
        response = await call_next(request)
        response.headers["x-seen"] = str(len(seen))
        return response

    async def size(request: Request) -> Response:
        return JSONResponse(len(await request.body()))

    async def main() -> None:
        app = app_of(size, middleware=[Middleware(BaseHTTPMiddleware, dispatch=both)])
        async with serving(app) as port:
            (answer,) = await ask(port, ("POST", "/size", b"four"))
        assert (answer.body, answer.headers["x-seen"]) == (b"4", "4")

    run(main())


def test_stopping_waits_for_the_answer_in_work(run: Run) -> None:
    async def main() -> None:
        reached = asyncio.Event()

        async def slow(request: Request) -> Response:
            reached.set()
            await asyncio.sleep(0.1)
            return PlainTextResponse("done")

        async with serving(app_of(slow)) as port:
            asking = asyncio.create_task(ask(port, ("GET", "/slow")))
            await reached.wait()
        (answer,) = await asking
        assert answer.body == b"done"

    run(main())


class Row(BaseModel):
    values: list[float]


def test_fastapi_validates_documents_and_answers(run: Run) -> None:
    app = FastAPI()

    @app.post("/sum")
    async def total(row: Row) -> dict[str, float]:
        return {"sum": sum(row.values)}

    @app.get("/sync/{name}")
    def sync(name: str) -> str:
        return name

    async def main() -> None:
        json = {"content-type": "application/json"}
        async with serving(app) as port:
            answers = await ask(
                port,
                ("POST", "/sum", b'{"values": [1, 2.5]}', json),
                ("POST", "/sum", b'{"values": ["x"]}', json),
                ("GET", "/sync/a%20b%2Fc"),
                ("GET", "/sync/a%20b"),
                ("GET", "/docs"),
                ("GET", "/openapi.json"),
                ("GET", "/sum"),
            )
        assert [a.status for a in answers] == [200, 422, 404, 200, 200, 200, 405]
        assert answers[0].body == b'{"sum":3.5}'
        assert answers[3].body == b'"a b"'
        assert b"swagger" in answers[4].body

    run(main())
