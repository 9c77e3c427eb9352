"""The ports of a running server, each with its routes and its key."""

import contextlib
import http.client
import json
import socket
import ssl
import subprocess

import grpc
import pytest

from dragoman.errors import ConfigError
from dragoman.profiles.torchserve.launcher import hide_variables
from dragoman.profiles.torchserve.settings import read
from tests.profiles.archives import BROKEN, write_archive
from tests.profiles.running import INFERENCE, MANAGEMENT, METRICS, serving

NO = "Token Authorization failed. Token either incorrect, expired, or not provided correctly"
NOT_RENEWED = NO.replace("Authorization", "Authentication")


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def locked(tmp_path_factory, cache):
    directory = tmp_path_factory.mktemp("locked")
    (directory / "store").mkdir()
    write_archive(directory / "store", "echo")
    with serving(
        directory, cors_allowed_origin="https://yourdomain.com", metrics_mode="prometheus"
    ) as running:
        yield running


@pytest.fixture(scope="module")
def open_doors(tmp_path_factory, cache):
    directory = tmp_path_factory.mktemp("open")
    (directory / "store").mkdir()
    for name in ("a", "b", "c"):
        write_archive(directory / "store", name)
    with serving(directory, disable_token_authorization="true") as running:
        yield running


# The doors: a port, a path, and the name of the key that opens it ("" for none).
DOORS = [
    (INFERENCE, "GET", "/ping", "inference"),
    (INFERENCE, "POST", "/predictions/echo", "inference"),
    (INFERENCE, "POST", "/predictions/echo/1.0", "inference"),
    (INFERENCE, "POST", "/predictions/nosuch", "inference"),
    (INFERENCE, "POST", "/explanations/echo", "inference"),
    (INFERENCE, "POST", "/v1/models/echo:predict", "inference"),
    (INFERENCE, "POST", "/v2/models/echo/infer", "inference"),
    (INFERENCE, "POST", "/invocations", "inference"),
    (INFERENCE, "POST", "/models/echo/invoke", "inference"),
    (INFERENCE, "POST", "/echo/predict", "inference"),
    (INFERENCE, "GET", "/nosuch", "inference"),
    (INFERENCE, "GET", "/", "inference"),
    (INFERENCE, "GET", "/token?type=inference", "inference"),
    (INFERENCE, "OPTIONS", "/predictions/echo", "inference"),
    (INFERENCE, "OPTIONS", "/", ""),
    (INFERENCE, "GET", "/api-description", ""),
    (MANAGEMENT, "GET", "/models", "management"),
    (MANAGEMENT, "GET", "/models?x=/token", "management"),
    (MANAGEMENT, "POST", "/models?url=ret.mar", "management"),
    (MANAGEMENT, "DELETE", "/models/echo", "management"),
    (MANAGEMENT, "GET", "/nosuch", "management"),
    (MANAGEMENT, "GET", "/", "management"),
    (MANAGEMENT, "OPTIONS", "/", ""),
    (MANAGEMENT, "GET", "/api-description", ""),
    (METRICS, "GET", "/metrics", ""),
    (METRICS, "GET", "/nosuch", ""),
]


@pytest.mark.parametrize(("port", "method", "path", "scope"), DOORS)
@pytest.mark.parametrize("shown", ["", "inference", "management", "API", "wrong"])
def test_each_door_opens_to_its_own_key_alone(locked, port, method, path, scope, shown):
    key = "wrong" if shown == "wrong" else locked.keys.get(shown, "")
    answer = locked.ask(port, path, method, key)
    refused = answer.status == 400 and answer.body != b"" and answer.json.get("type") == "InvalidKeyException"
    assert refused is (scope not in ("", shown))
    if refused:
        assert answer.json == {"code": 400, "type": "InvalidKeyException", "message": NO}
        assert [*answer.json] == ["code", "type", "message"]
        assert answer.headers["access-control-allow-origin"] == "https://yourdomain.com"
        assert answer.headers["content-length"] == "154"


#: Routes that anybody may ask, by port.
FOR_ALL = {
    INFERENCE: {("OPTIONS", "/"), ("GET", "/api-description")},
    MANAGEMENT: {("OPTIONS", "/"), ("GET", "/api-description")},
    METRICS: None,
}


@pytest.mark.parametrize("port", [INFERENCE, MANAGEMENT])
@pytest.mark.parametrize("shown", ["", "other", "wrong"])
def test_every_route_there_is_asks_for_a_key(locked, port, shown):
    other = locked.keys["management" if port == INFERENCE else "inference"]
    key = {"": "", "other": other, "wrong": "wrong"}[shown]
    asked = 0
    for route in locked.app.listeners[port].router.routes():
        for method in route.methods:
            if (method, route.pattern) not in FOR_ALL[port]:
                path = route.pattern.replace("{*}", "echo").replace("{}", "echo")
                answer = locked.ask(port, path, method, key)
                assert answer.status == 400, (method, path)
                assert answer.headers["content-type"] == "application/json"
                assert method == "HEAD" or answer.json["type"] == "InvalidKeyException", (method, path)
                asked += 1
    assert asked > 5


@pytest.mark.parametrize("shown", ["", "inference", "management", "wrong"])
def test_keys_are_renewed_with_the_api_key_alone(locked, shown):
    key = "wrong" if shown == "wrong" else locked.keys.get(shown, "")
    before = locked.keys
    answer = locked.ask(MANAGEMENT, "/token?type=management", key=key)
    assert answer.status == 400
    assert answer.json == {"code": 400, "type": "InvalidKeyException", "message": NOT_RENEWED}
    assert locked.keys == before


@pytest.mark.parametrize(
    "query", ["", "?type=", "?type=foo", "?type=API", "?kind=inference", "?type=INFERENCE"]
)
def test_only_the_two_keys_can_be_renewed(locked, query):
    answer = locked.ask(MANAGEMENT, f"/token{query}", key=locked.keys["API"])
    assert (answer.status, answer.json["message"]) == (400, NOT_RENEWED)


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize(
    ("kind", "port", "path"), [("inference", INFERENCE, "/ping"), ("management", MANAGEMENT, "/models")]
)
def test_a_renewed_key_is_in_the_file_only(locked, kind, port, path, method):
    old = locked.keys
    answer = locked.ask(MANAGEMENT, f"/token?type={kind}", method, key=old["API"])
    assert (answer.status, answer.body) == (200, b"\n")
    assert answer.headers["content-type"] == "application/json"
    assert {name for name in old if locked.keys[name] != old[name]} == {kind}
    assert locked.ask(port, path, key=old[kind]).status == 400
    assert locked.ask(port, path, key=locked.keys[kind]).status == 200


def test_a_prediction_is_answered(locked):
    answer = locked.ask(INFERENCE, "/predictions/echo", "POST", locked.keys["inference"], b"hello")
    assert (answer.status, answer.json) == (200, {"got": "hello", "kind": "bytearray"})


def test_metrics_are_told_and_chosen(locked):
    locked.ask(INFERENCE, "/predictions/echo", "POST", locked.keys["inference"], b"hello")
    answer = locked.ask(METRICS, "/metrics")
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert b'ts_inference_requests_total{model_name="echo",model_version="default",' in answer.body
    assert b'Requests4XX{Level="Host"' in answer.body
    for query in ("name[]=Requests2XX", "name%5B%5D=Requests2XX"):
        chosen = locked.ask(METRICS, f"/metrics?{query}", "POST").body.decode()
        assert chosen.startswith("# HELP Requests2XX ")
        assert chosen.count("\n") == 3


def test_no_key_is_ever_in_an_answer(locked):
    for port, method, path, scope in DOORS:
        answer = locked.ask(port, path, method, locked.keys.get(scope, ""))
        text = answer.body + repr(answer.headers).encode()
        assert not any(key.encode() in text for key in locked.keys.values())


def test_errors_are_torchserves_on_every_port(open_doors):
    not_found = {
        "code": 404,
        "type": "ResourceNotFoundException",
        "message": "Requested resource is not found, please refer to API document.",
    }
    not_allowed = {
        "code": 405,
        "type": "MethodNotAllowedException",
        "message": "Requested method is not allowed, please refer to API document.",
    }
    for port in (INFERENCE, MANAGEMENT, METRICS):
        assert open_doors.ask(port, "/nosuch").json == not_found
        answer = open_doors.ask(port, "/")
        assert (answer.status, answer.json) == (405, not_allowed)
        assert "access-control-allow-origin" not in answer.headers
        assert answer.headers["pragma"] == "no-cache"
    for path in ("/ping", "/metrics", "/predictions/a", "/token?type=management"):
        assert open_doors.ask(MANAGEMENT, path).json == not_found
    for method in ("POST", "PATCH", "DELETE"):
        assert open_doors.ask(MANAGEMENT, "/models", method).json == not_allowed


def test_each_port_describes_itself(open_doors):
    for port, path in ((INFERENCE, "/ping"), (MANAGEMENT, "/models"), (METRICS, "/metrics")):
        for method, where in (("OPTIONS", "/"), ("GET", "/api-description")):
            document = open_doors.ask(port, where, method).json
            assert document["openapi"] == "3.0.1"
            assert document["info"]["title"] == "TorchServe APIs"
            assert path in document["paths"]


def test_metrics_are_empty_in_log_mode(open_doors):
    answer = open_doors.ask(METRICS, "/metrics")
    assert (answer.status, answer.body) == (200, b"")
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"


@pytest.mark.parametrize(
    ("query", "names", "token"),
    [
        ("", "abc", None), ("?limit=2", "ab", "2"), ("?limit=2&next_page_token=2", "c", None),
        ("?limit=3", "abc", "3"), ("?limit=0", "", "0"), ("?limit=-1", "abc", None), ("?limit=101", "abc", None),
        ("?limit=abc&next_page_token=xyz", "abc", None), ("?next_page_token=1000", "", None),
        ("?limit=1&next_page_token=1", "b", "2"),
    ],
)  # fmt: skip
def test_models_are_listed_by_pages(open_doors, query, names, token):
    document = open_doors.ask(MANAGEMENT, f"/models{query}").json
    assert document["models"] == [{"modelName": name, "modelUrl": f"{name}.mar"} for name in names]
    assert document.get("nextPageToken") == token
    assert next(iter(document)) == ("models" if token is None else "nextPageToken")


VERSION = (
    "def handle(data, context):\n    return [context.manifest['model']['modelVersion']] * len(data or ())\n"
)


@pytest.mark.parametrize(
    ("models", "default", "url"),
    [
        ({}, b"1.0", "one.mar"),
        ({"m": {"2.0": {"defaultVersion": True}, "1.0": {"defaultVersion": False}}}, b"2.0", "two.mar"),
        ({"m": {"2.0": {"defaultVersion": "true"}, "7.0": {"defaultVersion": True}}}, b"1.0", "one.mar"),
    ],
)
def test_the_first_version_of_the_list_is_the_default_unless_models_says_another(
    tmp_path, cache, models, default, url
):
    (tmp_path / "store").mkdir()
    write_archive(tmp_path / "store", "m", VERSION, version="1.0", file="one.mar")
    write_archive(tmp_path / "store", "m", VERSION, version="2.0", file="two.mar")
    said = {"load_models": "one.mar,two.mar", "models": json.dumps(models), "metrics_mode": "prometheus"}
    with serving(tmp_path, disable_token_authorization="true", **said) as running:
        assert running.ask(INFERENCE, "/predictions/m", "POST").body == default
        for version in ("1.0", "2.0"):
            assert running.ask(INFERENCE, f"/predictions/m/{version}", "POST").body == version.encode()
        assert running.ask(MANAGEMENT, "/models").json == {"models": [{"modelName": "m", "modelUrl": url}]}
        scraped = running.ask(METRICS, "/metrics").body.decode()
        other = {b"1.0": "2.0", b"2.0": "1.0"}[default]
        assert 'ts_inference_requests_total{model_name="m",model_version="default",' in scraped
        assert f'ts_inference_requests_total{{model_name="m",model_version="{other}",' in scraped


def test_a_default_version_that_could_not_be_loaded_is_not_replaced_by_another(tmp_path, cache):
    (tmp_path / "store").mkdir()
    write_archive(tmp_path / "store", "m", BROKEN, version="1.0", file="one.mar")
    write_archive(tmp_path / "store", "m", VERSION, version="2.0", file="two.mar")
    said = {"load_models": "one.mar,two.mar", "metrics_mode": "prometheus"}
    with serving(tmp_path, disable_token_authorization="true", **said) as running:
        answer = running.ask(INFERENCE, "/predictions/m", "POST")
        assert (answer.status, answer.json["type"]) == (503, "ServiceUnavailableException")
        assert running.ask(INFERENCE, "/predictions/m/2.0", "POST").body == b"2.0"
        assert running.ask(METRICS, "/metrics").status == 200


def test_no_key_file_is_written_where_nobody_is_asked(open_doors):
    assert not (open_doors.directory / "key_file.json").exists()
    assert open_doors.ask(INFERENCE, "/ping", key="whatever").json == {"status": "Healthy"}


def test_the_key_file_lives_as_long_as_the_server(tmp_path):
    with serving(tmp_path):
        assert (tmp_path / "key_file.json").stat().st_mode & 0o777 == 0o600
    assert not (tmp_path / "key_file.json").exists()


def test_keys_expire(tmp_path):
    with serving(tmp_path, token_expiration_min="0") as running:
        assert running.ask(INFERENCE, "/ping", key=running.keys["inference"]).status == 400


def test_no_port_is_opened_where_keys_can_not_be_written(tmp_path):
    (tmp_path / "key_file.json").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ConfigError, match="no ordinary file"), serving(tmp_path):
        pass
    assert not (tmp_path / "elsewhere").exists()


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return taken.getsockname()[1]


def test_equal_addresses_share_a_port(tmp_path):
    address = f"http://127.0.0.1:{free_port()}"
    names = ("inference_address", "management_address", "metrics_address")
    with serving(tmp_path, **dict.fromkeys(names, address)) as running:
        assert len(running.app.listeners) == 1
        keys = running.keys
        assert running.ask(0, "/ping", key=keys["inference"]).status == 200
        assert running.ask(0, "/ping", key=keys["management"]).status == 400
        assert running.ask(0, "/models", key=keys["management"]).status == 200
        assert running.ask(0, "/models", key=keys["inference"]).status == 400
        assert running.ask(0, "/metrics").status == 200
        assert running.ask(0, "/token?type=inference", key=keys["API"]).status == 200


def test_the_metrics_port_can_stay_closed(tmp_path):
    with serving(tmp_path, enable_metrics_api="false") as running:
        assert len(running.app.listeners) == 2


def test_a_taken_port_is_told_and_the_keys_go(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"http://127.0.0.1:{taken.getsockname()[1]}"
        with (
            pytest.raises(ConfigError, match="can't listen on") as refused,
            serving(tmp_path, management_address=address),
        ):
            pass
    assert refused.value.hint == "change the address in config.properties"
    assert not (tmp_path / "key_file.json").exists()


def test_a_unix_socket_is_an_address_too(tmp_path):
    path = tmp_path / "m.sock"
    stale = socket.socket(socket.AF_UNIX)
    stale.bind(str(path))
    stale.close()
    with serving(tmp_path, management_address=f"unix:{path}", disable_token_authorization="true") as running:
        assert running.app.listeners[1].url == f"unix:{path}"
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))
            client.sendall(b"GET /models HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            assert client.makefile("rb").read().startswith(b"HTTP/1.1 200 ")
    assert not path.exists()


def test_https_with_a_certificate_and_its_key(tmp_path):
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost",
         "-addext", "subjectAltName=DNS:localhost", "-keyout", tmp_path / "key.pem", "-out", tmp_path / "cert.pem"],
        check=True, capture_output=True,
    )  # fmt: skip
    files = {"certificate_file": "cert.pem", "private_key_file": "key.pem", "enable_grpc_ssl": "true"}
    with serving(tmp_path, inference_address="https://127.0.0.1:0", **files) as running:
        assert running.app.url.startswith("https://")
        context = ssl.create_default_context(cafile=str(tmp_path / "cert.pem"))
        port = running.app.listeners[INFERENCE].port
        connection = http.client.HTTPSConnection("localhost", port, timeout=30, context=context)
        with contextlib.closing(connection):
            connection.request(
                "GET", "/ping", headers={"Authorization": f"Bearer {running.keys['inference']}"}
            )
            assert connection.getresponse().status == 200
        assert running.ask(MANAGEMENT, "/models", key=running.keys["management"]).status == 200
        credentials = grpc.ssl_channel_credentials((tmp_path / "cert.pem").read_bytes())
        for listener, name in zip(running.app.grpc_listeners, ("inference", "management"), strict=True):
            ping = (
                "inference.InferenceAPIsService/Ping"
                if name == "inference"
                else "management.ManagementAPIsService/ListModels"
            )
            with grpc.secure_channel(f"localhost:{listener.port}", credentials) as channel:
                key = [("authorization", f"Bearer {running.keys[name]}")]
                assert channel.unary_unary(f"/org.pytorch.serve.grpc.{ping}")(b"", timeout=30, metadata=key)


def test_a_body_beyond_max_request_size_is_refused(tmp_path):
    with serving(tmp_path, max_request_size="100000", disable_token_authorization="true") as running:
        assert running.ask(INFERENCE, "/predictions/x", "POST", body=b"x" * 100_001).status == 413


def test_hidden_variables_are_taken_out_of_the_environment(tmp_path):
    (tmp_path / "store").mkdir()
    pattern = read(
        {"model_store": "store", "blacklist_env_vars": ".*USERNAME.*|.*PASSWORD.*"}, tmp_path
    ).hidden_variables
    environ = {"MY_PASSWORD_1": "x", "USERNAME": "y", "PATH": "/bin", "password": "z"}
    hide_variables(pattern, environ)
    assert environ == {"PATH": "/bin", "password": "z"}
    hide_variables(None, environ)
    assert len(environ) == 2
