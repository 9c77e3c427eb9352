import json
import logging
import os
import re
import stat

import pytest

from dragoman.errors import ConfigError
from dragoman.profiles.torchserve.tokens import KEY_FILE, Scope, Tokens


class Clock:
    def __init__(self):
        self.now = 1_795_301_191.821003

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def file(tmp_path):
    return tmp_path / KEY_FILE


@pytest.fixture
def tokens(file, clock):
    tokens = Tokens(file, 0.5, clock)
    tokens.write()
    return tokens


def keys(file):
    return {name: entry["key"] for name, entry in json.loads(file.read_text()).items()}


def bearer(file, scope):
    return "Bearer " + keys(file)[scope.value]


def test_the_file_has_the_recorded_form(tokens, file):
    document = json.loads(file.read_text())
    assert [*document] == ["management", "inference", "API"]
    assert [*document["management"]] == ["key", "expiration time"]
    assert [*document["API"]] == ["key"]
    instant = document["inference"]["expiration time"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", instant)
    assert instant == "2026-11-21T22:47:01.821003Z"
    assert file.read_text().startswith('{\n  "management": {\n    "key": "')


def test_keys_have_256_bits_and_differ(tokens, file):
    assert len(set(keys(file).values())) == 3
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{43}", key) for key in keys(file).values())


@pytest.mark.parametrize("scope", Scope)
def test_each_key_opens_its_own_door_and_no_other(tokens, file, scope):
    for door in Scope:
        assert tokens.allows(door, bearer(file, scope)) is (door is scope)


def test_nothing_opens_before_keys_are_made(file, clock):
    assert not Tokens(file, 60, clock).allows(Scope.INFERENCE, "Bearer x")


def test_keys_expire_but_the_api_key(tokens, file, clock):
    clock.now += 30.0
    assert not tokens.allows(Scope.INFERENCE, bearer(file, Scope.INFERENCE))
    assert not tokens.allows(Scope.MANAGEMENT, bearer(file, Scope.MANAGEMENT))
    clock.now += 1e9
    assert tokens.allows(Scope.API, bearer(file, Scope.API))


def test_a_renewed_key_takes_the_place_of_the_old_one(tokens, file, clock):
    before, old = keys(file), bearer(file, Scope.INFERENCE)
    clock.now += 60.0
    tokens.renew(Scope.INFERENCE)
    after = keys(file)
    assert after["inference"] != before["inference"]
    assert (after["management"], after["API"]) == (before["management"], before["API"])
    assert not tokens.allows(Scope.INFERENCE, old)
    assert tokens.allows(Scope.INFERENCE, bearer(file, Scope.INFERENCE))
    assert not tokens.allows(Scope.MANAGEMENT, bearer(file, Scope.MANAGEMENT))  # that one stays expired


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077, 0o777])
def test_nobody_else_can_read_the_file_whatever_the_umask(file, clock, umask):
    tokens = Tokens(file, 60, clock)
    before = os.umask(umask)
    try:
        tokens.write()
        tokens.renew(Scope.MANAGEMENT)
    finally:
        os.umask(before)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_the_file_is_private_from_its_first_moment(file, clock, monkeypatch):
    modes = []
    opened = os.open

    def watched(path, flags, mode=0o777, **rest):
        descriptor = opened(path, flags, mode, **rest)
        if not flags & os.O_DIRECTORY:
            modes.append((stat.S_IMODE(os.fstat(descriptor).st_mode), flags))
        return descriptor

    monkeypatch.setattr(os, "open", watched)
    before = os.umask(0)
    try:
        Tokens(file, 60, clock).write()
    finally:
        os.umask(before)
    assert [mode for mode, _ in modes] == [0o600]
    assert all(flags & os.O_EXCL and flags & os.O_CREAT and flags & os.O_NOFOLLOW for _, flags in modes)


def test_a_former_servers_file_is_replaced_even_if_everybody_could_read_it(file, clock, tmp_path):
    file.write_text("old")
    file.chmod(0o666)
    os.link(file, tmp_path / "elsewhere")
    Tokens(file, 60, clock).write()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert (tmp_path / "elsewhere").read_text() == "old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["elsewhere", KEY_FILE]


@pytest.mark.parametrize("kind", ["link to a file", "link to nothing", "folder", "pipe"])
def test_keys_are_not_written_through_or_over_anything_else(file, clock, tmp_path, kind):
    target = tmp_path / "target"
    if kind == "link to a file":
        target.write_text("mine")
    if kind.startswith("link"):
        file.symlink_to(target)
    elif kind == "folder":
        file.mkdir()
    else:
        os.mkfifo(file)
    with pytest.raises(ConfigError, match="no ordinary file"):
        Tokens(file, 60, clock).write()
    assert not target.exists() or target.read_text() == "mine"


def test_another_users_file_is_refused(file, clock, monkeypatch):
    file.write_text("theirs")
    monkeypatch.setattr(os, "geteuid", lambda: file.stat().st_uid + 1)
    with pytest.raises(ConfigError, match="belongs to another user"):
        Tokens(file, 60, clock).write()
    assert file.read_text() == "theirs"


def test_a_folder_that_is_not_there_is_told(tmp_path, clock):
    with pytest.raises(ConfigError, match="can't write"):
        Tokens(tmp_path / "none" / KEY_FILE, 60, clock).write()


def test_a_renewal_that_can_not_be_written_changes_nothing(tokens, file, monkeypatch):
    def full(*arguments):
        raise OSError(28, "No space left on device")

    before = file.read_text()
    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError):
        tokens.renew(Scope.INFERENCE)
    assert file.read_text() == before
    assert tokens.allows(Scope.INFERENCE, bearer(file, Scope.INFERENCE))
    assert [path.name for path in file.parent.iterdir()] == [KEY_FILE]


def test_the_file_goes_with_the_server_but_not_another_servers(tokens, file, clock):
    other = Tokens(file, 60, clock)
    other.write()
    tokens.remove()
    assert file.exists()
    other.remove()
    assert not file.exists()
    other.remove()


def test_keys_are_in_no_log_and_no_repr(file, clock, caplog):
    caplog.set_level(logging.DEBUG)
    tokens = Tokens(file, 60, clock)
    tokens.write()
    tokens.renew(Scope.MANAGEMENT)
    tokens.allows(Scope.INFERENCE, bearer(file, Scope.INFERENCE))
    for key in keys(file).values():
        assert key not in caplog.text
        assert key not in repr(tokens)
