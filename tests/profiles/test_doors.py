import json

import pytest

from dragoman.engine.engine import Engine
from dragoman.profiles.torchserve.doors import BURST, RATE, Doors
from dragoman.profiles.torchserve.tokens import Tokens
from dragoman.protocols.torchserve.errors import Refused


class Request:
    def __init__(self, key="", query="", arrived=0.0):
        self._key, self.query, self.arrived = key, query, arrived

    def header(self, name):
        assert name == b"authorization"
        return f"Bearer {self._key}" if self._key else None


@pytest.fixture
def engine():
    return Engine(None)


@pytest.fixture
def tokens(tmp_path):
    tokens = Tokens(tmp_path / "key_file.json", 60)
    tokens.write()
    return tokens


@pytest.fixture
def keys(tokens, tmp_path):
    document = json.loads((tmp_path / "key_file.json").read_text())
    return {name: entry["key"] for name, entry in document.items()}


def refused(doors, scope="inference", **request):
    with pytest.raises(Refused) as error:
        doors.authorize(Request(**request), scope)
    return error.value


def test_without_keys_every_door_is_open_and_nothing_can_be_renewed(engine):
    doors = Doors(engine, None)
    assert not doors.locked
    doors.authorize(Request(), "inference")
    doors.authorize(Request(), "management")
    with pytest.raises(Refused):
        doors.authorize_renewal(Request(query="type=inference"))


def test_refusals_are_counted(engine, tokens):
    doors = Doors(engine, tokens)
    for _ in range(3):
        assert refused(doors, key="wrong").status == 400
    assert engine.stats.refused == {("torchserve", "unauthorized"): 3}


def test_who_tries_keys_is_slowed_down_and_others_are_not(engine, tokens, keys):
    doors = Doors(engine, tokens)
    statuses = [refused(doors, key=f"guess-{number}", arrived=1.0).status for number in range(2000)]
    assert statuses == [400] * int(BURST) + [429] * (2000 - int(BURST))
    doors.authorize(Request(keys["inference"], arrived=1.0), "inference")
    later = [refused(doors, key="wrong", arrived=2.0).status for _ in range(int(RATE) + 1)]
    assert later == [400] * int(RATE) + [429]


def test_a_key_that_can_not_be_written_is_told_without_a_path(engine, tokens, keys, monkeypatch):
    def full(*arguments):
        raise OSError(28, "No space left on device", "/secret/place")

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(Refused, match="the key file could not be written") as error:
        Doors(engine, tokens).renew(Request(keys["API"], "type=inference"))
    assert error.value.status == 500
