"""Users, keys and the audit from the command line, over a store of their own."""

import json
import os
import pty
import select
import subprocess
from pathlib import Path

import pytest

from dragoman.store.accounts import open_accounts
from dragoman.transport.auth import digest_of
from dragoman.users.passwords import verify_password
from tests.cli.running import DRAGOMAN, LIMIT, MODELS, Server, dragoman, environment

PASSWORD = "correct horse battery staple"
STORE = ("--store", "accounts.db")


def run(folder: Path, *arguments: str, given: str = "", code: int = 0) -> str:
    done = dragoman(*arguments, *STORE, cwd=folder, given=given.encode())
    assert done.returncode == code, done.stderr
    return done.stdout if code == 0 else done.stderr


def look(folder: Path, *arguments: str):
    return json.loads(run(folder, *arguments, "--json"))


def test_a_key_is_made_listed_and_revoked(tmp_path):
    made = run(
        tmp_path, "keys", "create", "--name", "ci", "--role", "infer", "--role", "read", "--model", "iris-*",
        "--expires", "90d", "--rate", "5", "--burst", "10", "--daily", "100", "--monthly", "1000",
    ).strip()  # fmt: skip
    (key,) = look(tmp_path, "keys", "list")
    assert made.startswith(f"dk_{key['id']}_")
    assert (key["name"], key["roles"], key["models"]) == ("ci", ["infer", "read"], ["iris-*"])
    assert [key[name] for name in ("rate", "burst", "daily", "monthly")] == [5, 10, 100, 1000]
    assert key["expires"] - key["created"] == pytest.approx(90 * 86_400, abs=60)
    shown = run(tmp_path, "keys", "list")
    assert "iris-*" in shown
    assert "never" in shown
    assert made.rpartition("_")[2] not in shown
    assert look(tmp_path, "keys", "revoke", key["id"]) == {"id": key["id"], "revoked": True}
    assert "revoked" in run(tmp_path, "keys", "list")
    assert "revoked already" in run(tmp_path, "keys", "revoke", f"dk_{key['id']}", code=1)
    store = open_accounts(tmp_path / "accounts.db")
    assert store.snapshot(0).keys[0].digest == digest_of(made)
    store.close()


def test_a_key_is_for_inference_unless_something_else_is_said(tmp_path):
    assert look(tmp_path, "keys", "create")["roles"] == ["infer"]


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("keys", "create", "--role", "root"), 1, "got root"),
        (("keys", "create", "--expires", "soon"), 2, "--expires takes a time"),
        (("keys", "create", "--burst", "5"), 1, "needs a rate"),
        (("keys", "create", "--rate", "-1"), 2, "--rate"),
        (("keys", "revoke", "ffffffff"), 1, "there is no key"),
        (("users", "passwd", "nobody"), 1, "there is no user"),
        (("users", "remove", "nobody"), 1, "there is no user"),
        (("users", "change", "nobody"), 2, "change what?"),
        (("users", "add", "me"), 1, "are taken"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused(tmp_path, arguments, code, words):
    assert words in run(tmp_path, *arguments, given=PASSWORD, code=code)


def test_a_user_is_added_changed_disabled_and_removed(tmp_path):
    run(tmp_path, "users", "add", "ann", "--role", "read", "--password-stdin", given=f"{PASSWORD}\n")
    assert "already" in run(tmp_path, "users", "add", "ann", given=PASSWORD, code=1)
    assert "12 to 1024 characters" in run(tmp_path, "users", "add", "bob", given="short", code=1)
    assert look(tmp_path, "users", "change", "ann", "--role", "infer", "--model", "a*")["models"] == ["a*"]
    assert look(tmp_path, "users", "disable", "ann")["disabled"]
    assert "disabled" in run(tmp_path, "users", "list")
    assert not look(tmp_path, "users", "enable", "ann")["disabled"]
    run(tmp_path, "users", "passwd", "ann", given=PASSWORD * 2)
    (user,) = look(tmp_path, "users", "list")
    assert (user["name"], user["roles"], user["disabled"]) == ("ann", ["infer"], False)
    store = open_accounts(tmp_path / "accounts.db")
    assert verify_password(store.snapshot(0).users["ann"].password, PASSWORD * 2)
    store.close()
    run(tmp_path, "users", "remove", "ann")
    assert look(tmp_path, "users", "list") == []


def test_on_a_terminal_the_password_is_asked_for_twice_and_not_shown(tmp_path):
    leader, follower = pty.openpty()
    process = subprocess.Popen(
        [*DRAGOMAN, "users", "add", "ann", *STORE], cwd=tmp_path, env=environment(),
        stdin=follower, stdout=follower, stderr=follower, start_new_session=True,
    )  # fmt: skip
    os.close(follower)
    seen = b""
    for _ in range(2):
        while not seen.endswith(b": "):  # the password, and the same again
            assert select.select([leader], [], [], LIMIT)[0]
            seen += os.read(leader, 1000)
        os.write(leader, PASSWORD.encode() + b"\n")
        seen += b"\n"
    assert process.wait(LIMIT) == 0
    os.close(leader)
    assert PASSWORD.encode() not in seen


def test_what_signs_is_rotated(tmp_path):
    first = look(tmp_path, "keys", "rotate")["id"]
    second = look(tmp_path, "keys", "rotate", "--at-once")["id"]
    store = open_accounts(tmp_path / "accounts.db")
    keys = {key.id: key.expires for key in store.snapshot(0).signing}
    store.close()
    assert keys[second] == 0
    assert keys[first] > 0


def test_the_audit_tells_who_sat_at_the_machine(tmp_path):
    run(tmp_path, "users", "add", "ann", given=PASSWORD)
    run(tmp_path, "users", "disable", "ann")
    lines = look(tmp_path, "audit")
    assert [line["what"] for line in lines] == ["change disabled of user ann", "add user ann"]
    assert all(line["who"].endswith(" at the command line") for line in lines)
    assert [line["number"] for line in look(tmp_path, "audit", "--limit", "1", "--before", "2")] == [1]
    assert run(tmp_path, "audit").strip().splitlines()[-1].split()[0] == "2"


def test_the_place_is_that_of_the_settings_and_must_be_named(tmp_path):
    done = dragoman("keys", "list", cwd=tmp_path)
    assert (done.returncode, "no place is named" in done.stderr) == (78, True)
    (tmp_path / "dragoman.toml").write_text("[management]\nstate = 'state.db'\n")
    assert dragoman("keys", "create", cwd=tmp_path).returncode == 0
    assert (tmp_path / "state.db").exists()
    assert dragoman("keys", "create", cwd=tmp_path, DRAGOMAN_AUTH__STORE="other.db").returncode == 0
    assert (tmp_path / "other.db").exists()


def test_commands_that_ask_a_server_bring_the_key_of_the_environment(tmp_path):
    (tmp_path / "app.py").write_text(MODELS)
    key = "a-key-that-may-do-everything"
    with Server(tmp_path, "app.py:Sum", DRAGOMAN_AUTH__KEY=key) as server:
        for command in (("models",), ("crashes",), ("models", "show", "Sum")):
            refused = dragoman(*command, "--url", server.url, cwd=tmp_path)
            assert (refused.returncode, "401" in refused.stderr) == (1, True)
            done = dragoman(*command, "--url", server.url, cwd=tmp_path, DRAGOMAN_KEY=key)
            assert done.returncode == 0, done.stderr
