"""What a server asks for when nobody has said anything, and what it says when it has to make a key."""

import os
import re
import signal
import time
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from dragoman.config import AuthSettings, ManagementSettings, ServerSettings, Settings
from dragoman.errors import ConfigError
from dragoman.store.accounts import Key, open_accounts
from dragoman.testing import TestClient
from dragoman.transport.auth import digest_of
from dragoman.users.access import arrange, asks_for_keys
from dragoman.users.registrar import By, Registrar
from tests.cli.running import LIMIT, MODELS, SUM, Server, dragoman

OPEN = Settings()
KEY = "a-key-that-may-do-everything"
MADE = re.compile(r"^ +(dk_[0-9a-f]{8}_[\w-]{43})$", re.MULTILINE)


def with_host(host: str, **more: str) -> Settings:
    return replace(OPEN, server=ServerSettings(host=host, **more))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("settings", "asks"),
    [
        (OPEN, False),
        (with_host("::1"), False),
        (with_host("localhost"), False),
        (with_host("0.0.0.0"), True),
        (with_host("::"), True),
        (with_host(""), True),
        (with_host("10.0.0.7"), True),
        (with_host("example.org"), True),
        (with_host("0.0.0.0", tls_cert="a", tls_key="b"), True),
        (with_host("0.0.0.0", tls_cert="a", tls_key="b", tls_client_ca="c"), False),
        (replace(with_host("0.0.0.0"), auth=AuthSettings(mode="off")), False),
        (replace(with_host("0.0.0.0"), management=ManagementSettings(key="k")), True),
        (replace(OPEN, auth=AuthSettings(mode="on")), True),
        (replace(OPEN, auth=AuthSettings(key=KEY)), True),
        (replace(OPEN, auth=AuthSettings(key=KEY, mode="off")), False),
        (replace(OPEN, auth=AuthSettings(store="accounts.db")), True),
        (replace(OPEN, management=ManagementSettings(state="state.db")), False),
        (replace(OPEN, management=ManagementSettings(key="k")), False),
    ],
)
def test_who_has_to_show_a_key_by_default(settings: Settings, asks: bool) -> None:
    assert asks_for_keys(settings) is asks


def test_a_key_is_made_where_there_is_none_and_only_its_digest_is_kept(tmp_path: Path) -> None:
    file = tmp_path / "accounts.db"
    settings = Settings(auth=AuthSettings(store=str(file)))
    after, text = arrange(settings)
    assert after == settings
    assert text.startswith("dk_")
    assert arrange(settings) == (settings, "")
    store = open_accounts(file)
    (key,) = store.snapshot(0).keys
    store.close()
    assert (key.digest, key.roles) == (digest_of(text), {"admin"})
    assert text.encode() not in file.read_bytes()
    assert text.rpartition("_")[2].encode() not in file.read_bytes()


def test_another_key_is_made_when_the_last_one_is_worth_nothing(tmp_path: Path) -> None:
    settings = Settings(auth=AuthSettings(store=str(tmp_path / "accounts.db")))
    assert arrange(settings)[1]
    store = open_accounts(tmp_path / "accounts.db")
    Registrar(store, 900).revoke_key(store.snapshot(0).keys[0].id, By("test"))
    store.close()
    assert arrange(settings)[1]
    assert not arrange(settings)[1]


def test_without_a_store_the_key_lives_as_long_as_the_server() -> None:
    settings, text = arrange(with_host("0.0.0.0"))
    assert settings.auth.key == text != arrange(with_host("0.0.0.0"))[1]
    assert arrange(replace(OPEN, auth=AuthSettings(key=KEY)))[1] == ""
    assert arrange(OPEN) == (OPEN, "")


@pytest.mark.parametrize("key", ["short", "x" * 15, "with a blank in the middle", "é" * 20])
def test_a_key_in_the_settings_is_one_that_can_not_be_guessed_and_can_be_sent(key: str) -> None:
    with pytest.raises(ConfigError) as caught:
        arrange(replace(OPEN, auth=AuthSettings(key=key)))
    assert key not in str(caught.value)


def test_an_app_is_closed_by_itself_whoever_starts_it() -> None:
    with TestClient(settings=with_host("0.0.0.0")) as client:
        made = client.app.made_key
        assert client.get("/v2").status == 401
        assert client.get("/v2/health/ready").status == 200
        assert client.request("GET", "/v2", headers={"X-API-Key": made}).status == 200
        assert client.request("GET", "/management/models", headers={"X-API-Key": made}).status == 200


def test_loopback_is_open_and_knows_no_users() -> None:
    with TestClient() as client:
        assert client.app.made_key == ""
        assert client.get("/v2").status == 200
        assert client.get("/users/me").status == 404


def test_the_key_of_management_is_a_key_that_manages() -> None:
    settings = replace(
        with_host("0.0.0.0"),
        management=ManagementSettings(key="management's own"),
        auth=AuthSettings(key=KEY),
    )
    settings = replace(settings, management=ManagementSettings(key="managements-own"))
    with TestClient(settings=settings) as client:
        for key, statuses in (("managements-own", (200, 200, 403)), (KEY, (200, 200, 404))):
            paths = ("/management/models", "/metrics", "/v2/models/x/infer")
            answers = [
                client.request("POST" if "infer" in path else "GET", path, headers={"X-API-Key": key})
                for path in paths
            ]
            assert tuple(answer.status for answer in answers) == statuses


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "app.py").write_text(MODELS)
    return tmp_path


def ask(server: Server, key: str = "") -> int:
    return server.ask("POST", "/v2/models/Sum/infer", SUM, key)[0]


def test_a_server_that_others_can_reach_shows_its_key_once_and_is_closed_without_it(folder: Path) -> None:
    arguments = ("app.py:Sum", "--host", "0.0.0.0", "--auth-store", "accounts.db")
    with Server(folder, *arguments) as server:
        (key,) = MADE.findall(server.printed)
        assert "kept as a digest only" in server.printed
        assert (ask(server), ask(server, key + "x"), ask(server, key)) == (401, 401, 200)
        assert "keys travel in the clear" in server.log
        assert key not in server.log
        assert server.stop() == 0
    with Server(folder, *arguments) as server:
        assert "dk_" not in server.printed
        assert ask(server, key) == 200


def test_several_processes_have_one_key(folder: Path) -> None:
    with Server(folder, "app.py:Sum", "--host", "0.0.0.0", "--processes", "2") as server:
        (key,) = MADE.findall(server.printed)
        assert "good until this server ends" in server.printed
        assert {ask(server, key) for _ in range(10)} == {200}
        assert {ask(server) for _ in range(10)} == {401}
        told = [
            word
            for each in psutil.Process(server.process.pid).children(recursive=True)
            for word in each.cmdline()
        ]
        assert key not in " ".join(told)


def test_what_the_command_line_changes_counts_in_every_process_of_a_running_server(folder: Path) -> None:
    store = ("--store", "accounts.db")
    with Server(folder, "app.py:Sum", "--auth-store", "accounts.db", "--processes", "2") as server:
        made = dragoman("keys", "create", "--role", "infer", *store, cwd=folder).stdout.strip()
        wait_until(lambda: {ask(server, made) for _ in range(8)} == {200})
        id_ = made.split("_")[1]
        assert dragoman("keys", "revoke", id_, *store, cwd=folder).returncode == 0
        wait_until(lambda: 200 not in {ask(server, made) for _ in range(8)})


def test_quotas_outlive_a_restart(folder: Path) -> None:
    key = dragoman("keys", "create", "--daily", "5", "--store", "accounts.db", cwd=folder).stdout.strip()
    with Server(folder, "app.py:Sum", "--auth-store", "accounts.db") as server:
        assert [ask(server, key) for _ in range(3)] == [200] * 3
        assert server.stop() == 0
    with Server(folder, "app.py:Sum", "--auth-store", "accounts.db") as server:
        assert [ask(server, key) for _ in range(4)] == [200, 200, 429, 429]


@pytest.mark.parametrize("flag", [("--insecure",), ("--auth-mode", "off")])
def test_who_wants_no_keys_is_warned(folder: Path, flag: tuple[str, ...]) -> None:
    with Server(folder, "app.py:Sum", "--host", "0.0.0.0", *flag) as server:
        assert ask(server) == 200
        assert "dk_" not in server.printed
        assert "whoever can reach this server may do everything" in server.log


def test_models_and_their_processes_do_not_inherit_secrets(folder: Path) -> None:
    (folder / "peek.py").write_text(
        "import os\nimport numpy as np\n\n\n"
        "class Peek:\n    inputs = {'x': ('FP32', [1])}\n    outputs = {'y': ('BYTES', [1])}\n"
        "    def predict(self, x):\n        return {'y': np.array([repr(dict(os.environ)).encode()], object)}\n"
        "class Fast(Peek):\n    fast = True\n"
    )
    secrets = {
        "DRAGOMAN_AUTH__KEY": KEY,
        "DRAGOMAN_MANAGEMENT__KEY": "management-secret",
        "DRAGOMAN_SERVER__RESTRICT": "trace:trace-key=restriction-secret",
        "DRAGOMAN_LOG__ACCESS": "1",
    }
    with Server(folder, "peek.py:Peek", "peek.py:Fast", **secrets) as server:
        question = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1], "data": [1]}]}
        for name in ("Peek", "Fast"):
            status, body = server.ask("POST", f"/v2/models/{name}/infer", question, KEY)
            assert status == 200
            assert b"DRAGOMAN_LOG__ACCESS" in body
            for secret in (KEY, "management-secret", "restriction-secret"):
                assert secret.encode() not in body


def test_a_store_that_fails_locks_nobody_out_and_lets_nobody_in(folder: Path) -> None:
    with Server(folder, "app.py:Sum", "--auth-store", "accounts.db") as server:
        (key,) = MADE.findall(server.printed)
        os.rename(folder / "accounts.db", folder / "away.db")
        (folder / "accounts.db").mkdir()
        assert (ask(server, key), ask(server)) == (200, 401)
        assert server.stop(signal.SIGTERM) == 0


def wait_until(true) -> None:  # type: ignore[no-untyped-def]
    deadline = time.monotonic() + LIMIT
    while not true():
        assert time.monotonic() < deadline


def test_keys_of_the_settings_have_no_id_and_are_in_no_list(tmp_path: Path) -> None:
    settings = Settings(auth=AuthSettings(key=KEY, store=str(tmp_path / "accounts.db")))
    with TestClient(settings=settings) as client:
        headers = {"X-API-Key": KEY}
        assert client.request("GET", "/users/me", headers=headers).json()["name"] == "key auth.key"
        assert client.request("GET", "/keys", headers=headers).json() == {"keys": []}
        assert Key(roles=frozenset()).id == ""
