"""Every route and gRPC method of a live server, asked with every kind of key: the one table of roles, from outside.

The doors are those of ``operations.toml``, which a test holds against the routes that there are.
"""

import http.client
import time
from collections.abc import Iterator
from dataclasses import replace

import grpc
import pytest

from dragoman.config import AuthSettings, Settings
from dragoman.store.accounts import Entry, Key, Session
from dragoman.testing import TestClient
from dragoman.transport.auth import ALLOWED, ROLES
from dragoman.users.keys import make_key
from dragoman.users.registrar import By, UserChange
from dragoman.users.tokens import Claims, sign
from tests.test_operations import DOORS, METHODS

ADMIN = "a-key-that-may-do-everything"
BY = By("test")
PASSWORD = "correct horse battery staple"

#: Doors that say nothing of any model, or only of those that the caller may use.
ANY_MODEL = {
    "GET /v2",
    "GET /v1/models",
    "GET /openai/v1/models",
    "GET /users/me",
    "gRPC /inference.GRPCInferenceService/ServerMetadata",
    "gRPC /grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    "gRPC /grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
}


class Sum:
    inputs = {"x": ("FP32", [-1])}
    outputs = {"y": ("FP32", [-1])}

    def predict(self, x):
        return {"y": x}


@pytest.fixture(scope="module")
def client(tmp_path_factory) -> Iterator[TestClient]:
    store = tmp_path_factory.mktemp("state") / "accounts.db"
    settings = Settings(auth=AuthSettings(key=ADMIN, store=str(store)))
    with TestClient(Sum, settings=settings) as client:
        yield client


@pytest.fixture(scope="module")
def channel(client) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(client.grpc) as channel:
        yield channel


@pytest.fixture(scope="module")
def secrets(client) -> dict[str, str | None]:
    """Keys and tokens by what is true of them."""
    registrar = client.app.access.registrar
    now = time.time()

    def key(*roles: str, **more: object) -> str:
        return registrar.create_key(Key(roles=frozenset(roles), **more), BY)[1]

    expired, text = make_key(Key(roles=frozenset({"admin"}), expires=now - 1))
    registrar.store.add_key(expired, Entry(at=now, who="test", what="an expired key"))
    revoked = registrar.create_key(Key(roles=frozenset({"admin"})), BY)
    registrar.revoke_key(revoked[0].id, BY)
    made: dict[str, str | None] = {"none": None, "wrong": "wrong", "another": f"{ADMIN}x", "expired": text}
    made |= {"revoked": revoked[1], "other model": key("admin", models=("Other", "s*", "Sum?"))}
    made |= {role: key(role) for role in ROLES}
    made |= {"this model": key("admin", models=("nothing", "S[u]m")), "fixed": ADMIN}
    signing = registrar.look().signing[0]
    for name in ("disabled", "ended", "late", "forged", "gone", "user"):
        registrar.add_user(name, PASSWORD, ["admin"], ["*"], BY)
        claims = Claims(name, name, now - 1 if name == "late" else now + 900)
        secret = replace(signing, secret=bytes(64)) if name == "forged" else signing
        made[f"token {name}"] = sign(secret, claims, now)
    entry = Entry(at=now, who="test", what="login")
    registrar.store.begin(Session(id="ended", user="ended", created=now), b"r" * 32, now + 900, entry)
    registrar.store.end(b"r" * 32, now)
    registrar.change_user("disabled", UserChange(disabled=True), BY)
    registrar.remove_user("gone", BY)
    client.call(client.app.access.look)
    return made


#: What is true of keys and tokens that are worth nothing.
WORTHLESS = ("none", "wrong", "another", "expired", "revoked",
             *(f"token {name}" for name in ("disabled", "ended", "late", "forged", "gone")))  # fmt: skip


def expected(operation: str, line: str) -> Iterator[tuple[str, str]]:
    """What becomes of each kind of key: let in, unknown, or forbidden."""
    roles = ALLOWED[operation]
    for kind in WORTHLESS:
        yield kind, "let in" if roles is None else "unknown"
    for role in ROLES:
        yield role, "let in" if roles is None or role in roles else "forbidden"
    yield "fixed", "let in"
    yield "token user", "let in"
    any_model = roles is None or line in ANY_MODEL
    yield "other model", "let in" if any_model or operation == "accounts" else "forbidden"
    about_one = ("{" in line and "/jobs" not in line) or line.startswith(("* /invocations", "gRPC"))
    whole = operation in (
        "model-index",
        "statistics",
        "logging",
        "inspection",
        "management",
        "shared-memory",
        "trace",
    )
    if not whole and about_one:
        yield "this model", "let in"


def rest(client: TestClient, method: str, path: str, secret: str | None) -> str:
    connection = http.client.HTTPConnection("127.0.0.1", client.app.port, timeout=60)
    headers = {} if secret is None else {"Authorization": f"Bearer {secret}"}
    try:
        # OpenAI's requests name their model in the body.
        connection.request(method, path, b'{"model": "Sum"}' if "/v1/" in path else b"", headers)
        answer = connection.getresponse()
        body = answer.read()
    finally:
        connection.close()
    if answer.status in (401, 429):  # who brings many wrong ones is told to wait
        return "unknown"
    ours = method == "HEAD" or b"needs the role" in body or b"is for" in body
    return "forbidden" if answer.status == 403 and ours else "let in"


def call(channel: grpc.Channel, path: str, secret: str | None) -> str:
    place = b"\x12" if "RepositoryModel" in path else b"\x0a"  # the field with the model's name
    message = b"" if "Reflection" in path else place + b"\x03Sum"
    metadata = [("triton_grpc_error", "true")]
    metadata += [] if secret is None else [("x-api-key", secret)]
    call = channel.stream_stream(path)(iter([message]), metadata=metadata, timeout=60)
    try:
        next(call)  # a stream that has been let in may have no end
    except StopIteration:
        return "let in"
    except grpc.RpcError as error:
        if error.code() in (grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.RESOURCE_EXHAUSTED):
            return "unknown"
        told = "needs the role" in error.details() or "is for" in error.details()
        return "forbidden" if error.code() is grpc.StatusCode.PERMISSION_DENIED and told else "let in"
    finally:
        call.cancel()
    return "let in"


@pytest.mark.parametrize(("operation", "line"), DOORS, ids=[line for _, line in DOORS])
def test_a_door_opens_to_who_may_and_to_nobody_else(client, channel, secrets, operation, line):
    words, _, path = line.rpartition(" ")
    named = path.replace("{*}", "Sum").replace("{}", "Sum", 1).replace("{}", "1")
    if named.startswith("/v2/repository/Sum/models/"):
        named = named.replace("/1/", "/Sum/")  # here the second one is the model
    for kind, outcome in expected(operation, line):
        if words == "gRPC":
            assert call(channel, named, secrets[kind]) == outcome, kind
            continue
        for method in METHODS if words == "*" else words.split():
            body = named + "?model_name=Sum" if path == "/invocations" else named
            assert rest(client, method, body, secrets[kind]) == outcome, (method, kind)


def test_who_may_use_some_models_is_told_of_those_only(tmp_path):
    with TestClient(Sum, settings=Settings(auth=AuthSettings(store=str(tmp_path / "accounts.db")))) as client:
        registrar = client.app.access.registrar
        for patterns, names in ((("Other", "sum"), []), (("S*",), ["Sum"]), (("*",), ["Sum"])):
            _, secret = registrar.create_key(Key(roles=frozenset({"infer"}), models=patterns), BY)
            client.call(client.app.access.look)
            answer = client.request("GET", "/v1/models", headers={"X-API-Key": secret})
            assert answer.json() == {"models": names}


def test_paths_of_a_service_at_the_root_are_its_own(tmp_path):
    (tmp_path / "app.py").write_text(SERVICE)
    settings = Settings(auth=AuthSettings(store=str(tmp_path / "accounts.db")))
    with TestClient(str(tmp_path / "app.py"), settings=settings) as client:
        registrar = client.app.access.registrar
        (name,) = client.app.engine.registry.names()
        secrets = {
            kind: registrar.create_key(Key(roles=frozenset({role}), models=models), BY)[1]
            for kind, role, models in (
                ("right", "infer", (name,)), ("other", "infer", ("other",)), ("read", "read", ("*",)),
            )
        }  # fmt: skip
        client.call(client.app.access.look)
        for path in ("/double", f"/services/{name}/double"):
            statuses = {
                "": 401,
                "wrong": 401,
                secrets["read"]: 403,
                secrets["other"]: 403,
                secrets["right"]: 200,
            }
            for secret, status in statuses.items():
                headers = {"Content-Type": "application/json"} | ({"X-API-Key": secret} if secret else {})
                assert client.request("POST", path, b'{"number": 2}', headers).status == status, (
                    path,
                    secret,
                )


SERVICE = """
import dragoman


@dragoman.service
class Doubler:
    def double(self, number: int) -> int:
        return 2 * number
"""


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Authorization": f"Bearer {ADMIN}"}, 200),
        ({"Authorization": f"bearer {ADMIN}"}, 200),
        ({"Authorization": f"Bearer   {ADMIN}"}, 200),
        ({"X-API-Key": ADMIN}, 200),
        ({"Authorization": "Basic YTpi", "X-API-Key": ADMIN}, 200),
        ({"Authorization": "Bearer wrong", "X-API-Key": ADMIN}, 401),
        ({"Authorization": ADMIN}, 401),
        ({"Authorization": f"Basic {ADMIN}"}, 401),
        ({"Authorization": f"Bearer{ADMIN}"}, 401),
        ({"Authorization": "Bearer "}, 401),
        ({"Authorization": f"Bearer {ADMIN} {ADMIN}"}, 401),
        ({"X-API-Key": ""}, 401),
        ({"X-API-Key": "\xe9\xff"}, 401),
        ({"Cookie": f"key={ADMIN}"}, 401),
    ],
    ids=str,
)  # fmt: skip
def test_a_key_is_brought_in_one_of_two_headers(client, headers, status):
    answer = client.request("GET", "/v2", headers=headers)
    assert answer.status in ((401, 429) if status == 401 else (200,))
    if answer.status == 401:
        assert answer.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize(
    "path",
    ["//v2/models/Sum/infer", "/v2/models/Sum/infer/", "/v2/models/Sum/./infer", "/V2/models/Sum/infer",
     "/v2/models/%53um/infer", "/v2/models/Sum/infer?x", "/v2/models/Sum%2Finfer", "/%76%32/models/Sum/infer",
     "/predictions/%53um", "/predictions/Sum/1/../..", "/predictions//Sum", "/predictions/Sum%2F1",
     "/predictions/x%2F..%2FSum"],
)  # fmt: skip
def test_no_spelling_of_a_path_gets_around_keys_or_models(client, secrets, path):
    assert client.request("POST", path, b"{}").status in (401, 404, 405)
    answer = client.request("POST", path, b"{}", {"X-API-Key": secrets["other model"]})
    assert answer.status in (403, 404, 405)
