"""Texts of protobuf mean what Google's own reader says, and what is none is told with its line."""

from contextlib import suppress

import pytest
from google.protobuf import json_format, text_format
from hypothesis import given
from hypothesis import strategies as st

from dragoman.errors import ConfigError
from dragoman.protocols.kserve_v2.messages import message
from dragoman.repository.triton_config import check_config
from dragoman.repository.triton_fields import MODEL_CONFIG
from dragoman.repository.triton_text import DEEPEST, parse_text

TEXTS = [
    "",
    '# nothing but this\n\nname: "m"  # and this',
    "name: 'm' backend: \"py\" 'thon'; max_batch_size: 8, platform: '\\t\\x41\\101\\u00e9\\'\\\\'",
    "max_batch_size: 0x10",
    "max_batch_size: 010",
    "max_batch_size: -3",
    'input { name: "X" data_type: TYPE_FP32 dims: 1 dims: [ -1, 4 ] } input < name: "Y" dims: [] >',
    'input [ { name: "X" data_type: 11 optional: true }, { name: "Y" optional: f } ]',
    'parameters { key: "a" value { string_value: "b" } } parameters: { key: "c" value: { string_value: "d" } }',
    'parameters { key: "a" } cc_model_filenames [ { key: "7.0" value: "x" }, { key: "8.0" value: "y" } ]',
    "version_policy: { all { } } instance_group [ { kind: KIND_CPU count: 2 gpus: [ 0, 1 ] } ]",
    "dynamic_batching { preferred_batch_size: [ 4, 8 ] max_queue_delay_microseconds: 100 preserve_ordering: 1 }",
    "model_metrics { metric_control { histogram_options { buckets: [ 1, 2.5, 1e3, .5, 7f ] } } }",
    'ensemble_scheduling { step [ { model_name: "a" model_version: -1 input_map { key: "x" value: "y" } } ] }',
]


def googles(text):
    parsed = text_format.Parse(text, message("ModelConfig")())
    return check_config(json_format.MessageToDict(parsed, preserving_proto_field_name=True))


def without_defaults(document):
    """As protobuf's JSON has it: what is as if it had not been written is not there."""
    if isinstance(document, list):
        return [without_defaults(item) for item in document]
    if not isinstance(document, dict):
        return document
    kept = {key: without_defaults(value) for key, value in document.items()}
    return {key: value for key, value in kept.items() if value not in ("", 0, False, [], "TYPE_INVALID")}


def ours(text):
    return check_config(parse_text(text, MODEL_CONFIG, "config.pbtxt"))


@pytest.mark.parametrize("text", TEXTS)
def test_a_text_means_what_googles_reader_says(text):
    assert without_defaults(ours(text)) == without_defaults(googles(text))


@given(st.text(st.characters(codec="utf-8"), min_size=1), st.integers(1, 2**31 - 1))
def test_whatever_googles_writer_writes_is_read(name, most):
    text = text_format.MessageToString(message("ModelConfig")(name=name, max_batch_size=most))
    assert ours(text) == {"name": name, "max_batch_size": most}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("\n\nnaem: 'm'", "there is no field 'naem' (config.pbtxt, line 3)"),
        ("name: m", "expected a text in quotes, got 'm'"),
        ("name: 'm' name: 'n'", "the field 'name' is there twice"),
        ("name 'm'", "expected ':'"),
        ("max_batch_size: 'x'", "expected a number, got \"'x'\""),
        ("input: [ { name: 'x' } { name: 'y' } ]", "expected ',' or ']'"),
        ("input { name: 'x' ", "the text ends too early"),
        ("input { name: 'x' >", "expected a field's name, got '>'"),
        ("input: 3", "expected '{', got '3'"),
        ("dynamic_batching { preserve_ordering: maybe }", "expected true or false, got 'maybe'"),
        ("name: 'm", 'unexpected "\'"'),
        ("name: '\\xff'", "a text that is not UTF-8"),
        ("name: '\\UFFFFFFFF'", "a text with an escape for no character"),
        ("}", "expected a field's name, got '}'"),
    ],
)
def test_what_is_no_text_is_told_with_its_line(text, told):
    with pytest.raises(ConfigError) as caught:
        ours(text)
    assert told in str(caught.value)
    assert "config.pbtxt, line" in str(caught.value)


def test_messages_in_each_other_have_an_end():
    text = "ensemble_scheduling { step { " * DEEPEST
    with pytest.raises(ConfigError):
        ours(text)


@given(st.text("{}[]<>:,;'\"\\#n ame01-.", max_size=40))
def test_any_text_is_read_or_refused(text):
    with suppress(ConfigError):
        assert isinstance(ours(text), dict)
