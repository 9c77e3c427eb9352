"""Secrets are nowhere but where they belong: marked ones, and everything a server says and writes."""

import base64
import hashlib
import json
import logging
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import grpc
import psutil
import pytest

from dragoman.config import AuthSettings, LogSettings, ManagementSettings, ServerSettings, Settings
from dragoman.errors import ConfigError
from dragoman.log import ConsoleFormatter, JsonFormatter
from dragoman.store.accounts import Key
from dragoman.testing import TestClient
from dragoman.transport.tls import Certificates
from dragoman.users.registrar import By
from tests.test_operations import DOORS, METHODS
from tests.transport.authority import Authority

FIXED = "fixed-s3cret-key-of-the-settings"
MANAGEMENT = "management-s3cret-key"
RESTRICTION = "restriction-s3cret-value"
PASSWORD = "p4ssword-s3cret-of-a-user"
WRONG = "wrong-s3cret-that-somebody-tries"


class Tell:
    """Dies when it is told to, so that there are crash reports, and answers with all it can see of a request."""

    inputs = {"x": ("FP32", [-1])}
    outputs = {"y": ("FP32", [-1])}

    def predict(self, x):
        if x.size and x[0] < 0:
            raise ValueError("a model's own failure")
        return {"y": x}


class Seen(logging.Handler):
    """Every log line, as people and programs see it."""

    def __init__(self) -> None:
        super().__init__(logging.NOTSET)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines += [JsonFormatter().format(record), ConsoleFormatter(colour=False).format(record)]


@pytest.fixture
def log() -> Iterator[Seen]:
    seen, root = Seen(), logging.getLogger()
    level = root.level
    root.addHandler(seen)
    root.setLevel(logging.DEBUG)
    access = logging.getLogger("dragoman.access")
    before = access.disabled, access.level
    access.disabled = False
    access.setLevel(logging.INFO)
    yield seen
    root.removeHandler(seen)
    root.setLevel(level)
    access.disabled, access.level = before


def forms(secret: str) -> list[bytes]:
    """A secret, and what of it would still give it away."""
    raw = secret.encode()
    return [raw, base64.b64encode(raw)[:-4], raw.hex().encode(), json.dumps(secret).encode()]


def test_no_secret_is_anywhere(tmp_path: Path, log: Seen) -> None:
    store = tmp_path / "state.db"
    settings = Settings(
        server=ServerSettings(restrict=f"trace:trace-key={RESTRICTION}"),
        auth=AuthSettings(key=FIXED, store=str(store)),
        management=ManagementSettings(key=MANAGEMENT),
        log=LogSettings(level="debug", access=True),
    )
    said: list[bytes] = []
    with TestClient(Tell, settings=settings) as client:
        registrar = client.app.access.registrar
        made = registrar.create_key(
            Key(roles=frozenset({"infer", "read"}), name="ci", daily=1000), By("test")
        )[1]
        registrar.add_user("ann", PASSWORD, ["manage"], ["*"], By("test"))
        login = json.dumps({"username": "ann", "password": PASSWORD}).encode()
        tokens = client.request("POST", "/users/login", login).json()
        again = client.request(
            "POST", "/users/refresh", json.dumps({"refresh_token": tokens["refresh_token"]}).encode()
        ).json()
        secrets = [made, tokens["access_token"], again["access_token"], FIXED, MANAGEMENT, WRONG]
        for secret in secrets:
            said += ask_everything(client, secret)
            said += call_everything(client, secret)
        said += mistakes(client, tokens["refresh_token"])
        for document in (
            "/users",
            "/keys",
            "/audit?limit=1000",
            "/metrics",
            "/crashes",
            "/api-description",
            "/",
        ):
            said.append(client.request("GET", document, headers={"X-API-Key": FIXED}).body)
        said += [b" ".join(word.encode() for word in each.cmdline()) for each in processes()]
        signing = [key.secret for key in registrar.look().signing]
        hashes = [user.password for user in registrar.look().users.values()]
    secrets += [RESTRICTION, PASSWORD, tokens["refresh_token"], again["refresh_token"], *hashes]
    secrets += [key.hex() for key in signing] + [repr(key) for key in signing]
    places = {"log": "\n".join(log.lines).encode(), "said": b"\n".join(said)}
    assert b'"event": "request"' in places["log"]
    assert b"audit" in places["log"]
    for place, content in places.items():
        for secret in secrets:
            for form in forms(secret):
                assert form not in content, (place, form[:60])
    kept = b"".join(path.read_bytes() for path in tmp_path.glob("state.db*"))
    for secret in (FIXED, MANAGEMENT, RESTRICTION, PASSWORD, WRONG, made, *tokens.values(), *again.values()):
        if isinstance(secret, str) and secret != "Bearer":
            assert secret.encode() not in kept
    assert hashlib.sha256(made.encode()).hexdigest().encode() in kept


def test_a_key_of_tls_that_does_not_fit_is_not_shown(tmp_path: Path, log: Seen) -> None:
    authority = Authority(tmp_path, "authority")
    one, other = authority.sign("one"), authority.sign("other")
    garbage = tmp_path / "garbage.pem"
    garbage.write_bytes(other.key.read_bytes()[:-80])
    for key in (other.key, garbage):
        with pytest.raises(ConfigError) as refused:
            Certificates(str(one.cert), str(key))
        told = f"{refused.value} {refused.value.hint} {log.lines}"
        assert not any(line in told for line in key.read_text().splitlines()[1:3])


def ask_everything(client: TestClient, secret: str) -> Iterator[bytes]:
    """Each route, once with the key that it is about and once where it doesn't belong."""
    for _, line in DOORS:
        words, _, path = line.rpartition(" ")
        if words == "gRPC" or path in ("/users/login", "/users/refresh"):
            continue
        named = path.replace("{*}", "Tell").replace("{}", "Tell", 1).replace("{}", "1")
        method = "POST" if words == "*" else words.split()[0]
        if method == "DELETE" and "/models/" in path:
            continue  # it is still needed
        for headers in (
            {"Authorization": f"Bearer {secret}"},
            {"X-API-Key": secret},
            {"Authorization": f"Basic {secret}"},
        ):
            answer = client.request(method, named, b'{"x": [1]}', headers)
            yield answer.body + repr(answer.headers).encode()
    body = b'{"inputs": [{"name": "x", "datatype": "FP32", "shape": [1], "data": [-1]}]}'
    yield client.request("POST", "/v2/models/Tell/infer", body, {"X-API-Key": secret}).body
    assert "GET" in METHODS


def call_everything(client: TestClient, secret: str) -> Iterator[bytes]:
    with grpc.insecure_channel(client.grpc) as channel:
        for _, line in DOORS:
            words, _, path = line.rpartition(" ")
            if words != "gRPC":
                continue
            metadata = [("authorization", f"Bearer {secret}"), ("triton-grpc-protocol-trace-key", secret)]
            call = channel.stream_stream(path)(iter([b"\x0a\x04Tell"]), metadata=metadata, timeout=60)
            try:
                yield next(call)
            except StopIteration:
                pass
            except grpc.RpcError as error:
                yield f"{error.details()} {error.trailing_metadata()}".encode()
            finally:
                call.cancel()


def mistakes(client: TestClient, used: str) -> Iterator[bytes]:
    """Secrets where they don't belong, and bodies that are wrong."""
    for path, document in (
        ("/users/login", {"username": PASSWORD, "password": WRONG}),
        ("/users/login", {"username": "ann", "password": WRONG}),
        ("/users/login", {"username": "ann", "password": [PASSWORD]}),
        ("/users/login", {"username": "ann", "password": PASSWORD, "otp": PASSWORD}),
        ("/users/refresh", {"refresh_token": used}),
        ("/users/refresh", {"refresh_token": {"is": used}}),
        ("/users/logout", {"refresh_token": WRONG}),
    ):
        yield client.request("POST", path, json.dumps(document).encode()).body
        yield client.request("POST", path, f"username={WRONG}&password={PASSWORD}&x={used}".encode()).body
    admin = {"X-API-Key": FIXED}
    for method, path, document in (
        ("POST", "/users", {"name": "bob", "password": PASSWORD[:5], "roles": ["read"]}),
        ("POST", "/users", {"name": "bob", "password": PASSWORD, "roles": ["nothing"]}),
        ("PATCH", "/users/ann", {"password": PASSWORD[:5]}),
        ("PATCH", "/users/ann", {"password": {"is": PASSWORD}}),
    ):
        yield client.request(method, path, json.dumps(document).encode(), admin).body


def processes() -> list[psutil.Process]:
    return psutil.Process().children(recursive=True)


def test_a_model_is_not_told_the_key_that_a_request_came_with(tmp_path: Path) -> None:
    (tmp_path / "handler.py").write_text(
        "class Handler:\n"
        "    def initialize(self, context): pass\n"
        "    def handle(self, data, context):\n"
        "        return [str(context.get_all_request_header(0)) for _ in data]\n"
        "def handle(data, context):\n"
        "    return [] if data is None else [str(context.get_all_request_header(0)) for _ in data]\n"
    )
    subprocess.run(
        [*ARCHIVE, "--model-name", "told", "--version", "1.0", "--handler", "handler.py", "--export-path", "."],
        cwd=tmp_path, check=True, capture_output=True,
    )  # fmt: skip
    with TestClient(str(tmp_path / "told.mar"), settings=Settings(auth=AuthSettings(key=FIXED))) as client:
        for headers in (
            {"Authorization": f"Bearer {FIXED}", "X-Mine": "seen"},
            {"X-API-Key": FIXED, "X-Mine": "seen", "Authorization": "Basic for-another"},
        ):
            for _ in range(2):
                answer = client.request("POST", "/predictions/told", b"x", headers)
                assert answer.status == 200
                assert b"seen" in answer.body
                assert FIXED.encode() not in answer.body
        assert b"for-another" in answer.body


ARCHIVE = (sys.executable, "-m", "dragoman", "archive")


@pytest.mark.parametrize("as_json", [(), ("--json",)])
def test_the_settings_are_shown_without_secrets(tmp_path: Path, as_json: tuple[str, ...]) -> None:
    from tests.cli.running import dragoman

    url = "postgresql+psycopg://ann:db-s3cret@db.example/dragoman"
    done = dragoman(
        "config", "show", *as_json, cwd=tmp_path,
        DRAGOMAN_AUTH__KEY=FIXED, DRAGOMAN_MANAGEMENT__KEY=MANAGEMENT, DRAGOMAN_AUTH__STORE=url,
        DRAGOMAN_SERVER__RESTRICT=f"trace:k={RESTRICTION}",
    )  # fmt: skip
    assert done.returncode == 0
    assert "postgresql+psycopg://ann:***@db.example/dragoman" in done.stdout
    for secret in (FIXED, MANAGEMENT, RESTRICTION, "db-s3cret"):
        assert secret not in done.stdout + done.stderr


def test_every_setting_that_is_a_secret_says_so() -> None:
    from dragoman.config import describe

    named = {entry.name for entry in describe() if re.search(r"key$|secret|password|token$", entry.key)}
    secrets = {entry.name for entry in describe() if entry.secret}
    assert named - {"server.tls_key"} <= secrets  # which is a file's name
