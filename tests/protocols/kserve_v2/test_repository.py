"""Requests to load and unload models, and the lines of an index."""

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dragoman.engine.lifecycle import Record, State
from dragoman.errors import DragomanError, InvalidInput
from dragoman.protocols.kserve_v2.metadata import encode_index
from dragoman.protocols.kserve_v2.repository import decode_load, decode_unload, describe
from dragoman.repository.overrides import Overrides


def load(**parameters) -> Overrides:
    return decode_load(json.dumps({"parameters": parameters}).encode())


@pytest.mark.parametrize(
    "body", [b"", b"{}", b'{"parameters": {}}', b'{"parameters": null}', b'{"other": 1}']
)
def test_a_load_wants_what_the_repository_has(body):
    assert decode_load(body) == Overrides()
    assert decode_unload(body) is False


@given(st.text(), st.dictionaries(st.text(), st.binary(max_size=50), max_size=3))
def test_a_configuration_and_files_come_back_as_they_were_sent(config, files):
    sent = {f"file:{name}": base64.b64encode(content).decode() for name, content in files.items()}
    assert load(config=config, **sent) == Overrides(config, files)


@pytest.mark.parametrize(
    ("parameters", "reason"),
    [
        ({"zzz": "x"}, "unrecognized load parameter 'zzz'."),
        ({"Config": "x"}, "unrecognized load parameter 'Config'."),
        ({"config": {}}, "attempt to access JSON non-string as string"),
        ({"file:1/x": 3}, "attempt to access JSON non-string as string"),
        ({"file:1/x": "***"}, "parameter 'file:1/x' must be a file in base64"),
        ({"file:1/x": "YQ"}, "must be a file in base64"),
        ({"file:1/x": "YQ==YQ=="}, "must be a file in base64"),
        ({"file:1/x": "YQ==\n"}, "must be a file in base64"),
        ({"file:1/x": "é"}, "must be a file in base64"),
    ],
)
def test_what_a_load_can_not_say_is_told(parameters, reason):
    with pytest.raises(InvalidInput) as caught:
        load(**parameters)
    assert reason in caught.value.message


@pytest.mark.parametrize("wanted", ["yes", 1, 0, [], {}, None])
def test_dependents_are_wanted_or_not(wanted):
    assert decode_unload(b'{"parameters": {"unload_dependents": true}}') is True
    with pytest.raises(InvalidInput, match="expected bool_param"):
        decode_unload(json.dumps({"parameters": {"unload_dependents": wanted}}).encode())


@given(
    st.binary(max_size=40) | st.sampled_from([b"[]", b'"x"', b'{"parameters": []}', b'{"parameters": "x"}'])
)
def test_anything_else_is_an_error_of_the_client(body):
    for decode in (decode_load, decode_unload):
        try:
            decode(body)
        except DragomanError as error:
            assert isinstance(error, InvalidInput)  # noqa: PT017


def test_nesting_has_a_limit():
    with pytest.raises(InvalidInput):
        decode_load(b'{"a":' * 101 + b"1" + b"}" * 101)


def test_an_index_has_tritons_states():
    records = [
        Record("a", "1", State.READY),
        Record("a", "2", State.READY, "could not be loaded again"),
        Record("b", "1", State.LOADING),
        Record("c", "1", State.DRAINING),
        Record("d", "1", State.UNLOADED),
        Record("e", "1", State.FAILED, "broken"),
        Record("f", "", State.FAILED, "unreadable"),
        Record("g", ""),
        Record("h", "1", State.READY),
    ]

    def answers(record):
        return record.name != "h"

    assert json.loads(encode_index(describe(records, False, answers))) == [
        {"name": "a", "version": "1", "state": "READY"},
        {"name": "a", "version": "2", "state": "READY", "reason": "could not be loaded again"},
        {"name": "b", "version": "1", "state": "LOADING"},
        {"name": "c", "version": "1", "state": "UNLOADING"},
        {"name": "d", "version": "1", "state": "UNAVAILABLE", "reason": "unloaded"},
        {"name": "e", "version": "1", "state": "UNAVAILABLE", "reason": "broken"},
        {"name": "f", "reason": "unreadable"},
        {"name": "g"},
        {"name": "h", "version": "1", "state": "UNAVAILABLE", "reason": "its workers are being replaced"},
    ]
    assert [entry.version for entry in describe(records, True, answers)] == ["1", "2"]
