"""The doors as a table: every REST route and gRPC method of a live server, asked with and without every header."""

import http.client
import tomllib
from pathlib import Path

import grpc
import pytest

from dragoman.app import grpc_routes
from dragoman.config import AuthSettings, ServerSettings, Settings
from dragoman.testing import TestClient
from dragoman.transport.auth import OPERATIONS, TOGETHER
from dragoman.transport.restricting import Restrictions
from dragoman.transport.router import Router

TABLE = tomllib.loads((Path(__file__).parent / "operations.toml").read_text("utf-8"))
DOORS = [(operation, line) for operation, lines in TABLE.items() for line in lines]
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
#: The name by which each operation is restricted.
NAMES = dict.fromkeys(OPERATIONS) | {each: name for name, group in TOGETHER.items() for each in group}
NAMES = {operation: name or operation for operation, name in NAMES.items()}
EVERYTHING = "; ".join(f"{name}:{name}-key={name}-value" for name in dict.fromkeys(NAMES.values()))
#: Opens every other door there is.
KEY = {"Authorization": "Bearer a-key-that-may-do-everything"}


class Sum:
    inputs = {"x": ("FP32", [-1])}
    outputs = {"y": ("FP32", [-1])}

    def predict(self, x):
        return {"y": x}


@pytest.fixture(scope="module")
def locked(tmp_path_factory):
    store = tmp_path_factory.mktemp("state") / "accounts.db"
    auth = AuthSettings(key=KEY["Authorization"].removeprefix("Bearer "), store=str(store))
    with TestClient(Sum, settings=Settings(server=ServerSettings(restrict=EVERYTHING), auth=auth)) as client:
        yield client


@pytest.fixture(scope="module")
def channel(locked):
    with grpc.insecure_channel(locked.grpc) as channel:
        yield channel


def header_of(operation):
    return {f"{NAMES[operation]}-key": f"{NAMES[operation]}-value"}


#: Each with whether it opens a door of the operation.
def headers_for(operation):
    operation = NAMES[operation]
    yield {}, False
    yield {f"{operation}-key": "wrong"}, False
    yield {f"{operation}-key": ""}, False
    yield {f"{operation}-key": f"{operation}-values"}, False
    yield {f"{operation}-key": f"{operation}-Value"}, False
    yield {f"{operation.upper()}-KEY": f"{operation}-value"}, True
    for other in OPERATIONS:
        yield header_of(other), NAMES[other] == operation
    yield {key: value for other in OPERATIONS for key, value in header_of(other).items()}, True


def rest_is_let_in(client, method, path, headers):
    connection = http.client.HTTPConnection("127.0.0.1", client.app.port, timeout=60)
    try:
        connection.request(method, path, b"", headers | KEY)
        answer = connection.getresponse()
        body = answer.read()
    finally:
        connection.close()
    refused = method == "HEAD" or body.startswith(b'{"error":"This API is restricted, expecting header \'')
    return answer.status != 403 or not refused


def grpc_is_let_in(channel, path, headers):
    metadata = [(f"triton-grpc-protocol-{key.lower()}", value) for key, value in headers.items()]
    metadata += [(key.lower(), value) for key, value in KEY.items()]
    call = channel.stream_stream(path)(iter([b""]), metadata=metadata, timeout=60)
    try:
        next(call)  # a stream that has been let in may have no end
    except StopIteration:
        return True
    except grpc.RpcError as error:
        return not error.details().startswith(
            "This protocol is restricted, expecting header 'triton-grpc-protocol-"
        )
    finally:
        call.cancel()
    return True


@pytest.mark.parametrize(("operation", "line"), DOORS, ids=[line for _, line in DOORS])
def test_a_door_opens_to_its_header_and_to_no_other(locked, channel, operation, line):
    words, _, path = line.rpartition(" ")
    path = path.replace("{*}", "Sum").replace("{}", "Sum", 1).replace("{}", "1")
    for headers, opens in headers_for(operation):
        if words == "gRPC":
            assert grpc_is_let_in(channel, path, headers) is opens
            continue
        for method in METHODS if words == "*" else words.split():
            assert rest_is_let_in(locked, method, path, headers) is opens, (method, headers)


def test_every_route_is_in_the_table(locked):
    routes = []
    for route in locked.app.router.routes():
        words = "*" if set(route.methods) == set(METHODS) else " ".join(route.methods)
        routes.append(f"{words} {route.pattern}")
    routes += [f"gRPC {route.path}" for route in grpc_routes(locked.app)]
    assert sorted(routes) == sorted(line for _, line in DOORS)


@pytest.mark.parametrize(
    "path",
    ["//v2/models/Sum/infer", "/v2/models/Sum/infer/", "/v2/models/Sum/./infer", "/V2/models/Sum/infer",
     "/v2/models/%53um/infer", "/v2/models/Sum/infer?x", "/v2/models/Sum%2Finfer", "/%76%32/models/Sum/infer"],
)  # fmt: skip
def test_no_spelling_of_a_path_gets_around_the_table(locked, path):
    answer = locked.request("POST", path, b"{}", KEY)
    assert answer.status in (403, 404, 405)


@pytest.mark.parametrize(
    "path",
    ["/inference.GRPCInferenceService/ModelInfer/", "//inference.GRPCInferenceService/ModelInfer",
     "/inference.GRPCInferenceService/modelinfer", "/inference.GRPCInferenceService/ModelInfer%20",
     "inference.GRPCInferenceService/ModelInfer", "/inference.GRPCInferenceService/ModelInfer?x"],
)  # fmt: skip
def test_no_spelling_of_a_method_does_either(channel, path):
    with pytest.raises(grpc.RpcError) as caught:
        channel.unary_unary(path)(b"", timeout=60, metadata=[("authorization", KEY["Authorization"])])
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


def test_what_is_not_restricted_stays_open():
    settings = Settings(server=ServerSettings(restrict="model-config,statistics:admin-key=s3cret"))
    with TestClient(Sum, settings=settings) as client, grpc.insecure_channel(client.grpc) as channel:
        assert client.get("/v2/models/Sum").status == 200
        assert client.get("/v2/models/Sum/config").status == 403
        assert client.request("GET", "/v2/models/Sum/config", headers={"Admin-Key": "s3cret"}).status == 200
        service = "/inference.GRPCInferenceService/"
        assert grpc_is_let_in(channel, f"{service}ServerLive", {})
        assert not grpc_is_let_in(channel, f"{service}ModelConfig", {})
        assert grpc_is_let_in(channel, f"{service}ModelConfig", {"admin-key": "s3cret"})


def test_rest_and_grpc_may_ask_for_different_headers():
    rest, grpc = Restrictions.read("health:a=1", "metadata:b=2")
    assert [name for name in OPERATIONS if rest.asks(name)] == ["health"]
    assert [name for name in OPERATIONS if grpc.asks(name)] == ["metadata"]


def test_a_route_that_does_not_say_what_it_is_for_is_no_route():
    router = Router({})
    for operation in ("", "unheard-of"):
        with pytest.raises(ValueError, match="the route /x has the unknown operation"):
            router.add("GET", "/x", lambda http: None, operation=operation)
