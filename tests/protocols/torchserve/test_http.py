"""The routes over real sockets, in front of an engine that is told what to answer."""

import asyncio
import json
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from dragoman.config import LimitSettings, ModelSettings
from dragoman.engine.lifecycle import Record, State
from dragoman.errors import (
    Code,
    DeadlineExceeded,
    DragomanError,
    ModelFailed,
    NotFound,
    NotReady,
    Overloaded,
    PredictionFailed,
    WorkerDied,
)
from dragoman.protocols.torchserve import Http, Options
from dragoman.stats import Stats
from dragoman.tensors import bytes_array
from dragoman.transport.request import HttpRequest
from dragoman.transport.stream import MAX_WAITING, PieceWriter
from dragoman.types import InferRequest, InferResponse, Tensor

from ...transport.live import PATIENCE, Answer, Live, serve

Reply = Callable[[Any], None]
Behaviour = Callable[[InferRequest, Reply], None]


def response(body: bytes, final: bool = True, **parameters: Any) -> InferResponse:
    output = Tensor("body", "BYTES", bytes_array([body], [1]))
    return InferResponse("m", "1.0", (output,), parameters=parameters, final=final)


def mirror(request: InferRequest, reply: Reply) -> None:
    """Answers with what a handler would see."""
    inputs = {t.name: [t.data[0].decode("latin-1"), t.parameters["content_type"]] for t in request.inputs}
    document = {"inputs": inputs, "headers": request.parameters["headers"], "version": request.version}
    reply(response(json.dumps(document).encode()))


class Entry:
    answered = False
    cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class Desk:
    """As much of an engine as the protocol asks of one. Model ``m`` has the versions 1.0 and 2.0."""

    def __init__(self) -> None:
        self.behaviour: Behaviour = mirror
        self.stats = Stats()
        self.ready = True
        self.healthy = True
        records = {("m", version): Record("m", version, State.READY) for version in ("1.0", "2.0")}
        self.lifecycle = SimpleNamespace(records=records)
        self.registry = SimpleNamespace(names=lambda: sorted({name for name, _ in records}))
        self.entries: list[Entry] = []
        self.requests: list[InferRequest] = []
        self.refused: list[Code] = []

    def find(self, name: str, version: str = "", headers: Any = None) -> Any:
        wanted = self.lifecycle.records.get((name, version or "2.0"))
        if wanted is None or wanted.state is not State.READY:
            raise NotFound("not here")
        stats = self.stats.of(name, wanted.version)
        settings = ModelSettings()
        return SimpleNamespace(
            name=name, version=wanted.version, stats=stats, infer=self.infer, settings=settings, recall=None
        )

    def infer(self, request: InferRequest, reply: Reply, dialect: str) -> Entry:
        assert dialect == "torchserve"
        entry = Entry()
        self.entries.append(entry)
        self.requests.append(request)

        def once(outcome: Any) -> None:
            entry.answered = not isinstance(outcome, InferResponse) or outcome.final
            try:
                reply(outcome)
            except DragomanError as error:
                entry.answered = True
                reply(error)

        self.behaviour(request, once)
        return entry

    def refuse(self, dialect: str, error: DragomanError) -> None:
        self.refused.append(error.code)


class Server:
    def __init__(self, live: Live, desk: Desk) -> None:
        self.live = live
        self.desk = desk

    def ask(self, method: str, path: str, body: bytes = b"", *headers: str) -> Answer:
        length = [f"Content-Length: {len(body)}"] if body else []
        lines = [f"{method} {path} HTTP/1.1", "Host: a", *headers, *length, "", ""]
        client = self.live.connect()
        client.send("\r\n".join(lines).encode() + body)
        return client.answer(head_only=method == "HEAD")

    def sees(self, method: str, path: str, body: bytes = b"", *headers: str) -> dict[str, Any]:
        """What the handler would see."""
        answer = self.ask(method, path, body, *headers)
        assert answer.status == 200, answer
        found: dict[str, Any] = json.loads(answer.body)
        return found


def server_of(
    options: Options | None = None, authorize: Any = None, profile: bool = True
) -> Iterator[Server]:
    desk = Desk()
    with serve() as live:
        http = Http(desk, LimitSettings(), options, authorize)  # type: ignore[arg-type]
        live.call(lambda: http.add_routes(live.router, profile))
        yield Server(live, desk)


@pytest.fixture
def server() -> Iterator[Server]:
    yield from server_of()


def failure(answer: Answer) -> tuple[int, str, str]:
    document = json.loads(answer.body)
    assert answer.headers["content-type"] == "application/json"
    assert list(document) == ["code", "type", "message"]
    assert document["code"] == answer.status
    return document["code"], document["type"], document["message"]


NOTHING = (
    404, "ResourceNotFoundException", "Requested resource is not found, please refer to API document.",
)  # fmt: skip


def test_a_method_that_nobody_knows_hears_of_those_that_are_known(server: Server) -> None:
    # row: methods
    answer = server.ask("PROPFIND", "/predictions/m")
    assert (answer.status, answer.headers["allow"]) == (405, "DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT")


def test_a_prediction_has_torchserves_head_and_nothing_else(server: Server) -> None:
    # row: header-names, connection-close
    server.desk.behaviour = lambda request, reply: reply(response(b"cat"))
    client = server.live.connect()
    client.send(b"POST /predictions/m HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nConnection: close\r\n\r\nx")
    head, _, body = client.to_the_end().decode().partition("\r\n\r\n")
    assert head.split("\r\n") == [
        "HTTP/1.1 200 ",
        f"x-request-id: {server.desk.requests[0].id}",
        "Pragma: no-cache",
        "Cache-Control: no-cache; no-store, must-revalidate, private",
        "Expires: Thu, 01 Jan 1970 00:00:00 UTC",
        "Content-Length: 3",
        "Connection: close",
    ]
    assert body == "cat"


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE"])
def test_the_method_does_not_matter(server: Server, method: str) -> None:
    assert server.sees(method, "/predictions/m", b"x")["inputs"] == {"body": ["x", ""]}


def test_a_handler_sees_headers_in_their_case(server: Server) -> None:
    seen = server.sees(
        "POST", "/predictions/m", b"{}", "X-Mixed-CASE: v", "content-type: application/json; a=b"
    )
    assert seen["headers"] == {
        "Host": "a", "X-Mixed-CASE": "v", "content-type": "application/json; a=b", "Content-Length": "2",
        "url_path": "", "explain": "False",
    }  # fmt: skip
    assert seen["inputs"] == {"body": ["{}", "application/json"]}


@pytest.mark.parametrize(
    ("path", "version", "notes", "inputs"),
    [
        ("/predictions/m", "2.0", {"explain": "False", "url_path": ""}, {}),
        ("/predictions/m/", "2.0", {"explain": "False", "url_path": ""}, {}),
        ("/predictions/%6D", "2.0", {"explain": "False", "url_path": ""}, {}),
        ("/predictions/m?a=b", "2.0", {"explain": "False", "url_path": ""}, {}),
        ("/predictions/m/1.0", "1.0", {"explain": "False", "url_path": ""}, {}),
        ("/predictions/m/1.0/deep/er?a=b", "1.0", {"explain": "False", "url_path": "deep/er"}, {}),
        ("/explanations/m", "2.0", {"explain": "True", "url_path": ""}, {}),
        ("/explanations/m/1.0/deep", "1.0", {"explain": "True", "url_path": "deep"}, {}),
        ("/v1/models/m:predict", "2.0", {"explain": "False"}, {}),
        ("/v1/models/m:explain", "2.0", {"explain": "True"}, {}),
        ("/v2/models/m/infer", "2.0", {"explain": "False"}, {}),
        ("/v2/models/m/explain", "2.0", {"explain": "True"}, {}),
        ("/m/predict?a=b%20c", "2.0", {}, {"a": ["b c", ""]}),
        ("/m/1.0/predict?a=b", "1.0", {}, {"a": ["b", ""]}),
        ("/models/m/invoke?a=b", "2.0", {}, {"a": ["b", ""]}),
        ("/invocations", "2.0", {}, {}),
        ("/invocations?model_name=m", "2.0", {}, {"model_name": ["m", ""]}),
    ],
)
def test_every_way_to_a_prediction(
    server: Server, path: str, version: str, notes: dict[str, str], inputs: dict[str, Any]
) -> None:
    seen = server.sees("POST", path, b"x")
    assert seen["version"] == version
    assert seen["headers"] == {"Host": "a", "Content-Length": "1", **notes}
    assert seen["inputs"] == {**inputs, "body": ["x", ""]}


def test_a_form_may_name_the_model(server: Server) -> None:
    # row: only-model
    server.desk.lifecycle.records["other", "2.0"] = Record("other", "2.0", State.READY)
    seen = server.sees(
        "POST", "/invocations", b"model_name=m&a=1", "Content-Type: application/x-www-form-urlencoded"
    )
    assert seen["inputs"] == {"model_name": ["m", ""], "a": ["1", ""]}
    assert failure(server.ask("POST", "/invocations", b"x")) == (
        400, "BadRequestException", "Parameter model_name is required.",
    )  # fmt: skip
    assert server.desk.refused == [Code.INVALID_INPUT]


@pytest.mark.parametrize(
    ("path", "wanted"),
    [
        ("/predictions/none", (404, "ModelNotFoundException", "Model not found: none")),
        ("/explanations/none/1", (404, "ModelNotFoundException", "Model not found: none")),
        ("/v1/models/none:predict", (404, "ModelNotFoundException", "Model not found: none")),
        ("/v2/models/none/infer", (404, "ModelNotFoundException", "Model not found: none")),
        ("/none/predict", (404, "ModelNotFoundException", "Model not found: none")),
        ("/invocations?model_name=none", (404, "ModelNotFoundException", "Model not found: none")),
        (
            "/predictions/m/9",
            (404, "ModelVersionNotFoundException", "Model version: 9 does not exist for model: m"),
        ),
        ("/predictions", NOTHING),
        ("/predictions/", NOTHING),
        ("/predictions//", NOTHING),
        ("/models/m/other", NOTHING),
        ("/models", NOTHING),
        ("/v1/models", NOTHING),
        ("/v1/models/m", NOTHING),
        ("/v2", NOTHING),
        ("/v2/models/m/versions/1/infer", NOTHING),
        ("/v2/health/ready", NOTHING),
        ("/metrics", NOTHING),
        (
            "/",
            (
                405,
                "MethodNotAllowedException",
                "Requested method is not allowed, please refer to API document.",
            ),
        ),
    ],
)
def test_what_is_not_there(server: Server, path: str, wanted: tuple[int, str, str]) -> None:
    answer = server.ask("POST", path, b"x")
    assert failure(answer) == wanted
    assert {"x-request-id", "pragma", "cache-control", "expires"} <= answer.headers.keys()
    assert server.live.good()


@pytest.mark.parametrize(
    ("state", "status"), [(State.LOADING, 503), (State.FAILED, 503), (State.UNLOADED, 404)]
)
def test_a_model_that_can_not_answer_yet(server: Server, state: State, status: int) -> None:
    for record in server.desk.lifecycle.records.values():
        record.state = state
    answer = server.ask("POST", "/predictions/m")
    assert failure(answer)[0] == status
    assert ("retry-after" in answer.headers) == (status == 503)


@pytest.mark.parametrize(
    ("error", "status", "kind", "message"),
    [
        (PredictionFailed("Prediction failed"), 503, "InternalServerException", "Prediction failed"),
        (PredictionFailed("gone", 404), 404, "InternalServerException", "gone"),
        (PredictionFailed("odd", 513), 513, "InternalServerException", "odd"),
        (Overloaded("full"), 503, "ServiceUnavailableException", 'Model "m" has no worker'),
        (NotReady("crashed"), 503, "ServiceUnavailableException", 'Model "m" has no worker'),
        (WorkerDied("signal 9"), 500, "InternalServerException", "Worker died. (signal 9)"),
        (ModelFailed("broken"), 500, "InternalServerException", "broken"),
        (DeadlineExceeded("late"), 504, "RequestTimeoutException", "late"),
    ],
)
@pytest.mark.parametrize("how", ["answered", "raised"])
def test_failures_have_torchserves_names(
    server: Server, error: DragomanError, status: int, kind: str, message: str, how: str
) -> None:
    def fail(request: InferRequest, reply: Reply) -> None:
        if how == "raised":
            raise error
        reply(error)

    server.desk.behaviour = fail
    answer = server.ask("POST", "/predictions/m", b"x")
    assert failure(answer)[:2] == (status, kind)
    assert failure(answer)[2].startswith(message)
    assert answer.headers["x-request-id"] == server.desk.requests[0].id


def test_an_odd_status_has_a_reason(server: Server) -> None:
    server.desk.behaviour = lambda request, reply: reply(PredictionFailed("odd", 513))
    assert server.ask("POST", "/predictions/m").line == "HTTP/1.1 513 Server Error (513)"


def test_a_broken_form_is_told_and_counted(server: Server) -> None:
    # row: broken-forms
    answer = server.ask("POST", "/predictions/m", b"x", "Content-Type: multipart/form-data; boundary=B")
    assert failure(answer)[:2] == (400, "BadRequestException")
    assert server.desk.stats.of("m", "2.0").answers["torchserve", "invalid_input"] == 1


def test_a_handler_chooses_status_reason_type_and_headers(server: Server) -> None:
    server.desk.behaviour = lambda request, reply: reply(
        response(b"tea", status=418, reason="Teapot", content_type="text/html", headers={"X-Mine": "v"})
    )
    answer = server.ask("POST", "/predictions/m", b"x")
    assert (answer.line, answer.body) == ("HTTP/1.1 418 Teapot", b"tea")
    assert (answer.headers["content-type"], answer.headers["x-mine"]) == ("text/html", "v")


@pytest.mark.parametrize(
    "parameters",
    [{"headers": {"X": "a\r\nY: b"}}, {"headers": {"X": "\u2603"}}, {"reason": "a\nb"}, {"content_type": "a\r\nb"},
     {"headers": {"a b": "c"}}, {"status": 99}],
)  # fmt: skip
@pytest.mark.parametrize("final", [True, False])
def test_a_handlers_head_that_can_not_be_sent_is_its_failure(
    server: Server, parameters: dict[str, Any], final: bool
) -> None:
    server.desk.behaviour = lambda request, reply: reply(response(b"x", final, **parameters))
    assert failure(server.ask("POST", "/predictions/m", b"x"))[:2] == (500, "InternalServerException")


def streaming(*outcomes: Any) -> Behaviour:
    def answer(request: InferRequest, reply: Reply) -> None:
        loop = asyncio.get_running_loop()
        for number, outcome in enumerate(outcomes):
            loop.call_later((number + 1) / 1000, reply, outcome)  # uvloop runs a delay of 0 out of turn

    return answer


def test_parts_of_an_answer_are_chunks(server: Server) -> None:
    parts = [
        response(b"hello ", False, content_type="text/plain"),
        response(b"", False),
        response(b"hello ", False),
    ]
    server.desk.behaviour = streaming(*parts, response(b"world"))
    client = server.live.connect()
    client.send(b"POST /predictions/m HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx" * 2)
    for _ in range(2):
        answer = client.answer()
        assert answer.line == "HTTP/1.1 200 "
        assert answer.headers["transfer-encoding"] == "chunked"
        assert answer.headers["content-type"] == "text/plain"
        assert "ts_stream_next" not in answer.headers
        assert answer.body == b"hello hello world"


def test_each_part_is_a_chunk_of_its_own(server: Server) -> None:
    def at_once(request: InferRequest, reply: Reply) -> None:
        for part in (response(b"one", False), response(b"two", False), response(b"three")):
            reply(part)

    server.desk.behaviour = at_once
    client = server.live.connect()
    client.send(b"POST /predictions/m HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    _, _, body = client.to_the_end().partition(b"\r\n\r\n")
    assert body == b"3\r\none\r\n3\r\ntwo\r\n5\r\nthree\r\n0\r\n\r\n"


def test_to_http_1_0_a_stream_ends_with_the_connection(server: Server) -> None:
    server.desk.behaviour = streaming(response(b"one", False), response(b"two"))
    client = server.live.connect()
    client.send(b"POST /predictions/m HTTP/1.0\r\n\r\n")
    head, _, body = client.to_the_end().partition(b"\r\n\r\n")
    assert body == b"onetwo"
    assert b"chunked" not in head


def test_a_stream_that_fails_is_cut_off_so_that_the_client_sees_it(server: Server) -> None:
    server.desk.behaviour = streaming(response(b"one", False), PredictionFailed("too late"))
    client = server.live.connect()
    client.send(b"POST /predictions/m HTTP/1.1\r\nHost: a\r\n\r\n")
    assert not client.to_the_end().endswith(b"0\r\n\r\n")
    assert server.live.good()


def test_nothing_is_computed_for_a_client_that_has_gone(server: Server) -> None:
    # row: gone-clients
    server.desk.behaviour = streaming(response(b"one", False))
    for path in (b"/predictions/m", b"/predictions/m/1.0"):
        client = server.live.connect()
        client.send(b"POST " + path + b" HTTP/1.1\r\nHost: a\r\n\r\n")
        client.take(20)
        client.close()
        if path.endswith(b"m"):
            server.desk.behaviour = lambda request, reply: reply(response(b"one", False))

    async def wait() -> None:
        async with asyncio.timeout(PATIENCE):
            while not all(entry.cancelled for entry in server.desk.entries):
                await asyncio.sleep(0.001)

    server.live.run(wait())
    assert len(server.desk.entries) == 2
    assert server.live.good()


def test_the_health_of_models_is_the_servers(server: Server) -> None:
    for method in ("GET", "POST"):
        answer = server.ask(method, "/ping")
        assert (answer.line, answer.body) == ("HTTP/1.1 200 OK", b'{\n  "status": "Healthy"\n}\n')
    assert server.ask("HEAD", "/ping").headers["content-length"] == "26"
    server.desk.healthy = False
    answer = server.ask("GET", "/ping")
    assert (answer.status, answer.body) == (500, b'{\n  "status": "Unhealthy"\n}\n')


def test_the_api_describes_itself(server: Server) -> None:
    for method, path in (("OPTIONS", "/"), ("GET", "/api-description")):
        document = json.loads(server.ask(method, path).body)
        assert "/v1/models/{model_name}:predict" in document["paths"]
    for path in (
        "/predictions/m",
        "/predictions/m/1.0",
        "/explanations/m",
        "/m/predict",
        "/v2/models/m/infer",
    ):
        assert json.loads(server.ask("OPTIONS", path).body)["info"]["title"] == "RESTful API for: m"
    assert server.ask("OPTIONS", "/predictions/none").status == 404
    assert not server.desk.requests


def test_cors_headers_are_on_every_answer_when_configured() -> None:
    options = Options(cors_allowed_origin="https://a.example", cors_allowed_methods="GET, POST")
    for server in server_of(options):
        for method, path in (
            ("OPTIONS", "/"),
            ("GET", "/ping"),
            ("POST", "/predictions/m"),
            ("GET", "/none"),
        ):
            headers = server.ask(method, path).headers
            assert headers["access-control-allow-origin"] == "https://a.example"
            assert headers["access-control-allow-methods"] == "GET, POST"
            assert "access-control-allow-headers" not in headers


def test_the_open_inference_protocol_is_served_when_configured() -> None:
    # row: oip-ready
    for server in server_of(Options(open_inference_protocol=True)):
        metadata = json.loads(server.ask("GET", "/v2").body)
        assert metadata["name"] == "Torchserve"
        assert metadata["extenstion"] == metadata["extensions"] == ["kserve", "kubeflow"]
        assert json.loads(server.ask("GET", "/v2/health/live").body) == {"live": True}
        assert json.loads(server.ask("GET", "/v2/health/ready").body) == {"ready": True}
        server.desk.ready = False
        assert server.ask("GET", "/v2/health/ready").status == 503
        answer = server.ask("POST", "/v2/models/m/versions/1/infer", b"{}")
        assert (answer.status, json.loads(answer.body)) == (
            501,
            {"error": "Model versioning is not yet supported."},
        )
        assert failure(server.ask("GET", "/v2/models/m")) == NOTHING
        assert server.sees("POST", "/v2/models/m/infer", b"x")["version"] == "2.0"


def test_nothing_but_the_description_is_open_to_strangers() -> None:
    class BadKey(DragomanError):
        code = Code.UNAUTHORIZED

    def authorize(http: HttpRequest, operation: str) -> None:
        assert operation == "inference"
        if http.header(b"authorization") != "Bearer key":
            raise BadKey("no")

    for server in server_of(Options(open_inference_protocol=True), authorize):
        for route in server.live.router.routes():
            if route.pattern in ("/echo", "/health"):
                continue
            path = route.pattern.replace("{*}", "m").replace("{}", "m")
            for method in route.methods:
                if method == "HEAD":
                    continue
                answer = server.ask(method, path, b"x")
                if (method, path) in {("OPTIONS", "/"), ("GET", "/api-description")}:
                    assert answer.status == 200
                else:
                    assert failure(answer) == (400, "InvalidKeyException", "no"), (method, path)
        assert failure(server.ask("GET", "/none"))[1] == "InvalidKeyException"
        assert not server.desk.requests
        assert server.ask("GET", "/ping", b"", "Authorization: Bearer key").status == 200
        assert server.sees("POST", "/predictions/m", b"x", "Authorization: Bearer key")


def test_beside_other_dialects_only_some_paths_are_torchserves() -> None:
    for server in server_of(profile=False):
        patterns = {route.pattern for route in server.live.router.routes()}
        assert patterns == {
            "/", "/ping", "/api-description", "/predictions/{*}", "/explanations/{*}", "/invocations",
            "/models/{}/invoke", "/echo", "/health",
        }  # fmt: skip
        assert "/v1/models/{model_name}:predict" not in json.loads(server.ask("OPTIONS", "/").body)["paths"]
        assert server.ask("GET", "/").status == 405
        assert server.ask("GET", "/none").body == b'{"error":"Not Found"}'


def test_a_client_that_reads_too_slowly_is_given_up() -> None:
    # row: slow-readers
    class Http:
        aborted = False

        async def send(self, piece: bytes) -> None:
            await asyncio.Event().wait()

        def abort(self) -> None:
            self.aborted = True

    async def main() -> None:
        http, gone = Http(), []
        writer = PieceWriter(http, lambda: gone.append(True))  # type: ignore[arg-type]
        piece = bytes(MAX_WAITING // 4)
        for _ in range(8):
            await asyncio.sleep(0)
            writer.write(piece)
        assert http.aborted
        assert gone == [True]
        writer._task.cancel()

    asyncio.run(main())
