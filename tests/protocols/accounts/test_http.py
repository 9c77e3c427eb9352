"""Users, keys and logins over REST, and limits over both transports, of a live server."""

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import grpc
import pytest

from dragoman.config import AuthSettings, Settings
from dragoman.protocols.kserve_v2.messages import ModelInferRequest
from dragoman.testing import Response, TestClient

ADMIN = "a-key-that-may-do-everything"
PASSWORD = "correct horse battery staple"
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
BODY = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1], "data": [1]}]}


class Sum:
    inputs = {"x": ("FP32", [-1])}
    outputs = {"y": ("FP32", [-1])}

    def predict(self, x):
        return {"y": x}


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    store = tmp_path_factory.mktemp("state") / "accounts.db"
    with TestClient(Sum, settings=Settings(auth=AuthSettings(key=ADMIN, store=str(store)))) as client:
        yield client


def ask(client: TestClient, method: str, path: str, document: Any = None, key: str = ADMIN) -> Response:
    body = None if document is None else json.dumps(document).encode()
    return client.request(method, path, body, {"Authorization": f"Bearer {key}"} if key else {})


def make_key(client: TestClient, **said: Any) -> dict[str, Any]:
    answer = ask(client, "POST", "/keys", {"roles": ["infer"]} | said)
    assert answer.status == 200
    return dict(answer.json())


def test_a_user_logs_in_with_json_or_as_oauth2_has_it(client):
    ask(client, "POST", "/users", {"name": "ann", "password": PASSWORD, "roles": ["read"]})
    said = {"username": "ann", "password": PASSWORD}
    form = urlencode(said | {"grant_type": "password", "scope": ""}).encode()
    for answer in (
        ask(client, "POST", "/users/login", said, ""),
        client.request("POST", "/users/login", form, FORM),
    ):
        assert answer.status == 200
        assert answer.headers["cache-control"] == "no-store"
        tokens = answer.json()
        assert (tokens["token_type"], tokens["expires_in"]) == ("Bearer", 900)
        me = ask(client, "GET", "/users/me", key=tokens["access_token"]).json()
        assert (me["name"], me["roles"], me["models"]) == ("user ann", ["read"], ["*"])
        assert ask(client, "GET", "/metrics", key=tokens["access_token"]).status == 200
        assert ask(client, "GET", "/keys", key=tokens["access_token"]).status == 403
    form = urlencode({"grant_type": "refresh_token", "refresh_token": tokens["refresh_token"]}).encode()
    again = client.request("POST", "/users/refresh", form, FORM).json()
    assert ask(client, "GET", "/users/me", key=again["access_token"]).status == 200
    assert ask(client, "POST", "/users/logout", {"refresh_token": again["refresh_token"]}, "").status == 200
    assert ask(client, "GET", "/users/me", key=again["access_token"]).status == 401
    assert ask(client, "POST", "/users/refresh", {"refresh_token": again["refresh_token"]}, "").status == 401


@pytest.mark.parametrize(
    ("path", "body", "headers", "words"),
    [
        ("/users/login", b"{", {}, None),
        ("/users/login", b"[]", {}, "JSON object"),
        ("/users/login", b'{"username": "ann"}', {}, "'password' is missing"),
        ("/users/login", b'{"username": "ann", "password": 7}', {}, "'password' must be a text"),
        ("/users/login", b'{"username": "a", "password": "p", "otp": 1}', {}, "unknown key 'otp'"),
        ("/users/login", b"username=ann", FORM, "'password' is missing"),
        ("/users/login", b"username=a&username=b&password=p", FORM, "comes twice"),
        ("/users/login", b"username=a&password=p&grant_type=refresh_token", FORM, "grant_type"),
        ("/users/login", b"&".join([b"a=b"] * 50), FORM, "can't be read"),
        ("/users/login", b"\xff\xfe", FORM, "can't be read"),
        ("/users/refresh", b"{}", {}, "'refresh_token' is missing"),
    ],
)  # fmt: skip
def test_what_is_no_login_is_refused_without_telling_what_came(client, path, body, headers, words):
    answer = client.request("POST", path, body, headers)
    assert answer.status == 400
    assert words is None or words in answer.json()["error"]


def test_users_come_change_and_go(client):
    answer = ask(
        client, "POST", "/users", {"name": "bob", "password": PASSWORD, "roles": ["infer"], "models": ["S*"]}
    )
    bob = answer.json()
    assert (bob["roles"], bob["models"], bob["disabled"]) == (["infer"], ["S*"], False)
    assert (
        ask(client, "POST", "/users", {"name": "bob", "password": PASSWORD, "roles": ["read"]}).status == 409
    )
    assert bob in ask(client, "GET", "/users").json()["users"]
    changed = ask(client, "PATCH", "/users/bob", {"roles": ["read", "manage"], "disabled": True}).json()
    assert (changed["roles"], changed["models"], changed["disabled"]) == (["manage", "read"], ["S*"], True)
    login = {"username": "bob", "password": PASSWORD}
    assert ask(client, "POST", "/users/login", login, "").status == 401
    assert ask(client, "PATCH", "/users/bob", {"disabled": False, "password": PASSWORD * 2}).status == 200
    assert ask(client, "POST", "/users/login", login | {"password": PASSWORD * 2}, "").status == 200
    assert ask(client, "DELETE", "/users/bob").status == 200
    for method, body in (("DELETE", None), ("PATCH", {"disabled": True})):
        assert ask(client, method, "/users/bob", body).status == 404
    assert PASSWORD.encode() not in answer.body
    assert b"argon2" not in ask(client, "GET", "/users").body


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"name": "a b", "password": PASSWORD, "roles": ["read"]}, "a user's name"),
        ({"name": "login", "password": PASSWORD, "roles": ["read"]}, "are taken"),
        ({"name": "carl", "password": "short", "roles": ["read"]}, "12 to 1024 characters, got 5"),
        ({"name": "carl", "password": PASSWORD, "roles": []}, "got none"),
        ({"name": "carl", "password": PASSWORD, "roles": ["root"]}, "got root"),
        ({"name": "carl", "password": PASSWORD, "roles": "read"}, "'roles' must be a list of texts"),
        ({"name": "carl", "password": PASSWORD, "roles": [1]}, "'roles' must be a list of texts"),
        ({"name": "carl", "password": PASSWORD, "roles": ["read"], "models": []}, "patterns"),
        ({"name": "carl", "password": [PASSWORD], "roles": ["read"]}, "'password' must be a text"),
    ],
)  # fmt: skip
def test_a_user_that_can_not_be_is_refused(client, said, words):
    answer = ask(client, "POST", "/users", said)
    assert answer.status == 400
    assert words in answer.json()["error"]
    assert PASSWORD not in answer.json()["error"]
    assert ask(client, "PATCH", "/users/carl", {}).status == 400


def test_a_key_is_told_once_and_listed_without_its_secret(client):
    made = make_key(
        client, name="ci", models=["S*"], lifetime=3600, rate=5, burst=10, daily=100, monthly=1000
    )
    assert made["key"].startswith(f"dk_{made['id']}_")
    assert ask(client, "POST", "/v2/models/Sum/infer", BODY, made["key"]).status == 200
    (listed,) = [key for key in ask(client, "GET", "/keys").json()["keys"] if key["id"] == made["id"]]
    assert listed["key"] == f"dk_{made['id']}_..."
    assert {**listed, "key": "", "used": None} == {**made, "key": "", "used": None}
    assert listed["expires"] == pytest.approx(listed["created"] + 3600, abs=60)
    assert ask(client, "DELETE", f"/keys/{made['id']}").status == 200
    assert ask(client, "POST", "/v2/models/Sum/infer", BODY, made["key"]).status == 401
    assert ask(client, "DELETE", f"/keys/{made['id']}").status == 409
    assert ask(client, "DELETE", "/keys/ffffffff0").status == 404


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"roles": ["root"]}, "got root"),
        ({"roles": ["infer"], "rate": -1}, "'rate' must be a number"),
        ({"roles": ["infer"], "rate": "5"}, "'rate' must be a number"),
        ({"roles": ["infer"], "burst": 5}, "needs a rate"),
        ({"roles": ["infer"], "daily": 2**40}, "at most 2147483647"),
        ({"roles": ["infer"], "daily": -1}, "at least 0"),
        ({"roles": ["infer"], "name": "a\nb"}, "printable"),
        ({"roles": ["infer"], "id": "mine"}, "unknown key 'id'"),
        ({}, "'roles' is missing"),
    ],
)  # fmt: skip
def test_a_key_that_can_not_be_is_refused(client, said, words):
    answer = ask(client, "POST", "/keys", said)
    assert answer.status == 400
    assert words in answer.json()["error"]


def test_who_asks_too_often_is_told_when_to_come_back(client):
    made = make_key(client, rate=0.01, burst=2, daily=50)
    answers = [ask(client, "POST", "/v2/models/Sum/infer", BODY, made["key"]) for _ in range(3)]
    assert [answer.status for answer in answers] == [200, 200, 429]
    policy = '"rate";q=2;w=200, "day";q=50;w=86400'
    assert {answer.headers["ratelimit-policy"] for answer in answers} == {policy}
    lefts = [answer.headers["ratelimit"] for answer in answers]
    assert [left.split(",")[0].rpartition(";")[0] for left in lefts] == [
        '"rate";r=1',
        '"rate";r=0',
        '"rate";r=0',
    ]
    assert '"day";r=48;' in lefts[-1]
    assert 90 <= int(answers[-1].headers["retry-after"]) <= 100
    assert "again in" in answers[-1].json()["error"]
    assert ask(client, "GET", "/v2/health/ready", key=made["key"]).status == 200
    assert "ratelimit" not in ask(client, "GET", "/v2").headers


def test_over_grpc_that_is_resource_exhausted_and_every_message_of_a_stream_counts(client):
    made = make_key(client, daily=4)
    metadata = [("authorization", f"Bearer {made['key']}"), ("triton_grpc_error", "true")]
    request = ModelInferRequest(model_name="Sum")
    request.inputs.add(name="x", datatype="FP32", shape=[1]).contents.fp32_contents.append(1.0)
    message = request.SerializeToString()
    service = "/inference.GRPCInferenceService"
    with grpc.insecure_channel(client.grpc) as channel:
        assert channel.unary_unary(f"{service}/ModelInfer")(message, metadata=metadata, timeout=60)
        stream = channel.stream_stream(f"{service}/ModelStreamInfer")
        answers = stream(iter([message] * 5), metadata=metadata, timeout=60)
        with pytest.raises(grpc.RpcError) as caught:
            list(answers)
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        with pytest.raises(grpc.RpcError) as caught:
            channel.unary_unary(f"{service}/ModelInfer")(message, metadata=metadata, timeout=60)
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert "again in" in caught.value.details()


def test_a_stream_is_for_the_models_of_its_key_message_by_message(client):
    made = make_key(client, models=["Sum"])
    metadata = [("x-api-key", made["key"])]
    good = ModelInferRequest(model_name="Sum")
    good.inputs.add(name="x", datatype="FP32", shape=[1]).contents.fp32_contents.append(1.0)
    other = ModelInferRequest(model_name="Other").SerializeToString()
    with grpc.insecure_channel(client.grpc) as channel:
        stream = channel.stream_stream("/inference.GRPCInferenceService/ModelStreamInfer")
        answers = list(stream(iter([good.SerializeToString(), other]), metadata=metadata, timeout=60))
    assert b"not for model 'Other'" not in answers[0]
    assert b"not for model 'Other'" in answers[1]


def test_the_audit_tells_who_changed_what_and_who_was_refused(client):
    made = make_key(client, roles=["manage"], name="deployer")
    reader = make_key(client, roles=["read"])
    ask(client, "POST", "/v2/repository/models/Sum/load", {}, made["key"])
    ask(client, "DELETE", "/management/models/nothing", key=made["key"])
    ask(client, "DELETE", "/management/models/Sum", key=reader["key"])
    ask(client, "DELETE", "/management/models/Sum", key="wrong")
    ask(client, "POST", "/keys", {"roles": ["admin"]}, reader["key"])
    ask(client, "POST", "/v2/models/Sum/infer", BODY, made["key"])
    with grpc.insecure_channel(client.grpc) as channel:
        path = "/inference.GRPCInferenceService/RepositoryModelUnload"
        with pytest.raises(grpc.RpcError):
            channel.unary_unary(path)(b"\x12\x03Sum", metadata=[("x-api-key", made["key"])], timeout=60)
    client.call(client.app.access.tick)
    found = ask(client, "GET", "/audit?limit=20").json()["audit"]
    lines = [(line["who"], line["what"], line["model"], line["outcome"], line["origin"]) for line in found]
    here = "127.0.0.1"
    who, other = f"key dk_{made['id']} (deployer)", f"key dk_{reader['id']}"
    for expected in (
        ("key auth.key", f"create key dk_{made['id']}", "", "done", here),
        (who, "POST /v2/repository/models/Sum/load", "Sum", "403", here),
        (who, "DELETE /management/models/nothing", "nothing", "404", here),
        (other, "DELETE /management/models/Sum", "Sum", "refused: forbidden", here),
        ("nobody", "DELETE /management/models/Sum", "Sum", "refused: unauthorized", here),
        (other, "POST /keys", "", "refused: forbidden", here),
    ):
        assert expected in lines, expected
    assert any(line[0] == who and line[1].endswith("/RepositoryModelUnload") for line in lines)
    assert not any(line[1].endswith("/infer") for line in lines)
    numbers = [line["number"] for line in found]
    assert numbers == sorted(numbers, reverse=True)
    older = ask(client, "GET", f"/audit?limit=2&before={numbers[1]}").json()["audit"]
    assert [line["number"] for line in older] == numbers[2:4]


@pytest.mark.parametrize("query", ["limit=x", "limit=-1", "before=", "page=2", f"before={'9' * 30}"])
def test_a_page_of_the_audit_that_can_not_be_is_refused(client, query):
    answer = ask(client, "GET", f"/audit?{query}")
    assert answer.status == (200 if query == "before=" else 400)


def test_whose_change_it_was_is_in_the_history_of_models(tmp_path):
    auth = AuthSettings(key=ADMIN, store=str(tmp_path / "accounts.db"))
    with TestClient(Sum, settings=Settings(auth=auth)) as client:
        seen = []
        manager = client.app.manager
        unregister = manager.unregister

        async def watched(name: str, version: str, who: str) -> Any:
            seen.append(who)
            return await unregister(name, version, who)

        manager.unregister = watched
        assert ask(client, "DELETE", "/management/models/Sum").status == 200
        assert seen == ["key auth.key from 127.0.0.1"]


def test_a_page_of_another_site_can_not_use_a_key(client):
    for method, path in (("POST", "/keys"), ("DELETE", "/users/ann"), ("POST", "/users/login")):
        headers = {"Authorization": f"Bearer {ADMIN}", "Origin": "https://elsewhere.example"}
        assert client.request(method, path, b"{}", headers).status == 403
